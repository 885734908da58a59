// A Schema is what a topic remembers of its value type, so that two processes that disagree find out when they open it.
#pragma once

#include <cstdint>
#include <string_view>

#include <towpath/core/config.hpp>

namespace towpath::inline TOWPATH_ABI {

struct Schema {
  std::string_view name;        ///< of the type, as the compiler spells it
  std::string_view encoding;    ///< "zero-copy", "string", "integer", "bytes" or what a Serde says of itself
  std::uint64_t size = 0;       ///< bytes, 0 when it varies
  std::uint64_t alignment = 1;  ///< is_alignment()
};

/// What every value in a log is aligned to at least.
inline constexpr std::uint64_t least_value_alignment = 8;

/// What values can be aligned to: 1, 2, 4, ... 64.
constexpr bool is_alignment(std::uint64_t bytes) noexcept {
  return bytes >= 1 && bytes <= 64 && (bytes & (bytes - 1)) == 0;
}

/// What schemas call a type. Specialize it when two compilers spell yours differently.
template <class T>
constexpr std::string_view type_name() noexcept {
  constexpr std::string_view function =
      __PRETTY_FUNCTION__;  // "... type_name() [with T = robot::Scan; ...]" or "[T = robot::Scan]"
  constexpr auto begin = function.find("T = ") + 4;
  constexpr auto end = function.find_first_of(";]", begin);
  return function.substr(begin, end - begin);
}

}  // namespace towpath::inline TOWPATH_ABI
