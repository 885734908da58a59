// Cost as consumers of one topic grow, each of which reads everything, all in one process on two cores; and as records
// grow.
#pragma once

#include <barrier>
#include <thread>

#include "mapped_file.hpp"
#include "shape.hpp"

namespace bench {

using Sample = Payload<100>;

/// Consumers with a thread each, which sleep until a record comes, and later read a burst.
class Audience {
 public:
  Audience(const towpath::Topic<Sample>& topic, std::uint64_t consumers, std::uint64_t wakes, std::uint64_t burst)
      : consumers_(consumers), wakes_(wakes), burst_(burst), gate_(static_cast<std::ptrdiff_t>(consumers) + 1) {
    for (std::uint64_t i = 0; i < consumers; ++i) threads_.emplace_back([this, &topic] { listen(topic); });
    gate_.arrive_and_wait();
  }
  Audience(const Audience&) = delete;
  Audience& operator=(const Audience&) = delete;
  ~Audience() {
    for (auto& thread : threads_) thread.join();
  }

  /// Returns when every consumer has had `records` records; in ticks when the last one had it.
  std::uint64_t wait_until_all_have(std::uint64_t records) {
    for (std::uint64_t seen = had_.load(); seen < records * consumers_; seen = had_.load()) had_.wait(seen);
    return last_.load();
  }
  /// All have had the wakes and none polls: then a burst may be sent.
  void pause() { gate_.arrive_and_wait(); }
  void resume() { gate_.arrive_and_wait(); }

 private:
  void listen(const towpath::Topic<Sample>& topic) {
    towpath::Consumer consumer(topic, from_the_start());
    std::uint64_t next = 0;
    gate_.arrive_and_wait();
    while (next < wakes_) {
      const auto batch = consumer.poll(10s, towpath::wait::Block{});
      const std::uint64_t now = ticks();
      next = checked(batch, next);
      std::uint64_t before = last_.load();
      while (before < now && !last_.compare_exchange_weak(before, now)) {
      }
      had_.fetch_add(batch.size());
      had_.notify_one();
    }
    gate_.arrive_and_wait();
    gate_.arrive_and_wait();
    while (next < wakes_ + burst_) next = checked(consumer.poll(10s), next);
  }

  static std::uint64_t checked(const towpath::Batch<Sample>& batch, std::uint64_t next) {
    expect_unbroken(batch);
    if (batch.empty()) fail("a consumer was told nothing");
    for (const auto& record : batch) check(record.value(), next++);
    return next;
  }

