#include <support/support.hpp>

#include <doctest/doctest.h>

#include <towpath/towpath.hpp>

#include <filesystem>

using namespace towpath;

namespace {

struct Pose {
  double x, y, heading;
};

template <std::size_t Alignment>
struct alignas(Alignment) Aligned {
  std::uint64_t number;
  std::byte rest[Alignment - 8 > 0 ? Alignment - 8 : 8];
};

struct Plan {
  std::vector<std::string> steps;
};

enum class Color : std::uint16_t { red = 0x0102, blue = 7 };

/// Text, last letter first.
struct Reversed {
  using View = std::string;
  static constexpr std::string_view encoding = "reversed";
  static std::size_t size(const std::string& text) { return text.size(); }
  static void encode(const std::string& text, std::span<std::byte> out) {
    for (std::size_t i = 0; i < text.size(); ++i) out[i] = static_cast<std::byte>(text[text.size() - 1 - i]);
  }
  static bool accepts(Bytes) noexcept { return true; }
  static View view(Bytes bytes) { return {bytes.text().rbegin(), bytes.text().rend()}; }
};

template <class S, class T>
std::vector<std::byte> encoded(const T& value) {
  std::vector<std::byte> bytes(S::size(value));
  S::encode(value, bytes);
  return bytes;
}

std::vector<std::byte> bytes_of(std::initializer_list<unsigned> list) {
  std::vector<std::byte> bytes;
  for (const unsigned b : list) bytes.push_back(static_cast<std::byte>(b));
  return bytes;
}

}  // namespace

/// One line per step; a step that is "?" cannot be read back.
template <>
struct towpath::Serde<Plan> {
  static constexpr std::string_view encoding = "lines";
  static std::size_t size(const Plan& plan) {
    std::size_t bytes = 0;
    for (const auto& step : plan.steps) bytes += step.size() + 1;
    return bytes;
  }
  static void encode(const Plan& plan, std::span<std::byte> out) {
    for (const auto& step : plan.steps) {
      std::memcpy(out.data(), step.data(), step.size());
      out[step.size()] = std::byte{'\n'};
      out = out.subspan(step.size() + 1);
    }
    CHECK(out.empty());
  }
  static Result<Plan> decode(Bytes bytes) {
    Plan plan;
    auto text = bytes.text();
    while (!text.empty()) {
      const auto end = text.find('\n');
      if (end == std::string_view::npos) return Failure{Errc::undecodable, "no end of line"};
      plan.steps.emplace_back(text.substr(0, end));
      if (plan.steps.back() == "?") return Failure{Errc::undecodable, "a step that nobody knows"};
      text.remove_prefix(end + 1);
    }
    return plan;
  }
};

namespace {

static_assert(ZeroCopy<Pose> && ZeroCopy<Color> && ZeroCopy<Aligned<64>> && ZeroCopy<double>);
static_assert(!ZeroCopy<Plan> && !ZeroCopy<int*> && !ZeroCopy<std::string_view> && !ZeroCopy<std::span<int>>);
static_assert(DecodingSerde<Serde<Plan>, Plan> && !InPlaceSerde<Serde<Plan>, Plan>);
static_assert(InPlaceSerde<Serde<Pose>, Pose> && InPlaceSerde<Serde<std::uint16_t>, std::uint16_t>);

template <class T>
struct Round {
  Bus bus;
  Topic<T> topic{bus, "topic"};
  Producer<T> producer{topic};
  Consumer<T> consumer{topic};
};

}  // namespace

TEST_CASE("integers have the bytes that Kafka's serializers give them") {
  CHECK(encoded<Serde<std::int16_t>>(std::int16_t{0x0102}) == bytes_of({1, 2}));
  CHECK(encoded<Serde<std::int32_t>>(-2) == bytes_of({0xFF, 0xFF, 0xFF, 0xFE}));
  CHECK(encoded<Serde<std::int64_t>>(std::int64_t{0x0102030405060708}) == bytes_of({1, 2, 3, 4, 5, 6, 7, 8}));
  CHECK(encoded<Serde<std::uint16_t>>(std::uint16_t{0xFFFE}) == bytes_of({0xFF, 0xFE}));
}

TEST_CASE_TEMPLATE("integers come back at their limits, and other sizes are refused", T, std::int16_t, std::uint16_t,
                   std::int32_t, std::uint32_t, std::int64_t, std::uint64_t) {
  for (const T value : {std::numeric_limits<T>::min(), T{0}, T{1}, std::numeric_limits<T>::max()}) {
    const auto bytes = encoded<Serde<T>>(value);
    CHECK(Serde<T>::accepts(bytes));
    CHECK(Serde<T>::view(bytes) == value);
  }
  std::vector<std::byte> wrong(sizeof(T) + 1, std::byte{1});
  CHECK_FALSE(Serde<T>::accepts(wrong));
  CHECK(Serde<T>::view(wrong) == 0);
  CHECK_FALSE(Serde<T>::accepts(Bytes{}));
}

