// Byte locks that the kernel drops when their owner dies: open file description locks (fcntl(2), Linux 3.15).
// A lock belongs to the *open file*, not to the process or thread: always ask through a second, separately opened
// descriptor that never holds any, for F_OFD_GETLK does not see the locks of its own descriptor.
// Safe between processes; two threads may use one descriptor only for different bytes.
#pragma once

#include <atomic>
#include <cstdint>

#include <towpath/shm/system.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

enum class LockKind : short { read = F_RDLCK, write = F_WRLCK };

namespace detail {

inline struct flock byte_range(short type, std::uint64_t byte) noexcept {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = static_cast<off_t>(byte);
  range.l_len = 1;
  return range;
}

/// ThreadSanitizer does not know that the kernel orders lock calls; tell it. Costs nothing in other builds.
inline void order_lock_calls() noexcept {
#if TOWPATH_TSAN
  static std::atomic<int> kernel{0};
  kernel.fetch_add(1, std::memory_order_acq_rel);
#endif
}

}  // namespace detail

/// Takes the lock if nobody else has a conflicting one. Errors: busy; permission_denied (the descriptor's mode).
inline Result<void> try_lock(const FileDescriptor& fd, std::uint64_t byte, LockKind kind) noexcept {
  auto range = detail::byte_range(static_cast<short>(kind), byte);
  const int got = ::fcntl(fd.get(), F_OFD_SETLK, &range);
  const int error = errno;
  detail::order_lock_calls();
  if (got == 0) return {};
  if (error == EAGAIN || error == EACCES) return Failure{Errc::busy, "another descriptor holds the lock"};
  return error == EBADF ? Failure{Errc::permission_denied, "fcntl(F_OFD_SETLK)"}
                        : system_failure(error, "fcntl(F_OFD_SETLK)");
}

inline void unlock(const FileDescriptor& fd, std::uint64_t byte) noexcept {
  auto range = detail::byte_range(F_UNLCK, byte);
  detail::order_lock_calls();
  ::fcntl(fd.get(), F_OFD_SETLK, &range);
}

/// Does any *other* descriptor hold a lock on the byte? A failed question counts as yes: the caller then waits.
inline bool is_locked(const FileDescriptor& asker, std::uint64_t byte) noexcept {
  auto range = detail::byte_range(F_WRLCK, byte);
  const int got = ::fcntl(asker.get(), F_OFD_GETLK, &range);
  detail::order_lock_calls();
  return got != 0 || range.l_type != F_UNLCK;
}

}  // namespace towpath::inline TOWPATH_ABI::shm
