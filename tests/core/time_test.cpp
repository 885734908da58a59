#include <doctest/doctest.h>

#include <towpath/core/time.hpp>

#include <cstdlib>
#include <type_traits>

using namespace towpath;

static_assert(!std::is_convertible_v<Timestamp, Monotonic> && !std::is_convertible_v<Monotonic, Timestamp>,
              "two clocks, never mixed");
static_assert(std::is_same_v<Timestamp::duration, std::chrono::nanoseconds>);

TEST_CASE("the wall clock is the system's, in nanoseconds since 1970") {
  const Clock clock;
  const auto system = std::chrono::system_clock::now();
  const auto apart = clock.wall() - system;
  CHECK(std::chrono::abs(apart) < std::chrono::seconds{10});
  CHECK(clock.wall().time_since_epoch() > std::chrono::years{50});
}

TEST_CASE("the steady clock never goes back and does move on") {
  const Clock clock;
  const auto begin = clock.steady();
  auto last = begin;
  for (int i = 0; i < 10'000; ++i) {
    const auto now = clock.steady();
    REQUIRE(now >= last);
    last = now;
  }
  CHECK(last > begin);
  CHECK(std::chrono::abs(std::chrono::steady_clock::now() - clock.steady()) < std::chrono::seconds{10});
}

TEST_CASE("a test may set the time") {
  Clock clock;
  clock.wall = []() noexcept { return Timestamp{std::chrono::seconds{1}}; };
  clock.steady = []() noexcept { return Monotonic{std::chrono::seconds{2}}; };
  CHECK(clock.wall() == Timestamp{std::chrono::seconds{1}});
  CHECK(clock.steady() == Monotonic{std::chrono::seconds{2}});
}
