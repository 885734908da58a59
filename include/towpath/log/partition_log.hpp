// A PartitionLog is one partition as seen by one process: its words, its folder, and the steps that make the chain of
// segments longer (protocol.md OPEN, NEXT, TAKE). Appender and Reader work on it.
// Thread-safe: everything it holds is fixed at construction or shared words. Any process may die between any two steps;
// the table in docs/protocol.md says what is left behind and who repairs it.
#pragma once

#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include <towpath/core/time.hpp>
#include <towpath/log/segment.hpp>
#include <towpath/log/state.hpp>

namespace towpath::inline TOWPATH_ABI::log {

/// What is fixed when the topic is created.
struct PartitionFormat {
  std::uint64_t record_alignment = 8;  ///< frames begin at multiples: 8, 16, 32 or 64
  std::uint64_t value_alignment = 8;
  std::uint64_t typical_frame = 0;  ///< bytes of one record when the type tells, else 0
  bool checksummed = false;
  bool recycling = true;
  bool one_writer = false;  ///< one live Producer at a time appends, without locked instructions
};

using FileName = std::array<char, 320>;

/// Whom a topic that is on_full = block or fail waits for.
class ReaderHold {
 public:
  ReaderHold() = default;
  ReaderHold(const ReaderHold&) = delete;
  ReaderHold& operator=(const ReaderHold&) = delete;
  virtual ~ReaderHold() = default;
  /// The lowest offset of the partition that one of them still needs. Thread-safe; a few system calls at most.
  virtual std::uint64_t lowest(std::int32_t partition) noexcept = 0;
};

/// What a PartitionLog is made of; all of it outlives the log.
struct PartitionParts {
  shm::Directory* directory = nullptr;
  shm::Directory* bus = nullptr;  ///< where the topic's folder has its name, in "topics"; null: not flushed from here
  std::string folder;             ///< the partition's, in `directory`: "0"; made with the first segment
  std::int32_t partition = 0;
  PartitionState* state = nullptr;
  TopicWords* words = nullptr;
  WaitBlock* waits = nullptr;                 ///< null: this process never registers as a waiter
  shm::Members* members = nullptr;            ///< null: this process is no member
  const shm::FileDescriptor* pins = nullptr;  ///< asker of the topic's pins; never holds a lock
  const Word32* maintainer = nullptr;         ///< member index + 1 of who wants to know about rolls, 0 for nobody
  ReaderHold* readers = nullptr;              ///< null: the topic waits for nobody
  bool writable = false;                      ///< segments and state may be written: may append, may help
  PartitionFormat format;
  Clock clock;
};

class PartitionLog {
 public:
  explicit PartitionLog(PartitionParts parts) : parts_{std::move(parts)}, uid_{parts_.state->uid.load(shm::acquire)} {}

  [[nodiscard]] shm::Directory& directory() const noexcept { return *parts_.directory; }
  [[nodiscard]] shm::Directory* bus() const noexcept { return parts_.bus; }
  [[nodiscard]] PartitionState& state() const noexcept { return *parts_.state; }
  [[nodiscard]] const TopicWords& words() const noexcept { return *parts_.words; }
  [[nodiscard]] WaitBlock* waits() const noexcept { return parts_.waits; }
  [[nodiscard]] shm::Members& members() const noexcept { return *parts_.members; }
  [[nodiscard]] const PartitionFormat& format() const noexcept { return parts_.format; }
  [[nodiscard]] const Clock& clock() const noexcept { return parts_.clock; }
  [[nodiscard]] std::uint64_t uid() const noexcept { return uid_; }
  /// The partition's, from 0.
  [[nodiscard]] std::uint64_t number() const noexcept { return static_cast<std::uint64_t>(parts_.partition); }
  [[nodiscard]] const std::string& folder() const noexcept { return parts_.folder; }
  [[nodiscard]] bool is_deleted() const noexcept {
    return (parts_.state->flags.load(shm::acquire) & partition_deleted) != 0;
  }
  /// Did an I/O error make it read-only?
  [[nodiscard]] bool has_failed() const noexcept {
    return (parts_.state->flags.load(shm::acquire) & partition_failed) != 0;
  }
  /// The first offset that may be read. log_start is always some segment's base, and decides which files are there;
  /// records in the middle of a segment are deleted by raising another word.
  [[nodiscard]] std::uint64_t begin() const noexcept {
    // Pairs with R1's raise and with delete_records().
    return std::max(state().log_start.load(shm::seq_cst), state().deleted_to.load(shm::seq_cst));
  }
  /// Whoever may only read never helps.
  [[nodiscard]] bool may_help() const noexcept { return parts_.writable; }

  void wake() const noexcept {
    if (parts_.writable) wake_waiters(*parts_.waits, *parts_.members);
  }

  /// The byte of the topic's pins that stands for the segment at `base`.
  [[nodiscard]] std::uint64_t pin_byte(std::uint64_t base) const noexcept {
    return static_cast<std::uint64_t>(parts_.partition) << 48 | base;
  }
  [[nodiscard]] bool is_pinned(std::uint64_t base) const noexcept {
    return shm::is_locked(*parts_.pins, pin_byte(base));
  }

  /// What retention must leave: the lowest offset that a reader needs whom the topic waits for.
  [[nodiscard]] std::uint64_t held_from() const noexcept {
    if (!waits_for_readers()) return ~std::uint64_t{0};
    return std::max(parts_.readers->lowest(parts_.partition), state().deleted_to.load(shm::acquire));
  }
  [[nodiscard]] bool waits_for_readers() const noexcept {
    return parts_.readers && parts_.words->on_full.load(shm::relaxed) != 0;
  }

