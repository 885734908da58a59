// Names, settings and the config file: what a topic is called and what it is like.
#include <topic/topic_support.hpp>

#include <towpath/topic/partitioner.hpp>

#include <map>

using namespace towpath;
using namespace towpath::test;

namespace {

struct Pose {
  double x, y, heading;
};
struct alignas(64) Wide {
  char bytes[64];
};

towpath::detail::StoredConfig sample() {
  towpath::detail::StoredConfig stored;
  stored.id = std::string(32, 'a');
  stored.type_name = "robot::Pose";
  stored.encoding = "zero-copy";
  stored.type_size = 24;
  stored.type_alignment = 8;
  stored.checksummed = true;
  auto& config = stored.config;
  config.segment_bytes = 8_MiB;
  config.retention = {1_GiB, 30s};
  config.max_message_bytes = 1_MiB;
  config.grace = 250ms;
  config.on_full = OnFull::block;
  config.readers = {"recorder", "planner.2"};
  config.durability = {DurabilityKind::each, 5ms};
  config.record_alignment = 64;
  return stored;
}

}  // namespace

TEST_CASE("topic names are 1 to 249 of letters, digits, dot, underscore and dash, and neither . nor ..") {
  for (const auto& name :
       std::vector<std::string>{"a", "pose", "lidar.front", "A-Z_09", "...", "-", std::string(249, 'x')})
    CHECK(check_topic_name(name).has_value());
  for (const auto& name : std::vector<std::string>{"", ".", "..", "a/b", "../a", "a b", "a\n", "ä", "~new-1", "*",
                                                   "a:b", "a\\b", std::string(250, 'x')})
    CHECK(check_topic_name(name).error() == Errc::invalid_name);
  CHECK(check_topic_name(std::string_view{"a\0b", 3}).error() == Errc::invalid_name);
}

