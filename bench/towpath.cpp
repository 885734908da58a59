// towpath as a user meets it: Bus, Topic, Producer, Consumer with their defaults, and one option at a time where a
// measure is about that option. Each process opens the bus for itself.
#include "mapped_file.hpp"
#include "memory_use.hpp"
#include "towpath_system.hpp"

namespace bench {
namespace {

/// One side of a round trip: writes one topic, reads the other.
template <std::size_t N, class Wait>
class Endpoint {
 public:
  Endpoint(const std::string& folder, bool asks, const towpath::TopicConfig& config)
      : bus_(folder),
        out_(bus_, asks ? "there" : "back", config),
        in_(bus_, asks ? "back" : "there", config),
        producer_(out_),
        consumer_(in_, from_the_start()) {}

  void send(std::uint64_t n) {
    payload_.stamp(n);
    expect_ok(producer_.send(payload_).error(), "send");
  }

  void receive(std::uint64_t n) {
    for (;;) {
      const auto batch = consumer_.poll(1s, Wait{});
      expect_ok(batch.error(), "poll");
      if (batch.empty()) continue;
      if (batch.size() != 1) fail("more than one answer");
      for (const auto& record : batch) check(record.value(), n);
      return;
    }
  }

 private:
  towpath::Bus bus_;
  towpath::Topic<Payload<N>> out_, in_;
  towpath::Producer<Payload<N>> producer_;
  towpath::Consumer<Payload<N>> consumer_;
  Payload<N> payload_ = Payload<N>::pattern();
};

template <std::size_t N, class Wait>
RoundTrips ping_pong(const Options& options, const RoundTripPlan& plan, const towpath::TopicConfig& config = live()) {
  const BusFolder folder(options, "rtt");
  return round_trips(
      [&](Side& side) { return std::make_unique<Endpoint<N, Wait>>(folder.path(), side.index == 0, config); }, plan);
}

void rtt_32(const Options& options) {
  ping_pong<32, towpath::wait::Spin>(options, spinning_plan(options)).print_percentiles("rtt_32");
}

void rtt_32_aligned(const Options& options) {
  RoundTrips result = ping_pong<32, towpath::wait::Spin>(options, spinning_plan(options), live(64));
  result.print_percentile("rtt_32_p99_aligned", 0.99);
}

void rtt_1k(const Options& options) {
  ping_pong<1024, towpath::wait::Spin>(options, spinning_plan(options)).print_percentiles("rtt_1k");
}

void rtt_block(const Options& options) {
  ping_pong<32, towpath::wait::Block>(options, sleeping_plan(options)).print_percentiles("rtt_block", 2);
}

/// One producer and nobody who reads. 2 GB to warm up: the log has rolled and lives in recycled memory by then.
template <std::size_t N>
double append(const Options& options, const char* measure) {
  const BusFolder folder(options, "append");
  Writer<N> writer(folder.path(), keeping(kept_bytes));
  pin(0);
  const std::uint64_t count = 1'000'000'000 / N;
  for (std::uint64_t i = 0; i < 2 * count; ++i) writer.send(i);
  const auto before = writer.counters();
  const double result = rate(options.quick ? count / 10 : count, [&](std::uint64_t i) { writer.send(i); });
  print_counters(measure, before, writer.counters());
  return result;
}

void append_100(const Options& options) { print("append_100", append<100>(options, "append_100"), "records/s"); }
void append_1k(const Options& options) { print("append_1k", append<1024>(options, "append_1k"), "records/s"); }

template <std::size_t N>
StreamResult one_to_one(const Options& options, const char* measure, StreamPlan plan) {
  const BusFolder folder(options, "stream");
  plan.window = kept_bytes / 4 / N;
  const auto config = keeping(kept_bytes);
  const StreamResult result = stream([&](Side&) { return std::make_unique<Writer<N>>(folder.path(), config); },
                                     [&](Side&) { return std::make_unique<Reader<N>>(folder.path(), config); }, plan);
  print_counters(measure, {}, Writer<N>(folder.path(), config).counters());
  return result;
}

void stream_100(const Options& options) {
  one_to_one<100>(options, "stream_100", burst_plan<100>(options)).print_burst("stream_100");
}
void stream_1k(const Options& options) {
  one_to_one<1024>(options, "stream_1k", burst_plan<1024>(options)).print_burst("stream_1k");
}

void sustained_100(const Options& options) {
  const StreamResult result = one_to_one<100>(options, "sustained_100", sustained_plan<100>(options));
  result.print_sustained("sustained_100");
}

/// A late joiner reads history that another process wrote: the first pass pays for its page tables, as `raw` does.
void replay_100(const Options& options) {
  const BusFolder folder(options, "replay");
  const std::uint64_t count = options.quick ? 200'000 : 2'000'000;
  in_another_process([&] {
    Writer<100> writer(folder.path(), keeping(kept_bytes));
    for (std::uint64_t i = 0; i < count; ++i) writer.send(i);
  });
  Reader<100> reader(folder.path(), keeping(kept_bytes));
  pin(0);
  const auto pass = [&] {
    const std::uint64_t start = ticks();
    for (std::uint64_t next = 0; next < count;) next = reader.drain(next);
    return static_cast<double>(count) / seconds(ticks() - start);
  };
  print("replay_100", pass(), "records/s");
  reader.from_the_beginning();
  std::printf("# replay_100 towpath, second pass: %.4g records/s\n", pass());
}

/// A seek to a random offset and the read of one record there.
void lookup(const Options& options, const char* measure, std::uint64_t records) {
  if (room_in(options.dir) < records * 40) {
    std::printf("# %s skipped: %.1f GB of memory are not free\n", measure, static_cast<double>(records) * 40e-9);
    return;
  }
  const BusFolder folder(options, "lookup");
  const auto config = keeping(8_GiB);
  in_another_process([&] {
    Writer<8> writer(folder.path(), config);
    for (std::uint64_t i = 0; i < records; ++i) writer.send(i);
  });
  towpath::Bus bus(folder.path());
  towpath::Topic<Payload<8>> topic(bus, "stream", config);
  towpath::Consumer<Payload<8>> consumer(
      topic, towpath::ConsumerConfig{.auto_offset_reset = towpath::OffsetReset::earliest, .max_poll_records = 1});
  pin(0);
  RandomPlaces places(records);
  const auto look_up = [&](std::uint64_t) {
    const std::uint64_t place = places.next();
    expect_ok(consumer.seek(towpath::PartitionId{0}, towpath::Offset{static_cast<std::int64_t>(place)}).error(),
              "seek");
    const auto batch = consumer.poll(1s, towpath::wait::Spin{});
    if (batch.size() != 1) fail("no record at a valid offset");
    check(batch.begin()->value(), place);
  };
  const std::uint64_t count = options.quick ? 100'000 : 1'000'000;
  rate(count, look_up);  // maps the segments: what counts is a lookup in a log that is in use
  print(measure, 1e9 / rate(count, look_up), "ns");
}

void lookup_1e3(const Options& options) { lookup(options, "lookup_1e3", 1'000); }
void lookup_1e8(const Options& options) { lookup(options, "lookup_1e8", 100'000'000); }

/// A process opens a bus that another has made, with one topic of 1,000 partitions, a record in each.
void open_1000(const Options& options) {
  constexpr std::int32_t partitions = 1'000;
  const BusFolder folder(options, "open");
  const towpath::TopicConfig config{.partitions = partitions};
  in_another_process([&] {
    towpath::Bus bus(folder.path());
    towpath::Topic<Payload<8>> topic(bus, "many", config);
    towpath::Producer producer(topic);
    for (std::int32_t i = 0; i < partitions; ++i)
      producer.send(Payload<8>::pattern(), {.partition = towpath::PartitionId{i}}).value();
  });
  const std::uint64_t start = ticks();
  towpath::Bus bus(folder.path());
  towpath::Topic<Payload<8>> topic(bus, "many", config);
  const std::uint64_t opened = ticks();
  towpath::Consumer consumer(topic, from_the_start());
  const std::uint64_t assigned = ticks();
  std::size_t found = 0;
  while (found < static_cast<std::size_t>(partitions)) {
    const auto batch = consumer.poll(10s);
    expect_ok(batch.error(), "poll");
    if (batch.empty()) fail("a record of the 1,000 partitions is missing");
    found += batch.size();
  }
  print("open_1000", seconds(opened - start) * 1e3, "ms");
  std::printf("# open_1000 towpath: then a consumer of all partitions %.3g ms, first poll of all %.3g ms\n",
              seconds(assigned - opened) * 1e3, seconds(ticks() - assigned) * 1e3);
}

/// One bus, topic, producer and consumer, each used once.
void idle_rss(const Options& options) {
  const BusFolder folder(options, "idle");
  towpath::Bus bus(folder.path());
  towpath::Topic<Payload<100>> topic(bus, "idle");
  towpath::Producer producer(topic);
  towpath::Consumer consumer(topic, from_the_start());
  producer.send(Payload<100>::pattern()).value();
  if (consumer.poll(1s).size() != 1) fail("a record is missing");
  print("idle_rss", resident_megabytes_outside(folder.path()), "MB");
}

}  // namespace
}  // namespace bench

int main(int count, char** arguments) {
  using namespace bench;
  std::vector<Group> groups{{"rtt_32", rtt_32},
                            {"rtt_32_aligned", rtt_32_aligned},
                            {"rtt_1k", rtt_1k},
                            {"rtt_block", rtt_block},
                            {"append_100", append_100},
                            {"append_1k", append_1k},
                            {"stream_100", stream_100},
                            {"stream_1k", stream_1k},
                            {"sustained_100", sustained_100},
                            {"replay_100", replay_100},
                            {"lookup_1e3", lookup_1e3},
                            {"lookup_1e8", lookup_1e8},
                            {"open_1000", open_1000},
                            {"idle_rss", idle_rss}};
  for (const Group& group : shared_groups_of<Towpath>()) groups.push_back(group);
  return run_main(count, arguments, groups);
}
