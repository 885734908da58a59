// One native record as it stands in the log:
//   FrameHeader 16 | lengths 8 (flag) | count 4 + 4 (flag) | producer 16 (flag) | padding | value | key | headers
// The value begins at a multiple of the topic's value alignment, so that it is read in place. Without the LENGTHS flag
// the record is a bare value: its length is the slot's length less what stands before it.
// Written once by its producer, read by anybody: parse() trusts nothing and stays inside [frame, frame + length).
#pragma once

#include <cstring>
#include <span>

#include <towpath/core/hash.hpp>
#include <towpath/core/time.hpp>
#include <towpath/log/format.hpp>

namespace towpath::inline TOWPATH_ABI {

/// A record header as in Kafka: a name and bytes, in order, names may repeat. A view, like Bytes.
struct Header {
  std::string_view key;
  Bytes value;
  bool is_null = false;
};

namespace log {

/// Who wrote a record, and the number that the producer gave it (KIP-98): higher than those before, gaps are allowed.
struct ProducerMark {
  std::int64_t id = -1;  ///< -1: nobody in particular
  std::int32_t sequence = -1;
  std::int16_t epoch = -1;
  std::int16_t reserved = 0;

  [[nodiscard]] constexpr bool is_present() const noexcept { return id >= 0; }
  /// That of the record that comes `n` records later: sequence numbers begin again behind 2^31 - 1.
  [[nodiscard]] constexpr ProducerMark after(std::uint64_t n) const noexcept {
    if (!is_present()) return *this;
    const auto later = (static_cast<std::uint64_t>(sequence) + n) & 0x7FFF'FFFF;
    return {id, static_cast<std::int32_t>(later), epoch, 0};
  }
  friend constexpr bool operator==(const ProducerMark&, const ProducerMark&) noexcept = default;
};
static_assert(sizeof(ProducerMark) == 16 && offsetof(ProducerMark, epoch) == 12);

/// What a record consists of, before it is written. The value is filled in by whoever has it.
struct FrameSpec {
  std::uint64_t value_size = 0;
  bool has_value = true;  ///< false: null, a tombstone
  bool has_key = false;
  Bytes key{};
  std::span<const Header> headers{};
  Timestamp timestamp{};
  ProducerMark producer{};
  std::uint32_t batch_count = 0;  ///< of the first record of a batch: how many records the batch has
};

namespace detail {

/// What stands before the value, in bytes.
constexpr std::uint64_t prefix_bytes(unsigned flags) noexcept {
  return sizeof(FrameHeader) + (flags & frame_lengths ? 8u : 0u) + (flags & frame_head ? 8u : 0u) +
         (flags & frame_producer ? sizeof(ProducerMark) : 0u);
}

/// A null header has no bytes, whatever its value says.
inline Bytes stored(const Header& header) noexcept { return header.is_null ? Bytes{} : header.value; }

}  // namespace detail

/// Where the parts of a frame stand, in bytes from its begin.
struct FrameLayout {
  std::uint64_t value_at = 0;
  std::uint64_t key_at = 0;
  std::uint64_t headers_at = 0;
  std::uint64_t length = 0;
  std::uint16_t flags = 0;

