// What a run that failed left behind under names that hold its process id: a killed program cannot remove them itself.
#pragma once

#include <filesystem>

#include "harness.hpp"

namespace bench {

/// Removes the entries of `folder` called `start` + a process id + anything, if there is no such process or it is this.
inline void remove_leftovers(const char* folder, const std::string& start) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(start)) continue;
    const pid_t owner = std::atoi(name.c_str() + start.size());
    if (owner > 0 && (owner == getpid() || (kill(owner, 0) != 0 && errno == ESRCH))) found.push_back(entry.path());
  }
  for (const auto& path : found) std::filesystem::remove(path);
}

}  // namespace bench
