// What JsonSerde, MsgpackSerde and CborSerde have in common: a value becomes a nlohmann::json, then bytes, and back.
// Include json.hpp, msgpack.hpp or cbor.hpp instead. Stateless, so thread-safe; each value is encoded once per send.
// nlohmann's exceptions end here: send() returns invalid_argument, a poll ends with undecodable.
#pragma once

#include <towpath/adapters/json_blame.hpp>
#include <towpath/towpath.hpp>

namespace towpath::inline TOWPATH_ABI {

/// What nlohmann::json can convert from and to.
template <class T>
concept JsonConvertible = std::same_as<T, nlohmann::json> ||
    (std::constructible_from<nlohmann::json, const T&>&& requires(const nlohmann::json& json) { json.get<T>(); });

/// The bytes of one encoded value, owned. As a key:  {.key = JsonSerde<Robot>::key(robot).value()}
class EncodedJson {
 public:
  explicit EncodedJson(std::string text) noexcept : text_{std::move(text)} {}

  /// Valid while this is.
  [[nodiscard]] Bytes bytes() const noexcept { return {text_}; }
  /// A view: keep this until send() returned.
  operator Key() const noexcept { return {bytes()}; }

 private:
  std::string text_;
};

namespace detail {

/// Format: name, malformed, limits, input, look_before_reading(bytes) for what nlohmann's parser would not find, and
/// trusts_its_look if the parser must see the same bytes; to(json).
template <class T, class Format>
struct NlohmannSerde {
  static_assert(JsonConvertible<T>,
                "nlohmann::json cannot convert this type: define to_json() and from_json() beside it, or list its "
                "fields with NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Type, fields...)");

  static constexpr std::string_view encoding = Format::name;

  /// All of the value's bytes. Errors: invalid_argument (what the encoding cannot hold, or to_json threw),
  /// out_of_memory.
  static Result<EncodedJson> prepare(const T& value) noexcept {
    try {
      JsonProblem problem;
      auto text = write(value, problem);
      if (problem) return Failure{Errc::invalid_argument, problem.detail};
      return EncodedJson{std::move(text)};
    } catch (const std::bad_alloc&) {
      return Failure{Errc::out_of_memory, "no memory to encode the value"};
    } catch (...) {
      return Failure{Errc::invalid_argument, "to_json threw an exception; explain_value(value) says which"};
    }
  }

  /// The same, to be a record's key: equal values have equal bytes, so they meet in one partition.
  static Result<EncodedJson> key(const T& value) noexcept { return prepare(value); }

  /// For callers that do not know prepare(). Each encodes the whole value; both throw Error where prepare() fails.
  static std::size_t size(const T& value) { return prepare(value).value().bytes().size(); }
  static void encode(const T& value, std::span<std::byte> out) {
    const auto encoded = prepare(value).value();
    if (encoded.bytes().size() != out.size())
      raise({Errc::invalid_argument, "out: its size is not what size(value) said"});
    Serde<Bytes>::encode(encoded.bytes(), out);
  }

  /// Errors: undecodable. The detail is static, so it names no field: explain() does.
  static Result<T> decode(Bytes bytes) noexcept {
    try {
      nlohmann::json document;
      if (const auto problem = read(bytes, document))
        return Failure{Errc::undecodable, *problem.detail ? problem.detail : Format::malformed};
      if constexpr (std::same_as<T, nlohmann::json>)
        return Result<T>{std::move(document)};
      else
        return Result<T>{document.template get<T>()};
    } catch (const nlohmann::json::exception&) {
      return Failure{Errc::undecodable, "a field is missing or of another type; the serde's explain(bytes) names it"};
    } catch (const std::bad_alloc&) {
      return Failure{Errc::undecodable, "no memory to decode the value"};
    } catch (...) {
      return Failure{Errc::undecodable, "from_json threw an exception; the serde's explain(bytes) says which"};
    }
  }

  /// Why decode() refuses the bytes, for people: "/pose/x: number expected, string found". Empty when it takes them.
  /// May convert the document thousands of times, so not for each record. Throws only bad_alloc.
  static std::string explain(Bytes bytes) {
    nlohmann::json document;
    if (const auto problem = read(bytes, document)) return problem.text();
    if constexpr (std::same_as<T, nlohmann::json>)
      return {};
    else
      return JsonBlame<T>{document}.find().text();
  }

  /// Why prepare() refuses the value: "/pose/x: a number is NaN or infinite, ...". Empty when it takes it.
  static std::string explain_value(const T& value) {
    try {
      JsonProblem problem;
      static_cast<void>(write(value, problem));
      return problem.text();
    } catch (const std::exception& error) {
      return "to_json threw: " + printable(std::string{without_id(error.what())});
    } catch (...) {
      return "to_json threw an exception of an unknown type";
    }
  }

 private:
  static std::string write(const T& value, JsonProblem& problem) {
    if constexpr (std::same_as<T, nlohmann::json>) {
      problem = look_before_writing(value, Format::limits);
      return problem ? std::string{} : Format::to(value);
    } else {
      const nlohmann::json document(value);
      problem = look_before_writing(document, Format::limits);
      return problem ? std::string{} : Format::to(document);
    }
  }

  static JsonProblem read(Bytes bytes, nlohmann::json& document) {
    if (bytes.empty()) return {"no bytes at all: a value has one at least", {}, "no bytes at all"};
    if constexpr (Format::trusts_its_look) {
      const std::string own{bytes.text()};  // a hostile writer may change the log between the look and the parser
      return parse({own}, document);
    } else {
      return parse(bytes, document);
    }
  }

  static JsonProblem parse(Bytes bytes, nlohmann::json& document) {
    if (auto problem = Format::look_before_reading(bytes)) return problem;
    const auto* begin = bytes.text().data();
    JsonReader reader{document};
    const bool whole = nlohmann::json::sax_parse(begin, begin + bytes.size(), &reader, Format::input, true);
    if (whole) return {};
    if (!reader.problem()) return {"", {}, "the parser gave no reason"};
    return std::move(reader.problem());
  }
};

}  // namespace detail

/// Whatever version of nlohmann-json a process was built with.
template <>
constexpr std::string_view type_name<nlohmann::json>() noexcept {
  return "json";
}

}  // namespace towpath::inline TOWPATH_ABI
