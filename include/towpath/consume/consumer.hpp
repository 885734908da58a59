// A Consumer reads a topic:  towpath::Consumer consumer{topic};  for (const auto& record : consumer.poll(100ms)) ...
// Without a group it sees every record of its partitions, from now on or from where you seek. It belongs to one thread,
// but for wakeup(). It takes nothing out of the log: any number of consumers read it, each at its own pace.
// After a crash nothing is left of it; a consumer without a group starts anew.
#pragma once

#include <stop_token>

#include <towpath/consume/acceptance.hpp>
#include <towpath/consume/batch.hpp>
#include <towpath/consume/consumer_core.hpp>
#include <towpath/consume/consumer_iterator.hpp>
#include <towpath/consume/stream_pace.hpp>
#include <towpath/consume/wait.hpp>
#include <towpath/topic/topic.hpp>

namespace towpath::inline TOWPATH_ABI {

template <class T, class S = Serde<T>, class BusType = Bus>
class Consumer;

template <class T, class S>
class Consumer<T, S, Bus> {
 public:
  using iterator = ConsumerIterator<Consumer, T, S>;

  /// Throws Error: too_many_members, unknown_partition, invalid_argument, forked, and those of mapping.
  explicit Consumer(const Topic<T, S>& topic, const ConsumerConfig& config = {})
      : Consumer{open(topic, config).value()} {}

  /// As the constructor, without exceptions.
  static Result<Consumer> open(const Topic<T, S>& topic, const ConsumerConfig& config = {}) {
    auto core = detail::ConsumerCore::open(topic.files(), config);
    if (!core) return core.error();
    return Consumer{topic, std::move(*core)};
  }

  /// The next records of one partition, as soon as there are some; partitions take turns. After `timeout` without any,
  /// an empty batch. Zero looks once. A record whose producer dies between commit and wake is seen up to 50 ms late.
  template <wait::Strategy W = wait::Backoff>
  TOWPATH_HOT Batch<T, S> poll(Duration timeout, W strategy = {}) {
    if (!core_ || !core_->files().core().is_mine() || (trouble_ && !trouble_->looked)) [[unlikely]]
      return refuse();
    return next(timeout, strategy);
  }

  /// As poll, but returns at once when `stop` is requested.
  template <wait::Strategy W = wait::Backoff>
  Batch<T, S> poll(std::stop_token stop, Duration timeout, W strategy = {}) {
    if (stop.stop_requested()) return {};
    const std::stop_callback on_stop{stop, [this] { wakeup(); }};
    return poll(timeout, strategy);
  }

  /// Calls `handler(record)` for each record until `stop` is requested. Errors: those of Batch::error(); the handled
  /// records stay handled, position() is behind them.
  template <class Handler>
  Result<void> run(std::stop_token stop, Handler&& handler) {
    while (!stop.stop_requested()) {
      auto batch = poll(stop, std::chrono::hours{1});
      for (const auto& record : batch) handler(record);
      if (const auto failure = batch.error(); failure.code != Errc::ok) return failure;
    }
    return {};
  }

  /// Makes a poll that waits return at once with an empty batch, or the next one that would wait. From any thread.
  void wakeup() noexcept {
    if (core_) core_->wakeup();
  }

  // ---- where it reads

  /// Reads these partitions from now on instead; those that stay keep their positions. Errors: unknown_partition.
  Result<void> assign(const std::vector<PartitionId>& partitions) {
    return core_ ? core_->assign(partitions) : closed();
  }
  [[nodiscard]] std::vector<PartitionId> assignment() const {
    std::vector<PartitionId> ids;
    if (!core_) return ids;
    for (const auto& assigned : core_->assigned()) ids.push_back(assigned->id);
    return ids;
  }

