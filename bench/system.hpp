// The measures that every system takes the same way: round trips, appends, streams. A system says how one record is
// sent and how records are found; numbering, checking, pacing and timing stand here. It is a type with these members:
//   Host          what a run needs and both sides share: Host(const Options&), pid_t daemon() (0: there is none)
//   Channel       one direction: Channel(Host&, const char* name, std::size_t record_bytes)
//   Writer<N>     Writer(Channel&), send(const Payload<N>&): returns once the record is on its way
//   Reader<N>     Reader(Channel&), poll(limit, see): calls see(payload) for the records that are there, returns how
//                 many those were; may have a limit of its own. Never waits. Optional: await(see), the same, but waits
//                 up to 10 ms for the first one in the way that suits the system; without it the reader spins.
//                 Optional: gather(see), the system's own way to read a stream, up to 10 ms; without it poll, then a
//                 pause. With both there need be no poll. Optional: sleep(see) waits in the kernel
//   plan(options) which round-trip plan fits its latency
//   room(bytes)   how many records of this size a channel takes while nobody reads
//   window(bytes) optional: the writer of a stream is held back by the bench when it is this many records ahead, give
//                 or take 256. Without it the system holds it back itself
//   burst_bytes   how much a burst sends, after half of that to warm up
//   fans_out      whether several readers of one channel each see everything
//   sleeps        whether its Reader has sleep; asked of peers only
// Writer may have hand_over(n): loans a record, writes number n and nothing else, sends it. Without it a hand-over
// copies. Host and Channel are made before the fork and removed by the parent; Writer and Reader after it, by whoever
// uses them.
#pragma once

#include "workload.hpp"

namespace bench {

/// Negative control: with -DBENCH_DROP_RECORD=n record n is never sent, and every measure that reads has to fail.
#if defined(BENCH_DROP_RECORD)
constexpr std::uint64_t dropped_record = BENCH_DROP_RECORD;
#else
constexpr std::uint64_t dropped_record = ~std::uint64_t{0};
#endif

/// For systems without a daemon.
struct NoHost {
  std::string dir;
  explicit NoHost(const Options& options) : dir(options.dir) {
    if (dir.empty()) fail("--dir is missing");
  }
  pid_t daemon() const noexcept { return 0; }
};

/// Sends record n.
template <class System, std::size_t N>
class NumberedWriter {
 public:
  explicit NumberedWriter(typename System::Channel& channel) : writer_(channel) {}

  void send(std::uint64_t n) {
    if constexpr (dropped_record != ~std::uint64_t{0})
      if (n == dropped_record) return;
    payload_.stamp(n);
    writer_.send(payload_);
  }

  /// Only the header is written; the rest is what the memory held, or is copied where a system cannot loan.
  void hand_over(std::uint64_t n) {
    if constexpr (requires { writer_.hand_over(n); })
      writer_.hand_over(n);
    else
      send(n);
  }

 private:
  typename System::template Writer<N> writer_;
  Payload<N> payload_ = Payload<N>::pattern();
};

/// Expects records in their order.
template <class System, std::size_t N>
class NumberedReader {
 public:
  explicit NumberedReader(typename System::Channel& channel) : reader_(channel) {}

  /// Waits until record n is there. Fails if others follow it.
  void receive(std::uint64_t n) {
    receive_one([n](const Payload<N>& payload) { check(payload, n); });
  }
  void receive_header(std::uint64_t n) {
    receive_one([n](const Payload<N>& payload) {
      if (payload.sequence() != n) fail("record " + std::to_string(n) + " expected, another came");
    });
  }

  /// Checks what is there, beginning with record n, and calls each(number) after each. Returns the number of the next.
  template <class Each>
  std::uint64_t take(std::uint64_t n, Each each) {
    wait_for([&](const Payload<N>& payload) {
      check(payload, n);
      each(n++);
    });
    return n;
  }

  /// Reads up to 1,024 records. A reader that spins and has caught up stays away a little, else it steals the writer's
  /// lines.
  std::uint64_t drain(std::uint64_t n) {
    drain_any([&n](std::uint64_t) { return n++; });
    return n;
  }

  /// The same; expected(number) says which number ought to stand where `number` stands.
  template <class Expected>
  void drain_any(Expected expected) {
    const auto see = [&](const Payload<N>& payload) { check(payload, expected(payload.sequence())); };
    if constexpr (requires { reader_.gather(see); }) {
      reader_.gather(see);
      return;
    } else {
      poll_all(see);
    }
  }

