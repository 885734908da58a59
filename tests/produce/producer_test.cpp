#include <support/support.hpp>

#include <doctest/doctest.h>

#include <map>

#include <towpath/towpath.hpp>

using namespace towpath;
using namespace towpath::literals;
using namespace towpath::test;

namespace {

struct Pose {
  double x, y, heading;
};

/// Whose encode gives up on request, after it wrote half of it.
struct Moody {
  std::uint64_t number = 0;
  bool throws = false;
};

struct MoodySerde {
  using View = std::uint64_t;
  static std::size_t size(const Moody&) { return 8; }
  static void encode(const Moody& moody, std::span<std::byte> out) {
    std::memset(out.data(), 0xEE, 4);
#if TOWPATH_EXCEPTIONS
    if (moody.throws) throw 17;
#endif
    std::memcpy(out.data(), &moody.number, 8);
  }
  static bool accepts(Bytes bytes) noexcept { return bytes.size() == 8; }
  static View view(Bytes bytes) noexcept {
    std::uint64_t number;
    std::memcpy(&number, bytes.data(), 8);
    return number;
  }
};

template <class T, class S>
std::vector<std::string> texts(Consumer<T, S>& consumer, std::size_t count) {
  std::vector<std::string> read;
  while (read.size() < count) {
    const auto batch = consumer.poll(stretched(5s));
    if (batch.empty()) break;
    for (const auto& record : batch) read.emplace_back(record.value());
  }
  return read;
}

ConsumerConfig from_the_start() {
  ConsumerConfig config;
  config.auto_offset_reset = OffsetReset::earliest;
  return config;
}

TopicConfig with_partitions(std::int32_t partitions) {
  TopicConfig config;
  config.partitions = partitions;
  return config;
}

}  // namespace

TEST_CASE("send tells where the record is, and every option arrives") {
  Bus bus;
  Topic<std::string> topic{bus, "topic", with_partitions(3)};
  Producer producer{topic};
  Consumer consumer{topic};
  const Timestamp when{std::chrono::seconds{1'234'567}};
  const std::vector<Header> headers{{"a", Bytes{std::string_view{"1"}}}, {"a", Bytes{}}, {"null", Bytes{}, true}};
  const auto sent =
      producer.send("value", {.key = "key", .headers = headers, .timestamp = when, .partition = PartitionId{2}})
          .value();
  CHECK(sent.partition == PartitionId{2});
  CHECK(sent.offset == Offset{0});
  CHECK(sent.timestamp == when);
  const auto before = Clock{}.wall();
  const auto next = producer.send("next", {.partition = PartitionId{2}}).value();
  CHECK(next.offset == Offset{1});
  CHECK(next.timestamp >= before);
  auto batch = consumer.poll(stretched(5s));
  REQUIRE(batch.size() == 2);
  const auto record = *batch.begin();
  CHECK(record.topic() == "topic");
  CHECK(record.partition() == PartitionId{2});
  CHECK(record.offset() == Offset{0});
  CHECK(record.timestamp() == when);
  CHECK(record.timestamp_type() == TimestampType::create_time);
  CHECK(record.key().text() == "key");
  CHECK(record.value() == "value");
  std::vector<std::string> seen;
  for (const auto& header : record.headers())
    seen.push_back(std::string{header.key} + (header.is_null ? " null" : "=" + std::string{header.value.text()}));
  CHECK(seen == std::vector<std::string>{"a=1", "a=", "null null"});
}

TEST_CASE("a null header has no bytes, whatever its value says") {
  Bus bus;
  Topic<std::string> topic{bus, "topic"};
  Producer producer{topic};
  Consumer consumer{topic};
  const Header headers[] = {{"null", Bytes{std::string_view{"not here"}}, true},
                            {"after", Bytes{std::string_view{"x"}}}};
  producer.send("value", {.headers = Headers{headers}}).value();
  auto batch = consumer.poll(stretched(5s));
  REQUIRE(batch.size() == 1);
  const auto range = batch.begin()->headers();
  REQUIRE(std::distance(range.begin(), range.end()) == 2);
  CHECK(range.begin()->is_null);
  CHECK(range.begin()->value.empty());
  CHECK(std::next(range.begin())->key == "after");
  CHECK(std::next(range.begin())->value.text() == "x");
}

TEST_CASE("keys go where Kafka sends them") {
  Bus bus;
  Topic<std::int32_t> topic{bus, "topic", with_partitions(7)};
  Producer producer{topic};
  // Hashes from Kafka's own test of murmur2 (UtilsTest).
  const std::map<std::string, std::int32_t> hashes{{"21", -973932308},
                                                   {"foobar", -790332482},
                                                   {"a-little-bit-long-string", -985981536},
                                                   {"a-little-bit-longer-string", -1486304829},
                                                   {"abc", 479470107}};
  for (const auto& [key, hash] : hashes)
    CHECK(producer.send(0, {.key = key}).value().partition.value == (hash & 0x7FFFFFFF) % 7);
  CHECK(producer.send(0, {.key = "abc", .partition = PartitionId{6}}).value().partition == PartitionId{6});
}