  /// The next record of the partition that poll returns is the one at `offset` or the first behind it. Errors:
  /// not_assigned.
  Result<void> seek(PartitionId partition, Offset offset) noexcept {
    auto* assigned = find(partition);
    if (!assigned) return not_assigned();
    assigned->reader.seek(static_cast<std::uint64_t>(std::max<std::int64_t>(0, offset.value)));
    assigned->has_position = true, assigned->missed = 0;
    go_on();
    return {};
  }
  /// All assigned partitions, to the first record there is.
  Result<void> seek_to_beginning() { return reset_all(OffsetReset::earliest); }
  /// All assigned partitions, behind the last record that can be read now.
  Result<void> seek_to_end() { return reset_all(OffsetReset::latest); }
  /// All assigned partitions, to the first record as late as `time`, or to the end where there is none.
  Result<void> seek_to_time(Timestamp time) {
    const auto found = offsets_for_times(time);
    if (!found) return found.error();
    for (const auto& [partition, offset] : *found) {
      auto done = offset ? seek(partition, *offset) : reset_one(*core_->find(partition), OffsetReset::latest);
      if (!done) return done;
    }
    return {};
  }

  /// The offset after the last record that was polled. Errors: not_assigned, no_offset.
  [[nodiscard]] Result<Offset> position(PartitionId partition) const noexcept {
    const auto* assigned = find(partition);
    if (!assigned) return not_assigned();
    if (!assigned->has_position) return Failure{Errc::no_offset, "auto_offset_reset is none and nothing was sought"};
    return Offset{static_cast<std::int64_t>(assigned->reader.position())};
  }

  /// The sum of what all its batches missed so far, for loops that see no batch: iteration and run().
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }

  /// A paused partition keeps its position and returns nothing. Errors: not_assigned.
  Result<void> pause(PartitionId partition) noexcept { return set_paused(partition, true); }
  Result<void> resume(PartitionId partition) noexcept { return set_paused(partition, false); }

  /// The first offset that each assigned partition still has.
  [[nodiscard]] Result<std::vector<PartitionOffset>> beginning_offsets() const {
    return each([](detail::Assigned& assigned) -> Result<Offset> {
      return Offset{static_cast<std::int64_t>(assigned.reader.log().begin())};
    });
  }
  /// The offset after the last record that can be read, of each assigned partition. Moves no position.
  [[nodiscard]] Result<std::vector<PartitionOffset>> end_offsets() const {
    return each([this](detail::Assigned& assigned) { return core_->end_of(assigned); });
  }
  /// The first record as late as `time` of each assigned partition. Reads an index; makes it when it is missing.
  [[nodiscard]] Result<std::vector<PartitionTimeOffset>> offsets_for_times(Timestamp time) const {
    if (auto fine = usable(); !fine) return fine.error();
    std::vector<PartitionTimeOffset> found;
    for (auto& assigned : core_->assigned()) {
      auto offset = log::offset_for_time(assigned->reader.log(), core_->pins(), core_->member(), time);
      if (!offset) return offset.error();
      found.push_back({assigned->id, *offset});
    }
    return found;
  }

  /// `for (const auto& record : consumer)`: ends after consumer_timeout without a record, or at an error, which the
  /// next poll returns.
  [[nodiscard]] iterator begin() { return iterator{*this}; }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  [[nodiscard]] const Topic<T, S>& topic() const noexcept { return topic_; }

 private:
  friend iterator;
  enum class Look { found, failed, nothing, blocked };

  Consumer(const Topic<T, S>& topic, std::unique_ptr<detail::ConsumerCore> core)
      : topic_{topic},
        core_{std::move(core)},
        value_alignment_{topic.files()->format().value_alignment},
        max_records_{core_->config().max_poll_records} {}

  static Failure closed() noexcept { return {Errc::closed, "this consumer was moved from"}; }
  [[nodiscard]] Failure not_assigned() const noexcept {
    return core_ ? Failure{Errc::not_assigned, "this consumer does not read that partition"} : closed();
  }
  /// Who seeks after an error ended his loop has decided what to do about it.
  void go_on() noexcept {
    if (trouble_ && trouble_->told) trouble_->looked = true, ended_iteration_ = false;
  }
  [[nodiscard]] detail::Assigned* find(PartitionId partition) const noexcept {
    return core_ ? core_->find(partition) : nullptr;
  }
  [[nodiscard]] Result<void> usable() const noexcept { return core_ ? core_->files().core().usable() : closed(); }

  /// How far one poll has come with waiting.
  struct Waiting {
    Monotonic deadline{};
    std::uint64_t round = 0;
    bool has_looked = false;
  };

