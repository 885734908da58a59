#include <log/log_support.hpp>

#include <random>
#include <thread>

using namespace towpath;
using namespace towpath::test;
using log::Appender;
using log::Progress;
using log::Reader;
using log::Run;

namespace {

struct ReaderBench {
  LogBench bench;
  Member member;
  Appender appender;
  Reader reader;
  explicit ReaderBench(const LogOptions& options = {})
      : bench{options}, member{bench.claim()}, appender{bench.log(), member}, reader{bench.log(), bench.pins()} {}

  /// Appends records 0 to count - 1; every one whose number `aborted` says is given up instead, with its own offset.
  template <class Aborted>
  void fill(std::uint64_t count, const Aborted& aborted) {
    for (std::uint64_t i = 0; i < count; ++i) {
      if (aborted(i))
        appender.abandon(must(appender.reserve(124)));
      else
        put(appender, i, 1'000);
    }
  }
  void fill(std::uint64_t count) {
    fill(count, [](auto) { return false; });
  }
  Progress collect(Run& run, std::uint64_t max = 1'000) { return reader.collect(run, max, accept_all); }
};

}  // namespace

TEST_CASE("an empty log is idle at 0 and out of range above") {
  ReaderBench b;
  Run run;
  CHECK(b.collect(run) == Progress::idle);
  b.reader.seek(5);
  CHECK(b.collect(run) == Progress::out_of_range);
  put(b.appender, 0);
  CHECK(b.collect(run) == Progress::out_of_range);
  b.reader.seek(0);
  CHECK(b.collect(run) == Progress::records);
  CHECK(b.reader.position() == 1);
  CHECK(b.collect(run) == Progress::idle);
}

TEST_CASE("a batch holds at most what was asked for and the position follows its last record") {
  ReaderBench b;
  b.fill(100);
  Run run;
  REQUIRE(b.collect(run, 7) == Progress::records);
  CHECK(run.count == 7);
  CHECK(b.reader.position() == 7);
  REQUIRE(b.collect(run, 1) == Progress::records);
  CHECK(run.first == 7);
  CHECK(run.last == 8);
}

TEST_CASE("a batch never spans two segments, and segments follow each other without a gap") {
  ReaderBench b;
  b.fill(2'000);
  REQUIRE(b.bench.bases().size() > 5);
  std::vector<std::uint64_t> bases;
  std::vector<ReadRecord> records;
  Run run;
  while (b.collect(run, 10'000) == Progress::records) {
    if (bases.empty() || bases.back() != run.segment->base) bases.push_back(run.segment->base);
    take_run(run, b.bench.log(), records);
  }
  CHECK(check_sequence(records, 0) == 2'000);
  CHECK(bases.size() >= b.bench.bases().size() - 1);
}

TEST_CASE("a seek reaches any offset of any segment, in any order, and reads from exactly there") {
  ReaderBench b;
  b.fill(1'500);
  const auto all = read_all(b.bench);
  REQUIRE(all.size() == 1'500);
  std::mt19937 random{7};
  for (int i = 0; i < 3'000; ++i) {
    const auto& wanted = all[random() % all.size()];
    b.reader.seek(wanted.offset);
    Run run;
    REQUIRE(b.collect(run, 1) == Progress::records);
    std::vector<ReadRecord> records;
    take_run(run, b.bench.log(), records);
    REQUIRE(records == std::vector{wanted});
  }
}

TEST_CASE("a seek into a stretch of aborted offsets finds the next record, also in the next segment") {
  ReaderBench b;
  b.fill(1'500, [](std::uint64_t i) { return i % 100 >= 20; });
  const auto all = read_all(b.bench);
  const auto end = static_cast<std::uint64_t>(must(b.reader.find_end()).value);
  REQUIRE(b.bench.bases().size() >= 2);
  for (std::uint64_t offset = 0; offset < end; ++offset) {
    b.reader.seek(offset);
    const auto next = std::find_if(all.begin(), all.end(), [&](const auto& r) { return r.offset >= offset; });
    Run run;
    const auto progress = b.collect(run, 1);
    if (next == all.end()) {
      CHECK(progress == Progress::idle);
      continue;
    }
    REQUIRE(progress == Progress::records);
    REQUIRE(run.segment->base + run.last - 1 == next->offset);
  }
}

TEST_CASE("an aborted slot at the end does not move the position") {
  ReaderBench b;
  b.fill(3);
  b.appender.abandon(must(b.appender.reserve(24)));
  Run run;
  REQUIRE(b.collect(run) == Progress::records);
  CHECK(b.collect(run) == Progress::idle);
  CHECK(b.reader.position() == 3);
  put(b.appender, 3, 1'000);
  REQUIRE(b.collect(run) == Progress::records);
  CHECK(b.reader.position() == 5);
}

TEST_CASE("at every roll the position is that of the next record: slots behind the seal are no offsets") {
  ReaderBench b;
  std::uint64_t last = 0;
  for (std::uint64_t i = 0; i < 2'000; ++i) {
    const auto offset = static_cast<std::uint64_t>(put(b.appender, i, 1'000).value);
    Run run;
    if (i % 3 == 0) (void)b.collect(run);  // meets each end of a segment in another state
    if (b.reader.position() > offset + 1) FAIL("the position is past what was appended");
    last = offset;
  }
  (void)drain(b.reader);
  CHECK(b.reader.position() == last + 1);
}

TEST_CASE("a record that is not accepted ends the batch before it, and the position stays until it is") {
  ReaderBench b;
  b.fill(10);
  const auto until = [&](std::uint64_t limit) {
    return [limit](std::uint64_t, std::uint64_t n, const log::Segment&) {
      return n < limit ? log::Verdict::take : log::Verdict::refuse;
    };
  };
  Run run;
  REQUIRE(b.reader.collect(run, 100, until(4)) == Progress::records);
  CHECK(run.count == 4);
  CHECK(b.reader.collect(run, 100, until(4)) == Progress::refused);
  CHECK(b.reader.position() == 4);
  CHECK(b.reader.collect(run, 100, until(4)) == Progress::refused);
  REQUIRE(b.collect(run) == Progress::records);
  CHECK(b.reader.position() == 10);
}

TEST_CASE("the end is behind the last record, also over aborted offsets and segments, and stops at an open one") {
  ReaderBench b;
  CHECK(must(b.reader.find_end()) == Offset{0});
  b.fill(700);
  const auto all = read_all(b.bench);
  CHECK(must(b.reader.find_end()).value == static_cast<std::int64_t>(all.back().offset + 1));
  auto other_member = b.bench.claim();
  Appender other{b.bench.log(), other_member};
  const auto open = must(other.reserve(124));
  put(b.appender, 700, 100);
  CHECK(must(b.reader.find_end()) == open.offset);
  CHECK(b.bench.state().resolved_to.load(shm::acquire) == static_cast<std::uint64_t>(open.offset.value));
  other.abandon(open);
  CHECK(must(b.reader.find_end()) == open.offset + 2);
}

TEST_CASE("find_end() starts at resolved_to and does not go back when that lies below the log's start") {
  ReaderBench b;
  b.fill(700);
  const auto bases = b.bench.bases();
  REQUIRE(bases.size() >= 3);
  const auto end = must(b.reader.find_end());
  b.bench.state().resolved_to.store(0, shm::release);
  b.reader.park();
  log::Recycler{&b.bench.log(), &b.member}.retire(bases[0], bases[1]);
  CHECK(must(b.reader.find_end()) == end);
}

TEST_CASE("who reads on from where all is resolved says at each segment how far that is") {
  ReaderBench b;
  b.fill(700);
  const auto bases = b.bench.bases();
  REQUIRE(bases.size() >= 3);
  auto& resolved_to = b.bench.state().resolved_to;
  Run run;
  const auto read_on = [&] {
    while (b.collect(run) == Progress::records) {
    }
  };
  SUBCASE("from the start") {
    read_on();
    CHECK(resolved_to.load(shm::acquire) == bases.back());
  }
  SUBCASE("not who began behind an offset that may be open") {
    b.reader.seek(1);
    read_on();
    CHECK(b.reader.position() > bases.back());
    CHECK(resolved_to.load(shm::acquire) == 0);
  }
  SUBCASE("not who sought forward on the way") {
    REQUIRE(b.collect(run, 10) == Progress::records);
    b.reader.seek(20);
    read_on();
    CHECK(resolved_to.load(shm::acquire) == 0);
  }
}

TEST_CASE("a position that retention overtook is out of range, and so is one past the end") {
  ReaderBench b;
  b.fill(1'000);
  const auto bases = b.bench.bases();
  REQUIRE(bases.size() >= 3);
  log::Recycler{&b.bench.log(), &b.member}.retire(bases[0], bases[1]);
  Run run;
  CHECK(b.collect(run) == Progress::out_of_range);
  b.reader.seek(bases[1]);
  CHECK(b.collect(run) == Progress::records);
  b.reader.seek(1'000'000);
  CHECK(b.collect(run) == Progress::out_of_range);
}

TEST_CASE("a reader that is inside a segment when it is retired reads it to its end and then goes on") {
  ReaderBench b;
  b.fill(600);
  const auto bases = b.bench.bases();
  REQUIRE(bases.size() >= 2);
  Run run;
  std::vector<ReadRecord> records;
  REQUIRE(b.collect(run, 5) == Progress::records);
  take_run(run, b.bench.log(), records);
  log::Recycler{&b.bench.log(), &b.member}.retire(bases[0], bases[1]);
  CHECK(b.bench.state().recycled.load(shm::relaxed) == 0);  // pinned: not cleaned
  CHECK(b.bench.state().unlinked.load(shm::relaxed) == 1);
  run = Run{};
  for (const auto& record : drain(b.reader)) records.push_back(record);
  CHECK(check_sequence(records, 0) == 600);
}

TEST_CASE("a segment stays pinned while its batch is held, and is let go with it") {
  ReaderBench b;
  b.fill(600);
  const auto bases = b.bench.bases();
  Run held;
  REQUIRE(b.collect(held, 5) == Progress::records);
  (void)drain(b.reader);
  CHECK(b.bench.log().is_pinned(bases[0]));
  held = Run{};
  CHECK_FALSE(b.bench.log().is_pinned(bases[0]));
  CHECK(b.bench.log().is_pinned(bases.back()));
  b.reader.park();
  CHECK_FALSE(b.bench.log().is_pinned(bases.back()));
}

TEST_CASE("two readers of one consumer share a pin, and it lasts until the last lets go") {
  ReaderBench b;
  b.fill(5);
  const auto pins = b.bench.pins();
  Reader one{b.bench.log(), pins};
  {
    Reader other{b.bench.log(), pins};
    CHECK(drain(one).size() == 5);
    CHECK(drain(other).size() == 5);
    CHECK(pins->held.size() == 1);
    one.park();
    CHECK(b.bench.log().is_pinned(0));
  }
  CHECK_FALSE(b.bench.log().is_pinned(0));
  CHECK(pins->held.empty());
}

TEST_CASE("random seeks keep some segments pinned, never more than the limit, and none that was retired") {
  ReaderBench b;
  b.fill(20'000);
  const auto bases = b.bench.bases();
  REQUIRE(bases.size() > log::RecentSegments::max_size + 5);
  const auto pins = b.bench.pins();
  Reader reader{b.bench.log(), pins};
  for (int round = 0; round < 2; ++round)
    for (const auto base : bases) {
      reader.seek(base + 1);
      Run run;
      REQUIRE(reader.collect(run, 1, accept_all) == Progress::records);
    }
  CHECK(pins->held.size() <= log::RecentSegments::max_size + 1);
  CHECK(pins->held.size() > log::RecentSegments::max_size / 2);
  b.bench.state().log_start.raise_to(bases[bases.size() - 2], shm::seq_cst);
  reader.seek(bases.back());
  Run run;
  REQUIRE(reader.collect(run, 1, accept_all) == Progress::records);
  reader.seek(bases[bases.size() - 2]);
  run = Run{};
  REQUIRE(reader.collect(run, 1, accept_all) == Progress::records);
  CHECK(pins->held.size() <= 3);
}

TEST_CASE("there is something when a record, an abort or a next segment has come, and nothing before") {
  ReaderBench b;
  Run run;
  CHECK_FALSE(b.reader.has_something());
  put(b.appender, 0, 1'000);
  CHECK(b.reader.has_something());
  while (b.collect(run) == Progress::records) continue;
  CHECK_FALSE(b.reader.has_something());
  auto room = must(b.appender.reserve(24));
  CHECK_FALSE(b.reader.has_something());
  b.appender.abandon(room);
  CHECK(b.reader.has_something());
  CHECK(b.collect(run) == Progress::idle);
  CHECK_FALSE(b.reader.has_something());
  must(b.appender.roll());
  CHECK(b.reader.has_something());
}

TEST_CASE("a process that may only read reads all and changes no word") {
  TempDir dir;
  {
    LogBench bench{dir.path().string()};
    auto member = bench.claim();
    Appender appender{bench.log(), member};
    for (std::uint64_t i = 0; i < 1'000; ++i) put(appender, i, 1'000);
  }
  LogBench bench{dir.path().string(), {.writable = false}};
  CHECK(check_sequence(read_all(bench), 0) == 1'000);
  Reader reader{bench.log(), bench.pins()};
  CHECK(must(reader.find_end()).value > 0);
  CHECK(bench.state().resolved_to.load(shm::acquire) == 0);
  CHECK_FALSE(reader.help());
}

TEST_CASE("readers beside a writer see every record once and in order") {
  ReaderBench b;
  const std::uint64_t count = sanitized ? 20'000 : 100'000;
  std::vector<std::thread> threads;
  std::atomic<int> finished{0};
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      Reader reader{b.bench.log(), b.bench.pins()};
      std::uint64_t next = 0;
      while (next < count) {
        Run run;
        const auto progress = reader.collect(run, 100, accept_all);
        if (progress == Progress::failed || progress == Progress::out_of_range) return;
        if (progress != Progress::records) {
          std::this_thread::yield();
          continue;
        }
        std::vector<ReadRecord> records;
        take_run(run, b.bench.log(), records);
        for (const auto& record : records)
          if (record.number() != next++ || record.value != record_text(record.number(), record.value.size())) return;
      }
      ++finished;
    });
  for (std::uint64_t i = 0; i < count; ++i) put(b.appender, i, 8 + i % 300);
  for (auto& thread : threads) thread.join();
  CHECK(finished == 2);
}

TEST_CASE("a damaged segment in the way is a failure with its reason, and the position stays") {
  ReaderBench b;
  b.fill(600);
  const auto bases = b.bench.bases();
  REQUIRE(bases.size() >= 3);
  {
    const auto file =
        must(b.bench.directory().open(b.bench.log().segment_name(bases[1]).data(), shm::Access::read_write));
    const std::uint64_t nonsense = 1;
    must(shm::write_all(file, &nonsense, sizeof nonsense, 0));
  }
  Run run;
  std::uint64_t read = 0;
  auto progress = b.collect(run);
  for (; progress == Progress::records; progress = b.collect(run)) read += run.count;
  CHECK(progress == Progress::failed);
  CHECK(b.reader.failure() == Errc::corrupt);
  CHECK(b.collect(run) == Progress::failed);
  CHECK(b.reader.position() == read);
}

TEST_CASE("regression_010: a first record that comes and is seen while somebody looks for its segment is no damage") {
  for (const std::string point : {"attach.not_found", "active.not_found"}) {
    CAPTURE(point);
    ReaderBench b;
    auto other = b.bench.claim();
    arm(point, 1, [&](const char*) {
      Appender first{b.bench.log(), other};
      put(first, 0);
      CHECK(must(Reader{b.bench.log(), b.bench.pins()}.find_end()) == Offset{1});
    });
    Run run;
    if (point == "attach.not_found") {
      CHECK(b.collect(run) != Progress::failed);
      CHECK(b.collect(run) != Progress::failed);
    } else {
      CHECK(append(b.appender, "second").has_value());
    }
    CHECK(hits() == 1);
    disarm();
  }
}

TEST_CASE("regression_001: segments that come while a reader looks for the first one are not missing") {
  ReaderBench b{{.segment_bytes = 256_KiB}};
  arm("attach.not_found", 1, [&](const char*) { b.fill(2'000); });
  Run run;
  CHECK(b.collect(run) == Progress::records);
  CHECK(run.first == 0);
  CHECK(hits() == 1);
  CHECK(b.bench.bases().size() > 1);
  disarm();
}
