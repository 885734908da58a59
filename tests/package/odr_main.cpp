#include "odr.hpp"

#include <cstdio>

int exchange_same(int number);
const void* library_same();
int exchange_without_exceptions(int number);
const void* library_without_exceptions();

int main() {
  const bool all_work = exchange(1) == 1 && exchange_same(2) == 2 && exchange_without_exceptions(3) == 3;
  const bool same_is_same = library() == library_same();
  const bool other_is_other = library() != library_without_exceptions();
  std::printf("work %d, same %d, other %d\n", all_work, same_is_same, other_is_other);
  return all_work && same_is_same && other_is_other ? 0 : 1;
}