  static FrameLayout of(const FrameSpec& spec, std::uint64_t value_alignment) noexcept {
    FrameLayout layout;
    const bool bare = !spec.has_key && spec.headers.empty() && spec.has_value;
    unsigned flags = bare ? 0u : unsigned{frame_lengths};
    if (spec.batch_count != 0) flags |= frame_head;
    if (spec.producer.is_present()) flags |= frame_producer;
    layout.flags = static_cast<std::uint16_t>(flags);
    layout.value_at = align_up(detail::prefix_bytes(flags), value_alignment);
    layout.key_at = layout.value_at + spec.value_size;
    layout.headers_at = layout.key_at + spec.key.size();
    layout.length = layout.headers_at;
    for (const auto& header : spec.headers) layout.length += 8 + header.key.size() + detail::stored(header).size();
    return layout;
  }
};

/// Keys the checksum to this incarnation and place, so that a stale frame in a recycled file never passes.
inline std::uint32_t frame_seed(std::uint64_t uuid, std::uint64_t offset) noexcept {
  const std::uint64_t key[2] = {uuid, offset};
  return crc32c(Bytes{reinterpret_cast<const std::byte*>(key), sizeof key});
}

inline std::uint32_t frame_checksum(const std::byte* frame, std::uint64_t length, std::uint64_t uuid,
                                    std::uint64_t offset) noexcept {
  return crc32c(Bytes{frame + 4, static_cast<std::size_t>(length - 4)}, frame_seed(uuid, offset));
}

namespace detail {

inline std::byte* put(std::byte* at, const void* data, std::size_t size) noexcept {
  if (size > 0) std::memcpy(at, data, size);
  return at + size;
}

inline void put_prefix(std::byte* frame, unsigned flags, const FrameSpec& spec) noexcept {
  std::byte* at = frame + sizeof(FrameHeader);
  const std::int32_t lengths[2] = {spec.has_key ? static_cast<std::int32_t>(spec.key.size()) : -1,
                                   spec.has_value ? static_cast<std::int32_t>(spec.value_size) : -1};
  const std::uint32_t count[2] = {spec.batch_count, 0};
  if (flags & frame_lengths) at = put(at, lengths, sizeof lengths);
  if (flags & frame_head) at = put(at, count, sizeof count);
  if (flags & frame_producer) put(at, &spec.producer, sizeof spec.producer);
}

}  // namespace detail

/// Writes all but the value and the checksum.
TOWPATH_HOT void write_frame(std::byte* frame, const FrameLayout& layout, const FrameSpec& spec) noexcept {
  const FrameHeader header{0, layout.flags, static_cast<std::uint16_t>(spec.headers.size()),
                           spec.timestamp.time_since_epoch().count()};
  std::memcpy(frame, &header, sizeof header);
  if (layout.flags == 0) return;
  detail::put_prefix(frame, layout.flags, spec);
  std::byte* at = detail::put(frame + layout.key_at, spec.key.data(), spec.key.size());
  for (const auto& entry : spec.headers) {
    const std::int32_t lengths[2] = {static_cast<std::int32_t>(entry.key.size()),
                                     entry.is_null ? -1 : static_cast<std::int32_t>(entry.value.size())};
    at = detail::put(at, lengths, sizeof lengths);
    at = detail::put(at, entry.key.data(), entry.key.size());
    at = detail::put(at, detail::stored(entry).data(), detail::stored(entry).size());
  }
}

/// Writes the checksum; last of all.
inline void seal_frame(std::byte* frame, std::uint64_t length, std::uint64_t uuid, std::uint64_t offset) noexcept {
  const std::uint32_t checksum = frame_checksum(frame, length, uuid, offset);
  std::memcpy(frame, &checksum, sizeof checksum);
}

/// A frame taken apart. Valid while its segment is pinned.
struct FrameView {
  FrameHeader header{};
  Bytes value;
  Bytes key;
  Bytes headers;  ///< undecoded; HeaderRange walks them
  bool has_value = true;
  bool has_key = false;

  /// Not present when the producer has no id.
  [[nodiscard]] ProducerMark producer() const noexcept {
    ProducerMark mark;
    if (header.flags & frame_producer)
      std::memcpy(&mark, frame_ + detail::prefix_bytes(header.flags & ~frame_producer), sizeof mark);
    return mark;
  }
  /// Of the first record of a batch: how many records the batch has. Else 1.
  [[nodiscard]] std::uint32_t batch_count() const noexcept {
    std::uint32_t count = 1;
    if (header.flags & frame_head)
      std::memcpy(&count, frame_ + detail::prefix_bytes(header.flags & frame_lengths), sizeof count);
    return count;
  }

  /// False if the bytes contradict themselves; nothing outside [frame, frame + length) was looked at.
  /// Sets every field, so that one view serves record after record.
  TOWPATH_HOT bool parse(const std::byte* frame, std::uint64_t length, std::uint64_t value_alignment) noexcept {
    if (length < sizeof header) return false;
    std::memcpy(&header, frame, sizeof header);
    if (header.flags == 0 && header.header_count == 0) {
      const std::uint64_t at = align_up(sizeof(FrameHeader), value_alignment);
      if (at > length) return false;
      value = Bytes{frame + at, static_cast<std::size_t>(length - at)};
      key = headers = Bytes{};
      has_value = true, has_key = false;
      return true;
    }
    return parse_long(frame, length, value_alignment);
  }

