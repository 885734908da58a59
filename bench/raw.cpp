// The limits of the machine: what the same bytes cost when nothing but the hardware and the kernel is in the way.
#include <linux/futex.h>
#include <sys/syscall.h>

#include "mapped_file.hpp"
#include "memory_use.hpp"
#include "workload.hpp"

namespace bench {
namespace {

constexpr std::size_t ring_bytes = std::size_t{64} << 20;

// Round trips.  One slot per direction; the number is stored last and stands on the payload's first line.
template <std::size_t N>
struct alignas(64) Mail {
  SharedWord number{0};
  Payload<N> payload;
};
struct alignas(64) Flag {
  SharedWord number{0};
};

/// Two lines, nothing else.
class LineEndpoint {
 public:
  LineEndpoint(Flag* flags, std::size_t side) : out_(flags[side].number), in_(flags[1 - side].number) {}
  void send(std::uint64_t n) { out_.store(n + 1, std::memory_order_release); }
  void receive(std::uint64_t n) {
    while (in_.load(std::memory_order_acquire) != n + 1) pause();
  }

 private:
  SharedWord& out_;
  SharedWord& in_;
};

/// The same with N bytes copied in and read in place.
template <std::size_t N>
class MailEndpoint {
 public:
  MailEndpoint(Mail<N>* boxes, std::size_t side) : out_(boxes[side]), in_(boxes[1 - side]) {}
  void send(std::uint64_t n) {
    source_.stamp(n);
    out_.payload = source_;
    out_.number.store(n + 1, std::memory_order_release);
  }
  void receive(std::uint64_t n) {
    while (in_.number.load(std::memory_order_acquire) != n + 1) pause();
    check(in_.payload, n);
  }

 private:
  Payload<N> source_ = Payload<N>::pattern();
  Mail<N>& out_;
  Mail<N>& in_;
};

/// Sleeps in the kernel for each message.
class FutexEndpoint {
 public:
  using Word = std::atomic<std::uint32_t>;
  struct alignas(64) Line {
    Word number{0};
  };

