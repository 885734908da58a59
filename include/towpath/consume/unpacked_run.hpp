// The Kafka record batches among what one poll found, unpacked, so that their records are read like all others.
// A batch that several polls share is unpacked once. One thread's; private memory, gone with its last user.
#pragma once

#include <memory>
#include <vector>

#include <towpath/log/batch_head.hpp>
#include <towpath/log/frame.hpp>
#include <towpath/log/partition_log.hpp>
#include <towpath/log/unpacked_batch.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// One record batch: its first slot, how many slots it has, and its records as native frames.
struct UnpackedRecords {
  std::uint64_t uuid = 0;  // of the segment
  std::uint64_t head = 0;
  std::uint64_t count = 0;
  log::UnpackedBatch batch;

  [[nodiscard]] bool covers(const log::Segment& segment, std::uint64_t n) const noexcept {
    return uuid == segment.uuid && n - head < count;
  }
};
using SharedRecords = std::shared_ptr<const UnpackedRecords>;

/// The record batch that slot `n` belongs to. Errors: corrupt, unsupported_compression, out_of_memory.
inline Result<SharedRecords> unpack_records(const log::Segment& segment, std::uint64_t n, const log::PartitionLog& log,
                                            bool check_crcs) {
  const auto damaged = Failure{Errc::corrupt, "the record batch's bytes are damaged; seek past it"};
  auto records = std::make_shared<UnpackedRecords>();
  records->uuid = segment.uuid;
  records->head = log::batch_head(segment, n);
  const std::uint64_t slot = segment.slots[records->head].load(shm::relaxed);  // acquired when it was collected
  log::BatchFrame frame;
  const std::byte* at = segment.data + log::Slot::position(slot);
  const std::uint64_t length = log::Slot::length(slot);
  if (!segment.contains(slot) || !frame.parse(at, length)) return damaged;
  std::uint32_t stored = 0;
  std::memcpy(&stored, at, sizeof stored);
  if (segment.checksummed && check_crcs &&
      log::frame_checksum(at, length, segment.uuid, segment.base + records->head) != stored)
    return damaged;
  records->count = frame.count;
  if (!records->covers(segment, n)) return damaged;
  const std::uint64_t budget = log::unpack_budget(log.words().max_message_bytes.load(shm::relaxed), frame.batch.size());
  if (auto done = records->batch.unpack(frame.batch, log.format().value_alignment, budget); !done) return done.error();
  return SharedRecords{std::move(records)};
}

class UnpackedRun {
 public:
  /// Null when slot `n` belongs to none of these.
  [[nodiscard]] const UnpackedRecords* find(const log::Segment& segment, std::uint64_t n) const noexcept {
    for (std::size_t tries = 0; tries < all_.size(); ++tries, last_ = last_ + 1 < all_.size() ? last_ + 1 : 0)
      if (all_[last_]->covers(segment, n)) return all_[last_].get();
    return nullptr;
  }
  void add(SharedRecords records) { all_.push_back(std::move(records)); }

 private:
  std::vector<SharedRecords> all_;  // in the order of their offsets
  mutable std::size_t last_ = 0;    // where the last question was answered: the next is most often there or behind
};

}  // namespace towpath::inline TOWPATH_ABI::detail
