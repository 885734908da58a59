// What only a folder of the operating system can do wrong; the rest is in directory_test.
#include <shm/shm_support.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include <sched.h>
#include <sys/mount.h>

using namespace towpath;
using namespace towpath::test;
using shm::Access;
using shm::FolderDirectory;

namespace {

Errc opening(const std::filesystem::path& path, const shm::FolderOptions& options = {}) {
  return FolderDirectory::open(path.c_str(), options).error().code;
}

unsigned mode_of(const std::filesystem::path& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) fail("stat");
  return found.st_mode & 07777;
}

bool is_root() { return ::geteuid() == 0; }

// A mount that nobody else sees and that ends with this process. False where that is not allowed.
bool mount_privately(const char* type, const std::string& at, const std::string& options) {
  if (::unshare(CLONE_NEWNS) != 0) return false;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  return ::mount("none", at.c_str(), type, 0, options.c_str()) == 0;
}

void run_or_skip(std::string_view role, const TempDir& dir) {
  auto child = spawn(role, {dir.path().string()});
  CHECK(child.wait(30s) == exited_well);
  if (child.output().starts_with("skipped"))
    MESSAGE(child.output());
  else
    CHECK(child.output() == "done\n");
}

}  // namespace

TOWPATH_ROLE("tiny_tmpfs") {
  if (!mount_privately("tmpfs", args.at(0), "size=1m,mode=0755")) return say("skipped: mounting a tmpfs is refused"), 0;
  auto directory = open_folder(args.at(0));
  expect(directory->storage() == shm::Storage::tmpfs, "it is a tmpfs");
  expect(directory->free_bytes() <= 1 << 20, "it is small");
  auto file = must(directory->create("segment", 0640));
  expect(shm::allocate(file, 0, 4 << 20).error() == Errc::no_space, "4 MiB do not fit");
  must(shm::allocate(file, 0, 512 << 10));
  {
    const auto region = must(shm::Region::map(file, 512 << 10, Access::read_write));
    std::memset(region->data(), 7, region->size());  // every page is there: no SIGBUS
    const std::string large(700 << 10, 'x');
    expect(shm::write_file(*directory, "large", large, 0640).error() == Errc::no_space, "a file that does not fit");
    expect(must(directory->list("")).size() == 1, "nothing half written is left");
    expect(region->data()[region->size() - 1] == std::byte{7}, "what was there is there");
    must(directory->remove("segment"));
  }
  file.reset();
  must(shm::write_file(*directory, "large", std::string(700 << 10, 'x'), 0640));  // works again when there is room
  say("done");
  return 0;
}

TOWPATH_ROLE("overlay") {
  const auto& base = args.at(0);
  for (const char* folder : {"/low", "/up", "/work", "/merged"}) std::filesystem::create_directory(base + folder);
  const auto options = "lowerdir=" + base + "/low,upperdir=" + base + "/up,workdir=" + base + "/work";
  if (!mount_privately("overlay", base + "/merged", options)) return say("skipped: mounting an overlay is refused"), 0;
  const auto bus = base + "/merged/bus";
  expect(opening(bus) == Errc::unsupported_filesystem, "an overlay is refused");
  expect(opening(bus, {.force_filesystem = true}) == Errc::ok, "unless it is forced");
  say("done");
  return 0;
}

// Without root's right to pass every check.
TOWPATH_ROLE("nobody") {
  if (!is_root()) return say("skipped: not root, so nobody to become"), 0;
  const auto& base = args.at(0);
  expect(::setgid(65'534) == 0 && ::setuid(65'534) == 0, "become nobody");
  expect(opening(base + "/closed") == Errc::permission_denied, "a folder without rights");
  expect(opening(base + "/listed/bus") == Errc::permission_denied, "a missing folder where none may be made");
  expect(opening(base + "/listed", {.create = false}) == Errc::ok, "root's folder is trusted");
  auto directory = must(FolderDirectory::open((base + "/listed").c_str(), shm::FolderOptions{}));
  must(directory->open("file", Access::read));
  expect(directory->open("file", Access::read_write).error() == Errc::permission_denied, "read-only for others");
  expect(directory->create("mine", 0640).error() == Errc::permission_denied, "no new files for others");
  expect(directory->remove("file").error() == Errc::permission_denied, "nothing is removed by others");
  say("done");
  return 0;
}

