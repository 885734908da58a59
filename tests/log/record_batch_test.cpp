#include <log/batch_support.hpp>

#include <limits>
#include <random>

using namespace towpath;
using namespace towpath::test;
using log::BatchHeaders;
using log::BatchRecord;
using log::BatchRecords;
using log::RecordBatchBuilder;
using log::RecordBatchHeader;
using log::RecordBatchView;
using log::UnpackedBatch;

namespace {

/// The reason why a batch is refused; empty when it is not.
std::string refusal(const BatchBytes& bytes) {
  const auto view = RecordBatchView::parse(bytes);
  if (view) return "";
  CHECK(view.error() == Errc::corrupt);
  return view.error().detail;
}

/// The same batch with other words in its header, and a checksum that fits.
BatchBytes with_header(BatchBytes batch, void (*change)(RecordBatchHeader&)) {
  auto header = RecordBatchHeader::read(batch.data());
  change(header);
  header.write(batch.data());
  log::store_big_endian(batch.data() + 17, log::batch_checksum(Bytes{batch}));
  return batch;
}

/// A batch around records that are given as bytes, whatever they say.
BatchBytes around(const std::vector<int>& records, std::int32_t count, std::int32_t last_offset_delta) {
  BatchBytes batch(log::batch_header_bytes);
  for (const int byte : records) batch.push_back(static_cast<std::byte>(byte));
  RecordBatchHeader header;
  header.record_count = count;
  header.last_offset_delta = last_offset_delta;
  header.base_timestamp_ms = header.max_timestamp_ms = golden_base_ms;
  header.write(batch.data());
  reseal(batch);
  return batch;
}

std::string unpack_refusal(const BatchBytes& bytes, std::uint64_t alignment = 8) {
  UnpackedBatch batch;
  const auto done = batch.unpack(bytes, alignment, golden_budget);
  CHECK(batch.empty() == !done.has_value());
  return done.error().detail;
}

const PlainRecord one_record{golden_base_ms, "key", "value", {{"name", "text"}}};

}  // namespace

TEST_CASE("a batch says what the client that made it put into it") {
  const auto python = golden_batch("kafka_python", "none");
  const auto view = RecordBatchView::parse(python);
  REQUIRE(view.has_value());
  CHECK(view->base_offset() == 0);
  CHECK(view->last_offset() == 24);
  CHECK(view->last_offset_delta() == 24);
  CHECK(view->leader_epoch() == 0);
  CHECK(view->attributes() == 0);
  CHECK(view->compression() == Compression::none);
  CHECK(view->base_timestamp_ms() == golden_base_ms);
  CHECK(view->max_timestamp_ms() == golden_base_ms + 200);
  CHECK(view->producer_id() == 4711);
  CHECK(view->producer_epoch() == 3);
  CHECK(view->base_sequence() == 42);
  CHECK(view->record_count() == 25);
  CHECK_FALSE(view->is_append_time());
  CHECK_FALSE(view->is_transactional());
  CHECK_FALSE(view->is_control());
  CHECK(view->bytes() == Bytes{python});
  CHECK(view->records().size() == python.size() - 61);
  CHECK(RecordBatchView::parse(golden_batch("kafka_python", "gzip"))->is_transactional());
  CHECK(RecordBatchView::parse(golden_batch("kafka_python", "gzip"))->compression() == Compression::gzip);

  const auto rdkafka = golden_batch("librdkafka", "none");
  const auto other = RecordBatchView::parse(rdkafka);
  REQUIRE(other.has_value());
  CHECK(other->producer_id() == -1);
  CHECK(other->producer_epoch() == -1);
  CHECK(other->base_sequence() == -1);
  CHECK(other->record_count() == 25);
  const auto idempotent = golden_batch("librdkafka", "zstd");
  CHECK(RecordBatchView::parse(idempotent)->producer_id() > 0);
  CHECK(RecordBatchView::parse(idempotent)->base_sequence() == 0);
}

