// A partitioner answers a PartitionRequest with a number.
#include <towpath/towpath.hpp>

struct First {
#ifdef TOWPATH_MUST_FAIL
  std::string operator()(const towpath::PartitionRequest&) { return "first"; }
#else
  std::int32_t operator()(const towpath::PartitionRequest&) { return 0; }
#endif
};

void produce(towpath::Topic<int>& topic) { towpath::Producer producer{topic, First{}}; }
