// One suite for every Directory: the log must not be able to tell them apart.
#include <shm/shm_support.hpp>

#include <towpath/shm/lock.hpp>
#include <towpath/shm/region.hpp>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include <sys/stat.h>

using namespace towpath;
using namespace towpath::test;
using shm::Access;

namespace {

std::vector<std::string> names(shm::Directory& directory, const char* folder) {
  auto found = must(directory.list(folder));
  std::sort(found.begin(), found.end());
  return found;
}

unsigned mode_under(mode_t mask, shm::Directory& directory, const char* name, unsigned mode) {
  const mode_t before = ::umask(mask);
  const auto file = must(directory.create(name, mode));
  ::umask(before);
  return must(shm::status(file)).st_mode & 07777;
}

}  // namespace

#define FOR_EACH_DIRECTORY(sentence) TEST_CASE_TEMPLATE(sentence, Place, OnTmpfs, OnDisk, InMemory)

FOR_EACH_DIRECTORY("what is written through one descriptor is read through another") {
  Place place;
  auto& directory = *place.directory;
  const auto writer = must(directory.create("file", 0640));
  must(shm::write_all(writer, "hello", 5, 0));
  char text[8] = {};
  CHECK(must(shm::read_some(must(directory.open("file", Access::read)), text, 8, 0)) == 5);
  CHECK(std::string{text} == "hello");
  const auto again = must(directory.open("file", Access::read_write));
  must(shm::write_all(again, "J", 1, 0));
  CHECK(must(shm::read_file(directory, "file")) == "Jello");
}

FOR_EACH_DIRECTORY(
    "files and folders can be flushed, by name, map and descriptor; on a disk only those that are there") {
  Place place;
  auto& directory = *place.directory;
  must(directory.make_folder("folder"));
  make_file(directory, "folder/file", 8192);
  must(directory.flush("folder/file"));
  must(directory.flush_folder("folder"));
  must(directory.flush_folder(""));
  const auto file = must(directory.open("folder/file", Access::read_write));
  must(shm::flush_file(file));
  must(must(shm::Region::map(file, 8192, Access::read_write))->flush());
  CHECK((directory.flush("nothing").error() == Errc::not_found) == directory.is_lasting());
  CHECK((directory.flush_folder("nothing").error() == Errc::not_found) == directory.is_lasting());
}

FOR_EACH_DIRECTORY("a descriptor opened for reading refuses to write") {
  Place place;
  make_file(*place.directory, "file", 0);
  const auto reader = must(place.directory->open("file", Access::read));
  CHECK_FALSE(shm::write_all(reader, "x", 1, 0));
}

FOR_EACH_DIRECTORY("two descriptors of one file have locks of their own") {
  Place place;
  const auto one = must(place.directory->create("file", 0640));
  const auto other = must(place.directory->open("file", Access::read_write));
  must(shm::try_lock(one, 3, shm::LockKind::write));
  CHECK(shm::try_lock(other, 3, shm::LockKind::write).error() == Errc::busy);
}

FOR_EACH_DIRECTORY("a name that is taken is not made again and keeps its content") {
  Place place;
  auto& directory = *place.directory;
  must(shm::write_file(directory, "file", "old", 0640));
  CHECK(directory.create("file", 0640).error() == Errc::already_exists);
  CHECK(shm::write_file(directory, "file", "new", 0640).error() == Errc::already_exists);
  must(directory.make_folder("folder"));
  CHECK(directory.make_folder("folder").error() == Errc::already_exists);
  CHECK(directory.make_folder("file").error() == Errc::already_exists);
  CHECK(directory.create("folder", 0640).error() == Errc::already_exists);
  CHECK(must(shm::read_file(directory, "file")) == "old");
  CHECK(names(directory, "") == std::vector<std::string>{"file", "folder"});
}

FOR_EACH_DIRECTORY("what is not there is not found") {
  Place place;
  auto& directory = *place.directory;
  must(shm::write_file(directory, "file", "x", 0640));
  CHECK(directory.open("none", Access::read).error() == Errc::not_found);
  CHECK(directory.identify("none").error() == Errc::not_found);
  CHECK(directory.rename("none", "other").error() == Errc::not_found);
  CHECK(directory.replace("none", "other").error() == Errc::not_found);
  CHECK(directory.remove("none").error() == Errc::not_found);
  CHECK(directory.remove_folder("none").error() == Errc::not_found);
  CHECK(directory.list("none").error() == Errc::not_found);
  CHECK(directory.create("none/file", 0640).error() == Errc::not_found);
  CHECK(directory.make_folder("none/folder").error() == Errc::not_found);
  CHECK(directory.rename("file", "none/file").error() == Errc::not_found);
  CHECK(shm::read_file(directory, "none").error() == Errc::not_found);
  CHECK(names(directory, "") == std::vector<std::string>{"file"});
}

