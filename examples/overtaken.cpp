// A topic keeps a limited number of bytes. A reader that is too slow is overtaken, and is told how many records it
// lost.
#include <fmt/core.h>

#include <towpath/towpath.hpp>

using namespace std::chrono_literals;
using namespace towpath::literals;

struct Frame {
  std::uint64_t number;
  std::byte pixels[4'000];
};

int main() {
  towpath::Bus bus;
  towpath::Topic<Frame> camera{bus, "camera", {.segment_bytes = 256_KiB, .retention = {.bytes = 1_MiB}}};
  towpath::Producer producer{camera};
  towpath::Consumer slow{camera, {.auto_offset_reset = towpath::OffsetReset::earliest}};

  constexpr std::uint64_t sent = 2'000;  // 8 MB, eight times what the topic keeps
  for (std::uint64_t number = 0; number < sent; ++number) producer.send({.number = number, .pixels = {}}).value();

  std::uint64_t read = 0, missed = 0;
  // [missed]
  for (;;) {
    auto batch = slow.poll(100ms);
    if (auto failure = batch.error(); failure.code != towpath::Errc::ok) throw towpath::Error{failure};
    missed += batch.missed();  // an empty batch may tell it, too
    read += batch.size();
    if (batch.empty()) break;
  }
  // [/missed]
  fmt::print("missed some: {}\nread some: {}\nread + missed = {}\n", missed > 0, read > 0, read + missed);
}
