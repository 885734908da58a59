// A file of the measured folder, allocated, mapped shared and touched, so that no page fault is left in what is timed.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "harness.hpp"

namespace bench {

class MappedFile {
 public:
  /// `copies` = 2 maps the file twice in a row: a ring in which no record has to care about the end.
  MappedFile(const std::string& dir, const char* name, std::size_t size, int copies = 1)
      : size_(size), copies_(copies) {
    if (dir.empty()) fail("--dir is missing");
    const std::string path = dir + "/" + name;
    fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd_ >= 0, path);
    require(unlink(path.c_str()) == 0, path);
    const int allocated = fallocate(fd_, 0, 0, static_cast<off_t>(size));
    require(allocated == 0, "no room for " + path);
    map();
    touch();
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() {
    munmap(data_, span());
    close(fd_);
  }

  std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }

  /// Page tables of a shared mapping are not inherited: a child calls this before it measures.
  void touch() const { require(madvise(data_, span(), MADV_POPULATE_WRITE) == 0, "MADV_POPULATE_WRITE"); }

  /// Maps the same file anew, with empty page tables, as a process that has just arrived sees it.
  void map_anew() {
    munmap(data_, span());
    map();
  }

 private:
  std::size_t span() const noexcept { return size_ * static_cast<std::size_t>(copies_); }

  void map() {
    void* at = mmap(nullptr, span(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(at != MAP_FAILED, "mmap");
    data_ = static_cast<std::byte*>(at);
    for (int copy = 0; copy < copies_; ++copy) {
      std::byte* const place = data_ + static_cast<std::size_t>(copy) * size_;
      at = mmap(place, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd_, 0);
      require(at == place, "mmap");
    }
  }

  std::byte* data_ = nullptr;
  std::size_t size_;
  int copies_;
  int fd_ = -1;
};

/// Bytes that can still be allocated: the free space of `dir` or the free memory, whichever is less.
inline std::uint64_t room_in(const std::string& dir) {
  struct statvfs space;
  require(statvfs(dir.c_str(), &space) == 0, dir);
  const std::uint64_t on_file_system = std::uint64_t{space.f_bavail} * space.f_frsize;
  std::FILE* const info = std::fopen("/proc/meminfo", "re");
  require(info != nullptr, "/proc/meminfo");
  unsigned long long kilobytes = 0;
  char line[256];
  while (std::fgets(line, sizeof line, info) != nullptr)
    if (std::sscanf(line, "MemAvailable: %llu", &kilobytes) == 1) break;
  std::fclose(info);
  return std::min<std::uint64_t>(on_file_system, kilobytes * 1024ULL);
}

}  // namespace bench
