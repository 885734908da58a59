// Records that are on stable storage before their send returns, per second: one sender, and eight at once, who share
// flushes. Built twice: bench_durable_towpath sends with durability each; bench_durable_raw writes the same bytes into
// a file of full size and calls fdatasync. Needs a disk: where --dir is on tmpfs, the current folder is taken.
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <sys/vfs.h>

#include <towpath/towpath.hpp>

#include "workload.hpp"

namespace bench {
namespace {

constexpr int senders = 8;
using Record = Payload<100>;

/// A folder on a disk, gone at the end.
class Folder {
 public:
  explicit Folder(const Options& options) {
    struct statfs found {};
    const bool usable = ::statfs(options.dir.c_str(), &found) == 0 && found.f_type != 0x01021994;
    path_ = (usable ? std::filesystem::path{options.dir} : std::filesystem::current_path()) / "towpath-bench-durable";
    std::filesystem::remove_all(path_);
    std::filesystem::create_directory(path_);
    std::filesystem::permissions(path_, std::filesystem::perms{0750});
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string file(const char* name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

/// Calls per second of `threads` threads that each call `work()` of their own, made by `make(thread)`.
template <class Make>
double per_second(const Options& options, int threads, const Make& make) {
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> total{0};
  std::vector<std::thread> running;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < threads; ++i)
    running.emplace_back([&, i] {
      auto work = make(i);
      while (!stop.load(std::memory_order_relaxed)) {
        work();
        total.fetch_add(1, std::memory_order_relaxed);
      }
    });
  std::this_thread::sleep_for(std::chrono::duration<double>{options.quick ? 0.2 : options.seconds});
  stop = true;
  for (auto& thread : running) thread.join();
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
  return static_cast<double>(total.load()) / passed.count();
}

#if BENCH_DURABLE_RAW
double measure(const Options& options, int threads) {
  const Folder folder{options};
  constexpr off_t bytes = off_t{64} << 20;
  const int fd = ::open(folder.file("raw").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  require(fd >= 0 && ::fallocate(fd, 0, 0, bytes) == 0 && ::fdatasync(fd) == 0, "make the file");
  std::atomic<off_t> next{0};
  const double rate = per_second(options, threads, [&](int) {
    return [&, record = Record::pattern()] {
      const off_t at = next.fetch_add(sizeof record) % (bytes - off_t{sizeof record});
      require(::pwrite(fd, &record, sizeof record, at) == sizeof record && ::fdatasync(fd) == 0, "write and flush");
    };
  });
  ::close(fd);
  return rate;
}
#else
double measure(const Options& options, int threads) {
  const Folder folder{options};
  towpath::Bus bus{folder.file("bus"), {.force_filesystem = true}};
  towpath::Topic<Record> topic{bus, "t", {.durability = {towpath::DurabilityKind::each}}};
  towpath::Producer{topic}.send(Record::pattern()).value();
  return per_second(options, threads, [&](int) {
    return [producer = std::make_shared<towpath::Producer<Record>>(topic), record = Record::pattern()] {
      if (!producer->send(record)) fail("a send that was to be durable");
    };
  });
}
#endif

void durable_each(const Options& options) {
  print("durable_each", measure(options, 1), "records/s");
  print("durable_each_8", measure(options, senders), "records/s");
}

}  // namespace
}  // namespace bench

int main(int count, char** arguments) {
  return bench::run_main(count, arguments, {{"durable_each", bench::durable_each}});
}
