// Appending to a store that keeps what it got: the timed part, and the check afterwards that everything is there.
#pragma once

#include "workload.hpp"

namespace bench {

/// A Store has append(const Payload<N>&), finish(), which ends an open batch, and read_all(see), which calls see for
/// each record in the order of appends. Returns records per second; finish is part of the time.
template <std::size_t N, class Store>
double append_to(Store& store, std::uint64_t count) {
  pin(0);
  auto payload = Payload<N>::pattern();
  const std::uint64_t start = ticks();
  for (std::uint64_t i = 0; i < count; ++i) {
#if defined(BENCH_DROP_RECORD)
    if (i == BENCH_DROP_RECORD) continue;
#endif
    payload.stamp(i);
    store.append(payload);
  }
  store.finish();
  const double result = static_cast<double>(count) / seconds(ticks() - start);
  std::uint64_t next = 0;
  store.read_all([&next](const Payload<N>& stored) { check(stored, next++); });
  if (next != count) fail("the store lost records");
  return result;
}

}  // namespace bench
