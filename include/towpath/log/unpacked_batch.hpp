// A Kafka record batch made readable: its records, decompressed, as the native frames (log/frame.hpp) that readers of
// the log know, each value at the alignment that its type needs. This is how consumers see batches.
//   UnpackedBatch batch;                                             // keep it: the next batch takes its memory
//   batch.unpack(bytes, 8, unpack_budget(bytes.size())).value();
//   if (auto frame = batch.frame(offset - base_offset)) view.parse(frame->data, frame->length, 8);
// One thread's. All of it is private memory: nothing in it changes when the log does, and a crash leaves nothing. Bytes
// that change while they are unpacked (a hostile writer) give a wrong record or `corrupt`, never a read outside.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>

#include <towpath/log/batch_records.hpp>

namespace towpath::inline TOWPATH_ABI::log {

/// How many bytes the records of a compressed batch may become: 64 times its size or 64 MiB, whichever is less; but
/// 1 MiB in any case, so that what small, well compressible batches of real clients become is no bomb. The same for
/// every reader at any time, whatever the topic's settings are by then: a producer asks it too.
constexpr std::uint64_t unpack_budget(std::uint64_t batch_bytes) noexcept {
  constexpr std::uint64_t least = 1024 * 1024;
  constexpr std::uint64_t most = 64 * least;
  return std::max(least, batch_bytes < most / 64 ? batch_bytes * 64 : most);
}

class UnpackedBatch {
 public:
  struct Frame {
    const std::byte* data;
    std::uint64_t length;
  };

  /// Takes the place of the batch that was there before. `bytes` are one whole batch and may go afterwards. Values are
  /// aligned to `value_alignment`, a power of two from 8 to 64. A compressed batch that becomes more than
  /// `budget_bytes` is `corrupt`; so is a batch, or a record in it, that contradicts itself. Frames and index take up
  /// to 8 times the budget when the records have almost no bytes (alignment 64: 27 times); that memory is kept.
  /// unsupported_compression; out_of_memory. After an error there is no record.
  Result<void> unpack(Bytes bytes, std::uint64_t value_alignment, std::uint64_t budget_bytes) noexcept {
    clear();
    auto done = replace(bytes, value_alignment, budget_bytes);
    if (!done) clear();
    return done;
  }

  /// The record at that distance from the batch's first offset; nothing where there is none.
  [[nodiscard]] std::optional<Frame> frame(std::int32_t offset_delta) const noexcept {
    const auto all = entries();
    if (all.empty() || offset_delta < 0) return std::nullopt;
    // Offsets rise from 0 or later, so the entry stands at its delta unless there is a hole in front of it.
    auto index = std::min(static_cast<std::size_t>(offset_delta), all.size() - 1);
    if (all[index].offset_delta != offset_delta) {
      const auto found =
          std::lower_bound(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(index), offset_delta,
                           [](const Entry& entry, std::int32_t delta) { return entry.offset_delta < delta; });
      if (found->offset_delta != offset_delta) return std::nullopt;
      index = static_cast<std::size_t>(found - all.begin());
    }
    return Frame{frames_.data() + all[index].position, all[index].length};
  }

