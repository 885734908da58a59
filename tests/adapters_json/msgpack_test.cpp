// MessagePack and CBOR: what differs from JSON text, and bytes that nobody could have meant.
#include <adapters_json/json_support.hpp>

#include <limits>
#include <random>

using namespace towpath;
using namespace towpath::test;

namespace {

using Msgpack = MsgpackSerde<nlohmann::json>;
using Cbor = CborSerde<nlohmann::json>;

std::string raw(std::initializer_list<int> bytes) {
  std::string text;
  for (const int b : bytes) text += static_cast<char>(b);
  return text;
}

template <class S>
void holds_more_than_json() {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto back = MsgpackSerde<Place>::decode(encoded_by<MsgpackSerde<Place>>(Place{nan, -1e300 * 1e10})).value();
  CHECK(std::isnan(back.x));
  CHECK(back.y == -std::numeric_limits<double>::infinity());
  const nlohmann::json bytes = nlohmann::json::binary({1, 2, 255});
  CHECK(S::decode(encoded_by<S>(bytes)).value() == bytes);
  CHECK(S::explain_value({{"a", "\xFF"}}) == "/a: a text is not UTF-8");
  CHECK(S::explain_value(nested(129)).ends_with("nested deeper than 128 levels"));
}

/// A valid document with bytes changed in it: read or refused, never a crash, and both doors say the same.
template <class S>
void shake(std::uint64_t seed) {
  std::mt19937_64 random{seed};
  const auto whole = encoded_by<S>(a_route());
  int refused = 0;
  for (int i = 0; i < 4'000; ++i) {
    auto bytes = whole;
    for (auto changes = 1 + random() % 3; changes > 0; --changes)
      if (random() % 8 == 0)
        bytes.resize(random() % (bytes.size() + 1));
      else if (!bytes.empty())
        bytes[random() % bytes.size()] = static_cast<char>(random());
    const auto decoded = S::decode(bytes);
    refused += !decoded;
    if (decoded.has_value() != S::explain(bytes).empty()) FAIL_CHECK(S::explain(bytes));
    if (decoded && S::encoding != "json")
      if (const auto again = S::prepare(*decoded); !again) FAIL_CHECK(S::explain_value(*decoded));
  }
  CHECK(refused > 400);
}

}  // namespace

TEST_CASE("MessagePack and CBOR hold NaN, infinities and bytes, and are as strict about texts and depth") {
  holds_more_than_json<Msgpack>();
  holds_more_than_json<Cbor>();
}

TEST_CASE("bytes with a subtype are read back from MessagePack; CBOR refuses to write them") {
  const nlohmann::json typed = nlohmann::json::binary({1, 2}, 7);
  CHECK(Msgpack::decode(encoded_by<Msgpack>(typed)).value() == typed);
  CHECK(Cbor::prepare(typed).error() == Errc::invalid_argument);
}

TEST_CASE("no bytes, bytes behind the value and bytes cut short are no value") {
  CHECK(refused_by<Msgpack>("") == "no bytes at all");
  CHECK(refused_by<Cbor>("") == "no bytes at all");
  CHECK(refused_by<Msgpack>(raw({0x01, 0x02})).find("expected end of input") != std::string::npos);
  CHECK(refused_by<Cbor>(raw({0x01, 0x02})).find("expected end of input") != std::string::npos);
  const auto packed = encoded_by<MsgpackSerde<Route>>(a_route());
  const auto cbor = encoded_by<CborSerde<Route>>(a_route());
  for (std::size_t size = 0; size < packed.size(); ++size)
    refused_by<Msgpack>(std::string_view{packed}.substr(0, size));
  for (std::size_t size = 0; size < cbor.size(); ++size) refused_by<Cbor>(std::string_view{cbor}.substr(0, size));
  CHECK(std::string_view{Cbor::decode(raw({0xFF})).error().detail}.find("no CBOR") != std::string_view::npos);
  CHECK(std::string_view{Msgpack::decode(raw({0xC1})).error().detail}.find("no MessagePack") != std::string_view::npos);
}