TEST_CASE("the records of a batch are walked in place, with every key, value, header and time") {
  for (const char* client : {"kafka_python", "librdkafka"}) {
    const auto bytes = golden_batch(client, "none");
    const auto view = RecordBatchView::parse(bytes);
    REQUIRE(view.has_value());
    std::vector<PlainRecord> found;
    BatchRecords records{*view, view->records()};
    for (BatchRecord record; records.next(record);) {
      CHECK(record.offset_delta == static_cast<std::int32_t>(found.size()));
      PlainRecord plain_record{record.timestamp_ms, plain(record.key, record.has_key),
                               plain(record.value, record.has_value)};
      take_headers(plain_record, record.headers);
      found.push_back(plain_record);
    }
    CHECK(records.failure() == Errc::ok);
    CHECK(found == golden_records());
  }
}

TEST_CASE("the same records make the same bytes as Kafka's clients make") {
  log::BatchOptions options{.producer_id = 4711, .producer_epoch = 3, .base_sequence = 42, .leader_epoch = 0};
  CHECK(batch_of(golden_records(), Compression::none, options) == golden_batch("kafka_python", "none"));
  CHECK(batch_of(golden_records(), Compression::none, {.leader_epoch = 0}) == golden_batch("librdkafka", "none"));
}

TEST_CASE("unpacked records are native frames with the same key, value, nulls and headers, at any alignment") {
  UnpackedBatch batch;
  check_golden(batch, golden_batch("kafka_python", "none"));
  check_golden(batch, golden_batch("librdkafka", "none"));
  CHECK(batch.header().record_count == 25);
}

TEST_CASE("what is unpacked does not depend on the batch's bytes any more") {
  auto bytes = golden_batch("kafka_python", "none");
  UnpackedBatch batch;
  REQUIRE(batch.unpack(bytes, 16, golden_budget).has_value());
  std::fill(bytes.begin(), bytes.end(), std::byte{0xEE});
  CHECK(unpacked_records(batch, 16) == golden_records());
  UnpackedBatch moved{std::move(batch)};
  CHECK(unpacked_records(moved, 16) == golden_records());
}

TEST_CASE("an unpacked batch takes its memory again for the next one") {
  const auto large = golden_batch("kafka_python", "none");
  const auto small = batch_of({one_record});
  UnpackedBatch batch;
  REQUIRE(batch.unpack(large, 64, golden_budget).has_value());
  const auto* const memory = batch.frame(0)->data;
  for (int i = 0; i < 10; ++i) {
    REQUIRE(batch.unpack(small, 64, golden_budget).has_value());
    CHECK(batch.frame(0)->data == memory);
    CHECK(unpacked_records(batch, 64) == std::vector{one_record});
    CHECK_FALSE(batch.frame(1).has_value());
    REQUIRE(batch.unpack(large, 64, golden_budget).has_value());
    CHECK(batch.frame(0)->data == memory);
  }
}

TEST_CASE("offsets that were skipped are holes, and every record is found at its own offset") {
  std::mt19937_64 random{7};
  for (int round = 0; round < 100; ++round) {
    RecordBatchBuilder builder;
    std::vector<bool> is_there;
    const auto offsets = 1 + random() % 60;
    for (std::uint64_t i = 0; i < offsets; ++i) {
      is_there.push_back(random() % 3 != 0);
      if (!is_there.back()) builder.skip();
      if (is_there.back()) add_plain(builder, {golden_base_ms, "", std::to_string(i)});
    }
    CHECK(builder.offset_count() == static_cast<std::int32_t>(offsets));
    UnpackedBatch batch;
    const auto bytes = builder.finish();
    REQUIRE(bytes.has_value());
    CHECK(RecordBatchView::parse(*bytes)->last_offset_delta() == static_cast<std::int32_t>(offsets) - 1);
    REQUIRE(batch.unpack(*bytes, 8, golden_budget).has_value());
    for (std::size_t i = 0; i < offsets; ++i) {
      const auto frame = batch.frame(static_cast<std::int32_t>(i));
      CHECK(frame.has_value() == is_there[i]);
      if (frame) CHECK(plain_frame(*frame, 8).value == std::to_string(i));
    }
    CHECK_FALSE(batch.frame(static_cast<std::int32_t>(offsets)).has_value());
    CHECK_FALSE(batch.frame(-1).has_value());
    CHECK_FALSE(batch.frame(std::numeric_limits<std::int32_t>::max()).has_value());
  }
}

