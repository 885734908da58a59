// What foreign bytes are read by, as functions over memory. Each takes any bytes, aborts when its property breaks, and
// is run by the deterministic test and by libFuzzer. Bytes are copied to a buffer of their exact size, so that
// AddressSanitizer sees a read outside.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <towpath/towpath.hpp>

#if TOWPATH_TEST_COMPRESSION
#include <towpath/adapters/compression.hpp>
#endif

namespace towpath::test {

inline void must(bool property, const char* what) {
  if (property) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

/// A record's frame: every part that parse() and HeaderRange give lies inside the frame, and headers come to an end.
inline void fuzz_frame(const std::uint8_t* data, std::size_t size) {
  for (const std::size_t alignment : {std::size_t{8}, std::size_t{16}, std::size_t{64}}) {
    const auto* first = reinterpret_cast<const std::byte*>(data);
    const std::vector<std::byte> copy{first, first + size};
    log::FrameView view;
    if (!view.parse(copy.data(), size, alignment)) continue;
    const auto inside = [&](Bytes part) {
      return part.empty() || (part.begin() >= copy.data() && part.end() <= copy.data() + size);
    };
    must(inside(view.value) && inside(view.key) && inside(view.headers), "a part of a frame lies outside");
    must(view.value.size() + view.key.size() + view.headers.size() <= size, "the parts are larger than the frame");
    unsigned count = 0;
    std::size_t bytes = 0;
    for (const auto& header : log::HeaderRange{view.headers, view.header.header_count}) {
      must(inside(Bytes{header.key}) && inside(header.value), "a header lies outside");
      bytes += 8 + header.key.size() + header.value.size();
      ++count;
    }
    must(count <= view.header.header_count && bytes <= view.headers.size(), "more headers than there is room for");
  }
}

/// A topic's config: refused, or understood so that writing it and reading it again gives the same.
inline void fuzz_config(const std::uint8_t* data, std::size_t size) {
  const std::string text{reinterpret_cast<const char*>(data), size};
  const auto parsed = towpath::detail::parse_config(text);
  if (!parsed) return must(*parsed.error().detail != 0, "a refusal says why");
  must(check_topic_config(parsed->config).has_value(), "a config that nobody could have made was accepted");
  const auto written = towpath::detail::to_text(*parsed);
  const auto again = towpath::detail::parse_config(written);
  must(again.has_value() && towpath::detail::to_text(*again) == written, "a config does not survive writing");
}

/// A segment's header: refused, or one whose slots and data lie inside a file of that size.
inline void fuzz_segment_header(const std::uint8_t* data, std::size_t size) {
  log::SegmentHeader header{};
  std::uint64_t bytes = 0;
  if (size < sizeof header + sizeof bytes) return;
  std::memcpy(static_cast<void*>(&header), data, sizeof header);
  std::memcpy(&bytes, data + sizeof header, sizeof bytes);
  if (!log::Segment::check(header, bytes)) return;
  must(header.data_offset < bytes && header.data_offset % log::data_alignment == 0, "data outside the file");
  must(header.slot_count > 0 && header.slot_count <= log::max_slots, "slots that the tail cannot count");
  must(log::slots_offset + header.slot_count * 8 <= header.data_offset, "slots reach into the data");
}

/// A batch that was built anew from the records of another: the same offsets, times, keys, values and headers.
inline std::vector<std::byte> rebuilt(const log::RecordBatchView& batch) {
  log::RecordBatchBuilder builder;
  log::BatchRecords records{batch, batch.records()};
  for (log::BatchRecord record; records.next(record);) {
    builder.skip(record.offset_delta - builder.offset_count());
    const std::vector<Header> headers{record.headers.begin(), record.headers.end()};
    if (!builder.add(record.timestamp_ms, record.key, record.has_key, record.value, record.has_value, headers))
      return {};
  }
  if (builder.offset_count() <= batch.last_offset_delta()) {
    builder.skip(batch.last_offset_delta() - builder.offset_count());
    builder.skip();
  }
  log::BatchOptions options;
  if (batch.is_append_time()) options.append_time_ms = batch.max_timestamp_ms();
  const auto bytes = builder.finish(Compression::none, options);
  must(bytes.has_value(), "records that were read cannot be written");
  return {bytes->begin(), bytes->end()};
}

/// Two batches unpack to the same frames; all of them parse.
inline void must_be_same(const log::UnpackedBatch& a, const log::UnpackedBatch& b, std::uint64_t alignment) {
  must(a.size() == b.size(), "a batch that was built anew has other records");
  for (std::int64_t delta = 0; delta <= std::min(a.header().last_offset_delta, 4'096); ++delta) {
    const auto one = a.frame(static_cast<std::int32_t>(delta)), other = b.frame(static_cast<std::int32_t>(delta));
    must(one.has_value() == other.has_value(), "a batch that was built anew has records elsewhere");
    if (!one) continue;
    log::FrameView view, other_view;
    must(view.parse(one->data, one->length, alignment), "a frame of a batch does not parse");
    must(other_view.parse(other->data, other->length, alignment), "a frame of a batch does not parse");
    must(view.header.timestamp_ns == other_view.header.timestamp_ns && view.value == other_view.value &&
             view.key == other_view.key && view.has_key == other_view.has_key &&
             view.has_value == other_view.has_value && view.headers == other_view.headers,
         "a record that was built anew differs");
  }
}

/// A record batch, with a length and a checksum that fit: refused with a reason, or unpacked to frames that parse; and
/// what was not compressed says the same when its records are put into another batch.
inline void fuzz_record_batch(const std::uint8_t* data, std::size_t size) {
  const auto* first = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> bytes{first, first + size};
  if (size >= log::batch_header_bytes) {
    log::store_big_endian(bytes.data() + 8, static_cast<std::int32_t>(size - log::batch_length_begins));
    log::store_big_endian(bytes.data() + 17, log::batch_checksum(Bytes{bytes}));
  }
  for (const std::uint64_t alignment : {std::uint64_t{8}, std::uint64_t{64}}) {
    log::UnpackedBatch batch;
    if (const auto done = batch.unpack(bytes, alignment, 1 << 16); !done)
      return must(*done.error().detail != 0 && batch.empty(), "a refusal says why");
    must(batch.size() == static_cast<std::size_t>(batch.header().record_count), "records are missing");
    const auto view = log::RecordBatchView::parse(bytes);
    must(view.has_value(), "a batch was unpacked that does not parse");
    if (view->compression() != Compression::none) continue;
    const auto again = rebuilt(*view);
    if (again.empty()) continue;  // times or offsets too far apart for one batch
    log::UnpackedBatch other;
    must(other.unpack(again, alignment, 1 << 16).has_value(), "a batch that was built anew is refused");
    must_be_same(batch, other, alignment);
  }
}

using FuzzTarget = void (*)(const std::uint8_t*, std::size_t);

}  // namespace towpath::test
