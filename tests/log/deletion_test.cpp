// Deleting the records before an offset: what readers see, which files go, and what a kill in the middle leaves.
#include <support/failpoint.hpp>

#include <log/log_support.hpp>

#include <towpath/log/deletion.hpp>
#include <towpath/log/time_index.hpp>

#include <thread>

using namespace towpath;
using namespace towpath::test;
using log::Appender;
using log::Progress;
using log::Reader;
using log::Run;

namespace {

struct DeletionBench {
  LogBench bench;
  Member member;
  Member deleter;
  Appender appender;
  std::uint64_t next = 0;
  explicit DeletionBench(const LogOptions& options = {})
      : bench{options},
        member{bench.claim()},
        deleter{bench.claim(MemberKind::maintenance)},
        appender{bench.log(), member} {}

  void write(std::uint64_t count, std::size_t size = 100) {
    for (std::uint64_t i = 0; i < count; ++i) put(appender, next++, size);
  }
  Result<Offset> remove(std::int64_t before) { return log::delete_records(bench.log(), bench.pins(), deleter, before); }
  std::vector<ReadRecord> rest() const { return read_from(bench, bench.log().begin()); }
  void maintain() {
    auto care_member = bench.claim(MemberKind::maintenance);
    log::PartitionMaintenance care{bench.log(), care_member, bench.pins()};
    must(care.step());
  }
};

Progress collect_some(Reader& reader, std::uint64_t max, std::vector<ReadRecord>& records) {
  Run run;
  const auto progress = reader.collect(run, max, accept_all);
  if (progress == Progress::records) take_run(run, reader.log(), records);
  return progress;
}

}  // namespace

