// send_batch(): several records in one reservation, seen whole or not at all.
#include <support/support.hpp>

#include <doctest/doctest.h>

#include <towpath/towpath.hpp>

using namespace towpath;
using namespace towpath::literals;
using namespace towpath::test;

namespace {

struct Point {
  std::int64_t x, y;
};

/// Gives up in the middle of a batch, on request.
struct Fragile {
  std::uint32_t number = 0;
};
struct FragileSerde {
  using View = std::uint32_t;
  static std::size_t size(const Fragile&) { return 4; }
  static void encode(const Fragile& value, std::span<std::byte> out) {
#if TOWPATH_EXCEPTIONS
    if (value.number == 13) throw 13;
#endif
    std::memcpy(out.data(), &value.number, 4);
  }
  static bool accepts(Bytes bytes) noexcept { return bytes.size() == 4; }
  static View view(Bytes bytes) noexcept {
    std::uint32_t number;
    std::memcpy(&number, bytes.data(), 4);
    return number;
  }
};

template <class T, class S = Serde<T>>
struct BatchSetup {
  Bus bus;
  Topic<T, S> topic;
  Producer<T, S> producer;
  Consumer<T, S> consumer;
  explicit BatchSetup(const TopicConfig& config = {})
      : topic{bus, "t", config}, producer{topic}, consumer{topic, {.auto_offset_reset = OffsetReset::earliest}} {}
  auto poll() { return consumer.poll(0ms); }
};

std::vector<std::string> several(int count, std::size_t size = 10) {
  std::vector<std::string> values;
  for (int i = 0; i < count; ++i) values.push_back(std::to_string(i) + std::string(size, '.'));
  return values;
}

}  // namespace

TEST_CASE("the values of a batch come in order, each with the batch's key, headers and time") {
  BatchSetup<std::string> t;
  t.producer.send("before").value();
  const Timestamp time{123'456'789ns};
  const auto sent =
      t.producer.send_batch(several(20), {.key = "robot", .headers = {{"a", Bytes{"b"}}}, .timestamp = time}).value();
  CHECK(sent.partition == PartitionId{0});
  CHECK(sent.first == Offset{1});
  CHECK(sent.count == 20);
  CHECK(t.producer.send("after").value().offset == Offset{21});
  const auto batch = t.poll();
  REQUIRE(batch.size() == 22);
  std::int64_t offset = 0;
  for (const auto& record : batch) {
    CHECK(record.offset() == Offset{offset});
    if (offset >= 1 && offset <= 20) {
      CHECK(record.value() == several(20)[static_cast<std::size_t>(offset - 1)]);
      CHECK(record.key().text() == "robot");
      CHECK(record.timestamp() == time);
      REQUIRE_FALSE(record.headers().empty());
      CHECK((*record.headers().begin()).value.text() == "b");
    }
    ++offset;
  }
}

TEST_CASE("the records of a batch may differ in value, key, headers and time, and have no value at all") {
  BatchSetup<Point> t;
  const Point a{1, 2}, b{3, 4};
  const Header headers[] = {{"h", Bytes{"v"}}};
  const Outgoing<Point> records[] = {{&a, "left"},
                                     {.value = &b, .timestamp = Timestamp{5ns}},
                                     {nullptr, "left"},
                                     {.value = &a, .headers = headers}};
  t.producer.send_batch(records, {.timestamp = Timestamp{7ns}}).value();
  const auto batch = t.poll();
  REQUIRE(batch.size() == 4);
  auto record = batch.begin();
  CHECK((record->key().text() == "left" && record->value().y == 2 && record->timestamp() == Timestamp{7ns}));
  ++record;
  CHECK((!record->has_key() && record->value().x == 3 && record->timestamp() == Timestamp{5ns}));
  ++record;
  CHECK((record->key().text() == "left" && record->is_tombstone()));
  ++record;
  CHECK((record->value().x == 1 && (*record->headers().begin()).key == "h"));
}

