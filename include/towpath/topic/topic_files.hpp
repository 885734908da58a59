// One topic as one process has it open: its config, its state and wait blocks, and a PartitionLog for each partition
// that somebody asked for. Shared by all handles of the topic in this process; thread-safe.
#pragma once

#include <mutex>
#include <unordered_map>

#include <towpath/log/reader.hpp>
#include <towpath/topic/bus_core.hpp>
#include <towpath/topic/config_text.hpp>
#include <towpath/topic/names.hpp>
#include <towpath/topic/reader_table.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// What a topic is opened for.
enum class Purpose {
  use,
  deletion,  ///< also with a damaged config: for the flags of its partitions, never for its records
};

class TopicFiles {
 public:
  /// Opens what stands in topics/<name>/. Errors: unknown_topic, corrupt, newer_format, and those of the system.
  static Result<std::shared_ptr<TopicFiles>> open(std::shared_ptr<BusCore> core, const std::string& name,
                                                  Purpose purpose = Purpose::use) {
    auto topic = std::shared_ptr<TopicFiles>{new TopicFiles{std::move(core), name}};
    auto folder = topic->core_->directory().open_folder(("topics/" + name).c_str());
    if (!folder)
      return folder.error() == Errc::not_found ? Failure{Errc::unknown_topic, "no topic of that name"} : folder.error();
    topic->folder_ = std::move(*folder);
    const auto text = shm::read_file(*topic->folder_, "config", 64 * 1024);
    auto stored = text ? parse_config(*text) : Result<StoredConfig>{text.error()};
    if (stored.error() == Errc::not_found) return Failure{Errc::unknown_topic, "the topic is going away"};
    if (!stored && (stored.error() != Errc::corrupt || purpose == Purpose::use)) return stored.error();
    if (stored) topic->stored_ = std::move(*stored);
    topic->set_format();
    auto opened = topic->open_pins();
    if (opened) opened = topic->map_blocks(1);
    if (opened.error() == Errc::not_found)
      return topic->is_in_place() ? Failure{Errc::corrupt, "a topic lacks one of its files"}
                                  : Failure{Errc::unknown_topic, "the topic is going away"};
    if (!opened) return opened.error();
    return topic;
  }

  TopicFiles(const TopicFiles&) = delete;
  TopicFiles& operator=(const TopicFiles&) = delete;
  ~TopicFiles() {
    if (folder_) shm::RegionCache::instance().forget(*folder_);
  }

