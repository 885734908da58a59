// A topic's config file: Kafka's property names, one "name=value" per line; what Kafka has no name for begins with
// "towpath.". Lines that begin with # are for people. Read strictly: what is missing or makes no sense is corrupt.
#pragma once

#include <algorithm>
#include <charconv>
#include <map>
#include <string>

#include <towpath/serde/schema.hpp>
#include <towpath/topic/topic_config.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// All that the config file holds.
struct StoredConfig {
  TopicConfig config;
  std::string id;  ///< topic id: 32 hexadecimal digits, another after the topic is deleted and made again
  std::string type_name;
  std::string encoding;
  std::uint64_t type_size = 0;
  std::uint64_t type_alignment = 1;
  bool checksummed = false;
};

inline constexpr std::string_view on_full_names[] = {"drop_oldest", "block", "fail"};
inline constexpr std::string_view writers_names[] = {"many", "one"};
inline constexpr std::string_view durability_names[] = {"none", "interval", "each"};

template <class Enum, std::size_t N>
constexpr std::string_view text_of(const std::string_view (&names)[N], Enum value) noexcept {
  const auto i = static_cast<std::size_t>(value);
  return i < N ? names[i] : std::string_view{};
}
/// N for a word that is none of them: a value that check_topic_config() refuses.
template <class Enum, std::size_t N>
constexpr Enum value_of(const std::string_view (&names)[N], std::string_view text) noexcept {
  return static_cast<Enum>(std::find(std::begin(names), std::end(names), text) - std::begin(names));
}

inline std::string to_text(const StoredConfig& stored) {
  using std::chrono::milliseconds;
  const auto& config = stored.config;
  const auto millis = [](Duration time) { return std::chrono::duration_cast<milliseconds>(time).count(); };
  std::string text = "# towpath topic\n";
  const auto put = [&](const char* name, const std::string& value) { text.append(name).append("=" + value + "\n"); };
  const bool unlimited = config.retention.bytes == Retention::unlimited;
  const bool ageless = config.retention.age == Duration::max();
  put("version", "0");
  put("topic.id", stored.id);
  put("cleanup.policy", "delete");
  put("segment.bytes", std::to_string(config.segment_bytes));
  put("retention.bytes", unlimited ? "-1" : std::to_string(config.retention.bytes));
  put("retention.ms", ageless ? "-1" : std::to_string(std::max<std::int64_t>(1, millis(config.retention.age))));
  put("max.message.bytes", std::to_string(config.max_message_bytes));
  put("towpath.grace.ms", std::to_string(millis(config.grace)));
  put("flush.ms", std::to_string(millis(config.durability.interval)));
  put("towpath.durability", std::string{text_of(durability_names, config.durability.kind)});
  put("towpath.on.full", std::string{text_of(on_full_names, config.on_full)});
  put("towpath.readers", std::string{config.readers.text()});
  put("towpath.record.alignment", std::to_string(config.record_alignment));
  put("towpath.writers", std::string{text_of(writers_names, config.writers)});
  put("towpath.checksummed", stored.checksummed ? "1" : "0");
  put("towpath.type.name", stored.type_name);
  put("towpath.type.encoding", stored.encoding);
  put("towpath.type.size", std::to_string(stored.type_size));
  put("towpath.type.alignment", std::to_string(stored.type_alignment));
  return text;
}

/// Reads one property after the other; remembers whether one was missing or no number.
class PropertyReader {
 public:
  explicit PropertyReader(std::string_view text) {
    while (!text.empty()) {
      const auto line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      const auto equals = line.find('=');
      if (line.empty() || line.front() == '#' || equals == std::string_view::npos) continue;
      properties_.emplace(line.substr(0, equals), line.substr(equals + 1));
    }
  }

  std::string text(const char* name) {
    const auto found = properties_.find(name);
    if (found != properties_.end()) return found->second;
    is_whole_ = false;
    return {};
  }

  /// Of a property that older files lack.
  std::string text_or(const char* name, const char* otherwise) const {
    const auto found = properties_.find(name);
    return found != properties_.end() ? found->second : otherwise;
  }

  std::int64_t number(const char* name) {
    const auto value = text(name);
    std::int64_t parsed = 0;
    const auto end = value.data() + value.size();
    if (const auto done = std::from_chars(value.data(), end, parsed); done.ec != std::errc{} || done.ptr != end)
      is_whole_ = false;
    return parsed;
  }

  /// A number that is not negative.
  std::uint64_t count(const char* name) {
    const auto parsed = number(name);
    if (parsed < 0) is_whole_ = false;
    return static_cast<std::uint64_t>(parsed);
  }

  [[nodiscard]] bool is_whole() const noexcept { return is_whole_; }

 private:
  std::map<std::string, std::string> properties_;
  bool is_whole_ = true;
};

/// Errors: corrupt, newer_format.
inline Result<StoredConfig> parse_config(std::string_view text) {
  PropertyReader in{text};
  if (const auto version = in.number("version"); in.is_whole() && version > 0)
    return Failure{Errc::newer_format, "a topic's config file is of a newer format"};
  StoredConfig stored;
  auto& config = stored.config;
  stored.id = in.text("topic.id");
  config.segment_bytes = in.count("segment.bytes");
  const auto kept = in.text("retention.bytes");
  config.retention.bytes = kept == "-1" ? Retention::unlimited : in.count("retention.bytes");
  const auto age_ms = in.number("retention.ms");
  config.retention.age =
      age_ms < 0 || age_ms > Duration::max().count() / 1'000'000 ? Duration::max() : std::chrono::milliseconds{age_ms};
  config.max_message_bytes = in.count("max.message.bytes");
  config.grace = std::chrono::milliseconds{std::min<std::uint64_t>(in.count("towpath.grace.ms"), 3'600'000)};
  config.record_alignment = in.count("towpath.record.alignment");
  config.on_full = value_of<OnFull>(on_full_names, in.text("towpath.on.full"));
  config.durability.kind = value_of<DurabilityKind>(durability_names, in.text("towpath.durability"));
  config.durability.interval = std::chrono::milliseconds{std::min<std::uint64_t>(in.count("flush.ms"), 86'400'001)};
  config.readers = ReaderList::of(in.text("towpath.readers"));
  // Topics of before there was a choice have many.
  config.writers = value_of<Writers>(writers_names, in.text_or("towpath.writers", "many"));
  stored.checksummed = in.number("towpath.checksummed") != 0;
  stored.type_name = in.text("towpath.type.name");
  stored.encoding = in.text("towpath.type.encoding");
  stored.type_size = in.count("towpath.type.size");
  stored.type_alignment = in.count("towpath.type.alignment");
  if (!in.is_whole() || !is_alignment(stored.type_alignment) || config.record_alignment == 0 ||
      config.max_message_bytes == 0 || !check_topic_config(config))
    return Failure{Errc::corrupt, "a topic's config file lacks a property or holds a senseless value"};
  return stored;
}

}  // namespace towpath::inline TOWPATH_ABI::detail
