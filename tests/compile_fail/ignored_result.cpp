// A Result that nobody looks at hides an error.
#include <towpath/towpath.hpp>

void send(towpath::Producer<int>& producer) {
#ifdef TOWPATH_MUST_FAIL
  producer.send(1);
#else
  producer.send(1).ignore();
#endif
}
