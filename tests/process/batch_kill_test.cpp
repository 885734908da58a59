// Producers killed in the middle of a batch, and producers that take over their own id after a kill.
#include <support/failpoint.hpp>

#include <consume/consume_support.hpp>

#include <csignal>

using namespace towpath;
using namespace towpath::test;

namespace {

struct Shared {
  explicit Shared(const std::string& path) : bus{path}, topic{bus, "topic", config()} {}
  static TopicConfig config() {
    TopicConfig config;
    config.grace = 1h;  // only the death can end a stall
    config.segment_bytes = 1 << 20;
    return config;
  }
  Bus bus;
  Topic<std::int64_t> topic;
};

std::vector<std::int64_t> values_in(const Topic<std::int64_t>& topic) {
  Consumer consumer{topic, from(OffsetReset::earliest)};
  std::vector<std::int64_t> values;
  for (auto batch = consumer.poll(stretched(500ms)); !batch.empty(); batch = consumer.poll(stretched(200ms)))
    for (const auto& record : batch) values.push_back(record.value());
  return values;
}

std::vector<std::int64_t> counted(std::int64_t from, std::int64_t to) {
  std::vector<std::int64_t> values;
  for (; from < to; ++from) values.push_back(from);
  return values;
}

}  // namespace

TOWPATH_ROLE("die_in_send_batch") {
  Shared shared{args.at(0)};
  Producer producer{shared.topic};
  producer.send(-1).value();
  arm(args.at(1), static_cast<unsigned>(std::stoul(args.at(2))), Action::kill);
  producer.send_batch(counted(0, 2'000)).value();
  return 0;
}

/// Sends the numbers from where the log has them on, alone or in batches, until it is killed or through with them.
TOWPATH_ROLE("go_on_counting") {
  Shared shared{args.at(0)};
  arm_random_kill(std::stoull(args.at(1)), 1'500);
  Producer producer{shared.topic, {.id = 42}};
  const auto last = producer.last_sequence().value();
  const std::int64_t end = std::stoll(args.at(2));
  for (std::int64_t next = last ? *last + 1 : 0; next < end;) {
    const auto count = std::min<std::int64_t>(end - next, 1 + next * 7 % 30);
    const SendOptions options{.sequence = static_cast<std::int32_t>(next)};
    if (count == 1)
      producer.send(next, options).value();
    else
      producer.send_batch(counted(next, next + count), options).value();
    next += count;
  }
  say("through");
  return 0;
}

TEST_CASE("a producer killed in a batch of 2,000 has sent all of it or nothing, and readers go on without the grace") {
  struct Death {
    std::string place;
    unsigned nth;
    bool is_sent;
  };
  for (const Death& death : std::vector<Death>{
           {"large.reserved", 1, false},
           {"batch.half_written", 1, false},
           {"batch.half_written", 1'999, false},
           {"batch.written", 1, false},
           {"commit.resolved", 1, true},
       }) {
    CAPTURE(death.place);
    CAPTURE(death.nth);
    const TempDir dir;
    const auto path = (dir / "bus").string();
    Shared shared{path};
    auto child = spawn("die_in_send_batch", {path, death.place, std::to_string(death.nth)});
    REQUIRE(child.wait(10s).signal == SIGKILL);
    Producer{shared.topic}.send(-2).value();
    auto expected = death.is_sent ? counted(-1, 2'000) : std::vector<std::int64_t>{-1};
    expected.push_back(-2);
    CHECK(values_in(shared.topic) == expected);
  }
}

TEST_CASE("a producer with an id that is killed again and again, and goes on each time, loses and doubles nothing") {
  const TempDir dir;
  const auto path = (dir / "bus").string();
  Shared shared{path};
  constexpr std::int64_t end = 20'000;
  unsigned kills = 0;
  for (std::uint64_t seed = 1; seed < 1'000; ++seed) {
    auto child = spawn("go_on_counting", {path, std::to_string(seed), std::to_string(end)});
    const auto status = child.wait(30s);
    if (status == exited_well) break;
    REQUIRE(status.signal == SIGKILL);
    ++kills;
  }
  CHECK(kills > 5);
  CHECK(values_in(shared.topic) == counted(0, end));
}
