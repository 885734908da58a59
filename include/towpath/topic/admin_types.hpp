// What Admin is asked with and what it answers: plain values that keep nothing of the bus.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <towpath/log/deletion.hpp>
#include <towpath/topic/config_changes.hpp>

namespace towpath::inline TOWPATH_ABI {

struct NewTopic {
  std::string name;
  TopicConfig config{};
  std::vector<ConfigChange> configs{};  ///< settings by Kafka's property names, in place of what `config` says
};

/// What became of one of several topics: a value or why not, the others' fate is their own.
template <class T = void>
struct TopicOutcome {
  std::string topic;
  Result<T> result;
};

struct AdminOptions {
  /// Only say whether it would be done; change nothing. Default false.
  bool validate_only = false;
};

/// What there is to know about a topic.
struct TopicDescription {
  std::string name;
  std::string id;  ///< 32 hexadecimal digits; another one after the topic was deleted and made again
  TopicConfig config;
  std::string type_name;
  std::string encoding;
  std::uint64_t type_size = 0;
  std::uint64_t type_alignment = 1;
};

/// Which offset of a partition.
struct OffsetSpec {
  enum class Kind {
    earliest,       ///< the first record that can be read
    latest,         ///< behind the last record that can be read
    max_timestamp,  ///< the earliest record with the highest timestamp
    at,             ///< the earliest record as late as a time
  };
  Kind kind = Kind::latest;
  Timestamp time{};

  static constexpr OffsetSpec earliest() noexcept { return {Kind::earliest, {}}; }
  static constexpr OffsetSpec latest() noexcept { return {Kind::latest, {}}; }
  static constexpr OffsetSpec max_timestamp() noexcept { return {Kind::max_timestamp, {}}; }
  static constexpr OffsetSpec for_timestamp(Timestamp at) noexcept { return {Kind::at, at}; }
};

struct ListedOffset {
  PartitionId partition;
  std::optional<Offset> offset = std::nullopt;        ///< none: there is no such record
  std::optional<Timestamp> timestamp = std::nullopt;  ///< of that record; none for earliest and latest, as in Kafka
};

/// Deletes what stands before an offset.
struct RecordsToDelete {
  PartitionId partition;
  Offset before;
};

/// Kafka's -1: everything that can be read now.
inline constexpr Offset all_records{log::up_to_the_end};

struct DeletedRecords {
  PartitionId partition;
  Result<Offset> low_watermark;  ///< the first offset that is left
};

/// Somebody who has a line in the bus's member table.
struct ClusterMember {
  enum class Kind { producer = 1, consumer = 2, maintenance = 3 };
  Kind kind = Kind::maintenance;
  std::uint32_t pid = 0;  ///< for people: in a container it is the container's
  std::string name;       ///< the topic, or what is maintained; 27 characters at most
};

struct ClusterDescription {
  std::string cluster_id;  ///< 32 hexadecimal digits, made with the bus
  std::int32_t node_id = 0;
  /// Whoever maintains the bus; none if nobody does, or if this process may only read, for then it cannot ask.
  std::optional<ClusterMember> controller = std::nullopt;
  /// Alive now; empty if this process may only read.
  std::vector<ClusterMember> members = {};
  std::size_t topics = 0;
  std::size_t partitions = 0;
};

}  // namespace towpath::inline TOWPATH_ABI
