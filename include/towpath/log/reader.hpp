// A Reader walks one partition (protocol.md READ). It belongs to one thread. It pins each segment that it may look
// into. Nothing here blocks: collect() says why there is nothing, and help() does something about a stall. After a
// crash the kernel drops its pins, and nothing else is left.
#pragma once

#include <optional>

#include <towpath/log/batch_head.hpp>
#include <towpath/log/frame.hpp>
#include <towpath/log/helping.hpp>
#include <towpath/log/pin.hpp>

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
