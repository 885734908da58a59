// What every measured system shares: two pinned processes over one shared page, a barrier, a clock, percentiles,
// printing. A program built on it is `bench_SYSTEM GROUP [--dir D] [--seconds N] [--quick]` and measures one group
// once. It prints `measure<TAB>value<TAB>unit<TAB>placement` lines, and comment lines that begin with `#`. Rounds and
// medians are tools/bench's work. Any failure (a lost record, a dead peer, a full disk) ends the program with a message
// and a status other than 0.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace bench {

/// Ends this process, and through the dead-peer checks the whole run. `_exit`, because both sides of a fork use it.
[[noreturn]] inline void fail(std::string_view what) {
  std::fflush(stdout);
  std::fprintf(stderr, "bench: %.*s\n", static_cast<int>(what.size()), what.data());
  _exit(1);
}

inline void require(bool ok, std::string_view what) {
  if (!ok) fail(std::string(what) + (errno != 0 ? std::string(": ") + std::strerror(errno) : std::string()));
}

/// Tells the core that this is a spin loop, so that a sibling thread gets the shared units.
inline void pause() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

/// A counter cheap enough to read once per round trip; invariant and equal on all cores of the machines we measure on.
inline std::uint64_t ticks() noexcept {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

/// Calibrated once against the steady clock over 20 ms. Call it before fork, so that both sides agree.
inline double nanoseconds_per_tick() {
  static const double ratio = [] {
    using Clock = std::chrono::steady_clock;
    const auto from = Clock::now();
    const std::uint64_t first = ticks();
    while (Clock::now() - from < std::chrono::milliseconds(20)) pause();
    const std::uint64_t last = ticks();
    const std::chrono::duration<double, std::nano> passed = Clock::now() - from;
    return passed.count() / static_cast<double>(last - first);
  }();
  return ratio;
}

inline double nanoseconds(std::uint64_t tick_count) { return static_cast<double>(tick_count) * nanoseconds_per_tick(); }
inline double seconds(std::uint64_t tick_count) { return nanoseconds(tick_count) * 1e-9; }

/// The two cores this run uses: the first two the process is allowed on. Read before anybody is pinned.
inline const std::vector<int>& cores() {
  static const std::vector<int> allowed = [] {
    cpu_set_t set;
    require(sched_getaffinity(0, sizeof set, &set) == 0, "sched_getaffinity");
    std::vector<int> found;
    for (int cpu = 0; cpu < CPU_SETSIZE && found.size() < 2; ++cpu)
      if (CPU_ISSET(cpu, &set)) found.push_back(cpu);
    if (found.size() < 2) fail("two cores are needed, two processes that spin on one core measure the scheduler");
    return found;
  }();
  return allowed;
}

/// Pins the calling thread to the first or second core. Open buses before: a thread they start must stay free to move.
inline void pin(std::size_t side) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cores()[side]), &set);
  require(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

/// Undoes pin() in a process that goes on to something else.
inline void unpin() {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu : cores()) CPU_SET(static_cast<std::size_t>(cpu), &set);
  require(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

using SharedWord = std::atomic<std::uint64_t>;
static_assert(SharedWord::is_always_lock_free);

/// One page of memory that parent and child share. Each word has its line to itself.
struct SharedPage {
  struct alignas(64) Line {
    SharedWord word{0};
  };
  Line ping, pong;  // the raw line round trip
  Line arrived;     // barrier
  Line consumed;    // how far the reader of a stream is
  Line start;       // when the first record of a paced part is due, in ticks
  Line produced;    // how many records a timed stream had, once it is over
  Line results[8];  // bit patterns of doubles, from the child to the parent
};

/// An anonymous mapping that survives fork as shared memory.
class SharedMemory {
 public:
  explicit SharedMemory(std::size_t size) : size_(size) {
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    require(at != MAP_FAILED, "mmap of shared memory");
    data_ = static_cast<std::byte*>(at);
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { munmap(data_, size_); }
  std::byte* data() const noexcept { return data_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_;
};

/// Waits until both sides have called it equally often. Yields: one side may still be making files.
inline void meet(SharedPage& page, std::uint64_t& meetings) {
  ++meetings;
  page.arrived.word.fetch_add(1, std::memory_order_acq_rel);
  while (page.arrived.word.load(std::memory_order_acquire) < 2 * meetings) sched_yield();
}

/// A side of a pair: 0 is the parent, 1 the child. Roles meet the other side before and after what they measure.
struct Side {
  SharedPage& page;
  std::size_t index;
  std::uint64_t meetings = 0;

  void meet_other() { meet(page, meetings); }
  void report(std::size_t slot, double value) {
    std::uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    page.results[slot].word.store(bits, std::memory_order_release);  // read by the parent after it reaped the child
  }
  double reported(std::size_t slot) const {
    const std::uint64_t bits = page.results[slot].word.load(std::memory_order_acquire);
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
};

namespace detail {

/// A spinner never asks whether its peer lives, so the signal of the peer's death has to end it.
inline void on_child_death(int, siginfo_t* info, void*) {
  if (info->si_code == CLD_EXITED && info->si_status == 0) return;
  constexpr std::string_view text = "bench: the second process died\n";
  if (write(STDERR_FILENO, text.data(), text.size()) < 0) _exit(2);
  _exit(1);
}

inline void watch_children() {
  struct sigaction action = {};
  action.sa_sigaction = on_child_death;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  require(sigaction(SIGCHLD, &action, nullptr) == 0, "sigaction");
}

/// Starts a process that does `work()` and ends. It dies with this one; if it fails, this one ends.
template <class Work>
pid_t start_process(Work&& work) {
  nanoseconds_per_tick();
  cores();
  watch_children();
  std::fflush(stdout);
  const pid_t parent = getpid();
  const pid_t child = fork();
  require(child >= 0, "fork");
  if (child != 0) return child;
  require(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent, "the parent died");
  work();
  std::fflush(stdout);
  _exit(0);
}

inline void wait_for_process(pid_t child) {
  int status = 0;
  pid_t reaped;
  do reaped = waitpid(child, &status, 0);
  while (reaped < 0 && errno == EINTR);
  require(reaped == child && status == 0, "another process failed");
}

}  // namespace detail

/// Runs `first(Side&)` here and `second(Side&)` in a child, and returns when both are done. Ends the program if either
/// fails.
template <class First, class Second>
Side run_pair(SharedPage& page, First&& first, Second&& second) {
  const pid_t child = detail::start_process([&] {
    Side side{page, 1};
    second(side);
  });
  Side side{page, 0};
  first(side);
  detail::wait_for_process(child);
  unpin();
  return side;
}

/// Lets another process do `work` and end, so that what it mapped and cached is gone.
template <class Work>
void in_another_process(Work&& work) {
  detail::wait_for_process(detail::start_process(work));
}

/// Nearest-rank percentile; sorts in place.
inline std::uint64_t percentile(std::vector<std::uint64_t>& samples, double share) {
  if (samples.empty()) fail("no samples");
  std::sort(samples.begin(), samples.end());
  const double rank = share * static_cast<double>(samples.size() - 1) + 0.5;
  return samples[static_cast<std::size_t>(rank)];
}

/// Prints one value; `where` says on which cores, if that matters: near, far or mixed.
inline void print(std::string_view measure, double value, std::string_view unit, std::string_view where = "any") {
  const auto width = [](std::string_view text) { return static_cast<int>(text.size()); };
  std::printf("%.*s\t%.6g\t%.*s\t%.*s\n", width(measure), measure.data(), value, width(unit), unit.data(), width(where),
              where.data());
}

/// The raw limit that brackets what a pair measures: two lines, two spinning processes, nothing else. Both sides call
/// it, pinned, just before and just after. The parent gets the median in ns; the child 0.
inline double line_round_trip(Side& side) {
  constexpr std::uint64_t rounds = 1'000;
  std::vector<std::uint64_t> samples(rounds);
  side.page.ping.word.store(0, std::memory_order_relaxed);
  side.page.pong.word.store(0, std::memory_order_relaxed);
  side.meet_other();
  SharedWord& out = side.index == 0 ? side.page.ping.word : side.page.pong.word;
  SharedWord& in = side.index == 0 ? side.page.pong.word : side.page.ping.word;
  std::uint64_t before = ticks();
  for (std::uint64_t i = 1; i <= rounds; ++i) {
    if (side.index == 0) out.store(i, std::memory_order_release);
    while (in.load(std::memory_order_acquire) != i) pause();
    if (side.index == 1) out.store(i, std::memory_order_release);
    const std::uint64_t now = ticks();
    samples[i - 1] = now - before;
    before = now;
  }
  side.meet_other();
  return side.index == 0 ? nanoseconds(percentile(samples, 0.5)) : 0;
}

/// Virtual machines move their cores between siblings (near) and separate cores (far) within seconds, and latencies of
/// the two do not mix. `mixed`: it changed while something was measured.
enum class Placement { near, far, mixed };

inline Placement placement_of(double line_before, double line_after) {
  constexpr double limit = 200;  // ns
  if (line_before < limit && line_after < limit) return Placement::near;
  return line_before >= limit && line_after >= limit ? Placement::far : Placement::mixed;
}

/// Calls `measured()` on both sides between two raw line round trips and returns where it ran; in the child: mixed.
template <class Measured>
Placement bracketed(Side& side, Measured&& measured) {
  const double before = line_round_trip(side);
  measured();
  const double after = line_round_trip(side);
  return side.index == 0 ? placement_of(before, after) : Placement::mixed;
}

/// What the command line asked for.
struct Options {
  std::string dir;      // where files go; the caller made it and removes it
  double seconds = 30;  // length of sustained streams
  bool quick = false;   // fewer round trips and records: to see that it works, not for publication
};

/// A group is what one run measures at once: the percentiles of one round trip, or one rate.
struct Group {
  std::string_view name;
  void (*run)(const Options&);
};

/// Runs the named group. `list` names the groups of this system.
inline int run_main(int count, char** arguments, const std::vector<Group>& groups) {
  const std::vector<std::string_view> words(arguments + 1, arguments + count);
  if (words.size() == 1 && words[0] == "list") {
    for (const Group& group : groups) std::printf("%.*s\n", static_cast<int>(group.name.size()), group.name.data());
    return 0;
  }
  Options options;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i] == "--quick")
      options.quick = true;
    else if (words[i] == "--dir" && i + 1 < words.size())
      options.dir = words[++i];
    else if (words[i] == "--seconds" && i + 1 < words.size())
      options.seconds = std::atof(words[++i].data());
    else
      fail("unknown option " + std::string(words[i]));
  }
  for (const Group& group : groups) {
    if (words.empty() || group.name != words[0]) continue;
    group.run(options);
    return 0;
  }
  std::fprintf(stderr, "usage: %s GROUP --dir D [--seconds N] [--quick], or list\n", arguments[0]);
  return 2;
}

}  // namespace bench
