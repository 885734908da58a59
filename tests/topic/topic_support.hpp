// What the tests of topic/ share: busses by path, records through the log of a topic's partition, planted files.
#pragma once

#include <log/log_support.hpp>

#include <towpath/topic/admin.hpp>
#include <towpath/topic/partition.hpp>

#include <fstream>
#include <iterator>

namespace towpath::test {

inline BusConfig by_hand() {
  BusConfig config;
  config.maintenance = MaintenanceMode::manual;
  return config;
}
inline Bus open_bus(const std::string& path, const BusConfig& config = by_hand()) {
  return must(Bus::open(path, config));
}

/// A bus over the folder, maintained by hand, in the test's own time.
inline Bus bus_in(const TempDir& dir) {
  auto config = by_hand();
  config.clock = ManualClock::clock();
  return open_bus((dir / "bus").string(), config);
}

template <class T, class S>
const log::PartitionLog& log_of(const Topic<T, S>& topic, std::int32_t partition = 0) {
  return *must(topic.files()->partition({partition}));
}

/// Appends records first to first + count - 1 to a partition, in the name of a member of its own.
template <class T, class S>
void put_records(const Topic<T, S>& topic, std::uint64_t first, std::uint64_t count, std::int32_t partition = 0,
                 std::size_t size = 100) {
  auto member = must(topic.bus().core()->claim(MemberKind::producer, "test"));
  log::Appender appender{log_of(topic, partition), member};
  for (std::uint64_t i = first; i < first + count; ++i) put(appender, i, size);
}

template <class T, class S>
std::vector<ReadRecord> read_topic(const Topic<T, S>& topic, std::int32_t partition = 0) {
  const auto& log = log_of(topic, partition);
  log::Reader reader{log, must(topic.files()->open_pins_holder())};
  reader.seek(log.state().log_start.load(shm::seq_cst));
  return drain(reader);
}

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}
/// Overwrites a file in place: same inode, other bytes.
inline void spill(const std::filesystem::path& path, const std::string& text) {
  std::ofstream{path, std::ios::binary | std::ios::trunc} << text;
}
inline void poke(const std::filesystem::path& path, std::size_t at, const void* bytes, std::size_t size) {
  std::fstream file{path, std::ios::binary | std::ios::in | std::ios::out};
  file.seekp(static_cast<std::streamoff>(at));
  file.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
}

inline std::size_t count_entries(const std::filesystem::path& folder, std::string_view prefix) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator{folder})
    count += entry.path().filename().string().starts_with(prefix);
  return count;
}

}  // namespace towpath::test
