// Admin: Kafka's calls, with what Kafka says when they fail.
#include <topic/topic_support.hpp>

#include <towpath/consume/consumer.hpp>
#include <towpath/produce/producer.hpp>

#include <map>

using namespace towpath;
using namespace towpath::test;

namespace {

using Texts = Topic<std::string>;

std::map<std::string, ConfigEntry> configs_of(const Admin& admin, std::string_view topic) {
  std::map<std::string, ConfigEntry> entries;
  for (auto& entry : must(admin.describe_configs(topic))) entries.emplace(entry.name, entry);
  return entries;
}

/// alter_configs() refuses it with this code, Kafka number and beginning of the detail.
void refuses(Admin& admin, const std::vector<ConfigChange>& changes, Errc code, int number, std::string_view begin) {
  const auto refused = admin.alter_configs("t", changes);
  CAPTURE(refused.error().detail);
  CHECK(refused.error() == code);
  CHECK(kafka_error(refused.error()).number == number);
  CHECK(std::string_view{refused.error().detail}.starts_with(begin));
}

void send_numbers(const Texts& topic, int count, std::size_t size = 10, std::int32_t partition = 0) {
  Producer producer{topic};
  for (int i = 0; i < count; ++i) {
    auto text = std::to_string(i);
    text.resize(std::max(size, text.size()), '.');
    must(producer.send(text, {.timestamp = Timestamp{std::chrono::seconds{i}}, .partition = PartitionId{partition}}));
  }
}

ConsumerConfig reading_from(OffsetReset reset) { return {.auto_offset_reset = reset}; }

}  // namespace

TEST_CASE("several topics are made, described and deleted in one call, and one that fails stops no other") {
  TempDir dir;
  auto bus = bus_in(dir);
  Admin admin{bus};
  must(admin.create_topic("b"));
  const auto made =
      admin.create_topics({{"a", {.partitions = 3}}, {"b"}, {"no/name"}, {"c", {.partitions = 0}}, {"d"}});
  REQUIRE(made.size() == 5);
  std::vector<int> numbers;
  for (const auto& outcome : made) numbers.push_back(kafka_error(outcome.result.error()).number);
  CHECK(numbers == std::vector<int>{0, 36, 17, 37, 0});
  CHECK(made[3].topic == "c");
  CHECK(must(admin.list_topics()) == std::vector<std::string>{"a", "b", "d"});
  const auto described = admin.describe_topics({"a", "zzz"});
  CHECK(must(described[0].result).config.partitions == 3);
  CHECK(kafka_error(described[1].result.error()).name == "UNKNOWN_TOPIC_OR_PARTITION");
  const auto deleted = admin.delete_topics({"d", "d", "a"});
  CHECK(deleted[0].result.has_value());
  CHECK(deleted[1].result.error() == Errc::unknown_topic);
  CHECK(deleted[2].result.has_value());
  CHECK(must(admin.list_topics()) == std::vector<std::string>{"b"});
}

TEST_CASE("validate_only says the same and changes nothing") {
  TempDir dir;
  auto bus = bus_in(dir);
  Admin admin{bus};
  must(admin.create_topic("t", {.partitions = 2}));
  const AdminOptions look{.validate_only = true};
  CHECK(admin.create_topic("new", {}, look).has_value());
  CHECK(admin.create_topic("t", {}, look).error() == Errc::topic_exists);
  CHECK(admin.create_topic("new", {.segment_bytes = 1}, look).error() == Errc::invalid_argument);
  CHECK(must(admin.list_topics()) == std::vector<std::string>{"t"});
  CHECK(admin.create_partitions("t", 5, look).has_value());
  CHECK(kafka_error(admin.create_partitions("t", 1, look).error()).name == "INVALID_PARTITIONS");
  CHECK(must(admin.describe_topic("t")).config.partitions == 2);
  CHECK(admin.alter_configs("t", {{"retention.ms", "5"}}, look).has_value());
  CHECK(admin.alter_configs("t", {{"retention.ms", "0"}}, look).error() == Errc::invalid_argument);
  CHECK(configs_of(admin, "t").at("retention.ms").is_default);
}

