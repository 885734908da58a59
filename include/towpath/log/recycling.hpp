// How a segment leaves the log (protocol.md, R1 to R8): log_start passes it, one process takes the file by rename, and
// if nobody can still touch it, it becomes a pre-faulted spare for a later segment; in doubt it is unlinked and lives
// as long as somebody maps it. Nobody ever waits for anybody. Any process may die between any two steps; the next
// maintenance goes on from what stands on disk.
#pragma once

#include <cstring>

#include <towpath/log/flushing.hpp>
#include <towpath/log/helping.hpp>

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
