// A segment of format 0 as it stands on disk, byte by byte. tests/golden/segment_v0.bin was written by this test with
// TOWPATH_WRITE_GOLDEN=1 in its environment; it changes only together with segment_format_version.
#include <log/log_support.hpp>

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iterator>

using namespace towpath;
using namespace towpath::test;
using log::Segment;
using log::SegmentHeader;
using log::Slot;
using log::Tail;

namespace {

const std::string golden_file = TOWPATH_TEST_SOURCE_DIR "/golden/segment_v0.bin";
constexpr std::size_t kept_slots = 8;
constexpr std::uint64_t uuid = 0x0123'4567'89AB'CDEF;
constexpr std::int64_t time_ns = 1'700'000'000'123'456'789;

LogOptions checksummed() {
  LogOptions options;
  options.format.checksummed = true;
  return options;
}

/// Two records of producer 7, in one batch.
void write_marked_batch(log::Appender& appender, Timestamp time) {
  log::FrameSpec spec{.value_size = 3, .timestamp = time, .producer = {7, 40, 2}, .batch_count = 2};
  const auto head = log::FrameLayout::of(spec, 8);
  const auto room = must(appender.reserve({128, 2}, head.length));
  const auto offset = static_cast<std::uint64_t>(room.offset.value);
  fill_frame(room.frame, head, spec, "one", offset, appender.segment());
  spec.batch_count = 0, spec.producer.sequence = 41;
  const auto next = log::FrameLayout::of(spec, 8);
  fill_frame(room.frame + 64, next, spec, "two", offset + 1, appender.segment());
  appender.place(room, 1, room.position + 64, next.length);
  REQUIRE(appender.commit(room));
}

/// Header, first slots and used data of a segment with one record of each kind.
std::string write_segment() {
  LogBench bench{checksummed()};
  auto member = bench.claim();
  log::Appender appender{bench.log(), member};
  // The first append makes the segment; the uuid is random, so it is fixed before any checksum is written.
  auto room = must(appender.reserve(24));
  appender.segment().header->uuid.store(uuid, shm::relaxed);
  appender.abandon(room);
  appender.segment().slots[0].store(Slot::aborted_in(uuid), shm::relaxed);  // it names the incarnation
  appender.park();
  const Header headers[] = {{"trace", Bytes{"\x01\x02"}, false}, {"none", Bytes{}, true}};
  const Timestamp time{std::chrono::nanoseconds{time_ns}};
  must(append(appender, "bare value", {.timestamp = time}));
  must(append(appender, "value", {.has_key = true, .key = Bytes{"key"}, .headers = headers, .timestamp = time}));
  must(append(appender, "", {.has_value = false, .has_key = true, .key = Bytes{"gone"}, .timestamp = time}));
  must(append(appender, "", {.timestamp = time}));
  write_marked_batch(appender, time);
  const Segment segment = appender.segment();
  segment.seal(7);
  const auto used = Tail::bytes(segment.header->tail.load(shm::acquire));
  std::string bytes(reinterpret_cast<const char*>(segment.control->data()), sizeof(SegmentHeader) + kept_slots * 8);
  return bytes.append(reinterpret_cast<const char*>(segment.data), used);
}

std::string read_golden() {
  std::ifstream in{golden_file, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

}  // namespace

TEST_CASE("a segment that this library writes is the golden one, byte by byte") {
  const auto written = write_segment();
  if (const char* wanted = std::getenv("TOWPATH_WRITE_GOLDEN"); wanted && *wanted == '1')
    std::ofstream{golden_file, std::ios::binary} << written;
  const auto golden = read_golden();
  REQUIRE(golden.size() == written.size());
  for (std::size_t i = 0; i < golden.size(); ++i) {
    CAPTURE(i);
    REQUIRE(golden[i] == written[i]);
  }
}

TEST_CASE("this library reads the golden segment") {
  const auto golden = read_golden();
  REQUIRE(golden.size() > sizeof(SegmentHeader) + kept_slots * 8);
  LogBench bench{checksummed()};
  {
    // The golden bytes, at the places where they belong in a file of the size that their header says.
    must(bench.directory().make_folder("p"));
    const auto file = must(bench.directory().create(bench.log().segment_name(0).data(), 0640));
    std::uint64_t header[8];  // segment_bytes is the fourth word, data_offset the sixth
    std::memcpy(header, golden.data(), sizeof header);
    must(shm::allocate(file, 0, header[3]));
    const std::size_t front = sizeof(SegmentHeader) + kept_slots * 8;
    must(shm::write_all(file, golden.data(), front, 0));
    must(shm::write_all(file, golden.data() + front, golden.size() - front, header[5]));
  }
  log::Reader reader{bench.log(), bench.pins()};
  log::Run run;
  const auto progress = reader.collect(run, 100, accept_all);
  CAPTURE(std::string{reader.failure().detail});
  REQUIRE(progress == log::Progress::records);
  CHECK(run.first == 0);
  CHECK(run.last == 7);
  CHECK(run.count == 6);
  CHECK(run.segment->uuid == uuid);
  CHECK(Slot::state(run.segment->slots[0].load(shm::acquire)) == Slot::aborted);
  std::vector<ReadRecord> records;
  take_run(run, bench.log(), records);  // also checks the checksums
  CHECK(records == std::vector<ReadRecord>{{1, "bare value"}, {2, "value"}, {3, ""}, {4, ""}, {5, "one"}, {6, "two"}});
  log::FrameView view;
  const auto slot = run.segment->slots[2].load(shm::acquire);
  REQUIRE(view.parse(run.segment->data + Slot::position(slot), Slot::length(slot), 8));
  CHECK(view.key.text() == "key");
  CHECK(view.header.timestamp_ns == time_ns);
  CHECK(view.header.header_count == 2);
  const auto batched = run.segment->slots[6].load(shm::acquire);
  CHECK(Slot::state(batched) == Slot::continued);
  const auto first = log::HeaderRange{view.headers, 2}.begin();
  CHECK(first->key == "trace");
  CHECK(first->value.text() == "\x01\x02");
  REQUIRE(view.parse(run.segment->data + Slot::position(batched), Slot::length(batched), 8));
  CHECK(view.producer() == log::ProducerMark{7, 41, 2});
}

TEST_CASE("the golden bytes mean what docs/format.md says") {
  const auto golden = read_golden();
  const auto u64 = [&](std::size_t at) {
    std::uint64_t word = 0;
    std::memcpy(&word, golden.data() + at, 8);
    return word;
  };
  REQUIRE(golden.size() > 400);
  CHECK(golden.substr(0, 8) == std::string{"\r\nTOWPS0", 8});
  CHECK((u64(8) & 0xFFFF'FFFF) == 0);  // version
  CHECK((u64(8) >> 32) == std::uint64_t{log::feature_checksummed});
  CHECK((u64(16) & 0xFFFF'FFFF) == 0);  // dense slots
  CHECK(u64(24) == 256 * 1024);         // segment_bytes
  CHECK(u64(40) % (64 * 1024) == 0);    // data_offset
  CHECK(u64(48) == 0);                  // stride
  CHECK(u64(56) == uuid);
  CHECK((u64(64) >> 40) == 7);                          // tail: seven slots reserved
  CHECK(u64(72) == 0);                                  // base
  CHECK(u64(80) == 1);                                  // generation
  CHECK(u64(128) == 8);                                 // sealed with seven
  CHECK(u64(256) == (2 | (uuid & ~std::uint64_t{3})));  // the first slot is aborted, in this incarnation
  CHECK((u64(264) & 3) == 1);                           // the second committed,
  CHECK((u64(264) >> 2 & 0x3FFF'FFFF) == 3);            // 24 bytes into the data,
  CHECK((u64(304) & 3) == 3);                           // the last continues a batch
  CHECK((u64(264) >> 32) == 16 + std::string_view{"bare value"}.size());
}
