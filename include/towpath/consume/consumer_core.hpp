// The part of a Consumer that does not know its value type: the member line, what is assigned, sleeping and waking.
// One thread, but for wakeup().
#pragma once

#include <atomic>

#include <towpath/consume/assignment.hpp>
#include <towpath/shm/barrier.hpp>
#include <towpath/shm/doorbell.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

class ConsumerCore {
 public:
  /// The longest sleep: a producer that dies between commit and wake costs no more.
  static constexpr Duration max_sleep{std::chrono::milliseconds{50}};
  /// A reader without rights is woken by nobody.
  static constexpr Duration blind_sleep{std::chrono::milliseconds{1}};
  /// The catalog is looked at again after this long without a change, by whoever has nothing to do.
  static constexpr Duration look_again_after{std::chrono::seconds{1}};

  /// Of one topic. Errors: too_many_members, forked, unknown_partition, invalid_argument, and those of mapping.
  static Result<std::unique_ptr<ConsumerCore>> open(const Bus& bus, std::shared_ptr<TopicFiles> files,
                                                    ConsumerConfig config) {
    if (!config.topics.empty() || !config.pattern.empty())
      return Failure{Errc::invalid_argument, "topics, pattern: they are for a Consumer of the bus, not of a Topic"};
    auto core = make(bus, std::move(config), Schema{}, files->name());
    if (!core) return core;
    if (auto done = (*core)->assignment_.read_only_this(std::move(files)); !done) return done.error();
    return core;
  }
  /// Of what the config's topics and pattern say. Errors: invalid_argument, invalid_name, invalid_pattern,
  /// too_many_members, forked.
  static Result<std::unique_ptr<ConsumerCore>> open(const Bus& bus, ConsumerConfig config, const Schema& schema) {
    if (!config.partitions.empty())
      return Failure{Errc::invalid_argument, "partitions: they are for a Consumer of one Topic; or call assign()"};
    auto subscription = Subscription::make(config.topics, config.pattern);
    if (!subscription) return subscription.error();
    const std::string label = config.topics.empty() ? config.pattern : config.topics.front();
    auto core = make(bus, std::move(config), schema, label);
    if (!core) return core;
    if (auto done = (*core)->assignment_.subscribe(std::move(*subscription)); !done) return done.error();
    return core;
  }

  ConsumerCore(const ConsumerCore&) = delete;
  ConsumerCore& operator=(const ConsumerCore&) = delete;

  [[nodiscard]] TOWPATH_HOT BusCore& bus() const noexcept { return *bus_; }
  [[nodiscard]] const ConsumerConfig& config() const noexcept { return config_; }
  [[nodiscard]] const Clock& clock() const noexcept { return bus_->config().clock; }
  [[nodiscard]] TOWPATH_HOT Assignment& assignment() noexcept { return assignment_; }
  [[nodiscard]] TOWPATH_HOT Assignment::List& assigned() noexcept { return assignment_.all(); }

  /// The offset after the last record that can be read; moves no position. Errors: those of mapping.
  [[nodiscard]] static Result<Offset> end_of(const Assigned& assigned) {
    return log::Reader{assigned.reader.log(), assigned.topic->pins}.find_end();
  }

  /// The position is outside the log: to where auto_offset_reset says, a reader with a name to the first record that is
  /// left, unless records came up to it meanwhile.
  /// Errors: log_truncated (it is behind the end of a log that was recovered; moved there nevertheless),
  /// offset_out_of_range for none, corrupt, those of mapping.
  Result<void> return_to_log(Assigned& assigned) const {
    const std::uint64_t before = assigned.reader.position();
    const std::uint64_t start = assigned.reader.log().begin();  // first: no end that is found later is below it
    const auto end = end_of(assigned);
    if (!end) return end.error();
    const auto behind = static_cast<std::uint64_t>(end->value);
    if (start > behind) return Failure{Errc::corrupt, "the log begins behind its end"};
    const bool is_inside = before >= start && before <= behind;
    if (before > behind && assigned.reader.log().state().log_epoch.load(shm::acquire) > 0) {
      assigned.reader.seek(behind);  // told once, with the place where the log goes on
      return Failure{Errc::log_truncated, "a restart of the machine took records before this position; read on here"};
    }
    if (!is_inside && config_.auto_offset_reset == OffsetReset::none)
      return Failure{Errc::offset_out_of_range, "the position is outside the log and auto_offset_reset is none"};
    // What is still there was kept for a reader with a name: it passes over nothing else.
    const bool from_start = assigned.topic->seat || config_.auto_offset_reset == OffsetReset::earliest;
    const std::uint64_t target = from_start ? start : behind;
    assigned.reader.seek(is_inside ? before : target);
    if (assigned.reader.position() > before) assigned.missed += assigned.reader.position() - before;
    return {};
  }

