// Streams: one process writes records as fast as it can, another reads and checks them, and says when it stood still.
#pragma once

#include <memory>

#include "payload.hpp"
#include "usage.hpp"

namespace bench {

/// How long a stream is. `count` records after `warm` unmeasured ones, or as many as fit in `seconds` when that is set.
struct StreamPlan {
  std::uint64_t warm = 0;
  std::uint64_t count = 0;
  double seconds = 0;
  std::uint64_t window = 0;  // the writer stays at most this many records ahead, so that nothing kept is overrun
  pid_t daemon = 0;          // a third process that takes part, if the system has one: what it uses counts too
};

/// For options.seconds, counted from when 2 GiB of records went through: memory has come round, whoever re-uses it.
template <std::size_t N>
StreamPlan sustained_plan(const Options& options) {
  return {.warm = (std::uint64_t{2} << 30) / N, .seconds = options.seconds};
}

/// A burst: 1 GB to warm up (rolls and recycled memory are then in their usual state), 1 GB timed.
template <std::size_t N>
StreamPlan burst_plan(const Options& options) {
  const std::uint64_t count = 1'000'000'000 / N;
  return {.warm = count, .count = options.quick ? count / 10 : count};
}

struct StreamResult {
  double mean = 0;                     // records/s
  double worst = -1;                   // records/s in the worst 100 ms; -1 for a stream shorter than that
  double stall = 0;                    // ms, the longest time in which the reader got nothing
  Usage per_record;                    // both sides and the daemon
  Placement where = Placement::mixed;  // at its two ends; a long stream may have seen both

  void print_mean(std::string_view measure) const {
    constexpr std::string_view names[] = {"near", "far", "mixed"};
    print(measure, mean, "records/s", names[static_cast<std::size_t>(where)]);
  }

  /// The rate and what a record took of the machine.
  void print_burst(const std::string& measure) const {
    print_mean(measure);
    print(measure + "_cpu", per_record.processor_ns, "ns");
    print(measure + "_faults", per_record.faults, "faults/record");
  }

  /// The rate and how even it was.
  void print_sustained(const std::string& measure) const {
    print_mean(measure);
    if (worst >= 0)
      print(measure + "_worst", worst, "records/s");
    else
      std::printf("# %s_worst skipped: the stream lasted less than 100 ms\n", measure.c_str());
    print(measure + "_stall", stall, "ms");
  }
};

namespace detail {

constexpr std::uint64_t over = std::uint64_t{1} << 63;  // in `produced`: the number below it is final

/// Waits until the reader is near enough. Called once per 256 records: the reader's line stays with the reader.
inline void wait_for_reader(const SharedPage& page, std::uint64_t sequence, std::uint64_t window) {
  while (sequence - page.consumed.word.load(std::memory_order_acquire) > window) pause();
}

/// Result slots of a stream. Each side reports what it used in the timed part.
enum StreamSlot : std::size_t { mean_slot, worst_slot, stall_slot, reader_ns_slot, reader_faults_slot, records_slot };

/// Returns what this side and the daemon used in the timed part.
template <class Writer>
Usage write_stream(Side& side, Writer& writer, const StreamPlan& plan) {
  std::uint64_t sequence = 0;
  const std::uint64_t last = plan.seconds > 0 ? over : plan.warm + plan.count;
  const auto limit = static_cast<std::uint64_t>(plan.seconds * 1e9 / nanoseconds_per_tick());
  std::uint64_t start = 0;
  Usage before;
  while (sequence < last) {
    if (sequence % 256 == 0) {
      wait_for_reader(side.page, sequence, plan.window);
      if (start == 0 && sequence >= plan.warm) before = own_usage() + usage_of(plan.daemon), start = ticks();
      if (plan.seconds > 0 && start != 0 && ticks() - start > limit) break;
    }
    writer.send(sequence++);
  }
  const Usage used = own_usage() + usage_of(plan.daemon) - before;
  side.page.produced.word.store(sequence | over, std::memory_order_release);
  return used;
}

/// How the reader fares, in stretches of 100 ms and between two looks that found something.
class Evenness {
 public:
  void begin(std::uint64_t now, std::uint64_t next) { window_start_ = last_found_ = now, window_first_ = next; }
  void look(std::uint64_t now, std::uint64_t next, bool found) {
    if (found) longest_ = std::max(longest_, now - last_found_), last_found_ = now;
    if (now - window_start_ < tenth_) return;
    const double rate = static_cast<double>(next - window_first_) / seconds(now - window_start_);
    worst_ = any_ ? std::min(worst_, rate) : rate;
    any_ = true, window_start_ = now, window_first_ = next;
  }
  double worst() const noexcept { return any_ ? worst_ : -1; }  // records/s
  double longest_ms() const { return nanoseconds(longest_) * 1e-6; }