  /// Looks, and waits as the strategy says, until something is there or the time is over.
  template <class W>
  TOWPATH_HOT Batch<T, S> next(Duration timeout, W& strategy) {
    Batch<T, S> batch;
    core_->note_progress();
    if (pace_.is_stream()) [[unlikely]]
      pace_.stay_away(timeout, core_->clock());
    Waiting waiting;
    // Nothing at a glance: wait before looking closer, for a close look takes the tail's line from the producers.
    bool has_time = timeout > Duration::zero();
    if (has_time && is_quiet()) has_time = wait(waiting, timeout, strategy);
    for (;;) {
      const Look seen = look(batch);
      if (seen == Look::found || seen == Look::failed) [[likely]]
        break;
      waiting.has_looked = true;
      if (!has_time) break;
      has_time = wait(waiting, timeout, strategy);
    }
    if (batch.empty() && !batch.trouble_) [[unlikely]]
      tell_missed(batch);
    pace_.notice(batch.size(), max_records_, core_->clock());
    return batch;
  }

  /// One look at every partition, beginning with the one whose turn it is.
  TOWPATH_HOT Look look(Batch<T, S>& batch) {
    look_ = Look::nothing;
    if (auto grown = core_->follow_growth(); !grown) [[unlikely]]
      return end_with(batch, grown.error(), {});
    auto& all = core_->assigned();
    for (std::size_t i = 0; i < all.size(); ++i) {
      const std::size_t at = turn_ + i < all.size() ? turn_ + i : (turn_ + i) % all.size();
      detail::Assigned& assigned = *all[at];
      if (assigned.paused) continue;
      const Look seen = look_at(assigned, batch);
      if (seen == Look::found || seen == Look::failed) [[likely]] {
        turn_ = at + 1;
        return look_ = seen;
      }
      if (seen == Look::blocked) look_ = seen;
    }
    return look_;
  }

  TOWPATH_HOT Look look_at(detail::Assigned& assigned, Batch<T, S>& batch) {
    for (;;) {
      detail::Acceptance<T, S> accept{batch.decoded_, value_alignment_, core_->config().check_crcs};
      const auto progress = assigned.has_position ? assigned.reader.collect(batch.run_, max_records_, accept)
                                                  : log::Progress::out_of_range;
      if (progress == log::Progress::records) [[likely]] {
        batch.partition_ = assigned.id;
        batch.value_alignment_ = value_alignment_;
        if (assigned.missed != 0) [[unlikely]]
          tell(assigned, batch);
        return Look::found;
      }
      const bool is_blocked = progress == log::Progress::blocked;
      if (is_blocked && assigned.reader.help()) continue;
      if (is_blocked || progress == log::Progress::idle) [[likely]]
        return assigned.reader.log().is_deleted()
                   ? end_with(batch, {Errc::topic_deleted, "the topic was deleted under this consumer"}, assigned)
                   : (is_blocked ? Look::blocked : Look::nothing);
      if (const auto handled = handle(progress, accept.refusal(), assigned); !handled)
        return end_with(batch, handled.error(), assigned);
    }
  }

  /// What is neither records nor patience. Ok: look again.
  TOWPATH_COLD Result<void> handle(log::Progress progress, const Failure& refusal, detail::Assigned& assigned) {
    if (progress == log::Progress::failed) return assigned.reader.failure();
    if (progress == log::Progress::refused) return refusal;
    if (assigned.reader.log().is_deleted())
      return Failure{Errc::topic_deleted, "the topic was deleted under this consumer"};
    if (!assigned.has_position) return Failure{Errc::no_offset, "auto_offset_reset is none and nothing was sought"};
    return core_->return_to_log(assigned);
  }

  /// Until a close look may find something, with glances between. False: the time is over, or wakeup() was called.
  template <class W>
  [[gnu::noinline]] bool wait(Waiting& waiting, Duration timeout, W& strategy) {
    constexpr int glances = 64;  // between close looks
    const Monotonic now = core_->clock().steady();
    if (waiting.deadline == Monotonic{})
      waiting.deadline = now + std::min(timeout, Duration{std::chrono::hours{24 * 365}});
    if (now >= waiting.deadline || core_->take_wakeup()) return false;
    for (int i = 0; i < glances; ++i) {
      if (strategy(waiting.round) == wait::Next::sleep) {
        if (waiting.has_looked) core_->sleep(waiting.deadline - now, look_ == Look::blocked);
        return true;
      }
      ++waiting.round;
      if (!is_quiet()) return true;
    }
    return true;
  }

