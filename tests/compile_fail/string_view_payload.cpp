// A view of somebody's memory is no value.
#include <towpath/towpath.hpp>

void open(towpath::Bus& bus) {
#ifdef TOWPATH_MUST_FAIL
  towpath::Topic<std::string_view> topic{bus, "topic"};
#else
  towpath::Topic<std::string> topic{bus, "topic"};
#endif
}
