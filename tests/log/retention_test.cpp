#include <log/log_support.hpp>

using namespace towpath;
using namespace towpath::test;
using log::Appender;
using log::PartitionMaintenance;
using log::Reader;
using log::Run;

namespace {

struct RetentionBench {
  LogBench bench;
  Member member;
  Appender appender;
  Member care_member;
  PartitionMaintenance care;
  std::uint64_t next = 0;
  explicit RetentionBench(LogOptions options) : RetentionBench{(options.clock = ManualClock::clock(), options), 0} {}

  void write(std::uint64_t count, std::size_t size = 1'000) {
    for (std::uint64_t i = 0; i < count; ++i) must(append_at(appender, record_text(next++, size), now()));
  }
  static std::int64_t now() { return ManualClock::wall_ns.load(); }
  std::uint64_t live_bytes() const {
    std::uint64_t bytes = 0;
    for (const auto base : bench.bases())
      bytes += must(bench.directory().identify(bench.log().segment_name(base).data())).bytes;
    return bytes;
  }
  void check_rest() const {
    const auto records = read_all(bench);
    if (records.empty()) return;
    CHECK(check_sequence(records, records.front().number()) == next);
  }

 private:
  RetentionBench(const LogOptions& options, int)
      : bench{options},
        member{bench.claim()},
        appender{bench.log(), member},
        care_member{bench.claim(MemberKind::maintenance)},
        care{bench.log(), care_member, bench.pins()} {}
};

}  // namespace

TEST_CASE("without maintenance the log stays within its limit and two segments") {
  RetentionBench b{{.retention_bytes = 1_MiB}};
  for (int i = 0; i < 100; ++i) {
    b.write(100);
    CHECK(b.live_bytes() <= 1_MiB + 2 * 256_KiB + 256_KiB);
  }
  CHECK(b.live_bytes() >= 512_KiB);
  CHECK(b.bench.state().dropped.load(shm::relaxed) > 5'000);
  CHECK(b.bench.state().dropped.load(shm::relaxed) == b.bench.state().log_start.load(shm::relaxed));
  b.check_rest();
}

TEST_CASE("without maintenance a roll at the limit takes the file of what it pushes out") {
  RetentionBench b{{.retention_bytes = 1_MiB}};
  while (b.live_bytes() < 1_MiB) b.write(10);
  const auto fresh = b.bench.state().fresh.load(shm::relaxed);
  for (int i = 0; i < 2'000; ++i) {
    b.write(1);
    REQUIRE(b.live_bytes() <= 1_MiB);
  }
  CHECK(b.bench.state().rolls.load(shm::relaxed) > 8);
  CHECK(b.bench.state().fresh.load(shm::relaxed) == fresh);
  b.check_rest();
}

TEST_CASE("without maintenance, and where files are not used again, it is still the limit and two segments") {
  LogOptions options{.retention_bytes = 1_MiB};
  options.format.recycling = false;
  RetentionBench b{options};
  for (int i = 0; i < 50; ++i) {
    b.write(100);
    REQUIRE(b.live_bytes() <= 1_MiB + 2 * 256_KiB + 256_KiB);
  }
  CHECK(b.bench.state().recycled.load(shm::relaxed) == 0);
  b.check_rest();
}

TEST_CASE("regression_004: a count of live bytes that a crash left wrong removes nothing below the limit") {
  RetentionBench b{{.retention_bytes = 2_MiB}};
  b.write(500);
  const auto before = b.bench.bases();
  REQUIRE(before.size() > 1);
  b.bench.state().live_bytes.store(std::uint64_t{1} << 40, shm::seq_cst);
  while (b.bench.bases().size() == before.size()) b.write(10);
  CHECK(b.bench.bases().front() == before.front());
  CHECK(b.bench.state().log_start.load(shm::relaxed) == 0);
  b.bench.state().live_bytes.store(1, shm::seq_cst);  // too low: taking away more than it has must not wrap it
  must(b.care.step());
  CHECK(b.bench.state().live_bytes.load(shm::relaxed) == b.live_bytes());
  b.bench.state().live_bytes.store(1, shm::seq_cst);
  CHECK(log::Recycler{&b.bench.log(), &b.care_member}.retire(before[0], before[1] - before[0]) != log::Retired::no);
  CHECK(b.bench.state().live_bytes.load(shm::relaxed) == 0);
}

TEST_CASE("with maintenance the log and its spares stay within the limit") {
  RetentionBench b{{.retention_bytes = 2_MiB}};
  for (int i = 0; i < 100; ++i) {
    b.write(100);
    must(b.care.step());
    CHECK(b.live_bytes() + b.bench.count_files("spare.") * 256_KiB <= 2_MiB + 256_KiB);
  }
  CHECK(b.live_bytes() >= 1_MiB);
  b.check_rest();
}

TEST_CASE("no limit: nothing goes") {
  RetentionBench b{{}};
  b.write(5'000);
  must(b.care.step());
  ManualClock::pass(24h * 365);
  must(b.care.step());
  CHECK(b.bench.state().log_start.load(shm::relaxed) == 0);
  CHECK(read_all(b.bench).size() == 5'000);
}

TEST_CASE("a limit that is lowered takes effect at the next round") {
  RetentionBench b{{}};
  b.write(5'000);
  must(b.care.step());
  b.bench.words().retention_bytes.store(1_MiB, shm::relaxed);
  must(b.care.step());
  CHECK(b.live_bytes() <= 1_MiB);
  b.check_rest();
}

TEST_CASE("sealed segments go when their newest record is older than the age, not before") {
  RetentionBench b{{.retention_age = 10s}};
  b.write(300);
  ManualClock::pass(5s);
  b.write(300);
  const auto bases = b.bench.bases();
  REQUIRE(bases.size() >= 3);
  ManualClock::pass(5s);
  must(b.care.step());
  CHECK(b.bench.state().log_start.load(shm::relaxed) == 0);  // exactly at the age: not older
  ManualClock::pass(1ns);
  must(b.care.step());
  const auto start = b.bench.state().log_start.load(shm::relaxed);
  CHECK(start > 0);
  CHECK(start <= 300);
  CHECK(read_all(b.bench).size() >= 300);
  b.check_rest();
}

TEST_CASE(
    "the active segment is rolled when its newest record expires, so that it can go too; an empty one never rolls") {
  RetentionBench b{{.retention_age = 10s}};
  b.write(5);
  ManualClock::pass(11s);
  must(b.care.step());
  must(b.care.step());
  CHECK(b.bench.state().log_start.load(shm::relaxed) == 5);
  CHECK(read_all(b.bench).empty());
  const auto rolls = b.bench.state().rolls.load(shm::relaxed);
  for (int i = 0; i < 5; ++i) {
    ManualClock::pass(1h);
    must(b.care.step());
  }
  CHECK(b.bench.state().rolls.load(shm::relaxed) == rolls);
  CHECK(b.bench.bases().size() == 1);
  b.write(5);
  CHECK(read_all(b.bench).size() == 5);
}

TEST_CASE("a segment lives as long as its newest record, also when an older one was appended after it") {
  RetentionBench b{{.retention_age = 10s}};
  ManualClock::pass(1h);
  b.write(100);
  while (b.bench.bases().size() < 2)
    must(append_at(b.appender, record_text(b.next++, 1'000), b.now() - 3'600'000'000'000));
  must(b.care.step());
  must(b.care.step());
  CHECK(b.bench.state().log_start.load(shm::relaxed) == 0);
  CHECK(read_all(b.bench).size() == b.next);
  ManualClock::pass(11s);
  must(b.care.step());
  CHECK(b.bench.state().log_start.load(shm::relaxed) > 0);
}

TEST_CASE("an active segment whose last record is old but whose newest is not stays open") {
  RetentionBench b{{.retention_age = 10s}};
  ManualClock::pass(1h);
  b.write(3);
  must(append_at(b.appender, record_text(b.next++), b.now() - 3'600'000'000'000));
  must(b.care.step());
  must(b.care.step());
  CHECK(b.bench.state().rolls.load(shm::relaxed) == 0);
  CHECK(read_all(b.bench).size() == 4);
}

TEST_CASE("spares are made while the log rolls at full size, and given back when it has been quiet for a minute") {
  RetentionBench b{{}};
  b.write(10);
  must(b.care.step());
  CHECK(b.bench.count_files("spare.") == 0);
  b.write(1'000);
  must(b.care.step());
  CHECK(b.bench.count_files("spare.") == 2);
  const auto fresh = b.bench.state().fresh.load(shm::relaxed);
  b.write(300);
  CHECK(b.bench.state().fresh.load(shm::relaxed) == fresh);
  ManualClock::pass(61s);
  must(b.care.step());
  CHECK(b.bench.count_files("spare.") == 0);
  b.check_rest();
}

TEST_CASE("maintenance sweeps private files of the dead and of past incarnations, never those of the living") {
  RetentionBench b{{}};
  b.write(1);
  auto dead = b.bench.claim();
  const auto live_file = b.bench.log().own_name(b.member);
  const auto dead_file = b.bench.log().own_name(dead);
  make_file(b.bench.directory(), live_file.data(), 0);
  make_file(b.bench.directory(), dead_file.data(), 0);
  make_file(b.bench.directory(), "p/own.0.0.1", 0);  // line 0 lives, but not as incarnation 0
  make_file(b.bench.directory(), "p/own.nonsense", 0);
  make_file(b.bench.directory(), "p/a file of somebody else", 0);
  must(b.care.step());
  CHECK(b.bench.count_files("own.") == 3);
  dead = Member{};
  must(b.care.step());
  CHECK(b.bench.directory().identify(live_file.data()).has_value());
  CHECK_FALSE(b.bench.directory().identify(dead_file.data()).has_value());
  CHECK(b.bench.count_files("a file") == 1);
}

TEST_CASE("a retirement that a dead process began is finished") {
  RetentionBench b{{}};
  b.write(1'000);
  const auto bases = b.bench.bases();
  REQUIRE(bases.size() > 3);
  b.bench.state().log_start.raise_to(bases[2], shm::seq_cst);  // R1 of a process that died there, twice
  must(b.care.step());
  CHECK(b.bench.bases().front() == bases[2]);
  CHECK(b.bench.state().log_start.load(shm::relaxed) == bases[2]);
  CHECK(b.bench.state().dropped.load(shm::relaxed) == bases[2]);
  b.check_rest();
}

TEST_CASE("maintenance raises resolved_to, past slots of the dead at once and of the frozen after the grace") {
  RetentionBench b{{}};
  b.write(10);
  must(b.care.step());
  CHECK(b.bench.state().resolved_to.load(shm::acquire) == 10);
  CHECK(b.care.is_moving());
  must(b.care.step());
  CHECK_FALSE(b.care.is_moving());
  auto frozen = b.bench.claim();
  must(Appender{b.bench.log(), frozen}.reserve(40));
  b.write(10);
  for (int i = 0; i < 9; ++i) {
    must(b.care.step());
    ManualClock::pass(100ms);
  }
  CHECK(b.bench.state().resolved_to.load(shm::acquire) == 10);
  for (int i = 0; i < 3; ++i) {
    ManualClock::pass(100ms);
    must(b.care.step());
  }
  CHECK(b.bench.state().resolved_to.load(shm::acquire) == 21);
}

TEST_CASE("maintenance leaves alone where a busy log is written and read, and looks at all once it stands still") {
  RetentionBench b{{}};
  b.write(10);
  must(b.care.step());
  b.write(2'000);  // eight segments
  const auto bases = b.bench.bases();
  REQUIRE(bases.size() > 6);
  must(b.care.step());
  CHECK(b.bench.state().resolved_to.load(shm::acquire) == bases[bases.size() - 5]);
  CHECK_FALSE(b.care.is_moving());  // its rolls ask for rounds
  must(b.care.step());
  CHECK(b.bench.state().resolved_to.load(shm::acquire) == 2'010);
}

TEST_CASE("maintenance looks at all of a busy log that is to be flushed") {
  RetentionBench b{{}};
  b.bench.words().durability.store(1, shm::relaxed);
  b.write(10);
  must(b.care.step());
  b.write(2'000);
  must(b.care.step());
  CHECK(b.bench.state().resolved_to.load(shm::acquire) >= 2'010);
}

TEST_CASE("maintenance of a log without a folder, and of one that was deleted, does nothing and fails nothing") {
  RetentionBench b{{}};
  must(b.care.step());
  CHECK(b.bench.bases().empty());
  CHECK_FALSE(b.bench.directory().list("p").has_value());
}

TEST_CASE("live_bytes is put right by maintenance after a crash left it wrong") {
  RetentionBench b{{}};
  b.write(1'000);
  b.bench.state().live_bytes.store(1, shm::relaxed);
  must(b.care.step());
  CHECK(b.bench.state().live_bytes.load(shm::relaxed) == b.live_bytes());
}

TEST_CASE("a sealed segment of nothing but aborted offsets does not keep those behind it from expiring") {
  RetentionBench b{{.retention_age = 10s}};
  b.appender.abandon(must(b.appender.reserve(40)));
  must(b.appender.roll());
  b.write(300);
  ManualClock::pass(11s);
  must(b.care.step());
  CHECK(b.bench.state().log_start.load(shm::relaxed) > 100);
}

TEST_CASE("timestamps at the ends of time expire, or do not, and overflow nothing") {
  RetentionBench b{{.retention_age = 10s}};
  must(append_at(b.appender, record_text(0), std::numeric_limits<std::int64_t>::min()));
  must(b.appender.roll());
  must(append_at(b.appender, record_text(1), std::numeric_limits<std::int64_t>::max()));
  must(b.appender.roll());
  must(b.care.step());
  CHECK(b.bench.state().log_start.load(shm::relaxed) > 0);
  CHECK(read_all(b.bench).size() == 1);
}
