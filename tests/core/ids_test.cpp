#include <doctest/doctest.h>

#include <towpath/core/ids.hpp>

#include <type_traits>
#include <unordered_set>

using namespace towpath;
using namespace towpath::literals;

template <class A, class B>
constexpr bool becomes = std::is_convertible_v<A, B> || std::is_constructible_v<B, A> || std::is_assignable_v<B&, A>;
template <class A, class B>
constexpr bool unrelated = !becomes<A, B> && !becomes<B, A>;
static_assert(unrelated<Offset, PartitionId> && unrelated<Offset, LeaderEpoch> && unrelated<PartitionId, LeaderEpoch>);
static_assert(!std::is_convertible_v<std::int64_t, Offset> && !std::is_convertible_v<Offset, std::int64_t>);
static_assert(!std::is_convertible_v<std::int32_t, PartitionId> && !std::is_convertible_v<PartitionId, std::int32_t>);

template <class A, class B>
concept Comparable = requires(A a, B b) {
  a == b;
};
template <class A, class B>
concept Addable = requires(A a, B b) {
  a + b;
};
static_assert(Comparable<Offset, Offset> && !Comparable<Offset, PartitionId> && !Comparable<PartitionId, LeaderEpoch>);
static_assert(!Comparable<Offset, std::int64_t>, "a number is no offset until somebody says so");
static_assert(Addable<Offset, int> && !Addable<Offset, Offset> && !Addable<PartitionId, int>);
static_assert(std::is_same_v<decltype(Offset{} - Offset{}), std::int64_t>, "a distance is a number");
static_assert(std::is_same_v<decltype(Offset{} - 1), Offset>);

TEST_CASE("offsets move by numbers and their distance is a number") {
  Offset offset{10};
  CHECK(offset + 5 == Offset{15});
  CHECK(offset - 3 == Offset{7});
  CHECK(Offset{15} - offset == 5);
  CHECK(++offset == Offset{11});
  CHECK(offset == Offset{11});
}

TEST_CASE("ids order as their numbers do") {
  CHECK(Offset{1} < Offset{2});
  CHECK(Offset{-1} < Offset{0});
  CHECK(PartitionId{2} > PartitionId{1});
  CHECK(LeaderEpoch{3} != LeaderEpoch{4});
}

TEST_CASE("a partition can be a key of a hash table") {
  const std::unordered_set<PartitionId> seen{{1}, {2}, {1}};
  CHECK(seen.size() == 2);
  CHECK(seen.contains(PartitionId{2}));
}

TEST_CASE("sizes count in powers of two") {
  CHECK(1_KiB == 1024u);
  CHECK(256_KiB == 262'144u);
  CHECK(64_MiB == 67'108'864u);
  CHECK(1_GiB == 1'073'741'824u);
}

TEST_CASE("aligning up changes only what is not aligned") {
  for (const std::uint64_t alignment : {1u, 8u, 64u, 4096u})
    for (std::uint64_t value = 0; value < 200; ++value) {
      const auto up = align_up(value, alignment);
      CHECK(up % alignment == 0);
      CHECK(up >= value);
      CHECK(up - value < alignment);
    }
}
