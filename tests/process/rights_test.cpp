// What a process without rights may do, and what a full disk does.
#include <consume/consume_support.hpp>

#include <fstream>

#include <sys/mount.h>
#include <unistd.h>

using namespace towpath;
using namespace towpath::test;

namespace {

constexpr unsigned nobody = 65'534;

void let_everybody_read(const std::filesystem::path& folder) {
  using std::filesystem::perms;
  const auto add = [](const std::filesystem::path& path, perms rights) {
    std::filesystem::permissions(path, rights, std::filesystem::perm_options::add);
  };
  const perms enter = perms::others_read | perms::others_exec | perms::group_read | perms::group_exec;
  add(folder.parent_path(), enter);
  add(folder, enter);
  for (const auto& entry : std::filesystem::recursive_directory_iterator{folder})
    add(entry.path(), entry.is_directory() ? enter : perms::others_read);
}

/// A small tmpfs for as long as the test runs.
struct SmallDisk {
  explicit SmallDisk(const std::filesystem::path& at) : path{at} {
    std::filesystem::create_directory(path);
    mounted = ::mount("none", path.c_str(), "tmpfs", 0, "size=3m,mode=0700") == 0;
  }
  ~SmallDisk() {
    if (mounted) ::umount2(path.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  std::filesystem::path path;
  bool mounted = false;
};

}  // namespace

TOWPATH_ROLE("read_as_nobody") {
  if (::setgid(nobody) != 0 || ::setuid(nobody) != 0) fail("cannot become nobody");
  auto bus = Bus::open(args.at(0)).value();
  say(bus.is_read_only() ? "read-only" : "may write");
  auto topic = Topic<std::string>::open(bus, "topic").value();
  say("producer " + std::string{name(Producer<std::string>::open(topic).error().code)});
  say("topic " + std::string{name(Topic<std::string>::open(bus, "another").error().code)});
  say("delete " + std::string{name(Admin{bus}.delete_topic("topic").error().code)});
  say("maintain " + std::string{name(bus.maintain().error().code)});
  Consumer consumer{topic, from(OffsetReset::earliest)};
  say("read " + std::to_string(read_texts(consumer, 5).size()));
  hear("go");  // the next ones are sent while it waits, with nobody to wake it
  const auto batch = consumer.poll(stretched(10s), wait::Block{});
  say("then " + (batch.empty() ? "nothing" : std::string{(*batch.begin()).value()}));
  const auto ends = consumer.end_offsets();
  say("end " + std::to_string(ends ? (*ends)[0].offset.value : -1));
  return 0;
}

TEST_CASE("a process that may only read reads while others write, and can change nothing") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: only root can start a process as another user");
    return;
  }
  if (TOWPATH_TSAN) {
    MESSAGE("skipped: under ThreadSanitizer every file is mapped for writing");
    return;
  }
  const TempDir dir;
  const auto path = (dir / "bus").string();
  Bus bus{path};
  Topic<std::string> topic{bus, "topic"};
  Producer producer{topic};
  send_texts(producer, 0, 5);
  let_everybody_read(path);
  auto child = spawn("read_as_nobody", {path});
  CHECK(child.wait_for("", 10s) == "read-only");
  CHECK(child.wait_for("producer", 10s) == "producer read_only");
  CHECK(child.wait_for("topic", 10s) == "topic unknown_topic");
  CHECK(child.wait_for("delete", 10s) == "delete read_only");
  CHECK(child.wait_for("maintain", 10s) == "maintain read_only");
  CHECK(child.wait_for("read", 10s) == "read 5");
  child.tell("go");
  producer.send("late").value();
  CHECK(child.wait_for("then", 10s) == "then late");
  CHECK(child.wait_for("end", 10s) == "end 6");
  CHECK(child.wait(10s) == exited_well);
  CHECK(producer.send("still there").value().offset == Offset{6});
}

TOWPATH_ROLE("own_the_bus") {
  if (::setgid(nobody) != 0 || ::setuid(nobody) != 0) fail("cannot become nobody");
  {
    Bus bus{args.at(0)};
    Topic<std::string> topic{bus, "topic"};
    say("made");
    hear("go");
    say("send " + std::string{name(Producer{topic}.send("owner's").error().code)});
  }
  auto bus = Bus::open(args.at(0)).value();
  auto topic = Topic<std::string>::open(bus, "topic");
  say("open " + std::string{name(topic.error().code)});
  if (!topic) return 1;
  say("send " + std::string{name(Producer{*topic}.send("owner's", {.partition = PartitionId{1}}).error().code)});
  say("seat " + std::string{name(Consumer<std::string>::open(*topic, {.name = "seat"}).error().code)});
  say("alter " + std::string{name(Admin{bus}.alter_configs("topic", {{"retention.ms", "7000"}}).error().code)});
  say("delete " + std::string{name(Admin{bus}.delete_topic("topic").error().code)});
  return 0;
}

