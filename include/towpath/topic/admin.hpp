// Admin looks after the topics of a bus, with the calls of Kafka's AdminClient: create, list, describe, alter, grow,
// delete, delete records, list offsets, describe the cluster. Thread-safe and process-safe; every change is whole or
// not at all, whoever dies in the middle. Calls for several topics go on after one that fails.
// kafka_error(failure) of core/kafka_error.hpp says what Kafka calls a failure.
#pragma once

#include <towpath/core/kafka_error.hpp>
#include <towpath/log/deletion.hpp>
#include <towpath/log/time_index.hpp>
#include <towpath/topic/cluster.hpp>
#include <towpath/topic/topic.hpp>

namespace towpath::inline TOWPATH_ABI {

class Admin {
 public:
  explicit Admin(const Bus& bus) noexcept : bus_{bus} {}

  // ---- topics

  /// Makes a topic of untyped bytes; a typed one is made by Topic<T>{bus, name, config}.
  /// What `config` asks for and cannot be had here, as durability in memory, is made to fit without a word.
  /// Errors: topic_exists, invalid_name, invalid_argument, no_space, read_only, permission_denied, forked,
  /// too_many_members.
  Result<void> create_topic(std::string_view name, const TopicConfig& config = {}, const AdminOptions& options = {}) {
    if (auto fine = usable(); !fine) return fine;
    if (options.validate_only) return bus_.catalog().check_new(std::string{name}, config);
    return bus_.catalog().create(std::string{name}, config, schema_of<Bytes, Serde<Bytes>>());
  }
  /// What is set by property name (NewTopic::configs) is taken as it is or refused, as durability in memory is. Errors
  /// as above; invalid_argument also for a name that is no property's, or is there twice.
  Result<void> create_topic(const NewTopic& topic, const AdminOptions& options = {}) {
    if (auto fine = usable(); !fine) return fine;
    if (auto fine = bus_.catalog().check_new(topic.name, topic.config); !fine) return fine;
    const auto config = settings_of(topic);
    return config ? create_topic(topic.name, *config, options) : config.error();
  }
  std::vector<TopicOutcome<>> create_topics(const std::vector<NewTopic>& topics, const AdminOptions& options = {}) {
    return each(topics, [&](const NewTopic& topic) { return create_topic(topic, options); });
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
    auto stored = detail::Catalog::settings(**files);
    if (!stored) return stored.error();
    return TopicDescription{(*files)->name(), stored->id,        stored->config,        stored->type_name,
                            stored->encoding, stored->type_size, stored->type_alignment};
  }
  [[nodiscard]] std::vector<TopicOutcome<TopicDescription>> describe_topics(
      const std::vector<std::string>& names) const {
    return each<TopicDescription>(names, [&](const std::string& name) { return describe_topic(name); });
  }

  /// Grows a topic to `partitions`. Records with a key may go elsewhere from then on, as in Kafka.
  /// Errors: unknown_topic, invalid_argument (fewer than now), busy, no_space, read_only.
  Result<void> create_partitions(std::string_view name, std::int32_t partitions, const AdminOptions& options = {}) {
    if (auto fine = usable(); !fine) return fine;
    return bus_.catalog().grow(std::string{name}, partitions, options.validate_only);
  }

  /// Its records are gone; whoever has it open gets topic_deleted. Errors: unknown_topic, invalid_name, corrupt,
  /// newer_format, read_only, forked, too_many_members, and those of the system.
  Result<void> delete_topic(std::string_view name) {
    return usable() ? bus_.catalog().remove(std::string{name}) : usable();
  }
  std::vector<TopicOutcome<>> delete_topics(const std::vector<std::string>& names) {
    return each(names, [&](const std::string& name) { return delete_topic(name); });
  }

  // ---- settings

