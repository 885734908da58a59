// Values as CBOR (RFC 8949): JSON's values in fewer bytes, and NaN, infinities and json::binary beside them.
//   towpath::Topic<Plan, towpath::CborSerde<Plan>> plans{bus, "plans"};
// For the same types, with the same calls and errors as JsonSerde: see adapters/json.hpp. Keys of maps
// must be texts; tags are refused, and so is json::binary with a subtype, which CBOR writes as a tag.
// Thread-safe, and nothing to be left by a crash. Brings nlohmann-json 3.10 or newer (CMake: towpath::json).
#pragma once

#include <optional>

#include <towpath/adapters/json_serde.hpp>

namespace towpath::inline TOWPATH_ABI {

namespace detail {

/// Where a text or bytes of unknown length holds something else than plain pieces of its kind, which nlohmann's parser
/// follows down until the stack ends. Heads stand one behind the other, so no nesting is followed here; what else is
/// wrong the parser finds.
inline std::optional<std::size_t> nested_piece(Bytes bytes) noexcept {
  const auto byte = [&](std::size_t at) { return std::to_integer<unsigned>(bytes.data()[at]); };
  unsigned pieces_of = 0;  // the major type of what stands in pieces; 0: nothing does
  for (std::size_t at = 0; at < bytes.size();) {
    const unsigned major = byte(at) >> 5;
    const unsigned low = byte(at) & 31u;
    const bool ends = byte(at) == 0xFF;
    if (pieces_of != 0 && !ends && (major != pieces_of || low == 31)) return at;
    if (ends || (low == 31 && (major == 2 || major == 3))) pieces_of = ends ? 0 : major;
    if (low > 27 && low < 31) return std::nullopt;
    const std::size_t more = low < 24 || low == 31 ? 0 : std::size_t{1} << (low - 24);
    if (bytes.size() - at <= more) return std::nullopt;
    std::uint64_t argument = low;
    for (std::size_t i = 1; i <= more; ++i) argument = (i == 1 ? 0 : argument << 8) | byte(at + i);
    at += 1 + more;
    if ((major != 2 && major != 3) || low == 31) continue;
    if (argument > bytes.size() - at) return std::nullopt;
    at += static_cast<std::size_t>(argument);
  }
  return std::nullopt;
}

struct CborFormat {
  static constexpr std::string_view name = "cbor";
  static constexpr const char* malformed = "the bytes are no CBOR; CborSerde<T>::explain(bytes) says where";
  static constexpr JsonLimits limits{.has_nan = true, .has_bytes = true};
  static constexpr auto input = nlohmann::json::input_format_t::cbor;

  static constexpr bool trusts_its_look = true;

  static JsonProblem look_before_reading(Bytes bytes) {
    const auto at = nested_piece(bytes);
    if (!at) return {};
    return {malformed, {}, "a text or bytes in pieces, and no plain piece at " + std::to_string(*at)};
  }
  static std::string to(const nlohmann::json& value) {
    std::string text;
    nlohmann::json::to_cbor(value, text);
    return text;
  }
};

}  // namespace detail

/// For the second argument of Topic, Producer and Consumer.
template <class T>
struct CborSerde : detail::NlohmannSerde<T, detail::CborFormat> {};

static_assert(DecodingSerde<CborSerde<int>, int> && PreparingSerde<CborSerde<int>, int>);

}  // namespace towpath::inline TOWPATH_ABI
