// How flushes leave the library in tests/powercut: through a hook, if a test has set one, else to the kernel.
// Must come before any towpath header; tests/powercut/CMakeLists.txt sees to that.
#pragma once

#include <cerrno>
#include <cstddef>
#include <functional>

#include <sys/mman.h>
#include <unistd.h>

#define TOWPATH_FLUSH_POLICY ::towpath::test::FlushPolicy

namespace towpath::test {

/// What is flushed: a file or folder by its descriptor, or a map by where it stands.
struct FlushCall {
  enum Kind { file, folder, map } kind;
  int fd = -1;
  void* at = nullptr;
};

struct FlushPolicy {
  /// Returns 0 or an errno, in the kernel's place. Set it while no other thread flushes.
  static inline std::function<int(const FlushCall&)> hook;

  /// A tmpfs is a disk to the library, which is much faster than one.
  static inline bool tmpfs_is_a_disk = false;
  static bool outlives_restart(bool is_on_disk) noexcept { return is_on_disk || tmpfs_is_a_disk; }

  static int file(int fd) noexcept {
    if (hook) return hook({FlushCall::file, fd, nullptr});
    return ::fdatasync(fd) == 0 ? 0 : errno;
  }
  static int folder(int fd) noexcept {
    if (hook) return hook({FlushCall::folder, fd, nullptr});
    return ::fsync(fd) == 0 ? 0 : errno;
  }
  static int map(void* at, std::size_t bytes) noexcept {
    if (hook) return hook({FlushCall::map, -1, at});
    return ::msync(at, bytes, MS_SYNC) == 0 ? 0 : errno;
  }
};

/// The hook for as long as this lives.
class FlushHook {
 public:
  explicit FlushHook(std::function<int(const FlushCall&)> hook) { FlushPolicy::hook = std::move(hook); }
  FlushHook(const FlushHook&) = delete;
  FlushHook& operator=(const FlushHook&) = delete;
  ~FlushHook() { FlushPolicy::hook = nullptr; }
};

}  // namespace towpath::test
