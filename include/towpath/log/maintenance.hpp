// What a partition needs now and then, and nobody waits for: sweeping private files of the dead, finishing retirements
// that a dead process began, retention by bytes and age, spares, resolved_to, flushing at intervals. One process does
// it at a time, by a role lock; two at once are harmless. Correctness never depends on it: without it disk and memory
// are given back later, spares are not made (rolls cost milliseconds instead of microseconds), age is not looked at,
// and a topic of durability interval is flushed by Producer::flush() only.
#pragma once

#include <towpath/log/appender.hpp>
#include <towpath/log/deletion.hpp>
#include <towpath/log/reader.hpp>
#include <towpath/log/recycling.hpp>
#include <towpath/log/time_index.hpp>

namespace towpath::inline TOWPATH_ABI::log {

class PartitionMaintenance {
 public:
  static constexpr std::uint64_t wanted_spares = 2;
  static constexpr Duration spares_kept_for{std::chrono::minutes{1}};

  PartitionMaintenance(const PartitionLog& log, shm::Member& member, std::shared_ptr<Pins> pins)
      : log_{&log},
        member_{&member},
        pins_{pins},
        reader_{log, std::move(pins)},
        appender_{log, member},
        recycler_{&log, &member},
        flusher_{log, member},
        clean_at_{log.clock().steady()} {}

  /// One round. A few system calls when nothing is to do; making or cleaning a segment takes milliseconds. The caller
  /// forgets gone segments, once for all its partitions.
  /// Errors: no_space and the like, from making spares; the rest of the round was done.
  Result<void> step() {
    std::uint64_t counted = log_->state().live_bytes.load(shm::seq_cst);
    auto names = log_->directory().list(log_->folder().c_str());
    if (!names) return names.error() == Errc::not_found ? Result<void>{} : names.error();
    const shm::FolderHold hold{log_->directory(), log_->folder()};
    live_.clear(), spares_ = 0;
    for (const auto& name : *names) look_at(name);
    std::sort(live_.begin(), live_.end(), [](const auto& a, const auto& b) { return a.base < b.base; });
    // Puts right what a crash between rename and count left, unless somebody rolled or retired meanwhile. A log without
    // a segment never had one, or it is gone: then the count is all that tells.
    if (!live_.empty()) log_->state().live_bytes.compare_exchange(counted, total(), shm::seq_cst, shm::relaxed);
    finish_retirements();
    retire_deleted();
    if (log_->waits()) WaiterRegistration::sweep(*log_->waits(), *member_);
    const bool has_failed = log_->has_failed();
    if (has_failed) appender_.close();
    if (!has_failed) retire_by_bytes();
    if (!has_failed) retire_by_age();
    const auto active = live_.empty() ? Result<Segment>{Errc::not_found} : log_->open(live_.back().base, Use::append);
    if (active) look_at(*active);
    const std::uint64_t limit = walks_to();
    auto end = reader_.find_end(limit);
    while (end && reader_.help())
      end = reader_.find_end(limit);  // a stall that lasts from round to round meets its grace here
    reader_.park();
    if (!end) return end.error();
    is_moving_ = is_busy_ ? !is_full_size_ : end->value != end_;
    end_ = end->value;
    if (has_failed) return failed_partition();
    auto flushed = flush_when_due();
    auto kept = keep_spares(active);
    return flushed ? kept : flushed;
  }

  /// For the last round of all: what could be read is on stable storage afterwards, unless durability is none.
  void close() {
    const auto end = reader_.find_end();
    reader_.park();
    if (end && log_->words().durability.load(shm::relaxed) != 0)
      flusher_.flush_to(static_cast<std::uint64_t>(end->value)).ignore();
  }

  /// Should the next round come soon? While the log grows a little, for its end; while it grows fast, until its
  /// segments have their full size. From then on each roll asks for a round, and one between two only takes a core.
  [[nodiscard]] bool is_moving() const noexcept { return is_moving_; }

 private:
  /// How far to look which slots are resolved: not where the writers and readers of a busy log are at work, unless it
  /// is to be flushed. That would take lines from them, and a core where there are few. A consumer that keeps up says
  /// itself how far it came. Measured: docs/decisions/0032.
  [[nodiscard]] std::uint64_t walks_to() const noexcept {
    constexpr std::size_t left_alone = 4;  // segments before the active one
    if (!is_busy_ || log_->words().durability.load(shm::relaxed) != 0) return ~std::uint64_t{0};
    return live_.size() > left_alone ? live_[live_.size() - 1 - left_alone].base : 0;
  }

