// Retention by bytes for whoever makes a segment: maintenance normally does it, but the log stays bounded without; and
// what a topic that waits for its readers allows.
#pragma once

#include <optional>

#include <towpath/log/recycling.hpp>

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
