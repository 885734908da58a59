// Reads what two real clients compressed, survives what nobody should send, and packs as Java's readers want it.
#include <log/batch_support.hpp>

#include <towpath/adapters/compression.hpp>
#include <towpath/towpath.hpp>

#include <random>
#include <thread>

using namespace towpath;
using namespace towpath::literals;
using namespace towpath::test;
using log::Buffer;
using log::UnpackedBatch;

namespace {

constexpr Compression all_compressions[] = {Compression::gzip, Compression::snappy, Compression::lz4,
                                            Compression::zstd};

const log::Codec& codec_of(Compression compression) {
  const auto codec = log::find_codec(compression);
  if (!codec) fail("a codec is missing");
  return **codec;
}

BatchBytes packed(Compression compression, Bytes input) {
  Buffer out;
  const auto done = codec_of(compression).compress(input, out);
  if (!done) fail(done.error().detail);
  return {out.bytes().begin(), out.bytes().end()};
}

std::string unpacked(Compression compression, const BatchBytes& input, std::uint64_t budget) {
  Buffer out;
  const auto done = codec_of(compression).decompress(input, out, budget);
  if (!done) return std::string{"refused: "} + done.error().detail;
  return std::string{out.bytes().text()};
}

/// Text that compresses about as well as records do.
std::string sample(std::size_t size, std::uint64_t seed = 1) {
  std::mt19937_64 random{seed};
  std::string text;
  while (text.size() < size) text += "word " + std::to_string(random() % 100'000);
  text.resize(size);
  return text;
}

std::string noise(std::size_t size) {
  std::mt19937_64 random{2};
  std::string text(size, ' ');
  for (auto& c : text) c = static_cast<char>(random());
  return text;
}

void check_says(const std::string& text, std::string_view part) {
  CHECK_MESSAGE(text.find(part) != std::string::npos, text.substr(0, 200));
}

}  // namespace

// Writes a run of record batches to a file, for kafka-python to read (tests/golden/make_record_batches.py --check): the
// golden records with each compression, then without one but with the time of the append, then a commit marker.
TOWPATH_ROLE("write_batches") {
  std::ofstream file{args.at(0), std::ios::binary};
  std::int64_t offset = 1'000;
  const auto write = [&](BatchBytes batch, std::int64_t offsets) {
    log::place_batch(batch.data(), offset, 7);
    offset += offsets;
    file.write(reinterpret_cast<const char*>(batch.data()), static_cast<std::streamsize>(batch.size()));
  };
  const auto records = golden_records();
  for (unsigned number = 0; number <= 4; ++number) write(batch_of(records, static_cast<Compression>(number)), 25);
  auto stamped = batch_of(records);
  log::stamp_batch(stamped, golden_base_ms + 12'345);
  write(stamped, 25);
  log::RecordBatchBuilder builder;
  const auto marker = log::control_bytes(log::ControlType::commit, 3);
  builder.add(golden_base_ms, Bytes{marker.key}, true, Bytes{marker.value}, true).ignore();
  const auto control = builder.finish(Compression::none, {.producer_id = 1, .transactional = true, .control = true});
  if (!control) return 1;
  write({control->begin(), control->end()}, 1);
  file.close();
  return file.good() ? 0 : 1;
}

TEST_CASE("what kafka-python and librdkafka compressed becomes the records that they were given") {
  UnpackedBatch batch;
  for (const char* client : {"kafka_python", "librdkafka"})
    for (const auto compression : all_compressions) {
      CAPTURE(client);
      CAPTURE(std::string{name(compression)});
      const auto bytes = golden_batch(client, name(compression));
      REQUIRE(log::RecordBatchView::parse(bytes).has_value());
      CHECK(log::RecordBatchView::parse(bytes)->compression() == compression);
      check_golden(batch, bytes);
    }
}

TEST_CASE("what a producer compresses comes back, whatever its size and however well it compresses") {
  UnpackedBatch batch;
  for (const auto compression : all_compressions) {
    CAPTURE(std::string{name(compression)});
    const auto golden = batch_of(golden_records(), compression);
    check_golden(batch, golden);
    CHECK(golden.size() < batch_of(golden_records()).size() / 2);
    for (const std::size_t size : {0u, 1u, 100u, 32'767u, 32'768u, 32'769u, 65'536u, 200'000u, 1'000'000u})
      for (const auto& text : {sample(size), noise(size), std::string(size, 'x')}) {
        const std::vector<PlainRecord> records = {{golden_base_ms, "key", text, {}}, {golden_base_ms, "", "end", {}}};
        const auto bytes = batch_of(records, compression);
        const auto done = batch.unpack(bytes, 64, log::unpack_budget(bytes.size()));
        REQUIRE_MESSAGE(done.has_value(), done.error().detail);
        CHECK(unpacked_records(batch, 64) == records);
      }
  }
}

TEST_CASE("a compressed batch without records keeps its offsets") {
  for (const auto compression : all_compressions) {
    log::RecordBatchBuilder builder;
    builder.skip(3);
    const auto bytes = builder.finish(compression);
    REQUIRE(bytes.has_value());
    UnpackedBatch batch;
    const auto done = batch.unpack(*bytes, 8, golden_budget);
    REQUIRE_MESSAGE(done.has_value(), done.error().detail);
    CHECK(batch.empty());
    CHECK(batch.header().last_offset_delta == 2);
  }
}

TEST_CASE("whatever byte of a compressed batch is changed or missing, it is refused or read inside itself") {
  for (const char* client : {"kafka_python", "librdkafka"})
    for (const auto compression : all_compressions) {
      CAPTURE(std::string{name(compression)});
      CHECK(damage_everywhere(golden_batch(client, name(compression))) > 20);
    }
}

TEST_CASE("bytes that unpack to more than the budget are refused before they take more memory") {
  const std::size_t size = 32 * 1024 * 1024;
  const std::string zeros(size, '\0');
  for (const auto compression : all_compressions) {
    CAPTURE(std::string{name(compression)});
    const auto bomb = packed(compression, Bytes{zeros});
    CHECK(bomb.size() < size / 20);
    for (const std::uint64_t budget :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1'000'000}, std::uint64_t{size - 1}}) {
      Buffer out;
      const auto done = codec_of(compression).decompress(bomb, out, budget);
      CHECK(done.error() == Errc::corrupt);
      check_says(std::string{done.error().detail}, "decompresses to more than");
      CHECK(out.capacity() <= budget + budget / 2 + 64 * 1024);
    }
    CHECK(unpacked(compression, bomb, size) == zeros);
    CHECK(unpacked(compression, bomb, ~std::uint64_t{0}) == zeros);
  }
}

TEST_CASE("a batch that is a bomb is refused with its codec's name, and the consumer's memory stays small") {
  const std::vector<PlainRecord> records = {{golden_base_ms, "key", std::string(70'000'000, 'x'), {}}};
  UnpackedBatch batch;
  for (const auto compression : all_compressions) {
    const auto bytes = batch_of(records, compression);
    const auto done = batch.unpack(bytes, 8, log::unpack_budget(bytes.size()));
    CHECK(done.error() == Errc::corrupt);
    check_says(std::string{done.error().detail}, name(compression));
    check_says(std::string{done.error().detail}, "more than");
    CHECK(batch.empty());
  }
}

TEST_CASE("a small batch that compresses very well is no bomb") {
  const std::vector<PlainRecord> records(2'000, PlainRecord{golden_base_ms, "key", std::string(500, 'x'), {}});
  UnpackedBatch batch;
  for (const auto compression : all_compressions) {
    const auto bytes = batch_of(records, compression);
    REQUIRE(batch.unpack(bytes, 8, log::unpack_budget(bytes.size())).has_value());
    CHECK(batch.size() == records.size());
  }
}

TEST_CASE("a batch that says it has more records than it unpacks to is refused before they get memory") {
  for (const auto compression : all_compressions) {
    auto bytes = batch_of(golden_records(), compression);
    auto header = log::RecordBatchHeader::read(bytes.data());
    header.record_count = header.last_offset_delta = 0x7FFF'FFFF;
    header.write(bytes.data());
    reseal(bytes);
    UnpackedBatch batch;
    const auto done = batch.unpack(bytes, 8, golden_budget);
    CHECK(done.error() == Errc::corrupt);
    check_says(std::string{done.error().detail}, "bytes for them");
  }
}

TEST_CASE("what is cut short, empty or followed by something else is refused") {
  const auto text = sample(100'000);
  for (const auto compression : all_compressions) {
    CAPTURE(std::string{name(compression)});
    const auto whole = packed(compression, Bytes{text});
    CHECK(unpacked(compression, whole, text.size()) == text);
    check_says(unpacked(compression, {}, text.size()), "cut short");
    for (const std::size_t size :
         {std::size_t{1}, std::size_t{3}, std::size_t{10}, std::size_t{17}, whole.size() / 2, whole.size() - 1})
      check_says(unpacked(compression, {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}, text.size()),
                 "refused: ");
    auto longer = whole;
    for (int i = 0; i < 20; ++i) longer.push_back(std::byte{0x5A});
    check_says(unpacked(compression, longer, text.size()), "refused: ");
  }
}

TEST_CASE("compressing appends, and a codec leaves what stands in front of it alone") {
  for (const auto compression : all_compressions) {
    Buffer out;
    REQUIRE(out.resize(61));
    std::fill_n(out.data(), 61, std::byte{0xAB});
    REQUIRE(codec_of(compression).compress(Bytes{"some text"}, out).has_value());
    CHECK(std::all_of(out.data(), out.data() + 61, [](std::byte byte) { return byte == std::byte{0xAB}; }));
    CHECK(unpacked(compression, {out.data() + 61, out.data() + out.size()}, 9) == "some text");
  }
}

TEST_CASE("gzip members one behind the other are one text") {
  auto two = packed(Compression::gzip, Bytes{"first "});
  const auto second = packed(Compression::gzip, Bytes{"second"});
  two.insert(two.end(), second.begin(), second.end());
  CHECK(unpacked(Compression::gzip, two, 12) == "first second");
  check_says(unpacked(Compression::gzip, two, 11), "more than");
}

TEST_CASE("snappy is written in Java's framing, and read with and without it") {
  const auto text = sample(100'000);
  const auto framed = packed(Compression::snappy, Bytes{text});
  CHECK(std::memcmp(framed.data(), "\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16) == 0);
  BatchBytes raw(snappy_max_compressed_length(text.size()));
  std::size_t size = raw.size();
  REQUIRE(snappy_compress(text.data(), text.size(), reinterpret_cast<char*>(raw.data()), &size) == SNAPPY_OK);
  raw.resize(size);
  CHECK(unpacked(Compression::snappy, raw, text.size()) == text);
  check_says(unpacked(Compression::snappy, raw, text.size() - 1), "more than");
}

TEST_CASE("a length that snappy only claims costs no memory") {
  const auto claims = [](std::vector<int> bytes) {
    BatchBytes input;
    for (const int byte : bytes) input.push_back(static_cast<std::byte>(byte));
    Buffer out;
    const auto done = codec_of(Compression::snappy).decompress(input, out, 64 * 1024 * 1024);
    CHECK(done.error() == Errc::corrupt);
    CHECK(out.capacity() == 0);
    return std::string{done.error().detail};
  };
  check_says(claims({0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 'x'}), "more than");  // 4 GiB
  check_says(claims({0x80, 0x80, 0x80, 0x10, 0, 'x'}), "damaged");          // 32 MiB, by five bytes
  check_says(claims({0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x7F, 0xFF, 0xFF, 0xFF, 1, 0, 'x'}),
             "behind its end");
  check_says(claims({0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 'x'}),
             "behind its end");
  check_says(claims({0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}), "behind its end");
  check_says(claims({0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0}),
             "damaged");  // an empty block
}

TEST_CASE("lz4 is written in blocks of 64 KiB that do not depend on each other, as Java's reader wants it") {
  for (const std::size_t size : {100u, 1'000'000u}) {
    const auto frame = packed(Compression::lz4, Bytes{sample(size)});
    CHECK(log::load_big_endian<std::uint32_t>(frame.data()) == 0x0422'4D18u);
    CHECK(frame[4] == std::byte{0x60});  // version 1, independent blocks, no checksums, no content size
    CHECK(frame[5] == std::byte{0x40});  // 64 KiB
  }
}

TEST_CASE("lz4 blocks that depend on each other are read, and a content size that lies is not believed") {
  const auto text = sample(300'000);
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockMode = LZ4F_blockLinked;
  preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
  BatchBytes frame(LZ4F_compressFrameBound(text.size(), &preferences));
  frame.resize(LZ4F_compressFrame(frame.data(), frame.size(), text.data(), text.size(), &preferences));
  CHECK(unpacked(Compression::lz4, frame, text.size()) == text);

  LZ4F_cctx* context = nullptr;
  REQUIRE_FALSE(LZ4F_isError(LZ4F_createCompressionContext(&context, LZ4F_VERSION)));
  preferences = {};
  preferences.frameInfo.contentSize = 1'000'000'000'000;
  BatchBytes lie(1'000);
  std::size_t size = LZ4F_compressBegin(context, lie.data(), lie.size(), &preferences);
  size += LZ4F_compressUpdate(context, lie.data() + size, lie.size() - size, "text", 4, nullptr);
  size += LZ4F_flush(context, lie.data() + size, lie.size() - size, nullptr);
  LZ4F_freeCompressionContext(context);
  lie.resize(size + 4);  // four zeros end a frame
  Buffer out;
  CHECK(codec_of(Compression::lz4).decompress(lie, out, golden_budget).error() == Errc::corrupt);
  CHECK(out.capacity() <= golden_budget);
}

TEST_CASE("zstd frames may ask for a window of 8 MiB and no more") {
  const auto frame = [](int window) {
    BatchBytes bytes;
    for (const int byte : {0x28, 0xB5, 0x2F, 0xFD, 0x00, window, 0x09, 0x00, 0x00, static_cast<int>('x')})
      bytes.push_back(static_cast<std::byte>(byte));
    return bytes;
  };
  CHECK(unpacked(Compression::zstd, frame((23 - 10) << 3), 10) == "x");
  check_says(unpacked(Compression::zstd, frame((24 - 10) << 3), 10), "8 MiB");
  check_says(unpacked(Compression::zstd, frame((31 - 10) << 3), 10), "8 MiB");
}

TEST_CASE("a compression that Kafka does not know stays unknown with all codecs there") {
  auto bytes = batch_of(golden_records(), Compression::lz4);
  for (const auto number : {std::uint16_t{5}, std::uint16_t{6}, std::uint16_t{7}}) {
    log::store_big_endian(bytes.data() + 21, number);
    reseal(bytes);
    UnpackedBatch batch;
    CHECK(batch.unpack(bytes, 8, golden_budget).error() == Errc::corrupt);
    CHECK(log::find_codec(static_cast<Compression>(number)).error() == Errc::corrupt);
  }
}

TEST_CASE("threads compress and decompress at the same time without meeting") {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (std::uint64_t seed = 0; seed < 3; ++seed)
    threads.emplace_back([seed, &wrong] {
      UnpackedBatch batch;
      for (int i = 0; i < 20; ++i)
        for (const auto compression : all_compressions) {
          const std::vector<PlainRecord> records = {{golden_base_ms, "key", sample(5'000, seed), {}}};
          if (!batch.unpack(batch_of(records, compression), 8, golden_budget) || unpacked_records(batch, 8) != records)
            wrong.fetch_add(1, std::memory_order_relaxed);  // read after the threads have ended
        }
    });
  for (auto& thread : threads) thread.join();
  CHECK(wrong.load(std::memory_order_relaxed) == 0);
}

TEST_CASE("however well a batch compresses, its readers get it, also after the topic takes smaller records") {
  for (const auto compression : all_compressions) {
    CAPTURE(std::string{name(compression)});
    Bus bus;
    Topic<std::string> topic{bus, "t", {.segment_bytes = 64_MiB}};
    Producer<std::string> producer{topic, {.compression = compression}};
    const std::vector<std::string> zeros(40, std::string(100'000, '\0'));  // 4 MB, that is, more than the 1 MiB of any
    producer.send_batch(zeros).value();
    const std::vector<std::string> more(200, zeros.front());  // 20 MB, that is, more than the 16 MiB of a record
    producer.send_batch(more).value();
    const std::vector<std::string> text(40, sample(100'000));
    producer.send_batch(text).value();
    Admin{bus}.alter_configs("t", {{"max.message.bytes", "1000"}}).value();
    Consumer<std::string> consumer{topic, {.auto_offset_reset = OffsetReset::earliest}};
    std::size_t read = 0;
    for (auto batch = consumer.poll(0ms); !batch.empty(); batch = consumer.poll(0ms))
      for (const auto& record : batch) CHECK(record.value() == (read++ < 240 ? zeros.front() : text.front()));
    CHECK(read == 280);
  }
}

TEST_CASE("the newest record of a compressed batch is found, though its time was cut to milliseconds") {
  Bus bus;
  Topic<std::string> topic{bus, "t"};
  Producer<std::string> producer{topic, {.compression = Compression::lz4}};
  producer
      .send_batch(std::vector<std::string>{"a", "b"},
                  {.timestamp = Timestamp{std::chrono::nanoseconds{1'700'000'000'123'456'789}}})
      .value();
  const auto found = Admin{bus}.list_offset("t", {0}, OffsetSpec::max_timestamp()).value();
  CHECK(found.offset == Offset{0});
  CHECK(found.timestamp == Timestamp{1'700'000'000'123ms});
}
