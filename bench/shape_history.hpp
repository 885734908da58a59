// Cost as the history of one partition grows, to 100 GB. No machine that we have keeps 100 GB in memory, so most of it
// is a simulation: while the log is written, holes are punched into the data of sealed segments. Header, slot table
// and the first 64 KiB of data of each segment stay, so files, maps, slots and time indexes are those of a log of that
// size, and the first records of each segment can be read. All reads below are of those, and of the newest.
#pragma once

#include "mapped_file.hpp"
#include "shape.hpp"

namespace bench {

constexpr std::uint64_t history_record = 4'096;
constexpr std::uint64_t kept_data = 64_KiB;  // of each sealed segment: its first 15 records

/// Record n is of so many microseconds after this.
constexpr towpath::Timestamp history_began{std::chrono::hours{24 * 365 * 50}};
inline towpath::Timestamp time_of_record(std::uint64_t n) { return history_began + std::chrono::microseconds{n}; }

/// A process that has the log open.
class History {
 public:
  History(const std::string& folder, const towpath::BusConfig& config)
      : folder_(folder + "/topics/history/0"),
        bus_(folder, config),
        topic_(bus_, "history",
               {.retention = {.bytes = towpath::Retention::unlimited, .age = towpath::Duration::max()}}),
        producer_(topic_) {}

  towpath::Bus& bus() noexcept { return bus_; }
  const towpath::Topic<towpath::Bytes>& topic() const noexcept { return topic_; }

  void send(AnyPayload& payload, std::uint64_t n) {
    payload.stamp(n);
    expect_ok(producer_.send(payload.bytes(), {.timestamp = time_of_record(n)}).error(), "send");
  }

  /// First offsets of the segments, ascending.
  std::vector<std::uint64_t> bases() const {
    std::vector<std::uint64_t> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      if (entry.path().extension() == ".log") found.push_back(std::stoull(entry.path().stem().string()));
    std::sort(found.begin(), found.end());
    return found;
  }

  /// Gives back the data of sealed segments that still have theirs. Their time indexes are made before, for these read
  /// every record's time.
  void punch() {
    towpath::Consumer consumer(topic_);
    consumer.offsets_for_times(towpath::Timestamp::max()).value();
    const auto all = bases();
    for (std::size_t i = 0; i + 1 < all.size(); ++i)
      if (all[i] >= punched_to_) punch(all[i]);
    punched_to_ = all.back();
  }

 private:
  void punch(std::uint64_t base) const {
    char name[32];
    std::snprintf(name, sizeof name, "/%020llu.log", static_cast<unsigned long long>(base));
    const std::string path = folder_ + name;
    const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
    require(file >= 0, path);
    towpath::log::SegmentHeader header;
    require(pread(file, static_cast<void*>(&header), sizeof header, 0) == static_cast<ssize_t>(sizeof header), path);
    if (header.magic != towpath::log::segment_magic) fail("not a segment: " + path);
    const std::uint64_t from = header.data_offset + kept_data;
    if (from < header.segment_bytes)
      require(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(from),
                        static_cast<off_t>(header.segment_bytes - from)) == 0,
              "punching " + path);
    close(file);
  }

  std::string folder_;
  towpath::Bus bus_;
  towpath::Topic<towpath::Bytes> topic_;
  towpath::Producer<towpath::Bytes> producer_;
  std::uint64_t punched_to_ = 0;
};

/// Appends `records`, numbered from `first` on.
inline void write_history(const std::string& folder, std::uint64_t first, std::uint64_t records) {
  History history(folder, {});
  AnyPayload payload(history_record);
  for (std::uint64_t i = 0; i < records; ++i) {
    history.send(payload, first + i);
    if ((i + 1) % (1_GiB / history_record) == 0) history.punch();
  }
  history.punch();
}

