#include <doctest/doctest.h>

#include <towpath/core/errc.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

using towpath::Errc;

namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file{path};
  return {std::istreambuf_iterator<char>{file}, {}};
}

const std::filesystem::path root = std::filesystem::path{TOWPATH_TEST_SOURCE_DIR}.parent_path();

// The enumerators as the header spells them, in order: the only list that cannot forget one.
std::vector<std::string> enumerators() {
  const std::string text = text_of(root / "include/towpath/core/errc.hpp");
  const auto begin = text.find('{', text.find("enum class Errc"));
  std::istringstream lines{text.substr(begin + 1, text.find("};", begin) - begin)};
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find_first_not_of(' ');
    if (first == std::string::npos || line[first] == '/') continue;
    const auto name = line.substr(first, line.find_first_of(", =/", first) - first);
    if (!name.empty() && name.front() != '}') names.push_back(name);
  }
  return names;
}

}  // namespace

TEST_CASE("every code's name is the enumerator itself, none is left out") {
  const auto names = enumerators();
  REQUIRE(names.size() >= 35);
  CHECK(names.front() == "ok");
  CHECK(names.size() == std::size(towpath::detail::errc_texts));
  for (std::size_t i = 0; i < names.size(); ++i) CHECK(std::string{towpath::name(static_cast<Errc>(i))} == names[i]);
}

TEST_CASE("every code has a message of its own that is a short sentence") {
  std::set<std::string_view> seen;
  for (const auto& text : towpath::detail::errc_texts) {
    CAPTURE(text.name);
    const auto message = towpath::message(text.code);
    CHECK(message.size() > 5);
    CHECK(message.size() < 100);
    CHECK(message.find('\n') == std::string_view::npos);
    CHECK(seen.insert(message).second);
    CHECK(message.data()[message.size()] == '\0');  // Error::what() hands it out as a C string
  }
}

TEST_CASE("a number that is no code has neither name nor message of another") {
  const auto beyond = static_cast<Errc>(std::size(towpath::detail::errc_texts));
  CHECK(towpath::name(beyond) == "unknown");
  CHECK(towpath::message(beyond) == "an unknown code");
  CHECK(towpath::name(static_cast<Errc>(-1)) == "unknown");
}

TEST_CASE("docs/errors.md speaks of every code") {
  const auto path = root / "docs/errors.md";
  REQUIRE(std::filesystem::exists(path));
  const std::string text = text_of(path);
  for (const auto& name : enumerators())
    if (name != "ok") CHECK_MESSAGE(text.find('`' + name + '`') != std::string::npos, "no line for ", name);
}

static_assert(towpath::name(Errc::fenced) == "fenced", "usable at compile time");
