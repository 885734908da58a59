// What the processes of the demo tell each other beside the bus: who acknowledged what, who saw what, and the script.
// It lies in a file that all map, so what a producer noted survives its kill. The bus itself needs none of this.
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>
#include <string>

namespace demo {

inline constexpr std::size_t max_streams = 512;

/// The records of one producer under one key.
struct Stream {
  char key[32];
  std::atomic<std::uint64_t> acknowledged;  ///< send() returned for all up to this sequence; stored after each send
  std::atomic<std::int32_t> partition;      ///< where they go
};

enum Producer : std::uint32_t { cores, devices, lines, cores_again, producer_count };

struct Sent {
  char what[96];
  std::atomic<std::uint32_t> stream_count;
  std::atomic<std::uint64_t> records;
  std::atomic<std::int64_t> first_ns;
  std::atomic<std::int64_t> last_ns;
  std::atomic<std::uint32_t> is_slowed;  ///< it could send faster than its share of the memory lasts
  std::atomic<std::uint32_t> is_cut;     ///< the file had more lines than were sent
  Stream streams[max_streams];
};

/// Counts of times by magnitude: 16 steps per power of two, so a percentile is off by 6 % at most.
struct Histogram {
  std::uint64_t counts[64 * 16];
  std::uint64_t total;
  std::int64_t largest_ns;

  void add(std::int64_t nanoseconds) noexcept;
  [[nodiscard]] double percentile(double share) const noexcept;  ///< in nanoseconds
};

enum Reader : std::uint32_t { live, late, reader_count };

/// Written by the reader, complete when `is_finished` is set.
struct Seen {
  std::atomic<std::uint32_t> is_ready;
  std::atomic<std::uint32_t> is_finished;
  std::atomic<std::int64_t> resumed_ns;  ///< when it read the first record behind the one that was cut off
  std::uint64_t samples;
  std::uint64_t lines;
  std::uint64_t lost;
  std::uint64_t doubled;
  std::uint64_t reordered;
  std::uint64_t damaged;
  std::uint64_t unknown;  ///< from nobody who is known, or never sent
  std::uint64_t history_records;
  std::int64_t history_ns;
  Histogram sample_latency;
  Histogram line_latency;
};

enum class Crash : std::uint32_t { none, wanted, open };

struct Page {
  std::int64_t began_ns;
  std::uint64_t segment_bytes;
  std::uint64_t share_bytes;  ///< each producer may fill this much, evenly over run_ns
  std::int64_t run_ns;
  std::int64_t pace_total_ns;                     ///< the file's lines are spread over this time
  std::atomic<std::uint32_t> stop;                ///< producers end
  std::atomic<std::uint32_t> nothing_more_comes;  ///< readers end when they have read everything
  std::atomic<Crash> crash;
  std::atomic<std::int32_t> crash_partition;
  std::atomic<std::int64_t> crash_opened_ns;  ///< since when there is a reserved, unpublished record
  Sent sent[producer_count];
  Seen seen[reader_count];
};

/// For comparing across processes: one clock for all.
inline std::int64_t now_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

/// "870 ns", "12.5 us", "3.1 ms"
std::string duration(double nanoseconds);

/// Maps the page in `folder`; makes it when asked to. Throws std::system_error.
Page& open_page(const std::string& folder, bool create);

// The roles. Each returns the exit code.
int drive(int argc, char** argv);
int produce_telemetry(const std::string& folder, Producer me);
int produce_lines(const std::string& folder, const std::string& file);
int read(const std::string& folder, Reader me, const std::string& fault);

/// The table at the end; false if anything was lost, doubled, reordered or damaged.
bool report(const Page& page, std::int64_t killed_ns);

}  // namespace demo
