// Topics with one writer, across processes: who is let in, what a death, a stop and a deletion cost, and that no wake
// is lost although a commit is a plain store.
#include <support/failpoint.hpp>

#include <consume/consume_support.hpp>
#include <shm/shm_support.hpp>

#include <csignal>
#include <fstream>
#include <random>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

using namespace towpath;
using namespace towpath::test;

namespace {

TopicConfig sole_config(std::int32_t partitions = 1) {
  TopicConfig config;
  config.partitions = partitions;
  config.writers = Writers::one;
  return config;
}

/// Opens or makes the topic; whoever comes later gets its settings whatever it asks for.
struct SoleTopic {
  explicit SoleTopic(const std::string& path, const TopicConfig& config = {}, const char* name = "topic")
      : bus{path}, topic{bus, name, config} {}
  Bus bus;
  Topic<std::string> topic;
};

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

/// Sends "before", then dies or stops at the named place of the next send.
TOWPATH_ROLE("sole_send_and_meet") {
  SoleTopic open{args.at(0)};
  Producer producer{open.topic};
  producer.send("before").value();
  say("ready");
  hear("go");
  arm(args.at(1), 1, args.at(2) == "kill" ? Action::kill : Action::stop);
  producer.send("cut off").value();
  producer.send("after").value();
  say("done");
  hang();
}

TOWPATH_ROLE("sole_send_until_told") {
  SoleTopic open{args.at(0)};
  Producer producer{open.topic};
  for (std::uint64_t i = 0;; ++i) {
    const auto sent = producer.send(std::to_string(i));
    if (i == 100) say("sending");
    if (sent) continue;
    say(std::string{name(sent.error().code)});
    return 0;
  }
}

/// Writes to three partitions in turn, by send, loan and batch, until it is killed. The values of a partition rise by
/// one; says how many it acknowledged by a record of `acknowledged`, a file of three words.
TOWPATH_ROLE("sole_write_three") {
  SoleTopic open{args.at(0)};
  Producer producer{open.topic};
  Consumer consumer{open.topic, from(OffsetReset::earliest)};
  std::array<std::uint64_t, 3> next{};
  for (int quiet = 0; quiet < 2;) {  // where the ones before came to
    const auto batch = consumer.poll(10ms);
    quiet = batch.empty() ? quiet + 1 : 0;
    for (const auto& record : batch)
      next[static_cast<std::size_t>(record.partition().value)] = std::stoull(std::string{record.value()}) + 1;
  }
  arm_random_kill(std::stoull(args.at(1)), 2'000);
  for (std::uint64_t i = 0;; ++i) {
    const auto p = i % 3;
    const SendOptions options{.partition = PartitionId{static_cast<std::int32_t>(p)}};
    if (i % 7 == 5) {
      std::vector<std::string> values;
      for (int k = 0; k < 4; ++k) values.push_back(std::to_string(next[p]++));
      producer.send_batch(values, options).value();
    } else if (i % 5 == 2) {
      const auto text = std::to_string(next[p]++);
      auto loan = producer.loan(text.size(), options).value();
      if (i % 2 == 0) std::memcpy(loan.bytes().data(), text.data(), text.size());
      if (i % 2 == 0) producer.send(std::move(loan)).value();
      if (i % 2 != 0) --next[p];  // dropped
    } else {
      producer.send(std::to_string(next[p]++), options).value();
    }
  }
}

TEST_CASE("a second Producer of a topic with one writer is told when it opens, until the first is gone or dead") {
  const TempDir dir;
  const auto path = (dir / "bus").string();
  SoleTopic open{path, sole_config()};
  {
    Producer first{open.topic};
    const auto second = Producer<std::string>::open(open.topic);
    CHECK(second.error() == Errc::busy);
    CHECK(std::string_view{second.error().detail} == "another live Producer writes this partition");
    CHECK(Producer<std::string>::open(SoleTopic{path}.topic).error() == Errc::busy);  // by another bus of this process
    first.send("0").value();
  }
  auto child = spawn("sole_send_and_meet", {path, "append.written", "stop"});
  child.wait_for("ready", 10s);
  CHECK(Producer<std::string>::open(open.topic).error() == Errc::busy);
  child.kill();
  Producer next{open.topic};
  CHECK(next.send("1").value().offset.value == 2);
  Consumer consumer{open.topic, from(OffsetReset::earliest)};
  CHECK(read_texts(consumer, 3) == std::vector<std::string>{"0", "before", "1"});
}

TEST_CASE("several partitions are owned one by one, with the first record for each") {
  const TempDir dir;
  SoleTopic open{(dir / "bus").string(), sole_config(3)};
  Producer first{open.topic}, second{open.topic};
  const auto to = [](std::int32_t partition) { return SendOptions{.partition = PartitionId{partition}}; };
  first.send("a", to(0)).value();
  second.send("b", to(1)).value();
  CHECK(second.send("c", to(0)).error() == Errc::busy);
  CHECK(first.send("c", to(1)).error() == Errc::busy);
  CHECK(first.loan(3, to(1)).error() == Errc::busy);
  const std::vector<std::string> batch{"x", "y"};
  CHECK(first.send_batch(batch, to(1)).error() == Errc::busy);
  CHECK(first.send("c", to(2)).value().offset.value == 0);
  CHECK(first.send("d", to(0)).value().offset.value == 1);
  CHECK(second.send("e", to(1)).value().offset.value == 1);
}

TEST_CASE("an only writer killed between reserve and commit loses only its own record, and readers go on at once") {
  for (const char* place :
       {"reserve.announced", "reserve.reserved", "append.half_written", "append.written", "commit.resolved"}) {
    CAPTURE(std::string{place});
    const TempDir dir;
    const auto path = (dir / "bus").string();
    SoleTopic open{path, sole_config()};
    Consumer consumer{open.topic, from(OffsetReset::earliest)};
    auto child = spawn("sole_send_and_meet", {path, place, "kill"});
    child.wait_for("ready", 10s);
    child.tell("go");
    CHECK(child.wait(10s).signal == SIGKILL);
    std::vector<std::string> expected{"before"};
    if (std::string_view{place} == "commit.resolved") expected.emplace_back("cut off");
    CHECK(read_texts(consumer, expected.size()) == expected);
    Producer{open.topic}.send("after the kill").value();
    CHECK(read_texts(consumer, 1) == std::vector<std::string>{"after the kill"});
  }
}

TEST_CASE("readers wait for an only writer that stands still, however long; nothing is given up or doubled") {
  for (const char* place : {"reserve.reserved", "append.half_written", "append.written"}) {
    CAPTURE(std::string{place});
    const TempDir dir;
    const auto path = (dir / "bus").string();
    auto config = sole_config();
    config.grace = 1ms;
    SoleTopic open{path, config};
    Consumer consumer{open.topic, from(OffsetReset::earliest)};
    auto child = spawn("sole_send_and_meet", {path, place, "stop"});
    child.wait_for("ready", 10s);
    child.tell("go");
    child.wait_stopped(10s);
    CHECK(consumer.poll(stretched(1s)).size() == 1);
    CHECK(consumer.poll(200ms).empty());
    child.cont();
    child.wait_for("done", 10s);
    CHECK(read_texts(consumer, 2) == std::vector<std::string>{"cut off", "after"});
    CHECK(consumer.poll(0ms).empty());
    CHECK(Partition<std::string>::open(open.topic, {0}).value().counters().aborted == 0);
  }
}

TEST_CASE("a loan of an only writer outlasts the grace, and is written nowhere else") {
  const TempDir dir;
  auto config = sole_config();
  config.grace = 1ms;
  SoleTopic open{(dir / "bus").string(), config};
  Producer producer{open.topic};
  Consumer consumer{open.topic, from(OffsetReset::earliest)};
  auto loan = producer.loan(4).value();
  CHECK(consumer.poll(50ms).empty());
  std::memcpy(loan.bytes().data(), "late", 4);
  CHECK(producer.send(std::move(loan)).value().offset.value == 0);
  { auto dropped = producer.loan(4).value(); }
  CHECK(producer.send("next").value().offset.value == 2);
  CHECK(read_texts(consumer, 2) == std::vector<std::string>{"late", "next"});
}

TEST_CASE("only writers of three partitions, killed one after the other at random places, lose and double nothing") {
  const TempDir dir;
  const auto path = (dir / "bus").string();
  SoleTopic open{path, sole_config(3)};
  for (std::uint64_t seed = 1; seed <= (sanitized ? 5 : 25); ++seed) {
    auto child = spawn("sole_write_three", {path, std::to_string(seed)});
    CHECK(child.wait(60s).signal == SIGKILL);
  }
  Consumer consumer{open.topic, from(OffsetReset::earliest)};
  std::array<std::uint64_t, 3> next{};
  for (int quiet = 0; quiet < 2;) {
    const auto batch = consumer.poll(50ms);
    quiet = batch.empty() ? quiet + 1 : 0;
    for (const auto& record :
         batch)  // numbered by what was readable: a lost record leaves a gap, a doubled one repeats
      CHECK(std::string{record.value()} == std::to_string(next[static_cast<std::size_t>(record.partition().value)]++));
  }
  CHECK(next[0] > 25);
  CHECK(next[1] > 25);
  CHECK(next[2] > 25);
}

TEST_CASE("an only writer whose topic is deleted while it sends is told, and the topic made anew is another one") {
  for (int round = 0; round < 5; ++round) {
    const TempDir dir;
    const auto path = (dir / "bus").string();
    SoleTopic open{path, sole_config()};
    auto child = spawn("sole_send_until_told", {path});
    child.wait_for("sending", 10s);
    Admin{open.bus}.delete_topic("topic").value();
    SoleTopic anew{path, sole_config()};
    Producer producer{anew.topic};
    CHECK(producer.send("first").value().offset.value == 0);
    CHECK(child.wait_for("", 10s) == "topic_deleted");
    CHECK(child.wait(10s) == exited_well);
    Consumer consumer{anew.topic, from(OffsetReset::earliest)};
    CHECK(read_texts(consumer, 1) == std::vector<std::string>{"first"});
    CHECK(consumer.poll(0ms).empty());
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
