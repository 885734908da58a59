// What recovery keeps, what it cuts, who does it and who waits; and that it may be killed at every step.
#include <topic/topic_support.hpp>

#include <towpath/consume/consumer.hpp>
#include <towpath/produce/producer.hpp>

using namespace towpath;
using namespace towpath::test;

namespace {

using Words = Topic<std::string>;
using WordProducer = Producer<std::string>;
namespace fs = std::filesystem;

/// A bus that lies on what the library takes for a disk, closed: to be damaged, then opened again.
struct Rebooted {
  Rebooted() { FlushPolicy::tmpfs_is_a_disk = true; }
  ~Rebooted() { FlushPolicy::tmpfs_is_a_disk = false; }
  Rebooted(const Rebooted&) = delete;
  Rebooted& operator=(const Rebooted&) = delete;

  /// `count` records of `size` bytes in topic "t", that is, a few segments of 256 KiB where they are large.
  void prepare(std::uint64_t count, std::size_t size = 100, DurabilityKind kind = DurabilityKind::each) const {
    auto bus = open_bus(path.string());
    Words topic{
        bus, "t", {.segment_bytes = 256_KiB, .retention = {.age = towpath::Duration::max()}, .durability = {kind}}};
    WordProducer producer{topic};
    for (std::uint64_t i = 0; i < count; ++i) producer.send(record_text(i, size)).value();
    bases = must(log_of(topic).bases());
  }
  void restart() const {
    const char other[40] = "another start";
    poke(path / "ctl", offsetof(towpath::detail::ControlHeader, boot_id), other, sizeof other);
  }
  void set_word(std::size_t at, std::uint64_t value) const {
    poke(path / "topics/t/state", log::blocks_offset + at, &value, sizeof value);
  }
  fs::path segment(std::uint64_t base) const {
    char name[32];
    std::snprintf(name, sizeof name, "%020llu.log", static_cast<unsigned long long>(base));
    return path / "topics/t/0" / name;
  }
  /// Overwrites the last byte of the frame of slot `n`.
  void damage(std::uint64_t base, std::uint64_t n) const {
    const auto bytes = slurp(segment(base));
    std::uint64_t slot = 0;
    std::uint64_t data = 0;
    std::memcpy(&slot, bytes.data() + log::slots_offset + n * 8, 8);
    std::memcpy(&data, bytes.data() + offsetof(log::SegmentHeader, data_offset), 8);
    const std::size_t at = data + log::Slot::position(slot) + log::Slot::length(slot) - 1;
    const char other = static_cast<char>(bytes[at] + 1);
    poke(segment(base), at, &other, 1);
  }

  TempDir dir;
  fs::path path = dir / "bus";
  mutable std::vector<std::uint64_t> bases;
};

std::uint64_t word(const Words& topic, shm::Word64 log::PartitionState::*at) {
  return (log_of(topic).state().*at).load(shm::seq_cst);
}
std::size_t orphans(const fs::path& path) {
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator{path / "topics/t/0"}) count += entry.path().extension() == ".orphan";
  return count;
}

/// Opens the bus: `count` records are there, and the next ones follow.
void expect_prefix(const fs::path& path, std::uint64_t count) {
  auto bus = open_bus(path.string());
  Words topic{bus, "t"};
  auto records = read_topic(topic);
  CHECK(check_sequence(records, 0) == count);
  put_records(topic, count, 5);
  records = read_topic(topic);
  CHECK(check_sequence(records, 0) == count + 5);
  CHECK(word(topic, &log::PartitionState::hint) <= word(topic, &log::PartitionState::resolved_to));
}

/// One segment, whose slots and frames a test writes itself.
struct Slots {
  Slots() : bench{LogOptions{.format = {.checksummed = true}}} {
    auto member = bench.claim();
    log::Appender appender{bench.log(), member};
    put(appender, 0);
    segment = must(bench.log().open(0, log::Use::append));
  }
  /// A frame of a few bytes, with a count if it heads a batch; returns where it stands.
  std::uint64_t frame(std::uint64_t n, std::uint16_t flags, std::uint32_t count, std::uint64_t keyed_as) const {
    const std::uint64_t position = n * 64;
    std::byte* at = segment.data + position;
    const log::FrameHeader header{0, flags, 0, 5};
    std::memcpy(at, &header, sizeof header);
    std::memcpy(at + sizeof header, &count, sizeof count);
    log::seal_frame(at, 40, segment.uuid, keyed_as);
    return position;
  }
  void slot(std::uint64_t n, std::uint64_t value) const { segment.slots[n].store(value, shm::release); }
  LogBench bench;
  log::Segment segment;
};

}  // namespace

