// A TopicPartition names one partition of one topic, where several topics are spoken of:
//   consumer.seek({"pose", {0}}, Offset{7});
// A value; thread-safe like any value.
#pragma once

#include <string>
#include <utility>

#include <towpath/core/ids.hpp>

namespace towpath::inline TOWPATH_ABI {

struct TopicPartition {
  /// Both, always: so that {0} is a PartitionId wherever either could be meant.
  TopicPartition(std::string name, PartitionId id) : topic{std::move(name)}, partition{id} {}

  std::string topic;
  PartitionId partition;

  friend bool operator==(const TopicPartition&, const TopicPartition&) noexcept = default;
  friend auto operator<=>(const TopicPartition&, const TopicPartition&) noexcept = default;
};

}  // namespace towpath::inline TOWPATH_ABI

template <>
struct std::hash<towpath::TopicPartition> {
  std::size_t operator()(const towpath::TopicPartition& at) const noexcept {
    return std::hash<std::string>{}(at.topic) * 31 + std::hash<towpath::PartitionId>{}(at.partition);
  }
};
