// One consumer reads several topics: those it names and those whose names match a pattern, also ones that come later.
#include <fmt/core.h>

#include <towpath/towpath.hpp>

using namespace std::chrono_literals;

namespace {

void report(towpath::Bus& bus, const char* topic, const char* what) {
  towpath::Topic<std::string> texts{bus, topic};
  towpath::Producer{texts}.send(what).value();
}

void show(auto& consumer) {
  for (;;) {
    const auto batch = consumer.poll(50ms);
    if (auto failure = batch.error(); failure.code != towpath::Errc::ok) throw towpath::Error{failure};
    if (batch.empty()) return;
    for (const auto& record : batch) fmt::print("{}: {}\n", record.topic(), record.bytes().text());
  }
}

}  // namespace

int main() {
  towpath::Bus bus;
  report(bus, "robot.ada", "starts");
  report(bus, "robot.bob", "starts");
  report(bus, "weather", "rain");

  // [several]
  // As values of one type. A topic that does not exist yet is waited for; reading never makes one.
  towpath::Consumer<std::string> some{
      bus, {.topics = {"robot.ada", "weather", "news"}, .auto_offset_reset = towpath::OffsetReset::earliest}};

  // As bytes, whatever the topics' types. Robots that come later are read from their first record.
  towpath::Consumer<towpath::Bytes> robots{
      bus, {.pattern = "^robot\\.", .auto_offset_reset = towpath::OffsetReset::earliest}};
  // [/several]
  fmt::print("named:\n");
  show(some);
  fmt::print("matching:\n");
  show(robots);

  report(bus, "news", "a robot came");
  report(bus, "robot.cleo", "starts");
  fmt::print("later:\n");
  show(some);
  show(robots);

  // [topic_partition]
  for (const auto& [partition, offset] : robots.end_offsets().value()) {
    fmt::print("{} ends at {}\n", partition, offset);  // a TopicPartition: topic and number
    robots.seek(partition, towpath::Offset{0}).value();
  }
  // [/topic_partition]

  // A topic that is deleted is told once if it was named; one that a pattern found goes without a word.
  towpath::Admin{bus}.delete_topic("weather").value();
  if (const auto batch = some.poll(50ms); batch.error() == towpath::Errc::topic_deleted)
    fmt::print("{} was deleted\n", batch.topic());

  // A topic of another type does not stop the others.
  towpath::Topic<std::int64_t>{bus, "robot.count"};
  towpath::Consumer<std::string> texts{bus, {.pattern = "^robot\\."}};
  if (const auto batch = texts.poll(50ms); batch.error() == towpath::Errc::type_mismatch)
    fmt::print("{} holds no texts\n", batch.topic());
}
