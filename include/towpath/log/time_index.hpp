// Finds records by time. For a sealed segment a file <base>.timeindex says how high timestamps had risen after each
// block of slots, so that one block is scanned instead of the segment. The index is derived: whoever needs it makes it,
// and one that is missing, cut short, foreign or damaged is made anew, never trusted. The active segment is scanned.
//   auto first = offset_for_time(log, pins, &member, at).value();     // nullopt: every record is older
//   auto last = newest_record(log, pins, &member).value();            // nullopt: there is none
// Thread-safe and process-safe; two that make the same index write the same bytes. After a crash the index is there
// whole or not at all.
#pragma once

#include <algorithm>
#include <limits>
#include <optional>

#include <towpath/log/reader.hpp>
#include <towpath/log/unpacked_records.hpp>

namespace towpath::inline TOWPATH_ABI::log {

inline constexpr std::uint64_t time_index_magic = 0x3058'5057'4F54'0A0Du;
inline constexpr std::uint32_t time_index_version = 0;
inline constexpr std::uint64_t max_time_index_blocks = 4096;  ///< 32 KiB of them: read whole in microseconds

/// First bytes of the file. An array of block_count signed 64-bit numbers follows.
struct TimeIndexHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t block_slots;  // slots per block
  std::uint64_t uuid;         // of the segment's incarnation
  std::uint64_t base;
  std::uint64_t slot_count;  // as sealed
  std::uint64_t block_count;
  std::int64_t newest_ns;    // the highest timestamp in the segment
  std::uint32_t blocks_crc;  // CRC-32C of what follows
  std::uint32_t header_crc;  // CRC-32C of what stands before this field
};
static_assert(sizeof(TimeIndexHeader) == 64 && offsetof(TimeIndexHeader, header_crc) == 60);

/// The earliest offset whose timestamp is `at` or later, whatever order the timestamps are in (Kafka's ListOffsets);
/// nullopt when there is none. `member`, if given, lets it leave indexes behind for the next who asks.
/// Blocks only for the files it reads; microseconds per segment, but scans a segment that nobody asked about before.
/// Errors: those of opening a segment; topic_deleted; corrupt if a segment is missing in the middle.
inline Result<std::optional<Offset>> offset_for_time(const PartitionLog& log, const std::shared_ptr<Pins>& pins,
                                                     const shm::Member* member, Timestamp at);

struct TimedOffset {
  Offset offset;
  Timestamp timestamp;
};

/// The same, with the record's own timestamp.
inline Result<std::optional<TimedOffset>> record_for_time(const PartitionLog& log, const std::shared_ptr<Pins>& pins,
                                                          const shm::Member* member, Timestamp at);

/// The earliest record with the highest timestamp (Kafka's max timestamp). Errors as offset_for_time().
inline Result<std::optional<TimedOffset>> newest_record(const PartitionLog& log, const std::shared_ptr<Pins>& pins,
                                                        const shm::Member* member);

