// The reader processes: one is there from the start and shows what comes, one joins late and reads everything too.
#include <sys/ioctl.h>
#include <unistd.h>

#include "tally.hpp"

namespace demo {
namespace {

using namespace std::chrono_literals;

/// One line that changes on a terminal, one line now and then elsewhere.
class Screen {
 public:
  explicit Screen(const Page& page) : page_{page} {}

  void note(const Sample& sample) {
    if (sample.kind == Kind::memory) memory_used_kib_ = sample.values[0] - sample.values[2];
    if (sample.kind == Kind::scheduler) switches_ = sample.values[0];
    if (sample.kind != Kind::cpu || sample.origin.stream >= max_streams) return;
    auto& core = cores_[sample.origin.stream];
    core.idle = sample.values[3] + sample.values[4];
    core.all = 0;
    for (const auto ticks : sample.values) core.all += ticks;
  }

  void show(const Seen& seen) {
    const std::int64_t now = now_ns();
    const std::int64_t interval = is_terminal_ ? 250'000'000 : 2'000'000'000;
    if (now - shown_ns_ < interval || switches_ == 0) return;
    const double seconds = static_cast<double>(now - shown_ns_) / 1e9;
    const auto rate = static_cast<double>(seen.samples - samples_) / seconds;
    const auto switches = static_cast<double>(switches_ - last_switches_) / seconds;
    auto line = fmt::format(
        "{:5.1f} s   {:>9} samples, {:>4.0f} k/s   {:>6} lines   half read within {:>8}   cpu {:>3.0f} %"
        "   memory {:.1f} GiB   {:.0f} k context switches/s",
        static_cast<double>(now - page_.began_ns) / 1e9, seen.samples, rate / 1e3, seen.lines,
        duration(seen.sample_latency.percentile(0.5)), busy_percent(),
        static_cast<double>(memory_used_kib_) / (1 << 20), switches / 1e3);
    if (shown_ns_ != 0) print(std::move(line));
    shown_ns_ = now, samples_ = seen.samples, last_switches_ = switches_;
  }

  void close() const {
    if (is_terminal_) fmt::print("\r\033[K");
    std::fflush(stdout);
  }

 private:
  struct Core {
    std::uint64_t idle = 0, all = 0, last_idle = 0, last_all = 0;
  };

  void print(std::string line) const {
    winsize window{};
    if (is_terminal_ && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1)
      line.resize(std::min<std::size_t>(line.size(), window.ws_col - 1u));
    fmt::print("{}{}{}", is_terminal_ ? "\r\033[K" : "", line, is_terminal_ ? "" : "\n");
    std::fflush(stdout);
  }

  double busy_percent() {
    std::uint64_t idle = 0, all = 0;
    for (auto& core : cores_) {
      idle += core.idle - core.last_idle, all += core.all - core.last_all;
      core.last_idle = core.idle, core.last_all = core.all;
    }
    return all == 0 ? 0.0 : 100.0 * (1.0 - static_cast<double>(idle) / static_cast<double>(all));
  }

  const Page& page_;
  const bool is_terminal_ = ::isatty(STDOUT_FILENO) != 0;
  std::int64_t shown_ns_ = 0;
  std::uint64_t samples_ = 0;
  std::uint64_t memory_used_kib_ = 0, switches_ = 0, last_switches_ = 0;
  Core cores_[max_streams];
};

template <class T>
bool is_behind(const towpath::Consumer<T>& consumer, const std::vector<towpath::PartitionOffset>& ends) {
  for (const auto& [partition, offset] : ends)
    if (consumer.position(partition).value() < offset) return true;
  return false;
}

class ReaderProcess {
 public:
  ReaderProcess(const std::string& folder, Reader me, const std::string& fault)
      : page_{open_page(folder, false)},
        seen_{page_.seen[me]},
        me_{me},
        bus_{folder + "/bus"},
        telemetry_{towpath::Topic<Sample>{bus_, "telemetry", topic_config(page_, telemetry_partitions)},
                   from_the_start},
        lines_{towpath::Topic<Line>{bus_, "lines", topic_config(page_, 1)}, from_the_start},
        tally_{page_, seen_},
        spoiler_{tally_, fault},
        screen_{page_} {}

