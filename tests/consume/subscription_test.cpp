// Consumers of a bus: several topics, patterns, topics that come and go.
#include <consume/consume_support.hpp>

#include <atomic>
#include <map>
#include <set>

using namespace towpath;
using namespace towpath::test;

namespace {

struct Wide {
  alignas(64) double number;
};

struct SubscriptionBench {
  Bus bus;

  void send(const std::string& topic, const std::string& text) {
    Topic<std::string> opened{bus, topic};
    Producer{opened}.send(text).value();
  }
  /// All that comes within polls that wait a moment: "topic:value", in order.
  template <class T>
  static std::vector<std::string> read(Consumer<T>& consumer, std::size_t count) {
    std::vector<std::string> all;
    while (all.size() < count) {
      const auto batch = consumer.poll(stretched(2s));
      REQUIRE(batch.error() == Errc::ok);
      if (batch.empty()) break;
      for (const auto& record : batch)
        all.push_back(std::string{record.topic()} + ":" + std::string{record.bytes().text()});
    }
    return all;
  }
};

using Texts = std::vector<std::string>;

ConsumerConfig names(const Texts& topics, OffsetReset reset = OffsetReset::earliest) {
  ConsumerConfig config = from(reset);
  config.topics = topics;
  return config;
}
ConsumerConfig matching(const std::string& pattern, OffsetReset reset = OffsetReset::earliest) {
  ConsumerConfig config = from(reset);
  config.pattern = pattern;
  return config;
}

}  // namespace

TEST_CASE("topics that are named are read as one type, in turn, and no others") {
  SubscriptionBench bench;
  for (const char* topic : {"a", "b", "c"})
    for (int i = 0; i < 6; ++i) bench.send(topic, std::to_string(i));
  auto config = names({"b", "a", "b"});
  config.max_poll_records = 2;
  Consumer<std::string> consumer{bench.bus, config};
  Texts turns;
  for (auto batch = consumer.poll(0ms); !batch.empty(); batch = consumer.poll(0ms)) {
    CHECK(batch.size() == 2);
    turns.emplace_back(batch.topic());
    for (const auto& record : batch) CHECK(record.topic() == batch.topic());
  }
  CHECK(turns == Texts{"a", "b", "a", "b", "a", "b"});
  CHECK(consumer.subscription() == Texts{"a", "b"});
}

TEST_CASE("a pattern reads what it is found in, as bytes whatever the type, and topics that come later") {
  SubscriptionBench bench;
  bench.send("my.text", "old");
  bench.send("not.my.text", "other");
  Topic<std::int64_t> numbers{bench.bus, "my.number"};
  Producer{numbers}.send(7).value();
  Consumer<Bytes> consumer{bench.bus, matching("^my\\.")};
  CHECK(SubscriptionBench::read(consumer, 2).size() == 2);
  bench.send("my.later", "first");
  bench.send("not.later", "first");
  bench.send("my.later", "second");
  CHECK(SubscriptionBench::read(consumer, 2) == Texts{"my.later:first", "my.later:second"});
  CHECK(consumer.poll(0ms).empty());
  CHECK(consumer.subscription() == Texts{"my.later", "my.number", "my.text"});
}

TEST_CASE("what is there begins where the config says, what comes later with its first record") {
  SubscriptionBench bench;
  bench.send("my.old", "before");
  auto config = matching("^my", OffsetReset::latest);
  config.topics = {"waited"};
  Consumer<std::string> consumer{bench.bus, config};
  bench.send("my.new", "1");
  bench.send("waited", "2");
  bench.send("my.old", "3");
  const auto read = SubscriptionBench::read(consumer, 3);
  CHECK(std::set<std::string>(read.begin(), read.end()) == std::set<std::string>{"my.new:1", "my.old:3", "waited:2"});
}

TEST_CASE("a topic that does not exist is waited for, and never made by reading") {
  SubscriptionBench bench;
  auto config = names({"later"});
  config.pattern = "^my";
  Consumer<std::string> consumer{bench.bus, config};
  CHECK(consumer.poll(10ms, wait::Block{}).error() == Errc::ok);
  CHECK(consumer.assignment().empty());
  CHECK(consumer.subscription() == Texts{"later"});
  CHECK(Admin{bench.bus}.list_topics().value().empty());
}

