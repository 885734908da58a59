// A disk that can lose power: it watches a folder and knows of each file what was flushed last, of each folder which
// names were. An Image is what a power cut at this moment could leave: each page of a file as it was flushed or as it
// was later, some torn between their sectors; each name made, changed or removed since the folder was flushed, or not.
#pragma once

#include <powercut/flush_policy.hpp>
#include <support/process.hpp>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>

namespace towpath::test {

/// A folder's content, in memory: names end in / for folders.
using Image = std::map<std::string, std::string>;

inline void write_image(const Image& image, const std::filesystem::path& folder) {
  std::filesystem::create_directory(folder);
  std::filesystem::permissions(folder, std::filesystem::perms{0750});
  for (const auto& [name, content] : image) {  // sorted: a folder comes before what is in it
    const auto path = folder / name;
    if (name.ends_with('/')) {
      std::filesystem::create_directory(path);
      std::filesystem::permissions(path, std::filesystem::perms{0750});
      continue;
    }
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0660);
    const bool written = fd >= 0 && ::write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size());
    ::close(fd);
    if (!written) fail("an image cannot be written: " + path.string());
  }
}

class Disk {
 public:
  /// What is broken on purpose, for negative controls.
  struct Bugs {
    bool files_are_not_flushed = false;
    bool folders_are_not_flushed = false;
    std::string lost_name;  // a file of this name is never flushed
  };

  /// All that is in the folder now is on the disk.
  explicit Disk(std::filesystem::path folder) : root_{std::move(folder)} {
    look();
    for (auto& [id, entry] : entries_) flush(id);
  }
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  Bugs bugs;

  /// For FlushHook: what the library calls when it flushes.
  int on_flush(const FlushCall& call) {
    if (before_flush) before_flush();
    if (call.kind == FlushCall::folder ? bugs.folders_are_not_flushed : bugs.files_are_not_flushed) return 0;
    const auto id = call.kind == FlushCall::map ? inode_at(call.at) : inode_of(call.fd);
    auto found = entries_.find(id);
    if (call.kind == FlushCall::folder || found == entries_.end()) look(), found = entries_.find(id);
    if (found != entries_.end() && !(found->second.name_now == bugs.lost_name && !bugs.lost_name.empty())) flush(id);
    return 0;
  }

  /// Called before each flush takes effect.
  std::function<void()> before_flush;

  /// Remembers what is not flushed yet: a later cut may have pages of this age too.
  void age() {
    look();
    for (auto& [id, entry] : entries_)
      if (!entry.is_folder) entry.aged = read(entry), entry.has_aged = true;
  }

  Image cut(std::mt19937_64& random) {
    look();
    Image image;
    cut_folder(inode_of_path(root_), "", random, image);
    return image;
  }

 private:
  using Inode = std::uint64_t;
  using Names = std::map<std::string, Inode>;
  struct Entry {
    int fd = -1;  // held, so that the inode is not given to another file
    bool is_folder = false;
    std::string name_now;
    std::string flushed;  // content
    std::string aged;
    bool has_aged = false;
    Names flushed_names;                           // of a folder
    Names names;                                   // as last seen
    std::map<Inode, std::set<std::string>> since;  // names that were seen since the folder was flushed
    Entry() = default;
    Entry(Entry&& other) noexcept = delete;
    ~Entry() {
      if (fd >= 0) ::close(fd);
    }
  };

  static Inode inode_of(int fd) {
    struct stat found {};
    if (::fstat(fd, &found) != 0) fail("fstat");
    return found.st_ino;
  }
  static Inode inode_of_path(const std::filesystem::path& path) {
    struct stat found {};
    if (::stat(path.c_str(), &found) != 0) fail("stat " + path.string());
    return found.st_ino;
  }
  /// Which file is mapped there.
  static Inode inode_at(const void* at) {
    std::ifstream maps{"/proc/self/maps"};
    for (std::string line; std::getline(maps, line);) {
      unsigned long begin = 0, end = 0, inode = 0;
      if (std::sscanf(line.c_str(), "%lx-%lx %*s %*x %*x:%*x %lu", &begin, &end, &inode) == 3 &&
          reinterpret_cast<unsigned long>(at) >= begin && reinterpret_cast<unsigned long>(at) < end)
        return inode;
    }
    fail("a flush of what is not mapped");
  }

  static std::string read(const Entry& entry) {
    struct stat found {};
    if (::fstat(entry.fd, &found) != 0) fail("fstat");
    std::string content(static_cast<std::size_t>(found.st_size), '\0');
    const auto n = ::pread(entry.fd, content.data(), content.size(), 0);
    content.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    return content;
  }

  void look() { look_into(root_, inode_of_path(root_)); }

