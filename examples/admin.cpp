// Looking after topics with the calls, property names and errors of Kafka's AdminClient.
#include <fmt/core.h>

#include <towpath/towpath.hpp>

using namespace std::chrono_literals;

void say(const char* what, const towpath::Result<void>& done) {
  if (done) return fmt::print("{}: done\n", what);
  const auto failure = done.error();
  const auto kafka = towpath::kafka_error(failure);
  fmt::print("{}: {} ({}), Kafka's {} {}\n", what, towpath::name(failure.code), failure.detail, kafka.number,
             kafka.name);
}

int main() {
  towpath::Bus bus;
  towpath::Admin admin{bus};

  // Several topics in one call; one that fails stops no other.
  for (const auto& made : admin.create_topics({{"poses", {.partitions = 2}}, {"poses"}, {"no/name"}}))
    say(made.topic.c_str(), made.result);
  say("two partitions to one", admin.create_partitions("poses", 1));

  // [configs]
  // Only what is named changes, all of it or nothing, for every process at once.
  say("a minute", admin.alter_configs("poses", {{"retention.ms", "60000"}, {"towpath.readers", "recorder,planner"}}));
  say("no time", admin.alter_configs("poses", {{"retention.ms", "0"}}));
  say("one less", admin.alter_configs("poses", {{"towpath.readers", "planner", towpath::ConfigOperation::subtract}}));
  for (const auto& entry : admin.describe_configs("poses").value())
    if (!entry.is_default && entry.name != "retention.bytes")
      fmt::print("  {} = {}, by default {}\n", entry.name, entry.value,
                 entry.default_value.empty() ? "nobody" : entry.default_value);
  // [/configs]

  // [records]
  towpath::Topic<towpath::Bytes> poses{bus, "poses"};
  towpath::Producer producer{poses};
  for (int i = 0; i < 10; ++i) producer.send(std::string_view{"pose"}, {.partition = towpath::PartitionId{0}}).value();
  fmt::print("left from offset {}\n", admin.delete_records("poses", {0}, towpath::Offset{6}).value());
  say("too far", admin.delete_records("poses", {0}, towpath::Offset{11}).error());
  towpath::Consumer consumer{poses, {.auto_offset_reset = towpath::OffsetReset::earliest}};
  fmt::print("{} records are left\n", consumer.poll(100ms).size());
  for (const auto& [partition, offset, timestamp] : admin.list_offsets("poses", towpath::OffsetSpec::latest()).value())
    fmt::print("partition {} ends at {}\n", partition, *offset);
  // [/records]

  const auto cluster = admin.describe_cluster().value();
  fmt::print("{} topic, {} partitions\n", cluster.topics, cluster.partitions);
}
