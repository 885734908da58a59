// write(2): one call for each record, O_APPEND, into the page cache, which is how a plain log file is written. Nothing
// is flushed. In /dev/shm the page cache is all there is.
#include <fcntl.h>

#include "store.hpp"

namespace bench {
namespace {

template <std::size_t N>
class PlainFile {
 public:
  explicit PlainFile(const Options& options) : path_(options.dir + "/write2") {
    if (options.dir.empty()) fail("--dir is missing");
    fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    require(fd_ >= 0, path_);
    require(unlink(path_.c_str()) == 0, path_);
  }
  PlainFile(const PlainFile&) = delete;
  PlainFile& operator=(const PlainFile&) = delete;
  ~PlainFile() { close(fd_); }

  void append(const Payload<N>& payload) { require(write(fd_, &payload, N) == N, "write"); }
  void finish() {}

  template <class See>
  void read_all(See see) {
    std::vector<Payload<N>> block(1024);
    off_t at = 0;
    for (;;) {
      const ssize_t got = pread(fd_, block.data(), block.size() * N, at);
      require(got >= 0 && static_cast<std::size_t>(got) % N == 0, "read");
      if (got == 0) return;
      for (std::size_t i = 0; i < static_cast<std::size_t>(got) / N; ++i) see(block[i]);
      at += got;
    }
  }

 private:
  std::string path_;
  int fd_ = -1;
};

template <std::size_t N>
void append(const Options& options, const char* measure) {
  PlainFile<N> file(options);
  const std::uint64_t count = 500'000'000 / N / (options.quick ? 10 : 1);
  print(measure, append_to<N>(file, count), "records/s");
}

}  // namespace
}  // namespace bench

int main(int count, char** arguments) {
  using namespace bench;
  return run_main(count, arguments,
                  {{"append_100", [](const Options& options) { append<100>(options, "append_100"); }},
                   {"append_1k", [](const Options& options) { append<1024>(options, "append_1k"); }}});
}
