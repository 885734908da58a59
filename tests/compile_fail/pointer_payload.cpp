// A pointer means nothing in another process.
#include <towpath/towpath.hpp>

void open(towpath::Bus& bus) {
#ifdef TOWPATH_MUST_FAIL
  towpath::Topic<const char*> topic{bus, "topic"};
#else
  towpath::Topic<std::string> topic{bus, "topic"};
#endif
}
