#include <doctest/doctest.h>

#include <towpath/core/result.hpp>

#include <support/support.hpp>

#include <csignal>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

using namespace towpath;
using namespace towpath::test;

namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return Failure{Errc::invalid_argument, "odd"};
  return n / 2;
}

Result<void> only_positive(int n) {
  if (n <= 0) return Errc::invalid_argument;
  return {};
}

Result<std::vector<int>> three() { return std::vector{1, 2, 3}; }

}  // namespace

// Without exceptions value() calls TOWPATH_FAIL, which aborts unless the user says otherwise.
TOWPATH_ROLE("value_of_a_failure") {
  [[maybe_unused]] const int value = half(3).value();
  return 0;
}

TEST_CASE("a result is a value or a failure, and says which") {
  const auto good = half(4);
  CHECK(good);
  CHECK(good.has_value());
  CHECK(*good == 2);
  CHECK(good.error() == Errc::ok);

  const auto bad = half(3);
  CHECK_FALSE(bad);
  CHECK(bad.error() == Errc::invalid_argument);
  CHECK(std::string{bad.error().detail} == "odd");
}

TEST_CASE("a result of nothing says only whether it went well") {
  CHECK(only_positive(1));
  CHECK(only_positive(1).error() == Errc::ok);
  CHECK_FALSE(only_positive(0));
  CHECK(only_positive(0).error() == Errc::invalid_argument);
  CHECK(std::string{only_positive(0).error().detail}.empty());
  only_positive(0).ignore();
}

TEST_CASE("a loop over a temporary result's value does not dangle") {
  int sum = 0;
  for (const int n : three().value()) sum += n;
  for (const int n : *three()) sum += n;
  CHECK(sum == 12);
  static_assert(std::is_same_v<decltype(three().value()), std::vector<int>>, "not a reference into a temporary");
  static_assert(std::is_same_v<decltype(*three()), std::vector<int>>, "not a reference into a temporary");
}

TEST_CASE("a value that can only be moved gets out whole") {
  auto made = Result<std::unique_ptr<int>>{std::make_unique<int>(5)};
  CHECK(**made == 5);
  const auto taken = std::move(made).value();
  CHECK(*taken == 5);
  auto again = Result<std::unique_ptr<int>>{std::make_unique<int>(6)};
  const std::unique_ptr<int> moved = *std::move(again);
  CHECK(*moved == 6);
}

TEST_CASE("an arrow reaches into the value") {
  Result<std::string> text{std::string{"abc"}};
  CHECK(text->size() == 3);
  text->push_back('d');
  CHECK(*text == "abcd");
}

TEST_CASE("failures are compared by code, not by detail") {
  CHECK(Failure{Errc::busy, "one"} == Failure{Errc::busy, "other"});
  CHECK_FALSE(Failure{Errc::busy} == Failure{Errc::fenced});
  CHECK(Failure{Errc::busy, "one"} == Errc::busy);
}

TEST_CASE("value() of a failure does not come back") {
#if TOWPATH_EXCEPTIONS
  try {
    [[maybe_unused]] const int value = half(3).value();
    FAIL("came back");
  } catch (const Error& error) {
    CHECK(error.code() == Errc::invalid_argument);
    CHECK(error.failure() == Failure{Errc::invalid_argument});
    CHECK(std::string{error.what()} == "invalid_argument: " + std::string{message(Errc::invalid_argument)} + " (odd)");
  }
  const auto kept = half(3);
  CHECK_THROWS_AS([[maybe_unused]] const int value = kept.value(), Error);
  CHECK_THROWS_AS(only_positive(0).value(), Error);
#else
  CHECK(spawn("value_of_a_failure").wait(10s) == ExitStatus{-1, SIGABRT});
#endif
  only_positive(1).value();
  CHECK(half(8).value() == 4);
}

#if TOWPATH_EXCEPTIONS
TEST_CASE(
    "an error without a detail says code and message, one with a long detail is cut, and it is a std::exception") {
  const Error error{Failure{Errc::no_space}};
  const std::exception& base = error;
  CHECK(std::string{base.what()} == "no_space: " + std::string{message(Errc::no_space)});
  static const std::string detail(1'000, 'x');
  const Error cut{Failure{Errc::no_space, detail.c_str()}};
  CHECK(std::string_view{cut.what()}.size() == 255);
}
#endif

static_assert(!std::is_convertible_v<Result<int>, bool>, "only where a condition is asked for");
static_assert(!std::is_convertible_v<Result<int>, int>);
static_assert(std::is_nothrow_move_constructible_v<Result<int>>);
