// An offset is no partition and the other way round.
#include <towpath/towpath.hpp>

void seek(towpath::Consumer<int>& consumer) {
  const towpath::Offset offset{7};
  const towpath::PartitionId partition{0};
#ifdef TOWPATH_MUST_FAIL
  consumer.seek(offset, partition).ignore();
#else
  consumer.seek(partition, offset).ignore();
#endif
}