namespace detail {

inline constexpr std::int64_t no_timestamp = std::numeric_limits<std::int64_t>::min();

/// The timestamp of the record in slot `n`; nothing unless it is committed. Records of a Kafka batch have the latest of
/// them. `heads` is kept from call to call in one segment.
inline std::optional<std::int64_t> timestamp_of(const Segment& segment, std::uint64_t n, BatchHeads& heads) noexcept {
  if (heads.state(segment, n) != Slot::committed) return std::nullopt;
  const std::uint64_t slot = segment.slots[n].load(shm::relaxed);  // acquired just now
  if (!segment.contains(slot)) return std::nullopt;
  FrameHeader header;
  std::memcpy(&header, segment.data + Slot::position(slot), sizeof header);
  return header.timestamp_ns;
}

/// The first slot in [from, to) whose record is of `at` or later.
inline std::optional<std::uint64_t> scan_for_time(const Segment& segment, std::uint64_t from, std::uint64_t to,
                                                  std::int64_t at) noexcept {
  BatchHeads heads;
  for (std::uint64_t n = from; n < to; ++n)
    if (const auto timestamp = timestamp_of(segment, n, heads); timestamp && *timestamp >= at) return n;
  return std::nullopt;
}

/// A record, or none and the slot behind those that were looked at.
struct TimedSlot {
  std::uint64_t slot;
  std::optional<std::int64_t> timestamp;
};

/// Slot `n` is of `at` or later; so if it is of a Kafka batch, some record of that batch is: the first one from n on.
/// A batch that cannot be unpacked here is found as a whole: whoever reads there is told why.
inline TimedSlot find_in_batch(const PartitionLog& log, const Segment& segment, std::uint64_t n, std::int64_t at) {
  BatchHeads heads;
  const auto timestamp = timestamp_of(segment, n, heads);
  const std::uint64_t slot = segment.slots[batch_head(segment, n)].load(shm::relaxed);  // acquired by timestamp_of()
  if (!timestamp || !segment.contains(slot) || !BatchFrame::is_one(segment.data + Slot::position(slot)))
    return {n, timestamp.value_or(at)};
  const auto records = unpack_records(segment, n, log, false);
  if (!records) return {n, timestamp};
  const auto& batch = (*records)->batch;
  const std::uint64_t end = std::min((*records)->head + (*records)->count, segment.slot_count);
  for (FrameView view; n < end; ++n) {
    const auto frame = batch.frame(static_cast<std::int32_t>(n - (*records)->head));
    if (!frame || batch.header().is_control()) continue;
    if (!view.parse(frame->data, frame->length, log.format().value_alignment)) continue;
    if (view.header.timestamp_ns >= at) return {n, view.header.timestamp_ns};
  }
  return {end, std::nullopt};
}

/// What a sealed segment's index says. newest_of[i] is the highest timestamp in blocks 0 to i, so it never falls.
class TimeIndex {
 public:
  /// Nothing while a slot is still open: its record may come yet.
  static std::optional<TimeIndex> build(const Segment& segment, std::uint64_t count) {
    TimeIndex index;
    const std::uint64_t block =
        std::max<std::uint64_t>(64, (count + max_time_index_blocks - 1) / max_time_index_blocks);
    index.newest_of_.assign((count + block - 1) / block, no_timestamp);
    std::int64_t newest = no_timestamp;
    BatchHeads heads;
    for (std::uint64_t n = 0; n < count; ++n) {
      if (heads.state(segment, n) == Slot::empty) return std::nullopt;
      if (const auto timestamp = timestamp_of(segment, n, heads)) newest = std::max(newest, *timestamp);
      index.newest_of_[n / block] = newest;
    }
    const auto blocks = index.blocks();
    index.header_ = {time_index_magic,
                     time_index_version,
                     static_cast<std::uint32_t>(block),
                     segment.uuid,
                     segment.base,
                     count,
                     index.newest_of_.size(),
                     newest,
                     crc32c(blocks),
                     0};
    index.header_.header_crc = header_checksum(index.header_);
    return index;
  }

  /// Reads the header only; nothing unless it is whole and speaks of this segment. read_blocks() gets the rest.
  static std::optional<TimeIndex> open(const PartitionLog& log, const Segment& segment, std::uint64_t count) {
    auto file = log.directory().open(log.time_index_name(segment.base).data(), shm::Access::read);
    if (!file) return std::nullopt;
    TimeIndex index;
    auto& header = index.header_;
    const auto got = shm::read_some(*file, &header, sizeof header, 0);
    const bool whole = got && *got == sizeof header && header.magic == time_index_magic &&
                       header.version == time_index_version && header.header_crc == header_checksum(header);
    if (!whole || header.uuid != segment.uuid || header.base != segment.base || header.slot_count != count)
      return std::nullopt;
    if (header.block_slots == 0 || header.block_count > max_time_index_blocks ||
        header.block_count != (count + header.block_slots - 1) / header.block_slots)
      return std::nullopt;
    index.file_ = std::move(*file);
    return index;
  }

