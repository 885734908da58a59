// Deleting records on request, from a log's begin up to an offset (Kafka's DeleteRecords). The offset may lie inside a
// segment, where log_start may not: every step of the protocol that asks "is this segment retired?" compares its base
// with log_start. So the request raises a word of its own, which only readers look at, and whole segments below it are
// retired like any others: docs/decisions/0025. Thread-safe and process-safe. After a crash the records are deleted or
// not, as the word says; maintenance retires what is left.
#pragma once

#include <towpath/log/reader.hpp>
#include <towpath/log/retention.hpp>

namespace towpath::inline TOWPATH_ABI::log {

inline constexpr std::int64_t up_to_the_end = -1;  ///< as Kafka's DeleteRecords has it: the high watermark

/// How many slots the segment at `base` has, if it may go and every record in it is deleted. Else 0.
inline std::uint64_t deleted_slots(const PartitionLog& log, std::uint64_t base) {
  const std::uint64_t deleted = log.state().deleted_to.load(shm::acquire);
  if (base >= deleted) return 0;
  const std::uint64_t count = retirable_slots(log, base);
  return base + count <= deleted ? count : 0;
}

/// Deletes the records before an offset, or all that can be read now for up_to_the_end. Less than what is deleted
/// already changes nothing. Returns the log's begin. `member` is the caller's and has nothing reserved. Errors:
/// offset_out_of_range (negative, or past the last record that can be read), topic_deleted, corrupt, newer_format,
/// those of mapping; io_error when they are deleted, but a power cut may bring them back.
inline Result<Offset> delete_records(const PartitionLog& log, const std::shared_ptr<Pins>& pins,
                                     const shm::Member& member, std::int64_t before) {
  if (log.is_deleted()) return Failure{Errc::topic_deleted, "the topic was deleted under this handle"};
  const auto end = Reader{log, pins}.find_end();  // raises resolved_to
  if (!end) return end.error();
  if (before < up_to_the_end)
    return Failure{Errc::offset_out_of_range, "before: an offset, or -1 for all that can be read"};
  if (before > end->value) return Failure{Errc::offset_out_of_range, "before: past the last record that can be read"};
  const auto wanted = static_cast<std::uint64_t>(before == up_to_the_end ? end->value : before);
  log.state().deleted_to.raise_to(wanted, shm::seq_cst);  // pairs with begin() and Reader::collect()
  TOWPATH_FAILPOINT("delete_records.raised");
  if (auto kept = log.directory().flush("state"); !kept) return kept.error();  // a power cut does not bring them back
  const auto bases = log.bases();
  for (std::size_t i = 0; bases && i < bases->size(); ++i) {
    const std::uint64_t count = deleted_slots(log, (*bases)[i]);
    if (count == 0) break;
    Recycler{&log, &member}.retire((*bases)[i], count);
  }
  return Offset{static_cast<std::int64_t>(log.begin())};
}

}  // namespace towpath::inline TOWPATH_ABI::log
