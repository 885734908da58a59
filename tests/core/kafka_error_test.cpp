#include <doctest/doctest.h>

#include <towpath/core/kafka_error.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

using namespace towpath;

namespace {

std::string kafka_page() {
  std::ifstream file{std::filesystem::path{TOWPATH_TEST_SOURCE_DIR}.parent_path() / "docs/kafka.md"};
  return {std::istreambuf_iterator<char>{file}, {}};
}

}  // namespace

TEST_CASE("every code has one line in the table, and no code two") {
  for (const auto& text : towpath::detail::errc_texts) {
    int lines = 0;
    for (const auto& known : towpath::detail::kafka_errors) lines += known.code == text.code;
    CHECK_MESSAGE(lines == 1, text.name);
  }
  CHECK(kafka_error(static_cast<Errc>(9'999)).name == "UNKNOWN_SERVER_ERROR");
}

TEST_CASE("one number has one name") {
  std::map<int, std::string_view> names;
  for (const auto& known : towpath::detail::kafka_errors) {
    const auto [at, is_new] = names.emplace(known.error.number, known.error.name);
    CHECK(at->second == known.error.name);
  }
  CHECK(names.at(0) == "NONE");
}

TEST_CASE("what is done with a topic fails as in Kafka") {
  static_assert(kafka_error(Errc::unknown_topic) == KafkaError{3, "UNKNOWN_TOPIC_OR_PARTITION"});
  CHECK(kafka_error(Errc::topic_exists) == KafkaError{36, "TOPIC_ALREADY_EXISTS"});
  CHECK(kafka_error(Errc::invalid_name) == KafkaError{17, "INVALID_TOPIC_EXCEPTION"});
  CHECK(kafka_error(Errc::offset_out_of_range) == KafkaError{1, "OFFSET_OUT_OF_RANGE"});
  CHECK(kafka_error(Errc::queue_full) == KafkaError{44, "POLICY_VIOLATION"});
  CHECK(kafka_error(Errc::message_too_large) == KafkaError{10, "MESSAGE_TOO_LARGE"});
  CHECK(kafka_error(Errc::ok) == KafkaError{});
}

TEST_CASE("a refused argument is told apart by the field that its detail names") {
  const auto refused = [](const char* detail) { return kafka_error(Failure{Errc::invalid_argument, detail}); };
  CHECK(refused("partitions: 1 to 32767") == KafkaError{37, "INVALID_PARTITIONS"});
  CHECK(refused("retention.age: above zero") == KafkaError{40, "INVALID_CONFIG"});
  CHECK(refused("towpath.on.full: drop_oldest, block or fail").number == 40);
  CHECK(refused("property: topics have none of that name").number == 40);
  CHECK(refused("headers: 65,535 at most") == KafkaError{42, "INVALID_REQUEST"});
  CHECK(refused("").number == 42);
  CHECK(kafka_error(Failure{Errc::no_space, "partitions"}).number == 56);
}

TEST_CASE("docs/kafka.md has the same table") {
  const auto page = kafka_page();
  for (const auto& known : towpath::detail::kafka_errors) {
    if (known.code == Errc::ok) continue;
    const auto row = "| `" + std::string{name(known.code)} + "` | " + std::to_string(known.error.number) + " | `" +
                     std::string{known.error.name} + "` |";
    CHECK_MESSAGE(page.find(row) != std::string::npos, row);
  }
}