TEST_CASE("bytes that changed after they were accepted read as zeroes, never outside") {
  alignas(8) const std::byte memory[sizeof(Pose) + 1]{};
  CHECK(Serde<Pose>::accepts(Bytes{memory, sizeof(Pose)}));
  CHECK_FALSE(Serde<Pose>::accepts(Bytes{memory, sizeof(Pose) - 1}));
  CHECK_FALSE(Serde<Pose>::accepts(Bytes{memory + 1, sizeof(Pose)}));  // not aligned
  CHECK(&Serde<Pose>::view(Bytes{memory, sizeof(Pose)}) == reinterpret_cast<const Pose*>(memory));
  const Pose& zero = Serde<Pose>::view(Bytes{memory + 1, 3});
  CHECK(reinterpret_cast<const std::byte*>(&zero) != memory + 1);
  CHECK(zero.x == 0.0);
}

TEST_CASE("a large type costs the program no bytes of its file") {
  struct Image {
    std::byte pixels[128 << 20];
  };
  const Image& zero = Serde<Image>::view(Bytes{});
  CHECK(zero.pixels[0] == std::byte{0});
  CHECK(zero.pixels[sizeof(Image) - 1] == std::byte{0});
  CHECK(std::filesystem::file_size("/proc/self/exe") < sizeof(Image));
}

TEST_CASE("a struct travels as it is and is read in place") {
  Round<Pose> round;
  round.producer.send({1.0, 2.0, 0.5}).value();
  auto batch = round.consumer.poll(std::chrono::seconds{5});
  REQUIRE(batch.size() == 1);
  const auto& pose = batch.begin()->value();
  CHECK(pose.x == 1.0);
  CHECK(pose.heading == 0.5);
  CHECK(static_cast<const void*>(&pose) == static_cast<const void*>(batch.begin()->bytes().data()));
}

TEST_CASE_TEMPLATE("an over-aligned struct is aligned in the log, with key and headers too", T, Aligned<16>,
                   Aligned<32>, Aligned<64>) {
  Round<T> round;
  const Header header{"odd", Bytes{std::string_view{"length"}}};
  for (std::uint64_t i = 0; i < 300; ++i) {
    T value{};
    value.number = i;
    if (i % 3 == 0)
      round.producer.send(value).value();
    else
      round.producer.send(value, {.key = std::string_view{"key with a length"}.substr(0, i % 11), .headers = {header}})
          .value();
  }
  std::uint64_t next = 0;
  while (next < 300) {
    auto batch = round.consumer.poll(std::chrono::seconds{5});
    REQUIRE(!batch.empty());
    for (const auto& record : batch) {
      CHECK(reinterpret_cast<std::uintptr_t>(&record.value()) % alignof(T) == 0);
      CHECK(record.value().number == next);
      CHECK(record.has_key() == (next % 3 != 0));
      ++next;
    }
  }
}

