// What the measures of the shape share: names of points, clocks, how much room a folder takes. A point is one size of
// one shape, 1,000 partitions say. Each runs in processes of its own, so that no map and no cache of a smaller one is
// left.
#pragma once

#include <sys/stat.h>

#include "endpoints.hpp"
#include "usage.hpp"

namespace bench {

/// One size of one shape. Its measures are called shape_<shape>_<size>_<what>.
class Point {
 public:
  Point(const char* shape, std::uint64_t size) : name_("shape_" + std::string(shape) + '_' + std::to_string(size)) {}
  void print(const char* what, double value, const char* unit) const {
    bench::print(name_ + '_' + what, value, unit);
    std::fflush(stdout);
  }

 private:
  std::string name_;
};

/// Nanoseconds that `work()` takes.
template <class Work>
double time_of(Work&& work) {
  const std::uint64_t start = ticks();
  work();
  return nanoseconds(ticks() - start);
}

inline double median(std::vector<double> values) {
  if (values.empty()) fail("no samples");
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Median of what `count` calls of `work(i)` take, in ns.
template <class Work>
double median_time(std::uint64_t count, Work&& work) {
  std::vector<double> times;
  for (std::uint64_t i = 0; i < count; ++i) times.push_back(time_of([&] { work(i); }));
  return median(std::move(times));
}

/// Median over `chunks` of what one call of `work(i)` takes in a chunk of `size` calls, in ns. A roll falls into few
/// chunks, so it is not in here.
template <class Work>
double median_in_chunks(std::uint64_t chunks, std::uint64_t size, Work&& work) {
  std::uint64_t i = 0;
  const auto chunk = [&](std::uint64_t) {
    for (const std::uint64_t end = i + size; i < end; ++i) work(i);
  };
  return median_time(chunks, chunk) / static_cast<double>(size);
}

/// Bytes that the files below `folder` take, holes left out.
inline double bytes_in(const std::string& folder) {
  double bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    struct stat info = {};
    if (lstat(entry.path().c_str(), &info) != 0) {
      require(errno == ENOENT, entry.path().string());  // maintenance may remove files meanwhile
      continue;
    }
    bytes += 512.0 * static_cast<double>(info.st_blocks);
  }
  return bytes;
}

/// A bus whose maintenance runs only when it is called.
inline towpath::BusConfig by_hand() {
  return {.maintenance = towpath::MaintenanceMode::manual, .maintenance_interval = 1ms};
}

/// Sizes from `first` to `last`, each `factor` times the one before.
inline std::vector<std::uint64_t> sizes(std::uint64_t first, std::uint64_t last, std::uint64_t factor) {
  std::vector<std::uint64_t> all;
  for (std::uint64_t size = first; size <= last; size *= factor) all.push_back(size);
  return all;
}

/// Reads until `wanted` records came, in batches of any partition. `see(record)` checks each.
template <class Consumer, class See>
void read_exactly(Consumer& consumer, std::uint64_t wanted, See&& see) {
  std::uint64_t got = 0;
  while (got < wanted) {
    const auto batch = consumer.poll(5s);
    expect_ok(batch.error(), "poll");
    if (batch.empty()) fail("records are missing");
    for (const auto& record : batch) see(record);
    got += batch.size();
  }
  if (got != wanted) fail("more records than were sent");
}

}  // namespace bench