  // ---- sleeping

  /// From any thread: the poll that waits, or the next one, returns at once, and the native handle becomes readable.
  void wakeup() noexcept {
    woken_.store(true, std::memory_order_seq_cst);  // pairs with the loads between announcing and sleeping
    if (!bus_->is_mine()) return;
    if (member_) shm::wake(member_.line().wake);
    if (auto* bell = shared_bell_.load(std::memory_order_acquire)) bell->signal();  // pairs with native_handle()
  }
  bool take_wakeup() noexcept {
    return woken_.load(std::memory_order_relaxed) && woken_.exchange(false, std::memory_order_acq_rel);
  }

  /// Sleeps until a record may be there, wakeup() was called, or `limit` is over, whichever is first; 50 ms at most.
  TOWPATH_COLD void sleep(Duration limit, bool is_blocked) noexcept {
    assignment_.look_again_after(look_again_after);
    const bool can_be_woken = member_ && register_all();
    // An open slot ahead: its producer may be dead, and nobody would wake us. Look again soon.
    const Duration longest = is_blocked     ? Duration{std::chrono::microseconds{50}}
                             : can_be_woken ? max_sleep
                                            : blind_sleep;
    limit = std::min(limit, longest);
    if (limit <= Duration::zero()) return;
    if (!can_be_woken) {
      if (!woken_.load(std::memory_order_relaxed)) std::this_thread::sleep_for(limit);
      return;
    }
    auto& word = member_.line().wake;
    member_.line().bell.store(0, shm::relaxed);  // ordered by the announcement, which the waker's swap acquires
    const std::uint32_t announced = shm::announce_sleep(word);
    TOWPATH_FAILPOINT("sleep.announced");
    if (woken_.load(std::memory_order_seq_cst)) return;  // pairs with the store in wakeup()
    if (!is_blocked) {
      if (!order_announcement()) limit = std::min(limit, blind_sleep);
      TOWPATH_FAILPOINT("sleep.ordered");
      if (has_something()) return;
    }
    count_wait();
    shm::sleep(word, announced, limit);
  }

  // ---- sleeping in an event loop of the user's

  /// See Consumer::native_handle(). Readable at first.
  Result<int> native_handle() {
    if (bell_) return bell_->descriptor();
    auto* members = bus_->members();
    auto bell = members ? shm::Doorbell::open(bus_->directory(), {member_.index(), incarnation()})
                        : shm::Doorbell::open_private();
    // Without the right to make a name nobody can ring: then it looks again and again, as a reader without rights does.
    if (!bell && bell.error() == Errc::permission_denied) bell = shm::Doorbell::open_private();
    if (!bell) return bell.error();
    bell_ = std::move(*bell);
    bell_->signal();
    is_signalled_ = true;
    shared_bell_.store(bell_.get(), std::memory_order_release);  // pairs with the acquire in wakeup()
    return bell_->descriptor();
  }
  [[nodiscard]] TOWPATH_HOT bool has_native_handle() const noexcept { return bell_ != nullptr; }

  /// Another poll may find something: the native handle, if there is one, is readable.
  void signal() noexcept {
    if (!bell_ || is_signalled_ || !bus_->is_mine()) return;
    bell_->signal();
    is_signalled_ = true;
  }

