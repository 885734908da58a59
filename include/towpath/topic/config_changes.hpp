// A topic's settings by Kafka's property names, one at a time: what Admin's describe_configs and alter_configs do.
//   admin.alter_configs("pose", {{"retention.ms", "60000"}, {.name = "retention.bytes", .operation =
//   ConfigOperation::remove}})
// Stateless, so thread-safe; who reads, changes and writes a topic's settings holds its lock meanwhile (Catalog::edit).
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <towpath/topic/config_text.hpp>

namespace towpath::inline TOWPATH_ABI {

/// Kafka's AlterConfigOp, with its numbers.
enum class ConfigOperation : std::int8_t {
  set = 0,
  remove = 1,    ///< Kafka's DELETE: back to the default
  append = 2,    ///< adds names to a list; only towpath.readers is one
  subtract = 3,  ///< takes names out of a list
};

struct ConfigChange {
  std::string name;     ///< a Kafka property, or one that begins with "towpath."
  std::string value{};  ///< as the config file has it; not looked at for remove
  ConfigOperation operation = ConfigOperation::set;
};

struct ConfigEntry {
  std::string name;
  std::string value;
  std::string default_value;  ///< what a topic gets that is made here and now without this setting
  bool is_default = false;    ///< whether both are the same
  bool is_read_only = false;  ///< fixed when the topic is created
};

namespace detail {

struct TopicProperty {
  std::string_view name;
  const char* rule;  ///< what a failure says; begins with the name
  bool is_read_only = false;
  bool is_list = false;
};

inline constexpr std::array<TopicProperty, 12> topic_properties{{
    {"cleanup.policy", "cleanup.policy: delete (this version does not compact)"},
    {"retention.bytes", "retention.bytes: -1 (unlimited) or above 0"},
    {"retention.ms", "retention.ms: -1 (unlimited) or 1 to 9223372036854"},
    {"segment.bytes", "segment.bytes: 262144 (256 KiB) to 4294967296 (4 GiB), and no less than max.message.bytes"},
    {"max.message.bytes", "max.message.bytes: 1 to segment.bytes, and below 2 GiB"},
    {"flush.ms", "flush.ms: 1 to 86400000"},
    {"towpath.durability", "towpath.durability: none, interval or each; only none in memory and on tmpfs"},
    {"towpath.on.full", "towpath.on.full: drop_oldest, block or fail"},
    {"towpath.readers", "towpath.readers: 16 names at most, comma-separated, each as a topic's and once", false, true},
    {"towpath.grace.ms", "towpath.grace.ms: 1 to 3600000"},
    {"towpath.record.alignment", "towpath.record.alignment: 8, 16, 32 or 64, fixed when a topic is created", true},
    {"towpath.writers", "towpath.writers: many or one, fixed when a topic is created", true},
}};

inline const TopicProperty* find_property(std::string_view name) noexcept {
  for (const auto& property : topic_properties)
    if (property.name == name) return &property;
  return nullptr;
}

/// The config file's text with another value for one property.
inline std::string with_property(const std::string& text, std::string_view name, std::string_view value) {
  const auto line = "\n" + std::string{name} + "=";
  const auto at = text.find(line);
  if (at == std::string::npos) return text;
  const auto from = at + line.size();
  return text.substr(0, from) + std::string{value} + text.substr(text.find('\n', from));
}

inline std::string property_of(const StoredConfig& stored, std::string_view name) {
  return PropertyReader{to_text(stored)}.text(std::string{name}.c_str());
}

/// The names of `list` with those of `other` added or taken out.
inline std::string changed_list(const std::string& list, const std::string& other, ConfigOperation operation) {
  const auto names = ReaderList::of(list);
  const auto changes = ReaderList::of(other);
  if (!changes.is_valid()) return other;  // is refused as a value
  ReaderList changed = operation == ConfigOperation::append ? names : ReaderList{};
  for (std::size_t i = 0; operation == ConfigOperation::append && i < changes.size(); ++i) changed.add(changes[i]);
  for (std::size_t i = 0; operation == ConfigOperation::subtract && i < names.size(); ++i)
    if (!changes.contains(names[i])) changed.add(names[i]);
  return changed.is_valid() ? std::string{changed.text()} : list + "," + other;
}

/// The changes of one request to one topic, judged together: the order of properties in it does not matter.
class ConfigChanges {
 public:
  explicit ConfigChanges(std::span<const ConfigChange> changes, bool is_new_topic = false) noexcept
      : changes_{changes}, is_new_{is_new_topic} {}

