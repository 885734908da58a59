#include <support/support.hpp>

#include <doctest/doctest.h>

#include <towpath/towpath.hpp>

using namespace towpath;
using namespace towpath::test;

namespace {

struct Scan {
  std::uint64_t number;
  float ranges[100];
};

struct Bench {
  static TopicConfig config() {
    TopicConfig config;
    config.grace = std::chrono::milliseconds{5};
    return config;
  }
  Bus bus;
  Topic<Scan> topic{bus, "scans", config()};
  Producer<Scan> producer{topic};
  Consumer<Scan> consumer{topic};
  Partition<Scan> partition = Partition<Scan>::open(topic, {0}).value();

  std::vector<std::uint64_t> numbers() {
    std::vector<std::uint64_t> found;
    for (;;) {
      const auto batch = consumer.poll(std::chrono::milliseconds{50});
      if (batch.empty()) return found;
      for (const auto& record : batch) found.push_back(record.value().number);
    }
  }
};

}  // namespace

TEST_CASE("a loan is written in the log itself and is seen when it is sent") {
  Bench bench;
  auto loan = bench.producer.loan({.key = "front", .partition = PartitionId{0}}).value();
  loan->number = 7;
  loan->ranges[99] = 1.5f;
  CHECK(bench.consumer.poll(Duration::zero()).empty());
  const auto sent = bench.producer.send(std::move(loan)).value();
  CHECK(sent.offset == Offset{0});
  auto batch = bench.consumer.poll(stretched(5s));
  REQUIRE(batch.size() == 1);
  CHECK(batch.begin()->value().number == 7);
  CHECK(batch.begin()->value().ranges[99] == 1.5f);
  CHECK(batch.begin()->key().text() == "front");
  CHECK(batch.begin()->timestamp() == sent.timestamp);
}

TEST_CASE("a loan's place is not moved: what stands in it when it is sent is what was written") {
  Bench bench;
  auto loan = bench.producer.loan().value();
  Scan* place = &*loan;
  auto moved = std::move(loan);
  CHECK(&*moved == place);
  place->number = 3;
  bench.producer.send(std::move(moved)).value();
  CHECK(bench.numbers() == std::vector<std::uint64_t>{3});
}

TEST_CASE("a loan that is dropped is skipped, and the producer may lend again") {
  Bench bench;
  { auto loan = bench.producer.loan().value(); }
  bench.producer.send({1, {}}).value();
  CHECK(bench.numbers() == std::vector<std::uint64_t>{1});
  CHECK(bench.partition.counters().aborted == 1);
}

TEST_CASE("one loan is open at a time") {
  Bench bench;
  auto loan = bench.producer.loan().value();
  CHECK(bench.producer.loan().error() == Errc::loan_open);
  CHECK(bench.producer.send({1, {}}).error() == Errc::loan_open);
  CHECK(bench.producer.send_tombstone({.key = "k"}).error() == Errc::loan_open);
  loan->number = 2;
  bench.producer.send(std::move(loan)).value();
  CHECK(bench.producer.send({3, {}}).has_value());
  CHECK(bench.numbers() == std::vector<std::uint64_t>{2, 3});
}

TEST_CASE("a loan that was sent or moved from is closed") {
  Bench bench;
  auto loan = bench.producer.loan().value();
  auto other = std::move(loan);
  CHECK(bench.producer.send(std::move(loan)).error() == Errc::closed);
  other->number = 4;
  CHECK(bench.producer.send(std::move(other)).has_value());
  CHECK(bench.producer.send(std::move(other)).error() == Errc::closed);
  CHECK(bench.numbers() == std::vector<std::uint64_t>{4});
}

TEST_CASE("a loan goes back through the producer that lent it, and no other") {
  Bench bench;
  Producer<Scan> other{bench.topic};
  auto loan = bench.producer.loan().value();
  loan->number = 5;
  CHECK(other.send(std::move(loan)).error() == Errc::invalid_argument);
  CHECK(other.send({6, {}}).has_value());
  CHECK(bench.producer.send(std::move(loan)).has_value());
  CHECK(bench.producer.send({7, {}}).has_value());
  CHECK(bench.numbers() == std::vector<std::uint64_t>{5, 6, 7});
}

TEST_CASE("a loan whose slot was given up meanwhile still arrives, once, behind what came after it") {
  Bench bench;
  Producer<Scan> other{bench.topic};
  auto loan = bench.producer.loan().value();
  loan->number = 8;
  loan->ranges[50] = 0.25f;
  other.send({9, {}}).value();
  CHECK(bench.numbers() == std::vector<std::uint64_t>{9});  // the grace is over
  CHECK(bench.partition.counters().aborted == 1);
  const auto sent = bench.producer.send(std::move(loan)).value();
  CHECK(sent.offset == Offset{2});
  auto batch = bench.consumer.poll(stretched(5s));
  REQUIRE(batch.size() == 1);
  CHECK(batch.begin()->offset() == sent.offset);
  CHECK(batch.begin()->value().number == 8);
  CHECK(batch.begin()->value().ranges[50] == 0.25f);
  CHECK(bench.numbers().empty());
  CHECK(bench.producer.send({10, {}}).value().offset == Offset{3});
}

TEST_CASE("a loan in a segment that was retired meanwhile is sent to where the log is now, or counted as dropped") {
  Bus bus;
  auto config = Bench::config();
  config.segment_bytes = config.max_message_bytes = 256 * 1024;
  config.retention.bytes = 512 * 1024;
  Topic<Bytes> topic{bus, "topic", config};
  Producer<Bytes> slow{topic};
  Producer<Bytes> fast{topic};
  auto loan = slow.loan(100).value();
  std::memset(loan.bytes().data(), 0x5A, 100);
  const std::vector<std::byte> filler(50'000, std::byte{1});
  for (int i = 0; i < 100; ++i) fast.send(Bytes{filler}).value();
  const auto sent = slow.send(std::move(loan)).value();
  // Nobody read, so nobody gave the slot up: the record is in a segment that retention has taken from the log.
  const auto partition = Partition<Bytes>::open(topic, {0}).value();
  CHECK(sent.offset < partition.begin_offset());
  const auto next = slow.send(Bytes{filler}).value();
  CHECK(next.offset > partition.begin_offset());
}

TEST_CASE("values of any length are lent by size, up to the limit, and large ones too") {
  Bus bus;
  Topic<Bytes> topic{bus, "topic"};
  Producer<Bytes> producer{topic};
  Consumer<Bytes> consumer{topic};
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65'536}, std::size_t{1'000'000}}) {
    auto loan = producer.loan(size).value();
    REQUIRE(loan.bytes().size() == size);
    std::memset(loan.bytes().data(), static_cast<int>(size % 251), size);
    producer.send(std::move(loan)).value();
    auto batch = consumer.poll(stretched(5s));
    REQUIRE(batch.size() == 1);
    const Bytes value = batch.begin()->value();
    CHECK(value.size() == size);
    CHECK(
        std::all_of(value.begin(), value.end(), [&](std::byte b) { return b == static_cast<std::byte>(size % 251); }));
  }
  CHECK(producer.loan(17u << 20).error() == Errc::message_too_large);
}

TEST_CASE("a visible loan returns when it can be read") {
  Bench bench;
  Producer<Scan> other{bench.topic};
  auto in_the_way = other.loan().value();
  auto loan = bench.producer.loan({.visible = true}).value();
  loan->number = 11;
  bench.producer.send(std::move(loan)).value();
  const auto batch = bench.consumer.poll(Duration::zero());
  REQUIRE(batch.size() == 1);
  CHECK(batch.begin()->value().number == 11);
}
