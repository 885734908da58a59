// Values as MessagePack: JSON's values in fewer bytes, and NaN, infinities and json::binary beside them.
//   towpath::Topic<Plan, towpath::MsgpackSerde<Plan>> plans{bus, "plans"};
// For the same types, with the same calls and errors as JsonSerde: see adapters/json.hpp. Keys of maps must be texts.
// Thread-safe, and nothing to be left by a crash. Brings nlohmann-json 3.10 or newer (CMake: towpath::json).
#pragma once

#include <towpath/adapters/json_serde.hpp>

namespace towpath::inline TOWPATH_ABI {

namespace detail {

struct MsgpackFormat {
  static constexpr std::string_view name = "msgpack";
  static constexpr const char* malformed = "the bytes are no MessagePack; MsgpackSerde<T>::explain(bytes) says where";
  static constexpr JsonLimits limits{.has_nan = true, .has_bytes = true, .has_subtypes = true};
  static constexpr auto input = nlohmann::json::input_format_t::msgpack;

  static constexpr bool trusts_its_look = false;

  static JsonProblem look_before_reading(Bytes) { return {}; }
  static std::string to(const nlohmann::json& value) {
    std::string text;
    nlohmann::json::to_msgpack(value, text);
    return text;
  }
};

}  // namespace detail

/// For the second argument of Topic, Producer and Consumer.
template <class T>
struct MsgpackSerde : detail::NlohmannSerde<T, detail::MsgpackFormat> {};

static_assert(DecodingSerde<MsgpackSerde<int>, int> && PreparingSerde<MsgpackSerde<int>, int>);

}  // namespace towpath::inline TOWPATH_ABI