TEST_CASE("texts and bytes may be empty, and hold any byte") {
  Round<std::string> round;
  const std::string all{"\0 \xFF\n", 4};
  for (const auto& text : {std::string{}, all, std::string(100'000, 'x')}) round.producer.send(text).value();
  std::vector<std::string> read;
  while (read.size() < 3)
    for (const auto& record : round.consumer.poll(std::chrono::seconds{5})) read.emplace_back(record.value());
  CHECK(read == std::vector<std::string>{"", all, std::string(100'000, 'x')});
}

TEST_CASE("a type with a Serde of its own is decoded when it is polled") {
  Round<Plan> round;
  round.producer.send(Plan{{"rise", "shine"}}).value();
  round.producer.send(Plan{}).value();
  round.producer.send_tombstone({.key = "gone"}).value();
  auto batch = round.consumer.poll(std::chrono::seconds{5});
  REQUIRE(batch.size() == 3);
  auto record = batch.begin();
  CHECK(record->value().steps == std::vector<std::string>{"rise", "shine"});
  ++record;
  CHECK(record->value().steps.empty());
  ++record;
  CHECK(record->is_tombstone());
  CHECK(record->key().text() == "gone");
}

TEST_CASE("bytes that do not decode end the batch before them, and the position stays until somebody seeks") {
  Round<Plan> round;
  round.producer.send(Plan{{"one"}}).value();
  round.producer.send(Plan{{"?"}}).value();
  round.producer.send(Plan{{"three"}}).value();
  auto first = round.consumer.poll(std::chrono::seconds{5});
  REQUIRE(first.size() == 1);
  CHECK(first.error() == Errc::ok);
  for (int again = 0; again < 2; ++again) {
    const auto bad = round.consumer.poll(std::chrono::seconds{5});
    CHECK(bad.empty());
    CHECK(bad.error() == Errc::undecodable);
    CHECK(bad.error_offset() == Offset{1});
    CHECK(round.consumer.position({0}).value() == Offset{1});
  }
  round.consumer.seek({0}, Offset{2}).value();
  auto rest = round.consumer.poll(std::chrono::seconds{5});
  REQUIRE(rest.size() == 1);
  CHECK(rest.begin()->value().steps.front() == "three");
}

TEST_CASE("another encoding of the same type is a second argument, and another topic type") {
  Bus bus;
  Topic<std::string, Reversed> topic{bus, "topic"};
  Producer producer{topic};
  Consumer consumer{topic};
  producer.send("abc").value();
  auto batch = consumer.poll(std::chrono::seconds{5});
  REQUIRE(batch.size() == 1);
  CHECK(batch.begin()->bytes().text() == "cba");
  CHECK(batch.begin()->value() == "abc");
  CHECK(Topic<std::string>::open(bus, "topic").error() == Errc::type_mismatch);
  CHECK(Topic<Bytes>::open(bus, "topic").has_value());  // bytes look at any topic
}

TEST_CASE("a schema says name, encoding, size and alignment, and any difference is found") {
  constexpr auto schema = schema_of<Pose, Serde<Pose>>();
  CHECK(schema.name.ends_with("Pose"));
  CHECK(schema.encoding == "zero-copy");
  CHECK(schema.size == 24);
  CHECK(schema.alignment == 8);
  CHECK(schema_of<std::string, Serde<std::string>>().name == "string");
  CHECK(schema_of<std::int32_t, Serde<std::int32_t>>().encoding == "integer");
  Bus bus;
  Topic<Pose> poses{bus, "pose"};
  CHECK(Topic<std::array<double, 3>>::open(bus, "pose").error() == Errc::type_mismatch);  // only the name differs
  CHECK(Topic<std::array<double, 4>>::open(bus, "pose").error() == Errc::type_mismatch);
  CHECK(Topic<Aligned<64>>::open(bus, "pose").error() == Errc::type_mismatch);
  CHECK(Topic<std::int64_t>::open(bus, "pose").error() == Errc::type_mismatch);
  CHECK(Topic<Pose>::open(bus, "pose").has_value());
}

TEST_CASE("keys of text, bytes and integers are read back as what they were") {
  Round<std::int32_t> round;
  const auto raw = bytes_of({0, 255, 7});
  round.producer.send(0, {.key = "text"}).value();
  round.producer.send(1, {.key = std::int64_t{-5}}).value();
  round.producer.send(2, {.key = Bytes{raw}}).value();
  round.producer.send(3, {.key = std::string{}}).value();
  round.producer.send(4).value();
  auto batch = round.consumer.poll(std::chrono::seconds{5});
  REQUIRE(batch.size() == 5);
  auto record = batch.begin();
  CHECK(record->key_as<std::string>() == "text");
  CHECK_FALSE(record->key_as<std::int64_t>());
  CHECK((++record)->key_as<std::int64_t>() == -5);
  CHECK_FALSE(record->key_as<std::int32_t>());
  CHECK((++record)->key() == Bytes{raw});
  ++record;
  CHECK(record->has_key());  // an empty key is a key
  CHECK(record->key_as<std::string>() == "");
  CHECK(record->serialized_key_size() == 0);
  ++record;
  CHECK_FALSE(record->has_key());
  CHECK_FALSE(record->key_as<std::string>());
  CHECK(record->serialized_key_size() == -1);
}

TEST_CASE("what the values of a topic of bytes are is found out record by record") {
  Bus bus;
  Topic<Bytes> raw{bus, "raw"};
  Producer anybody{raw};
  Topic<Pose> poses{bus, "raw"};
  Consumer consumer{poses, {.auto_offset_reset = OffsetReset::earliest}};
  Producer producer{poses};
  producer.send({1, 2, 3}).value();
  anybody.send(std::string_view{"no Pose"}).value();
  producer.send({4, 5, 6}).value();
  {
    const auto batch = consumer.poll(std::chrono::seconds{1});
    REQUIRE(batch.size() == 1);
    CHECK(batch.begin()->value().heading == 3);
  }
  {
    const auto batch = consumer.poll(std::chrono::seconds{1});
    CHECK(batch.error() == Errc::undecodable);
    CHECK(batch.error_offset() == Offset{1});
  }
  consumer.seek({0}, Offset{2}).value();
  CHECK(consumer.poll(std::chrono::seconds{1}).begin()->value().heading == 6);
}
