// The part of a Producer that does not know its value type: partitions, reservations, visibility.
// One thread; one open reservation, because a member line has one inflight word.
#pragma once

#include <towpath/log/appender.hpp>
#include <towpath/log/reader.hpp>
#include <towpath/produce/fast_path.hpp>
#include <towpath/produce/identity.hpp>
#include <towpath/produce/send_options.hpp>
#include <towpath/shm/tick_clock.hpp>
#include <towpath/topic/topic_files.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// What all records of one send have in common.
struct SendStamp {
  Timestamp time;
  log::ProducerMark first;  ///< of the first record; not present when the producer has no id
};

class ProducerCore {
 public:
  /// Errors: read_only, too_many_members, forked, invalid_argument, unsupported_compression; of an id, and of a topic
  /// whose one partition has one writer: busy and those of mapping.
  static Result<std::unique_ptr<ProducerCore>> open(std::shared_ptr<TopicFiles> files, const ProducerConfig& config,
                                                    std::uint64_t fixed_size) {
    if (auto fine = files->core().usable(); !fine) return fine.error();
    if (!files->is_writable()) return Failure{Errc::read_only, "this process may only read the topic"};
    if (config.max_block < Duration::zero()) return Failure{Errc::invalid_argument, "max_block: 0 or more"};
    if (config.compression != Compression::none)
      if (auto codec = log::find_codec(config.compression); !codec) return codec.error();
    auto member = files->core().claim(shm::MemberKind::producer, files->name());
    if (!member) return member.error();
    auto core =
        std::unique_ptr<ProducerCore>{new ProducerCore{std::move(files), std::move(*member), config, fixed_size}};
    if (core->is_sole_)
      if (auto mine = core->own_only_partition(); !mine) return mine.error();
    if (config.id == ProducerConfig::no_id) return core;
    auto identity = ProducerIdentity::take(*core->files_, config.id);
    if (!identity) return identity.error();
    core->identity_ = std::make_unique<ProducerIdentity>(std::move(*identity));
    core->is_plain_ = false;
    return core;
  }

  [[nodiscard]] TopicFiles& files() const noexcept { return *files_; }
  [[nodiscard]] TOWPATH_HOT Timestamp now() noexcept { return clock_.now(); }
  [[nodiscard]] std::int32_t partitions() const noexcept { return files_->partitions(); }
  [[nodiscard]] const ProducerConfig& config() const noexcept { return config_; }
  [[nodiscard]] std::uint64_t value_alignment() const noexcept { return value_alignment_; }
  [[nodiscard]] std::uint64_t record_alignment() const noexcept { return record_alignment_; }
  /// Null when the producer has no id.
  [[nodiscard]] TOWPATH_HOT ProducerIdentity* identity() const noexcept { return identity_.get(); }
  /// Neither an id nor the only writer: nothing that a send has to look after.
  [[nodiscard]] TOWPATH_HOT bool is_plain() const noexcept { return is_plain_; }
  /// Gives the records of a producer with an id their mark. Errors: duplicate_sequence, invalid_argument.
  TOWPATH_COLD Failure sign(log::ProducerMark& mark, const SendOptions& options) const noexcept {
    const auto next = identity_->next(options.sequence);
    if (next) mark = *next;
    return next.error();
  }
  /// The most that one batch may take of the log, in bytes.
  [[nodiscard]] std::uint64_t max_batch_bytes() const noexcept {
    return files_->words().segment_bytes.load(shm::relaxed);
  }