TEST_CASE("a missing folder is made with mode 0750 whatever the umask, unless it is not wanted") {
  TempDir dir;
  CHECK(opening(dir / "bus", {.create = false}) == Errc::not_found);
  CHECK_FALSE(std::filesystem::exists(dir / "bus"));
  const mode_t before = ::umask(0);
  CHECK(opening(dir / "open") == Errc::ok);
  ::umask(077);
  CHECK(opening(dir / "strict") == Errc::ok);
  auto directory = open_folder((dir / "strict").string());
  must(directory->make_folder("sub"));
  const auto file = must(directory->create("file", 0664));
  ::umask(before);
  CHECK(mode_of(dir / "open") == 0750);
  CHECK(mode_of(dir / "strict") == 0750);
  CHECK(mode_of(dir / "strict/sub") == 0750);
  CHECK(mode_of(dir / "strict/file") == 0664);
}

TEST_CASE("a folder that exists keeps its mode") {
  TempDir dir;
  std::filesystem::create_directory(dir / "bus");
  std::filesystem::permissions(dir / "bus", static_cast<std::filesystem::perms>(0711));
  CHECK(opening(dir / "bus") == Errc::ok);
  CHECK(mode_of(dir / "bus") == 0711);
}

TEST_CASE("a bus whose parent is missing is not found") {
  TempDir dir;
  CHECK(opening(dir / "none/bus") == Errc::not_found);
}

TEST_CASE("a file is not a bus") {
  TempDir dir;
  std::ofstream{dir / "file"} << "text";
  CHECK(opening(dir / "file") == Errc::not_a_directory);
  CHECK(opening(dir / "file/bus") == Errc::not_a_directory);
}

TEST_CASE("a folder that the world may write to is unsafe") {
  TempDir dir;
  std::filesystem::create_directory(dir / "bus");
  for (const unsigned mode : {0777u, 01777u, 0752u}) {
    std::filesystem::permissions(dir / "bus", static_cast<std::filesystem::perms>(mode));
    CHECK(opening(dir / "bus") == Errc::unsafe_directory);
  }
  std::filesystem::permissions(dir / "bus", static_cast<std::filesystem::perms>(0775));
  CHECK(opening(dir / "bus") == Errc::ok);
}

