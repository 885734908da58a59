// The records of the demo, and the topics they go to. Every process includes this.
// Each record says who sent it, under which key, as the how many-th, and when, so that readers can check all of that.
#pragma once

#include <towpath/towpath.hpp>

#include "page.hpp"
#include "sample.hpp"

namespace demo {

struct Origin {
  std::uint32_t producer = 0;
  std::uint32_t stream = 0;    ///< index into Page::sent[producer].streams: one per key
  std::uint64_t sequence = 0;  ///< 1, 2, 3, ... within the stream
  std::int64_t sent_ns = 0;    ///< CLOCK_MONOTONIC, just before it was sent
};

/// One look at one source, as the kernel's counters had it. Stored as it is and read in place.
struct Sample {
  Origin origin;
  Kind kind;
  std::uint64_t values[8];
  std::uint64_t check;  ///< of everything above
};

/// One line of a file. Its size varies, so a Serde says how it is stored.
struct Line {
  Origin origin;
  std::string_view text;
};

inline std::uint64_t checksum(towpath::Bytes bytes, std::uint64_t sum = 0xCBF29CE484222325u) noexcept {
  for (const std::byte byte : bytes) sum = (sum ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001B3u;
  return sum;
}

inline std::uint64_t checksum(const Sample& sample) noexcept {
  return checksum({reinterpret_cast<const std::byte*>(&sample), offsetof(Sample, check)});
}

inline constexpr std::int32_t telemetry_partitions = 4;
inline constexpr std::size_t piece_bytes = 64 * 1024;  ///< longer lines are sent in pieces

inline towpath::TopicConfig topic_config(const Page& page, std::int32_t partitions) {
  return {.partitions = partitions,
          .segment_bytes = page.segment_bytes,
          .retention = {.bytes = towpath::Retention::unlimited},
          .max_message_bytes = 2 * piece_bytes};
}

}  // namespace demo

/// As bytes: origin, checksum, text. Read in place.
template <>
struct towpath::Serde<demo::Line> {
  struct View {
    demo::Origin origin;
    bool is_whole;
    std::string_view text;
  };
  static constexpr std::size_t head = sizeof(demo::Origin) + sizeof(std::uint64_t);

  static std::size_t size(const demo::Line& line) noexcept { return head + line.text.size(); }
  static void encode(const demo::Line& line, std::span<std::byte> out) noexcept {
    const std::uint64_t sum = sum_of(line.origin, line.text);
    std::memcpy(out.data(), &line.origin, sizeof line.origin);
    std::memcpy(out.data() + sizeof line.origin, &sum, sizeof sum);
    line.text.copy(reinterpret_cast<char*>(out.data()) + head, line.text.size());
  }
  static bool accepts(Bytes bytes) noexcept { return bytes.size() >= head; }
  static View view(Bytes bytes) noexcept {
    View line{{}, false, {}};
    if (!accepts(bytes)) return line;
    std::uint64_t sum = 0;
    std::memcpy(&line.origin, bytes.data(), sizeof line.origin);
    std::memcpy(&sum, bytes.data() + sizeof line.origin, sizeof sum);
    line.text = bytes.text().substr(head);
    line.is_whole = sum == sum_of(line.origin, line.text);
    return line;
  }

 private:
  static std::uint64_t sum_of(const demo::Origin& origin, std::string_view text) noexcept {
    return demo::checksum(text, demo::checksum({reinterpret_cast<const std::byte*>(&origin), sizeof origin}));
  }
};