  /// False if they are cut short or damaged.
  bool read_blocks() {
    newest_of_.resize(header_.block_count);
    const auto got = shm::read_some(file_, newest_of_.data(), blocks().size(), sizeof header_);
    return got && *got == blocks().size() && crc32c(blocks()) == header_.blocks_crc;
  }

  /// Leaves it for others, whole or not at all. It is only a help: whoever cannot write it does without.
  void leave_behind(const PartitionLog& log, const shm::Member& member) const {
    auto& directory = log.directory();
    const auto own = log.own_name(member);
    const auto name = log.time_index_name(header_.base);
    auto file = directory.create(own.data(), 0640);
    if (!file) return;
    const bool written = shm::write_all(*file, &header_, sizeof header_, 0) &&
                         shm::write_all(*file, newest_of_.data(), blocks().size(), sizeof header_);
    TOWPATH_FAILPOINT("index.written");
    if (!written || !directory.replace(own.data(), name.data())) return directory.remove(own.data()).ignore();
    TOWPATH_FAILPOINT("index.named");
    // The segment may have gone meanwhile, and whoever retired it found no index to remove.
    if (header_.base < log.state().log_start.load(shm::seq_cst)) directory.remove(name.data()).ignore();
  }

  [[nodiscard]] std::int64_t newest() const noexcept { return header_.newest_ns; }

  /// The first slot that can hold a record of `at` or later: the begin of its block.
  [[nodiscard]] std::uint64_t first_candidate(std::int64_t at) const noexcept {
    const auto block = std::lower_bound(newest_of_.begin(), newest_of_.end(), at) - newest_of_.begin();
    return static_cast<std::uint64_t>(block) * header_.block_slots;
  }

 private:
  static std::uint32_t header_checksum(const TimeIndexHeader& header) noexcept {
    return crc32c(Bytes{reinterpret_cast<const std::byte*>(&header), offsetof(TimeIndexHeader, header_crc)});
  }
  [[nodiscard]] Bytes blocks() const noexcept {
    return {reinterpret_cast<const std::byte*>(newest_of_.data()), newest_of_.size() * sizeof(std::int64_t)};
  }

