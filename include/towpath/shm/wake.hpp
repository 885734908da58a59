// Sleeping on a shared word, and waking who sleeps there. protocol.md, "Sleeping"; tests/model (waiters).
// The word counts events; bit 0 says that its one owner is about to sleep. No counter of sleepers exists that a
// killed process could leave wrong. Safe between processes. A killed waker loses a wake: always sleep with a time-out.
#pragma once

#include <climits>
#include <ctime>

#include <linux/futex.h>
#include <sys/syscall.h>

#include <towpath/core/time.hpp>
#include <towpath/shm/system.hpp>
#include <towpath/shm/word.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

/// Announces that the owner is about to sleep. Recheck with seq_cst loads what you wait for, then sleep(word, result).
inline std::uint32_t announce_sleep(Word32& word) noexcept {
  return word.fetch_or(1, seq_cst) | 1u;  // pairs with the seq_cst load in wake()
}

/// Sleeps until woken, the time has passed, a signal came, or at once if the word is no longer `announced`.
inline void sleep(const Word32& word, std::uint32_t announced, Duration timeout) noexcept {
  if (timeout <= Duration::zero()) return;
  const timespec limit{static_cast<time_t>(timeout.count() / 1'000'000'000),
                       static_cast<long>(timeout.count() % 1'000'000'000)};
  // Not FUTEX_PRIVATE: the sleeper's map and the waker's are different addresses of one file.
  ::syscall(SYS_futex, word.address(), FUTEX_WAIT, announced, &limit, nullptr, 0);
}

/// True if the owner sleeps or is about to, and it is the caller who must now wake it: nobody else will.
TOWPATH_HOT bool take_wake(Word32& word) noexcept {
  std::uint32_t seen = word.load(seq_cst);  // pairs with the seq_cst fetch_or in announce_sleep()
  if ((seen & 1u) == 0) return false;
  TOWPATH_FAILPOINT("wake.before_cas");
  return word.compare_exchange(seen, seen + 1, acq_rel, relaxed);  // odd + 1 clears the bit and counts
}

/// Ends the sleep() on the word. After take_wake().
inline void end_sleep(const Word32& word) noexcept {
  TOWPATH_FAILPOINT("wake.before_futex");
  ::syscall(SYS_futex, word.address(), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

/// Wakes the owner if it sleeps or is about to. Call after the seq_cst store that made something ready.
TOWPATH_HOT void wake(Word32& word) noexcept {
  if (take_wake(word)) end_sleep(word);
}

/// Wakes all who sleep on a word that many wait for. It counts what happened: add to it first (seq_cst).
inline void wake_all(const Word32& word) noexcept {
  ::syscall(SYS_futex, word.address(), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace towpath::inline TOWPATH_ABI::shm
