// How an Appender writes where a partition has one writer at a time: it keeps the tail to itself and publishes it, and
// a commit is a store. No locked instruction per record. docs/protocol.md, "One writer"; docs/decisions/0030. One
// thread's. After a crash the kernel frees the lock, readers give up the open slot as everywhere, and the next writer
// gives up what is left open and goes on behind it.
#pragma once

#include <towpath/log/helping.hpp>
#include <towpath/log/reservation.hpp>
#include <towpath/log/writer_lock.hpp>
#include <towpath/shm/barrier.hpp>

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
