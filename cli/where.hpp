// Where reading begins, as it is typed behind -o:
//   start | beginning | earliest, end | latest
//   N        from offset N of each partition                 -N     the last N records of each partition
//   @MS      from the first record as late as MS, milliseconds since 1970 (also kcat's s@MS)
//   @TIME    the same in RFC 3339: @2024-05-01T12:00:00Z, @2024-05-01T14:00:00.5+02:00, @2024-05-01
#pragma once

#include <cstdint>
#include <string_view>

namespace towpath::cli {

struct Where {
  enum class Kind { start, end, offset, last, time };
  Kind kind = Kind::start;
  std::int64_t number = 0;  ///< of offset and last; of time the nanoseconds since 1970
};

/// Throws Quit with Exit::usage.
Where parse_where(std::string_view text);

}  // namespace towpath::cli
