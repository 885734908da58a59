// A value with a string and a vector has no fixed size. A Serde says how it becomes bytes and a value again.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <towpath/towpath.hpp>

using namespace std::chrono_literals;

// [serde]
struct Plan {
  std::string goal;
  std::vector<double> waypoints;
};

template <>
struct towpath::Serde<Plan> {
  // As bytes: the length of goal, goal, the waypoints.
  static std::size_t size(const Plan& plan) {
    return sizeof(std::uint32_t) + plan.goal.size() + plan.waypoints.size() * sizeof(double);
  }
  static void encode(const Plan& plan, std::span<std::byte> out) {  // straight into the log
    const auto length = static_cast<std::uint32_t>(plan.goal.size());
    std::memcpy(out.data(), &length, sizeof length);
    plan.goal.copy(reinterpret_cast<char*>(out.data()) + sizeof length, length);
    const auto rest = out.subspan(sizeof length + length);
    if (!rest.empty()) std::memcpy(rest.data(), plan.waypoints.data(), rest.size());
  }
  static towpath::Result<Plan> decode(towpath::Bytes bytes) {
    std::uint32_t length = 0;
    if (bytes.size() < sizeof length) return Errc::undecodable;
    std::memcpy(&length, bytes.data(), sizeof length);
    const auto text = bytes.text().substr(sizeof length);
    if (length > text.size() || (text.size() - length) % sizeof(double) != 0) return Errc::undecodable;
    Plan plan{std::string{text.substr(0, length)}, std::vector<double>((text.size() - length) / sizeof(double))};
    if (!plan.waypoints.empty())
      std::memcpy(plan.waypoints.data(), text.data() + length, plan.waypoints.size() * sizeof(double));
    return plan;
  }
};
// [/serde]

int main() {
  towpath::Bus bus;
  towpath::Topic<Plan> plans{bus, "plans"};
  towpath::Producer producer{plans};
  towpath::Consumer consumer{plans};

  producer.send({"dock", {0.5, 1.5, 2.5}}).value();
  producer.send({"wait", {}}).value();
  for (const auto& record : consumer.poll(100ms))
    fmt::print("{} by {} ({} bytes)\n", record.value().goal, record.value().waypoints, record.bytes().size());

  // Somebody who treats the topic as bytes writes what is no plan. It is reported, and nothing is skipped in silence.
  towpath::Topic<towpath::Bytes> raw{bus, "plans"};
  towpath::Producer{raw}.send(std::string_view{"?"}).value();
  const auto batch = consumer.poll(100ms);
  fmt::print("{} at offset {}\n", towpath::name(batch.error().code), batch.error_offset());
}
