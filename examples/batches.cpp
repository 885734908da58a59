// Many records in one call: cheaper than as many sends, and a reader sees all of them or none, whoever is killed when.
#include <fmt/core.h>

#include <towpath/towpath.hpp>

using namespace std::chrono_literals;

struct Point {
  float x, y, intensity;
};

int main() {
  towpath::Bus bus;

  towpath::Topic<Point> points{bus, "points"};
  towpath::Producer scanner{points};
  towpath::Consumer viewer{points};
  // [batch]
  const std::vector<Point> sweep{{0.0f, 1.0f, 0.5f}, {0.1f, 1.1f, 0.6f}, {0.2f, 1.2f, 0.7f}};
  const auto sent = scanner.send_batch(sweep).value();
  fmt::print("{} points in a row, the first at offset {}\n", sent.count, sent.first);
  // [/batch]
  for (const auto& record : viewer.poll(100ms))
    fmt::print("point {}: x={} y={}\n", record.offset(), record.value().x, record.value().y);

  // Records that differ in more than their value: each has its own key, headers and time.
  // [outgoing]
  towpath::Topic<std::string> moves{bus, "moves", {.partitions = 4}};
  towpath::Producer planner{moves};
  const std::string lift = "lift the box", hold = "hold the door";
  const towpath::Outgoing<std::string> together[] = {{&lift, "ada"}, {&hold, "bob"}, {nullptr, "cleo"}};
  // Keys choose partitions, and a batch has one.
  fmt::print("without a partition: {}\n", planner.send_batch(together).error());
  planner.send_batch(together, {.partition = towpath::PartitionId{2}}).value();
  // [/outgoing]
  towpath::Consumer robots{moves, {.auto_offset_reset = towpath::OffsetReset::earliest, .consumer_timeout = 50ms}};
  for (const auto& record : robots)
    fmt::print("{}: {}\n", record.key().text(), record.is_tombstone() ? "(nothing any more)" : record.value());

  // All or nothing: the last one is too large, so none is sent.
  towpath::Topic<std::string> notes{bus, "notes", {.max_message_bytes = 100}};
  towpath::Producer writer{notes};
  towpath::Consumer reader{notes};
  const std::vector<std::string> some{"short", "short too", std::string(200, '!')};
  fmt::print("with one that is too large: {}\n", towpath::name(writer.send_batch(some).error().code));
  fmt::print("of the batch that was refused, readers see {} records\n", reader.poll(50ms).size());
}