  FutexEndpoint(Line* lines, std::size_t side) : out_(lines[side].number), in_(lines[1 - side].number) {}
  void send(std::uint64_t n) {
    out_.store(static_cast<std::uint32_t>(n + 1), std::memory_order_seq_cst);
    syscall(SYS_futex, &out_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
  void receive(std::uint64_t n) {
    const auto wanted = static_cast<std::uint32_t>(n + 1);
    for (std::uint32_t seen; (seen = in_.load(std::memory_order_seq_cst)) != wanted;) {
      const long slept = syscall(SYS_futex, &in_, FUTEX_WAIT, seen, nullptr, nullptr, 0);
      if (slept != 0 && errno != EAGAIN && errno != EINTR) fail("FUTEX_WAIT");
    }
  }

 private:
  Word& out_;
  Word& in_;
};

template <class Endpoint, class Box>
RoundTrips ping_pong(const RoundTripPlan& plan) {
  SharedMemory memory(2 * sizeof(Box));
  auto* const boxes = new (memory.data()) Box[2];
  return round_trips([&](Side& side) { return std::make_unique<Endpoint>(boxes, side.index); }, plan);
}

void rtt_32(const Options& options) {
  ping_pong<LineEndpoint, Flag>(spinning_plan(options)).print_percentiles("rtt_32");
}

void rtt_32_aligned(const Options& options) {
  RoundTrips result = ping_pong<MailEndpoint<32>, Mail<32>>(spinning_plan(options));
  result.print_percentile("rtt_32_p99_aligned", 0.99);
}

void rtt_1k(const Options& options) {
  ping_pong<MailEndpoint<1024>, Mail<1024>>(spinning_plan(options)).print_percentiles("rtt_1k");
}

void rtt_block(const Options& options) {
  ping_pong<FutexEndpoint, FutexEndpoint::Line>(sleeping_plan(options)).print_percentiles("rtt_block", 2);
}

/// Copies records one behind the other into a mapped, touched file, over and over.
template <std::size_t N>
double copy_in(const Options& options, std::uint64_t count) {
  MappedFile file(options.dir, "raw", ring_bytes);
  pin(0);
  auto payload = Payload<N>::pattern();
  std::size_t at = 0;
  return rate(options.quick ? count / 10 : count, [&](std::uint64_t i) {
    payload.stamp(i);
    std::memcpy(file.data() + at, &payload, N);
    at = at + 2 * N > ring_bytes ? 0 : at + N;
  });
}

void append_100(const Options& options) { print("append_100", copy_in<100>(options, 20'000'000), "records/s"); }
void append_1k(const Options& options) { print("append_1k", copy_in<1024>(options, 2'000'000), "records/s"); }

/// One pass over history by memcpy, in blocks that stay in the first-level cache's neighbourhood.
double copy_out(const MappedFile& file, std::uint64_t count) {
  std::vector<std::byte> block(64 * 1024);
  const std::uint64_t start = ticks();
  for (std::size_t at = 0; at < file.size(); at += block.size()) {
    std::memcpy(block.data(), file.data() + at, std::min(block.size(), file.size() - at));
    asm volatile("" : : "r"(block.data()) : "memory");  // the copy has a reader
  }
  return static_cast<double>(count) / seconds(ticks() - start);
}

/// The same bytes that towpath reads, payload only: copied by a process that has just mapped them.
void replay_100(const Options& options) {
  const std::uint64_t count = options.quick ? 200'000 : 2'000'000;
  MappedFile file(options.dir, "raw", count * 100);
  auto payload = Payload<100>::pattern();
  for (std::uint64_t i = 0; i < count; ++i) {
    payload.stamp(i);
    std::memcpy(file.data() + i * 100, &payload, 100);
  }
  file.map_anew();
  pin(0);
  print("replay_100", copy_out(file, count), "records/s");
  const double warm = copy_out(file, count);
  const auto* const records = reinterpret_cast<const Payload<100>*>(file.data());
  const double checked = rate(count, [&](std::uint64_t i) { check(records[i], i); });
  std::printf("# replay_100 raw, second pass: memcpy %.4g records/s, read and checked in place %.4g records/s\n", warm,
              checked);
}

/// A random index word, then the random record it names: the two misses that no indexed log avoids. Measured on as much
/// memory as towpath's log of `records` records takes: 8 bytes of index and 24 of record each.
void lookup(const Options& options, const char* measure, std::uint64_t records) {
  const std::uint64_t size = records * 32;
  if (room_in(options.dir) < size + size / 4) {
    std::printf("# %s skipped: %.1f GB of memory are not free\n", measure, static_cast<double>(size) * 1.25e-9);
    return;
  }
  MappedFile file(options.dir, "raw", size);
  auto* const index = reinterpret_cast<std::uint64_t*>(file.data());
  auto* const data = index + records;
  for (std::uint64_t i = 0; i < records; ++i) index[i] = i * 3, data[i * 3 + 2] = i;
  pin(0);
  RandomPlaces places(records);
  const std::uint64_t count = options.quick ? 100'000 : 1'000'000;
  const double per_second = rate(count, [&](std::uint64_t) {
    const std::uint64_t place = places.next();
    if (data[index[place] + 2] != place) [[unlikely]]
      fail("a record stands in the wrong place");
  });
  print(measure, 1e9 / per_second, "ns");
}

void lookup_1e3(const Options& options) { lookup(options, "lookup_1e3", 1'000); }
void lookup_1e8(const Options& options) { lookup(options, "lookup_1e8", 100'000'000); }

void idle_rss(const Options&) { print("idle_rss", resident_megabytes_outside("(no such folder)"), "MB"); }

}  // namespace
}  // namespace bench

int main(int count, char** arguments) {
  using namespace bench;
  return run_main(count, arguments,
                  {{"rtt_32", rtt_32},
                   {"rtt_32_aligned", rtt_32_aligned},
                   {"rtt_1k", rtt_1k},
                   {"rtt_block", rtt_block},
                   {"append_100", append_100},
                   {"append_1k", append_1k},
                   {"replay_100", replay_100},
                   {"lookup_1e3", lookup_1e3},
                   {"lookup_1e8", lookup_1e8},
                   {"idle_rss", idle_rss}});
}