TEST_CASE("a header that promises more than there is allocates nothing for it") {
  CHECK(refused_by<Msgpack>(raw({0xDD, 0xFF, 0xFF, 0xFF, 0xFF, 0x01})) != "");          // array of 2^32 - 1
  CHECK(refused_by<Msgpack>(raw({0xDF, 0xFF, 0xFF, 0xFF, 0xFF, 0xA1, 'a', 1})) != "");  // map
  CHECK(refused_by<Msgpack>(raw({0xDB, 0xFF, 0xFF, 0xFF, 0xFF, 'a'})) != "");           // text
  CHECK(refused_by<Msgpack>(raw({0xC6, 0xFF, 0xFF, 0xFF, 0xFF, 'a'})) != "");           // bytes
  const auto huge = raw({0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 'a'});
  for (const int kind : {0x5B, 0x7B, 0x9B, 0xBB}) CHECK(refused_by<Cbor>(raw({kind}) + huge) != "");
}

TEST_CASE("arrays in arrays without end do no harm") {
  CHECK(refused_by<Msgpack>(std::string(1'000'000, '\x91')).ends_with("nested deeper than 128 levels"));
  CHECK(refused_by<Cbor>(std::string(1'000'000, '\x81')).ends_with("nested deeper than 128 levels"));
  CHECK(refused_by<Cbor>(std::string(1'000'000, '\x9F')).ends_with("nested deeper than 128 levels"));
  CHECK(Msgpack::decode(std::string(128, '\x91') + '\x01').has_value());
  const std::string begin = "a text or bytes in pieces, and no plain piece at ";
  CHECK(refused_by<Cbor>(std::string(1'000'000, '\x5F')) == begin + "1");
  CHECK(refused_by<Cbor>(raw({0x81, 0x7F, 0x61, 'a', 0x7F})) == begin + "4");
  CHECK(refused_by<Cbor>(raw({0xA1, 0x61, 'k', 0x5F, 0x58, 1, 0x7F, 0x61, 'a', 0xFF})) == begin + "7");
  CHECK(refused_by<Cbor>(raw({0x9F, 0x19, 0x7F, 0x7F, 0x7F}) + std::string(1'000'000, '\x7F')) == begin + "5");
  CHECK(Cbor::decode(raw({0x9F, 0x7F, 0x61, 'a', 0x62, 'b', 0x7F, 0xFF, 0x19, 0x7F, 0x7F, 0xFF})).value() ==
        nlohmann::json({"ab\x7F", 0x7F7F}));
  refused_by<Cbor>(std::string(1'000'000, '\xC1'));  // tags on tags
}

TEST_CASE("keys that are no text, keys twice, texts that are not UTF-8 and tags are refused with their place") {
  CHECK(refused_by<Msgpack>(raw({0x81, 0x01, 0x02})) != "");
  CHECK(refused_by<Cbor>(raw({0xA1, 0x01, 0x02})) != "");
  CHECK(refused_by<Msgpack>(raw({0x82, 0xA1, 'k', 0x02, 0xA1, 'k', 0x03})) == "/k: the key stands twice");
  CHECK(refused_by<Cbor>(raw({0xA2, 0x61, 'k', 0x02, 0x61, 'k', 0x03})) == "/k: the key stands twice");
  CHECK(refused_by<Msgpack>(raw({0x92, 0x01, 0xA1, 0xFF})) == "/1: the text is not UTF-8");
  CHECK(refused_by<Cbor>(raw({0x81, 0xA1, 0x61, 'k', 0x61, 0xFF})) == "/0/k: the text is not UTF-8");
  CHECK(refused_by<Cbor>(raw({0x82, 0x01, 0xA1, 0x61, 0xFF, 0x01})) == "/1: a key is not UTF-8");
  CHECK(refused_by<Cbor>(raw({0xC0, 0x61, 'a'})) != "");
}

TEST_CASE("a field of another type is named in each encoding") {
  auto json = nlohmann::json(a_route());
  json["pose"]["x"] = "b";
  CHECK(refused_by<MsgpackSerde<Route>>(encoded_by<Msgpack>(json)) == "/pose/x: number expected, string found");
  CHECK(refused_by<CborSerde<Route>>(encoded_by<Cbor>(json)) == "/pose/x: number expected, string found");
}

TEST_CASE("bytes changed at random are read or refused, never worse") {
  shake<JsonSerde<Route>>(1);
  shake<MsgpackSerde<Route>>(2);
  shake<CborSerde<Route>>(3);
}
