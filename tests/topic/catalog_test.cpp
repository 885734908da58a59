// Creating, listing, describing, altering, growing and deleting topics: by one process, by several at once, and by one
// that is killed at any step.
#include <topic/topic_support.hpp>

#include <set>
#include <thread>

using namespace towpath;
using namespace towpath::test;

namespace {

using Raw = Topic<Bytes>;

/// Decides only when it runs what its values are to be aligned to.
struct LateSerde {
  static inline std::size_t alignment = 0;
  static std::size_t size(const std::string& text) { return text.size(); }
  static void encode(const std::string& text, std::span<std::byte> out) {
    std::memcpy(out.data(), text.data(), text.size());
  }
  static Result<std::string> decode(Bytes bytes) { return std::string{bytes.text()}; }
};

std::filesystem::path topics_in(const TempDir& dir) { return dir / "bus" / "topics"; }

/// Nothing of a creation or deletion that was cut off is left once maintenance came by.
void check_swept(const TempDir& dir, Bus& bus) {
  ManualClock::pass(2s);
  must(bus.maintain());
  CHECK(count_entries(topics_in(dir), "~") == 0);
}

}  // namespace

TOWPATH_ROLE("change") {
  auto bus = open_bus(args.at(0));
  Admin admin{bus};
  arm(args.at(2), static_cast<unsigned>(std::stoul(args.at(3))), Action::kill);
  const auto& what = args.at(1);
  if (what == "create") must(admin.create_topic("t", {.partitions = 3}));
  if (what == "delete") must(admin.delete_topic("t"));
  if (what == "grow") must(admin.create_partitions("t", 9));
  if (what == "alter") must(admin.alter_topic("t", {.retention = {.bytes = 5_MiB}}));
  if (what == "readers") must(admin.alter_topic("t", {.on_full = OnFull::block, .readers = {"new"}}));
  say("survived");
  return 0;
}

TOWPATH_ROLE("create_many") {
  auto bus = open_bus(args.at(0));
  say("ready");
  hear("go");
  unsigned mine = 0;
  for (int i = 0; i < 50; ++i) mine += Admin{bus}.create_topic("t" + std::to_string(i), {.partitions = 2}).has_value();
  for (int i = 0; i < 50; ++i) Raw topic{bus, "t" + std::to_string(i)};
  say("made " + std::to_string(mine));
  return 0;
}

TEST_CASE("a topic is there once it was created, once, with its settings; gone once deleted; and new when made again") {
  TempDir dir;
  auto bus = bus_in(dir);
  Admin admin{bus};
  CHECK(must(admin.list_topics()).empty());
  CHECK(admin.describe_topic("a").error() == Errc::unknown_topic);
  const TopicConfig config{.partitions = 3,
                           .segment_bytes = 1_MiB,
                           .retention = {.bytes = 9_MiB, .age = 90s},
                           .max_message_bytes = 1'000,
                           .on_full = OnFull::fail,
                           .readers = {"recorder"},
                           .durability = {DurabilityKind::none, 5ms},
                           .grace = 20ms};
  must(admin.create_topic("b", config));
  must(admin.create_topic("a"));
  CHECK(admin.create_topic("b").error() == Errc::topic_exists);
  CHECK(must(admin.list_topics()) == std::vector<std::string>{"a", "b"});
  const auto found = must(admin.describe_topic("b"));
  auto expected = config;
  expected.record_alignment = 8;
  CHECK(found.config == expected);
  CHECK(found.id.size() == 32);
  CHECK(found.encoding == "bytes");
  must(admin.delete_topic("b"));
  CHECK(must(admin.list_topics()) == std::vector<std::string>{"a"});
  CHECK(admin.delete_topic("b").error() == Errc::unknown_topic);
  CHECK(admin.describe_topic("b").error() == Errc::unknown_topic);
  must(admin.create_topic("b"));
  CHECK(must(admin.describe_topic("b")).id != found.id);
  CHECK(must(admin.describe_topic("b")).config.partitions == 1);
}

TEST_CASE("bad names and settings are refused before anything is made") {
  TempDir dir;
  auto bus = bus_in(dir);
  Admin admin{bus};
  CHECK(admin.create_topic("../evil").error() == Errc::invalid_name);
  CHECK(admin.create_topic("x", {.partitions = 0}).error() == Errc::invalid_argument);
  CHECK(admin.describe_topic("../../etc").error() == Errc::invalid_name);
  CHECK(admin.delete_topic("..").error() == Errc::invalid_name);
  CHECK(Raw::open(bus, "").error() == Errc::invalid_name);
  CHECK(std::filesystem::is_empty(topics_in(dir)));
}

