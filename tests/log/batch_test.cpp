// Atomic batches: one reservation, one commit. A reader sees all of a batch or nothing of it, whoever dies when,
// wherever it begins to read, and however large the batch is.
#include <log/log_support.hpp>

#include <thread>

using namespace towpath;
using namespace towpath::test;
using log::Appender;
using log::Progress;
using log::Reader;
using log::Run;
using log::Slot;

namespace {

struct BatchBench {
  LogBench bench;
  Member member;
  Appender appender;
  Reader reader;
  Run run;

  explicit BatchBench(LogOptions options = {.clock = ManualClock::clock()})
      : bench{options}, member{bench.claim()}, appender{bench.log(), member}, reader{bench.log(), bench.pins()} {}

  Progress collect(std::uint64_t max = 100'000) { return reader.collect(run, max, accept_all); }
  std::vector<ReadRecord> records() {
    std::vector<ReadRecord> found;
    take_run(run, bench.log(), found);
    return found;
  }
};

/// What a reader that begins at `offset` sees, as numbers; nothing while it is blocked.
std::vector<std::uint64_t> numbers_from(const LogBench& bench, std::uint64_t offset, std::uint64_t step = 1'000) {
  Reader reader{bench.log(), bench.pins()};
  reader.seek(offset);
  std::vector<ReadRecord> records;
  Run run;
  while (reader.collect(run, step, accept_all) == Progress::records) take_run(run, bench.log(), records);
  std::vector<std::uint64_t> numbers;
  for (const auto& record : records) numbers.push_back(record.number());
  return numbers;
}

std::vector<std::uint64_t> range(std::uint64_t from, std::uint64_t to) {
  std::vector<std::uint64_t> numbers;
  for (; from < to; ++from) numbers.push_back(from);
  return numbers;
}

/// Reserves a batch of `count` and dies at the failpoint, after `nth` passes.
void die_in_a_batch(const std::string& folder, const std::string& failpoint, unsigned nth, std::uint64_t count) {
  auto child = spawn("die_in_a_batch", {folder, failpoint, std::to_string(nth), std::to_string(count)});
  REQUIRE(child.wait(20s) == ExitStatus{-1, SIGKILL});
}

}  // namespace

TOWPATH_ROLE("die_in_a_batch") {
  LogBench bench{args.at(0)};
  auto member = bench.claim();
  Appender appender{bench.log(), member};
  put(appender, 0);
  arm(args.at(1), static_cast<unsigned>(std::stoul(args.at(2))), Action::kill);
  put_batch(appender, 1, std::stoull(args.at(3)));
  return 1;
}

TOWPATH_ROLE("batches_without_end") {
  LogBench bench{args.at(0)};
  auto member = bench.claim();
  Appender appender{bench.log(), member};
  arm_random_kill(std::stoull(args.at(1)), 2'000);
  for (std::uint64_t i = 0;; ++i) put_batch(appender, i << 32, 1 + i * 7 % 90, 8 + i % 5 * 300);
}

TEST_CASE("the records of a batch have offsets in a row, and a reader finds them in order among single ones") {
  BatchBench b;
  put(b.appender, 0);
  CHECK(put_batch(b.appender, 1, 16) == Offset{1});
  CHECK(put(b.appender, 17) == Offset{17});
  CHECK(put_batch(b.appender, 18, 1) == Offset{18});
  REQUIRE(b.collect() == Progress::records);
  CHECK(b.run.count == 19);
  const auto records = b.records();
  CHECK(check_sequence(records, 0) == 19);
  for (std::uint64_t i = 0; i < records.size(); ++i) CHECK(records[i].offset == i);
}

TEST_CASE("nothing of a batch is seen before it is committed, from wherever a reader comes; then all of it") {
  BatchBench b;
  put(b.appender, 0);
  const auto room = write_batch(b.appender, 1, 10);
  auto other = b.bench.claim();
  Appender its{b.bench.log(), other};
  put(its, 11);
  for (std::uint64_t from = 1; from <= 10; ++from) CHECK(numbers_from(b.bench, from).empty());
  Reader early{b.bench.log(), b.bench.pins()};  // stands inside the batch while it becomes whole
  early.seek(5);
  Run run;
  CHECK(early.collect(run, 100, accept_all) == Progress::blocked);
  REQUIRE(b.appender.commit(room));
  REQUIRE(early.collect(run, 100, accept_all) == Progress::records);
  CHECK(run.count == 7);
  for (std::uint64_t from = 0; from <= 11; ++from) {
    CHECK(numbers_from(b.bench, from) == range(from, 12));
    CHECK(numbers_from(b.bench, from, 3) == range(from, 12));  // polls that end inside
  }
}

TEST_CASE("a reader that stands where a batch is not even written yet waits for the whole of it") {
  BatchBench b;
  const auto room = must(b.appender.reserve({4 * 128, 4}, 124));
  Reader early{b.bench.log(), b.bench.pins()};
  early.seek(2);
  Run run;
  CHECK(early.collect(run, 100, accept_all) == Progress::blocked);
  log::FrameSpec spec{.value_size = 100, .batch_count = 4};
  const auto layout = log::FrameLayout::of(spec, 8);
  for (std::uint64_t i = 0; i < 4; ++i) {
    fill_frame(room.frame + i * 128, layout, spec, record_text(i), i, b.appender.segment());
    if (i > 0) b.appender.place(room, i, room.position + i * 128, 124);
    CHECK(early.collect(run, 100, accept_all) == Progress::blocked);
  }
  REQUIRE(b.appender.commit(room));
  REQUIRE(early.collect(run, 100, accept_all) == Progress::records);
  CHECK(run.count == 2);
}

TEST_CASE(
    "a batch whose owner was frozen for the grace goes whole, and what it writes later into its slots stays hidden") {
  BatchBench b;
  auto frozen = b.bench.claim();
  Appender its{b.bench.log(), frozen};
  const auto room = must(its.reserve({10 * 128, 10}, 124));
  put(b.appender, 100);
  CHECK(b.collect() == Progress::blocked);
  CHECK_FALSE(b.reader.help());
  ManualClock::pass(1s - 1ns);
  CHECK_FALSE(b.reader.help());
  ManualClock::pass(1ns);
  CHECK(b.reader.help());  // one grace for all ten
  REQUIRE(b.collect() == Progress::records);
  CHECK(b.reader.position() == 11);
  for (std::uint64_t i = 1; i < 10; ++i) its.place(room, i, room.position + i * 128, 124);  // it thaws
  CHECK_FALSE(its.commit(room));
  for (std::uint64_t from = 0; from <= 10; ++from) CHECK(numbers_from(b.bench, from) == range(100, 101));
  CHECK(put_batch(its, 101, 10) == Offset{11});
  CHECK(numbers_from(b.bench, 3) == range(100, 111));
}

TEST_CASE(
    "a reader that was sought into a frozen owner's batch gives up all of it or nothing: it loses no record of it") {
  for (const std::uint64_t placed : {0u, 1u, 3u}) {
    CAPTURE(placed);
    BatchBench b;
    put(b.appender, 0);
    auto frozen = b.bench.claim();
    Appender its{b.bench.log(), frozen};
    const auto room = must(its.reserve({4 * 128, 4}, 124));  // slots 1 to 4
    for (std::uint64_t i = 1; i <= placed; ++i) its.place(room, i, room.position + i * 128, 124);
    b.reader.seek(3);
    CHECK(b.collect() == Progress::blocked);
    CHECK_FALSE(b.reader.help());
    ManualClock::pass(1s);
    CHECK(b.reader.help());
    CHECK(b.collect() == Progress::idle);
    for (std::uint64_t i = 1; i < 4; ++i) its.place(room, i, room.position + i * 128, 124);
    CHECK_FALSE(its.commit(room));
    put(b.appender, 9);
    REQUIRE(b.collect() == Progress::records);
    CHECK(b.run.count == 1);
    CHECK(b.reader.position() == 6);
  }
}

TEST_CASE("a batch that is given up leaves nothing, wherever its owner was with it") {
  for (const std::uint64_t placed : {0u, 4u, 9u}) {
    BatchBench b;
    const auto room = must(b.appender.reserve({10 * 128, 10}, 124));
    for (std::uint64_t i = 1; i <= placed; ++i) b.appender.place(room, i, room.position + i * 128, 124);
    b.appender.abandon(room);
    put(b.appender, 7);
    for (std::uint64_t from = 0; from <= 10; ++from) CHECK(numbers_from(b.bench, from) == range(7, 8));
  }
}

TEST_CASE("a reader that stands inside a dead owner's batch gets past it, without waiting for the grace") {
  for (const std::uint64_t stands_at : {1u, 2u, 1'000u, 2'000u}) {
    CAPTURE(stands_at);
    TempDir dir;
    LogOptions options{.grace = 1h};
    LogBench bench{dir.path().string(), options};
    die_in_a_batch(dir.path().string(), "batch.half_placed", 1'500, 2'000);
    auto member = bench.claim();
    Appender appender{bench.log(), member};
    put(appender, 5);
    Reader reader{bench.log(), bench.pins()};
    reader.seek(stands_at);
    const auto records = drain(reader);
    REQUIRE(records.size() == 1);
    CHECK(records[0].number() == 5);
    CHECK(records[0].offset == 2'001);
  }
}

TEST_CASE("a batch of any size finds or makes a segment that has room for it") {
  BatchBench b;
  std::uint64_t number = 0;
  for (const std::uint64_t count : {1u, 64u, 65u, 2'047u, 2'048u, 2'049u, 7'136u, 7'137u, 20'000u, 100'000u, 3u}) {
    CAPTURE(count);
    put_batch(b.appender, number, count, 8);
    number += count;
    put(b.appender, number++, 8);
  }
  CHECK(check_sequence(read_all(b.bench), 0) == number);
  const auto first = must(b.bench.log().open(0, log::Use::look));
  CHECK(first.geometry().segment_bytes == 256_KiB);
}

TEST_CASE("the line of a writer of 2,048 records or more names all of them") {
  BatchBench b;
  for (const std::uint64_t count : {2'047u, 2'048u, 2'049u, 5'000u}) {
    CAPTURE(count);
    const auto room = must(b.appender.reserve({count * 32, count}, 24));
    const auto touches = [&](std::uint64_t n) {
      return log::may_touch(b.member.line(), b.bench.log(), b.appender.segment(), n, n + 1);
    };
    CHECK(touches(room.n));
    CHECK(touches(room.n + count - 1));
    CHECK_FALSE(touches(room.n + count));
    b.appender.abandon(room);
    CHECK_FALSE(touches(room.n));
  }
}

TEST_CASE("batches that do not fit behind the last record begin the next segment whole, and leave no gap behind") {
  BatchBench b;
  std::uint64_t number = 0;
  while (b.bench.state().rolls.load(shm::relaxed) < 6) {
    put_batch(b.appender, number, 50, 1'200);  // by fetch_add: 61 KB
    number += 50;
  }
  CHECK(check_sequence(read_all(b.bench), 0) == number);
  const auto bases = b.bench.bases();
  for (std::size_t i = 0; i + 1 < bases.size(); ++i)
    CHECK(numbers_from(b.bench, bases[i + 1]).front() % 50 == 0);  // none is cut in two
}

TEST_CASE("writers of batches and of single records side by side lose, double and mix up nothing") {
  LogBench bench;
  constexpr std::uint64_t each = 600;
  const auto write = [&](std::uint64_t writer, std::uint64_t count) {
    auto member = bench.claim();
    Appender appender{bench.log(), member};
    for (std::uint64_t i = 0; i < each; ++i) {
      const std::uint64_t number = writer << 40 | i << 16;
      if (count == 1)
        put(appender, number, 300);
      else
        put_batch(appender, number, count, 300);
    }
  };
  {
    std::jthread a{[&] { write(1, 1); }}, b{[&] { write(2, 7); }}, c{[&] { write(3, 80); }};
  }
  const auto records = read_all(bench);
  CHECK(records.size() == each * (1 + 7 + 80));
  std::uint64_t next[4] = {};
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto number = records[i].number();
    const auto writer = number >> 40;
    REQUIRE(number == (writer << 40 | next[writer]));
    const std::uint64_t count = writer == 1 ? 1 : writer == 2 ? 7 : 80;
    const auto in_batch = number & 0xFFFF;
    if (in_batch > 0) REQUIRE(records[i].offset == records[i - 1].offset + 1);
    next[writer] = in_batch + 1 < count ? (number & 0xFF'FFFF'FFFF) + 1 : (number & 0xFF'FFFF'0000) + 0x1'0000;
  }
}

TEST_CASE("however a writer of batches is killed, each batch is there whole or not at all") {
  TempDir dir;
  LogBench bench{dir.path().string()};
  for (std::uint64_t seed = 1; seed <= (sanitized ? 5 : 25); ++seed) {
    auto child = spawn("batches_without_end", {dir.path().string(), std::to_string(seed)});
    REQUIRE(child.wait(60s) == ExitStatus{-1, SIGKILL});
  }
  std::uint64_t begun = 0;
  std::uint64_t left = 0;
  std::uint64_t expected = 0;
  for (const auto& record : read_all(bench)) {
    if (left == 0) {
      const std::uint64_t i = record.number() >> 32;
      REQUIRE(record.number() == i << 32);
      left = 1 + i * 7 % 90, expected = record.number(), ++begun;
    }
    REQUIRE(record.number() == expected);
    ++expected, --left;
  }
  CHECK(left == 0);
  CHECK(begun > (sanitized ? 20 : 100));
}

TEST_CASE("a time is found inside a batch, and in an index that was made over batches") {
  BatchBench b;
  const auto stamp = [&](std::uint64_t n, std::int64_t at) {  // give record n a time of its own
    const auto& segment = b.appender.segment();
    const auto slot = segment.slots[n].load(shm::acquire);
    std::memcpy(segment.data + Slot::position(slot) + offsetof(log::FrameHeader, timestamp_ns), &at, 8);
  };
  const auto room = write_batch(b.appender, 0, 10);
  REQUIRE(b.appender.commit(room));
  const auto gone = write_batch(b.appender, 10, 10);
  b.appender.abandon(gone);
  put_batch(b.appender, 20, 10);
  for (std::uint64_t n = 0; n < 30; ++n)
    if (n != 10) stamp(n, n >= 10 && n < 20 ? 9'999 : static_cast<std::int64_t>(n) * 10);
  const auto find = [&](std::int64_t at) {
    const auto found = must(log::offset_for_time(b.bench.log(), b.bench.pins(), &b.member, Timestamp{Duration{at}}));
    return found ? found->value : -1;
  };
  for (const bool sealed : {false, true}) {
    CAPTURE(sealed);
    if (sealed) must(b.appender.roll());
    CHECK(find(0) == 0);
    CHECK(find(41) == 5);
    CHECK(find(95) == 20);  // what was given up counts for nothing
    CHECK(find(281) == 29);
    CHECK(find(291) == -1);
  }
}
