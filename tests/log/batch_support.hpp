// What the tests of record batches share: the golden files and what stands in them (as in
// tests/golden/make_record_batches.py), batches that are broken on purpose, and the property that must hold for any
// bytes: unpacking refuses them or gives frames that lie inside its memory.
#pragma once

#include <doctest/doctest.h>

#include <towpath/log/record_batch_builder.hpp>
#include <towpath/log/unpacked_batch.hpp>

#include <support/support.hpp>

#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace towpath::test {

using BatchBytes = std::vector<std::byte>;

constexpr std::int64_t golden_base_ms = 1'700'000'000'000;
constexpr std::uint64_t golden_budget = 1024 * 1024;

inline BatchBytes golden_batch(const std::string& client, std::string_view codec) {
  const std::string path = TOWPATH_TEST_SOURCE_DIR "/golden/record_batch_" + client + "_" + std::string{codec} + ".bin";
  std::ifstream file{path, std::ios::binary};
  const std::string text{std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
  if (text.empty()) fail(path + " is missing");
  const Bytes bytes{text};
  return {bytes.begin(), bytes.end()};  // no byte more than the batch has: AddressSanitizer sees a read behind it
}

/// A record in words that compare.
struct PlainRecord {
  std::int64_t time_ms = 0;
  std::optional<std::string> key{};
  std::optional<std::string> value{};
  std::vector<std::pair<std::string, std::optional<std::string>>> headers{};
  bool operator==(const PlainRecord&) const = default;
};

inline std::vector<PlainRecord> golden_records() {
  std::string poses;
  for (int i = 0; i < 60; ++i) poses += "pose ";
  std::vector<PlainRecord> records = {
      {golden_base_ms, "robot-1", poses, {{"trace", "abc"}, {"null", std::nullopt}, {"", ""}}},
      {golden_base_ms - 10, std::nullopt, "no key, and older than the record before", {}},
      {golden_base_ms + 5, "robot-2", std::nullopt, {}},
      {golden_base_ms + 6, "robot-3", "", {{"only", "one"}}},
      {golden_base_ms + 7, std::nullopt, std::nullopt, {}}};
  for (int i = 1; i <= 20; ++i)
    records.push_back({golden_base_ms + 10 * i,
                       "key-" + std::to_string(i % 3),
                       std::string(100, static_cast<char>('a' + i % 26)),
                       {}});
  return records;
}

inline std::optional<std::string> plain(Bytes bytes, bool is_there) {
  return is_there ? std::optional{std::string{bytes.text()}} : std::nullopt;
}

template <class Headers>
void take_headers(PlainRecord& record, const Headers& headers) {
  for (const auto& header : headers)
    record.headers.emplace_back(std::string{header.key}, plain(header.value, !header.is_null));
}

/// The record in a native frame.
inline PlainRecord plain_frame(const log::UnpackedBatch::Frame& frame, std::uint64_t alignment) {
  log::FrameView view;
  if (!view.parse(frame.data, frame.length, alignment)) fail("a frame of an unpacked batch does not parse");
  PlainRecord record{view.header.timestamp_ns / 1'000'000, plain(view.key, view.has_key),
                     plain(view.value, view.has_value)};
  take_headers(record, log::HeaderRange{view.headers, view.header.header_count});
  if (reinterpret_cast<std::uintptr_t>(view.value.data()) % alignment != 0) fail("a value is not aligned");
  return record;
}

/// Adds a record to a batch under construction.
inline void add_plain(log::RecordBatchBuilder& builder, const PlainRecord& record) {
  std::vector<Header> headers;
  for (const auto& [name, value] : record.headers)
    headers.push_back({name, value ? Bytes{*value} : Bytes{}, !value.has_value()});
  const auto key = record.key.value_or(""), value = record.value.value_or("");
  const auto added =
      builder.add(record.time_ms, Bytes{key}, record.key.has_value(), Bytes{value}, record.value.has_value(), headers);
  if (!added) fail(added.error().detail);
}

inline BatchBytes batch_of(const std::vector<PlainRecord>& records, Compression compression = Compression::none,
                           const log::BatchOptions& options = {}) {
  log::RecordBatchBuilder builder;
  for (const auto& record : records) add_plain(builder, record);
  const auto batch = builder.finish(compression, options);
  if (!batch) fail(batch.error().detail);
  return {batch->begin(), batch->end()};
}

/// Every record that a batch unpacks to, by frame().
inline std::vector<PlainRecord> unpacked_records(const log::UnpackedBatch& batch, std::uint64_t alignment) {
  std::vector<PlainRecord> records;
  for (std::int32_t delta = 0; delta <= batch.header().last_offset_delta; ++delta)
    if (const auto frame = batch.frame(delta)) records.push_back(plain_frame(*frame, alignment));
  return records;
}

inline void check_golden(log::UnpackedBatch& batch, const BatchBytes& bytes) {
  for (const std::uint64_t alignment : {8u, 16u, 32u, 64u}) {
    const auto done = batch.unpack(bytes, alignment, golden_budget);
    REQUIRE_MESSAGE(done.has_value(), done.error().detail);
    CHECK(batch.size() == 25);
    CHECK(unpacked_records(batch, alignment) == golden_records());
  }
}

/// Makes the length and the checksum of a changed batch right again, so that what lies behind them is reached.
inline void reseal(BatchBytes& batch) {
  if (batch.size() < log::batch_header_bytes) return;
  log::store_big_endian(batch.data() + 8, static_cast<std::int32_t>(batch.size() - 12));
  log::store_big_endian(batch.data() + 17, log::batch_checksum(Bytes{batch}));
}

/// Unpacks a batch that may be anything: refused with a reason, or every frame parses. Returns whether it was accepted.
inline bool unpacks_or_refuses(log::UnpackedBatch& batch, const BatchBytes& bytes) {
  const auto done = batch.unpack(bytes, 8, golden_budget);
  if (!done) {
    if (*done.error().detail == 0) fail("a refusal says why");
    if (!batch.empty()) fail("a batch that was refused has records");
    return false;
  }
  if (batch.size() != static_cast<std::size_t>(batch.header().record_count)) fail("records are missing");
  std::size_t found = 0;
  for (std::int64_t delta = 0; delta <= std::min(batch.header().last_offset_delta, 1'000); ++delta)
    if (const auto frame = batch.frame(static_cast<std::int32_t>(delta))) {
      plain_frame(*frame, 8);
      ++found;
    }
  if (found > batch.size()) fail("more frames than records");
  return true;
}

/// Cuts a batch at every byte and changes every byte of it, with the checksum as it was and made right again.
/// Returns how many of the changed batches with a right checksum were accepted.
inline unsigned damage_everywhere(const BatchBytes& whole) {
  log::UnpackedBatch batch;
  unsigned accepted = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    BatchBytes cut{whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)};
    if (unpacks_or_refuses(batch, cut)) fail("a batch that is cut short was accepted");
    reseal(cut);
    unpacks_or_refuses(batch, cut);
  }
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const unsigned flip : {0x01u, 0x80u, 0xFFu}) {
      BatchBytes changed = whole;
      changed[at] ^= static_cast<std::byte>(flip);
      const bool outside_the_checksum = at < 8 || (at >= 12 && at < 16);
      if (unpacks_or_refuses(batch, changed) && !outside_the_checksum) fail("a changed batch was accepted");
      reseal(changed);
      accepted += unpacks_or_refuses(batch, changed);
    }
  return accepted;
}

}  // namespace towpath::test
