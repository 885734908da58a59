// The part of a Consumer that does not know its value type: assignment, positions, sleeping.
// One thread, but for wakeup().
#pragma once

#include <atomic>

#include <towpath/consume/consumer_config.hpp>
#include <towpath/log/time_index.hpp>
#include <towpath/topic/topic_files.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// One assigned partition.
struct Assigned {
  Assigned(PartitionId partition, const log::PartitionLog& log, std::shared_ptr<log::Pins> pins)
      : id{partition}, reader{log, std::move(pins)} {}

  PartitionId id;
  log::Reader reader;
  bool has_position = false;
  bool paused = false;
  std::uint64_t missed = 0;  // not yet told
  log::WaiterRegistration registration;
};

class ConsumerCore {
 public:
  /// The longest sleep: a producer that dies between commit and wake costs no more.
  static constexpr Duration max_sleep{std::chrono::milliseconds{50}};
  /// A reader without rights is woken by nobody.
  static constexpr Duration blind_sleep{std::chrono::milliseconds{1}};

  /// Errors: too_many_members, forked, unknown_partition, invalid_argument, and those of mapping.
  static Result<std::unique_ptr<ConsumerCore>> open(std::shared_ptr<TopicFiles> files, ConsumerConfig config) {
    if (auto fine = files->core().usable(); !fine) return fine.error();
    if (config.max_poll_records < 1) return Failure{Errc::invalid_argument, "max_poll_records: 1 or more"};
    auto pins = files->open_pins_holder();
    if (!pins) return pins.error();
    auto core = std::unique_ptr<ConsumerCore>{new ConsumerCore{std::move(files), std::move(config), std::move(*pins)}};
    if (core->files_->core().members()) {
      auto member = core->files_->core().claim(shm::MemberKind::consumer, core->files_->name());
      if (!member) return member.error();
      core->member_ = std::move(*member);
    }
    core->all_partitions_ = core->config_.partitions.empty();
    if (auto assigned = core->all_partitions_ ? core->follow_growth() : core->assign(core->config_.partitions);
        !assigned)
      return assigned.error();
    return core;
  }

  ConsumerCore(const ConsumerCore&) = delete;
  ConsumerCore& operator=(const ConsumerCore&) = delete;
  ~ConsumerCore() {
    if (!files_->core().is_mine()) return;
    for (auto& assigned : assigned_) assigned->registration.leave();
  }

  [[nodiscard]] TopicFiles& files() const noexcept { return *files_; }
  [[nodiscard]] const ConsumerConfig& config() const noexcept { return config_; }
  [[nodiscard]] const Clock& clock() const noexcept { return files_->core().config().clock; }
  [[nodiscard]] std::vector<std::unique_ptr<Assigned>>& assigned() noexcept { return assigned_; }

  [[nodiscard]] Assigned* find(PartitionId id) noexcept {
    for (auto& assigned : assigned_)
      if (assigned->id == id) return assigned.get();
    return nullptr;
  }

  /// Replaces the assignment; partitions that stay keep position and pause. Errors: unknown_partition.
  Result<void> assign(const std::vector<PartitionId>& wanted) {
    if (auto fine = files_->core().usable(); !fine) return fine;
    const auto find_in = [](auto& all, PartitionId id) {
      return std::find_if(all.begin(), all.end(), [&](const auto& a) { return a && a->id == id; });
    };
    std::vector<std::unique_ptr<Assigned>> added;  // all of them, before anything changes
    for (const PartitionId id : wanted) {
      if (find(id) || find_in(added, id) != added.end()) continue;
      auto begun = begin(id, config_.auto_offset_reset);
      if (!begun) return begun.error();
      added.push_back(std::move(*begun));
    }
    std::vector<std::unique_ptr<Assigned>> next;
    for (const PartitionId id : wanted)
      for (auto* all : {&assigned_, &added})
        if (const auto found = find_in(*all, id); found != all->end()) next.push_back(std::move(*found));
    for (auto& gone : assigned_)
      if (gone) gone->registration.leave();
    assigned_ = std::move(next);
    all_partitions_ = false;
    return {};
  }

  /// Takes on partitions that were added, from their first record. One load when nothing changed.
  TOWPATH_HOT Result<void> follow_growth() {
    if (!all_partitions_ || static_cast<std::size_t>(files_->partitions()) == assigned_.size()) [[likely]]
      return {};
    return take_on_new();
  }

  /// The offset after the last record that can be read; moves no position. Errors: those of mapping.
  [[nodiscard]] Result<Offset> end_of(const Assigned& assigned) const {
    return log::Reader{assigned.reader.log(), pins_}.find_end();
  }

  /// To the first record (earliest) or behind the last (latest). Errors: those of mapping.
  Result<void> reset(Assigned& assigned, OffsetReset policy) {
    if (policy == OffsetReset::earliest) {
      assigned.reader.seek(assigned.reader.log().begin());
    } else if (auto end = assigned.reader.find_end(); !end) {
      return end.error();
    }
    assigned.has_position = true;
    return {};
  }

  /// The position is outside the log: to where auto_offset_reset says, unless records came up to it meanwhile.
  /// Errors: offset_out_of_range for none, corrupt, those of mapping.
  Result<void> return_to_log(Assigned& assigned) {
    const std::uint64_t before = assigned.reader.position();
    const auto end = end_of(assigned);
    if (!end) return end.error();
    const auto behind = static_cast<std::uint64_t>(end->value);
    const std::uint64_t start = assigned.reader.log().begin();
    if (start > behind) return Failure{Errc::corrupt, "the log begins behind its end"};
    const bool is_inside = before >= start && before <= behind;
    if (!is_inside && config_.auto_offset_reset == OffsetReset::none)
      return Failure{Errc::offset_out_of_range, "the position is outside the log and auto_offset_reset is none"};
    const std::uint64_t target = config_.auto_offset_reset == OffsetReset::earliest ? start : behind;
    assigned.reader.seek(is_inside ? before : target);
    if (assigned.reader.position() > before) assigned.missed += assigned.reader.position() - before;
    return {};
  }

  // ---- sleeping

  /// From any thread: the poll that waits, or the next one, returns at once.
  void wakeup() noexcept {
    woken_.store(true, std::memory_order_seq_cst);  // pairs with the load between announcing and sleeping
    if (member_ && files_->core().is_mine()) shm::wake(member_.line().wake);
  }
  bool take_wakeup() noexcept {
    return woken_.load(std::memory_order_relaxed) && woken_.exchange(false, std::memory_order_acq_rel);
  }

  /// Sleeps until a record may be there, wakeup() was called, or `limit` is over, whichever is first; 50 ms at most.
  TOWPATH_COLD void sleep(Duration limit, bool is_blocked) noexcept {
    // An open slot ahead: its producer may be dead, and nobody would wake us. Look again soon.
    const Duration longest = is_blocked                 ? Duration{std::chrono::microseconds{50}}
                             : member_ && can_register_ ? max_sleep
                                                        : blind_sleep;
    limit = std::min(limit, longest);
    if (limit <= Duration::zero()) return;
    if (!member_ || !can_register_) {
      if (!woken_.load(std::memory_order_relaxed)) std::this_thread::sleep_for(limit);
      return;
    }
    for (auto& assigned : assigned_)
      if (!assigned->registration) enter(*assigned);
    auto& word = member_.line().wake;
    const std::uint32_t announced = shm::announce_sleep(word);
    TOWPATH_FAILPOINT("sleep.announced");
    if (woken_.load(std::memory_order_seq_cst)) return;  // pairs with the store in wakeup()
    for (auto& assigned : assigned_)
      if (!assigned->paused && !is_blocked && assigned->reader.has_something()) return;
    count_wait();
    shm::sleep(word, announced, limit);
  }

  /// For liveness: somebody else may see that this consumer polls.
  TOWPATH_HOT void note_progress() noexcept {
    if (member_) member_.line().progress.store(++polls_, shm::relaxed);
  }
  [[nodiscard]] const shm::Member* member() const noexcept { return member_ ? &member_ : nullptr; }
  [[nodiscard]] const std::shared_ptr<log::Pins>& pins() const noexcept { return pins_; }

 private:
  ConsumerCore(std::shared_ptr<TopicFiles> files, ConsumerConfig config, std::shared_ptr<log::Pins> pins)
      : files_{std::move(files)}, config_{std::move(config)}, pins_{std::move(pins)} {}

  Result<std::unique_ptr<Assigned>> begin(PartitionId id, OffsetReset policy) {
    auto log = files_->partition(id);
    if (!log) return log.error();
    auto assigned = std::make_unique<Assigned>(id, **log, pins_);
    if (policy == OffsetReset::none) return assigned;
    if (auto done = reset(*assigned, policy); !done) return done.error();
    return assigned;
  }

  TOWPATH_COLD Result<void> take_on_new() {
    const bool first = assigned_.empty();
    for (auto i = static_cast<std::int32_t>(assigned_.size()); i < files_->partitions(); ++i) {
      auto begun = begin({i}, first ? config_.auto_offset_reset : OffsetReset::earliest);
      if (!begun) return begun.error();
      assigned_.push_back(std::move(*begun));
    }
    return {};
  }

  void enter(Assigned& assigned) noexcept {
    auto* block = assigned.reader.log().waits();
    if (!block) return void(can_register_ = false);
    assigned.registration = log::WaiterRegistration::enter(*block, member_);
  }

  void count_wait() noexcept {
    if (!assigned_.empty() && files_->is_writable())
      assigned_.front()->reader.log().state().waits.fetch_add(1, shm::relaxed);
  }

  std::shared_ptr<TopicFiles> files_;
  ConsumerConfig config_;
  std::shared_ptr<log::Pins> pins_;
  shm::Member member_;
  std::vector<std::unique_ptr<Assigned>> assigned_;
  bool all_partitions_ = true;
  bool can_register_ = true;
  std::uint64_t polls_ = 0;
  std::atomic<bool> woken_{false};
};

}  // namespace towpath::inline TOWPATH_ABI::detail