  void look_into(const std::filesystem::path& folder, Inode id) {
    auto& entry = entries_[id];
    entry.is_folder = true;
    if (entry.fd < 0) entry.fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Names names;
    for (const auto& child : std::filesystem::directory_iterator{folder}) {
      const auto name = child.path().filename().string();
      const Inode inode = inode_of_path(child.path());
      names.emplace(name, inode);
      entry.since[inode].insert(name);
      if (child.is_directory()) {
        look_into(child.path(), inode);
      } else if (auto& file = entries_[inode]; file.fd < 0) {
        file.fd = ::open(child.path().c_str(), O_RDONLY | O_CLOEXEC);
      }
      entries_[inode].name_now = name;
    }
    entry.names = std::move(names);
  }

  void flush(Inode id) {
    auto& entry = entries_.at(id);
    if (entry.is_folder) {
      entry.flushed_names = entry.names;
      entry.since.clear();
    } else {
      entry.flushed = read(entry);
      entry.aged.clear(), entry.has_aged = false;
    }
  }

  /// How far a cut went with one file or folder.
  enum class Mood { all_old, all_new, mixed };
  static Mood mood(std::mt19937_64& random) {
    const auto dice = random() % 10;
    return dice < 2 ? Mood::all_old : dice < 4 ? Mood::all_new : Mood::mixed;
  }

  void cut_folder(Inode id, const std::string& path, std::mt19937_64& random, Image& image) {
    for (const auto& [name, child] : names_after_cut(entries_.at(id), random)) {
      const auto& entry = entries_.at(child);
      if (entry.is_folder) {
        image.emplace(path + name + "/", "");
        cut_folder(child, path + name + "/", random, image);
      } else {
        image.emplace(path + name, content_after_cut(entry, random));
      }
    }
  }

  /// Each file or folder has one of the names that it had since the folder was flushed, or is not there if it was not.
  static Names names_after_cut(const Entry& folder, std::mt19937_64& random) {
    const Mood how = mood(random);
    if (how == Mood::all_old) return folder.flushed_names;
    if (how == Mood::all_new) return folder.names;
    std::map<Inode, std::vector<std::string>> choices;  // "" is: not there
    const auto name_in = [](const Names& names, Inode id) {
      for (const auto& [name, inode] : names)
        if (inode == id) return name;
      return std::string{};
    };
    std::set<Inode> all;
    for (const auto* names : {&folder.flushed_names, &folder.names})
      for (const auto& [name, id] : *names) all.insert(id);
    for (const auto& [id, names] : folder.since) all.insert(id);
    for (const Inode id : all) {
      choices[id] = {name_in(folder.flushed_names, id), name_in(folder.names, id)};
      if (const auto seen = folder.since.find(id); seen != folder.since.end())
        choices[id].insert(choices[id].end(), seen->second.begin(), seen->second.end());
    }
    Names names;
    for (const auto& [id, list] : choices)
      if (const auto& name = list[random() % list.size()]; !name.empty()) names.insert_or_assign(name, id);
    for (const auto& [name, id] : folder.flushed_names)  // a name that was replaced in one step is never without a file
      if (const auto now = folder.names.find(name); now != folder.names.end() && now->second != id)
        if (names.emplace(name, id).second) erase_other_names(names, name, id);
    return names;
  }
  static void erase_other_names(Names& names, const std::string& name, Inode id) {
    std::erase_if(names, [&](const auto& entry) { return entry.second == id && entry.first != name; });
  }

  static std::string content_after_cut(const Entry& file, std::mt19937_64& random) {
    const std::string now = read(file);
    const Mood how = mood(random);
    if (how == Mood::all_old) return file.flushed;
    if (how == Mood::all_new) return now;
    const std::string* const versions[] = {&file.flushed, &now, file.has_aged ? &file.aged : &now};
    std::string content(
        random() % 2 == 0 ? now.size() : std::min(now.size(), std::max(file.flushed.size(), file.aged.size())), '\0');
    const auto weight = random() % 3;  // mostly old, even, mostly new
    const auto pick = [&] {
      const auto dice = random() % 4;
      return dice < 2 - std::min<std::uint64_t>(weight, 1) ? versions[0] : dice == 3 ? versions[2] : versions[1];
    };
    const auto copy = [&](std::size_t at, std::size_t bytes, const std::string& from) {
      if (at >= from.size() || at >= content.size()) return;
      std::memcpy(content.data() + at, from.data() + at, std::min({bytes, from.size() - at, content.size() - at}));
    };
    constexpr std::size_t page = 4096, sector = 512;
    for (std::size_t at = 0; at < content.size(); at += page) {
      const bool is_torn = random() % 8 == 0;
      const std::string* from = pick();
      for (std::size_t part = at; part < at + page; part += sector) {
        if (is_torn) from = pick();
        copy(part, sector, *from);
      }
    }
    return content;
  }

  std::filesystem::path root_;
  std::map<Inode, Entry> entries_;
};

}  // namespace towpath::test
