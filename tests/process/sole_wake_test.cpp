// Topics with one writer: no wake is lost although a commit is a plain store, whoever may call membarrier(2).
#include <support/failpoint.hpp>

#include <csignal>
#include <fstream>
#include <random>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "sole_topic.hpp"

using namespace towpath;
using namespace towpath::test;

namespace {

/// Keeps the calling thread on one of the first two processors, so that two processes run at once; until it goes.
class OnProcessor {
 public:
  explicit OnProcessor(int which) {
    ::sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t mine;
    CPU_ZERO(&mine);
    for (int i = 0, seen = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &before_) && seen++ == which) CPU_SET(i, &mine);
    if (CPU_COUNT(&mine) == 1) ::sched_setaffinity(0, sizeof mine, &mine);
  }
  ~OnProcessor() { ::sched_setaffinity(0, sizeof before_, &before_); }
  OnProcessor(const OnProcessor&) = delete;
  OnProcessor& operator=(const OnProcessor&) = delete;

 private:
  cpu_set_t before_;
};

std::int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

void spin_for(std::int64_t nanoseconds) {
  for (const auto until = now_ns() + nanoseconds; now_ns() < until;) continue;
}

/// As where a sandbox allows no membarrier(2).
void refuse_barriers() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),  // the number of the call
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{4, code};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    fail("a filter of system calls cannot be set");
  if (shm::register_for_barriers() || shm::barrier_everywhere()) fail("the filter lets membarrier through");
}

/// Sends every answer back at once, or on a bell; sleeps in between.
void answer(const std::string& path, int rounds) {
  SoleTopic there{path, {}, "there"}, back{path, {}, "back"};
  Consumer consumer{there.topic, from(OffsetReset::earliest)};
  Producer producer{back.topic};
  say("ready");
  for (int i = 0; i < rounds;) {
    const auto batch = consumer.poll(20s, wait::Block{});
    if (batch.empty()) fail("no question came");
    for (const auto& record : batch) producer.send(std::string{record.value()}).value(), ++i;
  }
}

/// Asks and sleeps until the answer comes. Returns how often that took as long as a sleep may take at most.
int ask(const std::string& path, int rounds) {
  SoleTopic there{path, {}, "there"}, back{path, {}, "back"};
  Producer producer{there.topic};
  Consumer consumer{back.topic, from(OffsetReset::earliest)};
  int late = 0;
  for (int i = 0; i < rounds; ++i) {
    const auto begun = now_ns();
    producer.send(std::to_string(i)).value();
    const auto batch = consumer.poll(20s, wait::Block{});
    if (batch.size() != 1 || (*batch.begin()).value() != std::to_string(i))
      fail("another answer than the one expected");
    late += now_ns() - begun > 45'000'000;
  }
  return late;
}

/// Does the process sleep, rather than run or wait for a processor?
bool is_asleep(pid_t pid) {
  std::ifstream stat{"/proc/" + std::to_string(pid) + "/stat"};
  const std::string text{std::istreambuf_iterator<char>{stat}, {}};
  return text.find(") S ") != std::string::npos;
}

/// How many records the follower has read, in a file beside the bus.
class Progress {
 public:
  explicit Progress(const std::string& path) {
    const auto folder = open_folder(path.substr(0, path.rfind('/')));
    if (!folder->identify("progress")) make_file(*folder, "progress", 4096);
    region_ =
        must(shm::Region::map(must(folder->open("progress", shm::Access::read_write)), 4096, shm::Access::read_write));
  }
  shm::Word64& read() { return *reinterpret_cast<shm::Word64*>(region_->data()); }

 private:
  std::shared_ptr<shm::Region> region_;
};

}  // namespace

TOWPATH_ROLE("sole_answer") {
  if (args.at(2) == "refused") refuse_barriers();
  answer(args.at(0), std::stoi(args.at(1)));
  return 0;
}

