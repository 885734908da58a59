// The peer written for this bench: a bare ring in prefaulted shared memory. One fetch_add per record on one tail, a
// publish word in each record's header, and nothing else: no commit CAS, no slots, no roll, no retention, no history,
// no crash safety.
#include "mapped_file.hpp"
#include "measures.hpp"

namespace bench {
namespace {

constexpr std::size_t ring_bytes = std::size_t{64} << 20;

struct Header {
  SharedWord published;  // position + 1 once the record is whole; positions only grow, so an old lap never matches
  std::uint64_t length;
};

/// The memory of one ring. Made before the fork.
class Ring {
 public:
  Ring(const std::string& dir, const char* name, std::size_t alignment)
      : file_(dir, name, ring_bytes, 2), tail_memory_(64), alignment_(alignment) {
    tail_ = new (tail_memory_.data()) SharedWord(0);
  }

  /// Bytes one record of `length` takes.
  std::size_t stride(std::size_t length) const {
    return (sizeof(Header) + length + alignment_ - 1) / alignment_ * alignment_;
  }
  Header& at(std::uint64_t position) const { return *reinterpret_cast<Header*>(file_.data() + position % ring_bytes); }
  SharedWord& tail() const { return *tail_; }
  void touch() const { file_.touch(); }

 private:
  MappedFile file_;
  SharedMemory tail_memory_;
  SharedWord* tail_ = nullptr;
  std::size_t alignment_;
};

template <std::size_t N>
class Writer {
 public:
  explicit Writer(const Ring& ring) : ring_(ring), stride_(ring.stride(N)) { ring.touch(); }
  void send(std::uint64_t n) {
    source_.stamp(n);
    send(source_);
  }
  void send(const Payload<N>& payload) {
    write([&payload](std::byte* at) { std::memcpy(at, &payload, N); });
  }
  /// The record is written in place, and of it the header only.
  void hand_over(std::uint64_t n) {
    write([n](std::byte* at) { std::memcpy(at, &n, sizeof n); });
  }

 private:
  template <class Fill>
  void write(Fill fill) {
    const std::uint64_t position = ring_.tail().fetch_add(stride_, std::memory_order_acq_rel);
    Header& header = ring_.at(position);
    __builtin_prefetch(reinterpret_cast<const char*>(&header) + 512, 1);
    header.length = N;
    fill(reinterpret_cast<std::byte*>(&header + 1));
    header.published.store(position + 1, std::memory_order_release);
  }

  const Ring& ring_;
  std::size_t stride_;
  Payload<N> source_ = Payload<N>::pattern();
};

template <std::size_t N>
class Reader {
 public:
  explicit Reader(const Ring& ring) : ring_(ring) { ring.touch(); }

  /// Spins until record n is there, reads it in place.
  void receive(std::uint64_t n) {
    while (!try_receive(checks(n))) pause();
  }

  /// Reads up to 1,024 records. A reader that has caught up stays away a little, else it steals the writer's lines.
  std::uint64_t drain(std::uint64_t n) {
    const std::uint64_t limit = n + 1024;
    while (n < limit && try_receive(checks(n))) ++n;
    if (n < limit)
      for (int i = 0; i < 256; ++i) pause();
    return n;
  }

  template <class See>
  std::size_t poll(std::size_t limit, See see) {
    std::size_t found = 0;
    while (found < limit && try_receive(see)) ++found;
    return found;
  }

 private:
  static auto checks(std::uint64_t n) {
    return [n](const Payload<N>& payload) { check(payload, n); };
  }

  template <class See>
  bool try_receive(See&& see) {
    const Header& header = ring_.at(position_);
    if (header.published.load(std::memory_order_acquire) != position_ + 1) return false;
    if (header.length != N) fail("a record has a wrong length");
    see(*reinterpret_cast<const Payload<N>*>(&header + 1));
    position_ += ring_.stride(N);
    return true;
  }

  const Ring& ring_;
  std::uint64_t position_ = 0;
};

/// Writes one ring, reads the other.
template <std::size_t N>
struct Endpoint {
  Writer<N> writer;
  Reader<N> reader;
  void send(std::uint64_t n) { writer.send(n); }
  void receive(std::uint64_t n) { reader.receive(n); }
};

template <std::size_t N>
RoundTrips ping_pong(const Options& options, std::size_t alignment) {
  const Ring there(options.dir, "there", alignment), back(options.dir, "back", alignment);
  return round_trips(
      [&](Side& side) {
        const bool asks = side.index == 0;
        return std::unique_ptr<Endpoint<N>>(
            new Endpoint<N>{Writer<N>(asks ? there : back), Reader<N>(asks ? back : there)});
      },
      spinning_plan(options));
}

void rtt_32(const Options& options) { ping_pong<32>(options, 8).print_percentiles("rtt_32"); }

void rtt_32_aligned(const Options& options) { ping_pong<32>(options, 64).print_percentile("rtt_32_p99_aligned", 0.99); }

void rtt_1k(const Options& options) { ping_pong<1024>(options, 8).print_percentiles("rtt_1k"); }

template <std::size_t N>
double append(const Options& options, std::uint64_t count) {
  const Ring ring(options.dir, "ring", 8);
  Writer<N> writer(ring);
  pin(0);
  return rate(options.quick ? count / 10 : count, [&](std::uint64_t i) { writer.send(i); });
}

void append_100(const Options& options) { print("append_100", append<100>(options, 10'000'000), "records/s"); }
void append_1k(const Options& options) { print("append_1k", append<1024>(options, 2'000'000), "records/s"); }

template <std::size_t N>
StreamResult one_to_one(const Options& options, StreamPlan plan) {
  const Ring ring(options.dir, "ring", 8);
  plan.window = ring_bytes / ring.stride(N) / 2;
  return stream([&](Side&) { return std::make_unique<Writer<N>>(ring); },
                [&](Side&) { return std::make_unique<Reader<N>>(ring); }, plan);
}

void stream_100(const Options& options) {
  one_to_one<100>(options, burst_plan<100>(options)).print_burst("stream_100");
}
void stream_1k(const Options& options) {
  one_to_one<1024>(options, burst_plan<1024>(options)).print_burst("stream_1k");
}

void sustained_100(const Options& options) {
  const StreamResult result = one_to_one<100>(options, sustained_plan<100>(options));
  result.print_sustained("sustained_100");
}

/// For the measures that all systems take the same way.
struct BareRing {
  using Host = NoHost;
  static constexpr bool fans_out = true;
  static std::uint64_t window(std::size_t record_bytes) { return ring_bytes / (sizeof(Header) + record_bytes + 8) / 2; }

  struct Channel : Ring {
    Channel(Host& host, const char* name, std::size_t) : Ring(host.dir, name, 8) {}
  };
  template <std::size_t N>
  using Writer = bench::Writer<N>;
  template <std::size_t N>
  using Reader = bench::Reader<N>;
};

}  // namespace
}  // namespace bench

int main(int count, char** arguments) {
  using namespace bench;
  std::vector<Group> groups{{"rtt_32", rtt_32},         {"rtt_32_aligned", rtt_32_aligned}, {"rtt_1k", rtt_1k},
                            {"append_100", append_100}, {"append_1k", append_1k},           {"stream_100", stream_100},
                            {"stream_1k", stream_1k},   {"sustained_100", sustained_100}};
  for (const Group& group : shared_groups_of<BareRing>()) groups.push_back(group);
  return run_main(count, arguments, groups);
}
