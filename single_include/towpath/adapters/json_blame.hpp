// Finds the field for which from_json refuses a document. nlohmann's exceptions say what was wrong but not where,
// unless a program is built with JSON_DIAGNOSTICS. So the document is changed, one part at a time, until the complaint
// changes with it. For messages to people: it converts again and again, up to a bound, and names no place when that is
// reached. Stateless, so thread-safe.
#pragma once

#include <algorithm>
#include <array>

#include <towpath/adapters/json_reader.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// Why nlohmann cannot convert the document to T; empty when it can.
template <class T>
std::string complaint_about(const nlohmann::json& document) {
  try {
    static_cast<void>(document.get<T>());
    return {};
  } catch (const std::exception& error) {
    const std::string text{without_id(error.what())};
    return text.empty() ? "an exception without a text" : text;
  } catch (...) {
    return "an exception of an unknown type";
  }
}

/// Looks for the part of a document of which conversion to T complains.
template <class T>
class JsonBlame {
 public:
  using Json = nlohmann::json;

  explicit JsonBlame(const Json& document)
      : document_(document), complaint_{complaint_about<T>(document)}, tries_left_{budget(document)} {}

  /// Nothing if the conversion succeeds.
  JsonProblem find() {
    if (complaint_.empty()) return {};
    JsonProblem problem{"a field is missing or of another type", {}, complaint_};
    if (complaint_.starts_with('(')) {  // JSON_DIAGNOSTICS: "(/pose/x) type must be number, but is string"
      const auto end = complaint_.find(") ");
      if (end != std::string::npos) {
        problem.where = complaint_.substr(1, end - 1);
        problem.what = complaint_ = complaint_.substr(end + 2);
      }
    } else {
      problem.where = place();
    }
    problem.what = printable(in_our_words());
    problem.where = printable(std::move(problem.where));
    return problem;
  }

 private:
  static std::int64_t count_parts(const Json& document) {
    std::int64_t count = 1;
    if (document.is_structured())
      for (const auto& part : document) count += count_parts(part);
    return count;
  }

  /// So many conversions of the whole document: the larger it is, the fewer.
  static std::int64_t budget(const Json& document) {
    return std::clamp<std::int64_t>(4'000'000 / count_parts(document), 64, 4'096);
  }

  /// The outermost parts first: there are fewer of them.
  std::string place() {
    std::string found;
    for (std::size_t depth = 0; depth <= max_json_depth && tries_left_ > 0; ++depth)
      if (visit(document_, depth, {}, found)) break;
    return found;
  }

  /// Looks at the parts that stand `depth` levels inside. True when it is found.
  bool visit(Json& part, std::size_t depth, const std::string& pointer, std::string& found) {
    if (tries_left_ <= 0) return false;
    if (depth == 0) return is_to_blame(part) && (found = pointer, true);
    if (part.is_array())
      for (std::size_t i = 0; i < part.size(); ++i)
        if (visit(part[i], depth - 1, pointer + pointer_step(i), found)) return true;
    if (part.is_object())
      for (auto at = part.begin(); at != part.end(); ++at)
        if (visit(*at, depth - 1, pointer + pointer_step(std::string_view{at.key()}), found)) return true;
    return false;
  }

  bool is_to_blame(Json& part) {
    if (const auto key = between("key '", "' not found"); !key.empty()) return is_missing(part, key);
    if (const auto index = between("array index ", " is out of range"); !index.empty()) return is_too_short(part);
    return is_of_wrong_type(part);
  }

  /// "... but is string": with a null in its place "... but is null" is said, of this part and no other.
  bool is_of_wrong_type(Json& part) {
    const std::string kind = part.type_name();
    if (!complaint_.ends_with(" " + kind)) return false;
    const Json other = part.is_null() ? Json(true) : Json(nullptr);
    const auto expected = complaint_.substr(0, complaint_.size() - kind.size()) + other.type_name();
    return with(part, other) == expected;
  }
  bool is_missing(Json& part, const std::string& key) {
    if (!part.is_object() || part.contains(key)) return false;
    Json whole = part;
    whole[key] = nullptr;
    return with(part, std::move(whole)) != complaint_;
  }
  bool is_too_short(Json& part) {
    if (!part.is_array()) return false;
    Json longer = part;
    longer.push_back(part.empty() ? Json(nullptr) : part.back());
    return with(part, std::move(longer)) != complaint_;
  }

  /// What is complained of with `other` in the place of `part`.
  std::string with(Json& part, Json other) {
    if (--tries_left_ < 0) return complaint_;
    std::swap(part, other);
    auto complaint = complaint_about<T>(document_);
    std::swap(part, other);
    return complaint;
  }

  /// What stands in the complaint between these two; empty if it has another form.
  [[nodiscard]] std::string between(std::string_view before, std::string_view behind) const {
    if (!complaint_.starts_with(before) || !complaint_.ends_with(behind)) return {};
    return complaint_.substr(before.size(), complaint_.size() - before.size() - behind.size());
  }

  [[nodiscard]] std::string in_our_words() const {
    if (const auto key = between("key '", "' not found"); !key.empty()) return "the field '" + key + "' is missing";
    if (const auto index = between("array index ", " is out of range"); !index.empty())
      return "element " + index + " is missing";
    for (const auto& [before, wanted] : wordings) {
      if (!complaint_.starts_with(before)) continue;
      const auto rest = std::string_view{complaint_}.substr(before.size());
      if (!wanted.empty()) return std::string{wanted} + " expected, " + std::string{rest} + " found";
      if (const auto but = rest.find(", but is "); but != std::string_view::npos)
        return std::string{rest.substr(0, but)} + " expected, " + std::string{rest.substr(but + 9)} + " found";
    }
    return complaint_;
  }

  struct Wording {
    std::string_view before;
    std::string_view wanted;  ///< empty: it stands in the message
  };
  static constexpr std::array wordings{Wording{"type must be ", ""},
                                       Wording{"cannot use at() with ", "object or array"},
                                       Wording{"cannot use value() with ", "object"}};

  Json document_;
  std::string complaint_;
  std::int64_t tries_left_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail
