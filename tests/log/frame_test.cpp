#include <log/log_support.hpp>

#include <random>

#include <sys/mman.h>

using namespace towpath;
using namespace towpath::test;
using log::FrameLayout;
using log::FrameSpec;
using log::FrameView;
using log::HeaderRange;

namespace {

struct Built {
  std::vector<std::byte> bytes;
  FrameLayout layout;
  FrameView parse(std::uint64_t alignment) const {
    FrameView view;
    if (!view.parse(bytes.data(), bytes.size(), alignment)) fail("a whole frame does not parse");
    return view;
  }
};

Built build(FrameSpec spec, std::string_view value, std::uint64_t alignment) {
  spec.value_size = value.size();
  Built built;
  built.layout = FrameLayout::of(spec, alignment);
  built.bytes.resize(built.layout.length, std::byte{0xEE});
  log::write_frame(built.bytes.data(), built.layout, spec);
  if (!value.empty()) std::memcpy(built.bytes.data() + built.layout.value_at, value.data(), value.size());
  return built;
}

// Two pages of which only the first may be touched; frames stand at its very end.
class Cliff {
 public:
  Cliff()
      : at_{static_cast<std::byte*>(
            ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))} {
    ::mprotect(at_ + 4096, 4096, PROT_NONE);
  }
  Cliff(const Cliff&) = delete;
  Cliff& operator=(const Cliff&) = delete;
  ~Cliff() { ::munmap(at_, 8192); }
  std::byte* room(std::size_t size) const { return at_ + 4096 - size; }

 private:
  std::byte* at_;
};

bool is_within(Bytes part, const std::byte* frame, std::size_t length) {
  return part.empty() || (part.begin() >= frame && part.end() <= frame + length);
}

/// The property that a fuzzer checks: whatever the bytes, parse() and the headers stay inside them.
/// `data` must end where reading further would fault. Returns whether the frame parsed.
bool parses_inside(const std::byte* data, std::size_t size, std::uint64_t alignment) {
  if (size < sizeof(log::FrameHeader)) return false;
  FrameView view;
  if (!view.parse(data, size, alignment)) return false;
  if (!is_within(view.value, data, size) || !is_within(view.key, data, size) || !is_within(view.headers, data, size))
    fail("a part of a frame lies outside of it");
  unsigned count = 0;
  unsigned sum = 0;
  for (const auto& header : HeaderRange{view.headers, view.header.header_count}) {
    if (!is_within(Bytes{header.key}, data, size) || !is_within(header.value, data, size))
      fail("a header lies outside of its frame");
    for (const auto byte : header.value) sum += std::to_integer<unsigned>(byte);
    ++count;
  }
  for (const auto byte : view.value) sum += std::to_integer<unsigned>(byte);
  for (const auto byte : view.key) sum += std::to_integer<unsigned>(byte);
  if (sum == 0xFFFF'FFFF) fail("impossible");  // so that the bytes are read
  if (count > view.header.header_count) fail("more headers than the frame says");
  return true;
}

}  // namespace

#ifdef TOWPATH_FUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const std::uint64_t alignment : {8u, 16u, 64u})
    parses_inside(reinterpret_cast<const std::byte*>(data), size, alignment);
  return 0;
}
#endif

TEST_CASE("a bare value takes 16 bytes more than itself and comes back at its alignment") {
  for (const std::uint64_t alignment : {8u, 16u, 32u, 64u})
    for (const std::size_t size : {0u, 1u, 7u, 8u, 100u}) {
      const std::string value(size, 'v');
      const auto built = build({.timestamp = Timestamp{std::chrono::nanoseconds{-5}}}, value, alignment);
      CHECK(built.layout.length == std::max<std::uint64_t>(16, alignment) + size);
      CHECK(built.layout.value_at % alignment == 0);
      const auto view = built.parse(alignment);
      CHECK(view.value.text() == value);
      CHECK(view.has_value);
      CHECK_FALSE(view.has_key);
      CHECK(view.header.timestamp_ns == -5);
      CHECK(view.header.header_count == 0);
    }
}

