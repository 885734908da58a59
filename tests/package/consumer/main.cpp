// A user's program of two files that both include the library.
#include <towpath/towpath.hpp>

#include <cstdio>

int exchange(int number);

int main() {
  std::printf("towpath %s: received %d\n", TOWPATH_VERSION_STRING, exchange(42));
  return towpath::Errc{} == towpath::Errc{} ? 0 : 1;
}
