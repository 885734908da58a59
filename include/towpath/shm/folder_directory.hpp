// A folder of the operating system as a Directory. Every file is opened beneath a held descriptor of the folder,
// without following links and without going up (openat2(2), Linux 5.6), so a planted link cannot lead elsewhere. Root
// makes files for the folder's owner.
#pragma once

#include <dirent.h>
#include <linux/openat2.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <towpath/shm/folder_hold.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

struct FolderOptions {
  bool create = true;             ///< make the folder when it is missing (its parent must exist)
  bool force_filesystem = false;  ///< accept overlay, NFS, FUSE and the like: shared maps may then be incoherent
  unsigned owner = ~0u;           ///< accept a folder of this user id beside mine and root's
};

class FolderDirectory final : public Directory {
 public:
  /// Errors: not_found (the parent), not_a_directory, unsafe_directory, unsupported_filesystem, permission_denied.
  static Result<std::unique_ptr<Directory>> open(const char* path, const FolderOptions& options) {
    const bool made = options.create && ::mkdir(path, 0750) == 0;
    const int not_made = options.create && !made && errno != EEXIST ? errno : 0;
    FileDescriptor fd{::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!fd && errno == ENOENT && not_made) return system_failure(not_made, "making the bus's folder");
    if (!fd) return system_failure(errno, "open the bus folder");
    if (made && ::fchmod(fd.get(), 0750) != 0) return system_failure(errno, "fchmod");
    const auto found = status(fd);
    if (!found) return found.error();
    if (found->st_mode & S_IWOTH) return Failure{Errc::unsafe_directory, "the bus folder is world-writable; chmod o-w"};
    const bool trusted = found->st_uid == ::geteuid() || found->st_uid == 0 || found->st_uid == options.owner;
    if (!trusted)
      return Failure{Errc::unsafe_directory, "the bus folder belongs to another user; name it in BusConfig::owner"};
    const auto storage = classify(fd, options.force_filesystem);
    if (!storage) return storage.error();
    return std::unique_ptr<Directory>{new FolderDirectory{std::move(fd), *storage}};
  }

  Result<FileDescriptor> open(const char* name, Access access) override {
    return beneath(name, access == Access::read ? O_RDONLY : O_RDWR, 0);
  }

  Result<FileDescriptor> create(const char* name, unsigned mode) override {
    auto file = beneath(name, O_RDWR | O_CREAT | O_EXCL, mode);
    if (!file) return file;
    if (auto done = finish(*file, mode); !done) {
      remove(name).ignore();
      return done.error();
    }
    return file;
  }

  Result<FileDescriptor> make_fifo(const char* name, unsigned mode) override {
    const auto at = place(name);
    if (!at) return at.error();
    if (::mkfifoat(at->folder, at->leaf, mode) != 0) return system_failure(errno, "mkfifoat");
    auto fifo = open_fifo(name);
    if (fifo)
      if (auto done = finish(*fifo, mode); !done) fifo = done.error();
    if (!fifo) ::unlinkat(at->folder, at->leaf, 0);
    return fifo;
  }

  Result<FileDescriptor> open_fifo(const char* name) override {
    auto fifo = beneath(name, O_RDWR | O_NONBLOCK, 0);
    if (!fifo) return fifo;
    const auto found = status(*fifo);
    if (!found) return found.error();
    if (!S_ISFIFO(found->st_mode)) return Failure{Errc::corrupt, "another file stands where a FIFO was"};
    return fifo;
  }

  /// Beneath as open(): what it says is taken for the file that open() would give (RegionCache).
  Result<FileInfo> identify(const char* name) override {
    const auto at = place(name);
    if (!at) return at.error();
    struct stat found {};
    if (::fstatat(at->folder, at->leaf, &found, AT_SYMLINK_NOFOLLOW) != 0) return system_failure(errno, "fstatat");
    return file_info(found);
  }

  Result<void> rename(const char* from, const char* to) override {
    return rename_with(from, to, 1u /* RENAME_NOREPLACE */);
  }
  Result<void> replace(const char* from, const char* to) override { return rename_with(from, to, 0u); }

  Result<void> remove(const char* name) override {
    const auto at = place(name);
    if (!at) return at.error();
    if (::unlinkat(at->folder, at->leaf, 0) != 0) return system_failure(errno, "unlinkat");
    return {};
  }

  Result<void> make_folder(const char* name) override {
    const auto at = place(name);
    if (!at) return at.error();
    if (::mkdirat(at->folder, at->leaf, 0750) != 0) return system_failure(errno, "mkdirat");
    const auto folder = beneath(name, O_RDONLY | O_DIRECTORY, 0);
    if (!folder) return folder.error();
    return finish(*folder, 0750);
  }

  Result<std::unique_ptr<Directory>> open_folder(const char* name) override {
    auto folder = beneath(name, O_RDONLY | O_DIRECTORY, 0);
    if (!folder) return folder.error();
    return std::unique_ptr<Directory>{new FolderDirectory{std::move(*folder), storage_}};
  }

  FileDescriptor hold_folder(const char* name) noexcept override {
    auto folder = beneath(name, O_PATH | O_DIRECTORY, 0);
    return folder ? std::move(*folder) : FileDescriptor{};
  }