  /// Changes retention, max_message_bytes, segment_bytes, on_full, readers, durability and grace, for all processes at
  /// once, all of them: a field that is left out gets its default, so begin with describe_topic(name).config, or use
  /// alter_configs(). `partitions` is the topic's count or left out. Errors: unknown_topic, invalid_argument,
  /// config_mismatch (alignment), busy, read_only, forked, no_space (nothing was changed).
  Result<void> alter_topic(std::string_view name, const TopicConfig& config) {
    return usable() ? bus_.catalog().alter(std::string{name}, config) : usable();
  }

  /// Every setting by its Kafka name. Errors as describe_topic().
  [[nodiscard]] Result<std::vector<ConfigEntry>> describe_configs(std::string_view name) const {
    if (auto fine = usable(); !fine) return fine.error();
    auto files = bus_.catalog().open(std::string{name});
    if (!files) return files.error();
    const auto stored = detail::Catalog::settings(**files);
    if (!stored) return stored.error();
    return detail::config_entries(*stored, defaults_of(*stored));
  }

  /// Changes only what is named (Kafka's IncrementalAlterConfigs), all of it or nothing; others may alter the topic at
  /// the same time. Errors: unknown_topic, invalid_argument (a name or a value, with its rule), config_mismatch (fixed
  /// at creation), busy, read_only, forked, no_space.
  Result<void> alter_configs(std::string_view name, const std::vector<ConfigChange>& changes,
                             const AdminOptions& options = {}) {
    if (auto fine = usable(); !fine) return fine;
    const auto change = [&](const detail::StoredConfig& now) {
      const auto settle = [&](const TopicConfig& config) { return bus_.catalog().settle(config, Schema{}); };
      return detail::ConfigChanges{changes}.apply(now, defaults_of(now), settle);
    };
    return bus_.catalog().edit(std::string{name}, change, options.validate_only);
  }

  // ---- records

  /// Deletes a partition's records before an offset, or all that can be read for all_records; what is deleted already
  /// stays so. Returns the first offset that is left. Readers below it are moved on as by retention. Room comes back
  /// with whole segments, and the last one stays. Errors: unknown_topic, invalid_name, unknown_partition,
  /// offset_out_of_range, read_only, forked, too_many_members, topic_deleted, corrupt, newer_format, those of mapping:
  /// nothing was deleted. io_error: they are deleted, but a power cut may bring them back.
  Result<Offset> delete_records(std::string_view name, PartitionId partition, Offset before) {
    auto place = find(name, partition);
    if (!place) return place.error();
    if (!place->files->is_writable()) return Failure{Errc::read_only, "this process may only read the topic"};
    const auto member = bus_.core()->claim(shm::MemberKind::maintenance, "delete records");
    if (!member) return member.error();
    return log::delete_records(*place->log, place->pins, *member, before.value);
  }
  std::vector<DeletedRecords> delete_records(std::string_view name, const std::vector<RecordsToDelete>& wanted) {
    std::vector<DeletedRecords> done;
    for (const auto& one : wanted) done.push_back({one.partition, delete_records(name, one.partition, one.before)});
    return done;
  }

  /// An offset of a partition, and the record's timestamp where one was looked for by time.
  /// Errors: unknown_topic, invalid_name, unknown_partition, corrupt, newer_format, forked, those of mapping.
  [[nodiscard]] Result<ListedOffset> list_offset(std::string_view name, PartitionId partition,
                                                 const OffsetSpec& spec) const {
    auto place = find(name, partition);
    if (!place) return place.error();
    if (spec.kind == OffsetSpec::Kind::earliest)
      return ListedOffset{partition, Offset{static_cast<std::int64_t>(place->log->begin())}};
    if (spec.kind == OffsetSpec::Kind::latest) {
      const auto end = log::Reader{*place->log, place->pins}.find_end();
      return end ? Result<ListedOffset>{ListedOffset{partition, *end}} : end.error();
    }
    const auto claimed = bus_.core()->claim(shm::MemberKind::maintenance, "list offsets");
    const auto* member = claimed ? &*claimed : nullptr;  // without a line no time index is left behind
    const auto found = spec.kind == OffsetSpec::Kind::max_timestamp
                           ? log::newest_record(*place->log, place->pins, member)
                           : log::record_for_time(*place->log, place->pins, member, spec.time);
    if (!found) return found.error();
    return *found ? ListedOffset{partition, (*found)->offset, (*found)->timestamp} : ListedOffset{partition};
  }
  /// The same of every partition, in order.
  [[nodiscard]] Result<std::vector<ListedOffset>> list_offsets(std::string_view name, const OffsetSpec& spec) const {
    if (auto fine = usable(); !fine) return fine.error();
    const auto files = bus_.catalog().open(std::string{name});
    if (!files) return files.error();
    std::vector<ListedOffset> offsets;
    for (std::int32_t i = 0; i < (*files)->partitions(); ++i) {
      auto offset = list_offset(name, {i}, spec);
      if (!offset) return offset.error();
      offsets.push_back(*offset);
    }
    return offsets;
  }