TEST_CASE("key, value and headers come back as they went in, whatever is empty or null") {
  const Header some[] = {{"trace", Bytes{"abc"}, false},
                         {"", Bytes{""}, false},
                         {"null", Bytes{}, true},
                         {"trace", Bytes{"again"}, false}};
  for (const std::uint64_t alignment : {8u, 16u, 64u})
    for (const bool has_key : {false, true})
      for (const std::string_view key : {"", "robot-7"})
        for (const bool has_value : {false, true})
          for (const std::string_view value : {"", "payload of some bytes"})
            for (const std::size_t headers : {0u, 1u, 4u}) {
              FrameSpec spec;
              spec.has_value = has_value, spec.has_key = has_key;
              if (has_key) spec.key = Bytes{key};
              spec.headers = std::span{some, headers};
              const auto built = build(spec, has_value ? value : "", alignment);
              const auto view = built.parse(alignment);
              CHECK(view.has_value == has_value);
              CHECK(view.has_key == has_key);
              CHECK(view.value.text() == (has_value ? value : ""));
              CHECK(view.key.text() == (has_key ? key : ""));
              std::size_t i = 0;
              for (const auto& header : HeaderRange{view.headers, view.header.header_count}) {
                CHECK(header.key == some[i].key);
                CHECK(header.value == some[i].value);
                CHECK(header.is_null == some[i].is_null);
                ++i;
              }
              CHECK(i == headers);
            }
}

