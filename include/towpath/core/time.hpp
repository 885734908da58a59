// Two clocks, never mixed: Timestamp is what a record carries (UTC), Monotonic is what time-outs are measured with.
// Both come from a Clock that a test may replace; nothing else in the library asks what time it is.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>

#include <towpath/core/config.hpp>

namespace towpath::inline TOWPATH_ABI {

using Duration = std::chrono::nanoseconds;
using Timestamp = std::chrono::sys_time<std::chrono::nanoseconds>;  ///< nanoseconds since 1970, UTC
using Monotonic = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

/// Where time comes from. The functions must be callable from any thread and never fail.
struct Clock {
  Timestamp (*wall)() noexcept = &system_wall;
  Monotonic (*steady)() noexcept = &system_steady;

  static Timestamp system_wall() noexcept { return read<Timestamp>(CLOCK_REALTIME); }
  static Monotonic system_steady() noexcept { return read<Monotonic>(CLOCK_MONOTONIC); }

 private:
  template <class Point>
  static Point read(clockid_t id) noexcept {
    timespec now{};
    ::clock_gettime(id, &now);
    return Point{std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec}};
  }
};

}  // namespace towpath::inline TOWPATH_ABI
