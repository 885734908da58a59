// The machine's own counters, from /proc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace demo {

enum class Kind : std::uint64_t { cpu, scheduler, memory, network, disk };

struct Reading {
  std::string key;
  Kind kind;
  std::uint64_t values[8];
};

/// A file of /proc, opened once and read again and again.
class ProcFile {
 public:
  explicit ProcFile(const char* path);
  ~ProcFile();
  ProcFile(const ProcFile&) = delete;
  ProcFile& operator=(const ProcFile&) = delete;
  /// Its text now; empty when it is missing. Valid until the next read.
  std::string_view read();

 private:
  int fd_;
  std::string text_;
};

/// cpu0, cpu1, ...: user nice system idle iowait irq softirq steal (ticks of 10 ms); and scheduler: context switches,
/// interrupts, processes started, running, blocked.
void sample_cores(ProcFile& stat, std::vector<Reading>& readings);
/// memory: total, free, available, buffers, cached, dirty, mapped, shared (KiB).
void sample_memory(ProcFile& meminfo, std::vector<Reading>& readings);
/// net.eth0, ...: bytes, packets, errors, drops received; the same sent.
void sample_network(ProcFile& net_dev, std::vector<Reading>& readings);
/// disk.vda, ...: reads, sectors read, ms reading, writes, sectors written, ms writing, in flight, ms busy. Idle ones
/// are left out.
void sample_disks(ProcFile& diskstats, std::vector<Reading>& readings);

}  // namespace demo