TEST_CASE("a batch's count and a producer's mark come back beside whatever else the frame has, and only then") {
  for (const std::uint64_t alignment : {8u, 16u, 64u})
    for (const std::uint32_t count : {0u, 1u, 5'000'000u})
      for (const bool marked : {false, true})
        for (const bool keyed : {false, true}) {
          FrameSpec spec;
          spec.batch_count = count;
          if (marked) spec.producer = {.id = 1ll << 40, .sequence = 2'147'483'647, .epoch = 7};
          if (keyed) spec.has_key = true, spec.key = Bytes{"a key"};
          const auto built = build(spec, "a value", alignment);
          auto view = built.parse(alignment);
          CHECK(view.value.text() == "a value");
          CHECK(view.key.text() == (keyed ? "a key" : ""));
          CHECK(view.batch_count() == std::max(count, 1u));
          CHECK(view.producer() == spec.producer);
          const auto plain = build({}, "another", alignment);  // one view serves record after record
          REQUIRE(view.parse(plain.bytes.data(), plain.bytes.size(), alignment));
          CHECK((view.batch_count() == 1 && !view.producer().is_present()));
        }
}

TEST_CASE("a frame with a Kafka batch gives back its bytes, is no record, and is refused when it is cut or empty") {
  const std::string_view batch = "not looked at here";
  std::vector<std::byte> frame(log::BatchFrame::batch_at + batch.size());
  log::BatchFrame::write(frame.data(), 3, Timestamp{std::chrono::nanoseconds{77}}, Bytes{batch});
  log::BatchFrame found;
  REQUIRE(log::BatchFrame::is_one(frame.data()));
  REQUIRE(found.parse(frame.data(), frame.size()));
  CHECK((found.count == 3 && found.batch.text() == batch));
  FrameView view;
  CHECK_FALSE(view.parse(frame.data(), frame.size(), 8));
  for (std::uint64_t length = 0; length < log::BatchFrame::batch_at; ++length)
    CHECK_FALSE(found.parse(frame.data(), length));
  log::BatchFrame::write(frame.data(), 0, {}, Bytes{batch});
  CHECK_FALSE(found.parse(frame.data(), frame.size()));
  const auto plain = build({}, "a value", 8);
  CHECK_FALSE(log::BatchFrame::is_one(plain.bytes.data()));
}

TEST_CASE("the checksum depends on every byte, on the place and on the incarnation") {
  auto built = build({.has_key = true, .key = Bytes{"key"}}, "value", 8);
  auto* frame = built.bytes.data();
  const auto length = built.bytes.size();
  const auto sum = log::frame_checksum(frame, length, 11, 22);
  CHECK(log::frame_checksum(frame, length, 12, 22) != sum);
  CHECK(log::frame_checksum(frame, length, 11, 23) != sum);
  for (std::size_t i = 4; i < length; ++i) {
    frame[i] ^= std::byte{1};
    CHECK(log::frame_checksum(frame, length, 11, 22) != sum);
    frame[i] ^= std::byte{1};
  }
  log::seal_frame(frame, length, 11, 22);
  CHECK(built.parse(8).header.crc32c == sum);
  CHECK(log::frame_checksum(frame, length, 11, 22) == sum);
}

TEST_CASE("a frame that is cut short or lies about a length is refused, and nothing behind it is touched") {
  const Header headers[] = {{"h", Bytes{"12345"}, false}};
  const auto built = build({.has_key = true, .key = Bytes{"some key"}, .headers = headers}, "a value", 8);
  const Cliff cliff;
  for (std::size_t size = sizeof(log::FrameHeader); size < built.bytes.size(); ++size) {
    auto* frame = cliff.room(size);
    std::memcpy(frame, built.bytes.data(), size);
    parses_inside(frame, size, 8);
  }
  const auto with_lengths = [&](std::int32_t key, std::int32_t value) {
    auto* frame = cliff.room(built.bytes.size());
    std::memcpy(frame, built.bytes.data(), built.bytes.size());
    std::memcpy(frame + 16, &key, 4);
    std::memcpy(frame + 20, &value, 4);
    return parses_inside(frame, built.bytes.size(), 8);
  };
  const auto big = std::numeric_limits<std::int32_t>::max();
  const auto low = std::numeric_limits<std::int32_t>::min();
  CHECK(with_lengths(8, 7));
  for (const auto& [key, value] :
       {std::pair{big, 7}, {8, big}, {big, big}, {low, 7}, {8, low}, {-2, 7}, {8, -2}, {100, 7}, {8, 100}})
    CHECK_FALSE(with_lengths(key, value));
}

TEST_CASE("flags that this version does not know, and headers without lengths, are refused") {
  const auto parses_with = [](std::uint16_t flags, std::uint16_t header_count) {
    auto built = build({}, "some value of more than eight bytes", 8);
    std::memcpy(built.bytes.data() + 4, &flags, 2);
    std::memcpy(built.bytes.data() + 6, &header_count, 2);
    FrameView view;
    return view.parse(built.bytes.data(), built.bytes.size(), 8);
  };
  CHECK(parses_with(0, 0));
  CHECK(parses_with(log::frame_append_time, 0));
  CHECK_FALSE(parses_with(0, 1));
  CHECK(parses_with(log::frame_head | log::frame_append_time, 0));
  CHECK_FALSE(parses_with(log::frame_producer | log::frame_head, 1));
  for (const auto flag : {log::frame_batch, log::frame_transactional, log::frame_control})
    for (const auto beside : {0, int{log::frame_head}, int{log::frame_lengths}})
      CHECK_FALSE(parses_with(static_cast<std::uint16_t>(flag | beside), 0));
  CHECK_FALSE(parses_with(128, 0));
  CHECK_FALSE(parses_with(0x8000, 0));
}

TEST_CASE("whatever bytes stand in a frame, reading it stays inside") {
  const Cliff cliff;
  std::mt19937_64 random{20'231'105};
  const Header headers[] = {{"one", Bytes{"1"}, false}, {"two", Bytes{}, true}, {"three", Bytes{"33333"}, false}};
  const auto whole = build({.has_key = true, .key = Bytes{"key"}, .headers = headers}, "the value", 8);
  unsigned parsed = 0;
  const int rounds = sanitized ? 200'000 : 1'000'000;
  for (int i = 0; i < rounds; ++i) {
    const std::size_t size = 16 + random() % 120;
    auto* frame = cliff.room(size);
    for (std::size_t at = 0; at < size; at += 8) {
      const auto bits = random();
      std::memcpy(frame + at, &bits, std::min<std::size_t>(8, size - at));
    }
    if (i % 4 != 0) std::memcpy(frame, whole.bytes.data(), std::min(size, whole.bytes.size()));  // nearly a frame
    for (auto flips = random() % 4; flips-- > 0;) frame[random() % size] = static_cast<std::byte>(random());
    if (i % 4 == 0) {
      const std::uint16_t flags = random() % 2 ? std::uint16_t{log::frame_lengths} : std::uint16_t{0};
      std::memcpy(frame + 4, &flags, 2);
    }
    parsed += parses_inside(frame, size, std::uint64_t{8} << random() % 4);
  }
  CHECK(parsed > static_cast<unsigned>(rounds) / 100);  // else it tests nothing but refusal
  CHECK(parsed < static_cast<unsigned>(rounds));
}
