#include <shm/shm_support.hpp>

#include <towpath/shm/doorbell.hpp>

#include <algorithm>
#include <thread>

#include <poll.h>
#include <sys/stat.h>

using namespace towpath;
using namespace towpath::test;
using shm::Doorbell;
using shm::DoorbellName;
using shm::Ringer;

namespace {

/// Whether the descriptor is readable within the time.
bool rings(int descriptor, std::chrono::milliseconds patience = 0ms) {
  pollfd asked{descriptor, POLLIN, 0};
  return ::poll(&asked, 1, static_cast<int>(patience.count())) == 1;
}

bool hangs(shm::Directory& directory, const DoorbellName& name) { return directory.identify(name.text).has_value(); }

struct DoorbellBench {
  TempDir dir;
  std::unique_ptr<shm::Directory> directory = open_folder((dir / "bus").string());
  Table table = [this] {
    Table::create(*directory);
    return Table{*directory};
  }();
};

}  // namespace

#define FOR_EACH_DOOR(sentence) TEST_CASE_TEMPLATE(sentence, Place, OnTmpfs, OnDisk, InMemory)

/// Claims a line, hangs a bell, announces that it sleeps there, and waits to be killed.
TOWPATH_ROLE("sleep_on_a_bell") {
  auto directory = open_folder(args.at(0));
  Table table{*directory};
  auto member = must(table.members.claim(shm::MemberKind::consumer, "sleeper"));
  const auto bell = must(Doorbell::open(*directory, {member.index(), member.line().incarnation.load(shm::acquire)}));
  member.line().bell.store(1, shm::relaxed);
  shm::announce_sleep(member.line().wake);
  say("asleep " + std::to_string(member.index()));
  if (!rings(bell->descriptor(), 20s)) return 1;
  say("rung");
  hang();
}

FOR_EACH_DOOR("a bell is readable from the ring on until it is cleared") {
  Place place;
  auto bell = must(Doorbell::open(*place.directory, {7, 3}));
  Ringer ringer{place.directory.get()};
  CHECK_FALSE(rings(bell->descriptor()));
  for (int round = 0; round < 3; ++round) {
    CHECK(ringer.ring(7, 3) == (round == 0));  // opened once, then kept
    CHECK(rings(bell->descriptor()));
    CHECK(rings(bell->descriptor()));
    bell->clear();
    CHECK_FALSE(rings(bell->descriptor()));
  }
  bell->signal();
  CHECK(rings(bell->descriptor()));
  CHECK_FALSE(ringer.ring(7, 4));  // another incarnation: no bell
  CHECK_FALSE(ringer.ring(15, 3));
  bell->clear();
  CHECK_FALSE(ringer.ring(7, 3));  // still kept
  CHECK(rings(bell->descriptor()));
}

