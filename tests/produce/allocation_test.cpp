// Counts every call of the allocator, in this program's own malloc.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>

#include <towpath/towpath.hpp>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 1
#endif

namespace {
thread_local std::uint64_t allocations = 0;  // of this thread: the maintenance thread may do as it likes
}

#if COUNTS_ALLOCATIONS
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* malloc(std::size_t size) { return ++allocations, __libc_malloc(size); }
void* calloc(std::size_t count, std::size_t size) { return ++allocations, __libc_calloc(count, size); }
void* realloc(void* at, std::size_t size) { return ++allocations, __libc_realloc(at, size); }
}
#endif

using namespace towpath;

namespace {

struct Pose {
  double x, y, heading;
};

/// Fills small segments, until the one that is written to has room for all that the test sends.
void reach_large_segment(Producer<Pose>& producer, const Partition<Pose>& partition) {
  while (partition.counters().rolls < 4) producer.send({}).value();
  CHECK(partition.bytes() >= std::uint64_t{64} << 20);
}

}  // namespace

TEST_CASE("sending and polling a struct allocates nothing") {
  if (!COUNTS_ALLOCATIONS) {
    MESSAGE("skipped: the sanitizer has an allocator of its own");
    return;
  }
  auto before = allocations;
  void* volatile kept = std::malloc(1);
  std::free(kept);
  REQUIRE(allocations == before + 1);  // it does count

  Bus bus;
  Topic<Pose> topic{bus, "pose"};
  Producer producer{topic};
  const auto partition = Partition<Pose>::open(topic, {0}).value();
  reach_large_segment(producer, partition);
  Consumer consumer{topic};
  producer.send({}).value();
  CHECK(consumer.poll(std::chrono::seconds{5}).size() == 1);

  constexpr int rounds = 100'000;
  const auto rolls = partition.counters().rolls;
  double sum = 0;
  int read = 0;
  before = allocations;
  for (int i = 0; i < rounds; ++i) {
    if (i % 3 == 0) {
      auto loan = producer.loan({.key = std::int64_t{i}});
      loan->operator*() = {1.0, 0, 0};
      producer.send(std::move(*loan)).ignore();
    } else {
      producer.send({1.0, 0, 0}).ignore();
    }
    for (const auto& record : consumer.poll(Duration::zero())) sum += record.value().x, ++read;
  }
  const auto after = allocations;
  for (const auto& record : consumer.poll(Duration::zero())) sum += record.value().x, ++read;
  CHECK(partition.counters().rolls == rolls);  // all within one segment
  CHECK(after == before);
  CHECK(read + 0.0 == sum);
  CHECK(read == rounds);
}
