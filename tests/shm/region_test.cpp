#include <shm/shm_support.hpp>

#include <towpath/shm/region.hpp>

#include <thread>
#include <vector>

using namespace towpath;
using namespace towpath::test;
using shm::Access;
using shm::Region;
using shm::RegionCache;
using shm::View;

namespace {

// A cache of the test's own, over files in memory that are as long as their number says.
struct Files {
  shm::MemoryDirectory directory;
  RegionCache cache;

  static std::string name(int i) { return "file" + std::to_string(i); }
  explicit Files(int count) {
    for (int i = 0; i < count; ++i) make_file(directory, name(i).c_str(), 4096);
  }
  std::shared_ptr<Region> map(int i, View view = View::whole) {
    return must(cache.map(directory, name(i).c_str(), view, 4096));
  }
};

}  // namespace

TOWPATH_ROLE("write_to_readable") {
  ::signal(SIGSEGV, SIG_DFL);  // a sanitizer would turn it into an exit code
  auto directory = open_folder(args.at(0));
  const auto file = must(directory->open("file", Access::read));
  const auto region = must(Region::map(file, 4096, Access::read));
  say(region->data()[100] == std::byte{'x'} ? "read" : "wrong content");
  if (args.at(1) == "write") const_cast<volatile std::byte&>(region->data()[100]) = std::byte{'y'};
  return 0;
}