  void run() {
    const auto history = telemetry_.end_offsets().value();
    bool is_history = me_ == late;
    started_ns_ = now_ns();
    seen_.is_ready.store(1);
    while (page_.nothing_more_comes.load(std::memory_order_acquire) == 0) {
      read_some(1ms);
      if (is_history && !is_behind(telemetry_, history)) {
        is_history = false;
        seen_.history_records = seen_.samples, seen_.history_ns = now_ns() - started_ns_;
      }
      if (me_ == live) screen_.show(seen_);
    }
    read_rest();
    screen_.close();
    tally_.finish();
    seen_.is_finished.store(1, std::memory_order_release);
  }

 private:
  inline static const towpath::ConsumerConfig from_the_start{.auto_offset_reset = towpath::OffsetReset::earliest};

  void read_some(towpath::Duration patience) {
    auto samples = telemetry_.poll(patience);
    fail_on(samples.error());
    seen_.lost += samples.missed();
    const std::int64_t read_ns = now_ns();
    for (const auto& record : samples) see(record.value(), record.key(), read_ns);
    if (!samples.empty()) note_resumption(samples, read_ns);

    auto lines = lines_.poll(0ms);
    fail_on(lines.error());
    seen_.lost += lines.missed();
    const std::int64_t lines_read_ns = now_ns();
    for (const auto& record : lines) {
      const auto line = record.value();
      ++seen_.lines;
      if (line.origin.sent_ns >= started_ns_) seen_.line_latency.add(lines_read_ns - line.origin.sent_ns);
      tally_.see(line.origin, record.key(), line.is_whole);
    }
  }

  void see(const Sample& sample, towpath::Bytes key, std::int64_t read_ns) {
    ++seen_.samples;
    if (sample.origin.sent_ns >= started_ns_) seen_.sample_latency.add(read_ns - sample.origin.sent_ns);
    spoiler_.see(sample.origin, key, checksum(sample) == sample.check);
    if (me_ == live) screen_.note(sample);
  }

  /// The first record that was sent to the same partition after the one that was cut off: readers are past the gap.
  void note_resumption(const towpath::Batch<Sample>& batch, std::int64_t read_ns) {
    const std::int64_t opened_ns = page_.crash_opened_ns.load();
    if (opened_ns == 0 || seen_.resumed_ns.load(std::memory_order_relaxed) != 0) return;
    if (batch.partition().value != page_.crash_partition.load()) return;
    for (const auto& record : batch)
      if (record.value().origin.sent_ns >= opened_ns) return seen_.resumed_ns.store(read_ns);
  }

  /// All producers have ended: reads to the ends. A reader that does not get there is a failure.
  void read_rest() {
    const auto sample_ends = telemetry_.end_offsets().value();
    const auto line_ends = lines_.end_offsets().value();
    const std::int64_t deadline = now_ns() + 30'000'000'000;
    while (is_behind(telemetry_, sample_ends) || is_behind(lines_, line_ends)) {
      if (now_ns() > deadline) throw std::runtime_error{"the end of the log was not reached within 30 s"};
      read_some(1ms);
    }
  }

  static void fail_on(const towpath::Failure& failure) {
    if (failure.code != towpath::Errc::ok) throw towpath::Error{failure};
  }

  Page& page_;
  Seen& seen_;
  Reader me_;
  towpath::Bus bus_;
  towpath::Consumer<Sample> telemetry_;
  towpath::Consumer<Line> lines_;
  Tally tally_;
  Spoiler spoiler_;
  Screen screen_;
  std::int64_t started_ns_ = 0;
};

}  // namespace

int read(const std::string& folder, Reader me, const std::string& fault) {
  ReaderProcess{folder, me, fault}.run();
  return 0;
}

}  // namespace demo
