// A Region is one mapping of one file, unmapped when its last user lets go. RegionCache gives the same Region to all
// who ask for the same file, so that a segment that comes back from recycling needs no new map and no page fault.
// Thread-safe. A child after fork() has none of the parent's regions (MADV_DONTFORK).
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include <pthread.h>
#include <sys/mman.h>

#include <towpath/core/config.hpp>
#if TOWPATH_EXCEPTIONS
#include <boost/interprocess/mapped_region.hpp>
#endif

#include <towpath/shm/directory.hpp>
#include <towpath/shm/fork.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

/// What of a file is mapped, and how.
enum class View {
  whole,     ///< all of it, read and write: producers
  readable,  ///< all of it, read only: consumers see data through this
  control,   ///< only the first bytes, read and write: header and slots, for a consumer that may help
};

#if TOWPATH_EXCEPTIONS
namespace detail {
/// Lets Boost.Interprocess map a file that we opened ourselves (from a held folder, without following links).
struct OpenedFile {
  boost::interprocess::mapping_handle_t handle;
  boost::interprocess::mode_t mode;
  [[nodiscard]] boost::interprocess::mapping_handle_t get_mapping_handle() const { return handle; }
  [[nodiscard]] boost::interprocess::mode_t get_mode() const { return mode; }
};
}  // namespace detail
#endif