  // ---- the bus

  /// Its id, who maintains it, who takes part, how much there is. Errors: corrupt, forked, those of listing a folder.
  [[nodiscard]] Result<ClusterDescription> describe_cluster() const {
    if (auto fine = usable(); !fine) return fine.error();
    return detail::describe_cluster(bus_.catalog());
  }

 private:
  struct Place {
    std::shared_ptr<detail::TopicFiles> files;
    const log::PartitionLog* log;
    std::shared_ptr<log::Pins> pins;
  };

  [[nodiscard]] Result<void> usable() const noexcept { return bus_.core()->usable(); }

  [[nodiscard]] Result<Place> find(std::string_view name, PartitionId partition) const {
    if (auto fine = usable(); !fine) return fine.error();
    auto files = bus_.catalog().open(std::string{name});
    if (!files) return files.error();
    const auto log = (*files)->partition(partition);
    if (!log) return log.error();
    auto pins = (*files)->open_pins_holder();
    if (!pins) return pins.error();
    return Place{std::move(*files), *log, std::move(*pins)};
  }

  [[nodiscard]] Result<TopicConfig> settings_of(const NewTopic& topic) const {
    if (topic.configs.empty()) return topic.config;
    detail::StoredConfig now;
    now.config = topic.config;
    // As small as fits any segment, until it is known how large these are.
    const bool is_size_open = topic.config.max_message_bytes == 0;
    if (is_size_open) now.config.max_message_bytes = log::first_segment_bytes;
    const auto settle = [&](const TopicConfig& config) { return bus_.catalog().settle(config, Schema{}); };
    now.config = settle(now.config);
    auto config = detail::ConfigChanges{topic.configs, true}.apply(now, now, settle);
    const bool is_size_set = std::any_of(topic.configs.begin(), topic.configs.end(),
                                         [](const auto& change) { return change.name == "max.message.bytes"; });
    if (config && is_size_open && !is_size_set) config->max_message_bytes = 0;
    return config;
  }

  /// What the topic would be like if it were made here and now without settings; records as large as it can take now.
  [[nodiscard]] detail::StoredConfig defaults_of(const detail::StoredConfig& stored) const {
    auto defaults = stored;
    const auto fitting = bus_.catalog().settle(TopicConfig{.segment_bytes = stored.config.segment_bytes}, Schema{});
    defaults.config = bus_.catalog().settle(TopicConfig{}, Schema{{}, {}, 0, stored.type_alignment});
    defaults.config.max_message_bytes = fitting.max_message_bytes;
    return defaults;
  }

  static const std::string& name_of(const NewTopic& topic) noexcept { return topic.name; }
  static const std::string& name_of(const std::string& name) noexcept { return name; }

  template <class T = void, class Topics, class Do>
  static std::vector<TopicOutcome<T>> each(const Topics& topics, const Do& act) {
    std::vector<TopicOutcome<T>> outcomes;
    for (const auto& topic : topics) outcomes.push_back({name_of(topic), act(topic)});
    return outcomes;
  }

  Bus bus_;
};

}  // namespace towpath::inline TOWPATH_ABI