  /// After a poll that found nothing: the native handle is readable no more, until something may be there.
  TOWPATH_COLD void arm(bool is_blocked) noexcept {
    assignment_.look_again_after(look_again_after);
    // Before announcing: a ring for this announcement must not be taken for one of before.
    bell_->clear();
    is_signalled_ = false;
    woken_.exchange(false, std::memory_order_acq_rel);  // that poll was the answer; after clear(), or a signal is lost
    bool can_be_rung = member_ && bell_->has_name() && register_all();
    if (can_be_rung) {
      member_.line().bell.store(1, shm::relaxed);  // ordered by the announcement, which the waker's swap acquires
      shm::announce_sleep(member_.line().wake);
      TOWPATH_FAILPOINT("arm.announced");
      if (!is_blocked) can_be_rung = order_announcement();
    }
    const bool is_over = woken_.load(std::memory_order_seq_cst);  // pairs with the store in wakeup()
    if (is_over || !assignment_.is_current() || (!is_blocked && has_something())) return signal();
    count_wait();
    bell_->set_alarm(can_be_rung && !is_blocked ? max_sleep : blind_sleep);
  }

  /// For liveness: somebody else may see that this consumer polls.
  TOWPATH_HOT void note_progress() noexcept {
    if (member_) member_.line().progress.store(++polls_, shm::relaxed);
    if (has_name_) [[unlikely]]
      assignment_.publish();
  }
  [[nodiscard]] const shm::Member* member() const noexcept { return member_ ? &member_ : nullptr; }

 private:
  ConsumerCore(const Bus& bus, ConsumerConfig config, const Schema& schema)
      : bus_{bus.core()},
        config_{std::move(config)},
        has_name_{!config_.name.empty()},
        assignment_{bus, config_, schema} {}

  static Result<std::unique_ptr<ConsumerCore>> make(const Bus& bus, ConsumerConfig config, const Schema& schema,
                                                    std::string_view label) {
    if (auto fine = bus.core()->usable(); !fine) return fine.error();
    if (config.max_poll_records < 1) return Failure{Errc::invalid_argument, "max_poll_records: 1 or more"};
    if (auto fine = check_reader_name(config.name); !fine && !config.name.empty()) return fine.error();
    auto core = std::unique_ptr<ConsumerCore>{new ConsumerCore{bus, std::move(config), schema}};
    if (!core->bus_->members()) return core;
    const auto& name = core->config_.name;
    auto member = core->bus_->claim(shm::MemberKind::consumer, name.empty() ? label : std::string_view{name});
    if (!member) return member.error();
    core->member_ = std::move(*member);
    return core;
  }

  [[nodiscard]] std::uint64_t incarnation() const noexcept {
    return member_.line().incarnation.load(shm::relaxed);  // mine: only a claim changes it
  }

  /// In every partition's waiter mask, once. False if some partition's cannot be had: then nobody may wake us.
  bool register_all() noexcept {
    bool all = true;
    has_sole_writer_ = false;
    for (auto& assigned : assigned()) {
      has_sole_writer_ = has_sole_writer_ || assigned->reader.log().format().one_writer;
      if (assigned->registration) continue;
      auto* block = assigned->reader.log().waits();
      if (block) assigned->registration = log::WaiterRegistration::enter(*block, member_);
      all = all && block;
    }
    return all;
  }

  /// Before the recheck. A partition's only writer commits by a store and then looks who sleeps, and nothing on its
  /// side keeps the look from being first: this barrier does, so that it sees the announcement or the recheck its
  /// record. False if the kernel refuses: then sleep for a moment only. A few microseconds.
  [[nodiscard]] bool order_announcement() const noexcept {
    if (!has_sole_writer_ || shm::barrier_everywhere()) return true;
    shm::full_fence();
    return false;
  }

  /// The recheck between announcing sleep and sleeping.
  [[nodiscard]] bool has_something() noexcept {
    for (auto& assigned : assigned())
      if (!assigned->paused && assigned->reader.has_something()) return true;
    return false;
  }

  void count_wait() noexcept {
    if (!assigned().empty() && assigned().front()->reader.log().may_help())
      assigned().front()->reader.log().state().waits.fetch_add(1, shm::relaxed);
  }

  std::shared_ptr<BusCore> bus_;
  ConsumerConfig config_;
  bool has_name_;
  shm::Member member_;
  Assignment assignment_;         // goes before the member that is registered
  bool has_sole_writer_ = false;  // among the partitions that it waits for is one with one writer
  std::uint64_t polls_ = 0;
  std::atomic<bool> woken_{false};
  std::unique_ptr<shm::Doorbell> bell_;
  bool is_signalled_ = false;
  std::atomic<shm::Doorbell*> shared_bell_{nullptr};
};

}  // namespace towpath::inline TOWPATH_ABI::detail
