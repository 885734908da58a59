#include <doctest/doctest.h>

#include <towpath/core/bytes.hpp>

#include <array>
#include <string>
#include <type_traits>
#include <vector>

using towpath::Bytes;

TEST_CASE("bytes made from text, a span, a vector or a pointer look at the same memory") {
  const std::string text = "abc";
  const Bytes from_text{std::string_view{text}};
  CHECK(static_cast<const void*>(from_text.data()) == text.data());
  CHECK(from_text.size() == 3);
  CHECK(from_text.text() == "abc");

  const std::vector<std::byte> vector(5, std::byte{7});
  CHECK(Bytes{vector}.data() == vector.data());
  CHECK(Bytes{vector}.size() == 5);
  const std::span<const std::byte> span{vector};
  CHECK(Bytes{span}.data() == vector.data());
  CHECK(Bytes{span}.span().size() == 5);
  CHECK(Bytes{vector.data(), 2}.size() == 2);
}

TEST_CASE("bytes are equal when their contents are, wherever they lie") {
  const std::string one = "same";
  const std::string other = "same";
  CHECK(Bytes{std::string_view{one}} == Bytes{std::string_view{other}});
  CHECK_FALSE(Bytes{std::string_view{"same"}} == Bytes{std::string_view{"samf"}});
  CHECK_FALSE(Bytes{std::string_view{"same"}} == Bytes{std::string_view{"sam"}});
}

TEST_CASE("empty bytes are empty, equal each other, and iterate over nothing") {
  const Bytes none;
  CHECK(none.empty());
  CHECK(none.data() == nullptr);
  CHECK(none == Bytes{std::string_view{""}});
  CHECK_FALSE(none == Bytes{std::string_view{"x"}});
  for ([[maybe_unused]] const std::byte byte : none) FAIL("nothing to see");
  CHECK(none.text().empty());
}

TEST_CASE("bytes keep zeros in the middle") {
  const std::string_view text{"a\0b", 3};
  const Bytes bytes{text};
  CHECK(bytes.size() == 3);
  CHECK(bytes.text() == text);
  std::size_t sum = 0;
  for (const std::byte byte : bytes) sum += std::to_integer<std::size_t>(byte);
  CHECK(sum == std::size_t{'a'} + 'b');
}

static_assert(std::is_trivially_copyable_v<Bytes>, "passed by value");
static_assert(std::is_convertible_v<std::string_view, Bytes>);
static_assert(!std::is_convertible_v<int, Bytes>);
static_assert(!std::is_constructible_v<Bytes, std::span<const int>>, "only bytes are bytes");
