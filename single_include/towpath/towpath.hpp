// towpath 0.1.0, all of <towpath/towpath.hpp> in one file.
// Assembled by tools/amalgamate.py from include/: change it there, then run that.
//
// MIT License
//
// Copyright (c) 2026 The towpath authors
//
// Permission is hereby granted, free of charge, to any person obtaining a copy
// of this software and associated documentation files (the "Software"), to deal
// in the Software without restriction, including without limitation the rights
// to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
// copies of the Software, and to permit persons to whom the Software is
// furnished to do so, subject to the following conditions:
//
// The above copyright notice and this permission notice shall be included in all
// copies or substantial portions of the Software.
//
// THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
// IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
// FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
// AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
// LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
// OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
// SOFTWARE.

// towpath: processes on one host exchange records through shared, memory-mapped logs with Kafka's model.
// This header is a list: the stations of a record's way, from the words used everywhere to reading.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <bitset>
#include <boost/crc.hpp>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <climits>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <cxxabi.h>
#include <deque>
#include <dirent.h>
#include <exception>
#include <fcntl.h>
#include <fmt/format.h>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <linux/openat2.h>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <pthread.h>
#include <regex.h>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#include <thread>
#include <type_traits>
#include <unistd.h>
#include <unordered_map>
#include <utility>
#include <vector>

// ---- towpath/core/version.hpp ----

// The library's own version (semver). The segment format has its own number in log/format.hpp, the wire is Kafka's.

#define TOWPATH_VERSION_MAJOR 0
#define TOWPATH_VERSION_MINOR 1
#define TOWPATH_VERSION_PATCH 0
#define TOWPATH_VERSION_STRING "0.1.0"

// ---- towpath/core/config.hpp ----

// Every macro of the library. A user may define, before the first include and the same in every file of a program:
//   TOWPATH_ASSERT(condition)   what happens on a caller's bug; default: assert()
//   TOWPATH_FAIL(message)       what value() and throwing constructors do without exceptions; default: print, abort()
//   TOWPATH_FAILPOINT(name)     called between the protocol's steps; default: nothing. Tests kill the process there.
//   TOWPATH_WORD_POLICY         the type through which every shared word is touched; default: shm::DirectPolicy
//   TOWPATH_FLUSH_POLICY        the type through which files reach the disk; default: shm::DirectFlush
// Exceptions, TOWPATH_FAILPOINT and the policies are part of the inline namespace, so that files that differ in
// them never share a symbol; whatever else differs (TOWPATH_ASSERT, TOWPATH_FAIL, NDEBUG, sanitizers) is yours to keep
// the same. Between processes only the format version protects you.

#if __cplusplus < 202002L
#error "towpath needs C++20: compile with -std=c++20"
#endif

#if !defined(__linux__) || !defined(__LP64__)
#error "towpath needs 64-bit Linux: lock-free 64-bit words, futex, OFD locks, openat2"
#endif

#if defined(__cpp_exceptions)
#define TOWPATH_EXCEPTIONS 1
#define TOWPATH_ABI_EXCEPTIONS
#else
#define TOWPATH_EXCEPTIONS 0
#define TOWPATH_ABI_EXCEPTIONS _noexcept
#endif

#if defined(__SANITIZE_THREAD__)
#define TOWPATH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TOWPATH_TSAN 1
#endif
#endif
#ifndef TOWPATH_TSAN
#define TOWPATH_TSAN 0
#endif

#ifndef TOWPATH_ASSERT
#define TOWPATH_ASSERT(condition) assert(condition)
#endif

#ifndef TOWPATH_FAIL
#define TOWPATH_FAIL(message) (std::fprintf(stderr, "towpath: %s\n", message), std::abort())
#endif

#ifdef TOWPATH_FAILPOINT
#define TOWPATH_ABI_FAILPOINT _failpoints
#else
#define TOWPATH_FAILPOINT(name) ((void)0)
#define TOWPATH_ABI_FAILPOINT
#endif

#ifdef TOWPATH_WORD_POLICY
#define TOWPATH_ABI_POLICY _policy
#else
#define TOWPATH_WORD_POLICY ::towpath::shm::DirectPolicy
#define TOWPATH_ABI_POLICY
#endif

#ifdef TOWPATH_FLUSH_POLICY
#define TOWPATH_ABI_FLUSH _flush
#else
#define TOWPATH_FLUSH_POLICY ::towpath::shm::DirectFlush
#define TOWPATH_ABI_FLUSH
#endif

// Seeded bugs for negative controls: a test target defines one to see its own check fail. Never defined by users.
#ifdef TOWPATH_SEED_STORE_COMMIT
#define TOWPATH_ABI_SEED _seed
#else
#define TOWPATH_SEED_STORE_COMMIT 0
#define TOWPATH_ABI_SEED
#endif

#define TOWPATH_ABI_JOIN_(a, b, c, d, e, f) a##b##c##d##e##f
#define TOWPATH_ABI_JOIN(a, b, c, d, e, f) TOWPATH_ABI_JOIN_(a, b, c, d, e, f)
#define TOWPATH_ABI                                                                                          \
  TOWPATH_ABI_JOIN(v0, TOWPATH_ABI_EXCEPTIONS, TOWPATH_ABI_FAILPOINT, TOWPATH_ABI_POLICY, TOWPATH_ABI_FLUSH, \
                   TOWPATH_ABI_SEED)

// A path that is taken once in thousands of records: kept out of the loop that is taken for each.
#define TOWPATH_COLD __attribute__((noinline, cold))
// A path that is taken for each record.
#define TOWPATH_HOT inline __attribute__((always_inline))

// ---- towpath/core/ids.hpp ----

// Numbers that must not be mixed up: offsets, partitions, epochs. Each is one integer with its own type.
//   Offset next = record.offset() + 1;      std::int64_t lag = end - next;

namespace towpath::inline TOWPATH_ABI {

/// A record's place in its partition: 0, 1, 2, ... Never re-used; gaps are possible (aborted appends). Below 2^48.
struct Offset {
  std::int64_t value = 0;

  friend constexpr auto operator<=>(Offset, Offset) noexcept = default;
  friend constexpr Offset operator+(Offset offset, std::int64_t n) noexcept { return {offset.value + n}; }
  friend constexpr Offset operator-(Offset offset, std::int64_t n) noexcept { return {offset.value - n}; }
  friend constexpr std::int64_t operator-(Offset a, Offset b) noexcept { return a.value - b.value; }
  constexpr Offset& operator++() noexcept { return ++value, *this; }
};

/// A partition's number within its topic: 0 to 32,766.
struct PartitionId {
  std::int32_t value = 0;
  friend constexpr auto operator<=>(PartitionId, PartitionId) noexcept = default;
};

/// Counts how often a partition's log was cut back; a record carries the epoch it was written in.
struct LeaderEpoch {
  std::int32_t value = 0;
  friend constexpr auto operator<=>(LeaderEpoch, LeaderEpoch) noexcept = default;
};

inline constexpr std::int32_t max_partitions = 32'767;  ///< per topic: a pin's byte has 15 bits for the partition

namespace literals {

consteval std::uint64_t operator""_KiB(unsigned long long n) { return n << 10; }
consteval std::uint64_t operator""_MiB(unsigned long long n) { return n << 20; }
consteval std::uint64_t operator""_GiB(unsigned long long n) { return n << 30; }

}  // namespace literals

/// `value` rounded up to a multiple of `alignment`, a power of two.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace towpath::inline TOWPATH_ABI

template <>
struct std::hash<towpath::PartitionId> {
  std::size_t operator()(towpath::PartitionId id) const noexcept { return static_cast<std::size_t>(id.value); }
};

// ---- towpath/shm/word.hpp ----

// A Word is a number that two processes share. Every such number in every file is one of these, so that each access
// names its memory order and a checker can run the real code by putting its own policy in DirectPolicy's place.
// Lock-free on every platform that compiles it; never constructed in shared memory, only looked at there.

namespace towpath::inline TOWPATH_ABI::shm {

using std::memory_order;
inline constexpr memory_order relaxed = std::memory_order_relaxed;
inline constexpr memory_order acquire = std::memory_order_acquire;
inline constexpr memory_order release = std::memory_order_release;
inline constexpr memory_order acq_rel = std::memory_order_acq_rel;
inline constexpr memory_order seq_cst = std::memory_order_seq_cst;

/// How words are touched in production: std::atomic_ref, nothing else. A checker's policy has the same functions.
struct DirectPolicy {
  template <class T>
  static TOWPATH_HOT T load(const T& at, memory_order order) noexcept {
    return std::atomic_ref<T>{const_cast<T&>(at)}.load(order);  // atomic_ref<const T> is C++26; load() never writes
  }
  template <class T>
  static TOWPATH_HOT void store(T& at, T value, memory_order order) noexcept {
    std::atomic_ref<T>{at}.store(value, order);
  }
  template <class T>
  static TOWPATH_HOT T exchange(T& at, T value, memory_order order) noexcept {
    return std::atomic_ref<T>{at}.exchange(value, order);
  }
  template <class T>
  static TOWPATH_HOT bool compare_exchange(T& at, T& expected, T desired, memory_order success,
                                           memory_order failure) noexcept {
    // The builtin, not atomic_ref's function, so that the warning can be answered here: with a sanitizer at -O1 g++ 12
    // loses a constant order on the way through inlining, takes it for seq_cst, and finds that too strong.
#pragma GCC diagnostic push
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Winvalid-memory-model"
#endif
    return __atomic_compare_exchange_n(&at, &expected, desired, false, static_cast<int>(success),
                                       static_cast<int>(failure));
#pragma GCC diagnostic pop
  }
  template <class T>
  static TOWPATH_HOT T fetch_add(T& at, T value, memory_order order) noexcept {
    return std::atomic_ref<T>{at}.fetch_add(value, order);
  }
  template <class T>
  static TOWPATH_HOT T fetch_or(T& at, T value, memory_order order) noexcept {
    return std::atomic_ref<T>{at}.fetch_or(value, order);
  }
  template <class T>
  static TOWPATH_HOT T fetch_and(T& at, T value, memory_order order) noexcept {
    return std::atomic_ref<T>{at}.fetch_and(value, order);
  }
};

template <std::integral T, class Policy = TOWPATH_WORD_POLICY>
class Word {
  static_assert(std::atomic_ref<T>::is_always_lock_free, "a lock could be held by a dead process");
  static_assert(std::atomic_ref<T>::required_alignment <= alignof(T));

 public:
  Word() = default;
  Word(const Word&) = delete;
  Word& operator=(const Word&) = delete;

  [[nodiscard]] TOWPATH_HOT T load(memory_order order) const noexcept { return Policy::load(raw_, order); }
  TOWPATH_HOT void store(T value, memory_order order) noexcept { Policy::store(raw_, value, order); }
  TOWPATH_HOT T exchange(T value, memory_order order) noexcept { return Policy::exchange(raw_, value, order); }
  /// On failure `expected` holds what was found.
  TOWPATH_HOT bool compare_exchange(T& expected, T desired, memory_order success, memory_order failure) noexcept {
    return Policy::compare_exchange(raw_, expected, desired, success, failure);
  }
  TOWPATH_HOT T fetch_add(T value, memory_order order) noexcept { return Policy::fetch_add(raw_, value, order); }
  TOWPATH_HOT T fetch_or(T value, memory_order order) noexcept { return Policy::fetch_or(raw_, value, order); }
  TOWPATH_HOT T fetch_and(T value, memory_order order) noexcept { return Policy::fetch_and(raw_, value, order); }

  /// Raises the word to `value` unless it is there or above. True if this call raised it.
  bool raise_to(T value, memory_order success) noexcept {
    T seen = load(seq_cst);  // who finds it raised relies on it like who raises it
    while (seen < value)
      if (compare_exchange(seen, value, success, seq_cst)) return true;
    return false;
  }

  /// For the futex call only.
  [[nodiscard]] const T* address() const noexcept { return &raw_; }

 private:
  T raw_;
};

using Word32 = Word<std::uint32_t>;
using Word64 = Word<std::uint64_t>;
static_assert(sizeof(Word64) == 8 && std::is_standard_layout_v<Word64> &&
              std::is_trivially_default_constructible_v<Word64>);
static_assert(sizeof(Word32) == 4 && std::is_standard_layout_v<Word32>);

/// Tells the processor that this is a spinning loop.
TOWPATH_HOT void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield" ::: "memory");
#endif
}

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/log/format.hpp ----

// The segment file, word by word. docs/format.md is this header in prose; docs/protocol.md says who may touch what
// when. Little-endian, fixed widths, no pointers, no bool, padding named. Change a struct: raise
// segment_format_version, add golden files in tests/golden, a line in CHANGELOG.
//
//   header (256 B) | slots, 8 B each | ... | data from data_offset, a multiple of 64 KiB
//
// Offset n of the partition is slot n - base: its commit word, its abort word and its place in the data, in one.

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

// ---- towpath/core/errc.hpp ----

// What can go wrong, as one list. docs/errors.md says for each code when it comes and what to do.
// No data, a lost race and a full queue under a drop policy are outcomes, not errors: they have no code.

namespace towpath::inline TOWPATH_ABI {

enum class Errc : int {
  ok = 0,
  // the caller's request
  invalid_argument,         ///< a value out of its range; the detail names it
  invalid_name,             ///< a topic name that Kafka's rule refuses
  unknown_topic,            ///< no such topic, and it was not to be created
  unknown_partition,        ///< a partition number at or above the topic's count
  topic_exists,             ///< create_topic on a name that is taken
  topic_deleted,            ///< the topic went away under this handle
  config_mismatch,          ///< another alignment or layout than the topic was created with
  type_mismatch,            ///< another value type than the topic was created with
  message_too_large,        ///< above max_message_bytes; nothing was reserved
  loan_open,                ///< one open loan per Producer
  no_group,                 ///< commit without group_id
  no_offset,                ///< auto_offset_reset = none and no position was given
  offset_out_of_range,      ///< the position is before the log's start or past its end
  not_assigned,             ///< the partition is not assigned to this Consumer
  invalid_pattern,          ///< a regular expression that does not compile
  queue_full,               ///< on_full = fail: a named reader has not read what would have to go
  duplicate_sequence,       ///< the producer sent a record with that sequence number before
  unsupported_compression,  ///< this program was built without that codec
  // the data
  undecodable,    ///< bytes that are no value of this type; the position stays before them
  corrupt,        ///< a file's content contradicts itself
  newer_format,   ///< written by a newer library
  log_truncated,  ///< a restart of the machine took records that were not durable; the log goes on before them
  // the machine
  not_found,               ///< no such file or folder
  already_exists,          ///< a file of that name stands already
  permission_denied,       ///< the operating system refused
  not_a_directory,         ///< the bus path is a file
  unsafe_directory,        ///< the folder belongs to somebody else or the world may write to it
  unsupported_filesystem,  ///< no coherent shared mapping there (overlay, NFS, FUSE, ...)
  no_space,                ///< the disk or tmpfs is full; works again when there is room
  out_of_memory,           ///< the operating system has none for a descriptor or lock; for maps see too_many_maps
  too_many_files,          ///< RLIMIT_NOFILE or the system's table is full
  too_many_maps,           ///< vm.max_map_count reached, or no memory or addresses for a map
  too_many_members,        ///< all lines of the member table are taken
  partition_failed,        ///< an I/O error made the partition read-only
  io_error,                ///< any other refusal of the operating system; the detail names the call
  unsupported_platform,    ///< page size above 64 KiB, or a kernel without openat2 or OFD locks
  // the state of things
  recovery_needed,       ///< the machine was restarted since, and who may write has not opened the bus yet
  recovery_in_progress,  ///< another process recovers the bus after a restart of the machine
  read_only,             ///< this member has no right to write
  forked,                ///< used in a child process after fork(): open the bus anew there
  closed,                ///< a loan that was sent already
  busy,                  ///< somebody else holds what only one may hold
  fenced,                ///< a newer owner took over
  timed_out,             ///< the given time passed
};

/// One static sentence per code, for people.
constexpr std::string_view message(Errc code) noexcept;

/// The code's own name, e.g. "message_too_large", for logs and tools.
constexpr std::string_view name(Errc code) noexcept;

namespace detail {

struct ErrcText {
  Errc code;
  std::string_view name;
  std::string_view message;
};

inline constexpr ErrcText errc_texts[] = {
    {Errc::ok, "ok", "no error"},
    {Errc::invalid_argument, "invalid_argument", "a value is out of its range"},
    {Errc::invalid_name, "invalid_name", "topic names are 1 to 249 of [A-Za-z0-9._-], not . or .."},
    {Errc::unknown_topic, "unknown_topic", "no topic of that name on this bus"},
    {Errc::unknown_partition, "unknown_partition", "the topic has fewer partitions"},
    {Errc::topic_exists, "topic_exists", "a topic of that name exists"},
    {Errc::topic_deleted, "topic_deleted", "the topic was deleted; open it anew"},
    {Errc::config_mismatch, "config_mismatch", "the topic was created with another layout"},
    {Errc::type_mismatch, "type_mismatch", "the topic was created with another value type"},
    {Errc::message_too_large, "message_too_large",
     "the record exceeds max_message_bytes; raise it or split the record"},
    {Errc::loan_open, "loan_open", "this producer has an open loan; send or drop it first"},
    {Errc::no_group, "no_group", "this needs a group_id"},
    {Errc::no_offset, "no_offset", "no position and auto_offset_reset is none; seek first"},
    {Errc::offset_out_of_range, "offset_out_of_range", "the log no longer, or not yet, holds that offset; seek"},
    {Errc::not_assigned, "not_assigned", "the partition is not assigned to this consumer"},
    {Errc::invalid_pattern, "invalid_pattern", "the pattern is no POSIX extended regular expression"},
    {Errc::queue_full, "queue_full",
     "a named reader has not read what would have to go; let it read, or raise retention"},
    {Errc::duplicate_sequence, "duplicate_sequence", "the log has a record of that number from this producer already"},
    {Errc::unsupported_compression, "unsupported_compression",
     "this program has no such codec; include towpath/adapters/compression.hpp"},
    {Errc::undecodable, "undecodable", "the bytes are no value of this type; seek past them or stop"},
    {Errc::corrupt, "corrupt", "a file contradicts itself; it was not touched"},
    {Errc::newer_format, "newer_format", "written by a newer library; update this one"},
    {Errc::log_truncated, "log_truncated", "a power cut took records behind this offset; seek, and read on"},
    {Errc::not_found, "not_found", "no such file or folder"},
    {Errc::already_exists, "already_exists", "a file of that name stands already"},
    {Errc::permission_denied, "permission_denied", "the operating system refused access; check owner and mode"},
    {Errc::not_a_directory, "not_a_directory", "a bus is a folder, and this path is not one"},
    {Errc::unsafe_directory, "unsafe_directory", "the folder is world-writable or owned by another user"},
    {Errc::unsupported_filesystem, "unsupported_filesystem",
     "no coherent shared memory here; use tmpfs, ext4, xfs or btrfs"},
    {Errc::no_space, "no_space", "no room left; free some and send again"},
    {Errc::out_of_memory, "out_of_memory", "the operating system has no memory left"},
    {Errc::too_many_files, "too_many_files", "out of file descriptors; raise ulimit -n"},
    {Errc::too_many_maps, "too_many_maps", "out of memory maps; raise vm.max_map_count"},
    {Errc::too_many_members, "too_many_members", "all 1,024 member lines are taken; close producers or consumers"},
    {Errc::partition_failed, "partition_failed", "an I/O error made the partition read-only; see the kernel's log"},
    {Errc::io_error, "io_error", "the operating system refused"},
    {Errc::unsupported_platform, "unsupported_platform", "this kernel lacks what a bus needs"},
    {Errc::recovery_needed, "recovery_needed",
     "the machine was restarted since; open the bus once by a process that may write it"},
    {Errc::recovery_in_progress, "recovery_in_progress", "another process recovers this bus; try again"},
    {Errc::read_only, "read_only", "this process may only read this bus"},
    {Errc::forked, "forked", "a bus cannot be used after fork(); open it anew in the child"},
    {Errc::closed, "closed", "this handle is closed"},
    {Errc::busy, "busy", "somebody else holds it"},
    {Errc::fenced, "fenced", "a newer owner took over; do not retry"},
    {Errc::timed_out, "timed_out", "the given time passed"},
};

constexpr ErrcText find_text(Errc code) noexcept {
  for (const auto& text : errc_texts)
    if (text.code == code) return text;
  return {code, "unknown", "an unknown code"};
}

}  // namespace detail

constexpr std::string_view message(Errc code) noexcept { return detail::find_text(code).message; }
constexpr std::string_view name(Errc code) noexcept { return detail::find_text(code).name; }

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/core/result.hpp ----

// A Result<T> is a value or a Failure. Look before you use it; value() throws towpath::Error instead.
//   if (auto sent = producer.send(x); !sent) log(sent.error());        // a Failure: code and static detail
//   producer.send(x).value();                                          // throws Error{failure}
//   producer.send(x).ignore();                                         // dropped on purpose
// Not thread-safe, like any value. On a temporary value() and * return by value, so that a loop over *f() has what it
// walks; a loop over f()->list has not.

namespace towpath::inline TOWPATH_ABI {

/// A code and a sentence that lives for ever (a string literal). Compares with Errc.
struct Failure {
  Errc code = Errc::ok;
  const char* detail = "";

  friend constexpr bool operator==(const Failure& a, const Failure& b) noexcept { return a.code == b.code; }
  friend constexpr bool operator==(const Failure& failure, Errc errc) noexcept { return failure.code == errc; }
};

namespace detail {

inline constexpr std::size_t described_size = 256;

/// Code, message and detail as one line; cut off if it is longer than the room.
TOWPATH_COLD inline void describe(const Failure& failure, char (&text)[described_size]) noexcept {
  const auto code = name(failure.code);
  const auto meaning = message(failure.code);
  const auto print = [&](const char* format) {
    std::snprintf(text, sizeof text, format, static_cast<int>(code.size()), code.data(),
                  static_cast<int>(meaning.size()), meaning.data(), failure.detail);
  };
  print(*failure.detail ? "%.*s: %.*s (%s)" : "%.*s: %.*s%s");
}

}  // namespace detail

#if TOWPATH_EXCEPTIONS
/// The exception that carries a Failure. what() says all of it: "no_space: no room left; ... (fallocate)".
class Error : public std::exception {
 public:
  explicit Error(Failure failure) noexcept : failure_{failure} { detail::describe(failure, text_); }
  [[nodiscard]] const Failure& failure() const noexcept { return failure_; }
  [[nodiscard]] Errc code() const noexcept { return failure_.code; }
  [[nodiscard]] const char* what() const noexcept override { return text_; }

 private:
  Failure failure_;
  char text_[detail::described_size];
};
#endif

namespace detail {

/// Throws Error; without exceptions calls TOWPATH_FAIL.
[[noreturn]] TOWPATH_COLD inline void raise(const Failure& failure) {
#if TOWPATH_EXCEPTIONS
  throw Error{failure};
#else
  char text[described_size];
  describe(failure, text);
  TOWPATH_FAIL(text);
  std::abort();
#endif
}

}  // namespace detail

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  constexpr Result(T value) noexcept(std::is_nothrow_move_constructible_v<T>) : value_{std::move(value)} {}
  constexpr Result(Failure failure) noexcept : failure_{failure} {}
  constexpr Result(Errc code) noexcept : failure_{code, ""} {}

  [[nodiscard]] constexpr bool has_value() const noexcept { return value_.has_value(); }
  constexpr explicit operator bool() const noexcept { return value_.has_value(); }

  /// Only when has_value().
  constexpr T& operator*() & noexcept { return *value_; }
  constexpr const T& operator*() const& noexcept { return *value_; }
  constexpr T operator*() && noexcept(std::is_nothrow_move_constructible_v<T>) { return std::move(*value_); }
  constexpr T* operator->() noexcept { return &*value_; }
  constexpr const T* operator->() const noexcept { return &*value_; }

  /// The value, by value. Throws Error (without exceptions: TOWPATH_FAIL) when there is none.
  constexpr T value() && {
    if (!value_) detail::raise(failure_);
    return std::move(*value_);
  }
  constexpr const T& value() const& {
    if (!value_) detail::raise(failure_);
    return *value_;
  }

  /// The failure; Errc::ok when there is a value.
  [[nodiscard]] constexpr Failure error() const noexcept { return failure_; }

  constexpr void ignore() const noexcept {}

  /// Calls `then(*this)`, now: a Result is always ready. What is delivered later has the same function.
  template <class Callback>
  constexpr void then(Callback&& callback) const {
    std::forward<Callback>(callback)(*this);
  }

 private:
  std::optional<T> value_;  // not std::variant: a third of the time to compile this library
  Failure failure_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  constexpr Result() noexcept = default;
  constexpr Result(Failure failure) noexcept : failure_{failure} {}
  constexpr Result(Errc code) noexcept : failure_{code, ""} {}

  [[nodiscard]] constexpr bool has_value() const noexcept { return failure_.code == Errc::ok; }
  constexpr explicit operator bool() const noexcept { return has_value(); }
  constexpr void value() const {
    if (!has_value()) detail::raise(failure_);
  }
  [[nodiscard]] constexpr Failure error() const noexcept { return failure_; }
  constexpr void ignore() const noexcept {}

 private:
  Failure failure_;
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/shm/system.hpp ----

// What the operating system says, in the library's words: errno as a Failure, a descriptor that closes itself,
// the boot id, the limits of this process. Thread-safe; nothing here is called per message.

namespace towpath::inline TOWPATH_ABI::shm {

/// errno as a Failure; `call` names what was tried and must be a literal.
inline Failure system_failure(int error, const char* call) noexcept {
  switch (error) {
    case ENOENT: return {Errc::not_found, call};
    case EEXIST:
    case ENOTEMPTY: return {Errc::already_exists, call};
    case EACCES:
    case EPERM:
    case EROFS: return {Errc::permission_denied, call};
    case ENOTDIR:
    case EISDIR: return {Errc::not_a_directory, call};
    case ELOOP:
    case EXDEV: return {Errc::unsafe_directory, call};
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return {Errc::no_space, call};
    case EMFILE:
    case ENFILE: return {Errc::too_many_files, call};
    case ENOLCK:
    case ENOMEM: return {Errc::out_of_memory, call};
    case ENOSYS: return {Errc::unsupported_platform, call};
    default: return {Errc::io_error, call};
  }
}

#if TOWPATH_EXCEPTIONS
/// What passes through a thread that pthread_cancel() ends; whoever catches it must let it go on.
using ThreadCancelled = abi::__forced_unwind;
#endif

/// A file descriptor, closed when it goes out of scope.
class FileDescriptor {
 public:
  FileDescriptor() noexcept = default;
  explicit FileDescriptor(int fd) noexcept : fd_{fd} {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~FileDescriptor() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

/// What a file is, however it is named: a mapped inode cannot be re-used for another file.
struct FileId {
  dev_t device = 0;
  ino_t inode = 0;
  friend constexpr bool operator==(FileId, FileId) noexcept = default;
};

struct FileInfo {
  FileId id;
  std::uint64_t bytes = 0;
};

inline FileInfo file_info(const struct stat& found) noexcept {
  return {{found.st_dev, found.st_ino}, static_cast<std::uint64_t>(found.st_size)};
}

inline Result<struct stat> status(const FileDescriptor& fd) noexcept {
  struct stat found {};
  if (::fstat(fd.get(), &found) != 0) return system_failure(errno, "fstat");
  return found;
}

/// Gives a file all its blocks now, so that a store into its mapping can never meet a full disk (SIGBUS).
/// fallocate(2), not posix_fallocate: glibc's emulation of that writes bytes, also over live data.
inline Result<void> allocate(const FileDescriptor& fd, std::uint64_t from, std::uint64_t bytes) noexcept {
  while (::fallocate(fd.get(), 0, static_cast<off_t>(from), static_cast<off_t>(bytes)) != 0)
    if (errno != EINTR) return system_failure(errno, "fallocate");
  return {};
}

inline Result<void> write_all(const FileDescriptor& fd, const void* data, std::size_t size, std::uint64_t at) noexcept {
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const auto n = ::pwrite(fd.get(), bytes, size, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return system_failure(n == 0 ? ENOSPC : errno, "pwrite");
    bytes += n, size -= static_cast<std::size_t>(n), at += static_cast<std::uint64_t>(n);
  }
  return {};
}

/// Reads up to `size` bytes; fewer only at the end of the file.
inline Result<std::size_t> read_some(const FileDescriptor& fd, void* data, std::size_t size,
                                     std::uint64_t at) noexcept {
  std::size_t done = 0;
  while (done < size) {
    const auto n = ::pread(fd.get(), static_cast<char*>(data) + done, size - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_failure(errno, "pread");
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

/// A file of /proc, which tells no size: its first 4 KiB. Empty when it cannot be read.
inline std::string read_proc(const char* path) {
  FileDescriptor fd{::open(path, O_RDONLY | O_CLOEXEC)};
  std::array<char, 4096> text{};
  const auto n = fd ? read_some(fd, text.data(), text.size(), 0) : Result<std::size_t>{Errc::not_found};
  return n ? std::string{text.data(), *n} : std::string{};
}

using BootId = std::array<char, 40>;

/// Differs after every start of the machine; the same in all containers on it. All zero where the kernel hides it.
inline BootId boot_id() {
  BootId id{};
  const auto text = read_proc("/proc/sys/kernel/random/boot_id");
  std::memcpy(id.data(), text.data(), text.size() < id.size() ? text.size() : id.size() - 1);
  return id;
}

/// How many maps this process may have, and how many descriptors.
struct Limits {
  std::uint64_t maps = 65'530;
  std::uint64_t files = 1'024;
};

inline Limits limits() {
  Limits found;
  if (const auto text = read_proc("/proc/sys/vm/max_map_count"); !text.empty())
    found.maps = std::strtoull(text.c_str(), nullptr, 10);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) found.files = files.rlim_cur;
  return found;
}

inline std::uint64_t page_bytes() noexcept { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

/// Names the calling thread and makes it yield to the others of its process and machine (nice 10).
inline void become_background_thread(const char* name) noexcept {
  ::prctl(PR_SET_NAME, name);
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), 10);
}

/// Random bits for temporary names and uuids; not secret.
inline std::uint64_t random_bits() noexcept {
  std::uint64_t bits = 0;
  if (::getentropy(&bits, sizeof bits) == 0) return bits;
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return (static_cast<std::uint64_t>(now.tv_nsec) << 32 ^ static_cast<std::uint64_t>(now.tv_sec)) *
             0x9E3779B97F4A7C15u +
         static_cast<std::uint64_t>(::getpid());
}

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/shm/flush.hpp ----

// Getting bytes onto stable storage: fdatasync(2) for a file, msync(2) for what a map of it holds, fsync(2) for the
// names in a folder. Each blocks for as long as the disk takes. Thread-safe.
// A flush that failed must not be tried again: the kernel marks pages that it could not write as clean, so a second
// flush would succeed without them. A map reports every error since it was made, whoever else asked meanwhile.

namespace towpath::inline TOWPATH_ABI::shm {

/// How flushes reach the kernel in production. A test that plays power cut puts a policy of its own in its place
/// (TOWPATH_FLUSH_POLICY). Each returns 0 or an errno.
struct DirectFlush {
  static int file(int fd) noexcept { return ::fdatasync(fd) == 0 ? 0 : errno; }
  static int folder(int fd) noexcept { return ::fsync(fd) == 0 ? 0 : errno; }
  /// Writes what is dirty in the file behind the map; the same as fdatasync on the descriptor that it was made from.
  static int map(void* at, std::size_t bytes) noexcept { return ::msync(at, bytes, MS_SYNC) == 0 ? 0 : errno; }
  /// Does what lies there outlive a restart of the machine?
  static bool outlives_restart(bool is_on_disk) noexcept { return is_on_disk; }
};

namespace detail {

/// Whatever the reason is: what was to be flushed may be lost, also when room comes back.
inline Result<void> flushed(int error, const char* call) noexcept {
  if (error == 0) return {};
  return Failure{Errc::io_error, call};
}

template <class Flush>
int until_done(const Flush& flush) noexcept {
  int error = 0;
  do error = flush();
  while (error == EINTR);
  return error;
}

}  // namespace detail

/// Errors: io_error, and then the file's last bytes are not to be trusted.
inline Result<void> flush_file(const FileDescriptor& fd) noexcept {
  return detail::flushed(detail::until_done([&] { return TOWPATH_FLUSH_POLICY::file(fd.get()); }), "fdatasync");
}
inline Result<void> flush_map(void* at, std::size_t bytes) noexcept {
  return detail::flushed(detail::until_done([&] { return TOWPATH_FLUSH_POLICY::map(at, bytes); }), "msync");
}
/// Names made, changed and removed in the folder. Errors: io_error.
inline Result<void> flush_folder(const FileDescriptor& fd) noexcept {
  return detail::flushed(detail::until_done([&] { return TOWPATH_FLUSH_POLICY::folder(fd.get()); }), "fsync a folder");
}

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/shm/directory.hpp ----

// A Directory is where a bus keeps its files: a folder of the operating system, or the memory of this process
// (memory_directory.hpp). Names are relative and may go into sub-folders ("topics/pose/state"); they never leave it.
// Thread-safe and process-safe. A crash leaves either the whole file or none: files are made under a private name and
// then renamed, and a rename never replaces. Callers check names before they get here (topic/names.hpp).

namespace towpath::inline TOWPATH_ABI::shm {

enum class Access { read, read_write };

/// What the storage is, as far as the log behaves differently on it.
enum class Storage {
  memory,         ///< this process's memory
  tmpfs,          ///< shared memory: gone after a restart of the machine
  disk,           ///< ext4, xfs: kept, checksummed
  copy_on_write,  ///< btrfs or a forced filesystem: kept, checksummed, segments are not recycled
};

class Directory {
 public:
  Directory() = default;
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  virtual ~Directory() = default;

  /// Opens an existing file with a descriptor of its own. Errors: not_found, permission_denied, unsafe_directory (a
  /// link).
  virtual Result<FileDescriptor> open(const char* name, Access access) = 0;
  /// Makes a new, empty file of mode `mode` whatever the umask. Errors: already_exists, no_space.
  virtual Result<FileDescriptor> create(const char* name, unsigned mode) = 0;
  /// Makes a FIFO of mode `mode` whatever the umask, and opens it as open_fifo does. Errors: already_exists, no_space.
  virtual Result<FileDescriptor> make_fifo(const char* name, unsigned mode) = 0;
  /// Opens a FIFO for reading and writing, so that it never ends and a write never raises SIGPIPE; nothing on it
  /// blocks. Errors: not_found, permission_denied, corrupt (no FIFO).
  virtual Result<FileDescriptor> open_fifo(const char* name) = 0;
  /// Which file stands under the name now, and its size. Errors: not_found, unsafe_directory (a link on the way).
  virtual Result<FileInfo> identify(const char* name) = 0;
  /// Gives a file or folder another name. Errors: already_exists (never replaces), not_found.
  virtual Result<void> rename(const char* from, const char* to) = 0;
  /// As rename, but a file at `to` is replaced in one step.
  virtual Result<void> replace(const char* from, const char* to) = 0;
  /// Removes a file. Errors: not_found.
  virtual Result<void> remove(const char* name) = 0;
  /// Errors: already_exists.
  virtual Result<void> make_folder(const char* name) = 0;
  /// A folder as a Directory of its own. It stays that folder when it is renamed, and takes no new files once it is
  /// removed: work that began before ends in not_found, never in a folder that has the name by then.
  virtual Result<std::unique_ptr<Directory>> open_folder(const char* name) = 0;
  /// For FolderHold: a descriptor of the folder, or none where there is nothing to keep open.
  virtual FileDescriptor hold_folder(const char*) noexcept { return {}; }
  /// Removes a folder and all that is in it, one level of folders deep at a time.
  virtual Result<void> remove_folder(const char* name) = 0;
  /// The names in a folder, in no order; "" is the directory itself.
  virtual Result<std::vector<std::string>> list(const char* folder) = 0;
  /// Returns when the file's content is on stable storage; at once where a restart leaves nothing.
  /// Errors: io_error (what was written last may be lost: do not try again), not_found.
  virtual Result<void> flush(const char* name) = 0;
  /// The same for the names in a folder: made, changed and removed ones. "" is the directory itself.
  virtual Result<void> flush_folder(const char* folder) = 0;
  /// Bytes that can still be allocated.
  virtual std::uint64_t free_bytes() = 0;
  [[nodiscard]] virtual Storage storage() const noexcept = 0;
  /// Does it outlive a restart of the machine?
  [[nodiscard]] bool is_lasting() const noexcept {
    return TOWPATH_FLUSH_POLICY::outlives_restart(storage() == Storage::disk || storage() == Storage::copy_on_write);
  }
};

/// Writes a small file whole or not at all, under a private name first. Its content is on stable storage before it has
/// its name; the name is when the folder is flushed. Errors: already_exists, no_space, io_error.
inline Result<void> write_file(Directory& directory, const char* name, const std::string& text, unsigned mode,
                               bool replace = false) {
  char temporary[64];
  std::snprintf(temporary, sizeof temporary, ".tmp-%016llx", static_cast<unsigned long long>(random_bits()));
  std::string beside{name};
  const auto slash = beside.rfind('/');
  beside = slash == std::string::npos ? temporary : beside.substr(0, slash + 1) + temporary;
  auto file = directory.create(beside.c_str(), mode);
  if (!file) return file.error();
  auto done = write_all(*file, text.data(), text.size(), 0);
  if (done && directory.is_lasting()) done = flush_file(*file);
  if (done) done = replace ? directory.replace(beside.c_str(), name) : directory.rename(beside.c_str(), name);
  if (!done) directory.remove(beside.c_str()).ignore();
  return done;
}

/// A small file's whole text. Errors: not_found, corrupt (above `limit` bytes).
inline Result<std::string> read_file(Directory& directory, const char* name, std::size_t limit = 1 << 20) {
  auto file = directory.open(name, Access::read);
  if (!file) return file.error();
  const auto found = status(*file);
  if (!found) return found.error();
  if (static_cast<std::uint64_t>(found->st_size) > limit) return Failure{Errc::corrupt, "a small file is too large"};
  std::string text(static_cast<std::size_t>(found->st_size), '\0');
  const auto n = read_some(*file, text.data(), text.size(), 0);
  if (!n) return n.error();
  text.resize(*n);
  return text;
}

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/shm/fork.hpp ----

// After fork() the child shares the parent's lock descriptors (its members would look alive after its death) and
// none of its maps. So: maps are not inherited, lock descriptors are closed in the child, and a page that the kernel
// wipes on fork tells every handle that it is in a child. Thread-safe.

namespace towpath::inline TOWPATH_ABI::shm {

/// Whether this is still the process that something was made in: two loads.
class ForkWatch {
 public:
  [[nodiscard]] TOWPATH_HOT bool is_mine() const noexcept {
    return std::atomic_ref<std::uint64_t>{*page_}.load(std::memory_order_relaxed) == generation_;
  }

 private:
  friend class ForkGuard;
  ForkWatch(std::uint64_t* page, std::uint64_t generation) noexcept : page_{page}, generation_{generation} {}

  std::uint64_t* page_;
  std::uint64_t generation_;
};

class ForkGuard {
 public:
  static ForkGuard& instance() {
    static ForkGuard& guard = *new ForkGuard;  // never destroyed: handles may be globals
    return guard;
  }

  /// The number of this process in its line of forks; a handle remembers it. 0 in a child made without atfork handlers.
  [[nodiscard]] std::uint64_t generation() const noexcept {
    return std::atomic_ref<std::uint64_t>{*page_}.load(std::memory_order_relaxed);
  }

  /// The generation for a bus that is being opened in this process.
  std::uint64_t enter() {
    const std::lock_guard hold{mutex_};
    if (generation() == 0) leave_parent();
    return generation();
  }
  ForkWatch watch() { return {page_, enter()}; }

  /// Opens a descriptor that will hold locks, so that a child closes it; no fork comes between opening and knowing.
  /// `open` returns a Result with a FileDescriptor.
  template <class Open>
  auto open_watched(const Open& open) {
    const std::lock_guard hold{mutex_};
    auto fd = open();
    if (fd) lock_holders_.push_back(fd->get());
    return fd;
  }
  /// Closes a watched descriptor. A fork sees it open and watched, or closed: never open and unwatched.
  void close(int fd) {
    const std::lock_guard hold{mutex_};
    std::erase(lock_holders_, fd);
    ::close(fd);
  }

 private:
  ForkGuard() {
    void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page_ = page == MAP_FAILED ? &fallback_ : static_cast<std::uint64_t*>(page);
    if (page_ != &fallback_) ::madvise(page, 4096, MADV_WIPEONFORK);
    renew();
    ::pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                     [] { instance().in_child(); });
  }

  void renew() noexcept { std::atomic_ref<std::uint64_t>{*page_}.store(++last_, std::memory_order_relaxed); }

  void leave_parent() noexcept {
    for (const int fd : lock_holders_) ::close(fd);
    lock_holders_.clear();
    renew();
  }

  void in_child() noexcept {
    leave_parent();
    mutex_.unlock();
  }

  std::mutex mutex_;
  std::uint64_t fallback_ = 0;
  std::uint64_t last_ = 0;
  std::uint64_t* page_ = nullptr;
  std::vector<int> lock_holders_;
};

/// A descriptor that holds locks; closed in the child after a fork.
class LockDescriptor {
 public:
  LockDescriptor() noexcept = default;
  /// What `open` opens; it returns a Result with a FileDescriptor, and so its errors.
  template <class Open>
  static Result<LockDescriptor> open(const Open& open_file) {
    auto fd = ForkGuard::instance().open_watched(open_file);
    if (!fd) return fd.error();
    LockDescriptor lock;
    lock.fd_ = std::move(*fd);
    return lock;
  }
  LockDescriptor(LockDescriptor&&) noexcept = default;
  LockDescriptor& operator=(LockDescriptor&& other) noexcept {
    if (this != &other) {
      close();
      fd_ = std::move(other.fd_);
      generation_ = other.generation_;
    }
    return *this;
  }
  ~LockDescriptor() { close(); }

  [[nodiscard]] const FileDescriptor& get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  /// False in a child after fork(): the descriptor was closed there.
  [[nodiscard]] bool is_mine() const noexcept { return ForkGuard::instance().generation() == generation_; }

 private:
  void close() noexcept {
    if (!fd_) return;
    const int fd = fd_.release();
    // In a child the descriptor was closed already, and its number may be somebody else's by now.
    if (is_mine()) ForkGuard::instance().close(fd);
  }

  FileDescriptor fd_;
  std::uint64_t generation_ = ForkGuard::instance().generation();
};

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/shm/region.hpp ----

// A Region is one mapping of one file, unmapped when its last user lets go. RegionCache gives the same Region to all
// who ask for the same file, so that a segment that comes back from recycling needs no new map and no page fault.
// Thread-safe. A child after fork() has none of the parent's regions (MADV_DONTFORK).

#if TOWPATH_EXCEPTIONS
#include <boost/interprocess/mapped_region.hpp>
#endif

namespace towpath::inline TOWPATH_ABI::shm {

/// What of a file is mapped, and how.
enum class View {
  whole,     ///< all of it, read and write: producers
  readable,  ///< all of it, read only: consumers see data through this
  control,   ///< only the first bytes, read and write: header and slots, for a consumer that may help
};

#if TOWPATH_EXCEPTIONS
namespace detail {
/// Lets Boost.Interprocess map a file that we opened ourselves (from a held folder, without following links).
struct OpenedFile {
  boost::interprocess::mapping_handle_t handle;
  boost::interprocess::mode_t mode;
  [[nodiscard]] boost::interprocess::mapping_handle_t get_mapping_handle() const { return handle; }
  [[nodiscard]] boost::interprocess::mode_t get_mode() const { return mode; }
};
}  // namespace detail
#endif

class Region {
 public:
  /// Maps the first `size` bytes. Errors: too_many_maps (also when memory or addresses ran out: mmap does not tell),
  /// permission_denied, io_error.
  static Result<std::shared_ptr<Region>> map(const FileDescriptor& fd, std::size_t size, Access access) {
    auto region = std::shared_ptr<Region>{new Region};
#if TOWPATH_EXCEPTIONS
    namespace ipc = boost::interprocess;
    const auto mode = access == Access::read ? ipc::read_only : ipc::read_write;
    try {
      region->held_.map = ipc::mapped_region{detail::OpenedFile{{fd.get(), false}, mode}, mode, 0, size};
    } catch (const ipc::interprocess_exception& failed) {
      return map_failure(failed.get_native_error());
    }
#else
    void* at =
        ::mmap(nullptr, size, access == Access::read ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (at == MAP_FAILED) return map_failure(errno);
    region->data_ = static_cast<std::byte*>(at), region->size_ = size;
#endif
    ::madvise(region->data(), size, MADV_DONTFORK);
    return region;
  }

  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

#if TOWPATH_EXCEPTIONS
  ~Region() {
    if (is_mapped()) held_.map.~mapped_region();
  }
  [[nodiscard]] std::byte* data() const noexcept { return static_cast<std::byte*>(held_.map.get_address()); }
  [[nodiscard]] std::size_t size() const noexcept { return held_.map.get_size(); }
#else
  ~Region() {
    if (data_ && is_mapped()) ::munmap(data_, size_);
  }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
#endif

  /// Returns when all that was stored in the file, through whatever map, is on stable storage. Errors: io_error.
  [[nodiscard]] Result<void> flush() const noexcept { return flush_map(data(), size()); }

  /// Makes the pages present in this process now (Linux 5.14; elsewhere they come by faults).
  void populate(std::size_t from, std::size_t bytes, bool for_writing) const noexcept {
    const std::size_t page = page_bytes();
    const std::size_t begin = from / page * page;
    const std::size_t end = std::min(size(), from + bytes);
    if (begin < end)
      ::madvise(data() + begin, end - begin, for_writing ? 23 /* POPULATE_WRITE */ : 22 /* POPULATE_READ */);
  }

 private:
  Region() = default;

  /// Not in a child: nothing is mapped there, and by now something else may be at that address.
  [[nodiscard]] bool is_mapped() const noexcept { return ForkGuard::instance().generation() == generation_; }

  static Failure map_failure(int error) noexcept {
    return error == ENOMEM ? Failure{Errc::too_many_maps, "mmap: out of memory or maps (vm.max_map_count)"}
                           : system_failure(error, "mmap");
  }

#if TOWPATH_EXCEPTIONS
  union Held {  // destroyed by ~Region, or not at all
    boost::interprocess::mapped_region map;
    Held() : map{} {}
    ~Held() {}
  } held_;
#else
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
#endif
  std::uint64_t generation_ = ForkGuard::instance().generation();
};

class RegionCache {
 public:
  static RegionCache& instance() {
    static RegionCache& cache = *new RegionCache;  // never destroyed: handles may be globals
    // A child that opens a bus anew must not find the lock taken by a thread that it does not have.
    [[maybe_unused]] static const int registered = ::pthread_atfork(
        [] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); }, [] { instance().mutex_.unlock(); });
    return cache;
  }

  /// The file's region, from the cache when it is there: all of the file, or its first `at_least` bytes for
  /// View::control. Errors: not_found; corrupt (shorter than `at_least`); those of opening it and of Region::map.
  Result<std::shared_ptr<Region>> map(Directory& directory, const char* name, View view, std::size_t at_least) {
    if (TOWPATH_TSAN) view = View::whole;  // it sees a race only within one mapping
    const auto named = directory.identify(name);
    if (!named) return named.error();
    if (auto known = find({named->id, view}, at_least)) return known;
    auto file = directory.open(name, view == View::readable ? Access::read : Access::read_write);
    if (!file) return file.error();
    const auto about = status(*file);
    if (!about) return about.error();
    const Key opened{file_info(*about).id, view};
    const auto bytes = static_cast<std::size_t>(about->st_size);
    if (bytes < at_least || bytes == 0) return Failure{Errc::corrupt, "a file is shorter than its own header says"};
    const std::lock_guard hold{mutex_};
    if (auto known = find_locked(opened, at_least)) return known;
    auto region = Region::map(*file, view == View::control ? at_least : bytes,
                              view == View::readable ? Access::read : Access::read_write);
    if (!region) return region.error();
    make_room();
    entries_.insert_or_assign(opened, Entry{*region, &directory, ++tick_});
    return *region;
  }

  /// Drops what the cache holds of the region; whoever uses it keeps it. For files that were removed.
  void forget(const Region* region) {
    const std::lock_guard hold{mutex_};
    std::erase_if(entries_, [&](const auto& entry) { return entry.second.region.get() == region; });
  }

  /// Drops what was mapped through the directory, which is about to go; whoever uses a region keeps it.
  void forget(const Directory& directory) {
    const std::lock_guard hold{mutex_};
    std::erase_if(entries_, [&](const auto& entry) { return entry.second.owner == &directory; });
  }

  /// Drops the regions that nobody uses and of which `is_gone(region)` is true: their files were removed.
  template <class IsGone>
  void forget_idle(const IsGone& is_gone) {
    const std::lock_guard hold{mutex_};
    std::erase_if(entries_, [&](const auto& entry) {
      return entry.second.region.use_count() == 1 && is_gone(*entry.second.region);
    });
  }

  [[nodiscard]] std::size_t size() const {
    const std::lock_guard hold{mutex_};
    return entries_.size();
  }

  /// How many regions may be kept; those in use are never dropped, and while these are above the limit up to an
  /// eighth of it more are kept. Default: a quarter of vm.max_map_count.
  void set_limit(std::size_t limit) {
    const std::lock_guard hold{mutex_};
    limit_ = limit, next_search_ = 0;
  }

 private:
  struct Key {
    FileId id;
    View view;
    friend bool operator==(const Key&, const Key&) noexcept = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept {
      return (key.id.inode * 31 + key.id.device) * 4 + static_cast<std::size_t>(key.view);
    }
  };
  struct Entry {
    std::shared_ptr<Region> region;
    const Directory* owner;  // through which it was mapped; never followed
    std::uint64_t used;
  };

  std::shared_ptr<Region> find(const Key& key, std::size_t at_least) {
    const std::lock_guard hold{mutex_};
    return find_locked(key, at_least);
  }

  std::shared_ptr<Region> find_locked(const Key& key, std::size_t at_least) {
    if (const auto now = ForkGuard::instance().generation(); now != generation_) {
      entries_.clear();  // the parent's: not mapped here
      generation_ = now;
    }
    const auto entry = entries_.find(key);
    if (entry == entries_.end() || entry->second.region->size() < at_least) return nullptr;  // too small: the file grew
    entry->second.used = ++tick_;
    return entry->second.region;
  }

  /// Drops what nobody uses, longest unused first: what is above the limit and an eighth of it, so that a full cache
  /// is not searched at each miss. One that is full of what is in use is searched again when it grew by an eighth.
  void make_room() {
    if (entries_.size() >= limit_ && entries_.size() < next_search_) return;
    if (entries_.size() >= limit_) search_for_room();
    next_search_ = entries_.size() < limit_ ? 0 : entries_.size() + limit_ / 8;
  }

  void search_for_room() {
    std::vector<std::uint64_t> idle;
    for (const auto& [key, entry] : entries_)
      if (entry.region.use_count() == 1) idle.push_back(entry.used);
    if (idle.empty()) return;
    const auto surplus = entries_.size() - limit_ + limit_ / 8;
    const auto last = idle.begin() + static_cast<std::ptrdiff_t>(std::min(idle.size() - 1, surplus));
    std::nth_element(idle.begin(), last, idle.end());
    std::erase_if(entries_, [&](const auto& e) { return e.second.region.use_count() == 1 && e.second.used <= *last; });
  }

  mutable std::mutex mutex_;
  std::unordered_map<Key, Entry, KeyHash> entries_;
  std::uint64_t tick_ = 0;
  std::uint64_t generation_ = ForkGuard::instance().generation();
  std::size_t limit_ = std::max<std::size_t>(64, limits().maps / 4);
  std::size_t next_search_ = 0;  // entries at which a cache above its limit is searched again
};

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/log/segment.hpp ----

// A Segment is one mapped file of records. Any number of processes may read it while any number append.
// Thread-safe and process-safe: resolve() and seal() may be called by anybody who helps; each slot and the seal are
// decided once, by one compare-and-swap. After a crash everything committed is whole; an open slot is aborted by
// helpers.

namespace towpath::inline TOWPATH_ABI::log {

/// What a reservation asks of a segment.
struct Need {
  std::uint64_t bytes = 0;
  std::uint64_t slots = 1;
};

/// The shape of a segment's file.
struct Geometry {
  std::uint64_t segment_bytes = 0;
  std::uint64_t slot_count = 0;
  std::uint64_t data_offset = 0;

  friend constexpr bool operator==(const Geometry&, const Geometry&) noexcept = default;
  [[nodiscard]] constexpr std::uint64_t capacity() const noexcept { return segment_bytes - data_offset; }

  /// How many of `slots` may be reserved; the others take those who race past the end.
  static constexpr std::uint64_t limit(std::uint64_t slots) noexcept {
    return slots - std::min<std::uint64_t>(1'024, slots / 8);
  }

  /// A file of about `bytes`, at least large enough for `need`, slots for frames of `mean_frame` bytes on
  /// average with an eighth to spare. Header and slots fill whole multiples of 64 KiB, and slots fill those.
  static constexpr Geometry plan(std::uint64_t bytes, std::uint64_t mean_frame, Need need) noexcept {
    bytes = align_up(std::max(bytes, first_segment_bytes), data_alignment);
    const std::uint64_t frame = std::max<std::uint64_t>(mean_frame, 16);
    const std::uint64_t wanted = std::min(max_slots, (bytes / (frame + 8)) * 9 / 8 + 64);
    Geometry shape;
    shape.data_offset = align_up(slots_offset + wanted * 8, data_alignment);
    shape.data_offset =
        std::min(shape.data_offset, std::max(data_alignment, bytes / 2 / data_alignment * data_alignment));
    if (limit((shape.data_offset - slots_offset) / 8) < need.slots)
      shape.data_offset = align_up(slots_offset + (need.slots + 1'024) * 8, data_alignment);
    shape.slot_count = std::min(max_slots, (shape.data_offset - slots_offset) / 8);
    shape.segment_bytes = std::max(bytes, align_up(shape.data_offset + need.bytes, data_alignment));
    return shape;
  }
};

/// How a segment is mapped.
enum class Use {
  append,  ///< all of it writable: producers
  help,    ///< header and slots writable, data read-only: consumers that may help
  look,    ///< all read-only
};

struct Segment {
  std::shared_ptr<shm::Region> control;
  std::shared_ptr<shm::Region> readable;  ///< the same as control when one map serves both
  SegmentHeader* header = nullptr;
  Word64* slots = nullptr;
  std::byte* data = nullptr;
  std::uint64_t base = 0;
  std::uint64_t capacity = 0;
  std::uint64_t slot_count = 0;
  std::uint64_t slot_limit = 0;  ///< reservations that would pass it roll
  std::uint64_t uuid = 0;
  bool checksummed = false;
  bool helpful = false;  ///< header and slots may be written

  explicit operator bool() const noexcept { return header != nullptr; }

  /// Opens what stands under `name`, if it is the incarnation that begins at `base`.
  /// Errors: not_found (also: another incarnation), corrupt, newer_format, and those of mapping.
  static Result<Segment> open(shm::Directory& directory, const char* name, std::uint64_t base, Use use) {
    auto& cache = shm::RegionCache::instance();
    Segment segment;
    const auto first_view = use == Use::append ? shm::View::whole : shm::View::readable;
    auto whole = cache.map(directory, name, first_view, slots_offset);
    if (!whole) return whole.error();
    SegmentHeader constants;  // a copy: what was checked is what is used, whatever a hostile writer does meanwhile
    std::memcpy(static_cast<void*>(&constants), (*whole)->data(), sizeof constants);
    if (auto fine = check(constants, (*whole)->size()); !fine) return fine.error();
    segment.readable = *whole;
    segment.control = *whole;
    if (use == Use::help) {
      auto control = cache.map(directory, name, shm::View::control, constants.data_offset);
      if (!control) return control.error();
      segment.control = std::move(*control);
    }
    segment.helpful = use != Use::look;
    segment.locate(constants);
    if (segment.header->base.load(shm::acquire) != base) return Failure{Errc::not_found, "another incarnation"};
    segment.base = base;
    segment.uuid = segment.header->uuid.load(shm::relaxed);  // ordered by the rename that gave it the name
    return segment;
  }

  /// Is the header one that this library can work with, and does it fit a file of `bytes`?
  static Result<void> check(const SegmentHeader& header, std::uint64_t bytes) noexcept {
    if (header.magic != segment_magic) return Failure{Errc::corrupt, "not a segment file (magic)"};
    if (header.version > segment_format_version) return Failure{Errc::newer_format, "a segment of a newer format"};
    if (header.index_kind != static_cast<std::uint32_t>(IndexKind::dense_slots) || header.stride != 0)
      return Failure{Errc::newer_format, "a segment with another kind of index"};
    if (header.layout_hash != segment_layout_hash) return Failure{Errc::corrupt, "segment layout hash"};
    const bool fits = header.segment_bytes == bytes && header.data_offset < bytes &&
                      header.data_offset >= data_alignment && header.data_offset % data_alignment == 0 &&
                      header.slot_count > 0 && header.slot_count <= max_slots &&
                      header.slot_count <= (header.data_offset - slots_offset) / 8 && bytes <= 2 * max_segment_bytes;
    if (!fits) return Failure{Errc::corrupt, "a segment's header contradicts its file size"};
    return {};
  }

  [[nodiscard]] Geometry geometry() const noexcept {
    return {capacity + static_cast<std::uint64_t>(data - readable->data()), slot_count,
            static_cast<std::uint64_t>(data - readable->data())};
  }

  /// Would it take that if it were empty?
  [[nodiscard]] bool can_hold(Need need) const noexcept { return need.bytes <= capacity && need.slots <= slot_limit; }

  /// Decides a slot, once and for all. False if it was decided before.
  TOWPATH_HOT bool resolve(std::uint64_t n, std::uint64_t value) const noexcept {
#if TOWPATH_SEED_STORE_COMMIT
    slots[n].store(value, shm::release);  // the bug that the soak must find
    return true;
#else
    std::uint64_t open = Slot::empty;
    return slots[n].compare_exchange(open, value, shm::seq_cst,
                                     shm::acquire);  // seq_cst: pairs with a sleeper's recheck
#endif
  }

  /// An abort names its incarnation: resolve(n, Slot::aborted_in(uuid)).
  bool resolve(std::uint64_t n, Slot::State state) const = delete;

  /// Closes the segment after `n` slots unless somebody did; at least one slot, at most all. Returns how many it has.
  /// The caller wakes the waiters.
  std::uint64_t seal(std::uint64_t n) const noexcept {
    std::uint64_t open = 0;
    const std::uint64_t count = std::max<std::uint64_t>(1, std::min(n, slot_count));
    if (header->sealed.compare_exchange(open, count + 1, shm::seq_cst, shm::acquire)) return count;
    return open - 1;
  }

  /// How many slots it was sealed with; 0 while it is open.
  [[nodiscard]] std::uint64_t sealed_count() const noexcept {
    const std::uint64_t sealed = header->sealed.load(shm::acquire);
    return sealed == 0 ? 0 : std::min(sealed - 1, slot_count);
  }

  /// Is what a committed slot says inside the data? Judge the copy that you use, never the word again.
  [[nodiscard]] TOWPATH_HOT bool contains(std::uint64_t slot) const noexcept {
    return Slot::length(slot) >= sizeof(FrameHeader) && Slot::position(slot) + Slot::length(slot) <= capacity;
  }

 private:
  void locate(const SegmentHeader& constants) noexcept {
    header = reinterpret_cast<SegmentHeader*>(control->data());
    slots = reinterpret_cast<Word64*>(control->data() + slots_offset);
    data = readable->data() + constants.data_offset;
    capacity = readable->size() - constants.data_offset;
    slot_count = constants.slot_count;
    slot_limit = Geometry::limit(slot_count);
    checksummed = (constants.features & feature_checksummed) != 0;
  }
};

/// Unlinks a private segment file that nobody owns any more, and tells whoever has it mapped to let go.
inline Result<void> remove_segment_file(shm::Directory& directory, const char* name) {
  auto region = shm::RegionCache::instance().map(directory, name, shm::View::whole, sizeof(SegmentHeader));
  if (region) {
    auto* header = reinterpret_cast<SegmentHeader*>((*region)->data());
    // Pairs with the acquire in forget_gone_segments().
    if (header->magic == segment_magic) header->base.store(gone_base, shm::release);
    shm::RegionCache::instance().forget(region->get());
  }
  return directory.remove(name);
}

/// Lets go of the maps of segments that were removed, so that their memory or disk blocks become free. A segment that
/// somebody in this process still reads stays mapped until that one is through. Once per roll, not per record.
inline void forget_gone_segments() {
  shm::RegionCache::instance().forget_idle([](const shm::Region& region) {
    const auto& header = *reinterpret_cast<const SegmentHeader*>(region.data());
    return region.size() >= sizeof header && header.magic == segment_magic &&
           header.base.load(shm::acquire) == gone_base;
  });
}

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/batch_head.hpp ----

// A slot that continues a batch has the state of the batch's first slot, which stands before it: committed, aborted or
// still open. Safe beside writers; what a slot continues never changes, but an open first slot is decided once.

namespace towpath::inline TOWPATH_ABI::log {

/// The first slot of the batch that slot `n` continues, or n itself. 0 for a batch without one, which is damaged.
inline std::uint64_t batch_head(const Segment& segment, std::uint64_t n) noexcept {
  // Pairs with the compare-and-swap that decided the head: what it found continued before is found so here.
  while (n > 0 && Slot::state(segment.slots[n].load(shm::acquire)) == Slot::continued) --n;
  return n;
}

/// Asks for one slot after the other, up or down, and walks back once per batch.
class BatchHeads {
 public:
  /// The state that counts for slot `n`: never continued; empty while it is open.
  Slot::State state(const Segment& segment, std::uint64_t n) noexcept {
    const auto own = Slot::state(segment.slots[n].load(shm::acquire));  // pairs with the commit's compare-and-swap
    if (own == Slot::committed || own == Slot::aborted) head_ = known_to_ = n;  // what follows may continue it
    if (own != Slot::continued) return own;
    if (n < head_ || n > known_to_ + 1)
      head_ = batch_head(segment, n), known_to_ = n;
    else
      known_to_ = std::max(known_to_, n);
    const auto found = Slot::state(segment.slots[head_].load(shm::acquire));
    return found == Slot::continued ? Slot::aborted : found;
  }

 private:
  std::uint64_t head_ = ~std::uint64_t{0};
  std::uint64_t known_to_ = 0;  // every slot from head_ up to here is of one batch
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/core/bytes.hpp ----

// Bytes is a view of bytes that somebody else owns: a record in the log, a key, a caller's buffer.
// It never allocates and never owns. It is also the value type of an untyped topic: Topic<Bytes>.

namespace towpath::inline TOWPATH_ABI {

class Bytes {
 public:
  constexpr Bytes() noexcept = default;
  constexpr Bytes(const std::byte* data, std::size_t size) noexcept : data_{data}, size_{size} {}
  constexpr Bytes(std::span<const std::byte> bytes) noexcept : data_{bytes.data()}, size_{bytes.size()} {}
  Bytes(std::string_view text) noexcept : data_{reinterpret_cast<const std::byte*>(text.data())}, size_{text.size()} {}
  Bytes(const char* text) noexcept : Bytes{std::string_view{text}} {}
  Bytes(const std::string& text) noexcept : Bytes{std::string_view{text}} {}
  Bytes(const std::vector<std::byte>& bytes) noexcept : data_{bytes.data()}, size_{bytes.size()} {}

  [[nodiscard]] constexpr const std::byte* data() const noexcept { return data_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] constexpr const std::byte* begin() const noexcept { return data_; }
  [[nodiscard]] constexpr const std::byte* end() const noexcept { return data_ + size_; }
  [[nodiscard]] constexpr std::span<const std::byte> span() const noexcept { return {data_, size_}; }
  [[nodiscard]] std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }

  friend bool operator==(Bytes a, Bytes b) noexcept {
    return a.size_ == b.size_ && (a.size_ == 0 || std::memcmp(a.data_, b.data_, a.size_) == 0);
  }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/core/hash.hpp ----

// CRC-32C (Castagnoli, RFC 3720 appendix B.4): by instruction where the processor has it, else by Boost.CRC.
// murmur2 (Austin Appleby, public domain; seed and use as in Kafka's default partitioner).

namespace towpath::inline TOWPATH_ABI {

/// CRC-32C of `bytes`, continued from `crc`, the result for the bytes before (0 for none).
std::uint32_t crc32c(Bytes bytes, std::uint32_t crc = 0) noexcept;

/// Kafka's murmur2: seed 0x9747b28c, unsigned result. Its partitioner takes `murmur2(key) & 0x7fffffff`.
std::uint32_t murmur2(Bytes bytes) noexcept;

namespace detail {

/// The same function on any processor, about 0.4 GB/s.
inline std::uint32_t crc32c_portable(Bytes bytes, std::uint32_t crc) noexcept {
  using Engine = boost::crc_optimal<32, 0x1EDC6F41, 0, 0, true, true>;
  // Boost takes the unreflected remainder to continue from.
  std::uint32_t state = ~crc;
  std::uint32_t reflected = 0;
  for (int bit = 0; bit < 32; ++bit) reflected |= ((state >> bit) & 1u) << (31 - bit);
  Engine engine{reflected};
  engine.process_bytes(bytes.data(), bytes.size());
  return ~engine.checksum();
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) inline std::uint32_t crc32c_sse42(Bytes bytes, std::uint32_t crc) noexcept {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t state = static_cast<std::uint32_t>(~crc);
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    state = __builtin_ia32_crc32di(state, word);
  }
  auto narrow = static_cast<std::uint32_t>(state);
  for (; left > 0; --left, ++at) narrow = __builtin_ia32_crc32qi(narrow, static_cast<unsigned char>(*at));
  return ~narrow;
}
#endif

}  // namespace detail

inline std::uint32_t crc32c(Bytes bytes, std::uint32_t crc) noexcept {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return detail::crc32c_sse42(bytes, crc);
#endif
  return detail::crc32c_portable(bytes, crc);
}

inline std::uint32_t murmur2(Bytes bytes) noexcept {
  constexpr std::uint32_t m = 0x5bd1e995;
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint32_t hash = 0x9747b28c ^ static_cast<std::uint32_t>(left);
  for (; left >= 4; left -= 4, at += 4) {
    std::uint32_t k = std::to_integer<std::uint32_t>(at[0]) | std::to_integer<std::uint32_t>(at[1]) << 8 |
                      std::to_integer<std::uint32_t>(at[2]) << 16 | std::to_integer<std::uint32_t>(at[3]) << 24;
    k *= m;
    k ^= k >> 24;
    hash = (hash * m) ^ (k * m);
  }
  if (left > 2) hash ^= std::to_integer<std::uint32_t>(at[2]) << 16;
  if (left > 1) hash ^= std::to_integer<std::uint32_t>(at[1]) << 8;
  if (left > 0) hash = (hash ^ std::to_integer<std::uint32_t>(at[0])) * m;
  hash ^= hash >> 13;
  hash *= m;
  return hash ^ (hash >> 15);
}

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/core/time.hpp ----

// Two clocks, never mixed: Timestamp is what a record carries (UTC), Monotonic is what time-outs are measured with.
// Both come from a Clock that a test may replace; nothing else in the library asks what time it is.

namespace towpath::inline TOWPATH_ABI {

using Duration = std::chrono::nanoseconds;
using Timestamp = std::chrono::sys_time<std::chrono::nanoseconds>;  ///< nanoseconds since 1970, UTC
using Monotonic = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

/// Where time comes from. The functions must be callable from any thread and never fail.
struct Clock {
  Timestamp (*wall)() noexcept = &system_wall;
  Monotonic (*steady)() noexcept = &system_steady;

  static Timestamp system_wall() noexcept { return read<Timestamp>(CLOCK_REALTIME); }
  static Monotonic system_steady() noexcept { return read<Monotonic>(CLOCK_MONOTONIC); }

 private:
  template <class Point>
  static Point read(clockid_t id) noexcept {
    timespec now{};
    ::clock_gettime(id, &now);
    return Point{std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec}};
  }
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/log/frame.hpp ----

// One native record as it stands in the log:
//   FrameHeader 16 | lengths 8 (flag) | count 4 + 4 (flag) | producer 16 (flag) | padding | value | key | headers
// The value begins at a multiple of the topic's value alignment, so that it is read in place. Without the LENGTHS flag
// the record is a bare value: its length is the slot's length less what stands before it.
// Written once by its producer, read by anybody: parse() trusts nothing and stays inside [frame, frame + length).

namespace towpath::inline TOWPATH_ABI {

/// A record header as in Kafka: a name and bytes, in order, names may repeat. A view, like Bytes.
struct Header {
  std::string_view key;
  Bytes value;
  bool is_null = false;
};

namespace log {

/// Who wrote a record, and the number that the producer gave it (KIP-98): higher than those before, gaps are allowed.
struct ProducerMark {
  std::int64_t id = -1;  ///< -1: nobody in particular
  std::int32_t sequence = -1;
  std::int16_t epoch = -1;
  std::int16_t reserved = 0;

  [[nodiscard]] constexpr bool is_present() const noexcept { return id >= 0; }
  /// That of the record that comes `n` records later: sequence numbers begin again behind 2^31 - 1.
  [[nodiscard]] constexpr ProducerMark after(std::uint64_t n) const noexcept {
    if (!is_present()) return *this;
    const auto later = (static_cast<std::uint64_t>(sequence) + n) & 0x7FFF'FFFF;
    return {id, static_cast<std::int32_t>(later), epoch, 0};
  }
  friend constexpr bool operator==(const ProducerMark&, const ProducerMark&) noexcept = default;
};
static_assert(sizeof(ProducerMark) == 16 && offsetof(ProducerMark, epoch) == 12);

/// What a record consists of, before it is written. The value is filled in by whoever has it.
struct FrameSpec {
  std::uint64_t value_size = 0;
  bool has_value = true;  ///< false: null, a tombstone
  bool has_key = false;
  Bytes key{};
  std::span<const Header> headers{};
  Timestamp timestamp{};
  ProducerMark producer{};
  std::uint32_t batch_count = 0;  ///< of the first record of a batch: how many records the batch has
};

namespace detail {

/// What stands before the value, in bytes.
constexpr std::uint64_t prefix_bytes(unsigned flags) noexcept {
  return sizeof(FrameHeader) + (flags & frame_lengths ? 8u : 0u) + (flags & frame_head ? 8u : 0u) +
         (flags & frame_producer ? sizeof(ProducerMark) : 0u);
}

/// A null header has no bytes, whatever its value says.
inline Bytes stored(const Header& header) noexcept { return header.is_null ? Bytes{} : header.value; }

}  // namespace detail

/// Where the parts of a frame stand, in bytes from its begin.
struct FrameLayout {
  std::uint64_t value_at = 0;
  std::uint64_t key_at = 0;
  std::uint64_t headers_at = 0;
  std::uint64_t length = 0;
  std::uint16_t flags = 0;

  static FrameLayout of(const FrameSpec& spec, std::uint64_t value_alignment) noexcept {
    FrameLayout layout;
    const bool bare = !spec.has_key && spec.headers.empty() && spec.has_value;
    unsigned flags = bare ? 0u : unsigned{frame_lengths};
    if (spec.batch_count != 0) flags |= frame_head;
    if (spec.producer.is_present()) flags |= frame_producer;
    layout.flags = static_cast<std::uint16_t>(flags);
    layout.value_at = align_up(detail::prefix_bytes(flags), value_alignment);
    layout.key_at = layout.value_at + spec.value_size;
    layout.headers_at = layout.key_at + spec.key.size();
    layout.length = layout.headers_at;
    for (const auto& header : spec.headers) layout.length += 8 + header.key.size() + detail::stored(header).size();
    return layout;
  }
};

/// Keys the checksum to this incarnation and place, so that a stale frame in a recycled file never passes.
inline std::uint32_t frame_seed(std::uint64_t uuid, std::uint64_t offset) noexcept {
  const std::uint64_t key[2] = {uuid, offset};
  return crc32c(Bytes{reinterpret_cast<const std::byte*>(key), sizeof key});
}

inline std::uint32_t frame_checksum(const std::byte* frame, std::uint64_t length, std::uint64_t uuid,
                                    std::uint64_t offset) noexcept {
  return crc32c(Bytes{frame + 4, static_cast<std::size_t>(length - 4)}, frame_seed(uuid, offset));
}

namespace detail {

inline std::byte* put(std::byte* at, const void* data, std::size_t size) noexcept {
  if (size > 0) std::memcpy(at, data, size);
  return at + size;
}

inline void put_prefix(std::byte* frame, unsigned flags, const FrameSpec& spec) noexcept {
  std::byte* at = frame + sizeof(FrameHeader);
  const std::int32_t lengths[2] = {spec.has_key ? static_cast<std::int32_t>(spec.key.size()) : -1,
                                   spec.has_value ? static_cast<std::int32_t>(spec.value_size) : -1};
  const std::uint32_t count[2] = {spec.batch_count, 0};
  if (flags & frame_lengths) at = put(at, lengths, sizeof lengths);
  if (flags & frame_head) at = put(at, count, sizeof count);
  if (flags & frame_producer) put(at, &spec.producer, sizeof spec.producer);
}

}  // namespace detail

/// Writes all but the value and the checksum.
TOWPATH_HOT void write_frame(std::byte* frame, const FrameLayout& layout, const FrameSpec& spec) noexcept {
  const FrameHeader header{0, layout.flags, static_cast<std::uint16_t>(spec.headers.size()),
                           spec.timestamp.time_since_epoch().count()};
  std::memcpy(frame, &header, sizeof header);
  if (layout.flags == 0) return;
  detail::put_prefix(frame, layout.flags, spec);
  std::byte* at = detail::put(frame + layout.key_at, spec.key.data(), spec.key.size());
  for (const auto& entry : spec.headers) {
    const std::int32_t lengths[2] = {static_cast<std::int32_t>(entry.key.size()),
                                     entry.is_null ? -1 : static_cast<std::int32_t>(entry.value.size())};
    at = detail::put(at, lengths, sizeof lengths);
    at = detail::put(at, entry.key.data(), entry.key.size());
    at = detail::put(at, detail::stored(entry).data(), detail::stored(entry).size());
  }
}

/// Writes the checksum; last of all.
inline void seal_frame(std::byte* frame, std::uint64_t length, std::uint64_t uuid, std::uint64_t offset) noexcept {
  const std::uint32_t checksum = frame_checksum(frame, length, uuid, offset);
  std::memcpy(frame, &checksum, sizeof checksum);
}

/// A frame taken apart. Valid while its segment is pinned.
struct FrameView {
  FrameHeader header{};
  Bytes value;
  Bytes key;
  Bytes headers;  ///< undecoded; HeaderRange walks them
  bool has_value = true;
  bool has_key = false;

  /// Not present when the producer has no id.
  [[nodiscard]] ProducerMark producer() const noexcept {
    ProducerMark mark;
    if (header.flags & frame_producer)
      std::memcpy(&mark, frame_ + detail::prefix_bytes(header.flags & ~frame_producer), sizeof mark);
    return mark;
  }
  /// Of the first record of a batch: how many records the batch has. Else 1.
  [[nodiscard]] std::uint32_t batch_count() const noexcept {
    std::uint32_t count = 1;
    if (header.flags & frame_head)
      std::memcpy(&count, frame_ + detail::prefix_bytes(header.flags & frame_lengths), sizeof count);
    return count;
  }

  /// False if the bytes contradict themselves; nothing outside [frame, frame + length) was looked at.
  /// Sets every field, so that one view serves record after record.
  TOWPATH_HOT bool parse(const std::byte* frame, std::uint64_t length, std::uint64_t value_alignment) noexcept {
    if (length < sizeof header) return false;
    std::memcpy(&header, frame, sizeof header);
    if (header.flags == 0 && header.header_count == 0) {
      const std::uint64_t at = align_up(sizeof(FrameHeader), value_alignment);
      if (at > length) return false;
      value = Bytes{frame + at, static_cast<std::size_t>(length - at)};
      key = headers = Bytes{};
      has_value = true, has_key = false;
      return true;
    }
    return parse_long(frame, length, value_alignment);
  }

 private:
  bool parse_long(const std::byte* frame, std::uint64_t length, std::uint64_t value_alignment) noexcept {
    constexpr unsigned known = frame_lengths | frame_append_time | frame_head | frame_producer;
    if ((header.flags & ~known) != 0) return false;
    const bool has_lengths = (header.flags & frame_lengths) != 0;
    const std::uint64_t at = align_up(detail::prefix_bytes(header.flags), value_alignment);
    if (at > length || (!has_lengths && header.header_count != 0)) return false;
    frame_ = frame;
    std::int32_t lengths[2] = {-1, static_cast<std::int32_t>(length - at)};
    if (has_lengths) std::memcpy(lengths, frame + sizeof(FrameHeader), sizeof lengths);
    if (lengths[0] < -1 || lengths[1] < -1) return false;
    has_key = lengths[0] >= 0, has_value = lengths[1] >= 0;
    const auto key_size = static_cast<std::uint64_t>(has_key ? lengths[0] : 0);
    const auto value_size = static_cast<std::uint64_t>(has_value ? lengths[1] : 0);
    if (value_size > length - at || key_size > length - at - value_size) return false;
    value = Bytes{frame + at, static_cast<std::size_t>(value_size)};
    key = Bytes{frame + at + value_size, static_cast<std::size_t>(key_size)};
    headers = Bytes{key.end(), static_cast<std::size_t>(length - at - value_size - key_size)};
    return true;
  }

  const std::byte* frame_ = nullptr;  // of a frame with flags
};

/// A frame that holds one Kafka record batch, verbatim:  FrameHeader 16 | count 4 + 4 | the batch.
/// It has `count` slots, one for each of its offsets; all but the first say where this one frame stands.
struct BatchFrame {
  static constexpr std::uint64_t batch_at = 24;
  static constexpr std::uint16_t flags = frame_batch | frame_head;

  std::uint32_t count = 0;
  Bytes batch;

  /// What its header says; the place is inside the segment.
  static bool is_one(const std::byte* frame) noexcept {
    std::uint16_t found = 0;
    std::memcpy(&found, frame + offsetof(FrameHeader, flags), sizeof found);
    return (found & frame_batch) != 0;
  }

  /// False if the bytes contradict themselves. What the batch says is not looked at.
  bool parse(const std::byte* frame, std::uint64_t length) noexcept {
    FrameHeader header;
    if (length < batch_at) return false;
    std::memcpy(&header, frame, sizeof header);
    std::memcpy(&count, frame + sizeof header, sizeof count);
    batch = Bytes{frame + batch_at, static_cast<std::size_t>(length - batch_at)};
    return header.flags == flags && header.header_count == 0 && count > 0;
  }

  /// Writes all but the checksum. `newest` is the latest timestamp of its records.
  static void write(std::byte* frame, std::uint32_t count, Timestamp newest, Bytes batch) noexcept {
    const FrameHeader header{0, flags, 0, newest.time_since_epoch().count()};
    const std::uint32_t counts[2] = {count, 0};
    detail::put(detail::put(detail::put(frame, &header, sizeof header), counts, sizeof counts), batch.data(),
                batch.size());
  }
};

/// The headers of a frame, one after the other. Ends early at bytes that make no sense.
class HeaderRange {
 public:
  class iterator {
   public:
    using value_type = Header;
    using difference_type = std::ptrdiff_t;
    iterator() noexcept = default;
    iterator(Bytes left, unsigned count) noexcept : left_{left}, count_{count} { read(); }
    const Header& operator*() const noexcept { return current_; }
    const Header* operator->() const noexcept { return &current_; }
    iterator& operator++() noexcept {
      --count_;
      read();
      return *this;
    }
    iterator operator++(int) noexcept {
      auto before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.count_ == b.count_; }

   private:
    void read() noexcept {
      std::int32_t lengths[2];
      if (count_ == 0) return;
      if (left_.size() < sizeof lengths) return void(count_ = 0);
      std::memcpy(lengths, left_.data(), sizeof lengths);
      const std::size_t room = left_.size() - sizeof lengths;
      const auto key_size = static_cast<std::size_t>(lengths[0] < 0 ? 0 : lengths[0]);
      const auto value_size = static_cast<std::size_t>(lengths[1] < 0 ? 0 : lengths[1]);
      if (lengths[0] < 0 || key_size > room || value_size > room - key_size) return void(count_ = 0);
      const std::byte* at = left_.data() + sizeof lengths;
      current_ = {Bytes{at, key_size}.text(), Bytes{at + key_size, value_size}, lengths[1] < 0};
      left_ = Bytes{at + key_size + value_size, room - key_size - value_size};
    }
    Bytes left_;
    unsigned count_ = 0;
    Header current_;
  };

  HeaderRange() noexcept = default;
  HeaderRange(Bytes bytes, unsigned count) noexcept : bytes_{bytes}, count_{count} {}
  [[nodiscard]] iterator begin() const noexcept { return {bytes_, count_}; }
  [[nodiscard]] iterator end() const noexcept { return {}; }
  [[nodiscard]] bool empty() const noexcept { return begin() == end(); }

 private:
  Bytes bytes_;
  unsigned count_ = 0;
};

}  // namespace log
}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/shm/doorbell.hpp ----

// A Doorbell is what a consumer sleeps on in somebody else's event loop: a descriptor that becomes readable when
// another process rings, when an alarm is due, or when signal() was called. A Ringer rings the doorbells of other
// members. A bell with a name is a FIFO in the bus's folder, called after its owner's member line and incarnation.
// Doorbell: its owner's thread, but for signal(). Ringer: any thread.
// After a crash the name is left behind; nobody waits for it, and whoever finds its owner dead removes it. A ringer
// that is killed loses its ring: always set an alarm.

namespace towpath::inline TOWPATH_ABI::shm {

inline constexpr const char* doorbell_folder = "bells";

struct DoorbellName {
  DoorbellName(unsigned member, std::uint64_t incarnation) noexcept {
    std::snprintf(text, sizeof text, "%s/%u.%llu", doorbell_folder, member,
                  static_cast<unsigned long long>(incarnation));
  }
  char text[48];
};

namespace detail {

/// Not ::write, which is a place where a thread may be cancelled. A bell that is full is readable anyway.
inline void ring_once(const FileDescriptor& bell) noexcept {
  const std::uint64_t one = 1;  // what an eventfd takes; a FIFO takes anything
  ::syscall(SYS_write, bell.get(), &one, sizeof one);
}

}  // namespace detail

class Doorbell {
 public:
  /// A bell that others can ring under `name`. Errors: too_many_files, no_space, permission_denied (the folder is not
  /// ours to write), already_exists.
  static Result<std::unique_ptr<Doorbell>> open(Directory& directory, const DoorbellName& name) {
    if (auto made = directory.make_folder(doorbell_folder); !made && made.error() != Errc::already_exists)
      return made.error();
    auto bell = directory.make_fifo(name.text, 0660);
    if (!bell) return bell.error();
    auto doorbell = assemble(std::move(*bell));
    if (doorbell)
      (*doorbell)->directory_ = &directory, (*doorbell)->name_ = name.text;
    else
      directory.remove(name.text).ignore();
    return doorbell;
  }
  /// A bell that only its own process can ring. Errors: too_many_files.
  static Result<std::unique_ptr<Doorbell>> open_private() {
    FileDescriptor bell{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (!bell) return system_failure(errno, "eventfd");
    return assemble(std::move(bell));
  }

  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;
  ~Doorbell() {
    // In a child the name is still the parent's.
    if (directory_ && ForkGuard::instance().generation() == generation_) directory_->remove(name_.c_str()).ignore();
  }

  /// An epoll descriptor; it stays this one.
  [[nodiscard]] int descriptor() const noexcept { return epoll_.get(); }
  [[nodiscard]] bool has_name() const noexcept { return directory_ != nullptr; }

  /// Makes it readable. From any thread.
  void signal() noexcept { detail::ring_once(bell_); }

  /// Takes back all rings and signals up to now. An alarm that is due stays so until the next one is set.
  void clear() noexcept {
    std::array<char, 4096> taken;
    while (::syscall(SYS_read, bell_.get(), taken.data(), taken.size()) == static_cast<long>(taken.size())) continue;
  }

  /// Makes it readable once, after `time` at the latest and half of that at the soonest: one that is set already will
  /// do, so that a busy owner does not pay for setting it.
  void set_alarm(Duration time) noexcept {
    const Monotonic now = Clock::system_steady();  // the kernel's alarms go by no other clock
    if (alarm_ > now + time / 2 && alarm_ <= now + time) return;
    alarm_ = now + time;
    itimerspec when{};
    when.it_value.tv_sec = static_cast<time_t>(time.count() / 1'000'000'000);
    when.it_value.tv_nsec = static_cast<long>(time.count() % 1'000'000'000);
    ::timerfd_settime(timer_.get(), 0, &when, nullptr);
  }

 private:
  Doorbell(FileDescriptor bell, FileDescriptor timer, FileDescriptor epoll) noexcept
      : bell_{std::move(bell)}, timer_{std::move(timer)}, epoll_{std::move(epoll)} {}

  static Result<std::unique_ptr<Doorbell>> assemble(FileDescriptor bell) {
    FileDescriptor timer{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)};
    if (!timer) return system_failure(errno, "timerfd_create");
    FileDescriptor epoll{::epoll_create1(EPOLL_CLOEXEC)};
    if (!epoll) return system_failure(errno, "epoll_create1");
    for (const auto* source : {&bell, &timer}) {
      epoll_event readable{};
      readable.events = EPOLLIN;
      if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, source->get(), &readable) != 0)
        return system_failure(errno, "epoll_ctl");
    }
    return std::unique_ptr<Doorbell>{new Doorbell{std::move(bell), std::move(timer), std::move(epoll)}};
  }

  FileDescriptor bell_;  // open for reading and writing: it never ends
  FileDescriptor timer_;
  FileDescriptor epoll_;
  Monotonic alarm_{};
  Directory* directory_ = nullptr;
  std::string name_;
  std::uint64_t generation_ = ForkGuard::instance().generation();
};

/// Rings by name. Keeps the last few bells open, so that ringing the same ones again is one system call.
class Ringer {
 public:
  /// No directory: nobody can be rung.
  explicit Ringer(Directory* directory) noexcept : directory_{directory} {}

  /// Never blocks. A bell that cannot be opened is not rung: its owner's alarm is for that. True if the bell was opened
  /// by this call: a good moment to ask whether its owner lives.
  bool ring(unsigned member, std::uint64_t incarnation) noexcept {
    const std::lock_guard hold{mutex_};
    Kept& kept = kept_[member % kept_.size()];
    const bool is_kept = kept.bell && kept.member == member && kept.incarnation == incarnation;
    if (!is_kept) {
      auto bell = directory_ ? directory_->open_fifo(DoorbellName{member, incarnation}.text) : Errc::not_found;
      if (!bell) return false;
      kept = Kept{std::move(*bell), member, incarnation};
    }
    TOWPATH_FAILPOINT("wake.before_fifo");
    detail::ring_once(kept.bell);
    return !is_kept;
  }

  /// Removes the bell of somebody who is dead.
  void remove(unsigned member, std::uint64_t incarnation) noexcept {
    const std::lock_guard hold{mutex_};
    kept_[member % kept_.size()] = Kept{};
    if (directory_) directory_->remove(DoorbellName{member, incarnation}.text).ignore();
  }

 private:
  struct Kept {
    FileDescriptor bell;
    unsigned member = 0;
    std::uint64_t incarnation = 0;
  };

  Directory* directory_;
  std::mutex mutex_;
  std::array<Kept, 8> kept_;
};

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/shm/lock.hpp ----

// Byte locks that the kernel drops when their owner dies: open file description locks (fcntl(2), Linux 3.15).
// A lock belongs to the *open file*, not to the process or thread: always ask through a second, separately opened
// descriptor that never holds any, for F_OFD_GETLK does not see the locks of its own descriptor.
// Safe between processes; two threads may use one descriptor only for different bytes.

namespace towpath::inline TOWPATH_ABI::shm {

enum class LockKind : short { read = F_RDLCK, write = F_WRLCK };

namespace detail {

inline struct flock byte_range(short type, std::uint64_t byte) noexcept {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = static_cast<off_t>(byte);
  range.l_len = 1;
  return range;
}

/// ThreadSanitizer does not know that the kernel orders lock calls; tell it. Costs nothing in other builds.
inline void order_lock_calls() noexcept {
#if TOWPATH_TSAN
  static std::atomic<int> kernel{0};
  kernel.fetch_add(1, std::memory_order_acq_rel);
#endif
}

}  // namespace detail

/// Takes the lock if nobody else has a conflicting one. Errors: busy; permission_denied (the descriptor's mode).
inline Result<void> try_lock(const FileDescriptor& fd, std::uint64_t byte, LockKind kind) noexcept {
  auto range = detail::byte_range(static_cast<short>(kind), byte);
  const int got = ::fcntl(fd.get(), F_OFD_SETLK, &range);
  const int error = errno;
  detail::order_lock_calls();
  if (got == 0) return {};
  if (error == EAGAIN || error == EACCES) return Failure{Errc::busy, "another descriptor holds the lock"};
  return error == EBADF ? Failure{Errc::permission_denied, "fcntl(F_OFD_SETLK)"}
                        : system_failure(error, "fcntl(F_OFD_SETLK)");
}

inline void unlock(const FileDescriptor& fd, std::uint64_t byte) noexcept {
  auto range = detail::byte_range(F_UNLCK, byte);
  detail::order_lock_calls();
  ::fcntl(fd.get(), F_OFD_SETLK, &range);
}

/// Does any *other* descriptor hold a lock on the byte? A failed question counts as yes: the caller then waits.
inline bool is_locked(const FileDescriptor& asker, std::uint64_t byte) noexcept {
  auto range = detail::byte_range(F_WRLCK, byte);
  const int got = ::fcntl(asker.get(), F_OFD_GETLK, &range);
  detail::order_lock_calls();
  return got != 0 || range.l_type != F_UNLCK;
}

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/shm/wake.hpp ----

// Sleeping on a shared word, and waking who sleeps there. protocol.md, "Sleeping"; tests/model (waiters).
// The word counts events; bit 0 says that its one owner is about to sleep. No counter of sleepers exists that a
// killed process could leave wrong. Safe between processes. A killed waker loses a wake: always sleep with a time-out.

namespace towpath::inline TOWPATH_ABI::shm {

/// Announces that the owner is about to sleep. Recheck with seq_cst loads what you wait for, then sleep(word, result).
inline std::uint32_t announce_sleep(Word32& word) noexcept {
  return word.fetch_or(1, seq_cst) | 1u;  // pairs with the seq_cst load in wake()
}

/// Sleeps until woken, the time has passed, a signal came, or at once if the word is no longer `announced`.
inline void sleep(const Word32& word, std::uint32_t announced, Duration timeout) noexcept {
  if (timeout <= Duration::zero()) return;
  const timespec limit{static_cast<time_t>(timeout.count() / 1'000'000'000),
                       static_cast<long>(timeout.count() % 1'000'000'000)};
  // Not FUTEX_PRIVATE: the sleeper's map and the waker's are different addresses of one file.
  ::syscall(SYS_futex, word.address(), FUTEX_WAIT, announced, &limit, nullptr, 0);
}

/// True if the owner sleeps or is about to, and it is the caller who must now wake it: nobody else will.
TOWPATH_HOT bool take_wake(Word32& word) noexcept {
  std::uint32_t seen = word.load(seq_cst);  // pairs with the seq_cst fetch_or in announce_sleep()
  if ((seen & 1u) == 0) return false;
  TOWPATH_FAILPOINT("wake.before_cas");
  return word.compare_exchange(seen, seen + 1, acq_rel, relaxed);  // odd + 1 clears the bit and counts
}

/// Ends the sleep() on the word. After take_wake().
inline void end_sleep(const Word32& word) noexcept {
  TOWPATH_FAILPOINT("wake.before_futex");
  ::syscall(SYS_futex, word.address(), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

/// Wakes the owner if it sleeps or is about to. Call after the seq_cst store that made something ready.
TOWPATH_HOT void wake(Word32& word) noexcept {
  if (take_wake(word)) end_sleep(word);
}

/// Wakes all who sleep on a word that many wait for. It counts what happened: add to it first (seq_cst).
inline void wake_all(const Word32& word) noexcept {
  ::syscall(SYS_futex, word.address(), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/shm/member.hpp ----

// A member is one Producer, Consumer or Maintenance: a line in the bus's member table and the lock byte that proves it
// lives. The kernel drops the lock when the process dies, so liveness is a fact and no pid is ever trusted.
// Claiming and asking are safe between threads and processes; a claimed line's hot words have one writer, their owner.
// After a crash the line stays taken in looks only: its lock is free, and the next claim takes it with a new
// incarnation.

namespace towpath::inline TOWPATH_ABI::shm {

inline constexpr unsigned max_members = 1'024;
enum class MemberKind : std::uint32_t { none = 0, producer = 1, consumer = 2, maintenance = 3 };

/// Roles are lock bytes behind those of the lines.
enum class Role : std::uint64_t { maintenance = max_members, recovery, server };

struct MemberLine {
  // Written by the owner on its hot path; read by recyclers and helpers (protocol.md R4, HELP).
  Word64 inflight;     // 0 idle | 1<<63|base RESERVING | (k-1)<<52|offset+1 WRITING
  Word64 uid;          // the partition that inflight speaks of; changed only while inflight is 0
  Word64 batch;        // k of a batch of 2,048 slots or more; stored before inflight
  Word64 incarnation;  // + 1 at each claim: names in the file system carry it
  Word64 progress;     // + 1 at each poll; not beside the wake word, which committers read
  std::uint64_t reserved0[3];
  // Read by committers for each sleeping consumer: a line of its own.
  Word32 wake;    // shm/wake.hpp
  Word32 kind;    // MemberKind; 0 when released in order
  Word32 pid;     // for people only
  char name[28];  // for people only; zero-terminated
  Word32 bell;    // 1: the owner sleeps on its doorbell, 0: on `wake`; set before it is announced
  std::uint32_t reserved1[5];

  /// For recovery, when nobody lives. The incarnation stays: private names carry it.
  void clear() noexcept {
    for (auto* word : {&inflight, &uid, &batch, &progress}) word->store(0, relaxed);
    for (auto* word : {&wake, &kind, &pid, &bell}) word->store(0, relaxed);
    std::memset(name, 0, sizeof name);
  }
};
static_assert(sizeof(MemberLine) == 128 && std::is_standard_layout_v<MemberLine>);
static_assert(offsetof(MemberLine, incarnation) == 24 && offsetof(MemberLine, wake) == 64);
static_assert(offsetof(MemberLine, progress) == 32 && offsetof(MemberLine, name) == 76);
static_assert(offsetof(MemberLine, bell) == 104);

class Members;

/// A claimed line, given back when this goes out of scope.
class Member {
 public:
  Member() noexcept = default;
  Member(Member&& other) noexcept : table_{std::exchange(other.table_, nullptr)}, index_{other.index_} {}
  Member& operator=(Member&& other) noexcept {
    if (this != &other) {
      leave();
      table_ = std::exchange(other.table_, nullptr), index_ = other.index_;
    }
    return *this;
  }
  ~Member() { leave(); }

  explicit operator bool() const noexcept { return table_ != nullptr; }
  [[nodiscard]] unsigned index() const noexcept { return index_; }
  [[nodiscard]] MemberLine& line() const noexcept;
  [[nodiscard]] Members& table() const noexcept { return *table_; }

 private:
  friend class Members;
  Member(Members& table, unsigned index) noexcept : table_{&table}, index_{index} {}
  void leave() noexcept;

  Members* table_ = nullptr;
  unsigned index_ = 0;
};

class Members {
 public:
  /// `lines` is the mapped table of max_members lines; `holder` and `asker` are two descriptors of the file `members`.
  /// `used` is the table's high-water mark: lines from there on were never claimed. `bells` is where doorbells hang.
  Members(MemberLine* lines, Word32& used, LockDescriptor holder, FileDescriptor asker, Directory* bells = nullptr)
      : lines_{lines}, used_{&used}, holder_{std::move(holder)}, asker_{std::move(asker)}, ringer_{bells} {}

  /// Takes a free line. A few microseconds; up to a millisecond when most are taken. Errors: too_many_members, forked,
  /// permission_denied (the holder's mode).
  Result<Member> claim(MemberKind kind, std::string_view name) {
    if (in_child()) return Failure{Errc::forked, "member table"};
    const std::lock_guard hold{mutex_};
    const unsigned known = used();
    refused_ = {Errc::busy, ""};
    // Lines of the dead before new ones: scans walk all that were ever used. A few tries, for most may live.
    const auto start = static_cast<unsigned>(random_bits() % std::max(known, 1u));
    for (unsigned i = 0; i < known; ++i)
      if (lines_[i].kind.load(relaxed) == 0 && try_claim(i, kind, name)) return Member{*this, i};
    for (unsigned tries = 0; tries < std::min(known, 32u); ++tries)
      if (const unsigned i = (start + tries) % known; try_claim(i, kind, name)) return Member{*this, i};
    for (unsigned i = known; i < max_members; ++i)
      if (try_claim(i, kind, name)) return Member{*this, i};
    for (unsigned i = 0; i < max_members; ++i)
      if (try_claim(i, kind, name)) return Member{*this, i};
    if (refused_.code != Errc::busy) return refused_;
    return Failure{Errc::too_many_members, "all 1,024 lines of the member table are taken"};
  }

  /// Whether the line's owner lives. Asks the kernel: 0.5 us. May say yes for one that is just being released.
  [[nodiscard]] bool is_alive(unsigned index) const noexcept { return is_locked(asker_, index); }

  /// Wakes the owner of a line if it sleeps or is about to, wherever it does. Call after the seq_cst compare-and-swap
  /// that made something ready.
  TOWPATH_HOT void wake(unsigned index) noexcept {
    if (take_wake(lines_[index].wake)) wake_taken(index);
  }

  /// A private name says whose it is, "<line>.<incarnation>" at `tag`: is he gone? Unlinking what is his is safe then.
  [[nodiscard]] bool is_left_behind(const char* tag) const noexcept {
    unsigned index = 0;
    unsigned long long incarnation = 0;
    if (std::sscanf(tag, "%u.%llu", &index, &incarnation) != 2 || index >= max_members) return false;
    return lines_[index].incarnation.load(acquire) != incarnation || !is_alive(index);
  }

  /// Errors: busy (also when this process has it), forked.
  Result<void> take_role(Role role) {
    if (in_child()) return Failure{Errc::forked, "role"};
    const std::lock_guard hold{mutex_};
    const auto bit = static_cast<std::size_t>(role);
    if (mine_[bit]) return Failure{Errc::busy, "this process has the role"};
    auto taken = try_lock(holder_.get(), bit, LockKind::write);
    if (taken) mine_[bit] = true;
    return taken;
  }
  void drop_role(Role role) noexcept {
    if (in_child()) return;
    const std::lock_guard hold{mutex_};
    const auto bit = static_cast<std::size_t>(role);
    if (mine_[bit]) unlock(holder_.get(), bit);
    mine_[bit] = false;
  }

  [[nodiscard]] MemberLine& line(unsigned index) const noexcept { return lines_[index]; }

  /// Lines from here on were never claimed: scans may stop. Read it where the lines are read, after what orders them.
  [[nodiscard]] unsigned used() const noexcept { return std::min(used_->load(acquire), max_members); }

 private:
  friend class Member;

  bool try_claim(unsigned i, MemberKind kind, std::string_view name) noexcept {
    if (mine_[i]) return false;
    if (const auto locked = try_lock(holder_.get(), i, LockKind::write); !locked) {
      refused_ = locked.error();
      return false;
    }
    mine_[i] = true;
    used_->raise_to(i + 1, acq_rel);  // before the member's first fetch_add on a tail, like its hazard words
    enter(lines_[i], kind, name);
    return true;
  }

  TOWPATH_COLD void wake_taken(unsigned index) noexcept {
    const MemberLine& line = lines_[index];
    // Where the sleeper is that was announced, or later: the compare-and-swap acquired its announcement.
    if (line.bell.load(relaxed) == 0) return end_sleep(line.wake);
    const std::uint64_t incarnation = line.incarnation.load(relaxed);
    if (ringer_.ring(index, incarnation) && !is_alive(index)) ringer_.remove(index, incarnation);
  }

  static void enter(MemberLine& line, MemberKind kind, std::string_view name) noexcept {
    line.incarnation.fetch_add(1, acq_rel);  // what the dead one left on disk is now sweepable
    line.inflight.store(0, release);  // pairs with the scans of recyclers and helpers: the dead one reserves nothing
    line.uid.store(0, release);       // as inflight
    line.batch.store(0, release);
    line.progress.store(0, relaxed);
    line.bell.store(0, relaxed);  // whoever is announced next sleeps on the word, until it says otherwise
    line.pid.store(static_cast<std::uint32_t>(::getpid()), relaxed);
    const auto length = std::min(name.size(), sizeof line.name - 1);
    std::memset(line.name, 0, sizeof line.name);
    std::memcpy(line.name, name.data(), length);
    line.kind.store(static_cast<std::uint32_t>(kind), release);  // only a hint to claim() and to wakers of all
  }

  /// After a fork the table is not mapped here, the lock descriptor is closed and the mutex may be held for ever.
  [[nodiscard]] bool in_child() const noexcept { return ForkGuard::instance().generation() != generation_; }

  void give_back(unsigned index) noexcept {
    if (in_child()) return;
    const std::lock_guard hold{mutex_};
    lines_[index].inflight.store(0, release);  // pairs with the scans of recyclers and helpers
    lines_[index].kind.store(0, release);
    mine_[index] = false;
    unlock(holder_.get(), index);
  }

  MemberLine* lines_;
  Word32* used_;
  LockDescriptor holder_;  // its locks say that we live
  FileDescriptor asker_;   // never holds any: sees also the locks of this process
  std::mutex mutex_;
  std::bitset<max_members + 3> mine_;
  Ringer ringer_;
  Failure refused_;  // why the last line could not be had
  std::uint64_t generation_ = ForkGuard::instance().generation();
};

inline MemberLine& Member::line() const noexcept { return table_->line(index_); }
inline void Member::leave() noexcept {
  if (table_) std::exchange(table_, nullptr)->give_back(index_);
}

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/log/state.hpp ----

// The words of one partition that outlive its segments: topics/<topic>/state (producers write) and topics/<topic>/wait
// (consumers write too). Both files are a header and one block per partition; they grow only at the end (blocks are
// allocated, then the count is published), so a pointer to a block stays good while its mapping is held.
// Every word may be used by any thread and process. After a crash of a process each is what was stored last; the table
// "What a crash leaves" in docs/protocol.md says what that may mean and who puts it right.

namespace towpath::inline TOWPATH_ABI::log {

inline constexpr std::uint64_t state_magic = 0x3054'5057'4F54'0A0Du;
inline constexpr std::uint64_t wait_magic = 0x3057'5057'4F54'0A0Du;
inline constexpr std::uint64_t blocks_offset = 4096;  ///< where the first block stands, in both files

/// First bytes of both files.
struct BlocksHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t block_bytes;
  Word32 partitions;  // how many blocks are ready; raised (release) after they are allocated and filled
  std::uint32_t reserved[11];
};
static_assert(sizeof(BlocksHeader) == 64 && offsetof(BlocksHeader, partitions) == 16);

/// The settings of a topic that may change while it is in use: every process reads them here. 64 B into the state file.
struct TopicWords {
  Word64 segment_bytes;      // size of a segment's file once the log has grown
  Word64 retention_bytes;    // per partition; 0 = unlimited
  Word64 retention_age_ns;   // 0 = unlimited
  Word64 max_message_bytes;  // value, key and headers of one record
  Word64 grace_ns;           // how long a live producer's open slot may hold readers up
  Word64 on_full;            // 0 drop_oldest, 1 block, 2 fail
  Word64 config_version;     // + 1 at each change
  Word64 durability;         // 0 none, 1 interval, 2 each
  Word64 flush_interval_ns;  // of durability interval
  std::uint64_t reserved[7];
};
static_assert(sizeof(TopicWords) == 128);
inline constexpr std::uint64_t topic_words_offset = 64;

enum PartitionFlag : std::uint64_t {
  partition_failed = 1,   ///< an I/O error made it read-only
  partition_deleted = 2,  ///< the topic goes or went away
};

/// A transaction that has records in the partition: the last stable offset is the smallest bound.
struct OpenTransaction {
  Word64 producer_id;
  Word64 epoch;
  Word64 bound;
  std::uint64_t reserved;
};

struct PartitionState {
  // Seldom changes.
  Word64 uid;        // unique on the bus, never re-used, never 0
  Word64 flags;      // PartitionFlag
  Word64 log_epoch;  // + 1 when the log was recovered after a restart of the machine: its end may have gone back
  std::uint64_t reserved0[5];
  // Changes at a roll.
  Word64 hint;        // the largest base made: where to append; only a hint, never too large
  Word64 log_start;   // readers and producers stay at or above; raised (seq_cst) before a segment goes
  Word64 live_bytes;  // of live segments' files; approximate after a crash, put right by maintenance
  Word64 last_roll;   // monotonic ns of whoever rolled; for maintenance's thrift only
  std::uint64_t reserved1[3];
  Word64 deleted_to;  // readers stay at or above: an administrator deleted what is below; never past resolved_to
  // Raised by whoever looked.
  Word64 resolved_to;  // all below is committed or aborted
  Word64 durable_to;   // all below is on stable storage; stored after that is so
  Word64 flusher;      // who flushes: a count of flushes << 11 | member index + 1, or 0 there for nobody
  Word32 flushes;      // + 1 after each; whoever waits for one sleeps on it
  std::uint32_t reserved2;
  std::uint64_t reserved3[4];
  // Counters for people: relaxed, never per record.
  Word64 aborted;  // slots aborted by helpers or given up by their owner
  Word64 dropped;  // offsets that retention removed
  Word64 rolls;
  Word64 recycled;  // segments that became spares
  Word64 fresh;     // segments made from new files
  Word64 unlinked;  // segments removed, not recycled
  Word64 stale;     // reservations that met a foreign incarnation
  Word64 waits;     // sleeps of consumers, each in its first partition's block
  std::uint64_t reserved4[32];
  OpenTransaction transactions[64];
};
static_assert(sizeof(PartitionState) == 512 + 64 * 32 && std::is_standard_layout_v<PartitionState>);
static_assert(offsetof(PartitionState, hint) == 64 && offsetof(PartitionState, resolved_to) == 128);
static_assert(offsetof(PartitionState, flusher) == 144 && offsetof(PartitionState, flushes) == 152);
static_assert(offsetof(PartitionState, aborted) == 192 && offsetof(PartitionState, transactions) == 512);

/// Who sleeps for this partition: bit b of the mask belongs to the member in line b.
struct WaitBlock {
  Word64 mask;
  std::uint64_t reserved[7];
  Word32 lines[64];  // 0 free, else a WaiterName. Line 63 is not used: bit 63 means "look at all"
};
static_assert(sizeof(WaitBlock) == 320 && offsetof(WaitBlock, lines) == 64);

inline constexpr unsigned overflow_bit = 63;

/// Who stands in a waiter line: member index + 1 in 11 bits, and so much of its incarnation as fits, so that a line
/// left by a dead member is known as such when somebody else has the member line.
struct WaiterName {
  static std::uint32_t of(const shm::MemberLine& line, unsigned index) noexcept {
    return static_cast<std::uint32_t>(line.incarnation.load(shm::relaxed)) << 11 | (index + 1);
  }
  static constexpr unsigned index(std::uint32_t name) noexcept { return (name & 0x7FFu) - 1; }
  static constexpr bool is_member(std::uint32_t name) noexcept {
    return name != 0 && (name & 0x7FFu) >= 1 && (name & 0x7FFu) <= shm::max_members;
  }
  /// Asks the kernel if need be: 0.5 us.
  static bool is_dead(std::uint32_t name, shm::Members& members) noexcept {
    if (!is_member(name)) return false;
    const unsigned i = index(name);
    return of(members.line(i), i) != name || !members.is_alive(i);
  }
};

/// A consumer's place in one partition's waiter mask. protocol.md, "Sleeping"; tests/model (waiters). One thread's, as
/// its member is. After a crash line and bit stay: maintenance frees them, or whoever needs a line next.
class WaiterRegistration {
 public:
  WaiterRegistration() noexcept = default;

  /// Claims a line, then sets its bit, always: also when it is set already. Call before announce_sleep, never after.
  static WaiterRegistration enter(WaitBlock& block, shm::Member& member) noexcept {
    const std::uint32_t me = WaiterName::of(member.line(), member.index());
    for (unsigned bit = 0; bit < overflow_bit; ++bit) {
      std::uint32_t holder = block.lines[bit].load(shm::acquire);
      if (holder != 0 && !WaiterName::is_dead(holder, member.table())) continue;
      if (!block.lines[bit].compare_exchange(holder, me, shm::acq_rel, shm::acquire)) continue;
      TOWPATH_FAILPOINT("register.before_mask");
      block.mask.fetch_or(std::uint64_t{1} << bit, shm::seq_cst);  // pairs with the seq_cst load in wake_waiters()
      return WaiterRegistration{block, bit};
    }
    block.mask.fetch_or(std::uint64_t{1} << overflow_bit, shm::seq_cst);  // never cleared: it has no single owner
    return WaiterRegistration{block, overflow_bit};
  }

  explicit operator bool() const noexcept { return block_ != nullptr; }

  /// The bit first, then the line: a line that is free must not have my bit.
  void leave() noexcept {
    if (block_ && bit_ != overflow_bit) free_line(*block_, bit_);
    block_ = nullptr;
  }

  /// Frees the lines of dead members, so that committers need not look at them. For maintenance; `sweeper` stands in a
  /// line while it clears the bit, for only the line's owner may, and a dead sweeper's line is swept like any other.
  static void sweep(WaitBlock& block, shm::Member& sweeper) noexcept {
    const std::uint32_t me = WaiterName::of(sweeper.line(), sweeper.index());
    for (unsigned bit = 0; bit < overflow_bit; ++bit) {
      std::uint32_t holder = block.lines[bit].load(shm::acquire);
      if (!WaiterName::is_dead(holder, sweeper.table())) continue;
      if (block.lines[bit].compare_exchange(holder, me, shm::acq_rel, shm::acquire)) free_line(block, bit);
    }
  }

 private:
  WaiterRegistration(WaitBlock& block, unsigned bit) noexcept : block_{&block}, bit_{bit} {}

  static void free_line(WaitBlock& block, unsigned bit) noexcept {
    // Before the line, whose release pairs with the claim of whoever takes it next and sets the bit anew.
    block.mask.fetch_and(~(std::uint64_t{1} << bit), shm::acq_rel);
    TOWPATH_FAILPOINT("register.before_free");
    block.lines[bit].store(0, shm::release);
  }

  WaitBlock* block_ = nullptr;
  unsigned bit_ = 0;
};

namespace detail {

/// Not inline: a commit without waiters must stay short.
__attribute__((noinline)) inline void wake_slow(WaitBlock& block, std::uint64_t mask, shm::Members& members) noexcept {
  if (mask >> overflow_bit)
    for (unsigned i = 0; i < members.used(); ++i)
      if (members.line(i).kind.load(shm::relaxed) == static_cast<std::uint32_t>(shm::MemberKind::consumer))
        members.wake(i);
  for (mask &= ~(std::uint64_t{1} << overflow_bit); mask != 0; mask &= mask - 1) {
    const std::uint32_t holder = block.lines[std::countr_zero(mask)].load(shm::acquire);
    if (WaiterName::is_member(holder)) members.wake(WaiterName::index(holder));
  }
}

}  // namespace detail

/// Wakes every registered consumer that sleeps. Call after the seq_cst compare-and-swap that resolved something.
TOWPATH_HOT void wake_waiters(WaitBlock& block, shm::Members& members) noexcept {
  const std::uint64_t mask = block.mask.load(shm::seq_cst);  // pairs with the seq_cst fetch_or of a registration
  if (mask != 0) detail::wake_slow(block, mask, members);
}

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/partition_log.hpp ----

// A PartitionLog is one partition as seen by one process: its words, its folder, and the steps that make the chain of
// segments longer (protocol.md OPEN, NEXT, TAKE). Appender and Reader work on it.
// Thread-safe: everything it holds is fixed at construction or shared words. Any process may die between any two steps;
// the table in docs/protocol.md says what is left behind and who repairs it.

namespace towpath::inline TOWPATH_ABI::log {

/// What is fixed when the topic is created.
struct PartitionFormat {
  std::uint64_t record_alignment = 8;  ///< frames begin at multiples: 8, 16, 32 or 64
  std::uint64_t value_alignment = 8;
  std::uint64_t typical_frame = 0;  ///< bytes of one record when the type tells, else 0
  bool checksummed = false;
  bool recycling = true;
  bool one_writer = false;  ///< one live Producer at a time appends, without locked instructions
};

using FileName = std::array<char, 320>;

/// Whom a topic that is on_full = block or fail waits for.
class ReaderHold {
 public:
  ReaderHold() = default;
  ReaderHold(const ReaderHold&) = delete;
  ReaderHold& operator=(const ReaderHold&) = delete;
  virtual ~ReaderHold() = default;
  /// The lowest offset of the partition that one of them still needs. Thread-safe; a few system calls at most.
  virtual std::uint64_t lowest(std::int32_t partition) noexcept = 0;
};

/// What a PartitionLog is made of; all of it outlives the log.
struct PartitionParts {
  shm::Directory* directory = nullptr;
  shm::Directory* bus = nullptr;  ///< where the topic's folder has its name, in "topics"; null: not flushed from here
  std::string folder;             ///< the partition's, in `directory`: "0"; made with the first segment
  std::int32_t partition = 0;
  PartitionState* state = nullptr;
  TopicWords* words = nullptr;
  WaitBlock* waits = nullptr;                 ///< null: this process never registers as a waiter
  shm::Members* members = nullptr;            ///< null: this process is no member
  const shm::FileDescriptor* pins = nullptr;  ///< asker of the topic's pins; never holds a lock
  const Word32* maintainer = nullptr;         ///< member index + 1 of who wants to know about rolls, 0 for nobody
  ReaderHold* readers = nullptr;              ///< null: the topic waits for nobody
  bool writable = false;                      ///< segments and state may be written: may append, may help
  PartitionFormat format;
  Clock clock;
};

class PartitionLog {
 public:
  explicit PartitionLog(PartitionParts parts) : parts_{std::move(parts)}, uid_{parts_.state->uid.load(shm::acquire)} {}

  [[nodiscard]] shm::Directory& directory() const noexcept { return *parts_.directory; }
  [[nodiscard]] shm::Directory* bus() const noexcept { return parts_.bus; }
  [[nodiscard]] PartitionState& state() const noexcept { return *parts_.state; }
  [[nodiscard]] const TopicWords& words() const noexcept { return *parts_.words; }
  [[nodiscard]] WaitBlock* waits() const noexcept { return parts_.waits; }
  [[nodiscard]] shm::Members& members() const noexcept { return *parts_.members; }
  [[nodiscard]] const PartitionFormat& format() const noexcept { return parts_.format; }
  [[nodiscard]] const Clock& clock() const noexcept { return parts_.clock; }
  [[nodiscard]] std::uint64_t uid() const noexcept { return uid_; }
  /// The partition's, from 0.
  [[nodiscard]] std::uint64_t number() const noexcept { return static_cast<std::uint64_t>(parts_.partition); }
  [[nodiscard]] const std::string& folder() const noexcept { return parts_.folder; }
  [[nodiscard]] bool is_deleted() const noexcept {
    return (parts_.state->flags.load(shm::acquire) & partition_deleted) != 0;
  }
  /// Did an I/O error make it read-only?
  [[nodiscard]] bool has_failed() const noexcept {
    return (parts_.state->flags.load(shm::acquire) & partition_failed) != 0;
  }
  /// The first offset that may be read. log_start is always some segment's base, and decides which files are there;
  /// records in the middle of a segment are deleted by raising another word.
  [[nodiscard]] std::uint64_t begin() const noexcept {
    // Pairs with R1's raise and with delete_records().
    return std::max(state().log_start.load(shm::seq_cst), state().deleted_to.load(shm::seq_cst));
  }
  /// Whoever may only read never helps.
  [[nodiscard]] bool may_help() const noexcept { return parts_.writable; }

  void wake() const noexcept {
    if (parts_.writable) wake_waiters(*parts_.waits, *parts_.members);
  }

  /// The byte of the topic's pins that stands for the segment at `base`.
  [[nodiscard]] std::uint64_t pin_byte(std::uint64_t base) const noexcept {
    return static_cast<std::uint64_t>(parts_.partition) << 48 | base;
  }
  [[nodiscard]] bool is_pinned(std::uint64_t base) const noexcept {
    return shm::is_locked(*parts_.pins, pin_byte(base));
  }

  /// What retention must leave: the lowest offset that a reader needs whom the topic waits for.
  [[nodiscard]] std::uint64_t held_from() const noexcept {
    if (!waits_for_readers()) return ~std::uint64_t{0};
    return std::max(parts_.readers->lowest(parts_.partition), state().deleted_to.load(shm::acquire));
  }
  [[nodiscard]] bool waits_for_readers() const noexcept {
    return parts_.readers && parts_.words->on_full.load(shm::relaxed) != 0;
  }

  /// Tells the maintenance, if there is one, that a segment was filled.
  void wake_maintenance() const noexcept {
    const std::uint32_t holder = parts_.maintainer ? parts_.maintainer->load(shm::acquire) : 0;
    if (holder != 0 && holder <= shm::max_members) shm::wake(members().line(holder - 1).wake);
  }

  // ---- names
  [[nodiscard]] FileName segment_name(std::uint64_t base) const noexcept { return numbered("%s/%020llu.log", base); }
  [[nodiscard]] FileName spare_name(std::uint64_t i) const noexcept { return numbered("%s/spare.%llu", i); }
  [[nodiscard]] FileName time_index_name(std::uint64_t base) const noexcept {
    return numbered("%s/%020llu.timeindex", base);
  }
  /// A private name: exactly one live member may touch what stands under it, sweepers may only unlink it.
  [[nodiscard]] FileName own_name(const shm::Member& member) const noexcept {
    static std::atomic<unsigned long long> next{0};
    FileName name;
    std::snprintf(name.data(), name.size(), "%s/own.%u.%llu.%llu", parts_.folder.c_str(), member.index(),
                  static_cast<unsigned long long>(member.line().incarnation.load(shm::relaxed)),
                  next.fetch_add(1, std::memory_order_relaxed));
    return name;
  }
  [[nodiscard]] FileName in_folder(const char* entry) const noexcept {
    FileName name;
    std::snprintf(name.data(), name.size(), "%s/%s", parts_.folder.c_str(), entry);
    return name;
  }

  /// The live segments' bases, ascending. Empty before the first record.
  [[nodiscard]] Result<std::vector<std::uint64_t>> bases() const {
    auto names = parts_.directory->list(parts_.folder.c_str());
    std::vector<std::uint64_t> found;
    if (!names)
      return names.error() == Errc::not_found ? Result<std::vector<std::uint64_t>>{std::move(found)} : names.error();
    for (const auto& name : *names)
      if (name.size() == 24 && name.ends_with(".log")) found.push_back(std::strtoull(name.c_str(), nullptr, 10));
    std::sort(found.begin(), found.end());
    return found;
  }

  // ---- segments
  /// OPEN. Errors: not_found when there is no such incarnation, and those of Segment::open.
  [[nodiscard]] Result<Segment> open(std::uint64_t base, Use use) const {
    return Segment::open(*parts_.directory, segment_name(base).data(), base, use);
  }

  /// Did the segment at `base` have its name before now, by what the words say? Ask before the look for its file: if it
  /// had, and log_start has not passed it, the file must be there, for a roll names it before it raises hint, and the
  /// first is named before it is counted.
  [[nodiscard]] bool was_made(std::uint64_t base) const noexcept {
    const std::uint64_t hint = state().hint.load(shm::acquire);
    if (hint != base || base > 0) return hint >= base;
    return state().resolved_to.load(shm::acquire) > 0 || state().live_bytes.load(shm::acquire) > 0;
  }

  /// What to say of a segment that was made and is not there: corrupt, or topic_deleted.
  [[nodiscard]] Failure damaged() const noexcept {
    return unless_deleted({Errc::corrupt, "a segment of the log is missing or damaged"});
  }

  /// The segment to append to: that of hint, made if the log is still empty. Errors: topic_deleted, no_space,
  /// partition_failed, corrupt, newer_format, and those of making and mapping a file.
  Result<Segment> active(const shm::Member& member, Need need) const;

  /// NEXT. The segment after `full`, which ends at base `next_base`; whoever crossed the end makes it, others wait a
  /// little first. Returns a later one when the log has moved on. Errors as active(), and queue_full: a reader that the
  /// topic waits for has not read what would have to go.
  Result<Segment> next(const shm::Member& member, const Segment& full, std::uint64_t next_base, bool crosser,
                       Need need) const;

  /// A new file under a private name: allocated, initialised, closed, unset. Errors: no_space.
  [[nodiscard]] Result<Segment> make_file(const char* own, const Geometry& shape) const;

  /// The shape of the segment that follows `last`.
  [[nodiscard]] Geometry following(const Segment& last, Need need) const noexcept;

 private:
  [[nodiscard]] FileName numbered(const char* pattern, std::uint64_t n) const noexcept {
    FileName name;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    std::snprintf(name.data(), name.size(), pattern, parts_.folder.c_str(), static_cast<unsigned long long>(n));
#pragma GCC diagnostic pop
    return name;
  }

  /// A file that cannot be made because the topic's folder went is no file that was not found.
  [[nodiscard]] Failure unless_deleted(const Failure& failure) const noexcept {
    return is_deleted() ? Failure{Errc::topic_deleted, "the topic was deleted under this handle"} : failure;
  }

  Result<void> write_file(const char* own, const Geometry& shape) const;
  /// TAKE. True if this call made the segment, false if somebody else did.
  Result<bool> take(const shm::Member& member, std::uint64_t base, const Geometry& shape) const;
  /// What whoever raised hint does for all.
  void after_roll(const shm::Member& member) const;
  [[nodiscard]] Result<Segment> take_spare(const char* own, const Geometry& shape) const;

  PartitionParts parts_;
  std::uint64_t uid_;
};

inline constexpr std::uint64_t spare_names = 4;

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/buffer.hpp ----

// A Buffer is private memory that is filled, read and filled again: what a batch is unpacked into. It begins at a
// multiple of 64 bytes, grows by asking and never shrinks, so that the next batch finds the room of the largest so far.
// It says no instead of throwing when there is no memory. Not thread-safe; nothing of it is shared between processes.

namespace towpath::inline TOWPATH_ABI::log {

class Buffer {
 public:
  static constexpr std::size_t alignment = 64;

  Buffer() noexcept = default;
  Buffer(Buffer&& other) noexcept
      : data_{std::exchange(other.data_, nullptr)},
        size_{std::exchange(other.size_, 0)},
        capacity_{std::exchange(other.capacity_, 0)} {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~Buffer() { release(data_); }

  [[nodiscard]] std::byte* data() noexcept { return data_; }
  [[nodiscard]] const std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] Bytes bytes() const noexcept { return {data_, size_}; }
  void clear() noexcept { size_ = 0; }

  /// Room for `capacity` bytes; what stands in the buffer stays, at another address. False: no memory, nothing changed.
  [[nodiscard]] bool reserve(std::size_t capacity) noexcept {
    if (capacity <= capacity_) return true;
    if (capacity > std::numeric_limits<std::size_t>::max() / 2) return false;
    auto* const data = static_cast<std::byte*>(::operator new (capacity, std::align_val_t{alignment}, std::nothrow));
    if (data == nullptr) return false;
    if (size_ > 0) std::memcpy(data, data_, size_);
    release(data_);
    data_ = data, capacity_ = capacity;
    return true;
  }

  /// Makes it `size` bytes long. New bytes are whatever stood there before. False: no memory, nothing changed.
  [[nodiscard]] bool resize(std::size_t size) noexcept {
    if (size > capacity_ && !reserve(std::max(size, capacity_ + capacity_ / 2))) return false;
    size_ = size;
    return true;
  }

 private:
  static void release(std::byte* data) noexcept { ::operator delete (data, std::align_val_t{alignment}); }

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/codec.hpp ----

// The compressions of Kafka's record batches, and the process-wide table of those that this program has. The library
// itself has none: include <towpath/adapters/compression.hpp> in one file of the program and all four are there.
//   auto codec = find_codec(Compression::lz4);            // unsupported_compression if it was not compiled in
//   if (codec) (*codec)->decompress(bytes, room, 1 << 20);
// Thread-safe: the table is filled while the program starts, and may be read and added to from any thread.
// One table per process; nothing here is shared or survives a crash.

namespace towpath::inline TOWPATH_ABI {

/// How the records of a batch are packed: bits 0 to 2 of Kafka's batch attributes.
enum class Compression : std::uint8_t { none = 0, gzip = 1, snappy = 2, lz4 = 3, zstd = 4 };

namespace detail {

inline constexpr std::string_view compression_names[] = {"none", "gzip", "snappy", "lz4", "zstd"};

}  // namespace detail

/// The name in Kafka's configs (compression.type): "none", "gzip", "snappy", "lz4", "zstd".
constexpr std::string_view name(Compression compression) noexcept {
  const auto number = static_cast<std::size_t>(compression);
  return number < std::size(detail::compression_names) ? detail::compression_names[number] : "unknown";
}

/// The compression of that name; nothing when there is none. Names are as above, in lower case.
constexpr std::optional<Compression> parse_compression(std::string_view text) noexcept {
  for (std::size_t number = 0; number < std::size(detail::compression_names); ++number)
    if (text == detail::compression_names[number]) return static_cast<Compression>(number);
  return std::nullopt;
}

namespace log {

/// One compression, as two functions that may be called from any thread and let no exception out.
struct Codec {
  /// Appends the packed form of `input`. On an error `out` is as before.
  Result<void> (*compress)(Bytes input, Buffer& out) noexcept;

  /// Replaces what is in `out` by the unpacked form of `input`, at most `budget_bytes` of it. `corrupt` when the input
  /// is no such form, is cut short, or unpacks to more; memory in proportion to the budget at most, whatever the input
  /// says.
  Result<void> (*decompress)(Bytes input, Buffer& out, std::uint64_t budget_bytes) noexcept;
};

namespace detail {

/// By Compression. Constant-initialized, so it is there before anybody's initializer adds to it.
inline constinit std::array<std::atomic<const Codec*>, 8> codecs{};

}  // namespace detail

/// Makes a codec known to this process; `codec` lives for ever. The last one given for a compression counts.
inline void install_codec(Compression compression, const Codec& codec) noexcept {
  // pairs with the acquire in find_codec()
  detail::codecs[static_cast<std::size_t>(compression) & 7].store(&codec, std::memory_order_release);
}

/// The codec for a compression other than none (which needs none: invalid_argument).
/// unsupported_compression when this program does not have it; corrupt for a number that Kafka never gave away.
inline Result<const Codec*> find_codec(Compression compression) noexcept {
  const auto number = static_cast<std::size_t>(compression);
  if (compression == Compression::none)
    return Failure{Errc::invalid_argument, "records that are not compressed need no codec"};
  if (number >= std::size(towpath::detail::compression_names))
    return Failure{Errc::corrupt, "a record batch names a compression that does not exist"};
  // pairs with the release in install_codec()
  const auto* codec = detail::codecs[number].load(std::memory_order_acquire);
  if (codec != nullptr) return codec;
  constexpr const char* missing[] = {"", "gzip", "snappy", "lz4", "zstd"};
  return Failure{Errc::unsupported_compression, missing[number]};
}

}  // namespace log
}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/log/kafka_numbers.hpp ----

// Numbers as Kafka writes them: big-endian, and zig-zag varints (seven bits to a byte, the low ones first, the sign in
// bit 0). Functions over memory; none of them reads or writes outside what it is given.

namespace towpath::inline TOWPATH_ABI::log {

static_assert(std::endian::native == std::endian::little, "big-endian numbers are made by turning bytes around");

/// The number at `at`, which has sizeof(T) bytes.
template <std::integral T>
T load_big_endian(const std::byte* at) noexcept {
  std::make_unsigned_t<T> value;
  std::memcpy(&value, at, sizeof value);
  if constexpr (sizeof value == 2) value = __builtin_bswap16(value);
  if constexpr (sizeof value == 4) value = __builtin_bswap32(value);
  if constexpr (sizeof value == 8) value = __builtin_bswap64(value);
  return static_cast<T>(value);
}

template <std::integral T>
void store_big_endian(std::byte* at, T number) noexcept {
  auto value = static_cast<std::make_unsigned_t<T>>(number);
  if constexpr (sizeof value == 2) value = __builtin_bswap16(value);
  if constexpr (sizeof value == 4) value = __builtin_bswap32(value);
  if constexpr (sizeof value == 8) value = __builtin_bswap64(value);
  std::memcpy(at, &value, sizeof value);
}

constexpr std::uint64_t zig_zag(std::int64_t number) noexcept {
  return static_cast<std::uint64_t>(number) << 1 ^ static_cast<std::uint64_t>(number >> 63);
}
constexpr std::int64_t un_zig_zag(std::uint64_t bits) noexcept {
  return static_cast<std::int64_t>(bits >> 1 ^ (~(bits & 1) + 1));
}

inline constexpr std::size_t max_varint_bytes = 10;  ///< 5 for a number of 32 bits

/// How many bytes the number takes.
constexpr std::size_t varint_size(std::int64_t number) noexcept {
  return (static_cast<std::size_t>(std::bit_width(zig_zag(number) | 1)) + 6) / 7;
}

/// Writes varint_size(number) bytes and returns the place behind them.
inline std::byte* store_varint(std::byte* at, std::int64_t number) noexcept {
  std::uint64_t bits = zig_zag(number);
  for (; bits >= 0x80; bits >>= 7) *at++ = static_cast<std::byte>(bits | 0x80);
  *at++ = static_cast<std::byte>(bits);
  return at;
}

/// Reads what Kafka wrote, front to back. A read that finds too little, or a number that is too large, gives nothing
/// sensible, and from then on failed() is true and every read gives nothing: ask once, at the end.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) noexcept : at_{bytes.begin()}, end_{bytes.end()} {}

  [[nodiscard]] bool failed() const noexcept { return failed_; }
  [[nodiscard]] bool at_end() const noexcept { return at_ == end_; }
  [[nodiscard]] std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - at_); }
  [[nodiscard]] const std::byte* position() const noexcept { return at_; }
  void fail() noexcept { at_ = end_, failed_ = true; }

  template <std::integral T>
  T number() noexcept {
    if (left() < sizeof(T)) return fail(), T{0};
    at_ += sizeof(T);
    return load_big_endian<T>(at_ - sizeof(T));
  }

  TOWPATH_HOT std::int32_t varint() noexcept {
    const std::uint64_t bits = varint_bits<32>();
    return static_cast<std::int32_t>(un_zig_zag(bits));
  }
  TOWPATH_HOT std::int64_t varlong() noexcept { return un_zig_zag(varint_bits<64>()); }

  /// The next `size` bytes; negative is a failure.
  Bytes bytes(std::int64_t size) noexcept {
    if (size < 0 || static_cast<std::uint64_t>(size) > left()) return fail(), Bytes{};
    at_ += size;
    return {at_ - size, static_cast<std::size_t>(size)};
  }

 private:
  /// Nearly all numbers in a record take one byte or two.
  template <unsigned width>
  TOWPATH_HOT std::uint64_t varint_bits() noexcept {
    if (at_ != end_) {
      const auto first = std::to_integer<std::uint64_t>(at_[0]);
      if (first < 0x80) return ++at_, first;
      const auto second = left() > 1 ? std::to_integer<std::uint64_t>(at_[1]) : 0x80;
      if (second < 0x80) return at_ += 2, (first & 0x7F) | second << 7;
    }
    return long_varint_bits<width>();
  }

  template <unsigned width>
  TOWPATH_COLD std::uint64_t long_varint_bits() noexcept {
    std::uint64_t bits = 0;
    for (unsigned shift = 0; shift < width && at_ != end_; shift += 7) {
      const auto byte = std::to_integer<std::uint64_t>(*at_++);
      const auto part = byte & 0x7F;
      if (shift + 7 > width && part >> (width - shift) != 0) break;  // more bits than the number has
      bits |= part << shift;
      if (byte < 0x80) return bits;
    }
    fail();
    return 0;
  }

  const std::byte* at_;
  const std::byte* end_;
  bool failed_ = false;
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/record_batch.hpp ----

// A Kafka record batch, message format 2, as it stands in the log and goes over the network:
//   base offset 8 | length 4 | leader epoch 4 | magic 1 | crc 4 | attributes 2 | last offset delta 4 | base timestamp 8
//   | max timestamp 8 | producer id 8 | producer epoch 2 | base sequence 4 | count 4 | records, maybe compressed
// The CRC-32C covers attributes to end, so whoever appends the batch sets offset and epoch in place. A RecordBatchView
// is that view of bytes that somebody else owns; what parse() accepts is whole and does not contradict itself, but for
// its records, which are checked when they are read (log/batch_records.hpp, log/unpacked_batch.hpp).
//   auto batch = RecordBatchView::parse(bytes);
//   if (batch && !batch->is_control()) ...batch->record_count()...
// A view is a value; reading it from several threads is fine as long as nobody writes the bytes.

namespace towpath::inline TOWPATH_ABI::log {

inline constexpr std::size_t batch_header_bytes = 61;
inline constexpr std::size_t batch_length_begins = 12;  ///< what is in front of the bytes that `length` counts
inline constexpr std::size_t batch_crc_begins = 21;     ///< the first byte that the CRC covers
inline constexpr std::int8_t batch_magic = 2;
inline constexpr std::size_t min_batch_record_bytes = 7;  ///< length, attributes, two deltas, key, value, headers

enum BatchAttribute : std::uint16_t {
  batch_compression = 7,  ///< mask
  batch_append_time = 8,
  batch_transactional = 16,
  batch_control = 32,
  batch_delete_horizon = 64,  ///< base_timestamp is when the batch may be removed
};

/// Everything in front of the records, as plain numbers. Kafka's "none" is -1.
struct RecordBatchHeader {
  std::int64_t base_offset = 0;
  std::int32_t length = 0;  ///< of what follows this field
  std::int32_t leader_epoch = -1;
  std::int8_t magic = batch_magic;
  std::uint32_t crc = 0;
  std::uint16_t attributes = 0;
  std::int32_t last_offset_delta = -1;
  std::int64_t base_timestamp_ms = -1;
  std::int64_t max_timestamp_ms = -1;
  std::int64_t producer_id = -1;
  std::int16_t producer_epoch = -1;
  std::int32_t base_sequence = -1;
  std::int32_t record_count = 0;

  /// `at` has batch_header_bytes.
  static RecordBatchHeader read(const std::byte* at) noexcept {
    RecordBatchHeader header;
    header.base_offset = load_big_endian<std::int64_t>(at);
    header.length = load_big_endian<std::int32_t>(at + 8);
    header.leader_epoch = load_big_endian<std::int32_t>(at + 12);
    header.magic = static_cast<std::int8_t>(at[16]);
    header.crc = load_big_endian<std::uint32_t>(at + 17);
    header.attributes = load_big_endian<std::uint16_t>(at + 21);
    header.last_offset_delta = load_big_endian<std::int32_t>(at + 23);
    header.base_timestamp_ms = load_big_endian<std::int64_t>(at + 27);
    header.max_timestamp_ms = load_big_endian<std::int64_t>(at + 35);
    header.producer_id = load_big_endian<std::int64_t>(at + 43);
    header.producer_epoch = load_big_endian<std::int16_t>(at + 51);
    header.base_sequence = load_big_endian<std::int32_t>(at + 53);
    header.record_count = load_big_endian<std::int32_t>(at + 57);
    return header;
  }

  void write(std::byte* at) const noexcept {
    store_big_endian(at, base_offset);
    store_big_endian(at + 8, length);
    store_big_endian(at + 12, leader_epoch);
    at[16] = static_cast<std::byte>(magic);
    store_big_endian(at + 17, crc);
    store_big_endian(at + 21, attributes);
    store_big_endian(at + 23, last_offset_delta);
    store_big_endian(at + 27, base_timestamp_ms);
    store_big_endian(at + 35, max_timestamp_ms);
    store_big_endian(at + 43, producer_id);
    store_big_endian(at + 51, producer_epoch);
    store_big_endian(at + 53, base_sequence);
    store_big_endian(at + 57, record_count);
  }

  [[nodiscard]] Compression compression() const noexcept {
    return static_cast<Compression>(attributes & batch_compression);
  }
  [[nodiscard]] bool is_append_time() const noexcept { return (attributes & batch_append_time) != 0; }
  [[nodiscard]] bool is_transactional() const noexcept { return (attributes & batch_transactional) != 0; }
  [[nodiscard]] bool is_control() const noexcept { return (attributes & batch_control) != 0; }
};

/// The checksum of a whole batch.
inline std::uint32_t batch_checksum(Bytes batch) noexcept {
  return crc32c(Bytes{batch.data() + batch_crc_begins, batch.size() - batch_crc_begins});
}

class RecordBatchView {
 public:
  /// How long the batch is that begins at bytes.begin(), to cut a run of batches (what Produce and Fetch carry) in
  /// pieces. Nothing else of it is checked; the batch may reach behind the end of `bytes`. corrupt when no batch is so
  /// short, or when the bytes do not even tell.
  static Result<std::uint64_t> size_at(Bytes bytes) noexcept {
    if (bytes.size() < batch_length_begins) return Failure{Errc::corrupt, "a record batch is cut short"};
    const auto length = load_big_endian<std::int32_t>(bytes.data() + 8);
    if (length < static_cast<std::int32_t>(batch_header_bytes - batch_length_begins))
      return Failure{Errc::corrupt, "a record batch says that it is shorter than its header"};
    return static_cast<std::uint64_t>(length) + batch_length_begins;
  }

  /// The batch that takes all of `bytes`. corrupt, with what is wrong, when there is no such batch.
  static Result<RecordBatchView> parse(Bytes bytes) noexcept {
    if (bytes.size() < batch_header_bytes) return Failure{Errc::corrupt, "a record batch is cut short"};
    RecordBatchView view;
    view.bytes_ = bytes;
    view.header_ = RecordBatchHeader::read(bytes.data());
    if (const char* wrong = view.contradiction(); wrong != nullptr) return Failure{Errc::corrupt, wrong};
    return view;
  }

  [[nodiscard]] const RecordBatchHeader& header() const noexcept { return header_; }
  [[nodiscard]] std::int64_t base_offset() const noexcept { return header_.base_offset; }
  [[nodiscard]] std::int64_t last_offset() const noexcept { return header_.base_offset + header_.last_offset_delta; }
  [[nodiscard]] std::int32_t leader_epoch() const noexcept { return header_.leader_epoch; }
  [[nodiscard]] std::uint16_t attributes() const noexcept { return header_.attributes; }
  [[nodiscard]] std::int32_t last_offset_delta() const noexcept { return header_.last_offset_delta; }
  [[nodiscard]] std::int64_t base_timestamp_ms() const noexcept { return header_.base_timestamp_ms; }
  [[nodiscard]] std::int64_t max_timestamp_ms() const noexcept { return header_.max_timestamp_ms; }
  [[nodiscard]] std::int64_t producer_id() const noexcept { return header_.producer_id; }
  [[nodiscard]] std::int16_t producer_epoch() const noexcept { return header_.producer_epoch; }
  [[nodiscard]] std::int32_t base_sequence() const noexcept { return header_.base_sequence; }
  [[nodiscard]] std::int32_t record_count() const noexcept { return header_.record_count; }
  [[nodiscard]] Compression compression() const noexcept { return header_.compression(); }
  [[nodiscard]] bool is_append_time() const noexcept { return header_.is_append_time(); }
  [[nodiscard]] bool is_transactional() const noexcept { return header_.is_transactional(); }
  [[nodiscard]] bool is_control() const noexcept { return header_.is_control(); }

  /// The whole batch, as it stands.
  [[nodiscard]] Bytes bytes() const noexcept { return bytes_; }
  /// The records as they stand: packed, unless compression() is none.
  [[nodiscard]] Bytes records() const noexcept {
    return {bytes_.data() + batch_header_bytes, bytes_.size() - batch_header_bytes};
  }

 private:
  RecordBatchView() noexcept = default;

  /// What is wrong with the header or the checksum; nothing when all is well.
  [[nodiscard]] const char* contradiction() const noexcept {
    const auto& h = header_;
    if (h.magic != batch_magic) return "a record batch is not of message format 2";
    if (h.length < 0 || static_cast<std::uint64_t>(h.length) + batch_length_begins != bytes_.size())
      return "a record batch is cut short or has bytes behind its end";
    if (h.crc != batch_checksum(bytes_)) return "a record batch has a wrong checksum";
    if (h.compression() > Compression::zstd) return "a record batch names a compression that does not exist";
    if (h.last_offset_delta < 0) return "a record batch ends before it begins (last offset delta)";
    if (h.base_offset < 0 || h.base_offset > std::numeric_limits<std::int64_t>::max() - h.last_offset_delta)
      return "a record batch has offsets that do not exist";
    if (h.record_count < 0 || h.record_count - 1 > h.last_offset_delta)
      return "a record batch has another number of records than offsets for them";
    if (h.compression() == Compression::none &&
        static_cast<std::uint64_t>(h.record_count) > records().size() / min_batch_record_bytes)
      return "a record batch has more records than bytes for them";
    return nullptr;
  }

  RecordBatchHeader header_;
  Bytes bytes_;
};

/// Gives a batch its place in a log. Both numbers stand outside the checksum, which stays right.
inline void place_batch(std::byte* batch, std::int64_t base_offset, std::int32_t leader_epoch) noexcept {
  store_big_endian(batch, base_offset);
  store_big_endian(batch + batch_length_begins, leader_epoch);
}

/// Makes `now_ms` the time of every record of a batch (message.timestamp.type=LogAppendTime). `batch` is a whole one.
inline void stamp_batch(std::span<std::byte> batch, std::int64_t now_ms) noexcept {
  const auto attributes = load_big_endian<std::uint16_t>(batch.data() + batch_crc_begins);
  store_big_endian(batch.data() + batch_crc_begins, static_cast<std::uint16_t>(attributes | batch_append_time));
  store_big_endian(batch.data() + 35, now_ms);
  store_big_endian(batch.data() + 17, batch_checksum(Bytes{batch}));
}

/// Kafka counts milliseconds, a frame nanoseconds. What nanoseconds cannot say (before 1677, after 2262) becomes the
/// nearest that they can.
constexpr Timestamp from_kafka_time(std::int64_t milliseconds) noexcept {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / 1'000'000;
  return Timestamp{Duration{std::clamp(milliseconds, -most, most) * 1'000'000}};
}
/// Towards the past, so that a record is never newer than it was.
constexpr std::int64_t to_kafka_time(Timestamp timestamp) noexcept {
  return std::chrono::floor<std::chrono::milliseconds>(timestamp.time_since_epoch()).count();
}

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/batch_records.hpp ----

// The records in a Kafka record batch, one after the other, where they stand. Each is
//   length | attributes 1 | timestamp delta | offset delta | key length | key | value length | value | header count |
//   headers
// with varints where no size is given; -1 is null. Nothing in them is trusted: a record that lies ends the walk.
//   BatchRecords records{batch, batch.records()};              // or the records that a codec unpacked
//   for (BatchRecord record; records.next(record);) use(record.value);
//   if (records.failure().code != Errc::ok) ...                // how it ended
// A cursor is one thread's. What it gives points into the bytes, and is valid as long as they are.

namespace towpath::inline TOWPATH_ABI::log {

/// The headers of one record in Kafka's form. Ends early at bytes that make no sense.
class BatchHeaders {
 public:
  class iterator {
   public:
    using value_type = Header;
    using difference_type = std::ptrdiff_t;
    iterator() noexcept = default;
    iterator(Bytes bytes, std::uint32_t count) noexcept : reader_{bytes}, count_{count} { read(); }
    const Header& operator*() const noexcept { return current_; }
    const Header* operator->() const noexcept { return &current_; }
    iterator& operator++() noexcept {
      --count_;
      read();
      return *this;
    }
    iterator operator++(int) noexcept {
      auto before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.count_ == b.count_; }

   private:
    void read() noexcept {
      if (count_ == 0) return;
      const Bytes key = reader_.bytes(reader_.varint());
      const auto size = reader_.varint();
      const Bytes value = size == -1 ? Bytes{} : reader_.bytes(size);
      if (reader_.failed()) return void(count_ = 0);
      current_ = {key.text(), value, size == -1};
    }
    ByteReader reader_{Bytes{}};
    std::uint32_t count_ = 0;
    Header current_;
  };

  BatchHeaders() noexcept = default;
  BatchHeaders(Bytes bytes, std::uint32_t count) noexcept : bytes_{bytes}, count_{count} {}
  [[nodiscard]] iterator begin() const noexcept { return {bytes_, count_}; }
  [[nodiscard]] iterator end() const noexcept { return {}; }
  [[nodiscard]] std::uint32_t size() const noexcept { return count_; }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

 private:
  Bytes bytes_;
  std::uint32_t count_ = 0;
};

struct BatchRecord {
  std::int32_t offset_delta = 0;
  std::int64_t timestamp_ms = 0;  ///< that of the append where the batch says so
  Bytes key;
  Bytes value;
  BatchHeaders headers;
  bool has_key = false;
  bool has_value = false;
};

/// Walks the unpacked records of a batch.
class BatchRecords {
 public:
  BatchRecords(const RecordBatchHeader& batch, Bytes unpacked) noexcept : batch_{batch}, reader_{unpacked} {}
  BatchRecords(const RecordBatchView& batch, Bytes unpacked) noexcept : BatchRecords{batch.header(), unpacked} {}

  /// False behind the last record, or at one that makes no sense: failure() tells which. Offsets rise; a batch that was
  /// cleaned has holes.
  bool next(BatchRecord& record) noexcept {
    if (failure_.code != Errc::ok) return false;
    if (seen_ == batch_.record_count) {
      if (!reader_.at_end()) refuse("a record batch has bytes behind its last record");
      return false;
    }
    const auto length = reader_.varint();
    ByteReader body{reader_.bytes(length)};
    if (reader_.failed()) return refuse("a record reaches behind the end of its batch");
    if (!read(body, record)) return false;
    ++seen_;
    return true;
  }

  /// Errc::ok unless a record was refused.
  [[nodiscard]] Failure failure() const noexcept { return failure_; }

 private:
  bool refuse(const char* what) noexcept {
    failure_ = {Errc::corrupt, what};
    return false;
  }

  TOWPATH_HOT bool read(ByteReader& body, BatchRecord& record) noexcept {
    static_cast<void>(body.number<std::int8_t>());  // attributes: Kafka gave no bit away yet
    const auto timestamp_delta = body.varlong();
    const auto offset_delta = body.varint();
    const auto key_size = body.varint();
    record.has_key = key_size != -1;
    record.key = record.has_key ? body.bytes(key_size) : Bytes{};
    const auto value_size = body.varint();
    record.has_value = value_size != -1;
    record.value = record.has_value ? body.bytes(value_size) : Bytes{};
    const auto header_count = body.varint();
    if (body.failed()) return refuse("a record in a batch is cut short or has lengths that contradict each other");
    if (offset_delta < next_offset_ || offset_delta > batch_.last_offset_delta)
      return refuse("the offsets of a batch's records do not rise, or leave the batch");
    if (!read_time(timestamp_delta, record)) return refuse("a record in a batch has a time that does not exist");
    if (!read_headers(body, header_count, record)) return refuse("a record in a batch has headers that make no sense");
    record.offset_delta = offset_delta;
    next_offset_ = std::int64_t{offset_delta} + 1;
    return true;
  }

  bool read_time(std::int64_t delta, BatchRecord& record) const noexcept {
    if (batch_.is_append_time()) return record.timestamp_ms = batch_.max_timestamp_ms, true;
    return !__builtin_add_overflow(batch_.base_timestamp_ms, delta, &record.timestamp_ms);
  }

  static bool read_headers(ByteReader& body, std::int32_t count, BatchRecord& record) noexcept {
    const Bytes bytes{body.position(), body.left()};
    record.headers = {bytes, static_cast<std::uint32_t>(count)};
    if (count == 0) return body.at_end();
    if (count < 0 || static_cast<std::uint64_t>(count) > bytes.size() / 2) return false;  // two lengths at least
    for (std::int32_t i = 0; i < count; ++i) {
      static_cast<void>(body.bytes(body.varint()));
      const auto size = body.varint();
      if (size != -1) static_cast<void>(body.bytes(size));
    }
    return !body.failed() && body.at_end();
  }

  RecordBatchHeader batch_;
  ByteReader reader_;
  std::int64_t next_offset_ = 0;
  std::int32_t seen_ = 0;
  Failure failure_;
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/unpacked_batch.hpp ----

// A Kafka record batch made readable: its records, decompressed, as the native frames (log/frame.hpp) that readers of
// the log know, each value at the alignment that its type needs. This is how consumers see batches.
//   UnpackedBatch batch;                                             // keep it: the next batch takes its memory
//   batch.unpack(bytes, 8, unpack_budget(bytes.size())).value();
//   if (auto frame = batch.frame(offset - base_offset)) view.parse(frame->data, frame->length, 8);
// One thread's. All of it is private memory: nothing in it changes when the log does, and a crash leaves nothing. Bytes
// that change while they are unpacked (a hostile writer) give a wrong record or `corrupt`, never a read outside.

namespace towpath::inline TOWPATH_ABI::log {

/// How many bytes the records of a compressed batch may become: 64 times its size or 64 MiB, whichever is less; but
/// 1 MiB in any case, so that what small, well compressible batches of real clients become is no bomb. The same for
/// every reader at any time, whatever the topic's settings are by then: a producer asks it too.
constexpr std::uint64_t unpack_budget(std::uint64_t batch_bytes) noexcept {
  constexpr std::uint64_t least = 1024 * 1024;
  constexpr std::uint64_t most = 64 * least;
  return std::max(least, batch_bytes < most / 64 ? batch_bytes * 64 : most);
}

class UnpackedBatch {
 public:
  struct Frame {
    const std::byte* data;
    std::uint64_t length;
  };

  /// Takes the place of the batch that was there before. `bytes` are one whole batch and may go afterwards. Values are
  /// aligned to `value_alignment`, a power of two from 8 to 64. A compressed batch that becomes more than
  /// `budget_bytes` is `corrupt`; so is a batch, or a record in it, that contradicts itself. Frames and index take up
  /// to 8 times the budget when the records have almost no bytes (alignment 64: 27 times); that memory is kept.
  /// unsupported_compression; out_of_memory. After an error there is no record.
  Result<void> unpack(Bytes bytes, std::uint64_t value_alignment, std::uint64_t budget_bytes) noexcept {
    clear();
    auto done = replace(bytes, value_alignment, budget_bytes);
    if (!done) clear();
    return done;
  }

  /// The record at that distance from the batch's first offset; nothing where there is none.
  [[nodiscard]] std::optional<Frame> frame(std::int32_t offset_delta) const noexcept {
    const auto all = entries();
    if (all.empty() || offset_delta < 0) return std::nullopt;
    // Offsets rise from 0 or later, so the entry stands at its delta unless there is a hole in front of it.
    auto index = std::min(static_cast<std::size_t>(offset_delta), all.size() - 1);
    if (all[index].offset_delta != offset_delta) {
      const auto found =
          std::lower_bound(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(index), offset_delta,
                           [](const Entry& entry, std::int32_t delta) { return entry.offset_delta < delta; });
      if (found->offset_delta != offset_delta) return std::nullopt;
      index = static_cast<std::size_t>(found - all.begin());
    }
    return Frame{frames_.data() + all[index].position, all[index].length};
  }

  /// What the batch says about itself; all zero or none before the first unpack().
  [[nodiscard]] const RecordBatchHeader& header() const noexcept { return header_; }
  /// How many records there are.
  [[nodiscard]] std::size_t size() const noexcept { return entries().size(); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

  /// Forgets the records, keeps the memory.
  void clear() noexcept {
    frames_.clear(), entries_.clear();
    header_ = {};
  }

 private:
  struct Entry {
    std::uint64_t position;
    std::uint32_t length;
    std::int32_t offset_delta;
  };
  static_assert(sizeof(Entry) == 16 && std::is_trivially_copyable_v<Entry> && std::is_trivially_copyable_v<Header>);

  static Failure no_memory() noexcept { return {Errc::out_of_memory, "no memory to unpack a record batch"}; }

  [[nodiscard]] std::span<const Entry> entries() const noexcept {
    return {reinterpret_cast<const Entry*>(entries_.data()), entries_.size() / sizeof(Entry)};
  }

  Result<void> replace(Bytes bytes, std::uint64_t value_alignment, std::uint64_t budget_bytes) noexcept {
    if (value_alignment < 8 || value_alignment > Buffer::alignment || (value_alignment & (value_alignment - 1)) != 0)
      return Failure{Errc::invalid_argument, "value_alignment is 8, 16, 32 or 64"};
    const auto view = RecordBatchView::parse(bytes);
    if (!view) return view.error();
    header_ = view->header();
    const auto records = unpacked(*view, budget_bytes);
    return records ? transcode(*records, value_alignment) : records.error();
  }

  /// The records as they were before compression.
  Result<Bytes> unpacked(const RecordBatchView& view, std::uint64_t budget_bytes) noexcept {
    if (view.compression() == Compression::none) return view.records();
    const auto codec = find_codec(view.compression());
    if (!codec) return codec.error();
    // Codecs withstand any bytes, but nobody promises it for bytes that change meanwhile.
    const Bytes records = view.records();
    if (!packed_.resize(records.size())) return no_memory();
    detail::put(packed_.data(), records.data(), records.size());
    if (auto done = (*codec)->decompress(packed_.bytes(), unpacked_, budget_bytes); !done) return done.error();
    if (static_cast<std::uint64_t>(header_.record_count) > unpacked_.size() / min_batch_record_bytes)
      return Failure{Errc::corrupt, "a record batch has more records than bytes for them"};
    return unpacked_.bytes();
  }

  Result<void> transcode(Bytes bytes, std::uint64_t alignment) noexcept {
    const auto count = static_cast<std::size_t>(header_.record_count);
    if (!entries_.reserve(count * sizeof(Entry)) || !frames_.reserve(bytes.size() + count * (40 + alignment)))
      return no_memory();
    BatchRecords records{header_, bytes};
    for (BatchRecord record; records.next(record);)
      if (auto done = append(record, alignment); !done) return done;
    return records.failure();
  }

  Result<void> append(const BatchRecord& record, std::uint64_t alignment) noexcept {
    FrameSpec spec;
    spec.value_size = record.value.size();
    spec.has_value = record.has_value;
    spec.has_key = record.has_key;
    spec.key = record.key;
    spec.timestamp = from_kafka_time(record.timestamp_ms);
    spec.producer = ProducerMark{header_.producer_id, header_.base_sequence, header_.producer_epoch}.after(
        static_cast<std::uint64_t>(record.offset_delta));
    if (!record.headers.empty()) {
      const auto headers = collect(record.headers);
      if (!headers) return headers.error();
      spec.headers = *headers;
    }
    const auto layout = FrameLayout::of(spec, alignment);
    if (layout.length > max_record_bytes) return Failure{Errc::corrupt, "a record in a batch is larger than 2 GiB"};
    const std::uint64_t position = align_up(frames_.size(), alignment);
    if (!frames_.resize(position + layout.length)) return no_memory();
    std::byte* const frame = frames_.data() + position;
    write_frame(frame, layout, spec);
    detail::put(frame + layout.value_at, record.value.data(), record.value.size());
    if (header_.is_append_time()) {
      const auto flags = static_cast<std::uint16_t>(layout.flags | frame_append_time);
      std::memcpy(frame + offsetof(FrameHeader, flags), &flags, sizeof flags);
    }
    const Entry entry{position, static_cast<std::uint32_t>(layout.length), record.offset_delta};
    const std::size_t at = entries_.size();
    if (!entries_.resize(at + sizeof entry)) return no_memory();
    std::memcpy(entries_.data() + at, &entry, sizeof entry);
    return {};
  }

  /// The headers as a frame's writer takes them.
  Result<std::span<const Header>> collect(const BatchHeaders& headers) noexcept {
    if (headers.size() > std::numeric_limits<std::uint16_t>::max())
      return Failure{Errc::corrupt, "a record in a batch has more than 65,535 headers"};
    if (!headers_.resize(headers.size() * sizeof(Header))) return no_memory();
    auto* const first = reinterpret_cast<Header*>(headers_.data());
    std::size_t count = 0;
    for (const auto& header : headers) std::construct_at(first + count++, header);
    if (count != headers.size()) return Failure{Errc::corrupt, "a record in a batch has headers that make no sense"};
    return std::span<const Header>{first, count};
  }

  RecordBatchHeader header_;
  Buffer frames_;    // one behind the other, each at a multiple of the alignment
  Buffer entries_;   // an Entry per record
  Buffer packed_;    // the compressed records, out of reach of others
  Buffer unpacked_;  // what the codec made of them
  Buffer headers_;   // Header objects of one record
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/unpacked_records.hpp ----

// A Kafka record batch in the log, found by any of its slots and unpacked.
// Thread-safe; what it makes is private memory. The segment must be pinned meanwhile.

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

// ---- towpath/consume/unpacked_run.hpp ----

// The Kafka record batches among what one poll found, unpacked, so that their records are read like all others.
// A batch that several polls share is unpacked once. One thread's; private memory, gone with its last user.

namespace towpath::inline TOWPATH_ABI::detail {

class UnpackedRun {
 public:
  /// Null when slot `n` belongs to none of these.
  [[nodiscard]] const log::UnpackedRecords* find(const log::Segment& segment, std::uint64_t n) const noexcept {
    for (std::size_t tries = 0; tries < all_.size(); ++tries, last_ = last_ + 1 < all_.size() ? last_ + 1 : 0)
      if (all_[last_]->covers(segment, n)) return all_[last_].get();
    return nullptr;
  }
  void add(log::SharedRecords records) { all_.push_back(std::move(records)); }

 private:
  std::vector<log::SharedRecords> all_;  // in the order of their offsets
  mutable std::size_t last_ = 0;         // where the last question was answered: the next is most often there or behind
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/log/helping.hpp ----

// Helping: whoever is held up by an open slot asks the kernel whether its owner still lives, and aborts the slot if
// not; after the grace it aborts anyway. Liveness only decides how soon; the compare-and-swap on the slot decides
// whether. Where a partition has one writer, whose commit is a store, only the dead lose their slots. protocol.md HELP.

namespace towpath::inline TOWPATH_ABI::log {

/// Does a member's line say that it may touch the slots [from, to) of this segment? Read inflight first, then what
/// belongs to it; both after the tail. Modelled in tests/model (hazard).
inline bool may_touch(const shm::MemberLine& line, const PartitionLog& log, const Segment& segment, std::uint64_t from,
                      std::uint64_t to) noexcept {
  const std::uint64_t word = line.inflight.load(shm::acquire);
  if (word == Inflight::idle) return false;
  const std::uint64_t batch = line.batch.load(shm::acquire);
  return Inflight::touches(word, batch, segment.base, segment.base + from, segment.base + to) &&
         line.uid.load(shm::acquire) == log.uid();
}

/// Could a live member still commit one of the slots [from, to)? Call only after an acquire load of the segment's tail
/// that covers them. Scans the member lines: about 1 us for 100 of them.
inline bool owner_may_live(const PartitionLog& log, const Segment& segment, std::uint64_t from,
                           std::uint64_t to) noexcept {
  auto& members = log.members();
  for (unsigned i = 0; i < members.used(); ++i) {
    const auto dangerous = [&] { return may_touch(members.line(i), log, segment, from, to); };
    if (dangerous() && members.is_alive(i) && dangerous()) return true;
  }
  return false;
}

/// Aborts slot `n` if it is open. True if this call did. Readers go on past it.
inline bool abort_slot(const PartitionLog& log, const Segment& segment, std::uint64_t n) noexcept {
  if (!segment.resolve(n, Slot::aborted_in(segment.uuid))) return false;
  TOWPATH_FAILPOINT("abort.resolved");
  log.state().aborted.fetch_add(1, shm::relaxed);
  log.wake();
  return true;
}

/// Closes the segment after `n` slots unless somebody did. Returns how many it has.
inline std::uint64_t seal_segment(const PartitionLog& log, const Segment& segment, std::uint64_t n) noexcept {
  const std::uint64_t count = segment.seal(n);
  TOWPATH_FAILPOINT("seal.sealed");
  log.wake();
  return count;
}

/// One reader's patience with one stall. Reset it whenever the reader gets on.
class Stall {
 public:
  static constexpr Duration before_asking{std::chrono::microseconds{20}};

  void reset() noexcept { since_ = Monotonic::max(); }
  /// The reader got to `offset`: the stall is over if that is behind where it stood.
  void passed(std::uint64_t offset) noexcept {
    if (offset > at_) reset();
  }
  [[nodiscard]] bool is_running() const noexcept { return since_ != Monotonic::max(); }

  /// Call while slot `n` of a pinned segment is open although it was reserved, or the segment is full and not sealed.
  /// True if something was done and the reader should look again. The grace counts once per stall: every slot that was
  /// reserved when it began goes with it, head first.
  bool help(const PartitionLog& log, const Segment& segment, std::uint64_t n) noexcept {
    const Monotonic now = log.clock().steady();
    std::uint64_t tail = segment.header->tail.load(shm::acquire);
    // Retired under us, which pinned it: what is open below its seal still is, and its count is all there was.
    if (Tail::is_closed(tail)) tail = Tail::make(segment.sealed_count(), 0);
    // A watch that began before this slot was reserved (nothing was open then) says nothing about it.
    if (!is_running() || (n >= reserved_ && Tail::count(tail) > reserved_)) {
      since_ = now;
      at_ = segment.base + n;
      reserved_ = Tail::count(tail);
      return false;
    }
    if (now - since_ < before_asking) return false;
    // One writer: its slots are its own as long as it lives. Nobody else is held up by it.
    const bool expired = !log.format().one_writer &&
                         now - since_ >= Duration{static_cast<std::int64_t>(log.words().grace_ns.load(shm::relaxed))};
    const bool helped = abort_open(log, segment, n, tail, expired ? reserved_ : 0);
    if (helped) reset();
    return helped;
  }

 private:
  /// Slots below `expired` are aborted whoever owns them, the others if their owner is dead.
  static bool abort_open(const PartitionLog& log, const Segment& segment, std::uint64_t n, std::uint64_t tail,
                         std::uint64_t expired) noexcept {
    const std::uint64_t sealed = segment.sealed_count();
    const std::uint64_t end = sealed != 0 ? sealed : std::min(Tail::count(tail), segment.slot_count);
    if (n >= end) {  // nothing reserved is open: the crosser died before sealing
      const bool full = Tail::bytes(tail) > segment.capacity || Tail::count(tail) > segment.slot_limit;
      if (sealed != 0 || !full) return false;
      seal_segment(log, segment, Tail::count(tail));
      return true;
    }
    bool helped = false;
    // Asked once for all: a dead owner's batch may have thousands of slots. Upwards only: the head of a batch goes
    // first.
    const bool has_owner = owner_may_live(log, segment, n, end);
    for (std::uint64_t i = n; i < end; ++i) {
      if (Slot::state(segment.slots[i].load(shm::acquire)) != Slot::empty) continue;
      if (has_owner && i >= expired && owner_may_live(log, segment, i, i + 1)) break;
      helped = abort_slot(log, segment, i) || helped;
    }
    return helped;
  }

  Monotonic since_ = Monotonic::max();
  std::uint64_t at_ = 0;        // the offset that is open
  std::uint64_t reserved_ = 0;  // how many slots were reserved when it began
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/pin.hpp ----

// A pin keeps a segment from being recycled while somebody reads it (protocol.md ATTACH): a byte lock in the topic's
// pins file. One descriptor per Consumer, which belongs to one thread, as do the references here. After a crash the
// kernel drops the locks: what was pinned may be recycled at once.

namespace towpath::inline TOWPATH_ABI::log {

class PinnedSegment;

/// One consumer's descriptor of a topic's pins file, and what it pins: locks of one descriptor do not count twice.
/// It lives as long as anything that was read through it, and so does the topic's name.
struct Pins {
  shm::LockDescriptor file;
  std::vector<PinnedSegment*> held;
  std::string topic;
};

/// A segment that its holders may read in place. Counted by hand: a Consumer and its batches live in one thread.
class PinnedSegment {
 public:
  PinnedSegment(Segment segment, std::shared_ptr<Pins> pins, std::uint64_t byte)
      : segment_{std::move(segment)}, pins_{std::move(pins)}, byte_{byte} {
    pins_->held.push_back(this);
  }
  ~PinnedSegment() {
    std::erase(pins_->held, this);
    if (pins_->file.is_mine()) shm::unlock(pins_->file.get(), byte_);  // in a child the number may be another file's
  }
  PinnedSegment(const PinnedSegment&) = delete;
  PinnedSegment& operator=(const PinnedSegment&) = delete;

  [[nodiscard]] std::uint64_t byte() const noexcept { return byte_; }

 private:
  friend class PinRef;
  Segment segment_;
  std::shared_ptr<Pins> pins_;
  std::uint64_t byte_;
  std::uint32_t uses_ = 0;
};

/// A counted reference to a PinnedSegment, for one thread.
class PinRef {
 public:
  PinRef() noexcept = default;
  explicit PinRef(PinnedSegment* pinned) noexcept : pinned_{pinned} { add(); }
  TOWPATH_HOT PinRef(const PinRef& other) noexcept : pinned_{other.pinned_} { add(); }
  TOWPATH_HOT PinRef(PinRef&& other) noexcept : pinned_{std::exchange(other.pinned_, nullptr)} {}
  TOWPATH_HOT PinRef& operator=(const PinRef& other) noexcept {
    if (pinned_ == other.pinned_) return *this;
    drop();
    pinned_ = other.pinned_;
    add();
    return *this;
  }
  TOWPATH_HOT PinRef& operator=(PinRef&& other) noexcept {
    PinnedSegment* const taken = std::exchange(other.pinned_, nullptr);
    drop();
    pinned_ = taken;
    return *this;
  }
  TOWPATH_HOT ~PinRef() { drop(); }

  explicit operator bool() const noexcept { return pinned_ != nullptr; }
  const Segment& operator*() const noexcept { return pinned_->segment_; }
  const Segment* operator->() const noexcept { return &pinned_->segment_; }
  /// The name of the topic that the segment belongs to.
  [[nodiscard]] const std::string& topic() const noexcept { return pinned_->pins_->topic; }

 private:
  TOWPATH_HOT void add() noexcept {
    if (pinned_) ++pinned_->uses_;
  }
  TOWPATH_HOT void drop() noexcept {
    if (pinned_ && --pinned_->uses_ == 0) unpin();
  }
  TOWPATH_COLD void unpin() noexcept { delete pinned_; }

  PinnedSegment* pinned_ = nullptr;
};

/// ATTACH: the segment at `base`, pinned for the holder of `pins` until the last reference goes.
/// Errors: not_found (retired, or not made yet), and those of locking and mapping.
inline Result<PinRef> pin_segment(const PartitionLog& log, const std::shared_ptr<Pins>& pins, std::uint64_t base) {
  const std::uint64_t byte = log.pin_byte(base);
  for (auto* held : pins->held)
    if (held->byte() == byte) return PinRef{held};
  if (const auto locked = shm::try_lock(pins->file.get(), byte, shm::LockKind::read); !locked) return locked.error();
  TOWPATH_FAILPOINT("attach.pinned");
  auto segment = log.open(base, log.may_help() ? Use::help : Use::look);
  // Pin, open, then look: pairs with R1 before R5, and sees through a retired name that a slow maker put back.
  const bool retired = segment && log.state().log_start.load(shm::seq_cst) > base;
  if (retired) segment = Failure{Errc::not_found, "retired"};
  if (segment) return PinRef{new PinnedSegment{std::move(*segment), pins, byte}};
  shm::unlock(pins->file.get(), byte);
  return segment.error();
}

/// Segments that random seeks keep pinned, by base: a seek to a sealed one asks nobody and looks into no header.
class RecentSegments {
 public:
  static constexpr std::size_t max_size = 64;
  static constexpr std::uint64_t open_end = ~std::uint64_t{0};

  struct Recent {
    std::uint64_t base;
    std::uint64_t end;  ///< the offset behind its last; open_end while it is not sealed
    std::uint64_t used;
    PinRef pin;
  };

  /// The one with the offset; nullptr if it is not among these. May be wrong about one whose end is open.
  [[nodiscard]] const Recent* find(std::uint64_t offset) noexcept {
    const auto above = lower_bound(offset + 1);
    if (above == all_.begin()) return nullptr;
    Recent& found = *std::prev(above);
    found.used = ++tick_;
    return offset < found.end ? &found : nullptr;
  }

  /// Keeps a segment, in place of the one that was not asked for for longest.
  void keep(const PinRef& pin, std::uint64_t end) {
    const std::uint64_t base = pin->base;
    auto at = lower_bound(base);
    if (at != all_.end() && at->base == base) return void(at->end = end);
    if (all_.size() >= max_size) {
      all_.erase(std::min_element(all_.begin(), all_.end(), [](auto& a, auto& b) { return a.used < b.used; }));
      at = lower_bound(base);
    }
    all_.insert(at, {base, end, ++tick_, pin});
  }

  /// Lets go of those that begin below `start`. True if there were any.
  bool drop_below(std::uint64_t start) {
    const auto first_kept = lower_bound(start);
    if (first_kept == all_.begin()) return false;
    all_.erase(all_.begin(), first_kept);
    return true;
  }
  void clear() noexcept { all_.clear(); }
  [[nodiscard]] bool empty() const noexcept { return all_.empty(); }

 private:
  std::vector<Recent>::iterator lower_bound(std::uint64_t base) noexcept {
    return std::lower_bound(all_.begin(), all_.end(), base, [](const Recent& r, auto b) { return r.base < b; });
  }

  std::vector<Recent> all_;
  std::uint64_t tick_ = 0;
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/reader.hpp ----

// A Reader walks one partition (protocol.md READ). It belongs to one thread. It pins each segment that it may look
// into. Nothing here blocks: collect() says why there is nothing, and help() does something about a stall. After a
// crash the kernel drops its pins, and nothing else is left.

namespace towpath::inline TOWPATH_ABI::log {

/// What becomes of a record that a reader found.
enum class Verdict {
  take,    ///< it is one of the run
  skip,    ///< its offset holds nothing for this reader
  refuse,  ///< the run ends before it
};

/// Slots [first, last) of a pinned segment, all resolved; `count` of them were taken.
struct Run {
  Run() noexcept = default;
  Run(Run&& other) noexcept
      : segment{std::move(other.segment)},
        first{std::exchange(other.first, 0)},
        last{std::exchange(other.last, 0)},
        count{std::exchange(other.count, 0)},
        begins_inside{other.begins_inside} {}
  Run& operator=(Run&& other) noexcept {
    segment = std::move(other.segment);
    first = std::exchange(other.first, 0), last = std::exchange(other.last, 0);
    count = std::exchange(other.count, 0), begins_inside = other.begins_inside;
    return *this;
  }

  PinRef segment;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::uint64_t count = 0;
  bool begins_inside = false;  ///< slot `first` continues a committed batch
};

enum class Progress {
  records,       ///< the run holds at least one committed record
  idle,          ///< at the end of the log
  blocked,       ///< a slot ahead is reserved but open: help() may get on
  out_of_range,  ///< the position is below the log's begin, or past the end
  refused,       ///< the record at the position was not accepted; the position stays
  failed,        ///< a segment cannot be opened: failure() says why
};

class Reader {
 public:
  /// `pins` is shared by the readers of one Consumer in one topic.
  Reader(const PartitionLog& log, std::shared_ptr<Pins> pins) noexcept : log_{&log}, pins_{std::move(pins)} {}

  [[nodiscard]] const PartitionLog& log() const noexcept { return *log_; }
  /// The offset after the last record that was collected, or what was sought.
  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
  /// The offset that is looked at next: after refused and failed the one that is in the way.
  [[nodiscard]] std::uint64_t cursor() const noexcept { return cursor_; }
  [[nodiscard]] Failure failure() const noexcept { return failure_; }

  /// Goes to an offset; the next collect() finds its segment.
  void seek(std::uint64_t offset) noexcept {
    if (offset != position_) stall_.reset();
    position_ = cursor_ = offset;
    settled_ = false;
  }

  /// Up to `max` committed records from the position on, in one segment. Asks `accept(slot, n, segment)` for a Verdict
  /// on each and ends before the first that it refuses. The position moves behind the last one.
  template <class Accept>
  TOWPATH_HOT Progress collect(Run& run, std::uint64_t max, Accept&& accept) {
    for (;;) {
      // Pairs with delete_records(): a poll that begins after it returns nothing that it deleted.
      if (std::max(cursor_, position_) < log_->state().deleted_to.load(shm::acquire)) [[unlikely]]
        settled_ = false;
      if (!settled_) [[unlikely]]
        if (const auto at = settle(); at != Progress::records) return at;
      const Segment& segment = *current_;
      if (cursor_ < position_ && !catch_up(segment)) [[unlikely]] {
        if (const auto at = at_the_end(segment, cursor_ - segment.base); at != Progress::records) return at;
        continue;
      }
      const std::uint64_t first = cursor_ - segment.base;
      const bool begins_inside = is_inside_;
      const Walk walk = step(segment, first, begins_inside, max, accept);
      if (walk.n > first) stall_.passed(segment.base + walk.n), is_inside_ = walk.inside;
      // Aborted slots at the end may lie behind the seal: the cursor passes them, the position does not.
      cursor_ = segment.base + walk.n;
      if (walk.count > 0) {
        position_ = segment.base + walk.behind;
        if (walk.refused) cursor_ = position_, is_inside_ = true;  // behind one that was taken
        run.segment = current_, run.first = first, run.last = walk.behind, run.count = walk.count;
        run.begins_inside = begins_inside;
        return Progress::records;
      }
      if (walk.refused) return Progress::refused;
      if (const auto at = at_the_end(segment, walk.n); at != Progress::records) return at;
    }
  }

  /// A glance at the next slot alone, for those who look again and again: the tail's line belongs to the producers.
  /// False also when only collect() can tell.
  [[nodiscard]] TOWPATH_HOT bool is_quiet() const noexcept {
    if (!settled_) [[unlikely]]
      return log_->state().live_bytes.load(shm::acquire) == 0;  // never written: nothing to look closer at
    const std::uint64_t n = cursor_ - current_->base;
    return n < current_->slot_count && current_->slots[n].load(shm::acquire) == Slot::empty;
  }

  /// After blocked: asks whether the owner lives and aborts what holds the log up. True: look again at once.
  bool help() noexcept {
    if (!log_->may_help() || !settled_ || !current_->helpful) return false;
    return stall_.help(*log_, *current_, cursor_ - current_->base);
  }

  /// Is there something at the position? With seq_cst, for the recheck between announcing sleep and sleeping: pairs
  /// with the commit, the seal, the raised hint and the first segment's live_bytes.
  [[nodiscard]] bool has_something() const noexcept {
    if (!settled_) return log_->state().live_bytes.load(shm::seq_cst) != 0;
    const std::uint64_t n = cursor_ - current_->base;
    if (n < current_->slot_count && current_->slots[n].load(shm::seq_cst) != Slot::empty) return true;
    const std::uint64_t sealed = current_->header->sealed.load(shm::seq_cst);
    return sealed != 0 && n + 1 >= sealed && log_->state().hint.load(shm::seq_cst) > current_->base;
  }

  /// The offset after the last record below which everything is resolved; raises the shared word. Moves the position.
  /// Walks slots from the word on: short while maintenance runs or a consumer keeps up. Ends early once it is at
  /// `limit`. Errors: those of opening a segment.
  Result<Offset> find_end(std::uint64_t limit = ~std::uint64_t{0}) {
    Run run;
    seek(std::max(log_->state().resolved_to.load(shm::acquire), log_->begin()));
    while (position_ < limit) {
      const auto at = collect(run, ~std::uint64_t{0}, [](auto&&...) { return Verdict::take; });
      run = Run{};
      if (at == Progress::failed) return failure_;
      if (at == Progress::out_of_range) {
        const std::uint64_t start = log_->begin();
        if (position_ == start) return Failure{Errc::corrupt, "a log begins behind its end"};
        seek(start);
      }
      if (at == Progress::idle || at == Progress::blocked) break;
    }
    // Pairs with the acquire above: who begins here finds what this walk found.
    if (log_->may_help()) log_->state().resolved_to.raise_to(position_, shm::release);
    return Offset{static_cast<std::int64_t>(position_)};
  }

  /// Lets go of every segment; the next collect() finds its own again.
  void park() noexcept {
    cursor_ = position_;
    settled_ = false;
    become({}, 0);
    recent_.clear();
  }

 private:
  /// How far one look has come in a segment.
  struct Walk {
    std::uint64_t n;
    std::uint64_t behind;  // the last one that was taken
    std::uint64_t count;
    bool inside;
    bool refused;
  };

  /// From slot n on to the first that is open or refused, or until there are `max`.
  template <class Accept>
  TOWPATH_HOT static Walk step(const Segment& segment, std::uint64_t n, bool inside, std::uint64_t max,
                               Accept&& accept) {
    std::uint64_t behind = n, count = 0;  // not in a Walk, which would be kept in memory across accept()
    for (; n < segment.slot_count && count < max; ++n) {
      const std::uint64_t slot = segment.slots[n].load(shm::acquire);  // pairs with the commit's compare-and-swap
      if (slot == Slot::empty) break;
      if (Slot::state(slot) != Slot::continued) [[likely]]
        inside = Slot::state(slot) == Slot::committed;
      if (!inside) continue;  // aborted, or of a batch that was
      const Verdict verdict = accept(slot, n, segment);
      if (verdict == Verdict::refuse) [[unlikely]]
        return {n, behind, count, inside, true};
      if (verdict == Verdict::take) [[likely]]
        ++count, behind = n + 1;
    }
    return {n, behind, count, inside, false};
  }

  /// What was sought may lie in a batch, even in one that is not written yet: only its first slot says what becomes of
  /// it. So the cursor goes back to a slot that is decided for good, and from there on upwards like any reader; who
  /// stood and helped in the middle would give up what is committed later (tests/model, HELP_WHERE_IT_STANDS).
  TOWPATH_COLD void look_back(const Segment& segment) noexcept {
    std::uint64_t n = cursor_ - segment.base;
    if (n >= segment.slot_count) return;
    const auto is_decided = [&] {
      const auto state = Slot::state(segment.slots[n].load(shm::relaxed));  // read again, with acquire, on the way up
      return state == Slot::committed || state == Slot::aborted;
    };
    while (n > 0 && !is_decided()) --n;
    cursor_ = segment.base + n;
  }

  /// Up to the position, which look_back() left. False: a slot on the way is open.
  TOWPATH_COLD bool catch_up(const Segment& segment) noexcept {
    const std::uint64_t before = cursor_;
    for (; cursor_ < position_; ++cursor_) {
      const std::uint64_t slot = segment.slots[cursor_ - segment.base].load(shm::acquire);  // pairs as in step()
      if (slot == Slot::empty) break;
      if (Slot::state(slot) != Slot::continued) is_inside_ = Slot::state(slot) == Slot::committed;
    }
    if (cursor_ > before) stall_.passed(cursor_);
    return cursor_ == position_;
  }

  /// Slot n is empty, or there is none. Sealed there: on to the next segment. Else tells idle from blocked.
  TOWPATH_HOT Progress at_the_end(const Segment& segment, std::uint64_t n) {
    const std::uint64_t sealed = segment.header->sealed.load(shm::acquire);
    if (sealed != 0 && n + 1 >= sealed)
      return sealed > 1 ? advance(segment.base + sealed - 1) : fail({Errc::corrupt, "a segment sealed without a slot"});
    const std::uint64_t tail = segment.header->tail.load(shm::acquire);
    const bool open = sealed != 0 || Tail::count(tail) > n || Tail::bytes(tail) > segment.capacity;
    if (!recent_.empty()) [[unlikely]]
      if (drop_retired()) forget_gone_segments();
    return open ? Progress::blocked : Progress::idle;
  }

  /// On to the segment that begins at `base`; the one before is let go at once, so that it can be recycled.
  TOWPATH_COLD Progress advance(std::uint64_t base) {
    if (log_->state().hint.load(shm::acquire) < base)  // sealed, the next is not there yet
      return position_ > base ? Progress::out_of_range : Progress::idle;
    const auto at = attach(base);
    if (at != Progress::records) return at;
    position_ = cursor_ = std::max(position_, base);
    // Pairs with the acquire of find_end(): all below was passed, from where somebody else had come to.
    if (is_contiguous_ && log_->may_help()) log_->state().resolved_to.raise_to(base, shm::release);
    stall_.reset();
    is_inside_ = false;
    settled_ = position_ == base;  // else it was sought behind the seal: find its place anew
    drop_retired();
    forget_gone_segments();
    return at;
  }

  Progress attach(std::uint64_t base) {
    // Before the look for the file, and the start after it: the file stands from before the hint passes it until after
    // the start did. Pairs with the roll's raise.
    const bool was_made = log_->was_made(base);
    auto pinned = pin_segment(*log_, pins_, base);
    if (pinned) {
      become(std::move(*pinned), 0);
      return Progress::records;
    }
    TOWPATH_FAILPOINT("attach.not_found");
    if (pinned.error() != Errc::not_found) return fail(pinned.error());
    const std::uint64_t start = log_->state().log_start.load(shm::seq_cst);
    if (start > position_) return Progress::out_of_range;
    if (start > base || log_->is_deleted() || !was_made) return Progress::idle;
    return fail(log_->damaged());
  }

  Progress fail(const Failure& failure) noexcept {
    failure_ = failure;
    return Progress::failed;
  }

  /// Finds the segment that holds the position.
  TOWPATH_COLD Progress settle() {
    if (position_ < log_->begin()) return Progress::out_of_range;
    if (current_ && !holds_position()) keep_recent();
    if (!current_) find_recent();
    if (!current_) {
      const auto at = find_segment();
      // No segment at hint: an empty log, and what was sought lies behind its end.
      if (at == Progress::idle && position_ > log_->state().hint.load(shm::acquire)) return Progress::out_of_range;
      if (at != Progress::records) return at;
    }
    if (end_ == 0 && position_ - current_->base > Tail::count(current_->header->tail.load(shm::acquire)) &&
        current_->sealed_count() == 0)
      return Progress::out_of_range;  // past the end
    is_inside_ = false;
    is_contiguous_ = position_ <= log_->state().resolved_to.load(shm::acquire);
    look_back(*current_);
    settled_ = true;
    return Progress::records;
  }

  [[nodiscard]] bool holds_position() noexcept {
    if (end_ == 0)
      if (const std::uint64_t count = current_->sealed_count(); count != 0) end_ = current_->base + count;
    const std::uint64_t end = end_ != 0 ? end_ : current_->base + current_->slot_count + 1;
    return position_ >= current_->base && position_ < end;
  }

  void find_recent() {
    const auto* recent = recent_.find(position_);
    if (!recent) return;
    become(recent->pin, recent->end == RecentSegments::open_end ? 0 : recent->end);
    if (!holds_position()) become({}, 0);
  }

  void become(PinRef segment, std::uint64_t end) noexcept {
    current_ = std::move(segment);
    end_ = end;
  }

  Progress find_segment() {
    Progress at = Progress::idle;
    for (const bool fresh : {false, true}) {                                   // first by the list we have
      if (fresh && position_ >= log_->state().hint.load(shm::acquire)) break;  // the list says nothing about that one
      if (fresh || bases_.empty())
        if (auto listed = list(); !listed) return fail(listed.error());
      const auto base = base_of(position_);
      if (!base && fresh) at = before_the_first();
      if (!base) continue;
      at = attach(*base);
      if (at == Progress::failed || at == Progress::out_of_range) return at;
      if (at == Progress::records && (holds_position() || *base == log_->state().hint.load(shm::acquire))) return at;
    }
    return at;
  }

  /// No file holds the position, which lies before hint: retired meanwhile, or missing.
  Progress before_the_first() noexcept {
    if (log_->state().log_start.load(shm::seq_cst) > position_) return Progress::out_of_range;
    return log_->is_deleted() ? Progress::idle : fail({Errc::corrupt, "the log's first segment is missing"});
  }

  /// Notes which segments there are, unless the position is in the last one. Errors: those of listing a folder.
  Result<void> list() {
    if (position_ >= log_->state().hint.load(shm::acquire)) return {};
    auto found = log_->bases();
    if (!found) return found.error();
    bases_ = std::move(*found);
    return {};
  }

  /// The largest known base at or below the offset.
  [[nodiscard]] std::optional<std::uint64_t> base_of(std::uint64_t offset) const {
    const std::uint64_t hint = log_->state().hint.load(shm::acquire);
    if (offset >= hint) return hint;
    const auto above = std::upper_bound(bases_.begin(), bases_.end(), offset);
    if (above == bases_.begin()) return std::nullopt;
    return *std::prev(above);
  }

  /// A sequential reader keeps none beside the current one; who seeks to and fro keeps some.
  void keep_recent() {
    drop_retired();
    recent_.keep(current_, end_ != 0 ? end_ : RecentSegments::open_end);
    become({}, 0);
  }

  bool drop_retired() { return recent_.drop_below(log_->state().log_start.load(shm::acquire)); }

  const PartitionLog* log_;
  std::shared_ptr<Pins> pins_;
  std::uint64_t position_ = 0;  // what the user sees
  std::uint64_t cursor_ =
      0;                  // the next slot to look at; ahead of the position by aborted slots; behind it after a seek
  bool settled_ = false;  // current_ holds the cursor's slot
  bool is_contiguous_ = false;  // all below the position is resolved
  bool is_inside_ = false;      // the slot before the cursor is of a committed record or batch
  PinRef current_;
  std::uint64_t end_ = 0;  // the offset behind current_'s last, once it is known to be sealed
  Stall stall_;
  Failure failure_;
  RecentSegments recent_;
  std::vector<std::uint64_t> bases_;
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/serde/schema.hpp ----

// A Schema is what a topic remembers of its value type, so that two processes that disagree find out when they open it.

namespace towpath::inline TOWPATH_ABI {

struct Schema {
  std::string_view name;        ///< of the type, as the compiler spells it
  std::string_view encoding;    ///< "zero-copy", "string", "integer", "bytes" or what a Serde says of itself
  std::uint64_t size = 0;       ///< bytes, 0 when it varies
  std::uint64_t alignment = 1;  ///< is_alignment()
};

/// What every value in a log is aligned to at least.
inline constexpr std::uint64_t least_value_alignment = 8;

/// What values can be aligned to: 1, 2, 4, ... 64.
constexpr bool is_alignment(std::uint64_t bytes) noexcept {
  return bytes >= 1 && bytes <= 64 && (bytes & (bytes - 1)) == 0;
}

/// What schemas call a type. Specialize it when two compilers spell yours differently.
template <class T>
constexpr std::string_view type_name() noexcept {
  constexpr std::string_view function =
      __PRETTY_FUNCTION__;  // "... type_name() [with T = robot::Scan; ...]" or "[T = robot::Scan]"
  constexpr auto begin = function.find("T = ") + 4;
  constexpr auto end = function.find_first_of(";]", begin);
  return function.substr(begin, end - begin);
}

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/serde/serde.hpp ----

// How values become bytes in the log and bytes become values again.
// A trivially copyable type needs nothing: it is stored as it is and read in place (ZeroCopy). std::string, Bytes and
// integers are built in. For anything else specialize Serde (all three functions; encode writes straight into the log):
//   template <> struct towpath::Serde<Plan> {
//     static std::size_t size(const Plan&);                        // exact
//     static void encode(const Plan&, std::span<std::byte> out);   // out.size() == size(plan)
//     static towpath::Result<Plan> decode(towpath::Bytes);         // undecodable if it is none
//   };
// or pass another one as second argument: Topic<Plan, JsonSerde<Plan>> (adapters/json.hpp, msgpack.hpp, cbor.hpp).
// decode() sees the log itself: a hostile process with write rights may change the bytes meanwhile. Where a check must
// hold for what is used (lengths, nesting), copy first.
// Beware: a struct with pointers in it is trivially copyable too, and its pointers mean nothing in another process.

namespace towpath::inline TOWPATH_ABI {

namespace detail {

template <class T>
inline constexpr bool is_view = false;
template <class C, class Traits>
inline constexpr bool is_view<std::basic_string_view<C, Traits>> = true;
template <class T, std::size_t N>
inline constexpr bool is_view<std::span<T, N>> = true;

}  // namespace detail

/// Types that are stored as they are.
template <class T>
concept ZeroCopy = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && !detail::is_view<T> && alignof(T) <= 64;

template <class T>
struct Serde {
  static_assert(
      !std::is_pointer_v<T> && !detail::is_view<T>,
      "this value type has a pointer: it means nothing in another process; use std::string or towpath::Bytes");
  static_assert(std::is_trivially_copyable_v<T>,
                "this value type is not trivially copyable: specialize towpath::Serde for it");
  static_assert(alignof(T) <= 64, "records are aligned to 64 bytes at most");

  using View = const T&;
  static constexpr std::string_view encoding = "zero-copy";
  static constexpr std::size_t alignment = alignof(T);
  static constexpr std::size_t fixed_size = sizeof(T);

  static constexpr std::size_t size(const T&) noexcept { return sizeof(T); }
  static void encode(const T& value, std::span<std::byte> out) noexcept { std::memcpy(out.data(), &value, sizeof(T)); }
  static bool accepts(Bytes bytes) noexcept {
    return bytes.size() == sizeof(T) && reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(T) == 0;
  }
  /// In place. Bytes that a hostile writer changed after accepts() are seen as zeroes, never outside the record.
  static View view(Bytes bytes) noexcept {
    // Not const, and used so that no compiler makes it const: it takes no room in the program's file.
    [[gnu::used]] alignas(T) static std::byte zeroes[sizeof(T)];
    return *reinterpret_cast<const T*>(accepts(bytes) ? bytes.data() : zeroes);
  }
};

template <>
struct Serde<std::string> {
  using View = std::string_view;  ///< into the log; copy it to keep it longer than the Batch
  static constexpr std::string_view encoding = "string";
  static std::size_t size(std::string_view value) noexcept { return value.size(); }
  static void encode(std::string_view value, std::span<std::byte> out) noexcept {
    if (!value.empty()) std::memcpy(out.data(), value.data(), value.size());
  }
  static bool accepts(Bytes) noexcept { return true; }
  static View view(Bytes bytes) noexcept { return bytes.text(); }
};

template <>
struct Serde<Bytes> {
  using View = Bytes;
  static constexpr std::string_view encoding = "bytes";
  static std::size_t size(Bytes value) noexcept { return value.size(); }
  static void encode(Bytes value, std::span<std::byte> out) noexcept {
    if (!value.empty()) std::memcpy(out.data(), value.data(), value.size());
  }
  static bool accepts(Bytes) noexcept { return true; }
  static View view(Bytes bytes) noexcept { return bytes; }
};

namespace detail {

/// Big-endian, as Kafka's ShortSerializer, IntegerSerializer and LongSerializer have it.
template <std::integral T>
constexpr std::array<std::byte, sizeof(T)> big_endian(T value) noexcept {
  std::array<std::byte, sizeof(T)> bytes{};
  auto bits = static_cast<std::make_unsigned_t<T>>(value);
  for (std::size_t i = sizeof(T); i-- > 0;) {
    bytes[i] = static_cast<std::byte>(bits & 0xFFu);
    if constexpr (sizeof(T) > 1) bits = static_cast<std::make_unsigned_t<T>>(bits >> 8);
  }
  return bytes;
}

template <std::integral T>
constexpr T from_big_endian(const std::byte* at) noexcept {
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) bits = bits << 8 | std::to_integer<std::uint64_t>(at[i]);
  return static_cast<T>(bits);
}

}  // namespace detail

/// Integers of 2, 4 and 8 bytes, in Kafka's byte order.
template <std::integral T>
  requires(sizeof(T) > 1 && !std::same_as<T, bool>)
struct Serde<T> {
  using View = T;
  static constexpr std::string_view encoding = "integer";
  static constexpr std::size_t fixed_size = sizeof(T);
  static constexpr std::size_t size(T) noexcept { return sizeof(T); }
  static void encode(T value, std::span<std::byte> out) noexcept {
    const auto bytes = detail::big_endian(value);
    std::memcpy(out.data(), bytes.data(), sizeof(T));
  }
  static bool accepts(Bytes bytes) noexcept { return bytes.size() == sizeof(T); }
  static View view(Bytes bytes) noexcept { return accepts(bytes) ? detail::from_big_endian<T>(bytes.data()) : T{}; }
};

/// Read in place: view() makes nothing and cannot fail once accepts() said yes.
template <class S, class T>
concept InPlaceSerde = requires(const T& value, std::span<std::byte> out, Bytes bytes) {
  typename S::View;
  { S::size(value) } -> std::convertible_to<std::size_t>;  // exact: room is reserved before encode
  S::encode(value, out);                                   // straight into the log
  { S::accepts(bytes) } -> std::same_as<bool>;             // poll ends before bytes that are refused
  { S::view(bytes) } -> std::same_as<typename S::View>;
};

/// Decoded into a value of its own, which may fail.
template <class S, class T>
concept DecodingSerde = requires(const T& value, std::span<std::byte> out, Bytes bytes) {
  { S::size(value) } -> std::convertible_to<std::size_t>;
  S::encode(value, out);
  { S::decode(bytes) } -> std::same_as<Result<T>>;
};

/// Knows the size only when all is written, or refuses some values: send() asks prepare() once, in place of size() and
/// encode(), and returns its failure with nothing appended.
template <class S, class T>
concept PreparingSerde = requires(const T& value) {
  { S::prepare(value)->bytes() } -> std::same_as<Bytes>;  // valid while what prepare() returned is
  { S::prepare(value).error() } -> std::same_as<Failure>;
};

/// Says at compile time what its values are to be aligned to.
template <class S>
concept AlignedSerde = requires {
  typename std::integral_constant<std::uint64_t, S::alignment>;
};

template <class S, class T>
concept SerdeFor = InPlaceSerde<S, T> || DecodingSerde<S, T>;

static_assert(InPlaceSerde<Serde<double>, double> && InPlaceSerde<Serde<std::string>, std::string>);
static_assert(InPlaceSerde<Serde<Bytes>, Bytes> && InPlaceSerde<Serde<std::int64_t>, std::int64_t>);

/// What a topic remembers of values of T in the encoding S.
template <class T, class S>
constexpr Schema schema_of() noexcept {
  Schema schema{type_name<T>(), "custom", 0, 1};
  if constexpr (requires { S::encoding; }) schema.encoding = S::encoding;
  if constexpr (requires { S::fixed_size; }) schema.size = S::fixed_size;
  if constexpr (AlignedSerde<S>)
    static_assert(is_alignment(S::alignment), "a serde's alignment is a power of two, 64 at most");
  if constexpr (requires { S::alignment; }) schema.alignment = S::alignment;
  if constexpr (std::same_as<T, std::string>) schema.name = "string";
  if constexpr (std::same_as<T, Bytes>) schema.name = "bytes";
  return schema;
}

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/consume/acceptance.hpp ----

// Whether a record may be given to the user: its bytes are whole, and they are a value of his type.
// One thread; it looks into pinned segments only and trusts nothing that stands there.

namespace towpath::inline TOWPATH_ABI::detail {

/// The values of a serde that decodes, in the order of their records; none for a tombstone.
template <class T, class S>
struct Decoded {
  std::vector<std::optional<T>> values;
};
/// A serde that reads in place needs none.
template <class T, InPlaceSerde<T> S>
struct Decoded<T, S> {};

/// Asked of each committed slot in turn, until it refuses one.
template <class T, class S>
class Acceptance {
 public:
  /// What is unpacked goes to `unpacked`, which is made when it is needed; `last` is the latest of an earlier poll.
  TOWPATH_HOT Acceptance(Decoded<T, S>& decoded, std::unique_ptr<UnpackedRun>& unpacked, log::SharedRecords& last,
                         const log::PartitionLog& log, bool check_crcs) noexcept
      : decoded_{&decoded}, unpacked_{&unpacked}, last_{&last}, log_{&log}, check_crcs_{check_crcs} {}

  /// May slot `n` be delivered? Keeps the value that it was decoded to.
  TOWPATH_HOT log::Verdict operator()(std::uint64_t slot, std::uint64_t n, const log::Segment& segment) {
    log::FrameView view;
    const std::byte* frame = segment.data + log::Slot::position(slot);
    if (!segment.contains(slot)) [[unlikely]]
      return refuse(damaged());
    if (!view.parse(frame, log::Slot::length(slot), log_->format().value_alignment)) [[unlikely]]
      return log::BatchFrame::is_one(frame) ? judge_packed(n, segment) : refuse(damaged());
    if (segment.checksummed && check_crcs_ && is_damaged(frame, slot, n, segment, view)) [[unlikely]]
      return refuse(damaged());
    return judge(view);
  }

  /// Why it refused.
  [[nodiscard]] const Failure& refusal() const noexcept { return refusal_; }

 private:
  static Failure damaged() noexcept { return {Errc::corrupt, "the record's bytes are damaged; seek past them"}; }

  static bool is_damaged(const std::byte* frame, std::uint64_t slot, std::uint64_t n, const log::Segment& segment,
                         const log::FrameView& view) noexcept {
    return log::frame_checksum(frame, log::Slot::length(slot), segment.uuid, segment.base + n) != view.header.crc32c;
  }

  TOWPATH_COLD log::Verdict refuse(const Failure& why) noexcept {
    refusal_ = why;
    return log::Verdict::refuse;
  }

  /// Slot `n` is of a Kafka record batch.
  TOWPATH_COLD log::Verdict judge_packed(std::uint64_t n, const log::Segment& segment) {
    if (!*unpacked_) *unpacked_ = std::make_unique<UnpackedRun>();
    const auto* records = (*unpacked_)->find(segment, n);
    if (!records) {
      if (!*last_ || !(*last_)->covers(segment, n)) {
        auto unpacked = log::unpack_records(segment, n, *log_, check_crcs_);
        if (!unpacked) return refuse(unpacked.error());
        *last_ = std::move(*unpacked);
      }
      records = last_->get();
      (*unpacked_)->add(*last_);
    }
    const auto frame = records->batch.frame(static_cast<std::int32_t>(n - records->head));
    if (!frame || records->batch.header().is_control()) return log::Verdict::skip;  // compacted away; Kafka's own
    log::FrameView view;
    if (!view.parse(frame->data, frame->length, log_->format().value_alignment)) return refuse(damaged());
    return judge(view);
  }

  TOWPATH_HOT log::Verdict judge(const log::FrameView& view) {
    if constexpr (InPlaceSerde<S, T>)
      return !view.has_value || S::accepts(view.value) ? log::Verdict::take : log::Verdict::refuse;
    else
      return keep(view) ? log::Verdict::take : log::Verdict::refuse;
  }

  bool keep(const log::FrameView& view) {
    std::optional<T> value;
    if (view.has_value) {
      auto decoded = decode(view.value);
      if (!decoded) {
        if (*decoded.error().detail) refusal_.detail = decoded.error().detail;
        return false;
      }
      value = std::move(*decoded);
    }
    decoded_->values.push_back(std::move(value));
    return true;
  }

  /// A decode that throws is one that fails: the records before it are still delivered, and the position stays before
  /// it.
  static Result<T> decode(Bytes bytes) {
#if TOWPATH_EXCEPTIONS
    try {
      return S::decode(bytes);
    } catch (const shm::ThreadCancelled&) {
      throw;  // the thread is being cancelled
    } catch (...) {
      return Failure{Errc::undecodable, "the serde's decode threw an exception; seek past the record"};
    }
#else
    return S::decode(bytes);
#endif
  }

  Decoded<T, S>* decoded_;
  std::unique_ptr<UnpackedRun>* unpacked_;
  log::SharedRecords* last_;
  const log::PartitionLog* log_;
  bool check_crcs_;
  Failure refusal_{Errc::undecodable, "the record is no value of this type; seek past it"};
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/core/topic_partition.hpp ----

// A TopicPartition names one partition of one topic, where several topics are spoken of:
//   consumer.seek({"pose", {0}}, Offset{7});
// A value; thread-safe like any value.

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

// ---- towpath/core/formatters.hpp ----

// fmt formatters of the core words: fmt::print("{}", record.offset()), fmt::print("{}", result.error()).

template <>
struct fmt::formatter<towpath::Offset> : fmt::formatter<std::int64_t> {
  template <class Context>
  auto format(towpath::Offset offset, Context& context) const {
    return fmt::formatter<std::int64_t>::format(offset.value, context);
  }
};

template <>
struct fmt::formatter<towpath::PartitionId> : fmt::formatter<std::int32_t> {
  template <class Context>
  auto format(towpath::PartitionId id, Context& context) const {
    return fmt::formatter<std::int32_t>::format(id.value, context);
  }
};

/// "pose-0", as Kafka writes it.
template <>
struct fmt::formatter<towpath::TopicPartition> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  template <class Context>
  auto format(const towpath::TopicPartition& at, Context& context) const {
    return fmt::format_to(context.out(), "{}-{}", at.topic, at.partition.value);
  }
};

/// Printable characters as they are, others as \xNN; cut after 64 bytes.
template <>
struct fmt::formatter<towpath::Bytes> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  template <class Context>
  auto format(towpath::Bytes bytes, Context& context) const {
    constexpr std::size_t shown = 64;
    auto out = context.out();
    for (std::size_t i = 0; i < bytes.size() && i < shown; ++i) {
      const auto c = std::to_integer<unsigned>(bytes.data()[i]);
      out = c >= 0x20 && c < 0x7F && c != '\\' ? fmt::format_to(out, "{}", static_cast<char>(c))
                                               : fmt::format_to(out, "\\x{:02x}", c);
    }
    return bytes.size() > shown ? fmt::format_to(out, "... ({} B)", bytes.size()) : out;
  }
};

template <>
struct fmt::formatter<towpath::LeaderEpoch> : fmt::formatter<std::int32_t> {
  template <class Context>
  auto format(towpath::LeaderEpoch epoch, Context& context) const {
    return fmt::formatter<std::int32_t>::format(epoch.value, context);
  }
};

template <>
struct fmt::formatter<towpath::Errc> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(towpath::Errc code, Context& context) const {
    return fmt::formatter<std::string_view>::format(towpath::name(code), context);
  }
};

/// "no_space: no room left; free some and send again (fallocate)"
template <>
struct fmt::formatter<towpath::Failure> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  template <class Context>
  auto format(const towpath::Failure& failure, Context& context) const {
    auto out = fmt::format_to(context.out(), "{}: {}", towpath::name(failure.code), towpath::message(failure.code));
    return *failure.detail ? fmt::format_to(out, " ({})", failure.detail) : out;
  }
};

// ---- towpath/consume/record.hpp ----

// A Record is one record as a consumer sees it, in place in the log. It is a view into the Batch that it came from:
// keep the Batch as long as you use what value(), key() and headers() return.

namespace towpath::inline TOWPATH_ABI {

enum class TimestampType {
  create_time,      ///< the producer's, or what it was told
  log_append_time,  ///< when it was appended
};

namespace detail {

/// What value() returns: a view into the log, or a value that was decoded when it was polled.
template <class T, class S>
struct ValueOf {
  using type = const T&;
};
template <class T, InPlaceSerde<T> S>
struct ValueOf<T, S> {
  using type = typename S::View;
};

/// value() of a record that has none: a caller's bug that must not become a stray read.
template <class T>
[[noreturn]] TOWPATH_COLD const T& no_value() {
  raise({Errc::undecodable, "value() of a tombstone; ask is_tombstone() first"});
}

}  // namespace detail

template <class T, class S = Serde<T>>
class Record {
 public:
  using View = typename detail::ValueOf<T, S>::type;

  [[nodiscard]] std::string_view topic() const noexcept { return topic_; }
  [[nodiscard]] PartitionId partition() const noexcept { return partition_; }
  [[nodiscard]] Offset offset() const noexcept { return offset_; }
  [[nodiscard]] Timestamp timestamp() const noexcept {
    return Timestamp{std::chrono::nanoseconds{frame_.header.timestamp_ns}};
  }
  [[nodiscard]] TimestampType timestamp_type() const noexcept {
    return frame_.header.flags & log::frame_append_time ? TimestampType::log_append_time : TimestampType::create_time;
  }

  /// The value, read in place where the encoding allows it. Ask is_tombstone() first where producers send tombstones.
  [[nodiscard]] View value() const noexcept {
    TOWPATH_ASSERT(!is_tombstone());
    if constexpr (InPlaceSerde<S, T>)
      return S::view(frame_.value);
    else
      return decoded_ ? *decoded_ : detail::no_value<T>();
  }
  /// The value's bytes as they stand in the log.
  [[nodiscard]] Bytes bytes() const noexcept { return frame_.value; }
  /// A key without a value: the key is gone.
  [[nodiscard]] bool is_tombstone() const noexcept { return !frame_.has_value; }

  [[nodiscard]] bool has_key() const noexcept { return frame_.has_key; }
  /// Empty when there is none.
  [[nodiscard]] Bytes key() const noexcept { return frame_.key; }
  /// The key as text, as an integer in Kafka's byte order, or as what another serde makes of it, as
  /// key_as<Robot, JsonSerde<Robot>>(); none when it is absent or is no such value.
  template <class K, class KeySerde = Serde<K>>
  [[nodiscard]] auto key_as() const noexcept(InPlaceSerde<KeySerde, K>) {
    if constexpr (InPlaceSerde<KeySerde, K>) {
      using Found = std::optional<typename KeySerde::View>;
      return frame_.has_key && KeySerde::accepts(frame_.key) ? Found{KeySerde::view(frame_.key)} : Found{};
    } else {
      auto decoded = frame_.has_key ? KeySerde::decode(frame_.key) : Result<K>{Errc::undecodable};
      return decoded ? std::optional<K>{std::move(*decoded)} : std::optional<K>{};
    }
  }
  /// The id of its producer and its sequence number; not present when the producer has no id.
  [[nodiscard]] log::ProducerMark producer() const noexcept { return frame_.producer(); }
  [[nodiscard]] log::HeaderRange headers() const noexcept { return {frame_.headers, frame_.header.header_count}; }

  /// The stored CRC-32C; none on tmpfs and in memory, where records carry none, and in record batches, which have one
  /// in all.
  [[nodiscard]] std::optional<std::uint32_t> checksum() const noexcept {
    return checksummed_ ? std::optional{frame_.header.crc32c} : std::nullopt;
  }
  /// Bytes of key and value; -1 when absent.
  [[nodiscard]] std::int64_t serialized_key_size() const noexcept {
    return frame_.has_key ? static_cast<std::int64_t>(frame_.key.size()) : -1;
  }
  [[nodiscard]] std::int64_t serialized_value_size() const noexcept {
    return frame_.has_value ? static_cast<std::int64_t>(frame_.value.size()) : -1;
  }

 private:
  template <class, class>
  friend class Batch;

  log::FrameView frame_;
  std::string_view topic_;
  PartitionId partition_;
  Offset offset_;
  const T* decoded_ = nullptr;
  bool checksummed_ = false;
};

}  // namespace towpath::inline TOWPATH_ABI

/// topic=pose partition=0 offset=7 timestamp=... timestamp_type=create_time serialized_key_size=2
/// serialized_value_size=24 key=ab value=... header[a]=... checksum=... in one line; what is absent is left out. Bytes
/// that are not printable are escaped; each text is cut after 64 bytes.
template <class T, class S>
struct fmt::formatter<towpath::Record<T, S>> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }

  template <class Context>
  auto format(const towpath::Record<T, S>& record, Context& context) const {
    auto out = fmt::format_to(
        context.out(), "topic={} partition={} offset={} timestamp={} timestamp_type={}", record.topic(),
        record.partition(), record.offset(), record.timestamp().time_since_epoch().count(),
        record.timestamp_type() == towpath::TimestampType::create_time ? "create_time" : "log_append_time");
    out = fmt::format_to(out, " serialized_key_size={} serialized_value_size={}", record.serialized_key_size(),
                         record.serialized_value_size());
    if (record.has_key()) out = fmt::format_to(out, " key={}", record.key());
    if (!record.is_tombstone()) out = write_value(fmt::format_to(out, " value="), record);
    for (const auto& header : record.headers())
      out = fmt::format_to(out, " header[{}]={}", towpath::Bytes{header.key}, header.value);
    if (const auto crc = record.checksum()) out = fmt::format_to(out, " checksum={:08x}", *crc);
    return out;
  }

 private:
  template <class Out>
  static Out write_value(Out out, const towpath::Record<T, S>& record) {
    using View = std::remove_cvref_t<typename towpath::Record<T, S>::View>;
    if constexpr (std::is_arithmetic_v<View>)
      return fmt::format_to(out, "{}", record.value());
    else
      return fmt::format_to(out, "{}", record.bytes());
  }
};

// ---- towpath/consume/batch.hpp ----

// A Batch is what one poll returned: a run of records of one partition, in place in the log, or nothing, or an error.
//   for (const auto& record : consumer.poll(100ms)) use(record.value());
// An iterator is good until its batch is moved or assigned to.
// While it lives its segment is not recycled, so let go of it before long. It belongs to the consumer's thread, and may
// outlive the consumer. After a crash nothing is left of it.

namespace towpath::inline TOWPATH_ABI {

namespace detail {

/// What an empty batch has to tell, shared with the consumer, which tells it again until somebody looked at it.
struct Trouble {
  Failure failure;
  Offset at;
  std::string topic;
  bool looked = false;
  bool told = false;  // to an iteration, which hides it
};

}  // namespace detail

template <class T, class S = Serde<T>>
class [[nodiscard]] Batch {
 public:
  class iterator {
   public:
    using value_type = Record<T, S>;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;
    using pointer = const value_type*;
    using reference = const value_type&;

    iterator() noexcept = default;
    const Record<T, S>& operator*() const noexcept { return record_; }
    const Record<T, S>* operator->() const noexcept { return &record_; }
    TOWPATH_HOT iterator& operator++() noexcept {
      ++n_, ++index_;
      find();
      return *this;
    }
    void operator++(int) noexcept { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return i.n_ >= i.last_; }

   private:
    friend class Batch;
    explicit iterator(const Batch& batch) noexcept
        : batch_{&batch}, n_{batch.run_.first}, last_{batch.run_.last}, inside_{batch.run_.begins_inside} {
      if (batch.empty()) return;
      record_.topic_ = batch.run_.segment.topic();
      record_.partition_ = batch.partition_;
      record_.checksummed_ = batch.run_.segment->checksummed;
      find();
    }

    /// On to the next committed slot. The log was looked at when it was polled; what a hostile writer changed since is
    /// skipped, never followed outside the segment.
    TOWPATH_HOT void find() noexcept {
      for (; n_ < last_; ++n_)
        if (batch_->read(n_, index_, inside_, record_)) return;
    }

    const Batch* batch_ = nullptr;
    std::uint64_t n_ = 0;
    std::uint64_t last_ = 0;
    std::size_t index_ = 0;
    bool inside_ = false;  // slot n_ - 1 is of a committed record or batch
    Record<T, S> record_;
  };

  Batch() noexcept = default;

  [[nodiscard]] iterator begin() const noexcept { return iterator{*this}; }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }
  [[nodiscard]] bool empty() const noexcept { return run_.count == 0; }
  /// How many records.
  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(run_.count); }

  [[nodiscard]] std::string_view topic() const noexcept {
    if (run_.segment) return run_.segment.topic();
    return trouble_ ? std::string_view{trouble_->topic} : std::string_view{};
  }
  [[nodiscard]] PartitionId partition() const noexcept { return partition_; }

  /// How many offsets before this batch were passed unread: retention overtook the consumer, or what was sought lay
  /// before the log's start. Where it went on at the end (auto_offset_reset latest, the default), all up to there, also
  /// what could still have been read.
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }

  /// Why there are no (more) records. At error_offset() of a partition: undecodable, corrupt, newer_format,
  /// unsupported_compression, out_of_memory, offset_out_of_range, no_offset, log_truncated, topic_deleted, and what
  /// mapping can fail with. Of a topic() as a whole, with no partition: topic_deleted, type_mismatch, corrupt,
  /// newer_format, what opening it can fail with, and for a consumer with a name busy, read_only, no_space. Of all:
  /// forked, closed. Errc::ok when there simply were none in time. One that nobody looks at comes again.
  [[nodiscard]] Failure error() const noexcept {
    if (!trouble_) return {};
    trouble_->looked = true;
    return trouble_->failure;
  }
  /// Where: the offset that could not be read; of log_truncated the one where the log goes on.
  [[nodiscard]] Offset error_offset() const noexcept { return trouble_ ? trouble_->at : Offset{}; }

 private:
  template <class, class, class>
  friend class Consumer;
  template <class, class, class>
  friend class ConsumerIterator;

  static constexpr bool reads_in_place = InPlaceSerde<S, T>;

  TOWPATH_HOT bool read(std::uint64_t n, std::size_t index, bool& inside, Record<T, S>& record) const noexcept {
    const log::Segment& segment = *run_.segment;
    const std::uint64_t slot = segment.slots[n].load(shm::relaxed);  // acquired when it was polled
    if (log::Slot::state(slot) != log::Slot::continued) [[likely]]
      inside = log::Slot::state(slot) == log::Slot::committed;
    if (!inside || !segment.contains(slot)) return false;
    const std::byte* frame = segment.data + log::Slot::position(slot);
    std::uint64_t length = log::Slot::length(slot);
    if (unpacked_) [[unlikely]]
      if (!find_unpacked(n, frame, length, record)) return false;
    if (!record.frame_.parse(frame, length, value_alignment_)) return false;
    if constexpr (reads_in_place)  // the log was looked at before, but a hostile writer may have been there since
      if (record.frame_.has_value && !S::accepts(record.frame_.value)) return false;
    record.offset_ = Offset{static_cast<std::int64_t>(segment.base + n)};
    if constexpr (!reads_in_place) {
      if (index >= decoded_.values.size()) return false;
      record.decoded_ = decoded_.values[index] ? &*decoded_.values[index] : nullptr;
    }
    return true;
  }

  /// Leads to the record's own frame if slot `n` is of a Kafka record batch. False: there is no record of that offset.
  TOWPATH_COLD bool find_unpacked(std::uint64_t n, const std::byte*& frame, std::uint64_t& length,
                                  Record<T, S>& record) const noexcept {
    const auto* records = unpacked_->find(*run_.segment, n);
    record.checksummed_ = !records && run_.segment->checksummed;
    if (!records) return true;
    const auto found = records->batch.frame(static_cast<std::int32_t>(n - records->head));
    if (!found || records->batch.header().is_control()) return false;
    frame = found->data, length = found->length;
    return true;
  }

  log::Run run_;
  std::unique_ptr<detail::UnpackedRun> unpacked_;  // null: no record batch among these
  std::uint64_t missed_ = 0;
  std::uint64_t value_alignment_ = 8;
  PartitionId partition_;
  [[no_unique_address]] detail::Decoded<T, S> decoded_;
  std::shared_ptr<detail::Trouble> trouble_;
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/consume/consumer_config.hpp ----

// How a Consumer starts, what it reads and what it is limited to.

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

// ---- towpath/shm/folder_hold.hpp ----

// While a FolderHold lives, this thread's work in one folder of a Directory goes through one descriptor of it. A roll
// looks and renames a dozen times in its partition's folder, and would open and close it each time: 32 of 45 system
// calls. Keep it for one piece of work, not for long: a descriptor is held meanwhile. One thread's; holds nest.

namespace towpath::inline TOWPATH_ABI::shm {

class FolderHold {
 public:
  /// `folder` outlives this. One that is not there is not held.
  FolderHold(Directory& directory, const std::string& folder) noexcept
      : directory_{&directory}, folder_{folder}, outer_{innermost_}, held_{directory.hold_folder(folder.c_str())} {
    innermost_ = this;
  }
  FolderHold(const FolderHold&) = delete;
  FolderHold& operator=(const FolderHold&) = delete;
  ~FolderHold() { innermost_ = outer_; }

  /// The folder's descriptor if this thread holds it, else -1.
  static int find(const Directory& directory, std::string_view folder) noexcept {
    for (const auto* hold = innermost_; hold; hold = hold->outer_)
      if (hold->held_ && hold->directory_ == &directory && hold->folder_ == folder) return hold->held_.get();
    return -1;
  }

 private:
  static inline thread_local const FolderHold* innermost_ = nullptr;

  const Directory* directory_;
  std::string_view folder_;
  const FolderHold* outer_;
  FileDescriptor held_;
};

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/shm/folder_directory.hpp ----

// A folder of the operating system as a Directory. Every file is opened beneath a held descriptor of the folder,
// without following links and without going up (openat2(2), Linux 5.6), so a planted link cannot lead elsewhere. Root
// makes files for the folder's owner.

namespace towpath::inline TOWPATH_ABI::shm {

struct FolderOptions {
  bool create = true;             ///< make the folder when it is missing (its parent must exist)
  bool force_filesystem = false;  ///< accept overlay, NFS, FUSE and the like: shared maps may then be incoherent
  unsigned owner = ~0u;           ///< accept a folder of this user id beside mine and root's
};

class FolderDirectory final : public Directory {
 public:
  /// Errors: not_found (the parent), not_a_directory, unsafe_directory, unsupported_filesystem, permission_denied.
  static Result<std::unique_ptr<Directory>> open(const char* path, const FolderOptions& options) {
    const bool made = options.create && ::mkdir(path, 0750) == 0;
    const int not_made = options.create && !made && errno != EEXIST ? errno : 0;
    FileDescriptor fd{::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!fd && errno == ENOENT && not_made) return system_failure(not_made, "making the bus's folder");
    if (!fd) return system_failure(errno, "open the bus folder");
    if (made && ::fchmod(fd.get(), 0750) != 0) return system_failure(errno, "fchmod");
    const auto found = status(fd);
    if (!found) return found.error();
    if (found->st_mode & S_IWOTH) return Failure{Errc::unsafe_directory, "the bus folder is world-writable; chmod o-w"};
    const bool trusted = found->st_uid == ::geteuid() || found->st_uid == 0 || found->st_uid == options.owner;
    if (!trusted)
      return Failure{Errc::unsafe_directory, "the bus folder belongs to another user; name it in BusConfig::owner"};
    const auto storage = classify(fd, options.force_filesystem);
    if (!storage) return storage.error();
    return std::unique_ptr<Directory>{new FolderDirectory{std::move(fd), *storage}};
  }

  Result<FileDescriptor> open(const char* name, Access access) override {
    return beneath(name, access == Access::read ? O_RDONLY : O_RDWR, 0);
  }

  Result<FileDescriptor> create(const char* name, unsigned mode) override {
    auto file = beneath(name, O_RDWR | O_CREAT | O_EXCL, mode);
    if (!file) return file;
    if (auto done = finish(*file, mode); !done) {
      remove(name).ignore();
      return done.error();
    }
    return file;
  }

  Result<FileDescriptor> make_fifo(const char* name, unsigned mode) override {
    const auto at = place(name);
    if (!at) return at.error();
    if (::mkfifoat(at->folder, at->leaf, mode) != 0) return system_failure(errno, "mkfifoat");
    auto fifo = open_fifo(name);
    if (fifo)
      if (auto done = finish(*fifo, mode); !done) fifo = done.error();
    if (!fifo) ::unlinkat(at->folder, at->leaf, 0);
    return fifo;
  }

  Result<FileDescriptor> open_fifo(const char* name) override {
    auto fifo = beneath(name, O_RDWR | O_NONBLOCK, 0);
    if (!fifo) return fifo;
    const auto found = status(*fifo);
    if (!found) return found.error();
    if (!S_ISFIFO(found->st_mode)) return Failure{Errc::corrupt, "another file stands where a FIFO was"};
    return fifo;
  }

  /// Beneath as open(): what it says is taken for the file that open() would give (RegionCache).
  Result<FileInfo> identify(const char* name) override {
    const auto at = place(name);
    if (!at) return at.error();
    struct stat found {};
    if (::fstatat(at->folder, at->leaf, &found, AT_SYMLINK_NOFOLLOW) != 0) return system_failure(errno, "fstatat");
    return file_info(found);
  }

  Result<void> rename(const char* from, const char* to) override {
    return rename_with(from, to, 1u /* RENAME_NOREPLACE */);
  }
  Result<void> replace(const char* from, const char* to) override { return rename_with(from, to, 0u); }

  Result<void> remove(const char* name) override {
    const auto at = place(name);
    if (!at) return at.error();
    if (::unlinkat(at->folder, at->leaf, 0) != 0) return system_failure(errno, "unlinkat");
    return {};
  }

  Result<void> make_folder(const char* name) override {
    const auto at = place(name);
    if (!at) return at.error();
    if (::mkdirat(at->folder, at->leaf, 0750) != 0) return system_failure(errno, "mkdirat");
    const auto folder = beneath(name, O_RDONLY | O_DIRECTORY, 0);
    if (!folder) return folder.error();
    return finish(*folder, 0750);
  }

  Result<std::unique_ptr<Directory>> open_folder(const char* name) override {
    auto folder = beneath(name, O_RDONLY | O_DIRECTORY, 0);
    if (!folder) return folder.error();
    return std::unique_ptr<Directory>{new FolderDirectory{std::move(*folder), storage_}};
  }

  FileDescriptor hold_folder(const char* name) noexcept override {
    auto folder = beneath(name, O_PATH | O_DIRECTORY, 0);
    return folder ? std::move(*folder) : FileDescriptor{};
  }

  Result<void> remove_folder(const char* name) override {
    const auto at = place(name);
    if (!at) return at.error();
    auto names = list(name);
    if (!names) return names.error();
    TOWPATH_FAILPOINT("remove.listed");
    for (const auto& entry : *names) {
      const auto path = std::string{name} + "/" + entry;
      auto removed = remove(path.c_str());
      if (!removed && removed.error() == Errc::not_a_directory) removed = remove_folder(path.c_str());
      if (!removed && removed.error() != Errc::not_found) return removed;  // not found: somebody else removes it too
    }
    if (::unlinkat(at->folder, at->leaf, AT_REMOVEDIR) != 0) return system_failure(errno, "rmdir");
    return {};
  }

  Result<std::vector<std::string>> list(const char* folder) override {
    auto fd = beneath(*folder ? folder : ".", O_RDONLY | O_DIRECTORY, 0);
    if (!fd) return fd.error();
    DIR* stream = ::fdopendir(fd->get());
    if (!stream) return system_failure(errno, "fdopendir");
    fd->release();  // closedir closes it
    std::vector<std::string> names;
    errno = 0;  // the only way to tell an error from the end
    while (const auto* entry = ::readdir(stream)) {
      const std::string_view name{entry->d_name};
      if (name != "." && name != "..") names.emplace_back(name);
      errno = 0;
    }
    const int error = errno;
    ::closedir(stream);
    if (error != 0) return system_failure(error, "readdir");
    return names;
  }

  Result<void> flush(const char* name) override {
    if (!is_lasting()) return {};
    const auto file = beneath(name, O_RDONLY, 0);
    if (!file) return file.error();
    return flush_file(*file);
  }

  Result<void> flush_folder(const char* folder) override {
    if (!is_lasting()) return {};
    const auto fd = beneath(*folder ? folder : ".", O_RDONLY | O_DIRECTORY, 0);
    if (!fd) return fd.error();
    return shm::flush_folder(*fd);
  }

  std::uint64_t free_bytes() override {
    struct statvfs found {};
    return ::fstatvfs(fd_.get(), &found) == 0 ? std::uint64_t{found.f_bavail} * found.f_frsize : 0;
  }

  [[nodiscard]] Storage storage() const noexcept override { return storage_; }

 private:
  FolderDirectory(FileDescriptor fd, Storage storage) noexcept : fd_{std::move(fd)}, storage_{storage} {}

  static Result<Storage> classify(const FileDescriptor& fd, bool force) noexcept {
    struct statfs found {};
    if (::fstatfs(fd.get(), &found) != 0) return system_failure(errno, "fstatfs");
    switch (static_cast<unsigned long>(found.f_type)) {
      case 0x01021994: return Storage::tmpfs;
      case 0xEF53:
      case 0x58465342: return Storage::disk;           // ext4, xfs
      case 0x9123683E: return Storage::copy_on_write;  // btrfs
      default: break;
    }
    if (force) return Storage::copy_on_write;
    return Failure{Errc::unsupported_filesystem,
                   "not tmpfs, ext4, xfs or btrfs; BusConfig::force_filesystem overrides"};
  }

  Result<FileDescriptor> beneath(const char* name, int flags, unsigned mode) noexcept {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags) | O_CLOEXEC | O_NOFOLLOW;
    how.mode = mode;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    long fd = -1;
    do fd = ::syscall(SYS_openat2, fd_.get(), name, &how, sizeof how);
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    if (fd < 0) return system_failure(errno, "openat2");
    return FileDescriptor{static_cast<int>(fd)};
  }

  /// The mode that was asked for, whatever the umask. What root makes goes to whom the folder belongs to: else he could
  /// not use his own bus any more. Errors: permission_denied (root without the right to give files away).
  Result<void> finish(const FileDescriptor& made, unsigned mode) const noexcept {
    if (::geteuid() == 0) {
      const auto folder = status(fd_);
      if (!folder) return folder.error();
      if (folder->st_uid != 0 && ::fchown(made.get(), folder->st_uid, folder->st_gid) != 0)
        return system_failure(errno, "give a new file to the folder's owner (fchown)");
    }
    if (::fchmod(made.get(), mode) != 0) return system_failure(errno, "fchmod");
    return {};
  }

  /// The folder that a name stands in, and the name's last part: for the calls that have no way to stay beneath.
  struct Place {
    FileDescriptor held;
    int folder;
    const char* leaf;
  };
  Result<Place> place(const char* name) {
    const char* slash = std::strrchr(name, '/');
    const std::string_view leaf{slash ? slash + 1 : name};
    if (*name == '/' || leaf.empty() || leaf == "." || leaf == "..")
      return Failure{Errc::unsafe_directory, "the name leads out of the bus folder"};
    if (!slash) return Place{FileDescriptor{}, fd_.get(), leaf.data()};
    if (const int held = FolderHold::find(*this, {name, slash}); held >= 0)
      return Place{FileDescriptor{}, held, leaf.data()};
    auto folder = beneath(std::string{name, slash}.c_str(), O_PATH | O_DIRECTORY, 0);
    if (!folder) return folder.error();
    const int fd = folder->get();
    return Place{std::move(*folder), fd, leaf.data()};
  }

  Result<void> rename_with(const char* from, const char* to, unsigned flags) {
    const auto source = place(from);
    if (!source) return source.error();
    const auto target = place(to);
    if (!target) return target.error();
    if (::syscall(SYS_renameat2, source->folder, source->leaf, target->folder, target->leaf, flags) != 0)
      return system_failure(errno, "renameat2");
    return {};
  }

  FileDescriptor fd_;
  Storage storage_;
};

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/shm/memory_directory.hpp ----

// The memory of this process as a Directory: every file is a memfd, every name an entry in a tree. The same log code
// runs over it, and nothing is left behind after a crash. Thread-safe; not shared with other processes.

namespace towpath::inline TOWPATH_ABI::shm {

class MemoryDirectory final : public Directory {
 public:
  MemoryDirectory() : tree_{std::make_shared<Tree>()} {}

  /// A second descriptor of the same file, with an open file description (hence locks) of its own.
  Result<FileDescriptor> open(const char* name, Access access) override {
    const std::lock_guard hold{tree_->mutex};
    const auto found = find(name);
    if (!found) return found.error();
    if (!(*found)->second.file) return Failure{Errc::not_a_directory, "memory folder"};
    return reopen((*found)->second.file, access == Access::read ? O_RDONLY : O_RDWR);
  }

  Result<FileDescriptor> create(const char* name, unsigned) override {
    {
      const std::lock_guard hold{tree_->mutex};
      const auto at = place(name);
      if (!at) return at.error();
      if (tree_->entries.contains(*at)) return Failure{Errc::already_exists, "memory file"};
      FileDescriptor fd{::memfd_create("towpath", MFD_CLOEXEC)};
      if (!fd) return system_failure(errno, "memfd_create");
      tree_->entries.emplace(*at, Entry{std::move(fd), 0});
    }
    return open(name, Access::read_write);
  }

  /// A pipe, whose two ends are one file to those who open it by name.
  Result<FileDescriptor> make_fifo(const char* name, unsigned) override {
    {
      const std::lock_guard hold{tree_->mutex};
      const auto at = place(name);
      if (!at) return at.error();
      if (tree_->entries.contains(*at)) return Failure{Errc::already_exists, "memory file"};
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return system_failure(errno, "pipe2");
      const FileDescriptor write_end{ends[1]};
      tree_->entries.emplace(*at, Entry{FileDescriptor{ends[0]}, 0});
    }
    return open_fifo(name);
  }

  Result<FileDescriptor> open_fifo(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto found = find(name);
    if (!found) return found.error();
    struct stat about {};
    const bool is_fifo = ::fstat((*found)->second.file.get(), &about) == 0 && S_ISFIFO(about.st_mode);
    if (!is_fifo) return Failure{Errc::corrupt, "another memory file stands where a FIFO was"};
    return reopen((*found)->second.file, O_RDWR | O_NONBLOCK);
  }

  Result<FileInfo> identify(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto found = find(name);
    if (!found) return found.error();
    if (!(*found)->second.file) return FileInfo{};
    const auto about = status((*found)->second.file);
    if (!about) return about.error();
    return file_info(*about);
  }

  Result<void> rename(const char* from, const char* to) override { return rename_with(from, to, false); }
  Result<void> replace(const char* from, const char* to) override { return rename_with(from, to, true); }

  Result<void> remove(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto found = find(name);
    if (!found) return found.error();
    if (!(*found)->second.file) return Failure{Errc::not_a_directory, "memory folder"};
    tree_->entries.erase(*found);
    return {};
  }

  Result<void> make_folder(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto at = place(name);
    if (!at) return at.error();
    if (tree_->entries.contains(*at)) return Failure{Errc::already_exists, "memory folder"};
    const FolderId id = ++tree_->last_folder;
    tree_->folders.insert(id);
    tree_->entries.emplace(*at, Entry{FileDescriptor{}, id});
    return {};
  }

  Result<std::unique_ptr<Directory>> open_folder(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto id = folder(name);
    if (!id) return id.error();
    return std::unique_ptr<Directory>{new MemoryDirectory{tree_, *id}};
  }

  Result<void> remove_folder(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto id = folder(name);
    if (!id) return id.error();
    if (*id == here_) return Failure{Errc::unsafe_directory, "a folder does not remove itself"};
    erase_below(*id);
    tree_->entries.erase(*place(name));
    return {};
  }

  Result<std::vector<std::string>> list(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto id = folder(name);
    if (!id) return id.error();
    std::vector<std::string> names;
    for (auto entry = tree_->entries.lower_bound({*id, {}}); entry != tree_->entries.end() && entry->first.first == *id;
         ++entry)
      names.push_back(entry->first.second);
    return names;
  }

  Result<void> flush(const char*) override { return {}; }
  Result<void> flush_folder(const char*) override { return {}; }

  std::uint64_t free_bytes() override {
    const auto text = read_proc("/proc/meminfo");
    const auto at = text.find("MemAvailable:");
    return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + 13, nullptr, 10) * 1024;
  }

  [[nodiscard]] Storage storage() const noexcept override { return Storage::memory; }

 private:
  using FolderId = std::uint64_t;
  using Place = std::pair<FolderId, std::string>;  // the folder that a name stands in, and the name's last part
  struct Entry {
    FileDescriptor file;  // none for a folder
    FolderId folder;      // 0 for a file
  };
  struct Tree {
    std::mutex mutex;
    std::map<Place, Entry> entries;
    std::set<FolderId> folders{1};  // 1 is the root
    FolderId last_folder = 1;
  };

  MemoryDirectory(std::shared_ptr<Tree> tree, FolderId here) noexcept : tree_{std::move(tree)}, here_{here} {}

  static Result<FileDescriptor> reopen(const FileDescriptor& file, int flags) {
    char path[40];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", file.get());
    const int fd = ::open(path, flags | O_CLOEXEC);
    if (fd < 0) return system_failure(errno, "open /proc/self/fd; a bus in memory needs /proc");
    return FileDescriptor{fd};
  }

  /// Which folder the path names; "" is this one. Errors: not_found, not_a_directory.
  [[nodiscard]] Result<FolderId> folder(std::string_view path) const {
    FolderId at = here_;
    if (!tree_->folders.contains(at)) return Failure{Errc::not_found, "the memory folder was removed"};
    while (!path.empty()) {
      const auto part = path.substr(0, path.find('/'));
      path.remove_prefix(std::min(path.size(), part.size() + 1));
      const auto found = tree_->entries.find({at, std::string{part}});
      if (found == tree_->entries.end()) return Failure{Errc::not_found, "memory folder"};
      if (found->second.file) return Failure{Errc::not_a_directory, "memory file"};
      at = found->second.folder;
    }
    return at;
  }

  [[nodiscard]] Result<Place> place(std::string_view path) const {
    const auto slash = path.rfind('/');
    const auto id = folder(slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash));
    if (!id) return id.error();
    return Place{*id, std::string{slash == std::string_view::npos ? path : path.substr(slash + 1)}};
  }

  [[nodiscard]] Result<std::map<Place, Entry>::iterator> find(std::string_view path) const {
    const auto at = place(path);
    if (!at) return at.error();
    const auto found = tree_->entries.find(*at);
    if (found == tree_->entries.end()) return Failure{Errc::not_found, "memory file"};
    return found;
  }

  Result<void> rename_with(const char* from, const char* to, bool replace) {
    const std::lock_guard hold{tree_->mutex};
    const auto source = find(from);
    if (!source) return source.error();
    const auto target = place(to);
    if (!target) return target.error();
    if (const auto old = tree_->entries.find(*target); old != tree_->entries.end()) {
      if (!replace) return Failure{Errc::already_exists, "memory file"};
      if (!(*source)->second.file || !old->second.file) return Failure{Errc::not_a_directory, "memory folder"};
      if (old == *source) return {};
      tree_->entries.erase(old);
    }
    auto entry = tree_->entries.extract(*source);
    entry.key() = *target;
    tree_->entries.insert(std::move(entry));
    return {};
  }

  void erase_below(FolderId id) {
    for (auto entry = tree_->entries.lower_bound({id, {}});
         entry != tree_->entries.end() && entry->first.first == id;) {
      if (entry->second.folder != 0) erase_below(entry->second.folder);
      entry = tree_->entries.erase(entry);
    }
    tree_->folders.erase(id);
  }

  std::shared_ptr<Tree> tree_;
  FolderId here_ = 1;
};

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/topic/bus_config.hpp ----

// How a process opens a bus. Every field has a default that fits; a bus has no other settings than these and its
// topics'.

namespace towpath::inline TOWPATH_ABI {

enum class MaintenanceMode {
  thread,  ///< a low-priority thread in this process offers to maintain the bus; one of all processes does
  manual,  ///< your loop calls Bus::maintain()
};

struct BusConfig {
  /// Default thread. A read-only process never maintains.
  MaintenanceMode maintenance = MaintenanceMode::thread;
  /// Make the folder and its files when they are missing. Default true; else not_found.
  bool create = true;
  /// Open without the right to write, even if the files would allow it. Default false. A process that may not write
  /// `ctl` is read-only by itself.
  bool read_only = false;
  /// Accept filesystems without coherent shared maps (overlay, NFS, FUSE). Default false: unsupported_filesystem.
  bool force_filesystem = false;
  /// Accept a folder that this user owns, beside mine and root's. Default none: unsafe_directory.
  std::optional<unsigned> owner = std::nullopt;
  /// How long an idle maintenance thread sleeps at most, 1 ms or more. Default 100 ms.
  Duration maintenance_interval = std::chrono::milliseconds{100};
  /// On disk, after a restart of the machine: how long opening waits for another process that recovers the bus, before
  /// it says recovery_in_progress. Default 10 s. Whoever recovers takes as long as it takes.
  Duration recovery_timeout = std::chrono::seconds{10};
  /// Where time comes from. Default: the system's clocks.
  Clock clock{};
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/topic/control.hpp ----

// <bus>/ctl: what all processes of a bus share: numbers to hand out, who maintains, and the member table.
// Made whole under a private name; a bus exists once it is renamed in. Change a field: raise control_format_version.

namespace towpath::inline TOWPATH_ABI::detail {

inline constexpr std::uint64_t control_magic = 0x3043'5057'4F54'0A0Du;
inline constexpr std::uint32_t control_format_version = 0;

struct ControlHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t layout_hash;
  std::uint32_t member_lines;
  std::uint32_t member_line_bytes;
  shm::Word64 boot_id[5];  // of the machine's start since which all that stands here is true; text
  // A line each for what changes together.
  shm::Word64 catalog_generation;  // + 1 when a topic comes, goes, grows or is altered
  shm::Word64 next_uid;            // partition uids handed out so far; the first is 1
  shm::Word64 next_producer_id;    // handed out by nobody: ids of producers are the user's
  std::uint64_t reserved0[5];
  shm::Word64 maintenance_progress;  // + 1 at each step of whoever holds the role
  shm::Word32 maintainer;            // member index + 1 of whoever wants to be woken by rolls
  shm::Word32 members_used;          // high-water mark of the member table
  std::uint64_t reserved1[6];
  std::uint64_t reserved2[488];
};
static_assert(sizeof(ControlHeader) == 4096 && std::is_standard_layout_v<ControlHeader>);
static_assert(offsetof(ControlHeader, boot_id) == 24 && offsetof(ControlHeader, catalog_generation) == 64 &&
              offsetof(ControlHeader, maintenance_progress) == 128);

inline constexpr std::uint64_t control_bytes = sizeof(ControlHeader) + shm::max_members * sizeof(shm::MemberLine);

inline constexpr std::uint32_t control_layout_hash = [] {
  std::uint32_t hash = 2'166'136'261u;  // FNV-1a over every size and place that another build could have elsewhere
  for (const std::size_t place :
       {sizeof(ControlHeader), sizeof(shm::MemberLine), sizeof(log::PartitionState), sizeof(log::WaitBlock),
        offsetof(ControlHeader, maintainer), offsetof(shm::MemberLine, wake),
        offsetof(log::PartitionState, resolved_to), offsetof(log::PartitionState, transactions)})
    hash = (hash ^ static_cast<std::uint32_t>(place)) * 16'777'619u;
  return hash;
}();

/// Does the bus speak of this start of the machine? False while somebody is about to say so.
inline bool is_of_boot(const ControlHeader& header, const shm::BootId& id) noexcept {
  std::uint64_t words[5];
  static_assert(sizeof words == sizeof id);
  std::memcpy(words, id.data(), sizeof words);
  for (int i = 0; i < 5; ++i)
    if (header.boot_id[i].load(shm::acquire) != words[i]) return false;
  return true;
}
inline void set_boot(ControlHeader& header, const shm::BootId& id) noexcept {
  std::uint64_t words[5];
  std::memcpy(words, id.data(), sizeof words);
  for (int i = 0; i < 5; ++i) header.boot_id[i].store(words[i], shm::release);  // pairs with is_of_boot()
}

/// Errors: corrupt, newer_format.
inline Result<void> check_control(const ControlHeader& header, std::uint64_t bytes) noexcept {
  if (bytes < control_bytes) return Failure{Errc::corrupt, "the bus's ctl file is cut short"};
  if (header.magic != control_magic) return Failure{Errc::corrupt, "the bus's ctl file is something else (magic)"};
  if (header.version > control_format_version)
    return Failure{Errc::newer_format, "the bus was made by a newer library"};
  const bool same = header.layout_hash == control_layout_hash && header.member_lines == shm::max_members &&
                    header.member_line_bytes == sizeof(shm::MemberLine);
  if (!same) return Failure{Errc::corrupt, "the bus's ctl file has another layout"};
  return {};
}

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/topic/bus_core.hpp ----

// The part of a Bus that its topics, producers and consumers keep alive: the directory, ctl, the members.
// Thread-safe. After a crash of this process its member lines are free again, by the kernel.

namespace towpath::inline TOWPATH_ABI::detail {

class BusCore {
 public:
  /// A bus in this process's memory when `path` is null. Errors: see Bus.
  static Result<std::shared_ptr<BusCore>> open(const char* path, const BusConfig& config) {
    if (shm::page_bytes() > 65'536) return Failure{Errc::unsupported_platform, "pages above 64 KiB"};
    if (config.maintenance_interval < std::chrono::milliseconds{1})
      return Failure{Errc::invalid_argument, "maintenance_interval: 1 ms or more"};
    auto core = std::shared_ptr<BusCore>{new BusCore{config}};
    if (auto opened = core->open_directory(path); !opened) return opened.error();
    bool exists = core->directory_->identify("ctl").has_value();
    if (!exists && (!config.create || config.read_only))
      return Failure{Errc::not_found, "there is no bus in this folder, and it was not to be made"};
    if (!exists)
      if (auto made = core->make(); !made) return made.error();
    if (auto mapped = core->map_control(); !mapped) return mapped.error();
    return core;
  }

  BusCore(const BusCore&) = delete;
  BusCore& operator=(const BusCore&) = delete;
  ~BusCore() {
    if (directory_) shm::RegionCache::instance().forget(*directory_);
  }

  [[nodiscard]] shm::Directory& directory() const noexcept { return *directory_; }
  [[nodiscard]] const BusConfig& config() const noexcept { return config_; }
  [[nodiscard]] ControlHeader& control() const noexcept { return *control_; }
  /// Null in a read-only process.
  [[nodiscard]] shm::Members* members() const noexcept { return members_.get(); }
  [[nodiscard]] bool is_read_only() const noexcept { return members_ == nullptr; }

  /// Was the machine started anew since the bus was last in use? On tmpfs and in memory a restart leaves nothing; on
  /// disk it may have cost what was not flushed, and topic/recovery.hpp looks after that.
  [[nodiscard]] bool is_restarted() const {
    return directory_->is_lasting() && (!knows_boot() || !is_of_boot(*control_, boot_));
  }
  /// False: this process cannot tell whether it was, for it sees no boot id in /proc.
  [[nodiscard]] bool knows_boot() const noexcept { return boot_ != shm::BootId{}; }
  /// The last step of recovery, after all else was flushed. Errors: io_error.
  Result<void> mark_recovered() {
    set_boot(*control_, boot_);
    return directory_->flush("ctl");
  }
  /// For recovery: nobody lives who had a line.
  void clear_members() noexcept {
    for (unsigned i = 0; i < shm::max_members; ++i) lines()[i].clear();
    control_->members_used.store(0, shm::relaxed);
    control_->maintainer.store(0, shm::relaxed);
  }

  static Failure no_boot_id() noexcept {
    return {Errc::unsupported_platform, "no boot id in /proc; without it a restart cannot be noticed on disk"};
  }

  /// Is this the process that opened the bus, not a child of it? Everything that a user calls asks this first.
  [[nodiscard]] TOWPATH_HOT bool is_mine() const noexcept { return watch_.is_mine(); }
  [[nodiscard]] const shm::ForkWatch& fork_watch() const noexcept { return watch_; }
  [[nodiscard]] Result<void> usable() const noexcept {
    if (!is_mine()) return Failure{Errc::forked, "this bus was opened before fork()"};
    return {};
  }

  /// Errors: too_many_members, read_only, forked.
  Result<shm::Member> claim(shm::MemberKind kind, std::string_view name) const {
    if (auto fine = usable(); !fine) return fine.error();
    if (!members_) return Failure{Errc::read_only, "this process may only read the bus"};
    return members_->claim(kind, name);
  }

 private:
  explicit BusCore(const BusConfig& config)
      : config_{config}, watch_{shm::ForkGuard::instance().watch()} {}

  Result<void> open_directory(const char* path) {
    if (!path) {
      directory_ = std::make_unique<shm::MemoryDirectory>();
      return {};
    }
    const shm::FolderOptions options{config_.create && !config_.read_only, config_.force_filesystem,
                                     config_.owner.value_or(~0u)};
    auto opened = shm::FolderDirectory::open(path, options);
    if (!opened) return opened.error();
    directory_ = std::move(*opened);
    return {};
  }

  /// Makes what is missing; ctl last, for a bus exists once that is there. Two processes may do this at once.
  Result<void> make() {
    if (directory_->is_lasting() && !knows_boot()) return no_boot_id();
    const auto keep = [](Result<void> done) {
      return done || done.error() == Errc::already_exists ? Result<void>{} : done;
    };
    const auto topics = directory_->make_folder("topics");
    if (auto made = keep(topics); !made) return made;
    if (auto made = keep(shm::write_file(*directory_, "members", "", 0660)); !made) return made;
    char text[160];
    std::snprintf(text, sizeof text, "version=1\ncluster.id=%016llx%016llx\nnode.id=0\n",
                  static_cast<unsigned long long>(shm::random_bits()),
                  static_cast<unsigned long long>(shm::random_bits()));
    if (auto made = keep(shm::write_file(*directory_, "meta.properties", text, 0640)); !made) return made;
    if (auto kept = directory_->flush_folder(""); !kept) return kept;  // what ctl stands for is there when ctl is
    TOWPATH_FAILPOINT("bus.before_ctl");
    auto header = std::make_unique<ControlHeader>();
    std::memset(static_cast<void*>(header.get()), 0, sizeof *header);
    header->magic = control_magic;
    header->version = control_format_version;
    header->layout_hash = control_layout_hash;
    header->member_lines = shm::max_members;
    header->member_line_bytes = sizeof(shm::MemberLine);
    // Topics without ctl: it was lost, and of what start they are nobody knows. They are to be recovered.
    if (topics || !directory_->is_lasting()) set_boot(*header, boot_);
    std::string bytes(control_bytes, '\0');
    std::memcpy(bytes.data(), header.get(), sizeof *header);
    if (auto made = keep(shm::write_file(*directory_, "ctl", bytes, 0660)); !made) return made;
    return directory_->flush_folder("");
  }

  Result<void> map_control() {
    auto& cache = shm::RegionCache::instance();
    auto region = config_.read_only ? Result<std::shared_ptr<shm::Region>>{Errc::permission_denied}
                                    : cache.map(*directory_, "ctl", shm::View::whole, sizeof(ControlHeader));
    const bool writable = region.has_value();
    if (!writable && region.error() == Errc::permission_denied)
      region = cache.map(*directory_, "ctl", shm::View::readable, sizeof(ControlHeader));
    if (!region) return region.error();
    region_ = std::move(*region);
    control_ = reinterpret_cast<ControlHeader*>(region_->data());
    if (auto fine = check_control(*control_, region_->size()); !fine) return fine;
    if (!writable) return {};
    auto holder = shm::LockDescriptor::open([this] { return directory_->open("members", shm::Access::read_write); });
    auto asker = directory_->open("members", shm::Access::read_write);
    if (!holder) return holder.error();
    if (!asker) return asker.error();
    members_ = std::make_unique<shm::Members>(lines(), control_->members_used, std::move(*holder), std::move(*asker),
                                              directory_.get());
    return {};
  }

  [[nodiscard]] shm::MemberLine* lines() const noexcept {
    return reinterpret_cast<shm::MemberLine*>(region_->data() + sizeof(ControlHeader));
  }

  BusConfig config_;
  shm::ForkWatch watch_;
  shm::BootId boot_ = shm::boot_id();
  std::unique_ptr<shm::Directory> directory_;
  std::shared_ptr<shm::Region> region_;
  ControlHeader* control_ = nullptr;
  std::unique_ptr<shm::Members> members_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/topic/names.hpp ----

// Which names a topic may have, by Kafka's rule, and a reader. Checked before a name gets anywhere near a path.

namespace towpath::inline TOWPATH_ABI {

/// Errors: invalid_name.
constexpr Result<void> check_topic_name(std::string_view name) noexcept {
  if (name.empty()) return Failure{Errc::invalid_name, "a topic name is empty"};
  if (name.size() > 249) return Failure{Errc::invalid_name, "a topic name is longer than 249 characters"};
  if (name == "." || name == "..") return Failure{Errc::invalid_name, "a topic must not be called . or .."};
  for (const char c : name) {
    const bool fine =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (!fine) return Failure{Errc::invalid_name, "a topic name has a character other than A-Z a-z 0-9 . _ -"};
  }
  return {};
}

inline constexpr std::size_t max_reader_name = 240;  ///< its file is called reader.<name>

/// Of TopicConfig::readers and ConsumerConfig::name. Errors: invalid_argument.
constexpr Result<void> check_reader_name(std::string_view name) noexcept {
  if (name.size() <= max_reader_name && check_topic_name(name).has_value()) return {};
  return Failure{Errc::invalid_argument, "name: 1 to 240 of [A-Za-z0-9._-], not . or .."};
}

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/topic/reader_list.hpp ----

// The names of the readers that a topic waits for:  {.on_full = OnFull::block, .readers = {"recorder", "planner"}}
// A value without pointers, usable at compile time. A list that breaks a rule stays, and is_valid() says so.

namespace towpath::inline TOWPATH_ABI {

class ReaderList {
 public:
  static constexpr std::size_t max_names = 16;
  static constexpr std::size_t max_text = 480;

  constexpr ReaderList() noexcept = default;
  constexpr ReaderList(std::initializer_list<std::string_view> names) noexcept {
    for (const auto name : names) add(name);
  }
  /// As text() writes it: "recorder,planner".
  static constexpr ReaderList of(std::string_view text) noexcept {
    ReaderList list;
    while (!text.empty()) {
      const auto name = text.substr(0, text.find(','));
      list.add(name);
      text.remove_prefix(name.size() < text.size() ? name.size() + 1 : text.size());
    }
    return list;
  }

  /// Adds a name; one that is there already changes nothing.
  constexpr void add(std::string_view name) noexcept {
    if (contains(name)) return;
    const bool fits = count_ < max_names && size_ + name.size() + 1 <= max_text && check_reader_name(name).has_value();
    if (!fits) return void(valid_ = false);
    if (size_ > 0) text_[size_++] = ',';
    for (const char c : name) text_[size_++] = c;
    ++count_;
  }

  [[nodiscard]] constexpr bool contains(std::string_view name) const noexcept {
    for (std::size_t i = 0; i < count_; ++i)
      if ((*this)[i] == name) return true;
    return false;
  }
  [[nodiscard]] constexpr std::string_view operator[](std::size_t i) const noexcept {
    std::string_view left = text();
    for (; i > 0; --i) left.remove_prefix(left.find(',') + 1);
    return left.substr(0, left.find(','));
  }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return count_; }
  [[nodiscard]] constexpr bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] constexpr std::string_view text() const noexcept { return {text_.data(), size_}; }
  [[nodiscard]] constexpr bool is_valid() const noexcept { return valid_; }

  friend constexpr bool operator==(const ReaderList&, const ReaderList&) noexcept = default;

 private:
  std::array<char, max_text> text_{};
  std::size_t size_ = 0;
  std::size_t count_ = 0;
  bool valid_ = true;
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/topic/topic_config.hpp ----

// What a topic is like. Fill the fields you care about:  {.partitions = 4, .retention = {.bytes = 1_GiB, .age = 30s}}
// The first process that names a topic creates it with its config; after that the stored values win over what a process
// asks for, and Admin::alter_topic changes those that may change.

namespace towpath::inline TOWPATH_ABI {

/// When old records go. Whole segments go, oldest first, as soon as either limit is passed.
struct Retention {
  static constexpr std::uint64_t unlimited = ~std::uint64_t{0};
  static constexpr std::uint64_t by_storage = ~std::uint64_t{0} - 1;

  /// Per partition, segment files and spares counted. Default by storage: in memory and on tmpfs 256 MiB, at most 1/8
  /// of what is free; on disk unlimited. Mutable.
  std::uint64_t bytes = by_storage;
  /// By the timestamp of a segment's newest record. Default 7 days; Duration::max() is unlimited. Mutable.
  Duration age = std::chrono::hours{24 * 7};

  friend constexpr bool operator==(const Retention&, const Retention&) noexcept = default;
};

/// What a send does when retention would have to drop records that somebody still wants.
enum class OnFull : std::uint32_t {
  drop_oldest = 0,  ///< as Kafka: the oldest segment goes, whoever has not read it is told by Batch::missed()
  block = 1,        ///< it waits for the named readers, up to ProducerConfig::max_block, then says timed_out
  fail = 2,         ///< it says queue_full
};

/// What of the log outlives the machine's. A crash, kill or freeze of processes loses nothing that was sent, whatever
/// is set. When the kernel crashes, the machine is reset or the power fails, the log is cut back to what reached the
/// disk: a prefix, without holes and without damaged records. A clean restart loses nothing that a reader could have
/// seen.
enum class DurabilityKind : std::uint32_t {
  none = 0,      ///< the kernel writes when it likes: what it had not written is lost, 30 s worth and more
  interval = 1,  ///< maintenance flushes every so often: the last interval, and what a round takes, is lost. Without
                 ///< maintenance as none. Producer::flush() flushes at once
  each = 2,      ///< send() returns after its record and all before it are on stable storage: nothing acknowledged is
                 ///< lost. Costs a flush of the disk, shared by all who send meanwhile
};

struct Durability {
  static constexpr Duration by_storage = Duration::zero();

  DurabilityKind kind = DurabilityKind::interval;
  /// For `interval`: 1 ms or more. Default by storage: on disk 1 s; in memory and on tmpfs, which a power cut takes
  /// whole, the kind becomes none.
  Duration interval = by_storage;

  friend constexpr bool operator==(const Durability&, const Durability&) noexcept = default;
};

/// How many live Producers a partition may have at a time.
enum class Writers : std::uint32_t {
  many = 0,  ///< any number of them, in any processes
  one = 1,   ///< one: a second is told `busy` until the first is gone. Its sends are cheaper, and nobody gives up its
             ///< record while it lives: if it stands still, the readers wait for it
};

struct TopicConfig {
  /// 1 to 32,767. More can be added later, never taken away. Default 1.
  std::int32_t partitions = 1;
  /// Size of a segment's file: 256 KiB to 4 GiB, rounded up to 64 KiB. The first one is 256 KiB, each next four times
  /// larger up to this. Default 64 MiB. Mutable.
  std::uint64_t segment_bytes = std::uint64_t{64} << 20;
  Retention retention{};
  /// Largest record: value, key and headers together; 1 B to segment_bytes, below 2 GiB. Larger is message_too_large.
  /// Default (0): 16 MiB, or segment_bytes if that is less. Mutable.
  std::uint64_t max_message_bytes = 0;
  /// Default drop_oldest. Mutable.
  OnFull on_full = OnFull::drop_oldest;
  /// Whom block and fail wait for: Consumers with a ConsumerConfig::name of this list. One that never came counts as
  /// standing at the log's start, one that is gone where it stood last: take it out of the list to go on without it.
  /// That holds for each partition: one that reads some of them only holds the others up for ever.
  /// Default: nobody. Mutable.
  ReaderList readers{};
  /// Default: interval, 1 s, on disk; none in memory and on tmpfs. Mutable.
  Durability durability{};
  /// How long a live but frozen producer's open record may hold readers up before it is skipped (and written again when
  /// the producer goes on). 1 ms to 1 h, default 1 s. Mutable.
  Duration grace = std::chrono::seconds{1};
  /// Records begin at multiples of 8, 16, 32 or 64 bytes; 64 costs space and saves tail latency. 0 takes what the topic
  /// has, or 8; never less than the value type's own alignment.
  /// Fixed at creation: another value than the topic's is config_mismatch.
  std::uint64_t record_alignment = 0;
  /// Default many. Fixed at creation: whoever opens the topic gets what it has.
  Writers writers = Writers::many;

  friend constexpr bool operator==(const TopicConfig&, const TopicConfig&) noexcept = default;
};

/// Errors: invalid_argument, with the field's name.
constexpr Result<void> check_topic_config(const TopicConfig& config) noexcept {
  const auto bad = [](const char* field) { return Failure{Errc::invalid_argument, field}; };
  if (config.partitions < 1 || config.partitions > max_partitions) return bad("partitions: 1 to 32767");
  if (config.segment_bytes < log::first_segment_bytes || config.segment_bytes > log::max_segment_bytes)
    return bad("segment_bytes: 256 KiB to 4 GiB");
  if (config.max_message_bytes > std::min(config.segment_bytes, log::max_record_bytes))
    return bad("max_message_bytes: 1 to segment_bytes, and below 2 GiB");
  if (config.retention.age <= Duration::zero()) return bad("retention.age: above zero");
  if (config.retention.bytes == 0) return bad("retention.bytes: above zero");
  if (config.retention.bytes > std::uint64_t{std::numeric_limits<std::int64_t>::max()} &&
      config.retention.bytes < Retention::by_storage)
    return bad("retention.bytes: below 2^63, or Retention::unlimited");
  if (config.grace < std::chrono::milliseconds{1} || config.grace > std::chrono::hours{1})
    return bad("grace: 1 ms to 1 h");
  if (const auto a = config.record_alignment; a != 0 && a != 8 && a != 16 && a != 32 && a != 64)
    return bad("record_alignment: 8, 16, 32 or 64");
  if (config.writers > Writers::one) return bad("writers: many or one");
  if (config.on_full > OnFull::fail) return bad("on_full: drop_oldest, block or fail");
  if (!config.readers.is_valid()) return bad("readers: 16 names at most, each as a topic's, 480 characters in all");
  if (config.durability.kind > DurabilityKind::each) return bad("durability: none, interval or each");
  if (config.durability.interval != Durability::by_storage &&
      (config.durability.interval < std::chrono::milliseconds{1} ||
       config.durability.interval > std::chrono::hours{24}))
    return bad("durability.interval: 1 ms to 24 h");
  return {};
}

/// Name, value type and config of a topic, stated once in a header that every process includes:
///   inline constexpr towpath::TopicSpec<Scan> lidar_front{"lidar.front", {.partitions = 2}};
template <class T>
struct TopicSpec {
  std::string_view name;
  TopicConfig config{};
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/topic/config_text.hpp ----

// A topic's config file: Kafka's property names, one "name=value" per line; what Kafka has no name for begins with
// "towpath.". Lines that begin with # are for people. Read strictly: what is missing or makes no sense is corrupt.

namespace towpath::inline TOWPATH_ABI::detail {

/// All that the config file holds.
struct StoredConfig {
  TopicConfig config;
  std::string id;  ///< topic id: 32 hexadecimal digits, another after the topic is deleted and made again
  std::string type_name;
  std::string encoding;
  std::uint64_t type_size = 0;
  std::uint64_t type_alignment = 1;
  bool checksummed = false;
};

inline constexpr std::string_view on_full_names[] = {"drop_oldest", "block", "fail"};
inline constexpr std::string_view writers_names[] = {"many", "one"};
inline constexpr std::string_view durability_names[] = {"none", "interval", "each"};

template <class Enum, std::size_t N>
constexpr std::string_view text_of(const std::string_view (&names)[N], Enum value) noexcept {
  const auto i = static_cast<std::size_t>(value);
  return i < N ? names[i] : std::string_view{};
}
/// N for a word that is none of them: a value that check_topic_config() refuses.
template <class Enum, std::size_t N>
constexpr Enum value_of(const std::string_view (&names)[N], std::string_view text) noexcept {
  return static_cast<Enum>(std::find(std::begin(names), std::end(names), text) - std::begin(names));
}

inline std::string to_text(const StoredConfig& stored) {
  using std::chrono::milliseconds;
  const auto& config = stored.config;
  const auto millis = [](Duration time) { return std::chrono::duration_cast<milliseconds>(time).count(); };
  std::string text = "# towpath topic\n";
  const auto put = [&](const char* name, const std::string& value) { text.append(name).append("=" + value + "\n"); };
  const bool unlimited = config.retention.bytes == Retention::unlimited;
  const bool ageless = config.retention.age == Duration::max();
  put("version", "0");
  put("topic.id", stored.id);
  put("cleanup.policy", "delete");
  put("segment.bytes", std::to_string(config.segment_bytes));
  put("retention.bytes", unlimited ? "-1" : std::to_string(config.retention.bytes));
  put("retention.ms", ageless ? "-1" : std::to_string(std::max<std::int64_t>(1, millis(config.retention.age))));
  put("max.message.bytes", std::to_string(config.max_message_bytes));
  put("towpath.grace.ms", std::to_string(millis(config.grace)));
  put("flush.ms", std::to_string(millis(config.durability.interval)));
  put("towpath.durability", std::string{text_of(durability_names, config.durability.kind)});
  put("towpath.on.full", std::string{text_of(on_full_names, config.on_full)});
  put("towpath.readers", std::string{config.readers.text()});
  put("towpath.record.alignment", std::to_string(config.record_alignment));
  put("towpath.writers", std::string{text_of(writers_names, config.writers)});
  put("towpath.checksummed", stored.checksummed ? "1" : "0");
  put("towpath.type.name", stored.type_name);
  put("towpath.type.encoding", stored.encoding);
  put("towpath.type.size", std::to_string(stored.type_size));
  put("towpath.type.alignment", std::to_string(stored.type_alignment));
  return text;
}

/// Reads one property after the other; remembers whether one was missing or no number.
class PropertyReader {
 public:
  explicit PropertyReader(std::string_view text) {
    while (!text.empty()) {
      const auto line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      const auto equals = line.find('=');
      if (line.empty() || line.front() == '#' || equals == std::string_view::npos) continue;
      properties_.emplace(line.substr(0, equals), line.substr(equals + 1));
    }
  }

  std::string text(const char* name) {
    const auto found = properties_.find(name);
    if (found != properties_.end()) return found->second;
    is_whole_ = false;
    return {};
  }

  /// Of a property that older files lack.
  std::string text_or(const char* name, const char* otherwise) const {
    const auto found = properties_.find(name);
    return found != properties_.end() ? found->second : otherwise;
  }

  std::int64_t number(const char* name) {
    const auto value = text(name);
    std::int64_t parsed = 0;
    const auto end = value.data() + value.size();
    if (const auto done = std::from_chars(value.data(), end, parsed); done.ec != std::errc{} || done.ptr != end)
      is_whole_ = false;
    return parsed;
  }

  /// A number that is not negative.
  std::uint64_t count(const char* name) {
    const auto parsed = number(name);
    if (parsed < 0) is_whole_ = false;
    return static_cast<std::uint64_t>(parsed);
  }

  [[nodiscard]] bool is_whole() const noexcept { return is_whole_; }

 private:
  std::map<std::string, std::string> properties_;
  bool is_whole_ = true;
};

/// Errors: corrupt, newer_format.
inline Result<StoredConfig> parse_config(std::string_view text) {
  PropertyReader in{text};
  if (const auto version = in.number("version"); in.is_whole() && version > 0)
    return Failure{Errc::newer_format, "a topic's config file is of a newer format"};
  StoredConfig stored;
  auto& config = stored.config;
  stored.id = in.text("topic.id");
  config.segment_bytes = in.count("segment.bytes");
  const auto kept = in.text("retention.bytes");
  config.retention.bytes = kept == "-1" ? Retention::unlimited : in.count("retention.bytes");
  const auto age_ms = in.number("retention.ms");
  config.retention.age =
      age_ms < 0 || age_ms > Duration::max().count() / 1'000'000 ? Duration::max() : std::chrono::milliseconds{age_ms};
  config.max_message_bytes = in.count("max.message.bytes");
  config.grace = std::chrono::milliseconds{std::min<std::uint64_t>(in.count("towpath.grace.ms"), 3'600'000)};
  config.record_alignment = in.count("towpath.record.alignment");
  config.on_full = value_of<OnFull>(on_full_names, in.text("towpath.on.full"));
  config.durability.kind = value_of<DurabilityKind>(durability_names, in.text("towpath.durability"));
  config.durability.interval = std::chrono::milliseconds{std::min<std::uint64_t>(in.count("flush.ms"), 86'400'001)};
  config.readers = ReaderList::of(in.text("towpath.readers"));
  // Topics of before there was a choice have many.
  config.writers = value_of<Writers>(writers_names, in.text_or("towpath.writers", "many"));
  stored.checksummed = in.number("towpath.checksummed") != 0;
  stored.type_name = in.text("towpath.type.name");
  stored.encoding = in.text("towpath.type.encoding");
  stored.type_size = in.count("towpath.type.size");
  stored.type_alignment = in.count("towpath.type.alignment");
  if (!in.is_whole() || !is_alignment(stored.type_alignment) || config.record_alignment == 0 ||
      config.max_message_bytes == 0 || !check_topic_config(config))
    return Failure{Errc::corrupt, "a topic's config file lacks a property or holds a senseless value"};
  return stored;
}

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/topic/reader_file.hpp ----

// topics/<topic>/reader.<name>: how far a reader with a name has come, for topics that wait for it and for people.
// A header and an entry per partition; it grows at its end, and outlives the reader. One live Consumer has a name, by a
// lock byte that the kernel frees when it dies; it writes its entries, everybody may read them.

namespace towpath::inline TOWPATH_ABI::detail {

inline constexpr std::uint64_t reader_magic = 0x3052'5057'4F54'0A0Du;  // "\r\nTOWPR0"

struct ReaderHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t entry_bytes;
  std::uint64_t reserved[6];
};
static_assert(sizeof(ReaderHeader) == 64);

struct ReaderEntry {
  shm::Word64 stands_at;  // the offset that it reads next, + 1; 0: it never came
  shm::Word64 missed;     // offsets that were gone when it got there
};
static_assert(sizeof(ReaderEntry) == 16);

class ReaderFile {
 public:
  static std::string name_of(std::string_view reader) { return "reader." + std::string{reader}; }

  /// Writes nothing where it stands already. Errors: no_space, permission_denied.
  static Result<void> make(shm::Directory& directory, const std::string& file, std::int32_t partitions) {
    if (directory.identify(file.c_str())) return {};
    ReaderHeader header{};
    header.magic = reader_magic;
    header.version = log::segment_format_version;
    header.entry_bytes = sizeof(ReaderEntry);
    std::string bytes(bytes_for(partitions), '\0');
    std::memcpy(bytes.data(), &header, sizeof header);
    auto made = shm::write_file(directory, file.c_str(), bytes, 0660);
    return made || made.error() == Errc::already_exists ? Result<void>{} : made;
  }

  /// Opens what stands there, and makes it longer if it has too few entries and may be written.
  /// Errors: not_found, corrupt, newer_format, no_space, permission_denied, and those of mapping.
  static Result<ReaderFile> open(shm::Directory& directory, const std::string& file, std::int32_t partitions,
                                 bool writable) {
    ReaderFile found;
    const auto info = directory.identify(file.c_str());
    if (!info) return info.error();
    const bool grows = writable && info->bytes < bytes_for(partitions);
    if (grows) {
      auto fd = directory.open(file.c_str(), shm::Access::read_write);
      if (!fd) return fd.error();
      if (auto room = shm::allocate(*fd, 0, bytes_for(partitions)); !room) return room.error();
    }
    const auto view = writable ? shm::View::whole : shm::View::readable;
    // As much as there is: a shorter map of before would do for the header.
    const auto at_least = grows ? bytes_for(partitions) : std::max<std::size_t>(info->bytes, sizeof(ReaderHeader));
    auto region = shm::RegionCache::instance().map(directory, file.c_str(), view, at_least);
    if (!region) return region.error();
    const auto* header = reinterpret_cast<const ReaderHeader*>((*region)->data());
    if (header->magic != reader_magic || header->entry_bytes != sizeof(ReaderEntry))
      return Failure{Errc::corrupt, "a reader's file"};
    if (header->version > log::segment_format_version)
      return Failure{Errc::newer_format, "a reader's file is of a newer format"};
    found.region_ = std::move(*region);
    return found;
  }

  /// Null when the file has no entry for it yet.
  [[nodiscard]] ReaderEntry* entry(std::int32_t partition) const noexcept {
    if (bytes_for(partition + 1) > region_->size()) return nullptr;
    return reinterpret_cast<ReaderEntry*>(region_->data() + sizeof(ReaderHeader)) + partition;
  }

 private:
  static std::size_t bytes_for(std::int32_t partitions) noexcept {
    return sizeof(ReaderHeader) + static_cast<std::size_t>(partitions) * sizeof(ReaderEntry);
  }

  std::shared_ptr<shm::Region> region_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/topic/reader_table.hpp ----

// Whom a topic that is on_full = block or fail waits for, as one process sees it: the readers of the config's list and
// where each stands. Asked when a segment is full or retired, never per record. Thread-safe.

namespace towpath::inline TOWPATH_ABI::detail {

class ReaderTable final : public log::ReaderHold {
 public:
  /// Both outlive it.
  void watch(shm::Directory& directory, const log::TopicWords& words) noexcept {
    directory_ = &directory, words_ = &words;
  }

  /// The lowest offset that a listed reader still needs; the largest number when there is none. A reader that never
  /// came needs all. A list that cannot be read counts as it was known last; before that as one that needs all.
  std::uint64_t lowest(std::int32_t partition) noexcept override {
    const std::lock_guard hold{mutex_};
    if (!directory_) return nobody;
    follow_config();
    if (!known_) return 0;
    std::uint64_t lowest = nobody;
    for (std::size_t i = 0; i < list_.size(); ++i) lowest = std::min(lowest, stands_at(i, partition));
    return lowest;
  }

  [[nodiscard]] bool contains(std::string_view reader) {
    const std::lock_guard hold{mutex_};
    if (directory_) follow_config();
    return directory_ && list_.contains(reader) && words_->on_full.load(shm::relaxed) != 0;
  }

 private:
  static constexpr std::uint64_t nobody = ~std::uint64_t{0};

  void follow_config() {
    const std::uint64_t version = words_->config_version.load(shm::acquire);  // pairs with publish_settings()
    if (known_ && version == version_) return;
    const auto text = shm::read_file(*directory_, "config", 64 * 1024);
    const auto stored = text ? parse_config(*text) : Result<StoredConfig>{text.error()};
    if (!stored) return;
    list_ = stored->config.readers;
    files_.clear();
    files_.resize(list_.size());
    version_ = version, known_ = true;
  }

  std::uint64_t stands_at(std::size_t i, std::int32_t partition) {
    auto& file = files_[i];
    if (!file || !file->entry(partition)) {
      auto opened = ReaderFile::open(*directory_, ReaderFile::name_of(list_[i]), partition + 1, false);
      if (!opened || !opened->entry(partition)) return 0;
      file = std::make_unique<ReaderFile>(std::move(*opened));
    }
    const std::uint64_t stands =
        file->entry(partition)->stands_at.load(shm::acquire);  // pairs with ReaderSeat::publish()
    return stands == 0 ? 0 : stands - 1;
  }

  std::mutex mutex_;
  shm::Directory* directory_ = nullptr;
  const log::TopicWords* words_ = nullptr;
  std::uint64_t version_ = 0;
  bool known_ = false;
  ReaderList list_;
  std::vector<std::unique_ptr<ReaderFile>> files_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/topic/topic_files.hpp ----

// One topic as one process has it open: its config, its state and wait blocks, and a PartitionLog for each partition
// that somebody asked for. Shared by all handles of the topic in this process; thread-safe.

namespace towpath::inline TOWPATH_ABI::detail {

/// What a topic is opened for.
enum class Purpose {
  use,
  deletion,  ///< also with a damaged config: for the flags of its partitions, never for its records
};

class TopicFiles {
 public:
  /// Opens what stands in topics/<name>/. Errors: unknown_topic, corrupt, newer_format, and those of the system.
  static Result<std::shared_ptr<TopicFiles>> open(std::shared_ptr<BusCore> core, const std::string& name,
                                                  Purpose purpose = Purpose::use) {
    auto topic = std::shared_ptr<TopicFiles>{new TopicFiles{std::move(core), name}};
    auto folder = topic->core_->directory().open_folder(("topics/" + name).c_str());
    if (!folder)
      return folder.error() == Errc::not_found ? Failure{Errc::unknown_topic, "no topic of that name"} : folder.error();
    topic->folder_ = std::move(*folder);
    const auto text = shm::read_file(*topic->folder_, "config", 64 * 1024);
    auto stored = text ? parse_config(*text) : Result<StoredConfig>{text.error()};
    if (stored.error() == Errc::not_found) return Failure{Errc::unknown_topic, "the topic is going away"};
    if (!stored && (stored.error() != Errc::corrupt || purpose == Purpose::use)) return stored.error();
    if (stored) topic->stored_ = std::move(*stored);
    topic->set_format();
    auto opened = topic->open_pins();
    if (opened) opened = topic->map_blocks(1);
    if (opened.error() == Errc::not_found)
      return topic->is_in_place() ? Failure{Errc::corrupt, "a topic lacks one of its files"}
                                  : Failure{Errc::unknown_topic, "the topic is going away"};
    if (!opened) return opened.error();
    return topic;
  }

  TopicFiles(const TopicFiles&) = delete;
  TopicFiles& operator=(const TopicFiles&) = delete;
  ~TopicFiles() {
    if (folder_) shm::RegionCache::instance().forget(*folder_);
  }

  [[nodiscard]] BusCore& core() const noexcept { return *core_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const StoredConfig& stored() const noexcept { return stored_; }
  [[nodiscard]] const log::PartitionFormat& format() const noexcept { return format_; }
  [[nodiscard]] log::TopicWords& words() const noexcept { return *words_; }
  [[nodiscard]] bool is_writable() const noexcept { return writable_; }
  /// The topic's folder, whatever it is called by now.
  [[nodiscard]] shm::Directory& directory() const noexcept { return *folder_; }

  /// Is the reader on the topic's list, so that what it has not read is kept?
  [[nodiscard]] bool waits_for(std::string_view reader) const { return readers_.contains(reader); }

  /// How many partitions there are now; another process may add some.
  [[nodiscard]] std::int32_t partitions() const noexcept {
    return static_cast<std::int32_t>(
        std::min(header_->partitions.load(shm::acquire), static_cast<std::uint32_t>(max_partitions)));
  }

  /// The log of a partition; lives as long as this. Errors: unknown_partition, corrupt.
  Result<const log::PartitionLog*> partition(PartitionId id) {
    const std::lock_guard hold{mutex_};
    if (id.value < 0 || id.value >= partitions())
      return Failure{Errc::unknown_partition, "the topic has fewer partitions"};
    if (const auto known = logs_.find(id.value); known != logs_.end()) return known->second.get();
    if (auto mapped = map_blocks(static_cast<std::uint64_t>(id.value) + 1); !mapped) return mapped.error();
    auto log = std::make_unique<log::PartitionLog>(parts(id.value));
    return logs_.emplace(id.value, std::move(log)).first->second.get();
  }

  /// A descriptor of the pins file that may hold locks, one per Consumer. Errors: too_many_files, permission_denied.
  Result<std::shared_ptr<log::Pins>> open_pins_holder() const {
    auto file = shm::LockDescriptor::open([this] { return folder_->open("pins", shm::Access::read); });
    if (!file) return file.error();
    return std::make_shared<log::Pins>(log::Pins{std::move(*file), {}, name_});
  }

  /// Says that the topic has `count` partitions, whose blocks are allocated and filled.
  void publish_partitions(std::uint32_t count) noexcept {
    header_->partitions.store(count, shm::release);   // pairs with the acquire in partitions()
    words_->config_version.fetch_add(1, shm::release);  // producers look again (FastPath)
  }

  /// Words of partition `i` of a mapped state file.
  static log::PartitionState* state_block(std::byte* file, std::uint64_t i) noexcept {
    return reinterpret_cast<log::PartitionState*>(file + log::blocks_offset + i * sizeof(log::PartitionState));
  }

 private:
  TopicFiles(std::shared_ptr<BusCore> core, std::string name) : core_{std::move(core)}, name_{std::move(name)} {}

  /// Is the held folder still what the topic's name stands for?
  [[nodiscard]] bool is_in_place() const {
    const auto held = folder_->identify("config");
    const auto named = core_->directory().identify(("topics/" + name_ + "/config").c_str());
    return held && named && held->id == named->id;
  }

  void set_format() {
    const auto storage = core_->directory().storage();
    format_.record_alignment = stored_.config.record_alignment;
    format_.value_alignment = std::max(least_value_alignment, stored_.type_alignment);
    format_.typical_frame = stored_.type_size == 0 ? 0
                                                   : align_up(align_up(16, format_.value_alignment) + stored_.type_size,
                                                              format_.record_alignment);
    format_.checksummed = stored_.checksummed;
    format_.one_writer = stored_.config.writers == Writers::one;
    format_.recycling = storage != shm::Storage::copy_on_write;
  }

  Result<void> open_pins() {
    auto asker = folder_->open("pins", shm::Access::read_write);
    if (!asker) asker = folder_->open("pins", shm::Access::read);  // read-only: never asks
    if (!asker) return asker.error();
    pins_ = std::move(*asker);
    return {};
  }

  /// Maps state and wait so far that the first `blocks` partitions are there; older maps stay, pointers into them too.
  Result<void> map_blocks(std::uint64_t blocks) {
    if (blocks <= mapped_) return {};
    const auto state_bytes = log::blocks_offset + blocks * sizeof(log::PartitionState);
    const auto wait_bytes = log::blocks_offset + blocks * sizeof(log::WaitBlock);
    bool writable = false;
    bool may_wait = false;
    auto state = map_file("state", log::state_magic, sizeof(log::PartitionState), state_bytes, writable);
    if (!state) return state.error();
    auto wait = map_file("wait", log::wait_magic, sizeof(log::WaitBlock), wait_bytes, may_wait);
    if (!wait) return wait.error();
    if (header_ && ((writable_ && !writable) || (may_wait_ && !may_wait)))
      return Failure{Errc::permission_denied, "the right to write the topic's files was taken away"};
    state_ = *state, wait_ = *wait;
    maps_.push_back(state_), maps_.push_back(wait_);
    if (!header_) {  // once: other threads read them without a lock, and every map shows the same words
      header_ = reinterpret_cast<log::BlocksHeader*>(state_->data());
      words_ = reinterpret_cast<log::TopicWords*>(state_->data() + log::topic_words_offset);
      writable_ = writable && may_wait, may_wait_ = may_wait;
      readers_.watch(*folder_, *words_);
    }
    mapped_ = (state_->size() - log::blocks_offset) / sizeof(log::PartitionState);
    mapped_ = std::min(mapped_, (wait_->size() - log::blocks_offset) / sizeof(log::WaitBlock));
    return {};
  }

  /// Writable if the rights allow it; `writable` says what became of it.
  Result<std::shared_ptr<shm::Region>> map_file(const char* file, std::uint64_t magic, std::uint32_t block_bytes,
                                                std::uint64_t bytes, bool& writable) {
    auto& cache = shm::RegionCache::instance();
    writable = !core_->is_read_only();
    auto region = writable ? cache.map(*folder_, file, shm::View::whole, bytes)
                           : Result<std::shared_ptr<shm::Region>>{Errc::permission_denied};
    if (!region && region.error() == Errc::permission_denied) {
      writable = false;
      region = cache.map(*folder_, file, shm::View::readable, bytes);
    }
    if (!region) return region;
    const auto* header = reinterpret_cast<const log::BlocksHeader*>((*region)->data());
    if (header->magic != magic || header->block_bytes != block_bytes)
      return Failure{Errc::corrupt, "a topic's state or wait file"};
    if (header->version > log::segment_format_version)
      return Failure{Errc::newer_format, "a topic's state file is of a newer format"};
    return region;
  }

  log::PartitionParts parts(std::int32_t id) const {
    log::PartitionParts parts;
    parts.directory = folder_.get();
    parts.bus = &core_->directory();
    parts.folder = std::to_string(id);
    parts.partition = id;
    parts.state = state_block(state_->data(), static_cast<std::uint64_t>(id));
    parts.words = words_;
    auto* waits = reinterpret_cast<log::WaitBlock*>(wait_->data() + log::blocks_offset) + id;
    parts.waits = may_wait_ ? waits : nullptr;
    parts.members = core_->members();
    parts.pins = &pins_;
    parts.maintainer = &core_->control().maintainer;
    parts.readers = &readers_;
    parts.writable = writable_;
    parts.format = format_;
    parts.clock = core_->config().clock;
    return parts;
  }

  std::shared_ptr<BusCore> core_;
  std::string name_;
  std::unique_ptr<shm::Directory> folder_;
  StoredConfig stored_;
  log::PartitionFormat format_;
  shm::FileDescriptor pins_;
  std::mutex mutex_;
  std::shared_ptr<shm::Region> state_;
  std::shared_ptr<shm::Region> wait_;
  std::vector<std::shared_ptr<shm::Region>> maps_;
  log::BlocksHeader* header_ = nullptr;
  log::TopicWords* words_ = nullptr;
  std::uint64_t mapped_ = 0;
  bool writable_ = false;
  bool may_wait_ = false;
  mutable ReaderTable readers_;
  std::unordered_map<std::int32_t, std::unique_ptr<log::PartitionLog>> logs_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/consume/reader_seat.hpp ----

// A Consumer with a name, in one topic: it alone has the name while it lives, and leaves behind how far it came, for
// topics that wait for it and for the next Consumer of that name. One thread. A crash leaves what the last poll began
// with: what was polled then is read again.

namespace towpath::inline TOWPATH_ABI::detail {

class ReaderSeat {
 public:
  /// `name` was checked. Errors: busy (another live Consumer has the name), read_only, permission_denied (no right to
  /// make its file), no_space, corrupt, newer_format, and those of mapping.
  static Result<ReaderSeat> take(const TopicFiles& files, const std::string& name) {
    if (!files.core().members())
      return Failure{Errc::read_only, "a consumer with a name leaves a trace; this may only read"};
    auto& directory = files.directory();
    const auto file = ReaderFile::name_of(name);
    if (auto made = ReaderFile::make(directory, file, files.partitions()); !made) return made.error();
    ReaderSeat seat;
    auto lock = shm::LockDescriptor::open([&] { return directory.open(file.c_str(), shm::Access::read_write); });
    if (!lock) return lock.error();
    if (auto taken = shm::try_lock(lock->get(), 0, shm::LockKind::write); !taken)
      return taken.error() == Errc::busy ? Failure{Errc::busy, "another live Consumer has this name"} : taken.error();
    seat.lock_ = std::move(*lock);
    seat.directory_ = &directory;
    seat.file_ = file;
    if (auto grown = seat.grow(files.partitions()); !grown) return grown.error();
    return seat;
  }

  /// Where the last Consumer of this name stood; none: there was none.
  [[nodiscard]] std::optional<std::uint64_t> stood_at(std::int32_t partition) const noexcept {
    const auto* entry = opened_->entry(partition);
    const std::uint64_t stands = entry ? entry->stands_at.load(shm::acquire) : 0;
    return stands == 0 ? std::nullopt : std::optional{stands - 1};
  }

  /// Everything below `position` is done with: it may go. Pairs with the acquire in ReaderTable.
  void publish(std::int32_t partition, std::uint64_t position) const noexcept {
    if (auto* entry = opened_->entry(partition)) entry->stands_at.store(position + 1, shm::release);
  }
  void missed(std::int32_t partition, std::uint64_t count) const noexcept {
    if (auto* entry = opened_->entry(partition)) entry->missed.fetch_add(count, shm::relaxed);
  }

  /// Room for the topic's partitions. Errors: no_space, and those of mapping.
  Result<void> grow(std::int32_t partitions) {
    if (opened_ && opened_->entry(partitions - 1)) return {};
    auto opened = ReaderFile::open(*directory_, file_, partitions, true);
    if (!opened) return opened.error();
    opened_ = std::move(*opened);
    return {};
  }

 private:
  shm::LockDescriptor lock_;
  shm::Directory* directory_ = nullptr;
  std::string file_;
  std::optional<ReaderFile> opened_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/core/pattern.hpp ----

// A Pattern is a POSIX extended regular expression over names of topics, with the meaning that Kafka's C clients give
// it: it is searched for anywhere in the name unless ^ and $ anchor it.
//   auto pattern = Pattern::compile("^my\\.");   if (pattern && pattern->matches("my.topic")) ...
// Bad patterns, and those that would take much memory or time, are refused when they are compiled. Belongs to one
// thread.

namespace towpath::inline TOWPATH_ABI {

class Pattern {
 public:
  static constexpr std::size_t max_length = 512;  ///< characters of a pattern
  static constexpr std::size_t max_weight = 500;  ///< its length once repetitions are written out: a{3} is aaa

  /// Errors: invalid_pattern, with a sentence that says why. explain() has the system's own words.
  static Result<Pattern> compile(std::string_view text) {
    if (auto fine = check(text); !fine) return fine.error();
    Compiled compiled{new regex_t};
    if (const int refused = ::regcomp(compiled.get(), std::string{text}.c_str(), flags); refused != 0) {
      delete compiled.release();  // nothing to free in it
      return Failure{Errc::invalid_pattern, detail_of(refused)};
    }
    return Pattern{std::string{text}, std::move(compiled)};
  }

  /// Why `text` is refused, with the text and the system's words in the program's language; "" if it is fine.
  static std::string explain(std::string_view text) {
    if (const auto fine = check(text); !fine) return quote(text, fine.error().detail);
    Compiled compiled{new regex_t};
    const int refused = ::regcomp(compiled.get(), std::string{text}.c_str(), flags);
    if (refused == 0) return {};
    char words[256];
    ::regerror(refused, compiled.get(), words, sizeof words);
    delete compiled.release();
    return quote(text, words);
  }

  [[nodiscard]] bool matches(const std::string& name) const noexcept {
    return ::regexec(compiled_.get(), name.c_str(), 0, nullptr, 0) == 0;
  }

  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  static constexpr int flags = REG_EXTENDED | REG_NOSUB;

  struct Free {
    void operator()(regex_t* compiled) const noexcept {
      ::regfree(compiled);
      delete compiled;
    }
  };
  using Compiled = std::unique_ptr<regex_t, Free>;

  /// A part of a pattern that repetition takes as a whole, and what stands before it in its group.
  struct Group {
    std::size_t before = 0;
    std::size_t last = 0;

    void add(std::size_t weight) noexcept { before = std::min(before + last, max_weight + 1), last = weight; }
    void repeat(std::size_t times) noexcept { last = std::min(last * times, max_weight + 1); }
    [[nodiscard]] std::size_t weight() const noexcept { return std::min(before + last + 1, max_weight + 1); }
  };

  Pattern(std::string text, Compiled compiled) : text_{std::move(text)}, compiled_{std::move(compiled)} {}

  static std::string quote(std::string_view text, const char* why) {
    return "\"" + std::string{text.substr(0, max_length)} + "\": " + why;
  }

  /// What regcomp would take and should not: it writes repetitions out, and references back take exponential time.
  static Result<void> check(std::string_view text) {
    const auto bad = [](const char* why) { return Failure{Errc::invalid_pattern, why}; };
    if (text.empty()) return bad("the pattern is empty; .* is every topic");
    if (text.size() > max_length) return bad("the pattern is longer than 512 characters");
    if (text.find('\0') != text.npos) return bad("the pattern has a zero byte in it");
    std::vector<Group> groups(1);
    for (std::size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (c == '\\' && i + 1 < text.size() && text[i + 1] >= '1' && text[i + 1] <= '9')
        return bad("references back (\\1) are no part of extended regular expressions");
      if (c == '(') {
        groups.emplace_back();
      } else if (c == ')' && groups.size() > 1) {
        const std::size_t inside = groups.back().weight();
        groups.pop_back();
        groups.back().add(inside);
      } else if (c == '+') {
        groups.back().repeat(2);
      } else if (c == '{') {
        groups.back().repeat(times_of(text.substr(i + 1)));
      } else if (c != '*' && c != '?') {
        groups.back().add(1);
        if (c == '[') i = end_of_bracket(text, i);
        if (c == '\\') ++i;
      }
    }
    std::size_t weight = 0;
    for (const auto& group : groups) weight += group.weight();
    if (weight <= max_weight) return {};
    return bad("the pattern is longer than 500 characters once its repetitions are written out");
  }

  /// How often what stands before "{" is written out: the largest number up to "}", one more when it has no end.
  static std::size_t times_of(std::string_view text) noexcept {
    std::size_t most = 0;
    std::size_t number = 0;
    for (const char c : text.substr(0, text.find('}'))) {
      number = c >= '0' && c <= '9' ? std::min(number * 10 + static_cast<std::size_t>(c - '0'), max_weight + 1) : 0;
      most = std::max(most, number);
    }
    return most + 1;
  }

  /// Where the bracket that begins at `from` ends: [^]] and [[:alpha:]] have a ] inside.
  static std::size_t end_of_bracket(std::string_view text, std::size_t from) noexcept {
    std::size_t i = from + 1;
    if (i < text.size() && text[i] == '^') ++i;
    if (i < text.size() && text[i] == ']') ++i;
    for (; i < text.size() && text[i] != ']'; ++i) {
      const char kind = i + 1 < text.size() && text[i] == '[' ? text[i + 1] : ' ';
      if (kind != ':' && kind != '.' && kind != '=') continue;
      const char closing[] = {kind, ']', '\0'};
      const auto end = text.find(closing, i + 2);
      if (end == text.npos) return text.size();
      i = end + 1;
    }
    return i;
  }

  static const char* detail_of(int refused) noexcept {
    switch (refused) {
      case REG_BADBR: return "the numbers in {} are wrong, or too large";
      case REG_BADPAT: return "the pattern makes no sense";
      case REG_BADRPT: return "* + ? or { stands behind nothing that could be repeated";
      case REG_EBRACE: return "a { without its }";
      case REG_EBRACK: return "a [ without its ]";
      case REG_ECOLLATE: return "an unknown character in [. .] or [= =]";
      case REG_ECTYPE: return "an unknown class in [: :]";
      case REG_EESCAPE: return "a \\ at the end";
      case REG_EPAREN: return "a parenthesis without its partner";
      case REG_ERANGE: return "a range in [] ends before it begins";
      case REG_ESPACE: return "the pattern takes too much memory";
      case REG_ESUBREG: return "a reference back to nothing";
      default: return "the system's regcomp refused it";
    }
  }

  std::string text_;
  Compiled compiled_;
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/log/flushing.hpp ----

// Making a partition's records survive a power cut (docs/protocol.md, "Flushing"): every segment that was written since
// the last flush reaches stable storage, then the word durable_to says how far that goes.
//   Flusher{log, member}.flush_to(offset + 1)     // returns when the record at `offset` is durable
// Any number of threads and processes may want it at once: one flushes for all that is there, the others wait for it.
// Nobody waits long for one that died or stands still: its claim is taken over, and flushing twice is harmless.
// After a crash of the process durable_to is too low, never too high. An I/O error makes the partition fail: read-only.

namespace towpath::inline TOWPATH_ABI::log {

/// Marks the partition as read-only after an I/O error. Nobody clears the mark: the kernel forgets what it could not
/// write, so only a copy of what can be read into another topic is to be trusted.
inline void fail_partition(const PartitionLog& log) noexcept {
  // Pairs with has_failed() in NEXT: whoever makes segments ends there. Whoever flushes is woken and sees it too.
  const auto before = log.state().flags.fetch_or(partition_failed, shm::seq_cst);
  if ((before & partition_failed) != 0) return;
  log.directory().flush("state").ignore();  // if that fails too, the next flush after a restart says so again
  log.wake_maintenance();
}

inline Failure failed_partition() noexcept {
  return {Errc::partition_failed, "an I/O error made the partition read-only; copy what can be read to another topic"};
}

/// Flushes one partition in the name of one member. One thread at a time, like the member.
class Flusher {
 public:
  /// How long a flush by somebody else may take before its claim is taken over: a hundred sleeps of 2 ms. A slower disk
  /// is only flushed twice.
  static constexpr Duration sleeps_for{std::chrono::milliseconds{2}};
  static constexpr int patience = 100;

  Flusher(const PartitionLog& log, const shm::Member& member) noexcept : log_{&log}, member_{&member} {}

  /// Returns when everything below `offset` is on stable storage; the caller saw that it is resolved. Blocks for one or
  /// two flushes of the disk. Errors: partition_failed, topic_deleted, corrupt, and those of mapping a segment.
  Result<void> flush_to(std::uint64_t offset) {
    auto& state = log_->state();
    std::uint64_t watched = 0;
    for (int sleeps = 0;;) {
      const std::uint32_t event = state.flushes.load(shm::seq_cst);  // before the looks, pairs with release()'s add
      if (state.durable_to.load(shm::acquire) >= offset) return {};
      if (log_->has_failed()) return failed_partition();
      if (log_->is_deleted()) return Failure{Errc::topic_deleted, "the topic was deleted under this handle"};
      if (state.log_start.load(shm::seq_cst) >= offset) return {};  // retention took it: there is nothing to lose
      std::uint64_t claim = state.flusher.load(shm::acquire);
      if (claim != watched) watched = claim, sleeps = 0;
      if (!may_claim(claim, sleeps)) {
        shm::sleep(state.flushes, event, sleeps_for);  // not longer: whoever flushes may have died
        ++sleeps;
        continue;
      }
      const std::uint64_t mine = ((claim >> 11) + 1) << 11 | (member_->index() + 1);
      if (!state.flusher.compare_exchange(claim, mine, shm::acq_rel, shm::acquire)) continue;
      TOWPATH_FAILPOINT("flush.claimed");
      const auto done = flush_now(offset);
      release(mine);
      if (!done) return done;
    }
  }

 private:
  [[nodiscard]] bool may_claim(std::uint64_t claim, int sleeps) const noexcept {
    const auto holder = static_cast<unsigned>(claim & 0x7FF);
    if (holder == 0 || holder > shm::max_members || sleeps > patience) return true;
    return sleeps > 0 && !log_->members().is_alive(holder - 1);
  }

  /// A claim that was taken over meanwhile stays its new owner's.
  void release(std::uint64_t mine) const noexcept {
    auto& state = log_->state();
    const std::uint64_t idle = mine >> 11 << 11;
    state.flusher.compare_exchange(mine, idle, shm::acq_rel, shm::relaxed);
    state.flushes.fetch_add(1, shm::seq_cst);
    shm::wake_all(state.flushes);
  }

  Result<void> flush_now(std::uint64_t offset) {
    auto& state = log_->state();
    const std::uint64_t durable = state.durable_to.load(shm::acquire);
    // As much as there is: acquires what whoever raised it found resolved, so the flush below covers it.
    const std::uint64_t end = std::max(offset, state.resolved_to.load(shm::acquire));
    const auto done = flush_segments(durable);
    if (!done) {
      if (done.error() == Errc::io_error) fail_partition(*log_);
      return done.error() == Errc::io_error ? failed_partition() : done;
    }
    TOWPATH_FAILPOINT("flush.flushed");
    state.durable_to.raise_to(end, shm::release);  // pairs with the acquire in flush_to(): it is on the disk
    return {};
  }

  /// Every segment that may have changed since all below `durable` was flushed. The one with the last durable record is
  /// among them, for its seal may have come later; a segment that begins at or behind it may lack a durable name.
  Result<void> flush_segments(std::uint64_t durable) {
    auto& state = log_->state();
    const std::uint64_t start = state.log_start.load(shm::seq_cst);
    const std::uint64_t from = std::max(start, durable == 0 ? 0 : durable - 1);
    // After resolved_to: whoever committed in a segment had raised hint to it before.
    const std::uint64_t hint = state.hint.load(shm::acquire);
    if (hint >= durable)
      if (auto named = flush_names(durable == 0); !named) return named;
    if (hint <= from) return flush_segment(hint);
    const auto bases = log_->bases();
    if (!bases) return bases.error();
    for (auto base = first_to_flush(*bases, from); base != bases->end(); ++base)
      if (auto done = flush_segment(*base); !done) return done;
    return {};
  }

  static std::vector<std::uint64_t>::const_iterator first_to_flush(const std::vector<std::uint64_t>& bases,
                                                                   std::uint64_t from) noexcept {
    const auto above = std::upper_bound(bases.begin(), bases.end(), from);
    return above == bases.begin() ? above : std::prev(above);
  }

  Result<void> flush_segment(std::uint64_t base) {
    const auto segment = log_->open(base, Use::append);
    if (segment) return segment->control->flush();
    // Retired or re-used since: nothing of it is in the log any more.
    if (segment.error() != Errc::not_found) return segment.error();
    return log_->state().log_start.load(shm::seq_cst) > base || log_->is_deleted() ? Result<void>{} : log_->damaged();
  }

  /// Names of segments, and before the first flush all that leads to them: whoever made them may not have come so far.
  Result<void> flush_names(bool all) {
    auto& directory = log_->directory();
    auto done = directory.flush_folder(log_->folder().c_str());
    if (done && all) done = directory.flush("state");
    if (done && all) done = directory.flush_folder("");
    if (done && all && log_->bus()) done = log_->bus()->flush_folder("topics");
    if (done && all && log_->bus()) done = log_->bus()->flush_folder("");
    return done;
  }

  const PartitionLog* log_;
  const shm::Member* member_;
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/recycling.hpp ----

// How a segment leaves the log (protocol.md, R1 to R8): log_start passes it, one process takes the file by rename, and
// if nobody can still touch it, it becomes a pre-faulted spare for a later segment; in doubt it is unlinked and lives
// as long as somebody maps it. Nobody ever waits for anybody. Any process may die between any two steps; the next
// maintenance goes on from what stands on disk.

namespace towpath::inline TOWPATH_ABI::log {

/// What became of a segment.
enum class Retired {
  no,        ///< somebody else has it, or it is not there
  recycled,  ///< it is a spare now
  unlinked,  ///< it is gone, or lives as long as somebody maps it
};

/// Retires segments of one partition in the name of one member, which must have nothing reserved.
struct Recycler {
  const PartitionLog* log;
  const shm::Member* member;  ///< for private names

  /// R1..R8 for the sealed segment at `base` with `count` slots, or, if somebody began that, from R2 (`again`: its
  /// file stands although it is below log_start; count is unknown).
  Retired retire(std::uint64_t base, std::uint64_t count, bool again = false) const {
    auto& state = log->state();
    if (!again) {
      state.log_start.raise_to(base + count, shm::seq_cst);  // R1: from here nobody attaches to it
      TOWPATH_FAILPOINT("retire.bumped");
    }
    // Before the file goes: after a power cut the log must not begin at a segment that is not there. Nothing on tmpfs.
    if (const auto kept = log->directory().flush("state"); !kept) {
      if (kept.error() == Errc::io_error) fail_partition(*log);
      return Retired::no;
    }
    const auto name = log->segment_name(base);
    const auto own = log->own_name(*member);
    if (!log->directory().rename(name.data(), own.data())) return Retired::no;  // R2: somebody else has it
    TOWPATH_FAILPOINT("retire.owned");
    log->directory().remove(log->time_index_name(base).data()).ignore();
    auto segment = Segment::open(log->directory(), own.data(), base, Use::append);
    if (!segment) {
      drop(own.data(), nullptr);
      return Retired::unlinked;
    }
    const std::uint64_t bytes = segment->geometry().segment_bytes;
    std::uint64_t live = state.live_bytes.load(shm::relaxed);
    while (!state.live_bytes.compare_exchange(live, live - std::min(live, bytes), shm::relaxed, shm::relaxed)) {
    }
    if (again) count = std::max<std::uint64_t>(1, segment->sealed_count());
    state.dropped.fetch_add(count, shm::relaxed);
    return clean(own.data(), *segment, count);
  }

 private:
  Retired clean(const char* own, const Segment& segment, std::uint64_t count) const {
    auto& state = log->state();
    // R3: acquires every reservation. Where there is one writer its last store to the tail is no read-modify-write, and
    // nothing here would order its slots before the zeros of R7: what does is the seal, which came after all of them
    // and which whoever retires has read with acquire (sealed_count()), or has from log_start, raised by one who did.
    const std::uint64_t tail = segment.header->tail.exchange(Tail::closed, shm::acq_rel);
    TOWPATH_FAILPOINT("retire.closed");
    if (!log->format().recycling || !is_wanted(segment) || is_in_doubt(segment, count)) return drop(own, &segment);
    segment.header->base.store(unset_base, shm::seq_cst);  // R6
    TOWPATH_FAILPOINT("retire.unset");
    const std::uint64_t reserved = Tail::is_closed(tail) ? segment.slot_count : Tail::count(tail);
    const std::uint64_t used = std::min(std::max(reserved, count), segment.slot_count);
    std::memset(static_cast<void*>(segment.slots), 0,
                used * sizeof(Word64));  // R7: only slots ever reserved, never the data
    segment.header->sealed.store(0, shm::relaxed);
    segment.header->generation.fetch_add(1, shm::relaxed);
    segment.header->uuid.store(shm::random_bits(), shm::relaxed);
    segment.header->base.store(unset_base, shm::release);  // pairs with the acquire in Segment::open(): it is clean
    TOWPATH_FAILPOINT("retire.clean");
    // So that no slot of the old incarnation comes back under the new one by a power cut.
    const bool is_flushed = log->words().durability.load(shm::relaxed) != 0;
    if (is_flushed && !segment.control->flush()) return drop(own, &segment);
    if (put_spare(own)) {
      state.recycled.fetch_add(1, shm::relaxed);
      TOWPATH_FAILPOINT("retire.spare");
      return Retired::recycled;
    }
    return drop(own, &segment);
  }

  /// Would the next roll take a file of this shape? Only a log that has grown to its full segments keeps spares.
  [[nodiscard]] bool is_wanted(const Segment& segment) const {
    const auto active = log->open(log->state().hint.load(shm::acquire), Use::append);
    return active && active->geometry() == segment.geometry() &&
           segment.geometry().segment_bytes >= log->words().segment_bytes.load(shm::relaxed);
  }

  /// R8 for the first free name. False when all are taken.
  bool put_spare(const char* own) const {
    for (std::uint64_t i = 0; i < spare_names; ++i)
      if (log->directory().rename(own, log->spare_name(i).data())) return true;
    return false;
  }

  /// Unlinks the file. Its tail is closed; the mark tells other processes to let go of their maps.
  Retired drop(const char* own, const Segment* segment) const {
    if (segment) {
      segment->header->base.store(gone_base, shm::release);  // pairs with the acquire in forget_gone_segments()
      shm::RegionCache::instance().forget(segment->control.get());
    }
    TOWPATH_FAILPOINT("retire.gone");
    log->directory().remove(own).ignore();
    log->state().unlinked.fetch_add(1, shm::relaxed);
    return Retired::unlinked;
  }

  /// R4 and R5: could a live producer still write into it, or does a reader hold it?
  [[nodiscard]] bool is_in_doubt(const Segment& segment, std::uint64_t count) const noexcept {
    auto& members = log->members();
    for (unsigned i = 0; i < members.used(); ++i) {
      for (int tries = 0; may_touch(members.line(i), *log, segment, 0, count); ++tries) {
        if (tries < 2'000) {
          shm::pause();
          continue;
        }
        if (members.is_alive(i)) return true;
        break;  // a dead owner cannot write late
      }
    }
    return log->is_pinned(segment.base);
  }
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/retention.hpp ----

// Retention by bytes for whoever makes a segment: maintenance normally does it, but the log stays bounded without; and
// what a topic that waits for its readers allows.

namespace towpath::inline TOWPATH_ABI::log {

/// How many slots the segment at `base` has, if it may go: sealed, the next one is there, and nobody needs it whom the
/// topic waits for. Else 0.
inline std::uint64_t retirable_slots(const PartitionLog& log, std::uint64_t base) {
  const std::uint64_t hint = log.state().hint.load(shm::acquire);
  if (base >= hint) return 0;
  const auto segment = log.open(base, Use::append);
  if (!segment) return 0;
  const std::uint64_t count = segment->sealed_count();
  // Somebody else may have retired and re-used it meanwhile: then the count was another incarnation's.
  if (segment->header->base.load(shm::acquire) != base) return 0;
  return base + count <= std::min(hint, log.held_from()) ? count : 0;
}

namespace detail {

/// The live segments' bases and the bytes of their files.
struct LiveSegments {
  std::vector<std::uint64_t> bases;
  std::vector<std::uint64_t> sizes;
  std::uint64_t bytes = 0;
  std::size_t gone = 0;

  /// Errors: those of looking into the partition's folder.
  static Result<LiveSegments> of(const PartitionLog& log) {
    LiveSegments live;
    auto bases = log.bases();
    if (!bases) return bases.error();
    live.bases = std::move(*bases);
    for (const std::uint64_t base : live.bases) {
      const auto info = log.directory().identify(log.segment_name(base).data());
      if (!info && info.error() != Errc::not_found) return info.error();
      live.bytes += live.sizes.emplace_back(info ? info->bytes : 0);
    }
    return live;
  }
  [[nodiscard]] std::size_t count() const noexcept { return bases.size() - gone; }

  /// Retires the oldest. False if it must stay.
  bool retire_front(const PartitionLog& log, const shm::Member& member) {
    if (count() == 0) return false;
    const std::uint64_t slots = retirable_slots(log, bases[gone]);
    if (slots == 0 || Recycler{&log, &member}.retire(bases[gone], slots) == Retired::no) return false;
    bytes -= sizes[gone++];
    return true;
  }
};

}  // namespace detail

/// May the log grow by a segment of `bytes`? Always, unless the topic waits for its readers: then what all of them have
/// read goes first. Two segments are always allowed, or nobody could ever get on. The member must have nothing
/// reserved. Errors: queue_full, and those of looking into the folder: nobody knows how much is there then.
inline Result<void> make_room_for_readers(const PartitionLog& log, const shm::Member& member, std::uint64_t bytes) {
  const std::uint64_t limit = log.words().retention_bytes.load(shm::relaxed);
  if (!log.waits_for_readers() || limit == 0) return {};
  if (log.state().live_bytes.load(shm::relaxed) + bytes <= limit) return {};
  for (std::optional<std::uint64_t> stuck;;) {
    auto live = detail::LiveSegments::of(log);
    if (!live) return live.error();
    TOWPATH_FAILPOINT("room.looked");
    while (live->bytes + bytes > limit && live->count() > 1 && live->retire_front(log, member)) {
    }
    if (live->bytes + bytes <= limit || live->count() <= 1) return {};
    // Somebody else, maintenance say, may have retired it meanwhile: then there is more room than was seen.
    const std::uint64_t front = live->bases[live->gone];
    const bool passed = log.state().log_start.load(shm::seq_cst) > front;  // pairs with R1
    if (!passed || stuck == front)
      return Failure{Errc::queue_full, "a reader of the topic's list has not read what would have to go"};
    stuck = front;
  }
}

/// Where maintenance is late and left no spare: what a further segment of `bytes` will push out of the log goes now,
/// and its file serves for that one. A new file would take tens of milliseconds. The member must have nothing reserved.
inline void retire_for_next(const PartitionLog& log, const shm::Member& member, std::uint64_t bytes) {
  const std::uint64_t limit = log.words().retention_bytes.load(shm::relaxed);
  if (limit == 0 || !log.format().recycling || log.state().live_bytes.load(shm::relaxed) + bytes <= limit) return;
  for (std::uint64_t i = 0; i < spare_names; ++i)
    if (log.directory().identify(log.spare_name(i).data())) return;
  auto live = detail::LiveSegments::of(log);
  while (live && live->bytes + bytes > limit && live->count() > 1 && live->retire_front(log, member)) {
  }
}

/// Retires the oldest segments when the log is two segments above its limit, that is, when nobody maintains it in time.
/// The member must have nothing reserved.
inline void enforce_retention(const PartitionLog& log, const shm::Member& member) {
  const std::uint64_t limit = log.words().retention_bytes.load(shm::relaxed);
  const std::uint64_t slack = 2 * log.words().segment_bytes.load(shm::relaxed);
  if (limit == 0 || log.state().live_bytes.load(shm::relaxed) <= limit + slack) return;
  // The word only says when to look closer, for a kill may leave it wrong; what goes is decided by what is there.
  auto live = detail::LiveSegments::of(log);
  while (live && live->bytes > limit && live->retire_front(log, member)) {
  }
}

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/rolling.hpp ----

// How the chain of segments grows (protocol.md OPEN, NEXT, TAKE): the members of PartitionLog that make files.
// Any process may do any step at any time; renames decide who wins, and the losers' files go away.

namespace towpath::inline TOWPATH_ABI::log {

inline Geometry PartitionLog::following(const Segment& last, Need need) const noexcept {
  const std::uint64_t target = std::max(parts_.words->segment_bytes.load(shm::relaxed), first_segment_bytes);
  const Geometry now = last.geometry();
  const std::uint64_t bytes = std::max(std::min(now.segment_bytes * 4, target), first_segment_bytes);
  const std::uint64_t tail = last.header->tail.load(shm::relaxed);
  const std::uint64_t sealed = last.sealed_count();
  const std::uint64_t taken = sealed != 0 ? sealed : std::min(Tail::count(tail), last.slot_count);
  const std::uint64_t used = std::max<std::uint64_t>(1, taken);
  const std::uint64_t filled = Tail::is_closed(tail) ? last.capacity : std::min(Tail::bytes(tail), last.capacity);
  // Keep the shape while it serves, so that recycled files fit: slots must not run out long before the data does, and
  // less than half of them idle.
  const bool ran_out = used >= last.slot_limit && filled < last.capacity / 8 * 7;
  const bool idle = used < last.slot_count / 2 && now.data_offset > data_alignment;
  if (bytes == align_up(now.segment_bytes, data_alignment) && !ran_out && !idle && last.can_hold(need)) return now;
  return Geometry::plan(bytes, filled / used, need);
}

inline Result<void> PartitionLog::write_file(const char* own, const Geometry& shape) const {
  if (auto folder = parts_.directory->make_folder(parts_.folder.c_str());
      !folder && folder.error() != Errc::already_exists)
    return folder.error() == Errc::not_found ? Failure{Errc::topic_deleted, "its folder is gone"} : folder.error();
  auto file = parts_.directory->create(own, 0640);
  if (!file) return file.error();
  TOWPATH_FAILPOINT("make.created");
  if (auto room = shm::allocate(*file, 0, shape.segment_bytes); !room) return room;
  SegmentHeader header{};
  header.magic = segment_magic;
  header.version = segment_format_version;
  header.features = parts_.format.checksummed ? feature_checksummed : 0u;
  header.layout_hash = segment_layout_hash;
  header.segment_bytes = shape.segment_bytes;
  header.slot_count = shape.slot_count;
  header.data_offset = shape.data_offset;
  header.uuid.store(shm::random_bits(), shm::relaxed);
  header.tail.store(Tail::closed, shm::relaxed);
  header.base.store(unset_base, shm::relaxed);
  header.generation.store(1, shm::relaxed);
  header.sealed.store(0, shm::relaxed);
  TOWPATH_FAILPOINT("make.allocated");
  return shm::write_all(*file, &header, sizeof header, 0);
}

inline Result<Segment> PartitionLog::make_file(const char* own, const Geometry& shape) const {
  const auto written = write_file(own, shape);  // its descriptor is closed again before the next is opened
  auto segment =
      written ? Segment::open(*parts_.directory, own, unset_base, Use::append) : Result<Segment>{written.error()};
  if (!segment) {
    parts_.directory->remove(own).ignore();  // whatever is there of it, so that tries on a full machine pile nothing up
    return segment;
  }
  // Small ones are given their pages now, half a millisecond per MiB, instead of by a fault every 4 KiB. Large ones are
  // made ahead by maintenance.
  constexpr std::uint64_t small = std::uint64_t{1} << 20;
  if (shape.segment_bytes <= small) segment->control->populate(0, segment->control->size(), true);
  return segment;
}

inline Result<Segment> PartitionLog::take_spare(const char* own, const Geometry& shape) const {
  for (std::uint64_t i = 0; i < spare_names; ++i) {
    if (!parts_.directory->rename(spare_name(i).data(), own)) continue;  // the first success owns it
    TOWPATH_FAILPOINT("take.spare_owned");
    auto spare = Segment::open(*parts_.directory, own, unset_base, Use::append);
    if (spare && spare->geometry() == shape && spare->checksummed == parts_.format.checksummed) return spare;
    if (spare) spare->header->base.store(gone_base, shm::release);
    parts_.directory->remove(own).ignore();
  }
  return Failure{Errc::not_found, "no spare"};
}

inline Result<bool> PartitionLog::take(const shm::Member& member, std::uint64_t base, const Geometry& shape) const {
  const auto own = own_name(member);
  auto segment = take_spare(own.data(), shape);
  const bool recycled = segment.has_value();
  if (!recycled) segment = make_file(own.data(), shape);
  if (!segment) return segment.error();
  if (!recycled) parts_.state->fresh.fetch_add(1, shm::relaxed);
  TOWPATH_FAILPOINT("take.owned");
  segment->header->base.store(base, shm::relaxed);  // T2: a stale reserver that comes in after T3 sees it
  TOWPATH_FAILPOINT("take.based");
  segment->header->tail.store(0, shm::release);  // T3: pairs with the acquire in RESERVE
  TOWPATH_FAILPOINT("take.opened");
  const auto named = parts_.directory->rename(own.data(), segment_name(base).data());  // T4: one of all takers wins
  if (named) {
    parts_.state->live_bytes.fetch_add(segment->geometry().segment_bytes,
                                       shm::seq_cst);  // pairs with Reader::has_something()
    TOWPATH_FAILPOINT("take.named");
    return true;
  }
  segment->header->tail.exchange(Tail::closed, shm::acq_rel);  // nobody but a stale reserver ever came here
  segment->header->base.store(gone_base, shm::release);
  parts_.directory->remove(own.data()).ignore();
  return named.error() == Errc::already_exists ? Result<bool>{false} : named.error();
}

namespace detail {

/// How often a name may be taken and yet lead to no segment, before it counts as damaged: a healthy log needs one try.
inline constexpr int most_tries = 100;

}  // namespace detail

inline Result<Segment> PartitionLog::active(const shm::Member& member, Need need) const {
  for (int tries = 0;; ++tries) {
    if (is_deleted()) return Failure{Errc::topic_deleted, "the topic was deleted under this handle"};
    const std::uint64_t base = parts_.state->hint.load(shm::acquire);
    const bool is_made = was_made(base);
    auto segment = open(base, Use::append);
    if (!segment) TOWPATH_FAILPOINT("active.not_found");
    if (!segment && segment.error() != Errc::not_found) return segment;
    if (segment) {
      if (is_deleted()) continue;  // after the open: whoever deletes sets the flag before looking for segments to close
      // A maker that stood still may have put a retired name back.
      const std::uint64_t start = parts_.state->log_start.load(shm::seq_cst);
      if (base >= start) return segment;
      if (start > parts_.state->hint.load(shm::seq_cst)) return Failure{Errc::corrupt, "a log begins behind its end"};
      std::this_thread::yield();
      continue;
    }
    if (parts_.state->hint.load(shm::acquire) != base) continue;
    if (is_made || tries > detail::most_tries) return damaged();
    if (has_failed()) return failed_partition();
    // Only an empty log has no segment at hint: nothing at or above hint is ever retired.
    const std::uint64_t mean = std::max(need.bytes / need.slots, parts_.format.typical_frame);
    const auto taken = take(member, base, Geometry::plan(first_segment_bytes, mean, need));
    if (!taken) return unless_deleted(taken.error());
    if (*taken && base < parts_.state->log_start.load(shm::seq_cst)) Recycler{this, &member}.retire(base, 0, true);
  }
}

inline void PartitionLog::after_roll(const shm::Member& member) const {
  parts_.state->rolls.fetch_add(1, shm::relaxed);
  parts_.state->last_roll.store(static_cast<std::uint64_t>(parts_.clock.steady().time_since_epoch().count()),
                                shm::relaxed);
  wake_maintenance();
  forget_gone_segments();
  enforce_retention(*this, member);
}

inline Result<Segment> PartitionLog::next(const shm::Member& member, const Segment& full, std::uint64_t next_base,
                                          bool crosser, Need need) const {
  const Geometry shape = following(full, need);
  const shm::FolderHold hold{*parts_.directory, parts_.folder};
  for (int waited = 0, tries = 0; tries <= detail::most_tries;) {
    if (is_deleted()) return Failure{Errc::topic_deleted, "the topic was deleted under this handle"};
    if (has_failed()) return failed_partition();  // whoever failed it closes its last segment
    if (next_base < parts_.state->log_start.load(shm::seq_cst)) return active(member, need);
    if (next_base < parts_.state->hint.load(shm::acquire)) return active(member, need);  // others have gone on
    bool made = false;
    auto segment = open(next_base, Use::append);
    if (!segment) {
      if (segment.error() != Errc::not_found) return segment;
      if (!crosser && waited++ < 40) {
        std::this_thread::sleep_for(std::chrono::microseconds{5});
        continue;
      }
      if (auto room = make_room_for_readers(*this, member, shape.segment_bytes); !room) return room.error();
      retire_for_next(*this, member, shape.segment_bytes);
      TOWPATH_FAILPOINT("next.before_take");
      const auto taken = take(member, next_base, shape);
      if (!taken) return unless_deleted(taken.error());
      made = *taken;
      segment = open(next_base, Use::append);
      if (!segment && ++tries > 0) continue;
    }
    if (next_base <
        parts_.state->log_start.load(shm::seq_cst)) {  // retired meanwhile: a file made now would resurrect it
      if (made) Recycler{this, &member}.retire(next_base, 0, true);
      return active(member, need);
    }
    TOWPATH_FAILPOINT("next.before_hint");
    const bool raised = parts_.state->hint.raise_to(next_base, shm::seq_cst);  // pairs with Reader::has_something()
    if (is_deleted()) continue;                                                // after the open, as in active()
    if (raised) after_roll(member);
    return segment;
  }
  return damaged();
}

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/topic/catalog.hpp ----

// The topics of a bus: what exists, making, growing, altering and deleting one. Every step is whole or not at all: a
// topic exists once its folder is renamed in, is gone once it is renamed away, and has a partition once the count says
// so. Thread-safe and process-safe; what a dead process left half-made is swept by maintenance.

namespace towpath::inline TOWPATH_ABI::detail {

class Catalog {
 public:
  explicit Catalog(std::shared_ptr<BusCore> core) noexcept : core_{std::move(core)} {}

  [[nodiscard]] const std::shared_ptr<BusCore>& core() const noexcept { return core_; }

  /// Names of all topics, sorted.
  [[nodiscard]] Result<std::vector<std::string>> names() const {
    auto found = core_->directory().list("topics");
    if (!found) return found.error();
    std::erase_if(*found, [](const std::string& name) { return !check_topic_name(name).has_value(); });
    std::sort(found->begin(), found->end());
    return found;
  }

  /// The topic, opened once per process. Errors: invalid_name, unknown_topic, corrupt, newer_format.
  Result<std::shared_ptr<TopicFiles>> open(const std::string& name) {
    if (auto fine = check_topic_name(name); !fine) return fine.error();
    const std::lock_guard hold{mutex_};
    const auto before = open_.find(name);
    if (auto topic = before == open_.end() ? nullptr : before->second.lock(); topic && !is_deleted(*topic))
      return topic;
    auto opened = TopicFiles::open(core_, name);
    if (opened && is_deleted(**opened)) {  // whoever began to delete it died, or is about to take it away
      auto member = core_->claim(shm::MemberKind::maintenance, "delete topic");
      if ((*opened)->is_writable() && member) {
        close_all(**opened);
        take_away(name, *member).ignore();
      }
      return Failure{Errc::unknown_topic, "the topic was deleted"};
    }
    if (opened) open_.insert_or_assign(name, *opened);
    return opened;
  }

  /// Could a topic be made now? Errors: topic_exists, invalid_name, invalid_argument, read_only.
  [[nodiscard]] Result<void> check_new(const std::string& name, const TopicConfig& config,
                                       const Schema& schema = {}) const {
    if (auto fine = check_topic_name(name); !fine) return fine;
    if (auto fine = check_topic_config(config); !fine) return fine;
    if (!is_alignment(schema.alignment))
      return Failure{Errc::invalid_argument, "alignment: a serde's is a power of two, 64 at most"};
    if (core_->is_read_only()) return Failure{Errc::read_only, "this process may only read the bus"};
    if (core_->directory().identify(("topics/" + name).c_str()))
      return Failure{Errc::topic_exists, "a topic of that name exists"};
    return {};
  }

  /// Errors: those of check_new(), no_space, too_many_members, forked.
  Result<void> create(const std::string& name, TopicConfig config, const Schema& schema) {
    if (auto fine = check_new(name, config, schema); !fine) return fine;
    auto member = core_->claim(shm::MemberKind::maintenance, "create topic");
    if (!member) return member.error();
    const auto folder = private_folder("~new-", *member);
    if (auto made = fill(folder, settle(config, schema), schema, config.partitions); !made) {
      core_->directory().remove_folder(folder.c_str()).ignore();
      return made;
    }
    TOWPATH_FAILPOINT("create.before_rename");
    const auto named = core_->directory().rename(folder.c_str(), ("topics/" + name).c_str());
    if (!named) core_->directory().remove_folder(folder.c_str()).ignore();
    if (!named && named.error() == Errc::already_exists)
      return Failure{Errc::topic_exists, "a topic of that name exists"};
    core_->control().catalog_generation.fetch_add(1, shm::release);  // pairs with the acquire in Caretaker::step()
    if (named)
      if (auto kept = core_->directory().flush_folder("topics"); !kept) return kept;
    return named;
  }

  /// Readers and writers that have it open get topic_deleted. Its config may be damaged. Errors: unknown_topic,
  /// read_only, too_many_members, corrupt (its other files), newer_format.
  Result<void> remove(const std::string& name) {
    auto topic = open(name);
    if (!topic && topic.error() == Errc::corrupt) topic = TopicFiles::open(core_, name, Purpose::deletion);
    if (!topic) return topic.error();
    if (!(*topic)->is_writable()) return Failure{Errc::read_only, "this process may only read the topic"};
    auto member = core_->claim(shm::MemberKind::maintenance, "delete topic");  // before anything changes
    if (!member) return member.error();
    const bool mine = close_all(**topic);
    TOWPATH_FAILPOINT("delete.flagged");
    const auto gone = take_away(name, *member);
    // Somebody who saw the flag may have been faster with the rest.
    return mine && gone.error() == Errc::unknown_topic ? Result<void>{} : gone;
  }

  /// Grows a topic to `partitions`; the present ones and their keys stay where they are. Errors: invalid_argument
  /// (fewer than now), unknown_topic, busy (somebody else grows it), no_space, read_only. Changes nothing for
  /// `validate_only`.
  Result<void> grow(const std::string& name, std::int32_t partitions, bool validate_only = false);

  /// Changes what may change. Errors: unknown_topic, invalid_argument, config_mismatch (alignment), read_only.
  Result<void> alter(const std::string& name, const TopicConfig& config);

  /// As alter(), where what is wanted depends on what is there: `change` is called under the lock of the settings.
  /// Nothing is written for `validate_only`. Errors: those of alter() and of `change`, busy, no_space.
  using Change = std::function<Result<TopicConfig>(const StoredConfig& now)>;
  Result<void> edit(const std::string& name, const Change& change, bool validate_only = false);

  /// A topic's settings and schema as they are now, whoever changed them. Errors: unknown_topic, corrupt, newer_format.
  static Result<StoredConfig> settings(TopicFiles& topic);

  /// The config with every automatic value decided.
  [[nodiscard]] TopicConfig settle(TopicConfig config, const Schema& schema) const {
    const bool memory = !core_->directory().is_lasting();
    if (config.retention.bytes == Retention::by_storage) {
      const std::uint64_t share = std::min(std::uint64_t{256} << 20, core_->directory().free_bytes() / 8);
      config.retention.bytes = memory ? std::max(share, std::uint64_t{1} << 20) : Retention::unlimited;
    }
    if (memory) config.durability.kind = DurabilityKind::none;
    if (config.durability.interval == Durability::by_storage) config.durability.interval = std::chrono::seconds{1};
    if (config.max_message_bytes == 0)
      config.max_message_bytes = std::min(std::uint64_t{16} << 20, config.segment_bytes);
    config.record_alignment = std::max({config.record_alignment, std::uint64_t{8}, schema.alignment});
    return config;
  }

  /// Removes what dead processes left of creations and deletions, and the doorbells of dead consumers.
  void sweep() {
    sweep_bells();
    const auto found = core_->directory().list("topics");
    if (!found) return;
    for (const auto& name : *found) {
      if (!name.starts_with("~new-") && !name.starts_with("~gone-")) continue;  // no topic can be called that
      if (core_->members()->is_left_behind(name.c_str() + name.find('-') + 1))
        core_->directory().remove_folder(("topics/" + name).c_str()).ignore();
    }
  }

 private:
  void sweep_bells() {
    const auto found = core_->directory().list(shm::doorbell_folder);
    for (std::size_t i = 0; found && i < found->size(); ++i)
      if (core_->members()->is_left_behind((*found)[i].c_str()))
        core_->directory().remove((std::string{shm::doorbell_folder} + "/" + (*found)[i]).c_str()).ignore();
  }

  /// From the first rename on the topic does not exist. Errors: unknown_topic (somebody else was faster).
  Result<void> take_away(const std::string& name, const shm::Member& member) {
    const auto away = private_folder("~gone-", member);
    const auto renamed = core_->directory().rename(("topics/" + name).c_str(), away.c_str());
    if (!renamed)
      return renamed.error() == Errc::not_found ? Failure{Errc::unknown_topic, "somebody else deleted it"} : renamed;
    core_->control().catalog_generation.fetch_add(1, shm::release);
    TOWPATH_FAILPOINT("delete.renamed");
    core_->directory().flush_folder("topics").ignore();  // else it may come back after a power cut
    log::forget_gone_segments();
    // A producer that looked before the flag may still be making a file in there: sweep() takes what is left.
    core_->directory().remove_folder(away.c_str()).ignore();
    return {};
  }

  static bool is_deleted(TopicFiles& topic) {
    const auto log = topic.partition({0});
    return log && (*log)->is_deleted();
  }

  /// Closes every partition; the first one's flag is what says that the topic goes. True if any was not marked before.
  static bool close_all(TopicFiles& topic) {
    bool mine = false;
    for (std::int32_t i = 0; i < topic.partitions(); ++i)
      if (auto log = topic.partition({i}); log) mine = mark_deleted(**log) || mine;
    topic.directory().flush("state").ignore();  // before its segments are closed: recovery ends what began
    for (std::int32_t i = 0; i < topic.partitions(); ++i) {
      if (auto log = topic.partition({i}); log) close_log(**log);
      TOWPATH_FAILPOINT("delete.closed_one");
    }
    return mine;
  }

  /// True if nobody had marked it.
  static bool mark_deleted(const log::PartitionLog& log) noexcept {
    // Pairs with is_deleted() after an appender's open: either it sees the flag, or its segment is closed afterwards.
    return (log.state().flags.fetch_or(log::partition_deleted, shm::seq_cst) & log::partition_deleted) == 0;
  }

  /// Turns the writers of a marked log away: a closed tail sends them to look for a segment, where they see the flag.
  static void close_log(const log::PartitionLog& log) {
    const auto bases = log.bases();
    for (std::size_t i = 0; bases && i < bases->size(); ++i) {
      const auto segment = log.open((*bases)[i], log::Use::append);
      if (!segment) continue;
      segment->header->tail.exchange(log::Tail::closed, shm::acq_rel);  // pairs with RESERVE's fetch_add
      segment->header->base.store(log::gone_base, shm::release);
    }
    log.wake();
  }

  [[nodiscard]] std::string private_folder(const char* prefix, const shm::Member& member) const {
    static std::atomic<unsigned long long> next{0};
    return std::string{"topics/"} + prefix + std::to_string(member.index()) + "." +
           std::to_string(member.line().incarnation.load(shm::relaxed)) + "." +
           std::to_string(next.fetch_add(1, std::memory_order_relaxed));
  }

  Result<void> fill(const std::string& folder, const TopicConfig& config, const Schema& schema,
                    std::int32_t partitions);
  Result<void> write_blocks(const std::string& file, std::uint64_t magic, std::uint32_t block_bytes,
                            std::int32_t partitions, unsigned mode, const TopicConfig* config);
  /// The lock under which a topic is grown or altered; dies with its holder.
  Result<shm::LockDescriptor> lock_config(TopicFiles& topic);

  std::shared_ptr<BusCore> core_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::weak_ptr<TopicFiles>> open_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/consume/subscription.hpp ----

// What a Consumer of a bus wants to read: topics by name, topics by pattern, or both; and what it has told the user
// about those that it cannot read. One thread; no shared state.

namespace towpath::inline TOWPATH_ABI::detail {

/// Something that happened to a topic, to be told once.
struct TopicNews {
  std::string topic;
  Failure failure;
};

class Subscription {
 public:
  /// Nothing.
  Subscription() = default;

  /// Errors: invalid_name, invalid_pattern, invalid_argument (neither a topic nor a pattern).
  static Result<Subscription> make(const std::vector<std::string>& topics, const std::string& pattern) {
    if (topics.empty() && pattern.empty())
      return Failure{Errc::invalid_argument, "topics, pattern: say at least one of them"};
    Subscription made;
    made.named_ = topics;
    for (const auto& name : topics)
      if (auto fine = check_topic_name(name); !fine) return fine.error();
    std::sort(made.named_.begin(), made.named_.end());
    made.named_.erase(std::unique(made.named_.begin(), made.named_.end()), made.named_.end());
    if (pattern.empty()) return made;
    auto compiled = Pattern::compile(pattern);
    if (!compiled) return compiled.error();
    made.pattern_.emplace(std::move(*compiled));
    return made;
  }

  [[nodiscard]] bool empty() const noexcept { return named_.empty() && !pattern_; }
  [[nodiscard]] bool names(const std::string& topic) const noexcept {
    return std::binary_search(named_.begin(), named_.end(), topic);
  }
  [[nodiscard]] const std::vector<std::string>& named() const noexcept { return named_; }

  /// The topics to read now, sorted: those named, whether they exist or not, and those that match. Errors: those of
  /// listing a folder.
  [[nodiscard]] Result<std::vector<std::string>> wanted(const Catalog& catalog) const {
    if (!pattern_) return named_;
    auto all = catalog.names();
    if (!all) return all;
    std::erase_if(*all, [&](const std::string& name) { return !names(name) && !pattern_->matches(name); });
    all->insert(all->end(), named_.begin(), named_.end());
    std::sort(all->begin(), all->end());
    all->erase(std::unique(all->begin(), all->end()), all->end());
    return all;
  }

 private:
  std::vector<std::string> named_;  // sorted
  std::optional<Pattern> pattern_;
};

/// Topics that cannot be read, each with the reason that was told last: a reason that stays is told once.
class Refusals {
 public:
  struct Refusal {
    Failure failure;
    std::string id;  ///< of the topic, if it could be opened
    bool is_old;     ///< it existed when it was subscribed to
  };

  /// True if this is new.
  bool note(const std::string& topic, const Failure& failure, const std::string& id, bool is_old) {
    const auto [at, added] = all_.try_emplace(topic, Refusal{failure, id, is_old});
    if (added || (at->second.failure == failure && at->second.id == id)) return added;
    at->second = Refusal{failure, id, at->second.is_old && is_old};
    return true;
  }
  /// The topic can be read, or is gone. Returns whether this one was there from the beginning and only could not be
  /// read.
  bool forget(const std::string& topic, const std::string& id = {}) {
    const auto found = all_.find(topic);
    if (found == all_.end()) return false;
    const bool was_old = found->second.is_old && (found->second.id.empty() || found->second.id == id);
    all_.erase(found);
    return was_old;
  }
  /// Of topics that are not `wanted` (sorted) any more nothing was said.
  void keep_only(const std::vector<std::string>& wanted) {
    std::erase_if(all_, [&](const auto& it) { return !std::binary_search(wanted.begin(), wanted.end(), it.first); });
  }
  void clear() noexcept { all_.clear(); }

 private:
  std::map<std::string, Refusal> all_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/log/time_index.hpp ----

// Finds records by time. For a sealed segment a file <base>.timeindex says how high timestamps had risen after each
// block of slots, so that one block is scanned instead of the segment. The index is derived: whoever needs it makes it,
// and one that is missing, cut short, foreign or damaged is made anew, never trusted. The active segment is scanned.
//   auto first = offset_for_time(log, pins, &member, at).value();     // nullopt: every record is older
//   auto last = newest_record(log, pins, &member).value();            // nullopt: there is none
// Thread-safe and process-safe; two that make the same index write the same bytes. After a crash the index is there
// whole or not at all.

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

// ---- towpath/log/reservation.hpp ----

// Room that an appender has taken in a segment, between reserving and committing it.

namespace towpath::inline TOWPATH_ABI::log {

/// Room in the log that one appender owns: `count` slots from `n` on, and the bytes at `frame`.
struct Reservation {
  std::uint64_t n = 0;
  std::uint64_t position = 0;
  std::uint64_t length = 0;  ///< of the frame in slot n
  std::byte* frame = nullptr;
  Offset offset;
  std::uint64_t count = 1;
};

/// Writes the checksum of the frame that stands there, in a log that has them; last of all.
TOWPATH_HOT void seal_in(const Segment& segment, const Reservation& room) noexcept {
  if (segment.checksummed)
    seal_frame(room.frame, room.length, segment.uuid, static_cast<std::uint64_t>(room.offset.value));
}

namespace detail {

/// Asks for the lines that the append after next will write: a locked instruction drains the store buffer, so a missing
/// line is never hidden otherwise. Measured: docs/decisions/0003.
TOWPATH_HOT void prefetch_for_writing(const std::byte* at) noexcept {
#if defined(__x86_64__)
  __asm__ __volatile__("prefetchw %0" : : "m"(*at));
#else
  __builtin_prefetch(at, 1, 3);
#endif
}

/// The two lines 512 bytes ahead of a frame. Behind the end of the map that does nothing: a prefetch never faults.
TOWPATH_HOT void prefetch_ahead(const std::byte* frame) noexcept {
  prefetch_for_writing(frame + 512);
  prefetch_for_writing(frame + 576);
}

}  // namespace detail

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/writer_lock.hpp ----

// Who may append to a partition of a topic with one writer (TopicConfig::writers): whoever holds its lock byte in the
// topic's `wait` file. The kernel drops the lock when its holder dies, so whoever gets it knows that nobody writes.
// One thread's, like the Producer that has it. After a crash nothing is left.

namespace towpath::inline TOWPATH_ABI::log {

/// The lock bytes that one Producer has of one topic: a descriptor of its own, for locks of one descriptor do not
/// exclude each other.
class WriterLocks {
 public:
  /// For a Producer, until give_back(). Maintenance has a lock for as long as it takes to make a segment: that is
  /// waited for, a second at most. Errors: busy (another live Producer has it), and those of opening a file.
  Result<void> take(const PartitionLog& log) {
    if (auto opened = open(log); !opened) return opened;
    Result<void> taken;
    for (int tries = 0, refused = 0; tries < 20'000 && refused < 2; ++tries) {
      taken = shm::try_lock(file_.get(), writer(log), shm::LockKind::write);
      if (taken || taken.error() != Errc::busy) return taken;
      // Maintenance takes its own byte first and drops it last: not held, and refused again, it was somebody else.
      if (!shm::is_locked(file_.get(), maintenance(log))) {
        ++refused;
        continue;
      }
      refused = 0;
      std::this_thread::sleep_for(std::chrono::microseconds{50});
    }
    return Failure{Errc::busy, "another live Producer writes this partition"};
  }

  /// For maintenance, for a moment. Errors as take(): busy is at once.
  Result<void> take_for_maintenance(const PartitionLog& log) {
    if (auto opened = open(log); !opened) return opened;
    auto taken = shm::try_lock(file_.get(), maintenance(log), shm::LockKind::write);
    if (!taken) return taken;
    taken = shm::try_lock(file_.get(), writer(log), shm::LockKind::write);
    if (!taken) shm::unlock(file_.get(), maintenance(log));
    return taken;
  }

  void give_back(const PartitionLog& log) noexcept {
    if (!file_ || !file_.is_mine()) return;
    shm::unlock(file_.get(), writer(log));
    shm::unlock(file_.get(), maintenance(log));
  }

 private:
  // Bytes of the topic's wait file, whose data and whose producers' ids end before.
  static std::uint64_t writer(const PartitionLog& log) noexcept { return (std::uint64_t{1} << 42) + log.number(); }
  static std::uint64_t maintenance(const PartitionLog& log) noexcept { return (std::uint64_t{1} << 43) + log.number(); }

  Result<void> open(const PartitionLog& log) {
    if (file_) return file_.is_mine() ? Result<void>{} : Failure{Errc::forked, "the producer was made before fork()"};
    auto file = shm::LockDescriptor::open([&] { return log.directory().open("wait", shm::Access::read_write); });
    if (!file) return file.error();
    file_ = std::move(*file);
    return {};
  }

  shm::LockDescriptor file_;
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/shm/barrier.hpp ----

// The order "my store, then my load" without a locked instruction in the one who stores often: the other side, which is
// about to sleep anyway, has the kernel run a full barrier in every process that registered for it (membarrier(2),
// Linux 4.16). docs/protocol.md, "One writer"; tests/model (sole). Thread-safe; nothing is left by a crash.

namespace towpath::inline TOWPATH_ABI::shm {

/// From here barrier_everywhere() of any process reaches this one. False: the kernel, or a filter of system calls,
/// refuses it; then fence by yourself after every store. Milliseconds the first time in a process with threads.
inline bool register_for_barriers() noexcept {
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

/// Between call and return every running thread of every registered process executes a full barrier; one that does not
/// run has passed the scheduler's. False: refused. A few microseconds: never on a hot path.
inline bool barrier_everywhere() noexcept {
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}

/// A full barrier of this thread alone.
TOWPATH_HOT void full_fence() noexcept {
#if TOWPATH_TSAN
  static std::atomic<int> line{0};  // ThreadSanitizer knows no fences
  line.fetch_add(1, std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/log/sole_writer.hpp ----

// How an Appender writes where a partition has one writer at a time: it keeps the tail to itself and publishes it, and
// a commit is a store. No locked instruction per record. docs/protocol.md, "One writer"; docs/decisions/0030. One
// thread's. After a crash the kernel frees the lock, readers give up the open slot as everywhere, and the next writer
// gives up what is left open and goes on behind it.

namespace towpath::inline TOWPATH_ABI::log {

class SoleWriter {
 public:
  /// `locks` may be shared with the other appenders of a Producer; null: this one has its own.
  SoleWriter(const PartitionLog& log, shm::MemberLine& line, WriterLocks* locks) noexcept
      : log_{&log}, line_{&line}, locks_{locks}, is_sole_{log.format().one_writer} {}

  /// Has the topic one writer? Nothing else here may be called where it has not.
  [[nodiscard]] TOWPATH_HOT bool is_sole() const noexcept { return is_sole_; }
  [[nodiscard]] bool is_owner() const noexcept { return is_owner_; }

  /// Makes the partition mine. Errors: those of WriterLocks.
  Result<void> own(bool is_maintenance = false) {
    if (is_owner_) return {};
    if (!locks_) own_locks_ = std::make_unique<WriterLocks>(), locks_ = own_locks_.get();
    auto taken = is_maintenance ? locks_->take_for_maintenance(*log_) : locks_->take(*log_);
    if (!taken) return taken;
    is_owner_ = true, is_new_ = true;
    fences_ = !shm::register_for_barriers();
    TOWPATH_FAILPOINT("sole.owned");
    return {};
  }

  /// Nothing may be reserved.
  void give_back() noexcept {
    if (is_owner_) locks_->give_back(*log_);
    is_owner_ = false;
    leave();
  }

  /// Goes on at the end of a segment that is not sealed. What a writer before me left open is given up, head first: it
  /// is dead, for I have its lock, and its slots are never used again.
  void enter(const Segment& segment) noexcept {
    tail_ = segment.header->tail.load(shm::acquire);
    if (!is_new_ || Tail::is_closed(tail_)) return;
    const std::uint64_t end = std::min(Tail::count(tail_), segment.slot_count);
    for (std::uint64_t i = 0; i < end; ++i)
      if (segment.slots[i].load(shm::relaxed) == Slot::empty) abort_slot(*log_, segment, i);
    is_new_ = false;
    TOWPATH_FAILPOINT("sole.entered");
  }

  /// No segment, or one that is sealed or not mine: nothing fits.
  void leave() noexcept {
    tail_ = Tail::closed;
    // Pairs with the acquire of R4 and HELP: whatever was reserved is resolved.
    line_->inflight.store(Inflight::idle, shm::release);
  }

  /// Does it fit, is the segment still there, and has nobody asked me to close it?
  [[nodiscard]] TOWPATH_HOT bool fits(const Segment& segment, Need need) const noexcept {
    return Tail::bytes(tail_) + need.bytes <= segment.capacity &&
           Tail::count(tail_) + need.slots <= segment.slot_limit &&
           segment.header->base.load(shm::relaxed) == segment.base && !is_asked(segment);
  }

  /// May I go on in it? False: the topic was deleted under me.
  [[nodiscard]] bool is_there(const Segment& segment) const noexcept {
    return !Tail::is_closed(tail_) && segment.header->base.load(shm::relaxed) == segment.base;
  }

  /// After fits().
  TOWPATH_HOT Reservation reserve(const Segment& segment, Need need, std::uint64_t length) noexcept {
    announce(segment);
    TOWPATH_FAILPOINT("reserve.announced");
    const std::uint64_t old = tail_;
    tail_ = old + (need.slots * Tail::one_slot | need.bytes);
    // Pairs with the acquire of readers and HELP, which then see what was announced.
    segment.header->tail.store(tail_, shm::release);
    TOWPATH_FAILPOINT("reserve.reserved");
    const std::uint64_t n = Tail::count(old);
    const std::uint64_t position = Tail::bytes(old);
    std::byte* frame = segment.data + position;
    detail::prefetch_ahead(frame);
    return {n, position, length, frame, Offset{static_cast<std::int64_t>(segment.base + n)}, need.slots};
  }

  /// A store will do: nobody aborts a slot of a live writer here. What it owes to those who sleep, that it comes before
  /// the look at their mask, they get themselves, by shm::barrier_everywhere().
  TOWPATH_HOT void commit(const Segment& segment, const Reservation& room) const noexcept {
    // Pairs with the acquire in Reader::step().
    segment.slots[room.n].store(Slot::make(Slot::committed, room.position, room.length), shm::release);
    TOWPATH_FAILPOINT("commit.resolved");
    if (fences_) [[unlikely]]
      shm::full_fence();  // whether somebody sleeps or not: the look at the mask is what must not be early
    std::atomic_signal_fence(std::memory_order_seq_cst);
    log_->wake();
    TOWPATH_FAILPOINT("commit.woken");
  }

  /// Closes the segment behind what was reserved. Returns how many slots it has: one at least, given up if need be.
  std::uint64_t seal(const Segment& segment) noexcept {
    if (Tail::count(tail_) == 0) {
      segment.header->tail.store(Tail::make(1, 0), shm::release);
      TOWPATH_FAILPOINT("sole.empty");
      abort_slot(*log_, segment, 0);
    }
    TOWPATH_FAILPOINT("sole.before_seal");
    const std::uint64_t count = seal_segment(*log_, segment, std::max<std::uint64_t>(1, Tail::count(tail_)));
    leave();
    TOWPATH_FAILPOINT("sole.sealed");
    return count;
  }

  /// Was it asked to close a segment that nothing stands in?
  [[nodiscard]] bool is_asked_in_vain(const Segment& segment) const noexcept {
    return is_asked(segment) && Tail::count(tail_) == 0;
  }
  /// Forgets that it was asked.
  static void clear_request(const Segment& segment) noexcept { segment.header->roll_request.store(0, shm::relaxed); }

  /// Asks a live writer to close its segment at its next append.
  static void request_roll(const PartitionLog& log) {
    const std::uint64_t base = log.state().hint.load(shm::acquire);
    // Names the incarnation: one that comes late asks for nothing.
    if (auto active = log.open(base, Use::append)) active->header->roll_request.store(base + 1, shm::relaxed);
  }

 private:
  [[nodiscard]] TOWPATH_HOT static bool is_asked(const Segment& segment) noexcept {
    return segment.header->roll_request.load(shm::relaxed) == segment.base + 1;
  }

  /// It stays there from record to record: no slot of mine is open unless it speaks of this partition and segment.
  TOWPATH_HOT void announce(const Segment& segment) noexcept {
    if (line_->inflight.load(shm::relaxed) != Inflight::reserving(segment.base) ||
        line_->uid.load(shm::relaxed) != log_->uid()) [[unlikely]]
      say(segment);
  }
  TOWPATH_COLD void say(const Segment& segment) noexcept {
    line_->inflight.store(Inflight::idle, shm::release);  // uid changes only while it is idle
    line_->uid.store(log_->uid(), shm::release);          // pairs with R4 and HELP, as in Appender::announce()
    line_->inflight.store(Inflight::reserving(segment.base), shm::release);
  }

  const PartitionLog* log_;
  shm::MemberLine* line_;
  WriterLocks* locks_;
  std::unique_ptr<WriterLocks> own_locks_;
  std::uint64_t tail_ = Tail::closed;  // of the segment: nobody else changes it
  bool is_sole_;
  bool is_owner_ = false;
  bool is_new_ = false;  // what the writer before left open is still to be given up
  bool fences_ = false;  // barriers of others do not reach this process
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/appender.hpp ----

// An Appender writes records at the end of one partition (protocol.md RESERVE, WRITE, COMMIT).
// It belongs to one thread, like the member line it uses; any number of them append to one partition at a time.
// append() never blocks on another process: a reservation is one fetch_add, a commit one compare-and-swap. Once per
// segment it makes or finds the next file. After a crash the one open reservation is aborted by whoever it holds up.
// In a topic with one writer both are stores (log/sole_writer.hpp), and a second live writer is told `busy`.

namespace towpath::inline TOWPATH_ABI::log {

/// What the caller knows of the topic: whether a partition has many writers or one.
enum class Writing { any, shared, sole };

class Appender {
 public:
  /// `locks`: those of the Producer, where the topic has one writer; null: its own.
  Appender(const PartitionLog& log, shm::Member& member, WriterLocks* locks = nullptr) noexcept
      : log_{&log},
        member_{&member},
        line_{&member.line()},
        alignment_{log.format().record_alignment},
        sole_{log, member.line(), locks} {}

  /// Appends one frame of `length` bytes, which `fill(std::byte* frame, std::uint64_t offset, const Segment&)` writes.
  /// `fill` may be called again for another place (the slot was aborted by a helper, or the segment was full).
  /// Returns the offset. Errors, each with nothing appended: queue_full (readers hold the log up), no_space,
  /// topic_deleted, partition_failed, corrupt, newer_format, too_many_maps, too_many_files, permission_denied,
  /// io_error; busy (another live Producer writes the partition, which has one writer).
  template <class Fill>
  TOWPATH_HOT Result<Offset> append(std::uint64_t length, const Fill& fill) {
    for (;;) {
      auto room = reserve(length);
      if (!room) return room.error();
      fill(room->frame, static_cast<std::uint64_t>(room->offset.value), segment_);
      TOWPATH_FAILPOINT("append.written");
      if (commit(*room)) return room->offset;
    }
  }

  /// Takes room for a frame of `length` bytes. Until commit() or abandon() the appender must do nothing else. Errors as
  /// append().
  TOWPATH_HOT Result<Reservation> reserve(std::uint64_t length) {
    return reserve({align_up(length, alignment_), 1}, length);
  }

  /// Takes `need.slots` slots in a row and `need.bytes` bytes: a batch, published whole by one commit(). The first
  /// frame has `length` bytes and begins at the room's; each later one at a multiple of the record alignment, announced
  /// by place() before the commit.
  template <Writing how = Writing::any>
  TOWPATH_HOT Result<Reservation> reserve(Need need, std::uint64_t length) {
    if constexpr (how == Writing::shared) return reserve_shared(need, length);
    if constexpr (how == Writing::sole) return reserve_sole(need, length);
    return sole_.is_sole() ? reserve_sole(need, length) : reserve_shared(need, length);
  }

  /// reserve() of one small frame in the segment at hand. False: nothing was reserved, and reserve() is to be asked.
  template <Writing how>
  TOWPATH_HOT bool reserve_here(Need need, std::uint64_t length, Reservation& room) noexcept {
    if constexpr (how == Writing::shared) return !full_ && segment_ && take_small(need, length, room);
    if (!sole_.fits(segment_, need)) return false;
    room = sole_.reserve(segment_, need, length);
    return true;
  }

  /// Says where record `i` (from 1) of a batch stands. Seen by readers once the batch is committed, never before.
  void place(const Reservation& room, std::uint64_t i, std::uint64_t position, std::uint64_t length) const noexcept {
    // Published by the head's compare-and-swap. A plain store also over what a helper aborted: then the head is, too.
    segment_.slots[room.n + i].store(Slot::make(Slot::continued, position, length), shm::relaxed);
  }

  /// Publishes what was reserved. False if a helper aborted the slot meanwhile: nothing was visible, append it again.
  template <Writing how = Writing::any>
  TOWPATH_HOT bool commit(const Reservation& room) noexcept {
    if constexpr (how == Writing::shared) return commit_shared(room, [] {});
    if constexpr (how == Writing::sole) return sole_.commit(segment_, room), true;
    return commit(room, [] {});
  }

  /// As above; `lost()` runs when the slot was aborted, while the frame's bytes are still this appender's to read.
  template <class Lost>
  TOWPATH_HOT bool commit(const Reservation& room, const Lost& lost) {
    if (!sole_.is_sole()) return commit_shared(room, lost);
    sole_.commit(segment_, room);
    return true;  // a live writer's slot stays its own
  }

  /// Gives the room up: readers skip the offsets.
  void abandon(const Reservation& room) noexcept {
    for (std::uint64_t i = 0; i < room.count; ++i) abort_slot(*log_, segment_, room.n + i);
    TOWPATH_FAILPOINT("abandon.aborted");
    line_->inflight.store(Inflight::idle, shm::release);  // pairs as in commit()
  }

  [[nodiscard]] const PartitionLog& log() const noexcept { return *log_; }
  [[nodiscard]] const Segment& segment() const noexcept { return segment_; }

  /// Makes the partition mine until the appender goes, where it has one writer. Errors: busy, and those of a file.
  Result<void> own() { return sole_.is_sole() ? sole_.own() : Result<void>{}; }

  /// Closes the active segment and makes the next one, unless the active one is empty. For retention by age. Where
  /// there is one writer and it lives, it is asked to, and does so at its next append.
  Result<void> roll() {
    return closing([&] {
      auto done = close_active(false);
      return done && full_ ? find_segment({}) : done;
    });
  }

  /// Closes the active segment for good: for a partition that failed, where nothing follows. Nothing may be reserved.
  void close() {
    closing([&] { return close_active(true); }).ignore();
    park();
  }

  /// Lets go of the mapped segment; the next append finds it again. Not while something is reserved.
  void park() noexcept {
    segment_ = Segment{};
    full_ = false;
    if (sole_.is_sole()) sole_.leave();
  }

 private:
  TOWPATH_HOT Result<Reservation> reserve_shared(Need need, std::uint64_t length) {
    if (need.bytes > max_small_frame || need.slots > max_small_count) return reserve_large(need, length);
    for (Reservation room;;) {
      if (full_ || !segment_) [[unlikely]]
        if (auto ready = find_segment(need); !ready) return ready.error();
      if (take_small(need, length, room)) [[likely]]
        return room;
    }
  }

  /// There is a segment. False: it is full, or not mine any more.
  TOWPATH_HOT bool take_small(Need need, std::uint64_t length, Reservation& room) noexcept {
    announce();
    TOWPATH_FAILPOINT("reserve.announced");
    // Pairs with R3's exchange, which then sees what was announced, and with T3's store, which brings the new base.
    const std::uint64_t old = segment_.header->tail.fetch_add(need.slots * Tail::one_slot | need.bytes, shm::acq_rel);
    TOWPATH_FAILPOINT("reserve.reserved");
    const std::uint64_t n = Tail::count(old);
    const std::uint64_t position = Tail::bytes(old);
    // One branch for: full, retired (bit 63 makes n huge), and another incarnation.
    if (position + need.bytes > segment_.capacity || n + need.slots > segment_.slot_limit ||
        segment_.header->base.load(shm::relaxed) != segment_.base) [[unlikely]] {
      missed(old, need.slots);
      return false;
    }
    room = hold(n, position, length, need.slots);
    return true;
  }

  /// However much is wanted: nothing is taken before it is seen to fit.
  TOWPATH_HOT Result<Reservation> reserve_sole(Need need, std::uint64_t length) {
    while (!sole_.fits(segment_, need)) [[unlikely]] if (auto ready = prepare_sole(need); !ready) return ready.error();
    return sole_.reserve(segment_, need, length);
  }

  template <class Lost>
  TOWPATH_HOT bool commit_shared(const Reservation& room, const Lost& lost) {
    const bool mine = segment_.resolve(room.n, Slot::make(Slot::committed, room.position, room.length));
    TOWPATH_FAILPOINT("commit.resolved");
    if (mine) [[likely]] {
      log_->wake();
    } else {
      lost();
    }
    TOWPATH_FAILPOINT("commit.woken");
    line_->inflight.store(Inflight::idle, shm::release);  // pairs with the acquire of R4 and HELP: the frame is written
    return mine;
  }

  /// From here until inflight says otherwise nobody recycles the segment that I believe in.
  TOWPATH_HOT void announce() noexcept {
    // Pairs with the acquire of R4 and HELP, which read inflight first: it comes with its uid or a later one.
    if (line_->uid.load(shm::relaxed) != log_->uid()) line_->uid.store(log_->uid(), shm::release);
    line_->inflight.store(Inflight::reserving(segment_.base),
                          shm::release);  // pairs with R3's exchange through the tail
  }

  TOWPATH_HOT Reservation hold(std::uint64_t n, std::uint64_t position, std::uint64_t length,
                               std::uint64_t count) noexcept {
    const std::uint64_t offset = segment_.base + n;
    // Before inflight, which still protects the whole segment: a scanner that reads the count behind inflight has it.
    if (count > Inflight::many) line_->batch.store(count, shm::release);
    line_->inflight.store(Inflight::writing(offset, count), shm::release);  // pairs with the acquire of R4 and HELP
    TOWPATH_FAILPOINT("reserve.narrowed");
    std::byte* frame = segment_.data + position;
    detail::prefetch_ahead(frame);
    return {n, position, length, frame, Offset{static_cast<std::int64_t>(offset)}, count};
  }

  /// Why does it not fit? One thing is put right at a time.
  TOWPATH_COLD Result<void> prepare_sole(Need need) {
    if (full_ || !segment_) return find_segment(need);
    if (!sole_.is_there(segment_))
      stale();
    else if (sole_.is_asked_in_vain(segment_) && !log_->has_failed())
      SoleWriter::clear_request(segment_);
    else
      seal_sole();
    return {};
  }

  void seal_sole() noexcept {
    next_base_ = segment_.base + sole_.seal(segment_);
    full_ = true, crosser_ = true;
  }

  /// Does what closes a segment, for which one needs the writer's lock where there is one writer: for so long only,
  /// unless it is mine already. If a live writer has it, it is asked.
  template <class Work>
  Result<void> closing(const Work& work) {
    park();
    if (!sole_.is_sole()) return work();
    const bool was_owner = sole_.is_owner();
    if (auto mine = sole_.own(true); !mine) {
      if (mine.error() != Errc::busy) return mine;
      SoleWriter::request_roll(*log_);
      return {};
    }
    auto done = work();
    park();
    if (!was_owner) sole_.give_back();
    return done;
  }

  /// Closes the active segment; one that holds nothing only if `always`. It stays segment_, and full_, if it did.
  Result<void> close_active(bool always) {
    if (auto ready = find_segment({}); !ready) return ready;
    if (!always && Tail::count(segment_.header->tail.load(shm::acquire)) == 0) return {};
    if (sole_.is_sole()) return seal_sole(), Result<void>{};
    announce();
    roll_for_large(read_tail());
    return {};
  }

  /// Much at once: reserves by compare-and-swap, which never passes the end, so that the tail cannot overflow.
  TOWPATH_COLD Result<Reservation> reserve_large(Need need, std::uint64_t length) {
    const std::uint64_t step = need.slots * Tail::one_slot | need.bytes;
    for (;;) {
      if (full_ || !segment_)
        if (auto ready = find_segment(need); !ready) return ready.error();
      announce();
      TOWPATH_FAILPOINT("large.announced");
      std::uint64_t old = read_tail();
      if (segment_.header->base.load(shm::relaxed) != segment_.base) {  // before anything is taken: it may be much
        stale();
        continue;
      }
      bool fits = fits_large(old, need);
      while (fits && !segment_.header->tail.compare_exchange(old, old + step, shm::acq_rel, shm::acquire))
        fits = fits_large(old, need);
      TOWPATH_FAILPOINT("large.reserved");
      if (!fits) {
        roll_for_large(old);
        continue;
      }
      if (segment_.header->base.load(shm::relaxed) == segment_.base)
        return hold(Tail::count(old), Tail::bytes(old), length, need.slots);
      missed(old, need.slots);
    }
  }

  /// Reads the tail by a read-modify-write: as after a fetch_add, either the recycler's exchange came before and the
  /// tail is closed, or it comes later and its scan sees what was announced. A load would promise neither.
  std::uint64_t read_tail() noexcept { return segment_.header->tail.fetch_add(0, shm::acq_rel); }

  [[nodiscard]] bool fits_large(std::uint64_t tail, Need need) const noexcept {
    return !Tail::is_closed(tail) && Tail::bytes(tail) + need.bytes <= segment_.capacity &&
           Tail::count(tail) + need.slots <= segment_.slot_limit;
  }

  /// The forced roll: takes one slot and puts the tail past the end, unless it is there or the segment is not mine.
  void roll_for_large(std::uint64_t old) {
    while (!Tail::is_closed(old) && Tail::bytes(old) <= segment_.capacity && Tail::count(old) < segment_.slot_limit) {
      const std::uint64_t past = Tail::make(Tail::count(old) + 1, segment_.capacity + 8);
      if (!segment_.header->tail.compare_exchange(old, past, shm::acq_rel, shm::acquire)) continue;
      TOWPATH_FAILPOINT("large.forced");
      if (segment_.header->base.load(shm::relaxed) != segment_.base) return stale();
      return finish(Tail::count(old), 1, true);
    }
    if (Tail::is_closed(old) || segment_.header->base.load(shm::relaxed) != segment_.base) return stale();
    finish(Tail::count(old), 0, false);
  }

  /// The reservation did not land inside my incarnation.
  TOWPATH_COLD void missed(std::uint64_t old, std::uint64_t taken) {
    if (Tail::is_closed(old) || segment_.header->base.load(shm::relaxed) != segment_.base) return stale();
    finish(Tail::count(old), taken, Tail::bytes(old) <= segment_.capacity && Tail::count(old) <= segment_.slot_limit);
  }

  /// Somebody else's incarnation, which I do not protect: touch nothing, not even the slot I got there.
  void stale() noexcept {
    line_->inflight.store(Inflight::idle, shm::release);  // pairs as in commit()
    log_->state().stale.fetch_add(1, shm::relaxed);
    segment_ = Segment{};
    full_ = false;
  }

  /// My incarnation and full: give up the `taken` slots from `n` on, seal, and remember where the next segment begins.
  void finish(std::uint64_t n, std::uint64_t taken, bool crosser) noexcept {
    for (std::uint64_t i = n; i < std::min(n + taken, segment_.slot_count); ++i) abort_slot(*log_, segment_, i);
    TOWPATH_FAILPOINT("finish.before_seal");
    for (int i = 0; !crosser && i < 2'000 && segment_.sealed_count() == 0; ++i)
      shm::pause();  // the crosser knows the exact n
    const std::uint64_t count = seal_segment(*log_, segment_, n);
    next_base_ = segment_.base + count;
    full_ = true;
    crosser_ = crosser;
    line_->inflight.store(Inflight::idle, shm::release);  // pairs as in commit(): the seal is decided
    TOWPATH_FAILPOINT("finish.idle");
  }

  TOWPATH_COLD Result<void> find_segment(Need need) {
    if (auto mine = own(); !mine) return mine;
    if (segment_ && full_ && next_base_ <= segment_.base)
      return Failure{Errc::corrupt, "a segment sealed without a slot"};
    auto found = segment_ ? log_->next(*member_, segment_, next_base_, crosser_, need) : log_->active(*member_, need);
    if (!found) return found.error();
    segment_ = std::move(*found);
    full_ = false;
    if (const std::uint64_t count = segment_.sealed_count();
        count != 0) {  // nobody adds to a tail that is past its end
      next_base_ = segment_.base + count;
      full_ = true, crosser_ = sole_.is_sole();  // alone there is nobody to wait for
      return find_segment(need);
    }
    if (sole_.is_sole()) sole_.enter(segment_);
    if (segment_.can_hold(need)) return {};
    // Made by somebody with smaller records, and mine never fits: fill it up and look for the next.
    if (sole_.is_sole()) {
      if (sole_.is_there(segment_)) seal_sole();
      return full_ ? find_segment(need) : Result<void>{};
    }
    announce();
    roll_for_large(read_tail());
    return find_segment(need);
  }

  const PartitionLog* log_;
  shm::Member* member_;
  shm::MemberLine* line_;
  std::uint64_t alignment_;
  Segment segment_;
  std::uint64_t next_base_ = 0;
  bool full_ = false;  // segment_ is sealed; next_base_ follows it
  bool crosser_ = false;
  SoleWriter sole_;
};

/// Gives the room back if the user's encode throws; set `appender` to null when it did not.
struct RoomGuard {
  Appender* appender;
  const Reservation* room;
  ~RoomGuard() {
    if (appender) appender->abandon(*room);
  }
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/deletion.hpp ----

// Deleting records on request, from a log's begin up to an offset (Kafka's DeleteRecords). The offset may lie inside a
// segment, where log_start may not: every step of the protocol that asks "is this segment retired?" compares its base
// with log_start. So the request raises a word of its own, which only readers look at, and whole segments below it are
// retired like any others: docs/decisions/0025. Thread-safe and process-safe. After a crash the records are deleted or
// not, as the word says; maintenance retires what is left.

namespace towpath::inline TOWPATH_ABI::log {

inline constexpr std::int64_t up_to_the_end = -1;  ///< as Kafka's DeleteRecords has it: the high watermark

/// How many slots the segment at `base` has, if it may go and every record in it is deleted. Else 0.
inline std::uint64_t deleted_slots(const PartitionLog& log, std::uint64_t base) {
  const std::uint64_t deleted = log.state().deleted_to.load(shm::acquire);
  if (base >= deleted) return 0;
  const std::uint64_t count = retirable_slots(log, base);
  return base + count <= deleted ? count : 0;
}

/// Deletes the records before an offset, or all that can be read now for up_to_the_end. Less than what is deleted
/// already changes nothing. Returns the log's begin. `member` is the caller's and has nothing reserved. Errors:
/// offset_out_of_range (negative, or past the last record that can be read), topic_deleted, corrupt, newer_format,
/// those of mapping; io_error when they are deleted, but a power cut may bring them back.
inline Result<Offset> delete_records(const PartitionLog& log, const std::shared_ptr<Pins>& pins,
                                     const shm::Member& member, std::int64_t before) {
  if (log.is_deleted()) return Failure{Errc::topic_deleted, "the topic was deleted under this handle"};
  const auto end = Reader{log, pins}.find_end();  // raises resolved_to
  if (!end) return end.error();
  if (before < up_to_the_end)
    return Failure{Errc::offset_out_of_range, "before: an offset, or -1 for all that can be read"};
  if (before > end->value) return Failure{Errc::offset_out_of_range, "before: past the last record that can be read"};
  const auto wanted = static_cast<std::uint64_t>(before == up_to_the_end ? end->value : before);
  log.state().deleted_to.raise_to(wanted, shm::seq_cst);  // pairs with begin() and Reader::collect()
  TOWPATH_FAILPOINT("delete_records.raised");
  if (auto kept = log.directory().flush("state"); !kept) return kept.error();  // a power cut does not bring them back
  const auto bases = log.bases();
  for (std::size_t i = 0; bases && i < bases->size(); ++i) {
    const std::uint64_t count = deleted_slots(log, (*bases)[i]);
    if (count == 0) break;
    Recycler{&log, &member}.retire((*bases)[i], count);
  }
  return Offset{static_cast<std::int64_t>(log.begin())};
}

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/log/maintenance.hpp ----

// What a partition needs now and then, and nobody waits for: sweeping private files of the dead, finishing retirements
// that a dead process began, retention by bytes and age, spares, resolved_to, flushing at intervals. One process does
// it at a time, by a role lock; two at once are harmless. Correctness never depends on it: without it disk and memory
// are given back later, spares are not made (rolls cost milliseconds instead of microseconds), age is not looked at,
// and a topic of durability interval is flushed by Producer::flush() only.

namespace towpath::inline TOWPATH_ABI::log {

class PartitionMaintenance {
 public:
  static constexpr std::uint64_t wanted_spares = 2;
  static constexpr Duration spares_kept_for{std::chrono::minutes{1}};

  PartitionMaintenance(const PartitionLog& log, shm::Member& member, std::shared_ptr<Pins> pins)
      : log_{&log},
        member_{&member},
        pins_{pins},
        reader_{log, std::move(pins)},
        appender_{log, member},
        recycler_{&log, &member},
        flusher_{log, member},
        clean_at_{log.clock().steady()} {}

  /// One round. A few system calls when nothing is to do; making or cleaning a segment takes milliseconds. The caller
  /// forgets gone segments, once for all its partitions.
  /// Errors: no_space and the like, from making spares; the rest of the round was done.
  Result<void> step() {
    std::uint64_t counted = log_->state().live_bytes.load(shm::seq_cst);
    auto names = log_->directory().list(log_->folder().c_str());
    if (!names) return names.error() == Errc::not_found ? Result<void>{} : names.error();
    const shm::FolderHold hold{log_->directory(), log_->folder()};
    live_.clear(), spares_ = 0;
    for (const auto& name : *names) look_at(name);
    std::sort(live_.begin(), live_.end(), [](const auto& a, const auto& b) { return a.base < b.base; });
    // Puts right what a crash between rename and count left, unless somebody rolled or retired meanwhile. A log without
    // a segment never had one, or it is gone: then the count is all that tells.
    if (!live_.empty()) log_->state().live_bytes.compare_exchange(counted, total(), shm::seq_cst, shm::relaxed);
    finish_retirements();
    retire_deleted();
    if (log_->waits()) WaiterRegistration::sweep(*log_->waits(), *member_);
    const bool has_failed = log_->has_failed();
    if (has_failed) appender_.close();
    if (!has_failed) retire_by_bytes();
    if (!has_failed) retire_by_age();
    const auto active = live_.empty() ? Result<Segment>{Errc::not_found} : log_->open(live_.back().base, Use::append);
    if (active) look_at(*active);
    const std::uint64_t limit = walks_to();
    auto end = reader_.find_end(limit);
    while (end && reader_.help())
      end = reader_.find_end(limit);  // a stall that lasts from round to round meets its grace here
    reader_.park();
    if (!end) return end.error();
    is_moving_ = is_busy_ ? !is_full_size_ : end->value != end_;
    end_ = end->value;
    if (has_failed) return failed_partition();
    auto flushed = flush_when_due();
    auto kept = keep_spares(active);
    return flushed ? kept : flushed;
  }

  /// For the last round of all: what could be read is on stable storage afterwards, unless durability is none.
  void close() {
    const auto end = reader_.find_end();
    reader_.park();
    if (end && log_->words().durability.load(shm::relaxed) != 0)
      flusher_.flush_to(static_cast<std::uint64_t>(end->value)).ignore();
  }

  /// Should the next round come soon? While the log grows a little, for its end; while it grows fast, until its
  /// segments have their full size. From then on each roll asks for a round, and one between two only takes a core.
  [[nodiscard]] bool is_moving() const noexcept { return is_moving_; }

 private:
  /// How far to look which slots are resolved: not where the writers and readers of a busy log are at work, unless it
  /// is to be flushed. That would take lines from them, and a core where there are few. A consumer that keeps up says
  /// itself how far it came. Measured: docs/decisions/0032.
  [[nodiscard]] std::uint64_t walks_to() const noexcept {
    constexpr std::size_t left_alone = 4;  // segments before the active one
    if (!is_busy_ || log_->words().durability.load(shm::relaxed) != 0) return ~std::uint64_t{0};
    return live_.size() > left_alone ? live_[live_.size() - 1 - left_alone].base : 0;
  }

  /// The interval runs from when everything was last seen to be durable. Records whose senders flush themselves (each)
  /// are flushed too, for a sender may have died before.
  Result<void> flush_when_due() {
    const auto now = log_->clock().steady();
    const Duration interval{static_cast<std::int64_t>(log_->words().flush_interval_ns.load(shm::relaxed))};
    if (log_->words().durability.load(shm::relaxed) == 0) return {};
    const bool is_clean = log_->state().durable_to.load(shm::acquire) >= static_cast<std::uint64_t>(end_);
    if (!is_clean && now - clean_at_ < interval) return {};
    auto done = is_clean ? Result<void>{} : flusher_.flush_to(static_cast<std::uint64_t>(end_));
    if (done) clean_at_ = now;
    return done;
  }

  struct Live {
    std::uint64_t base;
    std::uint64_t bytes;
  };

  [[nodiscard]] std::uint64_t total() const noexcept {
    std::uint64_t bytes = 0;
    for (const auto& segment : live_) bytes += segment.bytes;
    return bytes;
  }

  void look_at(const std::string& name) {
    const auto path = log_->in_folder(name.c_str());
    if (name.starts_with("own.")) return sweep(name.c_str() + 4, path.data());
    if (name.starts_with("spare.")) return void(++spares_);
    if (name.ends_with(".timeindex") || name.ends_with(".orphan")) return drop_below_start(name, path.data());
    if (name.size() != 24 || !name.ends_with(".log")) return;
    const auto info = log_->directory().identify(path.data());
    if (info) live_.push_back({std::strtoull(name.c_str(), nullptr, 10), info->bytes});
  }

  /// A time index whose segment went: whoever made it died before it could look again. Or what recovery put aside, once
  /// retention would have taken it.
  void drop_below_start(const std::string& name, const char* path) {
    const std::uint64_t base = std::strtoull(name.c_str(), nullptr, 10);
    if (base < log_->state().log_start.load(shm::seq_cst)) log_->directory().remove(path).ignore();
  }

  /// A private file whose owner is gone, or whose line somebody else has now. Unlinking one is always safe.
  void sweep(const char* owner, const char* path) {
    if (log_->members().is_left_behind(owner)) remove_segment_file(log_->directory(), path).ignore();
  }

  void finish_retirements() {
    const std::uint64_t start = log_->state().log_start.load(shm::seq_cst);
    while (!live_.empty() && live_.front().base < start) {
      recycler_.retire(live_.front().base, 0, true);  // its file stands although log_start passed it
      live_.erase(live_.begin());
    }
  }

  /// What delete_records() had no time for: it was killed, or the active segment is sealed by now.
  void retire_deleted() {
    while (!live_.empty() && deleted_slots(*log_, live_.front().base) != 0 && retire_front()) {
    }
  }

  bool retire_front() {
    const std::uint64_t count = live_.empty() ? 0 : retirable_slots(*log_, live_.front().base);
    if (count == 0) return false;
    if (recycler_.retire(live_.front().base, count) == Retired::recycled) ++spares_;
    live_.erase(live_.begin());
    return true;
  }

  void retire_by_bytes() {
    const std::uint64_t limit = log_->words().retention_bytes.load(shm::relaxed);
    const auto kept = [&] {
      return total() + std::min(spares_, wanted_spares) * (live_.empty() ? 0 : live_.back().bytes);
    };
    while (limit != 0 && kept() > limit && live_.size() > 1 && retire_front()) {
    }
  }

  void retire_by_age() {
    const auto age = static_cast<std::int64_t>(log_->words().retention_age_ns.load(shm::relaxed));
    if (age == 0 || live_.empty()) return;
    const std::int64_t oldest = log_->clock().wall().time_since_epoch().count() - age;
    while (live_.size() > 1 && is_older(live_.front().base, oldest) && retire_front()) {
    }
    if (live_.size() == 1 && is_older(live_.front().base, oldest)) roll(live_.front());
  }

  /// Is every record of the segment older than that? Timestamps may come in any order. No while one may still come:
  /// a slot is open, or the segment is and nothing stands in it.
  [[nodiscard]] bool is_older(std::uint64_t base, std::int64_t oldest) const {
    const auto pinned = pin_segment(*log_, pins_, base);
    if (!pinned) return false;
    const Segment* segment = &**pinned;
    const std::uint64_t sealed = segment->sealed_count();
    bool is_used = sealed != 0;
    std::uint64_t n = sealed != 0 ? sealed : Tail::count(segment->header->tail.load(shm::acquire));
    BatchHeads heads;
    for (n = std::min(n, segment->slot_count); n-- > 0;) {  // from the end: most often its newest record is there
      if (heads.state(*segment, n) == Slot::empty) return false;
      const auto timestamp = detail::timestamp_of(*segment, n, heads);
      if (timestamp && *timestamp >= oldest) return false;
      is_used = is_used || timestamp;
    }
    return is_used;
  }

  /// The active segment's newest record expired: closes it, so that it can go. The next round retires it.
  void roll(const Live& active) {
    if (active.base != log_->state().hint.load(shm::acquire)) return;
    appender_.roll().ignore();  // no_space: the next round tries again
    appender_.park();
  }

  /// Two spares for a log that rolls at its full size; one, of the next size, for a log that grows and will roll soon.
  Result<void> keep_spares(const Result<Segment>& active) {
    const auto now = log_->clock().steady().time_since_epoch().count();
    const auto last = static_cast<std::int64_t>(log_->state().last_roll.load(shm::relaxed));
    std::uint64_t wanted = 0;
    if (active && log_->format().recycling && is_full_size_ && last != 0 && now - last < spares_kept_for.count())
      wanted = wanted_spares;
    else if (active && log_->format().recycling && !is_full_size_ && rolls_soon_)
      wanted = 1;
    count_spares();  // again: those who roll took and gave some since this round began
    for (std::uint64_t i = spare_names; wanted == 0 && spares_ > 0 && i-- > 0;)
      if (drop_spare(i)) --spares_;
    for (; spares_ < wanted; ++spares_)
      if (auto made = make_spare(is_full_size_ ? active->geometry() : log_->following(*active, {})); !made) return made;
    return {};
  }

  void count_spares() {
    spares_ = 0;
    for (std::uint64_t i = 0; i < spare_names; ++i)
      if (log_->directory().identify(log_->spare_name(i).data())) ++spares_;
  }

  /// How fast does the log grow? The active segment will soon be full if that is within about ten rounds.
  void look_at(const Segment& active) noexcept {
    const std::uint64_t tail = active.header->tail.load(shm::acquire);
    const std::uint64_t filled = Tail::is_closed(tail) ? 0 : std::min(Tail::bytes(tail), active.capacity);
    const std::uint64_t before = active.base == seen_base_ ? std::min(seen_filled_, filled) : 0;
    constexpr std::uint64_t much = std::uint64_t{1} << 20;
    is_busy_ = seen_base_ != unset_base && (active.base != seen_base_ || filled > before + much);
    is_full_size_ = active.geometry().segment_bytes >= log_->words().segment_bytes.load(shm::relaxed);
    rolls_soon_ = filled > before && filled + 10 * (filled - before) >= active.capacity;
    seen_base_ = active.base, seen_filled_ = filled;
  }

  /// Takes the spare as whoever rolls would, marks it and unlinks it.
  bool drop_spare(std::uint64_t i) {
    const auto own = log_->own_name(*member_);
    if (!log_->directory().rename(log_->spare_name(i).data(), own.data())) return false;
    return remove_segment_file(log_->directory(), own.data()).has_value();
  }

  Result<void> make_spare(const Geometry& shape) {
    const auto own = log_->own_name(*member_);
    auto spare = log_->make_file(own.data(), shape);
    if (!spare) return spare.error();
    constexpr std::size_t stride = 2u << 20;  // in steps, so that others get the processor in between
    for (std::size_t at = 0; at < spare->control->size(); at += stride) spare->control->populate(at, stride, true);
    TOWPATH_FAILPOINT("spare.made");
    for (std::uint64_t i = 0; i < spare_names; ++i)
      if (log_->directory().rename(own.data(), log_->spare_name(i).data())) return {};
    return remove_segment_file(log_->directory(), own.data());
  }

  const PartitionLog* log_;
  shm::Member* member_;
  std::shared_ptr<Pins> pins_;
  Reader reader_;
  Appender appender_;
  Recycler recycler_;
  Flusher flusher_;
  std::vector<Live> live_;
  std::uint64_t spares_ = 0;
  std::uint64_t seen_base_ = unset_base;
  std::uint64_t seen_filled_ = 0;
  std::int64_t end_ = 0;
  bool is_moving_ = false;
  bool is_busy_ = false;       // it rolled, or grew by more than 1 MiB, since the last round
  bool is_full_size_ = false;  // the active segment
  bool rolls_soon_ = false;
  Monotonic clean_at_;  // when all was last seen to be durable, or the first look
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/topic/catalog_edit.hpp ----

// How the files of a topic are written: at creation, when it grows, when its settings change.

namespace towpath::inline TOWPATH_ABI::detail {

/// Puts the settings where every process reads them.
inline void publish_settings(log::TopicWords& words, const TopicConfig& config) noexcept {
  const auto age = config.retention.age;
  words.segment_bytes.store(config.segment_bytes, shm::relaxed);
  words.retention_bytes.store(config.retention.bytes == Retention::unlimited ? 0 : config.retention.bytes,
                              shm::relaxed);
  words.retention_age_ns.store(age == Duration::max() ? 0 : static_cast<std::uint64_t>(age.count()), shm::relaxed);
  words.max_message_bytes.store(config.max_message_bytes, shm::relaxed);
  words.grace_ns.store(static_cast<std::uint64_t>(config.grace.count()), shm::relaxed);
  words.on_full.store(static_cast<std::uint64_t>(config.on_full), shm::relaxed);
  TOWPATH_FAILPOINT("alter.half");
  words.durability.store(static_cast<std::uint64_t>(config.durability.kind), shm::relaxed);
  words.flush_interval_ns.store(static_cast<std::uint64_t>(config.durability.interval.count()), shm::relaxed);
  words.config_version.fetch_add(1, shm::release);
}

inline Result<void> Catalog::write_blocks(const std::string& file, std::uint64_t magic, std::uint32_t block_bytes,
                                          std::int32_t partitions, unsigned mode, const TopicConfig* config) {
  auto fd = core_->directory().create(file.c_str(), mode);
  if (!fd) return fd.error();
  const std::uint64_t bytes = log::blocks_offset + static_cast<std::uint64_t>(partitions) * block_bytes;
  if (auto room = shm::allocate(*fd, 0, bytes); !room) return room;
  log::BlocksHeader header{};
  header.magic = magic;
  header.version = log::segment_format_version;
  header.block_bytes = block_bytes;
  header.partitions.store(static_cast<std::uint32_t>(partitions), shm::relaxed);
  if (auto written = shm::write_all(*fd, &header, sizeof header, 0); !written) return written;
  if (!config) return core_->directory().flush(file.c_str());
  log::TopicWords words{};
  publish_settings(words, *config);
  if (auto written = shm::write_all(*fd, &words, sizeof words, log::topic_words_offset); !written) return written;
  const std::uint64_t first =
      core_->control().next_uid.fetch_add(static_cast<std::uint64_t>(partitions), shm::relaxed) + 1;
  for (std::int32_t i = 0; i < partitions; ++i) {
    const std::uint64_t uid = first + static_cast<std::uint64_t>(i);
    const auto at =
        log::blocks_offset + static_cast<std::uint64_t>(i) * block_bytes + offsetof(log::PartitionState, uid);
    if (auto written = shm::write_all(*fd, &uid, sizeof uid, at); !written) return written;
  }
  return core_->directory().flush(file.c_str());
}

inline Result<void> Catalog::fill(const std::string& folder, const TopicConfig& config, const Schema& schema,
                                  std::int32_t partitions) {
  auto& directory = core_->directory();
  if (auto made = directory.make_folder(folder.c_str()); !made) return made;
  TOWPATH_FAILPOINT("create.folder");
  StoredConfig stored;
  stored.config = config;
  char id[33];
  std::snprintf(id, sizeof id, "%016llx%016llx", static_cast<unsigned long long>(shm::random_bits()),
                static_cast<unsigned long long>(shm::random_bits()));
  stored.id = id;
  stored.type_name = schema.name;
  stored.encoding = schema.encoding;
  stored.type_size = schema.size;
  stored.type_alignment = schema.alignment;
  stored.checksummed = directory.is_lasting();
  if (auto done = shm::write_file(directory, (folder + "/config").c_str(), to_text(stored), 0640); !done) return done;
  if (auto done = shm::write_file(directory, (folder + "/pins").c_str(), "", 0644); !done) return done;
  TOWPATH_FAILPOINT("create.before_blocks");
  if (auto done = write_blocks(folder + "/wait", log::wait_magic, sizeof(log::WaitBlock), partitions, 0660, nullptr);
      !done)
    return done;
  for (std::size_t i = 0; i < config.readers.size(); ++i)
    if (auto done = ReaderFile::make(directory, folder + "/" + ReaderFile::name_of(config.readers[i]), partitions);
        !done)
      return done;
  if (auto done =
          write_blocks(folder + "/state", log::state_magic, sizeof(log::PartitionState), partitions, 0640, &config);
      !done)
    return done;
  return directory.flush_folder(folder.c_str());
}

inline Result<shm::LockDescriptor> Catalog::lock_config(TopicFiles& topic) {
  if (!topic.is_writable()) return Failure{Errc::read_only, "this process may only read the topic"};
  auto lock = shm::LockDescriptor::open([&] { return topic.directory().open("wait", shm::Access::read_write); });
  if (!lock) return lock;
  if (auto taken = shm::try_lock(lock->get(), 0, shm::LockKind::write); !taken)
    return Failure{Errc::busy, "somebody else changes the topic's settings"};
  return lock;
}

/// The words rule over what the file says: of a change that was cut off between the two only the readers are new.
inline void read_settings(const log::TopicWords& words, TopicConfig& config) noexcept {
  const std::uint64_t bytes = words.retention_bytes.load(shm::relaxed);
  const std::uint64_t age = words.retention_age_ns.load(shm::relaxed);
  config.segment_bytes = words.segment_bytes.load(shm::relaxed);
  config.retention.bytes = bytes == 0 ? Retention::unlimited : bytes;
  config.retention.age = age == 0 ? Duration::max() : Duration{static_cast<std::int64_t>(age)};
  config.max_message_bytes = words.max_message_bytes.load(shm::relaxed);
  config.grace = Duration{static_cast<std::int64_t>(words.grace_ns.load(shm::relaxed))};
  config.on_full = static_cast<OnFull>(words.on_full.load(shm::relaxed));
  config.durability = {static_cast<DurabilityKind>(words.durability.load(shm::relaxed)),
                       Duration{static_cast<std::int64_t>(words.flush_interval_ns.load(shm::relaxed))}};
}

inline Result<StoredConfig> Catalog::settings(TopicFiles& topic) {
  auto text = shm::read_file(topic.directory(), "config", 64 * 1024);
  if (!text)
    return text.error() == Errc::not_found ? Failure{Errc::unknown_topic, "the topic is going away"} : text.error();
  auto stored = parse_config(*text);
  if (!stored) return stored;
  stored->config.partitions = topic.partitions();
  read_settings(topic.words(), stored->config);
  return stored;
}

inline Result<void> Catalog::edit(const std::string& name, const Change& change, bool validate_only) {
  auto topic = open(name);
  if (!topic) return topic.error();
  auto lock = lock_config(**topic);
  if (!lock) return lock.error();
  auto after = settings(**topic);
  if (!after) return after.error();
  const std::uint64_t alignment = after->config.record_alignment;
  const Writers writers = after->config.writers;
  auto wanted = change(*after);
  if (!wanted) return wanted.error();
  if (auto fine = check_topic_config(*wanted); !fine || validate_only) return fine;
  after->config = settle(*wanted, Schema{});
  after->config.record_alignment = alignment;
  after->config.writers = writers;
  for (std::size_t i = 0; i < after->config.readers.size(); ++i)
    if (auto done = ReaderFile::make((*topic)->directory(), ReaderFile::name_of(after->config.readers[i]),
                                     (*topic)->partitions());
        !done)
      return done;
  // The words rule; the file is for people and for the next to open the topic. It goes first, for it may find no room.
  if (auto written = shm::write_file((*topic)->directory(), "config", to_text(*after), 0640, true); !written)
    return written;
  // The readers have no word, so they go by the file: every table looks there again, also if nobody comes any further.
  (*topic)->words().config_version.fetch_add(1, shm::release);                 // pairs with ReaderTable
  if (auto kept = (*topic)->directory().flush_folder(""); !kept) return kept;  // recovery goes by the file
  TOWPATH_FAILPOINT("alter.written");
  publish_settings((*topic)->words(), after->config);
  core_->control().catalog_generation.fetch_add(1, shm::release);
  return {};
}

inline Result<void> Catalog::alter(const std::string& name, const TopicConfig& wanted) {
  auto topic = open(name);
  if (!topic) return topic.error();
  if (auto fine = check_topic_config(wanted); !fine) return fine;
  if (wanted.record_alignment != 0 && wanted.record_alignment != (*topic)->stored().config.record_alignment)
    return Failure{Errc::config_mismatch, "record_alignment is fixed when a topic is created"};
  // The default is no wish, as with the partitions.
  if (wanted.writers != Writers::many && wanted.writers != (*topic)->stored().config.writers)
    return Failure{Errc::config_mismatch, "writers is fixed when a topic is created"};
  if (wanted.partitions != TopicConfig{}.partitions && wanted.partitions != (*topic)->partitions())
    return Failure{Errc::invalid_argument, "partitions: altering changes no count; use create_partitions"};
  return edit(name, [&](const StoredConfig&) { return wanted; });
}

inline Result<void> Catalog::grow(const std::string& name, std::int32_t partitions, bool validate_only) {
  auto topic = open(name);
  if (!topic) return topic.error();
  auto lock = lock_config(**topic);
  if (!lock) return lock.error();
  const std::int32_t before = (*topic)->partitions();
  if (partitions < before || partitions > max_partitions)
    return Failure{Errc::invalid_argument, "partitions: a topic only grows, to 32,767 at most"};
  if (partitions == before || validate_only) return {};
  const auto added = static_cast<std::uint64_t>(partitions - before);
  const std::uint64_t first = core_->control().next_uid.fetch_add(added, shm::relaxed) + 1;
  const auto extend = [&](const char* file, std::uint32_t block_bytes, bool with_uids) -> Result<void> {
    auto fd = (*topic)->directory().open(file, shm::Access::read_write);
    if (!fd) return fd.error();
    const std::uint64_t from = log::blocks_offset + static_cast<std::uint64_t>(before) * block_bytes;
    if (auto room = shm::allocate(*fd, from, added * block_bytes); !room) return room;
    for (std::uint64_t i = 0; with_uids && i < added; ++i) {
      const std::uint64_t uid = first + i;
      if (auto done =
              shm::write_all(*fd, &uid, sizeof uid, from + i * block_bytes + offsetof(log::PartitionState, uid));
          !done)
        return done;
    }
    return (*topic)->directory().flush(file);  // before the count, which is never above what is there
  };
  if (auto done = extend("wait", sizeof(log::WaitBlock), false); !done) return done;
  if (auto done = extend("state", sizeof(log::PartitionState), true); !done) return done;
  TOWPATH_FAILPOINT("grow.before_count");
  (*topic)->publish_partitions(static_cast<std::uint32_t>(partitions));
  core_->control().catalog_generation.fetch_add(1, shm::release);
  return (*topic)->directory().flush("state");
}

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/topic/checkpoints.hpp ----

// The checkpoint files of a bus, in Kafka's text form, for people and tools: how far each partition is durable, where
// its log begins, how far it can be read. Written by maintenance now and then, at its end and after retirement; each is
// replaced whole. Nothing in towpath reads them: the words in each topic's state file rule.

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

// ---- towpath/topic/caretaker.hpp ----

// Maintains the topics of a bus, one process at a time by a role lock, in a thread of its own or in the caller's loop.
// A holder that stands still for two seconds (frozen) is not waited for: others then do the work too, which is
// harmless. Thread-safe. After a crash the kernel frees the role, and the next who asks goes on.
// The destructor ends the thread; where this process has the role it flushes first what an interval would have flushed
// later, which blocks for as long as the disk takes. It allocates, and memory that is refused there ends the process.

namespace towpath::inline TOWPATH_ABI::detail {

class Caretaker {
 public:
  static constexpr Duration frozen_after{std::chrono::seconds{2}};
  static constexpr Duration look_again_after{std::chrono::seconds{1}};
  static constexpr Duration export_after{std::chrono::seconds{60}};  // log.flush.offset.checkpoint.interval.ms

  Caretaker(std::shared_ptr<BusCore> core, Catalog& catalog) : core_{std::move(core)}, catalog_{&catalog} {}
  Caretaker(const Caretaker&) = delete;
  Caretaker& operator=(const Caretaker&) = delete;
  ~Caretaker() {
    stop();
    if (!core_->is_mine() || !has_role_) return;
    close();
    give_up_role();
  }

  /// One round, if this process has or gets the role. Errors: read_only, too_many_members, forked; no_space and the
  /// like from a partition, after the others had their turn.
  Result<void> step() {
    if (auto fine = core_->usable(); !fine) return fine;  // before the lock: a child may find it taken for ever
    const std::lock_guard hold{mutex_};
    if (auto ready = enter(); !ready) return ready;
    if (!may_work()) return {};
    auto& control = core_->control();
    if (has_role_)
      control.maintenance_progress.fetch_add(1, shm::relaxed);  // who works beside a frozen holder is not he
    const auto now = core_->config().clock.steady();
    const std::uint64_t generation = control.catalog_generation.load(shm::acquire);
    if (generation != generation_ || now - swept_ > look_again_after) {
      catalog_->sweep();
      unopened_ = refresh();
      generation_ = generation, swept_ = now;
    }
    Result<void> outcome = unopened_;
    for (auto& topic : topics_)
      for (auto& [id, care] : topic.partitions)
        if (auto done = look_after(topic, id, care, now); !done) outcome = done;
    if (std::exchange(has_worked_, false)) log::forget_gone_segments();  // asks every map of the process
    if (exported_ == Monotonic{}) exported_ = now;
    if (has_role_ && now - exported_ > (retired_ ? look_again_after : export_after))
      if (auto done = write_checkpoints(now); !done) outcome = done;
    return outcome;
  }

  /// What the thread's last round ended with; ok when all is well.
  Failure last_failure() {
    if (auto fine = core_->usable(); !fine) return fine.error();
    const std::lock_guard hold{mutex_};
    return last_;
  }

  /// Starts the thread. It sleeps until a roll wakes it or the interval is over.
  Result<void> start() {
    {
      const std::lock_guard hold{mutex_};
      if (auto ready = enter(); !ready) return ready;
    }
#if TOWPATH_EXCEPTIONS
    try {
      thread_ = std::thread{[this] { run(); }};
    } catch (const std::system_error&) {
      return Failure{Errc::out_of_memory, "no thread for maintenance: the limit of threads, or of memory"};
    }
#else
    thread_ = std::thread{[this] { run(); }};
#endif
    return {};
  }

 private:
  struct Care {
    std::unique_ptr<log::PartitionMaintenance> maintenance;
    std::uint64_t hint = 0;
    std::uint64_t live_bytes = 0;
    std::uint64_t log_start = 0;
    Monotonic due{};
  };
  struct Topic {
    std::shared_ptr<TopicFiles> files;
    std::shared_ptr<log::Pins> pins;
    std::unordered_map<std::int32_t, Care> partitions;
  };

  Result<void> enter() {
    if (auto fine = core_->usable(); !fine) return fine;
    if (member_) return {};
    auto member = core_->claim(shm::MemberKind::maintenance, "maintenance");
    if (!member) return member.error();
    member_ = std::move(*member);
    return {};
  }

  /// The role, or the sight of a holder that stands still, or no right to some topic: then beside whoever has the role.
  bool may_work() {
    auto& control = core_->control();
    if (!may_write_all_) {  // the role is for somebody who may; two at work are harmless
      if (has_role_) give_up_role();
      return true;
    }
    if (!has_role_ && core_->members()->take_role(shm::Role::maintenance)) {
      has_role_ = true;
      control.maintainer.store(member_.index() + 1, shm::release);  // pairs with wake_maintenance()
    }
    if (has_role_) return true;
    const std::uint64_t progress = control.maintenance_progress.load(shm::relaxed);
    const auto now = core_->config().clock.steady();
    if (progress != seen_progress_) seen_progress_ = progress, seen_at_ = now;
    if (now - seen_at_ <= frozen_after) return false;
    seen_at_ = now;  // one round, then another look at whether it moves
    return true;
  }

  void give_up_role() noexcept {
    std::uint32_t me = member_.index() + 1;
    core_->control().maintainer.compare_exchange(me, 0, shm::acq_rel, shm::relaxed);
    core_->members()->drop_role(shm::Role::maintenance);
    has_role_ = false;
  }

  /// Opens what is new, forgets what is gone. A topic that cannot be opened is left to whoever uses it; the last such
  /// failure is returned, after the others had their turn.
  Result<void> refresh() {
    const auto names = catalog_->names();
    if (!names) return names.error();
    Result<void> outcome;
    may_write_all_ = true;
    pause_ = core_->config().maintenance_interval;
    std::erase_if(topics_, [&](const Topic& topic) {
      const auto now = catalog_->open(topic.files->name());
      return !now || *now != topic.files;
    });
    for (const auto& name : *names) {
      auto files = catalog_->open(name);
      if (!files && files.error() != Errc::unknown_topic) outcome = files.error();
      if (files && !(*files)->is_writable()) may_write_all_ = false;
      if (!files || !(*files)->is_writable()) continue;
      auto known =
          std::find_if(topics_.begin(), topics_.end(), [&](const Topic& topic) { return topic.files == *files; });
      if (known == topics_.end()) {
        auto pins = (*files)->open_pins_holder();
        if (!pins) outcome = pins.error();
        if (!pins) continue;
        known = topics_.insert(topics_.end(), Topic{*files, std::move(*pins), {}});
      }
      for (std::int32_t i = 0; i < (*files)->partitions(); ++i) known->partitions.try_emplace(i);
      pause_ = std::min(pause_, longest_pause(**files));
    }
    return outcome;
  }

  /// A topic that is flushed at intervals is looked at as often.
  static Duration longest_pause(const TopicFiles& files) noexcept {
    if (files.words().durability.load(shm::relaxed) != static_cast<std::uint64_t>(DurabilityKind::interval))
      return Duration::max();
    const Duration interval{static_cast<std::int64_t>(files.words().flush_interval_ns.load(shm::relaxed))};
    return std::max(interval, Duration{std::chrono::milliseconds{1}});
  }

  Result<void> look_after(Topic& topic, std::int32_t id, Care& care, Monotonic now) {
    auto log = topic.files->partition({id});
    if (!log) return log.error();
    const auto& state = (*log)->state();
    const std::uint64_t live = state.live_bytes.load(shm::relaxed);
    const std::uint64_t hint = state.hint.load(shm::relaxed);
    const bool changed = hint != care.hint || live != care.live_bytes;
    if (!changed && now < care.due) return {};
    if (!care.maintenance) care.maintenance = std::make_unique<log::PartitionMaintenance>(**log, member_, topic.pins);
    const auto done = care.maintenance->step();
    has_worked_ = true;
    care.hint = state.hint.load(shm::relaxed);
    care.live_bytes = state.live_bytes.load(shm::relaxed);
    // A log that is written to is looked at often, for its end; one that stands still once a second, for its age.
    const bool moves = care.maintenance->is_moving();
    care.due =
        now + std::min(moves ? core_->config().maintenance_interval : look_again_after, longest_pause(*topic.files));
    const std::uint64_t start = std::max(state.log_start.load(shm::relaxed), state.deleted_to.load(shm::relaxed));
    retired_ = retired_ || start != care.log_start;
    care.log_start = start;
    if (care.live_bytes == 0) care.maintenance.reset();
    return done;
  }

  /// For people and tools; and the recovery point itself, so that recovery need not look at what was flushed long ago.
  Result<void> write_checkpoints(Monotonic now) {
    exported_ = now, retired_ = false;
    if (core_->directory().storage() == shm::Storage::memory) return {};
    Checkpoints checkpoints;
    Result<void> outcome;
    for (auto& topic : topics_) {
      if (auto kept = topic.files->directory().flush("state"); !kept) outcome = kept;
      for (const auto& [id, care] : topic.partitions)
        if (const auto log = topic.files->partition({id})) checkpoints.add(topic.files->name(), id, (*log)->state());
    }
    auto written = checkpoints.write(core_->directory());
    return written ? outcome : written;
  }

  /// The last round: what an interval would have flushed later is flushed now.
  void close() {
    const std::lock_guard hold{mutex_};
    for (auto& topic : topics_)
      for (auto& [id, care] : topic.partitions)
        if (care.maintenance) care.maintenance->close();
    if (!topics_.empty()) write_checkpoints(core_->config().clock.steady()).ignore();
  }

  /// A round that runs out of memory must not end the user's process.
  Failure guarded_step() noexcept {
#if TOWPATH_EXCEPTIONS
    try {
      return step().error();
    } catch (const std::exception&) {
      return {Errc::out_of_memory, "a round of maintenance was given up"};
    }
#else
    return step().error();
#endif
  }

  void run() noexcept {
    shm::become_background_thread("towpath-maint");
    while (!stopping_.load(std::memory_order_acquire)) {
      const auto done = guarded_step();
      Duration pause{};
      {
        const std::lock_guard hold{mutex_};
        last_ = done, pause = pause_;
      }
      auto& wake = member_.line().wake;
      const std::uint32_t announced = shm::announce_sleep(wake);
      // Pairs with the store in stop(): announced, then looked; stored, then woken.
      if (!stopping_.load(std::memory_order_seq_cst)) shm::sleep(wake, announced, pause);
    }
  }

  void stop() {
    if (!thread_.joinable()) return;
    if (!core_->is_mine()) return void(thread_.detach());  // in a child: the thread is not here
    stopping_.store(true, std::memory_order_seq_cst);      // pairs with both loads in run()
    shm::wake(member_.line().wake);
    thread_.join();
  }

  std::shared_ptr<BusCore> core_;
  Catalog* catalog_;
  std::mutex mutex_;
  shm::Member member_;
  bool has_role_ = false;
  bool may_write_all_ = true;  // as far as it is known
  std::uint64_t seen_progress_ = ~std::uint64_t{0};
  Monotonic seen_at_{};
  std::uint64_t generation_ = ~std::uint64_t{0};
  Monotonic swept_{};
  Monotonic exported_{};
  bool retired_ = false;     // since the last export
  bool has_worked_ = false;  // some partition was looked after in this round
  Duration pause_ = core_->config().maintenance_interval;
  std::vector<Topic> topics_;
  Result<void> unopened_;  // a topic that could not be opened at the last look at all
  Failure last_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/log/recovery.hpp ----

// After a restart of the machine a log holds what the disk happened to keep: pages of any age, in any mixture.
// LogRecovery cuts a partition back to its longest whole prefix, which holds all that was durable, and sets its words
// anew. One process does it, alone: nobody has the partition mapped. It may die between any two steps; the next one
// begins again and comes to the same end.
// What it relies on, because it was flushed before anything was built on it (docs/protocol.md, "Recovery"): the state
// block's uid; log_start, which is flushed before a segment goes; durable_to, which is stored after the flush that it
// speaks of. All else is judged by what is there: headers, seals, checksums keyed by incarnation and offset.

namespace towpath::inline TOWPATH_ABI::log {

namespace detail {

/// How many slots the frame says that it has: 1 unless it is the head of a batch. 0 if it contradicts itself.
inline std::uint64_t slots_of(const std::byte* frame, std::uint64_t length) noexcept {
  FrameHeader header;
  std::memcpy(&header, frame, sizeof header);
  if ((header.flags & frame_head) == 0) return 1;
  const std::uint64_t at = sizeof header + ((header.flags & frame_lengths) != 0 ? 8u : 0u);
  std::uint32_t count = 0;
  if (at + sizeof count > length) return 0;
  std::memcpy(&count, frame + at, sizeof count);
  return count;
}

/// Are the bytes that the slot speaks of those that were written for this offset of this incarnation?
inline bool is_whole_frame(const Segment& segment, std::uint64_t slot, std::uint64_t n) noexcept {
  if (!segment.contains(slot)) return false;
  if (!segment.checksummed) return true;
  const std::byte* frame = segment.data + Slot::position(slot);
  std::uint32_t stored = 0;
  std::memcpy(&stored, frame, sizeof stored);
  return stored == frame_checksum(frame, Slot::length(slot), segment.uuid, segment.base + n);
}

/// Does the slot behind a batch's head belong to it? All slots of a Kafka batch say the same; native records say each
/// their own.
inline bool continues(const Segment& segment, std::uint64_t head, std::uint64_t n, bool is_kafka_batch) noexcept {
  const std::uint64_t slot = segment.slots[n].load(shm::acquire);
  if (Slot::state(slot) != Slot::continued) return false;
  return is_kafka_batch ? slot >> 2 == head >> 2 : is_whole_frame(segment, slot, n);
}

}  // namespace detail

/// How many slots has the run that begins at slot `n`, if all of it is there: an aborted slot with what was written
/// behind it for the same batch, a record, or a batch, which counts as a whole or not at all. 0: it is not whole, or
/// nothing was decided there.
inline std::uint64_t whole_slots(const Segment& segment, std::uint64_t n) noexcept {
  const std::uint64_t slot = segment.slots[n].load(shm::acquire);
  std::uint64_t count = 1;
  if (Slot::state(slot) == Slot::aborted) {
    if (slot != Slot::aborted_in(segment.uuid)) return 0;
    while (n + count < segment.slot_count &&
           Slot::state(segment.slots[n + count].load(shm::acquire)) == Slot::continued)
      ++count;
    return count;
  }
  if (Slot::state(slot) != Slot::committed || !detail::is_whole_frame(segment, slot, n)) return 0;
  const std::byte* frame = segment.data + Slot::position(slot);
  FrameHeader header;
  std::memcpy(&header, frame, sizeof header);
  count = detail::slots_of(frame, Slot::length(slot));
  if (count == 0 || n + count > segment.slot_count) return 0;
  for (std::uint64_t i = 1; i < count; ++i)
    if (!detail::continues(segment, slot, n + i, (header.flags & frame_batch) != 0)) return 0;
  return count;
}

class LogRecovery {
 public:
  explicit LogRecovery(const PartitionLog& log) noexcept : log_{&log} {}

  /// Errors: newer_format (nothing was touched), and those of the system: then it is to be tried again from the start.
  Result<void> run() {
    if (auto sorted = sort_names(); !sorted) return sorted;
    if (auto found = find_prefix(); !found) return found;
    if (auto kept = settle(); !kept) return kept;
    if (auto gone = put_aside(); !gone) return gone;
    if (auto named = flush_names(); !named) return named;
    publish();
    return log_->directory().flush("state");
  }

 private:
  struct Kept {
    std::uint64_t base;
    std::uint64_t bytes;
    std::uint64_t count;
    bool is_closed;  // sealed so on the disk
  };

  /// Removes what only helped somebody who is dead now, and what retention had taken; notes the segments.
  Result<void> sort_names() {
    start_ = log_->state().log_start.load(shm::acquire);
    const auto names = log_->directory().list(log_->folder().c_str());
    if (!names) return names.error() == Errc::not_found ? Result<void>{} : names.error();
    has_folder_ = true;
    for (const auto& name : *names) {
      const std::uint64_t base = std::strtoull(name.c_str(), nullptr, 10);
      const bool is_segment = name.size() == 24 && name.ends_with(".log");
      const bool is_private = name.starts_with("own.") || name.starts_with("spare.") || name.starts_with(".tmp-");
      if (is_segment && base >= start_) bases_.push_back(base);
      if (is_private || (is_segment && base < start_) || name.ends_with(".timeindex"))
        if (auto gone = log_->directory().remove(log_->in_folder(name.c_str()).data()); !gone) return gone;
    }
    std::sort(bases_.begin(), bases_.end());
    return {};
  }

  Result<void> find_prefix() {
    const std::uint64_t durable = std::max(log_->state().durable_to.load(shm::acquire), start_);
    auto done = walk(durable);
    if (done && end_ < durable) done = walk(start_);  // it speaks of what is not there: look at everything
    // Not by a power cut: the disk lost a segment that had been flushed. What is behind it is worth keeping.
    while (done && kept_.empty() && start_ < durable) {
      const auto next = std::upper_bound(bases_.begin(), bases_.end(), start_);
      start_ = next == bases_.end() ? durable : std::min(*next, durable);
      done = walk(start_);
    }
    return done;
  }

  /// Notes the segments from start_ on that follow one another, as far as they are whole. What lies below `trusted` is
  /// not looked at again.
  Result<void> walk(std::uint64_t trusted) {
    kept_.clear();
    end_ = start_;
    for (auto base = std::lower_bound(bases_.begin(), bases_.end(), start_); base != bases_.end(); ++base) {
      if (*base != end_) return {};
      auto segment = log_->open(*base, Use::append);
      if (!segment && (segment.error() == Errc::not_found || segment.error() == Errc::corrupt)) return {};
      if (!segment) return segment.error();
      const std::uint64_t whole = whole_from(*segment, trusted);
      std::uint64_t sealed = segment->sealed_count();
      // Its seal may have been lost, and the next segment's name says what it was.
      if (const auto next = std::next(base); sealed == 0 && next != bases_.end() && *next - *base <= whole)
        sealed = *next - *base;
      const bool is_complete = sealed != 0 && sealed <= whole;
      const std::uint64_t count = is_complete ? sealed : whole;
      if (count == 0) return {};
      end_ = *base + count;
      kept_.push_back({*base, segment->geometry().segment_bytes, count,
                       segment->sealed_count() == count && is_clear_from(*segment, count)});
      if (!is_complete) return {};
    }
    return {};
  }

  /// Does nothing stand from slot `n` on that a reader could take for a record? Of a file that is used again, slots of
  /// its earlier life may be on the disk yet.
  static bool is_clear_from(const Segment& segment, std::uint64_t n) noexcept {
    for (; n < segment.slot_count; ++n) {
      const auto state = Slot::state(segment.slots[n].load(shm::relaxed));  // nobody else has the bus open
      if (state == Slot::committed || state == Slot::continued) return false;
    }
    return true;
  }

  /// How many slots from the first on are whole, up to the seal.
  static std::uint64_t whole_from(const Segment& segment, std::uint64_t trusted) noexcept {
    const std::uint64_t sealed = segment.sealed_count();
    const std::uint64_t limit = sealed != 0 ? sealed : segment.slot_count;
    std::uint64_t n = trusted > segment.base ? std::min(trusted - segment.base, limit) : 0;
    if (sealed == 0 && n > Tail::count(segment.header->tail.load(shm::acquire))) n = 0;  // flushed together: in doubt
    while (n > 0 && n < limit && Slot::state(segment.slots[n].load(shm::acquire)) == Slot::continued) --n;
    while (n < limit) {
      const std::uint64_t count = whole_slots(segment, n);
      if (count == 0 || n + count > limit) break;
      n += count;
    }
    return n;
  }

  /// Closes what is kept, so that the log goes on in a new segment; makes one where a log that had records has none.
  Result<void> settle() {
    for (const auto& kept : kept_) {
      if (kept.is_closed) continue;
      const auto segment = log_->open(kept.base, Use::append);
      auto done = segment ? close(*segment, kept.count) : Result<void>{segment.error()};
      if (!done) return done;
    }
    return kept_.empty() && end_ > 0 ? make_empty() : Result<void>{};
  }

  /// First nothing stands behind the seal, then there is the seal: a reader does not look at it before an empty slot.
  static Result<void> close(const Segment& segment, std::uint64_t count) {
    for (std::uint64_t n = count; n < segment.slot_count; ++n)
      if (segment.slots[n].load(shm::relaxed) != Slot::empty) segment.slots[n].store(Slot::empty, shm::relaxed);
    if (auto done = segment.control->flush(); !done) return done;
    TOWPATH_FAILPOINT("recover.cleared");
    // Full to the last byte: the first who appends crosses the end and goes on to the next segment at once.
    segment.header->tail.store(Tail::make(count, segment.capacity), shm::relaxed);
    segment.header->sealed.store(count + 1, shm::relaxed);
    return segment.control->flush();
  }

  /// All that is left of the log is where it ends. An appender finds its segment there.
  Result<void> make_empty() {
    const auto own = log_->in_folder("own.recovery");
    const auto name = log_->segment_name(end_);
    if (log_->directory().identify(name.data()))
      if (auto gone = put_aside(end_); !gone) return gone;
    const auto mean = log_->format().typical_frame;
    auto made = log_->make_file(own.data(), Geometry::plan(first_segment_bytes, mean, {}));
    if (!made) return made.error();
    made->header->base.store(end_, shm::relaxed);
    made->header->tail.store(0, shm::relaxed);
    if (auto done = made->control->flush(); !done) return done;
    std::erase(bases_, end_);
    has_folder_ = true;
    kept_.push_back({end_, made->geometry().segment_bytes, 0, false});
    return log_->directory().rename(own.data(), name.data());
  }

  /// Segments that do not follow: never removed without being told to, if a record may stand in them.
  Result<void> put_aside() {
    for (const std::uint64_t base : bases_) {
      const bool is_kept = std::any_of(kept_.begin(), kept_.end(), [&](const auto& k) { return k.base == base; });
      if (is_kept) continue;
      if (auto gone = put_aside(base); !gone) return gone;
      TOWPATH_FAILPOINT("recover.put_aside");
    }
    return {};
  }

  Result<void> put_aside(std::uint64_t base) {
    const auto name = log_->segment_name(base);
    if (holds_nothing(base)) return remove_segment_file(log_->directory(), name.data());
    char aside[64];
    std::snprintf(aside, sizeof aside, "%020llu.%llu.orphan", static_cast<unsigned long long>(base),
                  static_cast<unsigned long long>(log_->state().log_epoch.load(shm::relaxed) + 1));
    return log_->directory().rename(name.data(), log_->in_folder(aside).data());
  }

  /// Another incarnation was retired before; an empty file or one without a decided slot has no record.
  [[nodiscard]] bool holds_nothing(std::uint64_t base) const {
    const auto info = log_->directory().identify(log_->segment_name(base).data());
    if (info && info->bytes == 0) return true;
    const auto segment = log_->open(base, Use::append);
    if (!segment) return segment.error() == Errc::not_found;
    for (std::uint64_t n = 0; n < segment->slot_count; ++n)
      if (Slot::state(segment->slots[n].load(shm::relaxed)) != Slot::empty) return false;
    return true;
  }

  Result<void> flush_names() {
    if (!has_folder_) return {};
    if (auto done = log_->directory().flush_folder(log_->folder().c_str()); !done) return done;
    return log_->directory().flush_folder("");
  }

  void publish() noexcept {
    auto& state = log_->state();
    std::uint64_t bytes = 0;
    for (const auto& kept : kept_) bytes += kept.bytes;
    state.hint.store(kept_.empty() ? end_ : kept_.back().base, shm::relaxed);
    state.log_start.store(start_, shm::relaxed);
    state.deleted_to.store(std::min(state.deleted_to.load(shm::relaxed), end_), shm::relaxed);
    state.resolved_to.store(end_, shm::relaxed);
    state.durable_to.store(end_, shm::relaxed);
    state.live_bytes.store(bytes, shm::relaxed);
    state.last_roll.store(0, shm::relaxed);
    state.flusher.store(0, shm::relaxed);
    state.log_epoch.fetch_add(1, shm::relaxed);
    if (auto* waits = log_->waits()) {
      for (auto& line : waits->lines) line.store(0, shm::relaxed);
      waits->mask.store(0, shm::relaxed);
    }
  }

  const PartitionLog* log_;
  std::uint64_t start_ = 0;
  std::uint64_t end_ = 0;
  bool has_folder_ = false;
  std::vector<std::uint64_t> bases_;  // of files at or behind start_, ascending
  std::vector<Kept> kept_;
};

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/topic/recovery.hpp ----

// Recovery of a bus on disk after a restart of the machine: by whoever opens it first with the right to write, before
// anybody uses it. A role lock, which the kernel drops with its holder, makes it one process at a time; the others
// wait. It may die or lose power at any step: the bus says that it is recovered last of all, so the next one begins
// again.

namespace towpath::inline TOWPATH_ABI::detail {

class BusRecovery {
 public:
  explicit BusRecovery(std::shared_ptr<BusCore> core) noexcept : core_{std::move(core)} {}

  /// Errors: newer_format, recovery_needed (a topic that this process may not write), and those of the system.
  Result<void> run() {
    if (auto swept = remove_half_made(); !swept) return swept;
    auto names = Catalog{core_}.names();
    if (!names) return names.error();
    for (const auto& name : *names) {
      if (auto done = recover(name); !done) return done;
      TOWPATH_FAILPOINT("recover.topic");
    }
    auto& control = core_->control();
    control.next_uid.raise_to(last_uid_, shm::relaxed);
    // How many were handed out since the word was last on the disk is not known: so many never are.
    control.next_producer_id.store(((control.next_producer_id.load(shm::relaxed) >> 32) + 1) << 32, shm::relaxed);
    core_->clear_members();
    auto& bus = core_->directory();
    auto kept = bus.flush("ctl");
    if (kept) kept = bus.flush_folder("topics");
    if (kept) kept = bus.flush_folder("");
    TOWPATH_FAILPOINT("recover.before_mark");
    return kept ? core_->mark_recovered() : kept;
  }

 private:
  static bool is_temporary(const std::string& name) { return name.starts_with(".tmp-"); }

  Result<void> remove_half_made() {
    auto& bus = core_->directory();
    const auto root = bus.list("");
    if (!root) return root.error();
    for (const auto& name : *root)
      if (is_temporary(name)) bus.remove(name.c_str()).ignore();
    const auto topics = bus.list("topics");
    if (!topics) return topics.error();
    for (const auto& name : *topics)
      if (name.starts_with("~new-") || name.starts_with("~gone-"))
        if (auto gone = bus.remove_folder(("topics/" + name).c_str()); !gone) return gone;
    return {};
  }

  /// A topic whose files contradict themselves is left alone: whoever opens it is told.
  Result<void> recover(const std::string& name) {
    auto topic = TopicFiles::open(core_, name);
    if (!topic && (topic.error() == Errc::corrupt || topic.error() == Errc::unknown_topic)) return {};
    if (!topic) return topic.error();
    if (!(*topic)->is_writable())
      return Failure{Errc::recovery_needed,
                     "the machine was restarted; open the bus first by who may write its topics"};
    for (std::int32_t i = 0; i < (*topic)->partitions(); ++i)
      if (auto log = (*topic)->partition({i}); log && (*log)->is_deleted()) return take_away(name);
    // The file was flushed before the words were changed, which may be half there.
    publish_settings((*topic)->words(), (*topic)->stored().config);
    for (std::int32_t i = 0; i < (*topic)->partitions(); ++i) {
      auto log = (*topic)->partition({i});
      if (!log && log.error() == Errc::corrupt) return {};
      if (!log) return log.error();
      last_uid_ = std::max(last_uid_, (*log)->uid());
      if (auto done = log::LogRecovery{**log}.run(); !done) return done;
    }
    const auto left = (*topic)->directory().list("");
    if (!left) return left.error();
    for (const auto& file : *left) {
      if (is_temporary(file)) (*topic)->directory().remove(file.c_str()).ignore();
      if (file.starts_with(ReaderFile::name_of("")))
        if (auto done = cut_back(**topic, file); !done) return done;
    }
    return (*topic)->directory().flush("wait");
  }

  /// A reader's place may have reached the disk before the records that it had read: it stands at the end then, so that
  /// what comes there now is kept for it. A file that is damaged says nothing: its reader is one that never came.
  static Result<void> cut_back(TopicFiles& topic, const std::string& file) {
    const auto reader = ReaderFile::open(topic.directory(), file, topic.partitions(), true);
    if (!reader) return reader.error() == Errc::corrupt ? Result<void>{} : reader.error();
    for (std::int32_t i = 0; i < topic.partitions(); ++i) {
      const auto log = topic.partition({i});
      auto* entry = reader->entry(i);
      if (!log || !entry) continue;
      const std::uint64_t end = (*log)->state().resolved_to.load(shm::acquire);
      if (entry->stands_at.load(shm::acquire) > end + 1) entry->stands_at.store(end + 1, shm::release);
    }
    return topic.directory().flush(file.c_str());
  }

  /// Whoever deleted it came as far as saying so.
  Result<void> take_away(const std::string& name) {
    auto away = core_->directory().rename(("topics/" + name).c_str(), "topics/~gone-recovery");
    return away ? core_->directory().remove_folder("topics/~gone-recovery") : away;
  }

  std::shared_ptr<BusCore> core_;
  std::uint64_t last_uid_ = 0;
};

/// Recovers the bus, or waits for whoever does. Errors: recovery_needed, recovery_in_progress, unsupported_platform (no
/// boot id), and those of BusRecovery.
inline Result<void> recover(const std::shared_ptr<BusCore>& core) {
  if (!core->knows_boot()) return BusCore::no_boot_id();  // others may be using it at this moment
  if (core->is_read_only())
    return Failure{Errc::recovery_needed, "the machine was restarted, and nobody who may write opened the bus since"};
  const auto deadline = std::chrono::steady_clock::now() +
                        std::min<Duration>(core->config().recovery_timeout, std::chrono::hours{24 * 365});
  for (;;) {
    const auto mine = core->members()->take_role(shm::Role::recovery);
    if (!mine && mine.error() != Errc::busy) return mine;
    if (mine) {
      // Somebody else may have done it before the role came to us.
      auto done = core->is_restarted() ? BusRecovery{core}.run() : Result<void>{};
      core->members()->drop_role(shm::Role::recovery);
      return done;
    }
    if (std::chrono::steady_clock::now() >= deadline)
      return Failure{Errc::recovery_in_progress, "another process recovers the bus after a restart of the machine"};
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
}

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/topic/bus.hpp ----

// A Bus is a folder through which processes exchange records, or the memory of this process. Who opens it first makes
// it; nothing runs but the processes that use it.
//   towpath::Bus bus;                        // this process only, nothing on disk
//   towpath::Bus bus{"/dev/shm/robot"};      // every process that names the folder
// Thread-safe. Topics, producers and consumers keep what they need of it: it may go out of scope before them.
// After a crash of processes nothing needs repair. After a restart of the machine whoever opens a bus on disk first,
// with the right to write, recovers it: see Durability in topic_config.hpp for what is lost. After fork() the child's
// copy says `forked`; open the bus anew there.

namespace towpath::inline TOWPATH_ABI {

class Bus {
 public:
  /// A bus in this process's memory, gone with its last user. Throws Error: too_many_files, too_many_maps, no_space,
  /// unsupported_platform.
  Bus() : Bus{open_in_memory({}).value()} {}

  /// The bus in the folder `path`, made if it is missing (its parent must exist).
  /// Throws Error: not_found, not_a_directory, unsafe_directory, unsupported_filesystem, permission_denied, corrupt,
  /// newer_format, recovery_needed (this process may only read), recovery_in_progress, no_space, too_many_files,
  /// too_many_maps, too_many_members, unsupported_platform, invalid_argument (an empty path, a maintenance_interval
  /// below 1 ms).
  explicit Bus(const char* path, const BusConfig& config = {}) : Bus{open(path, config).value()} {}
  explicit Bus(const std::string& path, const BusConfig& config = {}) : Bus{path.c_str(), config} {}

  /// As the constructors, without exceptions.
  static Result<Bus> open(const char* path, const BusConfig& config = {}) {
    if (!path || !*path) return Failure{Errc::invalid_argument, "the path of a bus is empty"};
    return open_core(path, config);
  }
  static Result<Bus> open(const std::string& path, const BusConfig& config = {}) { return open(path.c_str(), config); }
  static Result<Bus> open_in_memory(const BusConfig& config) { return open_core(nullptr, config); }

  /// One round of maintenance in the caller's thread, for MaintenanceMode::manual: retention, spares, sweeping the
  /// dead. Milliseconds when segments are made or cleaned, microseconds when nothing is to do. Does nothing while
  /// another process maintains the bus. Errors: read_only, forked, too_many_members, no_space (all else was done).
  Result<void> maintain() { return inside_->caretaker.step(); }

  /// What the maintenance thread's last round ended with: Errc::ok, or no_space and the like when it could not make
  /// spares or give room back. It tries again by itself; nothing is lost meanwhile.
  [[nodiscard]] Failure maintenance_failure() const { return inside_->caretaker.last_failure(); }

  /// May this process only read?
  [[nodiscard]] bool is_read_only() const noexcept { return inside_->core->is_read_only(); }

  /// For the stations behind: topics, producers, consumers.
  [[nodiscard]] detail::Catalog& catalog() const noexcept { return inside_->catalog; }
  [[nodiscard]] const std::shared_ptr<detail::BusCore>& core() const noexcept { return inside_->core; }

 private:
  struct Inside {
    explicit Inside(std::shared_ptr<detail::BusCore> c) : core{c}, catalog{c}, caretaker{c, catalog} {}
    std::shared_ptr<detail::BusCore> core;
    detail::Catalog catalog;
    detail::Caretaker caretaker;
  };

  explicit Bus(std::shared_ptr<Inside> inside) noexcept : inside_{std::move(inside)} {}

  static Result<Bus> open_core(const char* path, const BusConfig& config) {
    auto core = detail::BusCore::open(path, config);
    if (!core) return core.error();
    if ((*core)->is_restarted())
      if (auto recovered = detail::recover(*core); !recovered) return recovered.error();
    auto inside = std::make_shared<Inside>(std::move(*core));
    const bool wanted = config.maintenance == MaintenanceMode::thread && !inside->core->is_read_only();
    if (wanted)
      if (auto started = inside->caretaker.start(); !started) return started.error();
    return Bus{std::move(inside)};
  }

  std::shared_ptr<Inside> inside_;
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/topic/schema_check.hpp ----

// Whether what a topic remembers of its value type is what a process asks for, and what differs, field by field.
// Stateless, so thread-safe.

namespace towpath::inline TOWPATH_ABI::detail {

/// Bit i of a set of differences stands for field i.
inline constexpr std::array<std::string_view, 4> schema_fields{"encoding", "size", "alignment", "name"};

/// Which fields differ. None when untyped bytes are asked for: they open any topic, to read and to write. A topic of
/// untyped bytes opens as any type whose values may stand where bytes do; each record is then judged by itself.
inline unsigned schema_differences(const StoredConfig& stored, const Schema& asked) noexcept {
  if (asked.encoding == "bytes") return 0;
  if (stored.encoding == "bytes") return asked.alignment > least_value_alignment ? 4u : 0u;
  return (stored.encoding != asked.encoding ? 1u : 0u) | (stored.type_size != asked.size ? 2u : 0u) |
         (stored.type_alignment != asked.alignment ? 4u : 0u) | (stored.type_name != asked.name ? 8u : 0u);
}

using SchemaSentence = std::array<char, 160>;

/// For each set of differences a sentence that lives for ever: "the topic's values have another size and name; ...".
inline constexpr auto schema_sentences = [] {
  std::array<SchemaSentence, 16> sentences{};
  for (unsigned set = 0; set < sentences.size(); ++set) {
    std::size_t size = 0;
    const auto say = [&](std::string_view text) {
      for (const char c : text) sentences[set][size++] = c;
    };
    say("the topic's values have another ");
    unsigned left = set;
    for (unsigned i = 0; i < schema_fields.size(); ++i) {
      if ((set >> i & 1u) == 0) continue;
      say(schema_fields[i]);
      left &= ~(1u << i);
      if (left != 0) say((left & (left - 1)) == 0 ? " and " : ", ");
    }
    say("; explain_type_mismatch<T>(bus, topic) says which");
  }
  return sentences;
}();

/// Errors: type_mismatch, with the fields that differ.
inline Result<void> check_schema(const StoredConfig& stored, const Schema& asked) noexcept {
  const unsigned differences = schema_differences(stored, asked);
  if (differences == 0) return {};
  return Failure{Errc::type_mismatch, schema_sentences[differences].data()};
}

/// "size: stored 24, asked 32; name: stored Pose, asked Scan"; empty when nothing differs.
inline std::string explain_schema(const StoredConfig& stored, const Schema& asked) {
  const std::array<std::string, 4> there{stored.encoding, std::to_string(stored.type_size),
                                         std::to_string(stored.type_alignment), stored.type_name};
  const std::array<std::string, 4> here{std::string{asked.encoding}, std::to_string(asked.size),
                                        std::to_string(asked.alignment), std::string{asked.name}};
  const unsigned differences = schema_differences(stored, asked);
  std::string text;
  for (std::size_t i = 0; i < there.size(); ++i) {
    if ((differences >> i & 1u) == 0) continue;
    if (!text.empty()) text += "; ";
    text.append(schema_fields[i]).append(": stored " + there[i] + ", asked " + here[i]);
  }
  return text;
}

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/topic/topic.hpp ----

// A Topic<T> is a named log of values of one type, split into partitions. Naming it makes it, if it is missing:
//   towpath::Topic<Pose> poses{bus, "pose"};
//   towpath::Topic scans{bus, lidar_front};      // from a TopicSpec in a shared header
// A handle is cheap to copy and thread-safe. Two processes that disagree on T's name, size or alignment get
// type_mismatch when they open it; explain_type_mismatch<T>(bus, "pose") says what differs. Topic<Bytes> opens any
// topic, and a Producer of it writes any bytes there. A topic that was made for bytes, as by the towpath command, opens
// as any type; a record there that is no T is undecodable. The third argument is the kind of bus: another one (a Kafka
// cluster) specializes Topic, Producer and Consumer.

namespace towpath::inline TOWPATH_ABI {

namespace detail {

enum class WhenMissing { make, fail };

/// Opens a topic, or makes it when it is missing and may be made.
inline Result<std::shared_ptr<TopicFiles>> open_topic(Bus& bus, const std::string& name, const TopicConfig& config,
                                                      const Schema& schema, WhenMissing when_missing) {
  if (auto fine = bus.core()->usable(); !fine) return fine.error();
  auto files = bus.catalog().open(name);
  if (!files && files.error() == Errc::unknown_topic && !bus.is_read_only() && when_missing == WhenMissing::make) {
    const auto made = bus.catalog().create(name, config, schema);
    if (!made && made.error() != Errc::topic_exists) return made.error();  // somebody else was faster: fine
    files = bus.catalog().open(name);
  }
  if (!files) return files.error();
  const std::uint64_t wanted = config.record_alignment;
  if (wanted != 0 && wanted != (*files)->format().record_alignment &&
      std::max(wanted, schema.alignment) != (*files)->format().record_alignment)
    return Failure{Errc::config_mismatch, "record_alignment differs from the topic's; leave it 0 to take what it has"};
  if (auto fine = check_schema((*files)->stored(), schema); !fine) return fine.error();
  return files;
}

}  // namespace detail

template <class T, class S = Serde<T>, class BusType = Bus>
class Topic;

template <class T, class S>
class Topic<T, S, Bus> {
  static_assert(SerdeFor<S, T>, "the serde lacks size, encode or decode: see serde/serde.hpp");

 public:
  using value_type = T;
  using serde_type = S;

  /// Throws Error: invalid_name, invalid_argument, type_mismatch, config_mismatch, no_space, corrupt, newer_format,
  /// forked, too_many_members (making one takes a member line for a moment); unknown_topic in a read-only process.
  Topic(Bus& bus, std::string_view name, const TopicConfig& config = {}) : Topic{open(bus, name, config).value()} {}
  Topic(Bus& bus, const TopicSpec<T>& named) : Topic{bus, named.name, named.config} {}

  /// As the constructors, without exceptions.
  static Result<Topic> open(Bus& bus, std::string_view name, const TopicConfig& config = {}) {
    return open(bus, name, config, detail::WhenMissing::make);
  }
  static Result<Topic> open(Bus& bus, const TopicSpec<T>& named) { return open(bus, named.name, named.config); }
  /// As open(), but never makes the topic: unknown_topic if it is missing.
  static Result<Topic> open_existing(Bus& bus, std::string_view name) {
    return open(bus, name, {}, detail::WhenMissing::fail);
  }

  [[nodiscard]] std::string_view name() const noexcept { return files_->name(); }
  /// Now; it may grow. 0 in a child after fork().
  [[nodiscard]] std::int32_t partitions() const noexcept { return files_->core().is_mine() ? files_->partitions() : 0; }
  /// Whether the files allow this process to append.
  [[nodiscard]] bool is_writable() const noexcept { return files_->is_writable(); }

  /// For the stations behind.
  [[nodiscard]] const std::shared_ptr<detail::TopicFiles>& files() const noexcept { return files_; }
  [[nodiscard]] const Bus& bus() const noexcept { return bus_; }

 private:
  static Result<Topic> open(Bus& bus, std::string_view name, const TopicConfig& config,
                            detail::WhenMissing when_missing) {
    auto files = detail::open_topic(bus, std::string{name}, config, schema_of<T, S>(), when_missing);
    if (!files) return files.error();
    return Topic{std::move(*files), bus};
  }

  Topic(std::shared_ptr<detail::TopicFiles> files, const Bus& bus) : bus_{bus}, files_{std::move(files)} {}

  Bus bus_;  // a share of it: keeps the maintenance thread alive
  std::shared_ptr<detail::TopicFiles> files_;
};

template <class T>
Topic(Bus&, const TopicSpec<T>&) -> Topic<T, Serde<T>, Bus>;

/// What keeps Topic<T, S> from opening this topic, field by field, for people: "size: stored 24, asked 32; name: stored
/// Pose, asked Scan". Empty when nothing does. Makes no topic. Errors: unknown_topic, invalid_name, corrupt,
/// newer_format, forked.
template <class T, class S = Serde<T>>
Result<std::string> explain_type_mismatch(const Bus& bus, std::string_view name) {
  if (auto fine = bus.core()->usable(); !fine) return fine.error();
  const auto files = bus.catalog().open(std::string{name});
  if (!files) return files.error();
  return detail::explain_schema((*files)->stored(), schema_of<T, S>());
}

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/consume/assignment.hpp ----

// Which partitions a Consumer reads, and from where: those it was given, or all of the topics that it subscribed to,
// as these come, grow and go. One thread.

namespace towpath::inline TOWPATH_ABI::detail {

/// A topic as one consumer has it open.
struct ReadTopic {
  std::shared_ptr<TopicFiles> files;
  std::shared_ptr<log::Pins> pins;
  std::int32_t old_partitions = 0;     // those below were there when it was subscribed to
  std::int32_t taken_on = 0;           // those below are assigned; only where all are
  std::unique_ptr<ReaderSeat> seat{};  // of a consumer with a name

  [[nodiscard]] const std::string& name() const noexcept { return files->name(); }
};

/// One assigned partition.
struct Assigned {
  Assigned(PartitionId partition, const log::PartitionLog& log, std::shared_ptr<ReadTopic> of)
      : id{partition},
        reader{log, of->pins},
        value_alignment{of->files->format().value_alignment},
        topic{std::move(of)} {}
  ~Assigned() {
    if (topic->files->core().is_mine()) registration.leave();  // in a child the words are not mapped
  }
  Assigned(const Assigned&) = delete;
  Assigned& operator=(const Assigned&) = delete;

  [[nodiscard]] TopicPartition name() const { return {topic->name(), id}; }

  PartitionId id;
  log::Reader reader;
  bool has_position = false;
  bool paused = false;
  std::uint64_t missed = 0;  // not yet told
  std::uint64_t value_alignment;
  std::shared_ptr<ReadTopic> topic;
  log::WaiterRegistration registration;
};

class Assignment {
 public:
  using List = std::vector<std::unique_ptr<Assigned>>;

  /// `schema` is that of the values that are read. `config` and `bus` outlive this.
  Assignment(const Bus& bus, const ConsumerConfig& config, const Schema& schema) noexcept
      : bus_{bus}, config_{config}, schema_{schema}, generation_{&bus.core()->control().catalog_generation} {}

  // ---- what to read

  /// One topic, for ever: it is not looked for again when it is deleted. Errors: unknown_partition, those of mapping.
  Result<void> read_only_this(std::shared_ptr<TopicFiles> files) {
    auto topic = open(std::move(files), true);
    if (!topic) return topic.error();
    is_fixed_ = true;
    topics_.push_back(std::move(*topic));
    if (!config_.partitions.empty()) return assign(config_.partitions);
    takes_all_ = true;
    return take_on(topics_.front());
  }

  /// In place of what was subscribed to or assigned before; topics that stay keep their positions. What cannot be read
  /// becomes news. Errors: invalid_argument.
  Result<void> subscribe(Subscription subscription) {
    if (is_fixed_) return Failure{Errc::invalid_argument, "this consumer was made of a Topic: make one of the bus"};
    subscription_ = std::move(subscription);
    takes_all_ = true;
    refusals_.clear(), news_.clear();
    refresh(true);
    return {};
  }
  Result<void> unsubscribe() {
    if (is_fixed_) return Failure{Errc::invalid_argument, "this consumer was made of a Topic; let it go instead"};
    subscription_ = Subscription{};
    takes_all_ = false;
    refusals_.clear(), news_.clear();
    drop_if([](const ReadTopic&) { return true; });
    return {};
  }

  /// These and no others; those that stay keep position and pause. Nothing changes if one cannot be had.
  /// Errors: unknown_partition, unknown_topic, type_mismatch, invalid_argument, those of mapping.
  Result<void> assign(const std::vector<TopicPartition>& wanted) {
    std::vector<std::shared_ptr<ReadTopic>> topics;
    List added;
    using Name = std::pair<std::string_view, PartitionId>;  // its topic's text outlives this call
    std::map<Name, std::size_t> places;                     // in all_, then in added
    for (const auto& assigned : all_) places.emplace(Name{assigned->topic->name(), assigned->id}, places.size());
    for (const auto& at : wanted) {
      if (places.contains({at.topic, at.partition})) continue;
      auto topic = topic_for(at.topic, topics);
      if (!topic) return topic.error();
      auto begun = begin(*topic, at.partition, config_.auto_offset_reset);
      if (!begun) return begun.error();
      places.emplace(Name{(*begun)->topic->name(), at.partition}, all_.size() + added.size());
      added.push_back(std::move(*begun));
    }
    List next;
    for (const auto& at : wanted) {
      const std::size_t place = places.at({at.topic, at.partition});
      auto& owner = place < all_.size() ? all_[place] : added[place - all_.size()];
      if (owner) next.push_back(std::move(owner));  // null: named before
    }
    all_ = std::move(next);
    topics_.insert(topics_.end(), topics.begin(), topics.end());
    takes_all_ = false;
    subscription_ = Subscription{};
    for (auto& topic : topics_) topic->taken_on = 0;
    if (!is_fixed_) std::erase_if(topics_, [&](const auto& topic) { return !is_assigned(*topic); });
    return {};
  }
  /// Of the only topic there is.
  Result<void> assign(const std::vector<PartitionId>& wanted) {
    const auto topic = only_topic();
    if (!topic) return topic.error();
    std::vector<TopicPartition> named;
    for (const PartitionId id : wanted) named.emplace_back((*topic)->name(), id);
    return assign(named);
  }

  // ---- following what comes and goes

  /// One load when nothing changed.
  [[nodiscard]] TOWPATH_HOT bool is_current() const noexcept {
    return generation_->load(shm::acquire) == seen_;  // pairs with the release of whoever made, grew or removed a topic
  }
  /// The next look is not current.
  void look_again() noexcept { seen_ = never; }
  /// As look_again, if the last look was a while ago: whoever changes the catalog may die before he says so.
  void look_again_after(Duration time) noexcept {
    if ((takes_all_ || !topics_.empty()) && bus_.core()->config().clock.steady() - looked_at_ >= time) look_again();
  }

  /// Takes on what came, drops what went. What goes wrong becomes news. `is_old`: what is there now was there when it
  /// was subscribed to.
  TOWPATH_COLD void refresh(bool is_old = false) {
    const std::uint64_t generation = generation_->load(shm::acquire);  // before the look
    looked_at_ = bus_.core()->config().clock.steady();
    if (!is_fixed_) follow_topics(is_old);
    for (std::size_t i = 0; takes_all_ && i < topics_.size(); ++i)
      if (auto done = take_on(topics_[i]); !done) tell(topics_[i]->name(), done.error(), {}, is_old);
    seen_ = news_.empty() ? generation : never;
  }

  /// What happened, one thing at a time; is_current() is false while there is more.
  std::optional<TopicNews> take_news() {
    if (news_.empty()) return std::nullopt;
    auto first = std::move(news_.front());
    news_.pop_front();
    return first;
  }

  /// Says how far a consumer with a name has come: what it polled before, it is done with.
  TOWPATH_COLD void publish() const noexcept {
    for (const auto& assigned : all_)
      if (assigned->has_position && assigned->topic->seat)
        assigned->topic->seat->publish(assigned->id.value, assigned->reader.position());
  }

  // ---- what is read

  /// To the first record (earliest) or behind the last (latest). Errors: those of mapping.
  static Result<void> reset(Assigned& assigned, OffsetReset policy) {
    if (policy == OffsetReset::earliest)
      assigned.reader.seek(assigned.reader.log().begin());
    else if (auto end = assigned.reader.find_end(); !end)
      return end.error();
    assigned.has_position = true;
    return {};
  }

  [[nodiscard]] TOWPATH_HOT List& all() noexcept { return all_; }
  [[nodiscard]] bool is_fixed() const noexcept { return is_fixed_; }

  [[nodiscard]] Assigned* find(const TopicPartition& at) noexcept {
    const auto found = find_in(all_, at);
    return found == all_.end() ? nullptr : found->get();
  }

  /// Errors: invalid_argument (several), not_assigned (none).
  [[nodiscard]] Result<ReadTopic*> only_topic() const noexcept {
    if (topics_.size() == 1) return topics_.front().get();
    if (topics_.empty()) return Failure{Errc::not_assigned, "this consumer reads no topic now"};
    return Failure{Errc::invalid_argument, "this consumer reads several topics: name the topic, {\"name\", {0}}"};
  }
  /// Errors: not_assigned, invalid_argument (several topics).
  [[nodiscard]] Result<Assigned*> find(PartitionId id) noexcept {
    const auto topic = only_topic();
    if (!topic) return topic.error();
    const auto place = static_cast<std::size_t>(id.value);
    if (place < all_.size() && all_[place]->id == id) return all_[place].get();  // as they stand where all are read
    for (auto& assigned : all_)
      if (assigned->id == id) return assigned.get();
    return Failure{Errc::not_assigned, "this consumer does not read that partition"};
  }

  /// Sorted. Those that are named and those that are read.
  [[nodiscard]] std::vector<std::string> topics() const {
    auto names = subscription_.named();
    for (const auto& topic : topics_)
      if (!subscription_.names(topic->name())) names.push_back(topic->name());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  static constexpr std::uint64_t never = ~std::uint64_t{0};  // no generation

  static List::iterator find_in(List& all, const TopicPartition& at) noexcept {
    const auto is_it = [&](const auto& a) { return a && a->id == at.partition && a->topic->name() == at.topic; };
    const auto place = static_cast<std::size_t>(at.partition.value);
    if (place < all.size() && is_it(all[place])) return all.begin() + at.partition.value;  // where one topic is read
    return std::find_if(all.begin(), all.end(), is_it);
  }
  [[nodiscard]] bool is_assigned(const ReadTopic& topic) const noexcept {
    return std::any_of(all_.begin(), all_.end(), [&](const auto& a) { return a->topic.get() == &topic; });
  }

  Result<std::shared_ptr<ReadTopic>> open(std::shared_ptr<TopicFiles> files, bool is_old) const {
    auto pins = files->open_pins_holder();
    if (!pins) return pins.error();
    const std::int32_t old = is_old ? files->partitions() : 0;
    auto topic = std::make_shared<ReadTopic>(ReadTopic{std::move(files), std::move(*pins), old});
    if (config_.name.empty()) return topic;
    auto seat = ReaderSeat::take(*topic->files, config_.name);
    if (!seat) return seat.error();
    topic->seat = std::make_unique<ReaderSeat>(std::move(*seat));
    return topic;
  }

  /// A topic of an assignment: one that is read, one of `opened`, or one that is opened now.
  Result<std::shared_ptr<ReadTopic>> topic_for(const std::string& name,
                                               std::vector<std::shared_ptr<ReadTopic>>& opened) {
    for (const auto* known : {&topics_, &opened})
      for (const auto& topic : *known)
        if (topic->name() == name) return topic;
    if (is_fixed_) return Failure{Errc::invalid_argument, "this consumer was made of another Topic"};
    auto files = bus_.catalog().open(name);
    if (!files) return files.error();
    if (auto fine = check_schema((*files)->stored(), schema_); !fine) return fine.error();
    auto topic = open(std::move(*files), true);
    if (topic) opened.push_back(*topic);
    return topic;
  }

  Result<std::unique_ptr<Assigned>> begin(const std::shared_ptr<ReadTopic>& topic, PartitionId id,
                                          OffsetReset policy) const {
    auto log = topic->files->partition(id);
    if (!log) return log.error();
    auto assigned = std::make_unique<Assigned>(id, **log, topic);
    if (topic->seat) {
      if (auto room = topic->seat->grow(topic->files->partitions()); !room) return room.error();
      if (const auto before = topic->seat->stood_at(id.value)) {
        assigned->reader.seek(*before);
        assigned->has_position = true;
        return assigned;
      }
      if (topic->files->waits_for(config_.name)) policy = OffsetReset::earliest;  // what was kept for it
    }
    if (policy == OffsetReset::none) return assigned;
    if (auto done = reset(*assigned, policy); !done) return done.error();
    return assigned;
  }

  /// The partitions of a topic that are not assigned yet: what came later from its first record.
  Result<void> take_on(const std::shared_ptr<ReadTopic>& topic) {
    const bool some = topic->taken_on < topic->files->partitions() && is_assigned(*topic);
    for (; topic->taken_on < topic->files->partitions(); ++topic->taken_on) {
      if (some && find({topic->name(), {topic->taken_on}})) continue;  // by hand, before
      const bool is_old = topic->taken_on < topic->old_partitions;
      auto begun = begin(topic, {topic->taken_on}, is_old ? config_.auto_offset_reset : OffsetReset::earliest);
      if (!begun) return begun.error();
      all_.push_back(std::move(*begun));
    }
    return {};
  }

  template <class Which>
  void drop_if(const Which& which) {
    std::erase_if(all_, [&](const auto& assigned) { return which(*assigned->topic); });
    std::erase_if(topics_, [&](const auto& topic) { return which(*topic); });
  }

  void tell(const std::string& topic, const Failure& failure, const std::string& id, bool is_old) {
    if (refusals_.note(topic, failure, id, is_old)) news_.push_back({topic, failure});
  }

  void follow_topics(bool is_old) {
    const bool is_assigned_by_hand = subscription_.empty();
    const auto wanted =
        is_assigned_by_hand ? Result<std::vector<std::string>>{topics()} : subscription_.wanted(bus_.catalog());
    if (!wanted) return tell({}, wanted.error(), {}, is_old);
    refusals_.keep_only(*wanted);
    drop_if([&](const ReadTopic& topic) { return !std::binary_search(wanted->begin(), wanted->end(), topic.name()); });
    for (const auto& name : *wanted) {
      auto files = bus_.catalog().open(name);
      const auto is_other = [&](const ReadTopic& topic) {
        return topic.name() == name && (!files || topic.files != *files);
      };
      const bool is_gone = std::any_of(topics_.begin(), topics_.end(), [&](auto& topic) { return is_other(*topic); });
      if (is_gone && (is_assigned_by_hand || subscription_.names(name)))
        news_.push_back({name, {Errc::topic_deleted, "the topic was deleted under this consumer"}});
      if (is_gone) drop_if(is_other);
      if (!is_assigned_by_hand) follow(name, files, is_old);
    }
  }

  void follow(const std::string& name, const Result<std::shared_ptr<TopicFiles>>& files, bool is_old) {
    if (!files && files.error() == Errc::unknown_topic) return void(refusals_.forget(name));  // waited for
    if (!files) return tell(name, files.error(), {}, is_old);
    if (std::any_of(topics_.begin(), topics_.end(), [&](auto& topic) { return topic->files == *files; })) return;
    if (auto fine = check_schema((*files)->stored(), schema_); !fine)
      return tell(name, fine.error(), (*files)->stored().id, is_old);
    auto topic = open(*files, is_old);
    if (!topic) return tell(name, topic.error(), (*files)->stored().id, is_old);
    if (refusals_.forget(name, (*files)->stored().id)) (*topic)->old_partitions = (*files)->partitions();
    topics_.push_back(std::move(*topic));
  }

  Bus bus_;
  const ConsumerConfig& config_;
  Schema schema_;
  const shm::Word64* generation_;
  std::uint64_t seen_ = never;
  List all_;
  bool is_fixed_ = false;   // of one topic, which is not looked for
  bool takes_all_ = false;  // every partition of every topic, later ones too
  std::vector<std::shared_ptr<ReadTopic>> topics_;
  Subscription subscription_;
  Refusals refusals_;
  std::deque<TopicNews> news_;
  Monotonic looked_at_{};
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/consume/consumer_core.hpp ----

// The part of a Consumer that does not know its value type: the member line, what is assigned, sleeping and waking.
// One thread, but for wakeup().

namespace towpath::inline TOWPATH_ABI::detail {

class ConsumerCore {
 public:
  /// The longest sleep: a producer that dies between commit and wake costs no more.
  static constexpr Duration max_sleep{std::chrono::milliseconds{50}};
  /// A reader without rights is woken by nobody.
  static constexpr Duration blind_sleep{std::chrono::milliseconds{1}};
  /// The catalog is looked at again after this long without a change, by whoever has nothing to do.
  static constexpr Duration look_again_after{std::chrono::seconds{1}};

  /// Of one topic. Errors: too_many_members, forked, unknown_partition, invalid_argument, and those of mapping.
  static Result<std::unique_ptr<ConsumerCore>> open(const Bus& bus, std::shared_ptr<TopicFiles> files,
                                                    ConsumerConfig config) {
    if (!config.topics.empty() || !config.pattern.empty())
      return Failure{Errc::invalid_argument, "topics, pattern: they are for a Consumer of the bus, not of a Topic"};
    auto core = make(bus, std::move(config), Schema{}, files->name());
    if (!core) return core;
    if (auto done = (*core)->assignment_.read_only_this(std::move(files)); !done) return done.error();
    return core;
  }
  /// Of what the config's topics and pattern say. Errors: invalid_argument, invalid_name, invalid_pattern,
  /// too_many_members, forked.
  static Result<std::unique_ptr<ConsumerCore>> open(const Bus& bus, ConsumerConfig config, const Schema& schema) {
    if (!config.partitions.empty())
      return Failure{Errc::invalid_argument, "partitions: they are for a Consumer of one Topic; or call assign()"};
    auto subscription = Subscription::make(config.topics, config.pattern);
    if (!subscription) return subscription.error();
    const std::string label = config.topics.empty() ? config.pattern : config.topics.front();
    auto core = make(bus, std::move(config), schema, label);
    if (!core) return core;
    if (auto done = (*core)->assignment_.subscribe(std::move(*subscription)); !done) return done.error();
    return core;
  }

  ConsumerCore(const ConsumerCore&) = delete;
  ConsumerCore& operator=(const ConsumerCore&) = delete;

  [[nodiscard]] TOWPATH_HOT BusCore& bus() const noexcept { return *bus_; }
  [[nodiscard]] const ConsumerConfig& config() const noexcept { return config_; }
  [[nodiscard]] const Clock& clock() const noexcept { return bus_->config().clock; }
  [[nodiscard]] TOWPATH_HOT Assignment& assignment() noexcept { return assignment_; }
  [[nodiscard]] TOWPATH_HOT Assignment::List& assigned() noexcept { return assignment_.all(); }

  /// The offset after the last record that can be read; moves no position. Errors: those of mapping.
  [[nodiscard]] static Result<Offset> end_of(const Assigned& assigned) {
    return log::Reader{assigned.reader.log(), assigned.topic->pins}.find_end();
  }

  /// The position is outside the log: to where auto_offset_reset says, a reader with a name to the first record that is
  /// left, unless records came up to it meanwhile.
  /// Errors: log_truncated (it is behind the end of a log that was recovered; moved there nevertheless),
  /// offset_out_of_range for none, corrupt, those of mapping.
  Result<void> return_to_log(Assigned& assigned) const {
    const std::uint64_t before = assigned.reader.position();
    const std::uint64_t start = assigned.reader.log().begin();  // first: no end that is found later is below it
    const auto end = end_of(assigned);
    if (!end) return end.error();
    const auto behind = static_cast<std::uint64_t>(end->value);
    if (start > behind) return Failure{Errc::corrupt, "the log begins behind its end"};
    const bool is_inside = before >= start && before <= behind;
    if (before > behind && assigned.reader.log().state().log_epoch.load(shm::acquire) > 0) {
      assigned.reader.seek(behind);  // told once, with the place where the log goes on
      return Failure{Errc::log_truncated, "a restart of the machine took records before this position; read on here"};
    }
    if (!is_inside && config_.auto_offset_reset == OffsetReset::none)
      return Failure{Errc::offset_out_of_range, "the position is outside the log and auto_offset_reset is none"};
    // What is still there was kept for a reader with a name: it passes over nothing else.
    const bool from_start = assigned.topic->seat || config_.auto_offset_reset == OffsetReset::earliest;
    const std::uint64_t target = from_start ? start : behind;
    assigned.reader.seek(is_inside ? before : target);
    if (assigned.reader.position() > before) assigned.missed += assigned.reader.position() - before;
    return {};
  }

  // ---- sleeping

  /// From any thread: the poll that waits, or the next one, returns at once, and the native handle becomes readable.
  void wakeup() noexcept {
    woken_.store(true, std::memory_order_seq_cst);  // pairs with the loads between announcing and sleeping
    if (!bus_->is_mine()) return;
    if (member_) shm::wake(member_.line().wake);
    if (auto* bell = shared_bell_.load(std::memory_order_acquire)) bell->signal();  // pairs with native_handle()
  }
  bool take_wakeup() noexcept {
    return woken_.load(std::memory_order_relaxed) && woken_.exchange(false, std::memory_order_acq_rel);
  }

  /// Sleeps until a record may be there, wakeup() was called, or `limit` is over, whichever is first; 50 ms at most.
  TOWPATH_COLD void sleep(Duration limit, bool is_blocked) noexcept {
    assignment_.look_again_after(look_again_after);
    const bool can_be_woken = member_ && register_all();
    // An open slot ahead: its producer may be dead, and nobody would wake us. Look again soon.
    const Duration longest = is_blocked     ? Duration{std::chrono::microseconds{50}}
                             : can_be_woken ? max_sleep
                                            : blind_sleep;
    limit = std::min(limit, longest);
    if (limit <= Duration::zero()) return;
    if (!can_be_woken) {
      if (!woken_.load(std::memory_order_relaxed)) std::this_thread::sleep_for(limit);
      return;
    }
    auto& word = member_.line().wake;
    member_.line().bell.store(0, shm::relaxed);  // ordered by the announcement, which the waker's swap acquires
    const std::uint32_t announced = shm::announce_sleep(word);
    TOWPATH_FAILPOINT("sleep.announced");
    if (woken_.load(std::memory_order_seq_cst)) return;  // pairs with the store in wakeup()
    if (!is_blocked) {
      if (!order_announcement()) limit = std::min(limit, blind_sleep);
      TOWPATH_FAILPOINT("sleep.ordered");
      if (has_something()) return;
    }
    count_wait();
    shm::sleep(word, announced, limit);
  }

  // ---- sleeping in an event loop of the user's

  /// See Consumer::native_handle(). Readable at first.
  Result<int> native_handle() {
    if (bell_) return bell_->descriptor();
    auto* members = bus_->members();
    auto bell = members ? shm::Doorbell::open(bus_->directory(), {member_.index(), incarnation()})
                        : shm::Doorbell::open_private();
    // Without the right to make a name nobody can ring: then it looks again and again, as a reader without rights does.
    if (!bell && bell.error() == Errc::permission_denied) bell = shm::Doorbell::open_private();
    if (!bell) return bell.error();
    bell_ = std::move(*bell);
    bell_->signal();
    is_signalled_ = true;
    shared_bell_.store(bell_.get(), std::memory_order_release);  // pairs with the acquire in wakeup()
    return bell_->descriptor();
  }
  [[nodiscard]] TOWPATH_HOT bool has_native_handle() const noexcept { return bell_ != nullptr; }

  /// Another poll may find something: the native handle, if there is one, is readable.
  void signal() noexcept {
    if (!bell_ || is_signalled_ || !bus_->is_mine()) return;
    bell_->signal();
    is_signalled_ = true;
  }

  /// After a poll that found nothing: the native handle is readable no more, until something may be there.
  TOWPATH_COLD void arm(bool is_blocked) noexcept {
    assignment_.look_again_after(look_again_after);
    // Before announcing: a ring for this announcement must not be taken for one of before.
    bell_->clear();
    is_signalled_ = false;
    woken_.exchange(false, std::memory_order_acq_rel);  // that poll was the answer; after clear(), or a signal is lost
    bool can_be_rung = member_ && bell_->has_name() && register_all();
    if (can_be_rung) {
      member_.line().bell.store(1, shm::relaxed);  // ordered by the announcement, which the waker's swap acquires
      shm::announce_sleep(member_.line().wake);
      TOWPATH_FAILPOINT("arm.announced");
      if (!is_blocked) can_be_rung = order_announcement();
    }
    const bool is_over = woken_.load(std::memory_order_seq_cst);  // pairs with the store in wakeup()
    if (is_over || !assignment_.is_current() || (!is_blocked && has_something())) return signal();
    count_wait();
    bell_->set_alarm(can_be_rung && !is_blocked ? max_sleep : blind_sleep);
  }

  /// For liveness: somebody else may see that this consumer polls.
  TOWPATH_HOT void note_progress() noexcept {
    if (member_) member_.line().progress.store(++polls_, shm::relaxed);
    if (has_name_) [[unlikely]]
      assignment_.publish();
  }
  [[nodiscard]] const shm::Member* member() const noexcept { return member_ ? &member_ : nullptr; }

 private:
  ConsumerCore(const Bus& bus, ConsumerConfig config, const Schema& schema)
      : bus_{bus.core()},
        config_{std::move(config)},
        has_name_{!config_.name.empty()},
        assignment_{bus, config_, schema} {}

  static Result<std::unique_ptr<ConsumerCore>> make(const Bus& bus, ConsumerConfig config, const Schema& schema,
                                                    std::string_view label) {
    if (auto fine = bus.core()->usable(); !fine) return fine.error();
    if (config.max_poll_records < 1) return Failure{Errc::invalid_argument, "max_poll_records: 1 or more"};
    if (auto fine = check_reader_name(config.name); !fine && !config.name.empty()) return fine.error();
    auto core = std::unique_ptr<ConsumerCore>{new ConsumerCore{bus, std::move(config), schema}};
    if (!core->bus_->members()) return core;
    const auto& name = core->config_.name;
    auto member = core->bus_->claim(shm::MemberKind::consumer, name.empty() ? label : std::string_view{name});
    if (!member) return member.error();
    core->member_ = std::move(*member);
    return core;
  }

  [[nodiscard]] std::uint64_t incarnation() const noexcept {
    return member_.line().incarnation.load(shm::relaxed);  // mine: only a claim changes it
  }

  /// In every partition's waiter mask, once. False if some partition's cannot be had: then nobody may wake us.
  bool register_all() noexcept {
    bool all = true;
    has_sole_writer_ = false;
    for (auto& assigned : assigned()) {
      has_sole_writer_ = has_sole_writer_ || assigned->reader.log().format().one_writer;
      if (assigned->registration) continue;
      auto* block = assigned->reader.log().waits();
      if (block) assigned->registration = log::WaiterRegistration::enter(*block, member_);
      all = all && block;
    }
    return all;
  }

  /// Before the recheck. A partition's only writer commits by a store and then looks who sleeps, and nothing on its
  /// side keeps the look from being first: this barrier does, so that it sees the announcement or the recheck its
  /// record. False if the kernel refuses: then sleep for a moment only. A few microseconds.
  [[nodiscard]] bool order_announcement() const noexcept {
    if (!has_sole_writer_ || shm::barrier_everywhere()) return true;
    shm::full_fence();
    return false;
  }

  /// The recheck between announcing sleep and sleeping.
  [[nodiscard]] bool has_something() noexcept {
    for (auto& assigned : assigned())
      if (!assigned->paused && assigned->reader.has_something()) return true;
    return false;
  }

  void count_wait() noexcept {
    if (!assigned().empty() && assigned().front()->reader.log().may_help())
      assigned().front()->reader.log().state().waits.fetch_add(1, shm::relaxed);
  }

  std::shared_ptr<BusCore> bus_;
  ConsumerConfig config_;
  bool has_name_;
  shm::Member member_;
  Assignment assignment_;         // goes before the member that is registered
  bool has_sole_writer_ = false;  // among the partitions that it waits for is one with one writer
  std::uint64_t polls_ = 0;
  std::atomic<bool> woken_{false};
  std::unique_ptr<shm::Doorbell> bell_;
  bool is_signalled_ = false;
  std::atomic<shm::Doorbell*> shared_bell_{nullptr};
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/consume/consumer_base.hpp ----

// What every Consumer can do whatever the type of its values: what it reads, where it reads, being woken, and the
// descriptor for event loops. See consumer.hpp. One thread, but for wakeup().

namespace towpath::inline TOWPATH_ABI {

class ConsumerBase {
 public:
  /// Makes a poll that waits return at once with an empty batch, or the next one that would wait; and makes the native
  /// handle readable. From any thread.
  void wakeup() noexcept {
    if (core_) core_->wakeup();
  }

  // ---- in an event loop of yours

  /// A descriptor for epoll, poll, select or Asio, made by the first call: readable whenever a poll(0ms) may return
  /// something, until a poll found nothing. So: wait until it is readable, poll(0ms), use the batch, wait again. Only
  /// look at its readability; it is readable too soon at times: every 50 ms while nothing comes, so that a record whose
  /// producer died between commit and wake is at most so late. A process that may only read looks each ms. With
  /// edge-triggered epoll, poll until a batch is empty before you wait again.
  /// It is the consumer's and closed with it: what takes ownership, like Asio's posix::stream_descriptor, gets a dup()
  /// of it, or has to release() it. In a child after fork() it is still the parent's: leave it alone.
  /// Errors: too_many_files, no_space, forked, closed.
  Result<int> native_handle() {
    if (auto fine = usable(); !fine) return fine.error();
    return core_->native_handle();
  }

  // ---- what it reads

  /// Reads these topics from now on, and those that match the pattern, in place of what was subscribed or assigned;
  /// those that stay keep their positions. For a Consumer of a bus. Errors: invalid_argument (neither topic nor
  /// pattern; a Consumer of one Topic), invalid_name, invalid_pattern.
  Result<void> subscribe(const std::vector<std::string>& topics, const std::string& pattern = {}) {
    if (auto fine = usable(); !fine) return fine;
    auto subscription = detail::Subscription::make(topics, pattern);
    if (!subscription) return subscription.error();
    return changed(core_->assignment().subscribe(std::move(*subscription)));
  }
  /// Reads nothing until something is subscribed or assigned. Errors: invalid_argument (a Consumer of one Topic).
  Result<void> unsubscribe() {
    if (auto fine = usable(); !fine) return fine;
    return changed(core_->assignment().unsubscribe());
  }
  /// The topics: those it was told to read, whether they exist or not, and those that match its pattern now. Sorted.
  [[nodiscard]] std::vector<std::string> subscription() const {
    return core_ ? core_->assignment().topics() : std::vector<std::string>{};
  }

  /// Reads these partitions from now on instead; those that stay keep their positions. Ends a subscription. With
  /// numbers alone: of the only topic. Errors: unknown_partition, unknown_topic, type_mismatch, invalid_argument
  /// (several topics; another topic than the Consumer was made of).
  Result<void> assign(const std::vector<TopicPartition>& partitions) { return assign_all(partitions); }
  Result<void> assign(const std::vector<PartitionId>& partitions) { return assign_all(partitions); }
  Result<void> assign(std::initializer_list<PartitionId> partitions) {
    return assign_all(std::vector<PartitionId>{partitions});
  }
  [[nodiscard]] std::vector<TopicPartition> assignment() const {
    std::vector<TopicPartition> names;
    if (!core_) return names;
    for (const auto& assigned : core_->assigned()) names.push_back(assigned->name());
    return names;
  }

  // ---- where it reads

  /// The next record of the partition that poll returns is the one at `offset` or the first behind it. A number alone
  /// is a partition of the only topic. Errors: not_assigned, invalid_argument (several topics).
  Result<void> seek(const TopicPartition& partition, Offset offset) noexcept {
    return seek_in(find(partition), offset);
  }
  Result<void> seek(PartitionId partition, Offset offset) noexcept { return seek_in(find(partition), offset); }
  /// All assigned partitions, to the first record there is.
  Result<void> seek_to_beginning() { return reset_all(OffsetReset::earliest); }
  /// All assigned partitions, behind the last record that can be read now.
  Result<void> seek_to_end() { return reset_all(OffsetReset::latest); }
  /// All assigned partitions, to the first record as late as `time`, or to the end where there is none.
  Result<void> seek_to_time(Timestamp time) {
    const auto found = offsets_for_times(time);
    if (!found) return found.error();
    for (const auto& [partition, offset] : *found) {
      auto* assigned = core_->assignment().find(partition);
      auto done = offset ? seek_in(assigned, *offset) : reset_one(*assigned, OffsetReset::latest);
      if (!done) return done;
    }
    return {};
  }

  /// The offset after the last record that was polled. Errors: not_assigned, no_offset, invalid_argument (several
  /// topics and a number alone).
  [[nodiscard]] Result<Offset> position(const TopicPartition& partition) const noexcept {
    return position_in(find(partition));
  }
  [[nodiscard]] Result<Offset> position(PartitionId partition) const noexcept { return position_in(find(partition)); }

  /// The sum of what all its batches missed so far, for loops that see no batch: iteration and run().
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }

  /// A paused partition keeps its position and returns nothing. Errors: not_assigned, invalid_argument (several topics
  /// and a number alone).
  Result<void> pause(const TopicPartition& partition) noexcept { return set_paused(find(partition), true); }
  Result<void> pause(PartitionId partition) noexcept { return set_paused(find(partition), true); }
  Result<void> resume(const TopicPartition& partition) noexcept { return set_paused(find(partition), false); }
  Result<void> resume(PartitionId partition) noexcept { return set_paused(find(partition), false); }

  /// The first offset that each assigned partition still has.
  [[nodiscard]] Result<std::vector<PartitionOffset>> beginning_offsets() const {
    return each<PartitionOffset>([](detail::Assigned& assigned) -> Result<Offset> {
      return Offset{static_cast<std::int64_t>(assigned.reader.log().begin())};
    });
  }
  /// The offset after the last record that can be read, of each assigned partition. Moves no position.
  [[nodiscard]] Result<std::vector<PartitionOffset>> end_offsets() const {
    return each<PartitionOffset>([](detail::Assigned& assigned) { return detail::ConsumerCore::end_of(assigned); });
  }
  /// The first record as late as `time` of each assigned partition. Reads an index; makes it when it is missing.
  [[nodiscard]] Result<std::vector<PartitionTimeOffset>> offsets_for_times(Timestamp time) const {
    return each<PartitionTimeOffset>([&](detail::Assigned& assigned) {
      return log::offset_for_time(assigned.reader.log(), assigned.topic->pins, core_->member(), time);
    });
  }

 protected:
  explicit ConsumerBase(std::unique_ptr<detail::ConsumerCore> core) noexcept : core_{std::move(core)} {}
  ConsumerBase(ConsumerBase&&) noexcept = default;
  ConsumerBase& operator=(ConsumerBase&&) noexcept = default;
  ~ConsumerBase() = default;

  static Failure closed() noexcept { return {Errc::closed, "this consumer was moved from"}; }
  [[nodiscard]] Result<void> usable() const noexcept { return core_ ? core_->bus().usable() : closed(); }

  std::unique_ptr<detail::ConsumerCore> core_;
  std::shared_ptr<detail::Trouble> trouble_;  // the last there was; null: none yet
  std::uint64_t missed_ = 0;                  // told, in all
  bool ended_iteration_ = false;              // the error that nobody looked at was the iterator's to hide

 private:
  using Found = Result<detail::Assigned*>;

  [[nodiscard]] Found find(const TopicPartition& partition) const noexcept {
    if (!core_) return closed();
    auto* assigned = core_->assignment().find(partition);
    return assigned ? Found{assigned} : Failure{Errc::not_assigned, "this consumer does not read that partition"};
  }
  [[nodiscard]] Found find(PartitionId partition) const noexcept {
    return core_ ? core_->assignment().find(partition) : Found{closed()};
  }

  /// Who seeks after an error ended his loop has decided what to do about it.
  void go_on() noexcept {
    if (trouble_ && trouble_->told) trouble_->looked = true, ended_iteration_ = false;
    core_->signal();
  }
  Result<void> changed(const Result<void>& done) noexcept {
    core_->signal();
    return done;
  }

  template <class Partitions>
  Result<void> assign_all(const Partitions& partitions) {
    if (auto fine = usable(); !fine) return fine;
    return changed(core_->assignment().assign(partitions));
  }

  Result<void> seek_in(const Found& assigned, Offset offset) noexcept {
    if (!assigned) return assigned.error();
    (*assigned)->reader.seek(static_cast<std::uint64_t>(std::max<std::int64_t>(0, offset.value)));
    (*assigned)->has_position = true, (*assigned)->missed = 0;
    go_on();
    return {};
  }

  static Result<Offset> position_in(const Found& assigned) noexcept {
    if (!assigned) return assigned.error();
    if (!(*assigned)->has_position) return Failure{Errc::no_offset, "auto_offset_reset is none and nothing was sought"};
    return Offset{static_cast<std::int64_t>((*assigned)->reader.position())};
  }

  Result<void> set_paused(const Found& assigned, bool paused) noexcept {
    if (!assigned) return assigned.error();
    (*assigned)->paused = paused;
    core_->signal();
    return {};
  }

  Result<void> reset_one(detail::Assigned& assigned, OffsetReset policy) {
    auto done = detail::Assignment::reset(assigned, policy);
    assigned.missed = 0;  // asked for, not missed
    if (done) go_on();
    return done;
  }
  Result<void> reset_all(OffsetReset policy) {
    if (auto fine = usable(); !fine) return fine;
    for (auto& assigned : core_->assigned())
      if (auto done = reset_one(*assigned, policy); !done) return done;
    return {};
  }

  template <class Entry, class Ask>
  Result<std::vector<Entry>> each(const Ask& ask) const {
    if (auto fine = usable(); !fine) return fine.error();
    std::vector<Entry> offsets;
    for (auto& assigned : core_->assigned()) {
      auto offset = ask(*assigned);
      if (!offset) return offset.error();
      offsets.push_back({assigned->name(), *offset});
    }
    return offsets;
  }
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/consume/consumer_iterator.hpp ----

// Walks all records that come to a consumer:  for (const auto& record : consumer) ...
// What retention removed before it came is counted by Consumer::missed().
// Ends after consumer_timeout without a record, or at an error, which the next poll returns; a seek goes on behind it.
// One thread, like its consumer.

namespace towpath::inline TOWPATH_ABI {

template <class Consumer, class T, class S>
class ConsumerIterator {
 public:
  using value_type = Record<T, S>;
  using difference_type = std::ptrdiff_t;

  ConsumerIterator(const ConsumerIterator&) = delete;  // at_ points into batch_: it stays where it was made
  ConsumerIterator& operator=(const ConsumerIterator&) = delete;

  const Record<T, S>& operator*() const noexcept { return *at_; }
  const Record<T, S>* operator->() const noexcept { return &*at_; }
  ConsumerIterator& operator++() {
    ++at_;
    settle();
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const ConsumerIterator& i, std::default_sentinel_t) noexcept { return i.consumer_ == nullptr; }

 private:
  friend Consumer;
  explicit ConsumerIterator(Consumer& consumer) : consumer_{&consumer} { settle(); }

  /// Polls for the next batch when this one is through.
  void settle() {
    const auto timeout = consumer_->core_->config().consumer_timeout;
    while (at_ == batch_.end()) {
      batch_ = Batch<T, S>{};  // lets go of the segment before waiting
      batch_ = consumer_->poll(timeout.value_or(std::chrono::hours{1}));
      at_ = batch_.begin();
      if (!batch_.empty()) continue;
      const bool failed = batch_.trouble_ && batch_.trouble_->failure.code != Errc::ok;
      if (failed && !batch_.trouble_->told) consumer_->ended_iteration_ = batch_.trouble_->told = true;
      if (timeout || failed) return void(consumer_ = nullptr);
    }
  }

  Consumer* consumer_;
  Batch<T, S> batch_;
  typename Batch<T, S>::iterator at_;
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/consume/stream_pace.hpp ----

// How often a reader looks that keeps up with a fast stream. One that looks right behind the writer takes away the
// cache lines that the writer is about to write, and slows it several times (docs/decisions/0010). So while a stream
// lasts it looks every 6 us, and finds more each time. A reader of single records, as in a round trip, never waits
// here. One thread; no shared state.

namespace towpath::inline TOWPATH_ABI::detail {

class StreamPace {
 public:
  static constexpr Duration interval{std::chrono::microseconds{6}};
  static constexpr std::size_t begins_with = 4;    ///< records in one look, while nothing says that it is a stream
  static constexpr std::size_t goes_on_with = 32;  ///< records per interval: 5 million per second

  [[nodiscard]] TOWPATH_HOT bool is_stream() const noexcept { return is_stream_; }

  /// After each poll: how many records it found, of `limit` at most. A full batch means that the reader is behind.
  TOWPATH_HOT void notice(std::size_t found, std::size_t limit, const Clock& clock) noexcept {
    is_stream_ = found >= (is_stream_ ? goes_on_with : begins_with) && found < limit;
    if (is_stream_) [[unlikely]]
      looked_at_ = clock.steady();
  }

  /// Before the next look of a stream: the rest of the interval, `limit` at most. Work since the last look counts.
  TOWPATH_COLD void stay_away(Duration limit, const Clock& clock) const noexcept {
    const Monotonic until = looked_at_ + std::min(interval, limit);
    for (int round = 0; round < max_rounds && clock.steady() < until; ++round)
      for (int i = 0; i < 16; ++i) shm::pause();
  }

 private:
  static constexpr int max_rounds = 256;  // a clock that stands still holds nobody up

  bool is_stream_ = false;
  Monotonic looked_at_{};
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/consume/wait.hpp ----

// How poll waits while there is nothing:  consumer.poll(2ms, towpath::wait::Spin{});
//   Spin     burns the processor, answers in a cache line's time
//   Backoff  spins, then yields, then sleeps: the default
//   Block    sleeps at once; woken by the producer's commit
// A sleeper is woken through its own word; a producer that dies between commit and wake costs it 50 ms at most.

namespace towpath::inline TOWPATH_ABI::wait {

/// What a strategy decides after each empty look.
enum class Next { look, sleep };

/// Called after each look that found nothing; `round` counts them from 0.
template <class W>
concept Strategy = requires(W strategy, std::uint64_t round) {
  { strategy(round) } -> std::same_as<Next>;
};

struct Spin {
  Next operator()(std::uint64_t) const noexcept {
    shm::pause();
    return Next::look;
  }
};

struct Backoff {
  std::uint64_t spins = 2'000;  ///< looks with a pause between them, about 50 us
  std::uint64_t yields = 50;    ///< looks with sched_yield between them

  Next operator()(std::uint64_t round) const noexcept {
    if (round >= spins + yields) return Next::sleep;
    if (round < spins)
      shm::pause();
    else
      std::this_thread::yield();
    return Next::look;
  }
};

struct Block {
  Next operator()(std::uint64_t) const noexcept { return Next::sleep; }
};

static_assert(Strategy<Spin> && Strategy<Backoff> && Strategy<Block>);

}  // namespace towpath::inline TOWPATH_ABI::wait

// ---- towpath/consume/consumer.hpp ----

// A Consumer reads a topic:  towpath::Consumer consumer{topic};  for (const auto& record : consumer.poll(100ms)) ...
// or several of a bus, by name or by pattern, as values of one type or as bytes:
//   towpath::Consumer<towpath::Bytes> all{bus, {.pattern = "^my.*"}};
// Without a group it sees every record of its partitions, from now on or from where you seek. It belongs to one thread,
// but for wakeup(). It takes nothing out of the log: any number of consumers read it, each at its own pace.
// What it reads, seeks and the descriptor for event loops: consumer_base.hpp.
// After a crash its position is gone, but for one with a name: it leaves how far it came, and the next of that name
// goes on there. One with a native handle leaves a FIFO, which maintenance removes.

namespace towpath::inline TOWPATH_ABI {

template <class T, class S = Serde<T>, class BusType = Bus>
class Consumer;

template <class T, class S>
class Consumer<T, S, Bus> : public ConsumerBase {
  static_assert(SerdeFor<S, T>, "the serde lacks size, encode or decode: see serde/serde.hpp");

 public:
  using iterator = ConsumerIterator<Consumer, T, S>;

  /// Throws Error: too_many_members, unknown_partition, invalid_argument, forked, corrupt, and those of mapping; for
  /// its name busy (another live Consumer has it), read_only, permission_denied, no_space.
  explicit Consumer(const Topic<T, S>& topic, const ConsumerConfig& config = {})
      : Consumer{open(topic, config).value()} {}

  /// As the constructor, without exceptions.
  static Result<Consumer> open(const Topic<T, S>& topic, const ConsumerConfig& config = {}) {
    auto core = detail::ConsumerCore::open(topic.bus(), topic.files(), config);
    if (!core) return core.error();
    return Consumer{topic, std::move(*core)};
  }

  /// Reads the config's topics and those that match its pattern. One that does not exist is waited for, never made. One
  /// that is deleted is told once as topic_deleted if it was named, and taken up again when it is made again. One whose
  /// values are no T is told once as type_mismatch, with Batch::topic(), and the others go on; Consumer<Bytes> reads
  /// all. Throws Error: invalid_argument, invalid_name, invalid_pattern (Pattern::explain says more), too_many_members,
  /// forked.
  explicit Consumer(const Bus& bus, const ConsumerConfig& config) : Consumer{open(bus, config).value()} {}

  /// As the constructor, without exceptions.
  static Result<Consumer> open(const Bus& bus, const ConsumerConfig& config) {
    auto core = detail::ConsumerCore::open(bus, config, schema_of<T, S>());
    if (!core) return core.error();
    return Consumer{std::nullopt, std::move(*core)};
  }

  /// The next records of one partition, as soon as there are some; partitions take turns, of all topics. After
  /// `timeout` without any, an empty batch. Zero looks once. A record whose producer dies between commit and wake is
  /// seen up to 50 ms late.
  template <wait::Strategy W = wait::Backoff>
  TOWPATH_HOT Batch<T, S> poll(Duration timeout, W strategy = {}) {
    if (!core_ || !core_->bus().is_mine() || (trouble_ && !trouble_->looked)) [[unlikely]]
      return refuse();
    return next(timeout, strategy);
  }

  /// As poll, but returns at once when `stop` is requested.
  template <wait::Strategy W = wait::Backoff>
  Batch<T, S> poll(std::stop_token stop, Duration timeout, W strategy = {}) {
    if (stop.stop_requested()) return {};
    const std::stop_callback on_stop{stop, [this] { wakeup(); }};
    return poll(timeout, strategy);
  }

  /// Calls `handler(record)` for each record until `stop` is requested. Errors: those of Batch::error(); the handled
  /// records stay handled, position() is behind them.
  template <class Handler>
  Result<void> run(std::stop_token stop, Handler&& handler) {
    while (!stop.stop_requested()) {
      auto batch = poll(stop, std::chrono::hours{1});
      for (const auto& record : batch) handler(record);
      if (const auto failure = batch.error(); failure.code != Errc::ok) return failure;
    }
    return {};
  }

  /// `for (const auto& record : consumer)`: ends after consumer_timeout without a record, or at an error, which the
  /// next poll returns.
  [[nodiscard]] iterator begin() { return iterator{*this}; }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// The Topic that it was made of. One that was made of a bus has none: ask subscription().
  [[nodiscard]] const Topic<T, S>& topic() const {
    if (!topic_) detail::raise({Errc::invalid_argument, "a Consumer of a bus has no Topic; ask subscription()"});
    return *topic_;
  }

 private:
  friend iterator;
  enum class Look { found, failed, nothing, blocked };

  Consumer(std::optional<Topic<T, S>> topic, std::unique_ptr<detail::ConsumerCore> core)
      : ConsumerBase{std::move(core)}, topic_{std::move(topic)}, max_records_{core_->config().max_poll_records} {}

  /// How far one poll has come with waiting.
  struct Waiting {
    Monotonic deadline{};
    std::uint64_t round = 0;
    bool has_looked = false;
  };

  /// Looks, and waits as the strategy says, until something is there or the time is over.
  template <class W>
  TOWPATH_HOT Batch<T, S> next(Duration timeout, W& strategy) {
    Batch<T, S> batch;
    core_->note_progress();
    if (pace_.is_stream()) [[unlikely]]
      pace_.stay_away(timeout, core_->clock());
    Waiting waiting;
    // Nothing at a glance: wait before looking closer, for a close look takes the tail's line from the producers.
    bool has_time = timeout > Duration::zero();
    if (has_time && is_quiet()) has_time = wait(waiting, timeout, strategy);
    for (;;) {
      const Look seen = look(batch);
      if (seen == Look::found || seen == Look::failed) [[likely]]
        break;
      waiting.has_looked = true;
      if (!has_time) break;
      has_time = wait(waiting, timeout, strategy);
    }
    if (batch.empty() && !batch.trouble_) [[unlikely]]
      tell_missed(batch);
    pace_.notice(batch.size(), max_records_, core_->clock());
    if (core_->has_native_handle()) [[unlikely]]
      settle_handle(batch);
    return batch;
  }

  /// One look at every partition, beginning with the one whose turn it is.
  TOWPATH_HOT Look look(Batch<T, S>& batch) {
    look_ = Look::nothing;
    if (!core_->assignment().is_current() && !follow(batch)) [[unlikely]]
      return look_ = Look::failed;
    auto& all = core_->assigned();
    for (std::size_t i = 0; i < all.size(); ++i) {
      const std::size_t at = turn_ + i < all.size() ? turn_ + i : (turn_ + i) % all.size();
      detail::Assigned& assigned = *all[at];
      if (assigned.paused) continue;
      const Look seen = look_at(assigned, batch);
      if (seen == Look::found || seen == Look::failed) [[likely]] {
        turn_ = at + 1;
        return look_ = seen;
      }
      if (seen == Look::blocked) look_ = seen;
    }
    return look_;
  }

  TOWPATH_HOT Look look_at(detail::Assigned& assigned, Batch<T, S>& batch) {
    for (;;) {
      detail::Acceptance<T, S> accept{batch.decoded_, batch.unpacked_, unpacked_, assigned.reader.log(),
                                      core_->config().check_crcs};
      const auto progress = assigned.has_position ? assigned.reader.collect(batch.run_, max_records_, accept)
                                                  : log::Progress::out_of_range;
      if (progress == log::Progress::records) [[likely]] {
        batch.partition_ = assigned.id;
        batch.value_alignment_ = assigned.value_alignment;
        if (assigned.missed != 0) [[unlikely]]
          tell(assigned, batch);
        return Look::found;
      }
      const bool is_blocked = progress == log::Progress::blocked;
      if (is_blocked && assigned.reader.help()) continue;
      if (progress != log::Progress::refused && assigned.reader.log().is_deleted()) [[unlikely]]
        return end_deleted(batch, assigned);
      if (is_blocked || progress == log::Progress::idle) [[likely]]
        return is_blocked ? Look::blocked : Look::nothing;
      if (const auto handled = handle(progress, accept.refusal(), assigned); !handled)
        return end_with(batch, handled.error(), assigned);
    }
  }

  /// Its one Topic is gone: that stays so. One of several: the next look at the catalog drops it, and tells if need be.
  TOWPATH_COLD Look end_deleted(Batch<T, S>& batch, const detail::Assigned& assigned) {
    if (core_->assignment().is_fixed())
      return end_with(batch, {Errc::topic_deleted, "the topic was deleted under this consumer"}, assigned);
    core_->assignment().look_again();
    return Look::nothing;
  }

  /// Takes on topics and partitions that came, lets go of those that went. False if there is something to tell.
  TOWPATH_COLD bool follow(Batch<T, S>& batch) {
    core_->assignment().refresh();
    const auto news = core_->assignment().take_news();
    if (!news) return true;
    batch = failed(news->failure, {}, news->topic);
    return false;
  }

  /// Found nothing: whoever waits for the native handle sleeps now.
  TOWPATH_COLD void settle_handle(const Batch<T, S>& batch) noexcept {
    if (batch.empty() && !batch.trouble_)
      core_->arm(look_ == Look::blocked);
    else
      core_->signal();
  }

  /// What is neither records nor patience. Ok: look again.
  TOWPATH_COLD Result<void> handle(log::Progress progress, const Failure& refusal, detail::Assigned& assigned) {
    if (progress == log::Progress::failed) return assigned.reader.failure();
    if (progress == log::Progress::refused) return refusal;
    if (!assigned.has_position) return Failure{Errc::no_offset, "auto_offset_reset is none and nothing was sought"};
    return core_->return_to_log(assigned);
  }

  /// Until a close look may find something, with glances between. False: the time is over, or wakeup() was called.
  template <class W>
  [[gnu::noinline]] bool wait(Waiting& waiting, Duration timeout, W& strategy) {
    constexpr int glances = 64;  // between close looks
    const Monotonic now = core_->clock().steady();
    if (waiting.deadline == Monotonic{})
      waiting.deadline = now + std::min(timeout, Duration{std::chrono::hours{24 * 365}});
    if (now >= waiting.deadline || core_->take_wakeup()) return false;
    for (int i = 0; i < glances; ++i) {
      if (strategy(waiting.round) == wait::Next::sleep) {
        if (waiting.has_looked) core_->sleep(waiting.deadline - now, look_ == Look::blocked);
        return true;
      }
      ++waiting.round;
      if (!is_quiet()) return true;
    }
    return true;
  }

  /// Retention overtook a partition and nothing new is there: the empty batch says so now, not with the next record.
  TOWPATH_COLD void tell_missed(Batch<T, S>& batch) {
    for (auto& assigned : core_->assigned()) {
      if (assigned->missed == 0 || batch.trouble_) continue;
      batch.trouble_ = std::make_shared<detail::Trouble>(detail::Trouble{{}, {}, assigned->topic->name(), true});
      batch.partition_ = assigned->id;
      return tell(*assigned, batch);
    }
  }

  TOWPATH_COLD void tell(detail::Assigned& assigned, Batch<T, S>& batch) noexcept {
    batch.missed_ = std::exchange(assigned.missed, 0);
    missed_ += batch.missed_;
    if (assigned.topic->seat) assigned.topic->seat->missed(assigned.id.value, batch.missed_);
  }

  [[nodiscard]] TOWPATH_HOT bool is_quiet() const noexcept {
    const auto& all = core_->assigned();
    // First the one whose turn it is: those before it may all have been read to their end.
    if (turn_ < all.size() && !all[turn_]->paused && !all[turn_]->reader.is_quiet()) return false;
    for (const auto& assigned : all)
      if (!assigned->paused && !assigned->reader.is_quiet()) return false;
    return true;
  }

  TOWPATH_COLD Look end_with(Batch<T, S>& batch, const Failure& failure, const detail::Assigned& assigned) {
    batch = failed(failure, Offset{static_cast<std::int64_t>(assigned.reader.cursor())}, assigned.topic->name());
    batch.partition_ = assigned.id;
    return Look::failed;
  }

  TOWPATH_COLD Batch<T, S> failed(const Failure& failure, Offset at, const std::string& topic) {
    trouble_ = std::make_shared<detail::Trouble>(detail::Trouble{failure, at, topic});
    Batch<T, S> batch;
    batch.trouble_ = trouble_;
    return batch;
  }

  /// What keeps this consumer from polling at all.
  TOWPATH_COLD Batch<T, S> refuse() {
    if (!core_) return moved_from();
    if (!core_->bus().is_mine()) return failed({Errc::forked, "the consumer was made before fork()"}, {}, {});
    return again();
  }

  /// The last batch's error was not looked at.
  Batch<T, S> again() {
    [[maybe_unused]] const bool nobody_could_look = std::exchange(ended_iteration_, false);
    TOWPATH_ASSERT(nobody_could_look && "nobody looked at the last batch's error(): do so when a batch is empty");
    Batch<T, S> batch;
    batch.trouble_ = trouble_;
    return batch;
  }

  static Batch<T, S> moved_from() {
    Batch<T, S> batch;
    batch.trouble_ = std::make_shared<detail::Trouble>(detail::Trouble{closed(), {}, {}});
    return batch;
  }

  std::optional<Topic<T, S>> topic_;
  std::size_t max_records_;
  std::size_t turn_ = 0;
  Look look_ = Look::nothing;
  detail::StreamPace pace_;
  log::SharedRecords unpacked_;  // the last record batch: the next poll may go on inside it
};

template <class T, class S>
Consumer(const Topic<T, S, Bus>&) -> Consumer<T, S, Bus>;
template <class T, class S>
Consumer(const Topic<T, S, Bus>&, const ConsumerConfig&) -> Consumer<T, S, Bus>;

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/log/record_batch_builder.hpp ----

// Makes a Kafka record batch, message format 2, byte for byte as Kafka's own clients do: for producers that compress,
// for native records on their way to a client, for transaction markers.
//   RecordBatchBuilder builder;
//   builder.add(now_ms, key, true, value, true).value();
//   Bytes batch = builder.finish(Compression::lz4).value();      // stands in the builder until it is used again
// One thread's. It keeps its memory, so that one builder makes batch after batch without allocating.

namespace towpath::inline TOWPATH_ABI::log {

/// What a batch says about all of its records. -1 is none, as in Kafka.
struct BatchOptions {
  std::int64_t producer_id = -1;  ///< of an idempotent or transactional producer
  std::int16_t producer_epoch = -1;
  std::int32_t base_sequence = -1;
  bool transactional = false;
  bool control = false;                          ///< the record is a transaction marker; see control_key()
  std::optional<std::int64_t> append_time_ms{};  ///< every record gets this time
  std::int64_t base_offset = 0;                  ///< place_batch() changes both later
  std::int32_t leader_epoch = -1;
};

class RecordBatchBuilder {
 public:
  /// Appends a record at the next offset. `timestamp_ms` is in Kafka's milliseconds; a null key or value has no bytes,
  /// whatever is given. message_too_large when a batch cannot hold it (2 GiB); out_of_memory. Then nothing was added.
  Result<void> add(std::int64_t timestamp_ms, Bytes key, bool has_key, Bytes value, bool has_value,
                   std::span<const Header> headers = {}) noexcept {
    const Part part{timestamp_ms, key, value, headers, has_key, has_value};
    std::int64_t delta = 0;
    if (count_ > 0 && __builtin_sub_overflow(timestamp_ms, base_timestamp_ms_, &delta))
      return Failure{Errc::invalid_argument, "the times of two records in a batch lie too far apart"};
    const std::uint64_t body = body_size(part, delta);
    const std::uint64_t size = varint_size(static_cast<std::int64_t>(body)) + body;
    if (size > max_bytes || bytes_.size() + size > max_bytes || next_delta_ == std::numeric_limits<std::int32_t>::max())
      return Failure{Errc::message_too_large, "a record batch holds less than 2 GiB"};
    if (bytes_.size() == 0 && !bytes_.resize(batch_header_bytes)) return no_memory();
    const std::size_t at = bytes_.size();
    if (!bytes_.resize(at + static_cast<std::size_t>(size))) return no_memory();
    write(bytes_.data() + at, part, delta, body);
    note(timestamp_ms);
    return {};
  }

  /// The next record's offset is `offsets` further on: what was there before is gone.
  void skip(std::int32_t offsets = 1) noexcept {
    next_delta_ += std::clamp(offsets, 0, std::numeric_limits<std::int32_t>::max() - next_delta_);
  }

  [[nodiscard]] std::int32_t record_count() const noexcept { return count_; }
  /// How many offsets the batch will take: its records and what was skipped.
  [[nodiscard]] std::int32_t offset_count() const noexcept { return next_delta_; }
  /// How long the batch would be without compression.
  [[nodiscard]] std::size_t size() const noexcept { return std::max(bytes_.size(), batch_header_bytes); }
  [[nodiscard]] bool empty() const noexcept { return next_delta_ == 0; }

  /// Forgets the records, keeps the memory.
  void clear() noexcept {
    bytes_.clear(), packed_.clear();
    count_ = next_delta_ = 0;
  }

  /// The batch, in this builder's memory until it is used again. The records stay: clear() forgets them.
  /// invalid_argument when there is nothing in it; unsupported_compression when this program has no such codec.
  Result<Bytes> finish(Compression compression = Compression::none, const BatchOptions& options = {}) noexcept {
    if (empty()) return Failure{Errc::invalid_argument, "a record batch without records or offsets"};
    if (bytes_.size() == 0 && !bytes_.resize(batch_header_bytes)) return no_memory();
    Buffer* batch = &bytes_;
    if (compression != Compression::none) {
      if (auto packed = pack(compression); !packed) return packed.error();
      batch = &packed_;
    }
    auto header = describe(options);
    header.attributes = static_cast<std::uint16_t>(header.attributes | static_cast<std::uint16_t>(compression));
    header.length = static_cast<std::int32_t>(batch->size() - batch_length_begins);
    header.write(batch->data());
    header.crc = batch_checksum(batch->bytes());
    header.write(batch->data());
    return batch->bytes();
  }

 private:
  static constexpr std::uint64_t max_bytes = 0x7FFF'0000;

  struct Part {
    std::int64_t timestamp_ms;
    Bytes key;
    Bytes value;
    std::span<const Header> headers;
    bool has_key;
    bool has_value;
  };

  static Failure no_memory() noexcept { return {Errc::out_of_memory, "no memory for a record batch"}; }

  static std::uint64_t sized(std::size_t size, bool is_there) noexcept {
    return is_there ? varint_size(static_cast<std::int64_t>(size)) + size : 1;
  }
  static std::byte* put_sized(std::byte* at, Bytes bytes, bool is_there) noexcept {
    at = store_varint(at, is_there ? static_cast<std::int64_t>(bytes.size()) : -1);
    return is_there ? detail::put(at, bytes.data(), bytes.size()) : at;
  }

  [[nodiscard]] std::uint64_t body_size(const Part& part, std::int64_t time_delta) const noexcept {
    std::uint64_t size = 1 + varint_size(time_delta) + varint_size(next_delta_);
    size += sized(part.key.size(), part.has_key) + sized(part.value.size(), part.has_value);
    size += varint_size(static_cast<std::int64_t>(part.headers.size()));
    for (const auto& header : part.headers)
      size += sized(header.key.size(), true) + sized(header.value.size(), !header.is_null);
    return size;
  }

  void write(std::byte* at, const Part& part, std::int64_t time_delta, std::uint64_t body) const noexcept {
    at = store_varint(at, static_cast<std::int64_t>(body));
    *at++ = std::byte{0};  // attributes
    at = store_varint(at, time_delta);
    at = store_varint(at, next_delta_);
    at = put_sized(at, part.key, part.has_key);
    at = put_sized(at, part.value, part.has_value);
    at = store_varint(at, static_cast<std::int64_t>(part.headers.size()));
    for (const auto& header : part.headers) {
      at = put_sized(at, Bytes{header.key}, true);
      at = put_sized(at, header.value, !header.is_null);
    }
  }

  void note(std::int64_t timestamp_ms) noexcept {
    if (count_ == 0) base_timestamp_ms_ = max_timestamp_ms_ = timestamp_ms;
    max_timestamp_ms_ = std::max(max_timestamp_ms_, timestamp_ms);
    ++count_, ++next_delta_;
  }

  [[nodiscard]] RecordBatchHeader describe(const BatchOptions& options) const noexcept {
    RecordBatchHeader header;
    header.base_offset = options.base_offset;
    header.leader_epoch = options.leader_epoch;
    header.attributes = static_cast<std::uint16_t>((options.append_time_ms ? batch_append_time : 0) |
                                                   (options.transactional ? batch_transactional : 0) |
                                                   (options.control ? batch_control : 0));
    header.last_offset_delta = next_delta_ - 1;
    header.base_timestamp_ms = count_ > 0 ? base_timestamp_ms_ : -1;
    header.max_timestamp_ms = options.append_time_ms.value_or(count_ > 0 ? max_timestamp_ms_ : -1);
    header.producer_id = options.producer_id;
    header.producer_epoch = options.producer_epoch;
    header.base_sequence = options.base_sequence;
    header.record_count = count_;
    return header;
  }

  Result<void> pack(Compression compression) noexcept {
    const auto codec = find_codec(compression);
    if (!codec) return codec.error();
    packed_.clear();
    if (!packed_.resize(batch_header_bytes)) return no_memory();
    const Bytes records{bytes_.data() + batch_header_bytes, bytes_.size() - batch_header_bytes};
    if (auto packed = (*codec)->compress(records, packed_); !packed) return packed;
    if (packed_.size() > max_bytes) return Failure{Errc::message_too_large, "a record batch holds less than 2 GiB"};
    return {};
  }

  Buffer bytes_;   // header and records
  Buffer packed_;  // the same, compressed
  std::int64_t base_timestamp_ms_ = 0;
  std::int64_t max_timestamp_ms_ = 0;
  std::int32_t next_delta_ = 0;
  std::int32_t count_ = 0;
};

/// What a control record says: how a transaction ended. Other types are the controller's own; readers skip them.
enum class ControlType : std::int16_t { abort = 0, commit = 1 };

struct ControlRecord {
  std::int16_t type = 0;  ///< a ControlType, or a number of a newer Kafka
  std::int32_t coordinator_epoch = -1;
};

/// Key and value of a transaction marker, ready to be added to a batch with the option `control`.
struct ControlBytes {
  std::byte key[4];
  std::byte value[6];
};

inline ControlBytes control_bytes(ControlType type, std::int32_t coordinator_epoch) noexcept {
  ControlBytes bytes{};  // both versions are 0
  store_big_endian(bytes.key + 2, static_cast<std::int16_t>(type));
  store_big_endian(bytes.value + 2, coordinator_epoch);
  return bytes;
}

/// Reads a record of a control batch. Newer versions may be longer. The epoch is -1 unless it is a commit or an abort.
inline Result<ControlRecord> parse_control(const BatchRecord& record) noexcept {
  ByteReader key{record.key};
  ControlRecord control;
  const auto version = key.number<std::int16_t>();
  control.type = key.number<std::int16_t>();
  if (key.failed() || version < 0) return Failure{Errc::corrupt, "a control record has a key that makes no sense"};
  if (control.type > static_cast<std::int16_t>(ControlType::commit)) return control;
  ByteReader value{record.value};
  const auto value_version = value.number<std::int16_t>();
  control.coordinator_epoch = value.number<std::int32_t>();
  if (value.failed() || value_version < 0 || control.type < 0)
    return Failure{Errc::corrupt, "a transaction marker makes no sense"};
  return control;
}

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/produce/send_options.hpp ----

// What goes with a record beside its value:  producer.send(job, {.key = robot, .headers = {{"source", "plan"}}});
// All views: they must live until send() or loan() returns. So write lists and texts that are made in place into the
// call: a variable, as in  SendOptions o{.headers = {{"a", "b"}}};  keeps a view of a list that is gone behind the
// semicolon. For a variable keep the headers in a std::vector<Header>, and the key's text in a std::string, beside it.

namespace towpath::inline TOWPATH_ABI {

/// A record's key: text, bytes or an integer (2, 4 or 8 bytes, big-endian as Kafka's serializers have it). Records with
/// the same key go to the same partition and keep their order.
class Key {
 public:
  constexpr Key() noexcept = default;  ///< no key
  Key(const char* text) noexcept : view_{std::string_view{text}}, present_{true} {}
  Key(std::string_view text) noexcept : view_{text}, present_{true} {}
  Key(const std::string& text) noexcept : view_{std::string_view{text}}, present_{true} {}
  Key(Bytes bytes) noexcept : view_{bytes}, present_{true} {}
  template <std::integral T>
    requires(sizeof(T) > 1)
  constexpr Key(T number) noexcept : inline_size_{sizeof(T)}, present_{true} {
    const auto bytes = detail::big_endian(number);
    for (std::size_t i = 0; i < sizeof(T); ++i) inline_[i] = bytes[i];
  }

  [[nodiscard]] constexpr bool is_present() const noexcept { return present_; }
  /// Valid while this Key is.
  [[nodiscard]] constexpr Bytes bytes() const noexcept { return inline_size_ ? Bytes{inline_, inline_size_} : view_; }

 private:
  Bytes view_;
  std::byte inline_[8]{};
  std::size_t inline_size_ = 0;
  bool present_ = false;
};

/// The headers of one record, at most 65,535. A view: of braces only until the end of the statement they stand in.
class Headers {
 public:
  constexpr Headers() noexcept = default;
  constexpr Headers(std::initializer_list<Header> list) noexcept : view_{list.begin(), list.size()} {}
  constexpr Headers(std::span<const Header> headers) noexcept : view_{headers} {}
  /// A template, so that braces never mean a vector: {{"a", "b"}} is one header.
  template <std::same_as<std::vector<Header>> Vector>
  Headers(const Vector& headers) noexcept : view_{headers} {}
  [[nodiscard]] constexpr std::span<const Header> view() const noexcept { return view_; }

 private:
  std::span<const Header> view_;
};

struct SendOptions {
  Key key{};
  Headers headers{};
  /// When it happened. Default: now, when it is sent.
  std::optional<Timestamp> timestamp = std::nullopt;
  /// Where to. Default: the producer's partitioner decides.
  std::optional<PartitionId> partition = std::nullopt;
  /// Its number among the records of a Producer that has an id; of a batch, that of the first. Must be higher than all
  /// it sent to the topic so far, else duplicate_sequence; gaps below 2^30 are fine. Default: one more than the last.
  std::optional<std::int32_t> sequence = std::nullopt;
  /// Return only when every reader can see the record, that is, when all before it are resolved. Default: return when
  /// it is in the log; an earlier record of a slow producer may still hold readers up (where durability is each, a send
  /// waits for that in any case). A send that fails while it waits has appended the record nevertheless.
  bool visible = false;
};

namespace detail {

/// What a send without options refers to: none is filled in for each call.
inline constexpr SendOptions no_options{};

}  // namespace detail

/// What a send tells about the record.
struct RecordMetadata {
  PartitionId partition;
  Offset offset;
  Timestamp timestamp;
};

/// What send() returns on any kind of bus: on this host a Result, at once; over a network something to wait for.
template <class D>
concept Delivery = requires(D delivery, void (*callback)(const Result<RecordMetadata>&)) {
  { std::move(delivery).value() } -> std::convertible_to<RecordMetadata>;  // waits; throws Error if it failed
  { delivery.error() } -> std::convertible_to<Failure>;                    // waits
  delivery.ignore();                                                       // on purpose
  delivery.then(callback);                                                 // calls it when it is there
};
static_assert(Delivery<Result<RecordMetadata>>);

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/produce/outgoing.hpp ----

// The records of one send_batch():  producer.send_batch(values)  or, where they differ in more than their value,
//   Outgoing<Pose> some[] = {{&a, "left"}, {&b, "right"}, {nullptr, "gone"}};
//   producer.send_batch(some);
// All views: they must live until send_batch() returns.

namespace towpath::inline TOWPATH_ABI {

/// One record of a batch.
template <class T>
struct Outgoing {
  const T* value = nullptr;  ///< null: a tombstone
  Key key{};
  std::span<const Header> headers{};
  std::optional<Timestamp> timestamp = std::nullopt;  ///< default: the batch's
};

namespace detail {

/// The records of a batch that have all but their values in common.
template <class T>
struct AlikeRecords {
  static constexpr bool are_alike = true;
  std::span<const T> values;
  const SendOptions* options;

  Outgoing<T> operator()(std::size_t i) const noexcept {
    return {&values[i], options->key, options->headers.view(), options->timestamp};
  }
};

/// Records that may differ in everything.
template <class T>
struct OwnRecords {
  static constexpr bool are_alike = false;
  std::span<const Outgoing<T>> records;
  const SendOptions* options;

  Outgoing<T> operator()(std::size_t i) const noexcept {
    Outgoing<T> record = records[i];
    if (!record.timestamp) record.timestamp = options->timestamp;
    return record;
  }
};

}  // namespace detail

/// What send_batch() tells about its records: they have the offsets first to first + count - 1.
struct BatchMetadata {
  PartitionId partition;
  Offset first;
  std::size_t count = 0;
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/produce/fast_path.hpp ----

// The short way of a send: a value of a fixed size with nothing beside it, to the only partition of its topic. What a
// send has to ask first is asked once, and again after the topic's settings changed. One thread's, as the producer is.
// Measured: docs/decisions/0031.

namespace towpath::inline TOWPATH_ABI::detail {

/// Whether values of this type may go that way: of one size that is not large, and encoded without throwing.
template <class T, class S>
inline constexpr bool has_fast_path = [] {
  if constexpr (requires { S::fixed_size; } && !PreparingSerde<S, T>)
    return noexcept(S::encode(std::declval<const T&>(), std::span<std::byte>{})) &&
           S::fixed_size <= log::max_small_frame / 2;
  else
    return false;
}();

class FastPath {
 public:
  FastPath(const log::TopicWords& words, const shm::ForkWatch& watch) noexcept : words_{&words}, watch_{watch} {}

  /// Where to append; null: go the long way.
  [[nodiscard]] TOWPATH_HOT log::Appender* appender() const noexcept {
    // In this order: a child after fork() has no words.
    return watch_.is_mine() && version_ == words_->config_version.load(shm::relaxed) ? appender_ : nullptr;
  }

  /// Were the settings changed since it was armed? Pairs with publish_settings() and publish_partitions().
  [[nodiscard]] bool is_outdated() const noexcept { return version_ != words_->config_version.load(shm::acquire); }

  /// Values of `size` bytes may go to `appender` while the settings are those of `version`; nowhere if it is null.
  void arm(log::Appender* appender, std::uint64_t version, std::uint64_t value_at, std::uint64_t size,
           std::uint64_t alignment) noexcept {
    appender_ = appender, version_ = version;
    value_at_ = value_at, length_ = value_at + size, bytes_ = align_up(length_, alignment);
  }
  void disarm() noexcept { appender_ = nullptr; }

  /// None: nothing was appended, go the long way.
  template <class S, log::Writing how, class T>
  TOWPATH_HOT std::optional<Offset> append(log::Appender& appender, Timestamp time, const T& value) const noexcept {
    log::Reservation room;
    do {
      if (!appender.reserve_here<how>({bytes_, 1}, length_, room)) [[unlikely]]
        return std::nullopt;
      const log::FrameHeader header{0, 0, 0, time.time_since_epoch().count()};
      std::memcpy(room.frame, &header, sizeof header);
      TOWPATH_FAILPOINT("append.half_written");
      S::encode(value, std::span<std::byte>{room.frame + value_at_, static_cast<std::size_t>(length_ - value_at_)});
      TOWPATH_FAILPOINT("append.written");
    } while (!appender.commit<how>(room));
    return room.offset;
  }

 private:
  const log::TopicWords* words_;
  shm::ForkWatch watch_;
  std::uint64_t version_ = ~std::uint64_t{0};
  log::Appender* appender_ = nullptr;
  std::uint64_t value_at_ = 0;
  std::uint64_t length_ = 0;
  std::uint64_t bytes_ = 0;  // of the log
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/log/producer_state.hpp ----

// How far a partition has the records of a producer with an id: what it needs to go on after a restart.
//   auto mark = last_mark(log, pins, 7);      // not present: the log has none of it
// Reads the log backwards by segments until it finds one; waits for open slots like any reader: at once when their
// owner is dead, else for the grace. One thread. What retention removed is not known any more.

namespace towpath::inline TOWPATH_ABI::log {

/// Is sequence number `a` behind `b`? They begin again after 2^31 - 1, so half of them are behind (RFC 1982).
constexpr bool is_after(std::int32_t a, std::int32_t b) noexcept {
  const auto distance = (static_cast<std::uint32_t>(a) - static_cast<std::uint32_t>(b)) & 0x7FFF'FFFFu;
  return distance != 0 && distance < 0x4000'0000u;
}

/// The mark of the last record that `slot` stands for; not present when its producer has no id.
inline ProducerMark mark_of(const Segment& segment, std::uint64_t slot) noexcept {
  if (!segment.contains(slot)) return {};
  const std::byte* frame = segment.data + Slot::position(slot);
  if (BatchFrame::is_one(frame)) {
    BatchFrame found;
    if (!found.parse(frame, Slot::length(slot)) || found.batch.size() < batch_header_bytes) return {};
    const auto header = RecordBatchHeader::read(found.batch.data());
    const ProducerMark first{header.producer_id, header.base_sequence, header.producer_epoch};
    return first.after(static_cast<std::uint64_t>(std::max(header.last_offset_delta, 0)));
  }
  FrameView view;
  return view.parse(frame, Slot::length(slot), 8) ? view.producer() : ProducerMark{};
}

/// The mark of the last record of producer `id` among the offsets from `from` to below `to`, as far as the log goes.
/// Errors: those of mapping.
inline Result<ProducerMark> last_mark_between(const PartitionLog& log, const std::shared_ptr<Pins>& pins,
                                              std::int64_t id, std::uint64_t from, std::uint64_t to) {
  Reader reader{log, pins};
  reader.seek(std::max(from, log.begin()));
  ProducerMark last;
  const auto look = [&](std::uint64_t slot, std::uint64_t, const Segment& segment) noexcept {
    const auto mark = mark_of(segment, slot);
    if (mark.id == id) last = mark;
    return Verdict::take;
  };
  for (Run run; reader.position() < to;) {
    const auto at = reader.collect(run, ~std::uint64_t{0}, look);
    run = Run{};
    if (at == Progress::idle) break;
    if (at == Progress::failed) return reader.failure();
    if (at == Progress::out_of_range) {
      if (reader.position() == log.begin()) return Failure{Errc::corrupt, "a log begins behind its end"};
      reader.seek(log.begin());
    }
    if (at == Progress::blocked && !reader.help()) {
      if (!log.may_help()) break;
      std::this_thread::sleep_for(std::chrono::microseconds{20});
    }
  }
  return last;
}

/// The mark of the last record that producer `id` has in the partition. Looks through the newest segment first: who
/// was here lately is found soon, who never was costs a look at every record. Errors: those of mapping.
inline Result<ProducerMark> last_mark(const PartitionLog& log, const std::shared_ptr<Pins>& pins, std::int64_t id) {
  const std::uint64_t newest = log.state().hint.load(shm::acquire);
  const auto bases = log.bases();
  if (!bases) return bases.error();
  const auto active = pin_segment(log, pins, newest);  // not found: an empty log, or one that has gone on
  if (!active && active.error() != Errc::not_found) return active.error();
  // Whoever asks holds the id, so nothing of it comes behind what is reserved now.
  std::uint64_t to = active ? newest + Tail::count((*active)->header->tail.load(shm::acquire)) : newest;
  for (auto base = bases->rbegin(); base != bases->rend(); ++base) {
    if (*base > newest) continue;  // made later
    const auto found = last_mark_between(log, pins, id, *base, to);
    if (!found || found->is_present()) return found;
    to = *base;
  }
  return ProducerMark{};
}

}  // namespace towpath::inline TOWPATH_ABI::log

// ---- towpath/produce/producer_config.hpp ----

// What a Producer is asked to be:  Producer producer{topic, {.id = 7, .compression = Compression::lz4}};

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

// ---- towpath/produce/identity.hpp ----

// A producer that has an id: one live Producer of a topic at a time, and the sequence number of its next record. The
// kernel frees the id when the process dies, so whoever takes it over finds everything the dead one sent.
// One thread.

namespace towpath::inline TOWPATH_ABI::detail {

class ProducerIdentity {
 public:
  /// Takes the id and reads what the topic has of it. Errors: busy (another live Producer has it), invalid_argument,
  /// and those of mapping.
  static Result<ProducerIdentity> take(TopicFiles& files, std::int64_t id) {
    if (id < 0 || id > ProducerConfig::max_id) return Failure{Errc::invalid_argument, "producer id: 0 to 2^40 - 1"};
    ProducerIdentity identity;
    auto lock = shm::LockDescriptor::open([&] { return files.directory().open("wait", shm::Access::read_write); });
    if (!lock) return lock.error();
    identity.lock_ = std::move(*lock);
    const auto byte = first_byte + static_cast<std::uint64_t>(id);
    if (auto taken = shm::try_lock(identity.lock_.get(), byte, shm::LockKind::write); !taken)
      return taken.error() == Errc::busy ? Failure{Errc::busy, "another live Producer has this id"} : taken.error();
    auto pins = files.open_pins_holder();
    if (!pins) return pins.error();
    identity.last_.id = id;
    for (std::int32_t i = 0; i < files.partitions(); ++i) {
      auto log = files.partition({i});
      if (!log) return log.error();
      const auto found = log::last_mark(**log, *pins, id);
      if (!found) return found.error();
      if (found->is_present() && (!identity.last() || log::is_after(found->sequence, *identity.last())))
        identity.last_ = *found;
    }
    identity.last_.epoch = 0;
    return identity;
  }

  /// The number of the last record that was sent, now or by whoever had the id before; none: the topic has none.
  [[nodiscard]] std::optional<std::int32_t> last() const noexcept {
    return last_.sequence < 0 ? std::nullopt : std::optional{last_.sequence};
  }

  /// The mark of the next record. Errors: duplicate_sequence (not above the last, or 2^30 or more above it),
  /// invalid_argument (a negative number).
  [[nodiscard]] Result<log::ProducerMark> next(std::optional<std::int32_t> wanted) const noexcept {
    if (!wanted) return last() ? last_.after(1) : log::ProducerMark{last_.id, 0, last_.epoch};
    if (*wanted < 0) return Failure{Errc::invalid_argument, "sequence: 0 to 2^31 - 1"};
    if (last() && !log::is_after(*wanted, *last()))
      return Failure{Errc::duplicate_sequence, "the log has it: not above last_sequence(), or 2^30 or more above it"};
    return log::ProducerMark{last_.id, *wanted, last_.epoch};
  }

  void sent(const log::ProducerMark& mark) noexcept { last_ = mark; }

 private:
  static constexpr std::uint64_t first_byte = std::uint64_t{1}
                                              << 40;  // of the topic's wait file, whose data end before

  shm::LockDescriptor lock_;
  log::ProducerMark last_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/shm/tick_clock.hpp ----

// The wall clock by the processor's counter: the same time as Clock::wall in half its time (docs/decisions/0017). It
// asks the real clock every millisecond and goes on from there, so it follows every correction, a step at the next
// asking, is off by 2 us at most between, and never needs a table of frequencies. Where the kernel itself does not
// trust the counter (its clocksource is not tsc), or the caller gave a clock of his own, it is that clock. One thread.

namespace towpath::inline TOWPATH_ABI::shm {

class TickClock {
 public:
  explicit TickClock(const Clock& clock)
      : clock_{clock}, is_trusted_{clock.wall == &Clock::system_wall && is_counter_trusted()} {}

  [[nodiscard]] TOWPATH_HOT Timestamp now() noexcept {
#if defined(__x86_64__)
    const std::uint64_t since = __builtin_ia32_rdtsc() - ticks_;
    if (since < valid_ticks_) [[likely]]
      return at_ + Duration{static_cast<std::int64_t>(since * ns_per_tick_ >> shift)};
    if (is_trusted_) return synchronise();
#endif
    return clock_.wall();
  }

 private:
  static constexpr unsigned shift = 32;
  static constexpr std::int64_t interval_ns = 1'000'000;
  static constexpr std::uint64_t longest_reading = 20'000;  // ticks; a pair read across a preemption is no pair

  static bool is_counter_trusted() {
    static const bool trusted =
        read_proc("/sys/devices/system/clocksource/clocksource0/current_clocksource") == "tsc\n";
    return trusted;
  }

#if defined(__x86_64__)
  /// Reads both clocks as a pair. The rate comes from this pair and one about a millisecond old; until there is one the
  /// real clock answers.
  TOWPATH_COLD Timestamp synchronise() noexcept {
    const std::uint64_t ticks = __builtin_ia32_rdtsc();
    const Timestamp wall = clock_.wall();
    valid_ticks_ = 0;
    if (__builtin_ia32_rdtsc() - ticks > longest_reading) return wall;
    const auto ns = (wall - pair_wall_).count();
    if (ns >= interval_ns / 2 && ns < 100 * interval_ns && ticks > pair_ticks_)
      take_rate((static_cast<std::uint64_t>(ns) << shift) / (ticks - pair_ticks_));
    if (ns >= interval_ns / 2 || ns < 0) pair_wall_ = wall, pair_ticks_ = ticks;
    if (ns_per_tick_ != 0) {
      valid_ticks_ = (std::uint64_t{interval_ns} << shift) / ns_per_tick_;
      at_ = wall, ticks_ = ticks;
    }
    return wall;
  }

  /// Only one that agrees with the one before, to 0.1 %: a step of the wall clock between two readings is no rate.
  void take_rate(std::uint64_t rate) noexcept {
    const std::uint64_t apart = rate > last_rate_ ? rate - last_rate_ : last_rate_ - rate;
    if (apart <= last_rate_ >> 10) ns_per_tick_ = rate;
    last_rate_ = rate;
  }
#endif

  Clock clock_;
  bool is_trusted_;
  std::uint64_t ns_per_tick_ = 0;  // as a fixed-point number
  std::uint64_t last_rate_ = 0;    // found last, good or not
  std::uint64_t valid_ticks_ = 0;  // how long at_ may be gone on from; 0: not at all
  std::uint64_t ticks_ = 0;
  Timestamp at_{};
  std::uint64_t pair_ticks_ = 0;
  Timestamp pair_wall_{};
};

}  // namespace towpath::inline TOWPATH_ABI::shm

// ---- towpath/produce/producer_core.hpp ----

// The part of a Producer that does not know its value type: partitions, reservations, visibility.
// One thread; one open reservation, because a member line has one inflight word.

namespace towpath::inline TOWPATH_ABI::detail {

/// What all records of one send have in common.
struct SendStamp {
  Timestamp time;
  log::ProducerMark first;  ///< of the first record; not present when the producer has no id
};

class ProducerCore {
 public:
  /// Errors: read_only, too_many_members, forked, invalid_argument, unsupported_compression; of an id, and of a topic
  /// whose one partition has one writer: busy and those of mapping.
  static Result<std::unique_ptr<ProducerCore>> open(std::shared_ptr<TopicFiles> files, const ProducerConfig& config,
                                                    std::uint64_t fixed_size) {
    if (auto fine = files->core().usable(); !fine) return fine.error();
    if (!files->is_writable()) return Failure{Errc::read_only, "this process may only read the topic"};
    if (config.max_block < Duration::zero()) return Failure{Errc::invalid_argument, "max_block: 0 or more"};
    if (config.compression != Compression::none)
      if (auto codec = log::find_codec(config.compression); !codec) return codec.error();
    auto member = files->core().claim(shm::MemberKind::producer, files->name());
    if (!member) return member.error();
    auto core =
        std::unique_ptr<ProducerCore>{new ProducerCore{std::move(files), std::move(*member), config, fixed_size}};
    if (core->is_sole_)
      if (auto mine = core->own_only_partition(); !mine) return mine.error();
    if (config.id == ProducerConfig::no_id) return core;
    auto identity = ProducerIdentity::take(*core->files_, config.id);
    if (!identity) return identity.error();
    core->identity_ = std::make_unique<ProducerIdentity>(std::move(*identity));
    core->is_plain_ = false;
    return core;
  }

  [[nodiscard]] TopicFiles& files() const noexcept { return *files_; }
  [[nodiscard]] TOWPATH_HOT Timestamp now() noexcept { return clock_.now(); }
  [[nodiscard]] std::int32_t partitions() const noexcept { return files_->partitions(); }
  [[nodiscard]] const ProducerConfig& config() const noexcept { return config_; }
  [[nodiscard]] std::uint64_t value_alignment() const noexcept { return value_alignment_; }
  [[nodiscard]] std::uint64_t record_alignment() const noexcept { return record_alignment_; }
  /// Null when the producer has no id.
  [[nodiscard]] TOWPATH_HOT ProducerIdentity* identity() const noexcept { return identity_.get(); }
  /// Neither an id nor the only writer: nothing that a send has to look after.
  [[nodiscard]] TOWPATH_HOT bool is_plain() const noexcept { return is_plain_; }
  /// Gives the records of a producer with an id their mark. Errors: duplicate_sequence, invalid_argument.
  TOWPATH_COLD Failure sign(log::ProducerMark& mark, const SendOptions& options) const noexcept {
    const auto next = identity_->next(options.sequence);
    if (next) mark = *next;
    return next.error();
  }
  /// The most that one batch may take of the log, in bytes.
  [[nodiscard]] std::uint64_t max_batch_bytes() const noexcept {
    return files_->words().segment_bytes.load(shm::relaxed);
  }

  /// May a record of this layout be sent now? Errors: forked, loan_open, message_too_large, invalid_argument.
  [[nodiscard]] TOWPATH_HOT Failure refuses(const log::FrameSpec& spec, const log::FrameLayout& layout) const noexcept {
    if (!files_->core().is_mine()) [[unlikely]]
      return {Errc::forked, "the producer was made before fork()"};
    if (has_loan_) [[unlikely]]
      return {Errc::loan_open, "this producer's loan was neither sent nor dropped"};
    if (spec.headers.size() > 65'535) [[unlikely]]
      return {Errc::invalid_argument, "headers: 65,535 at most"};
    // Part by part before the sum, which a size that makes no sense would overflow.
    const std::uint64_t limit = files_->words().max_message_bytes.load(shm::relaxed);
    bool fits = spec.value_size <= limit && spec.key.size() <= limit;
    for (const auto& header : spec.headers) fits = fits && header.key.size() <= limit && header.value.size() <= limit;
    if (!fits || layout.length - layout.value_at > limit) [[unlikely]]
      return {Errc::message_too_large, "value, key and headers together"};
    return {};
  }

  /// The partition's appender. Errors: unknown_partition.
  TOWPATH_HOT Result<log::Appender*> appender(std::int32_t partition) {
    const auto i = static_cast<std::size_t>(partition);
    if (fast_path_.is_outdated()) [[unlikely]]
      arm_fast_path();
    if (i < appenders_.size() && appenders_[i]) [[likely]] {
      touch(partition);
      return appenders_[i].get();
    }
    return make_appender(partition);
  }

  /// Room in the partition's log. In a topic that is on_full = block it waits for the readers,
  /// ProducerConfig::max_block at most. Errors: those of Appender::reserve(), timed_out.
  Result<log::Reservation> reserve(log::Appender& appender, log::Need need, std::uint64_t length) {
    const auto room = appender.reserve(need, length);
    return room ? room : reserve_later(room.error(), appender, need, length);
  }

  /// After an appender's reserve() said `refused`: waits for readers if that is what it takes, else returns it.
  /// A reader moves on when it likes and wakes nobody, so this looks again and again, less and less often.
  TOWPATH_COLD Result<log::Reservation> reserve_later(const Failure& refused, log::Appender& appender, log::Need need,
                                                      std::uint64_t length) {
    if (refused != Errc::queue_full) return refused;
    const auto& clock = files_->core().config().clock;
    const Monotonic begin = clock.steady();
    for (Duration pause = std::chrono::microseconds{20};; pause = std::min(pause * 2, longest_pause)) {
      if (files_->words().on_full.load(shm::relaxed) != static_cast<std::uint64_t>(OnFull::block)) return refused;
      const Duration left = config_.max_block - (clock.steady() - begin);
      if (left <= Duration::zero())
        return Failure{Errc::timed_out, "max_block: a reader of the topic's list did not get on in time"};
      std::this_thread::sleep_for(std::min(pause, left));
      auto room = appender.reserve(need, length);
      if (room || room.error() != Errc::queue_full) return room;
    }
  }

  /// Waits until all below `offset + 1` is resolved; helps like a reader meanwhile, so at most the grace for each
  /// stall.
  Result<void> wait_visible(std::int32_t partition, std::uint64_t offset) {
    auto log = files_->partition({partition});
    if (!log) return log.error();
    if (!pins_) {
      auto pins = files_->open_pins_holder();
      if (!pins) return pins.error();
      pins_ = std::move(*pins);
    }
    log::Reader reader{**log, pins_};
    for (int round = 0; (*log)->state().resolved_to.load(shm::acquire) <= offset; ++round) {
      if ((*log)->is_deleted()) return Failure{Errc::topic_deleted, "the topic was deleted under this producer"};
      if ((*log)->state().log_start.load(shm::acquire) > offset) return {};  // retention took it: nobody waits for it
      auto end = reader.find_end();
      if (!end) return end.error();
      if (end->value > static_cast<std::int64_t>(offset)) return {};
      if (reader.help()) continue;
      if (round > 100) std::this_thread::sleep_for(std::chrono::microseconds{20});
    }
    return {};
  }

  /// Must a send return only when its record is on stable storage?
  [[nodiscard]] TOWPATH_HOT bool is_each_durable() const noexcept {
    return files_->words().durability.load(shm::relaxed) == 2;  // beside max_message_bytes, which refuses() read
  }

  /// What a send waits for: that every reader sees the record, and that it is durable if the topic wants that of each.
  TOWPATH_COLD Result<void> settle(std::int32_t partition, std::uint64_t offset) {
    auto seen = wait_visible(partition, offset);
    return seen && is_each_durable() ? wait_durable(partition, offset) : seen;
  }

  /// Flushes until the record at `offset`, which is visible, is durable. Errors: partition_failed and those of
  /// log::Flusher.
  Result<void> wait_durable(std::int32_t partition, std::uint64_t offset) {
    auto log = files_->partition({partition});
    if (!log) return log.error();
    auto done = log::Flusher{**log, member_}.flush_to(offset + 1);
    // Nobody is to append there. An open loan has the member's hazard words: then maintenance closes it.
    if (done || done.error() != Errc::partition_failed || has_loan_) return done;
    if (auto mine = appender(partition); mine) (*mine)->close();
    return done;
  }

  /// As settle(), for the last record sent to each partition since the last flush, and durable also where maintenance
  /// would flush at its interval.
  Result<void> flush() {
    if (auto fine = files_->core().usable(); !fine) return fine;
    for (std::size_t i = 0; i < last_.size(); ++i) {
      if (last_[i] < 0) continue;
      const auto partition = static_cast<std::int32_t>(i);
      const auto offset = static_cast<std::uint64_t>(last_[i]);
      auto done = wait_visible(partition, offset);
      if (done && files_->words().durability.load(shm::relaxed) != 0) done = wait_durable(partition, offset);
      if (!done) return done;
      last_[i] = -1;
    }
    return {};
  }

  TOWPATH_HOT void sent(std::int32_t partition, Offset offset) noexcept {
    last_[static_cast<std::size_t>(partition)] = offset.value;
  }

  void begin_loan() noexcept { has_loan_ = true, fast_path_.disarm(); }
  void end_loan() noexcept {
    has_loan_ = false;
    if (files_->core().is_mine()) arm_fast_path();
  }

  [[nodiscard]] TOWPATH_HOT const FastPath& fast_path() const noexcept { return fast_path_; }

 private:
  ProducerCore(std::shared_ptr<TopicFiles> files, shm::Member member, const ProducerConfig& config,
               std::uint64_t fixed_size)
      : files_{std::move(files)},
        member_{std::move(member)},
        config_{config},
        clock_{files_->core().config().clock},
        value_alignment_{files_->format().value_alignment},
        record_alignment_{files_->format().record_alignment},
        fixed_size_{fixed_size},
        is_sole_{files_->format().one_writer},
        is_plain_{!is_sole_},
        fast_path_{files_->words(), files_->core().fork_watch()} {}

  /// Which partitions it will write is known only where there is one; of others the first send tells.
  Result<void> own_only_partition() {
    shm::register_for_barriers();  // takes milliseconds the first time: not in the first send
    if (partitions() != 1) return {};
    auto only = appender(0);
    return only ? (*only)->own() : Result<void>{only.error()};
  }

  TOWPATH_COLD Result<log::Appender*> make_appender(std::int32_t partition) {
    auto log = files_->partition({partition});
    if (!log) return log.error();
    const auto i = static_cast<std::size_t>(partition);
    if (i >= appenders_.size()) appenders_.resize(i + 1), last_.resize(i + 1, -1), used_.resize(i + 1, 0);
    appenders_[i] = std::make_unique<log::Appender>(**log, member_, &locks_);
    touch(partition);
    arm_fast_path();
    return appenders_[i].get();
  }

  /// May sends take the short way? Asked when an appender is there, after a loan, and when the settings changed.
  TOWPATH_COLD void arm_fast_path() noexcept {
    const auto& words = files_->words();
    const std::uint64_t version = words.config_version.load(shm::acquire);  // before what it stands for
    const bool may = fixed_size_ != 0 && !identity_ && !has_loan_ && partitions() == 1 && !appenders_.empty() &&
                     !files_->format().checksummed && !is_each_durable() &&
                     fixed_size_ <= words.max_message_bytes.load(shm::relaxed);
    fast_path_.arm(may ? appenders_.front().get() : nullptr, version,
                   align_up(sizeof(log::FrameHeader), value_alignment_), fixed_size_, record_alignment_);
  }

  /// Keeps the number of mapped segments of this producer within its share of the process's maps.
  TOWPATH_HOT void touch(std::int32_t partition) {
    if (appenders_.size() <= max_mapped_) return;
    note_use(static_cast<std::size_t>(partition));
  }

  TOWPATH_COLD void note_use(std::size_t partition) {
    used_[partition] = ++tick_;
    if (appenders_[partition]->segment()) return;  // it maps nothing new
    std::size_t mapped = 0;
    std::size_t oldest = partition;
    for (std::size_t i = 0; i < appenders_.size(); ++i) {
      if (!appenders_[i] || !appenders_[i]->segment()) continue;
      ++mapped;
      if (i != partition && used_[i] < used_[oldest]) oldest = i;
    }
    if (mapped > max_mapped_ && oldest != partition) appenders_[oldest]->park();
  }

  /// A quarter of the maps that the process may have: above that a send to all in turn maps anew each time.
  static std::size_t share_of_maps() {
    static const std::size_t share = std::max<std::size_t>(64, shm::limits().maps / 4);
    return share;
  }
  static constexpr Duration longest_pause{std::chrono::milliseconds{1}};

  std::shared_ptr<TopicFiles> files_;
  shm::Member member_;
  ProducerConfig config_;
  shm::TickClock clock_;
  std::uint64_t value_alignment_;
  std::uint64_t record_alignment_;
  std::uint64_t fixed_size_;  // of the values; 0: none
  bool is_sole_;              // the topic has one writer per partition
  bool is_plain_;
  bool has_loan_ = false;
  std::size_t max_mapped_ = share_of_maps();
  FastPath fast_path_;
  log::WriterLocks locks_;
  std::vector<std::unique_ptr<log::Appender>> appenders_;
  std::vector<std::int64_t> last_;
  std::vector<std::uint64_t> used_;
  std::uint64_t tick_ = 0;
  std::shared_ptr<log::Pins> pins_;
  std::unique_ptr<ProducerIdentity> identity_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/produce/batch_frames.hpp ----

// How the records of one send_batch() become frames: measured first, then written behind each other into one
// reservation. One thread's, for one call; `record(i)` gives the i-th as an Outgoing<T>.

namespace towpath::inline TOWPATH_ABI::detail {

/// Room for what a producer's batches need beside the log, kept from batch to batch.
struct BatchScratch {
  std::vector<std::uint64_t> sizes;  // of the values, for those types where they differ
  log::Buffer prepared;              // the values of a serde that prepares them, behind each other
  log::Buffer value;                 // one value on its way into a record batch
  log::RecordBatchBuilder builder;
};

template <class T, class S, class Records>
class BatchFrames {
 public:
  BatchFrames(const ProducerCore& core, std::size_t count, const Records& record, const SendStamp& stamp,
              BatchScratch& scratch) noexcept
      : core_{&core}, count_{count}, record_{&record}, stamp_{stamp}, scratch_{&scratch} {}

  /// Ok, or why the batch cannot be sent: invalid_argument, message_too_large, and what refuses a single record.
  Failure measure() {
    if (count_ == 0 || count_ > log::max_batch_count)
      return {Errc::invalid_argument, "a batch has 1 to 4,194,304 records"};
    need_.slots = count_;
    if constexpr (are_twins) return measure_twins();
    if constexpr (!has_fixed_size) scratch_->sizes.assign(count_, 0);
    scratch_->prepared.clear();
    for (std::size_t i = 0; i < count_; ++i) {
      const Outgoing<T> record = (*record_)(i);
      if (record.value)
        if (const Failure refused = size_up(*record.value, i); refused.code != Errc::ok) return refused;
      const auto spec = describe(record, i);
      const auto layout = log::FrameLayout::of(spec, core_->value_alignment());
      if (const Failure refused = core_->refuses(spec, layout); refused.code != Errc::ok) return refused;
      if (i == 0) head_length_ = layout.length;
      need_.bytes += align_up(layout.length, core_->record_alignment());
      if (const Failure refused = refuses_all(); refused.code != Errc::ok) return refused;
    }
    return {};
  }

  [[nodiscard]] log::Need need() const noexcept { return need_; }
  [[nodiscard]] std::uint64_t head_length() const noexcept { return head_length_; }

  /// Fills the reservation that was made for need() and head_length().
  void write(const log::Reservation& room, const log::Appender& appender) const {
    std::uint64_t at = 0;
    std::size_t prepared = 0;
    for (std::size_t i = 0; i < (are_twins ? 1 : count_); ++i) {
      const Outgoing<T> record = (*record_)(i);
      const auto spec = describe(record, i);
      const auto layout = log::FrameLayout::of(spec, core_->value_alignment());
      write(room, appender, i, at, spec, layout, record.value, prepared);
      at += align_up(layout.length, core_->record_alignment());
    }
    if constexpr (are_twins) write_twins(room, appender, at);
  }

  /// All records as one Kafka record batch, in the scratch's memory; no bytes if readers would take it for a bomb
  /// (log::unpack_budget): then they are better sent as they are. Errors: unsupported_compression, out_of_memory,
  /// message_too_large.
  Result<Bytes> pack(Compression compression) const {
    auto& builder = scratch_->builder;
    builder.clear();
    std::size_t prepared = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      const Outgoing<T> record = (*record_)(i);
      const auto spec = describe(record, i);
      if (!scratch_->value.resize(static_cast<std::size_t>(spec.value_size)))
        return Failure{Errc::out_of_memory, "no memory for a record batch"};
      if (record.value) encode(*record.value, {scratch_->value.data(), scratch_->value.size()}, prepared);
      if (auto added = builder.add(log::to_kafka_time(spec.timestamp), spec.key, spec.has_key, scratch_->value.bytes(),
                                   spec.has_value, spec.headers);
          !added)
        return added.error();
    }
    log::BatchOptions options;
    if (stamp_.first.is_present()) {
      options.producer_id = stamp_.first.id;
      options.producer_epoch = stamp_.first.epoch;
      options.base_sequence = stamp_.first.sequence;
    }
    const auto packed = builder.finish(compression, options);
    if (!packed || builder.size() - log::batch_header_bytes <= log::unpack_budget(packed->size())) return packed;
    return Bytes{};
  }

 private:
  static constexpr bool has_fixed_size = requires { S::fixed_size; };
  static_assert(!(has_fixed_size && PreparingSerde<S, T>), "a serde prepares values because their sizes differ");
  /// All frames but the first, which says how many they are, have one layout.
  static constexpr bool are_twins = has_fixed_size && Records::are_alike;

  Failure refuses_all() const noexcept {
    if (need_.bytes <= core_->max_batch_bytes() || count_ == 1) return {};
    return {Errc::message_too_large, "a batch is at most segment_bytes; send it in parts"};
  }

  Failure measure_twins() noexcept {
    twin_ = describe((*record_)(0), 0);
    const auto head = log::FrameLayout::of(twin_, core_->value_alignment());
    if (const Failure refused = core_->refuses(twin_, head); refused.code != Errc::ok) return refused;
    head_length_ = head.length;
    twin_.batch_count = 0;
    twin_layout_ = log::FrameLayout::of(twin_, core_->value_alignment());
    need_.bytes = align_up(head.length, core_->record_alignment()) +
                  (count_ - 1) * align_up(twin_layout_.length, core_->record_alignment());
    return refuses_all();
  }

  void write_twins(const log::Reservation& room, const log::Appender& appender, std::uint64_t at) const {
    const std::uint64_t step = align_up(twin_layout_.length, core_->record_alignment());
    auto spec = twin_;
    std::size_t prepared = 0;
    for (std::size_t i = 1; i < count_; ++i, at += step) {
      if (spec.producer.is_present()) spec.producer = stamp_.first.after(i);
      write(room, appender, i, at, spec, twin_layout_, &record_->values[i], prepared);
    }
  }

  /// Record `i`, which stands `at` bytes behind the first.
  TOWPATH_HOT void write(const log::Reservation& room, const log::Appender& appender, std::size_t i, std::uint64_t at,
                         const log::FrameSpec& spec, const log::FrameLayout& layout, const T* value,
                         std::size_t& prepared) const {
    std::byte* frame = room.frame + at;
    log::write_frame(frame, layout, spec);
    if (value) encode(*value, {frame + layout.value_at, static_cast<std::size_t>(spec.value_size)}, prepared);
    if (const auto& segment = appender.segment(); segment.checksummed)
      log::seal_frame(frame, layout.length, segment.uuid, static_cast<std::uint64_t>(room.offset.value) + i);
    TOWPATH_FAILPOINT("batch.half_written");
    if (i > 0) appender.place(room, i, room.position + at, layout.length);
  }

  /// Finds out how large the value of record `i` is. Errors: what its serde refuses it for, out_of_memory.
  Failure size_up([[maybe_unused]] const T& value, [[maybe_unused]] std::size_t i) {
    if constexpr (PreparingSerde<S, T>) {
      const auto prepared = S::prepare(value);
      if (!prepared) return prepared.error();
      const Bytes bytes = prepared->bytes();
      const std::size_t at = scratch_->prepared.size();
      if (!scratch_->prepared.resize(at + bytes.size())) return {Errc::out_of_memory, "no memory for a batch's values"};
      if (!bytes.empty()) std::memcpy(scratch_->prepared.data() + at, bytes.data(), bytes.size());
      scratch_->sizes[i] = bytes.size();
    } else if constexpr (!has_fixed_size) {
      scratch_->sizes[i] = S::size(value);
    }
    return {};
  }

  /// `prepared`: how much of what was prepared is used up.
  void encode(const T& value, std::span<std::byte> out, [[maybe_unused]] std::size_t& prepared) const {
    if constexpr (PreparingSerde<S, T>) {
      if (!out.empty()) std::memcpy(out.data(), scratch_->prepared.data() + prepared, out.size());
      prepared += out.size();
    } else {
      S::encode(value, out);
    }
  }

  log::FrameSpec describe(const Outgoing<T>& record, std::size_t i) const noexcept {
    log::FrameSpec spec;
    spec.has_value = record.value != nullptr;
    if constexpr (has_fixed_size)
      spec.value_size = spec.has_value ? S::fixed_size : 0;
    else
      spec.value_size = scratch_->sizes[i];
    spec.has_key = record.key.is_present();
    spec.key = record.key.bytes();  // a view of the record, which its caller keeps
    spec.headers = record.headers;
    spec.timestamp = record.timestamp.value_or(stamp_.time);
    spec.producer = stamp_.first.after(i);
    if (i == 0) spec.batch_count = static_cast<std::uint32_t>(count_);
    return spec;
  }

  const ProducerCore* core_;
  std::size_t count_;
  const Records* record_;
  SendStamp stamp_;
  BatchScratch* scratch_;
  log::Need need_;
  std::uint64_t head_length_ = 0;
  log::FrameSpec twin_{};
  log::FrameLayout twin_layout_{};
};

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/produce/loan.hpp ----

// A Loan is room in the log itself, to be filled in place:
//   auto loan = producer.loan().value();  fill(*loan);  producer.send(std::move(loan)).value();
// One at a time per Producer, which must outlive it; same thread. A loan that is never sent is skipped by readers.
// Fill it quickly: readers wait for it, and after the topic's grace it is skipped; send() then appends a copy itself,
// so nothing is lost. After a crash the room is skipped at once.

namespace towpath::inline TOWPATH_ABI {

template <class T>
class Loan {
 public:
  Loan(Loan&& other) noexcept
      : core_{std::exchange(other.core_, nullptr)},
        appender_{other.appender_},
        room_{other.room_},
        value_{other.value_},
        partition_{other.partition_},
        mark_{other.mark_},
        timestamp_{other.timestamp_},
        visible_{other.visible_} {}
  Loan& operator=(Loan&&) = delete;
  ~Loan() { drop(); }

  /// The value, uninitialised until you write it.
  T& operator*() const noexcept requires ZeroCopy<T> { return *reinterpret_cast<T*>(value_.data()); }
  T* operator->() const noexcept requires ZeroCopy<T> { return reinterpret_cast<T*>(value_.data()); }
  /// The value's bytes, for sizes chosen by the caller.
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return value_; }

 private:
  template <class, class, class, class>
  friend class Producer;

  Loan(detail::ProducerCore& core, log::Appender& appender, const log::Reservation& room, std::span<std::byte> value,
       std::int32_t partition, const log::ProducerMark& mark, const SendOptions& options) noexcept
      : core_{&core},
        appender_{&appender},
        room_{room},
        value_{value},
        partition_{partition},
        mark_{mark},
        timestamp_{options.timestamp},
        visible_{options.visible} {
    core.begin_loan();
  }

  /// Commits the frame; where its slot was skipped meanwhile, a copy of it at a later offset. Errors: those of
  /// ProducerCore::reserve(), the value is lost then.
  Result<Offset> publish(Timestamp timestamp) noexcept {
    const auto nanoseconds = timestamp.time_since_epoch().count();
    std::memcpy(room_.frame + offsetof(log::FrameHeader, timestamp_ns), &nanoseconds, sizeof nanoseconds);
    log::seal_in(appender_->segment(), room_);
    std::vector<std::byte> copy;
    const bool published = appender_->commit(room_, [&] { copy.assign(room_.frame, room_.frame + room_.length); });
    auto& core = *std::exchange(core_, nullptr);
    core.end_loan();
    if (published) return room_.offset;
    const log::Need need{align_up(copy.size(), core.record_alignment()), 1};
    for (;;) {
      const auto again = core.reserve(*appender_, need, copy.size());
      if (!again) return again.error();
      std::memcpy(again->frame, copy.data(), copy.size());
      log::seal_in(appender_->segment(), *again);
      if (appender_->commit(*again)) return again->offset;
    }
  }

  void drop() noexcept {
    if (!core_) return;
    if (core_->files().core().is_mine()) appender_->abandon(room_);
    core_->end_loan();
  }

  detail::ProducerCore* core_;
  log::Appender* appender_;
  log::Reservation room_;
  std::span<std::byte> value_;
  std::int32_t partition_;
  log::ProducerMark mark_;
  std::optional<Timestamp> timestamp_;
  bool visible_;
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/topic/partitioner.hpp ----

// Which partition a record without an explicit one goes to. A partitioner is any callable as the concept says; it
// belongs to one Producer and may keep state.

namespace towpath::inline TOWPATH_ABI {

struct PartitionRequest {
  Bytes key;
  bool has_key = false;
  std::uint64_t record_bytes = 0;
  std::int32_t partitions = 1;  ///< > 0
};

template <class P>
concept Partitioner = requires(P partitioner, const PartitionRequest& request) {
  { partitioner(request) } -> std::convertible_to<std::int32_t>;  // 0 to partitions - 1, else the send fails
};

namespace detail {

/// Small and fast, not secret (splitmix64, Sebastiano Vigna).
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_{seed} {}
  std::uint64_t operator()() noexcept {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
  }
  std::int32_t below(std::int32_t n) noexcept {
    return static_cast<std::int32_t>((*this)() % static_cast<std::uint64_t>(n));
  }

 private:
  std::uint64_t state_;
};

}  // namespace detail

/// Kafka's: murmur2 of the key; without a key one partition for a while, then another (KIP-480, KIP-794: 16 KiB each).
class DefaultPartitioner {
 public:
  static constexpr std::uint64_t sticky_bytes = 16 * 1024;

  explicit DefaultPartitioner(std::uint64_t seed = 0x746F7770617468) noexcept : random_{seed} {}

  std::int32_t operator()(const PartitionRequest& request) noexcept {
    if (request.has_key)
      return static_cast<std::int32_t>((murmur2(request.key) & 0x7FFF'FFFFu) %
                                       static_cast<std::uint32_t>(request.partitions));
    if (current_ < 0 || current_ >= request.partitions || sent_ >= sticky_bytes) {
      current_ = random_.below(request.partitions);
      sent_ = 0;
    }
    sent_ += request.record_bytes;
    return current_;
  }

 private:
  detail::Random random_;
  std::int32_t current_ = -1;
  std::uint64_t sent_ = 0;
};

/// Any partition, key or not.
class RandomPartitioner {
 public:
  explicit RandomPartitioner(std::uint64_t seed = 0x72616E646F6D) noexcept : random_{seed} {}
  std::int32_t operator()(const PartitionRequest& request) noexcept { return random_.below(request.partitions); }

 private:
  detail::Random random_;
};

static_assert(Partitioner<DefaultPartitioner> && Partitioner<RandomPartitioner>);

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/produce/producer.hpp ----

// A Producer appends records to a topic:  towpath::Producer producer{topic};  producer.send(value).value();
// One thread's; making one costs microseconds (with an id it reads the log), so make one per thread. Any number of
// them, in any number of processes, append to one topic. send() waits for others only where the topic or `visible` asks
// for that. For ZeroCopy values it allocates only when it comes to a partition or a segment for the first time. After a
// crash: what send() returned for is in the log; a send that was cut off is there or is skipped, never half.

namespace towpath::inline TOWPATH_ABI {

template <class T, class S = Serde<T>, class BusType = Bus, class P = DefaultPartitioner>
class Producer;

template <class T, class S, class P>
class Producer<T, S, Bus, P> {
  static_assert(Partitioner<P>, "a partitioner is called with a PartitionRequest and returns a number");

 public:
  /// Throws Error: read_only, too_many_members, forked; for what the config asks: invalid_argument, busy (another live
  /// Producer of the topic has the id, or writes its only partition, which has one writer), unsupported_compression,
  /// and with an id or one writer those of mapping.
  explicit Producer(const Topic<T, S>& topic, P partitioner = P{})
      : Producer{topic, ProducerConfig{}, std::move(partitioner)} {}
  Producer(const Topic<T, S>& topic, const ProducerConfig& config, P partitioner = P{})
      : Producer{open(topic, config, std::move(partitioner)).value()} {}

  /// As the constructors, without exceptions.
  static Result<Producer> open(const Topic<T, S>& topic, P partitioner = P{}) {
    return open(topic, ProducerConfig{}, std::move(partitioner));
  }
  static Result<Producer> open(const Topic<T, S>& topic, const ProducerConfig& config, P partitioner = P{}) {
    auto core = detail::ProducerCore::open(topic.files(), config, schema_of<T, S>().size);
    if (!core) return core.error();
    return Producer{topic, std::move(*core), std::move(partitioner)};
  }

  /// Appends the value. When it returns, the record is in the log and survives this process.
  /// Errors, each with nothing appended: message_too_large, no_space, loan_open, unknown_partition, topic_deleted,
  /// invalid_argument (more than 65,535 headers, or a value that its serde refuses), duplicate_sequence, forked,
  /// closed, corrupt, queue_full and timed_out (a topic that waits for its readers), partition_failed, busy (another
  /// live Producer writes the partition, which has one writer), and those of making and mapping a segment. With
  /// `visible` or durability each also those of flush(): then the record is in the log, and sending it again makes a
  /// second one. Microseconds; milliseconds when it makes a segment's file or room for one (on a disk with flushes).
  /// Waits: on_full = block, max_block at most; `visible` and durability each, the grace for each open record before
  /// it; each also for one or two flushes of the disk.
  TOWPATH_HOT Result<RecordMetadata> send(const T& value,
                                          const SendOptions& options = detail::no_options) noexcept(encodes_quietly) {
    if (!core_) [[unlikely]]
      return closed();
    if constexpr (detail::has_fast_path<T, S>)
      if (&options == &detail::no_options) [[likely]]
        if (auto* appender = core_->fast_path().appender()) [[likely]]
          return core_->is_plain() ? send_fast<log::Writing::shared>(*appender, value)
                                   : send_fast<log::Writing::sole>(*appender, value);
    if (core_->is_plain()) [[likely]]
      return send_as<log::Writing::shared>(value, options);
    if (core_->identity()) return send_as<log::Writing::any>(value, options);
    return send_alone(value, options);
  }

  /// Appends a record without a value: Kafka's tombstone, which says that the key is gone. Errors as send().
  Result<RecordMetadata> send_tombstone(const SendOptions& options) noexcept(chooses_quietly) {
    if (!core_) [[unlikely]]
      return closed();
    log::FrameSpec spec = describe(options);
    spec.has_value = false;
    return append<log::Writing::any>(spec, options, [](std::span<std::byte>) noexcept {});
  }

  /// Appends all the values to one partition in a row, and publishes them at once: a reader sees all of them or none,
  /// whoever is killed when. Cheaper than as many sends. With ProducerConfig::compression they become one Kafka record
  /// batch, whose times are milliseconds. `options` are for every record: its key, its headers, its time.
  /// Errors as send(), appended or not as there; invalid_argument (no record, or more than 4,194,304); out_of_memory,
  /// io_error (a codec failed); message_too_large (together above segment_bytes, packed above max_message_bytes).
  Result<BatchMetadata> send_batch(std::span<const T> values,
                                   const SendOptions& options = detail::no_options) noexcept(encodes_quietly) {
    return send_records(values.size(), options, detail::AlikeRecords<T>{values, &options});
  }
  /// As above, each record with its own key, headers and time. Where no partition is named, the keys must belong to
  /// one: else invalid_argument.
  Result<BatchMetadata> send_batch(std::span<const Outgoing<T>> records,
                                   const SendOptions& options = detail::no_options) noexcept(encodes_quietly) {
    return send_records(records.size(), options, detail::OwnRecords<T>{records, &options});
  }

  /// The sequence number of the last record of this producer's id in the topic, sent by it or by whoever had the id
  /// before; none when the topic has none. Errors: invalid_argument (it has no id), closed.
  [[nodiscard]] Result<std::optional<std::int32_t>> last_sequence() const noexcept {
    if (!core_) return closed();
    if (!core_->identity()) return Failure{Errc::invalid_argument, "last_sequence: this producer has no id"};
    return core_->identity()->last();
  }

  /// A pair of literals is a pair of iterators to std::string, never two values.
  Result<RecordMetadata> send(std::initializer_list<const char*>,
                              const SendOptions& = detail::no_options) requires std::same_as<T, std::string>
  = delete;

  /// Room for one value in the log; key and headers are given now. Errors as send().
  Result<Loan<T>> loan(const SendOptions& options = detail::no_options) noexcept(
      chooses_quietly) requires ZeroCopy<T> && std::same_as<S, Serde<T>> && requires {
    S::alignment;
  }
  { return borrow(sizeof(T), options); }

  /// Room for a value of `size` bytes. Errors as send().
  Result<Loan<T>> loan(std::size_t size,
                       const SendOptions& options = detail::no_options) noexcept(chooses_quietly) requires(!requires {
    S::fixed_size;
  }) {
    return borrow(size, options);
  }

  /// Publishes what was filled in. Errors: closed (sent already), invalid_argument (another producer's loan), forked;
  /// no_space and the like only when the slot had been skipped and the copy finds no room: the value is lost with the
  /// loan. With `visible`, and where durability is each, as send().
  Result<RecordMetadata> send(Loan<T>&& loan) noexcept {
    if (!core_) return closed();
    if (!loan.core_) return Failure{Errc::closed, "this loan was sent already"};
    if (!core_->files().core().is_mine()) return Failure{Errc::forked, "the producer was made before fork()"};
    if (loan.core_ != core_.get()) return Failure{Errc::invalid_argument, "this loan is another producer's"};
    const auto timestamp = loan.timestamp_ ? *loan.timestamp_ : core_->now();
    const auto offset = loan.publish(timestamp);
    if (!offset) return offset.error();
    if (core_->identity()) core_->identity()->sent(loan.mark_);
    return finish({{loan.partition_}, *offset, timestamp}, loan.visible_);
  }

  /// Returns when everything this producer sent can be seen by every reader, at most the grace for each open record of
  /// another producer that is in the way; and, unless the topic's durability is none, when it is on stable storage.
  /// Errors: topic_deleted, forked, closed, corrupt, partition_failed (seen, but maybe not durable), those of mapping.
  Result<void> flush() noexcept { return core_ ? core_->flush() : closed(); }

  [[nodiscard]] const Topic<T, S>& topic() const noexcept { return topic_; }

 private:
  static constexpr bool chooses_quietly = noexcept(std::declval<P&>()(std::declval<const PartitionRequest&>()));
  static constexpr bool encodes_quietly = chooses_quietly && [] {
    if constexpr (PreparingSerde<S, T>)
      return noexcept(S::prepare(std::declval<const T&>()));
    else
      return noexcept(S::encode(std::declval<const T&>(), std::span<std::byte>{}))&& noexcept(
          S::size(std::declval<const T&>()));
  }();

  static Failure closed() noexcept { return {Errc::closed, "this producer was moved from"}; }

  Producer(const Topic<T, S>& topic, std::unique_ptr<detail::ProducerCore> core, P partitioner)
      : topic_{topic}, core_{std::move(core)}, partitioner_{std::move(partitioner)} {}

  TOWPATH_HOT log::FrameSpec describe(const SendOptions& options) const noexcept {
    log::FrameSpec spec;
    spec.has_key = options.key.is_present();
    spec.key = options.key.bytes();
    spec.headers = options.headers.view();
    spec.timestamp = options.timestamp ? *options.timestamp : core_->now();
    return spec;
  }

  TOWPATH_HOT Result<std::int32_t> choose(const log::FrameSpec& spec, const SendOptions& options,
                                          std::uint64_t bytes) noexcept(chooses_quietly) {
    const std::int32_t count = core_->partitions();
#pragma GCC diagnostic push
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12 sees the value of an optional that has none
#endif
    if (options.partition) return in_range(options.partition->value, count);
#pragma GCC diagnostic pop
    if (count == 1) [[likely]]
      return 0;
    return in_range(static_cast<std::int32_t>(partitioner_(PartitionRequest{spec.key, spec.has_key, bytes, count})),
                    count);
  }
  static Result<std::int32_t> in_range(std::int32_t partition, std::int32_t count) noexcept {
    if (partition >= 0 && partition < count) return partition;
    return Failure{Errc::unknown_partition, "the topic has fewer partitions"};
  }

  template <log::Writing how>
  TOWPATH_HOT Result<RecordMetadata> send_fast(log::Appender& appender, const T& value) noexcept {
    const Timestamp time = core_->now();
    const auto offset = core_->fast_path().template append<S, how>(appender, time, value);
    if (!offset) [[unlikely]]
      return send_slowly(value);
    core_->sent(0, *offset);
    return RecordMetadata{{0}, *offset, time};
  }
  [[gnu::noinline, gnu::cold]] Result<RecordMetadata> send_slowly(const T& value) noexcept {
    return send_as<log::Writing::any>(value, detail::no_options);
  }

  template <log::Writing how>
  TOWPATH_HOT Result<RecordMetadata> send_as(const T& value, const SendOptions& options) noexcept(encodes_quietly) {
    log::FrameSpec spec = describe(options);
    if constexpr (PreparingSerde<S, T>) {
      const auto prepared = S::prepare(value);
      if (!prepared) return prepared.error();
      const Bytes bytes = prepared->bytes();
      spec.value_size = bytes.size();
      return append<how>(spec, options, [&](std::span<std::byte> out) noexcept { Serde<Bytes>::encode(bytes, out); });
    } else {
      spec.value_size = S::size(value);
      return append<how>(spec, options, [&](std::span<std::byte> out) { S::encode(value, out); });
    }
  }

  /// Apart, so that a call of send() does not hold both. Hot, although that call takes it for unlikely.
  [[gnu::noinline, gnu::hot]] Result<RecordMetadata> send_alone(const T& value,
                                                                const SendOptions& options) noexcept(encodes_quietly) {
    return send_as<log::Writing::sole>(value, options);
  }

  template <log::Writing how, class Encode>
  TOWPATH_HOT Result<RecordMetadata> append(const log::FrameSpec& spec, const SendOptions& options,
                                            const Encode& encode) noexcept(encodes_quietly) {
    if constexpr (how == log::Writing::any)
      if (core_->identity()) return append_signed(spec, options, encode);
    return append_as<how>(spec, options, encode, [] {});
  }

  /// Apart, so that a producer without id keeps what it writes in registers.
  template <class Encode>
  [[gnu::noinline]] Result<RecordMetadata> append_signed(log::FrameSpec spec, const SendOptions& options,
                                                         const Encode& encode) noexcept(encodes_quietly) {
    if (const Failure refused = core_->sign(spec.producer, options); refused.code != Errc::ok) return refused;
    return append_as<log::Writing::any>(spec, options, encode, [&] { core_->identity()->sent(spec.producer); });
  }

  /// `committed()` is called when the record is in the log, whatever is waited for then.
  template <log::Writing how, class Encode, class Committed>
  TOWPATH_HOT Result<RecordMetadata> append_as(const log::FrameSpec& spec, const SendOptions& options,
                                               const Encode& encode,
                                               const Committed& committed) noexcept(encodes_quietly) {
    const auto layout = log::FrameLayout::of(spec, core_->value_alignment());
    if (const Failure refused = core_->refuses(spec, layout); refused.code != Errc::ok) [[unlikely]]
      return refused;
    const auto partition = choose(spec, options, layout.length);
    if (!partition) [[unlikely]]
      return partition.error();
    const auto found = core_->appender(*partition);
    if (!found) [[unlikely]]
      return found.error();
    log::Appender& appender = **found;
    const log::Need need{align_up(layout.length, core_->record_alignment()), 1};
    for (;;) {
      auto room = appender.template reserve<how>(need, layout.length);
      if (!room) [[unlikely]]
        if (room = core_->reserve_later(room.error(), appender, need, layout.length); !room) return room.error();
      log::RoomGuard guard{&appender, &*room};
      log::write_frame(room->frame, layout, spec);
      TOWPATH_FAILPOINT("append.half_written");
      encode(std::span<std::byte>{room->frame + layout.value_at, static_cast<std::size_t>(spec.value_size)});
      log::seal_in(appender.segment(), *room);
      TOWPATH_FAILPOINT("append.written");
      guard.appender = nullptr;
      if (!appender.template commit<how>(*room)) [[unlikely]]
        continue;
      committed();
      return finish({{*partition}, room->offset, spec.timestamp}, options.visible);
    }
  }

  /// The one partition of a batch. Errors: unknown_partition, invalid_argument (its keys belong to several).
  template <class Records>
  Result<std::int32_t> choose_for(std::size_t count, const SendOptions& options, std::uint64_t bytes,
                                  const Records& record) noexcept(chooses_quietly) {
    std::int32_t chosen = -1;
    const bool is_open = !options.partition && core_->partitions() > 1;
    for (std::size_t i = 0; i < (is_open ? count : 1); ++i) {
      const Outgoing<T> one = record(i);
      if (i > 0 && !one.key.is_present()) continue;
      log::FrameSpec spec;
      spec.has_key = one.key.is_present(), spec.key = one.key.bytes();
      const auto partition = choose(spec, options, bytes);
      if (!partition) return partition;
      if (i > 0 && *partition != chosen)
        return Failure{Errc::invalid_argument, "the keys of a batch belong to several partitions; name one"};
      chosen = *partition;
    }
    return chosen;
  }

  template <class Records>
  Result<BatchMetadata> send_records(std::size_t count, const SendOptions& options,
                                     const Records& record) noexcept(encodes_quietly) {
    if (!core_) [[unlikely]]
      return closed();
    detail::SendStamp stamp{core_->now(), {}};
    if (core_->identity())
      if (const Failure refused = core_->sign(stamp.first, options); refused.code != Errc::ok) return refused;
    if (!scratch_) scratch_ = std::make_unique<detail::BatchScratch>();
    detail::BatchFrames<T, S, Records> frames{*core_, count, record, stamp, *scratch_};
    if (const Failure refused = frames.measure(); refused.code != Errc::ok) return refused;
    const auto partition = choose_for(count, options, frames.need().bytes, record);
    if (!partition) return partition.error();
    const auto found = core_->appender(*partition);
    if (!found) return found.error();
    const auto room = core_->config().compression == Compression::none ? append_plain(**found, frames)
                                                                       : append_packed(**found, frames);
    if (!room) return room.error();
    if (core_->identity()) core_->identity()->sent(stamp.first.after(count - 1));
    const Offset last{room->offset.value + static_cast<std::int64_t>(count) - 1};
    if (auto seen = finish({{*partition}, last, stamp.time}, options.visible); !seen) return seen.error();
    return BatchMetadata{{*partition}, room->offset, count};
  }

  template <class Frames>
  Result<log::Reservation> append_plain(log::Appender& appender, const Frames& frames) noexcept(encodes_quietly) {
    for (;;) {
      const auto room = core_->reserve(appender, frames.need(), frames.head_length());
      if (!room) return room;
      log::RoomGuard guard{&appender, &*room};
      frames.write(*room, appender);
      TOWPATH_FAILPOINT("batch.written");
      guard.appender = nullptr;
      if (appender.commit(*room)) return room;
    }
  }

  /// As one Kafka record batch: one frame, and a slot for each of its offsets.
  template <class Frames>
  Result<log::Reservation> append_packed(log::Appender& appender, const Frames& frames) noexcept(encodes_quietly) {
    const auto batch = frames.pack(core_->config().compression);
    if (!batch) return batch.error();
    if (batch->empty()) return append_plain(appender, frames);
    const std::uint64_t length = log::BatchFrame::batch_at + batch->size();
    if (batch->size() > core_->files().words().max_message_bytes.load(shm::relaxed))
      return Failure{Errc::message_too_large, "the packed batch exceeds max_message_bytes"};
    const log::Need need{align_up(length, core_->record_alignment()), frames.need().slots};
    const auto newest = log::from_kafka_time(log::RecordBatchHeader::read(batch->data()).max_timestamp_ms);
    for (;;) {
      const auto room = core_->reserve(appender, need, length);
      if (!room) return room;
      log::BatchFrame::write(room->frame, static_cast<std::uint32_t>(need.slots), newest, *batch);
      log::place_batch(room->frame + log::BatchFrame::batch_at, room->offset.value, 0);
      log::seal_in(appender.segment(), *room);
      for (std::uint64_t i = 1; i < need.slots; ++i) appender.place(*room, i, room->position, length);
      TOWPATH_FAILPOINT("batch.written");
      if (appender.commit(*room)) return room;
    }
  }

  TOWPATH_HOT Result<RecordMetadata> finish(const RecordMetadata& sent, bool visible) noexcept {
    core_->sent(sent.partition.value, sent.offset);
    if (visible || core_->is_each_durable()) [[unlikely]]
      if (auto done = core_->settle(sent.partition.value, static_cast<std::uint64_t>(sent.offset.value)); !done)
        return done.error();
    return sent;
  }

  Result<Loan<T>> borrow(std::size_t size, const SendOptions& options) noexcept(chooses_quietly) {
    if (!core_) [[unlikely]]
      return closed();
    log::FrameSpec spec = describe(options);
    spec.value_size = size;
    if (core_->identity())
      if (const Failure refused = core_->sign(spec.producer, options); refused.code != Errc::ok) return refused;
    const auto layout = log::FrameLayout::of(spec, core_->value_alignment());
    if (const Failure refused = core_->refuses(spec, layout); refused.code != Errc::ok) return refused;
    const auto partition = choose(spec, options, layout.length);
    if (!partition) return partition.error();
    const auto found = core_->appender(*partition);
    if (!found) return found.error();
    const auto room = core_->reserve(**found, {align_up(layout.length, core_->record_alignment()), 1}, layout.length);
    if (!room) return room.error();
    log::write_frame(room->frame, layout, spec);
    return Loan<T>{*core_, **found, *room, {room->frame + layout.value_at, size}, *partition, spec.producer, options};
  }

  Topic<T, S> topic_;
  std::unique_ptr<detail::ProducerCore> core_;
  P partitioner_;
  std::unique_ptr<detail::BatchScratch> scratch_;
};

template <class T, class S>
Producer(const Topic<T, S, Bus>&) -> Producer<T, S, Bus, DefaultPartitioner>;
template <class T, class S>
Producer(const Topic<T, S, Bus>&, const ProducerConfig&) -> Producer<T, S, Bus, DefaultPartitioner>;
template <class T, class S, class P>
Producer(const Topic<T, S, Bus>&, const ProducerConfig&, P) -> Producer<T, S, Bus, P>;
template <class T, class S, class P>
Producer(const Topic<T, S, Bus>&, P) -> Producer<T, S, Bus, P>;

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/core/kafka_error.hpp ----

// What Kafka calls an error of ours: the number and name that its protocol and its clients have for it.
//   if (auto done = admin.create_topic(name, config); !done) reply(kafka_error(done.error()).number);
// Kafka's protocol has fewer words than the machine has ways to fail, so several codes share one; docs/kafka.md has the
// table. Constant functions of their argument: thread-safe.

namespace towpath::inline TOWPATH_ABI {

struct KafkaError {
  std::int16_t number = 0;
  std::string_view name = "NONE";

  friend constexpr bool operator==(const KafkaError&, const KafkaError&) noexcept = default;
};

namespace detail {

struct KafkaErrorOf {
  Errc code;
  KafkaError error;
};

inline constexpr KafkaError kafka_unknown{-1, "UNKNOWN_SERVER_ERROR"};
inline constexpr KafkaError kafka_out_of_range{1, "OFFSET_OUT_OF_RANGE"};
inline constexpr KafkaError kafka_unknown_topic{3, "UNKNOWN_TOPIC_OR_PARTITION"};
inline constexpr KafkaError kafka_try_again{7, "REQUEST_TIMED_OUT"};
inline constexpr KafkaError kafka_unauthorized{29, "TOPIC_AUTHORIZATION_FAILED"};
inline constexpr KafkaError kafka_invalid_config{40, "INVALID_CONFIG"};
inline constexpr KafkaError kafka_storage{56, "KAFKA_STORAGE_ERROR"};
inline constexpr KafkaError kafka_invalid_record{87, "INVALID_RECORD"};

inline constexpr KafkaErrorOf kafka_errors[] = {
    {Errc::ok, {0, "NONE"}},
    {Errc::invalid_argument, {42, "INVALID_REQUEST"}},
    {Errc::invalid_name, {17, "INVALID_TOPIC_EXCEPTION"}},
    {Errc::unknown_topic, kafka_unknown_topic},
    {Errc::unknown_partition, kafka_unknown_topic},
    {Errc::topic_exists, {36, "TOPIC_ALREADY_EXISTS"}},
    {Errc::topic_deleted, kafka_unknown_topic},
    {Errc::config_mismatch, kafka_invalid_config},
    {Errc::type_mismatch, kafka_invalid_record},
    {Errc::message_too_large, {10, "MESSAGE_TOO_LARGE"}},
    {Errc::loan_open, kafka_unknown},
    {Errc::no_group, {24, "INVALID_GROUP_ID"}},
    {Errc::no_offset, kafka_out_of_range},
    {Errc::offset_out_of_range, kafka_out_of_range},
    {Errc::not_assigned, kafka_unknown},
    {Errc::invalid_pattern, {128, "INVALID_REGULAR_EXPRESSION"}},
    {Errc::queue_full, {44, "POLICY_VIOLATION"}},
    {Errc::duplicate_sequence, {46, "DUPLICATE_SEQUENCE_NUMBER"}},
    {Errc::unsupported_compression, {76, "UNSUPPORTED_COMPRESSION_TYPE"}},
    {Errc::undecodable, kafka_invalid_record},
    {Errc::corrupt, {2, "CORRUPT_MESSAGE"}},
    {Errc::newer_format, {35, "UNSUPPORTED_VERSION"}},
    {Errc::log_truncated, kafka_out_of_range},
    {Errc::not_found, kafka_storage},
    {Errc::already_exists, kafka_storage},
    {Errc::permission_denied, kafka_unauthorized},
    {Errc::not_a_directory, kafka_storage},
    {Errc::unsafe_directory, kafka_unauthorized},
    {Errc::unsupported_filesystem, kafka_storage},
    {Errc::no_space, kafka_storage},
    {Errc::out_of_memory, kafka_storage},
    {Errc::too_many_files, kafka_storage},
    {Errc::too_many_maps, kafka_storage},
    {Errc::too_many_members, kafka_unknown},
    {Errc::partition_failed, kafka_storage},
    {Errc::io_error, kafka_storage},
    {Errc::unsupported_platform, kafka_unknown},
    {Errc::recovery_needed, kafka_storage},
    {Errc::recovery_in_progress, {5, "LEADER_NOT_AVAILABLE"}},
    {Errc::read_only, kafka_unauthorized},
    {Errc::forked, kafka_unknown},
    {Errc::closed, kafka_unknown},
    {Errc::busy, kafka_try_again},
    {Errc::fenced, {22, "ILLEGAL_GENERATION"}},
    {Errc::timed_out, kafka_try_again},
};

/// Fields whose wrong values Kafka calls INVALID_CONFIG. The detail of an invalid_argument begins with the field.
inline constexpr std::string_view config_fields[] = {
    "segment_bytes", "max_message_bytes", "retention",  "grace",    "record_alignment",
    "on_full",       "readers",           "durability", "flush.ms", "cleanup.policy",
    "segment.bytes", "max.message.bytes", "towpath.",   "property", "writers"};

}  // namespace detail

/// By the code alone: invalid_argument is INVALID_REQUEST, whatever the argument was.
constexpr KafkaError kafka_error(Errc code) noexcept {
  for (const auto& known : detail::kafka_errors)
    if (known.code == code) return known.error;
  return detail::kafka_unknown;
}

/// As above; a refused number of partitions is INVALID_PARTITIONS and another refused setting INVALID_CONFIG.
constexpr KafkaError kafka_error(const Failure& failure) noexcept {
  if (failure.code != Errc::invalid_argument) return kafka_error(failure.code);
  const std::string_view detail = failure.detail;
  if (detail.starts_with("partitions")) return {37, "INVALID_PARTITIONS"};
  for (const auto field : detail::config_fields)
    if (detail.starts_with(field)) return detail::kafka_invalid_config;
  return kafka_error(failure.code);
}

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/topic/config_changes.hpp ----

// A topic's settings by Kafka's property names, one at a time: what Admin's describe_configs and alter_configs do.
//   admin.alter_configs("pose", {{"retention.ms", "60000"}, {.name = "retention.bytes", .operation =
//   ConfigOperation::remove}})
// Stateless, so thread-safe; who reads, changes and writes a topic's settings holds its lock meanwhile (Catalog::edit).

namespace towpath::inline TOWPATH_ABI {

/// Kafka's AlterConfigOp, with its numbers.
enum class ConfigOperation : std::int8_t {
  set = 0,
  remove = 1,    ///< Kafka's DELETE: back to the default
  append = 2,    ///< adds names to a list; only towpath.readers is one
  subtract = 3,  ///< takes names out of a list
};

struct ConfigChange {
  std::string name;     ///< a Kafka property, or one that begins with "towpath."
  std::string value{};  ///< as the config file has it; not looked at for remove
  ConfigOperation operation = ConfigOperation::set;
};

struct ConfigEntry {
  std::string name;
  std::string value;
  std::string default_value;  ///< what a topic gets that is made here and now without this setting
  bool is_default = false;    ///< whether both are the same
  bool is_read_only = false;  ///< fixed when the topic is created
};

namespace detail {

struct TopicProperty {
  std::string_view name;
  const char* rule;  ///< what a failure says; begins with the name
  bool is_read_only = false;
  bool is_list = false;
};

inline constexpr std::array<TopicProperty, 12> topic_properties{{
    {"cleanup.policy", "cleanup.policy: delete (this version does not compact)"},
    {"retention.bytes", "retention.bytes: -1 (unlimited) or above 0"},
    {"retention.ms", "retention.ms: -1 (unlimited) or 1 to 9223372036854"},
    {"segment.bytes", "segment.bytes: 262144 (256 KiB) to 4294967296 (4 GiB), and no less than max.message.bytes"},
    {"max.message.bytes", "max.message.bytes: 1 to segment.bytes, and below 2 GiB"},
    {"flush.ms", "flush.ms: 1 to 86400000"},
    {"towpath.durability", "towpath.durability: none, interval or each; only none in memory and on tmpfs"},
    {"towpath.on.full", "towpath.on.full: drop_oldest, block or fail"},
    {"towpath.readers", "towpath.readers: 16 names at most, comma-separated, each as a topic's and once", false, true},
    {"towpath.grace.ms", "towpath.grace.ms: 1 to 3600000"},
    {"towpath.record.alignment", "towpath.record.alignment: 8, 16, 32 or 64, fixed when a topic is created", true},
    {"towpath.writers", "towpath.writers: many or one, fixed when a topic is created", true},
}};

inline const TopicProperty* find_property(std::string_view name) noexcept {
  for (const auto& property : topic_properties)
    if (property.name == name) return &property;
  return nullptr;
}

/// The config file's text with another value for one property.
inline std::string with_property(const std::string& text, std::string_view name, std::string_view value) {
  const auto line = "\n" + std::string{name} + "=";
  const auto at = text.find(line);
  if (at == std::string::npos) return text;
  const auto from = at + line.size();
  return text.substr(0, from) + std::string{value} + text.substr(text.find('\n', from));
}

inline std::string property_of(const StoredConfig& stored, std::string_view name) {
  return PropertyReader{to_text(stored)}.text(std::string{name}.c_str());
}

/// The names of `list` with those of `other` added or taken out.
inline std::string changed_list(const std::string& list, const std::string& other, ConfigOperation operation) {
  const auto names = ReaderList::of(list);
  const auto changes = ReaderList::of(other);
  if (!changes.is_valid()) return other;  // is refused as a value
  ReaderList changed = operation == ConfigOperation::append ? names : ReaderList{};
  for (std::size_t i = 0; operation == ConfigOperation::append && i < changes.size(); ++i) changed.add(changes[i]);
  for (std::size_t i = 0; operation == ConfigOperation::subtract && i < names.size(); ++i)
    if (!changes.contains(names[i])) changed.add(names[i]);
  return changed.is_valid() ? std::string{changed.text()} : list + "," + other;
}

/// The changes of one request to one topic, judged together: the order of properties in it does not matter.
class ConfigChanges {
 public:
  explicit ConfigChanges(std::span<const ConfigChange> changes, bool is_new_topic = false) noexcept
      : changes_{changes}, is_new_{is_new_topic} {}

  /// What the settings become. `settle` decides what depends on where the bus lies. Errors: invalid_argument (a name
  /// that is none, twice or no list; a value that is refused, with its rule), config_mismatch (fixed at creation).
  template <class Settle>
  [[nodiscard]] Result<TopicConfig> apply(const StoredConfig& now, const StoredConfig& defaults,
                                          const Settle& settle) const {
    if (auto fine = check_names(); !fine) return fine.error();
    const auto all = attempt(changes_, now, defaults, settle);
    if (all) return *all;
    for (std::size_t i = 0; i < changes_.size(); ++i)  // who is to blame?
      if (!attempt(changes_.subspan(i, 1), now, defaults, settle)) return refused(changes_[i]);
    return Failure{Errc::invalid_argument, "property values that do not fit each other: see max.message.bytes"};
  }

 private:
  [[nodiscard]] Result<void> check_names() const noexcept {
    for (std::size_t i = 0; i < changes_.size(); ++i) {
      const auto* property = find_property(changes_[i].name);
      if (!property) return Failure{Errc::invalid_argument, "property: topics have none of that name"};
      if (property->is_read_only && !is_new_) return Failure{Errc::config_mismatch, property->rule};
      const bool edits_list = changes_[i].operation > ConfigOperation::remove;
      if (changes_[i].operation > ConfigOperation::subtract || changes_[i].operation < ConfigOperation::set)
        return Failure{Errc::invalid_argument, "property: an operation that is none of set, remove, append, subtract"};
      if (edits_list && !property->is_list)
        return Failure{Errc::invalid_argument, "property: append and subtract are for lists"};
      for (std::size_t k = 0; k < i; ++k)
        if (changes_[k].name == changes_[i].name)
          return Failure{Errc::invalid_argument, "property: named twice in one request"};
    }
    return {};
  }

  static Failure refused(const ConfigChange& change) noexcept {
    return {Errc::invalid_argument, find_property(change.name)->rule};
  }

  /// None if the file's parser refuses it, or makes something else of a value than what was asked for.
  template <class Settle>
  static std::optional<TopicConfig> attempt(std::span<const ConfigChange> changes, const StoredConfig& now,
                                            const StoredConfig& defaults, const Settle& settle) {
    std::string text = to_text(now);
    std::vector<std::string> values;
    for (const auto& change : changes) {
      auto& value = values.emplace_back(change.value);
      if (change.operation == ConfigOperation::remove) value = property_of(defaults, change.name);
      if (change.operation > ConfigOperation::remove)
        value = changed_list(property_of(now, change.name), change.value, change.operation);
      if (value.find('\n') != std::string::npos) return std::nullopt;
      text = with_property(text, change.name, value);
    }
    auto parsed = parse_config(text);
    if (!parsed) return std::nullopt;
    parsed->config.partitions = now.config.partitions;
    parsed->config = settle(parsed->config);
    for (std::size_t i = 0; i < changes.size(); ++i)
      if (property_of(*parsed, changes[i].name) != values[i]) return std::nullopt;
    return parsed->config;
  }

  std::span<const ConfigChange> changes_;
  bool is_new_;
};

inline std::vector<ConfigEntry> config_entries(const StoredConfig& now, const StoredConfig& defaults) {
  std::vector<ConfigEntry> entries;
  PropertyReader values{to_text(now)};
  PropertyReader usual{to_text(defaults)};
  for (const auto& property : topic_properties) {
    const std::string name{property.name};
    auto value = values.text(name.c_str());
    auto default_value = usual.text(name.c_str());
    const bool is_default = value == default_value;
    entries.push_back({name, std::move(value), std::move(default_value), is_default, property.is_read_only});
  }
  return entries;
}

}  // namespace detail

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/topic/admin_types.hpp ----

// What Admin is asked with and what it answers: plain values that keep nothing of the bus.

namespace towpath::inline TOWPATH_ABI {

struct NewTopic {
  std::string name;
  TopicConfig config{};
  std::vector<ConfigChange> configs{};  ///< settings by Kafka's property names, in place of what `config` says
};

/// What became of one of several topics: a value or why not, the others' fate is their own.
template <class T = void>
struct TopicOutcome {
  std::string topic;
  Result<T> result;
};

struct AdminOptions {
  /// Only say whether it would be done; change nothing. Default false.
  bool validate_only = false;
};

/// What there is to know about a topic.
struct TopicDescription {
  std::string name;
  std::string id;  ///< 32 hexadecimal digits; another one after the topic was deleted and made again
  TopicConfig config;
  std::string type_name;
  std::string encoding;
  std::uint64_t type_size = 0;
  std::uint64_t type_alignment = 1;
};

/// Which offset of a partition.
struct OffsetSpec {
  enum class Kind {
    earliest,       ///< the first record that can be read
    latest,         ///< behind the last record that can be read
    max_timestamp,  ///< the earliest record with the highest timestamp
    at,             ///< the earliest record as late as a time
  };
  Kind kind = Kind::latest;
  Timestamp time{};

  static constexpr OffsetSpec earliest() noexcept { return {Kind::earliest, {}}; }
  static constexpr OffsetSpec latest() noexcept { return {Kind::latest, {}}; }
  static constexpr OffsetSpec max_timestamp() noexcept { return {Kind::max_timestamp, {}}; }
  static constexpr OffsetSpec for_timestamp(Timestamp at) noexcept { return {Kind::at, at}; }
};

struct ListedOffset {
  PartitionId partition;
  std::optional<Offset> offset = std::nullopt;        ///< none: there is no such record
  std::optional<Timestamp> timestamp = std::nullopt;  ///< of that record; none for earliest and latest, as in Kafka
};

/// Deletes what stands before an offset.
struct RecordsToDelete {
  PartitionId partition;
  Offset before;
};

/// Kafka's -1: everything that can be read now.
inline constexpr Offset all_records{log::up_to_the_end};

struct DeletedRecords {
  PartitionId partition;
  Result<Offset> low_watermark;  ///< the first offset that is left
};

/// Somebody who has a line in the bus's member table.
struct ClusterMember {
  enum class Kind { producer = 1, consumer = 2, maintenance = 3 };
  Kind kind = Kind::maintenance;
  std::uint32_t pid = 0;  ///< for people: in a container it is the container's
  std::string name;       ///< the topic, or what is maintained; 27 characters at most
};

struct ClusterDescription {
  std::string cluster_id;  ///< 32 hexadecimal digits, made with the bus
  std::int32_t node_id = 0;
  /// Whoever maintains the bus; none if nobody does, or if this process may only read, for then it cannot ask.
  std::optional<ClusterMember> controller = std::nullopt;
  /// Alive now; empty if this process may only read.
  std::vector<ClusterMember> members = {};
  std::size_t topics = 0;
  std::size_t partitions = 0;
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/topic/cluster.hpp ----

// Who takes part in a bus, for people: its id, who maintains it, who produces and consumes.
// Thread-safe and process-safe; a look at words that others change, so true for a moment only.

namespace towpath::inline TOWPATH_ABI::detail {

/// The member in line `i`, if it lives.
inline std::optional<ClusterMember> cluster_member(const shm::Members& members, unsigned i) {
  const auto& line = members.line(i);
  const std::uint32_t kind = line.kind.load(shm::acquire);
  if (kind < 1 || kind > 3 || !members.is_alive(i)) return std::nullopt;
  ClusterMember member{static_cast<ClusterMember::Kind>(kind), line.pid.load(shm::relaxed), {}};
  for (const char c : line.name) {
    if (c == '\0') break;
    member.name += c >= ' ' && c <= '~' ? c : '?';
  }
  return member;
}

/// Errors: corrupt (meta.properties), not_found, those of listing a folder.
inline Result<ClusterDescription> describe_cluster(Catalog& catalog) {
  const auto& core = *catalog.core();
  const auto text = shm::read_file(core.directory(), "meta.properties", 64 * 1024);
  if (!text) return text.error();
  PropertyReader properties{*text};
  ClusterDescription found;
  found.cluster_id = properties.text("cluster.id");
  found.node_id = static_cast<std::int32_t>(properties.number("node.id"));
  if (!properties.is_whole()) return Failure{Errc::corrupt, "meta.properties lacks cluster.id or node.id"};
  const auto names = catalog.names();
  if (!names) return names.error();
  for (const auto& name : *names) {
    const auto topic = catalog.open(name);
    if (!topic) continue;  // deleted meanwhile, or damaged: who names it is told
    ++found.topics;
    found.partitions += static_cast<std::size_t>((*topic)->partitions());
  }
  const auto* members = core.members();
  if (!members) return found;
  for (unsigned i = 0; i < members->used(); ++i)
    if (auto member = cluster_member(*members, i)) found.members.push_back(std::move(*member));
  const std::uint32_t maintainer = core.control().maintainer.load(shm::acquire);
  if (maintainer != 0 && maintainer <= shm::max_members) found.controller = cluster_member(*members, maintainer - 1);
  return found;
}

}  // namespace towpath::inline TOWPATH_ABI::detail

// ---- towpath/topic/admin.hpp ----

// Admin looks after the topics of a bus, with the calls of Kafka's AdminClient: create, list, describe, alter, grow,
// delete, delete records, list offsets, describe the cluster. Thread-safe and process-safe; every change is whole or
// not at all, whoever dies in the middle. Calls for several topics go on after one that fails.
// kafka_error(failure) of core/kafka_error.hpp says what Kafka calls a failure.

namespace towpath::inline TOWPATH_ABI {

class Admin {
 public:
  explicit Admin(const Bus& bus) noexcept : bus_{bus} {}

  // ---- topics

  /// Makes a topic of untyped bytes; a typed one is made by Topic<T>{bus, name, config}.
  /// What `config` asks for and cannot be had here, as durability in memory, is made to fit without a word.
  /// Errors: topic_exists, invalid_name, invalid_argument, no_space, read_only, permission_denied, forked,
  /// too_many_members.
  Result<void> create_topic(std::string_view name, const TopicConfig& config = {}, const AdminOptions& options = {}) {
    if (auto fine = usable(); !fine) return fine;
    if (options.validate_only) return bus_.catalog().check_new(std::string{name}, config);
    return bus_.catalog().create(std::string{name}, config, schema_of<Bytes, Serde<Bytes>>());
  }
  /// What is set by property name (NewTopic::configs) is taken as it is or refused, as durability in memory is. Errors
  /// as above; invalid_argument also for a name that is no property's, or is there twice.
  Result<void> create_topic(const NewTopic& topic, const AdminOptions& options = {}) {
    if (auto fine = usable(); !fine) return fine;
    if (auto fine = bus_.catalog().check_new(topic.name, topic.config); !fine) return fine;
    const auto config = settings_of(topic);
    return config ? create_topic(topic.name, *config, options) : config.error();
  }
  std::vector<TopicOutcome<>> create_topics(const std::vector<NewTopic>& topics, const AdminOptions& options = {}) {
    return each(topics, [&](const NewTopic& topic) { return create_topic(topic, options); });
  }

  /// Sorted by name. Errors: those of listing a folder.
  [[nodiscard]] Result<std::vector<std::string>> list_topics() const {
    if (auto fine = usable(); !fine) return fine.error();
    return bus_.catalog().names();
  }

  /// Errors: unknown_topic, invalid_name, corrupt, newer_format.
  [[nodiscard]] Result<TopicDescription> describe_topic(std::string_view name) const {
    if (auto fine = usable(); !fine) return fine.error();
    auto files = bus_.catalog().open(std::string{name});
    if (!files) return files.error();
    auto stored = detail::Catalog::settings(**files);
    if (!stored) return stored.error();
    return TopicDescription{(*files)->name(), stored->id,        stored->config,        stored->type_name,
                            stored->encoding, stored->type_size, stored->type_alignment};
  }
  [[nodiscard]] std::vector<TopicOutcome<TopicDescription>> describe_topics(
      const std::vector<std::string>& names) const {
    return each<TopicDescription>(names, [&](const std::string& name) { return describe_topic(name); });
  }

  /// Grows a topic to `partitions`. Records with a key may go elsewhere from then on, as in Kafka.
  /// Errors: unknown_topic, invalid_argument (fewer than now), busy, no_space, read_only.
  Result<void> create_partitions(std::string_view name, std::int32_t partitions, const AdminOptions& options = {}) {
    if (auto fine = usable(); !fine) return fine;
    return bus_.catalog().grow(std::string{name}, partitions, options.validate_only);
  }

  /// Its records are gone; whoever has it open gets topic_deleted. Errors: unknown_topic, invalid_name, corrupt,
  /// newer_format, read_only, forked, too_many_members, and those of the system.
  Result<void> delete_topic(std::string_view name) {
    return usable() ? bus_.catalog().remove(std::string{name}) : usable();
  }
  std::vector<TopicOutcome<>> delete_topics(const std::vector<std::string>& names) {
    return each(names, [&](const std::string& name) { return delete_topic(name); });
  }

  // ---- settings

  /// Changes retention, max_message_bytes, segment_bytes, on_full, readers, durability and grace, for all processes at
  /// once, all of them: a field that is left out gets its default, so begin with describe_topic(name).config, or use
  /// alter_configs(). `partitions` is the topic's count or left out. Errors: unknown_topic, invalid_argument,
  /// config_mismatch (alignment), busy, read_only, forked, no_space (nothing was changed).
  Result<void> alter_topic(std::string_view name, const TopicConfig& config) {
    return usable() ? bus_.catalog().alter(std::string{name}, config) : usable();
  }

  /// Every setting by its Kafka name. Errors as describe_topic().
  [[nodiscard]] Result<std::vector<ConfigEntry>> describe_configs(std::string_view name) const {
    if (auto fine = usable(); !fine) return fine.error();
    auto files = bus_.catalog().open(std::string{name});
    if (!files) return files.error();
    const auto stored = detail::Catalog::settings(**files);
    if (!stored) return stored.error();
    return detail::config_entries(*stored, defaults_of(*stored));
  }

  /// Changes only what is named (Kafka's IncrementalAlterConfigs), all of it or nothing; others may alter the topic at
  /// the same time. Errors: unknown_topic, invalid_argument (a name or a value, with its rule), config_mismatch (fixed
  /// at creation), busy, read_only, forked, no_space.
  Result<void> alter_configs(std::string_view name, const std::vector<ConfigChange>& changes,
                             const AdminOptions& options = {}) {
    if (auto fine = usable(); !fine) return fine;
    const auto change = [&](const detail::StoredConfig& now) {
      const auto settle = [&](const TopicConfig& config) { return bus_.catalog().settle(config, Schema{}); };
      return detail::ConfigChanges{changes}.apply(now, defaults_of(now), settle);
    };
    return bus_.catalog().edit(std::string{name}, change, options.validate_only);
  }

  // ---- records

  /// Deletes a partition's records before an offset, or all that can be read for all_records; what is deleted already
  /// stays so. Returns the first offset that is left. Readers below it are moved on as by retention. Room comes back
  /// with whole segments, and the last one stays. Errors: unknown_topic, invalid_name, unknown_partition,
  /// offset_out_of_range, read_only, forked, too_many_members, topic_deleted, corrupt, newer_format, those of mapping:
  /// nothing was deleted. io_error: they are deleted, but a power cut may bring them back.
  Result<Offset> delete_records(std::string_view name, PartitionId partition, Offset before) {
    auto place = find(name, partition);
    if (!place) return place.error();
    if (!place->files->is_writable()) return Failure{Errc::read_only, "this process may only read the topic"};
    const auto member = bus_.core()->claim(shm::MemberKind::maintenance, "delete records");
    if (!member) return member.error();
    return log::delete_records(*place->log, place->pins, *member, before.value);
  }
  std::vector<DeletedRecords> delete_records(std::string_view name, const std::vector<RecordsToDelete>& wanted) {
    std::vector<DeletedRecords> done;
    for (const auto& one : wanted) done.push_back({one.partition, delete_records(name, one.partition, one.before)});
    return done;
  }

  /// An offset of a partition, and the record's timestamp where one was looked for by time.
  /// Errors: unknown_topic, invalid_name, unknown_partition, corrupt, newer_format, forked, those of mapping.
  [[nodiscard]] Result<ListedOffset> list_offset(std::string_view name, PartitionId partition,
                                                 const OffsetSpec& spec) const {
    auto place = find(name, partition);
    if (!place) return place.error();
    if (spec.kind == OffsetSpec::Kind::earliest)
      return ListedOffset{partition, Offset{static_cast<std::int64_t>(place->log->begin())}};
    if (spec.kind == OffsetSpec::Kind::latest) {
      const auto end = log::Reader{*place->log, place->pins}.find_end();
      return end ? Result<ListedOffset>{ListedOffset{partition, *end}} : end.error();
    }
    const auto claimed = bus_.core()->claim(shm::MemberKind::maintenance, "list offsets");
    const auto* member = claimed ? &*claimed : nullptr;  // without a line no time index is left behind
    const auto found = spec.kind == OffsetSpec::Kind::max_timestamp
                           ? log::newest_record(*place->log, place->pins, member)
                           : log::record_for_time(*place->log, place->pins, member, spec.time);
    if (!found) return found.error();
    return *found ? ListedOffset{partition, (*found)->offset, (*found)->timestamp} : ListedOffset{partition};
  }
  /// The same of every partition, in order.
  [[nodiscard]] Result<std::vector<ListedOffset>> list_offsets(std::string_view name, const OffsetSpec& spec) const {
    if (auto fine = usable(); !fine) return fine.error();
    const auto files = bus_.catalog().open(std::string{name});
    if (!files) return files.error();
    std::vector<ListedOffset> offsets;
    for (std::int32_t i = 0; i < (*files)->partitions(); ++i) {
      auto offset = list_offset(name, {i}, spec);
      if (!offset) return offset.error();
      offsets.push_back(*offset);
    }
    return offsets;
  }

  // ---- the bus

  /// Its id, who maintains it, who takes part, how much there is. Errors: corrupt, forked, those of listing a folder.
  [[nodiscard]] Result<ClusterDescription> describe_cluster() const {
    if (auto fine = usable(); !fine) return fine.error();
    return detail::describe_cluster(bus_.catalog());
  }

 private:
  struct Place {
    std::shared_ptr<detail::TopicFiles> files;
    const log::PartitionLog* log;
    std::shared_ptr<log::Pins> pins;
  };

  [[nodiscard]] Result<void> usable() const noexcept { return bus_.core()->usable(); }

  [[nodiscard]] Result<Place> find(std::string_view name, PartitionId partition) const {
    if (auto fine = usable(); !fine) return fine.error();
    auto files = bus_.catalog().open(std::string{name});
    if (!files) return files.error();
    const auto log = (*files)->partition(partition);
    if (!log) return log.error();
    auto pins = (*files)->open_pins_holder();
    if (!pins) return pins.error();
    return Place{std::move(*files), *log, std::move(*pins)};
  }

  [[nodiscard]] Result<TopicConfig> settings_of(const NewTopic& topic) const {
    if (topic.configs.empty()) return topic.config;
    detail::StoredConfig now;
    now.config = topic.config;
    // As small as fits any segment, until it is known how large these are.
    const bool is_size_open = topic.config.max_message_bytes == 0;
    if (is_size_open) now.config.max_message_bytes = log::first_segment_bytes;
    const auto settle = [&](const TopicConfig& config) { return bus_.catalog().settle(config, Schema{}); };
    now.config = settle(now.config);
    auto config = detail::ConfigChanges{topic.configs, true}.apply(now, now, settle);
    const bool is_size_set = std::any_of(topic.configs.begin(), topic.configs.end(),
                                         [](const auto& change) { return change.name == "max.message.bytes"; });
    if (config && is_size_open && !is_size_set) config->max_message_bytes = 0;
    return config;
  }

  /// What the topic would be like if it were made here and now without settings; records as large as it can take now.
  [[nodiscard]] detail::StoredConfig defaults_of(const detail::StoredConfig& stored) const {
    auto defaults = stored;
    const auto fitting = bus_.catalog().settle(TopicConfig{.segment_bytes = stored.config.segment_bytes}, Schema{});
    defaults.config = bus_.catalog().settle(TopicConfig{}, Schema{{}, {}, 0, stored.type_alignment});
    defaults.config.max_message_bytes = fitting.max_message_bytes;
    return defaults;
  }

  static const std::string& name_of(const NewTopic& topic) noexcept { return topic.name; }
  static const std::string& name_of(const std::string& name) noexcept { return name; }

  template <class T = void, class Topics, class Do>
  static std::vector<TopicOutcome<T>> each(const Topics& topics, const Do& act) {
    std::vector<TopicOutcome<T>> outcomes;
    for (const auto& topic : topics) outcomes.push_back({name_of(topic), act(topic)});
    return outcomes;
  }

  Bus bus_;
};

}  // namespace towpath::inline TOWPATH_ABI

// ---- towpath/topic/partition.hpp ----

// A Partition<T> is a read-only look at one partition: where its log begins and ends, how much room it takes. It moves
// nobody's position and pins nothing while it is not asked. Thread-safe. In a child after fork() its plain values are
// 0.

namespace towpath::inline TOWPATH_ABI {

/// Counted since the partition was made; for people, a crash may lose the last few.
struct PartitionCounters {
  std::uint64_t dropped = 0;   ///< offsets that retention removed
  std::uint64_t aborted = 0;   ///< offsets without a record: their producer died, froze or dropped a loan, or a segment
                               ///< was closed before it was full
  std::uint64_t rolls = 0;     ///< segments begun after the first
  std::uint64_t recycled = 0;  ///< segments that became spares
  std::uint64_t fresh = 0;     ///< segments made from new files
  std::uint64_t unlinked = 0;  ///< segments removed without recycling
  std::uint64_t waits = 0;     ///< times a consumer whose first partition this is went to sleep
};

template <class T, class S = Serde<T>>
class Partition {
 public:
  /// Errors: unknown_partition.
  static Result<Partition> open(const Topic<T, S>& topic, PartitionId id) {
    if (auto fine = topic.files()->core().usable(); !fine) return fine.error();
    auto log = topic.files()->partition(id);
    if (!log) return log.error();
    return Partition{topic, *log, id};
  }

  [[nodiscard]] PartitionId id() const noexcept { return id_; }

  /// The first offset that can still be read.
  [[nodiscard]] Offset begin_offset() const noexcept {
    if (!is_mine()) return {};
    return {static_cast<std::int64_t>(log_->begin())};
  }

  /// The offset after the last record below which every record is committed or aborted. Errors: those of mapping.
  [[nodiscard]] Result<Offset> end_offset() const {
    if (auto fine = topic_.files()->core().usable(); !fine) return fine.error();
    auto pins = topic_.files()->open_pins_holder();
    if (!pins) return pins.error();
    return log::Reader{*log_, std::move(*pins)}.find_end();
  }

  /// Bytes of the live segments' files.
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return is_mine() ? log_->state().live_bytes.load(shm::relaxed) : 0;
  }

  /// How many live segments there are. Errors: those of listing a folder.
  [[nodiscard]] Result<std::size_t> segments() const {
    if (auto fine = topic_.files()->core().usable(); !fine) return fine.error();
    const auto bases = log_->bases();
    if (!bases) return bases.error();
    return bases->size();
  }

  [[nodiscard]] PartitionCounters counters() const noexcept {
    if (!is_mine()) return {};
    const auto& state = log_->state();
    const auto read = [](const shm::Word64& word) { return word.load(shm::relaxed); };
    return {read(state.dropped), read(state.aborted),  read(state.rolls), read(state.recycled),
            read(state.fresh),   read(state.unlinked), read(state.waits)};
  }

 private:
  /// False in a child after fork(), where nothing is mapped: plain values are then zero, results say forked.
  [[nodiscard]] bool is_mine() const noexcept { return topic_.files()->core().is_mine(); }

  Partition(Topic<T, S> topic, const log::PartitionLog* log, PartitionId id)
      : topic_{std::move(topic)}, log_{log}, id_{id} {}

  Topic<T, S> topic_;
  const log::PartitionLog* log_;
  PartitionId id_;
};

}  // namespace towpath::inline TOWPATH_ABI
