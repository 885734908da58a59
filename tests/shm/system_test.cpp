#include <shm/shm_support.hpp>

#include <towpath/shm/system.hpp>

#include <set>
#include <vector>

#include <sys/resource.h>

using namespace towpath;
using namespace towpath::test;

// Takes all descriptors, then asks for one more in every way the library has.
TOWPATH_ROLE("too_few_descriptors") {
  auto folder = open_folder(args.at(0));
  shm::MemoryDirectory memory;
  make_file(*folder, "file", 8);
  make_file(memory, "first", 8);  // a sanitizer looks at an unknown class through a pipe, and soon there is none
  const rlimit few{40, 40};
  expect(::setrlimit(RLIMIT_NOFILE, &few) == 0, "setrlimit");
  expect(shm::limits().files == 40, "limits() sees the new limit");
  std::vector<shm::FileDescriptor> taken;
  for (int i = 0; i < 100; ++i) {
    auto file = folder->open("file", shm::Access::read);
    if (!file) break;
    taken.push_back(std::move(*file));
  }
  expect(taken.size() < 40, "the limit holds");
  expect(folder->open("file", shm::Access::read).error() == Errc::too_many_files, "open");
  expect(folder->create("other", 0640).error() == Errc::too_many_files, "create");
  expect(folder->list("").error() == Errc::too_many_files, "list");
  expect(shm::write_file(*folder, "third", "x", 0640).error() == Errc::too_many_files, "write_file");
  const auto second = shm::FolderDirectory::open(args.at(0).c_str(), shm::FolderOptions{});
  expect(second.error() == Errc::too_many_files, "open a folder");
  expect(memory.create("file", 0640).error() == Errc::too_many_files, "create in memory");
  taken.resize(taken.size() / 2);
  must(shm::write_file(*folder, "third", "x", 0640));
  must(shm::write_file(memory, "file", "x", 0640));
  expect(must(folder->list("")).size() == 2, "nothing half made is left");
  return 0;
}

TEST_CASE("every refusal of the kernel has a code that tells the user what to do") {
  const std::pair<int, Errc> expected[] = {
      {ENOENT, Errc::not_found},
      {EEXIST, Errc::already_exists},
      {EACCES, Errc::permission_denied},
      {EPERM, Errc::permission_denied},
      {EROFS, Errc::permission_denied},
      {ENOTDIR, Errc::not_a_directory},
      {EISDIR, Errc::not_a_directory},
      {ELOOP, Errc::unsafe_directory},
      {EXDEV, Errc::unsafe_directory},
      {ENOSPC, Errc::no_space},
      {EDQUOT, Errc::no_space},
      {EMFILE, Errc::too_many_files},
      {ENFILE, Errc::too_many_files},
      {ENOMEM, Errc::out_of_memory},
      {ENOSYS, Errc::unsupported_platform},
      {EIO, Errc::io_error},
      {EINVAL, Errc::io_error},
  };
  for (const auto& row : expected) {
    CAPTURE(row.first);
    CHECK(shm::system_failure(row.first, "call") == row.second);
    CHECK(std::string{shm::system_failure(row.first, "call").detail} == "call");
  }
}

TEST_CASE("a descriptor is closed once, by its last owner") {
  const int raw = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  REQUIRE(raw >= 0);
  const auto is_open = [&] { return ::fcntl(raw, F_GETFD) >= 0; };
  {
    shm::FileDescriptor one{raw};
    shm::FileDescriptor other{std::move(one)};
    CHECK_FALSE(one);  // NOLINT: a moved-from descriptor holds nothing, that is what is asked
    one.reset();
    CHECK(is_open());
    shm::FileDescriptor third;
    third = std::move(other);
    CHECK(is_open());
    auto& same = third;
    third = std::move(same);
    CHECK(third.get() == raw);
  }
  CHECK_FALSE(is_open());
  const int kept = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  { CHECK(shm::FileDescriptor{kept}.release() == kept); }
  CHECK(::close(kept) == 0);
}

TEST_CASE("allocated bytes have their blocks, keep what was there and read as zero") {
  TempDir dir;
  auto directory = open_folder(dir.path().string());
  const auto file = must(directory->create("file", 0640));
  must(shm::write_all(file, "abc", 3, 0));
  must(shm::allocate(file, 0, 1 << 20));
  const auto about = must(shm::status(file));
  CHECK(about.st_size == 1 << 20);
  CHECK(about.st_blocks * 512 >= 1 << 20);
  char text[6] = {'x', 'x', 'x', 'x', 'x', 'x'};
  CHECK(must(shm::read_some(file, text, 5, 0)) == 5);
  CHECK(std::string_view{text, 5} == std::string_view{"abc\0\0", 5});
}

TEST_CASE("reading tells how much there was") {
  shm::MemoryDirectory directory;
  must(shm::write_file(directory, "file", "12345", 0640));
  const auto file = must(directory.open("file", shm::Access::read));
  char text[10] = {};
  CHECK(must(shm::read_some(file, text, 10, 0)) == 5);
  CHECK(must(shm::read_some(file, text, 10, 3)) == 2);
  CHECK(must(shm::read_some(file, text, 10, 5)) == 0);
  CHECK(shm::read_some(shm::FileDescriptor{}, text, 1, 0).error() == Errc::io_error);
}

TEST_CASE("the boot id stays the same and looks like a uuid") {
  const auto id = shm::boot_id();
  CHECK(id == shm::boot_id());
  const std::string text{id.data()};
  if (text.empty())
    MESSAGE("skipped: this kernel hides its boot id");
  else
    CHECK(text.substr(0, 36).find_first_not_of("0123456789abcdef-") == std::string::npos);
  CHECK(id.back() == '\0');
}

TEST_CASE("the limits are those of this process") {
  rlimit files{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  CHECK(shm::limits().files == files.rlim_cur);
  CHECK(shm::limits().maps >= 1'000);
  CHECK(shm::read_proc("/proc/no/such/file").empty());
}

TEST_CASE("random bits do not repeat") {
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1'000; ++i) CHECK(seen.insert(shm::random_bits()).second);
}

TEST_CASE("out of descriptors is too_many_files, loses nothing, and ends when some are closed") {
  TempDir dir;
  CHECK(spawn("too_few_descriptors", {dir.path().string()}).wait(20s) == exited_well);
}