/// Reads one record and says its number; ends the program if it is not the one at `offset`.
inline std::uint64_t read_one(towpath::Consumer<towpath::Bytes>& consumer, towpath::Offset offset) {
  consumer.seek(towpath::PartitionId{0}, offset).value();
  const auto batch = consumer.poll(1s, towpath::wait::Spin{});
  if (batch.size() != 1 || batch.begin()->offset() != offset) fail("no record at a valid offset");
  std::uint64_t n = 0;
  std::memcpy(&n, batch.begin()->value().data(), sizeof n);
  if (batch.begin()->timestamp() != time_of_record(n)) fail("a record came with another one's time");
  return n;
}

/// Seeks by offset and by time, to the first records of random segments.
inline void seek_history(const Point& point, History& history) {
  towpath::Consumer consumer(history.topic(), towpath::ConsumerConfig{.max_poll_records = 1});
  const auto bases = history.bases();
  const auto offset_at = [&](std::uint64_t i) { return towpath::Offset{static_cast<std::int64_t>(bases[i])}; };
  std::vector<std::uint64_t> numbers;
  const double walk = time_of([&] {
    for (std::uint64_t i = 0; i < bases.size(); ++i) numbers.push_back(read_one(consumer, offset_at(i)));
  });
  point.print("first_visit", walk * 1e-3, "us");  // of every segment once
  RandomPlaces places(bases.size());
  const auto by_offset = [&](std::uint64_t) {
    const std::uint64_t place = places.next();
    if (read_one(consumer, offset_at(place)) != numbers[place]) fail("another record than before");
  };
  point.print("seek", median_in_chunks(21, 1'000, by_offset), "ns");
  const auto by_time = [&](std::uint64_t) {
    const std::uint64_t place = places.next();
    const auto found = consumer.offsets_for_times(time_of_record(numbers[place])).value();
    if (found.size() != 1 || found[0].offset != offset_at(place)) fail("another record by time than by offset");
  };
  point.print("seek_time", median_time(51, by_time) * 1e-3, "us");
}

/// A process that comes to the log, looks around and appends a little, numbered from `next` on.
inline void use_history(const Point& point, const std::string& folder, std::uint64_t next) {
  std::optional<History> history;
  point.print("open", time_of([&] {
                        history.emplace(folder, by_hand());
                        const towpath::Consumer consumer(history->topic());
                      }) * 1e-3,
              "us");
  seek_history(point, *history);
  AnyPayload payload(64);
  const auto send = [&](std::uint64_t) { history->send(payload, next++); };
  point.print("send", median_in_chunks(21, 500, send), "ns");
  const auto maintain = [&](std::uint64_t) {
    send(0);
    std::this_thread::sleep_for(3ms);  // until it is due
    return time_of([&] { expect_ok(history->bus().maintain().error(), "maintain"); });
  };
  std::vector<double> rounds;
  for (std::uint64_t i = 0; i < 12; ++i) rounds.push_back(maintain(i));
  point.print("maintain", median(rounds) * 1e-3, "us");
  point.print("segments", static_cast<double>(history->bases().size()), "files");
  point.print("memory", bytes_in(folder) * 1e-6, "MB");
}

inline void shape_history_to(const Options& options, std::uint64_t most) {
  const BusFolder folder(options, "shape");
  if (room_in(options.dir) < 4_GiB) fail("4 GiB of room are needed");
  std::uint64_t written = 0, part = 0;
  for (const std::uint64_t bytes : sizes(1'000'000, most, 10)) {
    const std::uint64_t records = bytes / history_record;
    const std::uint64_t number = part++ << 40;  // later records have higher numbers, whoever sends them
    in_another_process([&] { write_history(folder.path(), number, records - written); });
    written = records;
    in_another_process([&] { use_history(Point("history", bytes), folder.path(), number + (1ULL << 39)); });
  }
}

inline void shape_history(const Options& options) {
  shape_history_to(options, options.quick ? 100'000'000 : 10'000'000'000);
}
inline void shape_history_100gb(const Options& options) { shape_history_to(options, 100'000'000'000); }

}  // namespace bench
