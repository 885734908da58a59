// Maintains the topics of a bus, one process at a time by a role lock, in a thread of its own or in the caller's loop.
// A holder that stands still for two seconds (frozen) is not waited for: others then do the work too, which is
// harmless. Thread-safe. After a crash the kernel frees the role, and the next who asks goes on.
// The destructor ends the thread; where this process has the role it flushes first what an interval would have flushed
// later, which blocks for as long as the disk takes. It allocates, and memory that is refused there ends the process.
#pragma once

#include <thread>

#include <towpath/log/maintenance.hpp>
#include <towpath/topic/catalog_edit.hpp>
#include <towpath/topic/checkpoints.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

class Caretaker {
 public:
  static constexpr Duration frozen_after{std::chrono::seconds{2}};
  static constexpr Duration look_again_after{std::chrono::seconds{1}};
  static constexpr Duration export_after{std::chrono::seconds{60}};  // log.flush.offset.checkpoint.interval.ms

  Caretaker(std::shared_ptr<BusCore> core, Catalog& catalog) : core_{std::move(core)}, catalog_{&catalog} {}
  Caretaker(const Caretaker&) = delete;
  Caretaker& operator=(const Caretaker&) = delete;
  ~Caretaker() {
    stop();
    if (!core_->is_mine() || !has_role_) return;
    close();
    give_up_role();
  }

  /// One round, if this process has or gets the role. Errors: read_only, too_many_members, forked; no_space and the
  /// like from a partition, after the others had their turn.
  Result<void> step() {
    if (auto fine = core_->usable(); !fine) return fine;  // before the lock: a child may find it taken for ever
    const std::lock_guard hold{mutex_};
    if (auto ready = enter(); !ready) return ready;
    if (!may_work()) return {};
    auto& control = core_->control();
    if (has_role_)
      control.maintenance_progress.fetch_add(1, shm::relaxed);  // who works beside a frozen holder is not he
    const auto now = core_->config().clock.steady();
    const std::uint64_t generation = control.catalog_generation.load(shm::acquire);
    if (generation != generation_ || now - swept_ > look_again_after) {
      catalog_->sweep();
      unopened_ = refresh();
      generation_ = generation, swept_ = now;
    }
    Result<void> outcome = unopened_;
    for (auto& topic : topics_)
      for (auto& [id, care] : topic.partitions)
        if (auto done = look_after(topic, id, care, now); !done) outcome = done;
    if (std::exchange(has_worked_, false)) log::forget_gone_segments();  // asks every map of the process
    if (exported_ == Monotonic{}) exported_ = now;
    if (has_role_ && now - exported_ > (retired_ ? look_again_after : export_after))
      if (auto done = write_checkpoints(now); !done) outcome = done;
    return outcome;
  }

  /// What the thread's last round ended with; ok when all is well.
  Failure last_failure() {
    if (auto fine = core_->usable(); !fine) return fine.error();
    const std::lock_guard hold{mutex_};
    return last_;
  }

  /// Starts the thread. It sleeps until a roll wakes it or the interval is over.
  Result<void> start() {
    {
      const std::lock_guard hold{mutex_};
      if (auto ready = enter(); !ready) return ready;
    }
#if TOWPATH_EXCEPTIONS
    try {
      thread_ = std::thread{[this] { run(); }};
    } catch (const std::system_error&) {
      return Failure{Errc::out_of_memory, "no thread for maintenance: the limit of threads, or of memory"};
    }
#else
    thread_ = std::thread{[this] { run(); }};
#endif
    return {};
  }

 private:
  struct Care {
    std::unique_ptr<log::PartitionMaintenance> maintenance;
    std::uint64_t hint = 0;
    std::uint64_t live_bytes = 0;
    std::uint64_t log_start = 0;
    Monotonic due{};
  };
  struct Topic {
    std::shared_ptr<TopicFiles> files;
    std::shared_ptr<log::Pins> pins;
    std::unordered_map<std::int32_t, Care> partitions;
  };

