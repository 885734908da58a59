#include <adapters_json/json_support.hpp>

#include <limits>
#include <thread>

using namespace towpath;
using namespace towpath::test;

namespace {

struct Robot {
  std::string name;
  int number = 0;
  friend bool operator==(const Robot&, const Robot&) = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Robot, name, number)

}  // namespace

template <>
struct towpath::Serde<Robot> : towpath::JsonSerde<Robot> {};

namespace {

static_assert(noexcept(std::declval<Producer<Route, JsonSerde<Route>>&>().send(Route{})));
static_assert(noexcept(JsonSerde<Route>::decode(Bytes{})));

template <template <class> class S>
void exchange_routes() {
  Bus bus;
  Topic<Route, S<Route>> topic{bus, "routes"};
  Producer producer{topic};
  Consumer consumer{topic};
  producer.send(a_route()).value();
  producer.send(Route{}).value();
  const auto batch = consumer.poll(stretched(2s));
  REQUIRE(batch.size() == 2);
  auto record = batch.begin();
  CHECK(record->value() == a_route());
  CHECK((++record)->value() == Route{});
}

template <template <class> class S>
void exchange_anything() {
  Bus bus;
  Topic<nlohmann::json, S<nlohmann::json>> topic{bus, "anything"};
  Producer producer{topic};
  Consumer consumer{topic};
  const std::vector<nlohmann::json> values{nullptr,
                                           true,
                                           -5,
                                           std::numeric_limits<std::uint64_t>::max(),
                                           0.1,
                                           "",
                                           "\u20ac \U0001F600",
                                           nlohmann::json::array(),
                                           nlohmann::json::object(),
                                           {{"a/b", {1, {{"~", nullptr}}}}}};
  for (const auto& value : values) producer.send(value).value();
  const auto batch = consumer.poll(stretched(2s));
  REQUIRE(batch.size() == values.size());
  for (const auto& record : batch) CHECK(record.value() == values[static_cast<std::size_t>(record.offset().value)]);
}

/// send() refuses it, and nothing is appended: the next record has offset 0. Returns what explain_value() says.
template <class S, class T>
std::string not_sent(const T& value, const T& good) {
  Bus bus;
  Topic<T, S> topic{bus, "values"};
  Producer producer{topic};
  const auto sent = producer.send(value);
  CHECK(sent.error() == Errc::invalid_argument);
  CHECK(std::string_view{sent.error().detail} != "");
  CHECK(producer.send(good).value().offset == Offset{0});
  CHECK(S::explain_value(good) == "");
  CHECK_THROWS_AS(S::size(value), Error);
  return S::explain_value(value);
}

}  // namespace

TEST_CASE("a value comes out of a topic as it went in, in each encoding") {
  exchange_routes<JsonSerde>();
  exchange_routes<MsgpackSerde>();
  exchange_routes<CborSerde>();
}

TEST_CASE("a json value of any kind comes out as it went in, in each encoding") {
  exchange_anything<JsonSerde>();
  exchange_anything<MsgpackSerde>();
  exchange_anything<CborSerde>();
}

TEST_CASE("a record holds plain JSON text, and so it is written") {
  CHECK(encoded_by<JsonSerde<Route>>(a_route()) ==
        "{\"counts\":{\"left\":2,\"right\":-7},\"goal\":\"d\u00f6ck\",\"pose\":{\"x\":0.5,\"y\":-1.5},"
        "\"waypoints\":[{\"x\":1.0,\"y\":2.0},{\"x\":3.0,\"y\":4.25}]}");
  CHECK(JsonSerde<Route>::decode(encoded_by<JsonSerde<Route>>(a_route())).value() == a_route());
}

TEST_CASE("one line makes an encoding the type's own, for topics, specs and keys") {
  static constexpr TopicSpec<Robot> spec{"robots", {.partitions = 4}};
  Bus bus;
  Topic robots{bus, spec};
  Producer producer{robots};
  Consumer consumer{robots};
  producer.send({"ada", 7}).value();
  const auto batch = consumer.poll(stretched(2s));
  REQUIRE(batch.size() == 1);
  CHECK(batch.begin()->value() == Robot{"ada", 7});
  CHECK(schema_of<Robot, Serde<Robot>>().encoding == "json");
}

TEST_CASE("equal keys meet in one partition and come out as values; what is no such key is none") {
  Bus bus;
  Topic<std::string> topic{bus, "jobs", {.partitions = 16}};
  Producer producer{topic};
  Consumer consumer{topic};
  using Keys = JsonSerde<Robot>;
  const auto first = producer.send("one", {.key = Keys::key({"ada", 7}).value()}).value();
  const auto again = producer.send("two", {.key = MsgpackSerde<Robot>::key({"ada", 7}).value()}).value();
  const auto third = producer.send("three", {.key = Keys::key({"ada", 7}).value()}).value();
  producer.send("none", {.partition = PartitionId{first.partition}}).value();
  CHECK(first.partition == third.partition);
  std::size_t seen = 0;
  while (seen < 4) {
    const auto batch = consumer.poll(stretched(2s));
    REQUIRE_FALSE(batch.empty());
    for (const auto& record : batch) {
      ++seen;
      const auto as_json = record.template key_as<Robot, Keys>();
      const auto as_msgpack = record.template key_as<Robot, MsgpackSerde<Robot>>();
      CHECK(as_json.has_value() == (record.value() == "one" || record.value() == "three"));
      CHECK(as_msgpack.has_value() == (record.value() == "two"));
      if (as_json) CHECK(*as_json == Robot{"ada", 7});
      if (as_msgpack) CHECK(*as_msgpack == Robot{"ada", 7});
    }
  }
  CHECK(again.offset >= Offset{0});
  CHECK(Keys::key({"\xFF", 1}).error() == Errc::invalid_argument);
}

TEST_CASE("a value is converted once per send, also when it is refused") {
  Bus bus;
  Topic<Counted, JsonSerde<Counted>> topic{bus, "counted"};
  Producer producer{topic};
  Counted::conversions = 0;
  for (int i = 0; i < 10; ++i) producer.send({i}).value();
  CHECK(Counted::conversions == 10);
  CHECK(producer.send({-1}).error() == Errc::invalid_argument);
  CHECK(Counted::conversions == 11);
}

TEST_CASE("size() and encode() of values and types may alternate: nothing is remembered of the last one") {
  using Json = JsonSerde<Route>;
  using Packed = MsgpackSerde<Route>;
  Route route = a_route();
  const auto json = encoded_by<Json>(route);
  const auto packed = encoded_by<Packed>(route);
  const auto json_size = Json::size(route);
  const auto packed_size = Packed::size(route);  // another encoding, the same object
  const auto number_size = JsonSerde<int>::size(12345);
  route.goal = "k\u00f6ln";  // another value, the same object
  std::string text(json_size, '\0');
  Json::encode(a_route(), std::as_writable_bytes(std::span{text}));
  CHECK(text == json);
  std::string bytes(packed_size, '\0');
  Packed::encode(a_route(), std::as_writable_bytes(std::span{bytes}));
  CHECK(bytes == packed);
  CHECK(encoded_by<Json>(route) != json);
  CHECK(number_size == 5);
  std::string small(3, '\0');
  CHECK_THROWS_AS(Json::encode(route, std::as_writable_bytes(std::span{small})), Error);
}

TEST_CASE("what JSON cannot hold is refused with its place, and nothing is appended") {
  using Anything = JsonSerde<nlohmann::json>;
  const auto not_json = [](const nlohmann::json& value) { return not_sent<Anything, nlohmann::json>(value, 1); };
  Route route = a_route();
  route.waypoints[1].y = std::numeric_limits<double>::quiet_NaN();
  CHECK(not_sent<JsonSerde<Route>>(route, a_route()).starts_with("/waypoints/1/y: a number is NaN or infinite"));
  CHECK(not_json(-std::numeric_limits<double>::infinity()).starts_with("a number is NaN or infinite"));
  CHECK(not_json({{"a/b", {"fine", "\xC3"}}}) == "/a~1b/1: a text is not UTF-8");
  CHECK(not_json({{"\xED\xA0\x80", 1}}) == "a key is not UTF-8");
  CHECK(not_json(nlohmann::json::binary({1, 2})) == "json::binary has no form in JSON text");
  CHECK(not_json(nlohmann::json(nlohmann::json::value_t::discarded)) == "a discarded json value");
  CHECK(not_json(nested(129)).ends_with("nested deeper than 128 levels"));
  CHECK(not_json(nested(100'000)).ends_with("nested deeper than 128 levels"));
  CHECK(Anything::explain_value(nested(128)) == "");
  CHECK(not_sent<JsonSerde<Counted>>(Counted{-1}, Counted{1}) == "to_json threw: no number below zero");
}

TEST_CASE("a poll ends before bytes that are no value, and says why; the position stays") {
  Bus bus;
  Topic<Route, JsonSerde<Route>> topic{bus, "routes"};
  Topic<Bytes> raw{bus, "routes"};
  Consumer consumer{topic};
  Producer<Bytes> foreign{raw};
  Producer{topic}.send(a_route()).value();
  foreign.send(std::string_view{R"({"goal": 5})"}).value();
  foreign.send(std::string_view{"{"}).value();
  Producer{topic}.send(a_route()).value();
  CHECK(consumer.poll(stretched(2s)).size() == 1);
  const auto wrong = consumer.poll(stretched(2s));
  CHECK(wrong.error() == Errc::undecodable);
  CHECK(std::string_view{wrong.error().detail}.find("a field is missing or of another type") == 0);
  CHECK(wrong.error_offset() == Offset{1});
  consumer.seek({0}, Offset{2}).value();
  const auto torn = consumer.poll(stretched(2s));
  CHECK(std::string_view{torn.error().detail}.find("the bytes are no JSON") == 0);
  CHECK(torn.error_offset() == Offset{2});
  consumer.seek({0}, Offset{3}).value();
  CHECK(consumer.poll(stretched(2s)).size() == 1);
}

TEST_CASE("another encoding of the same type is another topic type, and the failure says so") {
  Bus bus;
  Topic<Route, JsonSerde<Route>> topic{bus, "routes"};
  CHECK((Topic<Route, CborSerde<Route>>::open(bus, "routes").error()) == Errc::type_mismatch);
  CHECK((Topic<Route, JsonSerde<Route>>::open(bus, "routes").has_value()));
  CHECK(schema_of<nlohmann::json, JsonSerde<nlohmann::json>>().name == "json");
}

TEST_CASE("threads encode and decode at once, each its own values") {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t, &wrong] {
      for (int i = 0; i < 200; ++i) {
        const Route route{std::to_string(t), {double(i), 0}, {}, {{"thread", t}}};
        const auto text = encoded_by<JsonSerde<Route>>(route);
        const auto packed = encoded_by<CborSerde<Route>>(route);
        if (!(JsonSerde<Route>::decode(text).value() == route)) ++wrong;
        if (!(CborSerde<Route>::decode(packed).value() == route)) ++wrong;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TOWPATH_ROLE("send_route") {
  Bus bus{args.at(0)};
  Topic<Route, JsonSerde<Route>> topic{bus, "routes"};
  Producer producer{topic};
  producer.send(a_route(), {.key = JsonSerde<Place>::key({1, 2}).value()}).value();
  return 0;
}

TEST_CASE("another process reads the value and its key") {
  TempDir dir;
  const auto path = (dir / "bus").string();
  auto child = spawn("send_route", {path});
  CHECK(child.wait(20s) == exited_well);
  Bus bus{path};
  Topic<Route, JsonSerde<Route>> topic{bus, "routes"};
  Consumer consumer{topic, {.auto_offset_reset = OffsetReset::earliest}};
  const auto batch = consumer.poll(stretched(5s));
  REQUIRE(batch.size() == 1);
  CHECK(batch.begin()->value() == a_route());
  CHECK((batch.begin()->key_as<Place, JsonSerde<Place>>() == Place{1, 2}));
}
