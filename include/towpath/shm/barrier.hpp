// The order "my store, then my load" without a locked instruction in the one who stores often: the other side, which is
// about to sleep anyway, has the kernel run a full barrier in every process that registered for it (membarrier(2),
// Linux 4.16). docs/protocol.md, "One writer"; tests/model (sole). Thread-safe; nothing is left by a crash.
#pragma once

#include <atomic>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <towpath/core/config.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

/// From here barrier_everywhere() of any process reaches this one. False: the kernel, or a filter of system calls,
/// refuses it; then fence by yourself after every store. Milliseconds the first time in a process with threads.
inline bool register_for_barriers() noexcept {
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

/// Between call and return every running thread of every registered process executes a full barrier; one that does not
/// run has passed the scheduler's. False: refused. A few microseconds: never on a hot path.
inline bool barrier_everywhere() noexcept {
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}

/// A full barrier of this thread alone.
TOWPATH_HOT void full_fence() noexcept {
#if TOWPATH_TSAN
  static std::atomic<int> line{0};  // ThreadSanitizer knows no fences
  line.fetch_add(1, std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

}  // namespace towpath::inline TOWPATH_ABI::shm
