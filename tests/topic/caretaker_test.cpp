// Who maintains a bus: one process at a time; another when that one is killed, at once; beside it when it is frozen.
#include <topic/topic_support.hpp>

using namespace towpath;
using namespace towpath::test;

namespace {

using Raw = Topic<Bytes>;

constexpr TopicConfig small{.segment_bytes = 256_KiB, .retention = {.bytes = 512_KiB}, .max_message_bytes = 256_KiB};

/// Puts a file where only maintenance removes it: a private file of a member that is no more.
std::filesystem::path plant(const TempDir& dir) {
  const auto path = dir / "bus" / "topics" / "t" / "0" / "own.1000.7.1";
  spill(path, "");
  return path;
}

/// Does a round of this bus's maintenance do any work now?
bool works(const TempDir& dir, Bus& bus) {
  const auto path = plant(dir);
  ManualClock::pass(1'001ms);  // a log that stands still is looked at once a second
  must(bus.maintain());
  return !std::filesystem::exists(path);
}

}  // namespace

TOWPATH_ROLE("hold_the_role") {
  auto bus = open_bus(args.at(0));
  Raw topic{bus, "t", small};
  must(bus.maintain());
  say("holds");
  hear("step");
  must(bus.maintain());
  say("stepped");
  hang();
}

TOWPATH_ROLE("maintain_by_thread") {
  Bus bus{args.at(0)};
  say("runs");
  hang();
}

TOWPATH_ROLE("delete_records_elsewhere") {
  auto bus = open_bus(args.at(0));
  return Admin{bus}.delete_records("t", {0}, Offset{std::stoll(args.at(1))}).has_value() ? 0 : 1;
}

TEST_CASE("one bus maintains, the other does nothing until the first is gone") {
  TempDir dir;
  auto one = std::make_unique<Bus>(bus_in(dir));
  auto other = bus_in(dir);
  put_records(Raw{*one, "t", small}, 0, 1);
  CHECK(works(dir, *one));
  CHECK_FALSE(works(dir, other));
  CHECK(works(dir, *one));
  one.reset();
  CHECK(works(dir, other));
}

TEST_CASE("a segment that maintenance retires while a producer looks for room is room, not a full queue") {
  TempDir dir;
  auto bus = bus_in(dir);
  auto config = small;
  config.on_full = OnFull::fail;
  config.readers = {"ahead"};
  Raw topic{bus, "t", config};
  const auto& log = log_of(topic);
  using towpath::detail::ReaderFile;
  const auto reader = must(ReaderFile::open(topic.files()->directory(), ReaderFile::name_of("ahead"), 1, true));
  reader.entry(0)->stands_at.store(1'000'000, shm::release);  // needs nothing of all this
  auto other = must(bus.core()->claim(MemberKind::maintenance, "test"));
  arm("room.looked", 1, [&](const char*) {
    const auto first = must(log.bases()).front();
    CHECK(log::Recycler{&log, &other}.retire(first, log::retirable_slots(log, first)) != log::Retired::no);
  });
  put_records(topic, 0, 20, 0, 60'000);
  disarm();
  CHECK(hits() > 0);
  reader.entry(0)->stands_at.store(1, shm::release);  // needs all: now it is full, and says so
  auto member = must(bus.core()->claim(MemberKind::producer, "test"));
  log::Appender appender{log, member};
  Failure failure;
  for (int i = 0; i < 20 && failure == Errc::ok; ++i) failure = append(appender, std::string(60'000, 'x')).error();
  CHECK(failure == Errc::queue_full);
}

TEST_CASE("when the process that maintains is killed, another takes over at its next round") {
  TempDir dir;
  auto bus = bus_in(dir);
  put_records(Raw{bus, "t", small}, 0, 1);
  auto child = spawn("hold_the_role", {(dir / "bus").string()});
  child.wait_for("holds", 20s);
  CHECK_FALSE(works(dir, bus));
  child.kill();
  CHECK(works(dir, bus));
}

TEST_CASE("when the process that maintains stands still for two seconds, others work beside it until it moves again") {
  TempDir dir;
  auto bus = bus_in(dir);
  put_records(Raw{bus, "t", small}, 0, 1);
  auto child = spawn("hold_the_role", {(dir / "bus").string()});
  child.wait_for("holds", 20s);
  child.stop();
  CHECK_FALSE(works(dir, bus));  // the first look; then 1.001 s later
  CHECK_FALSE(works(dir, bus));
  CHECK(works(dir, bus));        // 2.002 s after the first look
  CHECK_FALSE(works(dir, bus));  // one round, then it looks anew for two seconds
  CHECK(works(dir, bus));
  child.cont();
  child.tell("step");
  child.wait_for("stepped", 20s);
  CHECK_FALSE(works(dir, bus));  // it moved
  child.kill();
  CHECK(works(dir, bus));
}

TEST_CASE("the thread maintains without being asked: retention, and a role that passes on when its process is killed") {
  TempDir dir;
  auto child = spawn("maintain_by_thread", {(dir / "bus").string()});
  child.wait_for("runs", 20s);
  auto bus = open_bus((dir / "bus").string());
  Raw topic{bus, "t", small};
  const auto removed = [&] {
    const auto path = plant(dir);
    return eventually(10s, [&] { return !std::filesystem::exists(path); });
  };
  put_records(topic, 0, 3'000, 0, 1'000);
  CHECK(eventually(10s, [&] { return log_of(topic).state().live_bytes.load(shm::relaxed) <= 512_KiB; }));
  CHECK(removed());
  child.kill();
  BusConfig config;
  config.maintenance_interval = 5ms;
  auto second = open_bus((dir / "bus").string(), config);
  CHECK(removed());
  CHECK(second.maintenance_failure() == Errc::ok);
}

TEST_CASE("maintenance finds topics and partitions that come later, and forgets those that go") {
  TempDir dir;
  auto bus = bus_in(dir);
  must(bus.maintain());
  Raw topic{bus, "t", small};
  put_records(topic, 0, 1);
  CHECK(works(dir, bus));
  must(Admin{bus}.create_partitions("t", 2));
  put_records(topic, 0, 1, 1);
  spill(dir / "bus" / "topics" / "t" / "1" / "own.1000.7.1", "");
  must(bus.maintain());
  CHECK_FALSE(std::filesystem::exists(dir / "bus" / "topics" / "t" / "1" / "own.1000.7.1"));
  must(Admin{bus}.delete_topic("t"));
  ManualClock::pass(2s);
  must(bus.maintain());
  CHECK(must(Admin{bus}.list_topics()).empty());
}

TEST_CASE("a round lets go of the maps of files that another process removed") {
  TempDir dir;
  auto bus = bus_in(dir);
  Raw topic{bus, "t", {.segment_bytes = 1_MiB, .retention = {.age = Duration::max()}}};
  put_records(topic, 0, 2'000, 0, 1'000);
  const std::weak_ptr<shm::Region> first = must(log_of(topic).open(0, log::Use::append)).control;
  must(bus.maintain());
  REQUIRE_FALSE(first.expired());  // the cache has it
  CHECK(spawn("delete_records_elsewhere", {(dir / "bus").string(), "1000"}).wait(20s) == exited_well);
  REQUIRE_FALSE(std::filesystem::exists(dir / "bus" / "topics" / "t" / "0" / "00000000000000000000.log"));
  CHECK_FALSE(first.expired());
  ManualClock::pass(2s);
  must(bus.maintain());
  CHECK(first.expired());
}

TEST_CASE("a topic that is damaged does not keep maintenance from the others") {
  TempDir dir;
  auto bus = bus_in(dir);
  put_records(Raw{bus, "t", small}, 0, 1);
  std::filesystem::create_directory(dir / "bus" / "topics" / "a-damaged-one");
  spill(dir / "bus" / "topics" / "a-damaged-one" / "config", "nonsense");
  for (int i = 0; i < 2; ++i) {  // it says so in every round, not only when it looks for topics
    const auto path = plant(dir);
    ManualClock::pass(i == 0 ? 1'001ms : 100ms);
    CHECK(bus.maintain().error() == Errc::corrupt);
    if (i == 0) CHECK_FALSE(std::filesystem::exists(path));
  }
}

TEST_CASE("a bus that goes out of scope ends its thread, also one that sleeps for an hour") {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    BusConfig config;
    config.maintenance_interval = 1h;
    auto bus = must(Bus::open_in_memory(config));
    put_records(Raw{bus, "t", small}, 0, 10);
  }
  CHECK(std::chrono::steady_clock::now() - begin < stretched(20s));
}
