// The memory of this process as a Directory: every file is a memfd, every name an entry in a tree. The same log code
// runs over it, and nothing is left behind after a crash. Thread-safe; not shared with other processes.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string_view>

#include <sys/mman.h>

#include <towpath/shm/directory.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

class MemoryDirectory final : public Directory {
 public:
  MemoryDirectory() : tree_{std::make_shared<Tree>()} {}

  /// A second descriptor of the same file, with an open file description (hence locks) of its own.
  Result<FileDescriptor> open(const char* name, Access access) override {
    const std::lock_guard hold{tree_->mutex};
    const auto found = find(name);
    if (!found) return found.error();
    if (!(*found)->second.file) return Failure{Errc::not_a_directory, "memory folder"};
    return reopen((*found)->second.file, access == Access::read ? O_RDONLY : O_RDWR);
  }

  Result<FileDescriptor> create(const char* name, unsigned) override {
    {
      const std::lock_guard hold{tree_->mutex};
      const auto at = place(name);
      if (!at) return at.error();
      if (tree_->entries.contains(*at)) return Failure{Errc::already_exists, "memory file"};
      FileDescriptor fd{::memfd_create("towpath", MFD_CLOEXEC)};
      if (!fd) return system_failure(errno, "memfd_create");
      tree_->entries.emplace(*at, Entry{std::move(fd), 0});
    }
    return open(name, Access::read_write);
  }

  /// A pipe, whose two ends are one file to those who open it by name.
  Result<FileDescriptor> make_fifo(const char* name, unsigned) override {
    {
      const std::lock_guard hold{tree_->mutex};
      const auto at = place(name);
      if (!at) return at.error();
      if (tree_->entries.contains(*at)) return Failure{Errc::already_exists, "memory file"};
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return system_failure(errno, "pipe2");
      const FileDescriptor write_end{ends[1]};
      tree_->entries.emplace(*at, Entry{FileDescriptor{ends[0]}, 0});
    }
    return open_fifo(name);
  }

  Result<FileDescriptor> open_fifo(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto found = find(name);
    if (!found) return found.error();
    struct stat about {};
    const bool is_fifo = ::fstat((*found)->second.file.get(), &about) == 0 && S_ISFIFO(about.st_mode);
    if (!is_fifo) return Failure{Errc::corrupt, "another memory file stands where a FIFO was"};
    return reopen((*found)->second.file, O_RDWR | O_NONBLOCK);
  }

  Result<FileInfo> identify(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto found = find(name);
    if (!found) return found.error();
    if (!(*found)->second.file) return FileInfo{};
    const auto about = status((*found)->second.file);
    if (!about) return about.error();
    return file_info(*about);
  }

  Result<void> rename(const char* from, const char* to) override { return rename_with(from, to, false); }
  Result<void> replace(const char* from, const char* to) override { return rename_with(from, to, true); }

  Result<void> remove(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto found = find(name);
    if (!found) return found.error();
    if (!(*found)->second.file) return Failure{Errc::not_a_directory, "memory folder"};
    tree_->entries.erase(*found);
    return {};
  }

  Result<void> make_folder(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto at = place(name);
    if (!at) return at.error();
    if (tree_->entries.contains(*at)) return Failure{Errc::already_exists, "memory folder"};
    const FolderId id = ++tree_->last_folder;
    tree_->folders.insert(id);
    tree_->entries.emplace(*at, Entry{FileDescriptor{}, id});
    return {};
  }

  Result<std::unique_ptr<Directory>> open_folder(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto id = folder(name);
    if (!id) return id.error();
    return std::unique_ptr<Directory>{new MemoryDirectory{tree_, *id}};
  }

  Result<void> remove_folder(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto id = folder(name);
    if (!id) return id.error();
    if (*id == here_) return Failure{Errc::unsafe_directory, "a folder does not remove itself"};
    erase_below(*id);
    tree_->entries.erase(*place(name));
    return {};
  }

