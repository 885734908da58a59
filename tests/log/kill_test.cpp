// A process is killed at every failpoint of log/, between any two steps; the next one reads everything that was
// acknowledged, exactly once and in order, and goes on. What it does before it dies passes through all of them.
#include <log/log_support.hpp>

#include <towpath/log/time_index.hpp>

#include <set>

using namespace towpath;
using namespace towpath::test;
using log::Appender;
using log::Reader;

namespace {

/// What the victim acknowledged, in a file that outlives it.
class Acknowledged {
 public:
  explicit Acknowledged(const LogBench& bench) {
    if (!bench.directory().identify("acknowledged")) make_file(bench.directory(), "acknowledged", 4096);
    region_ = must(shm::Region::map(must(bench.directory().open("acknowledged", shm::Access::read_write)), 4096,
                                    shm::Access::read_write));
  }
  shm::Word64& count() { return *reinterpret_cast<shm::Word64*>(region_->data()); }

 private:
  std::shared_ptr<shm::Region> region_;
};

LogOptions kept_whole() { return {}; }
LogOptions bounded() {
  LogOptions options;
  options.retention_bytes = 768_KiB;
  return options;
}

/// One writer at a time, who goes on where the dead one stopped.
LogOptions alone_and_bounded() {
  auto options = bounded();
  options.format.one_writer = true;
  return options;
}

LogOptions options_of(std::string_view kind) {
  return kind == "whole" ? kept_whole() : kind == "alone" ? alone_and_bounded() : bounded();
}

constexpr std::uint64_t batch_size = 17;

/// Appends, gives up, reads, searches, maintains: until somebody kills it, or `rounds` are over. Returns how many
/// records it acknowledged.
std::uint64_t live(const LogBench& bench, std::uint64_t rounds) {
  Acknowledged acknowledged{bench};
  auto& count = acknowledged.count();
  auto member = bench.claim();
  auto care_member = bench.claim(MemberKind::maintenance);
  Appender appender{bench.log(), member};
  log::PartitionMaintenance care{bench.log(), care_member, bench.pins()};
  Reader reader{bench.log(), bench.pins()};
  std::uint64_t batches = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const std::size_t size = round % 10 == 9 ? 70'000 : 10 + round * 997 % 6'000;
    put(appender, count.load(shm::relaxed), size);
    count.fetch_add(1, shm::relaxed);
    if (round % 13 == 6) {
      put_batch(appender, count.load(shm::relaxed), batch_size, 10 + round % 3 * 4'000);  // by fetch_add and by CAS
      count.fetch_add(batch_size, shm::relaxed);
      ++batches;
    }
    if (round % 7 == 3) appender.abandon(must(appender.reserve(100)));
    if (round % 7 == 5) log::abort_slot(bench.log(), appender.segment(), must(appender.reserve(100)).n);
    if (round % 11 == 4) {
      if (reader.position() < bench.state().log_start.load(shm::seq_cst))
        reader.seek(bench.state().log_start.load(shm::seq_cst));
      (void)drain(reader);
    }
    if (round % 5 == 0) care.step().ignore();
    if (round % 50 == 49) must(log::offset_for_time(bench.log(), bench.pins(), &member, Timestamp::max()));
  }
  return rounds + batches * batch_size;
}

/// After a kill: all that was acknowledged is there, and one record or one whole batch more at most; then the log goes
/// on as if nothing was.
void check_after_kill(LogBench& bench, bool whole) {
  const auto acknowledged = Acknowledged{bench}.count().load(shm::relaxed);
  auto records = read_all(bench);
  if (acknowledged > 0) REQUIRE_FALSE(records.empty());
  const std::uint64_t first = records.empty() ? 0 : records.front().number();
  if (whole) CHECK(first == 0);
  const auto next = check_sequence(records, first);
  CHECK(next >= acknowledged);
  CHECK((next <= acknowledged + 1 || next == acknowledged + batch_size));  // all of a batch or nothing
  Acknowledged{bench}.count().store(next, shm::relaxed);
  const auto more = live(bench, 120);
  records = read_all(bench);
  REQUIRE_FALSE(records.empty());
  CHECK(check_sequence(records, records.front().number()) == next + more);
  if (whole) CHECK(records.front().number() == 0);
}

/// Maintenance leaves nothing of the dead behind, and the files are those that the log needs.
void check_files(const LogBench& bench) {
  auto member = bench.claim(MemberKind::maintenance);
  log::PartitionMaintenance care{bench.log(), member, bench.pins()};
  must(care.step());
  must(care.step());
  CHECK(bench.count_files("own.") == 0);
  const auto start = bench.state().log_start.load(shm::seq_cst);
  const auto bases = bench.bases();
  REQUIRE_FALSE(bases.empty());
  CHECK(bases.front() == start);
  for (std::size_t i = 0; i + 1 < bases.size(); ++i)
    CHECK(must(bench.log().open(bases[i], log::Use::append)).sealed_count() == bases[i + 1] - bases[i]);
  std::set<std::uint64_t> known{bases.begin(), bases.end()};
  for (const auto& name : bench.files())
    if (name.ends_with(".timeindex")) CHECK(known.contains(std::strtoull(name.c_str(), nullptr, 10)));
}

constexpr std::uint64_t rounds = 600;

/// The names of all failpoints that live() passes.
std::vector<std::string> all_failpoints(const LogOptions& options) {
  arm_recorder();
  {
    LogBench bench{options};
    live(bench, rounds);
  }
  disarm();
  return reached();
}

}  // namespace

