// Making a partition's records survive a power cut (docs/protocol.md, "Flushing"): every segment that was written since
// the last flush reaches stable storage, then the word durable_to says how far that goes.
//   Flusher{log, member}.flush_to(offset + 1)     // returns when the record at `offset` is durable
// Any number of threads and processes may want it at once: one flushes for all that is there, the others wait for it.
// Nobody waits long for one that died or stands still: its claim is taken over, and flushing twice is harmless.
// After a crash of the process durable_to is too low, never too high. An I/O error makes the partition fail: read-only.
#pragma once

#include <towpath/log/partition_log.hpp>
#include <towpath/shm/wake.hpp>

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