TEST_CASE("records without a key stay on a partition for 16 KiB, and then spread") {
  Bus bus;
  Topic<Pose> topic{bus, "topic", with_partitions(8)};
  Producer producer{topic};
  unsigned changes = 0;
  std::map<PartitionId, unsigned> used;
  PartitionId last = producer.send({}).value().partition;
  constexpr unsigned sends = 20'000;  // of 40 bytes
  for (unsigned i = 0; i < sends; ++i) {
    const auto now = producer.send({}).value().partition;
    changes += now != last, ++used[now], last = now;
  }
  CHECK(changes <= sends * 40 / DefaultPartitioner::sticky_bytes + 1);
  CHECK(changes > 20);
  CHECK(used.size() == 8);
}

TEST_CASE("a partitioner of one's own decides, and a number out of range is an error with nothing appended") {
  struct Odd {
    std::int32_t answer = 1;
    std::vector<std::uint64_t>* sizes;
    std::int32_t operator()(const PartitionRequest& request) const {
      sizes->push_back(request.record_bytes);
      return request.has_key ? answer : request.partitions;
    }
  };
  Bus bus;
  Topic<std::string> topic{bus, "topic", with_partitions(3)};
  std::vector<std::uint64_t> sizes;
  Producer producer{topic, Odd{1, &sizes}};
  CHECK(producer.send("value", {.key = "k"}).value().partition == PartitionId{1});
  CHECK(producer.send("value").error() == Errc::unknown_partition);
  CHECK(sizes.size() == 2);
  CHECK(producer.send("value", {.partition = PartitionId{3}}).error() == Errc::unknown_partition);
  CHECK(producer.send("value", {.partition = PartitionId{-1}}).error() == Errc::unknown_partition);
  CHECK(producer.send("value", {.partition = PartitionId{2}}).value().offset == Offset{0});
  CHECK(sizes.size() == 2);  // an explicit partition asks nobody
}

