// What a Producer is asked to be:  Producer producer{topic, {.id = 7, .compression = Compression::lz4}};
#pragma once

#include <towpath/core/time.hpp>
#include <towpath/log/codec.hpp>

namespace towpath::inline TOWPATH_ABI {

struct ProducerConfig {
  static constexpr std::int64_t no_id = -1;
  static constexpr std::int64_t max_id = (std::int64_t{1} << 40) - 1;

  /// Who this is, 0 to max_id: a number of your own that stays the same when the program is started again. Its records
  /// then carry it and a sequence number, and Producer::last_sequence() says how far the log has them. One live
  /// Producer of a topic has an id: a second gets `busy`. Default: nobody in particular; records are 16 bytes smaller.
  std::int64_t id = no_id;
  /// What send_batch() packs its records with, as one Kafka record batch; a single send() is never packed, so that it
  /// can be read in place. Other than none needs <towpath/adapters/compression.hpp>. Default none.
  Compression compression = Compression::none;
  /// How long a send may wait for the readers of a topic that is on_full = block, before it says timed_out. Default 1
  /// min, as Kafka's max.block.ms.
  Duration max_block = std::chrono::minutes{1};
};

}  // namespace towpath::inline TOWPATH_ABI