TEST_CASE("somebody else's folder is unsafe until its owner is named") {
  if (!is_root()) {
    MESSAGE("skipped: only root can give a folder away");
    return;
  }
  TempDir dir;
  std::filesystem::create_directory(dir / "bus");
  REQUIRE(::chown((dir / "bus").c_str(), 12'345, 12'345) == 0);
  CHECK(opening(dir / "bus") == Errc::unsafe_directory);
  CHECK(opening(dir / "bus", {.owner = 54'321}) == Errc::unsafe_directory);
  CHECK(opening(dir / "bus", {.owner = 12'345}) == Errc::ok);
}

TEST_CASE("what root makes in somebody's folder belongs to him, with the mode that was asked for") {
  if (!is_root()) {
    MESSAGE("skipped: only root can give a folder away");
    return;
  }
  TempDir dir;
  std::filesystem::create_directory(dir / "bus");
  REQUIRE(::chown((dir / "bus").c_str(), 12'345, 23'456) == 0);
  auto directory = must(FolderDirectory::open((dir / "bus").c_str(), {.owner = 12'345}));
  must(directory->create("file", 0640));
  must(directory->make_fifo("fifo", 0620));
  must(directory->make_folder("sub"));
  must(directory->create("sub/file", 0660));
  must(must(directory->open_folder("sub"))->make_folder("deep"));
  must(shm::write_file(*directory, "config", "old", 0640));
  must(shm::write_file(*directory, "config", "new", 0640, true));
  for (const char* name : {"file", "fifo", "sub", "sub/file", "sub/deep", "config"}) {
    CAPTURE(std::string{name});
    struct stat found {};
    REQUIRE(::stat((dir / "bus" / name).c_str(), &found) == 0);
    CHECK(found.st_uid == 12'345);
    CHECK(found.st_gid == 23'456);
  }
  CHECK(mode_of(dir / "bus/file") == 0640);
  CHECK(mode_of(dir / "bus/fifo") == 0620);
  CHECK(mode_of(dir / "bus/sub/deep") == 0750);
}

TEST_CASE("a filesystem without coherent maps is refused by name unless forced") {
  CHECK(opening("/proc", {.create = false}) == Errc::unsupported_filesystem);
  const auto forced = must(FolderDirectory::open("/proc", {.create = false, .force_filesystem = true}));
  CHECK(forced->storage() == shm::Storage::copy_on_write);
}

TEST_CASE("force does not change what a known filesystem is") {
  TempDir dir;
  const auto forced = must(FolderDirectory::open((dir / "bus").c_str(), {.force_filesystem = true}));
  CHECK(forced->storage() == shm::Storage::tmpfs);
}

TEST_CASE("an overlay is refused unless forced") { run_or_skip("overlay", TempDir::on_disk()); }

TEST_CASE("a planted link leads nowhere, neither as a file nor as a folder on the way") {
  TempDir dir;
  std::filesystem::create_directory(dir / "outside");
  std::ofstream{dir / "outside/victim"} << "untouched";
  auto directory = open_folder((dir / "bus").string());
  std::filesystem::create_symlink(dir / "outside/victim", dir / "bus/link");
  std::filesystem::create_symlink(dir / "outside", dir / "bus/topics");
  std::filesystem::create_symlink("../outside", dir / "bus/relative");
  make_file(*directory, "mine", 0);

  CHECK(directory->open("link", Access::read_write).error() == Errc::unsafe_directory);
  CHECK(directory->create("link", 0640).error() == Errc::already_exists);
  for (const std::string folder : {"topics", "relative"}) {
    CAPTURE(folder);
    const auto victim = folder + "/victim";
    const auto fresh = folder + "/fresh";
    CHECK(directory->open(victim.c_str(), Access::read_write).error() == Errc::unsafe_directory);
    CHECK_FALSE(directory->identify(victim.c_str()));
    CHECK(directory->create(fresh.c_str(), 0640).error() == Errc::unsafe_directory);
    CHECK_FALSE(directory->make_folder(fresh.c_str()));
    CHECK_FALSE(directory->remove(victim.c_str()));
    CHECK_FALSE(directory->rename(victim.c_str(), "stolen"));
    CHECK_FALSE(directory->rename("mine", fresh.c_str()));
    CHECK_FALSE(directory->replace("mine", victim.c_str()));
    CHECK_FALSE(directory->list(folder.c_str()));
    CHECK_FALSE(directory->remove_folder(folder.c_str()));
  }
  std::string text;
  std::ifstream{dir / "outside/victim"} >> text;
  CHECK(text == "untouched");
  CHECK(std::distance(std::filesystem::directory_iterator{dir / "outside"}, {}) == 1);
  CHECK(std::filesystem::exists(dir / "bus/mine"));
}

TEST_CASE("a planted link does not lead to what this process has mapped of another folder") {
  TempDir dir;
  auto theirs = open_folder((dir / "theirs").string());
  must(theirs->make_folder("0"));
  make_file(*theirs, "0/log", 4096);
  auto& cache = shm::RegionCache::instance();
  const auto region = must(cache.map(*theirs, "0/log", shm::View::whole, 4096));
  auto ours = open_folder((dir / "ours").string());
  std::filesystem::create_directory_symlink(dir / "theirs/0", dir / "ours/0");
  CHECK_FALSE(cache.map(*ours, "0/log", shm::View::whole, 4096));
  CHECK_FALSE(cache.map(*ours, "0/log", shm::View::readable, 4096));
  CHECK(must(cache.map(*theirs, "0/log", shm::View::whole, 4096)) == region);
}

TEST_CASE("a link that is removed does not take its target along") {
  TempDir dir;
  std::ofstream{dir / "victim"} << "x";
  auto directory = open_folder((dir / "bus").string());
  must(directory->make_folder("sub"));
  std::filesystem::create_symlink(dir / "victim", dir / "bus/sub/link");
  must(directory->remove_folder("sub"));
  CHECK(std::filesystem::exists(dir / "victim"));
  CHECK_FALSE(std::filesystem::exists(dir / "bus/sub"));
}

TEST_CASE("a folder stays the same one when it is renamed under us") {
  TempDir dir;
  auto directory = open_folder((dir / "bus").string());
  std::filesystem::rename(dir / "bus", dir / "moved");
  make_file(*directory, "file", 0);
  CHECK(std::filesystem::exists(dir / "moved/file"));
}

TEST_CASE("a folder that is held is worked in by its descriptor, and no other folder is") {
  TempDir dir;
  const auto made = open_folder((dir / "bus").string());
  auto& folder = *made;
  const std::string held = "0";
  for (const char* name : {"0", "1"}) must(folder.make_folder(name));
  for (const char* name : {"0/a", "1/b"}) must(folder.create(name, 0640));
  {
    const shm::FolderHold hold{folder, held};
    const shm::FolderHold inner{folder, held};
    must(folder.rename("0/a", "0/c"));
    must(folder.rename("1/b", "0/b"));
    must(folder.rename("0/b", "1/d"));
    CHECK(must(folder.list("0")) == std::vector<std::string>{"c"});
    CHECK(must(folder.list("1")) == std::vector<std::string>{"d"});
    // Another folder of that name is another one: the work goes on in what was held.
    must(folder.rename("0", "old"));
    must(folder.make_folder("0"));
    must(folder.rename("0/c", "0/e"));
    CHECK(std::filesystem::exists(dir / "bus/old/e"));
    must(folder.remove("0/e"));
    must(folder.remove_folder("old"));
    CHECK(folder.rename("0/e", "0/f").error() == Errc::not_found);
  }
  CHECK(folder.identify("0/e").error() == Errc::not_found);
  must(folder.create("0/g", 0640));
  must(folder.rename("0/g", "0/h"));
  CHECK(std::filesystem::exists(dir / "bus/0/h"));
  const std::string missing = "missing";
  const shm::FolderHold nothing{folder, missing};
  CHECK(folder.remove("missing/x").error() == Errc::not_found);
}

TEST_CASE("no descriptor of a folder or of its files reaches a program that is executed") {
  TempDir dir;
  auto directory = open_folder((dir / "bus").string());
  const auto created = must(directory->create("file", 0640));
  const auto opened = must(directory->open("file", Access::read));
  CHECK((::fcntl(created.get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK((::fcntl(opened.get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("who has no rights gets permission_denied") {
  TempDir dir;
  std::filesystem::permissions(dir.path(), static_cast<std::filesystem::perms>(0755));
  std::filesystem::create_directory(dir / "closed");
  std::filesystem::permissions(dir / "closed", static_cast<std::filesystem::perms>(0700));
  std::filesystem::create_directory(dir / "listed");
  std::filesystem::permissions(dir / "listed", static_cast<std::filesystem::perms>(0755));
  make_file(*open_folder((dir / "listed").string()), "file", 8);
  std::filesystem::permissions(dir / "listed/file", static_cast<std::filesystem::perms>(0644));
  run_or_skip("nobody", dir);
}

TEST_CASE("a full tmpfs is no_space, never SIGBUS, and works again when there is room") {
  TempDir dir;
  run_or_skip("tiny_tmpfs", dir);
}
