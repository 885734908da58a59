// The topics of a bus: what exists, making, growing, altering and deleting one. Every step is whole or not at all: a
// topic exists once its folder is renamed in, is gone once it is renamed away, and has a partition once the count says
// so. Thread-safe and process-safe; what a dead process left half-made is swept by maintenance.
#pragma once

#include <functional>

#include <towpath/log/rolling.hpp>
#include <towpath/topic/topic_files.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

class Catalog {
 public:
  explicit Catalog(std::shared_ptr<BusCore> core) noexcept : core_{std::move(core)} {}

  [[nodiscard]] const std::shared_ptr<BusCore>& core() const noexcept { return core_; }

  /// Names of all topics, sorted.
  [[nodiscard]] Result<std::vector<std::string>> names() const {
    auto found = core_->directory().list("topics");
    if (!found) return found.error();
    std::erase_if(*found, [](const std::string& name) { return !check_topic_name(name).has_value(); });
    std::sort(found->begin(), found->end());
    return found;
  }

  /// The topic, opened once per process. Errors: invalid_name, unknown_topic, corrupt, newer_format.
  Result<std::shared_ptr<TopicFiles>> open(const std::string& name) {
    if (auto fine = check_topic_name(name); !fine) return fine.error();
    const std::lock_guard hold{mutex_};
    const auto before = open_.find(name);
    if (auto topic = before == open_.end() ? nullptr : before->second.lock(); topic && !is_deleted(*topic))
      return topic;
    auto opened = TopicFiles::open(core_, name);
    if (opened && is_deleted(**opened)) {  // whoever began to delete it died, or is about to take it away
      auto member = core_->claim(shm::MemberKind::maintenance, "delete topic");
      if ((*opened)->is_writable() && member) {
        close_all(**opened);
        take_away(name, *member).ignore();
      }
      return Failure{Errc::unknown_topic, "the topic was deleted"};
    }
    if (opened) open_.insert_or_assign(name, *opened);
    return opened;
  }

  /// Could a topic be made now? Errors: topic_exists, invalid_name, invalid_argument, read_only.
  [[nodiscard]] Result<void> check_new(const std::string& name, const TopicConfig& config,
                                       const Schema& schema = {}) const {
    if (auto fine = check_topic_name(name); !fine) return fine;
    if (auto fine = check_topic_config(config); !fine) return fine;
    if (!is_alignment(schema.alignment))
      return Failure{Errc::invalid_argument, "alignment: a serde's is a power of two, 64 at most"};
    if (core_->is_read_only()) return Failure{Errc::read_only, "this process may only read the bus"};
    if (core_->directory().identify(("topics/" + name).c_str()))
      return Failure{Errc::topic_exists, "a topic of that name exists"};
    return {};
  }

  /// Errors: those of check_new(), no_space, too_many_members, forked.
  Result<void> create(const std::string& name, TopicConfig config, const Schema& schema) {
    if (auto fine = check_new(name, config, schema); !fine) return fine;
    auto member = core_->claim(shm::MemberKind::maintenance, "create topic");
    if (!member) return member.error();
    const auto folder = private_folder("~new-", *member);
    if (auto made = fill(folder, settle(config, schema), schema, config.partitions); !made) {
      core_->directory().remove_folder(folder.c_str()).ignore();
      return made;
    }
    TOWPATH_FAILPOINT("create.before_rename");
    const auto named = core_->directory().rename(folder.c_str(), ("topics/" + name).c_str());
    if (!named) core_->directory().remove_folder(folder.c_str()).ignore();
    if (!named && named.error() == Errc::already_exists)
      return Failure{Errc::topic_exists, "a topic of that name exists"};
    core_->control().catalog_generation.fetch_add(1, shm::release);  // pairs with the acquire in Caretaker::step()
    if (named)
      if (auto kept = core_->directory().flush_folder("topics"); !kept) return kept;
    return named;
  }

  /// Readers and writers that have it open get topic_deleted. Its config may be damaged. Errors: unknown_topic,
  /// read_only, too_many_members, corrupt (its other files), newer_format.
  Result<void> remove(const std::string& name) {
    auto topic = open(name);
    if (!topic && topic.error() == Errc::corrupt) topic = TopicFiles::open(core_, name, Purpose::deletion);
    if (!topic) return topic.error();
    if (!(*topic)->is_writable()) return Failure{Errc::read_only, "this process may only read the topic"};
    auto member = core_->claim(shm::MemberKind::maintenance, "delete topic");  // before anything changes
    if (!member) return member.error();
    const bool mine = close_all(**topic);
    TOWPATH_FAILPOINT("delete.flagged");
    const auto gone = take_away(name, *member);
    // Somebody who saw the flag may have been faster with the rest.
    return mine && gone.error() == Errc::unknown_topic ? Result<void>{} : gone;
  }

  /// Grows a topic to `partitions`; the present ones and their keys stay where they are. Errors: invalid_argument
  /// (fewer than now), unknown_topic, busy (somebody else grows it), no_space, read_only. Changes nothing for
  /// `validate_only`.
  Result<void> grow(const std::string& name, std::int32_t partitions, bool validate_only = false);

  /// Changes what may change. Errors: unknown_topic, invalid_argument, config_mismatch (alignment), read_only.
  Result<void> alter(const std::string& name, const TopicConfig& config);

  /// As alter(), where what is wanted depends on what is there: `change` is called under the lock of the settings.
  /// Nothing is written for `validate_only`. Errors: those of alter() and of `change`, busy, no_space.
  using Change = std::function<Result<TopicConfig>(const StoredConfig& now)>;
  Result<void> edit(const std::string& name, const Change& change, bool validate_only = false);