  /// The interval runs from when everything was last seen to be durable. Records whose senders flush themselves (each)
  /// are flushed too, for a sender may have died before.
  Result<void> flush_when_due() {
    const auto now = log_->clock().steady();
    const Duration interval{static_cast<std::int64_t>(log_->words().flush_interval_ns.load(shm::relaxed))};
    if (log_->words().durability.load(shm::relaxed) == 0) return {};
    const bool is_clean = log_->state().durable_to.load(shm::acquire) >= static_cast<std::uint64_t>(end_);
    if (!is_clean && now - clean_at_ < interval) return {};
    auto done = is_clean ? Result<void>{} : flusher_.flush_to(static_cast<std::uint64_t>(end_));
    if (done) clean_at_ = now;
    return done;
  }

  struct Live {
    std::uint64_t base;
    std::uint64_t bytes;
  };

  [[nodiscard]] std::uint64_t total() const noexcept {
    std::uint64_t bytes = 0;
    for (const auto& segment : live_) bytes += segment.bytes;
    return bytes;
  }

  void look_at(const std::string& name) {
    const auto path = log_->in_folder(name.c_str());
    if (name.starts_with("own.")) return sweep(name.c_str() + 4, path.data());
    if (name.starts_with("spare.")) return void(++spares_);
    if (name.ends_with(".timeindex") || name.ends_with(".orphan")) return drop_below_start(name, path.data());
    if (name.size() != 24 || !name.ends_with(".log")) return;
    const auto info = log_->directory().identify(path.data());
    if (info) live_.push_back({std::strtoull(name.c_str(), nullptr, 10), info->bytes});
  }

  /// A time index whose segment went: whoever made it died before it could look again. Or what recovery put aside, once
  /// retention would have taken it.
  void drop_below_start(const std::string& name, const char* path) {
    const std::uint64_t base = std::strtoull(name.c_str(), nullptr, 10);
    if (base < log_->state().log_start.load(shm::seq_cst)) log_->directory().remove(path).ignore();
  }

  /// A private file whose owner is gone, or whose line somebody else has now. Unlinking one is always safe.
  void sweep(const char* owner, const char* path) {
    if (log_->members().is_left_behind(owner)) remove_segment_file(log_->directory(), path).ignore();
  }

  void finish_retirements() {
    const std::uint64_t start = log_->state().log_start.load(shm::seq_cst);
    while (!live_.empty() && live_.front().base < start) {
      recycler_.retire(live_.front().base, 0, true);  // its file stands although log_start passed it
      live_.erase(live_.begin());
    }
  }

  /// What delete_records() had no time for: it was killed, or the active segment is sealed by now.
  void retire_deleted() {
    while (!live_.empty() && deleted_slots(*log_, live_.front().base) != 0 && retire_front()) {
    }
  }

  bool retire_front() {
    const std::uint64_t count = live_.empty() ? 0 : retirable_slots(*log_, live_.front().base);
    if (count == 0) return false;
    if (recycler_.retire(live_.front().base, count) == Retired::recycled) ++spares_;
    live_.erase(live_.begin());
    return true;
  }

  void retire_by_bytes() {
    const std::uint64_t limit = log_->words().retention_bytes.load(shm::relaxed);
    const auto kept = [&] {
      return total() + std::min(spares_, wanted_spares) * (live_.empty() ? 0 : live_.back().bytes);
    };
    while (limit != 0 && kept() > limit && live_.size() > 1 && retire_front()) {
    }
  }

  void retire_by_age() {
    const auto age = static_cast<std::int64_t>(log_->words().retention_age_ns.load(shm::relaxed));
    if (age == 0 || live_.empty()) return;
    const std::int64_t oldest = log_->clock().wall().time_since_epoch().count() - age;
    while (live_.size() > 1 && is_older(live_.front().base, oldest) && retire_front()) {
    }
    if (live_.size() == 1 && is_older(live_.front().base, oldest)) roll(live_.front());
  }

  /// Is every record of the segment older than that? Timestamps may come in any order. No while one may still come:
  /// a slot is open, or the segment is and nothing stands in it.
  [[nodiscard]] bool is_older(std::uint64_t base, std::int64_t oldest) const {
    const auto pinned = pin_segment(*log_, pins_, base);
    if (!pinned) return false;
    const Segment* segment = &**pinned;
    const std::uint64_t sealed = segment->sealed_count();
    bool is_used = sealed != 0;
    std::uint64_t n = sealed != 0 ? sealed : Tail::count(segment->header->tail.load(shm::acquire));
    BatchHeads heads;
    for (n = std::min(n, segment->slot_count); n-- > 0;) {  // from the end: most often its newest record is there
      if (heads.state(*segment, n) == Slot::empty) return false;
      const auto timestamp = detail::timestamp_of(*segment, n, heads);
      if (timestamp && *timestamp >= oldest) return false;
      is_used = is_used || timestamp;
    }
    return is_used;
  }

  /// The active segment's newest record expired: closes it, so that it can go. The next round retires it.
  void roll(const Live& active) {
    if (active.base != log_->state().hint.load(shm::acquire)) return;
    appender_.roll().ignore();  // no_space: the next round tries again
    appender_.park();
  }

  /// Two spares for a log that rolls at its full size; one, of the next size, for a log that grows and will roll soon.
  Result<void> keep_spares(const Result<Segment>& active) {
    const auto now = log_->clock().steady().time_since_epoch().count();
    const auto last = static_cast<std::int64_t>(log_->state().last_roll.load(shm::relaxed));
    std::uint64_t wanted = 0;
    if (active && log_->format().recycling && is_full_size_ && last != 0 && now - last < spares_kept_for.count())
      wanted = wanted_spares;
    else if (active && log_->format().recycling && !is_full_size_ && rolls_soon_)
      wanted = 1;
    count_spares();  // again: those who roll took and gave some since this round began
    for (std::uint64_t i = spare_names; wanted == 0 && spares_ > 0 && i-- > 0;)
      if (drop_spare(i)) --spares_;
    for (; spares_ < wanted; ++spares_)
      if (auto made = make_spare(is_full_size_ ? active->geometry() : log_->following(*active, {})); !made) return made;
    return {};
  }

  void count_spares() {
    spares_ = 0;
    for (std::uint64_t i = 0; i < spare_names; ++i)
      if (log_->directory().identify(log_->spare_name(i).data())) ++spares_;
  }

  /// How fast does the log grow? The active segment will soon be full if that is within about ten rounds.
  void look_at(const Segment& active) noexcept {
    const std::uint64_t tail = active.header->tail.load(shm::acquire);
    const std::uint64_t filled = Tail::is_closed(tail) ? 0 : std::min(Tail::bytes(tail), active.capacity);
    const std::uint64_t before = active.base == seen_base_ ? std::min(seen_filled_, filled) : 0;
    constexpr std::uint64_t much = std::uint64_t{1} << 20;
    is_busy_ = seen_base_ != unset_base && (active.base != seen_base_ || filled > before + much);
    is_full_size_ = active.geometry().segment_bytes >= log_->words().segment_bytes.load(shm::relaxed);
    rolls_soon_ = filled > before && filled + 10 * (filled - before) >= active.capacity;
    seen_base_ = active.base, seen_filled_ = filled;
  }

  /// Takes the spare as whoever rolls would, marks it and unlinks it.
  bool drop_spare(std::uint64_t i) {
    const auto own = log_->own_name(*member_);
    if (!log_->directory().rename(log_->spare_name(i).data(), own.data())) return false;
    return remove_segment_file(log_->directory(), own.data()).has_value();
  }

  Result<void> make_spare(const Geometry& shape) {
    const auto own = log_->own_name(*member_);
    auto spare = log_->make_file(own.data(), shape);
    if (!spare) return spare.error();
    constexpr std::size_t stride = 2u << 20;  // in steps, so that others get the processor in between
    for (std::size_t at = 0; at < spare->control->size(); at += stride) spare->control->populate(at, stride, true);
    TOWPATH_FAILPOINT("spare.made");
    for (std::uint64_t i = 0; i < spare_names; ++i)
      if (log_->directory().rename(own.data(), log_->spare_name(i).data())) return {};
    return remove_segment_file(log_->directory(), own.data());
  }

  const PartitionLog* log_;
  shm::Member* member_;
  std::shared_ptr<Pins> pins_;
  Reader reader_;
  Appender appender_;
  Recycler recycler_;
  Flusher flusher_;
  std::vector<Live> live_;
  std::uint64_t spares_ = 0;
  std::uint64_t seen_base_ = unset_base;
  std::uint64_t seen_filled_ = 0;
  std::int64_t end_ = 0;
  bool is_moving_ = false;
  bool is_busy_ = false;       // it rolled, or grew by more than 1 MiB, since the last round
  bool is_full_size_ = false;  // the active segment
  bool rolls_soon_ = false;
  Monotonic clean_at_;  // when all was last seen to be durable, or the first look
};

}  // namespace towpath::inline TOWPATH_ABI::log
