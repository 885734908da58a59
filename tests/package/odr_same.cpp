#include "odr.hpp"

int exchange_same(int number) { return exchange(number); }
const void* library_same() { return library(); }
