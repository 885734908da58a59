// The producer processes: the machine's counters as fast as they can be sampled, and the lines of a file.
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <unordered_map>

#include "records.hpp"

namespace demo {
namespace {

/// Counts what this process sent, where the others can see it.
class Book {
 public:
  Book(Page& page, Producer me) : page_{page}, sent_{page.sent[me]}, me_{me} {}

  /// The next record's origin under `key`. Null when there are more keys than the page has lines.
  Stream* begin(const std::string& key, Origin& origin) {
    auto [at, is_new] = streams_.try_emplace(key, static_cast<std::uint32_t>(streams_.size()));
    if (at->second >= max_streams) return nullptr;
    Stream& stream = sent_.streams[at->second];
    if (is_new) {
      key.copy(stream.key, sizeof stream.key - 1);
      sent_.stream_count.store(at->second + 1, std::memory_order_release);  // before any record of it is sent
    }
    origin = {me_, at->second, stream.acknowledged.load(std::memory_order_relaxed) + 1, now_ns()};
    return &stream;
  }

  /// send() returned: from here on the record must be there, whatever happens to this process.
  void acknowledge(Stream& stream, const Origin& origin, const towpath::RecordMetadata& at, std::size_t bytes) {
    stream.acknowledged.store(origin.sequence, std::memory_order_release);
    stream.partition.store(at.partition.value, std::memory_order_relaxed);
    if (sent_.records.fetch_add(1, std::memory_order_relaxed) == 0) sent_.first_ns.store(origin.sent_ns);
    sent_.last_ns.store(origin.sent_ns, std::memory_order_relaxed);
    bytes_ += bytes + 64;  // frame, key and slot
  }

  [[nodiscard]] bool must_end() const { return page_.stop.load(std::memory_order_relaxed) != 0; }

  /// Its share of the memory is to last for the whole run. False, after a moment, when it is ahead of that.
  bool has_room() {
    const double part = static_cast<double>(now_ns() - page_.began_ns) / static_cast<double>(page_.run_ns);
    if (bytes_ < static_cast<std::uint64_t>(static_cast<double>(page_.share_bytes) * std::min(part, 1.0))) return true;
    sent_.is_slowed.store(1);
    ::usleep(1'000);
    return false;
  }

 private:
  Page& page_;
  Sent& sent_;
  Producer me_;
  std::unordered_map<std::string, std::uint32_t> streams_;
  std::uint64_t bytes_ = 0;
};

void fill(Sample& sample, const Origin& origin, const Reading& reading) {
  sample.origin = origin;
  sample.kind = reading.kind;
  std::copy(std::begin(reading.values), std::end(reading.values), std::begin(sample.values));
  sample.check = checksum(sample);
}

/// Reserves room for a record, fills half of it, and waits to be killed.
[[noreturn]] void be_cut_off(Page& page, towpath::Producer<Sample>& producer, const Reading& reading) {
  const towpath::PartitionId partition{page.crash_partition.load()};
  auto loan = producer.loan({.key = reading.key, .partition = partition}).value();
  loan->origin = {cores, 0, 0, now_ns()};
  page.crash_opened_ns.store(now_ns());
  page.crash.store(Crash::open);
  for (;;) ::pause();
}

}  // namespace

int produce_telemetry(const std::string& folder, Producer me) {
  Page& page = open_page(folder, false);
  [[maybe_unused]] const int polite = ::nice(5);  // what measures should not be in the way
  towpath::Bus bus{folder + "/bus"};
  towpath::Topic<Sample> telemetry{bus, "telemetry", topic_config(page, telemetry_partitions)};
  towpath::Producer producer{telemetry};
  Book book{page, me};
  ProcFile stat{"/proc/stat"}, meminfo{"/proc/meminfo"}, net_dev{"/proc/net/dev"}, diskstats{"/proc/diskstats"};

  std::vector<Reading> readings;
  while (!book.must_end()) {
    readings.clear();
    if (me == devices)
      sample_memory(meminfo, readings), sample_network(net_dev, readings), sample_disks(diskstats, readings);
    else
      sample_cores(stat, readings);
    if (me == cores && page.crash.load() == Crash::wanted) be_cut_off(page, producer, readings.back());
    if (!book.has_room()) continue;
    for (const auto& reading : readings) {
      Origin origin;
      Stream* stream = book.begin(reading.key, origin);
      if (!stream) continue;
      auto loan = producer.loan({.key = reading.key}).value();  // written in place, in the log
      fill(*loan, origin, reading);
      book.acknowledge(*stream, origin, producer.send(std::move(loan)).value(), sizeof(Sample));
    }
  }
  return 0;
}

int produce_lines(const std::string& folder, const std::string& file) {
  Page& page = open_page(folder, false);
  std::ostringstream content;
  content << std::ifstream{file, std::ios::binary}.rdbuf();
  const std::string text = std::move(content).str();
  const auto count = static_cast<std::int64_t>(std::count(text.begin(), text.end(), '\n') + 1);

  towpath::Bus bus{folder + "/bus"};
  towpath::Topic<Line> topic{bus, "lines", topic_config(page, 1)};
  towpath::Producer producer{topic};
  Book book{page, lines};
  const std::string key = file.substr(file.find_last_of('/') + 1).substr(0, sizeof(Stream::key) - 1);

  const std::int64_t began = now_ns();
  std::int64_t number = 0;
  std::string_view left = text;
  while (!left.empty() && !book.must_end()) {
    if (!book.has_room()) continue;
    const auto end = left.find('\n');
    const auto line = left.substr(0, std::min(end, piece_bytes));
    left.remove_prefix(std::min(left.size(), line.size() + (line.size() == end ? 1 : 0)));
    const std::int64_t ahead = began + page.pace_total_ns / count * number - now_ns();
    if (ahead > 100'000) ::usleep(static_cast<useconds_t>(ahead / 1'000));
    Origin origin;
    Stream* stream = book.begin(key, origin);
    book.acknowledge(*stream, origin, producer.send({origin, line}, {.key = key}).value(), line.size());
    ++number;
  }
  if (!left.empty()) page.sent[lines].is_cut.store(1);
  return 0;
}

}  // namespace demo
