// What the processes of the soak write down, in memory that survives them: what each producer sent and got
// acknowledged, what each reader saw. Plain stores into a shared anonymous map made before the first fork, so nothing
// that happens to a process takes back what it noted.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include <sys/mman.h>

namespace towpath::test {

inline constexpr unsigned soak_partitions = 2;
inline constexpr unsigned soak_streams = 3;     // two live readers and a late one
inline constexpr unsigned max_lives = 3'072;    // one life: a producer from its fork to its kill
inline constexpr unsigned max_sends = 8'192;    // of one life
inline constexpr unsigned max_entries = 1u << 22;  // of one reader

/// Where a record is, in one word. 0 is nowhere.
struct Place {
  static constexpr std::uint64_t given_up = ~std::uint64_t{0};  // a loan dropped on purpose: nobody may ever read it
  static constexpr std::uint64_t make(unsigned partition, std::uint64_t offset) { return (offset + 1) << 8 | partition; }
  static constexpr unsigned partition(std::uint64_t place) { return place & 0xFF; }
  static constexpr std::uint64_t offset(std::uint64_t place) { return (place >> 8) - 1; }
};

/// What one producer did. Sequence numbers begin at 1.
struct Life {
  std::atomic<std::uint64_t> begun;  // the last sequence number whose send was called
  std::atomic<std::uint64_t> places[max_sends];
};

/// One thing a reader saw: a record, or a stretch that retention took before it got there.
struct Entry {
  std::uint64_t place;
  std::uint32_t life;
  std::uint32_t sequence;  // 0: missed, and `life` says how many offsets from `place` on
};

struct Stream {
  std::atomic<std::uint64_t> count;
  Entry entries[max_entries];
};

struct Ledger {
  std::atomic<std::uint64_t> acknowledged_to[soak_partitions];  // behind the highest acknowledged offset: a later send must land there
  std::atomic<std::uint64_t> read_to[soak_partitions];          // by the first reader: producers do not run away from it
  std::atomic<std::uint64_t> log_start[soak_partitions];        // at the very end
  std::atomic<std::uint32_t> complaint_bytes;
  char complaints[8'192];
  Stream streams[soak_streams];
  Life lives[max_lives];

  /// For what no log can show: an error code, a damaged value, an offset out of real-time order.
  template <class... Args>
  void complain(const char* format, Args... args) {
    char line[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
    const auto size = static_cast<std::uint32_t>(std::max(0, std::snprintf(line, sizeof line, format, args...)));
#pragma GCC diagnostic pop
    const std::uint32_t length = std::min<std::uint32_t>(size, sizeof line - 1);
    const std::uint32_t at = complaint_bytes.fetch_add(length + 1);
    if (at + length + 1 >= sizeof complaints) return;  // enough is known by then
    std::memcpy(complaints + at, line, length);
    complaints[at + length] = '\n';
  }
  std::string all_complaints() const {
    return {complaints, std::min<std::size_t>(complaint_bytes.load(), sizeof complaints)};
  }
};

struct Unmap {
  void operator()(Ledger* ledger) const { ::munmap(ledger, sizeof *ledger); }
};

/// Zeroed, shared with every process forked from here on; pages come when they are written to.
inline std::unique_ptr<Ledger, Unmap> make_ledger() {
  void* at = ::mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return std::unique_ptr<Ledger, Unmap>{at == MAP_FAILED ? nullptr : static_cast<Ledger*>(at)};
}

/// The value of a record: who sent it, how long it is, and words that follow from both.
struct Payload {
  static constexpr std::uint64_t spice(std::uint64_t stamp) { return (stamp ^ stamp >> 29) * 0x9E3779B97F4A7C15u; }

  static void fill(std::span<std::byte> out, std::uint64_t life, std::uint64_t sequence) {
    const std::uint64_t stamp = life << 32 | sequence;
    const std::uint64_t words = out.size() / 8;
    for (std::uint64_t i = 0; i < words; ++i) {
      const std::uint64_t word = i == 0 ? stamp : i == 1 ? words : spice(stamp) + i;
      std::memcpy(out.data() + i * 8, &word, 8);
    }
  }

  /// The stamp; 0 when the bytes are not exactly what one fill() left.
  static std::uint64_t check(const std::byte* data, std::size_t size) {
    const auto word = [&](std::size_t i) {
      std::uint64_t value;
      std::memcpy(&value, data + i * 8, 8);
      return value;
    };
    if (size < 16 || size % 8 != 0 || word(1) != size / 8) return 0;
    const std::uint64_t stamp = word(0);
    for (std::size_t i = 2; i < size / 8; ++i)
      if (word(i) != spice(stamp) + i) return 0;
    return stamp;
  }
};

}  // namespace towpath::test
