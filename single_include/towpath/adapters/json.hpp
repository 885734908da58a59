// Values as JSON text, for every type that nlohmann::json converts, and for nlohmann::json itself:
//   NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Plan, goal, waypoints)
//   towpath::Topic<Plan, towpath::JsonSerde<Plan>> plans{bus, "plans"};
// or, to make it the type's own encoding (then Topic<Plan> and TopicSpec<Plan> mean it):
//   template <> struct towpath::Serde<Plan> : towpath::JsonSerde<Plan> {};
// Keys: {.key = JsonSerde<Robot>::key(robot).value()}, and record.key_as<Robot, JsonSerde<Robot>>().
// What JSON cannot hold (NaN, texts that are not UTF-8, json::binary, more than 128 levels) is refused by send() with
// invalid_argument. Bytes that are no such value are undecodable; JsonSerde<T>::explain(record bytes) names the field.
// Conversions are nlohmann's: it cuts 1.5 to an int 1 and 300 to a char in silence. Ints above 2^64 become doubles.
// Brings nlohmann-json 3.10 or newer (CMake: towpath::json). Needs exceptions. Stateless: thread-safe, no crash
// left-overs.
#pragma once

#include <towpath/adapters/json_serde.hpp>

namespace towpath::inline TOWPATH_ABI {

namespace detail {

struct JsonFormat {
  static constexpr std::string_view name = "json";
  static constexpr const char* malformed = "the bytes are no JSON; JsonSerde<T>::explain(bytes) says where";
  static constexpr JsonLimits limits{};
  static constexpr auto input = nlohmann::json::input_format_t::json;

  static constexpr bool trusts_its_look = false;

  /// A byte 0 ends the text for nlohmann's parser, and whatever stands behind it would be lost.
  static JsonProblem look_before_reading(Bytes bytes) {
    const auto at = bytes.text().find('\0');
    if (at == std::string_view::npos) return {};
    return {malformed, {}, "a byte 0 at " + std::to_string(at)};
  }
  static std::string to(const nlohmann::json& value) { return value.dump(); }
};

}  // namespace detail

/// For the second argument of Topic, Producer and Consumer.
template <class T>
struct JsonSerde : detail::NlohmannSerde<T, detail::JsonFormat> {};

static_assert(DecodingSerde<JsonSerde<int>, int> && PreparingSerde<JsonSerde<int>, int>);

}  // namespace towpath::inline TOWPATH_ABI
