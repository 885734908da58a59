// How a Consumer starts and what it is limited to.
#pragma once

#include <optional>
#include <vector>

#include <towpath/core/ids.hpp>
#include <towpath/core/result.hpp>
#include <towpath/core/time.hpp>

namespace towpath::inline TOWPATH_ABI {

/// Where to go when there is no position, or it points to what is gone.
enum class OffsetReset {
  earliest,  ///< the first record there is
  latest,    ///< records from now on; without a group "now" is when the Consumer is made
  none,      ///< nowhere: poll says no_offset or offset_out_of_range until you seek
};

struct ConsumerConfig {
  /// Default latest, as in Kafka.
  OffsetReset auto_offset_reset = OffsetReset::latest;
  /// Which partitions. Default: all, also those that are added later.
  std::vector<PartitionId> partitions = {};
  /// Records in one Batch, 1 or more. Default 1,024.
  std::size_t max_poll_records = 1'024;
  /// Iterating over the consumer ends after this long without a record. Default: never.
  std::optional<Duration> consumer_timeout = std::nullopt;
  /// Verify the checksums of records on disk; a wrong one is `corrupt`. Default true. (In memory there are none.)
  bool check_crcs = true;
};

struct PartitionOffset {
  PartitionId partition;
  Offset offset;
};

struct PartitionTimeOffset {
  PartitionId partition;
  std::optional<Offset> offset;  ///< none: no record as late as that
};

}  // namespace towpath::inline TOWPATH_ABI
