// How values become bytes in the log and bytes become values again.
// A trivially copyable type needs nothing: it is stored as it is and read in place (ZeroCopy). std::string, Bytes and
// integers are built in. For anything else specialize Serde (all three functions; encode writes straight into the log):
//   template <> struct towpath::Serde<Plan> {
//     static std::size_t size(const Plan&);                        // exact
//     static void encode(const Plan&, std::span<std::byte> out);   // out.size() == size(plan)
//     static towpath::Result<Plan> decode(towpath::Bytes);         // undecodable if it is none
//   };
// or pass another one as second argument: Topic<Plan, JsonSerde<Plan>> (adapters/json.hpp, msgpack.hpp, cbor.hpp).
// decode() sees the log itself: a hostile process with write rights may change the bytes meanwhile. Where a check must
// hold for what is used (lengths, nesting), copy first.
// Beware: a struct with pointers in it is trivially copyable too, and its pointers mean nothing in another process.
#pragma once

#include <array>
#include <concepts>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <towpath/core/bytes.hpp>
#include <towpath/core/result.hpp>
#include <towpath/serde/schema.hpp>

namespace towpath::inline TOWPATH_ABI {

namespace detail {

template <class T>
inline constexpr bool is_view = false;
template <class C, class Traits>
inline constexpr bool is_view<std::basic_string_view<C, Traits>> = true;
template <class T, std::size_t N>
inline constexpr bool is_view<std::span<T, N>> = true;

}  // namespace detail

/// Types that are stored as they are.
template <class T>
concept ZeroCopy = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && !detail::is_view<T> && alignof(T) <= 64;

template <class T>
struct Serde {
  static_assert(
      !std::is_pointer_v<T> && !detail::is_view<T>,
      "this value type has a pointer: it means nothing in another process; use std::string or towpath::Bytes");
  static_assert(std::is_trivially_copyable_v<T>,
                "this value type is not trivially copyable: specialize towpath::Serde for it");
  static_assert(alignof(T) <= 64, "records are aligned to 64 bytes at most");

  using View = const T&;
  static constexpr std::string_view encoding = "zero-copy";
  static constexpr std::size_t alignment = alignof(T);
  static constexpr std::size_t fixed_size = sizeof(T);

  static constexpr std::size_t size(const T&) noexcept { return sizeof(T); }
  static void encode(const T& value, std::span<std::byte> out) noexcept { std::memcpy(out.data(), &value, sizeof(T)); }
  static bool accepts(Bytes bytes) noexcept {
    return bytes.size() == sizeof(T) && reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(T) == 0;
  }
  /// In place. Bytes that a hostile writer changed after accepts() are seen as zeroes, never outside the record.
  static View view(Bytes bytes) noexcept {
    // Not const, and used so that no compiler makes it const: it takes no room in the program's file.
    [[gnu::used]] alignas(T) static std::byte zeroes[sizeof(T)];
    return *reinterpret_cast<const T*>(accepts(bytes) ? bytes.data() : zeroes);
  }
};

template <>
struct Serde<std::string> {
  using View = std::string_view;  ///< into the log; copy it to keep it longer than the Batch
  static constexpr std::string_view encoding = "string";
  static std::size_t size(std::string_view value) noexcept { return value.size(); }
  static void encode(std::string_view value, std::span<std::byte> out) noexcept {
    if (!value.empty()) std::memcpy(out.data(), value.data(), value.size());
  }
  static bool accepts(Bytes) noexcept { return true; }
  static View view(Bytes bytes) noexcept { return bytes.text(); }
};

template <>
struct Serde<Bytes> {
  using View = Bytes;
  static constexpr std::string_view encoding = "bytes";
  static std::size_t size(Bytes value) noexcept { return value.size(); }
  static void encode(Bytes value, std::span<std::byte> out) noexcept {
    if (!value.empty()) std::memcpy(out.data(), value.data(), value.size());
  }
  static bool accepts(Bytes) noexcept { return true; }
  static View view(Bytes bytes) noexcept { return bytes; }
};

namespace detail {

/// Big-endian, as Kafka's ShortSerializer, IntegerSerializer and LongSerializer have it.
template <std::integral T>
constexpr std::array<std::byte, sizeof(T)> big_endian(T value) noexcept {
  std::array<std::byte, sizeof(T)> bytes{};
  auto bits = static_cast<std::make_unsigned_t<T>>(value);
  for (std::size_t i = sizeof(T); i-- > 0;) {
    bytes[i] = static_cast<std::byte>(bits & 0xFFu);
    if constexpr (sizeof(T) > 1) bits = static_cast<std::make_unsigned_t<T>>(bits >> 8);
  }
  return bytes;
}

template <std::integral T>
constexpr T from_big_endian(const std::byte* at) noexcept {
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) bits = bits << 8 | std::to_integer<std::uint64_t>(at[i]);
  return static_cast<T>(bits);
}

}  // namespace detail