TEST_CASE("a topic of another type is told once by its name, and the others go on") {
  SubscriptionBench bench;
  Topic<std::int64_t> numbers{bench.bus, "my.number"};
  Producer{numbers}.send(7).value();
  bench.send("my.text", "x");
  Consumer<std::string> consumer{bench.bus, matching("^my")};
  {
    const auto batch = consumer.poll(0ms);
    CHECK(batch.error() == Errc::type_mismatch);
    CHECK(batch.topic() == "my.number");
  }
  CHECK(SubscriptionBench::read(consumer, 1) == Texts{"my.text:x"});
  bench.send("another", "the catalog changes");
  CHECK(consumer.poll(0ms).error() == Errc::ok);
  // Made again with another wrong type it is another topic, and told again; with the right one it is read.
  Admin admin{bench.bus};
  admin.delete_topic("my.number").value();
  Topic<std::int32_t>{bench.bus, "my.number"};
  CHECK(consumer.poll(0ms).error() == Errc::type_mismatch);
  admin.delete_topic("my.number").value();
  CHECK(consumer.poll(0ms).error() == Errc::ok);
  bench.send("my.number", "seven");
  CHECK(SubscriptionBench::read(consumer, 1) == Texts{"my.number:seven"});
}

TEST_CASE("a topic that could not be read and is made again begins with its first record") {
  SubscriptionBench bench;
  Topic<std::int64_t>{bench.bus, "my.topic"};
  Consumer<std::string> consumer{bench.bus, matching("^my", OffsetReset::latest)};
  CHECK(consumer.poll(0ms).error() == Errc::type_mismatch);
  Admin{bench.bus}.delete_topic("my.topic").value();
  bench.send("my.topic", "first");
  CHECK(SubscriptionBench::read(consumer, 1) == Texts{"my.topic:first"});
}

TEST_CASE("a deleted topic is told once if it was named, never if a pattern found it, and read anew when it is back") {
  SubscriptionBench bench;
  Admin admin{bench.bus};
  for (const bool named : {true, false}) {
    CAPTURE(named);
    bench.send("my.topic", "1");
    bench.send("my.other", "1");
    Consumer<std::string> consumer{bench.bus, named ? names({"my.topic", "my.other"}) : matching("^my")};
    const auto held = consumer.poll(0ms);
    CHECK(held.size() == 1);
    CHECK(consumer.poll(0ms).size() == 1);
    admin.delete_topic("my.topic").value();
    admin.delete_topic("my.other").value();
    Texts told;
    for (int i = 0; i < 5; ++i)
      if (const auto batch = consumer.poll(0ms); batch.error() == Errc::topic_deleted) told.emplace_back(batch.topic());
    CHECK(told == (named ? Texts{"my.other", "my.topic"} : Texts{}));
    CHECK(consumer.assignment().empty());
    CHECK((*held.begin()).value() == "1");  // a batch outlives its topic
    bench.send("my.topic", "2");
    CHECK(SubscriptionBench::read(consumer, 1) == Texts{"my.topic:2"});
    CHECK(consumer.position({"my.topic", {0}}).value() == Offset{1});
    admin.delete_topic("my.topic").value();
    CHECK((consumer.poll(0ms).error() == Errc::topic_deleted) == named);
  }
}

TEST_CASE("with several topics a partition is named with its topic; a number alone is refused, not guessed") {
  SubscriptionBench bench;
  for (const char* topic : {"a", "b"})
    for (int i = 0; i < 3; ++i) bench.send(topic, std::to_string(i));
  Consumer<std::string> consumer{bench.bus, names({"a", "b"})};
  CHECK(consumer.seek({0}, {1}).error() == Errc::invalid_argument);
  CHECK(consumer.position({0}).error() == Errc::invalid_argument);
  CHECK(consumer.pause({0}).error() == Errc::invalid_argument);
  CHECK(consumer.assign({{0}}).error() == Errc::invalid_argument);
  CHECK(consumer.seek({"c", {0}}, {1}).error() == Errc::not_assigned);
  CHECK(consumer.position({"a", {1}}).error() == Errc::not_assigned);
  consumer.pause({"a", {0}}).value();
  consumer.seek({"b", {0}}, {2}).value();
  CHECK(SubscriptionBench::read(consumer, 1) == Texts{"b:2"});
  CHECK(consumer.poll(0ms).empty());
  CHECK(consumer.position({"b", {0}}).value() == Offset{3});
  consumer.resume({"a", {0}}).value();
  CHECK(SubscriptionBench::read(consumer, 3) == Texts{"a:0", "a:1", "a:2"});
  Consumer<std::string> one{bench.bus, names({"a"})};
  one.seek({0}, {2}).value();
  CHECK(SubscriptionBench::read(one, 1) == Texts{"a:2"});
}