  /// What the settings become. `settle` decides what depends on where the bus lies. Errors: invalid_argument (a name
  /// that is none, twice or no list; a value that is refused, with its rule), config_mismatch (fixed at creation).
  template <class Settle>
  [[nodiscard]] Result<TopicConfig> apply(const StoredConfig& now, const StoredConfig& defaults,
                                          const Settle& settle) const {
    if (auto fine = check_names(); !fine) return fine.error();
    const auto all = attempt(changes_, now, defaults, settle);
    if (all) return *all;
    for (std::size_t i = 0; i < changes_.size(); ++i)  // who is to blame?
      if (!attempt(changes_.subspan(i, 1), now, defaults, settle)) return refused(changes_[i]);
    return Failure{Errc::invalid_argument, "property values that do not fit each other: see max.message.bytes"};
  }

 private:
  [[nodiscard]] Result<void> check_names() const noexcept {
    for (std::size_t i = 0; i < changes_.size(); ++i) {
      const auto* property = find_property(changes_[i].name);
      if (!property) return Failure{Errc::invalid_argument, "property: topics have none of that name"};
      if (property->is_read_only && !is_new_) return Failure{Errc::config_mismatch, property->rule};
      const bool edits_list = changes_[i].operation > ConfigOperation::remove;
      if (changes_[i].operation > ConfigOperation::subtract || changes_[i].operation < ConfigOperation::set)
        return Failure{Errc::invalid_argument, "property: an operation that is none of set, remove, append, subtract"};
      if (edits_list && !property->is_list)
        return Failure{Errc::invalid_argument, "property: append and subtract are for lists"};
      for (std::size_t k = 0; k < i; ++k)
        if (changes_[k].name == changes_[i].name)
          return Failure{Errc::invalid_argument, "property: named twice in one request"};
    }
    return {};
  }

  static Failure refused(const ConfigChange& change) noexcept {
    return {Errc::invalid_argument, find_property(change.name)->rule};
  }

  /// None if the file's parser refuses it, or makes something else of a value than what was asked for.
  template <class Settle>
  static std::optional<TopicConfig> attempt(std::span<const ConfigChange> changes, const StoredConfig& now,
                                            const StoredConfig& defaults, const Settle& settle) {
    std::string text = to_text(now);
    std::vector<std::string> values;
    for (const auto& change : changes) {
      auto& value = values.emplace_back(change.value);
      if (change.operation == ConfigOperation::remove) value = property_of(defaults, change.name);
      if (change.operation > ConfigOperation::remove)
        value = changed_list(property_of(now, change.name), change.value, change.operation);
      if (value.find('\n') != std::string::npos) return std::nullopt;
      text = with_property(text, change.name, value);
    }
    auto parsed = parse_config(text);
    if (!parsed) return std::nullopt;
    parsed->config.partitions = now.config.partitions;
    parsed->config = settle(parsed->config);
    for (std::size_t i = 0; i < changes.size(); ++i)
      if (property_of(*parsed, changes[i].name) != values[i]) return std::nullopt;
    return parsed->config;
  }

  std::span<const ConfigChange> changes_;
  bool is_new_;
};

inline std::vector<ConfigEntry> config_entries(const StoredConfig& now, const StoredConfig& defaults) {
  std::vector<ConfigEntry> entries;
  PropertyReader values{to_text(now)};
  PropertyReader usual{to_text(defaults)};
  for (const auto& property : topic_properties) {
    const std::string name{property.name};
    auto value = values.text(name.c_str());
    auto default_value = usual.text(name.c_str());
    const bool is_default = value == default_value;
    entries.push_back({name, std::move(value), std::move(default_value), is_default, property.is_read_only});
  }
  return entries;
}

}  // namespace detail

}  // namespace towpath::inline TOWPATH_ABI
