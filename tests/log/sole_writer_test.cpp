// A partition with one writer: who may write, where it goes on after a death, who may close its segments.
#include <log/log_support.hpp>

using namespace towpath;
using namespace towpath::test;
using log::Appender;
using log::PartitionMaintenance;
using log::Progress;
using log::Reader;
using log::Run;
using log::Slot;

namespace {

LogOptions alone(LogOptions options = {}) {
  options.format.one_writer = true;
  return options;
}
LogOptions alone_by_hand(LogOptions options = {}) {
  options.clock = ManualClock::clock();
  return alone(options);
}

/// One process with a writer, a reader and maintenance.
struct SoleBench {
  LogBench bench;
  Member member = bench.claim();
  Appender appender{bench.log(), member};
  Member care_member = bench.claim(MemberKind::maintenance);
  PartitionMaintenance care{bench.log(), care_member, bench.pins()};
  Reader reader{bench.log(), bench.pins()};
  Run run;

  explicit SoleBench(const LogOptions& options = alone_by_hand()) : bench{options} {}
  SoleBench(const std::string& folder, const LogOptions& options) : bench{folder, options} {}

  Progress collect() { return reader.collect(run, 10'000, accept_all); }
  std::uint64_t rolls() const { return bench.state().rolls.load(shm::relaxed); }
  std::uint64_t aborted() const { return bench.state().aborted.load(shm::relaxed); }
  Slot::State slot(std::uint64_t n) const {
    return Slot::state(must(bench.log().open(0, log::Use::append)).slots[n].load(shm::acquire));
  }
};

}  // namespace

/// Appends ten records, takes room for three more as a batch or a record, and waits to be killed.
TOWPATH_ROLE("sole_reserve") {
  LogBench bench{args.at(0), alone()};
  auto member = bench.claim();
  Appender appender{bench.log(), member};
  for (std::uint64_t i = 0; i < 10; ++i) put(appender, i);
  if (args.at(1) == "batch")
    (void)write_batch(appender, 10, 3);
  else
    must(appender.reserve(100));
  say("reserved");
  hang();
}

TEST_CASE("a second writer of a partition with one is refused while the first is there, then goes on behind it") {
  SoleBench b;
  auto other_member = b.bench.claim();
  Appender other{b.bench.log(), other_member};
  {
    Appender first{b.bench.log(), b.member};
    CHECK(put(first, 0).value == 0);
    const auto refused = append(other, record_text(9));
    CHECK(refused.error() == Errc::busy);
    CHECK(put(first, 1).value == 1);
    CHECK(other.own().error() == Errc::busy);
  }
  CHECK(put(other, 2).value == 2);
  CHECK(append(b.appender, record_text(9)).error() == Errc::busy);
  CHECK(check_sequence(read_all(b.bench), 0) == 3);
}

TEST_CASE("one writer's records, batches, large ones and given-up ones have the offsets that they would have anyway") {
  SoleBench b{alone_by_hand({.retention_bytes = 4_MiB})};
  std::uint64_t number = 0, offset = 0;
  for (std::uint64_t round = 0; round < 2'000; ++round) {
    const std::size_t size = round % 40 == 9 ? 90'000 : 10 + round * 997 % 3'000;
    CHECK(put(b.appender, number++, size).value == static_cast<std::int64_t>(offset++));
    if (round % 13 == 6) {
      CHECK(put_batch(b.appender, number, 17, 100).value == static_cast<std::int64_t>(offset));
      number += 17, offset += 17;
    }
    if (round % 7 == 3) b.appender.abandon(must(b.appender.reserve(100))), ++offset;
    if (round % 100 == 50) must(b.care.step());
  }
  CHECK(b.rolls() > 10);
  CHECK(b.bench.state().recycled.load(shm::relaxed) > 0);
  CHECK(b.bench.state().stale.load(shm::relaxed) == 0);
  const auto records = read_all(b.bench);
  CHECK(check_sequence(records, records.front().number()) == number);
  for (const auto base : b.bench.bases()) {  // no slot is wasted by a roll: every segment ends behind what stands in it
    const auto segment = must(b.bench.log().open(base, log::Use::append));
    const auto sealed = segment.sealed_count();
    if (sealed != 0) CHECK(log::Tail::count(segment.header->tail.load(shm::acquire)) == sealed);
  }
}

TEST_CASE("a batch with more records than a segment has slots for, or more bytes, gets a segment that holds it") {
  SoleBench b;
  put(b.appender, 0);
  CHECK(put_batch(b.appender, 1, 5'000, 8).value == 1);
  CHECK(put(b.appender, 5'001, 400'000).value == 5'001);
  CHECK(check_sequence(read_all(b.bench), 0) == 5'002);
}

TEST_CASE("a first record that the first segment cannot hold costs one offset, as with many writers") {
  SoleBench b;
  put(b.appender, 0, 10);
  LogBench fresh{alone_by_hand()};
  auto member = fresh.claim();
  Appender appender{fresh.log(), member};
  must(appender.roll());  // makes the first segment, which stays open: it is empty
  CHECK(fresh.state().rolls.load(shm::relaxed) == 0);
  CHECK(put(appender, 0, 400'000).value == 1);
  CHECK(check_sequence(read_all(fresh), 0) == 1);
}

TEST_CASE("the open slot of one writer is never given up while it lives, however long it takes") {
  SoleBench b;
  put(b.appender, 0);
  const auto room = must(b.appender.reserve(124));
  REQUIRE(b.collect() == Progress::records);
  CHECK(b.collect() == Progress::blocked);
  for (int i = 0; i < 5; ++i) {
    CHECK_FALSE(b.reader.help());
    must(b.care.step());
    ManualClock::pass(10s);
  }
  CHECK(b.aborted() == 0);
  b.appender.abandon(room);
  put(b.appender, 1);
  CHECK(b.collect() == Progress::records);
}

TEST_CASE("what a dead writer left open is given up by readers at once, or by the next writer; never used again") {
  for (const char* what : {"record", "batch"})
    for (const bool by_reader : {true, false}) {
      CAPTURE(std::string{what});
      CAPTURE(by_reader);
      TempDir dir;
      SoleBench b{dir.path().string(), alone()};
      auto child = spawn("sole_reserve", {dir.path().string(), what});
      child.wait_for("reserved", 10s);
      CHECK(append(b.appender, record_text(9)).error() == Errc::busy);
      CHECK_FALSE(b.reader.help());
      child.kill();
      const std::uint64_t left = std::string_view{what} == "batch" ? 3 : 1;
      if (by_reader) CHECK(drain(b.reader).size() == 10);
      if (!by_reader) CHECK(b.aborted() == 0);
      CHECK(put(b.appender, 10).value == static_cast<std::int64_t>(10 + left));
      CHECK(b.slot(10) == Slot::aborted);
      CHECK(b.aborted() == 1);  // of a batch the head; what is continued behind it counts for nothing
      CHECK(check_sequence(read_all(b.bench), 0) == 11);
    }
}

TEST_CASE("a live writer is asked to close an old segment and does so at its next append; a dead one's is closed") {
  SoleBench b{alone_by_hand({.retention_age = 10s})};
  const auto write = [&](std::uint64_t number) {
    must(append_at(b.appender, record_text(number), ManualClock::wall_ns.load()));
  };
  for (std::uint64_t i = 0; i < 5; ++i) write(i);
  ManualClock::pass(11s);
  must(b.care.step());
  must(b.care.step());
  CHECK(b.rolls() == 0);
  CHECK(read_all(b.bench).size() == 5);  // nothing moves until it appends
  write(5);
  CHECK(b.rolls() == 1);
  CHECK(b.bench.bases() == std::vector<std::uint64_t>{0, 5});
  must(b.care.step());
  CHECK(b.bench.bases() == std::vector<std::uint64_t>{5});
  write(6);  // asked once, not for ever
  CHECK(b.rolls() == 1);
  ManualClock::pass(11s);
  b.appender = Appender{b.bench.log(), b.member};  // the writer goes
  must(b.care.step());
  CHECK(b.rolls() == 2);
  write(7);
  CHECK(b.bench.bases() == std::vector<std::uint64_t>{5, 7});
  CHECK(must(append(b.appender, record_text(8))).value == 8);
}

TEST_CASE("a request to close a segment that comes too late asks for nothing, and so does one for an empty segment") {
  SoleBench b;
  put(b.appender, 0);
  must(b.bench.log().open(0, log::Use::append)).header->roll_request.store(100, shm::relaxed);
  put(b.appender, 1);
  CHECK(b.rolls() == 0);
  log::SoleWriter::request_roll(b.bench.log());
  put(b.appender, 2);
  CHECK(b.rolls() == 1);
  must(b.appender.roll());
  CHECK(b.rolls() == 2);
  log::SoleWriter::request_roll(b.bench.log());  // to close the third, in which nothing stands
  put(b.appender, 3);
  CHECK(b.rolls() == 2);
  put(b.appender, 4);
  CHECK(b.rolls() == 2);
  CHECK(check_sequence(read_all(b.bench), 0) == 5);
}

TEST_CASE("a writer whose partition failed is asked to end it, whatever stands in its segment") {
  for (const std::uint64_t records : {std::uint64_t{0}, std::uint64_t{3}}) {
    SoleBench b;
    must(b.appender.roll());
    for (std::uint64_t i = 0; i < records; ++i) put(b.appender, i);
    log::fail_partition(b.bench.log());
    b.care.step().ignore();
    CHECK(append(b.appender, record_text(9)).error() == Errc::partition_failed);
    CHECK(read_all(b.bench).size() == records);
  }
}

TEST_CASE("a writer that comes while maintenance has the lock waits for it; one that comes to a writer does not") {
  SoleBench b;
  put(b.appender, 0);
  b.appender = Appender{b.bench.log(), b.member};
  log::WriterLocks maintenance;
  must(maintenance.take_for_maintenance(b.bench.log()));
  log::WriterLocks again;
  CHECK(again.take_for_maintenance(b.bench.log()).error() == Errc::busy);
  std::atomic<bool> done{false};
  std::thread writer{[&] {
    put(b.appender, 1);
    done = true;
  }};
  CHECK_FALSE(eventually(20ms, [&] { return done.load(); }));
  maintenance.give_back(b.bench.log());
  CHECK(eventually(5s, [&] { return done.load(); }));
  writer.join();
  CHECK(again.take_for_maintenance(b.bench.log()).error() == Errc::busy);
  CHECK(check_sequence(read_all(b.bench), 0) == 2);
}

TEST_CASE("a writer whose topic is deleted under it is told at its next append") {
  SoleBench b;
  put(b.appender, 0);
  const auto segment = must(b.bench.log().open(0, log::Use::append));
  b.bench.state().flags.fetch_or(log::partition_deleted, shm::seq_cst);  // as Catalog::remove() does
  segment.header->tail.exchange(log::Tail::closed, shm::acq_rel);
  segment.header->base.store(log::gone_base, shm::release);
  CHECK(append(b.appender, record_text(1)).error() == Errc::topic_deleted);
  CHECK(log::Tail::is_closed(segment.header->tail.load(shm::acquire)));
}
