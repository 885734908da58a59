// What the tests of topics with one writer share.
#pragma once

#include <consume/consume_support.hpp>
#include <shm/shm_support.hpp>

namespace towpath::test {

inline TopicConfig sole_config(std::int32_t partitions = 1) {
  TopicConfig config;
  config.partitions = partitions;
  config.writers = Writers::one;
  return config;
}

/// Opens or makes the topic; whoever comes later gets its settings whatever it asks for.
struct SoleTopic {
  explicit SoleTopic(const std::string& path, const TopicConfig& config = {}, const char* name = "topic")
      : bus{path}, topic{bus, name, config} {}
  Bus bus;
  Topic<std::string> topic;
};

}  // namespace towpath::test
