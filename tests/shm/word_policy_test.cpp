// With TOWPATH_WORD_POLICY the library's own code runs through a checker's policy: every shared word, each access.
#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace checker {

inline std::map<std::string, int> counted;

struct Policy {
  template <class T, class Order>
  static T load(const T& at, Order) {
    return ++counted["load"], at;
  }
  template <class T, class Order>
  static void store(T& at, T value, Order) {
    ++counted["store"], at = value;
  }
  template <class T, class Order>
  static T exchange(T& at, T value, Order) {
    return ++counted["exchange"], std::exchange(at, value);
  }
  template <class T, class Order>
  static bool compare_exchange(T& at, T& expected, T desired, Order, Order) {
    ++counted["compare_exchange"];
    if (at != expected) return expected = at, false;
    return at = desired, true;
  }
  template <class T, class Order>
  static T fetch_add(T& at, T value, Order) {
    return ++counted["fetch_add"], std::exchange(at, at + value);
  }
  template <class T, class Order>
  static T fetch_or(T& at, T value, Order) {
    return ++counted["fetch_or"], std::exchange(at, at | value);
  }
  template <class T, class Order>
  static T fetch_and(T& at, T value, Order) {
    return ++counted["fetch_and"], std::exchange(at, at & value);
  }
};

}  // namespace checker

#define TOWPATH_WORD_POLICY ::checker::Policy

#include <shm/shm_support.hpp>

using namespace towpath;
using namespace towpath::test;

#define TEXT_OF_(text) #text
#define TEXT_OF(text) TEXT_OF_(text)

TEST_CASE("code with another policy never shares a symbol with code without") {
  CHECK(std::string{TEXT_OF(TOWPATH_ABI)}.find("_policy") != std::string::npos);
  static_assert(std::is_same_v<shm::Word64, shm::Word<std::uint64_t, checker::Policy>>);
}

TEST_CASE("sleeping and waking touch the word through the policy and as often as the protocol says") {
  shm::Word32 word;
  word.store(0, shm::relaxed);
  checker::counted.clear();
  shm::wake(word);  // nobody sleeps: one load
  CHECK(checker::counted == std::map<std::string, int>{{"load", 1}});

  checker::counted.clear();
  CHECK(shm::announce_sleep(word) == 1);
  CHECK(checker::counted == std::map<std::string, int>{{"fetch_or", 1}});

  checker::counted.clear();
  shm::wake(word);
  CHECK(checker::counted == std::map<std::string, int>{{"load", 1}, {"compare_exchange", 1}});
  CHECK(word.load(shm::relaxed) == 2);
}

TEST_CASE("claiming and leaving a member line go through the policy") {
  shm::MemoryDirectory directory;
  Table::create(directory);
  Table table{directory};
  checker::counted.clear();
  {
    const auto member = must(table.members.claim(shm::MemberKind::producer, "one"));
    CHECK(checker::counted["fetch_add"] == 1);  // the incarnation
    CHECK(checker::counted["store"] >= 6);
  }
  CHECK(table.members.line(0).kind.load(shm::acquire) == 0);
}
