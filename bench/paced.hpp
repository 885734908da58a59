// Latency at a steady rate. Each record has a time at which it is due, and its latency counts from then until the
// reader has checked it: a writer that was held up makes the records behind it late too, as they would be in a real
// stream.
#pragma once

#include "latency.hpp"

namespace bench {

struct PacedPlan {
  std::uint64_t before = 25;  // parts that do not count: 270 MB, after which what recycles memory does so
  std::uint64_t parts = 25;
  std::uint64_t records = 10'000;  // per part
  std::uint64_t warm = 500;        // per part, before the records that count
  double per_second = 250'000;
};

/// `make_writer(side)` builds what has `send(n)`; `make_reader(side)` what has `take(n, each)`, which checks the
/// records that are there, beginning with n, calls each(number) as it has checked one, and returns the number of the
/// next. The reader is the parent, for it has the samples.
template <class MakeWriter, class MakeReader>
RoundTrips paced(MakeWriter make_writer, MakeReader make_reader, const PacedPlan& plan) {
  SharedMemory memory(sizeof(SharedPage));
  auto& page = *new (memory.data()) SharedPage;
  RoundTrips result;
  const auto period = static_cast<std::uint64_t>(1e9 / plan.per_second / nanoseconds_per_tick());
  const std::uint64_t in_part = plan.warm + plan.records;
  const auto read = [&](Side& side) {
    auto reader = make_reader(side);
    side.meet_other();
    pin(0);
    std::vector<std::uint64_t> samples(in_part);
    std::uint64_t last_start = 0, next = 0;
    for (std::uint64_t part = 0; part < plan.before + plan.parts; ++part) {
      const Placement where = bracketed(side, [&] {
        std::uint64_t start;
        while ((start = page.start.word.load(std::memory_order_acquire)) == last_start) pause();
        last_start = start;
        const std::uint64_t first = next;
        while (next < first + in_part)
          next = reader->take(next,
                              [&](std::uint64_t n) { samples[n - first] = ticks() - (start + (n - first) * period); });
      });
      if (part < plan.before) continue;
      const auto from = samples.begin() + static_cast<std::ptrdiff_t>(plan.warm);
      if (where == Placement::near) result.near.insert(result.near.end(), from, samples.end());
      if (where == Placement::far) result.far.insert(result.far.end(), from, samples.end());
    }
  };
  const auto write = [&](Side& side) {
    auto writer = make_writer(side);
    side.meet_other();
    pin(1);
    std::uint64_t next = 0;
    for (std::uint64_t part = 0; part < plan.before + plan.parts; ++part)
      bracketed(side, [&] {
        std::uint64_t due = ticks() + 64 * period;
        page.start.word.store(due, std::memory_order_release);
        for (std::uint64_t i = 0; i < in_part; ++i, due += period) {
          while (ticks() < due) pause();
          writer->send(next++);
        }
      });
  };
  run_pair(page, read, write);
  return result;
}

}  // namespace bench
