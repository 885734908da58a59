// A Consumer reads a topic:  towpath::Consumer consumer{topic};  for (const auto& record : consumer.poll(100ms)) ...
// or several of a bus, by name or by pattern, as values of one type or as bytes:
//   towpath::Consumer<towpath::Bytes> all{bus, {.pattern = "^my.*"}};
// Without a group it sees every record of its partitions, from now on or from where you seek. It belongs to one thread,
// but for wakeup(). It takes nothing out of the log: any number of consumers read it, each at its own pace.
// What it reads, seeks and the descriptor for event loops: consumer_base.hpp.
// After a crash its position is gone, but for one with a name: it leaves how far it came, and the next of that name
// goes on there. One with a native handle leaves a FIFO, which maintenance removes.
#pragma once

#include <stop_token>

#include <towpath/consume/acceptance.hpp>
#include <towpath/consume/batch.hpp>
#include <towpath/consume/consumer_base.hpp>
#include <towpath/consume/consumer_iterator.hpp>
#include <towpath/consume/stream_pace.hpp>
#include <towpath/consume/wait.hpp>
#include <towpath/topic/topic.hpp>

namespace towpath::inline TOWPATH_ABI {

template <class T, class S = Serde<T>, class BusType = Bus>
class Consumer;

template <class T, class S>
class Consumer<T, S, Bus> : public ConsumerBase {
  static_assert(SerdeFor<S, T>, "the serde lacks size, encode or decode: see serde/serde.hpp");

 public:
  using iterator = ConsumerIterator<Consumer, T, S>;

  /// Throws Error: too_many_members, unknown_partition, invalid_argument, forked, corrupt, and those of mapping; for
  /// its name busy (another live Consumer has it), read_only, permission_denied, no_space.
  explicit Consumer(const Topic<T, S>& topic, const ConsumerConfig& config = {})
      : Consumer{open(topic, config).value()} {}

  /// As the constructor, without exceptions.
  static Result<Consumer> open(const Topic<T, S>& topic, const ConsumerConfig& config = {}) {
    auto core = detail::ConsumerCore::open(topic.bus(), topic.files(), config);
    if (!core) return core.error();
    return Consumer{topic, std::move(*core)};
  }

  /// Reads the config's topics and those that match its pattern. One that does not exist is waited for, never made. One
  /// that is deleted is told once as topic_deleted if it was named, and taken up again when it is made again. One whose
  /// values are no T is told once as type_mismatch, with Batch::topic(), and the others go on; Consumer<Bytes> reads
  /// all. Throws Error: invalid_argument, invalid_name, invalid_pattern (Pattern::explain says more), too_many_members,
  /// forked.
  explicit Consumer(const Bus& bus, const ConsumerConfig& config) : Consumer{open(bus, config).value()} {}

  /// As the constructor, without exceptions.
  static Result<Consumer> open(const Bus& bus, const ConsumerConfig& config) {
    auto core = detail::ConsumerCore::open(bus, config, schema_of<T, S>());
    if (!core) return core.error();
    return Consumer{std::nullopt, std::move(*core)};
  }

  /// The next records of one partition, as soon as there are some; partitions take turns, of all topics. After
  /// `timeout` without any, an empty batch. Zero looks once. A record whose producer dies between commit and wake is
  /// seen up to 50 ms late.
  template <wait::Strategy W = wait::Backoff>
  TOWPATH_HOT Batch<T, S> poll(Duration timeout, W strategy = {}) {
    if (!core_ || !core_->bus().is_mine() || (trouble_ && !trouble_->looked)) [[unlikely]]
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

  /// `for (const auto& record : consumer)`: ends after consumer_timeout without a record, or at an error, which the
  /// next poll returns.
  [[nodiscard]] iterator begin() { return iterator{*this}; }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// The Topic that it was made of. One that was made of a bus has none: ask subscription().
  [[nodiscard]] const Topic<T, S>& topic() const {
    if (!topic_) detail::raise({Errc::invalid_argument, "a Consumer of a bus has no Topic; ask subscription()"});
    return *topic_;
  }

 private:
  friend iterator;
  enum class Look { found, failed, nothing, blocked };

  Consumer(std::optional<Topic<T, S>> topic, std::unique_ptr<detail::ConsumerCore> core)
      : ConsumerBase{std::move(core)}, topic_{std::move(topic)}, max_records_{core_->config().max_poll_records} {}

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
    if (core_->has_native_handle()) [[unlikely]]
      settle_handle(batch);
    return batch;
  }

