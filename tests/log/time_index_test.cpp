#include <log/log_support.hpp>

#include <towpath/log/time_index.hpp>

#include <random>

using namespace towpath;
using namespace towpath::test;
using log::Appender;

namespace {

struct TimeIndexBench {
  LogBench bench;
  Member member;
  Appender appender;
  std::vector<std::pair<std::uint64_t, std::int64_t>> written;  // offset, timestamp
  explicit TimeIndexBench(const LogOptions& options = {})
      : bench{options}, member{bench.claim()}, appender{bench.log(), member} {}

  void write(std::int64_t timestamp, std::size_t size = 500) {
    const auto offset = must(append_at(appender, record_text(written.size(), size), timestamp));
    written.emplace_back(offset.value, timestamp);
  }
  std::optional<Offset> find(std::int64_t at, bool with_member = true) const {
    return must(log::offset_for_time(bench.log(), bench.pins(), with_member ? &member : nullptr,
                                     Timestamp{std::chrono::nanoseconds{at}}));
  }
  /// The answer by looking at everything.
  std::optional<Offset> expected(std::int64_t at) const {
    const auto start = bench.state().log_start.load(shm::relaxed);
    for (const auto& [offset, timestamp] : written)
      if (offset >= start && timestamp >= at) return Offset{static_cast<std::int64_t>(offset)};
    return std::nullopt;
  }
  std::string index_name(std::size_t segment) const {
    return bench.log().time_index_name(bench.bases().at(segment)).data();
  }
  bool has_index(std::size_t segment) const {
    return bench.directory().identify(index_name(segment).c_str()).has_value();
  }
  std::size_t indexes() const {
    const auto names = bench.files();
    return static_cast<std::size_t>(
        std::count_if(names.begin(), names.end(), [](const auto& n) { return n.ends_with(".timeindex"); }));
  }
};

/// Timestamps that mostly rise, with outliers both ways.
void write_unordered(TimeIndexBench& b, std::uint64_t count) {
  std::mt19937_64 random{4'711};
  std::int64_t now = 1'000'000;
  for (std::uint64_t i = 0; i < count; ++i) {
    now += static_cast<std::int64_t>(random() % 20);
    const auto jump = random() % 50 == 0 ? static_cast<std::int64_t>(random() % 20'000) - 10'000 : 0;
    if (i % 37 == 5) b.appender.abandon(must(b.appender.reserve(40)));
    b.write(now + jump);
  }
}

void check_some(const TimeIndexBench& b, bool with_member = true) {
  std::mt19937_64 random{815};
  for (int i = 0; i < 300; ++i) {
    const auto at = 990'000 + static_cast<std::int64_t>(random() % 60'000);
    CAPTURE(at);
    REQUIRE(b.find(at, with_member) == b.expected(at));
  }
}

}  // namespace

TEST_CASE("an empty log, and a time after the last record, have no offset") {
  TimeIndexBench b;
  CHECK(b.find(0) == std::nullopt);
  b.write(100);
  CHECK(b.find(101) == std::nullopt);
  CHECK(b.find(100) == Offset{0});
  CHECK(b.find(-1) == Offset{0});
}

TEST_CASE(
    "the earliest offset at or after a time is found whatever order the timestamps are in, with and without indexes") {
  TimeIndexBench b;
  write_unordered(b, 4'000);
  REQUIRE(b.bench.bases().size() > 5);
  check_some(b, false);
  CHECK(b.indexes() == 0);  // who is no member leaves nothing behind
  check_some(b);
  CHECK(b.indexes() == b.bench.bases().size() - 1);  // the active one has none
  check_some(b);
  check_some(b, false);
}

TEST_CASE("every timestamp of the log leads to a record that has it or a later one, and to the first such") {
  TimeIndexBench b;
  write_unordered(b, 1'500);
  for (const auto& [offset, timestamp] : b.written) REQUIRE(b.find(timestamp) == b.expected(timestamp));
}

TEST_CASE("an index that says a segment is too old spares looking into it, and its answer is that of a scan") {
  TimeIndexBench b;
  for (std::int64_t i = 0; i < 3'000; ++i) b.write(i * 10);
  CHECK(b.find(29'990) == b.expected(29'990));
  CHECK(b.has_index(0));
  CHECK(b.find(29'991) == std::nullopt);
  for (std::int64_t at = 0; at < 30'000; at += 777) CHECK(b.find(at) == b.expected(at));
}

TEST_CASE("an index that is missing, cut short, foreign or damaged in any byte is made anew, never trusted") {
  TimeIndexBench b;
  for (std::int64_t i = 0; i < 1'500; ++i) b.write(i * 10);
  const auto ask = [&] {
    for (std::int64_t at = 0; at < 15'000; at += 1'111) REQUIRE(b.find(at) == b.expected(at));
  };
  ask();
  auto& directory = b.bench.directory();
  const auto name = b.index_name(0);
  const auto whole = must(shm::read_file(directory, name.c_str()));
  const auto plant = [&](const std::string& text) {
    must(shm::write_file(directory, name.c_str(), text, 0640, true));
    ask();
    CHECK(must(shm::read_file(directory, name.c_str())) == whole);
  };
  SUBCASE("missing") {
    must(directory.remove(name.c_str()));
    ask();
    CHECK(must(shm::read_file(directory, name.c_str())) == whole);
  }
  SUBCASE("cut short") {
    for (std::size_t size = 0; size < whole.size(); size += 13) plant(whole.substr(0, size));
  }
  SUBCASE("damaged in a byte") {
    for (std::size_t at = 0; at < whole.size(); ++at) {
      auto text = whole;
      text[at] = static_cast<char>(text[at] ^ 0x10);
      plant(text);
    }
  }
  SUBCASE("of another segment") { plant(must(shm::read_file(directory, b.index_name(1).c_str()))); }
  SUBCASE("of another incarnation of the segment, whole in itself") {
    log::TimeIndexHeader header;
    std::memcpy(&header, whole.data(), sizeof header);
    header.uuid ^= 1;
    header.newest_ns = 0;  // would hide the whole segment
    header.header_crc =
        crc32c(Bytes{reinterpret_cast<const std::byte*>(&header), offsetof(log::TimeIndexHeader, header_crc)});
    auto text = whole;
    std::memcpy(text.data(), &header, sizeof header);
    plant(text);
  }
  SUBCASE("longer than it says is harmless") {
    must(shm::write_file(directory, name.c_str(), whole + "more", 0640, true));
    ask();
  }
}

TEST_CASE("no index is left of a sealed segment in which a slot is still open: its record may come") {
  TimeIndexBench b;
  b.write(5);
  auto slow_member = b.bench.claim();
  Appender slow{b.bench.log(), slow_member};
  log::FrameSpec spec;
  spec.value_size = 8, spec.timestamp = Timestamp{std::chrono::nanoseconds{1'000'000}};
  const auto layout = log::FrameLayout::of(spec, 8);
  const auto room = must(slow.reserve(layout.length));
  while (b.bench.bases().size() < 2) b.write(10);
  CHECK(b.find(1'000'000) == std::nullopt);
  CHECK(b.indexes() == 0);
  fill_frame(room.frame, layout, spec, "12345678", 0, slow.segment());
  REQUIRE(slow.commit(room));
  CHECK(b.find(1'000'000) == room.offset);
  CHECK(b.indexes() == 1);
  CHECK(b.find(1'000'000) == room.offset);
}

TEST_CASE("after retention the answer is within what is left, and the index goes with its segment") {
  TimeIndexBench b;
  write_unordered(b, 3'000);
  check_some(b);
  const auto before = b.indexes();
  for (int i = 0; i < 3; ++i) {
    const auto base = b.bench.bases().front();
    REQUIRE(log::Recycler{&b.bench.log(), &b.member}.retire(base, log::retirable_slots(b.bench.log(), base)) !=
            log::Retired::no);
    check_some(b);
  }
  CHECK(b.indexes() == before - 3);
  CHECK(b.find(0) == Offset{static_cast<std::int64_t>(b.bench.bases().front())});
}

TEST_CASE("an index left behind by a maker that died after the segment went is swept") {
  TimeIndexBench b;
  write_unordered(b, 1'000);
  check_some(b);
  const auto base = b.bench.bases().front();
  const auto name = b.index_name(0);
  const auto text = must(shm::read_file(b.bench.directory(), name.c_str()));
  REQUIRE(log::Recycler{&b.bench.log(), &b.member}.retire(base, log::retirable_slots(b.bench.log(), base)) !=
          log::Retired::no);
  must(shm::write_file(b.bench.directory(), name.c_str(), text, 0640));
  log::PartitionMaintenance care{b.bench.log(), b.member, b.bench.pins()};
  must(care.step());
  CHECK_FALSE(b.bench.directory().identify(name.c_str()).has_value());
  CHECK(b.has_index(0));  // those of the living stay
}

TEST_CASE("nothing is pinned after a search") {
  TimeIndexBench b;
  write_unordered(b, 1'000);
  const auto pins = b.bench.pins();
  must(log::offset_for_time(b.bench.log(), pins, &b.member, Timestamp::max()));
  CHECK(pins->held.empty());
  for (const auto base : b.bench.bases()) CHECK_FALSE(b.bench.log().is_pinned(base));
}

TEST_CASE("a search without the right to write leaves no file and finds the same") {
  TempDir dir;
  {
    LogBench bench{dir.path().string()};
    auto member = bench.claim();
    Appender appender{bench.log(), member};
    for (std::int64_t i = 0; i < 2'000; ++i) must(append_at(appender, record_text(0, 500), i));
  }
  LogBench bench{dir.path().string(), {.writable = false}};
  auto member = bench.claim();
  const auto found =
      must(log::offset_for_time(bench.log(), bench.pins(), &member, Timestamp{std::chrono::nanoseconds{1'500}}));
  REQUIRE(found.has_value());
  CHECK(read_from(bench, static_cast<std::uint64_t>(found->value)).size() == 500);
  CHECK(bench.count_files("") == bench.bases().size());
}

TEST_CASE("a segment that is missing in the middle is corrupt, a deleted topic topic_deleted") {
  TimeIndexBench b;
  write_unordered(b, 1'000);
  must(b.bench.directory().remove(b.bench.log().segment_name(b.bench.bases()[1]).data()));
  CHECK(log::offset_for_time(b.bench.log(), b.bench.pins(), nullptr, Timestamp::max()).error() == Errc::corrupt);
  b.bench.state().flags.fetch_or(log::partition_deleted, shm::seq_cst);
  CHECK(log::offset_for_time(b.bench.log(), b.bench.pins(), nullptr, Timestamp::max()).error() == Errc::topic_deleted);
}

TEST_CASE("regression_003: segments that come while a time is looked for in an empty log are not missing") {
  TimeIndexBench b;
  arm("time.looked", 1, [&](const char*) {
    for (int i = 0; i < 2'000; ++i) b.write(i);
  });
  CHECK(b.find(5) == std::nullopt);  // there was nothing when it looked
  CHECK(hits() == 1);
  CHECK(b.bench.bases().size() > 1);
  CHECK(b.find(5) == b.expected(5));
  disarm();
}
