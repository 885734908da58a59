// One process dies or freezes at a known place; what the others see of it.
#include <support/failpoint.hpp>

#include <consume/consume_support.hpp>

#include <csignal>

using namespace towpath;
using namespace towpath::test;

namespace {

using SteadyClock = std::chrono::steady_clock;

TopicConfig with_grace(Duration grace) {
  TopicConfig config;
  config.grace = grace;
  return config;
}

struct Open {
  explicit Open(const std::string& path, const TopicConfig& config = {}) : bus{path}, topic{bus, "topic", config} {}
  Bus bus;
  Topic<std::string> topic;
};

}  // namespace

/// Sends "before", then dies, freezes or waits at the named place of the next send.
TOWPATH_ROLE("send_and_meet") {
  Open open{args.at(0)};
  Producer producer{open.topic};
  producer.send("before").value();
  say("ready");
  hear("go");
  arm(args.at(1), 1, args.at(2) == "kill" ? Action::kill : Action::stop);
  producer.send("cut off").value();
  say("sent");
  producer.send("after").value();
  say("done");
  hang();
}

TOWPATH_ROLE("wait_for_one") {
  Open open{args.at(0)};
  Consumer consumer{open.topic};
  say("ready");
  const auto batch = consumer.poll(stretched(20s), wait::Block{});
  say(batch.size() == 1 ? "got " + std::string{(*batch.begin()).value()} : "nothing");
  return 0;
}

TOWPATH_ROLE("open_as") {
  auto bus = Bus::open(args.at(0)).value();
  const auto other = Topic<std::int64_t>::open(bus, "topic");
  say(std::string{name(other.error().code)});
  return 0;
}

TEST_CASE("a producer killed between reserve and commit loses only its own record, and readers go on at once") {
  for (const char* place : {"reserve.announced", "reserve.reserved", "reserve.narrowed", "append.half_written",
                            "append.written"}) {
    CAPTURE(place);
    const TempDir dir;
    const auto path = (dir / "bus").string();
    Open open{path, with_grace(1h)};  // only the death can end the stall
    Producer producer{open.topic};
    Consumer consumer{open.topic, from(OffsetReset::earliest)};
    auto child = spawn("send_and_meet", {path, place, "kill"});
    child.wait_for("ready", 10s);
    child.tell("go");
    CHECK(child.wait(10s).signal == SIGKILL);
    producer.send("after the kill").value();
    const auto begun = SteadyClock::now();
    CHECK(read_texts(consumer, 2) == std::vector<std::string>{"before", "after the kill"});
    CHECK(SteadyClock::now() - begun < stretched(500ms));
  }
}

TEST_CASE("a producer killed after its commit has sent the record, and a blocked reader sees it within the sleep") {
  for (const char* place : {"commit.resolved", "wake.before_cas", "wake.before_futex", "commit.woken"}) {
    CAPTURE(place);
    const TempDir dir;
    const auto path = (dir / "bus").string();
    Open open{path};
    auto child = spawn("send_and_meet", {path, place, "kill"});
    child.wait_for("ready", 10s);
    auto reader = spawn("wait_for_one", {path});
    reader.wait_for("ready", 10s);
    const auto partition = Partition<std::string>::open(open.topic, {0}).value();
    CHECK(eventually(5s, [&] { return partition.counters().waits > 0; }));
    child.tell("go");
    CHECK(child.wait(10s).signal == SIGKILL);
    const auto died = SteadyClock::now();
    CHECK(reader.wait_for("", 10s) == "got cut off");
    CHECK(SteadyClock::now() - died < stretched(500ms));  // 50 ms, and what a busy machine adds
  }
}

TEST_CASE("a frozen producer's record is skipped after the grace, and sent again when it goes on") {
  for (const char* place : {"reserve.narrowed", "append.half_written", "append.written"}) {
    CAPTURE(place);
    const TempDir dir;
    const auto path = (dir / "bus").string();
    Open open{path, with_grace(30ms)};
    Producer producer{open.topic};
    Consumer consumer{open.topic, from(OffsetReset::earliest)};
    auto child = spawn("send_and_meet", {path, place, "stop"});
    child.wait_for("ready", 10s);
    child.tell("go");
    child.wait_stopped(10s);
    producer.send("meanwhile").value();
    CHECK(consumer.poll(stretched(1s)).size() == 1);  // "before": what is in front of the open slot
    const auto begun = SteadyClock::now();
    CHECK(read_texts(consumer, 1) == std::vector<std::string>{"meanwhile"});
    CHECK(SteadyClock::now() - begun >= 25ms);
    child.cont();
    child.wait_for("done", 10s);
    CHECK(read_texts(consumer, 2) == std::vector<std::string>{"cut off", "after"});
    CHECK(consumer.poll(0ms).empty());
  }
}

TEST_CASE("a blocked consumer is woken by a commit of another process") {
  const TempDir dir;
  const auto path = (dir / "bus").string();
  Open open{path};
  Producer producer{open.topic};
  auto reader = spawn("wait_for_one", {path});
  reader.wait_for("ready", 10s);
  const auto partition = Partition<std::string>::open(open.topic, {0}).value();
  CHECK(eventually(5s, [&] { return partition.counters().waits > 0; }));
  producer.send("hello").value();
  CHECK(reader.wait_for("", 10s) == "got hello");
  CHECK(reader.wait(10s) == exited_well);
}

TEST_CASE("two processes that disagree on a type find out when the second opens the topic") {
  const TempDir dir;
  const auto path = (dir / "bus").string();
  Open open{path};
  auto child = spawn("open_as", {path});
  CHECK(child.wait_for("", 10s) == "type_mismatch");
}
