// What a topic is like. Fill the fields you care about:  {.partitions = 4, .retention = {.bytes = 1_GiB, .age = 30s}}
// The first process that names a topic creates it with its config; after that the stored values win over what a process
// asks for, and Admin::alter_topic changes those that may change.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include <towpath/core/ids.hpp>
#include <towpath/core/result.hpp>
#include <towpath/core/time.hpp>
#include <towpath/log/format.hpp>
#include <towpath/topic/reader_list.hpp>

namespace towpath::inline TOWPATH_ABI {

/// When old records go. Whole segments go, oldest first, as soon as either limit is passed.
struct Retention {
  static constexpr std::uint64_t unlimited = ~std::uint64_t{0};
  static constexpr std::uint64_t by_storage = ~std::uint64_t{0} - 1;

  /// Per partition, segment files and spares counted. Default by storage: in memory and on tmpfs 256 MiB, at most 1/8
  /// of what is free; on disk unlimited. Mutable.
  std::uint64_t bytes = by_storage;
  /// By the timestamp of a segment's newest record. Default 7 days; Duration::max() is unlimited. Mutable.
  Duration age = std::chrono::hours{24 * 7};

  friend constexpr bool operator==(const Retention&, const Retention&) noexcept = default;
};

/// What a send does when retention would have to drop records that somebody still wants.
enum class OnFull : std::uint32_t {
  drop_oldest = 0,  ///< as Kafka: the oldest segment goes, whoever has not read it is told by Batch::missed()
  block = 1,        ///< it waits for the named readers, up to ProducerConfig::max_block, then says timed_out
  fail = 2,         ///< it says queue_full
};

/// What of the log outlives the machine's. A crash, kill or freeze of processes loses nothing that was sent, whatever
/// is set. When the kernel crashes, the machine is reset or the power fails, the log is cut back to what reached the
/// disk: a prefix, without holes and without damaged records. A clean restart loses nothing that a reader could have
/// seen.
enum class DurabilityKind : std::uint32_t {
  none = 0,      ///< the kernel writes when it likes: what it had not written is lost, 30 s worth and more
  interval = 1,  ///< maintenance flushes every so often: the last interval, and what a round takes, is lost. Without
                 ///< maintenance as none. Producer::flush() flushes at once
  each = 2,      ///< send() returns after its record and all before it are on stable storage: nothing acknowledged is
                 ///< lost. Costs a flush of the disk, shared by all who send meanwhile
};

struct Durability {
  static constexpr Duration by_storage = Duration::zero();

  DurabilityKind kind = DurabilityKind::interval;
  /// For `interval`: 1 ms or more. Default by storage: on disk 1 s; in memory and on tmpfs, which a power cut takes
  /// whole, the kind becomes none.
  Duration interval = by_storage;

  friend constexpr bool operator==(const Durability&, const Durability&) noexcept = default;
};

/// How many live Producers a partition may have at a time.
enum class Writers : std::uint32_t {
  many = 0,  ///< any number of them, in any processes
  one = 1,   ///< one: a second is told `busy` until the first is gone. Its sends are cheaper, and nobody gives up its
             ///< record while it lives: if it stands still, the readers wait for it
};

struct TopicConfig {
  /// 1 to 32,767. More can be added later, never taken away. Default 1.
  std::int32_t partitions = 1;
  /// Size of a segment's file: 256 KiB to 4 GiB, rounded up to 64 KiB. The first one is 256 KiB, each next four times
  /// larger up to this. Default 64 MiB. Mutable.
  std::uint64_t segment_bytes = std::uint64_t{64} << 20;
  Retention retention{};
  /// Largest record: value, key and headers together; 1 B to segment_bytes, below 2 GiB. Larger is message_too_large.
  /// Default (0): 16 MiB, or segment_bytes if that is less. Mutable.
  std::uint64_t max_message_bytes = 0;
  /// Default drop_oldest. Mutable.
  OnFull on_full = OnFull::drop_oldest;
  /// Whom block and fail wait for: Consumers with a ConsumerConfig::name of this list. One that never came counts as
  /// standing at the log's start, one that is gone where it stood last: take it out of the list to go on without it.
  /// That holds for each partition: one that reads some of them only holds the others up for ever.
  /// Default: nobody. Mutable.
  ReaderList readers{};
  /// Default: interval, 1 s, on disk; none in memory and on tmpfs. Mutable.
  Durability durability{};
  /// How long a live but frozen producer's open record may hold readers up before it is skipped (and written again when
  /// the producer goes on). 1 ms to 1 h, default 1 s. Mutable.
  Duration grace = std::chrono::seconds{1};
  /// Records begin at multiples of 8, 16, 32 or 64 bytes; 64 costs space and saves tail latency. 0 takes what the topic
  /// has, or 8; never less than the value type's own alignment.
  /// Fixed at creation: another value than the topic's is config_mismatch.
  std::uint64_t record_alignment = 0;
  /// Default many. Fixed at creation: whoever opens the topic gets what it has.
  Writers writers = Writers::many;

  friend constexpr bool operator==(const TopicConfig&, const TopicConfig&) noexcept = default;
};

/// Errors: invalid_argument, with the field's name.
constexpr Result<void> check_topic_config(const TopicConfig& config) noexcept {
  const auto bad = [](const char* field) { return Failure{Errc::invalid_argument, field}; };
  if (config.partitions < 1 || config.partitions > max_partitions) return bad("partitions: 1 to 32767");
  if (config.segment_bytes < log::first_segment_bytes || config.segment_bytes > log::max_segment_bytes)
    return bad("segment_bytes: 256 KiB to 4 GiB");
  if (config.max_message_bytes > std::min(config.segment_bytes, log::max_record_bytes))
    return bad("max_message_bytes: 1 to segment_bytes, and below 2 GiB");
  if (config.retention.age <= Duration::zero()) return bad("retention.age: above zero");
  if (config.retention.bytes == 0) return bad("retention.bytes: above zero");
  if (config.retention.bytes > std::uint64_t{std::numeric_limits<std::int64_t>::max()} &&
      config.retention.bytes < Retention::by_storage)
    return bad("retention.bytes: below 2^63, or Retention::unlimited");
  if (config.grace < std::chrono::milliseconds{1} || config.grace > std::chrono::hours{1})
    return bad("grace: 1 ms to 1 h");
  if (const auto a = config.record_alignment; a != 0 && a != 8 && a != 16 && a != 32 && a != 64)
    return bad("record_alignment: 8, 16, 32 or 64");
  if (config.writers > Writers::one) return bad("writers: many or one");
  if (config.on_full > OnFull::fail) return bad("on_full: drop_oldest, block or fail");
  if (!config.readers.is_valid()) return bad("readers: 16 names at most, each as a topic's, 480 characters in all");
  if (config.durability.kind > DurabilityKind::each) return bad("durability: none, interval or each");
  if (config.durability.interval != Durability::by_storage &&
      (config.durability.interval < std::chrono::milliseconds{1} ||
       config.durability.interval > std::chrono::hours{24}))
    return bad("durability.interval: 1 ms to 24 h");
  return {};
}

/// Name, value type and config of a topic, stated once in a header that every process includes:
///   inline constexpr towpath::TopicSpec<Scan> lidar_front{"lidar.front", {.partitions = 2}};
template <class T>
struct TopicSpec {
  std::string_view name;
  TopicConfig config{};
};

}  // namespace towpath::inline TOWPATH_ABI
