#include <doctest/doctest.h>

#include <towpath/core/hash.hpp>

#include <array>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace towpath;

namespace {

std::vector<std::byte> random_bytes(std::mt19937_64& random, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

template <class Make>
std::vector<std::byte> made(std::size_t size, Make make) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(make(i));
  return bytes;
}

// RFC 3720 B.4 prints the checksums as they go over the wire, low byte first; here as numbers.
const std::vector<std::pair<std::vector<std::byte>, std::uint32_t>> rfc_3720 = {
    {made(32, [](std::size_t) { return 0x00u; }), 0x8a9136aau},
    {made(32, [](std::size_t) { return 0xffu; }), 0x62a8ab43u},
    {made(32, [](std::size_t i) { return i; }), 0x46dd794eu},
    {made(32, [](std::size_t i) { return 31 - i; }), 0x113fdb5cu},
};

}  // namespace

TEST_CASE("CRC-32C gives the checksums that RFC 3720 prints") {
  for (const auto& [bytes, crc] : rfc_3720) {
    CHECK(crc32c(bytes) == crc);
    CHECK(detail::crc32c_portable(bytes, 0) == crc);
  }
  CHECK(crc32c(std::string_view{"123456789"}) == 0xe3069283u);
  CHECK(crc32c(Bytes{}) == 0u);
}

TEST_CASE("the instruction and the portable code agree at every length, alignment and split") {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("sse4.2")) {
    MESSAGE("skipped: this processor has no CRC-32C instruction");
    return;
  }
  std::mt19937_64 random{3720};
  for (std::size_t size = 0; size <= 300; ++size) {
    const auto bytes = random_bytes(random, size + 8);
    const std::size_t shift = random() % 8;
    const Bytes all{bytes.data() + shift, size};
    const auto expected = detail::crc32c_portable(all, 0);
    REQUIRE(detail::crc32c_sse42(all, 0) == expected);
    for (std::size_t split = 0; split <= size; ++split) {
      const Bytes head{all.data(), split};
      const Bytes tail{all.data() + split, size - split};
      REQUIRE(crc32c(tail, crc32c(head)) == expected);
      if (split % 7 == 0) REQUIRE(detail::crc32c_portable(tail, detail::crc32c_portable(head, 0)) == expected);
    }
  }
  const auto large = random_bytes(random, 1'000'003);
  CHECK(detail::crc32c_sse42(large, 17) == detail::crc32c_portable(large, 17));
#else
  MESSAGE("skipped: crc32c() is the portable code on this processor");
#endif
}

TEST_CASE("every single flipped bit changes the checksum") {
  std::mt19937_64 random{1};
  auto bytes = random_bytes(random, 257);
  const auto before = crc32c(bytes);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    REQUIRE(crc32c(bytes) != before);
    bytes[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
  }
  CHECK(crc32c(bytes) == before);
}

TEST_CASE("murmur2 gives the numbers of Kafka's own tests") {
  // org.apache.kafka.common.utils.UtilsTest, as signed numbers there.
  const std::pair<std::string_view, std::int32_t> kafka[] = {
      {"21", -973932308},
      {"foobar", -790332482},
      {"a-little-bit-long-string", -985981536},
      {"a-little-bit-longer-string", -1486304829},
      {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
      {"abc", 479470107},
  };
  for (const auto& [key, hash] : kafka) CHECK(static_cast<std::int32_t>(murmur2(key)) == hash);
}