  Result<std::vector<std::string>> list(const char* name) override {
    const std::lock_guard hold{tree_->mutex};
    const auto id = folder(name);
    if (!id) return id.error();
    std::vector<std::string> names;
    for (auto entry = tree_->entries.lower_bound({*id, {}}); entry != tree_->entries.end() && entry->first.first == *id;
         ++entry)
      names.push_back(entry->first.second);
    return names;
  }

  Result<void> flush(const char*) override { return {}; }
  Result<void> flush_folder(const char*) override { return {}; }

  std::uint64_t free_bytes() override {
    const auto text = read_proc("/proc/meminfo");
    const auto at = text.find("MemAvailable:");
    return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + 13, nullptr, 10) * 1024;
  }

  [[nodiscard]] Storage storage() const noexcept override { return Storage::memory; }

 private:
  using FolderId = std::uint64_t;
  using Place = std::pair<FolderId, std::string>;  // the folder that a name stands in, and the name's last part
  struct Entry {
    FileDescriptor file;  // none for a folder
    FolderId folder;      // 0 for a file
  };
  struct Tree {
    std::mutex mutex;
    std::map<Place, Entry> entries;
    std::set<FolderId> folders{1};  // 1 is the root
    FolderId last_folder = 1;
  };

  MemoryDirectory(std::shared_ptr<Tree> tree, FolderId here) noexcept : tree_{std::move(tree)}, here_{here} {}

  static Result<FileDescriptor> reopen(const FileDescriptor& file, int flags) {
    char path[40];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", file.get());
    const int fd = ::open(path, flags | O_CLOEXEC);
    if (fd < 0) return system_failure(errno, "open /proc/self/fd; a bus in memory needs /proc");
    return FileDescriptor{fd};
  }

  /// Which folder the path names; "" is this one. Errors: not_found, not_a_directory.
  [[nodiscard]] Result<FolderId> folder(std::string_view path) const {
    FolderId at = here_;
    if (!tree_->folders.contains(at)) return Failure{Errc::not_found, "the memory folder was removed"};
    while (!path.empty()) {
      const auto part = path.substr(0, path.find('/'));
      path.remove_prefix(std::min(path.size(), part.size() + 1));
      const auto found = tree_->entries.find({at, std::string{part}});
      if (found == tree_->entries.end()) return Failure{Errc::not_found, "memory folder"};
      if (found->second.file) return Failure{Errc::not_a_directory, "memory file"};
      at = found->second.folder;
    }
    return at;
  }

  [[nodiscard]] Result<Place> place(std::string_view path) const {
    const auto slash = path.rfind('/');
    const auto id = folder(slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash));
    if (!id) return id.error();
    return Place{*id, std::string{slash == std::string_view::npos ? path : path.substr(slash + 1)}};
  }

  [[nodiscard]] Result<std::map<Place, Entry>::iterator> find(std::string_view path) const {
    const auto at = place(path);
    if (!at) return at.error();
    const auto found = tree_->entries.find(*at);
    if (found == tree_->entries.end()) return Failure{Errc::not_found, "memory file"};
    return found;
  }

  Result<void> rename_with(const char* from, const char* to, bool replace) {
    const std::lock_guard hold{tree_->mutex};
    const auto source = find(from);
    if (!source) return source.error();
    const auto target = place(to);
    if (!target) return target.error();
    if (const auto old = tree_->entries.find(*target); old != tree_->entries.end()) {
      if (!replace) return Failure{Errc::already_exists, "memory file"};
      if (!(*source)->second.file || !old->second.file) return Failure{Errc::not_a_directory, "memory folder"};
      if (old == *source) return {};
      tree_->entries.erase(old);
    }
    auto entry = tree_->entries.extract(*source);
    entry.key() = *target;
    tree_->entries.insert(std::move(entry));
    return {};
  }

  void erase_below(FolderId id) {
    for (auto entry = tree_->entries.lower_bound({id, {}});
         entry != tree_->entries.end() && entry->first.first == id;) {
      if (entry->second.folder != 0) erase_below(entry->second.folder);
      entry = tree_->entries.erase(entry);
    }
    tree_->folders.erase(id);
  }

  std::shared_ptr<Tree> tree_;
  FolderId here_ = 1;
};

}  // namespace towpath::inline TOWPATH_ABI::shm
