#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <towpath/core/pattern.hpp>

using namespace towpath;

namespace {

bool is_found(const char* pattern, const char* name) {
  const auto compiled = Pattern::compile(pattern);
  REQUIRE_MESSAGE(compiled.has_value(), pattern);
  return compiled->matches(name);
}

std::string repeated(const char* text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

/// depth times in parentheses, each followed by `behind`
std::string nested(const std::string& inside, const char* behind, int depth) {
  std::string all = inside;
  for (int i = 0; i < depth; ++i) all = "(" + all + ")" + behind;
  return all;
}

}  // namespace

TEST_CASE("a pattern is found anywhere in a name, unless it is anchored") {
  CHECK(is_found("my", "my.topic"));
  CHECK(is_found("my", "not.my.topic"));
  CHECK(is_found("^my", "my.topic"));
  CHECK_FALSE(is_found("^my", "not.my.topic"));
  CHECK_FALSE(is_found("^my$", "my.topic"));
  CHECK(is_found("^my\\.[a-z]+$", "my.topic"));
  CHECK_FALSE(is_found("^my\\.", "my_topic"));
  CHECK(is_found("^(lidar|radar)\\.(front|back)$", "radar.back"));
  CHECK(is_found("[[:digit:]]{2,3}$", "camera-12"));
  CHECK(is_found("[]x]", "ax"));
  CHECK(is_found(".*", "a"));
  CHECK_FALSE(is_found("MY", "my.topic"));
}

TEST_CASE("a pattern that is no regular expression is refused, and it is said why") {
  for (const char* bad : {"[", "[a", "(", "(a", "*a", "+", "a{2,1}", "a{", "{", "\\", "[[:foo:]]", "[z-a]", "a|*b",
                          "a{99999}", "", "(a)\\1", "((a|b)*(a|b)*)*\\1c"}) {
    CAPTURE(std::string{bad});
    const auto refused = Pattern::compile(bad);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error() == Errc::invalid_pattern);
    CHECK(*refused.error().detail != '\0');
    const auto why = Pattern::explain(bad);
    CHECK(why.starts_with("\"" + std::string{bad} + "\": "));
    CHECK(why.size() > std::string{bad}.size() + 6);
  }
  CHECK(Pattern::compile(std::string_view{"a\0b", 3}).error() == Errc::invalid_pattern);
  CHECK(Pattern::explain("^my.*").empty());
}

TEST_CASE("a pattern that would take much memory or time is refused at once") {
  CHECK(Pattern::compile(std::string(Pattern::max_length + 1, 'a')).error() == Errc::invalid_pattern);
  for (const auto& heavy :
       {nested("a", "+", 40), nested("a", "{20}", 5), std::string{"(a|b)*a(a|b){1,30000}c"}, nested("a", "{100,}", 2),
        std::string{"((a{1,255}){1,255}){1,255}"}, std::string{"[a-z]{400}(x{2}){100}"}}) {
    CAPTURE(heavy);
    CHECK(Pattern::compile(heavy).error() == Errc::invalid_pattern);
  }
  // What a parenthesis or a bracket says is not taken for a repetition, nor the other way round.
  CHECK(Pattern::compile(std::string(Pattern::max_weight - 1, 'a')).has_value());
  CHECK(Pattern::compile(repeated("[{9999}+]", 20)).has_value());
  CHECK(Pattern::compile(repeated("[^]{9999}]", 20)).has_value());
  CHECK(Pattern::compile(repeated("\\{\\+", 20)).has_value());
  CHECK(Pattern::compile(nested("a", "*", 100)).has_value());
}

TEST_CASE("a pattern can be moved, and keeps its text") {
  auto first = Pattern::compile("^a").value();
  const auto second = std::move(first);
  CHECK(second.matches("abc"));
  CHECK(second.text() == "^a");
}
