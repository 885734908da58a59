// Admin looks after the topics of a bus: create, list, describe, alter, grow, delete. Thread-safe and process-safe;
// every change is whole or not at all, whoever dies in the middle.
#pragma once

#include <towpath/topic/topic.hpp>

namespace towpath::inline TOWPATH_ABI {

/// What there is to know about a topic.
struct TopicDescription {
  std::string name;
  std::string id;  ///< 32 hexadecimal digits; another one after the topic was deleted and made again
  TopicConfig config;
  std::string type_name;
  std::string encoding;
  std::uint64_t type_size = 0;
  std::uint64_t type_alignment = 1;
};

class Admin {
 public:
  explicit Admin(const Bus& bus) noexcept : bus_{bus} {}

  /// Makes a topic of untyped bytes; a typed one is made by Topic<T>{bus, name, config}.
  /// Errors: topic_exists, invalid_name, invalid_argument, no_space, read_only, forked, too_many_members.
  Result<void> create_topic(std::string_view name, const TopicConfig& config = {}) {
    return usable() ? bus_.catalog().create(std::string{name}, config, schema_of<Bytes, Serde<Bytes>>()) : usable();
  }

  /// Sorted by name. Errors: those of listing a folder.
  [[nodiscard]] Result<std::vector<std::string>> list_topics() const {
    if (auto fine = usable(); !fine) return fine.error();
    return bus_.catalog().names();
  }

  /// Errors: unknown_topic, invalid_name, corrupt, newer_format.
  [[nodiscard]] Result<TopicDescription> describe_topic(std::string_view name) const {
    if (auto fine = usable(); !fine) return fine.error();
    auto files = bus_.catalog().open(std::string{name});
    if (!files) return files.error();
    const auto& stored = (*files)->stored();
    TopicDescription found{(*files)->name(), stored.id,        stored.config,        stored.type_name,
                           stored.encoding,  stored.type_size, stored.type_alignment};
    found.config.partitions = (*files)->partitions();
    read_settings((*files)->words(), found.config);
    return found;
  }

  /// Changes retention, max_message_bytes, segment_bytes, on_full, readers, durability and grace, for all processes at
  /// once, all of them: a field that is left out gets its default, so begin with describe_topic(name).config.
  /// `partitions` is the topic's count or left out. Errors: unknown_topic, invalid_argument, config_mismatch
  /// (alignment), busy, read_only, forked, no_space (nothing was changed).
  Result<void> alter_topic(std::string_view name, const TopicConfig& config) {
    return usable() ? bus_.catalog().alter(std::string{name}, config) : usable();
  }

  /// Grows a topic to `partitions`. Records with a key may go elsewhere from then on, as in Kafka.
  /// Errors: unknown_topic, invalid_argument (fewer than now), busy, no_space, read_only.
  Result<void> create_partitions(std::string_view name, std::int32_t partitions) {
    return usable() ? bus_.catalog().grow(std::string{name}, partitions) : usable();
  }

  /// Its records are gone; whoever has it open gets topic_deleted. Errors: unknown_topic, read_only, forked,
  /// too_many_members.
  Result<void> delete_topic(std::string_view name) {
    return usable() ? bus_.catalog().remove(std::string{name}) : usable();
  }

 private:
  [[nodiscard]] Result<void> usable() const noexcept { return bus_.core()->usable(); }

  /// The words rule over what the file said when it was opened.
  static void read_settings(const log::TopicWords& words, TopicConfig& config) noexcept {
    const std::uint64_t bytes = words.retention_bytes.load(shm::relaxed);
    const std::uint64_t age = words.retention_age_ns.load(shm::relaxed);
    config.segment_bytes = words.segment_bytes.load(shm::relaxed);
    config.retention.bytes = bytes == 0 ? Retention::unlimited : bytes;
    config.retention.age = age == 0 ? Duration::max() : Duration{static_cast<std::int64_t>(age)};
    config.max_message_bytes = words.max_message_bytes.load(shm::relaxed);
    config.grace = Duration{static_cast<std::int64_t>(words.grace_ns.load(shm::relaxed))};
    config.on_full = static_cast<OnFull>(words.on_full.load(shm::relaxed));
    config.durability = {static_cast<DurabilityKind>(words.durability.load(shm::relaxed)),
                         Duration{static_cast<std::int64_t>(words.flush_interval_ns.load(shm::relaxed))}};
  }

  Bus bus_;
};

}  // namespace towpath::inline TOWPATH_ABI