class Region {
 public:
  /// Maps the first `size` bytes. Errors: too_many_maps (also when memory or addresses ran out: mmap does not tell),
  /// permission_denied, io_error.
  static Result<std::shared_ptr<Region>> map(const FileDescriptor& fd, std::size_t size, Access access) {
    auto region = std::shared_ptr<Region>{new Region};
#if TOWPATH_EXCEPTIONS
    namespace ipc = boost::interprocess;
    const auto mode = access == Access::read ? ipc::read_only : ipc::read_write;
    try {
      region->held_.map = ipc::mapped_region{detail::OpenedFile{{fd.get(), false}, mode}, mode, 0, size};
    } catch (const ipc::interprocess_exception& failed) {
      return map_failure(failed.get_native_error());
    }
#else
    void* at =
        ::mmap(nullptr, size, access == Access::read ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (at == MAP_FAILED) return map_failure(errno);
    region->data_ = static_cast<std::byte*>(at), region->size_ = size;
#endif
    ::madvise(region->data(), size, MADV_DONTFORK);
    return region;
  }

  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

#if TOWPATH_EXCEPTIONS
  ~Region() {
    if (is_mapped()) held_.map.~mapped_region();
  }
  [[nodiscard]] std::byte* data() const noexcept { return static_cast<std::byte*>(held_.map.get_address()); }
  [[nodiscard]] std::size_t size() const noexcept { return held_.map.get_size(); }
#else
  ~Region() {
    if (data_ && is_mapped()) ::munmap(data_, size_);
  }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
#endif

  /// Returns when all that was stored in the file, through whatever map, is on stable storage. Errors: io_error.
  [[nodiscard]] Result<void> flush() const noexcept { return flush_map(data(), size()); }

  /// Makes the pages present in this process now (Linux 5.14; elsewhere they come by faults).
  void populate(std::size_t from, std::size_t bytes, bool for_writing) const noexcept {
    const std::size_t page = page_bytes();
    const std::size_t begin = from / page * page;
    const std::size_t end = std::min(size(), from + bytes);
    if (begin < end)
      ::madvise(data() + begin, end - begin, for_writing ? 23 /* POPULATE_WRITE */ : 22 /* POPULATE_READ */);
  }

 private:
  Region() = default;

  /// Not in a child: nothing is mapped there, and by now something else may be at that address.
  [[nodiscard]] bool is_mapped() const noexcept { return ForkGuard::instance().generation() == generation_; }

  static Failure map_failure(int error) noexcept {
    return error == ENOMEM ? Failure{Errc::too_many_maps, "mmap: out of memory or maps (vm.max_map_count)"}
                           : system_failure(error, "mmap");
  }

#if TOWPATH_EXCEPTIONS
  union Held {  // destroyed by ~Region, or not at all
    boost::interprocess::mapped_region map;
    Held() : map{} {}
    ~Held() {}
  } held_;
#else
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
#endif
  std::uint64_t generation_ = ForkGuard::instance().generation();
};

class RegionCache {
 public:
  static RegionCache& instance() {
    static RegionCache& cache = *new RegionCache;  // never destroyed: handles may be globals
    // A child that opens a bus anew must not find the lock taken by a thread that it does not have.
    [[maybe_unused]] static const int registered = ::pthread_atfork(
        [] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); }, [] { instance().mutex_.unlock(); });
    return cache;
  }

  /// The file's region, from the cache when it is there: all of the file, or its first `at_least` bytes for
  /// View::control. Errors: not_found; corrupt (shorter than `at_least`); those of opening it and of Region::map.
  Result<std::shared_ptr<Region>> map(Directory& directory, const char* name, View view, std::size_t at_least) {
    if (TOWPATH_TSAN) view = View::whole;  // it sees a race only within one mapping
    const auto named = directory.identify(name);
    if (!named) return named.error();
    if (auto known = find({named->id, view}, at_least)) return known;
    auto file = directory.open(name, view == View::readable ? Access::read : Access::read_write);
    if (!file) return file.error();
    const auto about = status(*file);
    if (!about) return about.error();
    const Key opened{file_info(*about).id, view};
    const auto bytes = static_cast<std::size_t>(about->st_size);
    if (bytes < at_least || bytes == 0) return Failure{Errc::corrupt, "a file is shorter than its own header says"};
    const std::lock_guard hold{mutex_};
    if (auto known = find_locked(opened, at_least)) return known;
    auto region = Region::map(*file, view == View::control ? at_least : bytes,
                              view == View::readable ? Access::read : Access::read_write);
    if (!region) return region.error();
    make_room();
    entries_.insert_or_assign(opened, Entry{*region, &directory, ++tick_});
    return *region;
  }

  /// Drops what the cache holds of the region; whoever uses it keeps it. For files that were removed.
  void forget(const Region* region) {
    const std::lock_guard hold{mutex_};
    std::erase_if(entries_, [&](const auto& entry) { return entry.second.region.get() == region; });
  }

  /// Drops what was mapped through the directory, which is about to go; whoever uses a region keeps it.
  void forget(const Directory& directory) {
    const std::lock_guard hold{mutex_};
    std::erase_if(entries_, [&](const auto& entry) { return entry.second.owner == &directory; });
  }

  /// Drops the regions that nobody uses and of which `is_gone(region)` is true: their files were removed.
  template <class IsGone>
  void forget_idle(const IsGone& is_gone) {
    const std::lock_guard hold{mutex_};
    std::erase_if(entries_, [&](const auto& entry) {
      return entry.second.region.use_count() == 1 && is_gone(*entry.second.region);
    });
  }

  [[nodiscard]] std::size_t size() const {
    const std::lock_guard hold{mutex_};
    return entries_.size();
  }

  /// How many regions may be kept; those in use are never dropped, and while these are above the limit up to an
  /// eighth of it more are kept. Default: a quarter of vm.max_map_count.
  void set_limit(std::size_t limit) {
    const std::lock_guard hold{mutex_};
    limit_ = limit, next_search_ = 0;
  }

 private:
  struct Key {
    FileId id;
    View view;
    friend bool operator==(const Key&, const Key&) noexcept = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept {
      return (key.id.inode * 31 + key.id.device) * 4 + static_cast<std::size_t>(key.view);
    }
  };
  struct Entry {
    std::shared_ptr<Region> region;
    const Directory* owner;  // through which it was mapped; never followed
    std::uint64_t used;
  };

  std::shared_ptr<Region> find(const Key& key, std::size_t at_least) {
    const std::lock_guard hold{mutex_};
    return find_locked(key, at_least);
  }

  std::shared_ptr<Region> find_locked(const Key& key, std::size_t at_least) {
    if (const auto now = ForkGuard::instance().generation(); now != generation_) {
      entries_.clear();  // the parent's: not mapped here
      generation_ = now;
    }
    const auto entry = entries_.find(key);
    if (entry == entries_.end() || entry->second.region->size() < at_least) return nullptr;  // too small: the file grew
    entry->second.used = ++tick_;
    return entry->second.region;
  }

  /// Drops what nobody uses, longest unused first: what is above the limit and an eighth of it, so that a full cache
  /// is not searched at each miss. One that is full of what is in use is searched again when it grew by an eighth.
  void make_room() {
    if (entries_.size() >= limit_ && entries_.size() < next_search_) return;
    if (entries_.size() >= limit_) search_for_room();
    next_search_ = entries_.size() < limit_ ? 0 : entries_.size() + limit_ / 8;
  }

  void search_for_room() {
    std::vector<std::uint64_t> idle;
    for (const auto& [key, entry] : entries_)
      if (entry.region.use_count() == 1) idle.push_back(entry.used);
    if (idle.empty()) return;
    const auto surplus = entries_.size() - limit_ + limit_ / 8;
    const auto last = idle.begin() + static_cast<std::ptrdiff_t>(std::min(idle.size() - 1, surplus));
    std::nth_element(idle.begin(), last, idle.end());
    std::erase_if(entries_, [&](const auto& e) { return e.second.region.use_count() == 1 && e.second.used <= *last; });
  }

  mutable std::mutex mutex_;
  std::unordered_map<Key, Entry, KeyHash> entries_;
  std::uint64_t tick_ = 0;
  std::uint64_t generation_ = ForkGuard::instance().generation();
  std::size_t limit_ = std::max<std::size_t>(64, limits().maps / 4);
  std::size_t next_search_ = 0;  // entries at which a cache above its limit is searched again
};

}  // namespace towpath::inline TOWPATH_ABI::shm
