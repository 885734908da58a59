// Round trips: two processes that answer each other, measured in parts that are sorted by where the processes ran.
#pragma once

#include <memory>

#include "payload.hpp"

namespace bench {

/// Round trips in ticks, by where the two processes ran.
struct RoundTrips {
  std::vector<std::uint64_t> near, far;

  /// Prints percentile `share` for each placement that was seen.
  void print_percentile(std::string_view measure, double share) {
    if (near.empty() && far.empty()) fail("the cores moved during every part of the measurement");
    if (!near.empty()) print(measure, nanoseconds(percentile(near, share)), "ns", "near");
    if (!far.empty()) print(measure, nanoseconds(percentile(far, share)), "ns", "far");
  }

  /// Prints `<measure>_p50` to `<measure>_p9999`, or only the first `most` of the four. A percentile needs ten samples
  /// above it, else it is left out: the largest of a few is no percentile.
  void print_percentiles(const std::string& measure, std::size_t most = 4) {
    if (near.empty() && far.empty()) fail("the cores moved during every part of the measurement");
    constexpr std::pair<const char*, double> shares[] = {
        {"_p50", 0.5}, {"_p99", 0.99}, {"_p999", 0.999}, {"_p9999", 0.9999}};
    for (std::size_t i = 0; i < most; ++i) {
      const auto& [suffix, share] = shares[i];
      bool printed = false;
      for (auto* samples : {&near, &far}) {
        if (static_cast<double>(samples->size()) * (1 - share) < 9.99) continue;
        print(measure + suffix, nanoseconds(percentile(*samples, share)), "ns", samples == &near ? "near" : "far");
        printed = true;
      }
      if (!printed) std::printf("# %s%s skipped: there are too few samples\n", measure.c_str(), suffix);
    }
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
}  // namespace bench
