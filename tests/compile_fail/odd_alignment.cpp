// A Serde cannot ask for what no record is aligned to.
#include <towpath/towpath.hpp>

struct Reading {
  int value;
};
struct OddSerde {
#ifdef TOWPATH_MUST_FAIL
  static constexpr std::size_t alignment = 3;
#else
  static constexpr std::size_t alignment = 4;
#endif
  static std::size_t size(const Reading&) { return sizeof(int); }
  static void encode(const Reading& reading, std::span<std::byte> out) {
    std::memcpy(out.data(), &reading.value, sizeof(int));
  }
  static towpath::Result<Reading> decode(towpath::Bytes) { return Reading{}; }
};

void open(towpath::Bus& bus) { towpath::Topic<Reading, OddSerde> topic{bus, "topic"}; }
