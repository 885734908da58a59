// The hash against librdkafka's own partitioner: both must send a key to the same partition.
#include <doctest/doctest.h>

#include <towpath/core/hash.hpp>

#include <random>
#include <string>

#include <librdkafka/rdkafka.h>

using namespace towpath;

TEST_CASE("a key goes to the partition that librdkafka's murmur2 partitioner takes") {
  std::mt19937_64 random{2};
  std::size_t longest = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::string key(random() % 65, '\0');
    for (auto& c : key) c = static_cast<char>(random());
    longest = std::max(longest, key.size());
    for (const std::int32_t partitions : {1, 2, 3, 7, 12, 100, 1'000, 32'767}) {
      const auto theirs =
          rd_kafka_msg_partitioner_murmur2(nullptr, key.data(), key.size(), partitions, nullptr, nullptr);
      const auto ours = (murmur2(std::string_view{key}) & 0x7fffffffu) % static_cast<std::uint32_t>(partitions);
      REQUIRE(ours == static_cast<std::uint32_t>(theirs));
    }
  }
  CHECK(longest == 64);
}
