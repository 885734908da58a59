// Records are aligned to 64 bytes at most.
#include <towpath/towpath.hpp>

#ifdef TOWPATH_MUST_FAIL
struct alignas(128) Block {
#else
struct alignas(64) Block {
#endif
  int value;
};

void open(towpath::Bus& bus) { towpath::Topic<Block> topic{bus, "topic"}; }