TEST_CASE("every setting has a Kafka name, a value and a default") {
  TempDir dir;
  auto bus = bus_in(dir);
  Admin admin{bus};
  must(admin.create_topic("t", {.segment_bytes = 1_MiB, .retention = {.age = 90s}, .readers = {"a", "b"}}));
  const auto entries = configs_of(admin, "t");
  CHECK(entries.size() == 12);
  CHECK(entries.at("retention.ms").value == "90000");
  CHECK(entries.at("retention.ms").default_value == "604800000");
  CHECK_FALSE(entries.at("retention.ms").is_default);
  CHECK(entries.at("segment.bytes").value == "1048576");
  CHECK(entries.at("cleanup.policy").value == "delete");
  CHECK(entries.at("towpath.readers").value == "a,b");
  CHECK(entries.at("towpath.on.full").value == "drop_oldest");
  CHECK(entries.at("towpath.on.full").is_default);
  CHECK(entries.at("towpath.durability").value == "none");
  CHECK(entries.at("towpath.grace.ms").value == "1000");
  CHECK(entries.at("towpath.record.alignment").is_read_only);
  CHECK(entries.at("towpath.writers").is_read_only);
  CHECK(entries.at("towpath.writers").value == "many");
  CHECK_FALSE(entries.at("flush.ms").is_read_only);
  CHECK(admin.describe_configs("none").error() == Errc::unknown_topic);
}

TEST_CASE("a topic is made with settings by name; one that cannot be kept here makes no topic") {
  Bus bus;
  Admin admin{bus};
  must(admin.create_topic({"t", {.partitions = 2}, {{"segment.bytes", "262144"}, {"towpath.record.alignment", "64"}}}));
  auto entries = configs_of(admin, "t");
  CHECK(entries.at("segment.bytes").value == "262144");
  CHECK(entries.at("max.message.bytes").value == "262144");  // as large as fits
  CHECK(entries.at("towpath.record.alignment").value == "64");
  CHECK(must(admin.describe_topic("t")).config.partitions == 2);
  for (const auto& change : {ConfigChange{"towpath.durability", "each"}, ConfigChange{"retention.ms", "soon"},
                             ConfigChange{"no.such", "1"}, ConfigChange{"max.message.bytes", "9999999999"}})
    CHECK(admin.create_topic({"new", {}, {change}}).error() == Errc::invalid_argument);
  const auto outcomes = admin.create_topics({{"new", {}, {{"flush.ms", "0"}}}, {"other", {}, {{"flush.ms", "7"}}}});
  CHECK(outcomes[0].result.error() == Errc::invalid_argument);
  CHECK(outcomes[1].result.has_value());
  CHECK(must(admin.list_topics()) == std::vector<std::string>{"other", "t"});
}

TEST_CASE("what is named is changed, at once for every process, and what is not named stays") {
  TempDir dir;
  auto bus = bus_in(dir);
  auto other = bus_in(dir);
  Admin admin{bus};
  Admin beside{other};
  must(admin.create_topic("t", {.segment_bytes = 1_MiB, .retention = {.bytes = 9_MiB}}));
  Topic<Bytes> here{bus, "t"};  // held open: what is kept of it from now on is old
  Topic<Bytes> there{other, "t"};
  must(admin.alter_configs("t",
                           {{"retention.ms", "60000"}, {"towpath.on.full", "block"}, {"towpath.readers", "rec,plan"}}));
  must(beside.alter_configs("t", {{"retention.bytes", "-1"}, {"towpath.grace.ms", "20"}}));
  must(admin.alter_configs("t", {{"flush.ms", "250"}}));  // must not take back what the other process changed
  for (const Admin* each : {&admin, &beside}) {
    const auto config = must(each->describe_topic("t")).config;
    CHECK(config.retention == Retention{Retention::unlimited, 60s});
    CHECK(config.on_full == OnFull::block);
    CHECK(config.readers == ReaderList{"rec", "plan"});
    CHECK(config.grace == 20ms);
    CHECK(config.durability.interval == 250ms);
    CHECK(config.segment_bytes == 1_MiB);
  }
  auto third = bus_in(dir);  // by the file
  CHECK(configs_of(Admin{third}, "t").at("towpath.readers").value == "rec,plan");
  must(admin.alter_configs(
      "t", {{"retention.ms", {}, ConfigOperation::remove}, {"towpath.on.full", "x", ConfigOperation::remove}}));
  CHECK(configs_of(admin, "t").at("retention.ms").is_default);
  CHECK(configs_of(beside, "t").at("towpath.on.full").value == "drop_oldest");
  must(admin.alter_configs("t", {}));
  must(admin.alter_configs("t", {{"max.message.bytes", "7"}}));
  must(admin.alter_configs("t", {{"max.message.bytes", {}, ConfigOperation::remove}}));
  CHECK(configs_of(admin, "t").at("max.message.bytes").value == "1048576");  // what a segment holds
}

