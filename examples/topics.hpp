// What the processes of examples/between_processes.cpp agree on: names, value types and limits, stated once.
#pragma once

// [spec]
#include <towpath/towpath.hpp>

struct Scan {
  std::uint32_t number;
  float ranges[1'024];  // metres
};

using namespace towpath::literals;
using namespace std::chrono_literals;

inline constexpr towpath::TopicSpec<Scan> lidar_front{
    "lidar.front", {.segment_bytes = 64_MiB, .retention = {.bytes = 256_MiB, .age = 30s}}};
// [/spec]
