// A Kafka record batch in the log, found by any of its slots and unpacked.
// Thread-safe; what it makes is private memory. The segment must be pinned meanwhile.
#pragma once

#include <memory>

#include <towpath/log/batch_head.hpp>
#include <towpath/log/frame.hpp>
#include <towpath/log/partition_log.hpp>
#include <towpath/log/unpacked_batch.hpp>

namespace towpath::inline TOWPATH_ABI::log {

/// One record batch: its first slot, how many slots it has, and its records as native frames.
struct UnpackedRecords {
  std::uint64_t uuid = 0;  // of the segment
  std::uint64_t head = 0;
  std::uint64_t count = 0;
  UnpackedBatch batch;

  [[nodiscard]] bool covers(const Segment& segment, std::uint64_t n) const noexcept {
    return uuid == segment.uuid && n - head < count;
  }
};
using SharedRecords = std::shared_ptr<const UnpackedRecords>;

/// The record batch that slot `n` belongs to. Errors: corrupt, unsupported_compression, out_of_memory.
inline Result<SharedRecords> unpack_records(const Segment& segment, std::uint64_t n, const PartitionLog& log,
                                            bool check_crcs) {
  const auto damaged = Failure{Errc::corrupt, "the record batch's bytes are damaged; seek past it"};
  auto records = std::make_shared<UnpackedRecords>();
  records->uuid = segment.uuid;
  records->head = batch_head(segment, n);
  const std::uint64_t slot = segment.slots[records->head].load(shm::relaxed);  // acquired when it was collected
  BatchFrame frame;
  const std::byte* at = segment.data + Slot::position(slot);
  const std::uint64_t length = Slot::length(slot);
  if (!segment.contains(slot) || !frame.parse(at, length)) return damaged;
  std::uint32_t stored = 0;
  std::memcpy(&stored, at, sizeof stored);
  if (segment.checksummed && check_crcs &&
      frame_checksum(at, length, segment.uuid, segment.base + records->head) != stored)
    return damaged;
  records->count = frame.count;
  if (!records->covers(segment, n)) return damaged;
  const std::uint64_t budget = unpack_budget(frame.batch.size());
  if (auto done = records->batch.unpack(frame.batch, log.format().value_alignment, budget); !done) return done.error();
  return SharedRecords{std::move(records)};
}

}  // namespace towpath::inline TOWPATH_ABI::log
