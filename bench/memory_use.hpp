// How much memory this process keeps resident beside the data it maps.
#pragma once

#include "harness.hpp"

namespace bench {

/// Sums `Rss` in /proc/self/smaps over all mappings whose file is not below `folder`. Memory shared with other
/// processes (libraries, the program's own text) counts in full.
inline double resident_megabytes_outside(const std::string& folder) {
  std::FILE* const maps = std::fopen("/proc/self/smaps", "re");
  require(maps != nullptr, "/proc/self/smaps");
  char line[4096];
  bool counted = false;
  unsigned long long kilobytes = 0, more = 0, first = 0, last = 0;
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    if (std::sscanf(line, "%llx-%llx ", &first, &last) == 2)
      counted = std::string_view(line).find(folder) == std::string_view::npos;
    else if (counted && std::sscanf(line, "Rss: %llu kB", &more) == 1)
      kilobytes += more;
  }
  std::fclose(maps);
  return static_cast<double>(kilobytes) * 1024e-6;
}

}  // namespace bench
