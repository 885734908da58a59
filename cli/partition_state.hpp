// What a partition holds and what happened to it, as the verbs show it.
#pragma once

#include <vector>

#include "bus_access.hpp"

namespace towpath::cli {

struct PartitionState {
  PartitionId id;
  Offset begin;
  Offset end;
  std::uint64_t bytes = 0;
  std::size_t segments = 0;
  PartitionCounters counters;
};

/// Of all partitions, by number. Throws Quit.
inline std::vector<PartitionState> states_of(const Topic<Bytes>& topic) {
  std::vector<PartitionState> states;
  for (std::int32_t i = 0; i < topic.partitions(); ++i) {
    const auto partition = must(Partition<Bytes>::open(topic, {i}), topic.name());
    states.push_back({{i},
                      partition.begin_offset(),
                      must(partition.end_offset(), topic.name()),
                      partition.bytes(),
                      must(partition.segments(), topic.name()),
                      partition.counters()});
  }
  return states;
}

}  // namespace towpath::cli
