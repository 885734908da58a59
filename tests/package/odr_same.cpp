#include "odr.hpp"

int exchange_same(int number) { return exchange(number); }
std::string library_same() { return library(); }
