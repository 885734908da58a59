// How far a partition has the records of a producer with an id: what it needs to go on after a restart.
//   auto mark = last_mark(log, pins, 7);      // not present: the log has none of it
// Reads the log backwards by segments until it finds one; waits for open slots like any reader: at once when their
// owner is dead, else for the grace. One thread. What retention removed is not known any more.
#pragma once

#include <thread>

#include <towpath/log/reader.hpp>
#include <towpath/log/record_batch.hpp>

namespace towpath::inline TOWPATH_ABI::log {

/// Is sequence number `a` behind `b`? They begin again after 2^31 - 1, so half of them are behind (RFC 1982).
constexpr bool is_after(std::int32_t a, std::int32_t b) noexcept {
  const auto distance = (static_cast<std::uint32_t>(a) - static_cast<std::uint32_t>(b)) & 0x7FFF'FFFFu;
  return distance != 0 && distance < 0x4000'0000u;
}

/// The mark of the last record that `slot` stands for; not present when its producer has no id.
inline ProducerMark mark_of(const Segment& segment, std::uint64_t slot) noexcept {
  if (!segment.contains(slot)) return {};
  const std::byte* frame = segment.data + Slot::position(slot);
  if (BatchFrame::is_one(frame)) {
    BatchFrame found;
    if (!found.parse(frame, Slot::length(slot)) || found.batch.size() < batch_header_bytes) return {};
    const auto header = RecordBatchHeader::read(found.batch.data());
    const ProducerMark first{header.producer_id, header.base_sequence, header.producer_epoch};
    return first.after(static_cast<std::uint64_t>(std::max(header.last_offset_delta, 0)));
  }
  FrameView view;
  return view.parse(frame, Slot::length(slot), 8) ? view.producer() : ProducerMark{};
}

/// The mark of the last record of producer `id` among the offsets from `from` to below `to`, as far as the log goes.
/// Errors: those of mapping.
inline Result<ProducerMark> last_mark_between(const PartitionLog& log, const std::shared_ptr<Pins>& pins,
                                              std::int64_t id, std::uint64_t from, std::uint64_t to) {
  Reader reader{log, pins};
  reader.seek(std::max(from, log.begin()));
  ProducerMark last;
  const auto look = [&](std::uint64_t slot, std::uint64_t, const Segment& segment) noexcept {
    const auto mark = mark_of(segment, slot);
    if (mark.id == id) last = mark;
    return Verdict::take;
  };
  for (Run run; reader.position() < to;) {
    const auto at = reader.collect(run, ~std::uint64_t{0}, look);
    run = Run{};
    if (at == Progress::idle) break;
    if (at == Progress::failed) return reader.failure();
    if (at == Progress::out_of_range) {
      if (reader.position() == log.begin()) return Failure{Errc::corrupt, "a log begins behind its end"};
      reader.seek(log.begin());
    }
    if (at == Progress::blocked && !reader.help()) {
      if (!log.may_help()) break;
      std::this_thread::sleep_for(std::chrono::microseconds{20});
    }
  }
  return last;
}

/// The mark of the last record that producer `id` has in the partition. Looks through the newest segment first: who
/// was here lately is found soon, who never was costs a look at every record. Errors: those of mapping.
inline Result<ProducerMark> last_mark(const PartitionLog& log, const std::shared_ptr<Pins>& pins, std::int64_t id) {
  const std::uint64_t newest = log.state().hint.load(shm::acquire);
  const auto bases = log.bases();
  if (!bases) return bases.error();
  const auto active = pin_segment(log, pins, newest);  // not found: an empty log, or one that has gone on
  if (!active && active.error() != Errc::not_found) return active.error();
  // Whoever asks holds the id, so nothing of it comes behind what is reserved now.
  std::uint64_t to = active ? newest + Tail::count((*active)->header->tail.load(shm::acquire)) : newest;
  for (auto base = bases->rbegin(); base != bases->rend(); ++base) {
    if (*base > newest) continue;  // made later
    const auto found = last_mark_between(log, pins, id, *base, to);
    if (!found || found->is_present()) return found;
    to = *base;
  }
  return ProducerMark{};
}

}  // namespace towpath::inline TOWPATH_ABI::log