TEST_CASE("names are added to a list and taken out of it, whatever else stands there") {
  TempDir dir;
  auto bus = bus_in(dir);
  Admin admin{bus};
  must(admin.create_topic("t", {.readers = {"a"}}));
  const auto readers = [&] { return configs_of(admin, "t").at("towpath.readers").value; };
  must(admin.alter_configs("t", {{"towpath.readers", "b,c", ConfigOperation::append}}));
  CHECK(readers() == "a,b,c");
  must(admin.alter_configs("t", {{"towpath.readers", "b,zzz", ConfigOperation::subtract}}));
  CHECK(readers() == "a,c");
  must(admin.alter_configs("t", {{"towpath.readers", "", ConfigOperation::remove}}));
  CHECK(readers() == "");
  refuses(admin, {{"towpath.readers", "no/name", ConfigOperation::append}}, Errc::invalid_argument, 40,
          "towpath.readers:");
  refuses(admin, {{"retention.ms", "1", ConfigOperation::append}}, Errc::invalid_argument, 40, "property: append");
}

TEST_CASE("a refused change says which property and its rule, and changes nothing") {
  TempDir dir;
  auto bus = bus_in(dir);
  Admin admin{bus};
  must(admin.create_topic("t", {.segment_bytes = 1_MiB}));
  const auto before = must(admin.describe_topic("t")).config;
  const std::pair<const char*, std::vector<const char*>> wrong[] = {
      {"cleanup.policy", {"compact", "delete,compact", ""}},
      {"retention.bytes", {"0", "-2", "x", "", "1e9", " 5", "99999999999999999999"}},
      {"retention.ms", {"0", "-5", "abc", "9223372036855", "1.5"}},
      {"segment.bytes", {"1000", "0", "-1", "4294967297"}},
      {"max.message.bytes", {"0", "-1", "2000000"}},
      {"flush.ms", {"0", "86400001", "-1"}},
      {"towpath.durability", {"often", "", "each", "interval"}},  // this bus is in memory
      {"towpath.on.full", {"drop_newest", "", "BLOCK"}},
      {"towpath.readers", {"a/b", "a,,b", ",", "a,a", "a\nversion=1"}},
      {"towpath.grace.ms", {"0", "3600001", "-9", "99999999999"}}};
  for (const auto& [name, values] : wrong)
    for (const char* value : values) {
      CAPTURE(value);
      refuses(admin, {{"retention.ms", "77"}, {name, value}}, Errc::invalid_argument, 40,
              std::string_view{name} == "retention.ms" ? "property: named twice" : std::string{name} + ":");
      refuses(admin, {{name, value}}, Errc::invalid_argument, 40, std::string{name} + ":");
    }
  refuses(admin, {{"retention.hours", "5"}}, Errc::invalid_argument, 40, "property:");
  refuses(admin, {{"", "5"}}, Errc::invalid_argument, 40, "property:");
  refuses(admin, {{"version", "1"}}, Errc::invalid_argument, 40, "property:");
  refuses(admin, {{"towpath.type.size", "1"}}, Errc::invalid_argument, 40, "property:");
  refuses(admin, {{"retention.ms", "1", static_cast<ConfigOperation>(9)}}, Errc::invalid_argument, 40, "property:");
  refuses(admin, {{"towpath.record.alignment", "8"}}, Errc::config_mismatch, 40,
          "towpath.record.alignment: 8, 16, 32 or 64, fixed");
  refuses(admin, {{"max.message.bytes", "1000000"}, {"segment.bytes", "262144"}}, Errc::invalid_argument, 40, "");
  CHECK(must(admin.describe_topic("t")).config == before);
  CHECK(admin.alter_configs("none", {{"retention.ms", "1"}}).error() == Errc::unknown_topic);
}

TEST_CASE("changes that only fit together are judged together, in any order") {
  TempDir dir;
  auto bus = bus_in(dir);
  Admin admin{bus};
  must(admin.create_topic("t", {.segment_bytes = 1_MiB}));
  refuses(admin, {{"segment.bytes", "262144"}}, Errc::invalid_argument, 40, "segment.bytes:");  // records may be 1 MiB
  must(admin.alter_configs("t", {{"segment.bytes", "262144"}, {"max.message.bytes", "1000"}}));
  must(admin.alter_configs("t", {{"max.message.bytes", "2000000"}, {"segment.bytes", "4194304"}}));
  CHECK(must(admin.describe_topic("t")).config.max_message_bytes == 2'000'000);
}

TEST_CASE("deleted records are missed by readers below, out of range where nobody may move them, and gone for others") {
  TempDir dir;
  auto bus = bus_in(dir);
  Admin admin{bus};
  Texts topic{bus, "t", {.partitions = 2}};
  send_numbers(topic, 100);
  Consumer early{topic, reading_from(OffsetReset::earliest)};
  Consumer strict{topic, reading_from(OffsetReset::none)};
  strict.assign({{0}}).value();
  strict.seek({0}, Offset{0}).value();
  CHECK(must(admin.delete_records("t", {0}, Offset{40})) == Offset{40});
  auto batch = early.poll(stretched(2s));
  CHECK(batch.missed() == 40);
  REQUIRE(batch.size() == 60);
  CHECK(batch.begin()->offset() == Offset{40});
  CHECK(strict.poll(stretched(2s)).error() == Errc::offset_out_of_range);
  Consumer late{topic, reading_from(OffsetReset::earliest)};
  CHECK(late.poll(stretched(2s)).begin()->offset() == Offset{40});
  CHECK(must(late.beginning_offsets())[0].offset == Offset{40});
  CHECK(must(Partition<std::string>::open(topic, {0})).begin_offset() == Offset{40});
  const auto several =
      admin.delete_records("t", {{{0}, all_records}, {{1}, Offset{1}}, {{7}, Offset{0}}, {{0}, Offset{3}}});
  CHECK(must(several[0].low_watermark) == Offset{100});
  CHECK(kafka_error(several[1].low_watermark.error()).name == "OFFSET_OUT_OF_RANGE");
  CHECK(several[2].low_watermark.error() == Errc::unknown_partition);
  CHECK(must(several[3].low_watermark) == Offset{100});
  CHECK(admin.delete_records("none", {0}, Offset{0}).error() == Errc::unknown_topic);
  send_numbers(topic, 1);
  batch = late.poll(0ns);
  while (batch.empty()) batch = late.poll(stretched(2s));
  CHECK(batch.begin()->offset() == Offset{100});
}

TOWPATH_ROLE("delete_records_of_t") {
  auto bus = open_bus(args.at(0));
  const auto done = Admin{bus}.delete_records("t", {0}, Offset{std::stoll(args.at(1))});
  say(done ? "left from " + std::to_string(done->value) : std::string{name(done.error().code)});
  BusConfig config = by_hand();
  config.read_only = true;
  auto looking = open_bus(args.at(0), config);
  say(std::string{"reading: "}.append(name(Admin{looking}.delete_records("t", {0}, Offset{0}).error().code)));
  say("altering: " + std::string{name(Admin{looking}.alter_configs("t", {{"retention.ms", "1"}}).error().code)});
  const auto cluster = must(Admin{looking}.describe_cluster());
  say("sees " + std::to_string(cluster.topics) + " topic, " + std::to_string(cluster.members.size()) + " members");
  return 0;
}

TEST_CASE("another process deletes records under a consumer, and one that may only read deletes nothing") {
  TempDir dir;
  auto bus = bus_in(dir);
  Texts topic{bus, "t"};
  send_numbers(topic, 100);
  Consumer consumer{topic, {.auto_offset_reset = OffsetReset::earliest, .max_poll_records = 10}};
  CHECK(consumer.poll(stretched(2s)).size() == 10);
  auto child = spawn("delete_records_of_t", {(dir / "bus").string(), "50"});
  child.wait_for("left from 50", 20s);
  child.wait_for("reading: read_only", 20s);
  child.wait_for("altering: read_only", 20s);
  child.wait_for("sees 1 topic, 0 members", 20s);
  CHECK(child.wait(20s) == exited_well);
  const auto batch = consumer.poll(stretched(2s));
  CHECK(batch.missed() == 40);
  CHECK(batch.begin()->offset() == Offset{50});
}

