// Which names a topic may have: Kafka's rule. Checked before a name gets anywhere near a path.
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

}  // namespace towpath::inline TOWPATH_ABI
