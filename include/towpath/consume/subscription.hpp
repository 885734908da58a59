// What a Consumer of a bus wants to read: topics by name, topics by pattern, or both; and what it has told the user
// about those that it cannot read. One thread; no shared state.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <towpath/core/pattern.hpp>
#include <towpath/topic/catalog.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// Something that happened to a topic, to be told once.
struct TopicNews {
  std::string topic;
  Failure failure;
};

class Subscription {
 public:
  /// Nothing.
  Subscription() = default;

  /// Errors: invalid_name, invalid_pattern, invalid_argument (neither a topic nor a pattern).
  static Result<Subscription> make(const std::vector<std::string>& topics, const std::string& pattern) {
    if (topics.empty() && pattern.empty())
      return Failure{Errc::invalid_argument, "topics, pattern: say at least one of them"};
    Subscription made;
    made.named_ = topics;
    for (const auto& name : topics)
      if (auto fine = check_topic_name(name); !fine) return fine.error();
    std::sort(made.named_.begin(), made.named_.end());
    made.named_.erase(std::unique(made.named_.begin(), made.named_.end()), made.named_.end());
    if (pattern.empty()) return made;
    auto compiled = Pattern::compile(pattern);
    if (!compiled) return compiled.error();
    made.pattern_.emplace(std::move(*compiled));
    return made;
  }

  [[nodiscard]] bool empty() const noexcept { return named_.empty() && !pattern_; }
  [[nodiscard]] bool names(const std::string& topic) const noexcept {
    return std::binary_search(named_.begin(), named_.end(), topic);
  }
  [[nodiscard]] const std::vector<std::string>& named() const noexcept { return named_; }

  /// The topics to read now, sorted: those named, whether they exist or not, and those that match. Errors: those of
  /// listing a folder.
  [[nodiscard]] Result<std::vector<std::string>> wanted(const Catalog& catalog) const {
    if (!pattern_) return named_;
    auto all = catalog.names();
    if (!all) return all;
    std::erase_if(*all, [&](const std::string& name) { return !names(name) && !pattern_->matches(name); });
    all->insert(all->end(), named_.begin(), named_.end());
    std::sort(all->begin(), all->end());
    all->erase(std::unique(all->begin(), all->end()), all->end());
    return all;
  }

 private:
  std::vector<std::string> named_;  // sorted
  std::optional<Pattern> pattern_;
};

/// Topics that cannot be read, each with the reason that was told last: a reason that stays is told once.
class Refusals {
 public:
  struct Refusal {
    Failure failure;
    std::string id;  ///< of the topic, if it could be opened
    bool is_old;     ///< it existed when it was subscribed to
  };

  /// True if this is new.
  bool note(const std::string& topic, const Failure& failure, const std::string& id, bool is_old) {
    const auto [at, added] = all_.try_emplace(topic, Refusal{failure, id, is_old});
    if (added || (at->second.failure == failure && at->second.id == id)) return added;
    at->second = Refusal{failure, id, at->second.is_old && is_old};
    return true;
  }
  /// The topic can be read, or is gone. Returns whether this one was there from the beginning and only could not be
  /// read.
  bool forget(const std::string& topic, const std::string& id = {}) {
    const auto found = all_.find(topic);
    if (found == all_.end()) return false;
    const bool was_old = found->second.is_old && (found->second.id.empty() || found->second.id == id);
    all_.erase(found);
    return was_old;
  }
  /// Of topics that are not `wanted` (sorted) any more nothing was said.
  void keep_only(const std::vector<std::string>& wanted) {
    std::erase_if(all_, [&](const auto& it) { return !std::binary_search(wanted.begin(), wanted.end(), it.first); });
  }
  void clear() noexcept { all_.clear(); }

 private:
  std::map<std::string, Refusal> all_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail
