// Opening a bus: what is made, what is refused and by which name, who may only read, and when the table is full.
#include <topic/topic_support.hpp>

#include <cstddef>
#include <thread>

#include <grp.h>
#include <sys/mount.h>

using namespace towpath;
using namespace towpath::test;

namespace {

using Raw = Topic<Bytes>;

Errc error_of(const std::filesystem::path& path, const BusConfig& config = by_hand()) {
  return Bus::open(path.string(), config).error().code;
}

/// A bus with one topic "t" of ten records, and nobody that has it open or mapped.
struct Prepared {
  TempDir dir;
  std::filesystem::path path = dir / "bus";
  Prepared() {
    auto child = spawn("prepare", {path.string()});
    if (child.wait(20s) != exited_well) fail("the bus was not prepared");
  }
  std::filesystem::path topic(std::string_view file) const { return path / "topics" / "t" / file; }
};

Errc topic_error(const Prepared& prepared) {
  auto bus = open_bus(prepared.path.string());
  return Raw::open(bus, "t").error().code;
}

/// Reads "t" in a process of its own, so that no map of the file before it was changed is in the way.
std::string read_elsewhere(const Prepared& prepared) {
  auto child = spawn("read", {prepared.path.string()});
  child.wait(20s);
  return child.output();
}

}  // namespace

TOWPATH_ROLE("prepare") {
  auto bus = open_bus(args.at(0));
  Raw topic{bus, "t"};
  put_records(topic, 0, 10);
  return 0;
}

TOWPATH_ROLE("read") {
  auto bus = Bus::open(args.at(0), by_hand());
  if (!bus) return say(std::string{name(bus.error().code)}), 0;
  auto topic = Raw::open(*bus, "t");
  if (!topic) return say(std::string{name(topic.error().code)}), 0;
  auto log = topic->files()->partition({0});
  if (!log) return say(std::string{name(log.error().code)}), 0;
  log::Reader reader{**log, must(topic->files()->open_pins_holder())};
  log::Run run;
  const auto progress = reader.collect(run, 100, accept_all);
  if (progress == log::Progress::failed) return say(std::string{name(reader.failure().code)}), 0;
  say("read " + std::to_string(run.count));
  return 0;
}

TOWPATH_ROLE("make_bus") {
  arm("bus.before_ctl", 1, Action::kill);
  (void)Bus::open(args.at(0), by_hand());
  return 0;
}

TOWPATH_ROLE("open_at_once") {
  say("ready");
  hear("go");
  auto bus = open_bus(args.at(0));
  Raw topic{bus, "t"};
  put_records(topic, std::stoull(args.at(1)) << 32, 100);
  return 0;
}

TOWPATH_ROLE("nobody_reads") {
  expect(::setgroups(0, nullptr) == 0 && ::setegid(65'534) == 0 && ::seteuid(65'534) == 0,
         "this process becomes nobody");
  auto opened = Bus::open(args.at(0), by_hand());
  if (!opened) {
    say("refused: " + std::string{name(opened.error().code)});
    std::_Exit(0);  // at an ordinary exit LeakSanitizer would trace itself, which nobody may not
  }
  auto& bus = *opened;
  expect(bus.is_read_only(), "the bus is read-only");
  expect(bus.maintain().error() == Errc::read_only, "it does not maintain");
  expect(bus.core()->claim(MemberKind::consumer, "n").error() == Errc::read_only, "it is no member");
  Raw topic{bus, "t"};
  expect(!topic.is_writable(), "the topic is not writable");
  expect(Raw::open(bus, "new").error() == Errc::unknown_topic, "it makes no topic");
  expect(Admin{bus}.create_topic("new").error() == Errc::read_only, "and creates none");
  expect(Admin{bus}.delete_topic("t").error() == Errc::read_only, "and deletes none");
  expect(Admin{bus}.alter_topic("t", {}).error() == Errc::read_only, "and alters none");
  const auto& log = log_of(topic);
  expect(!log.may_help(), "it may not help");
  log::Reader reader{log, must(topic.files()->open_pins_holder())};
  log::Run run;
  expect(reader.collect(run, 100, accept_all) == log::Progress::records, "it reads");
  std::vector<ReadRecord> records;
  take_run(run, log, records);
  expect(check_sequence(records, 0) == 10, "everything");
  expect(reader.collect(run, 1, accept_all) == log::Progress::blocked, "an open slot holds it up");
  expect(!reader.help() && !reader.help(), "and it does not abort it");
  expect(log.is_pinned(0), "it pins what it reads");
  say("read");
  std::_Exit(0);
}

