// How the records of one send_batch() become frames: measured first, then written behind each other into one
// reservation. One thread's, for one call; `record(i)` gives the i-th as an Outgoing<T>.
#pragma once

#include <towpath/log/record_batch_builder.hpp>
#include <towpath/log/unpacked_batch.hpp>
#include <towpath/produce/outgoing.hpp>
#include <towpath/produce/producer_core.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// Room for what a producer's batches need beside the log, kept from batch to batch.
struct BatchScratch {
  std::vector<std::uint64_t> sizes;  // of the values, for those types where they differ
  log::Buffer prepared;              // the values of a serde that prepares them, behind each other
  log::Buffer value;                 // one value on its way into a record batch
  log::RecordBatchBuilder builder;
};

template <class T, class S, class Records>
class BatchFrames {
 public:
  BatchFrames(const ProducerCore& core, std::size_t count, const Records& record, const SendStamp& stamp,
              BatchScratch& scratch) noexcept
      : core_{&core}, count_{count}, record_{&record}, stamp_{stamp}, scratch_{&scratch} {}

  /// Ok, or why the batch cannot be sent: invalid_argument, message_too_large, and what refuses a single record.
  Failure measure() {
    if (count_ == 0 || count_ > log::max_batch_count)
      return {Errc::invalid_argument, "a batch has 1 to 4,194,304 records"};
    need_.slots = count_;
    if constexpr (are_twins) return measure_twins();
    if constexpr (!has_fixed_size) scratch_->sizes.assign(count_, 0);
    scratch_->prepared.clear();
    for (std::size_t i = 0; i < count_; ++i) {
      const Outgoing<T> record = (*record_)(i);
      if (record.value)
        if (const Failure refused = size_up(*record.value, i); refused.code != Errc::ok) return refused;
      const auto spec = describe(record, i);
      const auto layout = log::FrameLayout::of(spec, core_->value_alignment());
      if (const Failure refused = core_->refuses(spec, layout); refused.code != Errc::ok) return refused;
      if (i == 0) head_length_ = layout.length;
      need_.bytes += align_up(layout.length, core_->record_alignment());
      if (const Failure refused = refuses_all(); refused.code != Errc::ok) return refused;
    }
    return {};
  }

  [[nodiscard]] log::Need need() const noexcept { return need_; }
  [[nodiscard]] std::uint64_t head_length() const noexcept { return head_length_; }

  /// Fills the reservation that was made for need() and head_length().
  void write(const log::Reservation& room, const log::Appender& appender) const {
    std::uint64_t at = 0;
    std::size_t prepared = 0;
    for (std::size_t i = 0; i < (are_twins ? 1 : count_); ++i) {
      const Outgoing<T> record = (*record_)(i);
      const auto spec = describe(record, i);
      const auto layout = log::FrameLayout::of(spec, core_->value_alignment());
      write(room, appender, i, at, spec, layout, record.value, prepared);
      at += align_up(layout.length, core_->record_alignment());
    }
    if constexpr (are_twins) write_twins(room, appender, at);
  }

  /// All records as one Kafka record batch, in the scratch's memory; no bytes if readers would take it for a bomb
  /// (log::unpack_budget): then they are better sent as they are. Errors: unsupported_compression, out_of_memory,
  /// message_too_large.
  Result<Bytes> pack(Compression compression) const {
    auto& builder = scratch_->builder;
    builder.clear();
    std::size_t prepared = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      const Outgoing<T> record = (*record_)(i);
      const auto spec = describe(record, i);
      if (!scratch_->value.resize(static_cast<std::size_t>(spec.value_size)))
        return Failure{Errc::out_of_memory, "no memory for a record batch"};
      if (record.value) encode(*record.value, {scratch_->value.data(), scratch_->value.size()}, prepared);
      if (auto added = builder.add(log::to_kafka_time(spec.timestamp), spec.key, spec.has_key, scratch_->value.bytes(),
                                   spec.has_value, spec.headers);
          !added)
        return added.error();
    }
    log::BatchOptions options;
    if (stamp_.first.is_present()) {
      options.producer_id = stamp_.first.id;
      options.producer_epoch = stamp_.first.epoch;
      options.base_sequence = stamp_.first.sequence;
    }
    const auto packed = builder.finish(compression, options);
    if (!packed || builder.size() - log::batch_header_bytes <= log::unpack_budget(packed->size())) return packed;
    return Bytes{};
  }

 private:
  static constexpr bool has_fixed_size = requires { S::fixed_size; };
  static_assert(!(has_fixed_size && PreparingSerde<S, T>), "a serde prepares values because their sizes differ");
  /// All frames but the first, which says how many they are, have one layout.
  static constexpr bool are_twins = has_fixed_size && Records::are_alike;

  Failure refuses_all() const noexcept {
    if (need_.bytes <= core_->max_batch_bytes() || count_ == 1) return {};
    return {Errc::message_too_large, "a batch is at most segment_bytes; send it in parts"};
  }

  Failure measure_twins() noexcept {
    twin_ = describe((*record_)(0), 0);
    const auto head = log::FrameLayout::of(twin_, core_->value_alignment());
    if (const Failure refused = core_->refuses(twin_, head); refused.code != Errc::ok) return refused;
    head_length_ = head.length;
    twin_.batch_count = 0;
    twin_layout_ = log::FrameLayout::of(twin_, core_->value_alignment());
    need_.bytes = align_up(head.length, core_->record_alignment()) +
                  (count_ - 1) * align_up(twin_layout_.length, core_->record_alignment());
    return refuses_all();
  }

  void write_twins(const log::Reservation& room, const log::Appender& appender, std::uint64_t at) const {
    const std::uint64_t step = align_up(twin_layout_.length, core_->record_alignment());
    auto spec = twin_;
    std::size_t prepared = 0;
    for (std::size_t i = 1; i < count_; ++i, at += step) {
      if (spec.producer.is_present()) spec.producer = stamp_.first.after(i);
      write(room, appender, i, at, spec, twin_layout_, &record_->values[i], prepared);
    }
  }

  /// Record `i`, which stands `at` bytes behind the first.
  TOWPATH_HOT void write(const log::Reservation& room, const log::Appender& appender, std::size_t i, std::uint64_t at,
                         const log::FrameSpec& spec, const log::FrameLayout& layout, const T* value,
                         std::size_t& prepared) const {
    std::byte* frame = room.frame + at;
    log::write_frame(frame, layout, spec);
    if (value) encode(*value, {frame + layout.value_at, static_cast<std::size_t>(spec.value_size)}, prepared);
    if (const auto& segment = appender.segment(); segment.checksummed)
      log::seal_frame(frame, layout.length, segment.uuid, static_cast<std::uint64_t>(room.offset.value) + i);
    TOWPATH_FAILPOINT("batch.half_written");
    if (i > 0) appender.place(room, i, room.position + at, layout.length);
  }

  /// Finds out how large the value of record `i` is. Errors: what its serde refuses it for, out_of_memory.
  Failure size_up([[maybe_unused]] const T& value, [[maybe_unused]] std::size_t i) {
    if constexpr (PreparingSerde<S, T>) {
      const auto prepared = S::prepare(value);
      if (!prepared) return prepared.error();
      const Bytes bytes = prepared->bytes();
      const std::size_t at = scratch_->prepared.size();
      if (!scratch_->prepared.resize(at + bytes.size())) return {Errc::out_of_memory, "no memory for a batch's values"};
      if (!bytes.empty()) std::memcpy(scratch_->prepared.data() + at, bytes.data(), bytes.size());
      scratch_->sizes[i] = bytes.size();
    } else if constexpr (!has_fixed_size) {
      scratch_->sizes[i] = S::size(value);
    }
    return {};
  }

  /// `prepared`: how much of what was prepared is used up.
  void encode(const T& value, std::span<std::byte> out, [[maybe_unused]] std::size_t& prepared) const {
    if constexpr (PreparingSerde<S, T>) {
      if (!out.empty()) std::memcpy(out.data(), scratch_->prepared.data() + prepared, out.size());
      prepared += out.size();
    } else {
      S::encode(value, out);
    }
  }

  log::FrameSpec describe(const Outgoing<T>& record, std::size_t i) const noexcept {
    log::FrameSpec spec;
    spec.has_value = record.value != nullptr;
    if constexpr (has_fixed_size)
      spec.value_size = spec.has_value ? S::fixed_size : 0;
    else
      spec.value_size = scratch_->sizes[i];
    spec.has_key = record.key.is_present();
    spec.key = record.key.bytes();  // a view of the record, which its caller keeps
    spec.headers = record.headers;
    spec.timestamp = record.timestamp.value_or(stamp_.time);
    spec.producer = stamp_.first.after(i);
    if (i == 0) spec.batch_count = static_cast<std::uint32_t>(count_);
    return spec;
  }

  const ProducerCore* core_;
  std::size_t count_;
  const Records* record_;
  SendStamp stamp_;
  BatchScratch* scratch_;
  log::Need need_;
  std::uint64_t head_length_ = 0;
  log::FrameSpec twin_{};
  log::FrameLayout twin_layout_{};
};

}  // namespace towpath::inline TOWPATH_ABI::detail
