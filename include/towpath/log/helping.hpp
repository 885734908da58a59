// Helping: whoever is held up by an open slot asks the kernel whether its owner still lives, and aborts the slot if
// not; after the grace it aborts anyway. Liveness only decides how soon; the compare-and-swap on the slot decides
// whether. Where a partition has one writer, whose commit is a store, only the dead lose their slots. protocol.md HELP.
#pragma once

#include <towpath/log/partition_log.hpp>

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
