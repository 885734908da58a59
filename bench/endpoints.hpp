// The ends of a towpath stream as the measures use them: Bus, Topic, Producer, Consumer with their defaults. Each
// process opens the bus for itself.
#pragma once

#include <towpath/towpath.hpp>

#include <filesystem>

#include "workload.hpp"

namespace bench {

using namespace std::chrono_literals;
using namespace towpath::literals;

/// A folder below --dir, new for each run and gone afterwards. Made before the fork, removed by the parent.
class BusFolder {
 public:
  BusFolder(const Options& options, const char* name) : path_(options.dir + "/" + name + std::to_string(getpid())) {
    if (options.dir.empty()) fail("--dir is missing");
  }
  BusFolder(const BusFolder&) = delete;
  BusFolder& operator=(const BusFolder&) = delete;
  ~BusFolder() { std::filesystem::remove_all(path_); }
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

/// Ends the program with the library's own words.
inline void expect_ok(const towpath::Failure& failure, const char* what) {
  if (failure.code != towpath::Errc::ok) [[unlikely]]
    fail(std::string(what) + ": " + std::string(message(failure.code)) + ' ' + failure.detail);
}

// What streams keep: more than the window by which a writer may lead, so that a reader that keeps up misses nothing.
constexpr std::uint64_t kept_bytes = 512_MiB;

inline towpath::TopicConfig keeping(std::uint64_t bytes) { return {.retention = {.bytes = bytes}}; }

// A live topic: a window that stays in the cache and whose segments come back from recycling, so that no page is new.
inline towpath::TopicConfig live(std::uint64_t alignment = 0) {
  return {.segment_bytes = 1_MiB, .retention = {.bytes = 8_MiB}, .record_alignment = alignment};
}

inline towpath::ConsumerConfig from_the_start() { return {.auto_offset_reset = towpath::OffsetReset::earliest}; }

/// Where the log's segments came from. Fresh ones in the timed part say that recycling did not keep up.
inline void print_counters(const char* measure, const towpath::PartitionCounters& before,
                           const towpath::PartitionCounters& after) {
  const auto count = [](std::uint64_t from, std::uint64_t to) { return static_cast<unsigned long long>(to - from); };
  std::printf("# %s towpath: %llu rolls, %llu segments recycled, %llu made fresh, %llu unlinked\n", measure,
              count(before.rolls, after.rolls), count(before.recycled, after.recycled),
              count(before.fresh, after.fresh), count(before.unlinked, after.unlinked));
}

/// Ends the program unless a poll went well and overtook nothing.
template <class Batch>
void expect_unbroken(const Batch& batch) {
  expect_ok(batch.error(), "poll");
  if (batch.missed() != 0) [[unlikely]]
    fail("the reader was overtaken");
}

template <std::size_t N>
class Writer {
 public:
  Writer(const std::string& folder, const towpath::TopicConfig& config)
      : bus_(folder), topic_(bus_, "stream", config), producer_(topic_) {}

  void send(std::uint64_t n) {
    payload_.stamp(n);
    expect_ok(producer_.send(payload_).error(), "send");
  }

  towpath::PartitionCounters counters() const {
    return towpath::Partition<Payload<N>>::open(topic_, towpath::PartitionId{0}).value().counters();
  }

 private:
  towpath::Bus bus_;
  towpath::Topic<Payload<N>> topic_;
  towpath::Producer<Payload<N>> producer_;
  Payload<N> payload_ = Payload<N>::pattern();
};

template <std::size_t N>
class Reader {
 public:
  Reader(const std::string& folder, const towpath::TopicConfig& config)
      : bus_(folder), topic_(bus_, "stream", config), consumer_(topic_, from_the_start()) {}

  /// Reads one batch, or nothing if nothing came for 10 ms.
  std::uint64_t drain(std::uint64_t n) {
    const auto batch = consumer_.poll(10ms);
    expect_unbroken(batch);
    for (const auto& record : batch) check(record.value(), n++);
    return n;
  }

  void from_the_beginning() { consumer_.seek_to_beginning().value(); }

 private:
  towpath::Bus bus_;
  towpath::Topic<Payload<N>> topic_;
  towpath::Consumer<Payload<N>> consumer_;
};

}  // namespace bench