FOR_EACH_DIRECTORY("a file is no folder and a folder is no file") {
  Place place;
  auto& directory = *place.directory;
  make_file(directory, "file", 0);
  must(directory.make_folder("folder"));
  CHECK(directory.create("file/below", 0640).error() == Errc::not_a_directory);
  CHECK(directory.make_folder("file/below").error() == Errc::not_a_directory);
  CHECK(directory.list("file").error() == Errc::not_a_directory);
  CHECK(directory.remove_folder("file").error() == Errc::not_a_directory);
  CHECK(directory.remove("folder").error() == Errc::not_a_directory);
  CHECK(directory.open("folder", Access::read_write).error() == Errc::not_a_directory);
  CHECK(directory.replace("file", "folder").error() == Errc::not_a_directory);
  CHECK(directory.replace("folder", "file").error() == Errc::not_a_directory);
  CHECK(names(directory, "") == std::vector<std::string>{"file", "folder"});
}

FOR_EACH_DIRECTORY("a rename moves a file and never replaces one") {
  Place place;
  auto& directory = *place.directory;
  must(shm::write_file(directory, "one", "1", 0640));
  must(shm::write_file(directory, "two", "2", 0640));
  const auto id = must(directory.identify("one")).id;
  CHECK(directory.rename("one", "two").error() == Errc::already_exists);
  CHECK(must(shm::read_file(directory, "two")) == "2");
  CHECK(must(shm::read_file(directory, "one")) == "1");
  must(directory.rename("one", "three"));
  CHECK(directory.open("one", Access::read).error() == Errc::not_found);
  CHECK(must(directory.identify("three")).id == id);
}

FOR_EACH_DIRECTORY("replacing gives a name another file, and to itself changes nothing") {
  Place place;
  auto& directory = *place.directory;
  must(shm::write_file(directory, "one", "1", 0640));
  must(shm::write_file(directory, "two", "2", 0640));
  const auto id = must(directory.identify("one")).id;
  const auto before = must(directory.open("two", Access::read));
  must(directory.replace("one", "two"));
  CHECK(must(directory.identify("two")).id == id);
  CHECK(names(directory, "") == std::vector<std::string>{"two"});
  char old = 0;
  CHECK(must(shm::read_some(before, &old, 1, 0)) == 1);
  CHECK(old == '2');  // who had it open keeps it
  must(directory.replace("two", "two"));
  CHECK(must(shm::read_file(directory, "two")) == "1");
  must(shm::write_file(directory, "two", "third", 0640, true));
  CHECK(must(shm::read_file(directory, "two")) == "third");
}

FOR_EACH_DIRECTORY("a folder is renamed with all that is in it") {
  Place place;
  auto& directory = *place.directory;
  must(directory.make_folder("a"));
  must(directory.make_folder("a/b"));
  must(shm::write_file(directory, "a/b/file", "deep", 0640));
  must(directory.make_folder("a.b"));  // sorts between "a" and "a/"
  must(directory.rename("a", "c"));
  CHECK(must(shm::read_file(directory, "c/b/file")) == "deep");
  CHECK(names(directory, "") == std::vector<std::string>{"a.b", "c"});
  CHECK(directory.list("a").error() == Errc::not_found);
}

FOR_EACH_DIRECTORY("a folder is removed with all that is in it and nothing beside it") {
  Place place;
  auto& directory = *place.directory;
  for (const char* folder : {"a", "a/b", "a/b/c", "ab"}) must(directory.make_folder(folder));
  for (const char* file : {"a/1", "a/b/2", "a/b/c/3", "ab/4", "a.5"}) make_file(directory, file, 0);
  must(directory.remove_folder("a"));
  CHECK(names(directory, "") == std::vector<std::string>{"a.5", "ab"});
  CHECK(names(directory, "ab") == std::vector<std::string>{"4"});
}

FOR_EACH_DIRECTORY("a list names what is in a folder, not what is deeper") {
  Place place;
  auto& directory = *place.directory;
  CHECK(names(directory, "").empty());
  must(directory.make_folder("a"));
  must(directory.make_folder("a/b"));
  make_file(directory, "a/b/deep", 0);
  make_file(directory, "a/file", 0);
  make_file(directory, "top", 0);
  CHECK(names(directory, "") == std::vector<std::string>{"a", "top"});
  CHECK(names(directory, "a") == std::vector<std::string>{"b", "file"});
  CHECK(names(directory, "a/b") == std::vector<std::string>{"deep"});
}

