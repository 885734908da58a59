// What was found by trying to break the library, one case per defect.
#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <thread>

#include <towpath/towpath.hpp>

using namespace towpath;
using namespace towpath::literals;
using namespace std::chrono_literals;

namespace {

struct Value {
  std::uint64_t number;
};

/// The header of the segment at `base`, through a map of its own.
log::SegmentHeader& header_of(const log::PartitionLog& log, std::uint64_t base) {
  static log::Segment keeps;
  keeps = log.open(base, log::Use::append).value();
  return *keeps.header;
}

/// Appends a record whose value has three bytes, which is no integer. Returns its offset.
Offset append_no_number(log::Appender& appender) {
  return appender.append(19, [](std::byte* frame, std::uint64_t, const log::Segment&) { std::memset(frame, 0, 19); })
      .value();
}

}  // namespace

TEST_CASE("a bus in memory leaves no map behind when its last user goes") {
  const auto before = shm::RegionCache::instance().size();
  for (int round = 0; round < 5; ++round) {
    Bus bus;
    Topic<Value> topic{bus, "t"};
    Producer producer{topic};
    Consumer consumer{topic, {.auto_offset_reset = OffsetReset::earliest}};
    for (std::uint64_t i = 0; i < 100'000; ++i) producer.send({i}).value();
    CHECK(consumer.poll(1s).size() > 0);
  }
  CHECK(shm::RegionCache::instance().size() == before);
}

TEST_CASE("a size that no record can have is refused, also when its sum with the key overflows") {
  Bus bus;
  Topic<Bytes> topic{bus, "t"};
  Producer producer{topic};
  const std::string key(1'000, 'k');
  for (const std::size_t size : {~std::size_t{0}, std::size_t{0} - 4, std::size_t{0} - 1'000, std::size_t{1} << 32})
    CHECK(producer.loan(size, {.key = key}).error() == Errc::message_too_large);
  CHECK(producer.send(Bytes{"fine"}).has_value());
}

TEST_CASE("a segment that says it was sealed without a slot is corrupt, and nobody goes round for ever") {
  Bus bus = Bus::open_in_memory({.maintenance = MaintenanceMode::manual}).value();
  Topic<Value> topic{bus, "t"};
  Producer producer{topic};
  Consumer consumer{topic, {.auto_offset_reset = OffsetReset::earliest}};
  producer.send({7}).value();
  CHECK(consumer.poll(1s).size() == 1);
  header_of(**topic.files()->partition({0}), 0).sealed.store(1, shm::release);
  CHECK(consumer.poll(100ms).error() == Errc::corrupt);
  CHECK(consumer.end_offsets().error() == Errc::corrupt);
}

TEST_CASE("a segment that is missing from the log, the first or a later one, is corrupt, not silence") {
  std::size_t missing = 0;
  SUBCASE("the first") { missing = 0; }
  SUBCASE("the second") { missing = 1; }
  Bus bus = Bus::open_in_memory({.maintenance = MaintenanceMode::manual}).value();
  Topic<Bytes> topic{bus, "t", {.segment_bytes = 256_KiB}};
  Producer producer{topic};
  const std::string text(50'000, 'x');
  for (int i = 0; i < 15; ++i) producer.send(Bytes{text}).value();
  const auto* log = *topic.files()->partition({0});
  const auto bases = log->bases().value();
  REQUIRE(bases.size() > 3);
  log->directory().remove(log->segment_name(bases[missing]).data()).value();
  Consumer consumer{topic, {.auto_offset_reset = OffsetReset::earliest}};
  if (missing > 0) CHECK(consumer.poll(1s).size() > 0);
  CHECK(consumer.poll(100ms).error() == Errc::corrupt);
}

TEST_CASE("handles that were moved from say so") {
  Bus bus;
  Topic<Value> topic{bus, "t"};
  Producer producer{topic};
  Consumer consumer{topic};
  auto other_producer = std::move(producer);
  auto other_consumer = std::move(consumer);
  CHECK(producer.send({1}).error() == Errc::closed);
  CHECK(producer.flush().error() == Errc::closed);
  CHECK(producer.send(other_producer.loan().value()).error() == Errc::closed);
  CHECK(consumer.poll(10ms).error() == Errc::closed);
  CHECK(consumer.assign({{0}}).error() == Errc::closed);
  CHECK(consumer.assignment().empty());
  CHECK(consumer.seek({0}, {0}).error() == Errc::closed);
  CHECK(consumer.position({0}).error() == Errc::closed);
  CHECK(consumer.pause({0}).error() == Errc::closed);
  CHECK(consumer.seek_to_end().error() == Errc::closed);
  CHECK(consumer.end_offsets().error() == Errc::closed);
  CHECK(consumer.offsets_for_times({}).error() == Errc::closed);
  consumer.wakeup();
  other_producer.send({1}).value();
  auto batch = other_consumer.poll(1s);
  REQUIRE(batch.size() == 1);
  const auto kept = std::move(batch);
  CHECK(kept.size() == 1);
  CHECK(batch.empty());
  CHECK((batch.begin() == batch.end()));
}

TEST_CASE("regression_005: an assignment that is refused changes nothing, and a partition named twice is read once") {
  Bus bus;
  Topic<Value> topic{bus, "t", {.partitions = 3}};
  Consumer consumer{topic, {.partitions = {{0}}}};
  CHECK(consumer.assign({{1}, {9}}).error() == Errc::unknown_partition);
  CHECK(consumer.assignment() == std::vector<TopicPartition>{{"t", {0}}});
  consumer.assign({{2}, {0}, {2}}).value();
  CHECK(consumer.assignment() == std::vector<TopicPartition>{{"t", {2}}, {"t", {0}}});
}

TEST_CASE("regression_006: a seek just past the end, while records come, is no error and misses nothing") {
  Bus bus;
  Topic<Value> topic{bus, "t"};
  std::atomic<bool> stop{false};
  std::thread writer{[&] {
    for (Producer producer{topic}; !stop;) producer.send({1}).value();
  }};
  Consumer consumer{topic};
  std::uint64_t wrong = 0;
  for (int i = 0; i < 20'000; ++i) {
    const auto end = consumer.end_offsets().value()[0].offset;
    consumer.seek({0}, Offset{end.value + 1 + i % 3}).value();
    const auto batch = consumer.poll(Duration::zero());
    wrong += batch.error().code != Errc::ok || batch.missed() != 0;
  }
  stop = true;
  writer.join();
  CHECK(wrong == 0);
}

TEST_CASE("regression_007: a last segment that is gone or damaged is corrupt for writers and readers, at once") {
  for (const bool gone : {true, false}) {
    CAPTURE(gone);
    Bus bus = Bus::open_in_memory({.maintenance = MaintenanceMode::manual}).value();
    Topic<Bytes> topic{bus, "t", {.segment_bytes = 256_KiB}};
    const auto* log = *topic.files()->partition({0});
    const std::string text(50'000, 'x');
    {
      Producer producer{topic};
      for (int i = 0; i < 8; ++i) producer.send(Bytes{text}).value();
    }
    const auto last = log->bases().value().back();
    REQUIRE(last > 0);
    if (gone)
      log->directory().remove(log->segment_name(last).data()).value();
    else
      header_of(*log, last).base.store(7, shm::seq_cst);
    Producer producer{topic};
    CHECK(producer.send(Bytes{text}).error() == Errc::corrupt);
    Consumer consumer{topic, {.auto_offset_reset = OffsetReset::none}};
    consumer.seek({0}, Offset{static_cast<std::int64_t>(last)}).value();
    CHECK(consumer.poll(10ms).error() == Errc::corrupt);
  }
}

TEST_CASE("regression_008: error_offset() is the record in the way, behind aborted ones, and one seek goes past it") {
  Bus bus;
  Topic<std::int64_t> numbers = Topic<std::int64_t>::open(bus, "numbers").value();
  const auto* log = *numbers.files()->partition({0});
  auto member = bus.core()->claim(shm::MemberKind::producer, "test").value();
  log::Appender appender{*log, member};
  Producer producer{numbers};
  producer.send(1).value();
  for (int i = 0; i < 3; ++i) appender.abandon(appender.reserve(40).value());
  const auto bad = append_no_number(appender);
  producer.send(2).value();
  Consumer consumer{numbers, {.auto_offset_reset = OffsetReset::earliest}};
  CHECK(consumer.poll(10ms).size() == 1);
  const auto batch = consumer.poll(10ms);
  CHECK(batch.error() == Errc::undecodable);
  CHECK(batch.error_offset() == bad);
  consumer.seek({0}, Offset{batch.error_offset().value + 1}).value();
  CHECK(consumer.poll(10ms).size() == 1);
}

TEST_CASE("regression_009: a loop that ended at an error goes on after a seek") {
  Bus bus;
  Topic<std::int64_t> numbers{bus, "t"};
  const auto* log = *numbers.files()->partition({0});
  auto member = bus.core()->claim(shm::MemberKind::producer, "test").value();
  log::Appender appender{*log, member};
  append_no_number(appender);
  Producer{numbers}.send(2).value();
  Consumer consumer{numbers, {.auto_offset_reset = OffsetReset::earliest, .consumer_timeout = 0ms}};
  for ([[maybe_unused]] const auto& record : consumer) FAIL("the first record is no number");
  consumer.seek({0}, {1}).value();
  std::int64_t seen = 0;
  for (const auto& record : consumer) seen += record.value();
  CHECK(seen == 2);
}

TEST_CASE("a topic is deleted wholly or not at all when no member line is free") {
  Bus bus = Bus::open_in_memory({.maintenance = MaintenanceMode::manual}).value();
  Topic<Value> topic{bus, "t"};
  Producer producer{topic};
  std::vector<shm::Member> all;
  for (auto member = bus.core()->claim(shm::MemberKind::consumer, "full"); member;
       member = bus.core()->claim(shm::MemberKind::consumer, "full"))
    all.push_back(std::move(*member));
  CHECK(Admin{bus}.delete_topic("t").error() == Errc::too_many_members);
  CHECK(producer.send({1}).has_value());
  all.clear();
  CHECK(Admin{bus}.delete_topic("t").has_value());
  CHECK(Admin{bus}.list_topics().value().empty());
}

TEST_CASE("a record that a hostile writer made shorter after it was polled is skipped, not read past its end") {
  Bus bus;
  Topic<std::int64_t> topic{bus, "t"};
  Producer<std::int64_t> producer{topic};
  for (std::int64_t i = 0; i < 3; ++i) producer.send(i).value();
  Consumer<std::int64_t> consumer{topic, {.auto_offset_reset = OffsetReset::earliest}};
  const auto batch = consumer.poll(0ms);
  REQUIRE(batch.size() == 3);
  auto segment = topic.files()->partition({0}).value()->open(0, log::Use::append).value();
  const std::uint64_t slot = segment.slots[1].load(shm::relaxed);
  segment.slots[1].store(log::Slot::make(log::Slot::committed, log::Slot::position(slot), 20), shm::relaxed);
  std::vector<std::int64_t> values;
  for (const auto& record : batch) values.push_back(record.value());
  CHECK(values == std::vector<std::int64_t>{0, 2});
}
