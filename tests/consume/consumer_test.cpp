#include <consume/consume_support.hpp>

#include <fstream>
#include <map>
#include <optional>

using namespace towpath;
using namespace towpath::test;

namespace {

struct ConsumerBench {
  explicit ConsumerBench(const TopicConfig& config = {}) : topic{bus, "topic", config} {}
  Bus bus;
  Topic<std::string> topic;
  Producer<std::string> producer{topic};
};

}  // namespace

TEST_CASE("latest is fixed when the consumer is made, earliest reads everything, none waits for a seek") {
  ConsumerBench bench;
  send_texts(bench.producer, 0, 3);
  Consumer latest{bench.topic};
  Consumer earliest{bench.topic, from(OffsetReset::earliest)};
  Consumer none{bench.topic, from(OffsetReset::none)};
  send_texts(bench.producer, 3, 5);
  CHECK(read_texts(latest, 2) == numbers(3, 5));
  CHECK(read_texts(earliest, 5) == numbers(0, 5));
  CHECK(none.position({0}).error() == Errc::no_offset);
  CHECK(none.poll(Duration::zero()).error() == Errc::no_offset);
  none.seek({0}, {1}).value();
  CHECK(read_texts(none, 4) == numbers(1, 5));
  none.seek({0}, {99}).value();
  CHECK(none.poll(Duration::zero()).error() == Errc::offset_out_of_range);
}

TEST_CASE("an empty topic is waited for, and nothing in time is an empty batch without an error") {
  ConsumerBench bench;
  Consumer consumer{bench.topic};
  const auto begun = Clock{}.steady();
  const auto batch = consumer.poll(30ms);
  CHECK(batch.empty());
  CHECK(batch.size() == 0);
  CHECK((batch.begin() == batch.end()));
  CHECK(batch.error() == Errc::ok);
  CHECK(batch.missed() == 0);
  CHECK(Clock{}.steady() - begun >= 30ms);
  CHECK(consumer.position({0}).value() == Offset{0});
  send_texts(bench.producer, 0, 1);
  CHECK(read_texts(consumer, 1) == numbers(0, 1));
}

TEST_CASE("a batch holds at most max_poll_records, of one partition, and partitions take turns") {
  ConsumerBench bench{partitioned(3)};
  auto config = from(OffsetReset::earliest);
  config.max_poll_records = 4;
  Consumer consumer{bench.topic, config};
  for (std::int32_t p = 0; p < 3; ++p) send_texts(bench.producer, 0, 10, p);
  std::vector<std::int32_t> turns;
  std::map<std::int32_t, std::vector<std::string>> read;
  for (auto batch = consumer.poll(0ms); !batch.empty(); batch = consumer.poll(0ms)) {
    CHECK(batch.size() <= 4);
    turns.push_back(batch.partition().value);
    for (const auto& record : batch) {
      CHECK(record.partition() == batch.partition());
      read[record.partition().value].emplace_back(record.value());
    }
  }
  CHECK(turns == std::vector<std::int32_t>{0, 1, 2, 0, 1, 2, 0, 1, 2});
  for (std::int32_t p = 0; p < 3; ++p) CHECK(read[p] == numbers(0, 10));
}

