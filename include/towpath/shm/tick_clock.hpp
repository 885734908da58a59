// The wall clock by the processor's counter: the same time as Clock::wall in half its time (docs/decisions/0017). It
// asks the real clock every millisecond and goes on from there, so it follows every correction, a step at the next
// asking, is off by 2 us at most between, and never needs a table of frequencies. Where the kernel itself does not
// trust the counter (its clocksource is not tsc), or the caller gave a clock of his own, it is that clock. One thread.
#pragma once

#include <cstdint>

#include <towpath/core/time.hpp>
#include <towpath/shm/system.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

class TickClock {
 public:
  explicit TickClock(const Clock& clock)
      : clock_{clock}, is_trusted_{clock.wall == &Clock::system_wall && is_counter_trusted()} {}

  [[nodiscard]] TOWPATH_HOT Timestamp now() noexcept {
#if defined(__x86_64__)
    const std::uint64_t since = __builtin_ia32_rdtsc() - ticks_;
    if (since < valid_ticks_) [[likely]]
      return at_ + Duration{static_cast<std::int64_t>(since * ns_per_tick_ >> shift)};
    if (is_trusted_) return synchronise();
#endif
    return clock_.wall();
  }

 private:
  static constexpr unsigned shift = 32;
  static constexpr std::int64_t interval_ns = 1'000'000;
  static constexpr std::uint64_t longest_reading = 20'000;  // ticks; a pair read across a preemption is no pair

  static bool is_counter_trusted() {
    static const bool trusted =
        read_proc("/sys/devices/system/clocksource/clocksource0/current_clocksource") == "tsc\n";
    return trusted;
  }

#if defined(__x86_64__)
  /// Reads both clocks as a pair. The rate comes from this pair and one about a millisecond old; until there is one the
  /// real clock answers.
  TOWPATH_COLD Timestamp synchronise() noexcept {
    const std::uint64_t ticks = __builtin_ia32_rdtsc();
    const Timestamp wall = clock_.wall();
    valid_ticks_ = 0;
    if (__builtin_ia32_rdtsc() - ticks > longest_reading) return wall;
    const auto ns = (wall - pair_wall_).count();
    if (ns >= interval_ns / 2 && ns < 100 * interval_ns && ticks > pair_ticks_)
      take_rate((static_cast<std::uint64_t>(ns) << shift) / (ticks - pair_ticks_));
    if (ns >= interval_ns / 2 || ns < 0) pair_wall_ = wall, pair_ticks_ = ticks;
    if (ns_per_tick_ != 0) {
      valid_ticks_ = (std::uint64_t{interval_ns} << shift) / ns_per_tick_;
      at_ = wall, ticks_ = ticks;
    }
    return wall;
  }

  /// Only one that agrees with the one before, to 0.1 %: a step of the wall clock between two readings is no rate.
  void take_rate(std::uint64_t rate) noexcept {
    const std::uint64_t apart = rate > last_rate_ ? rate - last_rate_ : last_rate_ - rate;
    if (apart <= last_rate_ >> 10) ns_per_tick_ = rate;
    last_rate_ = rate;
  }
#endif

  Clock clock_;
  bool is_trusted_;
  std::uint64_t ns_per_tick_ = 0;  // as a fixed-point number
  std::uint64_t last_rate_ = 0;    // found last, good or not
  std::uint64_t valid_ticks_ = 0;  // how long at_ may be gone on from; 0: not at all
  std::uint64_t ticks_ = 0;
  Timestamp at_{};
  std::uint64_t pair_ticks_ = 0;
  Timestamp pair_wall_{};
};

}  // namespace towpath::inline TOWPATH_ABI::shm