TEST_CASE("root that works on somebody's bus does not lock him out") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: only root can start a process as another user");
    return;
  }
  const TempDir dir;
  REQUIRE(::chown(dir.path().c_str(), nobody, nobody) == 0);
  const auto path = (dir / "bus").string();
  auto child = spawn("own_the_bus", {path});
  child.wait_for("made", 10s);
  {
    Bus bus{path, {.owner = nobody}};
    Topic<std::string> topic{bus, "topic"};
    Admin{bus}.alter_configs("topic", {{"retention.ms", "60000"}}).value();
    Admin{bus}.create_partitions("topic", 2).value();
    Producer producer{topic};
    for (const int partition : {0, 1}) producer.send("root's", {.partition = PartitionId{partition}}).value();
    const Consumer seat{topic, {.name = "seat"}};
  }
  child.tell("go");
  CHECK(child.wait_for("send", 10s) == "send ok");
  CHECK(child.wait_for("open", 10s) == "open ok");
  CHECK(child.wait_for("send", 10s) == "send ok");
  CHECK(child.wait_for("seat", 10s) == "seat ok");
  CHECK(child.wait_for("alter", 10s) == "alter ok");
  CHECK(child.wait_for("delete", 10s) == "delete ok");
  CHECK(child.wait(10s) == exited_well);
}

TOWPATH_ROLE("fill_what_cannot_be_listed") {
  if (::geteuid() == 0 && (::setgid(nobody) != 0 || ::setuid(nobody) != 0)) fail("cannot become nobody");
  Bus bus{args.at(0), {.maintenance = MaintenanceMode::manual}};
  auto config = forgetful();
  config.on_full = OnFull::fail;
  config.readers = {"never"};
  Topic<std::string> topic{bus, "topic", config};
  Producer producer{topic};
  const auto fill_up = [&] {
    Failure failure;
    for (int i = 0; i < 100 && failure == Errc::ok; ++i) failure = producer.send(std::string(60'000, 'x')).error();
    return "full: " + std::string{name(failure.code)};
  };
  const auto folder = std::filesystem::path{args.at(0)} / "topics/topic/0";
  say(fill_up());
  std::filesystem::permissions(folder, static_cast<std::filesystem::perms>(0300));
  say(fill_up());
  std::filesystem::permissions(folder, static_cast<std::filesystem::perms>(0750));
  say(fill_up());
  return 0;
}

TEST_CASE("a topic that waits for its readers does not grow while nobody can say how large it is") {
  const TempDir dir;
  if (::geteuid() == 0) REQUIRE(::chown(dir.path().c_str(), nobody, nobody) == 0);
  auto child = spawn("fill_what_cannot_be_listed", {(dir / "bus").string()});
  CHECK(child.wait_for("full", 10s) == "full: queue_full");
  CHECK(child.wait_for("full", 10s) == "full: permission_denied");
  CHECK(child.wait_for("full", 10s) == "full: queue_full");
  CHECK(child.wait(10s) == exited_well);
}

TEST_CASE("a full disk is no_space, never a signal; what was sent can be read, and room makes it go on") {
  const TempDir dir;
  const SmallDisk disk{dir / "small"};
  if (!disk.mounted) {
    MESSAGE("skipped: this user may not mount a small tmpfs");
    return;
  }
  const auto ballast = disk.path / "ballast";
  std::ofstream{ballast} << std::string(1 << 20, 'b');
  BusConfig by_hand;
  by_hand.maintenance = MaintenanceMode::manual;  // a spare in the making holds space for a moment
  Bus bus{(disk.path / "bus").string(), by_hand};
  auto config = forgetful();
  config.retention.bytes = Retention::unlimited;
  Topic<std::string> topic{bus, "topic", config};
  Producer producer{topic};
  Consumer consumer{topic, from(OffsetReset::earliest)};
  const std::string large(30'000, 'x');
  std::size_t sent = 0;
  Failure failure;
  for (int i = 0; i < 1'000 && failure == Errc::ok; ++i) {
    failure = producer.send(large).error();
    sent += failure == Errc::ok;
  }
  CHECK(failure == Errc::no_space);
  CHECK(sent > 10);
  CHECK(producer.send(large).error() == Errc::no_space);
  CHECK(producer.loan(30'000).error() == Errc::no_space);
  CHECK(Topic<std::string>::open(bus, "another", partitioned(2'000)).error() == Errc::no_space);
  CHECK(read_texts(consumer, sent).size() == sent);
  std::filesystem::remove(ballast);
  CHECK(producer.send(large).has_value());
  CHECK(read_texts(consumer, 1).size() == 1);
}
