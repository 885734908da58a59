// Topics with one writer, across processes: who is let in, what a death, a stop and a deletion cost.
#include <support/failpoint.hpp>

#include <csignal>

#include "sole_topic.hpp"

using namespace towpath;
using namespace towpath::test;

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