TEST_CASE("offsets say of which topic they are") {
  SubscriptionBench bench;
  for (int i = 0; i < 3; ++i) bench.send("a", "x");
  bench.send("b", "x");
  Consumer<std::string> consumer{bench.bus, names({"a", "b"})};
  std::map<TopicPartition, Offset> ends;
  for (const auto& [partition, offset] : consumer.end_offsets().value()) {
    ends.emplace(partition, offset);
    consumer.seek(partition, offset).value();
    CHECK(consumer.position(partition).value() == offset);
  }
  CHECK(ends == std::map<TopicPartition, Offset>{{{"a", {0}}, {3}}, {{"b", {0}}, {1}}});
  CHECK(consumer.poll(0ms).empty());
  for (const auto& [partition, offset] : consumer.beginning_offsets().value()) CHECK(offset == Offset{0});
  for (const auto& [partition, offset] : consumer.offsets_for_times({}).value()) CHECK(offset == Offset{0});
  CHECK(consumer.assignment() == std::vector<TopicPartition>{{"a", {0}}, {"b", {0}}});
}

TEST_CASE("partitions of several topics are assigned by name, which ends the subscription") {
  SubscriptionBench bench;
  Topic<std::string> wide{bench.bus, "wide", partitioned(3)};
  Producer producer{wide};
  for (std::int32_t p = 0; p < 3; ++p) producer.send("wide" + std::to_string(p), {.partition = PartitionId{p}}).value();
  bench.send("a", "a");
  Topic<std::int64_t>{bench.bus, "number"};
  Consumer<std::string> consumer{bench.bus, matching(".")};
  CHECK(consumer.poll(0ms).error() == Errc::type_mismatch);
  CHECK(consumer.assign({{"wide", {2}}, {"gone", {0}}}).error() == Errc::unknown_topic);
  CHECK(consumer.assign({{"wide", {3}}}).error() == Errc::unknown_partition);
  CHECK(consumer.assign({{"number", {0}}}).error() == Errc::type_mismatch);
  CHECK(consumer.assign({{"no such name!", {0}}}).error() == Errc::invalid_name);
  CHECK(consumer.assignment().size() == 4);  // nothing changed
  consumer.assign({{"wide", {2}}, {"a", {0}}}).value();
  CHECK(SubscriptionBench::read(consumer, 2) == Texts{"wide:wide2", "a:a"});
  bench.send("later", "x");
  Admin{bench.bus}.create_partitions("wide", 4).value();
  CHECK(consumer.poll(0ms).empty());
  CHECK(consumer.assignment() == std::vector<TopicPartition>{{"wide", {2}}, {"a", {0}}});
  Admin{bench.bus}.delete_topic("a").value();
  CHECK(consumer.poll(0ms).error() == Errc::topic_deleted);
  bench.send("a", "again");
  CHECK(consumer.poll(0ms).empty());  // what is assigned by hand is not looked for again
  consumer.subscribe({"wide"}).value();
  auto read = SubscriptionBench::read(consumer, 2);  // partition 2 keeps its position
  std::sort(read.begin(), read.end());
  CHECK(read == Texts{"wide:wide0", "wide:wide1"});
  CHECK(consumer.assignment().size() == 4);
}

TEST_CASE("a subscription can be changed: what stays keeps its position, what is new begins as configured") {
  SubscriptionBench bench;
  for (const char* topic : {"a", "b", "c"}) bench.send(topic, "1");
  Consumer<std::string> consumer{bench.bus, names({"a", "b"})};
  CHECK(SubscriptionBench::read(consumer, 2) == Texts{"a:1", "b:1"});
  consumer.subscribe({"b"}, "^c").value();
  bench.send("a", "2");
  bench.send("b", "2");
  const auto read = SubscriptionBench::read(consumer, 2);
  CHECK(std::set<std::string>(read.begin(), read.end()) == std::set<std::string>{"b:2", "c:1"});
  CHECK(consumer.poll(0ms).empty());
  CHECK(consumer.subscribe({}).error() == Errc::invalid_argument);
  CHECK(consumer.subscribe({"."}).error() == Errc::invalid_name);
  CHECK(consumer.subscribe({}, "[").error() == Errc::invalid_pattern);
  CHECK(consumer.subscription() == Texts{"b", "c"});
  consumer.unsubscribe().value();
  CHECK(consumer.subscription().empty());
  bench.send("b", "3");
  CHECK(consumer.poll(1ms).empty());
  consumer.subscribe({"a"}).value();
  CHECK(SubscriptionBench::read(consumer, 2) == Texts{"a:1", "a:2"});
}