TEST_CASE("a batch of which every record was cleaned away keeps its offsets and has no record") {
  RecordBatchBuilder builder;
  builder.skip(10);
  const auto bytes = builder.finish();
  REQUIRE(bytes.has_value());
  UnpackedBatch batch;
  REQUIRE(batch.unpack(*bytes, 8, golden_budget).has_value());
  CHECK(batch.empty());
  CHECK(batch.header().last_offset_delta == 9);
  CHECK(RecordBatchView::parse(*bytes)->max_timestamp_ms() == -1);
  CHECK_FALSE(batch.frame(0).has_value());
}

TEST_CASE("a batch without a record or an offset is not made") {
  RecordBatchBuilder builder;
  CHECK(builder.finish().error() == Errc::invalid_argument);
  add_plain(builder, one_record);
  CHECK(builder.record_count() == 1);
  CHECK(builder.finish().has_value());
  builder.clear();
  CHECK(builder.empty());
  CHECK(builder.finish().error() == Errc::invalid_argument);
}

TEST_CASE("a builder makes the next batch as if it were its first") {
  RecordBatchBuilder builder;
  for (const auto& record : golden_records()) add_plain(builder, record);
  CHECK(builder.finish().has_value());
  builder.clear();
  add_plain(builder, one_record);
  const auto bytes = builder.finish();
  REQUIRE(bytes.has_value());
  CHECK(*bytes == Bytes{batch_of({one_record})});
  CHECK(builder.size() == bytes->size());
}

