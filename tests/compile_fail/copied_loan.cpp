// A loan is one room in the log: it moves, and is sent as a temporary.
#include <towpath/towpath.hpp>

void send(towpath::Producer<double>& producer) {
  auto loan = producer.loan().value();
#ifdef TOWPATH_MUST_FAIL
  producer.send(loan).ignore();
#else
  producer.send(std::move(loan)).ignore();
#endif
}
