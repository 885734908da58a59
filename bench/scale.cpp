// More than one record at a time, more than one writer, more than one reader: what each adds to or takes from the rate
// of one producer that appends records of 100 bytes one by one (append_100, stream_100).
#include <thread>

#include "endpoints.hpp"

namespace bench {
namespace {

constexpr std::size_t batch_size = 16;

/// As Writer, but it sends 16 records at a time.
class BatchWriter {
 public:
  BatchWriter(const std::string& folder, const towpath::TopicConfig& config)
      : bus_(folder), topic_(bus_, "stream", config), producer_(topic_) {
    for (auto& payload : payloads_) payload = Payload<100>::pattern();
  }

  void send(std::uint64_t n) {
    const std::size_t at = n % batch_size;
    payloads_[at].stamp(n);
    if (at == batch_size - 1) expect_ok(producer_.send_batch(payloads_).error(), "send_batch");
  }

 private:
  towpath::Bus bus_;
  towpath::Topic<Payload<100>> topic_;
  towpath::Producer<Payload<100>> producer_;
  std::array<Payload<100>, batch_size> payloads_;
};

void batch_100(const Options& options) {
  const std::uint64_t count = 10'000'000;
  {
    const BusFolder folder(options, "batch");
    BatchWriter writer(folder.path(), keeping(kept_bytes));
    pin(0);
    for (std::uint64_t i = 0; i < 2 * count; ++i) writer.send(i);
    print("append_batch_100", rate(options.quick ? count / 10 : count, [&](std::uint64_t i) { writer.send(i); }),
          "records/s");
    unpin();
  }
  const BusFolder folder(options, "batch");
  const auto config = keeping(kept_bytes);
  auto plan = burst_plan<100>(options);
  plan.window = kept_bytes / 4 / 100;
  stream([&](Side&) { return std::make_unique<BatchWriter>(folder.path(), config); },
         [&](Side&) { return std::make_unique<Reader<100>>(folder.path(), config); }, plan)
      .print_mean("stream_batch_100");
}

towpath::TopicConfig by_one_writer() {
  auto config = keeping(kept_bytes);
  config.writers = towpath::Writers::one;
  return config;
}

/// As append_100, in a topic with one writer.
void append_one_100(const Options& options) {
  const BusFolder folder(options, "one");
  Writer<100> writer(folder.path(), by_one_writer());
  pin(0);
  const std::uint64_t count = options.quick ? 1'000'000 : 10'000'000;
  for (std::uint64_t i = 0; i < 2 * count; ++i) writer.send(i);
  print("append_one_100", rate(count, [&](std::uint64_t i) { writer.send(i); }), "records/s");
}

/// As stream_100, in a topic with one writer.
void stream_one_100(const Options& options) {
  const BusFolder folder(options, "one");
  const auto config = by_one_writer();
  auto plan = burst_plan<100>(options);
  plan.window = kept_bytes / 4 / 100;
  stream([&](Side&) { return std::make_unique<Writer<100>>(folder.path(), config); },
         [&](Side&) { return std::make_unique<Reader<100>>(folder.path(), config); }, plan)
      .print_mean("stream_one_100");
}

/// Two processes append to one partition. Their sum, from when both began until the slower one was through.
void append_2p_100(const Options& options) {
  const BusFolder folder(options, "two");
  SharedMemory memory(sizeof(SharedPage));
  auto& page = *new (memory.data()) SharedPage;
  const std::uint64_t count = options.quick ? 1'000'000 : 10'000'000;
  Placement where = Placement::mixed;
  const auto write = [&](Side& side) {
    Writer<100> writer(folder.path(), keeping(kept_bytes));
    pin(side.index);
    for (std::uint64_t i = 0; i < count; ++i) writer.send(i);  // to warm up
    const Placement seen = bracketed(side, [&] {
      side.meet_other();
      const std::uint64_t start = ticks();
      for (std::uint64_t i = 0; i < count; ++i) writer.send(i);
      side.report(side.index, seconds(ticks() - start));
    });
    if (side.index == 0) where = seen;
  };
  const Side parent = run_pair(page, write, write);
  const double slowest = std::max(parent.reported(0), parent.reported(1));
  constexpr std::string_view names[] = {"near", "far", "mixed"};
  print("append_2p_100", 2.0 * static_cast<double>(count) / slowest, "records/s",
        names[static_cast<std::size_t>(where)]);
}

/// What one of three readers saw.
struct Seen {
  std::uint64_t read = 0;
  std::uint64_t missed = 0;
};

/// Reads until `page` says that the writer is through; checks every record.
Seen follow(const std::string& folder, const SharedPage& page) {
  towpath::Bus bus(folder);
  towpath::Topic<Payload<100>> topic(bus, "stream", keeping(kept_bytes));
  towpath::Consumer consumer(topic, from_the_start());
  Seen seen;
  std::uint64_t next = 0;
  while (page.produced.word.load(std::memory_order_acquire) == 0) {
    const auto batch = consumer.poll(10ms);
    expect_ok(batch.error(), "poll");
    if (batch.missed() != 0 && !batch.empty()) {
      std::memcpy(&next, batch.begin()->value().words.data(), sizeof next);
      seen.missed += batch.missed();
    }
    for (const auto& record : batch) check(record.value(), next++);
    seen.read += batch.size();
  }
  return seen;
}

/// One writer that waits for nobody, three readers on the other core: what the writer still does.
void fan_1_3_100(const Options& options) {
  const BusFolder folder(options, "fan");
  SharedMemory memory(sizeof(SharedPage));
  auto& page = *new (memory.data()) SharedPage;
  const std::uint64_t count = options.quick ? 1'000'000 : 10'000'000;
  double result = 0;
  run_pair(
      page,
      [&](Side& side) {
        Writer<100> writer(folder.path(), keeping(kept_bytes));
        side.meet_other();
        pin(0);
        std::uint64_t n = 0;
        for (; n < 2 * count; ++n) writer.send(n);
        result = rate(count, [&](std::uint64_t) { writer.send(n++); });
        page.produced.word.store(1, std::memory_order_release);
      },
      [&](Side& side) {
        side.meet_other();
        pin(1);
        std::array<Seen, 3> seen;
        std::vector<std::thread> readers;
        for (auto& one : seen) readers.emplace_back([&] { one = follow(folder.path(), page); });
        for (auto& reader : readers) reader.join();
        for (const auto& one : seen)
          std::printf("# fan_1_3_100 towpath: a reader saw %llu records, %llu were gone before it came\n",
                      static_cast<unsigned long long>(one.read), static_cast<unsigned long long>(one.missed));
        std::fflush(stdout);
      });
  print("fan_1_3_100", result, "records/s");
}

}  // namespace
}  // namespace bench

int main(int count, char** arguments) {
  using namespace bench;
  return run_main(count, arguments,
                  {{"batch_100", batch_100},
                   {"append_one_100", append_one_100},
                   {"stream_one_100", stream_one_100},
                   {"append_2p_100", append_2p_100},
                   {"fan_1_3_100", fan_1_3_100}});
}
