// What is not trivially copyable needs a Serde.
#include <towpath/towpath.hpp>

struct Plan {
  std::string steps;
};
#ifndef TOWPATH_MUST_FAIL
template <>
struct towpath::Serde<Plan> {
  static std::size_t size(const Plan& plan) { return plan.steps.size(); }
  static void encode(const Plan& plan, std::span<std::byte> out) {
    std::memcpy(out.data(), plan.steps.data(), out.size());
  }
  static towpath::Result<Plan> decode(towpath::Bytes bytes) { return Plan{std::string{bytes.text()}}; }
};
#endif

void open(towpath::Bus& bus) { towpath::Topic<Plan> topic{bus, "topic"}; }
