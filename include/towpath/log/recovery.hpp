// After a restart of the machine a log holds what the disk happened to keep: pages of any age, in any mixture.
// LogRecovery cuts a partition back to its longest whole prefix, which holds all that was durable, and sets its words
// anew. One process does it, alone: nobody has the partition mapped. It may die between any two steps; the next one
// begins again and comes to the same end.
// What it relies on, because it was flushed before anything was built on it (docs/protocol.md, "Recovery"): the state
// block's uid; log_start, which is flushed before a segment goes; durable_to, which is stored after the flush that it
// speaks of. All else is judged by what is there: headers, seals, checksums keyed by incarnation and offset.
#pragma once

#include <towpath/log/flushing.hpp>
#include <towpath/log/frame.hpp>
#include <towpath/log/rolling.hpp>

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