TEST_CASE("a record is too large from one byte above the limit on, key and headers counted") {
  Bus bus;
  TopicConfig config;
  config.max_message_bytes = 1'000;
  Topic<std::string> topic{bus, "topic", config};
  Producer producer{topic};
  const auto fits = [&](std::size_t size, const SendOptions& options = {}) {
    const auto sent = producer.send(std::string(size, 'x'), options);
    CHECK((sent || sent.error() == Errc::message_too_large));
    return sent.has_value();
  };
  CHECK(fits(1'000));
  CHECK_FALSE(fits(1'001));
  CHECK(fits(990, {.key = "ten bytes."}));
  CHECK_FALSE(fits(991, {.key = "ten bytes."}));
  const Header header{"four", Bytes{std::string_view{"five5"}}};  // two lengths of 4 bytes each, 4 and 5 bytes
  CHECK(fits(983, {.headers = {header}}));
  CHECK_FALSE(fits(984, {.headers = {header}}));
  CHECK(producer.loan(1'001).error() == Errc::message_too_large);
  CHECK(producer.loan(1'000).has_value());
}

TEST_CASE("a record as large as a segment has room, between small ones") {
  Bus bus;
  TopicConfig config;
  config.segment_bytes = config.max_message_bytes = 256_KiB;
  Topic<std::string> topic{bus, "topic", config};
  Producer producer{topic};
  Consumer consumer{topic, from_the_start()};
  std::vector<std::string> sent;
  for (const std::size_t size : {5u, 262'144u, 7u, 65'536u, 200'000u, 262'144u, 65'537u, 1u}) {
    sent.emplace_back(size, static_cast<char>('a' + sent.size()));
    producer.send(sent.back()).value();
  }
  CHECK(texts(consumer, sent.size()) == sent);
}

TEST_CASE("more headers than the format counts are refused") {
  Bus bus;
  Topic<std::string> topic{bus, "topic"};
  Producer producer{topic};
  std::vector<Header> headers(65'536, Header{"h", Bytes{}});
  CHECK(producer.send("x", {.headers = headers}).error() == Errc::invalid_argument);
  headers.pop_back();
  CHECK(producer.send("x", {.headers = headers}).has_value());
}

TEST_CASE("an encode that throws gives the room back and readers go on") {
#if TOWPATH_EXCEPTIONS
  Bus bus;
  Topic<Moody, MoodySerde> topic{bus, "topic"};
  Producer producer{topic};
  Consumer consumer{topic};
  CHECK(producer.send({1}).value().offset == Offset{0});
  CHECK_THROWS_AS(producer.send({2, true}).ignore(), int);
  CHECK(producer.send({3}).value().offset == Offset{2});
  std::vector<std::uint64_t> read;
  while (read.size() < 2) {
    const auto batch = consumer.poll(stretched(5s));
    REQUIRE_FALSE(batch.empty());
    for (const auto& record : batch) read.push_back(record.value());
  }
  CHECK(read == std::vector<std::uint64_t>{1, 3});
#else
  MESSAGE("skipped: no exceptions in this build");
#endif
}

TEST_CASE("a send is acknowledged before it can be seen; visible and flush wait for the record in the way") {
  Bus bus;
  TopicConfig config;
  config.grace = std::chrono::milliseconds{20};
  Topic<std::string> topic{bus, "topic", config};
  Producer slow{topic};
  Producer fast{topic};
  Consumer consumer{topic};
  auto loan = slow.loan(8).value();
  CHECK(fast.send("acknowledged").value().offset == Offset{1});
  CHECK(consumer.poll(Duration::zero()).empty());  // offset 0 is in the way
  const auto begun = Clock{}.steady();
  SUBCASE("visible") { CHECK(fast.send("visible", {.visible = true}).value().offset == Offset{2}); }
  SUBCASE("flush") {
    fast.send("visible").value();
    fast.flush().value();
  }
  CHECK(Clock{}.steady() - begun >= std::chrono::milliseconds{19});
  const auto batch = consumer.poll(Duration::zero());
  REQUIRE(batch.size() == 2);
  CHECK(batch.begin()->value() == "acknowledged");
}

TEST_CASE("flush of a producer that sent nothing, and of one whose records retention took, returns") {
  Bus bus{};
  TopicConfig config;
  config.segment_bytes = config.max_message_bytes = 256_KiB;
  config.retention.bytes = 512_KiB;
  Topic<std::string> topic{bus, "topic", config};
  Producer idle{topic};
  Producer producer{topic};
  idle.flush().value();
  idle.send("the first").value();
  for (int i = 0; i < 100; ++i) producer.send(std::string(60'000, 'x')).value();
  idle.flush().value();
  producer.flush().value();
}

TEST_CASE("a deleted topic says so to its producers, also when it was made again") {
  Bus bus;
  Topic<std::string> topic{bus, "topic"};
  Producer producer{topic};
  Producer unused{topic};
  producer.send("x").value();
  Admin{bus}.delete_topic("topic").value();
  CHECK(producer.send("y").error() == Errc::topic_deleted);
  CHECK(producer.send("y", {.visible = true}).error() == Errc::topic_deleted);
  CHECK(producer.loan(1).error() == Errc::topic_deleted);
  Topic<std::string> again{bus, "topic"};
  CHECK(producer.send("z").error() == Errc::topic_deleted);
  CHECK(unused.send("z").error() == Errc::topic_deleted);
  CHECK(Producer{again}.send("z").value().offset == Offset{0});
}

TEST_CASE("the member table has 1,024 lines, and a line that is given back serves again") {
  BusConfig config;
  config.maintenance = MaintenanceMode::manual;
  auto bus = Bus::open_in_memory(config).value();
  Topic<std::int32_t> topic{bus, "topic"};
  std::vector<Producer<std::int32_t>> producers;
  for (;;) {
    auto producer = Producer<std::int32_t>::open(topic);
    if (!producer) {
      CHECK(producer.error() == Errc::too_many_members);
      break;
    }
    producers.push_back(std::move(*producer));
  }
  CHECK(producers.size() == 1'024);
  CHECK(Consumer<std::int32_t>::open(topic).error() == Errc::too_many_members);
  CHECK(producers.back().send(1).has_value());
  producers.pop_back();
  CHECK(Consumer<std::int32_t>::open(topic).has_value());
}

TEST_CASE("a read-only process makes no topic and no producer") {
  const TempDir dir;
  const auto path = (dir / "bus").string();
  Bus writer{path};
  Topic<std::int32_t> topic{writer, "topic"};
  BusConfig config;
  config.read_only = true;
  auto reader = Bus::open(path, config).value();
  CHECK(reader.is_read_only());
  CHECK(Topic<std::int32_t>::open(reader, "other").error() == Errc::unknown_topic);
  auto same = Topic<std::int32_t>::open(reader, "topic").value();
  CHECK(Producer<std::int32_t>::open(same).error() == Errc::read_only);
  CHECK(Consumer<std::int32_t>::open(same).has_value());
}

TEST_CASE("producers in threads lose nothing of each other, and each keeps its order") {
  constexpr std::uint64_t threads = 4, each = 5'000;
  Bus bus;
  TopicConfig config;
  config.segment_bytes = config.max_message_bytes = 1_MiB;
  Topic<std::uint64_t> topic{bus, "topic", config};
  Consumer consumer{topic, from_the_start()};
  std::vector<std::thread> work;
  for (std::uint64_t t = 0; t < threads; ++t)
    work.emplace_back([&, t] {
      Producer producer{topic};
      for (std::uint64_t i = 0; i < each; ++i) producer.send(t << 32 | i).value();
    });
  std::uint64_t next[threads]{};
  std::uint64_t read = 0;
  bool ordered = true;
  while (read < threads * each) {
    const auto batch = consumer.poll(stretched(10s));
    if (batch.empty()) break;
    for (const auto& record : batch)
      ordered = ordered && (record.value() & 0xFFFFFFFF) == next[record.value() >> 32]++, ++read;
  }
  for (auto& thread : work) thread.join();
  CHECK(read == threads * each);
  CHECK(ordered);
}
