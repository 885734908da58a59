// A topic with several partitions. Records with the same key go to the same partition and keep their order there.
#include <fmt/core.h>

#include <map>

#include <towpath/towpath.hpp>

using namespace std::chrono_literals;

int main() {
  towpath::Bus bus;

  // [keys]
  towpath::Topic<std::string> jobs{bus, "jobs", {.partitions = 4}};
  towpath::Producer producer{jobs};
  for (int step = 1; step <= 3; ++step)
    for (const char* robot : {"ada", "bob", "cleo"})
      producer.send(fmt::format("step {}", step), {.key = robot, .headers = {{"sender", "planner"}}}).value();
  // [/keys]

  // Every partition from its first record on. A batch holds records of one partition.
  std::map<std::string, std::string> seen;
  towpath::Consumer everything{jobs, {.auto_offset_reset = towpath::OffsetReset::earliest, .consumer_timeout = 100ms}};
  for (const auto& record : everything)
    seen[fmt::format("{} in partition {}", record.key().text(), record.partition())] +=
        fmt::format(" [{}]", record.value());
  for (const auto& [key, values] : seen) fmt::print("{}:{}\n", key, values);

  // The partition can also be named, by the producer and by the consumer.
  const auto sent = producer.send("lights out", {.key = "all", .partition = towpath::PartitionId{2}}).value();
  // [one]
  towpath::Consumer one{jobs,
                        {.auto_offset_reset = towpath::OffsetReset::earliest,
                         .partitions = {towpath::PartitionId{2}},
                         .consumer_timeout = 100ms}};
  // [/one]
  for (const auto& record : one)
    if (record.offset() == sent.offset) fmt::print("partition {}: {}\n", record.partition(), record.value());
}
