// A Word is a number that two processes share. Every such number in every file is one of these, so that each access
// names its memory order and a checker can run the real code by putting its own policy in DirectPolicy's place.
// Lock-free on every platform that compiles it; never constructed in shared memory, only looked at there.
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include <towpath/core/config.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

using std::memory_order;
inline constexpr memory_order relaxed = std::memory_order_relaxed;
inline constexpr memory_order acquire = std::memory_order_acquire;
inline constexpr memory_order release = std::memory_order_release;
inline constexpr memory_order acq_rel = std::memory_order_acq_rel;
inline constexpr memory_order seq_cst = std::memory_order_seq_cst;

/// How words are touched in production: std::atomic_ref, nothing else. A checker's policy has the same functions.
struct DirectPolicy {
  template <class T>
  static TOWPATH_HOT T load(const T& at, memory_order order) noexcept {
    return std::atomic_ref<T>{const_cast<T&>(at)}.load(order);  // atomic_ref<const T> is C++26; load() never writes
  }
  template <class T>
  static TOWPATH_HOT void store(T& at, T value, memory_order order) noexcept {
    std::atomic_ref<T>{at}.store(value, order);
  }
  template <class T>
  static TOWPATH_HOT T exchange(T& at, T value, memory_order order) noexcept {
    return std::atomic_ref<T>{at}.exchange(value, order);
  }
  template <class T>
  static TOWPATH_HOT bool compare_exchange(T& at, T& expected, T desired, memory_order success,
                                           memory_order failure) noexcept {
    // The builtin, not atomic_ref's function, so that the warning can be answered here: with a sanitizer at -O1 g++ 12
    // loses a constant order on the way through inlining, takes it for seq_cst, and finds that too strong.
#pragma GCC diagnostic push
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Winvalid-memory-model"
#endif
    return __atomic_compare_exchange_n(&at, &expected, desired, false, static_cast<int>(success),
                                       static_cast<int>(failure));
#pragma GCC diagnostic pop
  }
  template <class T>
  static TOWPATH_HOT T fetch_add(T& at, T value, memory_order order) noexcept {
    return std::atomic_ref<T>{at}.fetch_add(value, order);
  }
  template <class T>
  static TOWPATH_HOT T fetch_or(T& at, T value, memory_order order) noexcept {
    return std::atomic_ref<T>{at}.fetch_or(value, order);
  }
  template <class T>
  static TOWPATH_HOT T fetch_and(T& at, T value, memory_order order) noexcept {
    return std::atomic_ref<T>{at}.fetch_and(value, order);
  }
};

template <std::integral T, class Policy = TOWPATH_WORD_POLICY>
class Word {
  static_assert(std::atomic_ref<T>::is_always_lock_free, "a lock could be held by a dead process");
  static_assert(std::atomic_ref<T>::required_alignment <= alignof(T));

 public:
  Word() = default;
  Word(const Word&) = delete;
  Word& operator=(const Word&) = delete;

  [[nodiscard]] TOWPATH_HOT T load(memory_order order) const noexcept { return Policy::load(raw_, order); }
  TOWPATH_HOT void store(T value, memory_order order) noexcept { Policy::store(raw_, value, order); }
  TOWPATH_HOT T exchange(T value, memory_order order) noexcept { return Policy::exchange(raw_, value, order); }
  /// On failure `expected` holds what was found.
  TOWPATH_HOT bool compare_exchange(T& expected, T desired, memory_order success, memory_order failure) noexcept {
    return Policy::compare_exchange(raw_, expected, desired, success, failure);
  }
  TOWPATH_HOT T fetch_add(T value, memory_order order) noexcept { return Policy::fetch_add(raw_, value, order); }
  TOWPATH_HOT T fetch_or(T value, memory_order order) noexcept { return Policy::fetch_or(raw_, value, order); }
  TOWPATH_HOT T fetch_and(T value, memory_order order) noexcept { return Policy::fetch_and(raw_, value, order); }

  /// Raises the word to `value` unless it is there or above. True if this call raised it.
  bool raise_to(T value, memory_order success) noexcept {
    T seen = load(seq_cst);  // who finds it raised relies on it like who raises it
    while (seen < value)
      if (compare_exchange(seen, value, success, seq_cst)) return true;
    return false;
  }

  /// For the futex call only.
  [[nodiscard]] const T* address() const noexcept { return &raw_; }

 private:
  T raw_;
};

using Word32 = Word<std::uint32_t>;
using Word64 = Word<std::uint64_t>;
static_assert(sizeof(Word64) == 8 && std::is_standard_layout_v<Word64> &&
              std::is_trivially_default_constructible_v<Word64>);
static_assert(sizeof(Word32) == 4 && std::is_standard_layout_v<Word32>);

/// Tells the processor that this is a spinning loop.
TOWPATH_HOT void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield" ::: "memory");
#endif
}

}  // namespace towpath::inline TOWPATH_ABI::shm