  TimeIndexHeader header_{};
  std::vector<std::int64_t> newest_of_;
  shm::FileDescriptor file_;
};

/// The index of a sealed segment as it was left, or made anew and left for others; nothing if it cannot be made.
inline std::optional<TimeIndex> index_of(const PartitionLog& log, const shm::Member* member, const Segment& segment,
                                         std::uint64_t count) {
  const bool lasting = member && log.may_help();
  auto index = lasting ? TimeIndex::build(segment, count) : std::nullopt;
  if (index) index->leave_behind(log, *member);
  return index;
}

/// The first slot from `from` on whose record is of `at` or later.
inline std::optional<std::uint64_t> find_in_sealed(const PartitionLog& log, const shm::Member* member,
                                                   const Segment& segment, std::uint64_t from, std::uint64_t count,
                                                   std::int64_t at) {
  auto index = TimeIndex::open(log, segment, count);
  if (index && index->newest() < at) return std::nullopt;
  if (!index || !index->read_blocks()) index = index_of(log, member, segment, count);
  return scan_for_time(segment, index ? std::max(from, index->first_candidate(at)) : from, count, at);
}

/// The highest timestamp in slots [from, to); no_timestamp if there is no record.
inline std::int64_t newest_in(const PartitionLog& log, const shm::Member* member, const Segment& segment,
                              std::uint64_t from, std::uint64_t to, bool is_sealed) {
  if (from == 0 && is_sealed) {
    auto index = TimeIndex::open(log, segment, to);
    if (!index) index = index_of(log, member, segment, to);
    if (index) return index->newest();
  }
  std::int64_t newest = no_timestamp;
  BatchHeads heads;
  for (std::uint64_t n = from; n < to; ++n)
    if (const auto timestamp = timestamp_of(segment, n, heads)) newest = std::max(newest, *timestamp);
  return newest;
}

/// Calls look(segment, from, to, is_sealed) for the slots of each segment in turn that may be read, until it says true.
template <class Look>
Result<void> for_each_segment(const PartitionLog& log, const std::shared_ptr<Pins>& pins, const Look& look) {
  std::uint64_t base = log.state().log_start.load(shm::seq_cst);
  for (;;) {
    const bool was_made = log.was_made(base);  // before the look for the file, as in Reader
    const auto segment = pin_segment(log, pins, base);
    TOWPATH_FAILPOINT("time.looked");
    if (!segment && segment.error() != Errc::not_found) return segment.error();
    if (!segment) {
      if (log.is_deleted()) return log.damaged();
      const std::uint64_t start = log.state().log_start.load(shm::seq_cst);
      if (start <= base && was_made) return log.damaged();
      if (start <= base) return {};  // the end of the log
      base = start;                  // overtaken by retention
      continue;
    }
    const Segment& here = **segment;
    const std::uint64_t sealed = here.sealed_count();
    const std::uint64_t reserved = std::min(Tail::count(here.header->tail.load(shm::acquire)), here.slot_count);
    const std::uint64_t from = std::max(log.begin(), base) - base;  // what is before was deleted
    const std::uint64_t to = sealed != 0 ? sealed : reserved;
    if (from < to && look(here, from, to, sealed != 0)) return {};
    if (sealed == 0) return {};
    base += sealed;
  }
}

}  // namespace detail

inline Result<std::optional<TimedOffset>> record_for_time(const PartitionLog& log, const std::shared_ptr<Pins>& pins,
                                                          const shm::Member* member, Timestamp at) {
  const std::int64_t wanted = at.time_since_epoch().count();
  std::optional<TimedOffset> found;
  const auto look = [&](const Segment& here, std::uint64_t from, std::uint64_t to, bool is_sealed) {
    while (from < to) {
      const auto n = is_sealed ? detail::find_in_sealed(log, member, here, from, to, wanted)
                               : detail::scan_for_time(here, from, to, wanted);
      if (!n) return false;
      const auto record = detail::find_in_batch(log, here, *n, wanted);
      if (record.timestamp) {
        found = {Offset{static_cast<std::int64_t>(here.base + record.slot)},
                 Timestamp{std::chrono::nanoseconds{*record.timestamp}}};
        return true;
      }
      from = record.slot;
    }
    return false;
  };
  if (auto looked = detail::for_each_segment(log, pins, look); !looked) return looked.error();
  return found;
}

inline Result<std::optional<Offset>> offset_for_time(const PartitionLog& log, const std::shared_ptr<Pins>& pins,
                                                     const shm::Member* member, Timestamp at) {
  const auto found = record_for_time(log, pins, member, at);
  if (!found) return found.error();
  return *found ? std::optional{(*found)->offset} : std::nullopt;
}

inline Result<std::optional<TimedOffset>> newest_record(const PartitionLog& log, const std::shared_ptr<Pins>& pins,
                                                        const shm::Member* member) {
  std::int64_t newest = detail::no_timestamp;
  const auto look = [&](const Segment& here, std::uint64_t from, std::uint64_t to, bool is_sealed) {
    newest = std::max(newest, detail::newest_in(log, member, here, from, to, is_sealed));
    return false;
  };
  if (auto looked = detail::for_each_segment(log, pins, look); !looked) return looked.error();
  if (newest == detail::no_timestamp) return std::optional<TimedOffset>{};
  return record_for_time(log, pins, member, Timestamp{std::chrono::nanoseconds{newest}});
}

}  // namespace towpath::inline TOWPATH_ABI::log
