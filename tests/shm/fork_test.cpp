// What a child made with fork() may and may not do with what its parent opened (failure 20).
#include <shm/shm_support.hpp>

#include <atomic>
#include <optional>
#include <thread>

#include <sys/mman.h>

using namespace towpath;
using namespace towpath::test;
using shm::Access;
using shm::ForkGuard;
using shm::LockKind;
using shm::MemberKind;
using shm::Region;
using shm::RegionCache;

namespace {

constexpr std::uint64_t plain_byte = 5'000;

struct ForkBench {
  TempDir dir;
  std::unique_ptr<shm::Directory> directory = open_folder(dir.path().string());
  ForkBench() { Table::create(*directory); }
};

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

}  // namespace

// Holds a member line, and beside it a lock on a descriptor that nobody watches; then forks a child that lives on.
TOWPATH_ROLE("parent_of_a_survivor") {
  auto directory = open_folder(args.at(0));
  Table table{*directory};
  const auto member = must(table.members.claim(MemberKind::producer, "parent"));
  const auto plain = must(directory->open("members", Access::read_write));
  must(shm::try_lock(plain, plain_byte, LockKind::write));
  const pid_t survivor = ::fork();
  if (survivor == 0) {
    ::alarm(60);  // its parent will be gone
    hang();
  }
  say("survivor " + std::to_string(survivor));
  hang();
}

TEST_CASE("a killed parent's locks are free although its child lives") {
  ForkBench bench;
  Table table{*bench.directory};
  const auto asker = must(bench.directory->open("members", Access::read_write));
  auto parent = spawn("parent_of_a_survivor", {bench.dir.path().string()});
  const pid_t survivor = std::stoi(parent.wait_for("survivor", 10s).substr(9));
  REQUIRE(table.members.is_alive(0));
  parent.kill();
  CHECK(eventually(5s, [&] { return !table.members.is_alive(0); }));
  CHECK(::kill(survivor, 0) == 0);
  CHECK(shm::is_locked(asker, plain_byte));  // what would happen to the member without the guard
  ::kill(survivor, SIGKILL);
  CHECK(eventually(5s, [&] { return !shm::is_locked(asker, plain_byte); }));
}

TEST_CASE("a child has none of its parent's maps") {
  ForkBench bench;
  const auto file = must(bench.directory->open("ctl", Access::read_write));
  const auto region = must(Region::map(file, 4096, Access::read_write));
  region->data()[0] = std::byte{1};
  CHECK(forked([&] { return static_cast<int>(const_cast<volatile std::byte&>(region->data()[0])); }) ==
        ExitStatus{-1, SIGSEGV});
  CHECK(region->data()[0] == std::byte{1});
}

TEST_CASE("each process in a line of forks has a generation of its own, and the parent keeps its") {
  auto& guard = ForkGuard::instance();
  const auto mine = guard.enter();
  CHECK(mine == guard.generation());
  CHECK(mine != 0);
  const auto status = forked([&] {
    const auto child = guard.generation();
    if (child == 0 || child == mine || guard.enter() != child) return 1;
    const auto grandchild_ended = forked([&] {
      const auto grandchild = guard.generation();
      return grandchild != 0 && grandchild != child && grandchild != mine ? 0 : 1;
    });
    return grandchild_ended == exited_well && guard.generation() == child ? 0 : 2;
  });
  CHECK(status == exited_well);
  CHECK(guard.generation() == mine);
}

TEST_CASE("a child made without the C library's fork notices too, and drops the locks when it opens a bus") {
  ForkBench bench;
  shm::LockDescriptor lock{open_lock_file(*bench.directory, "members")};
  const int fd = lock.get().get();
  const auto mine = ForkGuard::instance().generation();
  const long pid = ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (pid == 0) {
    auto& guard = ForkGuard::instance();
    if (guard.generation() != 0) ::_exit(1);
    if (!is_open(fd)) ::_exit(2);
    if (const auto entered = guard.enter(); entered == 0 || entered == mine) ::_exit(3);
    ::_exit(is_open(fd) ? 4 : 0);
  }
  int status = 0;
  REQUIRE(::waitpid(static_cast<pid_t>(pid), &status, 0) == pid);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(is_open(fd));
}

TEST_CASE("lock descriptors are closed in the child, others are not, and grandchildren have none either") {
  ForkBench bench;
  const shm::LockDescriptor lock{open_lock_file(*bench.directory, "members")};
  const auto plain = must(bench.directory->open("members", Access::read_write));
  const auto status = forked([&] {
    if (is_open(lock.get().get()) || !is_open(plain.get())) return 1;
    return forked([&] { return is_open(lock.get().get()) ? 1 : 0; }) == exited_well ? 0 : 2;
  });
  CHECK(status == exited_well);
  CHECK(is_open(lock.get().get()));
}

TEST_CASE("a lock descriptor that was closed is not closed again in a child") {
  ForkBench bench;
  int number = -1;
  {
    const shm::LockDescriptor lock{open_lock_file(*bench.directory, "members")};
    number = lock.get().get();
  }
  CHECK_FALSE(is_open(number));
  const auto other = must(bench.directory->open("ctl", Access::read));
  REQUIRE(other.get() == number);  // the number is somebody else's now
  CHECK(forked([&] { return is_open(number) ? 0 : 1; }) == exited_well);
}

TEST_CASE("the child's destructors close no descriptor that is another's by now") {
  ForkBench bench;
  std::optional<shm::LockDescriptor> lock{open_lock_file(*bench.directory, "members")};
  const auto status = forked([&] {
    const int number = lock->get().get();
    const int mine = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (mine != number) return 1;  // else nothing is tried
    lock.reset();
    return is_open(mine) ? 0 : 2;
  });
  CHECK(status == exited_well);
}

TEST_CASE("the child's destructors unmap nothing that is another's by now") {
  ForkBench bench;
  auto region = must(Region::map(must(bench.directory->open("ctl", Access::read_write)), 4096, Access::read_write));
  const auto status = forked([&] {
    void* const at = region->data();
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    void* const mine = ::mmap(at, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (mine != at) return 1;
    *static_cast<volatile char*>(mine) = 7;
    region.reset();
    return *static_cast<volatile char*>(mine) == 7 ? 0 : 2;
  });
  CHECK(status == exited_well);
}

TEST_CASE("the child's destructors give back no line and no role of the parent") {
  ForkBench bench;
  std::optional<Table> table{std::in_place, *bench.directory};
  auto member = must(table->members.claim(MemberKind::producer, "parent"));
  must(table->members.take_role(shm::Role::maintenance));
  member.line().inflight.store(5, shm::release);
  const auto status = forked([&] {
    table->members.drop_role(shm::Role::maintenance);
    { const auto dropped = std::move(member); }
    table.reset();
    return 0;
  });
  CHECK(status == exited_well);
  CHECK(member.line().inflight.load(shm::acquire) == 5);
  CHECK(member.line().kind.load(shm::acquire) != 0);
  CHECK(table->members.is_alive(member.index()));
  Table other{*bench.directory};
  CHECK(other.members.take_role(shm::Role::maintenance).error() == Errc::busy);
}

TEST_CASE("claiming and taking roles in a child is `forked`, not a crash and not a lock of the parent's") {
  ForkBench bench;
  Table table{*bench.directory};
  const auto status = forked([&] {
    if (table.members.claim(MemberKind::producer, "child").error() != Errc::forked) return 1;
    return table.members.take_role(shm::Role::recovery).error() == Errc::forked ? 0 : 2;
  });
  CHECK(status == exited_well);
}

TEST_CASE("a child that opens anew claims lines of its own beside the parent's") {
  ForkBench bench;
  Table table{*bench.directory};
  const auto mine = must(table.members.claim(MemberKind::producer, "parent"));
  const auto status = forked([&] {
    ForkGuard::instance().enter();
    auto directory = open_folder(bench.dir.path().string());
    Table own{*directory};
    const auto member = own.members.claim(MemberKind::producer, "child");
    if (!member || member->index() == mine.index()) return 1;
    return own.members.is_alive(mine.index()) && own.members.is_alive(member->index()) ? 0 : 2;
  });
  CHECK(status == exited_well);
  CHECK_FALSE(table.members.is_alive(1));
}

TEST_CASE("the region cache gives a child regions of its own, not the parent's addresses") {
  ForkBench bench;
  must(shm::write_file(*bench.directory, "file", "content", 0640));
  auto& cache = RegionCache::instance();
  const auto before = must(cache.map(*bench.directory, "file", shm::View::whole, 7));
  const auto status = forked([&] {
    const auto region = cache.map(*bench.directory, "file", shm::View::whole, 7);
    if (!region || *region == before) return 1;
    if (std::memcmp((*region)->data(), "content", 7) != 0) return 2;
    return cache.size() == 1 ? 0 : 3;
  });
  CHECK(status == exited_well);
  CHECK(must(cache.map(*bench.directory, "file", shm::View::whole, 7)) == before);
  cache.forget(before.get());
}

TEST_CASE("a child can map and lock although another thread was in the middle of it at the fork") {
  if (sanitized) {
    MESSAGE("skipped: a sanitizer's allocator does not survive the fork of a process with threads");
    return;
  }
  ForkBench bench;
  auto& cache = RegionCache::instance();
  std::atomic<bool> stop = false;
  std::thread busy{[&] {
    while (!stop) {
      cache.forget(must(cache.map(*bench.directory, "ctl", shm::View::whole, 4096)).get());
      const shm::LockDescriptor lock{open_lock_file(*bench.directory, "members")};
    }
  }};
  for (int i = 0; i < 100; ++i) {
    const auto status = forked([&] {
      const auto region = cache.map(*bench.directory, "ctl", shm::View::whole, 4096);
      const auto lock = must(shm::LockDescriptor::open(
          [] { return Result<shm::FileDescriptor>{shm::FileDescriptor{::open("/dev/null", O_RDONLY | O_CLOEXEC)}}; }));
      return region && (*region)->data()[0] == std::byte{0} ? 0 : 1;
    });
    REQUIRE(status == exited_well);  // a child that finds a lock taken for ever ends by SIGALRM
  }
  stop = true;
  busy.join();
}
