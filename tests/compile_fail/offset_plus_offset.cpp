// Offsets have a distance, but no sum; and a partition cannot be added to one.
#include <towpath/towpath.hpp>

auto far(towpath::Offset offset, towpath::PartitionId partition) {
#ifdef TOWPATH_MUST_FAIL
  return offset + partition;
#else
  return offset + partition.value;
#endif
}
