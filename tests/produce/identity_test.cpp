// Producers with an id: their records carry it with a sequence number, and whoever takes the id over knows how far the
// log has them.
#include <support/support.hpp>

#include <doctest/doctest.h>

#include <towpath/towpath.hpp>

using namespace towpath;
using namespace towpath::literals;
using namespace towpath::test;

namespace {

using Marks = std::vector<log::ProducerMark>;

template <class T>
Marks marks_in(const Topic<T>& topic) {
  Consumer<T> consumer{topic, {.auto_offset_reset = OffsetReset::earliest}};
  Marks marks;
  for (auto batch = consumer.poll(0ms); !batch.empty(); batch = consumer.poll(0ms))
    for (const auto& record : batch) marks.push_back(record.producer());
  return marks;
}
log::ProducerMark mark(std::int64_t id, std::int32_t sequence) { return {id, sequence, 0, 0}; }

}  // namespace

TEST_CASE("records carry the producer's id and a number that rises by one; those of a producer without id do not") {
  Bus bus;
  Topic<std::int64_t> topic{bus, "t"};
  Producer producer{topic, {.id = 7}};
  CHECK_FALSE(producer.last_sequence().value());
  Producer nobody{topic};
  producer.send(1).value();
  nobody.send(2).value();
  producer.send_tombstone({.key = "k"}).value();
  producer.send_batch(std::vector<std::int64_t>{3, 4, 5}).value();
  auto text = Topic<std::string>{bus, "s"};
  Producer writer{text, {.id = 7}};  // of another topic
  auto loan = writer.loan(5).value();
  writer.send(std::move(loan)).value();
  CHECK(marks_in(topic) == Marks{mark(7, 0), {}, mark(7, 1), mark(7, 2), mark(7, 3), mark(7, 4)});
  CHECK(marks_in(text) == Marks{mark(7, 0)});
  CHECK(producer.last_sequence().value() == 4);
  CHECK(nobody.last_sequence().error() == Errc::invalid_argument);
}

TEST_CASE("an id belongs to one live producer of a topic at a time") {
  Bus bus;
  Topic<std::int64_t> topic{bus, "t"};
  {
    Producer first{topic, {.id = 1}};
    CHECK(Producer<std::int64_t>::open(topic, {.id = 1}).error() == Errc::busy);
    CHECK(Producer<std::int64_t>::open(topic, {.id = 2}).has_value());
  }
  CHECK(Producer<std::int64_t>::open(topic, {.id = 1}).has_value());
  for (const std::int64_t id : {std::int64_t{-2}, ProducerConfig::max_id + 1})
    CHECK(Producer<std::int64_t>::open(topic, {.id = id}).error() == Errc::invalid_argument);
  CHECK(Producer<std::int64_t>::open(topic, {.id = ProducerConfig::max_id}).has_value());
}

TEST_CASE("who takes an id over goes on behind the last record of it, in whatever partition that is") {
  Bus bus;
  Topic<std::int64_t> topic{bus, "t", {.partitions = 4}};
  for (std::int32_t round = 0; round < 6; ++round) {
    Producer producer{topic, {.id = 5}};
    CHECK(producer.last_sequence().value() == (round == 0 ? std::nullopt : std::optional{2 * round - 1}));
    producer.send(round, {.partition = PartitionId{round % 4}}).value();
    producer.send(round, {.partition = PartitionId{(round + 1) % 4}}).value();
    Producer other{topic, {.id = 6}};
    other.send_batch(std::vector<std::int64_t>(10)).value();
  }
}

TEST_CASE("its last record is found in an older segment, too") {
  Bus bus;
  Topic<std::string> topic{bus, "t", {.segment_bytes = 256_KiB}};
  Producer nobody{topic};
  const std::string filler(10'000, 'x');
  for (std::int32_t round = 0; round < 3; ++round) {
    {
      Producer producer{topic, {.id = 5}};
      CHECK(producer.last_sequence().value() == (round == 0 ? std::nullopt : std::optional{2 * round - 1}));
      producer.send("a").value();
      producer.send("b").value();
    }
    for (int i = 0; i < 80; ++i) nobody.send(filler).value();  // three segments
  }
  CHECK(Producer<std::string>::open(topic, {.id = 5}).value().last_sequence().value() == 5);
  CHECK(Producer<std::string>::open(topic, {.id = 6}).value().last_sequence().value() == std::nullopt);
}

TEST_CASE("a number that the log has is a duplicate and appends nothing; a gap is fine") {
  Bus bus;
  Topic<std::int64_t> topic{bus, "t"};
  Producer producer{topic, {.id = 5}};
  producer.send(0, {.sequence = 10}).value();
  for (const std::int32_t sequence : {0, 9, 10})
    CHECK(producer.send(1, {.sequence = sequence}).error() == Errc::duplicate_sequence);
  CHECK(producer.send(1, {.sequence = -1}).error() == Errc::invalid_argument);
  CHECK(producer.send(1, {.sequence = 10 + (1 << 30)}).error() == Errc::duplicate_sequence);  // as if it were behind
  CHECK(producer.send_batch(std::vector<std::int64_t>{1, 2}, {.sequence = 10}).error() == Errc::duplicate_sequence);
  producer.send_batch(std::vector<std::int64_t>{1, 2}, {.sequence = 20}).value();
  CHECK(producer.send(1, {.sequence = 21}).error() == Errc::duplicate_sequence);
  producer.send(3).value();
  CHECK(marks_in(topic) == Marks{mark(5, 10), mark(5, 20), mark(5, 21), mark(5, 22)});
}

TEST_CASE("behind 2^31 - 1 sequence numbers begin again") {
  constexpr std::int32_t last = 2'147'483'647;
  CHECK((log::is_after(0, last) && !log::is_after(last, 0) && log::is_after(5, 3) && !log::is_after(3, 3)));
  Bus bus;
  Topic<std::int64_t> topic{bus, "t"};
  {
    Producer producer{topic, {.id = 5}};
    producer.send(0, {.sequence = 1'000'000'000}).value();
    producer.send(0, {.sequence = 2'000'000'000}).value();
    producer.send(0, {.sequence = last - 1}).value();
    producer.send_batch(std::vector<std::int64_t>(3)).value();
    CHECK(producer.last_sequence().value() == 1);
  }
  Producer producer{topic, {.id = 5}};
  CHECK(producer.last_sequence().value() == 1);
  CHECK(producer.send(0, {.sequence = last}).error() == Errc::duplicate_sequence);
  producer.send(0).value();
  CHECK(marks_in(topic).back() == mark(5, 2));
}
