// Small things about text: what people type, and what they read. Functions without state. Those that read what was
// typed throw Quit with Exit::usage and say what is wrong with it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace towpath::cli {

/// One escape, behind its backslash: n, r, t, 0, \ or xHH (one or two hexadecimal digits). Takes what it reads off the
/// text; none if it is no escape.
std::optional<char> take_escape(std::string_view& text) noexcept;

/// A delimiter as it was typed: any text with escapes. `option` is for the message, as "-D".
std::string parse_delimiter(std::string_view text, std::string_view option);

/// Of the whole text; none if it is no number.
std::optional<std::int64_t> parse_number(std::string_view text) noexcept;

/// "5s", "250ms", "1.5m", "2h"; a number alone is seconds.
std::chrono::nanoseconds parse_duration(std::string_view text, std::string_view option);

/// The name that was probably meant; none if none is near.
std::optional<std::string> nearest(std::string_view typed, const std::vector<std::string>& names);

bool is_utf8(std::string_view bytes) noexcept;
std::string to_base64(std::string_view bytes);

/// "1.4 MiB", "17 B".
std::string human_bytes(double bytes);

/// "s" unless it is one.
inline const char* plural(std::uint64_t count) noexcept { return count == 1 ? "" : "s"; }

/// Rows of cells as lines with aligned columns; the first row is the heading. Columns of `right` (true) end at the
/// right.
std::string table(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right);

}  // namespace towpath::cli