FOR_EACH_DOOR("a bell can be rung any number of times without anybody listening, and is cleared at once") {
  Place place;
  auto bell = must(Doorbell::open(*place.directory, {1, 1}));
  Ringer ringer{place.directory.get()};
  for (int i = 0; i < 20'000; ++i) ringer.ring(1, 1);
  CHECK(rings(bell->descriptor()));
  bell->clear();
  CHECK_FALSE(rings(bell->descriptor()));
  ringer.ring(1, 1);
  CHECK(rings(bell->descriptor()));
}

FOR_EACH_DOOR("a bell's name goes with it; another one of that name is refused meanwhile") {
  Place place;
  const DoorbellName name{3, 9};
  {
    auto bell = must(Doorbell::open(*place.directory, name));
    CHECK(hangs(*place.directory, name));
    CHECK(Doorbell::open(*place.directory, name).error() == Errc::already_exists);
  }
  CHECK_FALSE(hangs(*place.directory, name));
  auto again = must(Doorbell::open(*place.directory, name));
  CHECK(again->has_name());
}

FOR_EACH_DOOR("what is no FIFO is not rung, and a FIFO has its mode whatever the umask") {
  Place place;
  make_file(*place.directory, "file", 0);
  CHECK(place.directory->open_fifo("file").error() == Errc::corrupt);
  CHECK(place.directory->open_fifo("nothing").error() == Errc::not_found);
  const mode_t before = ::umask(0077);
  auto fifo = must(place.directory->make_fifo("fifo", 0660));
  ::umask(before);
  if (place.directory->storage() != shm::Storage::memory) CHECK((must(shm::status(fifo)).st_mode & 07777) == 0660);
  CHECK(place.directory->make_fifo("fifo", 0660).error() == Errc::already_exists);
  CHECK(place.directory->make_fifo("nowhere/fifo", 0660).error() == Errc::not_found);
  place.directory->remove("fifo").value();
  CHECK(place.directory->open_fifo("fifo").error() == Errc::not_found);
}

TEST_CASE("an alarm rings once, and again only when it is set again") {
  auto bell = must(Doorbell::open_private());
  CHECK_FALSE(rings(bell->descriptor()));
  bell->set_alarm(1ms);
  CHECK(rings(bell->descriptor(), 10'000ms));
  bell->clear();
  CHECK(rings(bell->descriptor()));  // an alarm stays due until the next is set
  bell->set_alarm(1h);
  CHECK_FALSE(rings(bell->descriptor()));
  bell->set_alarm(50min);  // one that is set already, and not much later, does
  bell->set_alarm(1ms);
  CHECK(rings(bell->descriptor(), 10'000ms));
}

TEST_CASE("a private bell is rung from another thread") {
  auto bell = must(Doorbell::open_private());
  CHECK_FALSE(bell->has_name());
  std::thread other{[&] { bell->signal(); }};
  CHECK(rings(bell->descriptor(), 10'000ms));
  other.join();
  bell->clear();
  CHECK_FALSE(rings(bell->descriptor()));
}

TEST_CASE("a wake goes to where its owner sleeps: to the bell, or to the word") {
  DoorbellBench bench;
  auto& members = bench.table.members;
  auto member = must(members.claim(shm::MemberKind::consumer, "me"));
  auto bell = must(Doorbell::open(*bench.directory, {member.index(), member.line().incarnation.load(shm::acquire)}));
  members.wake(member.index());
  CHECK_FALSE(rings(bell->descriptor()));  // nobody sleeps
  member.line().bell.store(1, shm::relaxed);
  shm::announce_sleep(member.line().wake);
  members.wake(member.index());
  CHECK(rings(bell->descriptor()));
  bell->clear();
  members.wake(member.index());
  CHECK_FALSE(rings(bell->descriptor()));  // one announcement, one ring
  member.line().bell.store(0, shm::relaxed);
  const auto announced = shm::announce_sleep(member.line().wake);
  std::thread other{[&] { members.wake(member.index()); }};
  while (member.line().wake.load(shm::acquire) == announced) shm::sleep(member.line().wake, announced, 1s);
  other.join();
  CHECK_FALSE(rings(bell->descriptor()));
}

TEST_CASE("another process rings, and a bell whose owner was killed does no harm and goes") {
  DoorbellBench bench;
  auto& members = bench.table.members;
  auto child = spawn("sleep_on_a_bell", {(bench.dir / "bus").string()});
  const auto index = static_cast<unsigned>(std::stoul(child.wait_for("asleep", 10s).substr(7)));
  const DoorbellName name{index, members.line(index).incarnation.load(shm::acquire)};
  CHECK_FALSE(members.is_left_behind(name.text + std::string{shm::doorbell_folder}.size() + 1));
  members.wake(index);
  child.wait_for("rung", 10s);
  CHECK(hangs(*bench.directory, name));
  shm::announce_sleep(members.line(index).wake);  // as if it had gone to sleep again
  child.kill();
  CHECK(members.is_left_behind(name.text + std::string{shm::doorbell_folder}.size() + 1));
  // The ring goes nowhere: no SIGPIPE, and who has to open the bell first sees that nobody is there.
  const auto incarnation = members.line(index).incarnation.load(shm::acquire);
  const auto status = forked([&] {
    ::signal(SIGPIPE, SIG_DFL);
    Ringer other{bench.directory.get()};
    return other.ring(index, incarnation) ? 0 : 1;
  });
  CHECK(status == exited_well);
  Table second{*bench.directory};
  second.members.wake(index);
  CHECK_FALSE(hangs(*bench.directory, name));
}

TEST_CASE("whoever has the line after a killed sleeper sleeps on the word, not on the bell that is gone") {
  DoorbellBench bench;
  auto& members = bench.table.members;
  auto child = spawn("sleep_on_a_bell", {(bench.dir / "bus").string()});
  const auto index = static_cast<unsigned>(std::stoul(child.wait_for("asleep", 10s).substr(7)));
  child.kill();
  CHECK(members.line(index).bell.load(shm::acquire) == 1);
  auto member = must(members.claim(shm::MemberKind::consumer, "next"));
  REQUIRE(member.index() == index);
  CHECK(members.line(index).bell.load(shm::acquire) == 0);
}

TEST_CASE("a child's copy of a bell leaves the parent's where it is") {
  if (TOWPATH_TSAN) return;
  DoorbellBench bench;
  const DoorbellName name{5, 1};
  auto bell = must(Doorbell::open(*bench.directory, name));
  CHECK(forked([&] {
          bell.reset();
          return 0;
        }) == exited_well);
  CHECK(hangs(*bench.directory, name));
  Ringer ringer{bench.directory.get()};
  CHECK(ringer.ring(5, 1));
  CHECK(rings(bell->descriptor()));
}