  /// Tells the maintenance, if there is one, that a segment was filled.
  void wake_maintenance() const noexcept {
    const std::uint32_t holder = parts_.maintainer ? parts_.maintainer->load(shm::acquire) : 0;
    if (holder != 0 && holder <= shm::max_members) shm::wake(members().line(holder - 1).wake);
  }

  // ---- names
  [[nodiscard]] FileName segment_name(std::uint64_t base) const noexcept { return numbered("%s/%020llu.log", base); }
  [[nodiscard]] FileName spare_name(std::uint64_t i) const noexcept { return numbered("%s/spare.%llu", i); }
  [[nodiscard]] FileName time_index_name(std::uint64_t base) const noexcept {
    return numbered("%s/%020llu.timeindex", base);
  }
  /// A private name: exactly one live member may touch what stands under it, sweepers may only unlink it.
  [[nodiscard]] FileName own_name(const shm::Member& member) const noexcept {
    static std::atomic<unsigned long long> next{0};
    FileName name;
    std::snprintf(name.data(), name.size(), "%s/own.%u.%llu.%llu", parts_.folder.c_str(), member.index(),
                  static_cast<unsigned long long>(member.line().incarnation.load(shm::relaxed)),
                  next.fetch_add(1, std::memory_order_relaxed));
    return name;
  }
  [[nodiscard]] FileName in_folder(const char* entry) const noexcept {
    FileName name;
    std::snprintf(name.data(), name.size(), "%s/%s", parts_.folder.c_str(), entry);
    return name;
  }

  /// The live segments' bases, ascending. Empty before the first record.
  [[nodiscard]] Result<std::vector<std::uint64_t>> bases() const {
    auto names = parts_.directory->list(parts_.folder.c_str());
    std::vector<std::uint64_t> found;
    if (!names)
      return names.error() == Errc::not_found ? Result<std::vector<std::uint64_t>>{std::move(found)} : names.error();
    for (const auto& name : *names)
      if (name.size() == 24 && name.ends_with(".log")) found.push_back(std::strtoull(name.c_str(), nullptr, 10));
    std::sort(found.begin(), found.end());
    return found;
  }

  // ---- segments
  /// OPEN. Errors: not_found when there is no such incarnation, and those of Segment::open.
  [[nodiscard]] Result<Segment> open(std::uint64_t base, Use use) const {
    return Segment::open(*parts_.directory, segment_name(base).data(), base, use);
  }

  /// Did the segment at `base` have its name before now, by what the words say? Ask before the look for its file: if it
  /// had, and log_start has not passed it, the file must be there, for a roll names it before it raises hint, and the
  /// first is named before it is counted.
  [[nodiscard]] bool was_made(std::uint64_t base) const noexcept {
    const std::uint64_t hint = state().hint.load(shm::acquire);
    if (hint != base || base > 0) return hint >= base;
    return state().resolved_to.load(shm::acquire) > 0 || state().live_bytes.load(shm::acquire) > 0;
  }

  /// What to say of a segment that was made and is not there: corrupt, or topic_deleted.
  [[nodiscard]] Failure damaged() const noexcept {
    return unless_deleted({Errc::corrupt, "a segment of the log is missing or damaged"});
  }

  /// The segment to append to: that of hint, made if the log is still empty. Errors: topic_deleted, no_space,
  /// partition_failed, corrupt, newer_format, and those of making and mapping a file.
  Result<Segment> active(const shm::Member& member, Need need) const;

  /// NEXT. The segment after `full`, which ends at base `next_base`; whoever crossed the end makes it, others wait a
  /// little first. Returns a later one when the log has moved on. Errors as active(), and queue_full: a reader that the
  /// topic waits for has not read what would have to go.
  Result<Segment> next(const shm::Member& member, const Segment& full, std::uint64_t next_base, bool crosser,
                       Need need) const;

  /// A new file under a private name: allocated, initialised, closed, unset. Errors: no_space.
  [[nodiscard]] Result<Segment> make_file(const char* own, const Geometry& shape) const;

  /// The shape of the segment that follows `last`.
  [[nodiscard]] Geometry following(const Segment& last, Need need) const noexcept;

 private:
  [[nodiscard]] FileName numbered(const char* pattern, std::uint64_t n) const noexcept {
    FileName name;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    std::snprintf(name.data(), name.size(), pattern, parts_.folder.c_str(), static_cast<unsigned long long>(n));
#pragma GCC diagnostic pop
    return name;
  }

  /// A file that cannot be made because the topic's folder went is no file that was not found.
  [[nodiscard]] Failure unless_deleted(const Failure& failure) const noexcept {
    return is_deleted() ? Failure{Errc::topic_deleted, "the topic was deleted under this handle"} : failure;
  }

  Result<void> write_file(const char* own, const Geometry& shape) const;
  /// TAKE. True if this call made the segment, false if somebody else did.
  Result<bool> take(const shm::Member& member, std::uint64_t base, const Geometry& shape) const;
  /// What whoever raised hint does for all.
  void after_roll(const shm::Member& member) const;
  [[nodiscard]] Result<Segment> take_spare(const char* own, const Geometry& shape) const;

  PartitionParts parts_;
  std::uint64_t uid_;
};

inline constexpr std::uint64_t spare_names = 4;

}  // namespace towpath::inline TOWPATH_ABI::log
