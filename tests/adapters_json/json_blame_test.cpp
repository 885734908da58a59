#include <adapters_json/json_support.hpp>

#include <array>
#include <optional>

using namespace towpath;
using namespace towpath::test;

namespace towpath::test {

/// Reads a field that may be missing before one that may not.
struct Lenient {
  double first = 0;
  int second = 0;
};
inline void to_json(nlohmann::json& json, const Lenient& value) {
  json = {{"first", value.first}, {"second", value.second}};
}
inline void from_json(const nlohmann::json& json, Lenient& value) {
  value.first = json.value("first", 1.0);
  value.second = json.at("second").get<int>();
}

struct Thrower {};
inline void to_json(nlohmann::json& json, const Thrower&) { json = 1; }
inline void from_json(const nlohmann::json&, Thrower&) { throw 5; }

}  // namespace towpath::test

namespace {

template <class T>
std::string blame(const char* json) {
  return refused_by<JsonSerde<T>>(std::string_view{json});
}

}  // namespace

TEST_CASE("the field of another type is named, not the others of that kind") {
  const char* route = R"({"goal": "a", "pose": {"x": "b", "y": 1}, "waypoints": [], "counts": {}})";
  CHECK(blame<Route>(route) == "/pose/x: number expected, string found");
  CHECK(blame<Route>(R"({"goal": 1, "pose": {"x": 1, "y": 1}, "waypoints": [], "counts": {}})") ==
        "/goal: string expected, number found");
  CHECK(blame<Route>(R"({"goal": "", "pose": {"x": 1, "y": 1}, "waypoints": [{"x": 1, "y": 2}, {"x": 1, "y": null}],
                         "counts": {}})") == "/waypoints/1/y: number expected, null found");
  CHECK(blame<Route>(R"({"goal": "", "pose": {"x": 1, "y": 1}, "waypoints": {}, "counts": {}})") ==
        "/waypoints: array expected, object found");
  CHECK(blame<Route>(R"({"goal": "", "pose": {"x": 1, "y": 1}, "waypoints": [], "counts": {"a": 1, "b/c": []}})") ==
        "/counts/b~1c: number expected, array found");
  CHECK(blame<Route>(R"({"goal": "", "pose": [1, 2], "waypoints": [], "counts": {}})") ==
        "/pose: object or array expected, array found");
  CHECK(blame<Route>("[1]") == "object or array expected, array found");
  CHECK(blame<std::vector<std::string>>(R"(["a", true])") == "/1: string expected, boolean found");
}

TEST_CASE("the object that lacks a field is named, and the field") {
  CHECK(blame<Route>("{}") == "the field 'goal' is missing");
  CHECK(blame<std::vector<Place>>(R"([{"x": 1, "y": 1}, {"x": 1}])") == "/1: the field 'y' is missing");
  CHECK(blame<Lenient>("{}") == "the field 'second' is missing");
  CHECK(blame<Lenient>(R"({"first": "a", "second": 1})") == "/first: number expected, string found");
  CHECK(blame<Lenient>("5") == "object expected, number found");
}

TEST_CASE("an array that is too short is named, and the element") {
  using Pairs = std::vector<std::array<int, 2>>;
  CHECK(blame<Pairs>("[[1, 2], [3]]") == "/1: element 1 is missing");
}

TEST_CASE("what a user's from_json throws is said, with no field; an exception of no known type is no crash") {
  CHECK(blame<Counted>(R"({"number": 101})") == "no number above a hundred");
  CHECK(blame<Thrower>("1") == "an exception of an unknown type");
  CHECK(std::string_view{JsonSerde<Counted>::decode(R"({"number": 101})").error().detail}.find("from_json threw") == 0);
}

TEST_CASE("a field of the outer object is found although thousands of the same kind stand deeper before it") {
  nlohmann::json route = a_route();
  for (int i = 0; i < 20'000; ++i) route["counts"][std::to_string(i)] = i;
  route["goal"] = 5;
  CHECK(JsonSerde<Route>::explain(route.dump()) == "/goal: string expected, number found");
}

TEST_CASE("a large document is explained in bounded time, with a place or without") {
  nlohmann::json places = nlohmann::json::array();
  for (int i = 0; i < 20'000; ++i) places.push_back({{"x", i}, {"y", i}});
  places.push_back({{"x", "wrong"}, {"y", 1}});
  CHECK(JsonSerde<std::vector<Place>>::explain(places.dump()) == "/20000/x: number expected, string found");
  for (auto& place : places) place = {{"x", 1}, {"name", "n"}};
  const auto said = JsonSerde<std::vector<Place>>::explain(places.dump());
  CHECK(said == "/0: the field 'y' is missing");
}
