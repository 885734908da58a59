// Which names a topic may have, by Kafka's rule, and a reader. Checked before a name gets anywhere near a path.
#pragma once

#include <string_view>

#include <towpath/core/result.hpp>

namespace towpath::inline TOWPATH_ABI {

/// Errors: invalid_name.
constexpr Result<void> check_topic_name(std::string_view name) noexcept {
  if (name.empty()) return Failure{Errc::invalid_name, "a topic name is empty"};
  if (name.size() > 249) return Failure{Errc::invalid_name, "a topic name is longer than 249 characters"};
  if (name == "." || name == "..") return Failure{Errc::invalid_name, "a topic must not be called . or .."};
  for (const char c : name) {
    const bool fine =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (!fine) return Failure{Errc::invalid_name, "a topic name has a character other than A-Z a-z 0-9 . _ -"};
  }
  return {};
}

inline constexpr std::size_t max_reader_name = 240;  ///< its file is called reader.<name>

/// Of TopicConfig::readers and ConsumerConfig::name. Errors: invalid_argument.
constexpr Result<void> check_reader_name(std::string_view name) noexcept {
  if (name.size() <= max_reader_name && check_topic_name(name).has_value()) return {};
  return Failure{Errc::invalid_argument, "name: 1 to 240 of [A-Za-z0-9._-], not . or .."};
}

}  // namespace towpath::inline TOWPATH_ABI
