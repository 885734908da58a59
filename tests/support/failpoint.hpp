// What TOWPATH_FAILPOINT("name") does in a test declared with FAILPOINTS: nothing, until the test arms it.
// Must come before any towpath header; towpath_test(... FAILPOINTS) sees to that. Call it by name for arm() and the like.
// Thread-safe. One arming at a time and per process: a spawned child starts with nothing armed.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#define TOWPATH_FAILPOINT(name) ::towpath::test::failpoint(name)

namespace towpath::test {

enum class Action {
  kill,   // SIGKILL to this process: no destructor, no flush
  stop,   // SIGSTOP to this process: it goes on after Child::cont()
  pause,  // prints "at NAME" on stdout, then this thread sleeps until the process is killed
};

/// The nth time (from 1) that the failpoint `name` is reached from now on, does `action`, once. "*" is any failpoint.
void arm(std::string_view name, unsigned nth, Action action);

/// The same with a function of the test's own, called on the thread that got there, with the failpoint's name.
/// Failpoints reached inside it do nothing.
void arm(std::string_view name, unsigned nth, std::function<void(const char* name)> action);

/// At every failpoint, SIGKILL with chance 1 / one_in, from a generator that starts at `seed`.
void arm_random_kill(std::uint64_t seed, unsigned one_in);

/// Notes the name of every failpoint reached from now on; reached() returns them, sorted, each once.
void arm_recorder();
std::vector<std::string> reached();

void disarm();

/// How often the armed name was reached since arm(); stays readable after disarm().
unsigned hits();

namespace detail {
extern std::atomic<bool> failpoint_armed;
void failpoint_reached(const char* name) noexcept;
}  // namespace detail

inline void failpoint(const char* name) noexcept {
  if (detail::failpoint_armed.load(std::memory_order_relaxed)) [[unlikely]] detail::failpoint_reached(name);
}

}  // namespace towpath::test