  /// A topic's settings and schema as they are now, whoever changed them. Errors: unknown_topic, corrupt, newer_format.
  static Result<StoredConfig> settings(TopicFiles& topic);

  /// The config with every automatic value decided.
  [[nodiscard]] TopicConfig settle(TopicConfig config, const Schema& schema) const {
    const bool memory = !core_->directory().is_lasting();
    if (config.retention.bytes == Retention::by_storage) {
      const std::uint64_t share = std::min(std::uint64_t{256} << 20, core_->directory().free_bytes() / 8);
      config.retention.bytes = memory ? std::max(share, std::uint64_t{1} << 20) : Retention::unlimited;
    }
    if (memory) config.durability.kind = DurabilityKind::none;
    if (config.durability.interval == Durability::by_storage) config.durability.interval = std::chrono::seconds{1};
    if (config.max_message_bytes == 0)
      config.max_message_bytes = std::min(std::uint64_t{16} << 20, config.segment_bytes);
    config.record_alignment = std::max({config.record_alignment, std::uint64_t{8}, schema.alignment});
    return config;
  }

  /// Removes what dead processes left of creations and deletions, and the doorbells of dead consumers.
  void sweep() {
    sweep_bells();
    const auto found = core_->directory().list("topics");
    if (!found) return;
    for (const auto& name : *found) {
      if (!name.starts_with("~new-") && !name.starts_with("~gone-")) continue;  // no topic can be called that
      if (core_->members()->is_left_behind(name.c_str() + name.find('-') + 1))
        core_->directory().remove_folder(("topics/" + name).c_str()).ignore();
    }
  }

 private:
  void sweep_bells() {
    const auto found = core_->directory().list(shm::doorbell_folder);
    for (std::size_t i = 0; found && i < found->size(); ++i)
      if (core_->members()->is_left_behind((*found)[i].c_str()))
        core_->directory().remove((std::string{shm::doorbell_folder} + "/" + (*found)[i]).c_str()).ignore();
  }

  /// From the first rename on the topic does not exist. Errors: unknown_topic (somebody else was faster).
  Result<void> take_away(const std::string& name, const shm::Member& member) {
    const auto away = private_folder("~gone-", member);
    const auto renamed = core_->directory().rename(("topics/" + name).c_str(), away.c_str());
    if (!renamed)
      return renamed.error() == Errc::not_found ? Failure{Errc::unknown_topic, "somebody else deleted it"} : renamed;
    core_->control().catalog_generation.fetch_add(1, shm::release);
    TOWPATH_FAILPOINT("delete.renamed");
    core_->directory().flush_folder("topics").ignore();  // else it may come back after a power cut
    log::forget_gone_segments();
    // A producer that looked before the flag may still be making a file in there: sweep() takes what is left.
    core_->directory().remove_folder(away.c_str()).ignore();
    return {};
  }

  static bool is_deleted(TopicFiles& topic) {
    const auto log = topic.partition({0});
    return log && (*log)->is_deleted();
  }

  /// Closes every partition; the first one's flag is what says that the topic goes. True if any was not marked before.
  static bool close_all(TopicFiles& topic) {
    bool mine = false;
    for (std::int32_t i = 0; i < topic.partitions(); ++i)
      if (auto log = topic.partition({i}); log) mine = mark_deleted(**log) || mine;
    topic.directory().flush("state").ignore();  // before its segments are closed: recovery ends what began
    for (std::int32_t i = 0; i < topic.partitions(); ++i) {
      if (auto log = topic.partition({i}); log) close_log(**log);
      TOWPATH_FAILPOINT("delete.closed_one");
    }
    return mine;
  }

  /// True if nobody had marked it.
  static bool mark_deleted(const log::PartitionLog& log) noexcept {
    // Pairs with is_deleted() after an appender's open: either it sees the flag, or its segment is closed afterwards.
    return (log.state().flags.fetch_or(log::partition_deleted, shm::seq_cst) & log::partition_deleted) == 0;
  }

  /// Turns the writers of a marked log away: a closed tail sends them to look for a segment, where they see the flag.
  static void close_log(const log::PartitionLog& log) {
    const auto bases = log.bases();
    for (std::size_t i = 0; bases && i < bases->size(); ++i) {
      const auto segment = log.open((*bases)[i], log::Use::append);
      if (!segment) continue;
      segment->header->tail.exchange(log::Tail::closed, shm::acq_rel);  // pairs with RESERVE's fetch_add
      segment->header->base.store(log::gone_base, shm::release);
    }
    log.wake();
  }

  [[nodiscard]] std::string private_folder(const char* prefix, const shm::Member& member) const {
    static std::atomic<unsigned long long> next{0};
    return std::string{"topics/"} + prefix + std::to_string(member.index()) + "." +
           std::to_string(member.line().incarnation.load(shm::relaxed)) + "." +
           std::to_string(next.fetch_add(1, std::memory_order_relaxed));
  }

  Result<void> fill(const std::string& folder, const TopicConfig& config, const Schema& schema,
                    std::int32_t partitions);
  Result<void> write_blocks(const std::string& file, std::uint64_t magic, std::uint32_t block_bytes,
                            std::int32_t partitions, unsigned mode, const TopicConfig* config);
  /// The lock under which a topic is grown or altered; dies with its holder.
  Result<shm::LockDescriptor> lock_config(TopicFiles& topic);

  std::shared_ptr<BusCore> core_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::weak_ptr<TopicFiles>> open_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail
