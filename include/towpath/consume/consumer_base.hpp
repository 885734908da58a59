// What every Consumer can do whatever the type of its values: what it reads, where it reads, being woken, and the
// descriptor for event loops. See consumer.hpp. One thread, but for wakeup().
#pragma once

#include <towpath/consume/batch.hpp>
#include <towpath/consume/consumer_core.hpp>

namespace towpath::inline TOWPATH_ABI {

class ConsumerBase {
 public:
  /// Makes a poll that waits return at once with an empty batch, or the next one that would wait; and makes the native
  /// handle readable. From any thread.
  void wakeup() noexcept {
    if (core_) core_->wakeup();
  }

  // ---- in an event loop of yours

  /// A descriptor for epoll, poll, select or Asio, made by the first call: readable whenever a poll(0ms) may return
  /// something, until a poll found nothing. So: wait until it is readable, poll(0ms), use the batch, wait again. Only
  /// look at its readability; it is readable too soon at times: every 50 ms while nothing comes, so that a record whose
  /// producer died between commit and wake is at most so late. A process that may only read looks each ms. With
  /// edge-triggered epoll, poll until a batch is empty before you wait again.
  /// It is the consumer's and closed with it: what takes ownership, like Asio's posix::stream_descriptor, gets a dup()
  /// of it, or has to release() it. In a child after fork() it is still the parent's: leave it alone.
  /// Errors: too_many_files, no_space, forked, closed.
  Result<int> native_handle() {
    if (auto fine = usable(); !fine) return fine.error();
    return core_->native_handle();
  }

  // ---- what it reads

  /// Reads these topics from now on, and those that match the pattern, in place of what was subscribed or assigned;
  /// those that stay keep their positions. For a Consumer of a bus. Errors: invalid_argument (neither topic nor
  /// pattern; a Consumer of one Topic), invalid_name, invalid_pattern.
  Result<void> subscribe(const std::vector<std::string>& topics, const std::string& pattern = {}) {
    if (auto fine = usable(); !fine) return fine;
    auto subscription = detail::Subscription::make(topics, pattern);
    if (!subscription) return subscription.error();
    return changed(core_->assignment().subscribe(std::move(*subscription)));
  }
  /// Reads nothing until something is subscribed or assigned. Errors: invalid_argument (a Consumer of one Topic).
  Result<void> unsubscribe() {
    if (auto fine = usable(); !fine) return fine;
    return changed(core_->assignment().unsubscribe());
  }
  /// The topics: those it was told to read, whether they exist or not, and those that match its pattern now. Sorted.
  [[nodiscard]] std::vector<std::string> subscription() const {
    return core_ ? core_->assignment().topics() : std::vector<std::string>{};
  }

  /// Reads these partitions from now on instead; those that stay keep their positions. Ends a subscription. With
  /// numbers alone: of the only topic. Errors: unknown_partition, unknown_topic, type_mismatch, invalid_argument
  /// (several topics; another topic than the Consumer was made of).
  Result<void> assign(const std::vector<TopicPartition>& partitions) { return assign_all(partitions); }
  Result<void> assign(const std::vector<PartitionId>& partitions) { return assign_all(partitions); }
  Result<void> assign(std::initializer_list<PartitionId> partitions) {
    return assign_all(std::vector<PartitionId>{partitions});
  }
  [[nodiscard]] std::vector<TopicPartition> assignment() const {
    std::vector<TopicPartition> names;
    if (!core_) return names;
    for (const auto& assigned : core_->assigned()) names.push_back(assigned->name());
    return names;
  }

  // ---- where it reads

  /// The next record of the partition that poll returns is the one at `offset` or the first behind it. A number alone
  /// is a partition of the only topic. Errors: not_assigned, invalid_argument (several topics).
  Result<void> seek(const TopicPartition& partition, Offset offset) noexcept {
    return seek_in(find(partition), offset);
  }
  Result<void> seek(PartitionId partition, Offset offset) noexcept { return seek_in(find(partition), offset); }
  /// All assigned partitions, to the first record there is.
  Result<void> seek_to_beginning() { return reset_all(OffsetReset::earliest); }
  /// All assigned partitions, behind the last record that can be read now.
  Result<void> seek_to_end() { return reset_all(OffsetReset::latest); }
  /// All assigned partitions, to the first record as late as `time`, or to the end where there is none.
  Result<void> seek_to_time(Timestamp time) {
    const auto found = offsets_for_times(time);
    if (!found) return found.error();
    for (const auto& [partition, offset] : *found) {
      auto* assigned = core_->assignment().find(partition);
      auto done = offset ? seek_in(assigned, *offset) : reset_one(*assigned, OffsetReset::latest);
      if (!done) return done;
    }
    return {};
  }

  /// The offset after the last record that was polled. Errors: not_assigned, no_offset, invalid_argument (several
  /// topics and a number alone).
  [[nodiscard]] Result<Offset> position(const TopicPartition& partition) const noexcept {
    return position_in(find(partition));
  }
  [[nodiscard]] Result<Offset> position(PartitionId partition) const noexcept { return position_in(find(partition)); }

  /// The sum of what all its batches missed so far, for loops that see no batch: iteration and run().
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }

