// A type that nlohmann-json knows needs no Serde of its own. MessagePack and CBOR: MsgpackSerde, CborSerde.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <towpath/adapters/json.hpp>
#include <towpath/towpath.hpp>

using namespace std::chrono_literals;

// [json]
struct Plan {
  std::string goal;
  std::vector<double> waypoints;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Plan, goal, waypoints)

template <>
struct towpath::Serde<Plan> : towpath::JsonSerde<Plan> {};
// [/json]

int main() {
  towpath::Bus bus;
  towpath::Topic<Plan> plans{bus, "plans"};
  towpath::Producer producer{plans};
  towpath::Consumer consumer{plans};

  producer.send({"dock", {0.5, 1.5, 2.5}}).value();
  for (const auto& record : consumer.poll(100ms))
    fmt::print("{} by {}: {}\n", record.value().goal, record.value().waypoints, record.bytes().text());

  // What JSON cannot hold is refused before anything is sent.
  const Plan endless{"home", {1.0, std::numeric_limits<double>::infinity()}};
  fmt::print("{}\n", towpath::name(producer.send(endless).error().code));
  fmt::print("{}\n", towpath::Serde<Plan>::explain_value(endless));

  // Somebody else writes JSON that is no plan: the poll ends before it, and explain() names the field.
  towpath::Topic<towpath::Bytes> raw{bus, "plans"};
  towpath::Consumer raw_consumer{raw};
  towpath::Producer{raw}.send(std::string_view{R"({"goal": "dock", "waypoints": [0.5, "left"]})"}).value();
  const auto batch = consumer.poll(100ms);
  fmt::print("{} at offset {}\n", towpath::name(batch.error().code), batch.error_offset());
  for (const auto& record : raw_consumer.poll(100ms)) fmt::print("{}\n", towpath::Serde<Plan>::explain(record.bytes()));

  // The consumer stays before it, until it is told to go on.
  producer.send({"home", {}}).value();
  consumer.seek(batch.partition(), batch.error_offset() + 1).value();
  for (const auto& record : consumer.poll(100ms)) fmt::print("and then: {}\n", record.value().goal);
}
