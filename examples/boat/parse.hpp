// Lines of the two recordings. What is no sentence and no message is none: nothing is guessed, nothing is read outside.
#pragma once

#include <charconv>
#include <optional>

#include "topics.hpp"

/// The text between the n-th comma and the next; empty when there are fewer.
inline std::string_view field(std::string_view text, int n) {
  for (; n > 0; --n) {
    const auto comma = text.find(',');
    if (comma == std::string_view::npos) return {};
    text.remove_prefix(comma + 1);
  }
  return text.substr(0, text.find(','));
}

/// The whole text as a number up to `max`.
inline std::optional<std::uint32_t> number(std::string_view text, std::uint32_t max, int base = 10) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

/// "034.25"; none when there is nothing in the field, as when an instrument is off.
inline std::optional<double> decimal(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Is it "$...*hh", where hh is the exclusive or of all bytes between?
inline bool is_sentence(std::string_view line) {
  if (line.size() < 9 || line[0] != '$' || line[line.size() - 3] != '*') return false;
  unsigned sum = 0;
  for (const char c : line.substr(1, line.size() - 4)) sum ^= static_cast<unsigned char>(c);
  return number(line.substr(line.size() - 2), 0xFF, 16) == sum;
}

/// "095559" as the time of the day.
inline std::optional<std::chrono::seconds> clock_of(std::string_view text) {
  if (text.size() != 6) return std::nullopt;
  const auto hours = number(text.substr(0, 2), 23);
  const auto minutes = number(text.substr(2, 2), 59);
  const auto seconds = number(text.substr(4, 2), 59);
  if (!hours || !minutes || !seconds) return std::nullopt;
  return std::chrono::seconds{*hours * 3'600 + *minutes * 60 + *seconds};
}

/// "2014-08-15T19:00:00.042Z". From 1970 to 2261: a Timestamp goes no further.
inline std::optional<towpath::Timestamp> time_of(std::string_view text) {
  constexpr std::string_view shape = "0000-00-00T00:00:00.000Z";
  if (text.size() != shape.size()) return std::nullopt;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != '0' && text[i] != shape[i]) return std::nullopt;
  const auto year = number(text.substr(0, 4), 2'261), month = number(text.substr(5, 2), 12);
  const auto day = number(text.substr(8, 2), 31), thousandths = number(text.substr(20, 3), 999);
  const std::string digits{text[11], text[12], text[14], text[15], text[17], text[18]};
  const auto clock = clock_of(digits);
  if (!year || *year < 1970 || !month || !day || !thousandths || !clock) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year{static_cast<int>(*year)}, std::chrono::month{*month},
                                         std::chrono::day{*day}};
  if (!date.ok()) return std::nullopt;
  return towpath::Timestamp{std::chrono::sys_days{date} + *clock + std::chrono::milliseconds{*thousandths}};
}

/// "time,priority,pgn,source,destination,length,hh,hh,..." without the time.
inline std::optional<CanMessage> message_of(std::string_view line) {
  const auto priority = number(field(line, 1), 7), pgn = number(field(line, 2), 0x7FFFF);
  const auto source = number(field(line, 3), 255), destination = number(field(line, 4), 255);
  const auto length = number(field(line, 5), 223);
  if (!priority || !pgn || !source || !destination || !length) return std::nullopt;
  if (std::count(line.begin(), line.end(), ',') != 5 + static_cast<std::ptrdiff_t>(*length)) return std::nullopt;
  CanMessage message{.pgn = *pgn,
                     .priority = static_cast<std::uint8_t>(*priority),
                     .source = static_cast<std::uint8_t>(*source),
                     .destination = static_cast<std::uint8_t>(*destination),
                     .length = static_cast<std::uint8_t>(*length)};
  for (int i = 0; i < message.length; ++i) {
    const auto byte = number(field(line, 6 + i), 255, 16);
    if (!byte) return std::nullopt;
    message.data[i] = static_cast<std::uint8_t>(*byte);
  }
  return message;
}
