#include <log/log_support.hpp>

using namespace towpath;
using namespace towpath::test;
using log::Appender;
using log::Progress;
using log::Reader;
using log::Run;
using log::Slot;

namespace {

LogOptions by_hand(Duration grace = 1s) {
  LogOptions options;
  options.grace = grace;
  options.clock = ManualClock::clock();
  return options;
}

struct HelpingBench {
  LogBench bench;
  Member member;
  Appender appender;
  Reader reader;
  Run run;
  explicit HelpingBench(const LogOptions& options = by_hand())
      : bench{options}, member{bench.claim()}, appender{bench.log(), member}, reader{bench.log(), bench.pins()} {}
  explicit HelpingBench(const std::string& folder)
      : bench{folder, by_hand()},
        member{bench.claim()},
        appender{bench.log(), member},
        reader{bench.log(), bench.pins()} {}
  Progress collect() { return reader.collect(run, 10'000, accept_all); }
};

/// As a member that died with this in its line leaves it: the line is still full, its lock free.
void die(Member member) {
  const auto inflight = member.line().inflight.load(shm::acquire);
  const auto uid = member.line().uid.load(shm::acquire);
  auto& line = member.line();
  member = Member{};
  line.uid.store(uid, shm::release);
  line.inflight.store(inflight, shm::release);
}

}  // namespace

TOWPATH_ROLE("reserve_many") {
  LogBench bench{args.at(0)};
  std::vector<Member> members;
  for (unsigned i = 0; i < std::stoul(args.at(1)); ++i) {
    members.push_back(bench.claim());
    Appender appender{bench.log(), members.back()};
    must(appender.reserve(124));
  }
  say("reserved");
  hang();
}

TOWPATH_ROLE("cross_the_end") {
  LogBench bench{args.at(0)};
  auto member = bench.claim();
  Appender appender{bench.log(), member};
  arm(args.at(1), 1, Action::kill);
  for (std::uint64_t i = 0;; ++i) {
    put(appender, i, 1'000);
    say("put " + std::to_string(i));
  }
}

TEST_CASE("the slot of a dead owner is aborted as soon as somebody asks, long before the grace") {
  HelpingBench b;
  put(b.appender, 0);
  auto victim = b.bench.claim();
  must(Appender{b.bench.log(), victim}.reserve(124));
  die(std::move(victim));
  put(b.appender, 1);
  REQUIRE(b.collect() == Progress::records);
  CHECK(b.collect() == Progress::blocked);
  CHECK_FALSE(b.reader.help());  // the first look only starts the watch
  CHECK_FALSE(b.reader.help());  // and no time has passed
  ManualClock::pass(20us);
  CHECK(b.reader.help());
  REQUIRE(b.collect() == Progress::records);
  CHECK(b.reader.position() == 3);
  CHECK(b.bench.state().aborted.load(shm::relaxed) == 1);
}

TEST_CASE("the slot of a live owner is left alone for the whole grace and aborted after it") {
  HelpingBench b;
  auto frozen = b.bench.claim();
  Appender its{b.bench.log(), frozen};
  const auto room = must(its.reserve(124));
  put(b.appender, 0);
  CHECK(b.collect() == Progress::blocked);
  CHECK_FALSE(b.reader.help());
  ManualClock::pass(1s - 1ns);
  CHECK_FALSE(b.reader.help());
  CHECK(b.collect() == Progress::blocked);
  ManualClock::pass(1ns);
  CHECK(b.reader.help());
  CHECK(b.collect() == Progress::records);
  CHECK_FALSE(its.commit(room));  // it thaws: what it wrote was never visible
}

TEST_CASE("the grace counts once per stall: 1,000 open slots of a live owner go together") {
  HelpingBench b;
  auto frozen = b.bench.claim();
  Appender its{b.bench.log(), frozen};
  for (int i = 0; i < 1'000; ++i) must(its.reserve(40));
  put(b.appender, 0);
  CHECK(b.collect() == Progress::blocked);
  CHECK_FALSE(b.reader.help());
  ManualClock::pass(1s);
  CHECK(b.reader.help());
  REQUIRE(b.collect() == Progress::records);
  CHECK(b.reader.position() == 1'001);
}

TEST_CASE("a slot that was reserved while the stall lasted gets a grace of its own") {
  HelpingBench b;
  auto first = b.bench.claim();
  auto second = b.bench.claim();
  must(Appender{b.bench.log(), first}.reserve(40));
  CHECK(b.collect() == Progress::blocked);
  CHECK_FALSE(b.reader.help());
  ManualClock::pass(900ms);
  Appender late{b.bench.log(), second};
  const auto room = must(late.reserve(40));
  ManualClock::pass(100ms);
  CHECK(b.reader.help());
  CHECK(b.collect() == Progress::blocked);
  CHECK_FALSE(b.reader.help());
  ManualClock::pass(999ms);
  CHECK_FALSE(b.reader.help());
  CHECK(late.commit(room));
  CHECK(b.collect() == Progress::records);
}

TEST_CASE("getting on resets the grace: a reader that is blocked again waits again") {
  HelpingBench b;
  auto slow = b.bench.claim();
  Appender its{b.bench.log(), slow};
  auto room = must(its.reserve(40));
  for (int i = 0; i < 5; ++i) {
    CHECK(b.collect() == Progress::blocked);
    CHECK_FALSE(b.reader.help());
    ManualClock::pass(900ms);
    CHECK_FALSE(b.reader.help());
    CHECK(its.commit(room));
    room = must(its.reserve(40));
    CHECK(b.collect() == Progress::records);
  }
  its.abandon(room);
}

TEST_CASE("a reader that asked for help while nothing was open counts the grace from when something is") {
  HelpingBench b;
  put(b.appender, 0);
  REQUIRE(b.collect() == Progress::records);
  CHECK_FALSE(b.reader.help());  // idle
  ManualClock::pass(10s);
  auto frozen = b.bench.claim();
  Appender its{b.bench.log(), frozen};
  must(its.reserve(40));
  CHECK(b.collect() == Progress::blocked);
  CHECK_FALSE(b.reader.help());
  ManualClock::pass(999ms);
  CHECK_FALSE(b.reader.help());
  ManualClock::pass(1ms);
  CHECK(b.reader.help());
  CHECK(b.collect() == Progress::idle);
}

TEST_CASE("the grace is what the topic says now") {
  HelpingBench b{by_hand(10ms)};
  auto frozen = b.bench.claim();
  must(Appender{b.bench.log(), frozen}.reserve(40));
  CHECK(b.collect() == Progress::blocked);
  CHECK_FALSE(b.reader.help());
  ManualClock::pass(9ms);
  CHECK_FALSE(b.reader.help());
  b.bench.words().grace_ns.store(5'000'000, shm::relaxed);
  CHECK(b.reader.help());
}

TEST_CASE("an owner that is in flight in another partition, or on another offset, holds nobody up") {
  HelpingBench b;
  auto dead = b.bench.claim();
  must(Appender{b.bench.log(), dead}.reserve(40));
  die(std::move(dead));
  auto elsewhere = b.bench.claim();
  auto& line = elsewhere.line();
  CHECK(b.collect() == Progress::blocked);
  (void)b.reader.help();
  ManualClock::pass(30us);
  SUBCASE("another partition") {
    line.uid.store(8, shm::release);
    line.inflight.store(log::Inflight::writing(0), shm::release);
    CHECK(b.reader.help());
  }
  SUBCASE("another offset") {
    line.uid.store(7, shm::release);
    line.inflight.store(log::Inflight::writing(1), shm::release);
    CHECK(b.reader.help());
  }
  SUBCASE("another segment") {
    line.uid.store(7, shm::release);
    line.inflight.store(log::Inflight::reserving(1'000), shm::release);
    CHECK(b.reader.help());
  }
  SUBCASE("but one that reserves in this segment, and lives, could be the owner") {
    line.uid.store(7, shm::release);
    line.inflight.store(log::Inflight::reserving(0), shm::release);
    CHECK_FALSE(b.reader.help());
  }
}

TEST_CASE("an open slot of a dead owner behind one of a live owner waits its turn") {
  HelpingBench b;
  auto live = b.bench.claim();
  Appender its{b.bench.log(), live};
  const auto room = must(its.reserve(40));
  auto dead = b.bench.claim();
  must(Appender{b.bench.log(), dead}.reserve(40));
  die(std::move(dead));
  put(b.appender, 0);
  CHECK(b.collect() == Progress::blocked);
  (void)b.reader.help();
  ManualClock::pass(1ms);
  CHECK_FALSE(b.reader.help());
  CHECK(its.commit(room));
  REQUIRE(b.collect() == Progress::records);
  CHECK(b.collect() == Progress::blocked);
  (void)b.reader.help();
  ManualClock::pass(1ms);
  CHECK(b.reader.help());
  CHECK(b.collect() == Progress::records);
}

TEST_CASE("processes killed with open slots cost their own records only, and at once") {
  TempDir dir;
  HelpingBench b{dir.path().string()};
  for (std::uint64_t i = 0; i < 10; ++i) put(b.appender, i);
  auto child = spawn("reserve_many", {dir.path().string(), "50"});
  child.wait_for("reserved", 10s);
  for (std::uint64_t i = 10; i < 20; ++i) put(b.appender, i);
  REQUIRE(b.collect() == Progress::records);
  CHECK(b.collect() == Progress::blocked);
  (void)b.reader.help();
  ManualClock::pass(1ms);
  CHECK_FALSE(b.reader.help());  // it lives
  child.kill();
  CHECK(b.reader.help());
  std::vector<ReadRecord> records;
  REQUIRE(b.collect() == Progress::records);
  take_run(b.run, b.bench.log(), records);
  CHECK(check_sequence(records, 10) == 20);
  CHECK(b.bench.state().aborted.load(shm::relaxed) == 50);
}

TEST_CASE("a process stopped with open slots holds readers up for the grace and no longer") {
  TempDir dir;
  HelpingBench b{dir.path().string()};
  auto child = spawn("reserve_many", {dir.path().string(), "3"});
  child.wait_for("reserved", 10s);
  child.stop();
  put(b.appender, 0);
  CHECK(b.collect() == Progress::blocked);
  (void)b.reader.help();
  ManualClock::pass(999ms);
  CHECK_FALSE(b.reader.help());
  ManualClock::pass(1ms);
  CHECK(b.reader.help());
  CHECK(b.collect() == Progress::records);
}

TEST_CASE("whoever crosses the end of a segment and dies before sealing it is made up for by a reader") {
  for (const char* where : {"reserve.reserved", "finish.before_seal", "seal.sealed", "finish.idle", "next.before_take",
                            "next.before_hint"}) {
    CAPTURE(std::string{where});
    TempDir dir;
    HelpingBench b{dir.path().string()};
    auto child = spawn("cross_the_end", {dir.path().string(), where});
    CHECK(child.wait(20s) == ExitStatus{-1, SIGKILL});
    const auto acknowledged =
        static_cast<std::uint64_t>(std::count(child.output().begin(), child.output().end(), '\n'));
    std::vector<ReadRecord> records;
    for (int i = 0; i < 10; ++i) {
      const auto progress = b.collect();
      if (progress == Progress::records) take_run(b.run, b.bench.log(), records);
      if (progress == Progress::idle) break;
      REQUIRE(progress != Progress::failed);
      (void)b.reader.help();
      ManualClock::pass(50us);  // far below the grace
    }
    CHECK(check_sequence(records, 0) == acknowledged);
    CHECK(b.collect() == Progress::idle);
    put(b.appender, acknowledged);
    CHECK(check_sequence(read_all(b.bench), 0) == acknowledged + 1);
  }
}
