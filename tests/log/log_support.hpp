// What the tests of log/ share: one partition with its words and member table, in a folder, in memory or on disk;
// records that say what they are; a clock that stands still.
#pragma once

#include <shm/shm_support.hpp>

#include <towpath/log/maintenance.hpp>

#include <atomic>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

namespace towpath::test {

using namespace towpath::literals;
using shm::Member;
using shm::MemberKind;

/// Time as the test wants it. One per process; starts well above zero.
struct ManualClock {
  static inline std::atomic<std::int64_t> steady_ns{1'000'000'000};
  static inline std::atomic<std::int64_t> wall_ns{1'700'000'000'000'000'000};
  static Clock clock() {
    Clock clock;
    clock.wall = []() noexcept { return Timestamp{std::chrono::nanoseconds{wall_ns.load()}}; };
    clock.steady = []() noexcept { return Monotonic{std::chrono::nanoseconds{steady_ns.load()}}; };
    return clock;
  }
  static void pass(Duration time) {
    steady_ns += time.count();
    wall_ns += time.count();
  }
};

struct LogOptions {
  std::uint64_t segment_bytes = 256_KiB;
  std::uint64_t retention_bytes = 0;
  Duration retention_age{0};
  Duration grace = std::chrono::seconds{1};
  log::PartitionFormat format{};
  Clock clock{};
  bool writable = true;
};

/// One partition as one process has it open; who comes first makes it.
class LogBench {
 public:
  explicit LogBench(std::shared_ptr<shm::Directory> directory, const LogOptions& options = {})
      : directory_{std::move(directory)} {
    if (!directory_->identify("state")) create(options);
    table_ = std::make_unique<Table>(*directory_);
    state_ = map("state", options.writable);
    wait_ = map("wait", options.writable);
    asker_ = must(directory_->open("pins", shm::Access::read_write));
    log_ = std::make_unique<log::PartitionLog>(parts(options));
  }
  explicit LogBench(const std::string& folder, const LogOptions& options = {})
      : LogBench{std::shared_ptr{open_folder(folder)}, options} {}
  explicit LogBench(const LogOptions& options = {}) : LogBench{std::make_shared<shm::MemoryDirectory>(), options} {}

  const log::PartitionLog& log() const { return *log_; }
  log::PartitionState& state() const { return log_->state(); }
  log::TopicWords& words() const {
    return *reinterpret_cast<log::TopicWords*>(state_->data() + log::topic_words_offset);
  }
  shm::Members& members() const { return table_->members; }
  shm::Directory& directory() const { return *directory_; }
  const std::shared_ptr<shm::Directory>& shared_directory() const { return directory_; }

  Member claim(MemberKind kind = MemberKind::producer) const { return must(table_->members.claim(kind, "test")); }
  std::shared_ptr<log::Pins> pins() const {
    return std::make_shared<log::Pins>(log::Pins{
        must(shm::LockDescriptor::open([this] { return directory_->open("pins", shm::Access::read); })), {}, "test"});
  }
  std::vector<std::uint64_t> bases() const { return must(log_->bases()); }
  std::vector<std::string> files() const { return must(directory_->list("p")); }
  std::size_t count_files(std::string_view prefix) const {
    const auto names = files();
    return static_cast<std::size_t>(
        std::count_if(names.begin(), names.end(), [&](const auto& n) { return n.starts_with(prefix); }));
  }

 private:
  void create(const LogOptions& options) {
    if (!directory_->identify("ctl")) Table::create(*directory_);
    make_file(*directory_, "wait", log::blocks_offset + sizeof(log::WaitBlock));
    make_file(*directory_, "pins", 0);
    make_file(*directory_, "filling", log::blocks_offset + sizeof(log::PartitionState));
    const auto region =
        must(shm::Region::map(must(directory_->open("filling", shm::Access::read_write)),
                              log::blocks_offset + sizeof(log::PartitionState), shm::Access::read_write));
    auto& words = *reinterpret_cast<log::TopicWords*>(region->data() + log::topic_words_offset);
    words.segment_bytes.store(options.segment_bytes, shm::relaxed);
    words.retention_bytes.store(options.retention_bytes, shm::relaxed);
    words.retention_age_ns.store(static_cast<std::uint64_t>(options.retention_age.count()), shm::relaxed);
    words.max_message_bytes.store(16_MiB, shm::relaxed);
    words.grace_ns.store(static_cast<std::uint64_t>(options.grace.count()), shm::relaxed);
    block(*region).uid.store(7, shm::relaxed);
    must(directory_->rename("filling", "state"));
  }

