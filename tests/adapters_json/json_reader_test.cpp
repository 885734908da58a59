#include <adapters_json/json_support.hpp>

using namespace towpath;
using namespace towpath::test;

namespace {

std::string no_json(std::string_view bytes) { return refused_by<JsonSerde<nlohmann::json>>(bytes); }
bool is_json(std::string_view bytes) {
  const bool decoded = JsonSerde<nlohmann::json>::decode(bytes).has_value();
  CHECK(decoded == JsonSerde<nlohmann::json>::explain(bytes).empty());
  return decoded;
}

}  // namespace

TEST_CASE("only whole JSON documents are values") {
  CHECK(no_json("") == "no bytes at all");
  CHECK(no_json(" ").find("unexpected end of input") != std::string::npos);
  CHECK(no_json("{").find("unexpected end of input") != std::string::npos);
  CHECK(no_json("1 2").find("expected end of input") != std::string::npos);
  CHECK(no_json("{} // a comment") != "");
  CHECK(no_json("NaN") != "");
  CHECK(no_json(std::string_view{"1\0 2", 4}) == "a byte 0 at 1");
  CHECK(no_json("[1, 1e999]").find("number overflow") != std::string::npos);
  CHECK(no_json("{\"a\": [0, {\"b\": nul}]}").starts_with("/a/1/b: parse error at line 1, column"));
  CHECK(is_json(" [1, -2.5e3, \"\\u20ac\", null, true] "));
  CHECK(is_json("\xEF\xBB\xBF{}"));  // a byte order mark, which nlohmann skips
}

TEST_CASE("a key that stands twice is refused, however deep; the same key in two objects is fine") {
  CHECK(no_json("{\"a\": 1, \"b\": 2, \"a\": 1}") == "/a: the key stands twice");
  CHECK(no_json("[{}, {\"p\": {\"x\": 1, \"\\u0078\": 2}}]") == "/1/p/x: the key stands twice");
  CHECK(is_json("{\"a\": {\"a\": 1}, \"b\": [{\"a\": 1}, {\"a\": 1}]}"));
}

TEST_CASE("128 levels are read and 129 are not, and a bomb of brackets does no harm") {
  CHECK(is_json(std::string(128, '[') + std::string(128, ']')));
  CHECK(no_json(std::string(129, '[') + std::string(129, ']')).ends_with("nested deeper than 128 levels"));
  CHECK(no_json(std::string(1'000'000, '[')).ends_with("nested deeper than 128 levels"));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  CHECK(no_json(objects).starts_with("/a/a/a/"));
}

TEST_CASE("texts and keys are UTF-8: no overlong form, no surrogate, nothing cut short") {
  using detail::is_utf8;
  for (const char* good : {"", "a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "x\xE2\x82\xACy"})
    CHECK(is_utf8(good));
  for (const char* bad :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2x", "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "ok\xE2\x82"})
    CHECK_FALSE(is_utf8(bad));
  CHECK(no_json("[\"\xC3(\"]").find("ill-formed UTF-8") != std::string::npos);
}

TEST_CASE("what an explanation quotes is fit for a terminal") {
  const auto said = no_json("{\"\x1b[31m\": 1}");
  CHECK(said.find('\x1b') == std::string::npos);
  CHECK(no_json("{\"a\\u001b\": 1, \"a\\u001b\": 2}") == "/a?: the key stands twice");
  CHECK(detail::printable("a\x7F\xC3\xA9\n") == "a?\xC3\xA9?");
  CHECK(detail::printable("a\xC3") == "a?");
}

TEST_CASE("a pointer's steps are escaped as RFC 6901 has it") {
  CHECK(detail::pointer_step(std::string_view{"a/b~c"}) == "/a~1b~0c");
  CHECK(detail::pointer_step(std::size_t{12}) == "/12");
}
