// The compressions of Kafka's record batches, and the process-wide table of those that this program has. The library
// itself has none: include <towpath/adapters/compression.hpp> in one file of the program and all four are there.
//   auto codec = find_codec(Compression::lz4);            // unsupported_compression if it was not compiled in
//   if (codec) (*codec)->decompress(bytes, room, 1 << 20);
// Thread-safe: the table is filled while the program starts, and may be read and added to from any thread.
// One table per process; nothing here is shared or survives a crash.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>

#include <towpath/core/bytes.hpp>
#include <towpath/core/result.hpp>
#include <towpath/log/buffer.hpp>

namespace towpath::inline TOWPATH_ABI {

/// How the records of a batch are packed: bits 0 to 2 of Kafka's batch attributes.
enum class Compression : std::uint8_t { none = 0, gzip = 1, snappy = 2, lz4 = 3, zstd = 4 };

namespace detail {

inline constexpr std::string_view compression_names[] = {"none", "gzip", "snappy", "lz4", "zstd"};

}  // namespace detail

/// The name in Kafka's configs (compression.type): "none", "gzip", "snappy", "lz4", "zstd".
constexpr std::string_view name(Compression compression) noexcept {
  const auto number = static_cast<std::size_t>(compression);
  return number < std::size(detail::compression_names) ? detail::compression_names[number] : "unknown";
}

/// The compression of that name; nothing when there is none. Names are as above, in lower case.
constexpr std::optional<Compression> parse_compression(std::string_view text) noexcept {
  for (std::size_t number = 0; number < std::size(detail::compression_names); ++number)
    if (text == detail::compression_names[number]) return static_cast<Compression>(number);
  return std::nullopt;
}

namespace log {

/// One compression, as two functions that may be called from any thread and let no exception out.
struct Codec {
  /// Appends the packed form of `input`. On an error `out` is as before.
  Result<void> (*compress)(Bytes input, Buffer& out) noexcept;

  /// Replaces what is in `out` by the unpacked form of `input`, at most `budget_bytes` of it. `corrupt` when the input
  /// is no such form, is cut short, or unpacks to more; memory in proportion to the budget at most, whatever the input
  /// says.
  Result<void> (*decompress)(Bytes input, Buffer& out, std::uint64_t budget_bytes) noexcept;
};

namespace detail {

/// By Compression. Constant-initialized, so it is there before anybody's initializer adds to it.
inline constinit std::array<std::atomic<const Codec*>, 8> codecs{};

}  // namespace detail

/// Makes a codec known to this process; `codec` lives for ever. The last one given for a compression counts.
inline void install_codec(Compression compression, const Codec& codec) noexcept {
  // pairs with the acquire in find_codec()
  detail::codecs[static_cast<std::size_t>(compression) & 7].store(&codec, std::memory_order_release);
}

/// The codec for a compression other than none (which needs none: invalid_argument).
/// unsupported_compression when this program does not have it; corrupt for a number that Kafka never gave away.
inline Result<const Codec*> find_codec(Compression compression) noexcept {
  const auto number = static_cast<std::size_t>(compression);
  if (compression == Compression::none)
    return Failure{Errc::invalid_argument, "records that are not compressed need no codec"};
  if (number >= std::size(towpath::detail::compression_names))
    return Failure{Errc::corrupt, "a record batch names a compression that does not exist"};
  // pairs with the release in install_codec()
  const auto* codec = detail::codecs[number].load(std::memory_order_acquire);
  if (codec != nullptr) return codec;
  constexpr const char* missing[] = {"", "gzip", "snappy", "lz4", "zstd"};
  return Failure{Errc::unsupported_compression, missing[number]};
}

}  // namespace log
}  // namespace towpath::inline TOWPATH_ABI
