// How often a reader looks that keeps up with a fast stream. One that looks right behind the writer takes away the
// cache lines that the writer is about to write, and slows it several times (docs/decisions/0010). So while a stream
// lasts it looks every 6 us, and finds more each time. A reader of single records, as in a round trip, never waits
// here. One thread; no shared state.
#pragma once

#include <algorithm>

#include <towpath/core/time.hpp>
#include <towpath/shm/word.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

class StreamPace {
 public:
  static constexpr Duration interval{std::chrono::microseconds{6}};
  static constexpr std::size_t begins_with = 4;    ///< records in one look, while nothing says that it is a stream
  static constexpr std::size_t goes_on_with = 32;  ///< records per interval: 5 million per second

  [[nodiscard]] TOWPATH_HOT bool is_stream() const noexcept { return is_stream_; }

  /// After each poll: how many records it found, of `limit` at most. A full batch means that the reader is behind.
  TOWPATH_HOT void notice(std::size_t found, std::size_t limit, const Clock& clock) noexcept {
    is_stream_ = found >= (is_stream_ ? goes_on_with : begins_with) && found < limit;
    if (is_stream_) [[unlikely]]
      looked_at_ = clock.steady();
  }

  /// Before the next look of a stream: the rest of the interval, `limit` at most. Work since the last look counts.
  TOWPATH_COLD void stay_away(Duration limit, const Clock& clock) const noexcept {
    const Monotonic until = looked_at_ + std::min(interval, limit);
    for (int round = 0; round < max_rounds && clock.steady() < until; ++round)
      for (int i = 0; i < 16; ++i) shm::pause();
  }

 private:
  static constexpr int max_rounds = 256;  // a clock that stands still holds nobody up

  bool is_stream_ = false;
  Monotonic looked_at_{};
};

}  // namespace towpath::inline TOWPATH_ABI::detail
