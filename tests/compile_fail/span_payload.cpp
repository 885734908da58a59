// A span of somebody's memory is no value.
#include <towpath/towpath.hpp>

void open(towpath::Bus& bus) {
#ifdef TOWPATH_MUST_FAIL
  towpath::Topic<std::span<const int>> topic{bus, "topic"};
#else
  towpath::Topic<std::array<int, 4>> topic{bus, "topic"};
#endif
}