TEST_CASE("a paused partition keeps its place, and an assignment keeps what stays") {
  ConsumerBench bench{partitioned(2)};
  Consumer consumer{bench.topic, from(OffsetReset::earliest)};
  for (std::int32_t p = 0; p < 2; ++p) send_texts(bench.producer, 0, 3, p);
  consumer.pause({0}).value();
  CHECK(read_texts(consumer, 3) == numbers(0, 3));
  CHECK(consumer.poll(0ms).empty());
  CHECK(consumer.position({0}).value() == Offset{0});
  CHECK(consumer.position({1}).value() == Offset{3});
  consumer.assign({{1}}).value();
  CHECK(consumer.assignment() == std::vector<TopicPartition>{{"topic", {1}}});
  CHECK(consumer.position({1}).value() == Offset{3});
  CHECK(consumer.position({0}).error() == Errc::not_assigned);
  CHECK(consumer.seek({0}, {0}).error() == Errc::not_assigned);
  CHECK(consumer.pause({0}).error() == Errc::not_assigned);
  CHECK(consumer.assign({{0}, {2}}).error() == Errc::unknown_partition);
  CHECK(consumer.assignment() == std::vector<TopicPartition>{{"topic", {1}}});  // nothing changed
  consumer.assign({{0}, {1}, {0}}).value();
  CHECK(consumer.assignment().size() == 2);
  CHECK(read_texts(consumer, 3) == numbers(0, 3));  // partition 0 anew, from the earliest
  CHECK(consumer.poll(0ms).empty());
}

TEST_CASE("partitions are found by number in whatever order they are assigned") {
  ConsumerBench bench{partitioned(4)};
  Consumer consumer{bench.topic, from(OffsetReset::earliest)};
  for (const auto& order : {std::vector<PartitionId>{{3}, {1}, {0}}, {{1}, {2}, {3}}, {{0}, {1}, {2}, {3}}}) {
    consumer.assign(order).value();
    std::vector<TopicPartition> names;
    for (const PartitionId id : order) {
      names.emplace_back("topic", id);
      consumer.seek(id, Offset{id.value + 10}).value();
    }
    CHECK(consumer.assignment() == names);
    for (const auto& name : names) {
      CHECK(consumer.position(name).value() == Offset{name.partition.value + 10});
      CHECK(consumer.position(name.partition).value() == Offset{name.partition.value + 10});
    }
    const bool has_two = std::find(order.begin(), order.end(), PartitionId{2}) != order.end();
    CHECK(consumer.position({2}).has_value() == has_two);
  }
}

TEST_CASE("a consumer of all partitions takes on those that are added, from their first record") {
  ConsumerBench bench;
  Consumer all{bench.topic};
  auto some_config = from(OffsetReset::earliest);
  some_config.partitions = {{0}};
  Consumer some{bench.topic, some_config};
  Admin{bench.bus}.create_partitions("topic", 3).value();
  bench.producer.send("new", {.partition = PartitionId{2}}).value();
  CHECK(read_texts(all, 1) == std::vector<std::string>{"new"});
  CHECK(all.assignment().size() == 3);
  CHECK(some.poll(0ms).empty());
  CHECK(some.assignment().size() == 1);
}

TEST_CASE("seeks go to offsets, to both ends, and to times") {
  ConsumerBench bench;
  Consumer consumer{bench.topic};
  for (int i = 0; i < 10; ++i)
    bench.producer.send(std::to_string(i), {.timestamp = Timestamp{std::chrono::seconds{100 + i * 10}}}).value();
  consumer.seek({0}, {7}).value();
  CHECK(consumer.position({0}).value() == Offset{7});
  CHECK(read_texts(consumer, 3) == numbers(7, 10));
  consumer.seek_to_beginning().value();
  CHECK(read_texts(consumer, 10) == numbers(0, 10));
  consumer.seek_to_time(Timestamp{std::chrono::seconds{141}}).value();
  CHECK(read_texts(consumer, 5) == numbers(5, 10));
  consumer.seek_to_time(Timestamp{std::chrono::seconds{140}}).value();
  CHECK(read_texts(consumer, 6) == numbers(4, 10));
  consumer.seek_to_time(Timestamp{std::chrono::seconds{191}}).value();  // none as late as that: the end
  CHECK(consumer.position({0}).value() == Offset{10});
  consumer.seek_to_beginning().value();
  consumer.seek_to_end().value();
  CHECK(consumer.position({0}).value() == Offset{10});
  CHECK(consumer.poll(0ms).empty());
  CHECK(consumer.offsets_for_times(Timestamp{std::chrono::seconds{100}}).value()[0].offset == Offset{0});
  CHECK(consumer.offsets_for_times(Timestamp{}).value()[0].offset == Offset{0});
  CHECK_FALSE(consumer.offsets_for_times(Timestamp{std::chrono::seconds{191}}).value()[0].offset);
  consumer.seek({0}, {-5}).value();
  CHECK(consumer.position({0}).value() == Offset{0});
  consumer.seek({0}, {99}).value();  // past the end: latest
  CHECK(consumer.poll(0ms).empty());
  send_texts(bench.producer, 10, 11);
  CHECK(read_texts(consumer, 1) == numbers(10, 11));
}

