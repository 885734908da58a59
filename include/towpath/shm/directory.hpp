// A Directory is where a bus keeps its files: a folder of the operating system, or the memory of this process
// (memory_directory.hpp). Names are relative and may go into sub-folders ("topics/pose/state"); they never leave it.
// Thread-safe and process-safe. A crash leaves either the whole file or none: files are made under a private name and
// then renamed, and a rename never replaces. Callers check names before they get here (topic/names.hpp).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <towpath/shm/flush.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

enum class Access { read, read_write };

/// What the storage is, as far as the log behaves differently on it.
enum class Storage {
  memory,         ///< this process's memory
  tmpfs,          ///< shared memory: gone after a restart of the machine
  disk,           ///< ext4, xfs: kept, checksummed
  copy_on_write,  ///< btrfs or a forced filesystem: kept, checksummed, segments are not recycled
};

class Directory {
 public:
  Directory() = default;
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  virtual ~Directory() = default;

  /// Opens an existing file with a descriptor of its own. Errors: not_found, permission_denied, unsafe_directory (a
  /// link).
  virtual Result<FileDescriptor> open(const char* name, Access access) = 0;
  /// Makes a new, empty file of mode `mode` whatever the umask. Errors: already_exists, no_space.
  virtual Result<FileDescriptor> create(const char* name, unsigned mode) = 0;
  /// Makes a FIFO of mode `mode` whatever the umask, and opens it as open_fifo does. Errors: already_exists, no_space.
  virtual Result<FileDescriptor> make_fifo(const char* name, unsigned mode) = 0;
  /// Opens a FIFO for reading and writing, so that it never ends and a write never raises SIGPIPE; nothing on it
  /// blocks. Errors: not_found, permission_denied, corrupt (no FIFO).
  virtual Result<FileDescriptor> open_fifo(const char* name) = 0;
  /// Which file stands under the name now, and its size. Errors: not_found, unsafe_directory (a link on the way).
  virtual Result<FileInfo> identify(const char* name) = 0;
  /// Gives a file or folder another name. Errors: already_exists (never replaces), not_found.
  virtual Result<void> rename(const char* from, const char* to) = 0;
  /// As rename, but a file at `to` is replaced in one step.
  virtual Result<void> replace(const char* from, const char* to) = 0;
  /// Removes a file. Errors: not_found.
  virtual Result<void> remove(const char* name) = 0;
  /// Errors: already_exists.
  virtual Result<void> make_folder(const char* name) = 0;
  /// A folder as a Directory of its own. It stays that folder when it is renamed, and takes no new files once it is
  /// removed: work that began before ends in not_found, never in a folder that has the name by then.
  virtual Result<std::unique_ptr<Directory>> open_folder(const char* name) = 0;
  /// For FolderHold: a descriptor of the folder, or none where there is nothing to keep open.
  virtual FileDescriptor hold_folder(const char*) noexcept { return {}; }
  /// Removes a folder and all that is in it, one level of folders deep at a time.
  virtual Result<void> remove_folder(const char* name) = 0;
  /// The names in a folder, in no order; "" is the directory itself.
  virtual Result<std::vector<std::string>> list(const char* folder) = 0;
  /// Returns when the file's content is on stable storage; at once where a restart leaves nothing.
  /// Errors: io_error (what was written last may be lost: do not try again), not_found.
  virtual Result<void> flush(const char* name) = 0;
  /// The same for the names in a folder: made, changed and removed ones. "" is the directory itself.
  virtual Result<void> flush_folder(const char* folder) = 0;
  /// Bytes that can still be allocated.
  virtual std::uint64_t free_bytes() = 0;
  [[nodiscard]] virtual Storage storage() const noexcept = 0;
  /// Does it outlive a restart of the machine?
  [[nodiscard]] bool is_lasting() const noexcept {
    return TOWPATH_FLUSH_POLICY::outlives_restart(storage() == Storage::disk || storage() == Storage::copy_on_write);
  }
};

/// Writes a small file whole or not at all, under a private name first. Its content is on stable storage before it has
/// its name; the name is when the folder is flushed. Errors: already_exists, no_space, io_error.
inline Result<void> write_file(Directory& directory, const char* name, const std::string& text, unsigned mode,
                               bool replace = false) {
  char temporary[64];
  std::snprintf(temporary, sizeof temporary, ".tmp-%016llx", static_cast<unsigned long long>(random_bits()));
  std::string beside{name};
  const auto slash = beside.rfind('/');
  beside = slash == std::string::npos ? temporary : beside.substr(0, slash + 1) + temporary;
  auto file = directory.create(beside.c_str(), mode);
  if (!file) return file.error();
  auto done = write_all(*file, text.data(), text.size(), 0);
  if (done && directory.is_lasting()) done = flush_file(*file);
  if (done) done = replace ? directory.replace(beside.c_str(), name) : directory.rename(beside.c_str(), name);
  if (!done) directory.remove(beside.c_str()).ignore();
  return done;
}

/// A small file's whole text. Errors: not_found, corrupt (above `limit` bytes).
inline Result<std::string> read_file(Directory& directory, const char* name, std::size_t limit = 1 << 20) {
  auto file = directory.open(name, Access::read);
  if (!file) return file.error();
  const auto found = status(*file);
  if (!found) return found.error();
  if (static_cast<std::uint64_t>(found->st_size) > limit) return Failure{Errc::corrupt, "a small file is too large"};
  std::string text(static_cast<std::size_t>(found->st_size), '\0');
  const auto n = read_some(*file, text.data(), text.size(), 0);
  if (!n) return n.error();
  text.resize(*n);
  return text;
}

}  // namespace towpath::inline TOWPATH_ABI::shm
