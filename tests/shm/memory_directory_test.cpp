// What only a directory in memory promises; the rest is in directory_test.
#include <shm/shm_support.hpp>

#include <filesystem>

using namespace towpath;
using namespace towpath::test;

namespace {

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, std::filesystem::directory_iterator{});
}

}  // namespace

TEST_CASE("two directories in memory share nothing") {
  shm::MemoryDirectory one;
  shm::MemoryDirectory other;
  must(shm::write_file(one, "file", "x", 0640));
  CHECK(other.open("file", shm::Access::read).error() == Errc::not_found);
  must(shm::write_file(other, "file", "y", 0640));
  CHECK_FALSE(must(one.identify("file")).id == must(other.identify("file")).id);
}

TEST_CASE("a directory in memory gives back every descriptor") {
  const auto before = open_descriptors();
  {
    shm::MemoryDirectory directory;
    for (int i = 0; i < 20; ++i) must(shm::write_file(directory, ("file" + std::to_string(i)).c_str(), "x", 0640));
    CHECK(open_descriptors() == before + 20);
    must(directory.remove("file3"));
    CHECK(open_descriptors() == before + 19);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("a descriptor outlives the directory in memory that gave it") {
  shm::FileDescriptor file;
  {
    shm::MemoryDirectory directory;
    must(shm::write_file(directory, "file", "kept", 0640));
    file = must(directory.open("file", shm::Access::read));
  }
  char text[8] = {};
  CHECK(must(shm::read_some(file, text, 8, 0)) == 4);
  CHECK(std::string{text} == "kept");
}
