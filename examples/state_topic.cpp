// A state topic: each record is the newest value of its key. Who joins reads it from the start into a table, and then
// follows. A tombstone takes a key out of the table.
#include <fmt/core.h>

#include <map>

#include <towpath/towpath.hpp>

using namespace std::chrono_literals;

struct RobotState {
  double x, y;
  std::int32_t battery_percent;
};

// [table]
class Robots {
 public:
  explicit Robots(const towpath::Topic<RobotState>& topic)
      : consumer_{topic, {.auto_offset_reset = towpath::OffsetReset::earliest}} {}

  /// Reads up to what the topic's end is now: after that the table knows all that was sent before.
  void catch_up() {
    for (const auto& [partition, end] : consumer_.end_offsets().value())
      while (consumer_.position(partition).value() < end) follow(1s);
  }
  /// What is new, or nothing in time.
  void follow(towpath::Duration timeout) {
    const auto batch = consumer_.poll(timeout);
    for (const auto& record : batch) {
      if (record.is_tombstone())
        table_.erase(std::string{record.key().text()});
      else
        table_.insert_or_assign(std::string{record.key().text()}, record.value());
    }
    if (auto failure = batch.error(); failure.code != towpath::Errc::ok) throw towpath::Error{failure};
  }
  [[nodiscard]] const std::map<std::string, RobotState>& table() const { return table_; }

 private:
  towpath::Consumer<RobotState> consumer_;
  std::map<std::string, RobotState> table_;
};
// [/table]

void show(const char* when, const Robots& robots) {
  fmt::print("{}:\n", when);
  for (const auto& [name, state] : robots.table())
    fmt::print("  {} at ({}, {}), battery {} %\n", name, state.x, state.y, state.battery_percent);
}

int main() {
  towpath::Bus bus;
  // The oldest record may be the newest of its key, so nothing may go.
  towpath::Topic<RobotState> states{
      bus,
      "robot.state",
      {.partitions = 3, .retention = {.bytes = towpath::Retention::unlimited, .age = towpath::Duration::max()}}};
  towpath::Producer producer{states};
  producer.send({0, 0, 100}, {.key = "ada"}).value();
  producer.send({5, 1, 80}, {.key = "bob"}).value();
  producer.send({9, 9, 15}, {.key = "cleo"}).value();
  producer.send({1, 2, 97}, {.key = "ada"}).value();  // ada moved
  producer.send_tombstone({.key = "cleo"}).value();   // cleo was switched off

  Robots robots{states};  // joins late
  robots.catch_up();
  show("on joining", robots);

  producer.send({6, 1, 78}, {.key = "bob"}).value();
  producer.send({3, 3, 100}, {.key = "dora"}).value();
  producer.send_tombstone({.key = "ada"}).value();
  robots.catch_up();
  show("a moment later", robots);
}
