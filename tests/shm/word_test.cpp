#include <doctest/doctest.h>

#include <towpath/shm/word.hpp>

#include <atomic>
#include <cstring>
#include <new>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace towpath;
using shm::Word;
using shm::Word32;
using shm::Word64;

namespace {

// Notes every access with its order, then does it: what a checker would put in DirectPolicy's place.
struct RecordingPolicy {
  struct RecordedAccess {
    const char* what;
    std::memory_order order;
    std::memory_order on_failure = std::memory_order_relaxed;
    bool operator==(const RecordedAccess& other) const {
      return std::strcmp(what, other.what) == 0 && order == other.order && on_failure == other.on_failure;
    }
  };
  static inline std::vector<RecordedAccess> seen;

  template <class T>
  static T load(const T& at, std::memory_order order) {
    seen.push_back({"load", order});
    return at;
  }
  template <class T>
  static void store(T& at, T value, std::memory_order order) {
    seen.push_back({"store", order});
    at = value;
  }
  template <class T>
  static T exchange(T& at, T value, std::memory_order order) {
    seen.push_back({"exchange", order});
    return std::exchange(at, value);
  }
  template <class T>
  static bool compare_exchange(T& at, T& expected, T desired, std::memory_order order, std::memory_order on_failure) {
    seen.push_back({"compare_exchange", order, on_failure});
    if (at != expected) return expected = at, false;
    at = desired;
    return true;
  }
  template <class T>
  static T fetch_add(T& at, T value, std::memory_order order) {
    seen.push_back({"fetch_add", order});
    return std::exchange(at, at + value);
  }
  template <class T>
  static T fetch_or(T& at, T value, std::memory_order order) {
    seen.push_back({"fetch_or", order});
    return std::exchange(at, at | value);
  }
  template <class T>
  static T fetch_and(T& at, T value, std::memory_order order) {
    seen.push_back({"fetch_and", order});
    return std::exchange(at, at & value);
  }
};

template <class W>
void use_every_operation(W& word) {
  word.store(1, shm::release);
  CHECK(word.load(shm::acquire) == 1);
  CHECK(word.exchange(5, shm::acq_rel) == 1);
  auto expected = word.load(shm::relaxed);
  CHECK(word.compare_exchange(expected, 6, shm::acq_rel, shm::acquire));
  expected = 99;
  CHECK_FALSE(word.compare_exchange(expected, 7, shm::seq_cst, shm::relaxed));
  CHECK(expected == 6);
  CHECK(word.fetch_add(2, shm::seq_cst) == 6);
  CHECK(word.fetch_or(0x18, shm::release) == 8);  // overlaps: not an addition
  CHECK(word.fetch_and(0x11, shm::acquire) == 0x18);
  CHECK(word.load(shm::seq_cst) == 0x10);
}

}  // namespace

// A word is looked at where it lies in a file: nothing may construct, copy or default its order.
static_assert(std::is_trivially_default_constructible_v<Word64> && std::is_trivially_destructible_v<Word64>);
static_assert(!std::is_copy_constructible_v<Word64> && !std::is_copy_assignable_v<Word64>);
static_assert(sizeof(Word<std::uint8_t>) == 1 && sizeof(Word32) == 4 && alignof(Word64) == 8);
static_assert(!std::is_convertible_v<Word64, std::uint64_t>, "a load without a named order");
template <class W>
concept LoadsWithoutOrder = requires(W& word) {
  word.load();
};
template <class W>
concept StoresWithoutOrder = requires(W& word) {
  word.store(1);
};
static_assert(!LoadsWithoutOrder<Word64> && !StoresWithoutOrder<Word64>);

TEST_CASE_TEMPLATE("a word does what its operations say, at every width", T, std::uint8_t, std::uint16_t, std::uint32_t,
                   std::uint64_t, std::int64_t) {
  alignas(8) T memory = 0;
  use_every_operation(*reinterpret_cast<Word<T>*>(&memory));
  CHECK(memory == 0x10);
}

TEST_CASE("every access of a word goes through its policy, once, with the order it was given") {
  using Recorded = Word<std::uint64_t, RecordingPolicy>;
  using RecordedAccess = RecordingPolicy::RecordedAccess;
  RecordingPolicy::seen.clear();
  Recorded word;
  use_every_operation(word);
  const std::vector<RecordedAccess> expected = {
      {"store", shm::release},
      {"load", shm::acquire},
      {"exchange", shm::acq_rel},
      {"load", shm::relaxed},
      {"compare_exchange", shm::acq_rel, shm::acquire},
      {"compare_exchange", shm::seq_cst, shm::relaxed},
      {"fetch_add", shm::seq_cst},
      {"fetch_or", shm::release},
      {"fetch_and", shm::acquire},
      {"load", shm::seq_cst},
  };
  CHECK(RecordingPolicy::seen == expected);

  RecordingPolicy::seen.clear();
  CHECK(word.raise_to(100, shm::release));
  const std::vector<RecordedAccess> raising = {{"load", shm::seq_cst},
                                               {"compare_exchange", shm::release, shm::seq_cst}};
  CHECK(RecordingPolicy::seen == raising);
}

TEST_CASE("a word is raised, never lowered, and says who raised it") {
  Word64 word;
  word.store(10, shm::relaxed);
  CHECK_FALSE(word.raise_to(9, shm::acq_rel));
  CHECK_FALSE(word.raise_to(10, shm::acq_rel));
  CHECK(word.raise_to(11, shm::acq_rel));
  CHECK(word.load(shm::relaxed) == 11);
}

TEST_CASE("of threads that raise a word to the same values each value is raised at most once and the last one stays") {
  Word64 word;
  word.store(0, shm::relaxed);
  std::vector<std::atomic<int>> raised(20'001);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      for (std::size_t value = 1; value <= 20'000; ++value) raised[value] += word.raise_to(value, shm::acq_rel) ? 1 : 0;
    });
  for (auto& thread : threads) thread.join();
  CHECK(word.load(shm::acquire) == 20'000);
  CHECK(raised[20'000] == 1);
  for (const auto& times : raised) REQUIRE(times <= 1);
}

TEST_CASE("what was written before a release is there after the acquire that sees it") {
  Word32 flag;
  flag.store(0, shm::relaxed);
  int payload = 0;  // no atomic: the thread sanitizer checks the pair
  std::thread writer{[&] {
    payload = 42;
    flag.store(1, shm::release);
  }};
  while (flag.load(shm::acquire) == 0) shm::pause();
  CHECK(payload == 42);
  writer.join();
}
