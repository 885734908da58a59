// What foreign bytes are read by, as functions over memory. Each takes any bytes, aborts when its property breaks, and
// is run by the deterministic test and by libFuzzer. Bytes are copied to a buffer of their exact size, so that
// AddressSanitizer sees a read outside.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <towpath/towpath.hpp>

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

using FuzzTarget = void (*)(const std::uint8_t*, std::size_t);

}  // namespace towpath::test
