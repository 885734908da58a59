#include <shm/shm_support.hpp>

#include <atomic>
#include <memory>
#include <sstream>
#include <thread>
#include <vector>

using namespace towpath;
using namespace towpath::test;
using shm::Member;
using shm::MemberKind;

namespace {

struct MemberBench {
  TempDir dir;
  std::unique_ptr<shm::Directory> directory = open_folder(dir.path().string());
  std::unique_ptr<Table> table;
  MemberBench() {
    Table::create(*directory);
    table = std::make_unique<Table>(*directory);
  }
  shm::Members& members() { return table->members; }
  Child spawn_here(std::string_view role, const std::string& argument = {}) const {
    return spawn(role, {dir.path().string(), argument});
  }
};

std::vector<Member> claim_all(shm::Members& members) {
  std::vector<Member> all;
  for (;;) {
    auto member = members.claim(MemberKind::consumer, "filler");
    if (!member) {
      CHECK(member.error() == Errc::too_many_members);
      return all;
    }
    all.push_back(std::move(*member));
  }
}

}  // namespace

TOWPATH_ROLE("claim") {
  auto directory = open_folder(args.at(0));
  Table table{*directory};
  std::vector<Member> mine;
  std::string indexes = "claimed";
  for (unsigned i = 0; i < std::stoul(args.at(1)); ++i) {
    mine.push_back(must(table.members.claim(MemberKind::producer, "child")));
    mine.back().line().inflight.store(77, shm::release);
    indexes += " " + std::to_string(mine.back().index());
  }
  say(indexes);
  hear("leave");
  mine.clear();
  say("left");
  hang();
}

TOWPATH_ROLE("take_role") {
  auto directory = open_folder(args.at(0));
  Table table{*directory};
  must(table.members.take_role(shm::Role::maintenance));
  say("taken");
  hear("drop");
  table.members.drop_role(shm::Role::maintenance);
  say("dropped");
  hear("again");
  must(table.members.take_role(shm::Role::maintenance));
  say("taken again");
  hang();
}

TEST_CASE("a claimed line names its owner and is empty when it is left") {
  MemberBench bench;
  unsigned index = 0;
  {
    const auto member = must(bench.members().claim(MemberKind::producer, "lidar"));
    index = member.index();
    auto& line = member.line();
    CHECK(&member.table() == &bench.members());
    CHECK(line.kind.load(shm::acquire) == static_cast<std::uint32_t>(MemberKind::producer));
    CHECK(line.pid.load(shm::relaxed) == static_cast<std::uint32_t>(::getpid()));
    CHECK(std::string{line.name} == "lidar");
    CHECK(line.incarnation.load(shm::acquire) == 1);
    CHECK(line.inflight.load(shm::acquire) == 0);
    CHECK(bench.members().is_alive(index));
    line.inflight.store(99, shm::release);
  }
  auto& line = bench.members().line(index);
  CHECK(line.kind.load(shm::acquire) == 0);
  CHECK(line.inflight.load(shm::acquire) == 0);
  CHECK_FALSE(bench.members().is_alive(index));
}

TEST_CASE("a name that is too long is cut and still ends") {
  MemberBench bench;
  const auto member = must(bench.members().claim(MemberKind::consumer, std::string(100, 'n')));
  CHECK(std::string{member.line().name} == std::string(27, 'n'));
}