TOWPATH_ROLE("live_until") {
  LogBench bench{args.at(0), options_of(args.at(3))};
  if (args.at(1) == "random")
    arm_random_kill(std::stoull(args.at(2)), 3'000);
  else
    arm(args.at(1), static_cast<unsigned>(std::stoul(args.at(2))), Action::kill);
  live(bench, args.at(1) == "random" ? 100'000 : rounds);
  say("survived");
  return 0;
}

TOWPATH_ROLE("doubt") {
  LogBench bench{args.at(0)};
  auto member = bench.claim();
  Appender appender{bench.log(), member};
  arm("append.written", 3, Action::stop);
  for (std::uint64_t i = 0; i < 3; ++i) put(appender, i, 1'000);
  say("done");
  return 0;
}

TEST_CASE("what the victims do passes every failpoint of log/") {
  const auto names = all_failpoints(bounded());
  const std::set<std::string> found{names.begin(), names.end()};
  for (const char* name :
       {"reserve.announced", "reserve.reserved",   "reserve.narrowed", "append.written",     "commit.resolved",
        "commit.woken",      "abandon.aborted",    "large.announced",  "large.reserved",     "large.forced",
        "abort.resolved",    "finish.before_seal", "seal.sealed",      "finish.idle",        "next.before_take",
        "next.before_hint",  "make.created",       "make.allocated",   "take.spare_owned",   "take.owned",
        "take.based",        "take.opened",        "take.named",       "retire.bumped",      "retire.owned",
        "retire.closed",     "retire.unset",       "retire.clean",     "retire.spare",       "spare.made",
        "attach.pinned",     "index.written",      "index.named",      "batch.half_written", "batch.half_placed"}) {
    CAPTURE(std::string{name});
    CHECK(found.contains(name));
  }
}

TEST_CASE(
    "a process killed at any failpoint, early or late, costs nothing that it acknowledged, and leaves nothing in the "
    "way") {
  shm::RegionCache::instance().set_limit(16);  // maps of removed folders would fill the memory
  unsigned killed = 0;
  const auto names = all_failpoints(bounded());
  for (const auto& name : names)
    for (const char* nth : {"1", "2", "7"})
      for (const char* kind : {"whole", "bounded"}) {
        CAPTURE(std::string{name});
        CAPTURE(std::string{nth});
        CAPTURE(std::string{kind});
        TempDir dir;
        auto child = spawn("live_until", {dir.path().string(), name, nth, kind});
        const auto status = child.wait(60s);
        const bool was_killed = status == ExitStatus{-1, SIGKILL};
        killed += was_killed;
        if (!was_killed) REQUIRE(child.output() == "survived\n");  // some points are passed less than seven times
        if (!was_killed && std::string_view{nth} == "1")
          REQUIRE(std::string_view{kind} == "whole");  // nothing retires there
        const bool whole = std::string_view{kind} == "whole";
        LogBench bench{dir.path().string(), options_of(kind)};
        check_after_kill(bench, whole);
        check_files(bench);
        if (sanitized && std::string_view{nth} == "2") break;
      }
  CHECK(killed > names.size() * 3);
}

TEST_CASE("a partition's only writer, killed at any failpoint, leaves to the next one all that it acknowledged") {
  shm::RegionCache::instance().set_limit(16);
  const auto names = all_failpoints(alone_and_bounded());
  const std::set<std::string> found{names.begin(), names.end()};
  for (const char* name : {"sole.owned", "sole.entered", "reserve.announced", "reserve.reserved", "append.written",
                           "commit.resolved", "commit.woken", "sole.before_seal", "sole.sealed", "batch.half_placed"}) {
    CAPTURE(std::string{name});
    CHECK(found.contains(name));
  }
  CHECK_FALSE(found.contains("finish.before_seal"));  // nor does it do what many writers do
  unsigned killed = 0;
  for (const auto& name : names)
    for (const char* nth : {"1", "7"}) {
      CAPTURE(std::string{name});
      CAPTURE(std::string{nth});
      TempDir dir;
      auto child = spawn("live_until", {dir.path().string(), name, nth, "alone"});
      killed += child.wait(60s) == ExitStatus{-1, SIGKILL};
      LogBench bench{dir.path().string(), alone_and_bounded()};
      check_after_kill(bench, false);
      check_files(bench);
      if (sanitized) break;
    }
  CHECK(killed >= names.size());
}

TEST_CASE("processes killed one after the other at random points of one log lose, double and reorder nothing") {
  for (const char* kind : {"bounded", "alone"}) {
    TempDir dir;
    LogBench bench{dir.path().string(), options_of(kind)};
    const std::uint64_t victims = sanitized ? 10 : 40;
    for (std::uint64_t seed = 1; seed <= victims; ++seed) {
      CAPTURE(std::string{kind});
      CAPTURE(seed);
      auto child = spawn("live_until", {dir.path().string(), "random", std::to_string(seed), kind});
      REQUIRE(child.wait(60s) == ExitStatus{-1, SIGKILL});
      const auto acknowledged = Acknowledged{bench}.count().load(shm::relaxed);
      const auto records = read_all(bench);
      const auto next = records.empty() ? 0 : check_sequence(records, records.front().number());
      REQUIRE(next >= acknowledged);
      REQUIRE((next <= acknowledged + 1 || next == acknowledged + batch_size));
      Acknowledged{bench}.count().store(next, shm::relaxed);
    }
    check_files(bench);
  }
}

TEST_CASE(
    "a producer that is stopped while it writes keeps its segment from being recycled: what it writes on harms "
    "nobody") {
  TempDir dir;
  LogBench bench{dir.path().string()};
  auto child = spawn("doubt", {dir.path().string()});
  child.wait_stopped(10s);
  auto member = bench.claim();
  Appender appender{bench.log(), member};
  for (std::uint64_t i = 100; bench.state().rolls.load(shm::relaxed) < 2; ++i) put(appender, i, 1'000);
  CHECK(log::Recycler{&bench.log(), &member}.retire(0, log::retirable_slots(bench.log(), 0)) == log::Retired::unlinked);
  CHECK(bench.state().recycled.load(shm::relaxed) == 0);
  CHECK(bench.state().unlinked.load(shm::relaxed) == 1);
  const auto before = read_all(bench);
  child.cont();
  child.wait_for("done", 10s);
  CHECK(child.wait(10s) == exited_well);
  // Its commit landed in the segment that is gone: acknowledged, and dropped by retention like its neighbours.
  const auto after = read_all(bench);
  CHECK(after.size() == before.size());
}
