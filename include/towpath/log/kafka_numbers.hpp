// Numbers as Kafka writes them: big-endian, and zig-zag varints (seven bits to a byte, the low ones first, the sign in
// bit 0). Functions over memory; none of them reads or writes outside what it is given.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <towpath/core/bytes.hpp>

namespace towpath::inline TOWPATH_ABI::log {

static_assert(std::endian::native == std::endian::little, "big-endian numbers are made by turning bytes around");

/// The number at `at`, which has sizeof(T) bytes.
template <std::integral T>
T load_big_endian(const std::byte* at) noexcept {
  std::make_unsigned_t<T> value;
  std::memcpy(&value, at, sizeof value);
  if constexpr (sizeof value == 2) value = __builtin_bswap16(value);
  if constexpr (sizeof value == 4) value = __builtin_bswap32(value);
  if constexpr (sizeof value == 8) value = __builtin_bswap64(value);
  return static_cast<T>(value);
}

template <std::integral T>
void store_big_endian(std::byte* at, T number) noexcept {
  auto value = static_cast<std::make_unsigned_t<T>>(number);
  if constexpr (sizeof value == 2) value = __builtin_bswap16(value);
  if constexpr (sizeof value == 4) value = __builtin_bswap32(value);
  if constexpr (sizeof value == 8) value = __builtin_bswap64(value);
  std::memcpy(at, &value, sizeof value);
}

constexpr std::uint64_t zig_zag(std::int64_t number) noexcept {
  return static_cast<std::uint64_t>(number) << 1 ^ static_cast<std::uint64_t>(number >> 63);
}
constexpr std::int64_t un_zig_zag(std::uint64_t bits) noexcept {
  return static_cast<std::int64_t>(bits >> 1 ^ (~(bits & 1) + 1));
}

inline constexpr std::size_t max_varint_bytes = 10;  ///< 5 for a number of 32 bits

/// How many bytes the number takes.
constexpr std::size_t varint_size(std::int64_t number) noexcept {
  return (static_cast<std::size_t>(std::bit_width(zig_zag(number) | 1)) + 6) / 7;
}

/// Writes varint_size(number) bytes and returns the place behind them.
inline std::byte* store_varint(std::byte* at, std::int64_t number) noexcept {
  std::uint64_t bits = zig_zag(number);
  for (; bits >= 0x80; bits >>= 7) *at++ = static_cast<std::byte>(bits | 0x80);
  *at++ = static_cast<std::byte>(bits);
  return at;
}

/// Reads what Kafka wrote, front to back. A read that finds too little, or a number that is too large, gives nothing
/// sensible, and from then on failed() is true and every read gives nothing: ask once, at the end.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) noexcept : at_{bytes.begin()}, end_{bytes.end()} {}

  [[nodiscard]] bool failed() const noexcept { return failed_; }
  [[nodiscard]] bool at_end() const noexcept { return at_ == end_; }
  [[nodiscard]] std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - at_); }
  [[nodiscard]] const std::byte* position() const noexcept { return at_; }
  void fail() noexcept { at_ = end_, failed_ = true; }

  template <std::integral T>
  T number() noexcept {
    if (left() < sizeof(T)) return fail(), T{0};
    at_ += sizeof(T);
    return load_big_endian<T>(at_ - sizeof(T));
  }

  TOWPATH_HOT std::int32_t varint() noexcept {
    const std::uint64_t bits = varint_bits<32>();
    return static_cast<std::int32_t>(un_zig_zag(bits));
  }
  TOWPATH_HOT std::int64_t varlong() noexcept { return un_zig_zag(varint_bits<64>()); }

  /// The next `size` bytes; negative is a failure.
  Bytes bytes(std::int64_t size) noexcept {
    if (size < 0 || static_cast<std::uint64_t>(size) > left()) return fail(), Bytes{};
    at_ += size;
    return {at_ - size, static_cast<std::size_t>(size)};
  }

 private:
  /// Nearly all numbers in a record take one byte or two.
  template <unsigned width>
  TOWPATH_HOT std::uint64_t varint_bits() noexcept {
    if (at_ != end_) {
      const auto first = std::to_integer<std::uint64_t>(at_[0]);
      if (first < 0x80) return ++at_, first;
      const auto second = left() > 1 ? std::to_integer<std::uint64_t>(at_[1]) : 0x80;
      if (second < 0x80) return at_ += 2, (first & 0x7F) | second << 7;
    }
    return long_varint_bits<width>();
  }

  template <unsigned width>
  TOWPATH_COLD std::uint64_t long_varint_bits() noexcept {
    std::uint64_t bits = 0;
    for (unsigned shift = 0; shift < width && at_ != end_; shift += 7) {
      const auto byte = std::to_integer<std::uint64_t>(*at_++);
      const auto part = byte & 0x7F;
      if (shift + 7 > width && part >> (width - shift) != 0) break;  // more bits than the number has
      bits |= part << shift;
      if (byte < 0x80) return bits;
    }
    fail();
    return 0;
  }

  const std::byte* at_;
  const std::byte* end_;
  bool failed_ = false;
};

}  // namespace towpath::inline TOWPATH_ABI::log
