// Whether what a topic remembers of its value type is what a process asks for, and what differs, field by field.
// Stateless, so thread-safe.
#pragma once

#include <array>
#include <string>

#include <towpath/core/result.hpp>
#include <towpath/topic/config_text.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// Bit i of a set of differences stands for field i.
inline constexpr std::array<std::string_view, 4> schema_fields{"encoding", "size", "alignment", "name"};

/// Which fields differ. None when untyped bytes are asked for: they open any topic, to read and to write. A topic of
/// untyped bytes opens as any type whose values may stand where bytes do; each record is then judged by itself.
inline unsigned schema_differences(const StoredConfig& stored, const Schema& asked) noexcept {
  if (asked.encoding == "bytes") return 0;
  if (stored.encoding == "bytes") return asked.alignment > least_value_alignment ? 4u : 0u;
  return (stored.encoding != asked.encoding ? 1u : 0u) | (stored.type_size != asked.size ? 2u : 0u) |
         (stored.type_alignment != asked.alignment ? 4u : 0u) | (stored.type_name != asked.name ? 8u : 0u);
}

using SchemaSentence = std::array<char, 160>;

/// For each set of differences a sentence that lives for ever: "the topic's values have another size and name; ...".
inline constexpr auto schema_sentences = [] {
  std::array<SchemaSentence, 16> sentences{};
  for (unsigned set = 0; set < sentences.size(); ++set) {
    std::size_t size = 0;
    const auto say = [&](std::string_view text) {
      for (const char c : text) sentences[set][size++] = c;
    };
    say("the topic's values have another ");
    unsigned left = set;
    for (unsigned i = 0; i < schema_fields.size(); ++i) {
      if ((set >> i & 1u) == 0) continue;
      say(schema_fields[i]);
      left &= ~(1u << i);
      if (left != 0) say((left & (left - 1)) == 0 ? " and " : ", ");
    }
    say("; explain_type_mismatch<T>(bus, topic) says which");
  }
  return sentences;
}();

/// Errors: type_mismatch, with the fields that differ.
inline Result<void> check_schema(const StoredConfig& stored, const Schema& asked) noexcept {
  const unsigned differences = schema_differences(stored, asked);
  if (differences == 0) return {};
  return Failure{Errc::type_mismatch, schema_sentences[differences].data()};
}

/// "size: stored 24, asked 32; name: stored Pose, asked Scan"; empty when nothing differs.
inline std::string explain_schema(const StoredConfig& stored, const Schema& asked) {
  const std::array<std::string, 4> there{stored.encoding, std::to_string(stored.type_size),
                                         std::to_string(stored.type_alignment), stored.type_name};
  const std::array<std::string, 4> here{std::string{asked.encoding}, std::to_string(asked.size),
                                        std::to_string(asked.alignment), std::string{asked.name}};
  const unsigned differences = schema_differences(stored, asked);
  std::string text;
  for (std::size_t i = 0; i < there.size(); ++i) {
    if ((differences >> i & 1u) == 0) continue;
    if (!text.empty()) text += "; ";
    text.append(schema_fields[i]).append(": stored " + there[i] + ", asked " + here[i]);
  }
  return text;
}

}  // namespace towpath::inline TOWPATH_ABI::detail
