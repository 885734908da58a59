// The short way of a send (produce/fast_path.hpp) does what the long way does, and is left when something changes.
#include <support/support.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include <doctest/doctest.h>

#include <towpath/towpath.hpp>

using namespace towpath;
using namespace towpath::test;
using namespace std::chrono_literals;

namespace {

struct Reading {
  std::int64_t numbers[4];
};

/// A topic with one value in it, so that the next send may go the short way.
struct FastBench {
  explicit FastBench(const TopicConfig& config = {}) : topic{bus, "points", config} { send(0); }

  Errc send(std::int64_t number) { return producer.send({{number, 0, 0, 0}}).error().code; }

  Bus bus;
  Topic<Reading> topic;
  Producer<Reading> producer{topic};
  Consumer<Reading> consumer{topic, {.auto_offset_reset = OffsetReset::earliest}};
  Admin admin{bus};
};

std::vector<std::int64_t> numbers(Consumer<Reading>& consumer) {
  std::vector<std::int64_t> found;
  for (auto batch = consumer.poll(0ms); !batch.empty(); batch = consumer.poll(0ms))
    for (const auto& record : batch) found.push_back(record.value().numbers[0]);
  return found;
}

}  // namespace

TEST_CASE("what went the short way is read like what went the long way, with its time and offset") {
  for (const auto writers : {Writers::many, Writers::one}) {
    FastBench bench{{.writers = writers}};
    const auto before = std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
    for (std::int64_t i = 1; i < 20'000; ++i) {  // over several segments
      const auto sent = bench.producer.send({{i, 2 * i, 3 * i, 4 * i}});
      REQUIRE(sent.has_value());
      if (i == 1) CHECK(sent->timestamp > before - 1s);
    }
    CHECK(Partition<Reading>::open(bench.topic, {0}).value().counters().rolls > 0);
    std::int64_t next = 0;
    for (auto batch = bench.consumer.poll(0ms); !batch.empty(); batch = bench.consumer.poll(0ms))
      for (const auto& record : batch) {
        const auto& found = record.value().numbers;
        CHECK((found[0] == next && found[1] == 2 * next && found[3] == 4 * next));
        CHECK(!record.key().size());
        ++next;
      }
    CHECK(next == 20'000);
  }
}

TEST_CASE("settings that change are noticed by the next send") {
  FastBench bench;
  CHECK(bench.send(1) == Errc::ok);
  bench.admin.alter_configs("points", {{"max.message.bytes", "31"}}).value();
  CHECK(bench.send(2) == Errc::message_too_large);
  CHECK(bench.send(3) == Errc::message_too_large);
  bench.admin.alter_configs("points", {{"max.message.bytes", "32"}}).value();
  CHECK(bench.send(4) == Errc::ok);
  CHECK(bench.send(5) == Errc::ok);
  CHECK(numbers(bench.consumer) == std::vector<std::int64_t>{0, 1, 4, 5});
}

TEST_CASE("partitions that are added get their share") {
  FastBench bench;
  CHECK(bench.send(1) == Errc::ok);
  bench.admin.create_partitions("points", 4).value();
  std::set<std::int32_t> seen;
  for (int i = 0; i < 4'000; ++i) seen.insert(bench.producer.send({{i, 0, 0, 0}}).value().partition.value);
  CHECK(seen.size() > 1);
}

TEST_CASE("an open loan holds sends up as ever, and after it they go on") {
  FastBench bench;
  {
    auto loan = bench.producer.loan().value();
    CHECK(bench.send(1) == Errc::loan_open);
    loan->numbers[0] = 2;
    bench.producer.send(std::move(loan)).value();
  }
  CHECK(bench.send(3) == Errc::ok);
  { auto dropped = bench.producer.loan().value(); }
  CHECK(bench.send(4) == Errc::ok);
  CHECK(numbers(bench.consumer) == std::vector<std::int64_t>{0, 2, 3, 4});
}

TEST_CASE("a topic that is deleted is noticed, and a child after fork is told") {
  FastBench bench;
  CHECK(bench.send(1) == Errc::ok);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(bench.send(2) == Errc::forked ? 0 : 1);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(bench.send(3) == Errc::ok);
  bench.admin.delete_topic("points").value();
  CHECK(bench.send(4) == Errc::topic_deleted);
}

TEST_CASE("a topic that is full says so the short way, too") {
  FastBench bench{
      {.segment_bytes = 256 << 10, .retention = {.bytes = 1 << 20}, .on_full = OnFull::fail, .readers = {"recorder"}}};
  Errc last = Errc::ok;
  for (int i = 0; i < 100'000 && last == Errc::ok; ++i) last = bench.send(i);
  CHECK(last == Errc::queue_full);
}
