// Two literals in braces would be two iterators of one std::string.
#include <towpath/towpath.hpp>

void send(towpath::Producer<std::string>& producer) {
#ifdef TOWPATH_MUST_FAIL
  producer.send({"key", "value"}).ignore();
#else
  producer.send("value", {.key = "key"}).ignore();
#endif
}
