// What was found by trying to break the library, one case per defect.
#include <doctest/doctest.h>

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
  CHECK(consumer.assignment() == std::vector<PartitionId>{{0}});
  consumer.assign({{2}, {0}, {2}}).value();
  CHECK(consumer.assignment() == std::vector<PartitionId>{{2}, {0}});
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
