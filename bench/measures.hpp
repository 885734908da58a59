// All measures that a system (system.hpp) takes part in, as groups of its program.
#pragma once

#include "crowd.hpp"
#include "paced.hpp"

namespace bench {

constexpr std::size_t handed_over_bytes = std::size_t{1} << 20;

template <class System>
void measure_paced(const Options& options) {
  typename System::Host host(options);
  typename System::Channel channel(host, "paced", 1024);
  paced([&](Side&) { return std::make_unique<NumberedWriter<System, 1024>>(channel); },
        [&](Side&) { return std::make_unique<NumberedReader<System, 1024>>(channel); },
        {.parts = options.quick ? 5ULL : 25ULL})
      .print_percentiles("paced_1k", 3);
}

/// A round trip of 1 MiB each way of which only the header is written and read.
template <class System>
void measure_handoff(const Options& options) {
  using Ends = NumberedEndpoint<System, handed_over_bytes>;
  struct Endpoint : Ends {
    using Ends::Ends;
    void send(std::uint64_t n) { this->writer.hand_over(n); }
    void receive(std::uint64_t n) { this->reader.receive_header(n); }
  };
  const RoundTripPlan plan{.parts = options.quick ? 4ULL : 20ULL, .rounds = 100, .warm = 10};
  round_trips_of<System, handed_over_bytes, Endpoint>(options, plan).print_percentile("handoff_1m_p50", 0.5);
}

/// A round trip between two that sleep.
template <class System>
void measure_block(const Options& options) {
  struct Endpoint : NumberedEndpoint<System, 32> {
    using NumberedEndpoint<System, 32>::NumberedEndpoint;
    void receive(std::uint64_t n) { this->reader.sleep_until(n); }
  };
  round_trips_of<System, 32, Endpoint>(options, sleeping_plan(options)).print_percentiles("rtt_block", 2);
}

/// The groups that every system that sends and receives takes the same way.
template <class System>
std::vector<Group> shared_groups_of() {
  std::vector<Group> groups{
      {"sustained_1k", [](const Options& options) { measure_sustained<System, 1024>(options, "sustained_1k"); }},
      {"paced_1k", measure_paced<System>},
      {"handoff_1m", measure_handoff<System>},
      {"two_to_one", [](const Options& options) { measure_two_to_one<System>(options, "two_to_one"); }}};
  if constexpr (System::fans_out)
    groups.push_back(
        {"one_to_three", [](const Options& options) { measure_one_to_three<System>(options, "one_to_three"); }});
  return groups;
}

/// The groups of a peer.
template <class System>
std::vector<Group> groups_of() {
  std::vector<Group> groups{
      {"rtt_32", [](const Options& options) { measure_round_trip<System, 32>(options, "rtt_32"); }},
      {"rtt_1k", [](const Options& options) { measure_round_trip<System, 1024>(options, "rtt_1k"); }},
      {"append_100", [](const Options& options) { measure_append<System, 100>(options, "append_100"); }},
      {"append_1k", [](const Options& options) { measure_append<System, 1024>(options, "append_1k"); }},
      {"stream_100", [](const Options& options) { measure_burst<System, 100>(options, "stream_100"); }},
      {"stream_1k", [](const Options& options) { measure_burst<System, 1024>(options, "stream_1k"); }},
      {"sustained_100", [](const Options& options) { measure_sustained<System, 100>(options, "sustained_100"); }}};
  if constexpr (System::sleeps) groups.push_back({"rtt_block", measure_block<System>});
  for (const Group& group : shared_groups_of<System>()) groups.push_back(group);
  return groups;
}

}  // namespace bench
