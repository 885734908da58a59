// How costs grow with the shape of the work: partitions, topics, consumers, record size, history. Prints the points of
// one shape, shape_<shape>_<size>_<what>; tools/bench --shape says which of them grow faster than their shape.
#include "shape_consumers.hpp"
#include "shape_history.hpp"
#include "shape_partitions.hpp"

int main(int count, char** arguments) {
  using namespace bench;
  return run_main(count, arguments,
                  {{"shape_partitions", shape_partitions},
                   {"shape_topics", shape_topics},
                   {"shape_consumers", shape_consumers},
                   {"shape_size", shape_size},
                   {"shape_history", shape_history},
                   {"shape_history_100gb", shape_history_100gb}});
}