  std::uint64_t consumers_, wakes_, burst_;
  std::barrier<> gate_;
  std::atomic<std::uint64_t> had_{0}, last_{0};
  std::vector<std::thread> threads_;
};

inline void measure_consumers(const Point& point, const Options& options, std::uint64_t consumers) {
  const BusFolder folder(options, "shape");
  towpath::Bus bus(folder.path());
  const towpath::Topic<Sample> topic(bus, "one", keeping(kept_bytes));
  towpath::Producer producer(topic);
  auto payload = Sample::pattern();
  std::uint64_t sent = 0;
  const auto send = [&](std::uint64_t) {
    payload.stamp(sent++);
    expect_ok(producer.send(payload).error(), "send");
  };
  const std::uint64_t wakes = 101, burst = options.quick ? 50'000 : 500'000;
  std::vector<double> sends, all_awake;
  std::uint64_t begun = 0;
  {
    Audience audience(topic, consumers, wakes, burst);
    while (sent < wakes) {
      std::this_thread::sleep_for(3ms);  // until all sleep
      const std::uint64_t start = ticks();
      send(0);
      sends.push_back(nanoseconds(ticks() - start));
      all_awake.push_back(nanoseconds(audience.wait_until_all_have(sent) - start));
    }
    audience.pause();
    point.print("wake_send", median(sends) * 1e-3, "us");
    point.print("wake", median(all_awake) * 1e-3, "us");
    point.print("send", median_in_chunks(burst / 1'000, 1'000, send), "ns");
    audience.resume();
    begun = ticks();
  }
  point.print("read", static_cast<double>(burst * consumers) / seconds(ticks() - begun), "records/s");
}

inline void shape_consumers(const Options& options) {
  for (const std::uint64_t consumers : sizes(1, options.quick ? 4 : 64, 2))
    in_another_process([&] { measure_consumers(Point("consumers", consumers), options, consumers); });
}

// ---- record size

/// The sum of the words of 8 bytes, four at a time: a reader that compares it has seen every byte.
inline std::uint64_t sum_of_words(const std::byte* data, std::size_t size) {
  std::uint64_t sums[4] = {}, words[4];
  std::size_t at = 0;
  for (; at + sizeof words <= size; at += sizeof words) {
    std::memcpy(words, data + at, sizeof words);
    for (int i = 0; i < 4; ++i) sums[i] += words[i];
  }
  for (; at < size; at += 8) {
    std::memcpy(words, data + at, 8);
    sums[0] += words[0];
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

/// A numbered record of any size from 8 bytes on, in multiples of 8.
class AnyPayload {
 public:
  explicit AnyPayload(std::size_t size) : bytes_(size) {
    for (std::size_t i = 8; i < size; ++i) bytes_[i] = static_cast<std::byte>(i * 31);
    rest_ = sum_of_words(bytes_.data(), size);
  }
  void stamp(std::uint64_t n) noexcept { std::memcpy(bytes_.data(), &n, sizeof n); }
  towpath::Bytes bytes() const noexcept { return bytes_; }
  void check(const std::byte* data, std::size_t size, std::uint64_t n) const {
    if (size != bytes_.size() || sum_of_words(data, size) != rest_ + n) fail("a record came damaged or out of turn");
  }

 private:
  std::vector<std::byte> bytes_;
  std::uint64_t rest_ = 0;
};

constexpr std::uint64_t size_window = 512_MiB;  // what the log keeps, and the ring of memcpy beside it

/// One thread sends a burst, then reads it, until the window was filled twice: `fill` before what counts.
template <class Send, class Read>
void in_bursts(const Options& options, std::uint64_t size, const Point& point, const std::string& prefix, Send&& send,
               Read&& read) {
  const std::uint64_t burst = std::clamp<std::uint64_t>(64_MiB / size, 1, 500'000);
  const std::uint64_t footprint = size + 24;  // frame header and slot
  const std::uint64_t window = options.quick ? size_window / 8 : size_window;
  const std::uint64_t fill = std::max<std::uint64_t>(3, window * 3 / 2 / (burst * footprint)), timed = 7;
  std::vector<double> sends, reads;
  for (std::uint64_t i = 0, n = 0; i < fill + timed; ++i, n += burst) {
    const double sent = time_of([&] {
      for (std::uint64_t k = n; k < n + burst; ++k) send(k);
    });
    const double got = time_of([&] { read(n, burst); });
    if (i < fill) continue;
    sends.push_back(sent / static_cast<double>(burst));
    reads.push_back(got / static_cast<double>(burst));
  }
  point.print((prefix + "send").c_str(), median(sends), "ns");
  point.print((prefix + "read").c_str(), median(reads), "ns");
  point.print((prefix + "rate").c_str(), static_cast<double>(size) / (median(sends) + median(reads)), "GB/s");
}

inline void measure_size(const Point& point, const Options& options, std::uint64_t size) {
  AnyPayload payload(size);
  const BusFolder folder(options, "shape");
  towpath::Bus bus(folder.path());
  const towpath::Topic<towpath::Bytes> topic(
      bus, "bytes", {.segment_bytes = 128_MiB, .retention = {.bytes = size_window}, .max_message_bytes = 128_MiB});
  towpath::Producer producer(topic);
  towpath::Consumer consumer(topic, from_the_start());
  pin(0);
  in_bursts(
      options, size, point, "",
      [&](std::uint64_t n) {
        payload.stamp(n);
        expect_ok(producer.send(payload.bytes()).error(), "send");
      },
      [&](std::uint64_t n, std::uint64_t burst) {
        read_exactly(consumer, burst,
                     [&](const auto& record) { payload.check(record.value().data(), record.value().size(), n++); });
      });
}

/// The same bytes, copied into a ring and summed there. Sizes are powers of two, so records fit it evenly.
inline void measure_raw_size(const Point& point, const Options& options, std::uint64_t size) {
  AnyPayload payload(size);
  const MappedFile ring(options.dir, "ring", size_window);
  pin(0);
  const auto place = [&](std::uint64_t n) { return ring.data() + (n * size & (size_window - 1)); };
  in_bursts(
      options, size, point, "raw_",
      [&](std::uint64_t n) {
        payload.stamp(n);
        std::memcpy(place(n), payload.bytes().data(), size);
      },
      [&](std::uint64_t n, std::uint64_t burst) {
        for (std::uint64_t k = n; k < n + burst; ++k) payload.check(place(k), size, k);
      });
}

inline void shape_size(const Options& options) {
  auto all = sizes(8, options.quick ? 4'096 : 16_MiB, 8);
  if (!options.quick) all.push_back(64_MiB);
  for (const std::uint64_t size : all) {
    const Point point("size", size);
    in_another_process([&] { measure_raw_size(point, options, size); });
    in_another_process([&] { measure_size(point, options, size); });
  }
}

}  // namespace bench