TEST_CASE("a bus in memory needs no path, and two of them share nothing") {
  Bus one;
  Bus other;
  Raw topic{one, "t"};
  put_records(topic, 0, 5);
  CHECK(read_topic(topic).size() == 5);
  CHECK(must(Admin{other}.list_topics()).empty());
  CHECK_FALSE(one.is_read_only());
}

TEST_CASE("opening a folder makes a bus of it, with the rights that the files need") {
  TempDir dir;
  auto bus = open_bus((dir / "bus").string());
  Raw topic{bus, "t"};
  put_records(topic, 0, 1);
  const auto mode = [&](const char* file) {
    return static_cast<unsigned>(std::filesystem::status(dir / "bus" / file).permissions());
  };
  CHECK(mode("") == 0750);
  CHECK(mode("ctl") == 0660);
  CHECK(mode("members") == 0660);
  CHECK(mode("topics/t") == 0750);
  CHECK(mode("topics/t/config") == 0640);
  CHECK(mode("topics/t/state") == 0640);
  CHECK(mode("topics/t/wait") == 0660);
  CHECK(mode("topics/t/pins") == 0644);
  CHECK(mode("topics/t/0/00000000000000000000.log") == 0640);
  const auto properties = slurp(dir / "bus" / "meta.properties");
  CHECK(properties.find("version=1\n") != std::string::npos);
  CHECK(properties.find("cluster.id=") != std::string::npos);
}

TEST_CASE("a path that cannot be a bus is refused, and the code says why") {
  TempDir dir;
  CHECK(Bus::open("").error() == Errc::invalid_argument);
  CHECK(error_of(dir / "no" / "parent") == Errc::not_found);
  spill(dir / "file", "text");
  CHECK(error_of(dir / "file") == Errc::not_a_directory);
  auto config = by_hand();
  config.create = false;
  CHECK(error_of(dir / "absent", config) == Errc::not_found);
  CHECK_FALSE(std::filesystem::exists(dir / "absent"));
  std::filesystem::create_directory(dir / "empty");
  CHECK(error_of(dir / "empty", config) == Errc::not_found);
  config = by_hand();
  config.read_only = true;
  CHECK(error_of(dir / "empty", config) == Errc::not_found);
  CHECK(std::filesystem::is_empty(dir / "empty"));
  std::filesystem::create_directory(dir / "world");
  std::filesystem::permissions(dir / "world", std::filesystem::perms::all);
  CHECK(error_of(dir / "world") == Errc::unsafe_directory);
  CHECK(error_of("/proc") == Errc::unsupported_filesystem);
  config = by_hand();
  config.maintenance_interval = 0ns;
  CHECK(error_of(dir / "empty", config) == Errc::invalid_argument);
}

TEST_CASE("a folder of another user is refused unless he is named") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: only root can give a folder away");
    return;
  }
  TempDir dir;
  std::filesystem::create_directory(dir / "theirs");
  std::filesystem::permissions(dir / "theirs", std::filesystem::perms::owner_all);
  REQUIRE(::chown((dir / "theirs").c_str(), 12'345, 12'345) == 0);
  CHECK(error_of(dir / "theirs") == Errc::unsafe_directory);
  auto config = by_hand();
  config.owner = 54'321;
  CHECK(error_of(dir / "theirs", config) == Errc::unsafe_directory);
  config.owner = 12'345;
  CHECK(error_of(dir / "theirs", config) == Errc::ok);
}

TEST_CASE("a control file that is cut short, foreign, of another layout or newer is refused by name, and not touched") {
  using towpath::detail::ControlHeader;
  const Prepared prepared;
  const auto ctl = prepared.path / "ctl";
  const auto whole = slurp(ctl);
  const auto with = [&](const std::string& text) {
    std::filesystem::remove(ctl);
    spill(ctl, text);
    const auto code = error_of(prepared.path);
    CHECK(slurp(ctl) == text);
    return code;
  };
  const auto changed = [&](std::size_t at, std::uint32_t value) {
    auto text = whole;
    std::memcpy(text.data() + at, &value, 4);
    return with(text);
  };
  CHECK(with(whole) == Errc::ok);
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{4'095}, std::size_t{4'096}, whole.size() - 1})
    CHECK(with(whole.substr(0, size)) == Errc::corrupt);
  CHECK(with(std::string(whole.size(), '\0')) == Errc::corrupt);
  CHECK(changed(offsetof(ControlHeader, magic), 1) == Errc::corrupt);
  CHECK(changed(offsetof(ControlHeader, version), 1) == Errc::newer_format);
  CHECK(changed(offsetof(ControlHeader, layout_hash), 1) == Errc::corrupt);
  CHECK(changed(offsetof(ControlHeader, member_lines), 64) == Errc::corrupt);
  CHECK(changed(offsetof(ControlHeader, member_line_bytes), 64) == Errc::corrupt);
}