  /// May a record of this layout be sent now? Errors: forked, loan_open, message_too_large, invalid_argument.
  [[nodiscard]] TOWPATH_HOT Failure refuses(const log::FrameSpec& spec, const log::FrameLayout& layout) const noexcept {
    if (!files_->core().is_mine()) [[unlikely]]
      return {Errc::forked, "the producer was made before fork()"};
    if (has_loan_) [[unlikely]]
      return {Errc::loan_open, "this producer's loan was neither sent nor dropped"};
    if (spec.headers.size() > 65'535) [[unlikely]]
      return {Errc::invalid_argument, "headers: 65,535 at most"};
    // Part by part before the sum, which a size that makes no sense would overflow.
    const std::uint64_t limit = files_->words().max_message_bytes.load(shm::relaxed);
    bool fits = spec.value_size <= limit && spec.key.size() <= limit;
    for (const auto& header : spec.headers) fits = fits && header.key.size() <= limit && header.value.size() <= limit;
    if (!fits || layout.length - layout.value_at > limit) [[unlikely]]
      return {Errc::message_too_large, "value, key and headers together"};
    return {};
  }

  /// The partition's appender. Errors: unknown_partition.
  TOWPATH_HOT Result<log::Appender*> appender(std::int32_t partition) {
    const auto i = static_cast<std::size_t>(partition);
    if (fast_path_.is_outdated()) [[unlikely]]
      arm_fast_path();
    if (i < appenders_.size() && appenders_[i]) [[likely]] {
      touch(partition);
      return appenders_[i].get();
    }
    return make_appender(partition);
  }

  /// Room in the partition's log. In a topic that is on_full = block it waits for the readers,
  /// ProducerConfig::max_block at most. Errors: those of Appender::reserve(), timed_out.
  Result<log::Reservation> reserve(log::Appender& appender, log::Need need, std::uint64_t length) {
    const auto room = appender.reserve(need, length);
    return room ? room : reserve_later(room.error(), appender, need, length);
  }

  /// After an appender's reserve() said `refused`: waits for readers if that is what it takes, else returns it.
  /// A reader moves on when it likes and wakes nobody, so this looks again and again, less and less often.
  TOWPATH_COLD Result<log::Reservation> reserve_later(const Failure& refused, log::Appender& appender, log::Need need,
                                                      std::uint64_t length) {
    if (refused != Errc::queue_full) return refused;
    const auto& clock = files_->core().config().clock;
    const Monotonic begin = clock.steady();
    for (Duration pause = std::chrono::microseconds{20};; pause = std::min(pause * 2, longest_pause)) {
      if (files_->words().on_full.load(shm::relaxed) != static_cast<std::uint64_t>(OnFull::block)) return refused;
      const Duration left = config_.max_block - (clock.steady() - begin);
      if (left <= Duration::zero())
        return Failure{Errc::timed_out, "max_block: a reader of the topic's list did not get on in time"};
      std::this_thread::sleep_for(std::min(pause, left));
      auto room = appender.reserve(need, length);
      if (room || room.error() != Errc::queue_full) return room;
    }
  }

  /// Waits until all below `offset + 1` is resolved; helps like a reader meanwhile, so at most the grace for each
  /// stall.
  Result<void> wait_visible(std::int32_t partition, std::uint64_t offset) {
    auto log = files_->partition({partition});
    if (!log) return log.error();
    if (!pins_) {
      auto pins = files_->open_pins_holder();
      if (!pins) return pins.error();
      pins_ = std::move(*pins);
    }
    log::Reader reader{**log, pins_};
    for (int round = 0; (*log)->state().resolved_to.load(shm::acquire) <= offset; ++round) {
      if ((*log)->is_deleted()) return Failure{Errc::topic_deleted, "the topic was deleted under this producer"};
      if ((*log)->state().log_start.load(shm::acquire) > offset) return {};  // retention took it: nobody waits for it
      auto end = reader.find_end();
      if (!end) return end.error();
      if (end->value > static_cast<std::int64_t>(offset)) return {};
      if (reader.help()) continue;
      if (round > 100) std::this_thread::sleep_for(std::chrono::microseconds{20});
    }
    return {};
  }

  /// Must a send return only when its record is on stable storage?
  [[nodiscard]] TOWPATH_HOT bool is_each_durable() const noexcept {
    return files_->words().durability.load(shm::relaxed) == 2;  // beside max_message_bytes, which refuses() read
  }

  /// What a send waits for: that every reader sees the record, and that it is durable if the topic wants that of each.
  TOWPATH_COLD Result<void> settle(std::int32_t partition, std::uint64_t offset) {
    auto seen = wait_visible(partition, offset);
    return seen && is_each_durable() ? wait_durable(partition, offset) : seen;
  }

  /// Flushes until the record at `offset`, which is visible, is durable. Errors: partition_failed and those of
  /// log::Flusher.
  Result<void> wait_durable(std::int32_t partition, std::uint64_t offset) {
    auto log = files_->partition({partition});
    if (!log) return log.error();
    auto done = log::Flusher{**log, member_}.flush_to(offset + 1);
    // Nobody is to append there. An open loan has the member's hazard words: then maintenance closes it.
    if (done || done.error() != Errc::partition_failed || has_loan_) return done;
    if (auto mine = appender(partition); mine) (*mine)->close();
    return done;
  }

  /// As settle(), for the last record sent to each partition since the last flush, and durable also where maintenance
  /// would flush at its interval.
  Result<void> flush() {
    if (auto fine = files_->core().usable(); !fine) return fine;
    for (std::size_t i = 0; i < last_.size(); ++i) {
      if (last_[i] < 0) continue;
      const auto partition = static_cast<std::int32_t>(i);
      const auto offset = static_cast<std::uint64_t>(last_[i]);
      auto done = wait_visible(partition, offset);
      if (done && files_->words().durability.load(shm::relaxed) != 0) done = wait_durable(partition, offset);
      if (!done) return done;
      last_[i] = -1;
    }
    return {};
  }

  TOWPATH_HOT void sent(std::int32_t partition, Offset offset) noexcept {
    last_[static_cast<std::size_t>(partition)] = offset.value;
  }

  void begin_loan() noexcept { has_loan_ = true, fast_path_.disarm(); }
  void end_loan() noexcept {
    has_loan_ = false;
    if (files_->core().is_mine()) arm_fast_path();
  }

  [[nodiscard]] TOWPATH_HOT const FastPath& fast_path() const noexcept { return fast_path_; }

 private:
  ProducerCore(std::shared_ptr<TopicFiles> files, shm::Member member, const ProducerConfig& config,
               std::uint64_t fixed_size)
      : files_{std::move(files)},
        member_{std::move(member)},
        config_{config},
        clock_{files_->core().config().clock},
        value_alignment_{files_->format().value_alignment},
        record_alignment_{files_->format().record_alignment},
        fixed_size_{fixed_size},
        is_sole_{files_->format().one_writer},
        is_plain_{!is_sole_},
        fast_path_{files_->words(), files_->core().fork_watch()} {}

  /// Which partitions it will write is known only where there is one; of others the first send tells.
  Result<void> own_only_partition() {
    shm::register_for_barriers();  // takes milliseconds the first time: not in the first send
    if (partitions() != 1) return {};
    auto only = appender(0);
    return only ? (*only)->own() : Result<void>{only.error()};
  }

  TOWPATH_COLD Result<log::Appender*> make_appender(std::int32_t partition) {
    auto log = files_->partition({partition});
    if (!log) return log.error();
    const auto i = static_cast<std::size_t>(partition);
    if (i >= appenders_.size()) appenders_.resize(i + 1), last_.resize(i + 1, -1), used_.resize(i + 1, 0);
    appenders_[i] = std::make_unique<log::Appender>(**log, member_, &locks_);
    touch(partition);
    arm_fast_path();
    return appenders_[i].get();
  }

  /// May sends take the short way? Asked when an appender is there, after a loan, and when the settings changed.
  TOWPATH_COLD void arm_fast_path() noexcept {
    const auto& words = files_->words();
    const std::uint64_t version = words.config_version.load(shm::acquire);  // before what it stands for
    const bool may = fixed_size_ != 0 && !identity_ && !has_loan_ && partitions() == 1 && !appenders_.empty() &&
                     !files_->format().checksummed && !is_each_durable() &&
                     fixed_size_ <= words.max_message_bytes.load(shm::relaxed);
    fast_path_.arm(may ? appenders_.front().get() : nullptr, version,
                   align_up(sizeof(log::FrameHeader), value_alignment_), fixed_size_, record_alignment_);
  }

  /// Keeps the number of mapped segments of this producer within its share of the process's maps.
  TOWPATH_HOT void touch(std::int32_t partition) {
    if (appenders_.size() <= max_mapped_) return;
    note_use(static_cast<std::size_t>(partition));
  }

  TOWPATH_COLD void note_use(std::size_t partition) {
    used_[partition] = ++tick_;
    if (appenders_[partition]->segment()) return;  // it maps nothing new
    std::size_t mapped = 0;
    std::size_t oldest = partition;
    for (std::size_t i = 0; i < appenders_.size(); ++i) {
      if (!appenders_[i] || !appenders_[i]->segment()) continue;
      ++mapped;
      if (i != partition && used_[i] < used_[oldest]) oldest = i;
    }
    if (mapped > max_mapped_ && oldest != partition) appenders_[oldest]->park();
  }

  /// A quarter of the maps that the process may have: above that a send to all in turn maps anew each time.
  static std::size_t share_of_maps() {
    static const std::size_t share = std::max<std::size_t>(64, shm::limits().maps / 4);
    return share;
  }
  static constexpr Duration longest_pause{std::chrono::milliseconds{1}};

  std::shared_ptr<TopicFiles> files_;
  shm::Member member_;
  ProducerConfig config_;
  shm::TickClock clock_;
  std::uint64_t value_alignment_;
  std::uint64_t record_alignment_;
  std::uint64_t fixed_size_;  // of the values; 0: none
  bool is_sole_;              // the topic has one writer per partition
  bool is_plain_;
  bool has_loan_ = false;
  std::size_t max_mapped_ = share_of_maps();
  FastPath fast_path_;
  log::WriterLocks locks_;
  std::vector<std::unique_ptr<log::Appender>> appenders_;
  std::vector<std::int64_t> last_;
  std::vector<std::uint64_t> used_;
  std::uint64_t tick_ = 0;
  std::shared_ptr<log::Pins> pins_;
  std::unique_ptr<ProducerIdentity> identity_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail
