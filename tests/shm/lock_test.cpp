#include <shm/shm_support.hpp>

#include <towpath/shm/lock.hpp>

#include <thread>
#include <vector>

using namespace towpath;
using namespace towpath::test;
using shm::Access;
using shm::LockKind;

namespace {

struct LockFile {
  TempDir dir;
  std::unique_ptr<shm::Directory> directory = open_folder(dir.path().string());
  shm::FileDescriptor holder = must(directory->create("locks", 0660));
  shm::FileDescriptor asker = open();

  shm::FileDescriptor open(Access access = Access::read_write) const { return must(directory->open("locks", access)); }
};

}  // namespace

TOWPATH_ROLE("hold_locks") {
  auto directory = open_folder(args.at(0));
  const auto file = must(directory->open("locks", Access::read_write));
  must(shm::try_lock(file, 1, LockKind::write));
  must(shm::try_lock(file, std::uint64_t{1} << 60, LockKind::read));
  say("held");
  hear("let go");
  shm::unlock(file, 1);
  say("let go");
  hang();
}

TOWPATH_ROLE("count_under_lock") {
  auto directory = open_folder(args.at(0));
  const auto file = must(directory->open("locks", Access::read_write));
  const auto counted = must(directory->open("counter", Access::read_write));
  const auto region = must(shm::Region::map(counted, 8, Access::read_write));
  auto& counter = *reinterpret_cast<shm::Word64*>(region->data());
  for (int done = 0; done < 2'000;) {
    if (!shm::try_lock(file, 9, LockKind::write)) continue;
    counter.store(counter.load(shm::relaxed) + 1, shm::relaxed);  // two steps: only the lock makes them one
    shm::unlock(file, 9);
    ++done;
  }
  return 0;
}

TEST_CASE("a write lock excludes every other descriptor, also in the same process") {
  LockFile file;
  must(shm::try_lock(file.holder, 5, LockKind::write));
  CHECK(shm::try_lock(file.asker, 5, LockKind::write).error() == Errc::busy);
  CHECK(shm::try_lock(file.asker, 5, LockKind::read).error() == Errc::busy);
  shm::unlock(file.holder, 5);
  CHECK(shm::try_lock(file.asker, 5, LockKind::write));
}

TEST_CASE("read locks share a byte and exclude a write lock") {
  LockFile file;
  const auto third = file.open();
  must(shm::try_lock(file.holder, 5, LockKind::read));
  CHECK(shm::try_lock(file.asker, 5, LockKind::read));
  CHECK(shm::try_lock(third, 5, LockKind::write).error() == Errc::busy);
  shm::unlock(file.holder, 5);
  CHECK(shm::try_lock(third, 5, LockKind::write).error() == Errc::busy);
  shm::unlock(file.asker, 5);
  CHECK(shm::try_lock(third, 5, LockKind::write));
}

TEST_CASE("a lock covers its byte and no other, up to the largest") {
  LockFile file;
  for (const std::uint64_t byte : {std::uint64_t{0}, std::uint64_t{1'023}, (std::uint64_t{1} << 62)}) {
    must(shm::try_lock(file.holder, byte, LockKind::write));
    CHECK(shm::is_locked(file.asker, byte));
    CHECK_FALSE(shm::is_locked(file.asker, byte + 1));
    if (byte > 0) CHECK_FALSE(shm::is_locked(file.asker, byte - 1));
    shm::unlock(file.holder, byte);
    CHECK_FALSE(shm::is_locked(file.asker, byte));
  }
}

TEST_CASE("the asker sees the locks of its own process, read and write; the holder's own descriptor sees none") {
  LockFile file;
  for (const auto kind : {LockKind::read, LockKind::write}) {
    must(shm::try_lock(file.holder, 7, kind));
    CHECK(shm::is_locked(file.asker, 7));
    CHECK_FALSE(shm::is_locked(file.holder, 7));  // why there are two descriptors
    shm::unlock(file.holder, 7);
  }
}

TEST_CASE("an asker with a read-only descriptor sees locks but takes only read locks") {
  LockFile file;
  const auto reader = file.open(Access::read);
  must(shm::try_lock(file.holder, 7, LockKind::write));
  CHECK(shm::is_locked(reader, 7));
  shm::unlock(file.holder, 7);
  CHECK(shm::try_lock(reader, 7, LockKind::write).error() == Errc::permission_denied);
  CHECK(shm::try_lock(reader, 7, LockKind::read));
  CHECK(shm::is_locked(file.asker, 7));
}

TEST_CASE("taking a lock twice through one descriptor is one lock") {
  LockFile file;
  must(shm::try_lock(file.holder, 3, LockKind::write));
  CHECK(shm::try_lock(file.holder, 3, LockKind::write));
  shm::unlock(file.holder, 3);
  CHECK_FALSE(shm::is_locked(file.asker, 3));
}

TEST_CASE("closing the descriptor drops its locks; closing another of the same file does not") {
  LockFile file;
  must(shm::try_lock(file.holder, 3, LockKind::write));
  file.open().reset();
  CHECK(shm::is_locked(file.asker, 3));  // a POSIX lock would be gone
  file.holder.reset();
  CHECK_FALSE(shm::is_locked(file.asker, 3));
}

TEST_CASE("a question that cannot be asked counts as yes") { CHECK(shm::is_locked(shm::FileDescriptor{}, 0)); }

TEST_CASE("locks hold between processes until they are let go or their owner is killed") {
  LockFile file;
  auto child = spawn("hold_locks", {file.dir.path().string()});
  child.wait_for("held", 10s);
  CHECK(shm::is_locked(file.asker, 1));
  CHECK(shm::is_locked(file.asker, std::uint64_t{1} << 60));
  CHECK(shm::try_lock(file.holder, 1, LockKind::write).error() == Errc::busy);
  child.tell("let go");
  child.wait_for("let go", 10s);
  CHECK_FALSE(shm::is_locked(file.asker, 1));
  CHECK(shm::is_locked(file.asker, std::uint64_t{1} << 60));
  child.kill();
  CHECK_FALSE(shm::is_locked(file.asker, std::uint64_t{1} << 60));
  CHECK(shm::try_lock(file.holder, std::uint64_t{1} << 60, LockKind::write));
}

TEST_CASE("a stopped process keeps its locks") {
  LockFile file;
  auto child = spawn("hold_locks", {file.dir.path().string()});
  child.wait_for("held", 10s);
  child.stop();
  CHECK(shm::is_locked(file.asker, 1));
  child.kill();
  CHECK_FALSE(shm::is_locked(file.asker, 1));
}

TEST_CASE("of two processes that count under one lock no step is lost") {
  LockFile file;
  make_file(*file.directory, "counter", 8);
  auto one = spawn("count_under_lock", {file.dir.path().string()});
  auto other = spawn("count_under_lock", {file.dir.path().string()});
  CHECK(one.wait(30s) == exited_well);
  CHECK(other.wait(30s) == exited_well);
  std::uint64_t counted = 0;
  must(shm::read_some(must(file.directory->open("counter", Access::read)), &counted, 8, 0));
  CHECK(counted == 4'000);
}

TEST_CASE("threads with a descriptor each exclude each other, and what they did before is seen after") {
  LockFile file;
  std::uint64_t counter = 0;  // no atomic: the thread sanitizer must learn the order from the lock
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&, mine = file.open()] {
      for (int done = 0; done < 500;) {
        if (!shm::try_lock(mine, 9, LockKind::write)) continue;
        ++counter;
        shm::unlock(mine, 9);
        ++done;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(counter == 1'500);
}
