// A Batch that nobody looks at loses its records: the position is behind them.
#include <towpath/towpath.hpp>

void poll(towpath::Consumer<int>& consumer) {
#ifdef TOWPATH_MUST_FAIL
  consumer.poll(std::chrono::seconds{1});
#else
  const auto batch = consumer.poll(std::chrono::seconds{1});
#endif
}
