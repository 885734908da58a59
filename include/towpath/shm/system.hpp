// What the operating system says, in the library's words: errno as a Failure, a descriptor that closes itself,
// the boot id, the limits of this process. Thread-safe; nothing here is called per message.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <utility>

#include <cxxabi.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <towpath/core/result.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

/// errno as a Failure; `call` names what was tried and must be a literal.
inline Failure system_failure(int error, const char* call) noexcept {
  switch (error) {
    case ENOENT: return {Errc::not_found, call};
    case EEXIST:
    case ENOTEMPTY: return {Errc::already_exists, call};
    case EACCES:
    case EPERM:
    case EROFS: return {Errc::permission_denied, call};
    case ENOTDIR:
    case EISDIR: return {Errc::not_a_directory, call};
    case ELOOP:
    case EXDEV: return {Errc::unsafe_directory, call};
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return {Errc::no_space, call};
    case EMFILE:
    case ENFILE: return {Errc::too_many_files, call};
    case ENOLCK:
    case ENOMEM: return {Errc::out_of_memory, call};
    case ENOSYS: return {Errc::unsupported_platform, call};
    default: return {Errc::io_error, call};
  }
}

#if TOWPATH_EXCEPTIONS
/// What passes through a thread that pthread_cancel() ends; whoever catches it must let it go on.
using ThreadCancelled = abi::__forced_unwind;
#endif

/// A file descriptor, closed when it goes out of scope.
class FileDescriptor {
 public:
  FileDescriptor() noexcept = default;
  explicit FileDescriptor(int fd) noexcept : fd_{fd} {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~FileDescriptor() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

/// What a file is, however it is named: a mapped inode cannot be re-used for another file.
struct FileId {
  dev_t device = 0;
  ino_t inode = 0;
  friend constexpr bool operator==(FileId, FileId) noexcept = default;
};

struct FileInfo {
  FileId id;
  std::uint64_t bytes = 0;
};

inline FileInfo file_info(const struct stat& found) noexcept {
  return {{found.st_dev, found.st_ino}, static_cast<std::uint64_t>(found.st_size)};
}

inline Result<struct stat> status(const FileDescriptor& fd) noexcept {
  struct stat found {};
  if (::fstat(fd.get(), &found) != 0) return system_failure(errno, "fstat");
  return found;
}

/// Gives a file all its blocks now, so that a store into its mapping can never meet a full disk (SIGBUS).
/// fallocate(2), not posix_fallocate: glibc's emulation of that writes bytes, also over live data.
inline Result<void> allocate(const FileDescriptor& fd, std::uint64_t from, std::uint64_t bytes) noexcept {
  while (::fallocate(fd.get(), 0, static_cast<off_t>(from), static_cast<off_t>(bytes)) != 0)
    if (errno != EINTR) return system_failure(errno, "fallocate");
  return {};
}

inline Result<void> write_all(const FileDescriptor& fd, const void* data, std::size_t size, std::uint64_t at) noexcept {
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const auto n = ::pwrite(fd.get(), bytes, size, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return system_failure(n == 0 ? ENOSPC : errno, "pwrite");
    bytes += n, size -= static_cast<std::size_t>(n), at += static_cast<std::uint64_t>(n);
  }
  return {};
}

/// Reads up to `size` bytes; fewer only at the end of the file.
inline Result<std::size_t> read_some(const FileDescriptor& fd, void* data, std::size_t size,
                                     std::uint64_t at) noexcept {
  std::size_t done = 0;
  while (done < size) {
    const auto n = ::pread(fd.get(), static_cast<char*>(data) + done, size - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_failure(errno, "pread");
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

/// A file of /proc, which tells no size: its first 4 KiB. Empty when it cannot be read.
inline std::string read_proc(const char* path) {
  FileDescriptor fd{::open(path, O_RDONLY | O_CLOEXEC)};
  std::array<char, 4096> text{};
  const auto n = fd ? read_some(fd, text.data(), text.size(), 0) : Result<std::size_t>{Errc::not_found};
  return n ? std::string{text.data(), *n} : std::string{};
}

using BootId = std::array<char, 40>;

/// Differs after every start of the machine; the same in all containers on it. All zero where the kernel hides it.
inline BootId boot_id() {
  BootId id{};
  const auto text = read_proc("/proc/sys/kernel/random/boot_id");
  std::memcpy(id.data(), text.data(), text.size() < id.size() ? text.size() : id.size() - 1);
  return id;
}

/// How many maps this process may have, and how many descriptors.
struct Limits {
  std::uint64_t maps = 65'530;
  std::uint64_t files = 1'024;
};

inline Limits limits() {
  Limits found;
  if (const auto text = read_proc("/proc/sys/vm/max_map_count"); !text.empty())
    found.maps = std::strtoull(text.c_str(), nullptr, 10);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) found.files = files.rlim_cur;
  return found;
}

inline std::uint64_t page_bytes() noexcept { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

/// Names the calling thread and makes it yield to the others of its process and machine (nice 10).
inline void become_background_thread(const char* name) noexcept {
  ::prctl(PR_SET_NAME, name);
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), 10);
}

/// Random bits for temporary names and uuids; not secret.
inline std::uint64_t random_bits() noexcept {
  std::uint64_t bits = 0;
  if (::getentropy(&bits, sizeof bits) == 0) return bits;
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return (static_cast<std::uint64_t>(now.tv_nsec) << 32 ^ static_cast<std::uint64_t>(now.tv_sec)) *
             0x9E3779B97F4A7C15u +
         static_cast<std::uint64_t>(::getpid());
}

}  // namespace towpath::inline TOWPATH_ABI::shm
