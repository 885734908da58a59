// A sailing boat's sensors, recorded: 116,000 sentences of NMEA 0183 and 21,595 messages of NMEA 2000. Each recording
// has a process that produces it, by sensor. Another one merges both in the order of time while they come; a fourth
// joins late, reads the same from the log, and ends with the same state.
//   example.boat FOLDER      with plaka.log and aava-n2k.data in it: tools/fetch_examples boat
#include <fstream>

#include "../processes.hpp"
#include "merge.hpp"
#include "state.hpp"

using namespace std::chrono_literals;

/// The recordings are of two days, and the sentences have no date: both are played from here on.
constexpr towpath::Timestamp begin{std::chrono::sys_days{std::chrono::year{2014} / 8 / 15} + 19h};
constexpr std::uint64_t late = 100'000;  // records that are through when the last process joins

/// Calls `handle(line)` for each line, which says whether it could use it, and counts.
template <class Handle>
Report each_line(const std::string& path, Handle&& handle) {
  std::ifstream file{path};
  if (!file) throw std::runtime_error{"cannot read " + path};
  Report report;
  for (std::string line; std::getline(file, line);) {
    if (line.ends_with('\r')) line.pop_back();
    ++(handle(std::string_view{line}) ? report.records : report.refused);
  }
  return report;
}

template <class T>
void send_end(towpath::Producer<T>& producer, towpath::Timestamp time) {
  for (std::int32_t i = 0; i < producer.topic().partitions(); ++i)
    producer.send_tombstone({.key = "end", .timestamp = time, .partition = towpath::PartitionId{i}}).value();
}

/// A sentence happened when the clock sentence before it said.
Report produce_sentences(towpath::Bus& bus, const std::string& path) {
  towpath::Topic topic{bus, nmea_sentences};
  towpath::Producer producer{topic};
  std::optional<std::chrono::seconds> first;
  towpath::Timestamp time = begin;
  const auto report = each_line(path, [&](std::string_view line) {
    if (!is_sentence(line)) return false;
    const auto sensor = line.substr(1, 5);
    if (const auto clock = sensor == "GPZDA" ? clock_of(field(line, 1)) : std::nullopt) {
      if (!first) first = clock;
      time = std::max(time, begin + (*clock - *first));
    }
    producer.send(std::string{line}, {.key = sensor, .timestamp = time}).value();
    return true;
  });
  send_end(producer, time);
  return report;
}

Report produce_messages(towpath::Bus& bus, const std::string& path) {
  towpath::Topic topic{bus, can_messages};
  towpath::Producer producer{topic};
  towpath::Timestamp time = begin;
  const auto report = each_line(path, [&](std::string_view line) {
    const auto stamp = time_of(field(line, 0));
    const auto message = message_of(line);
    if (!stamp || !message) return false;
    time = *stamp;
    producer.send(*message, {.key = fmt::format("{}/{}", message->pgn, message->source), .timestamp = time}).value();
    return true;
  });
  send_end(producer, time);
  return report;
}

Report join_late(towpath::Bus& bus) {
  BoatState boat;
  merge(towpath::Topic{bus, nmea_sentences}, towpath::Topic{bus, can_messages},
        [&](const auto& record) { boat.take(record); });
  return boat.report();
}

/// One process: does what its role says, and reports.
void play(const std::string& role, const std::string& folder, const std::string& path) {
  towpath::Bus bus{folder, {.create = false}};  // who started this process made it
  const Report report = role == "sentences"  ? produce_sentences(bus, path)
                        : role == "messages" ? produce_messages(bus, path)
                                             : join_late(bus);
  towpath::Topic topic{bus, reports};
  towpath::Producer{topic}.send(report, {.key = role}).value();
}

void show(const std::string& plaka, const std::string& aava) {
  must_exist({plaka, aava});
  const TempFolder folder;
  towpath::Bus bus{folder.path()};
  const auto sentences = start_again({"sentences", folder.path(), plaka});
  const auto messages = start_again({"messages", folder.path(), aava});
  pid_t joiner = 0;
  BoatState boat;
  std::uint64_t taken = 0;
  merge(towpath::Topic{bus, nmea_sentences}, towpath::Topic{bus, can_messages}, [&](const auto& record) {
    boat.take(record);
    if (++taken == late) joiner = start_again({"joiner", folder.path(), ""});
  });
  fmt::print("the producer of sentences {}, that of messages {}, ", wait_for(sentences), wait_for(messages));
  fmt::print("the late joiner {}\n", joiner ? wait_for(joiner) : "never came");
  boat.print();

  towpath::Topic topic{bus, reports};
  towpath::Consumer consumer{topic, {.auto_offset_reset = towpath::OffsetReset::earliest, .consumer_timeout = 50ms}};
  std::map<std::string, Report> said;
  for (const auto& record : consumer) said[std::string{record.key().text()}] = record.value();
  for (const char* role : {"sentences", "messages"})
    fmt::print("{}: {} sent, {} refused\n", role, said[role].records, said[role].refused);
  const Report mine = boat.report(), other = said["joiner"];
  fmt::print("the late joiner saw {} records; in the same order: {}, with the same state at the end: {}\n",
             other.records, other.order == mine.order, other.state == mine.state);
}

int main(int argc, char** argv) try {
  if (argc == 4) return play(argv[1], argv[2], argv[3]), 0;
  if (argc == 2) return show(std::string{argv[1]} + "/plaka.log", std::string{argv[1]} + "/aava-n2k.data"), 0;
  throw std::runtime_error{"which folder has the recordings? tools/fetch_examples boat fetches them"};
} catch (const std::exception& error) {
  fmt::print(stderr, "example.boat: {}\n", error.what());
  return 1;
}
