// A producer that packs its batches. Readers do nothing for it, and the same megabytes of log keep more.
#include <fmt/core.h>

#include <towpath/adapters/compression.hpp>  // in one file of the program; link towpath::compression
#include <towpath/towpath.hpp>

using namespace std::chrono_literals;
using namespace towpath::literals;

constexpr int batches = 80, lines_in_batch = 1'000;

std::vector<std::string> some_lines(int batch) {
  std::vector<std::string> lines;
  for (int i = 0; i < lines_in_batch; ++i)
    lines.push_back(fmt::format("level=info station={} message=\"belt runs at {} mm/s, all sensors within limits\"",
                                i % 7, 1'500 + (batch * lines_in_batch + i) % 40));
  return lines;
}

/// Sends all the lines, then reads what a topic of 4 MiB still has of them.
void show(towpath::Bus& bus, towpath::Compression compression) {
  const auto name = towpath::name(compression);
  towpath::Topic<std::string> log{
      bus, fmt::format("log.{}", name), {.segment_bytes = 256_KiB, .retention = {.bytes = 4_MiB}}};
  // [packed]
  towpath::Producer producer{log, {.compression = compression}};
  for (int batch = 0; batch < batches; ++batch) producer.send_batch(some_lines(batch)).value();
  // [/packed]
  towpath::Consumer consumer{log, {.auto_offset_reset = towpath::OffsetReset::earliest, .consumer_timeout = 100ms}};
  int read = 0;
  std::string last;
  for (const auto& record : consumer) ++read, last = record.value();  // as ever
  const bool all = read == batches * lines_in_batch && last == some_lines(batches - 1).back();
  if (auto failure = consumer.poll(0ms).error(); failure.code != towpath::Errc::ok) throw towpath::Error{failure};
  fmt::print("{}: {}\n", name, all ? "all lines are there" : "the oldest lines are gone");
}

int main() {
  towpath::Bus bus;
  show(bus, towpath::Compression::none);
  show(bus, towpath::Compression::gzip);
  show(bus, towpath::Compression::snappy);
  show(bus, towpath::Compression::lz4);
  show(bus, towpath::Compression::zstd);
}
