#include "where.hpp"

#include <chrono>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "quit.hpp"
#include "text.hpp"

namespace towpath::cli {
namespace {

constexpr std::int64_t ns_per_s = 1'000'000'000;
constexpr std::int64_t longest_ms = std::numeric_limits<std::int64_t>::max() / 1'000'000;

/// Reads an RFC 3339 time from left to right.
class TimeReader {
 public:
  explicit TimeReader(std::string_view text) noexcept : left_{text} {}

  std::optional<std::int64_t> nanoseconds() {
    const auto day = date();
    if (!day) return std::nullopt;
    std::int64_t seconds = std::int64_t{*day} * 86'400;
    if (left_.empty()) return in_range(seconds, 0);
    if (!take('T') && !take('t') && !take(' ')) return std::nullopt;
    const auto hour = number(2, 23);
    const auto minute = take(':') ? number(2, 59) : std::nullopt;
    const auto second = take(':') ? number(2, 60) : std::nullopt;
    if (!hour || !minute || !second) return std::nullopt;
    const auto part = take('.') ? fraction() : std::optional<std::int64_t>{0};
    const auto east = zone();
    if (!part || !east || !left_.empty()) return std::nullopt;
    seconds += *hour * 3'600 + *minute * 60 + *second - *east;
    return in_range(seconds, *part);
  }

 private:
  bool take(char c) noexcept {
    if (left_.empty() || left_.front() != c) return false;
    left_.remove_prefix(1);
    return true;
  }

  std::optional<std::int64_t> number(std::size_t digits, std::int64_t highest) noexcept {
    if (left_.size() < digits || left_.front() == '-') return std::nullopt;
    const auto value = parse_number(left_.substr(0, digits));
    left_.remove_prefix(digits);
    return value && *value <= highest ? value : std::nullopt;
  }

  /// Days since 1970.
  std::optional<int> date() noexcept {
    const auto year = number(4, 9'999);
    const auto month = take('-') ? number(2, 12) : std::nullopt;
    const auto day = take('-') ? number(2, 31) : std::nullopt;
    if (!year || !month || !day) return std::nullopt;
    const auto date = std::chrono::year{static_cast<int>(*year)} / static_cast<int>(*month) / static_cast<int>(*day);
    if (!date.ok()) return std::nullopt;
    return std::chrono::sys_days{date}.time_since_epoch().count();
  }

  /// Up to nine digits count.
  std::optional<std::int64_t> fraction() noexcept {
    std::int64_t value = 0;
    std::int64_t weight = ns_per_s;
    for (; !left_.empty() && left_.front() >= '0' && left_.front() <= '9'; left_.remove_prefix(1)) {
      weight /= 10;
      value += (left_.front() - '0') * weight;
    }
    return weight == ns_per_s ? std::nullopt : std::optional{value};
  }

  /// Seconds east of UTC. It must be said: a time without a zone would mean something else on each machine.
  std::optional<std::int64_t> zone() noexcept {
    if (take('Z') || take('z')) return 0;
    const bool east = take('+');
    if (!east && !take('-')) return std::nullopt;
    const auto hours = number(2, 23);
    const auto minutes = take(':') ? number(2, 59) : std::nullopt;
    if (!hours || !minutes) return std::nullopt;
    return (east ? 1 : -1) * (*hours * 3'600 + *minutes * 60);
  }

  static std::optional<std::int64_t> in_range(std::int64_t seconds, std::int64_t part) noexcept {
    if (seconds > longest_ms / 1'000 - 1 || seconds < -longest_ms / 1'000 + 1) return std::nullopt;
    return seconds * ns_per_s + part;
  }

  std::string_view left_;
};

std::optional<std::int64_t> parse_time(std::string_view text) {
  if (const auto ms = parse_number(text))
    return *ms >= 0 && *ms <= longest_ms ? std::optional{*ms * 1'000'000} : std::nullopt;
  return TimeReader{text}.nanoseconds();
}

}  // namespace

Where parse_where(std::string_view text) {
  if (text == "start" || text == "beginning" || text == "earliest") return {Where::Kind::start, 0};
  if (text == "end" || text == "latest") return {Where::Kind::end, 0};
  if (text.starts_with('@') || text.starts_with("s@")) {
    const auto time = parse_time(text.substr(text.find('@') + 1));
    if (!time)
      throw Quit{Exit::usage,
                 fmt::format("-o '{}': behind @ stand milliseconds since 1970, or a time with its zone such "
                             "as 2024-05-01T12:00:00Z",
                             text)};
    return {Where::Kind::time, *time};
  }
  const auto number = parse_number(text);
  if (!number || *number == std::numeric_limits<std::int64_t>::min())
    throw Quit{Exit::usage, fmt::format("-o '{}': start, end, an offset, -N for the last N, or @time", text)};
  if (text.starts_with('-')) return {Where::Kind::last, -*number};
  return {Where::Kind::offset, *number};
}

}  // namespace towpath::cli
