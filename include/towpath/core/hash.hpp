// CRC-32C (Castagnoli, RFC 3720 appendix B.4): by instruction where the processor has it, else by Boost.CRC.
// murmur2 (Austin Appleby, public domain; seed and use as in Kafka's default partitioner).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <boost/crc.hpp>

#include <towpath/core/bytes.hpp>

namespace towpath::inline TOWPATH_ABI {

/// CRC-32C of `bytes`, continued from `crc`, the result for the bytes before (0 for none).
std::uint32_t crc32c(Bytes bytes, std::uint32_t crc = 0) noexcept;

/// Kafka's murmur2: seed 0x9747b28c, unsigned result. Its partitioner takes `murmur2(key) & 0x7fffffff`.
std::uint32_t murmur2(Bytes bytes) noexcept;

namespace detail {

/// The same function on any processor, about 0.4 GB/s.
inline std::uint32_t crc32c_portable(Bytes bytes, std::uint32_t crc) noexcept {
  using Engine = boost::crc_optimal<32, 0x1EDC6F41, 0, 0, true, true>;
  // Boost takes the unreflected remainder to continue from.
  std::uint32_t state = ~crc;
  std::uint32_t reflected = 0;
  for (int bit = 0; bit < 32; ++bit) reflected |= ((state >> bit) & 1u) << (31 - bit);
  Engine engine{reflected};
  engine.process_bytes(bytes.data(), bytes.size());
  return ~engine.checksum();
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) inline std::uint32_t crc32c_sse42(Bytes bytes, std::uint32_t crc) noexcept {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t state = static_cast<std::uint32_t>(~crc);
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    state = __builtin_ia32_crc32di(state, word);
  }
  auto narrow = static_cast<std::uint32_t>(state);
  for (; left > 0; --left, ++at) narrow = __builtin_ia32_crc32qi(narrow, static_cast<unsigned char>(*at));
  return ~narrow;
}
#endif

}  // namespace detail

inline std::uint32_t crc32c(Bytes bytes, std::uint32_t crc) noexcept {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return detail::crc32c_sse42(bytes, crc);
#endif
  return detail::crc32c_portable(bytes, crc);
}

inline std::uint32_t murmur2(Bytes bytes) noexcept {
  constexpr std::uint32_t m = 0x5bd1e995;
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint32_t hash = 0x9747b28c ^ static_cast<std::uint32_t>(left);
  for (; left >= 4; left -= 4, at += 4) {
    std::uint32_t k = std::to_integer<std::uint32_t>(at[0]) | std::to_integer<std::uint32_t>(at[1]) << 8 |
                      std::to_integer<std::uint32_t>(at[2]) << 16 | std::to_integer<std::uint32_t>(at[3]) << 24;
    k *= m;
    k ^= k >> 24;
    hash = (hash * m) ^ (k * m);
  }
  if (left > 2) hash ^= std::to_integer<std::uint32_t>(at[2]) << 16;
  if (left > 1) hash ^= std::to_integer<std::uint32_t>(at[1]) << 8;
  if (left > 0) hash = (hash ^ std::to_integer<std::uint32_t>(at[0])) * m;
  hash ^= hash >> 13;
  hash *= m;
  return hash ^ (hash >> 15);
}

}  // namespace towpath::inline TOWPATH_ABI