TEST_CASE("a batch keeps its checksum when it gets its place, and gets a new one with the time of its append") {
  auto bytes = golden_batch("librdkafka", "none");
  log::place_batch(bytes.data(), 1'234'567'890'123, 99);
  auto view = RecordBatchView::parse(bytes);
  REQUIRE(view.has_value());
  CHECK(view->base_offset() == 1'234'567'890'123);
  CHECK(view->last_offset() == 1'234'567'890'147);
  CHECK(view->leader_epoch() == 99);

  log::stamp_batch(bytes, golden_base_ms + 5'000);
  view = RecordBatchView::parse(bytes);
  REQUIRE(view.has_value());
  CHECK(view->is_append_time());
  UnpackedBatch batch;
  REQUIRE(batch.unpack(bytes, 8, golden_budget).has_value());
  auto expected = golden_records();
  for (auto& record : expected) record.time_ms = golden_base_ms + 5'000;
  CHECK(unpacked_records(batch, 8) == expected);
  for (std::int32_t delta = 0; delta < 25; ++delta) {
    log::FrameHeader header;
    std::memcpy(&header, batch.frame(delta)->data, sizeof header);
    CHECK((header.flags & log::frame_append_time) != 0);
  }
  const auto stamped = batch_of(golden_records(), Compression::none, {.append_time_ms = golden_base_ms + 5'000});
  REQUIRE(batch.unpack(stamped, 64, golden_budget).has_value());
  CHECK(unpacked_records(batch, 64) == expected);
}

TEST_CASE("a header that contradicts itself is refused, and the refusal says what is wrong") {
  const auto good = golden_batch("kafka_python", "none");
  CHECK(refusal(good) == "");
  const auto refused = [&](void (*change)(RecordBatchHeader&)) { return refusal(with_header(good, change)); };
  CHECK(refused([](auto& h) { h.magic = 1; }).find("format 2") != std::string::npos);
  CHECK(refused([](auto& h) { h.length += 1; }).find("cut short") != std::string::npos);
  CHECK(refused([](auto& h) { h.length -= 1; }).find("behind its end") != std::string::npos);
  CHECK(refused([](auto& h) { h.length = -1; }).find("cut short") != std::string::npos);
  for (const std::uint16_t codec : {std::uint16_t{5}, std::uint16_t{6}, std::uint16_t{7}}) {
    auto changed = good;
    log::store_big_endian(changed.data() + 21, codec);
    reseal(changed);
    CHECK(refusal(changed).find("compression that does not exist") != std::string::npos);
  }
  CHECK(refused([](auto& h) { h.last_offset_delta = -1; }).find("last offset delta") != std::string::npos);
  CHECK(refused([](auto& h) { h.record_count = -1; }).find("number of records") != std::string::npos);
  CHECK(refused([](auto& h) { h.record_count = 26; }).find("number of records") != std::string::npos);
  CHECK(refused([](auto& h) { h.last_offset_delta = h.record_count = 0x7FFF'FFFF; }).find("bytes for them") !=
        std::string::npos);
  CHECK(refused([](auto& h) { h.base_offset = -1; }).find("offsets that do not exist") != std::string::npos);
  CHECK(refused([](auto& h) { h.base_offset = std::numeric_limits<std::int64_t>::max(); }).find("do not exist") !=
        std::string::npos);
  auto wrong = good;
  wrong.back() ^= std::byte{1};
  CHECK(refusal(wrong).find("checksum") != std::string::npos);
  CHECK(refusal({}).find("cut short") != std::string::npos);
}

TEST_CASE("a run of batches is cut into pieces by what each says of its length") {
  auto run = batch_of({one_record});
  const auto first = run.size();
  const auto second = golden_batch("librdkafka", "none");
  run.insert(run.end(), second.begin(), second.end());
  CHECK(log::RecordBatchView::size_at(run).value() == first);
  CHECK(log::RecordBatchView::size_at(Bytes{run.data() + first, run.size() - first}).value() == second.size());
  CHECK(log::RecordBatchView::size_at(Bytes{run.data(), 11}).error() == Errc::corrupt);
  log::store_big_endian(run.data() + 8, std::int32_t{48});
  CHECK(log::RecordBatchView::size_at(run).error() == Errc::corrupt);
  log::store_big_endian(run.data() + 8, std::int32_t{-1});
  CHECK(log::RecordBatchView::size_at(run).error() == Errc::corrupt);
  CHECK_FALSE(RecordBatchView::parse(run).has_value());
}

TEST_CASE("a record that lies is refused, and the refusal says what is wrong") {
  // length, attributes, time delta, offset delta, key length, value length, headers; zig-zag: 2 is 1, 1 is -1
  const std::vector<int> good = {12, 0, 0, 0, 1, 1, 0};
  CHECK(unpack_refusal(around(good, 1, 0)) == "");
  const auto says = [](const std::vector<int>& records, std::int32_t count, std::int32_t last, const char* text) {
    const auto found = unpack_refusal(around(records, count, last));
    CHECK_MESSAGE(found.find(text) != std::string::npos, found);
  };
  says({12, 0, 0, 0, 1, 1, 0, 99}, 1, 0, "behind its last record");
  says({14, 0, 0, 0, 1, 1, 0}, 1, 0, "behind the end of its batch");
  says({1, 0, 0, 0, 1, 1, 0}, 1, 0, "behind the end of its batch");
  says({10, 0, 0, 0, 1, 1, 0}, 1, 0, "cut short");
  says({14, 0, 0, 0, 1, 1, 0, 0}, 1, 0, "headers");
  says({12, 0, 0, 2, 1, 1, 0}, 1, 0, "offsets");
  says({12, 0, 0, 1, 1, 1, 0}, 1, 0, "offsets");
  says({12, 0, 0, 0, 3, 1, 0}, 1, 0, "cut short");                                // key length -2
  says({12, 0, 0, 0, 1, 3, 0}, 1, 0, "cut short");                                // value length -2
  says({12, 0, 0, 0, 8, 1, 0}, 1, 0, "cut short");                                // a key behind the record
  says({18, 0, 0, 0, 1, 1, 2, 0, 1, 99}, 1, 0, "headers");                        // a byte behind the headers
  says({12, 0, 0, 0, 1, 1, 1}, 1, 0, "headers");                                  // -1 headers
  says({12, 0, 0, 0, 1, 1, 2}, 1, 0, "headers");                                  // a header that is not there
  says({16, 0, 0, 0, 1, 1, 2, 1, 0}, 1, 0, "headers");                            // a header without a name
  says({16, 0, 0, 0, 1, 1, 2, 0, 3}, 1, 0, "headers");                            // a header of -2 bytes
  says({22, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 0, 0}, 1, 0, "cut short");  // a length of 33 bits
  std::vector<int> two = good;
  two.insert(two.end(), good.begin(), good.end());
  says(two, 2, 1, "offsets");                                           // twice the same
  says({12, 0, 0, 2, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0}, 2, 1, "offsets");  // backwards
  says({30, 0, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, 0, 1, 1, 0}, 1, 0, "time");
  CHECK(unpack_refusal(around({12, 0, 0, 2, 1, 1, 0}, 1, 1)) == "");                             // a hole in front
  CHECK(unpack_refusal(around({20, 0, 0, 0, 1, 0x81, 0x80, 0x80, 0x80, 0x00, 0}, 1, 0)) == "");  // a long way to say -1
}

TEST_CASE("after a record that lies the walk has ended, however often it is asked") {
  const auto bytes = around({12, 0, 0, 0, 1, 1, 1}, 1, 0);
  const auto view = RecordBatchView::parse(bytes);
  REQUIRE(view.has_value());
  BatchRecords records{*view, view->records()};
  BatchRecord record;
  for (int i = 0; i < 3; ++i) {
    CHECK_FALSE(records.next(record));
    CHECK(std::string{records.failure().detail}.find("headers") != std::string::npos);
  }
}

TEST_CASE("headers that change after they were checked end the walk, and nothing outside is read") {
  const std::vector<std::byte> bytes = {std::byte{2}, std::byte{'k'}, std::byte{0}, std::byte{100}, std::byte{'x'}};
  unsigned count = 0;
  for (const auto& header : BatchHeaders{Bytes{bytes}, 5}) count += header.key == "k" && header.value.empty();
  CHECK(count == 1);
}

TEST_CASE("a record with more headers than a frame can count is refused") {
  const std::vector<Header> headers(65'536, Header{"h", {}, true});
  const auto build = [&](std::size_t count) {
    RecordBatchBuilder builder;
    REQUIRE(builder.add(1, {}, false, {}, false, std::span{headers}.first(count)).has_value());
    const auto batch = builder.finish();
    REQUIRE(batch.has_value());
    return BatchBytes{batch->begin(), batch->end()};
  };
  CHECK(unpack_refusal(build(65'536)).find("65,535") != std::string::npos);
  UnpackedBatch batch;
  REQUIRE(batch.unpack(build(65'535), 8, golden_budget).has_value());
  CHECK(plain_frame(*batch.frame(0), 8).headers.size() == 65'535);
}

TEST_CASE("whatever byte of a batch is changed or missing, it is refused or read inside itself") {
  for (const char* client : {"kafka_python", "librdkafka"}) {
    const auto accepted = damage_everywhere(golden_batch(client, "none"));
    CHECK(accepted > 100);  // else the parser was never reached
  }
}

TEST_CASE("an alignment that no frame can have is refused") {
  const auto bytes = batch_of({one_record});
  for (const std::uint64_t alignment : {0u, 1u, 4u, 12u, 24u, 128u}) {
    UnpackedBatch batch;
    CHECK(batch.unpack(bytes, alignment, golden_budget).error() == Errc::invalid_argument);
  }
}

TEST_CASE("a program without codecs refuses compressed batches by name, and takes all others") {
  UnpackedBatch batch;
  for (const std::string_view codec : {"gzip", "snappy", "lz4", "zstd"}) {
    const auto bytes = golden_batch("kafka_python", codec);
    CHECK(RecordBatchView::parse(bytes).has_value());
    const auto done = batch.unpack(bytes, 8, golden_budget);
    CHECK(done.error() == Errc::unsupported_compression);
    CHECK(std::string_view{done.error().detail} == codec);
    RecordBatchBuilder builder;
    add_plain(builder, one_record);
    const auto compression = parse_compression(codec);
    REQUIRE(compression.has_value());
    CHECK(builder.finish(*compression).error() == Errc::unsupported_compression);
    CHECK(builder.finish().has_value());  // the records are still there
    CHECK(name(*compression) == codec);
  }
  CHECK(parse_compression("none") == Compression::none);
  CHECK_FALSE(parse_compression("LZ4").has_value());
  CHECK_FALSE(parse_compression("").has_value());
  CHECK(log::find_codec(Compression::none).error() == Errc::invalid_argument);
  CHECK(log::find_codec(Compression{5}).error() == Errc::corrupt);
  CHECK(log::find_codec(Compression{255}).error() == Errc::corrupt);
  CHECK(batch.unpack(golden_batch("librdkafka", "none"), 8, golden_budget).has_value());
}

TEST_CASE("transaction markers are written and read as Kafka's") {
  for (const auto type : {log::ControlType::abort, log::ControlType::commit}) {
    const auto control = log::control_bytes(type, 17);
    RecordBatchBuilder builder;
    REQUIRE(builder.add(golden_base_ms, Bytes{control.key}, true, Bytes{control.value}, true).has_value());
    const auto bytes = builder.finish(Compression::none,
                                      {.producer_id = 7, .producer_epoch = 1, .transactional = true, .control = true});
    const auto view = RecordBatchView::parse(*bytes);
    REQUIRE(view.has_value());
    CHECK(view->is_control());
    CHECK(view->is_transactional());
    BatchRecords records{*view, view->records()};
    BatchRecord record;
    REQUIRE(records.next(record));
    CHECK(record.key == Bytes{std::string_view{type == log::ControlType::abort ? "\0\0\0\0" : "\0\0\0\1", 4}});
    CHECK(record.value == Bytes{std::string_view{"\0\0\0\0\0\x11", 6}});
    const auto parsed = log::parse_control(record);
    REQUIRE(parsed.has_value());
    CHECK(parsed->type == static_cast<std::int16_t>(type));
    CHECK(parsed->coordinator_epoch == 17);
  }
  const auto parse = [](std::string_view key, std::string_view value) {
    BatchRecord record;
    record.key = Bytes{key}, record.value = Bytes{value};
    return log::parse_control(record);
  };
  CHECK(parse({"\0\0\0", 3}, {"\0\0\0\0\0\0", 6}).error() == Errc::corrupt);
  CHECK(parse({"\0\0\0\1", 4}, {"\0\0\0\0\0", 5}).error() == Errc::corrupt);
  CHECK(parse({"\xFF\0\0\1", 4}, {"\0\0\0\0\0\0", 6}).error() == Errc::corrupt);
  CHECK(parse({"\0\0\xFF\xFF", 4}, {"\0\0\0\0\0\0", 6}).error() == Errc::corrupt);
  CHECK(parse({"\0\0\0\2", 4}, {}).value().type == 2);  // LEADER_CHANGE: its value is not ours to read
  CHECK(parse({"\0\1\0\1+", 5}, {"\0\1\0\0\0\3+", 7}).value().coordinator_epoch == 3);  // a newer version, longer
}

TEST_CASE("varints of every length come back, and what is longer than its number is refused") {
  std::vector<std::int64_t> numbers = {0, std::numeric_limits<std::int64_t>::min(),
                                       std::numeric_limits<std::int64_t>::max()};
  for (int bit = 0; bit < 63; ++bit)
    for (const std::int64_t near : {-1, 0, 1})
      for (const std::int64_t sign : {-1, 1}) numbers.push_back(sign * ((std::int64_t{1} << bit) + near));
  for (const auto number : numbers) {
    std::byte bytes[log::max_varint_bytes];
    const auto size = static_cast<std::size_t>(log::store_varint(bytes, number) - bytes);
    CHECK(size == log::varint_size(number));
    const std::vector<std::byte> exact{bytes, bytes + size};
    log::ByteReader reader{Bytes{exact}};
    CHECK(reader.varlong() == number);
    CHECK((reader.at_end() && !reader.failed()));
    log::ByteReader narrow{Bytes{exact}};
    const auto small = narrow.varint();
    CHECK(narrow.failed() == (number != static_cast<std::int32_t>(number)));
    if (!narrow.failed()) CHECK(small == number);
    log::ByteReader cut{Bytes{exact.data(), size - 1}};
    static_cast<void>(cut.varlong());
    CHECK(cut.failed());
  }
  CHECK(log::varint_size(0) == 1);
  CHECK(log::varint_size(63) == 1);
  CHECK(log::varint_size(64) == 2);
  CHECK(log::varint_size(-64) == 1);
}

TEST_CASE("numbers are big-endian in any width") {
  std::byte bytes[8] = {};
  log::store_big_endian(bytes, std::int64_t{0x0102'0304'0506'0708});
  CHECK(Bytes{bytes} == Bytes{"\1\2\3\4\5\6\7\10"});
  CHECK(log::load_big_endian<std::int32_t>(bytes) == 0x0102'0304);
  CHECK(log::load_big_endian<std::uint16_t>(bytes + 6) == 0x0708);
  CHECK(log::load_big_endian<std::int8_t>(bytes + 7) == 8);
  log::store_big_endian(bytes, std::int16_t{-2});
  CHECK(log::load_big_endian<std::int16_t>(bytes) == -2);
}

TEST_CASE("times survive the way between milliseconds and nanoseconds, and the ends of time are clamped") {
  for (const std::int64_t ms : {std::int64_t{0}, std::int64_t{-1}, golden_base_ms, std::int64_t{-9'000'000'000'000}})
    CHECK(log::to_kafka_time(log::from_kafka_time(ms)) == ms);
  CHECK(log::to_kafka_time(Timestamp{std::chrono::nanoseconds{-1}}) == -1);
  CHECK(log::to_kafka_time(Timestamp{std::chrono::nanoseconds{1'999'999}}) == 1);
  CHECK(log::from_kafka_time(std::numeric_limits<std::int64_t>::max()) > log::from_kafka_time(golden_base_ms));
  CHECK(log::from_kafka_time(std::numeric_limits<std::int64_t>::min()) < log::from_kafka_time(0));
  RecordBatchBuilder builder;
  REQUIRE(builder.add(std::numeric_limits<std::int64_t>::min(), {}, false, {}, true).has_value());
  CHECK(builder.add(1, {}, false, {}, true).error() == Errc::invalid_argument);
  CHECK(builder.record_count() == 1);
}

TEST_CASE("the budget is the least of its limits, but small batches may grow to 1 MiB") {
  constexpr std::uint64_t mib = 1024 * 1024;
  CHECK(log::unpack_budget(100) == mib);
  CHECK(log::unpack_budget(100'000) == 6'400'000);
  CHECK(log::unpack_budget(mib) == 64 * mib);
  CHECK(log::unpack_budget(100 * mib) == 64 * mib);
  CHECK(log::unpack_budget(~std::uint64_t{0}) == 64 * mib);
}

TEST_CASE("a buffer begins at a line, keeps its content when it grows and its room when it is cleared") {
  log::Buffer buffer;
  CHECK(buffer.bytes().empty());
  for (std::size_t size = 1; size <= 10'000; size = size * 3 + 1) {
    REQUIRE(buffer.resize(size));
    buffer.data()[size - 1] = static_cast<std::byte>(size);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
  }
  for (std::size_t size = 1; size <= 10'000; size = size * 3 + 1)
    CHECK(buffer.data()[size - 1] == static_cast<std::byte>(size));
  const auto* const memory = buffer.data();
  const auto capacity = buffer.capacity();
  buffer.clear();
  REQUIRE(buffer.resize(capacity));
  CHECK(buffer.data() == memory);
  CHECK_FALSE(buffer.reserve(std::numeric_limits<std::size_t>::max()));
  CHECK(buffer.size() == capacity);
  log::Buffer other{std::move(buffer)};
  CHECK(other.data() == memory);
  CHECK(buffer.size() == 0);
}
