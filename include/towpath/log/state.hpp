// The words of one partition that outlive its segments: topics/<topic>/state (producers write) and topics/<topic>/wait
// (consumers write too). Both files are a header and one block per partition; they grow only at the end (blocks are
// allocated, then the count is published), so a pointer to a block stays good while its mapping is held.
// Every word may be used by any thread and process. After a crash of a process each is what was stored last; the table
// "What a crash leaves" in docs/protocol.md says what that may mean and who puts it right.
#pragma once

#include <bit>
#include <cstddef>
#include <type_traits>

#include <towpath/log/format.hpp>
#include <towpath/shm/member.hpp>

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