  [[nodiscard]] BusCore& core() const noexcept { return *core_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const StoredConfig& stored() const noexcept { return stored_; }
  [[nodiscard]] const log::PartitionFormat& format() const noexcept { return format_; }
  [[nodiscard]] log::TopicWords& words() const noexcept { return *words_; }
  [[nodiscard]] bool is_writable() const noexcept { return writable_; }
  /// The topic's folder, whatever it is called by now.
  [[nodiscard]] shm::Directory& directory() const noexcept { return *folder_; }

  /// Is the reader on the topic's list, so that what it has not read is kept?
  [[nodiscard]] bool waits_for(std::string_view reader) const { return readers_.contains(reader); }

  /// How many partitions there are now; another process may add some.
  [[nodiscard]] std::int32_t partitions() const noexcept {
    return static_cast<std::int32_t>(
        std::min(header_->partitions.load(shm::acquire), static_cast<std::uint32_t>(max_partitions)));
  }

  /// The log of a partition; lives as long as this. Errors: unknown_partition, corrupt.
  Result<const log::PartitionLog*> partition(PartitionId id) {
    const std::lock_guard hold{mutex_};
    if (id.value < 0 || id.value >= partitions())
      return Failure{Errc::unknown_partition, "the topic has fewer partitions"};
    if (const auto known = logs_.find(id.value); known != logs_.end()) return known->second.get();
    if (auto mapped = map_blocks(static_cast<std::uint64_t>(id.value) + 1); !mapped) return mapped.error();
    auto log = std::make_unique<log::PartitionLog>(parts(id.value));
    return logs_.emplace(id.value, std::move(log)).first->second.get();
  }

  /// A descriptor of the pins file that may hold locks, one per Consumer. Errors: too_many_files, permission_denied.
  Result<std::shared_ptr<log::Pins>> open_pins_holder() const {
    auto file = shm::LockDescriptor::open([this] { return folder_->open("pins", shm::Access::read); });
    if (!file) return file.error();
    return std::make_shared<log::Pins>(log::Pins{std::move(*file), {}, name_});
  }

  /// Says that the topic has `count` partitions, whose blocks are allocated and filled.
  void publish_partitions(std::uint32_t count) noexcept {
    header_->partitions.store(count, shm::release);   // pairs with the acquire in partitions()
    words_->config_version.fetch_add(1, shm::release);  // producers look again (FastPath)
  }

  /// Words of partition `i` of a mapped state file.
  static log::PartitionState* state_block(std::byte* file, std::uint64_t i) noexcept {
    return reinterpret_cast<log::PartitionState*>(file + log::blocks_offset + i * sizeof(log::PartitionState));
  }

 private:
  TopicFiles(std::shared_ptr<BusCore> core, std::string name) : core_{std::move(core)}, name_{std::move(name)} {}

  /// Is the held folder still what the topic's name stands for?
  [[nodiscard]] bool is_in_place() const {
    const auto held = folder_->identify("config");
    const auto named = core_->directory().identify(("topics/" + name_ + "/config").c_str());
    return held && named && held->id == named->id;
  }

  void set_format() {
    const auto storage = core_->directory().storage();
    format_.record_alignment = stored_.config.record_alignment;
    format_.value_alignment = std::max(least_value_alignment, stored_.type_alignment);
    format_.typical_frame = stored_.type_size == 0 ? 0
                                                   : align_up(align_up(16, format_.value_alignment) + stored_.type_size,
                                                              format_.record_alignment);
    format_.checksummed = stored_.checksummed;
    format_.one_writer = stored_.config.writers == Writers::one;
    format_.recycling = storage != shm::Storage::copy_on_write;
  }

  Result<void> open_pins() {
    auto asker = folder_->open("pins", shm::Access::read_write);
    if (!asker) asker = folder_->open("pins", shm::Access::read);  // read-only: never asks
    if (!asker) return asker.error();
    pins_ = std::move(*asker);
    return {};
  }

  /// Maps state and wait so far that the first `blocks` partitions are there; older maps stay, pointers into them too.
  Result<void> map_blocks(std::uint64_t blocks) {
    if (blocks <= mapped_) return {};
    const auto state_bytes = log::blocks_offset + blocks * sizeof(log::PartitionState);
    const auto wait_bytes = log::blocks_offset + blocks * sizeof(log::WaitBlock);
    bool writable = false;
    bool may_wait = false;
    auto state = map_file("state", log::state_magic, sizeof(log::PartitionState), state_bytes, writable);
    if (!state) return state.error();
    auto wait = map_file("wait", log::wait_magic, sizeof(log::WaitBlock), wait_bytes, may_wait);
    if (!wait) return wait.error();
    if (header_ && ((writable_ && !writable) || (may_wait_ && !may_wait)))
      return Failure{Errc::permission_denied, "the right to write the topic's files was taken away"};
    state_ = *state, wait_ = *wait;
    maps_.push_back(state_), maps_.push_back(wait_);
    if (!header_) {  // once: other threads read them without a lock, and every map shows the same words
      header_ = reinterpret_cast<log::BlocksHeader*>(state_->data());
      words_ = reinterpret_cast<log::TopicWords*>(state_->data() + log::topic_words_offset);
      writable_ = writable && may_wait, may_wait_ = may_wait;
      readers_.watch(*folder_, *words_);
    }
    mapped_ = (state_->size() - log::blocks_offset) / sizeof(log::PartitionState);
    mapped_ = std::min(mapped_, (wait_->size() - log::blocks_offset) / sizeof(log::WaitBlock));
    return {};
  }

  /// Writable if the rights allow it; `writable` says what became of it.
  Result<std::shared_ptr<shm::Region>> map_file(const char* file, std::uint64_t magic, std::uint32_t block_bytes,
                                                std::uint64_t bytes, bool& writable) {
    auto& cache = shm::RegionCache::instance();
    writable = !core_->is_read_only();
    auto region = writable ? cache.map(*folder_, file, shm::View::whole, bytes)
                           : Result<std::shared_ptr<shm::Region>>{Errc::permission_denied};
    if (!region && region.error() == Errc::permission_denied) {
      writable = false;
      region = cache.map(*folder_, file, shm::View::readable, bytes);
    }
    if (!region) return region;
    const auto* header = reinterpret_cast<const log::BlocksHeader*>((*region)->data());
    if (header->magic != magic || header->block_bytes != block_bytes)
      return Failure{Errc::corrupt, "a topic's state or wait file"};
    if (header->version > log::segment_format_version)
      return Failure{Errc::newer_format, "a topic's state file is of a newer format"};
    return region;
  }

  log::PartitionParts parts(std::int32_t id) const {
    log::PartitionParts parts;
    parts.directory = folder_.get();
    parts.bus = &core_->directory();
    parts.folder = std::to_string(id);
    parts.partition = id;
    parts.state = state_block(state_->data(), static_cast<std::uint64_t>(id));
    parts.words = words_;
    auto* waits = reinterpret_cast<log::WaitBlock*>(wait_->data() + log::blocks_offset) + id;
    parts.waits = may_wait_ ? waits : nullptr;
    parts.members = core_->members();
    parts.pins = &pins_;
    parts.maintainer = &core_->control().maintainer;
    parts.readers = &readers_;
    parts.writable = writable_;
    parts.format = format_;
    parts.clock = core_->config().clock;
    return parts;
  }

  std::shared_ptr<BusCore> core_;
  std::string name_;
  std::unique_ptr<shm::Directory> folder_;
  StoredConfig stored_;
  log::PartitionFormat format_;
  shm::FileDescriptor pins_;
  std::mutex mutex_;
  std::shared_ptr<shm::Region> state_;
  std::shared_ptr<shm::Region> wait_;
  std::vector<std::shared_ptr<shm::Region>> maps_;
  log::BlocksHeader* header_ = nullptr;
  log::TopicWords* words_ = nullptr;
  std::uint64_t mapped_ = 0;
  bool writable_ = false;
  bool may_wait_ = false;
  mutable ReaderTable readers_;
  std::unordered_map<std::int32_t, std::unique_ptr<log::PartitionLog>> logs_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail
