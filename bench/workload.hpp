// What is sent, and the two shapes of work: round trips and streams. Each system brings an endpoint; the loops, the
// checks and the flow control are the same for all, so that a difference between two systems is theirs.
#pragma once

#include <array>
#include <memory>

#include "harness.hpp"

namespace bench {

/// N bytes: a sequence number, then a fixed pattern. Words of 4 bytes, so that 100 bytes are 100 bytes.
template <std::size_t N>
struct Payload {
  static_assert(N % 4 == 0 && N >= 8);
  std::array<std::uint32_t, N / 4> words;

  static Payload pattern() noexcept {
    Payload made{};
    for (std::size_t i = 2; i < made.words.size(); ++i) made.words[i] = 0x9e3779b9U * static_cast<std::uint32_t>(i);
    return made;
  }
  void stamp(std::uint64_t sequence) noexcept { std::memcpy(words.data(), &sequence, sizeof sequence); }
};

/// The sum over the pattern; a reader that compares it has touched every byte. Two words of 8 bytes at a time: what is
/// measured is how records arrive, not how well a compiler sums.
template <std::size_t N>
std::uint64_t sum_of_pattern(const Payload<N>& payload) noexcept {
  const auto word = [&payload](std::size_t at, std::size_t size) {
    std::uint64_t value = 0;
    std::memcpy(&value, reinterpret_cast<const std::byte*>(&payload) + at, size);
    return value;
  };
  std::uint64_t even = 0, odd = 0;
  std::size_t at = 8;
  for (; at + 16 <= N; at += 16) even += word(at, 8), odd += word(at + 8, 8);
  if (N - at >= 8) even += word(at, 8), at += 8;
  if (at < N) odd += word(at, 4);
  return even + odd;
}

template <std::size_t N>
inline const std::uint64_t expected_sum = sum_of_pattern(Payload<N>::pattern());

/// Ends the program unless this is record `expected`, whole.
template <std::size_t N>
void check(const Payload<N>& payload, std::uint64_t expected) {
  std::uint64_t sequence;
  std::memcpy(&sequence, payload.words.data(), sizeof sequence);
  if (sequence != expected || sum_of_pattern(payload) != expected_sum<N>) [[unlikely]]
    fail("record " + std::to_string(expected) + " expected, " + std::to_string(sequence) +
         (sequence == expected ? " came damaged" : " came"));
}

/// Round trips in ticks, by where the two processes ran.
struct RoundTrips {
  std::vector<std::uint64_t> near, far;

  /// Prints percentile `share` for each placement that was seen.
  void print_percentile(std::string_view measure, double share) {
    if (near.empty() && far.empty()) fail("the cores moved during every part of the measurement");
    if (!near.empty()) print(measure, nanoseconds(percentile(near, share)), "ns", "near");
    if (!far.empty()) print(measure, nanoseconds(percentile(far, share)), "ns", "far");
  }
};

/// Measured in parts, each between two raw line round trips: a part during which the cores moved is left out.
struct RoundTripPlan {
  std::uint64_t parts = 40;
  std::uint64_t rounds = 5'000;  // per part
  std::uint64_t warm = 200;      // per part, before the rounds that count
};

inline RoundTripPlan spinning_plan(const Options& options) { return {.parts = options.quick ? 8ULL : 40ULL}; }
inline RoundTripPlan sleeping_plan(const Options& options) {
  return {.parts = options.quick ? 8ULL : 40ULL, .rounds = 250, .warm = 10};
}

/// Two processes answer each other. `make(side)` builds an endpoint after the fork: `send(n)`, and `receive(n)`, which
/// returns once message n is there and checked. The same numbers go both ways, from 0.
template <class Make>
RoundTrips round_trips(Make make, const RoundTripPlan& plan) {
  SharedMemory memory(sizeof(SharedPage));
  auto& page = *new (memory.data()) SharedPage;
  RoundTrips result;
  const auto ask = [&](Side& side) {
    auto endpoint = make(side);
    pin(0);
    std::uint64_t number = 0;
    std::vector<std::uint64_t> samples(plan.rounds);
    for (std::uint64_t part = 0; part < plan.parts; ++part) {
      const Placement where = bracketed(side, [&] {
        std::uint64_t before = 0;
        for (std::uint64_t i = 0; i < plan.warm + plan.rounds; ++i, ++number) {
          endpoint->send(number);
          endpoint->receive(number);
          const std::uint64_t now = ticks();
          if (i >= plan.warm) samples[i - plan.warm] = now - before;
          before = now;
        }
      });
      if (where == Placement::near) result.near.insert(result.near.end(), samples.begin(), samples.end());
      if (where == Placement::far) result.far.insert(result.far.end(), samples.begin(), samples.end());
    }
  };
  const auto answer = [&](Side& side) {
    auto endpoint = make(side);
    pin(1);
    std::uint64_t number = 0;
    for (std::uint64_t part = 0; part < plan.parts; ++part)
      bracketed(side, [&] {
        for (std::uint64_t i = 0; i < plan.warm + plan.rounds; ++i, ++number) {
          endpoint->receive(number);
          endpoint->send(number);
        }
      });
  };
  run_pair(page, ask, answer);
  return result;
}

/// How long a stream is. `count` records after `warm` unmeasured ones, or as many as fit in `seconds` when that is set.
struct StreamPlan {
  std::uint64_t warm = 0;
  std::uint64_t count = 0;
  double seconds = 0;
  std::uint64_t window = 0;  // the writer stays at most this many records ahead, so that nothing kept is overrun
};

/// A burst: 1 GB to warm up (rolls and recycled memory are then in their usual state), 1 GB timed.
template <std::size_t N>
StreamPlan burst_plan(const Options& options) {
  const std::uint64_t count = 1'000'000'000 / N;
  return {.warm = count, .count = options.quick ? count / 10 : count};
}

struct StreamResult {
  double mean;      // records/s
  double worst;     // records/s in the worst 100 ms; 0 for a stream shorter than that
  Placement where;  // at its two ends; a long stream may have seen both

