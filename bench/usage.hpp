// What a process has taken so far: processor time and page faults, its own or another's.
#pragma once

#include <sys/resource.h>

#include "harness.hpp"

namespace bench {

/// Sums over all threads, user and system time together. Differences of two are what a stretch of work took.
struct Usage {
  double processor_ns = 0;
  double faults = 0;  // minor and major

  Usage operator+(const Usage& other) const { return {processor_ns + other.processor_ns, faults + other.faults}; }
  Usage operator-(const Usage& other) const { return {processor_ns - other.processor_ns, faults - other.faults}; }
};

/// This process, to the microsecond.
inline Usage own_usage() {
  rusage used = {};
  require(getrusage(RUSAGE_SELF, &used) == 0, "getrusage");
  const auto ns = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_usec) * 1e3;
  };
  return {ns(used.ru_utime) + ns(used.ru_stime), static_cast<double>(used.ru_minflt + used.ru_majflt)};
}

/// Another process, to the kernel's tick (10 ms); nothing for 0. Ends the program if there is no such process.
inline Usage usage_of(pid_t process) {
  if (process == 0) return {};
  const std::string path = "/proc/" + std::to_string(process) + "/stat";
  std::FILE* const file = std::fopen(path.c_str(), "re");
  require(file != nullptr, path);
  char text[1024];
  const std::size_t size = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  text[size] = '\0';
  const char* const after_name = std::strrchr(text, ')');  // the name may hold anything but ends at the last bracket
  unsigned long long minor = 0, major = 0, user = 0, system = 0;
  const int read = after_name == nullptr
                       ? 0
                       : std::sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %llu %*u %llu %*u %llu %llu", &minor,
                                     &major, &user, &system);
  if (read != 4) fail("cannot read " + path);
  const double tick_ns = 1e9 / static_cast<double>(sysconf(_SC_CLK_TCK));
  return {static_cast<double>(user + system) * tick_ns, static_cast<double>(minor + major)};
}

}  // namespace bench