 private:
  bool parse_long(const std::byte* frame, std::uint64_t length, std::uint64_t value_alignment) noexcept {
    constexpr unsigned known = frame_lengths | frame_append_time | frame_head | frame_producer;
    if ((header.flags & ~known) != 0) return false;
    const bool has_lengths = (header.flags & frame_lengths) != 0;
    const std::uint64_t at = align_up(detail::prefix_bytes(header.flags), value_alignment);
    if (at > length || (!has_lengths && header.header_count != 0)) return false;
    frame_ = frame;
    std::int32_t lengths[2] = {-1, static_cast<std::int32_t>(length - at)};
    if (has_lengths) std::memcpy(lengths, frame + sizeof(FrameHeader), sizeof lengths);
    if (lengths[0] < -1 || lengths[1] < -1) return false;
    has_key = lengths[0] >= 0, has_value = lengths[1] >= 0;
    const auto key_size = static_cast<std::uint64_t>(has_key ? lengths[0] : 0);
    const auto value_size = static_cast<std::uint64_t>(has_value ? lengths[1] : 0);
    if (value_size > length - at || key_size > length - at - value_size) return false;
    value = Bytes{frame + at, static_cast<std::size_t>(value_size)};
    key = Bytes{frame + at + value_size, static_cast<std::size_t>(key_size)};
    headers = Bytes{key.end(), static_cast<std::size_t>(length - at - value_size - key_size)};
    return true;
  }

  const std::byte* frame_ = nullptr;  // of a frame with flags
};

/// A frame that holds one Kafka record batch, verbatim:  FrameHeader 16 | count 4 + 4 | the batch.
/// It has `count` slots, one for each of its offsets; all but the first say where this one frame stands.
struct BatchFrame {
  static constexpr std::uint64_t batch_at = 24;
  static constexpr std::uint16_t flags = frame_batch | frame_head;

  std::uint32_t count = 0;
  Bytes batch;

  /// What its header says; the place is inside the segment.
  static bool is_one(const std::byte* frame) noexcept {
    std::uint16_t found = 0;
    std::memcpy(&found, frame + offsetof(FrameHeader, flags), sizeof found);
    return (found & frame_batch) != 0;
  }

  /// False if the bytes contradict themselves. What the batch says is not looked at.
  bool parse(const std::byte* frame, std::uint64_t length) noexcept {
    FrameHeader header;
    if (length < batch_at) return false;
    std::memcpy(&header, frame, sizeof header);
    std::memcpy(&count, frame + sizeof header, sizeof count);
    batch = Bytes{frame + batch_at, static_cast<std::size_t>(length - batch_at)};
    return header.flags == flags && header.header_count == 0 && count > 0;
  }

  /// Writes all but the checksum. `newest` is the latest timestamp of its records.
  static void write(std::byte* frame, std::uint32_t count, Timestamp newest, Bytes batch) noexcept {
    const FrameHeader header{0, flags, 0, newest.time_since_epoch().count()};
    const std::uint32_t counts[2] = {count, 0};
    detail::put(detail::put(detail::put(frame, &header, sizeof header), counts, sizeof counts), batch.data(),
                batch.size());
  }
};

/// The headers of a frame, one after the other. Ends early at bytes that make no sense.
class HeaderRange {
 public:
  class iterator {
   public:
    using value_type = Header;
    using difference_type = std::ptrdiff_t;
    iterator() noexcept = default;
    iterator(Bytes left, unsigned count) noexcept : left_{left}, count_{count} { read(); }
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
      std::int32_t lengths[2];
      if (count_ == 0) return;
      if (left_.size() < sizeof lengths) return void(count_ = 0);
      std::memcpy(lengths, left_.data(), sizeof lengths);
      const std::size_t room = left_.size() - sizeof lengths;
      const auto key_size = static_cast<std::size_t>(lengths[0] < 0 ? 0 : lengths[0]);
      const auto value_size = static_cast<std::size_t>(lengths[1] < 0 ? 0 : lengths[1]);
      if (lengths[0] < 0 || key_size > room || value_size > room - key_size) return void(count_ = 0);
      const std::byte* at = left_.data() + sizeof lengths;
      current_ = {Bytes{at, key_size}.text(), Bytes{at + key_size, value_size}, lengths[1] < 0};
      left_ = Bytes{at + key_size + value_size, room - key_size - value_size};
    }
    Bytes left_;
    unsigned count_ = 0;
    Header current_;
  };

  HeaderRange() noexcept = default;
  HeaderRange(Bytes bytes, unsigned count) noexcept : bytes_{bytes}, count_{count} {}
  [[nodiscard]] iterator begin() const noexcept { return {bytes_, count_}; }
  [[nodiscard]] iterator end() const noexcept { return {}; }
  [[nodiscard]] bool empty() const noexcept { return begin() == end(); }

 private:
  Bytes bytes_;
  unsigned count_ = 0;
};

}  // namespace log
}  // namespace towpath::inline TOWPATH_ABI
