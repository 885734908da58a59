// A Serde without decode (and without accepts and view) can only write.
#include <towpath/towpath.hpp>

struct Reading {
  int value;
};
struct HalfSerde {
  static std::size_t size(const Reading&) { return sizeof(int); }
  static void encode(const Reading& reading, std::span<std::byte> out) {
    std::memcpy(out.data(), &reading.value, sizeof(int));
  }
#ifndef TOWPATH_MUST_FAIL
  static towpath::Result<Reading> decode(towpath::Bytes) { return Reading{}; }
#endif
};

void read(towpath::Bus& bus) {
  towpath::Topic<Reading, HalfSerde> topic{bus, "topic"};
  towpath::Consumer<Reading, HalfSerde> consumer{topic};
}
