// A fresh folder for one test, removed with everything in it at the end.
//   TempDir dir;                           in memory: under TOWPATH_TEST_DIR or /dev/shm
//   TempDir dir = TempDir::on_disk();      under TOWPATH_TEST_DISK_DIR or the build folder
#pragma once

#include <filesystem>
#include <string_view>

namespace towpath::test {

class TempDir {
 public:
  TempDir();
  static TempDir on_disk();

  TempDir(TempDir&& other) noexcept;
  TempDir& operator=(TempDir&&) = delete;
  ~TempDir();

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  explicit TempDir(const std::filesystem::path& parent);

  std::filesystem::path path_;
};

}  // namespace towpath::test