TEST_CASE("an alignment that no record can have is refused before anything is made") {
  TempDir dir;
  auto bus = bus_in(dir);
  using Late = Topic<std::string, LateSerde>;
  for (const std::size_t odd : {0u, 3u, 48u, 128u}) {
    LateSerde::alignment = odd;
    const auto refused = Late::open(bus, "t").error();
    CHECK(refused == Errc::invalid_argument);
    CHECK(std::string_view{refused.detail}.starts_with("alignment"));
  }
  CHECK(std::filesystem::is_empty(topics_in(dir)));
  LateSerde::alignment = 64;
  put_records(must(Late::open(bus, "t")), 0, 5);
  auto other = bus_in(dir);
  CHECK(Late::open(other, "t").error() == Errc::ok);
}

TEST_CASE("a topic with a damaged config is deleted like another one; of a newer format or damaged more it stays") {
  TempDir dir;
  auto bus = bus_in(dir);
  for (const std::string& text : {std::string{}, std::string{"version=0\n"}, std::string(100'000, 'x')}) {
    auto early = bus_in(dir);
    Raw topic{early, "t", {.partitions = 2}};
    auto member = must(early.core()->claim(MemberKind::producer, "test"));
    log::Appender appender{log_of(topic, 1), member};
    put(appender, 0, 100);
    spill(topics_in(dir) / "t" / "config", text);
    CHECK(Raw::open(bus, "t").error() == Errc::corrupt);
    CHECK(Admin{bus}.delete_topic("t").error() == Errc::ok);
    CHECK(appender.reserve(100).error() == Errc::topic_deleted);
    CHECK(count_entries(topics_in(dir), "") == 0);
  }
  must(Admin{bus}.create_topic("t"));
  const auto config = topics_in(dir) / "t" / "config";
  spill(config, "version=7\n");
  CHECK(Admin{bus}.delete_topic("t").error() == Errc::newer_format);
  spill(config, "");
  spill(topics_in(dir) / "t" / "state", "");
  CHECK(Admin{bus}.delete_topic("t").error() == Errc::corrupt);
  CHECK(count_entries(topics_in(dir), "t") == 1);
}

TEST_CASE("what is altered is seen by every process at once, and stays") {
  TempDir dir;
  auto bus = bus_in(dir);
  auto other = bus_in(dir);
  Raw here{bus, "t"};
  Raw there{other, "t"};
  must(Admin{bus}.alter_topic("t", {.segment_bytes = 2_MiB,
                                    .retention = {.bytes = 7_MiB, .age = Duration::max()},
                                    .max_message_bytes = 77,
                                    .grace = 5ms}));
  for (auto* topic : {&here, &there}) {
    const auto& words = topic->files()->words();
    CHECK(words.segment_bytes.load(shm::relaxed) == 2_MiB);
    CHECK(words.retention_bytes.load(shm::relaxed) == 7_MiB);
    CHECK(words.retention_age_ns.load(shm::relaxed) == 0);
    CHECK(words.max_message_bytes.load(shm::relaxed) == 77);
    CHECK(words.grace_ns.load(shm::relaxed) == 5'000'000);
  }
  auto third = bus_in(dir);
  const auto found = must(Admin{third}.describe_topic("t")).config;
  CHECK(found.retention == Retention{7_MiB, Duration::max()});
  CHECK(Admin{bus}.alter_topic("t", {.record_alignment = 64}).error() == Errc::config_mismatch);
  CHECK(Admin{bus}.alter_topic("t", {.grace = 0ns}).error() == Errc::invalid_argument);
  CHECK(Admin{bus}.alter_topic("t", {.partitions = 99}).error() == Errc::invalid_argument);
  CHECK(Admin{bus}.alter_topic("none", {}).error() == Errc::unknown_topic);
  CHECK(here.files()->words().max_message_bytes.load(shm::relaxed) == 77);
}

TEST_CASE("a topic grows and never shrinks; records stay; old handles reach the new partitions") {
  TempDir dir;
  auto bus = bus_in(dir);
  auto other = bus_in(dir);
  Raw topic{bus, "t", {.partitions = 2}};
  Raw there{other, "t"};
  put_records(topic, 0, 100, 1);
  CHECK(topic.files()->partition({2}).error() == Errc::unknown_partition);
  CHECK(topic.files()->partition({-1}).error() == Errc::unknown_partition);
  Admin admin{other};
  must(admin.create_partitions("t", 2));
  must(admin.create_partitions("t", 300));
  CHECK(admin.create_partitions("t", 299).error() == Errc::invalid_argument);
  CHECK(admin.create_partitions("t", 40'000).error() == Errc::invalid_argument);
  CHECK(topic.partitions() == 300);
  put_records(topic, 0, 10, 299);
  CHECK(check_sequence(read_topic(there, 1), 0) == 100);
  CHECK(check_sequence(read_topic(there, 299), 0) == 10);
  std::set<std::uint64_t> uids;
  for (std::int32_t i = 0; i < 300; ++i) uids.insert(log_of(topic, i).uid());
  CHECK(uids.size() == 300);
  CHECK_FALSE(uids.contains(0));
}

TEST_CASE("uids are never used again, whatever is deleted and made") {
  Bus bus;
  Admin admin{bus};
  std::set<std::uint64_t> uids;
  for (int i = 0; i < 20; ++i) {
    Raw topic{bus, "t", {.partitions = 3}};
    for (std::int32_t p = 0; p < 3; ++p) CHECK(uids.insert(log_of(topic, p).uid()).second);
    must(admin.delete_topic("t"));
  }
}

TEST_CASE(
    "whoever has a topic open when it is deleted gets topic_deleted, reads on what it holds, and can make it anew") {
  TempDir dir;
  auto bus = bus_in(dir);
  auto other = bus_in(dir);
  Raw topic{bus, "t"};
  auto member = must(bus.core()->claim(MemberKind::producer, "test"));
  log::Appender appender{log_of(topic), member};
  for (std::uint64_t i = 0; i < 50; ++i) put(appender, i);
  log::Reader reader{log_of(topic), must(topic.files()->open_pins_holder())};
  log::Run run;
  REQUIRE(reader.collect(run, 10, accept_all) == log::Progress::records);
  must(Admin{other}.delete_topic("t"));
  CHECK(append(appender, "more").error() == Errc::topic_deleted);
  CHECK(log_of(topic).is_deleted());
  std::vector<ReadRecord> records;
  take_run(run, log_of(topic), records);
  CHECK(check_sequence(records, 0) == 10);
  Raw again{bus, "t"};
  CHECK(read_topic(again).empty());
  put_records(again, 0, 5);
  CHECK(read_topic(again).size() == 5);
  CHECK(append(appender, "more").error() == Errc::topic_deleted);
}

TEST_CASE("a deletion that two do at once is done once and fails nobody who did part of it") {
  for (int round = 0; round < 30; ++round) {
    TempDir dir;
    auto one = bus_in(dir);
    auto other = bus_in(dir);
    Raw topic{one, "t", {.partitions = 4}};
    put_records(topic, 0, 5);
    std::atomic<int> done{0};
    std::atomic<int> unknown{0};
    std::vector<std::thread> threads;
    for (auto* bus : {&one, &other})
      threads.emplace_back([&, bus] {
        const auto gone = Admin{*bus}.delete_topic("t");
        if (gone) ++done;
        if (gone.error() == Errc::unknown_topic) ++unknown;
      });
    for (auto& thread : threads) thread.join();
    CHECK(done >= 1);
    CHECK(done + unknown == 2);
    CHECK(must(Admin{one}.list_topics()).empty());
  }
}

TEST_CASE("threads look at a topic while another grows it") {
  TempDir dir;
  auto bus = bus_in(dir);
  Raw topic{bus, "t"};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      while (!stop) {
        const auto count = topic.partitions();
        if (!topic.files()->partition({count - 1})) return;
        if (topic.files()->words().segment_bytes.load(shm::relaxed) == 0) return;
      }
    });
  for (std::int32_t count = 2; count <= 100; ++count) must(Admin{bus}.create_partitions("t", count));
  stop = true;
  for (auto& thread : threads) thread.join();
  CHECK(topic.partitions() == 100);
}

TEST_CASE("processes that create the same topics at once make each once and all can use it") {
  TempDir dir;
  std::vector<Child> children;
  for (int i = 0; i < 3; ++i) children.push_back(spawn("create_many", {(dir / "bus").string()}));
  for (auto& child : children) child.wait_for("ready", 20s);
  for (auto& child : children) child.tell("go");
  unsigned made = 0;
  for (auto& child : children) {
    made += static_cast<unsigned>(std::stoul(child.wait_for("made", 20s).substr(5)));
    CHECK(child.wait(20s) == exited_well);
  }
  CHECK(made == 50);
  auto bus = bus_in(dir);
  CHECK(must(Admin{bus}.list_topics()).size() == 50);
  CHECK(count_entries(topics_in(dir), "~") == 0);
}

TEST_CASE("whoever is killed while creating leaves no topic or a whole one, and nothing in the way") {
  for (const char* where : {"create.folder", "create.before_blocks", "create.before_rename"}) {
    CAPTURE(std::string{where});
    TempDir dir;
    auto child = spawn("change", {(dir / "bus").string(), "create", where, "1"});
    CHECK(child.wait(20s) == ExitStatus{-1, SIGKILL});
    auto bus = bus_in(dir);
    CHECK(must(Admin{bus}.list_topics()).empty());
    Raw topic{bus, "t"};
    put_records(topic, 0, 5);
    check_swept(dir, bus);
    CHECK(read_topic(topic).size() == 5);
  }
}

TEST_CASE("regression_002: a deletion that was cut off after one partition tells the writers of all of them") {
  TempDir dir;
  auto bus = bus_in(dir);
  Raw topic{bus, "t", {.partitions = 2}};
  put_records(topic, 0, 10, 0);
  auto member = must(bus.core()->claim(MemberKind::producer, "test"));
  log::Appender appender{log_of(topic, 1), member};
  put(appender, 0, 100);
  auto child = spawn("change", {(dir / "bus").string(), "delete", "delete.closed_one", "1"});
  CHECK(child.wait(20s) == ExitStatus{-1, SIGKILL});
  CHECK(Raw{bus, "t"}.partitions() == 1);  // made anew: the old one was taken away
  CHECK(appender.reserve(100).error() == Errc::topic_deleted);
}

TEST_CASE("whoever is killed while deleting leaves no topic, and its name can be used again") {
  for (const char* where : {"delete.closed_one", "delete.flagged", "delete.renamed"}) {
    CAPTURE(std::string{where});
    TempDir dir;
    {
      auto bus = bus_in(dir);
      put_records(Raw{bus, "t", {.partitions = 2}}, 0, 1'000);
    }
    auto child = spawn("change", {(dir / "bus").string(), "delete", where, "1"});
    CHECK(child.wait(20s) == ExitStatus{-1, SIGKILL});
    auto bus = bus_in(dir);
    SUBCASE("made anew by whoever opens it") {
      Raw topic{bus, "t"};
      CHECK(topic.partitions() == 1);
      CHECK(read_topic(topic).empty());
      put_records(topic, 0, 5);
      check_swept(dir, bus);
      CHECK(read_topic(topic).size() == 5);
    }
    SUBCASE("swept by maintenance") {
      check_swept(dir, bus);
      CHECK(must(Admin{bus}.list_topics()).empty());
    }
    SUBCASE("deleted again") { CHECK(Admin{bus}.delete_topic("t").error() == Errc::unknown_topic); }
  }
}

TEST_CASE("a file that a producer makes while the topic is deleted fails nobody, and maintenance takes it") {
  TempDir dir;
  auto bus = bus_in(dir);
  put_records(Raw{bus, "t"}, 0, 5);
  arm("remove.listed", 1, [&](const char*) {
    for (const auto& entry : std::filesystem::directory_iterator{topics_in(dir)})
      if (entry.path().filename().string().starts_with("~gone-")) spill(entry.path() / "own.9.9.9", "late");
  });
  CHECK(Admin{bus}.delete_topic("t").error() == Errc::ok);
  disarm();
  CHECK(count_entries(topics_in(dir), "~gone-") == 1);
  CHECK(Admin{bus}.delete_topic("t").error() == Errc::unknown_topic);
  check_swept(dir, bus);
}

TEST_CASE("whoever is killed while growing leaves the old count, and growing works again, also by fewer") {
  TempDir dir;
  auto bus = bus_in(dir);
  Raw topic{bus, "t", {.partitions = 2}};
  put_records(topic, 0, 10, 1);
  auto child = spawn("change", {(dir / "bus").string(), "grow", "grow.before_count", "1"});
  CHECK(child.wait(20s) == ExitStatus{-1, SIGKILL});
  CHECK(topic.partitions() == 2);
  must(Admin{bus}.create_partitions("t", 5));
  CHECK(topic.partitions() == 5);
  for (std::int32_t p = 2; p < 5; ++p) {
    put_records(topic, 0, 10, p);
    CHECK(check_sequence(read_topic(topic, p), 0) == 10);
  }
  CHECK(check_sequence(read_topic(topic, 1), 0) == 10);
}

TEST_CASE("whoever is killed while altering leaves settings that are whole, and altering works again") {
  TempDir dir;
  auto bus = bus_in(dir);
  Raw topic{bus, "t"};
  const auto before = must(Admin{bus}.describe_topic("t")).config.retention.bytes;
  auto child = spawn("change", {(dir / "bus").string(), "alter", "alter.written", "1"});
  CHECK(child.wait(20s) == ExitStatus{-1, SIGKILL});
  auto later = bus_in(dir);
  CHECK(must(Admin{later}.describe_topic("t")).config.retention.bytes == before);  // the words rule, not the file
  must(Admin{later}.alter_topic("t", {.retention = {.bytes = 6_MiB}}));
  CHECK(must(Admin{bus}.describe_topic("t")).config.retention.bytes == 6_MiB);
}

TEST_CASE(
    "whoever is killed while altering leaves one list of readers for all, also for those who had the topic open") {
  for (const char* where : {"alter.written", "alter.half"}) {
    CAPTURE(std::string{where});
    TempDir dir;
    auto bus = bus_in(dir);
    Raw early{bus, "t", {.on_full = OnFull::fail, .readers = {"old"}}};
    CHECK(early.files()->waits_for("old"));
    auto child = spawn("change", {(dir / "bus").string(), "readers", where, "1"});
    CHECK(child.wait(20s) == ExitStatus{-1, SIGKILL});
    auto other = bus_in(dir);
    Raw late{other, "t"};
    for (const auto* topic : {&early, &late}) {
      CHECK(topic->files()->waits_for("new"));
      CHECK_FALSE(topic->files()->waits_for("old"));
    }
  }
}

TEST_CASE("settings are changed by one at a time; the other is told") {
  TempDir dir;
  auto bus = bus_in(dir);
  Raw topic{bus, "t"};
  const shm::FileDescriptor file{::open((topics_in(dir) / "t" / "wait").c_str(), O_RDWR | O_CLOEXEC)};
  must(shm::try_lock(file, 0, shm::LockKind::write));
  CHECK(Admin{bus}.alter_topic("t", {}).error() == Errc::busy);
  CHECK(Admin{bus}.create_partitions("t", 2).error() == Errc::busy);
  shm::unlock(file, 0);
  must(Admin{bus}.alter_topic("t", {}));
}

TEST_CASE("a look at a partition tells its begin, end, size and segments, and what became of its records") {
  auto bus = must(Bus::open_in_memory(by_hand()));
  Raw topic{bus, "t", {.segment_bytes = 256_KiB, .retention = {.bytes = 512_KiB}, .max_message_bytes = 256_KiB}};
  const auto partition = must(Partition<Bytes>::open(topic, {0}));
  CHECK(partition.begin_offset() == Offset{0});
  CHECK(must(partition.end_offset()) == Offset{0});
  CHECK(partition.bytes() == 0);
  CHECK(must(partition.segments()) == 0);
  put_records(topic, 0, 2'000, 0, 1'000);
  must(bus.maintain());
  CHECK(must(partition.end_offset()).value >= 2'000);
  CHECK(partition.begin_offset().value > 1'000);
  CHECK(partition.bytes() <= 512_KiB);
  CHECK(must(partition.segments()) * 256_KiB == partition.bytes());
  const auto counters = partition.counters();
  CHECK(counters.dropped == static_cast<std::uint64_t>(partition.begin_offset().value));
  CHECK(counters.rolls >= 7);
  CHECK(counters.recycled > 0);
  CHECK(Partition<Bytes>::open(topic, {1}).error() == Errc::unknown_partition);
}
