// A Partition<T> is a read-only look at one partition: where its log begins and ends, how much room it takes. It moves
// nobody's position and pins nothing while it is not asked. Thread-safe. In a child after fork() its plain values are
// 0.
#pragma once

#include <towpath/topic/topic.hpp>

namespace towpath::inline TOWPATH_ABI {

/// Counted since the partition was made; for people, a crash may lose the last few.
struct PartitionCounters {
  std::uint64_t dropped = 0;   ///< offsets that retention removed
  std::uint64_t aborted = 0;   ///< offsets without a record: their producer died, froze or dropped a loan, or a segment
                               ///< was closed before it was full
  std::uint64_t rolls = 0;     ///< segments begun after the first
  std::uint64_t recycled = 0;  ///< segments that became spares
  std::uint64_t fresh = 0;     ///< segments made from new files
  std::uint64_t unlinked = 0;  ///< segments removed without recycling
  std::uint64_t waits = 0;     ///< times a consumer whose first partition this is went to sleep
};

template <class T, class S = Serde<T>>
class Partition {
 public:
  /// Errors: unknown_partition.
  static Result<Partition> open(const Topic<T, S>& topic, PartitionId id) {
    if (auto fine = topic.files()->core().usable(); !fine) return fine.error();
    auto log = topic.files()->partition(id);
    if (!log) return log.error();
    return Partition{topic, *log, id};
  }

  [[nodiscard]] PartitionId id() const noexcept { return id_; }

  /// The first offset that can still be read.
  [[nodiscard]] Offset begin_offset() const noexcept {
    if (!is_mine()) return {};
    return {static_cast<std::int64_t>(log_->begin())};
  }

  /// The offset after the last record below which every record is committed or aborted. Errors: those of mapping.
  [[nodiscard]] Result<Offset> end_offset() const {
    if (auto fine = topic_.files()->core().usable(); !fine) return fine.error();
    auto pins = topic_.files()->open_pins_holder();
    if (!pins) return pins.error();
    return log::Reader{*log_, std::move(*pins)}.find_end();
  }

  /// Bytes of the live segments' files.
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return is_mine() ? log_->state().live_bytes.load(shm::relaxed) : 0;
  }

  /// How many live segments there are. Errors: those of listing a folder.
  [[nodiscard]] Result<std::size_t> segments() const {
    if (auto fine = topic_.files()->core().usable(); !fine) return fine.error();
    const auto bases = log_->bases();
    if (!bases) return bases.error();
    return bases->size();
  }

  [[nodiscard]] PartitionCounters counters() const noexcept {
    if (!is_mine()) return {};
    const auto& state = log_->state();
    const auto read = [](const shm::Word64& word) { return word.load(shm::relaxed); };
    return {read(state.dropped), read(state.aborted),  read(state.rolls), read(state.recycled),
            read(state.fresh),   read(state.unlinked), read(state.waits)};
  }

 private:
  /// False in a child after fork(), where nothing is mapped: plain values are then zero, results say forked.
  [[nodiscard]] bool is_mine() const noexcept { return topic_.files()->core().is_mine(); }

  Partition(Topic<T, S> topic, const log::PartitionLog* log, PartitionId id)
      : topic_{std::move(topic)}, log_{log}, id_{id} {}

  Topic<T, S> topic_;
  const log::PartitionLog* log_;
  PartitionId id_;
};

}  // namespace towpath::inline TOWPATH_ABI
