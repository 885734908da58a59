// Numbers that must not be mixed up: offsets, partitions, epochs. Each is one integer with its own type.
//   Offset next = record.offset() + 1;      std::int64_t lag = end - next;
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

#include <towpath/core/config.hpp>

namespace towpath::inline TOWPATH_ABI {

/// A record's place in its partition: 0, 1, 2, ... Never re-used; gaps are possible (aborted appends). Below 2^48.
struct Offset {
  std::int64_t value = 0;

  friend constexpr auto operator<=>(Offset, Offset) noexcept = default;
  friend constexpr Offset operator+(Offset offset, std::int64_t n) noexcept { return {offset.value + n}; }
  friend constexpr Offset operator-(Offset offset, std::int64_t n) noexcept { return {offset.value - n}; }
  friend constexpr std::int64_t operator-(Offset a, Offset b) noexcept { return a.value - b.value; }
  constexpr Offset& operator++() noexcept { return ++value, *this; }
};

/// A partition's number within its topic: 0 to 32,766.
struct PartitionId {
  std::int32_t value = 0;
  friend constexpr auto operator<=>(PartitionId, PartitionId) noexcept = default;
};

/// Counts how often a partition's log was cut back; a record carries the epoch it was written in.
struct LeaderEpoch {
  std::int32_t value = 0;
  friend constexpr auto operator<=>(LeaderEpoch, LeaderEpoch) noexcept = default;
};

inline constexpr std::int32_t max_partitions = 32'767;  ///< per topic: a pin's byte has 15 bits for the partition

namespace literals {

consteval std::uint64_t operator""_KiB(unsigned long long n) { return n << 10; }
consteval std::uint64_t operator""_MiB(unsigned long long n) { return n << 20; }
consteval std::uint64_t operator""_GiB(unsigned long long n) { return n << 30; }

}  // namespace literals

/// `value` rounded up to a multiple of `alignment`, a power of two.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace towpath::inline TOWPATH_ABI

template <>
struct std::hash<towpath::PartitionId> {
  std::size_t operator()(towpath::PartitionId id) const noexcept { return static_cast<std::size_t>(id.value); }
};
