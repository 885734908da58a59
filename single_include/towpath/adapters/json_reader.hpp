// Makes a nlohmann::json of bytes that nobody vouches for, and looks at one before it is written: what JSON,
// MessagePack and CBOR share. Stricter than nlohmann's own parser: a depth limit (its readers and writers recurse), no
// key twice, texts in UTF-8, nothing behind the value. Stateless, so thread-safe; whatever is wrong is said with its
// place.
#pragma once

#if !defined(__cpp_exceptions)
#error \
    "towpath/adapters/json.hpp, msgpack.hpp and cbor.hpp need exceptions: nlohmann-json ends the program without them"
#endif

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <towpath/towpath.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// How deep arrays and objects may stand in each other.
inline constexpr std::size_t max_json_depth = 128;
inline constexpr const char* too_deep = "nested deeper than 128 levels";

/// What is wrong with a value, and where: a JSON pointer, "" is the whole.
struct JsonProblem {
  const char* detail = nullptr;  ///< static and general; null: nothing is wrong
  std::string where{};
  std::string what{};

  explicit operator bool() const noexcept { return detail != nullptr; }
  [[nodiscard]] std::string text() const { return !detail || where.empty() ? what : where + ": " + what; }
};

/// One step of a JSON pointer.
inline std::string pointer_step(std::string_view key) {
  std::string step = "/";
  for (const char c : key) step += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return step;
}
inline std::string pointer_step(std::size_t index) { return "/" + std::to_string(index); }

/// No overlong forms, no surrogates, nothing above U+10FFFF.
inline bool is_utf8(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (std::size_t i = 0; i < text.size();) {
    const unsigned first = byte(i);
    const std::size_t length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (length == 0 || first > 0xF4 || text.size() - i < length) return false;
    for (std::size_t k = 1; k < length; ++k)
      if ((byte(i + k) & 0xC0u) != 0x80u) return false;
    const unsigned second = length > 2 ? byte(i + 1) : 0x80;
    const bool fits = (first != 0xE0 || second >= 0xA0) && (first != 0xED || second < 0xA0) &&
                      (first != 0xF0 || second >= 0x90) && (first != 0xF4 || second < 0x90);
    if (!fits) return false;
    i += length;
  }
  return true;
}

/// For messages: a foreign text with what no terminal should get taken out.
inline std::string printable(std::string text) {
  const bool plain = is_utf8(text);
  for (char& c : text)
    if (const auto byte = static_cast<unsigned char>(c); byte < 0x20 || byte == 0x7F || (!plain && byte >= 0x80))
      c = '?';
  return text;
}

/// "[json.exception.type_error.302] type must be ..." without what stands in brackets.
inline std::string_view without_id(std::string_view message) noexcept {
  const auto end = message.find("] ");
  return message.starts_with("[json.exception.") && end != std::string_view::npos ? message.substr(end + 2) : message;
}

/// What nlohmann's parsers call for each part of a document; keeps what it comes to in `root`.
class JsonReader {
 public:
  using Json = nlohmann::json;

  explicit JsonReader(Json& root) noexcept : root_{&root} {}