TEST_CASE("offsets are listed: the first, the end, by time, and the newest record") {
  TempDir dir;
  auto bus = bus_in(dir);
  Admin admin{bus};
  Texts topic{
      bus,
      "t",
      {.partitions = 2, .segment_bytes = 256_KiB, .retention = {.age = Duration::max()}, .max_message_bytes = 100'000}};
  send_numbers(topic, 50, 20'000);  // several segments, a second between records
  const auto at = [](int seconds) { return Timestamp{std::chrono::seconds{seconds}}; };
  auto listed = must(admin.list_offsets("t", OffsetSpec::latest()));
  REQUIRE(listed.size() == 2);
  const auto end = *listed[0].offset;
  CHECK(end >= Offset{50});
  CHECK(listed[1].offset == Offset{0});
  CHECK(must(admin.list_offset("t", {0}, OffsetSpec::earliest())).offset == Offset{0});
  const auto found = must(admin.list_offset("t", {0}, OffsetSpec::for_timestamp(at(20) - 1ns)));
  CHECK(found.timestamp == at(20));
  Consumer consumer{topic, reading_from(OffsetReset::earliest)};
  consumer.seek({0}, *found.offset).value();
  CHECK(consumer.poll(stretched(2s)).begin()->value().starts_with("20."));
  CHECK(must(admin.list_offset("t", {0}, OffsetSpec::max_timestamp())).timestamp == at(49));
  CHECK_FALSE(must(admin.list_offset("t", {0}, OffsetSpec::for_timestamp(at(50)))).offset.has_value());
  CHECK_FALSE(must(admin.list_offset("t", {1}, OffsetSpec::max_timestamp())).offset.has_value());
  must(admin.delete_records("t", {0}, *found.offset + 1));
  CHECK(must(admin.list_offset("t", {0}, OffsetSpec::earliest())).offset == *found.offset + 1);
  CHECK(must(admin.list_offset("t", {0}, OffsetSpec::for_timestamp(at(3)))).timestamp == at(21));
  CHECK(admin.list_offset("t", {2}, OffsetSpec::latest()).error() == Errc::unknown_partition);
  CHECK(admin.list_offsets("none", OffsetSpec::latest()).error() == Errc::unknown_topic);
}

TEST_CASE("the cluster is described: id, node, who maintains, who takes part, how much there is") {
  TempDir dir;
  auto bus = bus_in(dir);
  Admin admin{bus};
  auto cluster = must(admin.describe_cluster());
  CHECK(cluster.topics == 0);
  CHECK_FALSE(cluster.controller.has_value());
  Texts topic{bus, "t", {.partitions = 3}};
  Texts other{bus, "u"};
  Producer producer{topic};
  Consumer consumer{other};
  must(bus.maintain());
  cluster = must(admin.describe_cluster());
  CHECK(slurp(dir / "bus" / "meta.properties").find("cluster.id=" + cluster.cluster_id + "\n") != std::string::npos);
  CHECK(cluster.cluster_id.size() == 32);
  CHECK(cluster.node_id == 0);
  CHECK(cluster.topics == 2);
  CHECK(cluster.partitions == 4);
  REQUIRE(cluster.controller.has_value());
  CHECK(cluster.controller->kind == ClusterMember::Kind::maintenance);
  CHECK(cluster.controller->pid == static_cast<std::uint32_t>(::getpid()));
  std::map<ClusterMember::Kind, std::string> names;
  for (const auto& member : cluster.members) names[member.kind] = member.name;
  CHECK(cluster.members.size() == 3);
  CHECK(names[ClusterMember::Kind::producer] == "t");
  CHECK(names[ClusterMember::Kind::consumer] == "u");
  spill(dir / "bus" / "meta.properties", "version=1\n");
  CHECK(admin.describe_cluster().error() == Errc::corrupt);
  CHECK(must(Admin{Bus{}}.describe_cluster()).cluster_id.size() == 32);  // in memory too
}
