// The records in a Kafka record batch, one after the other, where they stand. Each is
//   length | attributes 1 | timestamp delta | offset delta | key length | key | value length | value | header count |
//   headers
// with varints where no size is given; -1 is null. Nothing in them is trusted: a record that lies ends the walk.
//   BatchRecords records{batch, batch.records()};              // or the records that a codec unpacked
//   for (BatchRecord record; records.next(record);) use(record.value);
//   if (records.failure().code != Errc::ok) ...                // how it ended
// A cursor is one thread's. What it gives points into the bytes, and is valid as long as they are.
#pragma once

#include <cstdint>

#include <towpath/log/frame.hpp>
#include <towpath/log/record_batch.hpp>

namespace towpath::inline TOWPATH_ABI::log {

/// The headers of one record in Kafka's form. Ends early at bytes that make no sense.
class BatchHeaders {
 public:
  class iterator {
   public:
    using value_type = Header;
    using difference_type = std::ptrdiff_t;
    iterator() noexcept = default;
    iterator(Bytes bytes, std::uint32_t count) noexcept : reader_{bytes}, count_{count} { read(); }
    const Header& operator*() const noexcept { return current_; }
    const Header* operator->() const noexcept { return &current_; }
    iterator& operator++() noexcept {
      --count_;
      read();
      return *this;
    }
    iterator operator++(int) noexcept {
      auto before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.count_ == b.count_; }

   private:
    void read() noexcept {
      if (count_ == 0) return;
      const Bytes key = reader_.bytes(reader_.varint());
      const auto size = reader_.varint();
      const Bytes value = size == -1 ? Bytes{} : reader_.bytes(size);
      if (reader_.failed()) return void(count_ = 0);
      current_ = {key.text(), value, size == -1};
    }
    ByteReader reader_{Bytes{}};
    std::uint32_t count_ = 0;
    Header current_;
  };

  BatchHeaders() noexcept = default;
  BatchHeaders(Bytes bytes, std::uint32_t count) noexcept : bytes_{bytes}, count_{count} {}
  [[nodiscard]] iterator begin() const noexcept { return {bytes_, count_}; }
  [[nodiscard]] iterator end() const noexcept { return {}; }
  [[nodiscard]] std::uint32_t size() const noexcept { return count_; }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

 private:
  Bytes bytes_;
  std::uint32_t count_ = 0;
};

struct BatchRecord {
  std::int32_t offset_delta = 0;
  std::int64_t timestamp_ms = 0;  ///< that of the append where the batch says so
  Bytes key;
  Bytes value;
  BatchHeaders headers;
  bool has_key = false;
  bool has_value = false;
};

/// Walks the unpacked records of a batch.
class BatchRecords {
 public:
  BatchRecords(const RecordBatchHeader& batch, Bytes unpacked) noexcept : batch_{batch}, reader_{unpacked} {}
  BatchRecords(const RecordBatchView& batch, Bytes unpacked) noexcept : BatchRecords{batch.header(), unpacked} {}

  /// False behind the last record, or at one that makes no sense: failure() tells which. Offsets rise; a batch that was
  /// cleaned has holes.
  bool next(BatchRecord& record) noexcept {
    if (failure_.code != Errc::ok) return false;
    if (seen_ == batch_.record_count) {
      if (!reader_.at_end()) refuse("a record batch has bytes behind its last record");
      return false;
    }
    const auto length = reader_.varint();
    ByteReader body{reader_.bytes(length)};
    if (reader_.failed()) return refuse("a record reaches behind the end of its batch");
    if (!read(body, record)) return false;
    ++seen_;
    return true;
  }

  /// Errc::ok unless a record was refused.
  [[nodiscard]] Failure failure() const noexcept { return failure_; }

 private:
  bool refuse(const char* what) noexcept {
    failure_ = {Errc::corrupt, what};
    return false;
  }

  TOWPATH_HOT bool read(ByteReader& body, BatchRecord& record) noexcept {
    static_cast<void>(body.number<std::int8_t>());  // attributes: Kafka gave no bit away yet
    const auto timestamp_delta = body.varlong();
    const auto offset_delta = body.varint();
    const auto key_size = body.varint();
    record.has_key = key_size != -1;
    record.key = record.has_key ? body.bytes(key_size) : Bytes{};
    const auto value_size = body.varint();
    record.has_value = value_size != -1;
    record.value = record.has_value ? body.bytes(value_size) : Bytes{};
    const auto header_count = body.varint();
    if (body.failed()) return refuse("a record in a batch is cut short or has lengths that contradict each other");
    if (offset_delta < next_offset_ || offset_delta > batch_.last_offset_delta)
      return refuse("the offsets of a batch's records do not rise, or leave the batch");
    if (!read_time(timestamp_delta, record)) return refuse("a record in a batch has a time that does not exist");
    if (!read_headers(body, header_count, record)) return refuse("a record in a batch has headers that make no sense");
    record.offset_delta = offset_delta;
    next_offset_ = std::int64_t{offset_delta} + 1;
    return true;
  }

  bool read_time(std::int64_t delta, BatchRecord& record) const noexcept {
    if (batch_.is_append_time()) return record.timestamp_ms = batch_.max_timestamp_ms, true;
    return !__builtin_add_overflow(batch_.base_timestamp_ms, delta, &record.timestamp_ms);
  }

  static bool read_headers(ByteReader& body, std::int32_t count, BatchRecord& record) noexcept {
    const Bytes bytes{body.position(), body.left()};
    record.headers = {bytes, static_cast<std::uint32_t>(count)};
    if (count == 0) return body.at_end();
    if (count < 0 || static_cast<std::uint64_t>(count) > bytes.size() / 2) return false;  // two lengths at least
    for (std::int32_t i = 0; i < count; ++i) {
      static_cast<void>(body.bytes(body.varint()));
      const auto size = body.varint();
      if (size != -1) static_cast<void>(body.bytes(size));
    }
    return !body.failed() && body.at_end();
  }

  RecordBatchHeader batch_;
  ByteReader reader_;
  std::int64_t next_offset_ = 0;
  std::int32_t seen_ = 0;
  Failure failure_;
};

}  // namespace towpath::inline TOWPATH_ABI::log
