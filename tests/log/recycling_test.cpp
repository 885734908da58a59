#include <log/log_support.hpp>

using namespace towpath;
using namespace towpath::test;
using log::Appender;
using log::Reader;
using log::Recycler;
using log::Retired;
using log::Run;

namespace {

struct RecyclingBench {
  LogBench bench;
  Member member;
  Appender appender;
  std::uint64_t next = 0;
  explicit RecyclingBench(const LogOptions& options = {})
      : bench{options}, member{bench.claim()}, appender{bench.log(), member} {}

  /// Appends until the log has `count` segments beyond those it has.
  void roll(std::size_t count = 1) {
    const auto rolls = bench.state().rolls.load(shm::relaxed) + count;
    while (bench.state().rolls.load(shm::relaxed) < rolls) put(appender, next++, 1'000);
  }
  Retired retire_front() {
    const auto base = bench.bases().front();
    return Recycler{&bench.log(), &member}.retire(base, log::retirable_slots(bench.log(), base));
  }
  std::uint64_t recycled() const { return bench.state().recycled.load(shm::relaxed); }
  std::uint64_t unlinked() const { return bench.state().unlinked.load(shm::relaxed); }
};

/// Everything that is left is in order, up to the last that was appended.
void check_tail(const RecyclingBench& b) {
  const auto records = read_all(b.bench);
  REQUIRE_FALSE(records.empty());
  CHECK(check_sequence(records, records.front().number()) == b.next);
}

}  // namespace

TEST_CASE("a retired segment becomes a spare, and the next roll of that size takes it instead of a new file") {
  RecyclingBench b;
  b.roll(2);
  const auto inode = must(b.bench.directory().identify(b.bench.log().segment_name(b.bench.bases()[0]).data())).id;
  CHECK(b.retire_front() == Retired::recycled);
  CHECK(b.recycled() == 1);
  CHECK(b.bench.count_files("spare.") == 1);
  CHECK(b.bench.count_files("own.") == 0);
  const auto fresh = b.bench.state().fresh.load(shm::relaxed);
  b.roll();
  CHECK(b.bench.state().fresh.load(shm::relaxed) == fresh);
  CHECK(b.bench.count_files("spare.") == 0);
  CHECK(must(b.bench.directory().identify(b.bench.log().segment_name(b.bench.bases().back()).data())).id == inode);
  check_tail(b);
}

TEST_CASE("a spare is clean: no slot decided, not sealed, closed, unset, another uuid and generation") {
  RecyclingBench b;
  b.roll(2);
  const auto before = must(b.bench.log().open(0, log::Use::append));
  const auto uuid_before = before.uuid;
  CHECK(b.retire_front() != Retired::no);
  const auto spare = must(
      log::Segment::open(b.bench.directory(), b.bench.log().spare_name(0).data(), log::unset_base, log::Use::append));
  CHECK(spare.uuid != uuid_before);
  CHECK(spare.header->generation.load(shm::acquire) == 2);
  CHECK(spare.header->sealed.load(shm::acquire) == 0);
  CHECK(log::Tail::is_closed(spare.header->tail.load(shm::acquire)));
  for (std::uint64_t n = 0; n < spare.slot_count; ++n)
    if (spare.slots[n].load(shm::acquire) != 0) FAIL("a slot of the past incarnation is left");
}

TEST_CASE("a thousand segments through recycling need a handful of files and lose nothing that is kept") {
  RecyclingBench b{{.retention_bytes = 1_MiB}};
  b.roll(sanitized ? 200 : 1'000);
  CHECK(b.bench.state().fresh.load(shm::relaxed) < 20);
  CHECK(b.bench.count_files("") < 20);
  check_tail(b);
}

TEST_CASE("a segment that somebody pins is unlinked, not recycled, and its reader reads on") {
  RecyclingBench b;
  b.roll(2);
  Reader reader{b.bench.log(), b.bench.pins()};
  Run run;
  REQUIRE(reader.collect(run, 5, accept_all) == log::Progress::records);
  CHECK(b.retire_front() != Retired::no);
  CHECK(b.recycled() == 0);
  CHECK(b.unlinked() == 1);
  CHECK(b.bench.count_files("spare.") == 0);
  b.roll(3);
  std::vector<ReadRecord> records;
  take_run(run, b.bench.log(), records);
  run = Run{};
  for (const auto& record : drain(reader)) records.push_back(record);
  CHECK(check_sequence(records, 0) == b.next);
}

TEST_CASE("a live member in flight in a segment keeps it from being recycled; one elsewhere, or dead, does not") {
  RecyclingBench b;
  b.roll(2);
  const auto bases = b.bench.bases();
  auto other = b.bench.claim();
  auto& line = other.line();
  bool doubt = true;
  const auto fly = [&](std::uint64_t word, std::uint64_t uid) {
    line.uid.store(uid, shm::release);
    line.inflight.store(word, shm::release);
  };
  SUBCASE("reserving in it") { fly(log::Inflight::reserving(bases[0]), 7); }
  SUBCASE("writing in it") { fly(log::Inflight::writing(bases[0] + 3), 7); }
  SUBCASE("writing its last slot") { fly(log::Inflight::writing(bases[1] - 1), 7); }
  SUBCASE("a batch that reaches into it") { fly(log::Inflight::writing(bases[1] - 1, 5), 7); }
  SUBCASE("writing in the next") { fly(log::Inflight::writing(bases[1]), 7), doubt = false; }
  SUBCASE("reserving in the next") { fly(log::Inflight::reserving(bases[1]), 7), doubt = false; }
  SUBCASE("in another partition") { fly(log::Inflight::writing(bases[0] + 3), 8), doubt = false; }
  SUBCASE("dead") {
    const auto index = other.index();
    other = Member{};
    b.bench.members().line(index).uid.store(7, shm::release);
    b.bench.members().line(index).inflight.store(log::Inflight::writing(bases[0] + 3), shm::release);
    doubt = false;
  }
  CHECK(b.retire_front() != Retired::no);
  CHECK(b.recycled() == (doubt ? 0 : 1));
  CHECK(b.unlinked() == (doubt ? 1 : 0));
}

TEST_CASE("where recycling is off every retired segment is unlinked") {
  LogOptions options;
  options.format.recycling = false;
  RecyclingBench b{options};
  b.roll(3);
  CHECK(b.retire_front() != Retired::no);
  CHECK(b.retire_front() != Retired::no);
  CHECK(b.recycled() == 0);
  CHECK(b.unlinked() == 2);
  CHECK(b.bench.count_files("spare.") == 0);
  check_tail(b);
}

TEST_CASE("two that retire one segment: one does it, and what is counted as dropped is counted once") {
  RecyclingBench b;
  b.roll(2);
  auto other = b.bench.claim();
  const auto base = b.bench.bases()[0];
  const auto count = log::retirable_slots(b.bench.log(), base);
  CHECK(Recycler{&b.bench.log(), &b.member}.retire(base, count) == Retired::recycled);
  CHECK(Recycler{&b.bench.log(), &other}.retire(base, count) == Retired::no);
  CHECK(b.bench.state().dropped.load(shm::relaxed) == count);
  CHECK(b.bench.state().log_start.load(shm::relaxed) == base + count);
}

TEST_CASE("the active segment, and one whose follower is not there yet, may not go") {
  RecyclingBench b;
  put(b.appender, b.next++);
  CHECK(log::retirable_slots(b.bench.log(), 0) == 0);
  const auto active = must(b.bench.log().open(0, log::Use::append));
  active.seal(1);
  CHECK(log::retirable_slots(b.bench.log(), 0) == 0);
}

TEST_CASE(
    "a segment of another shape than the next one will have is unlinked, and a spare of another shape never used") {
  RecyclingBench b{{.segment_bytes = 4_MiB}};
  b.roll(1);
  CHECK(b.retire_front() == Retired::unlinked);  // of 256 KiB; the next one will be of 4 MiB
  CHECK(b.bench.count_files("spare.") == 0);
  must(b.bench.log().make_file(b.bench.log().spare_name(0).data(), log::Geometry::plan(256_KiB, 1'000, {1'000})));
  b.roll(1);
  CHECK(b.bench.count_files("spare.") == 0);
  CHECK(b.appender.segment().geometry().segment_bytes == 4_MiB);
  check_tail(b);
}

TEST_CASE("no more spares are kept than there are names for") {
  RecyclingBench b;
  b.roll(log::spare_names + 3);
  for (std::size_t i = 0; i < log::spare_names + 2; ++i) CHECK(b.retire_front() != Retired::no);
  CHECK(b.bench.count_files("spare.") == log::spare_names);
  CHECK(b.unlinked() == 2);
  CHECK(b.bench.count_files("own.") == 0);
}

TEST_CASE("a stale reserver, whose segment was recycled under another base, touches nothing there and gets on") {
  RecyclingBench b;
  put(b.appender, b.next++, 1'000);
  auto sleeper_member = b.bench.claim();
  Appender sleeper{b.bench.log(), sleeper_member};
  put(sleeper, b.next++, 1'000);  // it holds the first segment now, and sleeps
  b.roll(2);
  CHECK(b.retire_front() != Retired::no);
  b.roll(1);
  REQUIRE(b.recycled() == 1);
  REQUIRE(sleeper.segment().header->base.load(shm::acquire) == b.bench.bases().back());
  put(sleeper, b.next++, 1'000);
  CHECK(b.bench.state().stale.load(shm::relaxed) == 1);
  const auto records = read_all(b.bench);
  CHECK(check_sequence(records, records.front().number()) == b.next);
}

TEST_CASE("a sleeper whose segment is a closed spare finds the log's end") {
  RecyclingBench b;
  auto sleeper_member = b.bench.claim();
  Appender sleeper{b.bench.log(), sleeper_member};
  put(sleeper, b.next++, 1'000);
  b.roll(2);
  CHECK(b.retire_front() != Retired::no);
  CHECK(log::Tail::is_closed(sleeper.segment().header->tail.load(shm::acquire)));
  put(sleeper, b.next++, 100'000);  // also over 64 KiB
  put(b.appender, b.next++);
  check_tail(b);
}