TEST_CASE("beginning and end offsets follow the log and move no position") {
  ConsumerBench bench{partitioned(2)};
  Consumer consumer{bench.topic, from(OffsetReset::earliest)};
  send_texts(bench.producer, 0, 5, 1);
  const auto begins = consumer.beginning_offsets().value();
  const auto ends = consumer.end_offsets().value();
  REQUIRE(ends.size() == 2);
  CHECK(begins[1].offset == Offset{0});
  CHECK(ends[0].offset == Offset{0});
  CHECK(ends[1].partition == TopicPartition{"topic", {1}});
  CHECK(ends[1].offset == Offset{5});
  CHECK(consumer.position({1}).value() == Offset{0});
}

TEST_CASE("whoever retention overtakes is told exactly how many offsets are gone") {
  ConsumerBench bench{forgetful()};
  Consumer earliest{bench.topic, from(OffsetReset::earliest)};
  Consumer none{bench.topic, from(OffsetReset::none)};
  none.seek({0}, {0}).value();
  const std::string large(60'000, 'x');
  for (int i = 0; i < 100; ++i) bench.producer.send(large).value();
  const auto start = earliest.beginning_offsets().value()[0].offset;
  REQUIRE(start > Offset{0});
  const auto batch = earliest.poll(0ms);
  REQUIRE(!batch.empty());
  const auto first = *batch.begin();
  // Maintenance may have gone on between the two calls: what counts is that nothing is unaccounted for.
  CHECK(first.offset() >= start);
  CHECK(batch.missed() == static_cast<std::uint64_t>(first.offset().value));
  CHECK(earliest.missed() == batch.missed());
  CHECK(none.poll(0ms).error() == Errc::offset_out_of_range);
  none.seek_to_end().value();
  CHECK(none.poll(0ms).missed() == 0);  // asked for, not missed
}

TEST_CASE("a loop over the consumer sees what is left, and the consumer says how much was missed") {
  ConsumerBench bench{forgetful()};
  auto config = from(OffsetReset::earliest);
  config.consumer_timeout = 0ms;
  Consumer consumer{bench.topic, config};
  const std::string large(60'000, 'x');
  for (int i = 0; i < 100; ++i) bench.producer.send(large).value();
  std::int64_t first = -1;
  for (const auto& record : consumer)
    if (first < 0) first = record.offset().value;
  CHECK(first > 0);
  CHECK(consumer.missed() >= static_cast<std::uint64_t>(first));
  consumer.seek_to_end().value();
  const auto told = consumer.missed();
  CHECK(consumer.poll(0ms).empty());
  CHECK(consumer.missed() == told);
}

TEST_CASE("a batch is read in place, pins its segment against recycling, and may outlive its consumer") {
  ConsumerBench bench{forgetful()};
  std::optional<Consumer<std::string>> consumer{std::in_place, bench.topic, from(OffsetReset::earliest)};
  std::vector<std::string> sent;
  for (char c = 'a'; c < 'd'; ++c) {
    sent.emplace_back(50'000, c);
    bench.producer.send(sent.back()).value();
  }
  const auto batch = consumer->poll(0ms);
  REQUIRE(batch.size() == 3);
  const char* place = (*batch.begin()).value().data();
  consumer.reset();
  const std::string filler(50'000, 'z');
  for (int i = 0; i < 200; ++i) bench.producer.send(filler).value();
  const auto partition = Partition<std::string>::open(bench.topic, {0}).value();
  CHECK(partition.begin_offset() > Offset{3});  // retired
  CHECK(partition.counters().recycled > 0);     // others were recycled meanwhile
  std::size_t i = 0;
  for (const auto& record : batch) CHECK(record.value() == sent[i++]);
  CHECK((*batch.begin()).value().data() == place);
}

TEST_CASE("an error that somebody looked at is not told again, one that nobody saw is") {
  ConsumerBench bench;
  Consumer consumer{bench.topic, from(OffsetReset::none)};
  {
    const auto batch = consumer.poll(0ms);
    CHECK(batch.error() == Errc::no_offset);
    CHECK(batch.error() == Errc::no_offset);  // the batch remembers
  }
  consumer.seek({0}, {0}).value();
  CHECK(consumer.poll(0ms).error() == Errc::ok);
#ifdef NDEBUG
  consumer.seek({0}, {5}).value();
  static_cast<void>(consumer.poll(0ms));
  consumer.seek({0}, {0}).value();
  CHECK(consumer.poll(0ms).error() == Errc::offset_out_of_range);
  CHECK(consumer.poll(0ms).error() == Errc::ok);
#endif
}

TEST_CASE("iteration ends after consumer_timeout, and at an error that the next poll tells") {
  ConsumerBench bench;
  auto config = from(OffsetReset::earliest);
  config.consumer_timeout = 20ms;
  Consumer consumer{bench.topic, config};
  send_texts(bench.producer, 0, 3);
  std::vector<std::string> read;
  for (const auto& record : consumer) read.emplace_back(record.value());
  CHECK(read == numbers(0, 3));
  Consumer none{bench.topic, from(OffsetReset::none)};
  for ([[maybe_unused]] const auto& record : none) FAIL_CHECK("a record without a position");
  CHECK(none.poll(0ms).error() == Errc::no_offset);
}

TEST_CASE("a deleted topic says so to its consumers, after what they could still read, also while they wait") {
  ConsumerBench bench;
  Consumer consumer{bench.topic, from(OffsetReset::earliest)};
  Consumer waiting{bench.topic};
  Consumer spinning{bench.topic};
  send_texts(bench.producer, 0, 2);
  CHECK(read_texts(consumer, 2).size() == 2);
  CHECK(read_texts(waiting, 2).size() == 2);
  CHECK(read_texts(spinning, 2).size() == 2);
  std::thread other{[&] { CHECK(waiting.poll(stretched(10s), wait::Block{}).error() == Errc::topic_deleted); }};
  std::thread third{[&] { CHECK(spinning.poll(stretched(10s), wait::Spin{}).error() == Errc::topic_deleted); }};
  Admin{bench.bus}.delete_topic("topic").value();
  CHECK(consumer.poll(stretched(10s)).error() == Errc::topic_deleted);
  other.join();
  third.join();
}

TEST_CASE("invalid requests are refused") {
  ConsumerBench bench;
  ConsumerConfig config;
  config.max_poll_records = 0;
  CHECK(Consumer<std::string>::open(bench.topic, config).error() == Errc::invalid_argument);
  config = {};
  config.partitions = {{1}};
  CHECK(Consumer<std::string>::open(bench.topic, config).error() == Errc::unknown_partition);
}

TEST_CASE("on disk a flipped byte is corrupt, the position stays, and without check_crcs it is read") {
  const TempDir dir = TempDir::on_disk();
  BusConfig bus_config;
  bus_config.force_filesystem = true;  // an overlay will do for one process
  auto opened = Bus::open((dir / "bus").string(), bus_config);
  if (!opened) {
    MESSAGE("skipped: no bus on this disk: " << name(opened.error().code));
    return;
  }
  Topic<std::string> topic{*opened, "topic"};
  Producer producer{topic};
  for (const char* text : {"first", "second-value", "third"}) producer.send(text).value();
  Consumer checked{topic, from(OffsetReset::earliest)};
  auto careless_config = from(OffsetReset::earliest);
  careless_config.check_crcs = false;
  Consumer careless{topic, careless_config};
  if (!topic.files()->stored().checksummed) {
    MESSAGE("skipped: the test folder is in memory, where records carry no checksum");
    return;
  }
  const auto file = dir / "bus/topics/topic/0/00000000000000000000.log";
  std::string all;
  {
    std::ifstream in{file, std::ios::binary};
    all.assign(std::istreambuf_iterator<char>{in}, {});
  }
  const auto at = all.find("second-value");
  REQUIRE(at != std::string::npos);
  {
    std::fstream out{file, std::ios::binary | std::ios::in | std::ios::out};
    out.seekp(static_cast<std::streamoff>(at));
    out.put('S');
  }
  CHECK(read_texts(careless, 3) == std::vector<std::string>{"first", "Second-value", "third"});
  CHECK(checked.poll(0ms).size() == 1);
  const auto bad = checked.poll(0ms);
  CHECK(bad.error() == Errc::corrupt);
  CHECK(bad.error_offset() == Offset{1});
  CHECK(checked.position({0}).value() == Offset{1});
  checked.seek({0}, {2}).value();
  const auto rest = checked.poll(0ms);
  REQUIRE(rest.size() == 1);
  CHECK((*rest.begin()).checksum().has_value());
}

TEST_CASE("a record prints all that Kafka's console tools show") {
  ConsumerBench bench;
  Consumer consumer{bench.topic};
  const Header headers[] = {{"trace", Bytes{std::string_view{"a\x01"}}}};
  bench.producer.send("tea\n", {.key = "cup", .headers = Headers{headers}, .timestamp = Timestamp{Duration{42}}})
      .value();
  bench.producer.send_tombstone({.key = "cup", .timestamp = Timestamp{Duration{43}}}).value();
  bench.producer.send(std::string(70, 'y'), {.timestamp = Timestamp{Duration{44}}}).value();
  std::vector<std::string> lines;
  const auto batch = consumer.poll(stretched(5s));
  for (const auto& record : batch) lines.push_back(fmt::format("{}", record));
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] ==
        "topic=topic partition=0 offset=0 timestamp=42 timestamp_type=create_time serialized_key_size=3 "
        "serialized_value_size=4 key=cup value=tea\\x0a header[trace]=a\\x01");
  CHECK(lines[1] ==
        "topic=topic partition=0 offset=1 timestamp=43 timestamp_type=create_time serialized_key_size=3 "
        "serialized_value_size=-1 key=cup");
  CHECK(lines[2] ==
        "topic=topic partition=0 offset=2 timestamp=44 timestamp_type=create_time serialized_key_size=-1 "
        "serialized_value_size=70 value=" +
            std::string(64, 'y') + "... (70 B)");
}

TEST_CASE("the name of a header is printed as its value is: no escape sequence reaches a terminal, and it is cut") {
  ConsumerBench bench;
  Consumer consumer{bench.topic};
  const std::string long_name(70, 'n');
  const Header headers[] = {{"\x1b[2Jtrace\n", Bytes{std::string_view{"a"}}}, {long_name, Bytes{}}};
  bench.producer.send("tea", {.headers = Headers{headers}}).value();
  const auto batch = consumer.poll(stretched(5s));
  REQUIRE(batch.size() == 1);
  const auto line = fmt::format("{}", *batch.begin());
  CAPTURE(line);
  CHECK(line.ends_with(" header[\\x1b[2Jtrace\\x0a]=a header[" + std::string(64, 'n') + "... (70 B)]="));
  CHECK(line.find('\x1b') == std::string::npos);
}
