// Reading a Kafka record batch of 1,000 records of 100 B that lz4 compressed. Built twice: bench_decode_towpath
// measures what a consumer does (checksum, decompression, every record as a native frame, every value looked at);
// bench_decode_raw what liblz4 alone takes for the same bytes, and memcpy for what they become.
#include <towpath/adapters/compression.hpp>
#include <towpath/log/record_batch_builder.hpp>
#include <towpath/log/unpacked_batch.hpp>

#include <memory>
#include <random>

#include "workload.hpp"

namespace bench {
namespace {

using namespace towpath;

constexpr std::uint64_t records_per_batch = 1'000;
constexpr std::size_t record_bytes = 100;
constexpr std::uint64_t budget_bytes = 1 << 20;

/// Values like what sensors say: fields that repeat and digits that do not. lz4 makes about half of it.
std::vector<std::byte> make_batch() {
  std::mt19937_64 random{1'000};
  log::RecordBatchBuilder builder;
  for (std::uint64_t i = 0; i < records_per_batch; ++i) {
    std::string value = "number=" + std::to_string(i);
    while (value.size() < record_bytes) value += " field=" + std::to_string(random());
    value.resize(record_bytes);
    require(builder.add(static_cast<std::int64_t>(i), {}, false, Bytes{value}, true).has_value(), "a record");
  }
  const auto batch = builder.finish(Compression::lz4);
  require(batch.has_value(), "compression");
  return {batch->begin(), batch->end()};
}

std::uint64_t rounds(const Options& options) { return options.quick ? 500 : 10'000; }

void print_rates(double batches_per_second) {
  const double records = batches_per_second * static_cast<double>(records_per_batch);
  print("decode_lz4", records, "records/s");
  print("decode_lz4_bytes", records * static_cast<double>(record_bytes) * 1e-9, "GB/s");
}

#if BENCH_DECODE_RAW
void decode_lz4(const Options& options) {
  const auto batch = make_batch();
  const Bytes packed{batch.data() + log::batch_header_bytes, batch.size() - log::batch_header_bytes};
  pin(0);
  LZ4F_dctx* made = nullptr;
  require(!LZ4F_isError(LZ4F_createDecompressionContext(&made, LZ4F_VERSION)), "an lz4 context");
  const std::unique_ptr<LZ4F_dctx, log::compression::FreeLz4> context{made};
  std::vector<std::byte> plain(budget_bytes);
  std::size_t size = 0;
  const auto decompress = [&](std::uint64_t) {
    size = plain.size();
    std::size_t read = packed.size();
    if (LZ4F_decompress(context.get(), plain.data(), &size, packed.data(), &read, nullptr) != 0) fail("lz4");
  };
  rate(rounds(options) / 10, decompress);
  print_rates(rate(rounds(options), decompress));
  std::vector<std::byte> copy(size);
  const double copies = rate(rounds(options), [&](std::uint64_t) {
    std::memcpy(copy.data(), plain.data(), size);
    asm volatile("" : : "r"(copy.data()) : "memory");  // the copy has a reader
  });
  std::printf("# decode_lz4 raw: %zu bytes from %zu; memcpy of them %.4g records/s, %.3g GB/s\n", size, packed.size(),
              copies * static_cast<double>(records_per_batch), copies * static_cast<double>(size) * 1e-9);
}
#else
void decode_lz4(const Options& options) {
  const auto batch = make_batch();
  pin(0);
  log::UnpackedBatch unpacked;
  std::uint64_t looked_at = 0;
  const auto decode = [&](std::uint64_t) {
    if (!unpacked.unpack(batch, 8, budget_bytes)) fail("a batch does not unpack");
    for (std::int32_t delta = 0; delta < static_cast<std::int32_t>(records_per_batch); ++delta) {
      const auto frame = unpacked.frame(delta);
      log::FrameView view;
      if (!frame || !view.parse(frame->data, frame->length, 8)) fail("a record is missing");
      looked_at += view.value.size() + std::to_integer<unsigned>(view.value.data()[0]);
    }
  };
  rate(rounds(options) / 10, decode);
  looked_at = 0;
  print_rates(rate(rounds(options), decode));
  if (looked_at != rounds(options) * records_per_batch * (record_bytes + 'n')) fail("a record is wrong");
}
#endif

}  // namespace
}  // namespace bench

int main(int count, char** arguments) { return bench::run_main(count, arguments, {{"decode_lz4", bench::decode_lz4}}); }