  /// One look at every partition, beginning with the one whose turn it is.
  TOWPATH_HOT Look look(Batch<T, S>& batch) {
    look_ = Look::nothing;
    if (!core_->assignment().is_current() && !follow(batch)) [[unlikely]]
      return look_ = Look::failed;
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
      detail::Acceptance<T, S> accept{batch.decoded_, batch.unpacked_, unpacked_, assigned.reader.log(),
                                      core_->config().check_crcs};
      const auto progress = assigned.has_position ? assigned.reader.collect(batch.run_, max_records_, accept)
                                                  : log::Progress::out_of_range;
      if (progress == log::Progress::records) [[likely]] {
        batch.partition_ = assigned.id;
        batch.value_alignment_ = assigned.value_alignment;
        if (assigned.missed != 0) [[unlikely]]
          tell(assigned, batch);
        return Look::found;
      }
      const bool is_blocked = progress == log::Progress::blocked;
      if (is_blocked && assigned.reader.help()) continue;
      if (progress != log::Progress::refused && assigned.reader.log().is_deleted()) [[unlikely]]
        return end_deleted(batch, assigned);
      if (is_blocked || progress == log::Progress::idle) [[likely]]
        return is_blocked ? Look::blocked : Look::nothing;
      if (const auto handled = handle(progress, accept.refusal(), assigned); !handled)
        return end_with(batch, handled.error(), assigned);
    }
  }

  /// Its one Topic is gone: that stays so. One of several: the next look at the catalog drops it, and tells if need be.
  TOWPATH_COLD Look end_deleted(Batch<T, S>& batch, const detail::Assigned& assigned) {
    if (core_->assignment().is_fixed())
      return end_with(batch, {Errc::topic_deleted, "the topic was deleted under this consumer"}, assigned);
    core_->assignment().look_again();
    return Look::nothing;
  }

  /// Takes on topics and partitions that came, lets go of those that went. False if there is something to tell.
  TOWPATH_COLD bool follow(Batch<T, S>& batch) {
    core_->assignment().refresh();
    const auto news = core_->assignment().take_news();
    if (!news) return true;
    batch = failed(news->failure, {}, news->topic);
    return false;
  }

  /// Found nothing: whoever waits for the native handle sleeps now.
  TOWPATH_COLD void settle_handle(const Batch<T, S>& batch) noexcept {
    if (batch.empty() && !batch.trouble_)
      core_->arm(look_ == Look::blocked);
    else
      core_->signal();
  }

  /// What is neither records nor patience. Ok: look again.
  TOWPATH_COLD Result<void> handle(log::Progress progress, const Failure& refusal, detail::Assigned& assigned) {
    if (progress == log::Progress::failed) return assigned.reader.failure();
    if (progress == log::Progress::refused) return refusal;
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
      batch.trouble_ = std::make_shared<detail::Trouble>(detail::Trouble{{}, {}, assigned->topic->name(), true});
      batch.partition_ = assigned->id;
      return tell(*assigned, batch);
    }
  }

  TOWPATH_COLD void tell(detail::Assigned& assigned, Batch<T, S>& batch) noexcept {
    batch.missed_ = std::exchange(assigned.missed, 0);
    missed_ += batch.missed_;
    if (assigned.topic->seat) assigned.topic->seat->missed(assigned.id.value, batch.missed_);
  }

  [[nodiscard]] TOWPATH_HOT bool is_quiet() const noexcept {
    const auto& all = core_->assigned();
    // First the one whose turn it is: those before it may all have been read to their end.
    if (turn_ < all.size() && !all[turn_]->paused && !all[turn_]->reader.is_quiet()) return false;
    for (const auto& assigned : all)
      if (!assigned->paused && !assigned->reader.is_quiet()) return false;
    return true;
  }

  TOWPATH_COLD Look end_with(Batch<T, S>& batch, const Failure& failure, const detail::Assigned& assigned) {
    batch = failed(failure, Offset{static_cast<std::int64_t>(assigned.reader.cursor())}, assigned.topic->name());
    batch.partition_ = assigned.id;
    return Look::failed;
  }

  TOWPATH_COLD Batch<T, S> failed(const Failure& failure, Offset at, const std::string& topic) {
    trouble_ = std::make_shared<detail::Trouble>(detail::Trouble{failure, at, topic});
    Batch<T, S> batch;
    batch.trouble_ = trouble_;
    return batch;
  }

  /// What keeps this consumer from polling at all.
  TOWPATH_COLD Batch<T, S> refuse() {
    if (!core_) return moved_from();
    if (!core_->bus().is_mine()) return failed({Errc::forked, "the consumer was made before fork()"}, {}, {});
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

  std::optional<Topic<T, S>> topic_;
  std::size_t max_records_;
  std::size_t turn_ = 0;
  Look look_ = Look::nothing;
  detail::StreamPace pace_;
  log::SharedRecords unpacked_;  // the last record batch: the next poll may go on inside it
};

template <class T, class S>
Consumer(const Topic<T, S, Bus>&) -> Consumer<T, S, Bus>;
template <class T, class S>
Consumer(const Topic<T, S, Bus>&, const ConsumerConfig&) -> Consumer<T, S, Bus>;

}  // namespace towpath::inline TOWPATH_ABI
