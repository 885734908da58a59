// Retention by bytes for whoever makes a segment: maintenance normally does it, but the log stays bounded without.
#pragma once

#include <towpath/log/recycling.hpp>

namespace towpath::inline TOWPATH_ABI::log {

/// How many slots the segment at `base` has, if it may go: sealed, and the next one is there. Else 0.
inline std::uint64_t retirable_slots(const PartitionLog& log, std::uint64_t base) {
  const std::uint64_t hint = log.state().hint.load(shm::acquire);
  if (base >= hint) return 0;
  const auto segment = log.open(base, Use::append);
  if (!segment) return 0;
  const std::uint64_t count = segment->sealed_count();
  // Somebody else may have retired and re-used it meanwhile: then the count was another incarnation's.
  if (segment->header->base.load(shm::acquire) != base) return 0;
  return base + count <= hint ? count : 0;
}

/// Retires the oldest segments when the log is two segments above its limit, that is, when nobody maintains it in time.
/// The member must have nothing reserved.
inline void enforce_retention(const PartitionLog& log, const shm::Member& member) {
  const std::uint64_t limit = log.words().retention_bytes.load(shm::relaxed);
  const std::uint64_t slack = 2 * log.words().segment_bytes.load(shm::relaxed);
  if (limit == 0 || log.state().live_bytes.load(shm::relaxed) <= limit + slack) return;
  const auto bases = log.bases();
  if (!bases) return;
  // The word only says when to look closer, for a kill may leave it wrong; what goes is decided by what is there.
  std::vector<std::uint64_t> sizes;
  std::uint64_t live = 0;
  for (const std::uint64_t base : *bases) {
    const auto info = log.directory().identify(log.segment_name(base).data());
    live += sizes.emplace_back(info ? info->bytes : 0);
  }
  for (std::size_t i = 0; i < bases->size() && live > limit; live -= sizes[i++]) {
    const std::uint64_t count = retirable_slots(log, (*bases)[i]);
    if (count == 0 || Recycler{&log, &member}.retire((*bases)[i], count) == Retired::no) return;
  }
}

}  // namespace towpath::inline TOWPATH_ABI::log
