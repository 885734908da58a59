// Recovery of a bus on disk after a restart of the machine: by whoever opens it first with the right to write, before
// anybody uses it. A role lock, which the kernel drops with its holder, makes it one process at a time; the others
// wait. It may die or lose power at any step: the bus says that it is recovered last of all, so the next one begins
// again.
#pragma once

#include <thread>

#include <towpath/log/recovery.hpp>
#include <towpath/topic/catalog_edit.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

class BusRecovery {
 public:
  explicit BusRecovery(std::shared_ptr<BusCore> core) noexcept : core_{std::move(core)} {}

  /// Errors: newer_format, recovery_needed (a topic that this process may not write), and those of the system.
  Result<void> run() {
    if (auto swept = remove_half_made(); !swept) return swept;
    auto names = Catalog{core_}.names();
    if (!names) return names.error();
    for (const auto& name : *names) {
      if (auto done = recover(name); !done) return done;
      TOWPATH_FAILPOINT("recover.topic");
    }
    auto& control = core_->control();
    control.next_uid.raise_to(last_uid_, shm::relaxed);
    // How many were handed out since the word was last on the disk is not known: so many never are.
    control.next_producer_id.store(((control.next_producer_id.load(shm::relaxed) >> 32) + 1) << 32, shm::relaxed);
    core_->clear_members();
    auto& bus = core_->directory();
    auto kept = bus.flush("ctl");
    if (kept) kept = bus.flush_folder("topics");
    if (kept) kept = bus.flush_folder("");
    TOWPATH_FAILPOINT("recover.before_mark");
    return kept ? core_->mark_recovered() : kept;
  }

 private:
  static bool is_temporary(const std::string& name) { return name.starts_with(".tmp-"); }

  Result<void> remove_half_made() {
    auto& bus = core_->directory();
    const auto root = bus.list("");
    if (!root) return root.error();
    for (const auto& name : *root)
      if (is_temporary(name)) bus.remove(name.c_str()).ignore();
    const auto topics = bus.list("topics");
    if (!topics) return topics.error();
    for (const auto& name : *topics)
      if (name.starts_with("~new-") || name.starts_with("~gone-"))
        if (auto gone = bus.remove_folder(("topics/" + name).c_str()); !gone) return gone;
    return {};
  }

  /// A topic whose files contradict themselves is left alone: whoever opens it is told.
  Result<void> recover(const std::string& name) {
    auto topic = TopicFiles::open(core_, name);
    if (!topic && (topic.error() == Errc::corrupt || topic.error() == Errc::unknown_topic)) return {};
    if (!topic) return topic.error();
    if (!(*topic)->is_writable())
      return Failure{Errc::recovery_needed,
                     "the machine was restarted; open the bus first by who may write its topics"};
    for (std::int32_t i = 0; i < (*topic)->partitions(); ++i)
      if (auto log = (*topic)->partition({i}); log && (*log)->is_deleted()) return take_away(name);
    // The file was flushed before the words were changed, which may be half there.
    publish_settings((*topic)->words(), (*topic)->stored().config);
    for (std::int32_t i = 0; i < (*topic)->partitions(); ++i) {
      auto log = (*topic)->partition({i});
      if (!log && log.error() == Errc::corrupt) return {};
      if (!log) return log.error();
      last_uid_ = std::max(last_uid_, (*log)->uid());
      if (auto done = log::LogRecovery{**log}.run(); !done) return done;
    }
    const auto left = (*topic)->directory().list("");
    if (!left) return left.error();
    for (const auto& file : *left) {
      if (is_temporary(file)) (*topic)->directory().remove(file.c_str()).ignore();
      if (file.starts_with(ReaderFile::name_of("")))
        if (auto done = cut_back(**topic, file); !done) return done;
    }
    return (*topic)->directory().flush("wait");
  }

  /// A reader's place may have reached the disk before the records that it had read: it stands at the end then, so that
  /// what comes there now is kept for it. A file that is damaged says nothing: its reader is one that never came.
  static Result<void> cut_back(TopicFiles& topic, const std::string& file) {
    const auto reader = ReaderFile::open(topic.directory(), file, topic.partitions(), true);
    if (!reader) return reader.error() == Errc::corrupt ? Result<void>{} : reader.error();
    for (std::int32_t i = 0; i < topic.partitions(); ++i) {
      const auto log = topic.partition({i});
      auto* entry = reader->entry(i);
      if (!log || !entry) continue;
      const std::uint64_t end = (*log)->state().resolved_to.load(shm::acquire);
      if (entry->stands_at.load(shm::acquire) > end + 1) entry->stands_at.store(end + 1, shm::release);
    }
    return topic.directory().flush(file.c_str());
  }

  /// Whoever deleted it came as far as saying so.
  Result<void> take_away(const std::string& name) {
    auto away = core_->directory().rename(("topics/" + name).c_str(), "topics/~gone-recovery");
    return away ? core_->directory().remove_folder("topics/~gone-recovery") : away;
  }

  std::shared_ptr<BusCore> core_;
  std::uint64_t last_uid_ = 0;
};

/// Recovers the bus, or waits for whoever does. Errors: recovery_needed, recovery_in_progress, unsupported_platform (no
/// boot id), and those of BusRecovery.
inline Result<void> recover(const std::shared_ptr<BusCore>& core) {
  if (!core->knows_boot()) return BusCore::no_boot_id();  // others may be using it at this moment
  if (core->is_read_only())
    return Failure{Errc::recovery_needed, "the machine was restarted, and nobody who may write opened the bus since"};
  const auto deadline = std::chrono::steady_clock::now() +
                        std::min<Duration>(core->config().recovery_timeout, std::chrono::hours{24 * 365});
  for (;;) {
    const auto mine = core->members()->take_role(shm::Role::recovery);
    if (!mine && mine.error() != Errc::busy) return mine;
    if (mine) {
      // Somebody else may have done it before the role came to us.
      auto done = core->is_restarted() ? BusRecovery{core}.run() : Result<void>{};
      core->members()->drop_role(shm::Role::recovery);
      return done;
    }
    if (std::chrono::steady_clock::now() >= deadline)
      return Failure{Errc::recovery_in_progress, "another process recovers the bus after a restart of the machine"};
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
}

}  // namespace towpath::inline TOWPATH_ABI::detail
