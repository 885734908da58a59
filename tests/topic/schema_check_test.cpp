// What differs between a topic's stored value type and the one that is asked for, field by field.
#include <topic/topic_support.hpp>

using namespace towpath;
using namespace towpath::test;

namespace {

struct Thin {
  std::int32_t number;
};
struct Thick {
  double numbers[3];
};
struct Solid {
  double numbers[3];
};

/// Aligned to more than untyped bytes are.
struct alignas(64) Broad {
  char bytes[64];
};

Schema asked(std::string_view name, std::string_view encoding, std::uint64_t size, std::uint64_t alignment) {
  return {name, encoding, size, alignment};
}

/// The failure's detail and the explanation for a topic of robot::Pose, zero-copy, 24 bytes, aligned to 8.
std::pair<std::string, std::string> differences(const Schema& schema) {
  towpath::detail::StoredConfig stored;
  stored.type_name = "robot::Pose", stored.encoding = "zero-copy", stored.type_size = 24, stored.type_alignment = 8;
  const auto checked = towpath::detail::check_schema(stored, schema);
  CHECK(checked.error().code == (checked ? Errc::ok : Errc::type_mismatch));
  return {checked.error().detail, towpath::detail::explain_schema(stored, schema)};
}

const std::string hint = "; explain_type_mismatch<T>(bus, topic) says which";

}  // namespace

/// Opens the topic as another process's header has it.
TOWPATH_ROLE("open_as_thick") {
  auto bus = open_bus(args.at(0));
  const auto opened = Topic<Thick>::open(bus, "numbers");
  say(std::string{name(opened.error().code)} + " " + opened.error().detail);
  say(must(explain_type_mismatch<Thick>(bus, "numbers")));
  return 0;
}

TEST_CASE("each field that differs is named, in the failure and with both values in the explanation") {
  const std::string begin = "the topic's values have another ";
  CHECK(differences(asked("robot::Pose", "zero-copy", 24, 8)) == std::pair<std::string, std::string>{"", ""});
  CHECK(differences(asked("robot::Pose", "zero-copy", 32, 8)) ==
        std::pair{begin + "size" + hint, std::string{"size: stored 24, asked 32"}});
  CHECK(differences(asked("Pose", "zero-copy", 24, 8)).second == "name: stored robot::Pose, asked Pose");
  const auto two = differences(asked("robot::Pose", "zero-copy", 32, 16));
  CHECK(two.first == begin + "size and alignment" + hint);
  CHECK(two.second == "size: stored 24, asked 32; alignment: stored 8, asked 16");
  const auto all = differences(asked("Plan", "json", 0, 1));
  CHECK(all.first == begin + "encoding, size, alignment and name" + hint);
  CHECK(all.second ==
        "encoding: stored zero-copy, asked json; size: stored 24, asked 0; alignment: stored 8, asked 1; "
        "name: stored robot::Pose, asked Plan");
}

TEST_CASE("bytes differ from nothing, and nothing that fits where bytes stand from a topic of bytes") {
  CHECK(differences(schema_of<Bytes, Serde<Bytes>>()).second == "");
  Bus bus;
  Topic<Bytes> raw{bus, "raw"};
  CHECK(must(explain_type_mismatch<std::int64_t>(bus, "raw")) == "");
  CHECK(must(explain_type_mismatch<Broad>(bus, "raw")) == "alignment: stored 1, asked 64");
  CHECK(Topic<Broad>::open(bus, "raw").error() == Errc::type_mismatch);
  CHECK(must(explain_type_mismatch<Bytes>(bus, "raw")) == "");
}

TEST_CASE("every set of differences has a whole sentence") {
  for (unsigned set = 1; set < 16; ++set) {
    const auto& text = towpath::detail::schema_sentences[set];
    const std::string sentence{text.begin(), std::find(text.begin(), text.end(), '\0')};
    CHECK(sentence.ends_with(hint));
    for (unsigned i = 0; i < 4; ++i) {
      const auto field = " " + std::string{towpath::detail::schema_fields[i]};
      CHECK((sentence.find(field + " ") < 80 || sentence.find(field + ",") < 80 || sentence.find(field + ";") < 80) ==
            ((set >> i & 1u) != 0));
    }
  }
}

TEST_CASE("two types of one layout differ in their name only; asking makes no topic") {
  Bus bus;
  CHECK(explain_type_mismatch<Thick>(bus, "numbers").error() == Errc::unknown_topic);
  CHECK(explain_type_mismatch<Thick>(bus, "no/name").error() == Errc::invalid_name);
  CHECK(must(Admin{bus}.list_topics()).empty());
  Topic<Thick> topic{bus, "numbers"};
  const auto said = must(explain_type_mismatch<Solid>(bus, "numbers"));
  CHECK(said.starts_with("name: stored "));
  CHECK(said.find("Thick, asked ") != std::string::npos);
  CHECK(said.ends_with("Solid"));
  CHECK(must(explain_type_mismatch<Thick>(bus, "numbers")) == "");
}

TEST_CASE("open_existing opens what is there and makes nothing") {
  Bus bus;
  CHECK(Topic<Thick>::open_existing(bus, "numbers").error() == Errc::unknown_topic);
  CHECK(Topic<Thick>::open_existing(bus, "no/name").error() == Errc::invalid_name);
  CHECK(must(Admin{bus}.list_topics()).empty());
  Topic<Thick>{bus, "numbers", {.partitions = 3}};
  CHECK(must(Topic<Thick>::open_existing(bus, "numbers")).partitions() == 3);
  CHECK(Topic<Solid>::open_existing(bus, "numbers").error() == Errc::type_mismatch);
}

TEST_CASE("a process with another struct is told what differs") {
  TempDir dir;
  auto bus = bus_in(dir);
  Topic<Thin> topic{bus, "numbers"};
  auto child = spawn("open_as_thick", {(dir / "bus").string()});
  const auto failure = child.wait_for("type_mismatch", 20s);
  CHECK(failure == "type_mismatch the topic's values have another size, alignment and name" + hint);
  const auto said = child.wait_for("size: ", 20s);
  CHECK(said.starts_with("size: stored 4, asked 24; alignment: stored 4, asked 8; name: stored "));
  CHECK(child.wait(20s) == exited_well);
}