/// Sends one record after the other to the follower, each when it has read the one before, until it has slept that
/// often.
TOWPATH_ROLE("sole_lead") {
  if (args.at(1) == "refused") refuse_barriers();
  SoleTopic open{args.at(0)};
  Progress progress{args.at(0)};
  Producer producer{open.topic};
  const OnProcessor first{0};
  std::minstd_rand random{1};
  const auto sleeps = [&] { return Partition<std::string>::open(open.topic, {0}).value().counters().waits; };
  const auto wanted = std::stoull(args.at(3));
  int lost = 0;
  for (std::uint64_t sent = 0; sleeps() < wanted; ++sent) {
    producer.send(std::to_string(sent)).value();
    const auto begun = now_ns();
    for (bool is_lost = false; progress.read().load(shm::acquire) <= sent;) {
      // Not read for long: does it want for a processor, or sleep although it should have been woken?
      if (is_lost || now_ns() - begun < 10'000'000 || !is_asleep(std::stoi(args.at(2)))) continue;
      is_lost = progress.read().load(shm::acquire) <= sent;
      lost += is_lost;
    }
    // Both a little, to meet at every distance; now and then so long that it does sleep.
    spin_for(static_cast<std::int64_t>(random() % 2'000 + (random() % 2) * 20'000));
  }
  say("lost wakes " + std::to_string(lost));
  return 0;
}

TOWPATH_ROLE("sole_follow") {
  SoleTopic open{args.at(0)};
  Progress progress{args.at(0)};
  Consumer consumer{open.topic, from(OffsetReset::earliest)};
  const OnProcessor second{1};
  std::minstd_rand random{2};
  say("ready");
  for (std::uint64_t next = 0;;)
    for (const auto& record : consumer.poll(20s, wait::Block{})) {
      if (record.value() != std::to_string(next)) fail("another record than the next one");
      progress.read().store(++next, shm::release);
      spin_for(static_cast<std::int64_t>(random() % 2'000));
    }
}

TEST_CASE("a reader that is about to sleep while the record is stored misses no wake in 20,000 sleeps") {
  for (const char* barriers : {"allowed", "refused"}) {  // to the writer, which then fences by itself
    CAPTURE(std::string{barriers});
    const TempDir dir;
    const auto path = (dir / "bus").string();
    SoleTopic open{path, sole_config()};
    const Progress progress{path};
    auto follower = spawn("sole_follow", {path});
    follower.wait_for("ready", 10s);
    auto leader = spawn("sole_lead", {path, barriers, std::to_string(follower.pid()), sanitized ? "2000" : "20000"});
    const auto said = leader.wait_for("lost wakes", 100s);
    CHECK(said == "lost wakes 0");
  }
}

TEST_CASE("where the kernel refuses barriers the writer fences and the reader looks again by itself") {
  const TempDir dir;
  const auto path = (dir / "bus").string();
  const int rounds = 1'000;
  SoleTopic there{path, sole_config(), "there"}, back{path, sole_config(), "back"};
  auto child = spawn("sole_answer", {path, std::to_string(rounds), "refused"});
  child.wait_for("ready", 10s);
  const int late = ask(path, rounds);
  CHECK(child.wait(10s) == exited_well);
  CHECK(late <= 1);
}

TEST_CASE("an only writer rings those who sleep in an event loop") {
  const TempDir dir;
  const auto path = (dir / "bus").string();
  const int rounds = sanitized ? 200 : 1'000;
  SoleTopic there{path, sole_config(), "there"}, back{path, sole_config(), "back"};
  auto child = spawn("sole_answer", {path, std::to_string(rounds), "allowed"});
  child.wait_for("ready", 10s);
  Producer producer{there.topic};
  Consumer consumer{back.topic, from(OffsetReset::earliest)};
  const int handle = consumer.native_handle().value();
  int late = 0;
  for (int i = 0; i < rounds; ++i) {
    while (!consumer.poll(0ms).empty()) continue;
    const auto begun = now_ns();
    producer.send(std::to_string(i)).value();
    for (;;) {
      pollfd asked{handle, POLLIN, 0};
      REQUIRE(::poll(&asked, 1, 20'000) == 1);
      if (!consumer.poll(0ms).empty()) break;
    }
    late += now_ns() - begun > 45'000'000;
  }
  CHECK(child.wait(10s) == exited_well);
  CHECK(late <= 2);
}
