#include <doctest/doctest.h>

#include <towpath/core/formatters.hpp>

using namespace towpath;

TEST_CASE("ids print as their numbers and take a number's format") {
  CHECK(fmt::format("{}", Offset{42}) == "42");
  CHECK(fmt::format("{:>5}|{:05}", Offset{7}, Offset{7}) == "    7|00007");
  CHECK(fmt::format("{}", PartitionId{3}) == "3");
  CHECK(fmt::format("{}", LeaderEpoch{-1}) == "-1");
  CHECK(fmt::format("{}", TopicPartition{"pose", {7}}) == "pose-7");
  CHECK(fmt::format("{}", Offset{std::int64_t{1} << 48}) == "281474976710656");
}

TEST_CASE("bytes print as text, what is not printable escaped, the rest after 64 cut") {
  CHECK(fmt::format("{}", Bytes{"ab c"}) == "ab c");
  CHECK(fmt::format("{}", Bytes{std::string_view{"a\\\n\xff", 4}}) == "a\\x5c\\x0a\\xff");
  CHECK(fmt::format("{}", Bytes{}) == "");
  CHECK(fmt::format("{}", Bytes{std::string(70, 'x')}) == std::string(64, 'x') + "... (70 B)");
}

TEST_CASE("a code prints its name") {
  CHECK(fmt::format("{}", Errc::message_too_large) == "message_too_large");
  CHECK(fmt::format("{:>8}", Errc::fenced) == "  fenced");
}

TEST_CASE("a failure prints name, message and, only if there is one, the detail") {
  const auto message = std::string{towpath::message(Errc::busy)};
  CHECK(fmt::format("{}", Failure{Errc::busy, "role"}) == "busy: " + message + " (role)");
  CHECK(fmt::format("{}", Failure{Errc::busy}) == "busy: " + message);
}