TEST_CASE("1,024 lines can be claimed, the next is too_many_members, and one comes back for one that is left") {
  MemberBench bench;
  auto all = claim_all(bench.members());
  CHECK(all.size() == 1'024);
  std::vector<bool> seen(1'024, false);
  for (const auto& member : all) {
    CHECK_FALSE(seen[member.index()]);
    seen[member.index()] = true;
  }
  const unsigned freed = all[500].index();
  all[500] = Member{};
  const auto again = must(bench.members().claim(MemberKind::producer, "late"));
  CHECK(again.index() == freed);
  CHECK(again.line().incarnation.load(shm::acquire) == 2);
  CHECK(bench.members().claim(MemberKind::producer, "one too many").error() == Errc::too_many_members);
}

TEST_CASE("each claim raises the incarnation and finds nothing of the one before") {
  MemberBench bench;
  for (std::uint64_t round = 1; round <= 5; ++round) {
    const auto member = must(bench.members().claim(MemberKind::producer, "again"));
    CHECK(member.index() == 0);
    CHECK(member.line().incarnation.load(shm::acquire) == round);
    for (auto* word : {&member.line().inflight, &member.line().uid, &member.line().batch, &member.line().progress}) {
      CHECK(word->load(shm::acquire) == 0);
      word->store(round, shm::release);
    }
  }
}

TEST_CASE("a member that is moved leaves once") {
  MemberBench bench;
  auto one = must(bench.members().claim(MemberKind::producer, "one"));
  Member other{std::move(one)};
  CHECK_FALSE(one);  // NOLINT: that it is empty is what is asked
  one = Member{};
  CHECK(bench.members().is_alive(other.index()));
  auto third = must(bench.members().claim(MemberKind::producer, "third"));
  const unsigned left = third.index();
  third = std::move(other);
  CHECK(third.index() == 0);
  CHECK_FALSE(bench.members().is_alive(left));
  CHECK(bench.members().is_alive(0));
}

TEST_CASE("the high-water mark covers every line that was ever claimed") {
  MemberBench bench;
  CHECK(bench.members().used() == 0);
  {
    const auto one = must(bench.members().claim(MemberKind::producer, "one"));
    const auto two = must(bench.members().claim(MemberKind::producer, "two"));
    CHECK(bench.members().used() == 2);
  }
  CHECK(bench.members().used() == 2);
  CHECK(claim_all(bench.members()).size() == 1'024);
  CHECK(bench.members().used() == 1'024);
}

TEST_CASE("whether a member lives looks the same from its own process and from another") {
  MemberBench bench;
  const auto mine = must(bench.members().claim(MemberKind::producer, "mine"));
  auto child = bench.spawn_here("claim", "1");
  child.wait_for("claimed 1", 10s);
  Table second{*bench.directory};  // as another Bus of this process
  for (auto* members : {&bench.members(), &second.members}) {
    CHECK(members->is_alive(0));
    CHECK(members->is_alive(1));
    CHECK_FALSE(members->is_alive(2));
  }
  child.kill();
  for (auto* members : {&bench.members(), &second.members}) {
    CHECK(members->is_alive(0));
    CHECK_FALSE(members->is_alive(1));
  }
}

TEST_CASE("a stopped member lives") {
  MemberBench bench;
  auto child = bench.spawn_here("claim", "1");
  child.wait_for("claimed 0", 10s);
  child.stop();
  CHECK(bench.members().is_alive(0));
  child.kill();
  CHECK_FALSE(bench.members().is_alive(0));
}

TEST_CASE("a killed member's line comes back with a higher incarnation and without its reservation") {
  MemberBench bench;
  auto child = bench.spawn_here("claim", "3");
  child.wait_for("claimed 0 1 2", 10s);
  child.kill();
  auto& line = bench.members().line(1);
  CHECK(line.inflight.load(shm::acquire) == 77);  // taken in looks until somebody claims it
  CHECK(line.kind.load(shm::acquire) != 0);
  const auto all = claim_all(bench.members());
  CHECK(all.size() == 1'024);
  CHECK(line.incarnation.load(shm::acquire) == 2);
  CHECK(line.inflight.load(shm::acquire) == 0);
  CHECK(bench.members().line(3).incarnation.load(shm::acquire) == 1);
  CHECK(bench.members().is_alive(1));
}

TEST_CASE("a line of the dead is taken before a fresh one, so that scans stay short") {
  MemberBench bench;
  auto child = bench.spawn_here("claim", "1");
  child.wait_for("claimed 0", 10s);
  child.kill();
  CHECK(must(bench.members().claim(MemberKind::producer, "next")).index() == 0);
}

TEST_CASE("processes never share a line, and one that leaves gives its lines to others") {
  MemberBench bench;
  auto one = bench.spawn_here("claim", "300");
  auto other = bench.spawn_here("claim", "300");
  std::vector<int> claimed(1'024, 0);
  for (auto* child : {&one, &other}) {
    std::istringstream words{child->wait_for("claimed", 20s).substr(8)};
    for (std::size_t index = 0; words >> index;) ++claimed[index];
  }
  CHECK(std::count(claimed.begin(), claimed.end(), 1) == 600);
  CHECK(std::count(claimed.begin(), claimed.end(), 0) == 424);
  {
    const auto mine = claim_all(bench.members());
    CHECK(mine.size() == 424);
    for (const auto& member : mine) CHECK(claimed[member.index()] == 0);
  }
  one.tell("leave");
  one.wait_for("left", 10s);
  CHECK(claim_all(bench.members()).size() == 724);
}

TEST_CASE("threads that claim and leave never hold one line together") {
  MemberBench bench;
  std::vector<std::atomic<int>> holders(shm::max_members);
  std::atomic<int> shared = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        auto member = bench.members().claim(MemberKind::producer, "thread");
        if (!member || holders[member->index()].fetch_add(1) != 0) ++shared;
        if (member) holders[member->index()].fetch_sub(1);
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(shared == 0);
  CHECK(bench.members().used() <= 4);
}

TEST_CASE("a role is held once, also within one process, and roles do not hinder each other") {
  MemberBench bench;
  Table second{*bench.directory};
  must(bench.members().take_role(shm::Role::maintenance));
  CHECK(bench.members().take_role(shm::Role::maintenance).error() == Errc::busy);
  CHECK(second.members.take_role(shm::Role::maintenance).error() == Errc::busy);
  CHECK(second.members.take_role(shm::Role::recovery));
  CHECK(bench.members().take_role(shm::Role::server));
  second.members.drop_role(shm::Role::maintenance);  // not its own
  CHECK(second.members.take_role(shm::Role::maintenance).error() == Errc::busy);
  bench.members().drop_role(shm::Role::maintenance);
  CHECK(second.members.take_role(shm::Role::maintenance));
}

TEST_CASE("a role is no line and a line is no role") {
  MemberBench bench;
  must(bench.members().take_role(shm::Role::maintenance));
  must(bench.members().take_role(shm::Role::recovery));
  must(bench.members().take_role(shm::Role::server));
  CHECK(claim_all(bench.members()).size() == 1'024);
}

TEST_CASE("a role passes between processes when it is dropped and when its holder is killed") {
  MemberBench bench;
  auto child = bench.spawn_here("take_role");
  child.wait_for("taken", 10s);
  CHECK(bench.members().take_role(shm::Role::maintenance).error() == Errc::busy);
  child.tell("drop");
  child.wait_for("dropped", 10s);
  CHECK(bench.members().take_role(shm::Role::maintenance));
  bench.members().drop_role(shm::Role::maintenance);
  child.tell("again");
  child.wait_for("taken again", 10s);
  CHECK(bench.members().take_role(shm::Role::maintenance).error() == Errc::busy);
  child.kill();
  CHECK(bench.members().take_role(shm::Role::maintenance));
}

TEST_CASE("a table whose lock file cannot be written says so instead of being full") {
  TempDir dir;
  auto directory = open_folder(dir.path().string());
  Table::create(*directory);
  const auto file = must(directory->open("ctl", shm::Access::read_write));
  const auto region = must(shm::Region::map(file, Table::bytes, shm::Access::read_write));
  shm::Members members{reinterpret_cast<shm::MemberLine*>(region->data() + 4096),
                       *reinterpret_cast<shm::Word32*>(region->data()),
                       must(shm::LockDescriptor::open([&] { return directory->open("members", shm::Access::read); })),
                       must(directory->open("members", shm::Access::read))};
  CHECK(members.claim(MemberKind::consumer, "reader").error() == Errc::permission_denied);
  CHECK(members.take_role(shm::Role::maintenance).error() == Errc::permission_denied);
}
