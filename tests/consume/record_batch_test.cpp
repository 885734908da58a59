// Kafka record batches in the log: consumers read their records like all others.
#include <consume/consume_support.hpp>

#include <fstream>
#include <iterator>

#include <towpath/log/record_batch_builder.hpp>

using namespace towpath;
using namespace towpath::literals;
using namespace towpath::test;

namespace {

/// Appends a Kafka batch verbatim, as a server would.
template <class T>
std::int64_t append_batch(const Topic<T>& topic, Bytes batch) {
  auto member = topic.files()->core().claim(shm::MemberKind::producer, "test").value();
  auto* log = topic.files()->partition({0}).value();
  log::Appender appender{*log, member};
  const auto header = log::RecordBatchHeader::read(batch.data());
  const auto count = static_cast<std::uint64_t>(header.last_offset_delta) + 1;
  const std::uint64_t length = log::BatchFrame::batch_at + batch.size();
  const auto room = appender.reserve({align_up(length, 64), count}, length).value();
  log::BatchFrame::write(room.frame, static_cast<std::uint32_t>(count), log::from_kafka_time(header.max_timestamp_ms),
                         batch);
  log::place_batch(room.frame + log::BatchFrame::batch_at, room.offset.value, 0);
  for (std::uint64_t i = 1; i < count; ++i) appender.place(room, i, room.position, length);
  CHECK(appender.commit(room));
  return room.offset.value;
}

/// A batch of records "0" to "count - 1", all with the key "k".
Bytes numbered(log::RecordBatchBuilder& builder, int count, const log::BatchOptions& options = {}) {
  builder.clear();
  for (int i = 0; i < count; ++i) {
    const auto value = std::to_string(i);
    builder.add(1'000 + i, Bytes{"k"}, true, Bytes{value}, true).value();
  }
  return builder.finish(Compression::none, options).value();
}

std::vector<std::byte> golden(const std::string& name) {
  std::ifstream in{TOWPATH_TEST_SOURCE_DIR "/golden/" + name, std::ios::binary};
  const std::string text{std::istreambuf_iterator<char>{in}, {}};
  REQUIRE_FALSE(text.empty());
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return {bytes, bytes + text.size()};
}

struct Mixed {
  Bus bus;
  Topic<std::string> topic{bus, "t", {.retention = {.age = Duration::max()}}};  // the records here are of 1970
  Producer<std::string> producer{topic};
  log::RecordBatchBuilder builder;
};

std::vector<std::string> all_of(const Topic<std::string>& topic, std::size_t max_poll_records, std::int64_t from = 0) {
  Consumer<std::string> consumer{topic, {.max_poll_records = max_poll_records}};
  consumer.seek({0}, Offset{from}).value();
  std::vector<std::string> read;
  for (auto batch = consumer.poll(0ms); !batch.empty(); batch = consumer.poll(0ms)) {
    CHECK(batch.size() <= max_poll_records);
    std::size_t seen = 0;
    for (const auto& record : batch)
      read.push_back(std::to_string(record.offset().value) + ":" + std::string{record.value()}), ++seen;
    CHECK(seen == batch.size());
  }
  return read;
}

}  // namespace

TEST_CASE("the records of a Kafka batch are read among native ones, from any offset, in polls of any size") {
  Mixed t;
  t.producer.send("a").value();
  append_batch(t.topic, numbered(t.builder, 5));
  t.producer.send_batch(std::vector<std::string>{"b", "c"}).value();
  append_batch(t.topic, numbered(t.builder, 1));
  t.producer.send("d").value();
  const std::vector<std::string> expected{"0:a", "1:0", "2:1", "3:2", "4:3", "5:4", "6:b", "7:c", "8:0", "9:d"};
  for (const std::size_t size : {1u, 2u, 3u, 4u, 100u})
    for (std::size_t from = 0; from <= expected.size(); ++from)
      CHECK(all_of(t.topic, size, static_cast<std::int64_t>(from)) ==
            std::vector<std::string>(expected.begin() + static_cast<std::ptrdiff_t>(from), expected.end()));
}

TEST_CASE(
    "a record of a Kafka batch tells key, value, headers, time and producer like any other, but no checksum of its "
    "own") {
  Mixed t;
  const Header header{"trace", Bytes{"7"}, false};
  t.builder.add(1'700'000'000'123, Bytes{"key"}, true, Bytes{"value"}, true, {&header, 1}).value();
  t.builder.add(1'700'000'000'122, Bytes{}, false, Bytes{}, false).value();
  append_batch(
      t.topic,
      t.builder.finish(Compression::none, {.producer_id = 9, .producer_epoch = 2, .base_sequence = 40}).value());
  Consumer consumer{t.topic, from(OffsetReset::earliest)};
  const auto batch = consumer.poll(0ms);
  REQUIRE(batch.size() == 2);
  auto record = batch.begin();
  CHECK(record->key().text() == "key");
  CHECK(record->value() == "value");
  CHECK(record->timestamp() == Timestamp{1'700'000'000'123ms});
  CHECK(record->timestamp_type() == TimestampType::create_time);
  REQUIRE_FALSE(record->headers().empty());
  CHECK((*record->headers().begin()).value.text() == "7");
  CHECK(record->producer() == log::ProducerMark{9, 40, 2, 0});
  CHECK_FALSE(record->checksum());
  ++record;
  CHECK((record->is_tombstone() && !record->has_key()));
  CHECK(record->producer().sequence == 41);
}

TEST_CASE("offsets that compaction took out of a batch are passed over, and so are Kafka's transaction markers") {
  Mixed t;
  t.builder.skip(2);
  t.builder.add(1, Bytes{}, false, Bytes{"kept"}, true).value();
  t.builder.skip(3);
  append_batch(t.topic, t.builder.finish().value());
  append_batch(t.topic, numbered(t.builder, 1, {.control = true}));
  t.producer.send("end").value();
  for (std::int64_t from = 0; from <= 2; ++from)
    CHECK(all_of(t.topic, 100, from) == std::vector<std::string>{"2:kept", "7:end"});
  for (std::int64_t from = 3; from <= 7; ++from) CHECK(all_of(t.topic, 1, from) == std::vector<std::string>{"7:end"});
}

TEST_CASE("values in a batch are given at their type's alignment") {
  struct alignas(32) Wide {
    double x[4];
  };
  Bus bus;
  Topic<Wide> topic{bus, "t"};
  log::RecordBatchBuilder builder;
  for (int i = 0; i < 9; ++i) {
    const Wide wide{{1.0 * i, 0, 0, 2.0 * i}};
    builder.add(1, Bytes{"odd"}, i % 2 == 0, Bytes{reinterpret_cast<const std::byte*>(&wide), sizeof wide}, true)
        .value();
  }
  append_batch(topic, builder.finish().value());
  Consumer consumer{topic, from(OffsetReset::earliest)};
  double expected = 0;
  for (const auto& record : consumer.poll(0ms)) {
    CHECK(reinterpret_cast<std::uintptr_t>(&record.value()) % 32 == 0);
    CHECK(record.value().x[3] == 2.0 * expected++);
  }
  CHECK(expected == 9);
}

TEST_CASE("a batch in a codec that this program does not have stops the reader there, and it can seek past") {
  Mixed t;
  t.producer.send("a").value();
  const auto bytes = golden("record_batch_librdkafka_zstd.bin");
  append_batch(t.topic, Bytes{bytes.data(), bytes.size()});
  const auto behind = t.producer.send("b").value().offset;
  Consumer consumer{t.topic, from(OffsetReset::earliest)};
  CHECK(consumer.poll(0ms).size() == 1);
  const auto batch = consumer.poll(0ms);
  CHECK(batch.error() == Errc::unsupported_compression);
  CHECK(std::string_view{batch.error().detail} == "zstd");
  CHECK(batch.error_offset() == Offset{1});
  CHECK(consumer.position({0}).value() == Offset{1});
  consumer.seek({0}, behind).value();
  CHECK(read_texts(consumer, 1) == std::vector<std::string>{"b"});
}

TEST_CASE("a batch that is damaged anywhere gives no record that was not sent, and the reader can seek past it") {
  Mixed clean;
  const Bytes bytes = numbered(clean.builder, 3);
  for (std::size_t at = 12; at < bytes.size(); ++at) {
    Mixed t;
    std::vector<std::byte> damaged{bytes.begin(), bytes.end()};
    damaged[at] ^= std::byte{0x41};
    const bool outside_the_crc = at < 17;  // the leader epoch, and the magic byte
    CAPTURE(at);
    log::RecordBatchBuilder untouched;
    append_batch(t.topic, numbered(untouched, 3));
    const auto* log = t.topic.files()->partition({0}).value();
    auto segment = log->open(0, log::Use::append).value();
    std::memcpy(segment.data + log::BatchFrame::batch_at, damaged.data(), damaged.size());
    t.producer.send("end").value();
    Consumer consumer{t.topic, from(OffsetReset::earliest)};
    const auto batch = consumer.poll(0ms);
    if (!batch.empty()) {
      CHECK((outside_the_crc && batch.size() == 4));
      continue;
    }
    CHECK(batch.error() == Errc::corrupt);
    CHECK(batch.error_offset() == Offset{0});
    consumer.seek({0}, Offset{3}).value();
    CHECK(read_texts(consumer, 1) == std::vector<std::string>{"end"});
  }
}

TEST_CASE("a batch of a client that stamps on append says so") {
  Mixed t;
  append_batch(t.topic, numbered(t.builder, 2, {.append_time_ms = 5'000}));
  Consumer consumer{t.topic, from(OffsetReset::earliest)};
  for (const auto& record : consumer.poll(0ms)) {
    CHECK(record.timestamp_type() == TimestampType::log_append_time);
    CHECK(record.timestamp() == Timestamp{5s});
  }
}

TEST_CASE("a time inside a Kafka batch is found to the record, in the last segment and in a sealed one") {
  Bus bus;
  Topic<std::string> topic{bus, "t", {.segment_bytes = 256_KiB, .retention = {.age = Duration::max()}}};
  Producer<std::string> producer{topic};
  log::RecordBatchBuilder builder;
  producer.send("before", {.timestamp = Timestamp{500ms}}).value();
  append_batch(topic, numbered(builder, 5));  // at 1,000 to 1,004 ms
  producer.send("after", {.timestamp = Timestamp{2s}}).value();
  Consumer<std::string> consumer{topic};
  const auto first_from = [&](Duration since_epoch) {
    consumer.seek_to_time(Timestamp{since_epoch}).value();
    const auto batch = consumer.poll(0ms);
    return batch.empty() ? std::string{} : std::string{batch.begin()->value()};
  };
  for (const bool is_sealed : {false, true}) {
    CAPTURE(is_sealed);
    CHECK(first_from(400ms) == "before");
    CHECK(first_from(501ms) == "0");
    CHECK(first_from(1'003ms) == "3");
    CHECK(first_from(1'004ms) == "4");
    CHECK(first_from(1'005ms) == "after");
    const std::string filler(100'000, 'x');
    for (int i = 0; i < 6; ++i) producer.send(filler, {.timestamp = Timestamp{3s}}).value();
  }
}

TEST_CASE("records deleted up to the middle of a batch: what is behind is read, and found by its time") {
  for (const bool is_packed : {false, true}) {
    CAPTURE(is_packed);
    Mixed t;
    t.producer.send("before", {.timestamp = Timestamp{500ms}}).value();
    if (is_packed)
      append_batch(t.topic, numbered(t.builder, 5));
    else
      t.producer.send_batch(std::vector<std::string>{"0", "1", "2", "3", "4"}, {.timestamp = Timestamp{1'004ms}})
          .value();
    t.producer.send("after", {.timestamp = Timestamp{2s}}).value();
    CHECK(Admin{t.bus}.delete_records("t", {0}, Offset{4}).value() == Offset{4});  // "0" is at offset 1
    CHECK(all_of(t.topic, 500, 4).size() == 3);
    Consumer<std::string> consumer{t.topic, {.auto_offset_reset = OffsetReset::earliest}};
    const auto batch = consumer.poll(0ms);
    REQUIRE_FALSE(batch.empty());
    CHECK(batch.begin()->value() == "3");
    consumer.seek_to_time(Timestamp{1'000ms}).value();
    const auto found = consumer.poll(0ms);
    REQUIRE_FALSE(found.empty());
    CHECK(found.begin()->value() == "3");
    consumer.seek_to_time(Timestamp{1'500ms}).value();
    const auto behind = consumer.poll(0ms);
    REQUIRE_FALSE(behind.empty());
    CHECK(behind.begin()->value() == "after");
  }
}

TEST_CASE("a batch whose latest record was deleted is passed over by a search for its time") {
  Mixed t;
  t.builder.clear();
  for (const std::int64_t at : {9'000, 1'000, 2'000}) t.builder.add(at, {}, false, Bytes{"x"}, true).value();
  append_batch(t.topic, t.builder.finish(Compression::none).value());
  t.producer.send("after", {.timestamp = Timestamp{5s}}).value();
  Admin admin{t.bus};
  CHECK(admin.delete_records("t", {0}, Offset{1}).value() == Offset{1});
  CHECK(admin.list_offset("t", {0}, OffsetSpec::for_timestamp(Timestamp{1'500ms})).value().offset == Offset{2});
  CHECK(admin.list_offset("t", {0}, OffsetSpec::for_timestamp(Timestamp{3s})).value().offset == Offset{3});
}