  static log::PartitionState& block(shm::Region& region) {
    return *reinterpret_cast<log::PartitionState*>(region.data() + log::blocks_offset);
  }
  std::shared_ptr<shm::Region> map(const char* name, bool writable) {
    return must(
        shm::RegionCache::instance().map(*directory_, name, writable ? shm::View::whole : shm::View::readable, 4096));
  }

  log::PartitionParts parts(const LogOptions& options) {
    log::PartitionParts parts;
    parts.directory = directory_.get();
    parts.folder = "p";
    parts.state = &block(*state_);
    parts.words = &words();
    parts.waits = reinterpret_cast<log::WaitBlock*>(wait_->data() + log::blocks_offset);
    parts.members = &table_->members;
    parts.pins = &asker_;
    parts.writable = options.writable;
    parts.format = options.format;
    parts.clock = options.clock;
    return parts;
  }

  std::shared_ptr<shm::Directory> directory_;
  std::unique_ptr<Table> table_;
  std::shared_ptr<shm::Region> state_;
  std::shared_ptr<shm::Region> wait_;
  shm::FileDescriptor asker_;
  std::unique_ptr<log::PartitionLog> log_;
};

/// What a test record says: a number, then bytes that follow from it.
inline std::string record_text(std::uint64_t number, std::size_t size = 100) {
  std::string text(std::max<std::size_t>(size, 8), static_cast<char>('a' + number % 26));
  std::memcpy(text.data(), &number, 8);
  return text;
}

inline void fill_frame(std::byte* frame, const log::FrameLayout& layout, const log::FrameSpec& spec,
                       std::string_view value, std::uint64_t offset, const log::Segment& segment) {
  log::write_frame(frame, layout, spec);
  if (!value.empty()) std::memcpy(frame + layout.value_at, value.data(), value.size());
  if (segment.checksummed) log::seal_frame(frame, layout.length, segment.uuid, offset);
}

inline Result<Offset> append(log::Appender& appender, std::string_view value, log::FrameSpec spec = {}) {
  spec.value_size = value.size();
  const auto layout = log::FrameLayout::of(spec, appender.log().format().value_alignment);
  return appender.append(layout.length, [&](std::byte* frame, std::uint64_t offset, const log::Segment& segment) {
    fill_frame(frame, layout, spec, value, offset, segment);
  });
}
inline Result<Offset> append_at(log::Appender& appender, std::string_view value, std::int64_t timestamp_ns) {
  log::FrameSpec spec;
  spec.timestamp = Timestamp{std::chrono::nanoseconds{timestamp_ns}};
  return append(appender, value, spec);
}
inline Offset put(log::Appender& appender, std::uint64_t number, std::size_t size = 100) {
  return must(append(appender, record_text(number, size)));
}

/// A batch of `count` records of `size` bytes, numbered from `number`, as it stands in a reservation: not committed.
inline log::Reservation write_batch(log::Appender& appender, std::uint64_t number, std::uint64_t count,
                                    std::size_t size = 100) {
  const auto& format = appender.log().format();
  log::FrameSpec spec;
  spec.value_size = std::max<std::size_t>(size, 8);
  const auto later = log::FrameLayout::of(spec, format.value_alignment);
  spec.batch_count = static_cast<std::uint32_t>(count);
  const auto head = log::FrameLayout::of(spec, format.value_alignment);
  const auto step = align_up(later.length, format.record_alignment);
  const auto begin = align_up(head.length, format.record_alignment);
  const auto room = must(appender.reserve({begin + (count - 1) * step, count}, head.length));
  const auto offset = static_cast<std::uint64_t>(room.offset.value);
  fill_frame(room.frame, head, spec, record_text(number, size), offset, appender.segment());
  spec.batch_count = 0;
  for (std::uint64_t i = 1; i < count; ++i) {
    const auto at = begin + (i - 1) * step;
    fill_frame(room.frame + at, later, spec, record_text(number + i, size), offset + i, appender.segment());
    TOWPATH_FAILPOINT("batch.half_written");
    appender.place(room, i, room.position + at, later.length);
    TOWPATH_FAILPOINT("batch.half_placed");
  }
  return room;
}
inline Offset put_batch(log::Appender& appender, std::uint64_t number, std::uint64_t count, std::size_t size = 100) {
  for (;;) {
    const auto room = write_batch(appender, number, count, size);
    if (appender.commit(room)) return room.offset;
  }
}

struct ReadRecord {
  std::uint64_t offset;
  std::string value;
  friend bool operator==(const ReadRecord&, const ReadRecord&) = default;
  std::uint64_t number() const {
    std::uint64_t number = 0;
    std::memcpy(&number, value.data(), 8);
    return number;
  }
};

/// Takes a run apart; fails on a frame that does not parse or whose checksum is wrong.
inline void take_run(const log::Run& run, const log::PartitionLog& log, std::vector<ReadRecord>& records) {
  bool inside = run.begins_inside;
  for (std::uint64_t n = run.first; n < run.last; ++n) {
    const std::uint64_t slot = run.segment->slots[n].load(shm::acquire);
    if (log::Slot::state(slot) != log::Slot::continued) inside = log::Slot::state(slot) == log::Slot::committed;
    if (!inside) continue;
    if (!run.segment->contains(slot)) fail("a committed slot leads out of the segment");
    const std::byte* frame = run.segment->data + log::Slot::position(slot);
    log::FrameView view;
    if (!view.parse(frame, log::Slot::length(slot), log.format().value_alignment))
      fail("a committed frame does not parse");
    const std::uint64_t offset = run.segment->base + n;
    if (run.segment->checksummed &&
        view.header.crc32c != log::frame_checksum(frame, log::Slot::length(slot), run.segment->uuid, offset))
      fail("a committed frame has a wrong checksum");
    records.push_back({offset, std::string{view.value.text()}});
  }
}

inline constexpr auto accept_all = [](auto&&...) { return log::Verdict::take; };

/// Reads from the reader's position until there is nothing more; helps, waiting in real time, past the dead.
inline std::vector<ReadRecord> drain(log::Reader& reader, Duration deadline = std::chrono::seconds{10}) {
  std::vector<ReadRecord> records;
  const bool done = eventually(deadline, [&] {
    for (;;) {
      log::Run run;
      const auto progress = reader.collect(run, 1'000, accept_all);
      if (progress == log::Progress::records)
        take_run(run, reader.log(), records);
      else if (progress == log::Progress::idle)
        return true;
      else if (progress == log::Progress::failed)
        fail(std::string{"the reader failed: "} + reader.failure().detail);
      else if (progress == log::Progress::out_of_range)
        fail("the reader is out of range");
      else if (!reader.help())
        return false;
    }
  });
  if (!done) fail("the reader is blocked for ever");
  return records;
}

inline std::vector<ReadRecord> read_from(const LogBench& bench, std::uint64_t offset) {
  log::Reader reader{bench.log(), bench.pins()};
  reader.seek(offset);
  return drain(reader);
}
inline std::vector<ReadRecord> read_all(const LogBench& bench) {
  return read_from(bench, bench.state().log_start.load(shm::seq_cst));
}

/// Each record holds what its number says, and numbers rise by one. Returns the number after the last.
inline std::uint64_t check_sequence(const std::vector<ReadRecord>& records, std::uint64_t first) {
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (records[i].number() != first + i)
      fail("record " + std::to_string(first + i) + " is lost, doubled or out of order");
    if (records[i].value != record_text(records[i].number(), records[i].value.size())) fail("a record's bytes changed");
    if (i > 0 && records[i].offset <= records[i - 1].offset) fail("offsets do not rise");
  }
  return first + records.size();
}

}  // namespace towpath::test
