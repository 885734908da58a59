// Room that an appender has taken in a segment, between reserving and committing it.
#pragma once

#include <towpath/log/segment.hpp>

namespace towpath::inline TOWPATH_ABI::log {

/// Room in the log that one appender owns: `count` slots from `n` on, and the bytes at `frame`.
struct Reservation {
  std::uint64_t n = 0;
  std::uint64_t position = 0;
  std::uint64_t length = 0;  ///< of the frame in slot n
  std::byte* frame = nullptr;
  Offset offset;
  std::uint64_t count = 1;
};

namespace detail {

/// Asks for the lines that the append after next will write: a locked instruction drains the store buffer, so a missing
/// line is never hidden otherwise. Measured: docs/decisions/0003.
TOWPATH_HOT void prefetch_for_writing(const std::byte* at) noexcept {
#if defined(__x86_64__)
  __asm__ __volatile__("prefetchw %0" : : "m"(*at));
#else
  __builtin_prefetch(at, 1, 3);
#endif
}

/// The two lines 512 bytes ahead of a frame at `position`, or the last ones of the data.
TOWPATH_HOT void prefetch_ahead(const Segment& segment, std::uint64_t position) noexcept {
  const std::uint64_t ahead = std::min(position + 512, segment.capacity - 128);
  prefetch_for_writing(segment.data + ahead);
  prefetch_for_writing(segment.data + ahead + 64);
}

}  // namespace detail

}  // namespace towpath::inline TOWPATH_ABI::log
