// Room that an appender has taken in a segment, between reserving and committing it.
#pragma once

#include <towpath/log/frame.hpp>
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

/// Writes the checksum of the frame that stands there, in a log that has them; last of all.
TOWPATH_HOT void seal_in(const Segment& segment, const Reservation& room) noexcept {
  if (segment.checksummed)
    seal_frame(room.frame, room.length, segment.uuid, static_cast<std::uint64_t>(room.offset.value));
}

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

/// The two lines 512 bytes ahead of a frame. Behind the end of the map that does nothing: a prefetch never faults.
TOWPATH_HOT void prefetch_ahead(const std::byte* frame) noexcept {
  prefetch_for_writing(frame + 512);
  prefetch_for_writing(frame + 576);
}

}  // namespace detail

}  // namespace towpath::inline TOWPATH_ABI::log
