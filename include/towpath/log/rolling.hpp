// How the chain of segments grows (protocol.md OPEN, NEXT, TAKE): the members of PartitionLog that make files.
// Any process may do any step at any time; renames decide who wins, and the losers' files go away.
#pragma once

#include <towpath/log/retention.hpp>
#include <towpath/shm/folder_hold.hpp>

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
