// Which partition a record without an explicit one goes to. A partitioner is any callable as the concept says; it
// belongs to one Producer and may keep state.
#pragma once

#include <concepts>
#include <cstdint>

#include <towpath/core/bytes.hpp>
#include <towpath/core/hash.hpp>
#include <towpath/core/ids.hpp>

namespace towpath::inline TOWPATH_ABI {

struct PartitionRequest {
  Bytes key;
  bool has_key = false;
  std::uint64_t record_bytes = 0;
  std::int32_t partitions = 1;  ///< > 0
};

template <class P>
concept Partitioner = requires(P partitioner, const PartitionRequest& request) {
  { partitioner(request) } -> std::convertible_to<std::int32_t>;  // 0 to partitions - 1, else the send fails
};

namespace detail {

/// Small and fast, not secret (splitmix64, Sebastiano Vigna).
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_{seed} {}
  std::uint64_t operator()() noexcept {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
  }
  std::int32_t below(std::int32_t n) noexcept {
    return static_cast<std::int32_t>((*this)() % static_cast<std::uint64_t>(n));
  }

 private:
  std::uint64_t state_;
};

}  // namespace detail

/// Kafka's: murmur2 of the key; without a key one partition for a while, then another (KIP-480, KIP-794: 16 KiB each).
class DefaultPartitioner {
 public:
  static constexpr std::uint64_t sticky_bytes = 16 * 1024;

  explicit DefaultPartitioner(std::uint64_t seed = 0x746F7770617468) noexcept : random_{seed} {}

  std::int32_t operator()(const PartitionRequest& request) noexcept {
    if (request.has_key)
      return static_cast<std::int32_t>((murmur2(request.key) & 0x7FFF'FFFFu) %
                                       static_cast<std::uint32_t>(request.partitions));
    if (current_ < 0 || current_ >= request.partitions || sent_ >= sticky_bytes) {
      current_ = random_.below(request.partitions);
      sent_ = 0;
    }
    sent_ += request.record_bytes;
    return current_;
  }

 private:
  detail::Random random_;
  std::int32_t current_ = -1;
  std::uint64_t sent_ = 0;
};

/// Any partition, key or not.
class RandomPartitioner {
 public:
  explicit RandomPartitioner(std::uint64_t seed = 0x72616E646F6D) noexcept : random_{seed} {}
  std::int32_t operator()(const PartitionRequest& request) noexcept { return random_.below(request.partitions); }

 private:
  detail::Random random_;
};

static_assert(Partitioner<DefaultPartitioner> && Partitioner<RandomPartitioner>);

}  // namespace towpath::inline TOWPATH_ABI
