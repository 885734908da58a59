// Cost as partitions and topics grow. Partitions have segments of 256 KiB, the smallest there are; 10,000 of them take
// 2.6 GB.
#pragma once

#include "shape.hpp"

namespace bench {

using Small = Payload<32>;

inline towpath::TopicConfig small_segments(std::uint64_t partitions) {
  return {.partitions = static_cast<std::int32_t>(partitions), .segment_bytes = 256_KiB, .retention = {.bytes = 1_MiB}};
}

/// Sends numbered records to all partitions in turn.
class RoundRobin {
 public:
  RoundRobin(const towpath::Topic<Small>& topic, std::uint64_t partitions)
      : producer_(topic), partitions_(partitions) {}

  void send(std::uint64_t) {
    const auto partition = static_cast<std::int32_t>(sent_ % partitions_);
    payload_.stamp(sent_++);
    expect_ok(producer_.send(payload_, {.partition = towpath::PartitionId{partition}}).error(), "send");
  }

 private:
  towpath::Producer<Small> producer_;
  std::uint64_t partitions_;
  std::uint64_t sent_ = 0;
  Small payload_ = Small::pattern();
};

/// A poll that looks at all partitions and finds nothing, in ns.
inline double quiet_poll_of(towpath::Consumer<Small>& consumer, std::uint64_t partitions) {
  const auto look = [&](std::uint64_t) {
    const auto batch = consumer.poll(0ms);
    expect_ok(batch.error(), "poll");
    if (!batch.empty()) fail("a record came from nowhere");
  };
  return median_in_chunks(21, std::max<std::uint64_t>(1, 10'000 / partitions), look);
}

/// What one consumer of all partitions takes: to read what is there, to look in vain, to wait.
inline void read_partitions(const Point& point, const towpath::Topic<Small>& topic, std::uint64_t partitions) {
  // Batches of 16 whatever the shape, for many partitions have not more each.
  towpath::Consumer consumer(
      topic, towpath::ConsumerConfig{.auto_offset_reset = towpath::OffsetReset::earliest, .max_poll_records = 16});
  std::uint64_t there = 0;
  for (const auto& end : consumer.end_offsets().value()) there += static_cast<std::uint64_t>(end.offset.value);
  for (const auto& begin : consumer.beginning_offsets().value())
    there -= static_cast<std::uint64_t>(begin.offset.value);
  const auto see = [&](const auto& record) {
    const auto partition = static_cast<std::uint64_t>(record.partition().value);
    check(record.value(), partition + partitions * static_cast<std::uint64_t>(record.offset().value));
  };
  const double first = time_of([&] { read_exactly(consumer, 16 * partitions, see); });  // they take turns
  point.print("first_read", first * 1e-3, "us");
  const double rest = time_of([&] { read_exactly(consumer, there - 16 * partitions, see); });
  point.print("read", rest / static_cast<double>(there - 16 * partitions), "ns");
  point.print("quiet_poll", quiet_poll_of(consumer, partitions), "ns");
  // Maintenance's share of the process is in it too.
  const Usage before = own_usage();
  const double waited = time_of([&] { expect_ok(consumer.poll(2s, towpath::wait::Block{}).error(), "poll"); });
  point.print("waiting", (own_usage() - before).processor_ns / waited * 1e3, "ms/s");
}

/// The first process: makes the topic, sends, reads.
inline void use_partitions(const Point& point, const std::string& folder, std::uint64_t partitions) {
  towpath::Bus bus(folder);
  std::optional<towpath::Topic<Small>> topic;
  point.print("create", time_of([&] { topic.emplace(bus, "many", small_segments(partitions)); }) * 1e-3, "us");
  RoundRobin writer(*topic, partitions);
  const double first = time_of([&] {
    for (std::uint64_t i = 0; i < partitions; ++i) writer.send(i);
  });
  point.print("first_send", first * 1e-3, "us");
  const std::uint64_t chunk = std::max<std::uint64_t>(1'000, partitions);
  for (std::uint64_t i = 0; i < 50'000 / partitions * partitions; ++i) writer.send(i);
  point.print(
      "send",
      median_in_chunks(std::max<std::uint64_t>(63, 200'000 / chunk), chunk, [&](std::uint64_t i) { writer.send(i); }),
      "ns");
  point.print("memory", bytes_in(folder) / static_cast<double>(partitions) / 1024, "KiB");
  read_partitions(point, *topic, partitions);
}

/// Rounds of a bus whose maintenance is called by hand; the first, which opens everything, is made at once.
class Maintenance {
 public:
  Maintenance(const Point& point, towpath::Bus& bus) : point_(point), bus_(bus) {
    point_.print("maintain_first", time_of([this] { round(); }) * 1e-3, "us");
  }
  void round() const { expect_ok(bus_.maintain().error(), "maintain"); }

  /// Those that come when a quiet partition is looked at, once a second.
  void print_due() const {
    std::vector<double> due;
    for (int i = 0; i < 3; ++i) {
      std::this_thread::sleep_for(1100ms);
      due.push_back(time_of([this] { round(); }));
    }
    point_.print("maintain", median(due) * 1e-3, "us");
  }

 private:
  const Point& point_;
  towpath::Bus& bus_;
};

/// The second process: opens what is there.
inline void open_partitions(const Point& point, const std::string& folder, std::uint64_t partitions) {
  std::optional<towpath::Bus> bus;
  std::optional<towpath::Topic<Small>> topic;
  std::optional<towpath::Consumer<Small>> consumer;
  const double opened = time_of([&] {
    bus.emplace(folder, by_hand());
    topic.emplace(*bus, "many");
  });
  point.print("open", opened * 1e-3, "us");
  const double assigned = time_of([&] { consumer.emplace(*topic, from_the_start()); });
  point.print("subscribe", assigned * 1e-3, "us");
  std::vector<towpath::PartitionId> all;
  for (std::uint64_t i = 0; i < partitions; ++i) all.push_back({static_cast<std::int32_t>(i)});
  consumer.reset();
  const double by_number = time_of([&] {
    consumer.emplace(*topic, towpath::ConsumerConfig{.auto_offset_reset = towpath::OffsetReset::earliest,
                                                     .partitions = std::move(all)});
  });
  point.print("assign", by_number * 1e-3, "us");
  const Maintenance maintenance(point, *bus);
  point.print("maintain_not_due", median_time(5, [&](std::uint64_t) { maintenance.round(); }) * 1e-3, "us");
  maintenance.print_due();
}

inline void shape_partitions(const Options& options) {
  for (const std::uint64_t partitions : sizes(1, options.quick ? 100 : 10'000, 10)) {
    const Point point("partitions", partitions);
    const BusFolder folder(options, "shape");
    in_another_process([&] { use_partitions(point, folder.path(), partitions); });
    in_another_process([&] { open_partitions(point, folder.path(), partitions); });
  }
}

inline std::string topic_name(std::uint64_t i) { return "topic." + std::to_string(i); }

/// The first process: makes the topics, looks at them while they are empty, sends a record to each.
inline void make_topics(const Point& point, const std::string& folder, std::uint64_t topics) {
  towpath::Bus bus(folder, by_hand());
  const double before = bytes_in(folder);
  std::vector<towpath::Topic<Small>> made;
  const auto make = [&] {
    for (std::uint64_t i = 0; i < topics; ++i) made.emplace_back(bus, topic_name(i), small_segments(1));
  };
  point.print("create", time_of(make) * 1e-3, "us");
  point.print("memory", (bytes_in(folder) - before) / static_cast<double>(topics) / 1024, "KiB");
  towpath::Consumer<Small> consumer(bus, {.pattern = "^topic"});
  point.print("empty_poll", quiet_poll_of(consumer, topics), "ns");
  for (const auto& topic : made) towpath::Producer(topic).send(Small::pattern()).value();
}

/// The second process.
inline void open_topics(const Point& point, const std::string& folder, std::uint64_t topics) {
  std::optional<towpath::Bus> bus;
  point.print("open_bus", time_of([&] { bus.emplace(folder, by_hand()); }) * 1e-3, "us");
  const std::uint64_t tried = std::min<std::uint64_t>(topics, 21);
  const auto open = [&](std::uint64_t i) { towpath::Topic<Small>(*bus, topic_name(i * (topics / tried))); };
  point.print("open", median_time(tried, open) * 1e-3, "us");
  const towpath::Admin admin(*bus);
  const auto list = [&](std::uint64_t) {
    if (admin.list_topics().value().size() != topics) fail("list_topics misses some");
  };
  point.print("list", median_time(21, list) * 1e-3, "us");
  std::optional<towpath::Consumer<Small>> consumer;
  const towpath::ConsumerConfig all{.pattern = "^topic", .auto_offset_reset = towpath::OffsetReset::earliest};
  point.print("subscribe", time_of([&] { consumer.emplace(*bus, all); }) * 1e-3, "us");
  if (consumer->assignment().size() != topics) fail("the pattern misses some topics");
  read_exactly(*consumer, topics, [](const auto& record) { check(record.value(), 0); });
  point.print("quiet_poll", quiet_poll_of(*consumer, topics), "ns");
  Maintenance(point, *bus).print_due();
}

inline void shape_topics(const Options& options) {
  for (const std::uint64_t topics : sizes(1, options.quick ? 100 : 1'000, 10)) {
    const Point point("topics", topics);
    const BusFolder folder(options, "shape");
    in_another_process([&] { make_topics(point, folder.path(), topics); });
    in_another_process([&] { open_topics(point, folder.path(), topics); });
  }
}

}  // namespace bench
