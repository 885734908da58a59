#include "text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "quit.hpp"

namespace towpath::cli {
namespace {

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/// How many characters must be put in, taken out, changed or swapped to make one of the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t k = 1; k <= b.size(); ++k) {
      row[k] = std::min({last[k] + 1, row[k - 1] + 1, last[k - 1] + (a[i - 1] == b[k - 1] ? 0u : 1u)});
      if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1]) row[k] = std::min(row[k], before[k - 2] + 1);
    }
    before.swap(last), last.swap(row);
  }
  return last[b.size()];
}

/// How many bytes the UTF-8 character at the front has; 0 if there is none.
std::size_t utf8_length(std::string_view text) noexcept {
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return at(i) >= low && at(i) <= high;
  };
  const unsigned first = at(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {  // not overlong, no surrogates
    const bool second = follows(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF);
    return second && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {  // not overlong, at most U+10FFFF
    const bool second = follows(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
    return second && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::optional<char> take_escape(std::string_view& text) noexcept {
  if (text.empty()) return std::nullopt;
  const char c = text.front();
  text.remove_prefix(1);
  switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case '0': return '\0';
    case '\\': return '\\';
    case 'x': break;
    default: return std::nullopt;
  }
  int value = -1;
  for (int digits = 0; digits < 2 && !text.empty() && hex_digit(text.front()) >= 0; ++digits) {
    value = std::max(value, 0) * 16 + hex_digit(text.front());
    text.remove_prefix(1);
  }
  return value < 0 ? std::nullopt : std::optional{static_cast<char>(value)};
}

std::string parse_delimiter(std::string_view text, std::string_view option) {
  std::string parsed;
  for (auto left = text; !left.empty();) {
    const char c = left.front();
    left.remove_prefix(1);
    const auto escaped = c == '\\' ? take_escape(left) : std::optional{c};
    if (!escaped)
      throw Quit{Exit::usage, fmt::format("{} '{}': escapes are \\n \\r \\t \\0 \\\\ and \\xHH", option, text)};
    parsed += *escaped;
  }
  if (parsed.empty()) throw Quit{Exit::usage, fmt::format("{}: a delimiter has one byte at least", option)};
  return parsed;
}

std::optional<std::int64_t> parse_number(std::string_view text) noexcept {
  std::int64_t value = 0;
  const auto done = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_whole = !text.empty() && done.ec == std::errc{} && done.ptr == text.data() + text.size();
  return is_whole ? std::optional{value} : std::nullopt;
}

std::chrono::nanoseconds parse_duration(std::string_view text, std::string_view option) {
  double value = 0;
  const auto done = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit{done.ptr, static_cast<std::size_t>(text.data() + text.size() - done.ptr)};
  constexpr std::pair<std::string_view, double> units[] = {{"", 1},   {"ms", 1e-3}, {"us", 1e-6}, {"s", 1},
                                                           {"m", 60}, {"min", 60},  {"h", 3600},  {"d", 86400}};
  const auto* known = std::find_if(std::begin(units), std::end(units), [&](const auto& u) { return u.first == unit; });
  const double seconds = known == std::end(units) ? -1 : value * known->second;
  if (done.ec != std::errc{} || !(seconds >= 0) || seconds > 1e9)
    throw Quit{Exit::usage, fmt::format("{} '{}': a duration such as 5s, 250ms, 2m or 1h", option, text)};
  return std::chrono::nanoseconds{std::llround(seconds * 1e9)};
}

std::optional<std::string> nearest(std::string_view typed, const std::vector<std::string>& names) {
  const std::string* best = nullptr;
  std::size_t best_distance = 1 + std::max<std::size_t>(1, typed.size() / 3);
  for (const auto& name : names) {
    if (const auto d = distance(typed, name); d < best_distance) best = &name, best_distance = d;
  }
  return best ? std::optional{*best} : std::nullopt;
}

bool is_utf8(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const auto length = utf8_length(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

std::string to_base64(std::string_view bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto at = [&](std::size_t n) {
      return i + n < bytes.size() ? static_cast<unsigned char>(bytes[i + n]) : std::uint32_t{0};
    };
    const std::uint32_t three = at(0) << 16 | at(1) << 8 | at(2);
    for (unsigned n = 0; n < 4; ++n) text += i + n > bytes.size() ? '=' : digits[three >> (18 - 6 * n) & 63];
  }
  return text;
}

std::string human_bytes(double bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(units); ++unit) bytes /= 1024;
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

std::string table(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right) {
  std::vector<std::size_t> widths(right.size());
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) text += "  ";
      const bool is_last = i + 1 == row.size();
      if (right[i])
        text += fmt::format("{:>{}}", row[i], widths[i]);
      else
        text += is_last ? row[i] : fmt::format("{:<{}}", row[i], widths[i]);
    }
    text += '\n';
  }
  return text;
}

}  // namespace towpath::cli