  Result<void> remove_folder(const char* name) override {
    const auto at = place(name);
    if (!at) return at.error();
    auto names = list(name);
    if (!names) return names.error();
    TOWPATH_FAILPOINT("remove.listed");
    for (const auto& entry : *names) {
      const auto path = std::string{name} + "/" + entry;
      auto removed = remove(path.c_str());
      if (!removed && removed.error() == Errc::not_a_directory) removed = remove_folder(path.c_str());
      if (!removed && removed.error() != Errc::not_found) return removed;  // not found: somebody else removes it too
    }
    if (::unlinkat(at->folder, at->leaf, AT_REMOVEDIR) != 0) return system_failure(errno, "rmdir");
    return {};
  }

  Result<std::vector<std::string>> list(const char* folder) override {
    auto fd = beneath(*folder ? folder : ".", O_RDONLY | O_DIRECTORY, 0);
    if (!fd) return fd.error();
    DIR* stream = ::fdopendir(fd->get());
    if (!stream) return system_failure(errno, "fdopendir");
    fd->release();  // closedir closes it
    std::vector<std::string> names;
    errno = 0;  // the only way to tell an error from the end
    while (const auto* entry = ::readdir(stream)) {
      const std::string_view name{entry->d_name};
      if (name != "." && name != "..") names.emplace_back(name);
      errno = 0;
    }
    const int error = errno;
    ::closedir(stream);
    if (error != 0) return system_failure(error, "readdir");
    return names;
  }

  Result<void> flush(const char* name) override {
    if (!is_lasting()) return {};
    const auto file = beneath(name, O_RDONLY, 0);
    if (!file) return file.error();
    return flush_file(*file);
  }

  Result<void> flush_folder(const char* folder) override {
    if (!is_lasting()) return {};
    const auto fd = beneath(*folder ? folder : ".", O_RDONLY | O_DIRECTORY, 0);
    if (!fd) return fd.error();
    return shm::flush_folder(*fd);
  }

  std::uint64_t free_bytes() override {
    struct statvfs found {};
    return ::fstatvfs(fd_.get(), &found) == 0 ? std::uint64_t{found.f_bavail} * found.f_frsize : 0;
  }

  [[nodiscard]] Storage storage() const noexcept override { return storage_; }

 private:
  FolderDirectory(FileDescriptor fd, Storage storage) noexcept : fd_{std::move(fd)}, storage_{storage} {}

  static Result<Storage> classify(const FileDescriptor& fd, bool force) noexcept {
    struct statfs found {};
    if (::fstatfs(fd.get(), &found) != 0) return system_failure(errno, "fstatfs");
    switch (static_cast<unsigned long>(found.f_type)) {
      case 0x01021994: return Storage::tmpfs;
      case 0xEF53:
      case 0x58465342: return Storage::disk;           // ext4, xfs
      case 0x9123683E: return Storage::copy_on_write;  // btrfs
      default: break;
    }
    if (force) return Storage::copy_on_write;
    return Failure{Errc::unsupported_filesystem,
                   "not tmpfs, ext4, xfs or btrfs; BusConfig::force_filesystem overrides"};
  }

  Result<FileDescriptor> beneath(const char* name, int flags, unsigned mode) noexcept {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags) | O_CLOEXEC | O_NOFOLLOW;
    how.mode = mode;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    long fd = -1;
    do fd = ::syscall(SYS_openat2, fd_.get(), name, &how, sizeof how);
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    if (fd < 0) return system_failure(errno, "openat2");
    return FileDescriptor{static_cast<int>(fd)};
  }

  /// The mode that was asked for, whatever the umask. What root makes goes to whom the folder belongs to: else he could
  /// not use his own bus any more. Errors: permission_denied (root without the right to give files away).
  Result<void> finish(const FileDescriptor& made, unsigned mode) const noexcept {
    if (::geteuid() == 0) {
      const auto folder = status(fd_);
      if (!folder) return folder.error();
      if (folder->st_uid != 0 && ::fchown(made.get(), folder->st_uid, folder->st_gid) != 0)
        return system_failure(errno, "give a new file to the folder's owner (fchown)");
    }
    if (::fchmod(made.get(), mode) != 0) return system_failure(errno, "fchmod");
    return {};
  }

  /// The folder that a name stands in, and the name's last part: for the calls that have no way to stay beneath.
  struct Place {
    FileDescriptor held;
    int folder;
    const char* leaf;
  };
  Result<Place> place(const char* name) {
    const char* slash = std::strrchr(name, '/');
    const std::string_view leaf{slash ? slash + 1 : name};
    if (*name == '/' || leaf.empty() || leaf == "." || leaf == "..")
      return Failure{Errc::unsafe_directory, "the name leads out of the bus folder"};
    if (!slash) return Place{FileDescriptor{}, fd_.get(), leaf.data()};
    if (const int held = FolderHold::find(*this, {name, slash}); held >= 0)
      return Place{FileDescriptor{}, held, leaf.data()};
    auto folder = beneath(std::string{name, slash}.c_str(), O_PATH | O_DIRECTORY, 0);
    if (!folder) return folder.error();
    const int fd = folder->get();
    return Place{std::move(*folder), fd, leaf.data()};
  }

  Result<void> rename_with(const char* from, const char* to, unsigned flags) {
    const auto source = place(from);
    if (!source) return source.error();
    const auto target = place(to);
    if (!target) return target.error();
    if (::syscall(SYS_renameat2, source->folder, source->leaf, target->folder, target->leaf, flags) != 0)
      return system_failure(errno, "renameat2");
    return {};
  }

  FileDescriptor fd_;
  Storage storage_;
};

}  // namespace towpath::inline TOWPATH_ABI::shm
