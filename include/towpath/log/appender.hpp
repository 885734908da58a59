// An Appender writes records at the end of one partition (protocol.md RESERVE, WRITE, COMMIT).
// It belongs to one thread, like the member line it uses; any number of them append to one partition at a time.
// append() never blocks on another process: a reservation is one fetch_add, a commit one compare-and-swap. Once per
// segment it makes or finds the next file. After a crash the one open reservation is aborted by whoever it holds up.
// In a topic with one writer both are stores (log/sole_writer.hpp), and a second live writer is told `busy`.
#pragma once

#include <towpath/log/frame.hpp>
#include <towpath/log/rolling.hpp>
#include <towpath/log/sole_writer.hpp>

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