  /// Waits in the kernel for record n.
  void sleep_until(std::uint64_t n) {
    while (reader_.sleep([n](const Payload<N>& payload) { check(payload, n); }) == 0) {
    }
  }

 private:
  template <class See>
  void poll_all(See see) {
    std::size_t found = 0, more;
    while (found < 1024 && (more = reader_.poll(1024 - found, see)) != 0) found += more;
    if (found >= 1024) return;
    if constexpr (requires { reader_.await(see); })
      reader_.await(see);
    else
      for (int i = 0; i < 256; ++i) pause();
  }

  template <class See>
  void receive_one(See see) {
    std::size_t found;
    while ((found = wait_for(see)) == 0) {
    }
    if (found != 1) fail("more than one answer");
  }

  template <class See>
  std::size_t wait_for(See see) {
    if constexpr (requires { reader_.await(see); }) {
      return reader_.await(see);
    } else {
      const std::size_t found = reader_.poll(1, see);
      if (found == 0) pause();
      return found;
    }
  }

  typename System::template Reader<N> reader_;
};

/// Writes one channel, reads the other.
template <class System, std::size_t N>
struct NumberedEndpoint {
  NumberedReader<System, N> reader;
  NumberedWriter<System, N> writer;
  NumberedEndpoint(typename System::Channel& out, typename System::Channel& in) : reader(in), writer(out) {}
  void send(std::uint64_t n) { writer.send(n); }
  void receive(std::uint64_t n) { reader.receive(n); }
};

/// Two processes answer each other through a channel each way.
template <class System, std::size_t N, class Endpoint = NumberedEndpoint<System, N>>
RoundTrips round_trips_of(const Options& options, const RoundTripPlan& plan) {
  typename System::Host host(options);
  typename System::Channel there(host, "there", N), back(host, "back", N);
  return round_trips(
      [&](Side& side) {
        const bool asks = side.index == 0;
        return std::make_unique<Endpoint>(asks ? there : back, asks ? back : there);
      },
      plan);
}

template <class System, std::size_t N>
void measure_round_trip(const Options& options, const char* measure) {
  round_trips_of<System, N>(options, System::plan(options)).print_percentiles(measure);
}

/// What a send costs by itself. A channel that keeps no history is emptied each time it is full, untimed and checked,
/// by the same process.
template <class System, std::size_t N>
void measure_append(const Options& options, const char* measure) {
  typename System::Host host(options);
  typename System::Channel channel(host, "append", N);
  NumberedWriter<System, N> writer(channel);
  NumberedReader<System, N> reader(channel);
  pin(0);
  const std::uint64_t count = System::burst_bytes / N / (options.quick ? 10 : 1);
  const std::uint64_t room = std::min<std::uint64_t>(System::room(N), count / 4);
  std::uint64_t sent = 0, timed = 0, spent = 0;
  for (bool warm = true; timed < count; warm = sent < count / 4) {
    const std::uint64_t start = ticks();
    for (std::uint64_t i = 0; i < room; ++i) writer.send(sent++);
    if (!warm) spent += ticks() - start, timed += room;
    for (std::uint64_t next = sent - room; next < sent;) next = reader.drain(next);
  }
  print(measure, static_cast<double>(timed) / seconds(spent), "records/s");
}

template <class System>
std::uint64_t window_of(std::size_t record_bytes) {
  if constexpr (requires { System::window(record_bytes); })
    return System::window(record_bytes);
  else
    return std::uint64_t{1} << 62;
}

template <class System, std::size_t N>
StreamResult measure_stream(const Options& options, StreamPlan plan) {
  typename System::Host host(options);
  typename System::Channel channel(host, "stream", N);
  plan.window = window_of<System>(N);
  plan.daemon = host.daemon();
  return stream([&](Side&) { return std::make_unique<NumberedWriter<System, N>>(channel); },
                [&](Side&) { return std::make_unique<NumberedReader<System, N>>(channel); }, plan);
}

template <class System, std::size_t N>
void measure_burst(const Options& options, const char* measure) {
  const std::uint64_t count = System::burst_bytes / N / (options.quick ? 10 : 1);
  measure_stream<System, N>(options, {.warm = count / 2, .count = count}).print_burst(measure);
}

template <class System, std::size_t N>
void measure_sustained(const Options& options, const char* measure) {
  measure_stream<System, N>(options, sustained_plan<N>(options)).print_sustained(measure);
}

}  // namespace bench
