// How the files of a topic are written: at creation, when it grows, when its settings change.
#pragma once

#include <towpath/topic/catalog.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// Puts the settings where every process reads them.
inline void publish_settings(log::TopicWords& words, const TopicConfig& config) noexcept {
  const auto age = config.retention.age;
  words.segment_bytes.store(config.segment_bytes, shm::relaxed);
  words.retention_bytes.store(config.retention.bytes == Retention::unlimited ? 0 : config.retention.bytes,
                              shm::relaxed);
  words.retention_age_ns.store(age == Duration::max() ? 0 : static_cast<std::uint64_t>(age.count()), shm::relaxed);
  words.max_message_bytes.store(config.max_message_bytes, shm::relaxed);
  words.grace_ns.store(static_cast<std::uint64_t>(config.grace.count()), shm::relaxed);
  words.on_full.store(static_cast<std::uint64_t>(config.on_full), shm::relaxed);
  TOWPATH_FAILPOINT("alter.half");
  words.durability.store(static_cast<std::uint64_t>(config.durability.kind), shm::relaxed);
  words.flush_interval_ns.store(static_cast<std::uint64_t>(config.durability.interval.count()), shm::relaxed);
  words.config_version.fetch_add(1, shm::release);
}

inline Result<void> Catalog::write_blocks(const std::string& file, std::uint64_t magic, std::uint32_t block_bytes,
                                          std::int32_t partitions, unsigned mode, const TopicConfig* config) {
  auto fd = core_->directory().create(file.c_str(), mode);
  if (!fd) return fd.error();
  const std::uint64_t bytes = log::blocks_offset + static_cast<std::uint64_t>(partitions) * block_bytes;
  if (auto room = shm::allocate(*fd, 0, bytes); !room) return room;
  log::BlocksHeader header{};
  header.magic = magic;
  header.version = log::segment_format_version;
  header.block_bytes = block_bytes;
  header.partitions.store(static_cast<std::uint32_t>(partitions), shm::relaxed);
  if (auto written = shm::write_all(*fd, &header, sizeof header, 0); !written) return written;
  if (!config) return core_->directory().flush(file.c_str());
  log::TopicWords words{};
  publish_settings(words, *config);
  if (auto written = shm::write_all(*fd, &words, sizeof words, log::topic_words_offset); !written) return written;
  const std::uint64_t first =
      core_->control().next_uid.fetch_add(static_cast<std::uint64_t>(partitions), shm::relaxed) + 1;
  for (std::int32_t i = 0; i < partitions; ++i) {
    const std::uint64_t uid = first + static_cast<std::uint64_t>(i);
    const auto at =
        log::blocks_offset + static_cast<std::uint64_t>(i) * block_bytes + offsetof(log::PartitionState, uid);
    if (auto written = shm::write_all(*fd, &uid, sizeof uid, at); !written) return written;
  }
  return core_->directory().flush(file.c_str());
}

inline Result<void> Catalog::fill(const std::string& folder, const TopicConfig& config, const Schema& schema,
                                  std::int32_t partitions) {
  auto& directory = core_->directory();
  if (auto made = directory.make_folder(folder.c_str()); !made) return made;
  TOWPATH_FAILPOINT("create.folder");
  StoredConfig stored;
  stored.config = config;
  char id[33];
  std::snprintf(id, sizeof id, "%016llx%016llx", static_cast<unsigned long long>(shm::random_bits()),
                static_cast<unsigned long long>(shm::random_bits()));
  stored.id = id;
  stored.type_name = schema.name;
  stored.encoding = schema.encoding;
  stored.type_size = schema.size;
  stored.type_alignment = schema.alignment;
  stored.checksummed = directory.is_lasting();
  if (auto done = shm::write_file(directory, (folder + "/config").c_str(), to_text(stored), 0640); !done) return done;
  if (auto done = shm::write_file(directory, (folder + "/pins").c_str(), "", 0644); !done) return done;
  TOWPATH_FAILPOINT("create.before_blocks");
  if (auto done = write_blocks(folder + "/wait", log::wait_magic, sizeof(log::WaitBlock), partitions, 0660, nullptr);
      !done)
    return done;
  for (std::size_t i = 0; i < config.readers.size(); ++i)
    if (auto done = ReaderFile::make(directory, folder + "/" + ReaderFile::name_of(config.readers[i]), partitions);
        !done)
      return done;
  if (auto done =
          write_blocks(folder + "/state", log::state_magic, sizeof(log::PartitionState), partitions, 0640, &config);
      !done)
    return done;
  return directory.flush_folder(folder.c_str());
}

inline Result<shm::LockDescriptor> Catalog::lock_config(TopicFiles& topic) {
  if (!topic.is_writable()) return Failure{Errc::read_only, "this process may only read the topic"};
  auto lock = shm::LockDescriptor::open([&] { return topic.directory().open("wait", shm::Access::read_write); });
  if (!lock) return lock;
  if (auto taken = shm::try_lock(lock->get(), 0, shm::LockKind::write); !taken)
    return Failure{Errc::busy, "somebody else changes the topic's settings"};
  return lock;
}

/// The words rule over what the file says: of a change that was cut off between the two only the readers are new.
inline void read_settings(const log::TopicWords& words, TopicConfig& config) noexcept {
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

inline Result<StoredConfig> Catalog::settings(TopicFiles& topic) {
  auto text = shm::read_file(topic.directory(), "config", 64 * 1024);
  if (!text)
    return text.error() == Errc::not_found ? Failure{Errc::unknown_topic, "the topic is going away"} : text.error();
  auto stored = parse_config(*text);
  if (!stored) return stored;
  stored->config.partitions = topic.partitions();
  read_settings(topic.words(), stored->config);
  return stored;
}

inline Result<void> Catalog::edit(const std::string& name, const Change& change, bool validate_only) {
  auto topic = open(name);
  if (!topic) return topic.error();
  auto lock = lock_config(**topic);
  if (!lock) return lock.error();
  auto after = settings(**topic);
  if (!after) return after.error();
  const std::uint64_t alignment = after->config.record_alignment;
  const Writers writers = after->config.writers;
  auto wanted = change(*after);
  if (!wanted) return wanted.error();
  if (auto fine = check_topic_config(*wanted); !fine || validate_only) return fine;
  after->config = settle(*wanted, Schema{});
  after->config.record_alignment = alignment;
  after->config.writers = writers;
  for (std::size_t i = 0; i < after->config.readers.size(); ++i)
    if (auto done = ReaderFile::make((*topic)->directory(), ReaderFile::name_of(after->config.readers[i]),
                                     (*topic)->partitions());
        !done)
      return done;
  // The words rule; the file is for people and for the next to open the topic. It goes first, for it may find no room.
  if (auto written = shm::write_file((*topic)->directory(), "config", to_text(*after), 0640, true); !written)
    return written;
  // The readers have no word, so they go by the file: every table looks there again, also if nobody comes any further.
  (*topic)->words().config_version.fetch_add(1, shm::release);                 // pairs with ReaderTable
  if (auto kept = (*topic)->directory().flush_folder(""); !kept) return kept;  // recovery goes by the file
  TOWPATH_FAILPOINT("alter.written");
  publish_settings((*topic)->words(), after->config);
  core_->control().catalog_generation.fetch_add(1, shm::release);
  return {};
}

inline Result<void> Catalog::alter(const std::string& name, const TopicConfig& wanted) {
  auto topic = open(name);
  if (!topic) return topic.error();
  if (auto fine = check_topic_config(wanted); !fine) return fine;
  if (wanted.record_alignment != 0 && wanted.record_alignment != (*topic)->stored().config.record_alignment)
    return Failure{Errc::config_mismatch, "record_alignment is fixed when a topic is created"};
  // The default is no wish, as with the partitions.
  if (wanted.writers != Writers::many && wanted.writers != (*topic)->stored().config.writers)
    return Failure{Errc::config_mismatch, "writers is fixed when a topic is created"};
  if (wanted.partitions != TopicConfig{}.partitions && wanted.partitions != (*topic)->partitions())
    return Failure{Errc::invalid_argument, "partitions: altering changes no count; use create_partitions"};
  return edit(name, [&](const StoredConfig&) { return wanted; });
}

inline Result<void> Catalog::grow(const std::string& name, std::int32_t partitions, bool validate_only) {
  auto topic = open(name);
  if (!topic) return topic.error();
  auto lock = lock_config(**topic);
  if (!lock) return lock.error();
  const std::int32_t before = (*topic)->partitions();
  if (partitions < before || partitions > max_partitions)
    return Failure{Errc::invalid_argument, "partitions: a topic only grows, to 32,767 at most"};
  if (partitions == before || validate_only) return {};
  const auto added = static_cast<std::uint64_t>(partitions - before);
  const std::uint64_t first = core_->control().next_uid.fetch_add(added, shm::relaxed) + 1;
  const auto extend = [&](const char* file, std::uint32_t block_bytes, bool with_uids) -> Result<void> {
    auto fd = (*topic)->directory().open(file, shm::Access::read_write);
    if (!fd) return fd.error();
    const std::uint64_t from = log::blocks_offset + static_cast<std::uint64_t>(before) * block_bytes;
    if (auto room = shm::allocate(*fd, from, added * block_bytes); !room) return room;
    for (std::uint64_t i = 0; with_uids && i < added; ++i) {
      const std::uint64_t uid = first + i;
      if (auto done =
              shm::write_all(*fd, &uid, sizeof uid, from + i * block_bytes + offsetof(log::PartitionState, uid));
          !done)
        return done;
    }
    return (*topic)->directory().flush(file);  // before the count, which is never above what is there
  };
  if (auto done = extend("wait", sizeof(log::WaitBlock), false); !done) return done;
  if (auto done = extend("state", sizeof(log::PartitionState), true); !done) return done;
  TOWPATH_FAILPOINT("grow.before_count");
  (*topic)->publish_partitions(static_cast<std::uint32_t>(partitions));
  core_->control().catalog_generation.fetch_add(1, shm::release);
  return (*topic)->directory().flush("state");
}

}  // namespace towpath::inline TOWPATH_ABI::detail