  void print_mean(std::string_view measure) const {
    constexpr std::string_view names[] = {"near", "far", "mixed"};
    print(measure, mean, "records/s", names[static_cast<std::size_t>(where)]);
  }
};

namespace detail {

constexpr std::uint64_t over = std::uint64_t{1} << 63;  // in `produced`: the number below it is final

/// Waits until the reader is near enough. Called once per 256 records: the reader's line stays with the reader.
inline void wait_for_reader(const SharedPage& page, std::uint64_t sequence, std::uint64_t window) {
  while (sequence - page.consumed.word.load(std::memory_order_acquire) > window) pause();
}

template <class Writer>
void write_stream(Side& side, Writer& writer, const StreamPlan& plan) {
  std::uint64_t sequence = 0;
  const std::uint64_t last = plan.seconds > 0 ? over : plan.warm + plan.count;
  const auto limit = static_cast<std::uint64_t>(plan.seconds * 1e9 / nanoseconds_per_tick());
  std::uint64_t start = ticks();
  while (sequence < last) {
    if (sequence % 256 == 0) {
      wait_for_reader(side.page, sequence, plan.window);
      if (sequence <= plan.warm) start = ticks();
      if (plan.seconds > 0 && ticks() - start > limit) break;
    }
    writer.send(sequence++);
  }
  side.page.produced.word.store(sequence | over, std::memory_order_release);
}

/// Reports mean and worst rate in result slots 0 and 1.
template <class Reader>
void read_stream(Side& side, Reader& reader, const StreamPlan& plan) {
  const auto tenth = static_cast<std::uint64_t>(1e8 / nanoseconds_per_tick());
  std::uint64_t next = 0, start = 0, first = 0, window_start = 0, window_first = 0;
  double worst = 0;
  for (;;) {
    next = reader.drain(next);
    side.page.consumed.word.store(next, std::memory_order_release);
    const std::uint64_t now = ticks();
    if (start == 0 && next >= plan.warm) start = window_start = now, first = window_first = next;
    if (start != 0 && now - window_start >= tenth) {
      const double rate = static_cast<double>(next - window_first) / seconds(now - window_start);
      worst = worst == 0 ? rate : std::min(worst, rate);
      window_start = now, window_first = next;
    }
    const std::uint64_t end = side.page.produced.word.load(std::memory_order_acquire);
    if (end != 0 && next == (end & ~over)) {
      if (next <= first) fail("the stream was shorter than its warm-up");
      side.report(0, static_cast<double>(next - first) / seconds(now - start));
      side.report(1, worst);
      return;
    }
  }
}

}  // namespace detail

/// One writer, one reader. `make_writer(side)` and `make_reader(side)` build endpoints after the fork: `send(n)`, and
/// `drain(n)`, which checks what is there, beginning with record n, and returns the number of the next one.
template <class MakeWriter, class MakeReader>
StreamResult stream(MakeWriter make_writer, MakeReader make_reader, const StreamPlan& plan) {
  SharedMemory memory(sizeof(SharedPage));
  auto& page = *new (memory.data()) SharedPage;
  Placement where = Placement::mixed;
  const Side parent = run_pair(
      page,
      [&](Side& side) {
        auto writer = make_writer(side);
        side.meet_other();  // the reader opens what the writer made
        pin(0);
        where = bracketed(side, [&] { detail::write_stream(side, *writer, plan); });
      },
      [&](Side& side) {
        side.meet_other();
        auto reader = make_reader(side);
        pin(1);
        bracketed(side, [&] { detail::read_stream(side, *reader, plan); });
      });
  return {parent.reported(0), parent.reported(1), where};
}

/// Calls of `work(i)` per second, for i from 0 to `count`. Warm up before; pin before.
template <class Work>
double rate(std::uint64_t count, Work&& work) {
  const std::uint64_t start = ticks();
  for (std::uint64_t i = 0; i < count; ++i) work(i);
  return static_cast<double>(count) / seconds(ticks() - start);
}

/// A cheap generator for random places: good enough to defeat the prefetchers, the same in every system.
class RandomPlaces {
 public:
  explicit RandomPlaces(std::uint64_t bound) : bound_(bound) {}
  std::uint64_t next() noexcept {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::uint64_t>((static_cast<Wide>(state_) * bound_) >> 64);
  }

 private:
  __extension__ using Wide = unsigned __int128;
  std::uint64_t state_ = 0x2545f4914f6cdd1dULL;
  std::uint64_t bound_;
};

}  // namespace bench
