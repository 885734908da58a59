// Topics that wait for the readers of their list, and readers with a name: what they keep, who waits, who does not.
#include <consume/consume_support.hpp>

#include <thread>

using namespace towpath;
using namespace towpath::literals;
using namespace towpath::test;

namespace {

/// Room for four segments of 256 KiB: about twelve records of 60 kB.
TopicConfig listing(OnFull on_full, ReaderList readers) {
  auto config = forgetful();
  config.on_full = on_full;
  config.readers = readers;
  return config;
}

std::string large(int number) { return std::to_string(number) + std::string(60'000, '.'); }

/// Sends until the topic takes no more. Returns how many it took.
int fill_up(Producer<std::string>& producer, int from = 0) {
  for (int i = from; i < from + 1'000; ++i)
    if (auto sent = producer.send(large(i)); !sent) {
      CHECK(sent.error() == Errc::queue_full);
      return i - from;
    }
  FAIL("the topic is never full");
  return 0;
}

/// The numbers that it reads until nothing comes.
std::vector<int> read_all_numbers(Consumer<std::string>& consumer) {
  std::vector<int> read;
  for (auto batch = consumer.poll(0ms); !batch.empty(); batch = consumer.poll(0ms))
    for (const auto& record : batch) read.push_back(std::stoi(std::string{record.value().substr(0, 10)}));
  return read;
}

std::vector<int> up_to(int end) {
  std::vector<int> all;
  for (int i = 0; i < end; ++i) all.push_back(i);
  return all;
}

}  // namespace

TEST_CASE("a topic that is on_full = fail keeps what its reader has not read, and says queue_full until it has") {
  Bus bus;
  Topic<std::string> topic{bus, "t", listing(OnFull::fail, {"recorder"})};
  Consumer recorder{topic, {.name = "recorder"}};
  Producer producer{topic};
  int sent = fill_up(producer);
  CHECK(sent >= 8);
  CHECK(producer.send(large(0)).error() == Errc::queue_full);
  CHECK(producer.send_batch(std::vector{large(0), large(1)}).error() == Errc::queue_full);
  CHECK(producer.loan(60'000).error() == Errc::queue_full);
  auto read = read_all_numbers(recorder);
  CHECK(read == up_to(sent));
  (void)recorder.poll(0ms);  // done with all of it
  const int more = fill_up(producer, sent);
  CHECK(more >= 8);
  const auto rest = read_all_numbers(recorder);
  CHECK(static_cast<int>(rest.size()) == more);
  CHECK(recorder.missed() == 0);
}

TEST_CASE("a topic that is on_full = block waits for its reader, and for no longer than max_block") {
  Bus bus;
  Topic<std::string> topic{bus, "t", listing(OnFull::block, {"recorder"})};
  Consumer recorder{topic, {.name = "recorder"}};
  Producer impatient{topic, {.max_block = 5ms}};
  int sent = 0;
  Result<RecordMetadata> last = impatient.send(large(0));
  for (; last; last = impatient.send(large(++sent))) REQUIRE(sent < 1'000);
  CHECK(last.error() == Errc::timed_out);
  std::jthread reader{[&] {  // it may read while the producer waits
    std::vector<int> read;
    while (read.size() < static_cast<std::size_t>(sent) + 40) {
      for (const auto& record : recorder.poll(stretched(5s), wait::Block{}))
        read.push_back(std::stoi(std::string{record.value().substr(0, 10)}));
    }
    CHECK(read == up_to(sent + 40));
  }};
  Producer patient{topic};
  for (int i = sent; i < sent + 40; ++i) patient.send(large(i)).value();
  reader.join();
  CHECK(recorder.missed() == 0);
}

TEST_CASE("a reader of the list that never came, or that is gone, is waited for where it stood; taken out it is not") {
  Bus bus;
  Topic<std::string> topic{bus, "t", listing(OnFull::fail, {"late"})};
  Producer producer{topic};
  const int sent = fill_up(producer);
  {
    Consumer late{topic,
                  {.name = "late", .max_poll_records = 5}};  // from the first record on, although reset is latest
    CHECK(late.poll(0ms).size() >= 1);
    CHECK(late.poll(0ms).size() >= 1);
  }
  int more = fill_up(producer, sent);
  {
    Consumer late{topic, {.name = "late"}};  // goes on with what was polled last
    const auto read = read_all_numbers(late);
    REQUIRE_FALSE(read.empty());
    CHECK(read.front() > 0);
    CHECK(read.front() < 5);
    CHECK(read.back() == sent + more - 1);
  }
  Admin admin{bus};
  auto config = admin.describe_topic("t").value().config;
  CHECK(config.readers.contains("late"));
  config.readers = {};
  admin.alter_topic("t", config).value();
  for (int i = 0; i < 50; ++i) producer.send(large(i)).value();
}

TEST_CASE(
    "who is not on the list stops nobody, and is told what it missed; what a named one missed is counted for it") {
  Bus bus;
  Topic<std::string> topic{bus, "t", listing(OnFull::fail, {"fast"})};
  Consumer fast{topic, {.name = "fast"}};
  Consumer slow{topic, {.auto_offset_reset = OffsetReset::earliest, .name = "slow"}};
  Consumer nameless{topic, from(OffsetReset::earliest)};
  Producer producer{topic};
  for (int i = 0; i < 60; ++i) {
    producer.send(large(i)).value();
    (void)read_all_numbers(fast);
  }
  CHECK(fast.missed() == 0);
  for (auto* one : {&slow, &nameless}) {
    const auto read = read_all_numbers(*one);
    CHECK(one->missed() > 0);
    CHECK(read.size() + one->missed() == 60);
  }
  auto& files = *topic.files();
  const auto trace = detail::ReaderFile::open(files.directory(), detail::ReaderFile::name_of("slow"), 1, false).value();
  CHECK(trace.entry(0)->missed.load(shm::relaxed) == slow.missed());
}

TEST_CASE("a name belongs to one live consumer of a topic, is as a topic's, and a reader may not only read") {
  const TempDir dir;
  Bus bus{(dir / "bus").string()};
  Topic<std::string> topic{bus, "t"};
  {
    Consumer first{topic, {.name = "one"}};
    CHECK(Consumer<std::string>::open(topic, {.name = "one"}).error() == Errc::busy);
    CHECK(Consumer<std::string>::open(topic, {.name = "two"}).has_value());
  }
  CHECK(Consumer<std::string>::open(topic, {.name = "one"}).has_value());
  for (const std::string& name : {std::string{"a/b"}, std::string{".."}, std::string(241, 'x')})
    CHECK(Consumer<std::string>::open(topic, {.name = name}).error() == Errc::invalid_argument);
  auto reading = Bus::open((dir / "bus").string(), {.read_only = true}).value();
  const auto same = Topic<std::string>::open(reading, "t").value();
  CHECK(Consumer<std::string>::open(same, {.name = "three"}).error() == Errc::read_only);
}

TEST_CASE("a consumer whose name is known makes no file in the topic's folder, also when it is refused") {
  const TempDir dir;
  Bus bus{(dir / "bus").string()};
  Topic<std::string> topic{bus, "t"};
  const auto open = [&] { return Consumer<std::string>::open(topic, {.name = "one"}); };
  CHECK(open().has_value());
  const auto folder = dir / "bus/topics/t";
  const auto before = std::filesystem::last_write_time(folder) - 1h;
  std::filesystem::last_write_time(folder, before);
  const auto first = open();
  CHECK(first.has_value());
  CHECK(open().error() == Errc::busy);
  CHECK(std::filesystem::last_write_time(folder) == before);
  CHECK(Consumer<std::string>::open(topic, {.name = "two"}).has_value());
  CHECK(std::filesystem::last_write_time(folder) > before);
}

TEST_CASE("a named consumer of several topics stands in each of them, and in partitions that come later") {
  Bus bus;
  Topic<std::string> a{bus, "a"}, b{bus, "b"};
  Producer to_a{a}, to_b{b};
  send_texts(to_a, 0, 3);
  send_texts(to_b, 0, 3);
  const ConsumerConfig config{.topics = {"a", "b"}, .auto_offset_reset = OffsetReset::earliest, .name = "n"};
  {
    Consumer<std::string> reader{bus, config};
    CHECK(read_texts(reader, 6).size() == 6);
    Admin{bus}.create_partitions("a", 3).value();
    send_texts(to_a, 10, 12, 2);
    CHECK(read_texts(reader, 2) == numbers(10, 12));
    (void)reader.poll(0ms);
  }
  send_texts(to_a, 3, 4);
  send_texts(to_b, 3, 4);
  Consumer<std::string> again{bus, config};
  CHECK(read_texts(again, 2) == std::vector<std::string>{"3", "3"});
  CHECK(again.poll(0ms).empty());
}

TEST_CASE("a reader that is waited for goes on at the first record that is left when others were deleted before it") {
  Bus bus;
  Topic<std::string> topic{bus, "t", listing(OnFull::fail, {"recorder"})};
  Consumer recorder{topic, {.name = "recorder"}};
  Producer producer{topic};
  for (int i = 0; i < 8; ++i) producer.send(large(i)).value();
  CHECK(Admin{bus}.delete_records("t", {0}, Offset{5}).value() == Offset{5});
  CHECK(read_all_numbers(recorder) == std::vector<int>{5, 6, 7});
  CHECK(recorder.missed() == 5);
}
