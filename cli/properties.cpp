#include "properties.hpp"

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "quit.hpp"
#include "text.hpp"

namespace towpath::cli {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();

template <class Enum>
struct Word {
  std::string_view text;
  Enum value;
};
constexpr Word<DurabilityKind> durabilities[] = {
    {"none", DurabilityKind::none}, {"interval", DurabilityKind::interval}, {"each", DurabilityKind::each}};
constexpr Word<OnFull> on_full_words[] = {
    {"drop_oldest", OnFull::drop_oldest}, {"block", OnFull::block}, {"fail", OnFull::fail}};

template <class Enum, std::size_t N>
std::string word_of(const Word<Enum> (&words)[N], Enum value) {
  const auto* found = std::find_if(words, words + N, [&](const auto& word) { return word.value == value; });
  return found == words + N ? "?" : std::string{found->text};
}
template <class Enum, std::size_t N>
bool set_word(const Word<Enum> (&words)[N], std::string_view text, Enum& value) {
  const auto* found = std::find_if(words, words + N, [&](const auto& word) { return word.text == text; });
  if (found == words + N) return false;
  value = found->value;
  return true;
}

std::optional<std::int64_t> number_in(std::string_view text, std::int64_t lowest, std::int64_t highest) {
  const auto number = parse_number(text);
  return number && *number >= lowest && *number <= highest ? number : std::nullopt;
}
bool set_bytes(std::string_view text, std::int64_t lowest, std::int64_t highest, std::uint64_t& value) {
  const auto number = number_in(text, lowest, highest);
  if (number) value = static_cast<std::uint64_t>(*number);
  return number.has_value();
}
bool set_millis(std::string_view text, std::int64_t highest, Duration& value) {
  const auto number = number_in(text, 1, highest);
  if (number) value = milliseconds{*number};
  return number.has_value();
}
std::string millis_of(Duration time) { return std::to_string(std::chrono::duration_cast<milliseconds>(time).count()); }

struct Property {
  std::string_view name;
  std::string_view rule;
  std::string (*get)(const TopicConfig&);
  bool (*set)(TopicConfig&, std::string_view);  // false: no value of it
  void (*reset)(TopicConfig&, const TopicConfig& usual);
};

constexpr Property properties[] = {
    {"cleanup.policy", "delete", [](const TopicConfig&) { return std::string{"delete"}; },
     [](TopicConfig&, std::string_view text) { return text == "delete"; }, [](TopicConfig&, const TopicConfig&) {}},
    {"retention.bytes", "-1 (unlimited) or above 0",
     [](const TopicConfig& c) {
       return c.retention.bytes == Retention::unlimited ? "-1" : std::to_string(c.retention.bytes);
     },
     [](TopicConfig& c, std::string_view text) {
       if (text == "-1") return c.retention.bytes = Retention::unlimited, true;
       return set_bytes(text, 1, largest, c.retention.bytes);
     },
     [](TopicConfig& c, const TopicConfig& usual) { c.retention.bytes = usual.retention.bytes; }},
    {"retention.ms", "-1 (unlimited) or 1 to 9223372036854",
     [](const TopicConfig& c) { return c.retention.age == Duration::max() ? "-1" : millis_of(c.retention.age); },
     [](TopicConfig& c, std::string_view text) {
       if (text == "-1") return c.retention.age = Duration::max(), true;
       return set_millis(text, largest / 1'000'000, c.retention.age);
     },
     [](TopicConfig& c, const TopicConfig& usual) { c.retention.age = usual.retention.age; }},
    {"segment.bytes", "262144 (256 KiB) to 4294967296 (4 GiB)",
     [](const TopicConfig& c) { return std::to_string(c.segment_bytes); },
     [](TopicConfig& c, std::string_view text) {
       return set_bytes(text, log::first_segment_bytes, log::max_segment_bytes, c.segment_bytes);
     },
     [](TopicConfig& c, const TopicConfig& usual) { c.segment_bytes = usual.segment_bytes; }},
    {"max.message.bytes", "1 to segment.bytes, and below 2 GiB",
     [](const TopicConfig& c) { return std::to_string(c.max_message_bytes); },
     [](TopicConfig& c, std::string_view text) {
       return set_bytes(text, 1, static_cast<std::int64_t>(log::max_record_bytes), c.max_message_bytes);
     },
     [](TopicConfig& c, const TopicConfig& usual) { c.max_message_bytes = usual.max_message_bytes; }},
    {"flush.ms", "1 to 86400000", [](const TopicConfig& c) { return millis_of(c.durability.interval); },
     [](TopicConfig& c, std::string_view text) { return set_millis(text, 86'400'000, c.durability.interval); },
     [](TopicConfig& c, const TopicConfig& usual) { c.durability.interval = usual.durability.interval; }},
    {"towpath.durability", "none, interval or each",
     [](const TopicConfig& c) { return word_of(durabilities, c.durability.kind); },
     [](TopicConfig& c, std::string_view text) { return set_word(durabilities, text, c.durability.kind); },
     [](TopicConfig& c, const TopicConfig& usual) { c.durability.kind = usual.durability.kind; }},
    {"towpath.on.full", "drop_oldest, block or fail",
     [](const TopicConfig& c) { return word_of(on_full_words, c.on_full); },
     [](TopicConfig& c, std::string_view text) { return set_word(on_full_words, text, c.on_full); },
     [](TopicConfig& c, const TopicConfig& usual) { c.on_full = usual.on_full; }},
    {"towpath.readers", "16 names at most, separated by commas, each as a topic's",
     [](const TopicConfig& c) { return std::string{c.readers.text()}; },
     [](TopicConfig& c, std::string_view text) { return (c.readers = ReaderList::of(text)).is_valid(); },
     [](TopicConfig& c, const TopicConfig& usual) { c.readers = usual.readers; }},
    {"towpath.grace.ms", "1 to 3600000", [](const TopicConfig& c) { return millis_of(c.grace); },
     [](TopicConfig& c, std::string_view text) { return set_millis(text, 3'600'000, c.grace); },
     [](TopicConfig& c, const TopicConfig& usual) { c.grace = usual.grace; }},
    {"towpath.record.alignment", "8, 16, 32 or 64; fixed when the topic is made",
     [](const TopicConfig& c) { return std::to_string(c.record_alignment); },
     [](TopicConfig& c, std::string_view text) {
       return (text == "8" || text == "16" || text == "32" || text == "64") &&
              set_bytes(text, 8, 64, c.record_alignment);
     },
     [](TopicConfig& c, const TopicConfig& usual) { c.record_alignment = usual.record_alignment; }},
};

const Property& find_property(std::string_view name) {
  for (const auto& property : properties)
    if (property.name == name) return property;
  std::vector<std::string> names;
  for (const auto& property : properties) names.emplace_back(property.name);
  const auto meant = nearest(name, names);
  throw Quit{Exit::usage, fmt::format("topics have no setting '{}'; {}", name,
                                      meant ? fmt::format("did you mean '{}'?", *meant)
                                            : fmt::format("there are {}", fmt::join(names, ", ")))};
}

}  // namespace

Properties properties_of(const TopicConfig& config) {
  Properties all;
  for (const auto& property : properties) all.emplace_back(property.name, property.get(config));
  return all;
}

void set_properties(TopicConfig& config, const std::vector<std::string>& typed) {
  std::vector<std::string_view> seen;
  for (const std::string_view text : typed) {
    const auto equals = text.find('=');
    if (equals == std::string_view::npos)
      throw Quit{Exit::usage, fmt::format("--config '{}': NAME=VALUE, as retention.ms=60000", text)};
    const auto& property = find_property(text.substr(0, equals));
    if (std::find(seen.begin(), seen.end(), property.name) != seen.end())
      throw Quit{Exit::usage, fmt::format("--config {} is given twice", property.name)};
    seen.push_back(property.name);
    if (!property.set(config, text.substr(equals + 1)))
      throw Quit{Exit::usage, fmt::format("--config '{}': {}", text, property.rule)};
  }
}

void remove_properties(TopicConfig& config, const std::vector<std::string>& names) {
  for (const auto& name : names) find_property(name).reset(config, TopicConfig{});
}

}  // namespace towpath::cli
