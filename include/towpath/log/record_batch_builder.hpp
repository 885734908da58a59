// Makes a Kafka record batch, message format 2, byte for byte as Kafka's own clients do: for producers that compress,
// for native records on their way to a client, for transaction markers.
//   RecordBatchBuilder builder;
//   builder.add(now_ms, key, true, value, true).value();
//   Bytes batch = builder.finish(Compression::lz4).value();      // stands in the builder until it is used again
// One thread's. It keeps its memory, so that one builder makes batch after batch without allocating.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include <towpath/log/batch_records.hpp>

namespace towpath::inline TOWPATH_ABI::log {

/// What a batch says about all of its records. -1 is none, as in Kafka.
struct BatchOptions {
  std::int64_t producer_id = -1;  ///< of an idempotent or transactional producer
  std::int16_t producer_epoch = -1;
  std::int32_t base_sequence = -1;
  bool transactional = false;
  bool control = false;                          ///< the record is a transaction marker; see control_key()
  std::optional<std::int64_t> append_time_ms{};  ///< every record gets this time
  std::int64_t base_offset = 0;                  ///< place_batch() changes both later
  std::int32_t leader_epoch = -1;
};

class RecordBatchBuilder {
 public:
  /// Appends a record at the next offset. `timestamp_ms` is in Kafka's milliseconds; a null key or value has no bytes,
  /// whatever is given. message_too_large when a batch cannot hold it (2 GiB); out_of_memory. Then nothing was added.
  Result<void> add(std::int64_t timestamp_ms, Bytes key, bool has_key, Bytes value, bool has_value,
                   std::span<const Header> headers = {}) noexcept {
    const Part part{timestamp_ms, key, value, headers, has_key, has_value};
    std::int64_t delta = 0;
    if (count_ > 0 && __builtin_sub_overflow(timestamp_ms, base_timestamp_ms_, &delta))
      return Failure{Errc::invalid_argument, "the times of two records in a batch lie too far apart"};
    const std::uint64_t body = body_size(part, delta);
    const std::uint64_t size = varint_size(static_cast<std::int64_t>(body)) + body;
    if (size > max_bytes || bytes_.size() + size > max_bytes || next_delta_ == std::numeric_limits<std::int32_t>::max())
      return Failure{Errc::message_too_large, "a record batch holds less than 2 GiB"};
    if (bytes_.size() == 0 && !bytes_.resize(batch_header_bytes)) return no_memory();
    const std::size_t at = bytes_.size();
    if (!bytes_.resize(at + static_cast<std::size_t>(size))) return no_memory();
    write(bytes_.data() + at, part, delta, body);
    note(timestamp_ms);
    return {};
  }

  /// The next record's offset is `offsets` further on: what was there before is gone.
  void skip(std::int32_t offsets = 1) noexcept {
    next_delta_ += std::clamp(offsets, 0, std::numeric_limits<std::int32_t>::max() - next_delta_);
  }

  [[nodiscard]] std::int32_t record_count() const noexcept { return count_; }
  /// How many offsets the batch will take: its records and what was skipped.
  [[nodiscard]] std::int32_t offset_count() const noexcept { return next_delta_; }
  /// How long the batch would be without compression.
  [[nodiscard]] std::size_t size() const noexcept { return std::max(bytes_.size(), batch_header_bytes); }
  [[nodiscard]] bool empty() const noexcept { return next_delta_ == 0; }

  /// Forgets the records, keeps the memory.
  void clear() noexcept {
    bytes_.clear(), packed_.clear();
    count_ = next_delta_ = 0;
  }

  /// The batch, in this builder's memory until it is used again. The records stay: clear() forgets them.
  /// invalid_argument when there is nothing in it; unsupported_compression when this program has no such codec.
  Result<Bytes> finish(Compression compression = Compression::none, const BatchOptions& options = {}) noexcept {
    if (empty()) return Failure{Errc::invalid_argument, "a record batch without records or offsets"};
    if (bytes_.size() == 0 && !bytes_.resize(batch_header_bytes)) return no_memory();
    Buffer* batch = &bytes_;
    if (compression != Compression::none) {
      if (auto packed = pack(compression); !packed) return packed.error();
      batch = &packed_;
    }
    auto header = describe(options);
    header.attributes = static_cast<std::uint16_t>(header.attributes | static_cast<std::uint16_t>(compression));
    header.length = static_cast<std::int32_t>(batch->size() - batch_length_begins);
    header.write(batch->data());
    header.crc = batch_checksum(batch->bytes());
    header.write(batch->data());
    return batch->bytes();
  }

 private:
  static constexpr std::uint64_t max_bytes = 0x7FFF'0000;

  struct Part {
    std::int64_t timestamp_ms;
    Bytes key;
    Bytes value;
    std::span<const Header> headers;
    bool has_key;
    bool has_value;
  };

  static Failure no_memory() noexcept { return {Errc::out_of_memory, "no memory for a record batch"}; }

  static std::uint64_t sized(std::size_t size, bool is_there) noexcept {
    return is_there ? varint_size(static_cast<std::int64_t>(size)) + size : 1;
  }
  static std::byte* put_sized(std::byte* at, Bytes bytes, bool is_there) noexcept {
    at = store_varint(at, is_there ? static_cast<std::int64_t>(bytes.size()) : -1);
    return is_there ? detail::put(at, bytes.data(), bytes.size()) : at;
  }

