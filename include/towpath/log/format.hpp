// The segment file, word by word. docs/format.md is this header in prose; docs/protocol.md says who may touch what
// when. Little-endian, fixed widths, no pointers, no bool, padding named. Change a struct: raise
// segment_format_version, add golden files in tests/golden, a line in CHANGELOG.
//
//   header (256 B) | slots, 8 B each | ... | data from data_offset, a multiple of 64 KiB
//
// Offset n of the partition is slot n - base: its commit word, its abort word and its place in the data, in one.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <towpath/core/ids.hpp>
#include <towpath/shm/word.hpp>

namespace towpath::inline TOWPATH_ABI::log {

using shm::Word32;
using shm::Word64;
static_assert(std::endian::native == std::endian::little, "the files are little-endian");

/// 0 until it is declared stable. A library of format N reads N and N-1.
inline constexpr std::uint32_t segment_format_version = 0;

inline constexpr std::uint64_t segment_magic = 0x3053'5057'4F54'0A0Du;  // "\r\nTOWPS0"
inline constexpr std::uint64_t data_alignment =
    64 * 1024;  ///< header and slots fill a multiple: any page size maps them apart
inline constexpr std::uint64_t first_segment_bytes = 256 * 1024;
inline constexpr std::uint64_t slots_offset = 256;
inline constexpr std::uint64_t max_slots =
    (std::uint64_t{1} << 23) - 65'537;                                      ///< the count in tail must not reach bit 63
inline constexpr std::uint64_t max_segment_bytes = std::uint64_t{1} << 32;  ///< 4 GiB; a slot could name 8
inline constexpr std::uint64_t max_record_bytes = 0x7FFF'0000;              ///< lengths in a frame are signed 32 bits
/// What one fetch_add may reserve; more is reserved by compare-and-swap, never past the end.
inline constexpr std::uint64_t max_small_frame = 64 * 1024;
inline constexpr std::uint64_t max_small_count = 64;
inline constexpr std::uint64_t max_batch_count = std::uint64_t{1} << 22;  ///< records in one atomic batch

enum class IndexKind : std::uint32_t {
  dense_slots = 0,  ///< slot n is offset base + n
  sparse = 1,       ///< for cleaned segments, not written yet
};

enum Feature : std::uint32_t {
  feature_checksummed = 1,  ///< every frame carries its CRC-32C
};

struct SegmentHeader {
  // Constant for the inode, but for uuid, which is new in each incarnation.
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t features;
  std::uint32_t index_kind;
  std::uint32_t layout_hash;
  std::uint64_t segment_bytes;
  std::uint64_t slot_count;
  std::uint64_t data_offset;
  std::uint64_t stride;
  Word64 uuid;
  // One line: what a reservation adds to, and what it checks.
  Word64 tail;          // count:24 | bytes:40; closed_tail while retired or spare
  Word64 base;          // incarnation: base offset while live, unset_base while spare, gone_base
  Word64 generation;    // + 1 per incarnation
  Word64 roll_request;  // base + 1: the one writer of the partition is asked to close this incarnation
  std::uint64_t reserved0[4];
  // One line: read when there is nothing to read.
  Word64 sealed;  // 0 open, C + 1 sealed with C slots (C >= 1)
  std::uint64_t reserved1[7];
  std::uint64_t reserved2[8];
};
static_assert(sizeof(SegmentHeader) == slots_offset && std::is_standard_layout_v<SegmentHeader>);
static_assert(offsetof(SegmentHeader, uuid) == 56 && offsetof(SegmentHeader, tail) == 64);
static_assert(offsetof(SegmentHeader, base) == 72 && offsetof(SegmentHeader, generation) == 80);
static_assert(offsetof(SegmentHeader, roll_request) == 88 && offsetof(SegmentHeader, sealed) == 128);

/// Tells two layouts apart that have one version by mistake: where each field stands.
inline constexpr std::uint32_t segment_layout_hash = [] {
  std::uint32_t hash = 2'166'136'261u;  // FNV-1a
  for (const std::size_t place : {sizeof(SegmentHeader), offsetof(SegmentHeader, uuid), offsetof(SegmentHeader, tail),
                                  offsetof(SegmentHeader, base), offsetof(SegmentHeader, sealed)})
    hash = (hash ^ static_cast<std::uint32_t>(place)) * 16'777'619u;
  return hash;
}();

/// tail: how many slots and bytes were reserved. Bit 63 (a count nobody reaches) means retired or spare.
struct Tail {
  static constexpr std::uint64_t one_slot = std::uint64_t{1} << 40;
  static constexpr std::uint64_t closed = std::uint64_t{1} << 63 | std::uint64_t{1} << 39;
  static constexpr std::uint64_t count(std::uint64_t tail) noexcept { return tail >> 40; }
  static constexpr std::uint64_t bytes(std::uint64_t tail) noexcept { return tail & (one_slot - 1); }
  static constexpr bool is_closed(std::uint64_t tail) noexcept { return tail >> 63 != 0; }
  static constexpr std::uint64_t make(std::uint64_t count, std::uint64_t bytes) noexcept { return count << 40 | bytes; }
};
inline constexpr std::uint64_t unset_base = ~std::uint64_t{0};
/// `base` of a file that was unlinked: whoever still has it mapped and does not use it should let go.
inline constexpr std::uint64_t gone_base = ~std::uint64_t{0} - 1;

/// A slot: state:2 | position/8:30 | length:32. Every state but empty is final for the incarnation.
struct Slot {
  enum State : std::uint64_t { empty = 0, committed = 1, aborted = 2, continued = 3 };
  static constexpr State state(std::uint64_t slot) noexcept { return static_cast<State>(slot & 3); }
  static constexpr std::uint64_t position(std::uint64_t slot) noexcept { return (slot >> 2 & 0x3FFF'FFFF) << 3; }
  static constexpr std::uint64_t length(std::uint64_t slot) noexcept { return slot >> 32; }
  static constexpr std::uint64_t make(State state, std::uint64_t position, std::uint64_t length) noexcept {
    return state | position >> 3 << 2 | length << 32;
  }
  /// An aborted slot names the incarnation, so that recovery does not take one for it that stood there before.
  static constexpr std::uint64_t aborted_in(std::uint64_t uuid) noexcept {
    return aborted | (uuid & ~std::uint64_t{3});
  }
};

/// inflight of a member line: what its owner is about to do, or does, in the segments of partition `uid`. A batch of
/// 2,048 records or more has its count in the line's `batch` word, which is stored before inflight and read after it.
struct Inflight {
  static constexpr std::uint64_t many = 0x7FF;  ///< in the count's place: look into `batch`
  static constexpr std::uint64_t idle = 0;
  static constexpr std::uint64_t reserving_bit = std::uint64_t{1} << 63;
  static constexpr std::uint64_t reserving(std::uint64_t base) noexcept { return reserving_bit | base; }
  static constexpr std::uint64_t writing(std::uint64_t offset, std::uint64_t k = 1) noexcept {
    return std::min(k - 1, many) << 52 | (offset + 1);
  }
  /// Could the owner touch the slots [from, to) of the segment that begins at `base`?
  static constexpr bool touches(std::uint64_t word, std::uint64_t batch, std::uint64_t base, std::uint64_t from,
                                std::uint64_t to) noexcept {
    if (word == idle) return false;
    if (word & reserving_bit) return word == reserving(base);
    const std::uint64_t first = (word & ((std::uint64_t{1} << 52) - 1)) - 1;
    const std::uint64_t behind_first = word >> 52 & many;
    const std::uint64_t last = first + (behind_first == many ? std::max(batch, many + 1) - 1 : behind_first);
    return first < to && last >= from;
  }
};

/// What stands at a slot's position. Value, key and headers follow (log/frame.hpp).
struct FrameHeader {
  std::uint32_t
      crc32c;  ///< over all that follows in the frame, keyed by segment uuid and offset; 0 when not checksummed
  std::uint16_t flags;
  std::uint16_t header_count;
  std::int64_t timestamp_ns;  ///< since 1970, UTC
};
static_assert(sizeof(FrameHeader) == 16 && offsetof(FrameHeader, timestamp_ns) == 8);

enum FrameFlag : std::uint16_t {
  frame_lengths = 1,         ///< key_length:4 value_length:4 follow, -1 = null
  frame_head = 2,            ///< count:4 follows: head of a batch of native records
  frame_batch = 4,           ///< a Kafka v2 record batch follows, verbatim
  frame_producer = 8,        ///< producer id:8, sequence:4, epoch:2, reserved:2 follow
  frame_transactional = 16,  ///< as in Kafka
  frame_append_time = 32,    ///< the timestamp is LogAppendTime, else CreateTime
  frame_control = 64,        ///< a transaction marker
};

}  // namespace towpath::inline TOWPATH_ABI::log