  Result<void> enter() {
    if (auto fine = core_->usable(); !fine) return fine;
    if (member_) return {};
    auto member = core_->claim(shm::MemberKind::maintenance, "maintenance");
    if (!member) return member.error();
    member_ = std::move(*member);
    return {};
  }

  /// The role, or the sight of a holder that stands still, or no right to some topic: then beside whoever has the role.
  bool may_work() {
    auto& control = core_->control();
    if (!may_write_all_) {  // the role is for somebody who may; two at work are harmless
      if (has_role_) give_up_role();
      return true;
    }
    if (!has_role_ && core_->members()->take_role(shm::Role::maintenance)) {
      has_role_ = true;
      control.maintainer.store(member_.index() + 1, shm::release);  // pairs with wake_maintenance()
    }
    if (has_role_) return true;
    const std::uint64_t progress = control.maintenance_progress.load(shm::relaxed);
    const auto now = core_->config().clock.steady();
    if (progress != seen_progress_) seen_progress_ = progress, seen_at_ = now;
    if (now - seen_at_ <= frozen_after) return false;
    seen_at_ = now;  // one round, then another look at whether it moves
    return true;
  }

  void give_up_role() noexcept {
    std::uint32_t me = member_.index() + 1;
    core_->control().maintainer.compare_exchange(me, 0, shm::acq_rel, shm::relaxed);
    core_->members()->drop_role(shm::Role::maintenance);
    has_role_ = false;
  }

  /// Opens what is new, forgets what is gone. A topic that cannot be opened is left to whoever uses it; the last such
  /// failure is returned, after the others had their turn.
  Result<void> refresh() {
    const auto names = catalog_->names();
    if (!names) return names.error();
    Result<void> outcome;
    may_write_all_ = true;
    pause_ = core_->config().maintenance_interval;
    std::erase_if(topics_, [&](const Topic& topic) {
      const auto now = catalog_->open(topic.files->name());
      return !now || *now != topic.files;
    });
    for (const auto& name : *names) {
      auto files = catalog_->open(name);
      if (!files && files.error() != Errc::unknown_topic) outcome = files.error();
      if (files && !(*files)->is_writable()) may_write_all_ = false;
      if (!files || !(*files)->is_writable()) continue;
      auto known =
          std::find_if(topics_.begin(), topics_.end(), [&](const Topic& topic) { return topic.files == *files; });
      if (known == topics_.end()) {
        auto pins = (*files)->open_pins_holder();
        if (!pins) outcome = pins.error();
        if (!pins) continue;
        known = topics_.insert(topics_.end(), Topic{*files, std::move(*pins), {}});
      }
      for (std::int32_t i = 0; i < (*files)->partitions(); ++i) known->partitions.try_emplace(i);
      pause_ = std::min(pause_, longest_pause(**files));
    }
    return outcome;
  }

  /// A topic that is flushed at intervals is looked at as often.
  static Duration longest_pause(const TopicFiles& files) noexcept {
    if (files.words().durability.load(shm::relaxed) != static_cast<std::uint64_t>(DurabilityKind::interval))
      return Duration::max();
    const Duration interval{static_cast<std::int64_t>(files.words().flush_interval_ns.load(shm::relaxed))};
    return std::max(interval, Duration{std::chrono::milliseconds{1}});
  }

  Result<void> look_after(Topic& topic, std::int32_t id, Care& care, Monotonic now) {
    auto log = topic.files->partition({id});
    if (!log) return log.error();
    const auto& state = (*log)->state();
    const std::uint64_t live = state.live_bytes.load(shm::relaxed);
    const std::uint64_t hint = state.hint.load(shm::relaxed);
    const bool changed = hint != care.hint || live != care.live_bytes;
    if (!changed && now < care.due) return {};
    if (!care.maintenance) care.maintenance = std::make_unique<log::PartitionMaintenance>(**log, member_, topic.pins);
    const auto done = care.maintenance->step();
    has_worked_ = true;
    care.hint = state.hint.load(shm::relaxed);
    care.live_bytes = state.live_bytes.load(shm::relaxed);
    // A log that is written to is looked at often, for its end; one that stands still once a second, for its age.
    const bool moves = care.maintenance->is_moving();
    care.due =
        now + std::min(moves ? core_->config().maintenance_interval : look_again_after, longest_pause(*topic.files));
    const std::uint64_t start = std::max(state.log_start.load(shm::relaxed), state.deleted_to.load(shm::relaxed));
    retired_ = retired_ || start != care.log_start;
    care.log_start = start;
    if (care.live_bytes == 0) care.maintenance.reset();
    return done;
  }

  /// For people and tools; and the recovery point itself, so that recovery need not look at what was flushed long ago.
  Result<void> write_checkpoints(Monotonic now) {
    exported_ = now, retired_ = false;
    if (core_->directory().storage() == shm::Storage::memory) return {};
    Checkpoints checkpoints;
    Result<void> outcome;
    for (auto& topic : topics_) {
      if (auto kept = topic.files->directory().flush("state"); !kept) outcome = kept;
      for (const auto& [id, care] : topic.partitions)
        if (const auto log = topic.files->partition({id})) checkpoints.add(topic.files->name(), id, (*log)->state());
    }
    auto written = checkpoints.write(core_->directory());
    return written ? outcome : written;
  }

  /// The last round: what an interval would have flushed later is flushed now.
  void close() {
    const std::lock_guard hold{mutex_};
    for (auto& topic : topics_)
      for (auto& [id, care] : topic.partitions)
        if (care.maintenance) care.maintenance->close();
    if (!topics_.empty()) write_checkpoints(core_->config().clock.steady()).ignore();
  }

  /// A round that runs out of memory must not end the user's process.
  Failure guarded_step() noexcept {
#if TOWPATH_EXCEPTIONS
    try {
      return step().error();
    } catch (const std::exception&) {
      return {Errc::out_of_memory, "a round of maintenance was given up"};
    }
#else
    return step().error();
#endif
  }

  void run() noexcept {
    shm::become_background_thread("towpath-maint");
    while (!stopping_.load(std::memory_order_acquire)) {
      const auto done = guarded_step();
      Duration pause{};
      {
        const std::lock_guard hold{mutex_};
        last_ = done, pause = pause_;
      }
      auto& wake = member_.line().wake;
      const std::uint32_t announced = shm::announce_sleep(wake);
      // Pairs with the store in stop(): announced, then looked; stored, then woken.
      if (!stopping_.load(std::memory_order_seq_cst)) shm::sleep(wake, announced, pause);
    }
  }

  void stop() {
    if (!thread_.joinable()) return;
    if (!core_->is_mine()) return void(thread_.detach());  // in a child: the thread is not here
    stopping_.store(true, std::memory_order_seq_cst);      // pairs with both loads in run()
    shm::wake(member_.line().wake);
    thread_.join();
  }

  std::shared_ptr<BusCore> core_;
  Catalog* catalog_;
  std::mutex mutex_;
  shm::Member member_;
  bool has_role_ = false;
  bool may_write_all_ = true;  // as far as it is known
  std::uint64_t seen_progress_ = ~std::uint64_t{0};
  Monotonic seen_at_{};
  std::uint64_t generation_ = ~std::uint64_t{0};
  Monotonic swept_{};
  Monotonic exported_{};
  bool retired_ = false;     // since the last export
  bool has_worked_ = false;  // some partition was looked after in this round
  Duration pause_ = core_->config().maintenance_interval;
  std::vector<Topic> topics_;
  Result<void> unopened_;  // a topic that could not be opened at the last look at all
  Failure last_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail
