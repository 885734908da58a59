// A Batch is what one poll returned: a run of records of one partition, in place in the log, or nothing, or an error.
//   for (const auto& record : consumer.poll(100ms)) use(record.value());
// An iterator is good until its batch is moved or assigned to.
// While it lives its segment is not recycled, so let go of it before long. It belongs to the consumer's thread, and may
// outlive the consumer. After a crash nothing is left of it.
#pragma once

#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <towpath/consume/acceptance.hpp>
#include <towpath/consume/record.hpp>
#include <towpath/log/reader.hpp>

namespace towpath::inline TOWPATH_ABI {

namespace detail {

/// What an empty batch has to tell, shared with the consumer, which tells it again until somebody looked at it.
struct Trouble {
  Failure failure;
  Offset at;
  std::string topic;
  bool looked = false;
  bool told = false;  // to an iteration, which hides it
};

}  // namespace detail

template <class T, class S = Serde<T>>
class [[nodiscard]] Batch {
 public:
  class iterator {
   public:
    using value_type = Record<T, S>;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;
    using pointer = const value_type*;
    using reference = const value_type&;

    iterator() noexcept = default;
    const Record<T, S>& operator*() const noexcept { return record_; }
    const Record<T, S>* operator->() const noexcept { return &record_; }
    TOWPATH_HOT iterator& operator++() noexcept {
      ++n_, ++index_;
      find();
      return *this;
    }
    void operator++(int) noexcept { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return i.n_ >= i.last_; }

   private:
    friend class Batch;
    explicit iterator(const Batch& batch) noexcept
        : batch_{&batch}, n_{batch.run_.first}, last_{batch.run_.last}, inside_{batch.run_.begins_inside} {
      if (batch.empty()) return;
      record_.topic_ = batch.run_.segment.topic();
      record_.partition_ = batch.partition_;
      record_.checksummed_ = batch.run_.segment->checksummed;
      find();
    }

    /// On to the next committed slot. The log was looked at when it was polled; what a hostile writer changed since is
    /// skipped, never followed outside the segment.
    TOWPATH_HOT void find() noexcept {
      for (; n_ < last_; ++n_)
        if (batch_->read(n_, index_, inside_, record_)) return;
    }

    const Batch* batch_ = nullptr;
    std::uint64_t n_ = 0;
    std::uint64_t last_ = 0;
    std::size_t index_ = 0;
    bool inside_ = false;  // slot n_ - 1 is of a committed record or batch
    Record<T, S> record_;
  };

  Batch() noexcept = default;

  [[nodiscard]] iterator begin() const noexcept { return iterator{*this}; }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }
  [[nodiscard]] bool empty() const noexcept { return run_.count == 0; }
  /// How many records.
  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(run_.count); }

  [[nodiscard]] std::string_view topic() const noexcept {
    if (run_.segment) return run_.segment.topic();
    return trouble_ ? std::string_view{trouble_->topic} : std::string_view{};
  }
  [[nodiscard]] PartitionId partition() const noexcept { return partition_; }

  /// How many offsets before this batch were passed unread: retention overtook the consumer, or what was sought lay
  /// before the log's start. Where it went on at the end (auto_offset_reset latest, the default), all up to there, also
  /// what could still have been read.
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }

  /// Why there are no (more) records. At error_offset() of a partition: undecodable, corrupt, newer_format,
  /// unsupported_compression, out_of_memory, offset_out_of_range, no_offset, log_truncated, topic_deleted, and what
  /// mapping can fail with. Of a topic() as a whole, with no partition: topic_deleted, type_mismatch, corrupt,
  /// newer_format, what opening it can fail with, and for a consumer with a name busy, read_only, no_space. Of all:
  /// forked, closed. Errc::ok when there simply were none in time. One that nobody looks at comes again.
  [[nodiscard]] Failure error() const noexcept {
    if (!trouble_) return {};
    trouble_->looked = true;
    return trouble_->failure;
  }
  /// Where: the offset that could not be read; of log_truncated the one where the log goes on.
  [[nodiscard]] Offset error_offset() const noexcept { return trouble_ ? trouble_->at : Offset{}; }

 private:
  template <class, class, class>
  friend class Consumer;
  template <class, class, class>
  friend class ConsumerIterator;

  static constexpr bool reads_in_place = InPlaceSerde<S, T>;

  TOWPATH_HOT bool read(std::uint64_t n, std::size_t index, bool& inside, Record<T, S>& record) const noexcept {
    const log::Segment& segment = *run_.segment;
    const std::uint64_t slot = segment.slots[n].load(shm::relaxed);  // acquired when it was polled
    if (log::Slot::state(slot) != log::Slot::continued) [[likely]]
      inside = log::Slot::state(slot) == log::Slot::committed;
    if (!inside || !segment.contains(slot)) return false;
    const std::byte* frame = segment.data + log::Slot::position(slot);
    std::uint64_t length = log::Slot::length(slot);
    if (unpacked_) [[unlikely]]
      if (!find_unpacked(n, frame, length, record)) return false;
    if (!record.frame_.parse(frame, length, value_alignment_)) return false;
    if constexpr (reads_in_place)  // the log was looked at before, but a hostile writer may have been there since
      if (record.frame_.has_value && !S::accepts(record.frame_.value)) return false;
    record.offset_ = Offset{static_cast<std::int64_t>(segment.base + n)};
    if constexpr (!reads_in_place) {
      if (index >= decoded_.values.size()) return false;
      record.decoded_ = decoded_.values[index] ? &*decoded_.values[index] : nullptr;
    }
    return true;
  }

  /// Leads to the record's own frame if slot `n` is of a Kafka record batch. False: there is no record of that offset.
  TOWPATH_COLD bool find_unpacked(std::uint64_t n, const std::byte*& frame, std::uint64_t& length,
                                  Record<T, S>& record) const noexcept {
    const auto* records = unpacked_->find(*run_.segment, n);
    record.checksummed_ = !records && run_.segment->checksummed;
    if (!records) return true;
    const auto found = records->batch.frame(static_cast<std::int32_t>(n - records->head));
    if (!found || records->batch.header().is_control()) return false;
    frame = found->data, length = found->length;
    return true;
  }

  log::Run run_;
  std::unique_ptr<detail::UnpackedRun> unpacked_;  // null: no record batch among these
  std::uint64_t missed_ = 0;
  std::uint64_t value_alignment_ = 8;
  PartitionId partition_;
  [[no_unique_address]] detail::Decoded<T, S> decoded_;
  std::shared_ptr<detail::Trouble> trouble_;
};

}  // namespace towpath::inline TOWPATH_ABI