FOR_EACH_DIRECTORY("a removed file lives on for who has it open, and its name is free for another") {
  Place place;
  auto& directory = *place.directory;
  must(shm::write_file(directory, "file", "old", 0640));
  const auto held = must(directory.open("file", Access::read));
  const auto id = must(directory.identify("file")).id;
  must(directory.remove("file"));
  must(shm::write_file(directory, "file", "new", 0640));
  CHECK_FALSE(must(directory.identify("file")).id == id);
  char text[4] = {};
  must(shm::read_some(held, text, 3, 0));
  CHECK(std::string{text} == "old");
}

FOR_EACH_DIRECTORY("a name leads to the same identity until it names another file, and to its size") {
  Place place;
  auto& directory = *place.directory;
  make_file(directory, "one", 1234);
  make_file(directory, "two", 0);
  CHECK(must(directory.identify("one")).bytes == 1234);
  CHECK(must(directory.identify("two")).bytes == 0);
  const auto one = must(directory.identify("one")).id;
  CHECK(must(directory.identify("one")).id == one);
  CHECK_FALSE(must(directory.identify("two")).id == one);
  const auto about = must(shm::status(must(directory.open("one", Access::read))));
  CHECK(one == shm::FileId{about.st_dev, about.st_ino});
}

FOR_EACH_DIRECTORY("a file's mode does not depend on the umask") {
  Place place;
  auto& directory = *place.directory;
  CHECK(mode_under(0, directory, "a", 0640) == mode_under(077, directory, "b", 0640));
  CHECK(mode_under(0, directory, "c", 0660) == mode_under(077, directory, "d", 0660));
}

FOR_EACH_DIRECTORY("a name never leads out of the directory") {
  Place place;
  auto& directory = *place.directory;
  make_file(directory, "file", 0);
  must(directory.make_folder("folder"));
  for (const char* name : {"../file", "/etc/passwd", "folder/../../file", ".."}) {
    CAPTURE(name);
    // In memory ".." is a name like any other: there is nothing above.
    if (std::is_same_v<Place, InMemory> && std::string_view{name} == "..") continue;
    CHECK_FALSE(directory.open(name, Access::read));
    CHECK_FALSE(directory.create(name, 0640));
    CHECK_FALSE(directory.make_folder(name));
    CHECK_FALSE(directory.remove(name));
    CHECK_FALSE(directory.remove_folder(name));
    CHECK_FALSE(directory.rename("file", name));
    CHECK_FALSE(directory.replace("file", name));
    CHECK_FALSE(directory.rename(name, "mine"));
    CHECK_FALSE(directory.list(name));
  }
  CHECK_FALSE(directory.remove_folder(""));
  CHECK(names(directory, "") == std::vector<std::string>{"file", "folder"});
}

FOR_EACH_DIRECTORY("a small file is written whole and its private name is gone") {
  Place place;
  auto& directory = *place.directory;
  must(directory.make_folder("topics"));
  must(shm::write_file(directory, "topics/config", "key=value\n", 0640));
  CHECK(shm::write_file(directory, "topics/config", "other", 0640).error() == Errc::already_exists);
  CHECK(names(directory, "topics") == std::vector<std::string>{"config"});
  CHECK(names(directory, "") == std::vector<std::string>{"topics"});
  CHECK(must(shm::read_file(directory, "topics/config")) == "key=value\n");
  must(shm::write_file(directory, "empty", "", 0640));
  CHECK(must(shm::read_file(directory, "empty")).empty());
}

FOR_EACH_DIRECTORY("a small file that is not small is corrupt, not read") {
  Place place;
  make_file(*place.directory, "file", 101);
  CHECK(must(shm::read_file(*place.directory, "file", 101)).size() == 101);
  CHECK(shm::read_file(*place.directory, "file", 100).error() == Errc::corrupt);
}

FOR_EACH_DIRECTORY("of threads that make one name, exactly one succeeds") {
  Place place;
  auto& directory = *place.directory;
  std::atomic<int> made = 0;
  std::atomic<int> taken = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        const auto name = "file" + std::to_string(i);
        const auto done = shm::write_file(directory, name.c_str(), name, 0640);
        made += done ? 1 : 0;
        taken += done.error() == Errc::already_exists ? 1 : 0;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(made == 50);
  CHECK(taken == 150);
  CHECK(names(directory, "").size() == 50);
}

FOR_EACH_DIRECTORY("there is room, and the directory knows what it lies on") {
  Place place;
  CHECK(place.directory->free_bytes() > 1'000'000);
  const auto storage = place.directory->storage();
  if constexpr (std::is_same_v<Place, InMemory>) CHECK(storage == shm::Storage::memory);
  if constexpr (std::is_same_v<Place, OnDisk>)
    CHECK((storage == shm::Storage::disk || storage == shm::Storage::copy_on_write));
  if constexpr (std::is_same_v<Place, OnTmpfs>) CHECK(storage == shm::Storage::tmpfs);
}
