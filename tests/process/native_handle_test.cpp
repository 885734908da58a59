// Event loops in several processes, of which some are killed.
#include <support/failpoint.hpp>

#include <consume/consume_support.hpp>

#include <csignal>
#include <filesystem>

#include <grp.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace towpath;
using namespace towpath::test;

namespace {

constexpr int rounds = 1'000;

struct LoopBench {
  TempDir dir;
  std::string path = (dir / "bus").string();
  Bus bus{path};
  Topic<std::string> topic{bus, "topic"};
};

bool becomes_readable(int handle, std::chrono::milliseconds patience) {
  pollfd asked{handle, POLLIN, 0};
  return ::poll(&asked, 1, static_cast<int>(patience.count())) == 1;
}

/// Waits in poll(2) alone for the next record.
template <class T>
auto next_in_loop(Consumer<T>& consumer) {
  const int handle = consumer.native_handle().value();
  for (;;) {
    if (!becomes_readable(handle, 20'000ms)) fail("the native handle did not become readable");
    auto batch = consumer.poll(0ms);
    if (!batch.empty()) return batch;
  }
}

/// Sleeps on its handle: the next record has to ring.
template <class T>
void arm_handle(Consumer<T>& consumer) {
  const int handle = consumer.native_handle().value();
  if (!eventually(10s, [&] { return consumer.poll(0ms).empty() && !becomes_readable(handle, 0ms); }))
    fail("the native handle stays readable");
}

std::size_t bells_in(const std::string& bus) {
  std::error_code none;
  std::filesystem::directory_iterator all{bus + "/bells", none};
  return none ? 0 : static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace

/// Sends "before", then meets the named place of the next send: kill.
TOWPATH_ROLE("ring_and_meet") {
  Bus bus{args.at(0)};
  Topic<std::string> topic{bus, "topic"};
  Producer producer{topic};
  producer.send("before").value();
  say("ready");
  hear("go");
  arm(args.at(1), 1, Action::kill);
  producer.send("cut off").value();
  say("sent");
  hang();
}

TOWPATH_ROLE("echo_in_a_loop") {
  Bus bus{args.at(0)};
  Topic<std::int64_t> there{bus, "there"};
  Topic<std::int64_t> back{bus, "back"};
  Consumer consumer{there};
  Producer producer{back};
  arm_handle(consumer);
  say("ready");
  for (int i = 0; i < rounds; ++i) producer.send((*next_in_loop(consumer).begin()).value() + 1).value();
  return 0;
}

TOWPATH_ROLE("sleep_in_a_loop") {
  Bus bus{args.at(0)};
  Topic<std::string> topic{bus, "topic"};
  Consumer consumer{topic};
  arm_handle(consumer);
  say("asleep");
  const auto batch = next_in_loop(consumer);
  say("got " + std::string{(*batch.begin()).value()});
  hang();
}

/// As a member of the bus's group: it may register as a waiter, but make no file.
TOWPATH_ROLE("listen_in_the_group") {
  if (::setgroups(0, nullptr) != 0 || ::setgid(0) != 0 || ::setuid(65'534) != 0) fail("cannot become nobody");
  Bus bus{args.at(0)};
  auto topic = Topic<std::string>::open(bus, "topic").value();
  Consumer consumer{topic};
  arm_handle(consumer);
  say("asleep " + std::to_string(bells_in(args.at(0))));
  const auto batch = next_in_loop(consumer);
  say("got " + std::string{(*batch.begin()).value()});
  return 0;
}

TEST_CASE("a producer killed between commit and ring has sent the record, and the alarm tells the loop") {
  for (const char* place : {"commit.resolved", "wake.before_cas", "wake.before_fifo", "commit.woken"}) {
    CAPTURE(place);
    LoopBench bench;
    auto child = spawn("ring_and_meet", {bench.path, place});
    child.wait_for("ready", 10s);
    Consumer consumer{bench.topic};
    arm_handle(consumer);
    child.tell("go");
    CHECK(child.wait(10s).signal == SIGKILL);
    const auto batch = next_in_loop(consumer);
    CHECK((*batch.begin()).value() == "cut off");
  }
}

TEST_CASE("a loop goes on behind the open slot of a producer that was killed") {
  LoopBench bench;
  auto child = spawn("ring_and_meet", {bench.path, "append.half_written"});
  child.wait_for("ready", 10s);
  Consumer consumer{bench.topic};
  arm_handle(consumer);
  child.tell("go");
  CHECK(child.wait(10s).signal == SIGKILL);
  Producer{bench.topic}.send("after").value();
  const auto batch = next_in_loop(consumer);
  CHECK((*batch.begin()).value() == "after");
}

TEST_CASE("two processes in event loops answer each other a thousand times, and no ring is lost") {
  LoopBench bench;
  Topic<std::int64_t> there{bench.bus, "there"};
  Topic<std::int64_t> back{bench.bus, "back"};
  auto child = spawn("echo_in_a_loop", {bench.path});
  child.wait_for("ready", 10s);
  Consumer consumer{back};
  Producer producer{there};
  arm_handle(consumer);
  int right = 0;
  const auto begun = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < rounds; ++i) {
    producer.send(2 * i).value();
    right += (*next_in_loop(consumer).begin()).value() == 2 * i + 1;
  }
  CHECK(right == rounds);
  // An alarm is 25 to 50 ms away: if rings were lost, alarms alone would take 50 s or more.
  CHECK(std::chrono::steady_clock::now() - begun < stretched(20s));
  CHECK(child.wait(10s) == exited_well);
}

TEST_CASE("the bell of a killed consumer is removed by maintenance, and its producers do not mind") {
  LoopBench bench;
  Producer producer{bench.topic};
  auto child = spawn("sleep_in_a_loop", {bench.path});
  child.wait_for("asleep", 10s);
  CHECK(bells_in(bench.path) == 1);
  producer.send("one").value();
  CHECK(child.wait_for("got", 10s) == "got one");
  CHECK(bells_in(bench.path) == 1);
  child.kill();
  for (int i = 0; i < 100; ++i) producer.send("more").value();
  CHECK(eventually(10s, [&] { return bells_in(bench.path) == 0; }));
}

TEST_CASE("a child's copy of the handle is the parent's, and the child's consumer says forked") {
  if (TOWPATH_TSAN) {
    MESSAGE("skipped: ThreadSanitizer does not follow a fork of a process with threads");
    return;
  }
  LoopBench bench;
  Producer producer{bench.topic};
  std::optional<Consumer<std::string>> consumer{std::in_place, bench.topic};
  arm_handle(*consumer);
  const pid_t pid = ::fork();
  if (pid == 0) {
    const bool says = consumer->native_handle().error() == Errc::forked &&
                      consumer->subscribe({"a"}).error() == Errc::forked && consumer->poll(0ms).error() == Errc::forked;
    consumer->wakeup();
    consumer.reset();
    ::_exit(says ? 0 : 1);
  }
  int status = -1;
  CHECK(::waitpid(pid, &status, 0) == pid);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(bells_in(bench.path) == 1);
  arm_handle(*consumer);
  producer.send("after the child").value();
  CHECK(next_in_loop(*consumer).size() == 1);
}

TEST_CASE("a consumer of the group that may make no bell looks by itself") {
  if (::geteuid() != 0 || TOWPATH_TSAN) {
    MESSAGE("skipped: only root can start a process as another user");
    return;
  }
  LoopBench bench;
  Producer producer{bench.topic};
  producer.send("before").value();
  ::chmod(bench.dir.path().c_str(), 0755);
  auto child = spawn("listen_in_the_group", {bench.path});
  CHECK(child.wait_for("asleep", 10s) == "asleep 0");
  producer.send("hello").value();
  CHECK(child.wait_for("got", 10s) == "got hello");
}
