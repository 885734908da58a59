// What the tests of shm/ share: results that must be there, directories of each kind, a forked child, a member table.
#pragma once

#include <doctest/doctest.h>

#include <towpath/shm/folder_directory.hpp>
#include <towpath/shm/member.hpp>
#include <towpath/shm/memory_directory.hpp>
#include <towpath/shm/region.hpp>

#include <support/support.hpp>

#include <csignal>
#include <memory>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TOWPATH_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TOWPATH_TEST_SANITIZED 1
#endif
#endif
#ifndef TOWPATH_TEST_SANITIZED
#define TOWPATH_TEST_SANITIZED 0
#endif

namespace towpath::test {

inline constexpr bool sanitized = TOWPATH_TEST_SANITIZED != 0;

/// The value; fails the test, or the role, when there is none.
template <class T>
T must(Result<T> result) {
  if (!result) fail(std::string{name(result.error().code)} + ": " + result.error().detail);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// In a role, where doctest's macros do nothing useful.
inline void expect(bool holds, const char* sentence) {
  if (!holds) fail(sentence);
}

inline std::unique_ptr<shm::Directory> open_folder(const std::string& path) {
  return must(shm::FolderDirectory::open(path.c_str(), shm::FolderOptions{}));
}

// The kinds of directory, each in a place of its own. The same tests run over all of them.
struct OnTmpfs {
  TempDir dir;
  std::unique_ptr<shm::Directory> directory = open_folder((dir / "bus").string());
};
struct OnDisk {
  TempDir dir = TempDir::on_disk();
  // Where the build folder lies on an overlay, the code is the same but for this one check.
  std::unique_ptr<shm::Directory> directory =
      must(shm::FolderDirectory::open((dir / "bus").c_str(), {.force_filesystem = true}));
};
struct InMemory {
  std::unique_ptr<shm::Directory> directory = std::make_unique<shm::MemoryDirectory>();
};

inline void make_file(shm::Directory& directory, const char* name, std::size_t bytes) {
  const auto file = must(directory.create(name, 0640));
  if (bytes > 0) must(shm::allocate(file, 0, bytes));
}

/// Runs the function in a forked child that exits with what it returns, and tells how that ended. A child that hangs
/// is ended by SIGALRM.
template <class Function>
ExitStatus forked(Function function) {
  const pid_t pid = ::fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    ::signal(SIGSEGV, SIG_DFL);  // a sanitizer would print a report of what is meant to happen
    ::alarm(30);
    ::_exit(function());
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) continue;
  return WIFEXITED(status) ? ExitStatus{WEXITSTATUS(status), 0} : ExitStatus{-1, WTERMSIG(status)};
}

inline shm::LockDescriptor open_lock_file(shm::Directory& directory, const char* name) {
  return must(shm::LockDescriptor::open([&] { return directory.open(name, shm::Access::read_write); }));
}

/// A member table with its lock file, as a bus has them.
class Table {
 public:
  static constexpr std::size_t bytes = 4096 + shm::max_members * sizeof(shm::MemberLine);

  static void create(shm::Directory& directory) {
    make_file(directory, "ctl", bytes);
    make_file(directory, "members", 0);
  }
  explicit Table(shm::Directory& directory)
      : region_{must(
            shm::Region::map(must(directory.open("ctl", shm::Access::read_write)), bytes, shm::Access::read_write))},
        members{lines(), used(), open_lock_file(directory, "members"),
                must(directory.open("members", shm::Access::read_write)), &directory} {}

 private:
  shm::Word32& used() { return *reinterpret_cast<shm::Word32*>(region_->data()); }
  shm::MemberLine* lines() { return reinterpret_cast<shm::MemberLine*>(region_->data() + 4096); }

  std::shared_ptr<shm::Region> region_;

 public:
  shm::Members members;
};

}  // namespace towpath::test
