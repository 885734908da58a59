// A Pattern is a POSIX extended regular expression over names of topics, with the meaning that Kafka's C clients give
// it: it is searched for anywhere in the name unless ^ and $ anchor it.
//   auto pattern = Pattern::compile("^my\\.");   if (pattern && pattern->matches("my.topic")) ...
// Bad patterns, and those that would take much memory or time, are refused when they are compiled. Belongs to one
// thread.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <regex.h>

#include <towpath/core/result.hpp>

namespace towpath::inline TOWPATH_ABI {

class Pattern {
 public:
  static constexpr std::size_t max_length = 512;  ///< characters of a pattern
  static constexpr std::size_t max_weight = 500;  ///< its length once repetitions are written out: a{3} is aaa

  /// Errors: invalid_pattern, with a sentence that says why. explain() has the system's own words.
  static Result<Pattern> compile(std::string_view text) {
    if (auto fine = check(text); !fine) return fine.error();
    Compiled compiled{new regex_t};
    if (const int refused = ::regcomp(compiled.get(), std::string{text}.c_str(), flags); refused != 0) {
      delete compiled.release();  // nothing to free in it
      return Failure{Errc::invalid_pattern, detail_of(refused)};
    }
    return Pattern{std::string{text}, std::move(compiled)};
  }

  /// Why `text` is refused, with the text and the system's words in the program's language; "" if it is fine.
  static std::string explain(std::string_view text) {
    if (const auto fine = check(text); !fine) return quote(text, fine.error().detail);
    Compiled compiled{new regex_t};
    const int refused = ::regcomp(compiled.get(), std::string{text}.c_str(), flags);
    if (refused == 0) return {};
    char words[256];
    ::regerror(refused, compiled.get(), words, sizeof words);
    delete compiled.release();
    return quote(text, words);
  }

  [[nodiscard]] bool matches(const std::string& name) const noexcept {
    return ::regexec(compiled_.get(), name.c_str(), 0, nullptr, 0) == 0;
  }

  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  static constexpr int flags = REG_EXTENDED | REG_NOSUB;

  struct Free {
    void operator()(regex_t* compiled) const noexcept {
      ::regfree(compiled);
      delete compiled;
    }
  };
  using Compiled = std::unique_ptr<regex_t, Free>;

  /// A part of a pattern that repetition takes as a whole, and what stands before it in its group.
  struct Group {
    std::size_t before = 0;
    std::size_t last = 0;

    void add(std::size_t weight) noexcept { before = std::min(before + last, max_weight + 1), last = weight; }
    void repeat(std::size_t times) noexcept { last = std::min(last * times, max_weight + 1); }
    [[nodiscard]] std::size_t weight() const noexcept { return std::min(before + last + 1, max_weight + 1); }
  };

  Pattern(std::string text, Compiled compiled) : text_{std::move(text)}, compiled_{std::move(compiled)} {}

  static std::string quote(std::string_view text, const char* why) {
    return "\"" + std::string{text.substr(0, max_length)} + "\": " + why;
  }

  /// What regcomp would take and should not: it writes repetitions out, and references back take exponential time.
  static Result<void> check(std::string_view text) {
    const auto bad = [](const char* why) { return Failure{Errc::invalid_pattern, why}; };
    if (text.empty()) return bad("the pattern is empty; .* is every topic");
    if (text.size() > max_length) return bad("the pattern is longer than 512 characters");
    if (text.find('\0') != text.npos) return bad("the pattern has a zero byte in it");
    std::vector<Group> groups(1);
    for (std::size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (c == '\\' && i + 1 < text.size() && text[i + 1] >= '1' && text[i + 1] <= '9')
        return bad("references back (\\1) are no part of extended regular expressions");
      if (c == '(') {
        groups.emplace_back();
      } else if (c == ')' && groups.size() > 1) {
        const std::size_t inside = groups.back().weight();
        groups.pop_back();
        groups.back().add(inside);
      } else if (c == '+') {
        groups.back().repeat(2);
      } else if (c == '{') {
        groups.back().repeat(times_of(text.substr(i + 1)));
      } else if (c != '*' && c != '?') {
        groups.back().add(1);
        if (c == '[') i = end_of_bracket(text, i);
        if (c == '\\') ++i;
      }
    }
    std::size_t weight = 0;
    for (const auto& group : groups) weight += group.weight();
    if (weight <= max_weight) return {};
    return bad("the pattern is longer than 500 characters once its repetitions are written out");
  }

  /// How often what stands before "{" is written out: the largest number up to "}", one more when it has no end.
  static std::size_t times_of(std::string_view text) noexcept {
    std::size_t most = 0;
    std::size_t number = 0;
    for (const char c : text.substr(0, text.find('}'))) {
      number = c >= '0' && c <= '9' ? std::min(number * 10 + static_cast<std::size_t>(c - '0'), max_weight + 1) : 0;
      most = std::max(most, number);
    }
    return most + 1;
  }

  /// Where the bracket that begins at `from` ends: [^]] and [[:alpha:]] have a ] inside.
  static std::size_t end_of_bracket(std::string_view text, std::size_t from) noexcept {
    std::size_t i = from + 1;
    if (i < text.size() && text[i] == '^') ++i;
    if (i < text.size() && text[i] == ']') ++i;
    for (; i < text.size() && text[i] != ']'; ++i) {
      const char kind = i + 1 < text.size() && text[i] == '[' ? text[i + 1] : ' ';
      if (kind != ':' && kind != '.' && kind != '=') continue;
      const char closing[] = {kind, ']', '\0'};
      const auto end = text.find(closing, i + 2);
      if (end == text.npos) return text.size();
      i = end + 1;
    }
    return i;
  }

  static const char* detail_of(int refused) noexcept {
    switch (refused) {
      case REG_BADBR: return "the numbers in {} are wrong, or too large";
      case REG_BADPAT: return "the pattern makes no sense";
      case REG_BADRPT: return "* + ? or { stands behind nothing that could be repeated";
      case REG_EBRACE: return "a { without its }";
      case REG_EBRACK: return "a [ without its ]";
      case REG_ECOLLATE: return "an unknown character in [. .] or [= =]";
      case REG_ECTYPE: return "an unknown class in [: :]";
      case REG_EESCAPE: return "a \\ at the end";
      case REG_EPAREN: return "a parenthesis without its partner";
      case REG_ERANGE: return "a range in [] ends before it begins";
      case REG_ESPACE: return "the pattern takes too much memory";
      case REG_ESUBREG: return "a reference back to nothing";
      default: return "the system's regcomp refused it";
    }
  }

  std::string text_;
  Compiled compiled_;
};

}  // namespace towpath::inline TOWPATH_ABI
