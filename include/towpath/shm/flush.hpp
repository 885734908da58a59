// Getting bytes onto stable storage: fdatasync(2) for a file, msync(2) for what a map of it holds, fsync(2) for the
// names in a folder. Each blocks for as long as the disk takes. Thread-safe.
// A flush that failed must not be tried again: the kernel marks pages that it could not write as clean, so a second
// flush would succeed without them. A map reports every error since it was made, whoever else asked meanwhile.
#pragma once

#include <sys/mman.h>

#include <towpath/shm/system.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

/// How flushes reach the kernel in production. A test that plays power cut puts a policy of its own in its place
/// (TOWPATH_FLUSH_POLICY). Each returns 0 or an errno.
struct DirectFlush {
  static int file(int fd) noexcept { return ::fdatasync(fd) == 0 ? 0 : errno; }
  static int folder(int fd) noexcept { return ::fsync(fd) == 0 ? 0 : errno; }
  /// Writes what is dirty in the file behind the map; the same as fdatasync on the descriptor that it was made from.
  static int map(void* at, std::size_t bytes) noexcept { return ::msync(at, bytes, MS_SYNC) == 0 ? 0 : errno; }
  /// Does what lies there outlive a restart of the machine?
  static bool outlives_restart(bool is_on_disk) noexcept { return is_on_disk; }
};

namespace detail {

/// Whatever the reason is: what was to be flushed may be lost, also when room comes back.
inline Result<void> flushed(int error, const char* call) noexcept {
  if (error == 0) return {};
  return Failure{Errc::io_error, call};
}

template <class Flush>
int until_done(const Flush& flush) noexcept {
  int error = 0;
  do error = flush();
  while (error == EINTR);
  return error;
}

}  // namespace detail

/// Errors: io_error, and then the file's last bytes are not to be trusted.
inline Result<void> flush_file(const FileDescriptor& fd) noexcept {
  return detail::flushed(detail::until_done([&] { return TOWPATH_FLUSH_POLICY::file(fd.get()); }), "fdatasync");
}
inline Result<void> flush_map(void* at, std::size_t bytes) noexcept {
  return detail::flushed(detail::until_done([&] { return TOWPATH_FLUSH_POLICY::map(at, bytes); }), "msync");
}
/// Names made, changed and removed in the folder. Errors: io_error.
inline Result<void> flush_folder(const FileDescriptor& fd) noexcept {
  return detail::flushed(detail::until_done([&] { return TOWPATH_FLUSH_POLICY::folder(fd.get()); }), "fsync a folder");
}

}  // namespace towpath::inline TOWPATH_ABI::shm