TEST_CASE("a batch goes to the partition of its keys; keys of several partitions are refused unless one is named") {
  BatchSetup<Point> t{{.partitions = 8}};
  const Point value{};
  std::map<std::int32_t, std::string> key_of;
  for (int i = 0; key_of.size() < 8; ++i) {
    const auto key = std::to_string(i);
    key_of[t.producer.send(value, {.key = key}).value().partition.value] = key;
  }
  const Outgoing<Point> same[] = {{&value, key_of[3]}, {&value, key_of[3]}, {&value}};
  CHECK(t.producer.send_batch(same).value().partition == PartitionId{3});
  const Outgoing<Point> mixed[] = {{&value, key_of[3]}, {&value, key_of[4]}};
  const auto refused = t.producer.send_batch(mixed);
  REQUIRE(refused.error() == Errc::invalid_argument);
  CHECK(std::string_view{refused.error().detail}.find("keys") != std::string_view::npos);
  CHECK(t.producer.send_batch(mixed, {.partition = PartitionId{5}}).value().partition == PartitionId{5});
  CHECK(t.producer.send_batch(mixed, {.partition = PartitionId{8}}).error() == Errc::unknown_partition);
  const std::vector<Point> many(3);
  CHECK(t.producer.send_batch(many, {.key = key_of[6]}).value().partition == PartitionId{6});
}

TEST_CASE("a batch that cannot be sent says why and leaves nothing behind") {
  BatchSetup<std::string> t{{.segment_bytes = 256_KiB, .max_message_bytes = 100_KiB}};
  CHECK(t.producer.send_batch(std::vector<std::string>{}).error() == Errc::invalid_argument);
  CHECK(t.producer.send_batch(several(2, 101'000)).has_value());
  auto one_too_large = several(3);
  one_too_large[1] = std::string(103'000, 'x');
  CHECK(t.producer.send_batch(one_too_large).error() == Errc::message_too_large);
  const auto too_large = t.producer.send_batch(several(3, 100'000)).error();
  CHECK(too_large == Errc::message_too_large);
  CHECK(std::string_view{too_large.detail}.find("segment_bytes") != std::string_view::npos);
  {
    auto loan = t.producer.loan(8).value();
    CHECK(t.producer.send_batch(several(2)).error() == Errc::loan_open);
  }
  CHECK(t.poll().size() == 2);
  CHECK(t.producer.send("next").value().offset == Offset{3});  // the loan had 2
}

TEST_CASE("batches roll from segment to segment, of every size, and readers find every record") {
  BatchSetup<std::string> t{{.segment_bytes = 256_KiB}};
  int sent = 0;
  for (int round = 0; round < 60; ++round) {
    const int count = 1 + round * 37 % 300;
    t.producer.send_batch(several(count, static_cast<std::size_t>(round) * 13)).value();
    sent += count;
  }
  int read = 0;
  for (auto batch = t.poll(); !batch.empty(); batch = t.poll()) read += static_cast<int>(batch.size());
  CHECK(read == sent);
}

TEST_CASE("the records of a batch of aligned structs are read in place") {
  struct alignas(64) Wide {
    double x[8];
  };
  BatchSetup<Wide> t;
  std::vector<Wide> values(33);
  for (std::size_t i = 0; i < values.size(); ++i) values[i].x[7] = static_cast<double>(i);
  t.producer.send_batch(values).value();
  double expected = 0;
  for (const auto& record : t.poll()) {
    CHECK(reinterpret_cast<std::uintptr_t>(&record.value()) % 64 == 0);
    CHECK(record.value().x[7] == expected++);
  }
  CHECK(expected == 33);
}

TEST_CASE("packing without the codec is refused when the producer is made, with what to do") {
  Bus bus;
  Topic<std::string> topic{bus, "t"};
  const auto refused = Producer<std::string>::open(topic, {.compression = Compression::zstd});
  REQUIRE(refused.error() == Errc::unsupported_compression);
  CHECK(message(refused.error().code).find("adapters/compression.hpp") != std::string_view::npos);
}

#if TOWPATH_EXCEPTIONS
TEST_CASE("an encode that throws in the middle of a batch gives up all of it, and the next send works") {
  BatchSetup<Fragile, FragileSerde> t;
  std::vector<Fragile> values;
  for (std::uint32_t i = 0; i < 30; ++i) values.push_back({i});
  CHECK_THROWS_AS((void)t.producer.send_batch(values), int);
  values.resize(13);
  CHECK(t.producer.send_batch(values).value().first == Offset{30});
  std::uint32_t expected = 0;
  for (const auto& record : t.poll()) CHECK(record.value() == expected++);
  CHECK(expected == 13);
}
#endif
