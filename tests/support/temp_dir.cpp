#include <support/temp_dir.hpp>

#include <support/process.hpp>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

namespace towpath::test {
namespace {

std::filesystem::path parent_from(const char* variable, const char* otherwise) {
  const char* named = std::getenv(variable);
  return named != nullptr && *named != '\0' ? named : otherwise;
}

}  // namespace

TempDir::TempDir() : TempDir{parent_from("TOWPATH_TEST_DIR", "/dev/shm")} {}

TempDir TempDir::on_disk() { return TempDir{parent_from("TOWPATH_TEST_DISK_DIR", TOWPATH_TEST_BUILD_DIR)}; }

TempDir::TempDir(const std::filesystem::path& parent) {
  std::string name = (parent / "towpath-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) fail("no folder " + name + ": " + std::strerror(errno));
  path_ = name;
}

TempDir::TempDir(TempDir&& other) noexcept : path_{std::exchange(other.path_, {})} {}

TempDir::~TempDir() {
  if (path_.empty()) return;
  // Tests take rights away and give folders to others; what cannot be removed here is not the test's outcome.
  std::error_code ignored;
  std::filesystem::permissions(path_, std::filesystem::perms::owner_all, ignored);
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace towpath::test