 private:
  std::uint64_t tenth_ = static_cast<std::uint64_t>(1e8 / nanoseconds_per_tick());
  std::uint64_t window_start_ = 0, window_first_ = 0, last_found_ = 0, longest_ = 0;
  double worst_ = 0;
  bool any_ = false;
};

template <class Reader>
void read_stream(Side& side, Reader& reader, const StreamPlan& plan) {
  std::uint64_t next = 0, start = 0, first = 0;
  Evenness evenness;
  Usage before;
  for (;;) {
    const std::uint64_t from = next;
    next = reader.drain(next);
    side.page.consumed.word.store(next, std::memory_order_release);
    const std::uint64_t now = ticks();
    if (start == 0 && next >= plan.warm) {
      before = own_usage(), start = now, first = next;
      evenness.begin(now, next);
    } else if (start != 0) {
      evenness.look(now, next, next != from);
    }
    const std::uint64_t end = side.page.produced.word.load(std::memory_order_acquire);
    if (end == 0 || next != (end & ~over)) continue;
    if (next <= first) fail("the stream was shorter than its warm-up");
    const Usage used = own_usage() - before;
    side.report(mean_slot, static_cast<double>(next - first) / seconds(now - start));
    side.report(worst_slot, evenness.worst());
    side.report(stall_slot, evenness.longest_ms());
    side.report(reader_ns_slot, used.processor_ns);
    side.report(reader_faults_slot, used.faults);
    side.report(records_slot, static_cast<double>(next - first));
    return;
  }
}

}  // namespace detail

/// One writer, one reader. `make_writer(side)` and `make_reader(side)` build endpoints after the fork: `send(n)`, and
/// `drain(n)`, which checks what is there, beginning with record n, and returns the number of the next one.
template <class MakeWriter, class MakeReader>
StreamResult stream(MakeWriter make_writer, MakeReader make_reader, const StreamPlan& plan) {
  SharedMemory memory(sizeof(SharedPage));
  auto& page = *new (memory.data()) SharedPage;
  Placement where = Placement::mixed;
  Usage writer_used;
  const Side parent = run_pair(
      page,
      [&](Side& side) {
        auto writer = make_writer(side);
        side.meet_other();  // the reader opens what the writer made
        pin(0);
        where = bracketed(side, [&] { writer_used = detail::write_stream(side, *writer, plan); });
      },
      [&](Side& side) {
        side.meet_other();
        auto reader = make_reader(side);
        pin(1);
        bracketed(side, [&] { detail::read_stream(side, *reader, plan); });
      });
  const double records = parent.reported(detail::records_slot);
  const Usage both =
      writer_used + Usage{parent.reported(detail::reader_ns_slot), parent.reported(detail::reader_faults_slot)};
  return {.mean = parent.reported(detail::mean_slot),
          .worst = parent.reported(detail::worst_slot),
          .stall = parent.reported(detail::stall_slot),
          .per_record = {both.processor_ns / records, both.faults / records},
          .where = where};
}
}  // namespace bench