  /// What was wrong, after the parser returned false.
  [[nodiscard]] JsonProblem& problem() noexcept { return problem_; }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(Json::number_integer_t value) { return add(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return add(value); }
  bool number_float(Json::number_float_t value, const Json::string_t&) { return add(value); }
  bool string(Json::string_t& value) {
    if (!is_utf8(value)) return refuse(place(), "a text is not UTF-8", "the text is not UTF-8");
    return add(std::move(value));
  }
  bool binary(Json::binary_t& value) { return add(std::move(value)); }

  bool start_object(std::size_t) { return open(Json::value_t::object); }
  bool start_array(std::size_t) { return open(Json::value_t::array); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(Json::string_t& key) {
    if (!is_utf8(key)) return refuse(place(open_.size() - 1), "a key is not UTF-8", "a key is not UTF-8");
    const auto [at, is_new] = open_.back()->emplace(std::move(key), nullptr);
    member_ = &*at;
    keys_.back() = &at.key();
    if (!is_new) return refuse(place(), "a key stands twice in one object", "the key stands twice");
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const Json::exception& error) {
    return refuse(place(), "", printable(std::string{without_id(error.what())}));
  }

 private:
  template <class Value>
  bool add(Value&& value) {
    put(Json(std::forward<Value>(value)));
    return true;
  }

  Json* put(Json&& value) {
    if (open_.empty()) return &(*root_ = std::move(value));
    if (open_.back()->is_object()) return &(*member_ = std::move(value));
    open_.back()->push_back(std::move(value));
    return &open_.back()->back();
  }

  bool open(Json::value_t kind) {
    if (open_.size() >= max_json_depth) return refuse(place(), too_deep, too_deep);
    open_.push_back(put(Json(kind)));
    keys_.push_back(nullptr);
    return true;
  }
  bool close() noexcept {
    open_.pop_back(), keys_.pop_back();
    return true;
  }

  /// The value that comes next, seen from the outermost `depth` arrays and objects.
  [[nodiscard]] std::string place(std::size_t depth) const {
    std::string pointer;
    for (std::size_t i = 0; i < depth; ++i) {
      const bool is_array = open_[i]->is_array();
      if (is_array) pointer += pointer_step(open_[i]->size() - (i + 1 < open_.size() ? 1 : 0));
      if (!is_array && keys_[i]) pointer += pointer_step(*keys_[i]);
    }
    return printable(std::move(pointer));
  }
  [[nodiscard]] std::string place() const { return place(open_.size()); }

  bool refuse(std::string where, const char* detail, std::string what) {
    problem_ = {detail, std::move(where), std::move(what)};
    return false;
  }

  Json* root_;
  Json* member_ = nullptr;  // where the next value of the innermost object goes
  std::vector<Json*> open_;
  std::vector<const std::string*> keys_;  // the last key of each open object
  JsonProblem problem_;
};

/// What an encoding cannot hold beside JSON's own values.
struct JsonLimits {
  bool has_nan = false;       ///< NaN and infinities
  bool has_bytes = false;     ///< json::binary
  bool has_subtypes = false;  ///< of json::binary
};

/// Can the value be written and read again? Names the first part that cannot.
inline JsonProblem look_before_writing(const nlohmann::json& value, const JsonLimits& limits, std::size_t depth = 0) {
  const auto refuse = [](const char* what) { return JsonProblem{what, {}, what}; };
  const auto inside = [&](const nlohmann::json& part, auto&& step) {
    auto problem = look_before_writing(part, limits, depth + 1);
    if (problem) problem.where = printable(pointer_step(step)) + problem.where;
    return problem;
  };
  if (value.is_structured() && depth >= max_json_depth) return refuse(too_deep);
  if (value.is_string() && !is_utf8(value.get_ref<const std::string&>())) return refuse("a text is not UTF-8");
  if (value.is_number_float() && !limits.has_nan && !std::isfinite(value.get<double>()))
    return refuse("a number is NaN or infinite, which JSON cannot hold");
  if (value.is_binary() && !limits.has_bytes) return refuse("json::binary has no form in JSON text");
  if (value.is_binary() && !limits.has_subtypes && value.get_binary().has_subtype())
    return refuse("json::binary with a subtype is not read back from CBOR");
  if (value.is_discarded()) return refuse("a discarded json value");
  if (value.is_array())
    for (std::size_t i = 0; i < value.size(); ++i)
      if (auto problem = inside(value[i], i)) return problem;
  if (value.is_object())
    for (const auto& [key, part] : value.get_ref<const nlohmann::json::object_t&>()) {
      if (!is_utf8(key)) return refuse("a key is not UTF-8");
      if (auto problem = inside(part, std::string_view{key})) return problem;
    }
  return {};
}

}  // namespace towpath::inline TOWPATH_ABI::detail