TEST_CASE("each setting has bounds, and what is outside is named") {
  CHECK(check_topic_config({}).has_value());
  const auto refused = [](const TopicConfig& config, std::string_view field) {
    const auto failure = check_topic_config(config).error();
    CHECK(failure == Errc::invalid_argument);
    CHECK(std::string_view{failure.detail}.starts_with(field));
  };
  for (const std::int32_t partitions : {0, -1, 32'768}) refused({.partitions = partitions}, "partitions");
  for (const std::uint64_t bytes : {std::uint64_t{0}, 256_KiB - 1, 4_GiB + 1})
    refused({.segment_bytes = bytes}, "segment_bytes");
  refused({.retention = {.bytes = 0}}, "retention.bytes");
  refused({.retention = {.age = 0ns}}, "retention.age");
  refused({.retention = {.age = -1ns}}, "retention.age");
  refused({.segment_bytes = 1_MiB, .max_message_bytes = 1_MiB + 1}, "max_message_bytes");
  for (const Duration grace : {Duration{0}, Duration{999us}, Duration{1h} + 1ns}) refused({.grace = grace}, "grace");
  refused({.on_full = static_cast<OnFull>(3)}, "on_full");
  refused({.readers = {"a", "b/c"}}, "readers");
  refused({.durability = {static_cast<DurabilityKind>(3)}}, "durability");
  for (const Duration interval : {Duration{999us}, Duration{-1ns}, Duration{24h} + 1ns})
    refused({.durability = {.interval = interval}}, "durability.interval");
  for (const std::uint64_t alignment : {1u, 4u, 7u, 24u, 128u})
    refused({.record_alignment = alignment}, "record_alignment");
  CHECK(check_topic_config({.partitions = 32'767,
                            .segment_bytes = 4_GiB,
                            .retention = {.age = Duration::max()},
                            .max_message_bytes = 1_GiB,
                            .grace = 1h,
                            .record_alignment = 64})
            .has_value());
}

TEST_CASE("a list of readers keeps each name once, in order, and says when it had to leave one out") {
  constexpr ReaderList two{"recorder", "planner", "recorder"};
  static_assert(two.size() == 2 && two[0] == "recorder" && two[1] == "planner" && two.is_valid());
  static_assert(two.text() == "recorder,planner" && two.contains("planner") && !two.contains("plan"));
  static_assert(ReaderList::of(two.text()) == two && ReaderList::of("").empty());
  CHECK(!ReaderList::of("a,,b").is_valid());
  CHECK(!ReaderList::of("..").is_valid());
  ReaderList many;
  for (char c = 'a'; many.size() < ReaderList::max_names; ++c) many.add(std::string_view{&c, 1});
  CHECK(many.is_valid());
  many.add("one-more");
  CHECK((!many.is_valid() && many.size() == ReaderList::max_names));
  ReaderList wide{std::string(240, 'x'), std::string(239, 'y')};
  CHECK((wide.is_valid() && wide.text().size() == ReaderList::max_text));
  wide.add("z");
  CHECK(!wide.is_valid());
}

TEST_CASE("a config file says what was written, whatever the settings") {
  auto stored = sample();
  const auto round_trip = [&] {
    const auto text = towpath::detail::to_text(stored);
    const auto parsed = must(towpath::detail::parse_config(text));
    stored.config.partitions = parsed.config.partitions;  // not in the file
    CHECK(parsed.config == stored.config);
    CHECK(parsed.id == stored.id);
    CHECK(parsed.type_name == stored.type_name);
    CHECK(parsed.encoding == stored.encoding);
    CHECK(parsed.type_size == stored.type_size);
    CHECK(parsed.type_alignment == stored.type_alignment);
    CHECK(parsed.checksummed == stored.checksummed);
    CHECK(towpath::detail::to_text(parsed) == text);
  };
  round_trip();
  stored.config.retention = {Retention::unlimited, Duration::max()};
  round_trip();
  stored.checksummed = false;
  stored.type_name = "std::map<int, a=b>";
  round_trip();
  const auto text = towpath::detail::to_text(sample());
  for (const char* line : {"segment.bytes=8388608\n", "retention.bytes=1073741824\n", "retention.ms=30000\n",
                           "max.message.bytes=1048576\n", "cleanup.policy=delete\n"})
    CHECK(text.find(line) != std::string::npos);  // Kafka's words
}

TEST_CASE("a config file that lacks any property, or holds nonsense in one, is corrupt; a newer one says so") {
  const auto text = towpath::detail::to_text(sample());
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  unsigned required = 0;
  for (std::size_t skip = 0; skip < lines.size(); ++skip) {
    std::string without;
    std::string nonsense;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (i != skip) without += lines[i] + "\n";
      nonsense += (i == skip ? lines[i].substr(0, lines[i].find('=')) + "=-17x" : lines[i]) + "\n";
    }
    CAPTURE(lines[skip]);
    const bool optional = lines[skip].starts_with("#") || lines[skip].starts_with("cleanup.policy");
    if (optional) continue;
    ++required;
    CHECK(towpath::detail::parse_config(without).error() == Errc::corrupt);
    const bool is_text =
        lines[skip].find(".id=") != std::string::npos || lines[skip].find("type.name=") != std::string::npos ||
        lines[skip].find("encoding=") != std::string::npos || lines[skip].find("readers=") != std::string::npos;
    if (!is_text) CHECK(towpath::detail::parse_config(nonsense).error() == Errc::corrupt);
  }
  CHECK(required >= 12);
  const auto with = [&](std::string_view property, const std::string& value) {
    auto changed = text;
    const auto at = changed.find("\n" + std::string{property} + "=") + 1;
    changed.replace(at, changed.find('\n', at) - at, std::string{property} + "=" + value);
    return towpath::detail::parse_config(changed).error();
  };
  CHECK(with("version", "0") == Errc::ok);
  CHECK(with("version", "1") == Errc::newer_format);
  for (const char* value : {"0", "-5", "99999999999999999999", "1e6", " 8388608", "262143"})
    CHECK(with("segment.bytes", value) == Errc::corrupt);
  for (const char* value : {"0", "3", "128", "-8"}) {
    CHECK(with("towpath.record.alignment", value) == Errc::corrupt);
    CHECK(with("towpath.type.alignment", value) == Errc::corrupt);
  }
  CHECK(with("retention.ms", "0") == Errc::corrupt);
  CHECK(with("retention.ms", "9223372036854775807") == Errc::ok);
  CHECK(with("retention.bytes", "0") == Errc::corrupt);
  CHECK(with("towpath.grace.ms", "0") == Errc::corrupt);
  CHECK(with("towpath.on.full", "drop_newest") == Errc::corrupt);
  CHECK(with("towpath.durability", "often") == Errc::corrupt);
  CHECK(with("towpath.readers", "a/b") == Errc::corrupt);
  CHECK(with("flush.ms", "86400001") == Errc::corrupt);
  CHECK(with("towpath.grace.ms", "-9223372036854775808") == Errc::corrupt);
  CHECK(with("max.message.bytes", "8388609") == Errc::corrupt);
  CHECK(towpath::detail::parse_config("").error() == Errc::corrupt);
  CHECK(towpath::detail::parse_config(std::string(5'000, '\0')).error() == Errc::corrupt);
  for (std::size_t size = 0; size + 1 < text.size(); size += 7)
    if (const auto cut = towpath::detail::parse_config(text.substr(0, size)); cut)
      CHECK(size > text.rfind("towpath.type.alignment"));
}

TEST_CASE("two that disagree on the value type find out; bytes look at any topic, and any type at bytes") {
  Bus bus;
  Topic<Pose> poses{bus, "pose"};
  const auto refused = [&](const auto& opened) { CHECK(opened.error() == Errc::type_mismatch); };
  struct Other {
    double x, y, heading;
  };
  refused(Topic<Other>::open(bus, "pose"));  // another name
  refused(Topic<std::array<double, 4>>::open(bus, "pose"));
  refused(Topic<std::string>::open(bus, "pose"));
  refused(Topic<std::int64_t>::open(bus, "pose"));
  refused(Topic<Wide>::open(bus, "pose"));
  CHECK(Topic<Pose>::open(bus, "pose").has_value());
  CHECK(Topic<Bytes>::open(bus, "pose").has_value());
  Topic<Bytes> raw{bus, "raw"};
  CHECK(Topic<Pose>::open(bus, "raw").has_value());
  refused(Topic<Wide>::open(bus, "raw"));  // its values may stand anywhere
}

TEST_CASE("alignment is what the type needs and the config asks, and another one later is config_mismatch") {
  Bus bus;
  Topic<Pose> narrow{bus, "narrow"};
  CHECK(narrow.files()->format().record_alignment == 8);
  CHECK(Topic<Pose>::open(bus, "narrow", {.record_alignment = 8}).has_value());
  CHECK(Topic<Pose>::open(bus, "narrow", {.record_alignment = 64}).error() == Errc::config_mismatch);
  Topic<Wide> wide{bus, "wide"};
  CHECK(wide.files()->format().record_alignment == 64);
  CHECK(wide.files()->format().value_alignment == 64);
  CHECK(Topic<Wide>::open(bus, "wide", {.record_alignment = 8}).has_value());  // never less than the type's own
  Topic<Pose> asked{bus, "asked", {.record_alignment = 64}};
  CHECK(asked.files()->format().record_alignment == 64);
  CHECK(Topic<Pose>::open(bus, "asked").has_value());
}

TEST_CASE("the largest record is 16 MiB by default, or what a segment holds where that is less") {
  Bus bus;
  CHECK(Topic<Pose>{bus, "small", {.segment_bytes = 1_MiB}}.files()->words().max_message_bytes.load(shm::relaxed) ==
        1_MiB);
  CHECK(Topic<Pose>{bus, "usual"}.files()->words().max_message_bytes.load(shm::relaxed) == 16_MiB);
}

TEST_CASE("the stored settings win over what a later process asks for") {
  Bus bus;
  Topic<Pose> first{bus, "pose", {.partitions = 3, .segment_bytes = 1_MiB, .max_message_bytes = 1_MiB}};
  Topic<Pose> second{bus, "pose", {.partitions = 7, .segment_bytes = 8_MiB}};
  CHECK(second.partitions() == 3);
  CHECK(second.files()->words().segment_bytes.load(shm::relaxed) == 1_MiB);
}

TEST_CASE("retention by bytes defaults to 256 MiB, at most an eighth of what is free, in memory; to none on disk") {
  Bus memory;
  Topic<Pose> a{memory, "a"};
  const auto limit = a.files()->words().retention_bytes.load(shm::relaxed);
  CHECK(limit <= 256_MiB);
  CHECK(limit >= 1_MiB);
  TempDir disk = TempDir::on_disk();
  auto config = by_hand();
  config.force_filesystem = true;
  auto bus = open_bus((disk / "bus").string(), config);
  Topic<Pose> b{bus, "b"};
  CHECK(b.files()->words().retention_bytes.load(shm::relaxed) == 0);
  CHECK(b.files()->format().checksummed);
  CHECK_FALSE(a.files()->format().checksummed);
}

TEST_CASE("a partitioner sends a key always to one partition, and records without a key to one for 16 KiB") {
  DefaultPartitioner partitioner;
  for (std::int32_t partitions : {1, 2, 7, 32'767}) {
    std::map<std::int32_t, int> seen;
    for (int i = 0; i < 1'000; ++i) {
      const auto key = "key " + std::to_string(i);
      const auto first = partitioner({Bytes{key}, true, 100, partitions});
      CHECK(first >= 0);
      CHECK(first < partitions);
      CHECK(first ==
            static_cast<std::int32_t>((murmur2(Bytes{key}) & 0x7FFF'FFFF) % static_cast<std::uint32_t>(partitions)));
      ++seen[first];
    }
    CHECK(seen.size() >= std::min<std::size_t>(static_cast<std::size_t>(partitions), 500));
  }
  DefaultPartitioner sticky;
  std::vector<std::int32_t> order;
  for (int i = 0; i < 2'000; ++i) order.push_back(sticky({{}, false, 1'024, 64}));
  unsigned changes = 0;
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (order[i] == order[i - 1]) continue;
    CHECK(i % 16 == 0);
    ++changes;
  }
  CHECK(changes > 100);
  const auto fewer = sticky({{}, false, 1, 2});  // never one that is not there
  CHECK(fewer < 2);
  RandomPartitioner random;
  std::map<std::int32_t, int> hit;
  for (int i = 0; i < 10'000; ++i) ++hit[random({Bytes{"same"}, true, 1, 10})];
  CHECK(hit.size() == 10);
  for (const auto& [partition, count] : hit) CHECK(count > 800);
}