TEST_CASE("a run is whole with all of its slots, or not at all") {
  const Slots one;
  const auto& segment = one.segment;
  const auto committed = [](std::uint64_t at) { return log::Slot::make(log::Slot::committed, at, 40); };
  const auto continued = [](std::uint64_t at) { return log::Slot::make(log::Slot::continued, at, 40); };
  CHECK(whole_slots(segment, 0) == 1);
  CHECK(whole_slots(segment, 1) == 0);  // empty
  one.slot(1, log::Slot::aborted_in(segment.uuid));
  CHECK(whole_slots(segment, 1) == 1);
  one.slot(1, log::Slot::aborted_in(segment.uuid + 4));  // of another incarnation
  CHECK(whole_slots(segment, 1) == 0);
  // Three native records in one batch.
  one.slot(10, committed(one.frame(10, log::frame_head, 3, 10)));
  CHECK(whole_slots(segment, 10) == 0);
  one.slot(11, continued(one.frame(11, 0, 0, 11)));
  one.slot(12, continued(one.frame(12, 0, 0, 12)));
  CHECK(whole_slots(segment, 10) == 3);
  CHECK(whole_slots(segment, 11) == 0);  // no run begins there
  one.slot(12, continued(one.frame(12, 0, 0, 99)));
  CHECK(whole_slots(segment, 10) == 0);
  one.slot(12, committed(one.frame(12, 0, 0, 12)));
  CHECK(whole_slots(segment, 10) == 0);
  // A Kafka batch of three: its frame covers all, and each slot names it.
  one.slot(20, committed(one.frame(20, log::frame_head | log::frame_batch, 3, 20)));
  for (const std::uint64_t n : {21u, 22u}) one.slot(n, continued(20 * 64));
  CHECK(whole_slots(segment, 20) == 3);
  one.slot(22, continued(21 * 64));
  CHECK(whole_slots(segment, 20) == 0);
  // A batch that was given up, and what had been written of it.
  one.slot(30, log::Slot::aborted_in(segment.uuid));
  one.slot(31, continued(31 * 64));
  CHECK(whole_slots(segment, 30) == 2);
  // A count that leads out of the segment, or makes no sense.
  const std::uint64_t last = segment.slot_count - 1;
  one.slot(last, committed(one.frame(40, log::frame_head, 2, last)));
  CHECK(whole_slots(segment, last) == 0);
  one.slot(41, committed(one.frame(41, log::frame_head, 0, 41)));
  CHECK(whole_slots(segment, 41) == 0);
  one.slot(42, log::Slot::make(log::Slot::committed, segment.capacity, 40));
  CHECK(whole_slots(segment, 42) == 0);
}