TEST_CASE("records before the offset are gone and the others stay, in the middle of the only segment") {
  DeletionBench b;
  b.write(1'000);
  CHECK(must(b.remove(400)) == Offset{400});
  CHECK(b.bench.log().begin() == 400);
  CHECK(b.bench.bases() == std::vector<std::uint64_t>{0});
  CHECK(b.bench.state().log_start.load(shm::relaxed) == 0);  // the segment is not retired
  CHECK(check_sequence(b.rest(), 400) == 1'000);
  Reader early{b.bench.log(), b.bench.pins()};
  std::vector<ReadRecord> records;
  for (const std::uint64_t offset : {0u, 1u, 399u}) {
    early.seek(offset);
    CHECK(collect_some(early, 10, records) == Progress::out_of_range);
  }
  CHECK(records.empty());
  CHECK(must(early.find_end()) == Offset{1'000});
  b.write(10);
  CHECK(check_sequence(b.rest(), 400) == 1'010);
}

TEST_CASE("a reader in the middle of a segment gets nothing that was deleted before it looked") {
  DeletionBench b;
  b.write(1'000);
  Reader reader{b.bench.log(), b.bench.pins()};
  reader.seek(0);
  std::vector<ReadRecord> records;
  REQUIRE(collect_some(reader, 10, records) == Progress::records);
  must(b.remove(500));
  CHECK(collect_some(reader, 10, records) == Progress::out_of_range);
  CHECK(reader.position() == 10);
  reader.seek(500);
  REQUIRE(collect_some(reader, 10, records) == Progress::records);
  CHECK(records.size() == 20);
  CHECK(records[10].offset == 500);
  must(b.remove(510));  // exactly where it stands: it goes on
  REQUIRE(collect_some(reader, 10, records) == Progress::records);
  CHECK(records[20].offset == 510);
}

TEST_CASE("what lies outside is refused and deletes nothing; below the begin nothing changes") {
  DeletionBench b;
  CHECK(must(b.remove(0)) == Offset{0});
  CHECK(must(b.remove(log::up_to_the_end)) == Offset{0});
  CHECK(b.remove(1).error() == Errc::offset_out_of_range);
  b.write(100);
  CHECK(b.remove(101).error() == Errc::offset_out_of_range);
  CHECK(b.remove(-2).error() == Errc::offset_out_of_range);
  CHECK(b.remove(std::numeric_limits<std::int64_t>::min()).error() == Errc::offset_out_of_range);
  CHECK(b.remove(std::numeric_limits<std::int64_t>::max()).error() == Errc::offset_out_of_range);
  CHECK(b.rest().size() == 100);
  CHECK(must(b.remove(60)) == Offset{60});
  CHECK(must(b.remove(20)) == Offset{60});
  CHECK(check_sequence(b.rest(), 60) == 100);
}

TEST_CASE("minus one deletes what can be read, and not what an open slot hides") {
  DeletionBench b;
  b.write(10);
  auto other = b.bench.claim();
  Appender slow{b.bench.log(), other};
  const auto open = must(slow.reserve(100));
  b.write(5);
  CHECK(must(b.remove(log::up_to_the_end)) == Offset{10});
  CHECK(b.remove(11).error() == Errc::offset_out_of_range);
  slow.abandon(open);
  CHECK(check_sequence(b.rest(), 10) == 15);
  CHECK(must(b.remove(log::up_to_the_end)) == Offset{16});
  CHECK(b.rest().empty());
  b.write(3);
  CHECK(check_sequence(b.rest(), 15) == 18);
}

TEST_CASE("whole segments below the offset go at once, and the one that holds it stays") {
  DeletionBench b;
  b.write(60, 40'000);
  const auto before = b.bench.bases();
  REQUIRE(before.size() > 5);
  const std::uint64_t middle = before[3] + 1;
  CHECK(must(b.remove(static_cast<std::int64_t>(middle))) == Offset{static_cast<std::int64_t>(middle)});
  CHECK(b.bench.bases() == std::vector<std::uint64_t>{before.begin() + 3, before.end()});
  CHECK(b.bench.state().log_start.load(shm::relaxed) == before[3]);
  const auto rest = b.rest();
  REQUIRE_FALSE(rest.empty());
  CHECK(rest.front().offset == middle);
  CHECK(check_sequence(rest, rest.front().number()) == 60);
  const auto edge = before[5];  // a segment's first record: the whole one before it goes
  must(b.remove(static_cast<std::int64_t>(edge)));
  CHECK(b.bench.bases().front() == edge);
  b.maintain();
  CHECK(b.bench.bases().front() == edge);
  CHECK(b.rest().front().offset == edge);
}

TEST_CASE("a segment that was active when its records were deleted goes once it is sealed") {
  DeletionBench b;
  b.write(60, 40'000);
  must(b.remove(log::up_to_the_end));
  const auto left = b.bench.bases();
  REQUIRE(left.size() == 1);
  b.maintain();
  CHECK(b.bench.bases() == left);
  b.write(20, 40'000);
  b.maintain();
  CHECK(b.bench.bases().front() > left.front());
  CHECK(check_sequence(b.rest(), 60) == 80);
}

TEST_CASE("a search by time finds no deleted record, in a sealed segment and in the active one") {
  DeletionBench b;
  const auto at = [](std::int64_t ns) { return Timestamp{std::chrono::nanoseconds{ns}}; };
  std::vector<std::pair<std::int64_t, std::int64_t>> written;  // offset, timestamp
  for (int i = 0; i < 60; ++i) {
    const std::int64_t timestamp = i == 30 ? 90'000 : i * 1'000;  // one that is far ahead
    written.emplace_back(
        must(append_at(b.appender, record_text(static_cast<std::uint64_t>(i), 40'000), timestamp)).value, timestamp);
  }
  const auto first_of = [&](std::int64_t wanted, std::int64_t begin) {
    for (const auto& [offset, timestamp] : written)
      if (offset >= begin && timestamp >= wanted) return offset;
    return std::int64_t{-1};
  };
  for (const std::size_t i : {1u, 2u, 17u, 30u, 31u, 45u, 58u, 59u}) {
    const std::int64_t begin = written[i].first;
    must(b.remove(begin));
    for (std::int64_t wanted = 0; wanted < 95'000; wanted += 700)
      for (const Member* member : {static_cast<const Member*>(nullptr), static_cast<const Member*>(&b.deleter)}) {
        const auto found = must(log::record_for_time(b.bench.log(), b.bench.pins(), member, at(wanted)));
        const auto expected = first_of(wanted, begin);
        CHECK((found ? found->offset.value : -1) == expected);
        if (found && expected >= 0) CHECK(found->timestamp >= at(wanted));
      }
    const auto newest = must(log::newest_record(b.bench.log(), b.bench.pins(), &b.deleter));
    REQUIRE(newest.has_value());
    CHECK(newest->offset.value == (i <= 30 ? written[30].first : written[59].first));
    CHECK(newest->timestamp == at(i <= 30 ? 90'000 : 59'000));
  }
  must(b.remove(log::up_to_the_end));
  CHECK_FALSE(must(log::newest_record(b.bench.log(), b.bench.pins(), &b.deleter)).has_value());
  CHECK_FALSE(must(log::record_for_time(b.bench.log(), b.bench.pins(), &b.deleter, at(0))).has_value());
}

TEST_CASE("while one appends and one deletes, a reader misses nothing above the begin and sees nothing below it") {
  DeletionBench b;
  constexpr std::uint64_t total = 20'000;
  std::atomic<bool> done{false};
  std::thread writer{[&] {
    b.write(total, 200);
    done.store(true, std::memory_order_release);
  }};
  std::thread eraser{[&] {
    while (!done.load(std::memory_order_acquire)) {
      const auto end = must(Reader{b.bench.log(), b.bench.pins()}.find_end()).value;
      must(b.remove(std::max<std::int64_t>(0, end - 50)));
    }
  }};
  Reader reader{b.bench.log(), b.bench.pins()};
  reader.seek(0);
  std::uint64_t last = 0;
  std::uint64_t wrong = 0;
  while (!done.load(std::memory_order_acquire) || reader.position() < b.bench.log().begin()) {
    const std::uint64_t begin = b.bench.log().begin();
    std::vector<ReadRecord> records;
    const auto progress = collect_some(reader, 100, records);
    if (progress == Progress::out_of_range) reader.seek(std::max(reader.position(), b.bench.log().begin()));
    for (const auto& record : records) {
      wrong += record.offset < begin || record.value != record_text(record.number(), 200) ||
               (last != 0 && record.offset <= last);
      last = record.offset;
    }
  }
  writer.join();
  eraser.join();
  CHECK(wrong == 0);
  const auto rest = b.rest();
  REQUIRE_FALSE(rest.empty());
  CHECK(check_sequence(rest, rest.front().number()) == total);
}

TOWPATH_ROLE("delete_and_die") {
  LogBench bench{args.at(0)};
  auto member = bench.claim(MemberKind::maintenance);
  arm(args.at(1), static_cast<unsigned>(std::stoul(args.at(2))), Action::kill);
  must(log::delete_records(bench.log(), bench.pins(), member, std::stoll(args.at(3))));
  return 0;
}

TEST_CASE("killed in the middle of it, the records are deleted and maintenance gives the room back") {
  struct Death {
    const char* where;
    unsigned times;
  };
  for (const Death death : {Death{"delete_records.raised", 1}, Death{"retire.bumped", 1}, Death{"retire.bumped", 3},
                            Death{"retire.owned", 2}, Death{"retire.clean", 4}}) {
    CAPTURE(std::string{death.where});
    TempDir dir;
    std::uint64_t middle = 0;
    std::vector<std::uint64_t> before;
    LogBench bench{(dir / "log").string()};
    {
      auto member = bench.claim();
      Appender appender{bench.log(), member};
      for (std::uint64_t i = 0; i < 60; ++i) put(appender, i, 40'000);
      before = bench.bases();
      middle = before.at(4) + 2;
    }
    auto child = spawn("delete_and_die",
                       {(dir / "log").string(), death.where, std::to_string(death.times), std::to_string(middle)});
    CHECK(child.wait(stretched(20s)).signal == SIGKILL);
    CHECK(bench.log().begin() == middle);
    const auto rest = read_from(bench, middle);
    REQUIRE_FALSE(rest.empty());
    CHECK(rest.front().offset == middle);
    CHECK(check_sequence(rest, rest.front().number()) == 60);
    auto care_member = bench.claim(MemberKind::maintenance);
    log::PartitionMaintenance care{bench.log(), care_member, bench.pins()};
    must(care.step());
    CHECK(bench.bases().front() == before[4]);
    CHECK(bench.count_files("own.") == 0);
    CHECK(read_from(bench, middle).size() == rest.size());
  }
}
