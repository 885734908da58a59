// The memory of this process as a Directory: every file is a memfd, every name an entry in a map. The same log code
// runs over it, and nothing is left behind after a crash. Thread-safe; not shared with other processes.
#pragma once

#include <map>
#include <mutex>
#include <string_view>

#include <sys/mman.h>

#include <towpath/shm/directory.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

class MemoryDirectory final : public Directory {
 public:
  /// A second descriptor of the same file, with an open file description (hence locks) of its own.
  Result<FileDescriptor> open(const char* name, Access access) override {
    const std::lock_guard hold{mutex_};
    const auto found = files_.find(name);
    if (found == files_.end()) return Failure{Errc::not_found, "memory file"};
    if (!found->second) return Failure{Errc::not_a_directory, "memory folder"};
    char path[40];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", found->second.get());
    const int fd = ::open(path, (access == Access::read ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (fd < 0) return system_failure(errno, "open /proc/self/fd; a bus in memory needs /proc");
    return FileDescriptor{fd};
  }

  Result<FileDescriptor> create(const char* name, unsigned) override {
    {
      const std::lock_guard hold{mutex_};
      if (files_.contains(name)) return Failure{Errc::already_exists, "memory file"};
      if (const auto parent = find_parent(name); !parent) return parent.error();
      FileDescriptor fd{::memfd_create("towpath", MFD_CLOEXEC)};
      if (!fd) return system_failure(errno, "memfd_create");
      files_.emplace(name, std::move(fd));
    }
    return open(name, Access::read_write);
  }

  Result<FileInfo> identify(const char* name) override {
    const std::lock_guard hold{mutex_};
    const auto found = files_.find(name);
    if (found == files_.end()) return Failure{Errc::not_found, "memory file"};
    if (!found->second) return FileInfo{};
    const auto about = status(found->second);
    if (!about) return about.error();
    return file_info(*about);
  }

  Result<void> rename(const char* from, const char* to) override { return rename_with(from, to, false); }
  Result<void> replace(const char* from, const char* to) override { return rename_with(from, to, true); }

  Result<void> remove(const char* name) override {
    const std::lock_guard hold{mutex_};
    const auto found = files_.find(name);
    if (found == files_.end()) return Failure{Errc::not_found, "memory file"};
    if (!found->second) return Failure{Errc::not_a_directory, "memory folder"};
    files_.erase(found);
    return {};
  }

  Result<void> make_folder(const char* name) override {
    const std::lock_guard hold{mutex_};
    if (const auto parent = find_parent(name); !parent) return parent.error();
    if (!files_.emplace(name, FileDescriptor{}).second) return Failure{Errc::already_exists, "memory folder"};
    return {};
  }

  Result<void> remove_folder(const char* name) override {
    const std::lock_guard hold{mutex_};
    if (const auto folder = find_folder(name); !folder) return folder.error();
    const std::string below = std::string{name} + "/";
    std::erase_if(files_, [&](const auto& file) { return file.first == name || file.first.starts_with(below); });
    return {};
  }

  Result<std::vector<std::string>> list(const char* folder) override {
    const std::lock_guard hold{mutex_};
    if (*folder)
      if (const auto found = find_folder(folder); !found) return found.error();
    const std::string below = *folder ? std::string{folder} + "/" : std::string{};
    std::vector<std::string> names;
    for (auto file = files_.lower_bound(below); file != files_.end() && file->first.starts_with(below); ++file) {
      const auto name = std::string_view{file->first}.substr(below.size());
      if (name.find('/') == std::string_view::npos) names.emplace_back(name);
    }
    return names;
  }

  std::uint64_t free_bytes() override {
    const auto text = read_proc("/proc/meminfo");
    const auto at = text.find("MemAvailable:");
    return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + 13, nullptr, 10) * 1024;
  }

  [[nodiscard]] Storage storage() const noexcept override { return Storage::memory; }

 private:
  Result<void> find_folder(const std::string& name) const {
    const auto found = files_.find(name);
    if (found == files_.end()) return Failure{Errc::not_found, "memory folder"};
    if (found->second) return Failure{Errc::not_a_directory, "memory file"};
    return {};
  }

  Result<void> find_parent(std::string_view name) const {
    const auto slash = name.rfind('/');
    return slash == std::string_view::npos ? Result<void>{} : find_folder(std::string{name.substr(0, slash)});
  }

  Result<void> rename_with(const std::string& from, const std::string& to, bool replace) {
    const std::lock_guard hold{mutex_};
    const auto source = files_.find(from);
    const auto target = files_.find(to);
    if (source == files_.end()) return Failure{Errc::not_found, "memory file"};
    if (const auto parent = find_parent(to); !parent) return parent.error();
    if (target != files_.end()) {
      if (!replace) return Failure{Errc::already_exists, "memory file"};
      if (!source->second || !target->second) return Failure{Errc::not_a_directory, "memory folder"};
      if (source == target) return {};
      files_.erase(target);
    }
    move_entry(from, to);
    const std::string below = from + "/";
    for (auto file = files_.lower_bound(below); file != files_.end() && file->first.starts_with(below);) {
      const auto name = (file++)->first;
      move_entry(name, to + "/" + name.substr(below.size()));
    }
    return {};
  }

  void move_entry(const std::string& from, const std::string& to) {
    auto entry = files_.extract(from);
    entry.key() = to;
    files_.insert(std::move(entry));
  }

  std::mutex mutex_;
  std::map<std::string, FileDescriptor> files_;  // a folder is an entry without descriptor
};

}  // namespace towpath::inline TOWPATH_ABI::shm