/// Integers of 2, 4 and 8 bytes, in Kafka's byte order.
template <std::integral T>
  requires(sizeof(T) > 1 && !std::same_as<T, bool>)
struct Serde<T> {
  using View = T;
  static constexpr std::string_view encoding = "integer";
  static constexpr std::size_t fixed_size = sizeof(T);
  static constexpr std::size_t size(T) noexcept { return sizeof(T); }
  static void encode(T value, std::span<std::byte> out) noexcept {
    const auto bytes = detail::big_endian(value);
    std::memcpy(out.data(), bytes.data(), sizeof(T));
  }
  static bool accepts(Bytes bytes) noexcept { return bytes.size() == sizeof(T); }
  static View view(Bytes bytes) noexcept { return accepts(bytes) ? detail::from_big_endian<T>(bytes.data()) : T{}; }
};

/// Read in place: view() makes nothing and cannot fail once accepts() said yes.
template <class S, class T>
concept InPlaceSerde = requires(const T& value, std::span<std::byte> out, Bytes bytes) {
  typename S::View;
  { S::size(value) } -> std::convertible_to<std::size_t>;  // exact: room is reserved before encode
  S::encode(value, out);                                   // straight into the log
  { S::accepts(bytes) } -> std::same_as<bool>;             // poll ends before bytes that are refused
  { S::view(bytes) } -> std::same_as<typename S::View>;
};

/// Decoded into a value of its own, which may fail.
template <class S, class T>
concept DecodingSerde = requires(const T& value, std::span<std::byte> out, Bytes bytes) {
  { S::size(value) } -> std::convertible_to<std::size_t>;
  S::encode(value, out);
  { S::decode(bytes) } -> std::same_as<Result<T>>;
};

/// Knows the size only when all is written, or refuses some values: send() asks prepare() once, in place of size() and
/// encode(), and returns its failure with nothing appended.
template <class S, class T>
concept PreparingSerde = requires(const T& value) {
  { S::prepare(value)->bytes() } -> std::same_as<Bytes>;  // valid while what prepare() returned is
  { S::prepare(value).error() } -> std::same_as<Failure>;
};

/// Says at compile time what its values are to be aligned to.
template <class S>
concept AlignedSerde = requires {
  typename std::integral_constant<std::uint64_t, S::alignment>;
};

template <class S, class T>
concept SerdeFor = InPlaceSerde<S, T> || DecodingSerde<S, T>;

static_assert(InPlaceSerde<Serde<double>, double> && InPlaceSerde<Serde<std::string>, std::string>);
static_assert(InPlaceSerde<Serde<Bytes>, Bytes> && InPlaceSerde<Serde<std::int64_t>, std::int64_t>);

/// What a topic remembers of values of T in the encoding S.
template <class T, class S>
constexpr Schema schema_of() noexcept {
  Schema schema{type_name<T>(), "custom", 0, 1};
  if constexpr (requires { S::encoding; }) schema.encoding = S::encoding;
  if constexpr (requires { S::fixed_size; }) schema.size = S::fixed_size;
  if constexpr (AlignedSerde<S>)
    static_assert(is_alignment(S::alignment), "a serde's alignment is a power of two, 64 at most");
  if constexpr (requires { S::alignment; }) schema.alignment = S::alignment;
  if constexpr (std::same_as<T, std::string>) schema.name = "string";
  if constexpr (std::same_as<T, Bytes>) schema.name = "bytes";
  return schema;
}

}  // namespace towpath::inline TOWPATH_ABI