  /// What the batch says about itself; all zero or none before the first unpack().
  [[nodiscard]] const RecordBatchHeader& header() const noexcept { return header_; }
  /// How many records there are.
  [[nodiscard]] std::size_t size() const noexcept { return entries().size(); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

  /// Forgets the records, keeps the memory.
  void clear() noexcept {
    frames_.clear(), entries_.clear();
    header_ = {};
  }

 private:
  struct Entry {
    std::uint64_t position;
    std::uint32_t length;
    std::int32_t offset_delta;
  };
  static_assert(sizeof(Entry) == 16 && std::is_trivially_copyable_v<Entry> && std::is_trivially_copyable_v<Header>);

  static Failure no_memory() noexcept { return {Errc::out_of_memory, "no memory to unpack a record batch"}; }

  [[nodiscard]] std::span<const Entry> entries() const noexcept {
    return {reinterpret_cast<const Entry*>(entries_.data()), entries_.size() / sizeof(Entry)};
  }

  Result<void> replace(Bytes bytes, std::uint64_t value_alignment, std::uint64_t budget_bytes) noexcept {
    if (value_alignment < 8 || value_alignment > Buffer::alignment || (value_alignment & (value_alignment - 1)) != 0)
      return Failure{Errc::invalid_argument, "value_alignment is 8, 16, 32 or 64"};
    const auto view = RecordBatchView::parse(bytes);
    if (!view) return view.error();
    header_ = view->header();
    const auto records = unpacked(*view, budget_bytes);
    return records ? transcode(*records, value_alignment) : records.error();
  }

  /// The records as they were before compression.
  Result<Bytes> unpacked(const RecordBatchView& view, std::uint64_t budget_bytes) noexcept {
    if (view.compression() == Compression::none) return view.records();
    const auto codec = find_codec(view.compression());
    if (!codec) return codec.error();
    // Codecs withstand any bytes, but nobody promises it for bytes that change meanwhile.
    const Bytes records = view.records();
    if (!packed_.resize(records.size())) return no_memory();
    detail::put(packed_.data(), records.data(), records.size());
    if (auto done = (*codec)->decompress(packed_.bytes(), unpacked_, budget_bytes); !done) return done.error();
    if (static_cast<std::uint64_t>(header_.record_count) > unpacked_.size() / min_batch_record_bytes)
      return Failure{Errc::corrupt, "a record batch has more records than bytes for them"};
    return unpacked_.bytes();
  }

  Result<void> transcode(Bytes bytes, std::uint64_t alignment) noexcept {
    const auto count = static_cast<std::size_t>(header_.record_count);
    if (!entries_.reserve(count * sizeof(Entry)) || !frames_.reserve(bytes.size() + count * (40 + alignment)))
      return no_memory();
    BatchRecords records{header_, bytes};
    for (BatchRecord record; records.next(record);)
      if (auto done = append(record, alignment); !done) return done;
    return records.failure();
  }

  Result<void> append(const BatchRecord& record, std::uint64_t alignment) noexcept {
    FrameSpec spec;
    spec.value_size = record.value.size();
    spec.has_value = record.has_value;
    spec.has_key = record.has_key;
    spec.key = record.key;
    spec.timestamp = from_kafka_time(record.timestamp_ms);
    spec.producer = ProducerMark{header_.producer_id, header_.base_sequence, header_.producer_epoch}.after(
        static_cast<std::uint64_t>(record.offset_delta));
    if (!record.headers.empty()) {
      const auto headers = collect(record.headers);
      if (!headers) return headers.error();
      spec.headers = *headers;
    }
    const auto layout = FrameLayout::of(spec, alignment);
    if (layout.length > max_record_bytes) return Failure{Errc::corrupt, "a record in a batch is larger than 2 GiB"};
    const std::uint64_t position = align_up(frames_.size(), alignment);
    if (!frames_.resize(position + layout.length)) return no_memory();
    std::byte* const frame = frames_.data() + position;
    write_frame(frame, layout, spec);
    detail::put(frame + layout.value_at, record.value.data(), record.value.size());
    if (header_.is_append_time()) {
      const auto flags = static_cast<std::uint16_t>(layout.flags | frame_append_time);
      std::memcpy(frame + offsetof(FrameHeader, flags), &flags, sizeof flags);
    }
    const Entry entry{position, static_cast<std::uint32_t>(layout.length), record.offset_delta};
    const std::size_t at = entries_.size();
    if (!entries_.resize(at + sizeof entry)) return no_memory();
    std::memcpy(entries_.data() + at, &entry, sizeof entry);
    return {};
  }

  /// The headers as a frame's writer takes them.
  Result<std::span<const Header>> collect(const BatchHeaders& headers) noexcept {
    if (headers.size() > std::numeric_limits<std::uint16_t>::max())
      return Failure{Errc::corrupt, "a record in a batch has more than 65,535 headers"};
    if (!headers_.resize(headers.size() * sizeof(Header))) return no_memory();
    auto* const first = reinterpret_cast<Header*>(headers_.data());
    std::size_t count = 0;
    for (const auto& header : headers) std::construct_at(first + count++, header);
    if (count != headers.size()) return Failure{Errc::corrupt, "a record in a batch has headers that make no sense"};
    return std::span<const Header>{first, count};
  }

  RecordBatchHeader header_;
  Buffer frames_;    // one behind the other, each at a multiple of the alignment
  Buffer entries_;   // an Entry per record
  Buffer packed_;    // the compressed records, out of reach of others
  Buffer unpacked_;  // what the codec made of them
  Buffer headers_;   // Header objects of one record
};

}  // namespace towpath::inline TOWPATH_ABI::log
