// A Kafka record batch, message format 2, as it stands in the log and goes over the network:
//   base offset 8 | length 4 | leader epoch 4 | magic 1 | crc 4 | attributes 2 | last offset delta 4 | base timestamp 8
//   | max timestamp 8 | producer id 8 | producer epoch 2 | base sequence 4 | count 4 | records, maybe compressed
// The CRC-32C covers attributes to end, so whoever appends the batch sets offset and epoch in place. A RecordBatchView
// is that view of bytes that somebody else owns; what parse() accepts is whole and does not contradict itself, but for
// its records, which are checked when they are read (log/batch_records.hpp, log/unpacked_batch.hpp).
//   auto batch = RecordBatchView::parse(bytes);
//   if (batch && !batch->is_control()) ...batch->record_count()...
// A view is a value; reading it from several threads is fine as long as nobody writes the bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>

#include <towpath/core/hash.hpp>
#include <towpath/core/result.hpp>
#include <towpath/core/time.hpp>
#include <towpath/log/codec.hpp>
#include <towpath/log/kafka_numbers.hpp>

namespace towpath::inline TOWPATH_ABI::log {

inline constexpr std::size_t batch_header_bytes = 61;
inline constexpr std::size_t batch_length_begins = 12;  ///< what is in front of the bytes that `length` counts
inline constexpr std::size_t batch_crc_begins = 21;     ///< the first byte that the CRC covers
inline constexpr std::int8_t batch_magic = 2;
inline constexpr std::size_t min_batch_record_bytes = 7;  ///< length, attributes, two deltas, key, value, headers

enum BatchAttribute : std::uint16_t {
  batch_compression = 7,  ///< mask
  batch_append_time = 8,
  batch_transactional = 16,
  batch_control = 32,
  batch_delete_horizon = 64,  ///< base_timestamp is when the batch may be removed
};

/// Everything in front of the records, as plain numbers. Kafka's "none" is -1.
struct RecordBatchHeader {
  std::int64_t base_offset = 0;
  std::int32_t length = 0;  ///< of what follows this field
  std::int32_t leader_epoch = -1;
  std::int8_t magic = batch_magic;
  std::uint32_t crc = 0;
  std::uint16_t attributes = 0;
  std::int32_t last_offset_delta = -1;
  std::int64_t base_timestamp_ms = -1;
  std::int64_t max_timestamp_ms = -1;
  std::int64_t producer_id = -1;
  std::int16_t producer_epoch = -1;
  std::int32_t base_sequence = -1;
  std::int32_t record_count = 0;

  /// `at` has batch_header_bytes.
  static RecordBatchHeader read(const std::byte* at) noexcept {
    RecordBatchHeader header;
    header.base_offset = load_big_endian<std::int64_t>(at);
    header.length = load_big_endian<std::int32_t>(at + 8);
    header.leader_epoch = load_big_endian<std::int32_t>(at + 12);
    header.magic = static_cast<std::int8_t>(at[16]);
    header.crc = load_big_endian<std::uint32_t>(at + 17);
    header.attributes = load_big_endian<std::uint16_t>(at + 21);
    header.last_offset_delta = load_big_endian<std::int32_t>(at + 23);
    header.base_timestamp_ms = load_big_endian<std::int64_t>(at + 27);
    header.max_timestamp_ms = load_big_endian<std::int64_t>(at + 35);
    header.producer_id = load_big_endian<std::int64_t>(at + 43);
    header.producer_epoch = load_big_endian<std::int16_t>(at + 51);
    header.base_sequence = load_big_endian<std::int32_t>(at + 53);
    header.record_count = load_big_endian<std::int32_t>(at + 57);
    return header;
  }

  void write(std::byte* at) const noexcept {
    store_big_endian(at, base_offset);
    store_big_endian(at + 8, length);
    store_big_endian(at + 12, leader_epoch);
    at[16] = static_cast<std::byte>(magic);
    store_big_endian(at + 17, crc);
    store_big_endian(at + 21, attributes);
    store_big_endian(at + 23, last_offset_delta);
    store_big_endian(at + 27, base_timestamp_ms);
    store_big_endian(at + 35, max_timestamp_ms);
    store_big_endian(at + 43, producer_id);
    store_big_endian(at + 51, producer_epoch);
    store_big_endian(at + 53, base_sequence);
    store_big_endian(at + 57, record_count);
  }

  [[nodiscard]] Compression compression() const noexcept {
    return static_cast<Compression>(attributes & batch_compression);
  }
  [[nodiscard]] bool is_append_time() const noexcept { return (attributes & batch_append_time) != 0; }
  [[nodiscard]] bool is_transactional() const noexcept { return (attributes & batch_transactional) != 0; }
  [[nodiscard]] bool is_control() const noexcept { return (attributes & batch_control) != 0; }
};

/// The checksum of a whole batch.
inline std::uint32_t batch_checksum(Bytes batch) noexcept {
  return crc32c(Bytes{batch.data() + batch_crc_begins, batch.size() - batch_crc_begins});
}

class RecordBatchView {
 public:
  /// How long the batch is that begins at bytes.begin(), to cut a run of batches (what Produce and Fetch carry) in
  /// pieces. Nothing else of it is checked; the batch may reach behind the end of `bytes`. corrupt when no batch is so
  /// short, or when the bytes do not even tell.
  static Result<std::uint64_t> size_at(Bytes bytes) noexcept {
    if (bytes.size() < batch_length_begins) return Failure{Errc::corrupt, "a record batch is cut short"};
    const auto length = load_big_endian<std::int32_t>(bytes.data() + 8);
    if (length < static_cast<std::int32_t>(batch_header_bytes - batch_length_begins))
      return Failure{Errc::corrupt, "a record batch says that it is shorter than its header"};
    return static_cast<std::uint64_t>(length) + batch_length_begins;
  }