  /// A paused partition keeps its position and returns nothing. Errors: not_assigned, invalid_argument (several topics
  /// and a number alone).
  Result<void> pause(const TopicPartition& partition) noexcept { return set_paused(find(partition), true); }
  Result<void> pause(PartitionId partition) noexcept { return set_paused(find(partition), true); }
  Result<void> resume(const TopicPartition& partition) noexcept { return set_paused(find(partition), false); }
  Result<void> resume(PartitionId partition) noexcept { return set_paused(find(partition), false); }

  /// The first offset that each assigned partition still has.
  [[nodiscard]] Result<std::vector<PartitionOffset>> beginning_offsets() const {
    return each<PartitionOffset>([](detail::Assigned& assigned) -> Result<Offset> {
      return Offset{static_cast<std::int64_t>(assigned.reader.log().begin())};
    });
  }
  /// The offset after the last record that can be read, of each assigned partition. Moves no position.
  [[nodiscard]] Result<std::vector<PartitionOffset>> end_offsets() const {
    return each<PartitionOffset>([](detail::Assigned& assigned) { return detail::ConsumerCore::end_of(assigned); });
  }
  /// The first record as late as `time` of each assigned partition. Reads an index; makes it when it is missing.
  [[nodiscard]] Result<std::vector<PartitionTimeOffset>> offsets_for_times(Timestamp time) const {
    return each<PartitionTimeOffset>([&](detail::Assigned& assigned) {
      return log::offset_for_time(assigned.reader.log(), assigned.topic->pins, core_->member(), time);
    });
  }

 protected:
  explicit ConsumerBase(std::unique_ptr<detail::ConsumerCore> core) noexcept : core_{std::move(core)} {}
  ConsumerBase(ConsumerBase&&) noexcept = default;
  ConsumerBase& operator=(ConsumerBase&&) noexcept = default;
  ~ConsumerBase() = default;

  static Failure closed() noexcept { return {Errc::closed, "this consumer was moved from"}; }
  [[nodiscard]] Result<void> usable() const noexcept { return core_ ? core_->bus().usable() : closed(); }

  std::unique_ptr<detail::ConsumerCore> core_;
  std::shared_ptr<detail::Trouble> trouble_;  // the last there was; null: none yet
  std::uint64_t missed_ = 0;                  // told, in all
  bool ended_iteration_ = false;              // the error that nobody looked at was the iterator's to hide

 private:
  using Found = Result<detail::Assigned*>;

  [[nodiscard]] Found find(const TopicPartition& partition) const noexcept {
    if (!core_) return closed();
    auto* assigned = core_->assignment().find(partition);
    return assigned ? Found{assigned} : Failure{Errc::not_assigned, "this consumer does not read that partition"};
  }
  [[nodiscard]] Found find(PartitionId partition) const noexcept {
    return core_ ? core_->assignment().find(partition) : Found{closed()};
  }

  /// Who seeks after an error ended his loop has decided what to do about it.
  void go_on() noexcept {
    if (trouble_ && trouble_->told) trouble_->looked = true, ended_iteration_ = false;
    core_->signal();
  }
  Result<void> changed(const Result<void>& done) noexcept {
    core_->signal();
    return done;
  }

  template <class Partitions>
  Result<void> assign_all(const Partitions& partitions) {
    if (auto fine = usable(); !fine) return fine;
    return changed(core_->assignment().assign(partitions));
  }

  Result<void> seek_in(const Found& assigned, Offset offset) noexcept {
    if (!assigned) return assigned.error();
    (*assigned)->reader.seek(static_cast<std::uint64_t>(std::max<std::int64_t>(0, offset.value)));
    (*assigned)->has_position = true, (*assigned)->missed = 0;
    go_on();
    return {};
  }

  static Result<Offset> position_in(const Found& assigned) noexcept {
    if (!assigned) return assigned.error();
    if (!(*assigned)->has_position) return Failure{Errc::no_offset, "auto_offset_reset is none and nothing was sought"};
    return Offset{static_cast<std::int64_t>((*assigned)->reader.position())};
  }

  Result<void> set_paused(const Found& assigned, bool paused) noexcept {
    if (!assigned) return assigned.error();
    (*assigned)->paused = paused;
    core_->signal();
    return {};
  }

  Result<void> reset_one(detail::Assigned& assigned, OffsetReset policy) {
    auto done = detail::Assignment::reset(assigned, policy);
    assigned.missed = 0;  // asked for, not missed
    if (done) go_on();
    return done;
  }
  Result<void> reset_all(OffsetReset policy) {
    if (auto fine = usable(); !fine) return fine;
    for (auto& assigned : core_->assigned())
      if (auto done = reset_one(*assigned, policy); !done) return done;
    return {};
  }

  template <class Entry, class Ask>
  Result<std::vector<Entry>> each(const Ask& ask) const {
    if (auto fine = usable(); !fine) return fine.error();
    std::vector<Entry> offsets;
    for (auto& assigned : core_->assigned()) {
      auto offset = ask(*assigned);
      if (!offset) return offset.error();
      offsets.push_back({assigned->name(), *offset});
    }
    return offsets;
  }
};

}  // namespace towpath::inline TOWPATH_ABI
