// What is sent, and the shapes of work. Each system brings its ends; the loops, the checks and the flow control are the
// same for all, so that a difference between two systems is theirs.
#pragma once

#include "latency.hpp"
#include "stream.hpp"

namespace bench {

/// Calls of `work(i)` per second, for i from 0 to `count`. Warm up before; pin before.
template <class Work>
double rate(std::uint64_t count, Work&& work) {
  const std::uint64_t start = ticks();
  for (std::uint64_t i = 0; i < count; ++i) work(i);
  return static_cast<double>(count) / seconds(ticks() - start);
}

/// A cheap generator for random places: good enough to defeat the prefetchers, the same in every system.
class RandomPlaces {
 public:
  explicit RandomPlaces(std::uint64_t bound) : bound_(bound) {}
  std::uint64_t next() noexcept {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::uint64_t>((static_cast<Wide>(state_) * bound_) >> 64);
  }

 private:
  __extension__ using Wide = unsigned __int128;
  std::uint64_t state_ = 0x2545f4914f6cdd1dULL;
  std::uint64_t bound_;
};

}  // namespace bench