  /// Retention overtook a partition and nothing new is there: the empty batch says so now, not with the next record.
  TOWPATH_COLD void tell_missed(Batch<T, S>& batch) {
    for (auto& assigned : core_->assigned()) {
      if (assigned->missed == 0 || batch.trouble_) continue;
      batch.trouble_ = std::make_shared<detail::Trouble>(detail::Trouble{{}, {}, name(), true});
      batch.partition_ = assigned->id;
      return tell(*assigned, batch);
    }
  }

  TOWPATH_COLD void tell(detail::Assigned& assigned, Batch<T, S>& batch) noexcept {
    batch.missed_ = std::exchange(assigned.missed, 0);
    missed_ += batch.missed_;
  }

  [[nodiscard]] TOWPATH_HOT bool is_quiet() const noexcept {
    for (const auto& assigned : core_->assigned())
      if (!assigned->paused && !assigned->reader.is_quiet()) return false;
    return true;
  }

  TOWPATH_COLD Look end_with(Batch<T, S>& batch, const Failure& failure, Offset at) {
    batch = failed(failure, at);
    return Look::failed;
  }
  Look end_with(Batch<T, S>& batch, const Failure& failure, const detail::Assigned& assigned) {
    const auto result = end_with(batch, failure, Offset{static_cast<std::int64_t>(assigned.reader.cursor())});
    batch.partition_ = assigned.id;
    return result;
  }

  TOWPATH_COLD Batch<T, S> failed(const Failure& failure, Offset at) {
    trouble_ = std::make_shared<detail::Trouble>(detail::Trouble{failure, at, name()});
    Batch<T, S> batch;
    batch.trouble_ = trouble_;
    return batch;
  }

  /// What keeps this consumer from polling at all.
  TOWPATH_COLD Batch<T, S> refuse() {
    if (!core_) return moved_from();
    if (!core_->files().core().is_mine()) return failed({Errc::forked, "the consumer was made before fork()"}, {});
    return again();
  }

  /// The last batch's error was not looked at.
  Batch<T, S> again() {
    [[maybe_unused]] const bool nobody_could_look = std::exchange(ended_iteration_, false);
    TOWPATH_ASSERT(nobody_could_look && "nobody looked at the last batch's error(): do so when a batch is empty");
    Batch<T, S> batch;
    batch.trouble_ = trouble_;
    return batch;
  }

  static Batch<T, S> moved_from() {
    Batch<T, S> batch;
    batch.trouble_ = std::make_shared<detail::Trouble>(detail::Trouble{closed(), {}, {}});
    return batch;
  }

  [[nodiscard]] const std::string& name() const noexcept { return core_->files().name(); }

  Result<void> set_paused(PartitionId partition, bool paused) noexcept {
    auto* assigned = find(partition);
    if (!assigned) return not_assigned();
    assigned->paused = paused;
    return {};
  }

  Result<void> reset_one(detail::Assigned& assigned, OffsetReset policy) {
    auto done = core_->reset(assigned, policy);
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

  template <class Ask>
  Result<std::vector<PartitionOffset>> each(const Ask& ask) const {
    if (auto fine = usable(); !fine) return fine.error();
    std::vector<PartitionOffset> offsets;
    for (auto& assigned : core_->assigned()) {
      auto offset = ask(*assigned);
      if (!offset) return offset.error();
      offsets.push_back({assigned->id, *offset});
    }
    return offsets;
  }

  Topic<T, S> topic_;
  std::unique_ptr<detail::ConsumerCore> core_;
  std::shared_ptr<detail::Trouble> trouble_;  // the last there was; null: none yet
  std::uint64_t value_alignment_;
  std::size_t max_records_;
  std::size_t turn_ = 0;
  Look look_ = Look::nothing;
  std::uint64_t missed_ = 0;      // told, in all
  bool ended_iteration_ = false;  // the error that nobody looked at was the iterator's to hide
  detail::StreamPace pace_;
};

template <class T, class S>
Consumer(const Topic<T, S, Bus>&) -> Consumer<T, S, Bus>;
template <class T, class S>
Consumer(const Topic<T, S, Bus>&, const ConsumerConfig&) -> Consumer<T, S, Bus>;

}  // namespace towpath::inline TOWPATH_ABI
