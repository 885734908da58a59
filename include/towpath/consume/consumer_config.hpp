// How a Consumer starts, what it reads and what it is limited to.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <towpath/core/ids.hpp>
#include <towpath/core/result.hpp>
#include <towpath/core/time.hpp>
#include <towpath/core/topic_partition.hpp>

namespace towpath::inline TOWPATH_ABI {

/// Where to go when there is no position, or it points to what is gone.
enum class OffsetReset {
  earliest,  ///< the first record there is
  latest,    ///< records from now on; without a group "now" is when the Consumer is made
  none,      ///< nowhere: poll says no_offset or offset_out_of_range until you seek
};

struct ConsumerConfig {
  /// Names of the topics to read, for Consumer{bus, ...}. One that does not exist yet is waited for: reading makes
  /// none.
  std::vector<std::string> topics = {};
  /// Reads every topic that this extended regular expression is found in, those that come later too, for
  /// Consumer{bus, ...}: "^my\\..*". May stand beside `topics`. 512 characters at most, and some 500 once its
  /// repetitions are written out. Default: none.
  std::string pattern = {};
  /// Where to begin in what is there when the Consumer is made. Default latest, as in Kafka. Topics and partitions that
  /// come later are read from their first record.
  OffsetReset auto_offset_reset = OffsetReset::latest;
  /// Which partitions, for a Consumer of one Topic. Default: all, also those that are added later.
  std::vector<PartitionId> partitions = {};
  /// The reader's name, 1 to 240 of [A-Za-z0-9._-], as in TopicConfig::readers; one live Consumer of a topic has it, a
  /// second gets `busy`. It leaves behind how far it came: a later Consumer of that name goes on there, with what the
  /// last one had polled last; topics that list it keep what it has not read, from the first record on. Each poll says
  /// that what was polled before is done with. A topic that lists it waits for it in every partition, also in those
  /// that it is not assigned: let it read all of them. Its file is made in the topic's folder, by who may write there.
  /// Default: none.
  std::string name = {};
  /// Records in one Batch, 1 or more. Default 1,024.
  std::size_t max_poll_records = 1'024;
  /// Iterating over the consumer ends after this long without a record. Default: never.
  std::optional<Duration> consumer_timeout = std::nullopt;
  /// Verify the checksums of records on disk; a wrong one is `corrupt`. Default true. (In memory there are none.)
  bool check_crcs = true;
};

struct PartitionOffset {
  TopicPartition partition;
  Offset offset;
};

struct PartitionTimeOffset {
  TopicPartition partition;
  std::optional<Offset> offset;  ///< none: no record as late as that
};

}  // namespace towpath::inline TOWPATH_ABI