TEST_CASE("what a subscription cannot be is refused when it is made") {
  SubscriptionBench bench;
  const auto refused = [&](const ConsumerConfig& config) {
    return Consumer<Bytes>::open(bench.bus, config).error().code;
  };
  CHECK(refused({}) == Errc::invalid_argument);
  CHECK(refused(names({""})) == Errc::invalid_name);
  CHECK(refused(names({"fine", "no/path"})) == Errc::invalid_name);
  CHECK(refused(names({std::string(250, 'x')})) == Errc::invalid_name);
  CHECK(refused(matching("[")) == Errc::invalid_pattern);
  CHECK(refused(matching("((a{1,255}){1,255}){1,255}")) == Errc::invalid_pattern);
  auto config = names({"fine"});
  config.partitions = {{0}};
  CHECK(refused(config) == Errc::invalid_argument);
  config = names({"fine"});
  config.name = "no reader's name";
  CHECK(refused(config) == Errc::invalid_argument);
  config = names({"fine"});
  config.max_poll_records = 0;
  CHECK(refused(config) == Errc::invalid_argument);
  Topic<Bytes> topic{bench.bus, "topic"};
  CHECK(Consumer<Bytes>::open(topic, names({"other"})).error() == Errc::invalid_argument);
  CHECK(Consumer<Bytes>::open(topic, matching("x")).error() == Errc::invalid_argument);
  Consumer<Bytes> fixed{topic};
  CHECK(fixed.subscribe({"a"}).error() == Errc::invalid_argument);
  CHECK(fixed.unsubscribe().error() == Errc::invalid_argument);
  CHECK(fixed.assign({{"a", {0}}}).error() == Errc::invalid_argument);
  CHECK(fixed.subscription() == Texts{"topic"});
  auto moved = std::move(fixed);
  CHECK(fixed.subscribe({"a"}).error() == Errc::closed);
  CHECK(fixed.subscription().empty());
  CHECK(moved.topic().name() == "topic");
}

TEST_CASE("a subscribed topic that grows is read whole, and each topic's values where that topic aligns them") {
  SubscriptionBench bench;
  Topic<Wide> wide{bench.bus, "my.wide"};
  Producer producer{wide};
  bench.send("my.text", "x");
  Consumer<Bytes> consumer{bench.bus, matching("^my", OffsetReset::latest)};
  Admin{bench.bus}.create_partitions("my.wide", 3).value();
  producer.send({2.5}, {.key = "k", .partition = PartitionId{2}}).value();
  bench.send("my.text", "text");
  std::size_t read = 0;
  while (read < 2) {
    const auto batch = consumer.poll(stretched(2s));
    REQUIRE(batch.size() == 1);
    const auto record = *batch.begin();
    if (record.topic() == "my.wide") {
      REQUIRE(record.value().size() == sizeof(Wide));
      CHECK(reinterpret_cast<std::uintptr_t>(record.value().data()) % alignof(Wide) == 0);
      CHECK(record.key().text() == "k");
    } else {
      CHECK(record.value().text() == "text");
    }
    ++read;
  }
}

TEST_CASE("a topic whose maker died before he said so is found by whoever has nothing to do") {
  static std::atomic<std::int64_t> now{0};
  BusConfig config;
  config.maintenance = MaintenanceMode::manual;
  config.clock.steady = []() noexcept { return Monotonic{Duration{now += 100'000'000}}; };  // each look takes 100 ms
  SubscriptionBench bench{Bus::open_in_memory(config).value()};
  Consumer<std::string> consumer{bench.bus, matching("^my")};
  CHECK(consumer.poll(0ms).empty());
  bench.send("my.topic", "x");
  auto& generation = bench.bus.core()->control().catalog_generation;
  generation.store(generation.load(shm::acquire) - 1, shm::release);
  CHECK(consumer.poll(0ms).empty());
  CHECK(consumer.poll(3s, wait::Block{}).size() == 1);
}

TEST_CASE("a pattern finds a hundred topics, and keeps them apart") {
  SubscriptionBench bench;
  for (int i = 0; i < 100; ++i) bench.send("many." + std::to_string(i), std::to_string(i));
  Consumer<Bytes> consumer{bench.bus, matching("^many\\.[0-9]+$")};
  const auto read = SubscriptionBench::read(consumer, 100);
  CHECK(read.size() == 100);
  for (const auto& text : read)
    CHECK(text.substr(text.find('.') + 1, text.find(':') - 5) == text.substr(text.find(':') + 1));
}
