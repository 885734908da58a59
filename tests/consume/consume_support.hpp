// What the tests of consume/ share.
#pragma once

#include <support/support.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <towpath/towpath.hpp>

namespace towpath::test {

inline ConsumerConfig from(OffsetReset reset) {
  ConsumerConfig config;
  config.auto_offset_reset = reset;
  return config;
}

inline TopicConfig partitioned(std::int32_t partitions) {
  TopicConfig config;
  config.partitions = partitions;
  return config;
}

/// Segments of 256 KiB and retention of four: three records of 60 kB fill one.
inline TopicConfig forgetful() {
  TopicConfig config;
  config.segment_bytes = config.max_message_bytes = 256 * 1024;
  config.retention.bytes = 4 * 256 * 1024;
  return config;
}

/// Reads until `count` records came or none comes any more.
template <class T>
std::vector<std::string> read_texts(Consumer<T>& consumer, std::size_t count) {
  std::vector<std::string> read;
  while (read.size() < count) {
    const auto batch = consumer.poll(stretched(2s));
    if (batch.empty()) break;
    for (const auto& record : batch) read.emplace_back(record.value());
  }
  return read;
}

inline void send_texts(Producer<std::string>& producer, int from, int to, std::int32_t partition = 0) {
  for (int i = from; i < to; ++i) producer.send(std::to_string(i), {.partition = PartitionId{partition}}).value();
}

inline std::vector<std::string> numbers(int from, int to) {
  std::vector<std::string> texts;
  for (int i = from; i < to; ++i) texts.push_back(std::to_string(i));
  return texts;
}

}  // namespace towpath::test
