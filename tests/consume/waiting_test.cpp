// How poll waits, is woken, and ends: within one process here, across processes in process/kill_test.
#include <consume/consume_support.hpp>

#include <atomic>
#include <thread>

using namespace towpath;
using namespace towpath::test;

namespace {

struct WaitingBench {
  Bus bus;
  Topic<std::string> topic{bus, "topic"};
  Producer<std::string> producer{topic};
};

using Clock_ = std::chrono::steady_clock;

template <class W>
void woken_by_another_thread() {
  WaitingBench bench;
  Consumer consumer{bench.topic};
  for (int i = 0; i < 20; ++i) {
    std::thread other{[&] { consumer.wakeup(); }};
    const auto begun = Clock_::now();
    CHECK(consumer.poll(stretched(20s), W{}).empty());
    CHECK(Clock_::now() - begun < stretched(10s));
    other.join();
  }
}

template <class W>
void record_ends_the_wait() {
  WaitingBench bench;
  Consumer consumer{bench.topic};
  for (int i = 0; i < 20; ++i) {
    std::thread other{[&] { bench.producer.send("x").value(); }};
    const auto batch = consumer.poll(stretched(20s), W{});
    other.join();
    REQUIRE(batch.size() == 1);
    CHECK((*batch.begin()).offset() == Offset{i});
  }
}

}  // namespace

TEST_CASE_TEMPLATE("wakeup ends a poll that waits, whatever it waits with", W, wait::Spin, wait::Backoff, wait::Block) {
  woken_by_another_thread<W>();
}

TEST_CASE_TEMPLATE("a record ends the wait, whatever it waits with", W, wait::Spin, wait::Backoff, wait::Block) {
  record_ends_the_wait<W>();
}

TEST_CASE_TEMPLATE("a wakeup before the poll ends the next one that would wait, once", W, wait::Spin, wait::Backoff,
                   wait::Block) {
  WaitingBench bench;
  Consumer consumer{bench.topic};
  consumer.wakeup();
  const auto begun = Clock_::now();
  CHECK(consumer.poll(stretched(20s), W{}).empty());
  CHECK(Clock_::now() - begun < stretched(10s));
  const auto second = Clock_::now();
  CHECK(consumer.poll(30ms, W{}).empty());
  CHECK(Clock_::now() - second >= 30ms);
}

TEST_CASE("a stop ends a poll that waits, and one that has not begun") {
  WaitingBench bench;
  Consumer consumer{bench.topic};
  std::stop_source stop;
  std::thread other{[&] { stop.request_stop(); }};
  CHECK(consumer.poll(stop.get_token(), stretched(20s), wait::Block{}).empty());
  other.join();
  send_texts(bench.producer, 0, 1);
  CHECK(consumer.poll(stop.get_token(), stretched(20s)).empty());  // not even what is there
  CHECK(consumer.poll(stretched(5s)).size() == 1);
}

TEST_CASE("run handles each record until it is told to stop, and ends at an error behind what it handled") {
  WaitingBench bench;
  Consumer consumer{bench.topic};
  send_texts(bench.producer, 0, 5);
  std::stop_source stop;
  std::vector<std::string> handled;
  const auto done = consumer.run(stop.get_token(), [&](const auto& record) {
    handled.emplace_back(record.value());
    if (handled.size() == 5) stop.request_stop();
  });
  CHECK(done.has_value());
  CHECK(handled == numbers(0, 5));
  CHECK(consumer.position({0}).value() == Offset{5});
  Consumer none{bench.topic, from(OffsetReset::none)};
  CHECK(none.run(std::stop_source{}.get_token(), [](const auto&) {}).error() == Errc::no_offset);
}

TEST_CASE("a hundred waiters on one partition are all woken: more than the mask has bits") {
  constexpr std::size_t waiters = 100;
  WaitingBench bench;
  std::vector<Consumer<std::string>> consumers;
  for (std::size_t i = 0; i < waiters; ++i) consumers.emplace_back(bench.topic);
  std::atomic<unsigned> got{0};
  std::vector<std::thread> threads;
  for (auto& consumer : consumers)
    threads.emplace_back([&consumer, &got] { got += consumer.poll(stretched(20s), wait::Block{}).size() == 1; });
  // All asleep, as far as that can be seen from here.
  const auto partition = Partition<std::string>::open(bench.topic, {0}).value();
  CHECK(eventually(10s, [&] { return partition.counters().waits >= waiters; }));
  const auto begun = Clock_::now();
  bench.producer.send("x").value();
  for (auto& thread : threads) thread.join();
  CHECK(got == waiters);
  CHECK(Clock_::now() - begun < stretched(5s));
  auto& mask = bench.topic.files()->partition({0}).value()->waits()->mask;
  CHECK((mask.load(shm::seq_cst) >> 63) == 1);
}

TEST_CASE("a consumer that goes gives its place among the waiters back") {
  WaitingBench bench;
  auto& block = *bench.topic.files()->partition({0}).value()->waits();
  for (int i = 0; i < 200; ++i) {
    Consumer consumer{bench.topic};
    // A millisecond may be over before it came to sleeping.
    CHECK(eventually(10s, [&] {
      CHECK(consumer.poll(1ms, wait::Block{}).empty());
      return block.mask.load(shm::seq_cst) == 1;
    }));
  }
  CHECK(block.mask.load(shm::seq_cst) == 0);
}

TEST_CASE("two threads answer each other") {
  constexpr int rounds = 500;
  Bus bus;
  Topic<std::int64_t> there{bus, "there"};
  Topic<std::int64_t> back{bus, "back"};
  Consumer asked{there};
  Consumer answered{back};
  const auto one = [](Consumer<std::int64_t>& consumer) -> std::int64_t {
    const auto batch = consumer.poll(stretched(10s));
    return batch.size() == 1 ? (*batch.begin()).value() : -1;
  };
  std::thread echo{[&] {
    Producer producer{back};
    for (int i = 0; i < rounds; ++i) producer.send(one(asked) + 1).value();
  }};
  Producer producer{there};
  int right = 0;
  for (std::int64_t i = 0; i < rounds; ++i) {
    producer.send(i * 2).value();
    right += one(answered) == i * 2 + 1;
  }
  echo.join();
  CHECK(right == rounds);
}

TEST_CASE("a clock that stands still does not hold up a reader of a stream") {
  static std::atomic<std::int64_t> now{1'000'000'000};
  BusConfig config;
  config.maintenance = MaintenanceMode::manual;
  config.clock.steady = []() noexcept { return Monotonic{Duration{now.load()}}; };
  auto bus = Bus::open_in_memory(config).value();
  Topic<std::string> topic{bus, "topic"};
  Producer producer{topic};
  Consumer consumer{topic};
  send_texts(producer, 0, 10);
  CHECK(consumer.poll(20ms).size() == 10);
  send_texts(producer, 10, 20);
  CHECK(consumer.poll(20ms).size() == 10);
}
