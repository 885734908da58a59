// Topics are looked after by Admin: create, list, describe, alter, grow, delete. Each change is whole or not at all,
// and all processes see it at once.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <towpath/towpath.hpp>

using namespace std::chrono_literals;
using namespace towpath::literals;

struct Scan {
  float ranges[256];
};

void show(const towpath::Admin& admin, const char* name) {
  const auto topic = admin.describe_topic(name).value();
  fmt::print("{}: values of {} ({}), {} partitions, {} MiB each, {} h, records up to {} KiB\n", topic.name,
             topic.type_name, topic.encoding, topic.config.partitions, topic.config.retention.bytes >> 20,
             topic.config.retention.age / 1h, topic.config.max_message_bytes >> 10);
}

int main() {
  towpath::Bus bus;
  // [admin]
  towpath::Admin admin{bus};
  admin.create_topic("events", {.partitions = 2, .retention = {.bytes = 64_MiB, .age = 24h}}).value();
  towpath::Topic<Scan> scans{bus, "scans", {.retention = {.bytes = 32_MiB}}};  // naming a typed topic makes it
  fmt::print("{}\n", admin.list_topics().value());
  show(admin, "events");

  auto config = admin.describe_topic("events").value().config;  // begin with what it has
  config.retention = {.bytes = 128_MiB, .age = 48h};
  config.max_message_bytes = 64_KiB;
  admin.alter_topic("events", config).value();  // for all processes, from now on
  admin.create_partitions("events", 4).value();
  show(admin, "events");
  show(admin, "scans");
  // [/admin]

  // What cannot be done is refused, with a word about what was wrong.
  fmt::print("again: {}\n", admin.create_topic("events").error());
  fmt::print("bad name: {}\n", towpath::name(admin.create_topic("../events").error().code));
  fmt::print("fewer partitions: {}\n", towpath::name(admin.create_partitions("events", 1).error().code));
  config.retention.bytes = 0;
  fmt::print("nothing to keep: {}\n", admin.alter_topic("events", config).error());

  // Whoever has a topic open when it is deleted is told.
  towpath::Producer producer{scans};
  towpath::Consumer consumer{scans};
  admin.delete_topic("scans").value();
  fmt::print("a producer of it: {}\n", towpath::name(producer.send({}).error().code));
  fmt::print("a consumer of it: {}\n", towpath::name(consumer.poll(100ms).error().code));
  fmt::print("{}\n", admin.list_topics().value());
}