TEST_CASE("after a restart a log that is whole stays as it is, and goes on") {
  const Rebooted disk;
  disk.prepare(100, 20'000);
  disk.restart();
  expect_prefix(disk.path, 100);
  CHECK(orphans(disk.path) == 0);
}

TEST_CASE("the log is cut at the first record that is not whole, and a consumer behind the cut is told") {
  const Rebooted disk;
  disk.prepare(20, 100, DurabilityKind::none);
  disk.damage(0, 12);
  disk.restart();
  {
    auto bus = open_bus(disk.path.string());
    Words topic{bus, "t"};
    CHECK(check_sequence(read_topic(topic), 0) == 12);
    CHECK(word(topic, &log::PartitionState::durable_to) == 12);
    CHECK(word(topic, &log::PartitionState::log_epoch) == 1);
    Consumer<std::string> consumer{topic, {.auto_offset_reset = OffsetReset::earliest}};
    consumer.seek({0}, Offset{15}).value();
    auto batch = consumer.poll(std::chrono::milliseconds{200});
    CHECK(batch.empty());
    CHECK(batch.error() == Errc::log_truncated);
    CHECK(batch.error_offset() == Offset{12});
    WordProducer{topic}.send("after").value();
    auto next = consumer.poll(std::chrono::seconds{2});
    REQUIRE(next.size() == 1);
    CHECK(next.begin()->value() == "after");
  }
  disk.restart();  // again, although nothing was lost
  auto bus = open_bus(disk.path.string());
  CHECK(word(Words{bus, "t"}, &log::PartitionState::log_epoch) == 2);
}

TEST_CASE("what was durable is not looked at again, unless durable_to cannot be true") {
  const Rebooted disk;
  disk.prepare(20);
  disk.damage(0, 3);
  disk.restart();
  {
    auto bus = open_bus(disk.path.string());
    CHECK(word(Words{bus, "t"}, &log::PartitionState::resolved_to) == 20);
  }
  disk.set_word(offsetof(log::PartitionState, durable_to), 1'000);
  disk.restart();
  auto bus = open_bus(disk.path.string());
  CHECK(word(Words{bus, "t"}, &log::PartitionState::resolved_to) == 3);
}

TEST_CASE("words that a power cut left wrong do no harm") {
  const Rebooted disk;
  disk.prepare(60, 20'000);
  for (const std::size_t at : {offsetof(log::PartitionState, hint), offsetof(log::PartitionState, resolved_to),
                               offsetof(log::PartitionState, live_bytes), offsetof(log::PartitionState, flusher),
                               offsetof(log::PartitionState, durable_to)}) {
    CAPTURE(at);
    for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{7}, ~std::uint64_t{0} >> 20}) {
      disk.set_word(at, value);
      disk.restart();
      auto bus = open_bus(disk.path.string());
      Words topic{bus, "t"};
      CHECK(check_sequence(read_topic(topic), 0) == 60);
      CHECK(word(topic, &log::PartitionState::live_bytes) == (disk.bases.size()) * 256_KiB);
    }
  }
  expect_prefix(disk.path, 60);
}

TEST_CASE("segments behind a cut are put aside, never removed, until retention has passed them") {
  const Rebooted disk;
  disk.prepare(60, 20'000, DurabilityKind::none);
  REQUIRE(disk.bases.size() > 3);
  const auto kept = disk.bases[1] + 2;
  disk.damage(disk.bases[1], 2);
  disk.restart();
  expect_prefix(disk.path, kept);
  CHECK(orphans(disk.path) == disk.bases.size() - 2);
  auto bus = open_bus(disk.path.string());
  Words topic{bus, "t"};
  Admin{bus}.alter_topic("t", {.segment_bytes = 256_KiB, .retention = {.bytes = 512_KiB}}).value();
  put_records(topic, 1'000, 100, 0, 20'000);
  must(bus.maintain());
  must(bus.maintain());
  REQUIRE(word(topic, &log::PartitionState::log_start) > disk.bases.back());
  CHECK(orphans(disk.path) == 0);
}

TEST_CASE("a seal that was lost is known by the next segment's name") {
  const Rebooted disk;
  disk.prepare(60, 20'000, DurabilityKind::none);
  const std::uint64_t open = 0;
  poke(disk.segment(0), offsetof(log::SegmentHeader, sealed), &open, sizeof open);
  disk.restart();
  expect_prefix(disk.path, 60);
}

TEST_CASE("a log whose last segments are all gone goes on where it had come to") {
  const Rebooted disk;
  disk.prepare(60, 20'000);
  for (const auto base : disk.bases) fs::remove(disk.segment(base));
  disk.set_word(offsetof(log::PartitionState, log_start), disk.bases[2]);
  disk.set_word(offsetof(log::PartitionState, durable_to), disk.bases[2]);
  disk.restart();
  auto bus = open_bus(disk.path.string());
  Words topic{bus, "t"};
  CHECK(read_topic(topic).empty());
  put_records(topic, 0, 3);
  const auto records = read_topic(topic);
  REQUIRE(check_sequence(records, 0) == 3);
  CHECK(records.front().offset == disk.bases[2]);
}

TEST_CASE("what only the dead needed is removed, and what they said of themselves is forgotten") {
  const Rebooted disk;
  disk.prepare(5);
  const auto topic = disk.path / "topics/t";
  for (const auto& name : {topic / "0/own.3.1.7", topic / "0/spare.0", topic / "0/.tmp-1", topic / ".tmp-2",
                           disk.path / ".tmp-3", topic / "0" / "00000000000000000000.timeindex"})
    spill(name, "left");
  fs::create_directory(disk.path / "topics/~new-1.1.0");
  fs::create_directories(disk.path / "topics/~gone-1.1.0/0");
  const std::uint64_t full = ~std::uint64_t{0};
  poke(topic / "wait", log::blocks_offset, &full, sizeof full);
  poke(disk.path / "ctl", sizeof(towpath::detail::ControlHeader), &full, sizeof full);
  disk.restart();
  expect_prefix(disk.path, 5);
  auto bus = open_bus(disk.path.string());
  for (const auto& entry : fs::recursive_directory_iterator{disk.path}) {
    const auto name = entry.path().filename().string();
    CHECK_FALSE((name.starts_with("own.") || name.starts_with("spare.") || name.starts_with(".tmp-") ||
                 name.starts_with("~") || name.ends_with(".timeindex")));
  }
  CHECK(log_of(Words{bus, "t"}).waits()->mask.load(shm::relaxed) == 0);
  CHECK(bus.core()->members()->line(0).inflight.load(shm::relaxed) == 0);
}

TEST_CASE("a topic that was being deleted is gone after a restart, and one that is damaged stops no other") {
  const Rebooted disk;
  disk.prepare(5);
  {
    auto bus = open_bus(disk.path.string());
    Words doomed{bus, "doomed", {.partitions = 3}};
    Words damaged{bus, "damaged"};
    log_of(doomed, 2).state().flags.fetch_or(log::partition_deleted, shm::seq_cst);
  }
  spill(disk.path / "topics/damaged/config", "nonsense");
  disk.restart();
  expect_prefix(disk.path, 5);
  CHECK_FALSE(fs::exists(disk.path / "topics/doomed"));
  auto bus = open_bus(disk.path.string());
  CHECK(Words::open(bus, "damaged").error() == Errc::corrupt);
}

TEST_CASE("a bus that lost its ctl is recovered, not taken for whole") {
  const Rebooted disk;
  disk.prepare(20, 100, DurabilityKind::none);
  disk.damage(0, 12);
  fs::remove(disk.path / "ctl");
  expect_prefix(disk.path, 12);
}

TEST_CASE("numbers that were handed out before a restart are not handed out again") {
  const Rebooted disk;
  disk.prepare(5);
  const std::uint64_t none = 0;
  poke(disk.path / "ctl", offsetof(towpath::detail::ControlHeader, next_uid), &none, sizeof none);
  disk.restart();
  auto bus = open_bus(disk.path.string());
  Words first{bus, "t"};
  Words second{bus, "second"};
  CHECK(log_of(second).uid() > log_of(first).uid());
  CHECK(bus.core()->control().next_producer_id.load(shm::relaxed) >= std::uint64_t{1} << 32);
}

TEST_CASE("slots of a file's earlier life behind a seal that is on the disk are cleared") {
  const Rebooted disk;
  disk.prepare(1'000, 1'000);
  REQUIRE(disk.bases.size() > 1);
  const std::uint64_t count = disk.bases[1];  // slots of the first segment
  const auto bytes = slurp(disk.segment(0));
  std::uint64_t slot_count = 0;
  std::memcpy(&slot_count, bytes.data() + offsetof(log::SegmentHeader, slot_count), 8);
  REQUIRE(slot_count > count);
  poke(disk.segment(0), log::slots_offset + count * 8, bytes.data() + log::slots_offset, 8);  // as of record 0
  disk.restart();
  expect_prefix(disk.path, 1'000);
}

TEST_CASE("a named reader's place that came to the disk before the records is cut back to the end") {
  const Rebooted disk;
  {
    auto bus = open_bus(disk.path.string());
    Words topic{bus, "t", {.on_full = OnFull::block, .readers = {"recorder"}, .durability = {DurabilityKind::none}}};
    WordProducer producer{topic};
    for (std::uint64_t i = 0; i < 20; ++i) producer.send(record_text(i, 100)).value();
    Consumer recorder{topic, {.auto_offset_reset = OffsetReset::earliest, .name = "recorder"}};
    CHECK(recorder.poll(std::chrono::milliseconds{0}).size() == 20);
    CHECK(recorder.poll(std::chrono::milliseconds{0}).empty());  // says that it has read them
  }
  disk.damage(0, 12);
  disk.restart();
  auto bus = open_bus(disk.path.string());
  Words topic{bus, "t"};
  WordProducer producer{topic};
  for (std::uint64_t i = 0; i < 10; ++i) producer.send(record_text(i, 100)).value();
  Consumer recorder{topic, {.auto_offset_reset = OffsetReset::earliest, .name = "recorder"}};
  const auto batch = recorder.poll(std::chrono::milliseconds{0});
  CHECK(batch.size() == 10);
  CHECK(batch.begin()->offset() == Offset{12});
}

TOWPATH_ROLE("recover") {
  FlushPolicy::tmpfs_is_a_disk = true;
  if (args.at(1) != "none") arm(args.at(1), 1, args.at(2) == "kill" ? Action::kill : Action::stop);
  auto bus = Bus::open(args.at(0), by_hand());
  say(bus ? "opened" : std::string{name(bus.error().code)});
  return 0;
}

TEST_CASE("while one recovers the others wait, then say so; who may only read says what is needed") {
  const Rebooted disk;
  disk.prepare(5);
  disk.restart();
  auto config = by_hand();
  config.read_only = true;
  CHECK(Bus::open(disk.path.string(), config).error() == Errc::recovery_needed);
  auto child = spawn("recover", {disk.path.string(), "recover.before_mark", "stop"});
  child.wait_stopped(20s);
  CHECK(Bus::open(disk.path.string(), config).error() == Errc::recovery_needed);
  config = by_hand();
  config.recovery_timeout = std::chrono::milliseconds{20};
  CHECK(Bus::open(disk.path.string(), config).error() == Errc::recovery_in_progress);
  child.cont();
  child.wait_for("opened", 20s);
  CHECK(Bus::open(disk.path.string(), config).has_value());
  config.read_only = true;
  CHECK(Bus::open(disk.path.string(), config).has_value());
}

TEST_CASE("recovery that is killed at any step begins again and ends the same") {
  for (const std::string point : {"recover.cleared", "recover.put_aside", "recover.topic", "recover.before_mark",
                                  "make.created", "make.allocated"}) {
    CAPTURE(point);
    const bool makes = point.starts_with("make.");
    const Rebooted disk;
    disk.prepare(60, 20'000, DurabilityKind::none);
    std::uint64_t kept = disk.bases[1] + 2;
    if (makes) {
      fs::remove(disk.segment(0));
      kept = 0;
      disk.set_word(offsetof(log::PartitionState, log_start), 30);
    }
    if (!makes) disk.damage(disk.bases[1], 2);
    disk.restart();
    auto child = spawn("recover", {disk.path.string(), point, "kill"});
    CHECK(child.wait(20s).signal == SIGKILL);
    if (makes) {
      auto bus = open_bus(disk.path.string());
      Words topic{bus, "t"};
      put_records(topic, 0, 3);
      CHECK(check_sequence(read_topic(topic), 0) == 3);
    } else {
      expect_prefix(disk.path, kept);
      CHECK(orphans(disk.path) == disk.bases.size() - 2);
    }
  }
}

TEST_CASE("on a real disk a bus outlives a restart of the machine") {
  TempDir dir = TempDir::on_disk();
  auto config = by_hand();
  config.force_filesystem = true;  // the build folder may lie on anything
  const auto path = dir / "bus";
  {
    auto bus = open_bus(path.string(), config);
    Words topic{bus, "t", {.segment_bytes = 256_KiB, .durability = {DurabilityKind::each}}};
    WordProducer producer{topic};
    for (std::uint64_t i = 0; i < 30; ++i) producer.send(record_text(i, 20'000)).value();
    CHECK(word(topic, &log::PartitionState::durable_to) == 30);
  }
  const char other[40] = "another start";
  poke(path / "ctl", offsetof(towpath::detail::ControlHeader, boot_id), other, sizeof other);
  auto bus = open_bus(path.string(), config);
  Words topic{bus, "t"};
  CHECK(check_sequence(read_topic(topic), 0) == 30);
  WordProducer producer{topic};
  CHECK(producer.send(record_text(30)).has_value());
}
