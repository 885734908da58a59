// iceoryx2's publish-subscribe over shared memory, through a thin C interface (iceoryx2/src/lib.rs) so that the loop is
// the bench's own. No daemon. Tuned: up to 4,096 records wait for a reader (against 2), no history, slices of
// bytes loaned in shared memory and copied into once. Overflow is off, so that nothing is lost; a writer that finds the
// buffer full would yield and then sleep for up to 10 ms, so the bench holds it back before, spinning, as for bare
// rings.
#include <filesystem>

#include "leftovers.hpp"
#include "measures.hpp"

extern "C" {
struct BenchSettings {
  const char* root;
  const char* prefix;
  const char* name;
  std::size_t record_bytes;
  std::size_t buffer;
  std::size_t writers;
  std::size_t readers;
};
struct BenchWriter;
struct BenchReader;
BenchWriter* bench_open_writer(const BenchSettings*);
BenchReader* bench_open_reader(const BenchSettings*);
std::int64_t bench_send(BenchWriter*, const std::uint8_t* from, std::size_t filled, std::size_t size);
int bench_receive(BenchReader*, const std::uint8_t** at, std::size_t* size);
void bench_close_writer(BenchWriter*);
void bench_close_reader(BenchReader*);
}

namespace bench {
namespace {

constexpr std::size_t waiting = 4096;

/// A folder and a prefix of names that no other run has.
struct Names {
  std::string root, prefix;
  explicit Names(const Options& options)
      : root(options.dir + "/iceoryx2"), prefix("towpath_bench_" + std::to_string(getpid()) + "_") {
    if (options.dir.empty()) fail("--dir is missing");
    std::filesystem::create_directory(root);
    remove_leftovers("/dev/shm", "towpath_bench_");  // where shared memory has its names
  }
  Names(const Names&) = delete;
  Names& operator=(const Names&) = delete;
  ~Names() {
    std::filesystem::remove_all(root);
    remove_leftovers("/dev/shm", "towpath_bench_");
  }
  pid_t daemon() const noexcept { return 0; }
};

struct Iceoryx2 {
  using Host = Names;
  static constexpr bool fans_out = true;
  static constexpr bool sleeps = false;
  static constexpr std::uint64_t burst_bytes = 200'000'000;
  static RoundTripPlan plan(const Options& options) { return spinning_plan(options); }
  static std::uint64_t room(std::size_t) { return waiting; }
  static std::uint64_t window(std::size_t) { return waiting - 512; }

  class Channel {
   public:
    Channel(Host& host, const char* name, std::size_t record_bytes)
        : host_(host), name_(name), record_bytes_(record_bytes) {}
    BenchSettings settings() const {
      const std::size_t buffer = record_bytes_ > 100'000 ? 4 : waiting;
      return {host_.root.c_str(), host_.prefix.c_str(), name_.c_str(), record_bytes_, buffer, 2, 3};
    }

   private:
    Host& host_;
    std::string name_;
    std::size_t record_bytes_;
  };

  template <std::size_t N>
  class Writer {
   public:
    explicit Writer(Channel& channel) {
      const BenchSettings settings = channel.settings();
      writer_ = bench_open_writer(&settings);
      if (writer_ == nullptr) fail("iceoryx2: no writer");
    }
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;
    ~Writer() { bench_close_writer(writer_); }

    void send(const Payload<N>& payload) { send_part(&payload, N); }
    void hand_over(std::uint64_t n) { send_part(&n, sizeof n); }

   private:
    /// A record that no reader got is a failure, for nobody would ever see it.
    void send_part(const void* from, std::size_t filled) {
      if (bench_send(writer_, static_cast<const std::uint8_t*>(from), filled, N) < 1)
        fail("iceoryx2: a record reached nobody");
    }

    BenchWriter* writer_;
  };

  template <std::size_t N>
  class Reader {
   public:
    explicit Reader(Channel& channel) {
      const BenchSettings settings = channel.settings();
      reader_ = bench_open_reader(&settings);
      if (reader_ == nullptr) fail("iceoryx2: no reader");
    }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    ~Reader() { bench_close_reader(reader_); }

    template <class See>
    std::size_t poll(std::size_t, See see) {
      const std::uint8_t* at = nullptr;
      std::size_t size = 0;
      const int found = bench_receive(reader_, &at, &size);
      if (found == 0) return 0;
      if (found < 0 || size != N) fail("iceoryx2: receive failed or a record has a wrong length");
      see(*reinterpret_cast<const Payload<N>*>(at));
      return 1;
    }

   private:
    BenchReader* reader_;
  };
};

}  // namespace
}  // namespace bench

int main(int count, char** arguments) { return bench::run_main(count, arguments, bench::groups_of<bench::Iceoryx2>()); }
