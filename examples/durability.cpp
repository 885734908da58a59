// A log on a disk that must survive a power cut: each send returns when its record is on stable storage, and those who
// send at the same time share a flush. What is not worth that is flushed at intervals, or when somebody asks.
#include <fmt/core.h>

#include <filesystem>

#include <towpath/towpath.hpp>

using namespace std::chrono_literals;

int main() {
  const auto folder = std::filesystem::current_path() / "durability-example";
  std::filesystem::remove_all(folder);
  {
    towpath::Bus bus{folder.string()};
    // [durability]
    towpath::Topic<std::string> orders{bus, "orders", {.durability = {towpath::DurabilityKind::each}}};
    towpath::Topic<std::string> prices{bus, "prices", {.durability = {towpath::DurabilityKind::interval, 200ms}}};
    towpath::Producer order{orders};
    towpath::Producer price{prices};
    order.send("two anchors").value();  // on the disk when this returns
    price.send("42").value();           // on the disk within 200 ms
    price.flush().value();              // or now
    // [/durability]
  }
  // Whoever opens the bus after a power cut recovers it first; nothing is to be done here. Without one it is just
  // there.
  towpath::Bus bus{folder.string()};
  for (const char* name : {"orders", "prices"}) {
    towpath::Topic<std::string> topic{bus, name};
    towpath::Consumer consumer{topic, {.auto_offset_reset = towpath::OffsetReset::earliest}};
    for (const auto& record : consumer.poll(1s)) fmt::print("{}: {}\n", name, record.value());
  }
  std::filesystem::remove_all(folder);
}