TEST_CASE("a topic's files that are cut short, foreign or newer are refused by name") {
  const Prepared prepared;
  for (const char* file : {"state", "wait"}) {
    CAPTURE(std::string{file});
    const auto path = prepared.topic(file);
    const auto whole = slurp(path);
    const auto with = [&](const std::string& text) {
      std::filesystem::remove(path);
      spill(path, text);
      return topic_error(prepared);
    };
    CHECK(with(whole) == Errc::ok);
    for (const std::size_t size : {std::size_t{0}, std::size_t{63}, std::size_t{4'096}, whole.size() - 1})
      CHECK(with(whole.substr(0, size)) == Errc::corrupt);
    auto text = whole;
    text[0] = 'x';
    CHECK(with(text) == Errc::corrupt);
    text = whole;
    text[8] = 1;  // version
    CHECK(with(text) == Errc::newer_format);
    text = whole;
    text[12] = static_cast<char>(text[12] ^ 8);  // block_bytes
    CHECK(with(text) == Errc::corrupt);
    CHECK(with(whole) == Errc::ok);
  }
  const auto config = slurp(prepared.topic("config"));
  spill(prepared.topic("config"), config.substr(0, config.size() / 2));
  CHECK(topic_error(prepared) == Errc::corrupt);
  spill(prepared.topic("config"), std::string(100'000, 'x'));
  CHECK(topic_error(prepared) == Errc::corrupt);
  auto newer = config;
  newer.replace(newer.find("version=0"), 9, "version=7");
  spill(prepared.topic("config"), newer);
  CHECK(topic_error(prepared) == Errc::newer_format);
  spill(prepared.topic("config"), config);
  CHECK(topic_error(prepared) == Errc::ok);
  std::filesystem::remove(prepared.topic("pins"));
  CHECK(topic_error(prepared) == Errc::corrupt);
}

TEST_CASE("a count of partitions that the state file has no room for is corrupt when one of them is asked for") {
  const Prepared prepared;
  const std::uint32_t many = 1'000;
  poke(prepared.topic("state"), offsetof(log::BlocksHeader, partitions), &many, 4);
  auto bus = open_bus(prepared.path.string());
  Raw topic{bus, "t"};
  CHECK(topic.files()->partition({0}).has_value());
  CHECK(topic.files()->partition({999}).error() == Errc::corrupt);
}

TEST_CASE("a segment that is cut short, foreign or newer is refused by name when it is read") {
  const Prepared prepared;
  const auto path = prepared.topic("0/00000000000000000000.log");
  const auto whole = slurp(path);
  const auto with = [&](const std::string& text) {
    std::filesystem::remove(path);
    spill(path, text);
    return read_elsewhere(prepared);
  };
  CHECK(with(whole) == "read 10\n");
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, std::size_t{65'536}, whole.size() - 1})
    CHECK(with(whole.substr(0, size)) == "corrupt\n");
  auto text = whole;
  text[0] = 'x';
  CHECK(with(text) == "corrupt\n");
  text = whole;
  text[8] = 1;
  CHECK(with(text) == "newer_format\n");
  CHECK(with(whole) == "read 10\n");
}

TEST_CASE(
    "on disk, whoever may write recovers a bus of before the machine's restart; on tmpfs nothing can be left of it") {
  const auto pretend_restart = [](const std::filesystem::path& path) {
    const char other[] = "00000000-0000-0000-0000-000000000000";
    poke(path / "ctl", offsetof(towpath::detail::ControlHeader, boot_id), other, sizeof other);
  };
  TempDir disk = TempDir::on_disk();
  auto config = by_hand();
  config.force_filesystem = true;  // the build folder may lie on anything
  must(Bus::open((disk / "bus").string(), config));
  CHECK(error_of(disk / "bus", config) == Errc::ok);
  pretend_restart(disk / "bus");
  config.read_only = true;
  CHECK(error_of(disk / "bus", config) == Errc::recovery_needed);
  config.read_only = false;
  CHECK(error_of(disk / "bus", config) == Errc::ok);
  config.read_only = true;
  CHECK(error_of(disk / "bus", config) == Errc::ok);
  const Prepared prepared;
  pretend_restart(prepared.path);
  CHECK(error_of(prepared.path) == Errc::ok);
}

TEST_CASE("whoever is killed while making a bus leaves one that others finish") {
  TempDir dir;
  auto child = spawn("make_bus", {(dir / "bus").string()});
  CHECK(child.wait(20s) == ExitStatus{-1, SIGKILL});
  CHECK_FALSE(std::filesystem::exists(dir / "bus" / "ctl"));
  auto bus = open_bus((dir / "bus").string());
  Raw topic{bus, "t"};
  put_records(topic, 0, 5);
  CHECK(read_topic(topic).size() == 5);
}

TEST_CASE("processes that open a folder and a topic for the first time at once share one bus and one log") {
  for (int round = 0; round < 5; ++round) {
    TempDir dir;
    std::vector<Child> children;
    for (int i = 0; i < 3; ++i) children.push_back(spawn("open_at_once", {(dir / "bus").string(), std::to_string(i)}));
    for (auto& child : children) child.wait_for("ready", 20s);
    for (auto& child : children) child.tell("go");
    for (auto& child : children) CHECK(child.wait(20s) == exited_well);
    auto bus = open_bus((dir / "bus").string());
    CHECK(read_topic(Raw{bus, "t"}).size() == 300);
  }
}

TEST_CASE("a user without the right to write reads everything, helps nobody and is no member") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: only root can become another user");
    return;
  }
  if (TOWPATH_TSAN) {
    MESSAGE("skipped: under ThreadSanitizer every file is mapped for writing");
    return;
  }
  const Prepared prepared;
  auto bus = open_bus(prepared.path.string());
  Raw topic{bus, "t"};
  auto member = must(bus.core()->claim(MemberKind::producer, "test"));
  log::Appender appender{log_of(topic), member};
  must(appender.reserve(40));
  // Not in the group of the folder: nothing at all.
  const auto nobody = [&] {
    auto child = spawn("nobody_reads", {prepared.path.string()});
    CHECK(child.wait(20s) == exited_well);
    return child.output();
  };
  std::filesystem::permissions(prepared.dir.path(), std::filesystem::perms{0755});
  CHECK(nobody() == "refused: permission_denied\n");
  // As an owner who lets everybody read: folders 0755, files 0644, but ctl and members are not for them to write.
  for (const auto& entry : std::filesystem::recursive_directory_iterator{prepared.path})
    std::filesystem::permissions(entry,
                                 entry.is_directory() ? std::filesystem::perms{0755} : std::filesystem::perms{0644});
  std::filesystem::permissions(prepared.path, std::filesystem::perms{0755});
  CHECK(nobody() == "read\n");
  CHECK(log::Slot::state(appender.segment().slots[10].load(shm::acquire)) == log::Slot::empty);  // nobody helped
}

TEST_CASE("a process that asks for it is read-only, although it could write") {
  const Prepared prepared;
  auto config = by_hand();
  config.read_only = true;
  auto bus = open_bus(prepared.path.string(), config);
  CHECK(bus.is_read_only());
  CHECK(bus.maintain().error() == Errc::read_only);
  Raw topic{bus, "t"};
  CHECK_FALSE(topic.is_writable());
  CHECK(check_sequence(read_topic(topic), 0) == 10);
  CHECK(Raw::open(bus, "new").error() == Errc::unknown_topic);
  CHECK(Admin{bus}.delete_topic("t").error() == Errc::read_only);
}

TEST_CASE("when all member lines are taken, making another member, topic or maintenance says so, and reading goes on") {
  TempDir dir;
  auto bus = open_bus((dir / "bus").string());
  Raw topic{bus, "t"};
  put_records(topic, 0, 10);
  std::vector<Member> all;
  for (;;) {
    auto member = bus.core()->claim(MemberKind::producer, "filler");
    if (!member) {
      CHECK(member.error() == Errc::too_many_members);
      break;
    }
    all.push_back(std::move(*member));
  }
  CHECK(all.size() == shm::max_members);
  CHECK(Admin{bus}.create_topic("more").error() == Errc::too_many_members);
  CHECK(bus.maintain().error() == Errc::too_many_members);
  BusConfig config;
  CHECK(error_of(dir / "bus", config) == Errc::too_many_members);  // its maintenance thread needs a line
  CHECK(check_sequence(read_topic(topic), 0) == 10);
  all.pop_back();
  must(Admin{bus}.create_topic("more"));
}

TEST_CASE("a child of fork() is told so, whatever it tries, and the parent's bus is as before") {
  Bus bus;
  Raw topic{bus, "t"};
  put_records(topic, 0, 5);
  const auto status = forked([&] {
    const bool all = bus.maintain().error() == Errc::forked && Raw::open(bus, "t").error() == Errc::forked &&
                     Admin{bus}.create_topic("x").error() == Errc::forked &&
                     Admin{bus}.list_topics().error() == Errc::forked &&
                     Admin{bus}.delete_topic("t").error() == Errc::forked &&
                     bus.core()->claim(MemberKind::producer, "x").error() == Errc::forked;
    return all ? 0 : 1;
  });
  CHECK(status == exited_well);
  put_records(topic, 5, 5);
  CHECK(check_sequence(read_topic(topic), 0) == 10);
}
