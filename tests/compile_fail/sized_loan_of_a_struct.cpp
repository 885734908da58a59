// A struct's size is known; only values of any length are lent by size.
#include <towpath/towpath.hpp>

void lend(towpath::Producer<double>& producer, towpath::Producer<towpath::Bytes>& bytes) {
#ifdef TOWPATH_MUST_FAIL
  producer.loan(std::size_t{8}).ignore();
#endif
  producer.loan().ignore();
  bytes.loan(std::size_t{8}).ignore();
}
