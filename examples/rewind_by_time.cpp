// The log keeps what was read. A consumer goes back to a time or an offset, and reads again with the same call.
#include <fmt/core.h>

#include <towpath/towpath.hpp>

using namespace std::chrono_literals;

int main() {
  towpath::Bus bus;
  // [rewind]
  // A topic keeps a week by default, counted from the records' own times. These are old, so it is told to keep all.
  towpath::Topic<std::string> events{bus, "events", {.retention = {.age = towpath::Duration::max()}}};
  towpath::Producer producer{events};
  const towpath::Timestamp noon{std::chrono::sys_days{std::chrono::year{2024} / 5 / 1} + 12h};
  for (int minute = 0; minute < 6; ++minute)
    producer.send(fmt::format("12:0{}", minute), {.timestamp = noon + minute * 1min}).value();

  towpath::Consumer consumer{events, {.consumer_timeout = 50ms}};  // from now on: nothing to read yet
  consumer.seek_to_time(noon + 3min + 30s).value();                // to the first record as late as that
  for (const auto& record : consumer) fmt::print("after 12:03:30: {}\n", record.value());

  consumer.seek_to_beginning().value();
  fmt::print("from the beginning: {} records\n", consumer.poll(50ms).size());

  consumer.seek({0}, towpath::Offset{1}).value();
  fmt::print("offset 1 of partition 0: {}\n", consumer.poll(50ms).begin()->value());
  // [/rewind]
}
