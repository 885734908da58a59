// Packs and unpacks a record with each codec, and prints the names of those that gave it back.
#include <towpath/adapters/compression.hpp>
#include <towpath/towpath.hpp>

#include <cstdio>

int main() {
  using towpath::Compression;
  std::string sep;
  for (const auto compression : {Compression::gzip, Compression::snappy, Compression::lz4, Compression::zstd}) {
    towpath::log::RecordBatchBuilder builder;
    towpath::log::UnpackedBatch batch;
    builder.add(1, {}, false, towpath::Bytes{"some text"}, true).value();
    batch.unpack(builder.finish(compression).value(), 8, 1'000).value();
    towpath::log::FrameView view;
    const auto frame = batch.frame(0);
    if (!frame || !view.parse(frame->data, frame->length, 8) || view.value.text() != "some text") return 1;
    std::printf("%s%s", sep.c_str(), std::string{name(compression)}.c_str());
    sep = " ";
  }
  std::printf("\n");
}
