#include "odr.hpp"

int exchange_without_exceptions(int number) { return exchange(number); }
const void* library_without_exceptions() { return library(); }