  /// The batch that takes all of `bytes`. corrupt, with what is wrong, when there is no such batch.
  static Result<RecordBatchView> parse(Bytes bytes) noexcept {
    if (bytes.size() < batch_header_bytes) return Failure{Errc::corrupt, "a record batch is cut short"};
    RecordBatchView view;
    view.bytes_ = bytes;
    view.header_ = RecordBatchHeader::read(bytes.data());
    if (const char* wrong = view.contradiction(); wrong != nullptr) return Failure{Errc::corrupt, wrong};
    return view;
  }

  [[nodiscard]] const RecordBatchHeader& header() const noexcept { return header_; }
  [[nodiscard]] std::int64_t base_offset() const noexcept { return header_.base_offset; }
  [[nodiscard]] std::int64_t last_offset() const noexcept { return header_.base_offset + header_.last_offset_delta; }
  [[nodiscard]] std::int32_t leader_epoch() const noexcept { return header_.leader_epoch; }
  [[nodiscard]] std::uint16_t attributes() const noexcept { return header_.attributes; }
  [[nodiscard]] std::int32_t last_offset_delta() const noexcept { return header_.last_offset_delta; }
  [[nodiscard]] std::int64_t base_timestamp_ms() const noexcept { return header_.base_timestamp_ms; }
  [[nodiscard]] std::int64_t max_timestamp_ms() const noexcept { return header_.max_timestamp_ms; }
  [[nodiscard]] std::int64_t producer_id() const noexcept { return header_.producer_id; }
  [[nodiscard]] std::int16_t producer_epoch() const noexcept { return header_.producer_epoch; }
  [[nodiscard]] std::int32_t base_sequence() const noexcept { return header_.base_sequence; }
  [[nodiscard]] std::int32_t record_count() const noexcept { return header_.record_count; }
  [[nodiscard]] Compression compression() const noexcept { return header_.compression(); }
  [[nodiscard]] bool is_append_time() const noexcept { return header_.is_append_time(); }
  [[nodiscard]] bool is_transactional() const noexcept { return header_.is_transactional(); }
  [[nodiscard]] bool is_control() const noexcept { return header_.is_control(); }

  /// The whole batch, as it stands.
  [[nodiscard]] Bytes bytes() const noexcept { return bytes_; }
  /// The records as they stand: packed, unless compression() is none.
  [[nodiscard]] Bytes records() const noexcept {
    return {bytes_.data() + batch_header_bytes, bytes_.size() - batch_header_bytes};
  }

 private:
  RecordBatchView() noexcept = default;

  /// What is wrong with the header or the checksum; nothing when all is well.
  [[nodiscard]] const char* contradiction() const noexcept {
    const auto& h = header_;
    if (h.magic != batch_magic) return "a record batch is not of message format 2";
    if (h.length < 0 || static_cast<std::uint64_t>(h.length) + batch_length_begins != bytes_.size())
      return "a record batch is cut short or has bytes behind its end";
    if (h.crc != batch_checksum(bytes_)) return "a record batch has a wrong checksum";
    if (h.compression() > Compression::zstd) return "a record batch names a compression that does not exist";
    if (h.last_offset_delta < 0) return "a record batch ends before it begins (last offset delta)";
    if (h.base_offset < 0 || h.base_offset > std::numeric_limits<std::int64_t>::max() - h.last_offset_delta)
      return "a record batch has offsets that do not exist";
    if (h.record_count < 0 || h.record_count - 1 > h.last_offset_delta)
      return "a record batch has another number of records than offsets for them";
    if (h.compression() == Compression::none &&
        static_cast<std::uint64_t>(h.record_count) > records().size() / min_batch_record_bytes)
      return "a record batch has more records than bytes for them";
    return nullptr;
  }

  RecordBatchHeader header_;
  Bytes bytes_;
};

/// Gives a batch its place in a log. Both numbers stand outside the checksum, which stays right.
inline void place_batch(std::byte* batch, std::int64_t base_offset, std::int32_t leader_epoch) noexcept {
  store_big_endian(batch, base_offset);
  store_big_endian(batch + batch_length_begins, leader_epoch);
}

/// Makes `now_ms` the time of every record of a batch (message.timestamp.type=LogAppendTime). `batch` is a whole one.
inline void stamp_batch(std::span<std::byte> batch, std::int64_t now_ms) noexcept {
  const auto attributes = load_big_endian<std::uint16_t>(batch.data() + batch_crc_begins);
  store_big_endian(batch.data() + batch_crc_begins, static_cast<std::uint16_t>(attributes | batch_append_time));
  store_big_endian(batch.data() + 35, now_ms);
  store_big_endian(batch.data() + 17, batch_checksum(Bytes{batch}));
}

/// Kafka counts milliseconds, a frame nanoseconds. What nanoseconds cannot say (before 1677, after 2262) becomes the
/// nearest that they can.
constexpr Timestamp from_kafka_time(std::int64_t milliseconds) noexcept {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / 1'000'000;
  return Timestamp{Duration{std::clamp(milliseconds, -most, most) * 1'000'000}};
}
/// Towards the past, so that a record is never newer than it was.
constexpr std::int64_t to_kafka_time(Timestamp timestamp) noexcept {
  return std::chrono::floor<std::chrono::milliseconds>(timestamp.time_since_epoch()).count();
}

}  // namespace towpath::inline TOWPATH_ABI::log
