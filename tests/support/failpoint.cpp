#include <support/failpoint.hpp>
#include <support/process.hpp>

#include <csignal>
#include <mutex>
#include <random>
#include <set>
#include <utility>

#include <unistd.h>

namespace towpath::test {
namespace {

struct Arming {
  std::string name;
  unsigned nth = 0;
  unsigned hits = 0;
  std::function<void(const char*)> action;
  unsigned one_in = 0;
  std::mt19937_64 random;
  bool records = false;
  std::set<std::string> reached;
};

std::mutex arming_mutex;
Arming arming;
thread_local bool inside_action = false;

void install(Arming next) {
  const std::lock_guard lock{arming_mutex};
  arming = std::move(next);
  detail::failpoint_armed.store(true, std::memory_order_relaxed);
}

[[noreturn]] void pause_forever(const char* name) {
  say(std::string{"at "} + name);
  for (;;) ::pause();
}

std::function<void(const char*)> function_for(Action action) {
  switch (action) {
    case Action::kill: return [](const char*) { ::kill(::getpid(), SIGKILL); };
    case Action::stop: return [](const char*) { ::kill(::getpid(), SIGSTOP); };
    case Action::pause: return pause_forever;
  }
  fail("arm: no such action");
}

// Returns what is to be done, to be called without the lock: the action may stay away for long.
std::function<void(const char*)> note_hit(const char* name) {
  const std::lock_guard lock{arming_mutex};
  if (arming.records) arming.reached.insert(name);
  if (arming.one_in != 0 && arming.random() % arming.one_in == 0) ::kill(::getpid(), SIGKILL);
  if (!arming.action || (arming.name != "*" && arming.name != name)) return {};
  if (++arming.hits != arming.nth) return {};
  return arming.action;
}

}  // namespace

std::atomic<bool> detail::failpoint_armed{false};

void detail::failpoint_reached(const char* name) noexcept {
  if (inside_action) return;
  const auto action = note_hit(name);
  if (!action) return;
  inside_action = true;
  action(name);
  inside_action = false;
}

void arm(std::string_view name, unsigned nth, std::function<void(const char*)> action) {
  if (nth == 0) fail("arm: nth counts from 1");
  Arming next;
  next.name = name;
  next.nth = nth;
  next.action = std::move(action);
  install(std::move(next));
}

void arm(std::string_view name, unsigned nth, Action action) { arm(name, nth, function_for(action)); }

void arm_random_kill(std::uint64_t seed, unsigned one_in) {
  if (one_in == 0) fail("arm_random_kill: a chance of 1 / 0");
  Arming next;
  next.one_in = one_in;
  next.random.seed(seed);
  install(std::move(next));
}

void arm_recorder() {
  Arming next;
  next.records = true;
  install(std::move(next));
}

std::vector<std::string> reached() {
  const std::lock_guard lock{arming_mutex};
  return {arming.reached.begin(), arming.reached.end()};
}

void disarm() { detail::failpoint_armed.store(false, std::memory_order_relaxed); }

unsigned hits() {
  const std::lock_guard lock{arming_mutex};
  return arming.hits;
}

}  // namespace towpath::test