TOWPATH_ROLE("too_many_maps") {
  const auto limit = shm::limits().maps;
  if (limit > 300'000) return say("skipped: vm.max_map_count is too high to reach"), 0;
  shm::MemoryDirectory directory;
  make_file(directory, "file", 4096);
  const auto file = must(directory.open("file", Access::read_write));
  std::vector<std::shared_ptr<Region>> regions;
  regions.reserve(limit);
  Failure failure;
  while (regions.size() < limit && failure.code == Errc::ok) {
    auto region = Region::map(file, 4096, Access::read_write);
    if (region)
      regions.push_back(std::move(*region));
    else
      failure = region.error();
  }
  regions.resize(regions.size() - 100);
  expect(failure == Errc::too_many_maps, "the map beyond the limit is too_many_maps");
  must(Region::map(file, 4096, Access::read_write));
  say("done");
  return 0;
}

TEST_CASE("two regions of one file show the same bytes, in any process") {
  TempDir dir;
  auto directory = open_folder(dir.path().string());
  make_file(*directory, "file", 8192);
  const auto file = must(directory->open("file", Access::read_write));
  const auto one = must(Region::map(file, 8192, Access::read_write));
  const auto other = must(Region::map(file, 4096, Access::read));
  CHECK(one->size() == 8192);
  CHECK(other->size() == 4096);
  CHECK(one->data() != other->data());
  one->data()[100] = std::byte{'x'};
  CHECK(other->data()[100] == std::byte{'x'});
  auto child = spawn("write_to_readable", {dir.path().string(), "only read"});
  CHECK(child.wait(10s) == exited_well);
  CHECK(child.output() == "read\n");
}

TEST_CASE("a region that is mapped for reading cannot be written") {
  TempDir dir;
  auto directory = open_folder(dir.path().string());
  make_file(*directory, "file", 4096);
  must(shm::write_all(must(directory->open("file", Access::read_write)), "x", 1, 100));
  auto child = spawn("write_to_readable", {dir.path().string(), "write"});
  CHECK(child.wait(10s) == ExitStatus{-1, SIGSEGV});
  CHECK(child.output() == "read\n");
  CHECK(must(shm::read_file(*directory, "file"))[100] == 'x');
}

TEST_CASE("a region lives on when its file is closed and removed") {
  shm::MemoryDirectory directory;
  must(shm::write_file(directory, "file", "kept", 0640));
  const auto region = must(Region::map(must(directory.open("file", Access::read)), 4, Access::read));
  must(directory.remove("file"));
  CHECK(std::memcmp(region->data(), "kept", 4) == 0);
}

TEST_CASE("a descriptor for reading gives no region for writing") {
  shm::MemoryDirectory directory;
  make_file(directory, "file", 4096);
  const auto reader = must(directory.open("file", Access::read));
  CHECK(Region::map(reader, 4096, Access::read_write).error() == Errc::permission_denied);
  CHECK_FALSE(Region::map(shm::FileDescriptor{}, 4096, Access::read));
}

TEST_CASE("populating touches nothing and stays within the region") {
  shm::MemoryDirectory directory;
  must(shm::write_file(directory, "file", std::string(10'000, 'x'), 0640));
  const auto region = must(Region::map(must(directory.open("file", Access::read_write)), 10'000, Access::read_write));
  region->populate(0, 1 << 30, true);
  region->populate(5'000, 100, false);
  region->populate(20'000, 100, true);
  for (std::size_t i = 0; i < 10'000; ++i) REQUIRE(region->data()[i] == std::byte{'x'});
}

TEST_CASE("the cache gives the same region for the same file and view, whatever its name") {
  Files files{2};
  const auto region = files.map(0);
  CHECK(files.map(0) == region);
  CHECK(files.map(1) != region);
  must(files.directory.rename("file0", "renamed"));
  CHECK(must(files.cache.map(files.directory, "renamed", View::whole, 4096)) == region);
  CHECK(files.cache.size() == 2);
}

TEST_CASE("views of one file are regions of their own, except for the thread sanitizer") {
  Files files{1};
  const auto whole = files.map(0);
  const auto readable = files.map(0, View::readable);
  const auto control = must(files.cache.map(files.directory, "file0", View::control, 100));
  if (TOWPATH_TSAN) {
    CHECK(readable == whole);
    CHECK(control == whole);
  } else {
    CHECK(readable != whole);
    CHECK(control != whole);
    CHECK(control->size() == 100);
    CHECK(readable->size() == 4096);
  }
  whole->data()[50] = std::byte{9};
  CHECK(readable->data()[50] == std::byte{9});
  CHECK(control->data()[50] == std::byte{9});
}

TEST_CASE("another file under an old name is another region, also when its inode number comes back") {
  TempDir dir;
  auto directory = open_folder(dir.path().string());
  RegionCache cache;
  for (int round = 0; round < 50; ++round) {
    must(shm::write_file(*directory, "file", std::string(100, static_cast<char>('a' + round % 26)), 0640));
    const auto region = must(cache.map(*directory, "file", View::whole, 100));
    REQUIRE(region->data()[99] == static_cast<std::byte>('a' + round % 26));
    must(directory->remove("file"));
    if (round % 2 == 0) cache.forget(region.get());  // now the inode number is free for the next file
  }
  CHECK(cache.size() == 25);
}

TEST_CASE("a file that grew is mapped anew when more is asked for") {
  Files files{1};
  const auto before = files.map(0);
  must(shm::allocate(must(files.directory.open("file0", Access::read_write)), 0, 8192));
  CHECK(files.map(0) == before);
  const auto after = must(files.cache.map(files.directory, "file0", View::whole, 8192));
  CHECK(after != before);
  CHECK(after->size() == 8192);
  before->data()[0] = std::byte{3};
  CHECK(after->data()[0] == std::byte{3});
  CHECK(files.cache.size() == 1);
}

TEST_CASE("a file that is shorter than it must be is corrupt, an absent one is not found") {
  Files files{1};
  make_file(files.directory, "empty", 0);
  CHECK(files.cache.map(files.directory, "file0", View::whole, 4097).error() == Errc::corrupt);
  CHECK(files.cache.map(files.directory, "empty", View::whole, 0).error() == Errc::corrupt);
  CHECK(files.cache.map(files.directory, "none", View::whole, 1).error() == Errc::not_found);
  CHECK(files.cache.size() == 0);
}

TEST_CASE("a forgotten region stays whole for who uses it") {
  Files files{1};
  const auto region = files.map(0);
  region->data()[0] = std::byte{5};
  files.cache.forget(region.get());
  CHECK(files.cache.size() == 0);
  CHECK(region->data()[0] == std::byte{5});
  const auto again = files.map(0);
  CHECK(again != region);
  CHECK(again->data()[0] == std::byte{5});
}

TEST_CASE("a full cache drops what was used longest ago, and nothing that is in use") {
  Files files{40};
  files.cache.set_limit(8);
  const auto pinned = files.map(0);
  for (int i = 1; i < 8; ++i) files.map(i);
  const std::weak_ptr<Region> oldest = files.map(1);
  const std::weak_ptr<Region> second = files.map(2);
  for (int i = 3; i < 8; ++i) files.map(i);
  const std::weak_ptr<Region> touched = files.map(1);  // no longer the oldest
  CHECK(files.cache.size() == 8);
  files.map(8);
  CHECK(files.cache.size() <= 8);
  CHECK(second.expired());
  CHECK_FALSE(oldest.expired());
  CHECK_FALSE(touched.expired());
  for (int i = 9; i < 40; ++i) {
    files.map(i);
    REQUIRE(files.cache.size() <= 8);
  }
  CHECK(oldest.expired());
  CHECK(files.map(0) == pinned);
}

TEST_CASE("regions in use may exceed the limit and shrink to it when they are let go") {
  Files files{20};
  files.cache.set_limit(4);
  std::vector<std::shared_ptr<Region>> pinned;
  for (int i = 0; i < 12; ++i) pinned.push_back(files.map(i));
  CHECK(files.cache.size() == 12);
  for (int i = 0; i < 12; ++i) REQUIRE(files.map(i) == pinned[static_cast<std::size_t>(i)]);
  pinned.clear();
  for (int round = 0; round < 20; ++round) files.map(12 + round % 8);
  CHECK(files.cache.size() <= 4);
}

TEST_CASE("a cache full of what is in use shrinks once it is let go, after an eighth of the limit more at the latest") {
  Files files{100};
  files.cache.set_limit(64);
  std::vector<std::shared_ptr<Region>> pinned;
  for (int i = 0; i < 80; ++i) pinned.push_back(files.map(i));
  CHECK(files.cache.size() == 80);
  pinned.clear();
  for (int i = 80; i < 80 + 64 / 8 + 1; ++i) files.map(i);
  CHECK(files.cache.size() <= 64);
}

TEST_CASE("threads that ask for the same files get the same regions") {
  Files files{8};
  files.cache.set_limit(4);
  std::vector<std::shared_ptr<Region>> kept;
  for (int i = 0; i < 3; ++i) kept.push_back(files.map(i));
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const auto region = files.map((i + t) % 8);
        if ((i + t) % 8 < 3 && region != kept[static_cast<std::size_t>((i + t) % 8)]) ++wrong;
        reinterpret_cast<shm::Word64*>(region->data())->fetch_add(1, shm::relaxed);
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  std::uint64_t sum = 0;
  for (int i = 0; i < 8; ++i) sum += reinterpret_cast<shm::Word64*>(files.map(i)->data())->load(shm::relaxed);
  CHECK(sum == 1'500);
}

TEST_CASE("out of maps is too_many_maps and ends when some are let go") {
  if (sanitized) {
    MESSAGE("skipped: a sanitizer needs maps of its own and gives up when there are none");
    return;
  }
  auto child = spawn("too_many_maps");
  CHECK(child.wait(60s) == exited_well);
  if (child.output().starts_with("skipped"))
    MESSAGE(child.output());
  else
    CHECK(child.output() == "done\n");
}