  [[nodiscard]] std::uint64_t body_size(const Part& part, std::int64_t time_delta) const noexcept {
    std::uint64_t size = 1 + varint_size(time_delta) + varint_size(next_delta_);
    size += sized(part.key.size(), part.has_key) + sized(part.value.size(), part.has_value);
    size += varint_size(static_cast<std::int64_t>(part.headers.size()));
    for (const auto& header : part.headers)
      size += sized(header.key.size(), true) + sized(header.value.size(), !header.is_null);
    return size;
  }

  void write(std::byte* at, const Part& part, std::int64_t time_delta, std::uint64_t body) const noexcept {
    at = store_varint(at, static_cast<std::int64_t>(body));
    *at++ = std::byte{0};  // attributes
    at = store_varint(at, time_delta);
    at = store_varint(at, next_delta_);
    at = put_sized(at, part.key, part.has_key);
    at = put_sized(at, part.value, part.has_value);
    at = store_varint(at, static_cast<std::int64_t>(part.headers.size()));
    for (const auto& header : part.headers) {
      at = put_sized(at, Bytes{header.key}, true);
      at = put_sized(at, header.value, !header.is_null);
    }
  }

  void note(std::int64_t timestamp_ms) noexcept {
    if (count_ == 0) base_timestamp_ms_ = max_timestamp_ms_ = timestamp_ms;
    max_timestamp_ms_ = std::max(max_timestamp_ms_, timestamp_ms);
    ++count_, ++next_delta_;
  }

  [[nodiscard]] RecordBatchHeader describe(const BatchOptions& options) const noexcept {
    RecordBatchHeader header;
    header.base_offset = options.base_offset;
    header.leader_epoch = options.leader_epoch;
    header.attributes = static_cast<std::uint16_t>((options.append_time_ms ? batch_append_time : 0) |
                                                   (options.transactional ? batch_transactional : 0) |
                                                   (options.control ? batch_control : 0));
    header.last_offset_delta = next_delta_ - 1;
    header.base_timestamp_ms = count_ > 0 ? base_timestamp_ms_ : -1;
    header.max_timestamp_ms = options.append_time_ms.value_or(count_ > 0 ? max_timestamp_ms_ : -1);
    header.producer_id = options.producer_id;
    header.producer_epoch = options.producer_epoch;
    header.base_sequence = options.base_sequence;
    header.record_count = count_;
    return header;
  }

  Result<void> pack(Compression compression) noexcept {
    const auto codec = find_codec(compression);
    if (!codec) return codec.error();
    packed_.clear();
    if (!packed_.resize(batch_header_bytes)) return no_memory();
    const Bytes records{bytes_.data() + batch_header_bytes, bytes_.size() - batch_header_bytes};
    if (auto packed = (*codec)->compress(records, packed_); !packed) return packed;
    if (packed_.size() > max_bytes) return Failure{Errc::message_too_large, "a record batch holds less than 2 GiB"};
    return {};
  }

  Buffer bytes_;   // header and records
  Buffer packed_;  // the same, compressed
  std::int64_t base_timestamp_ms_ = 0;
  std::int64_t max_timestamp_ms_ = 0;
  std::int32_t next_delta_ = 0;
  std::int32_t count_ = 0;
};

/// What a control record says: how a transaction ended. Other types are the controller's own; readers skip them.
enum class ControlType : std::int16_t { abort = 0, commit = 1 };

struct ControlRecord {
  std::int16_t type = 0;  ///< a ControlType, or a number of a newer Kafka
  std::int32_t coordinator_epoch = -1;
};

/// Key and value of a transaction marker, ready to be added to a batch with the option `control`.
struct ControlBytes {
  std::byte key[4];
  std::byte value[6];
};

inline ControlBytes control_bytes(ControlType type, std::int32_t coordinator_epoch) noexcept {
  ControlBytes bytes{};  // both versions are 0
  store_big_endian(bytes.key + 2, static_cast<std::int16_t>(type));
  store_big_endian(bytes.value + 2, coordinator_epoch);
  return bytes;
}

/// Reads a record of a control batch. Newer versions may be longer. The epoch is -1 unless it is a commit or an abort.
inline Result<ControlRecord> parse_control(const BatchRecord& record) noexcept {
  ByteReader key{record.key};
  ControlRecord control;
  const auto version = key.number<std::int16_t>();
  control.type = key.number<std::int16_t>();
  if (key.failed() || version < 0) return Failure{Errc::corrupt, "a control record has a key that makes no sense"};
  if (control.type > static_cast<std::int16_t>(ControlType::commit)) return control;
  ByteReader value{record.value};
  const auto value_version = value.number<std::int16_t>();
  control.coordinator_epoch = value.number<std::int32_t>();
  if (value.failed() || value_version < 0 || control.type < 0)
    return Failure{Errc::corrupt, "a transaction marker makes no sense"};
  return control;
}

}  // namespace towpath::inline TOWPATH_ABI::log
