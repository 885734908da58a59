// The checkpoint files of a bus, in Kafka's text form, for people and tools: how far each partition is durable, where
// its log begins, how far it can be read. Written by maintenance now and then, at its end and after retirement; each is
// replaced whole. Nothing in towpath reads them: the words in each topic's state file rule.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <towpath/log/state.hpp>
#include <towpath/shm/directory.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// One line: what a file says about a partition.
struct CheckpointEntry {
  std::string topic;
  std::int32_t partition = 0;
  std::uint64_t offset = 0;
};

/// Version 0, how many entries, one per line.
inline std::string checkpoint_text(const std::vector<CheckpointEntry>& entries) {
  std::string text = "0\n" + std::to_string(entries.size()) + "\n";
  for (const auto& entry : entries)
    text.append(entry.topic).append(" " + std::to_string(entry.partition) + " " + std::to_string(entry.offset) + "\n");
  return text;
}

/// Collected from partition after partition, then written.
class Checkpoints {
 public:
  void add(const std::string& topic, std::int32_t partition, const log::PartitionState& state) {
    const std::uint64_t start = std::max(state.log_start.load(shm::acquire), state.deleted_to.load(shm::acquire));
    recovery_.push_back({topic, partition, state.durable_to.load(shm::acquire)});
    replication_.push_back({topic, partition, state.resolved_to.load(shm::acquire)});
    if (start > 0) log_start_.push_back({topic, partition, start});  // Kafka leaves the others out
  }

  /// Errors: no_space and those of writing a file; the others were written.
  [[nodiscard]] Result<void> write(shm::Directory& bus) const {
    Result<void> outcome;
    const auto put = [&](const char* name, const std::vector<CheckpointEntry>& entries) {
      if (auto done = shm::write_file(bus, name, checkpoint_text(entries), 0640, true); !done) outcome = done;
    };
    put("recovery-point-offset-checkpoint", recovery_);
    put("log-start-offset-checkpoint", log_start_);
    put("replication-offset-checkpoint", replication_);
    put("cleaner-offset-checkpoint", {});  // nothing is compacted yet
    return outcome;
  }

 private:
  std::vector<CheckpointEntry> recovery_;
  std::vector<CheckpointEntry> log_start_;
  std::vector<CheckpointEntry> replication_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail
