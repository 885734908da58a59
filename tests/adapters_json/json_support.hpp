// What the tests of the serdes over nlohmann-json share: types, and bytes that are wrong in some way.
#pragma once

#include <support/support.hpp>

#include <doctest/doctest.h>

#include <towpath/towpath.hpp>

#include <towpath/adapters/cbor.hpp>
#include <towpath/adapters/json.hpp>
#include <towpath/adapters/msgpack.hpp>

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace towpath::test {

struct Place {
  double x = 0, y = 0;
  friend bool operator==(const Place&, const Place&) = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Place, x, y)

struct Route {
  std::string goal;
  Place pose;
  std::vector<Place> waypoints;
  std::map<std::string, int> counts;
  friend bool operator==(const Route&, const Route&) = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Route, goal, pose, waypoints, counts)

inline Route a_route() { return {"d\u00f6ck", {0.5, -1.5}, {{1, 2}, {3, 4.25}}, {{"left", 2}, {"right", -7}}}; }

/// Says how often it was converted, and may throw.
struct Counted {
  int number = 0;
  static inline thread_local int conversions = 0;
};
inline void to_json(nlohmann::json& json, const Counted& value) {
  ++Counted::conversions;
  if (value.number < 0) throw std::runtime_error{"no number below zero"};
  json = {{"number", value.number}};
}
inline void from_json(const nlohmann::json& json, Counted& value) {
  value.number = json.at("number").get<int>();
  if (value.number > 100) throw std::invalid_argument{"no number above a hundred"};
}

template <class S, class T>
std::string encoded_by(const T& value) {
  std::string text(S::size(value), '\0');
  S::encode(value, std::as_writable_bytes(std::span{text}));
  return text;
}

inline nlohmann::json nested(std::size_t depth) {
  nlohmann::json value;
  for (std::size_t i = 0; i < depth; ++i) {
    nlohmann::json outer = nlohmann::json::array();
    outer.push_back(std::move(value));
    value = std::move(outer);
  }
  return value;
}

/// decode() and explain() agree that the bytes are none; returns what explain() says.
template <class S>
std::string refused_by(std::string_view bytes) {
  const auto decoded = S::decode(bytes);
  CHECK(decoded.error() == Errc::undecodable);
  CHECK(std::string_view{decoded.error().detail} != "");
  return S::explain(bytes);
}

}  // namespace towpath::test
