// The fuzz targets, run the same way each time: the corpus, then bytes changed in it by a generator with a fixed seed.
#include <fuzz/targets.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <random>

using namespace towpath;
using namespace towpath::test;

namespace {

using Input = std::vector<std::uint8_t>;

std::vector<Input> corpus(const char* folder) {
  std::vector<Input> inputs;
  for (const auto& entry :
       std::filesystem::directory_iterator{std::string{TOWPATH_TEST_SOURCE_DIR "/fuzz/corpus/"} + folder}) {
    std::ifstream file{entry.path(), std::ios::binary};
    inputs.emplace_back(std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{});
  }
  std::sort(inputs.begin(), inputs.end());  // a folder has no order of its own
  return inputs;
}

/// One small change: a byte, a bit, a number at its limits, a cut, a piece doubled.
void change(Input& input, std::mt19937_64& random) {
  if (input.empty()) return input.push_back(static_cast<std::uint8_t>(random()));
  const std::size_t at = random() % input.size();
  constexpr std::uint32_t limits[] = {0, 1, 0x7FFF'FFFF, 0x8000'0000, 0xFFFF'FFFF, 0xFFFF'FFF0, 16, 65'536};
  switch (random() % 5) {
    case 0: input[at] = static_cast<std::uint8_t>(random()); break;
    case 1: input[at] = static_cast<std::uint8_t>(input[at] ^ 1u << random() % 8); break;
    case 2:
      if (at + 4 <= input.size()) std::memcpy(input.data() + at, &limits[random() % std::size(limits)], 4);
      break;
    case 3: input.resize(at); break;
    default: {
      const Input piece{input.begin() + static_cast<std::ptrdiff_t>(at), input.end()};
      if (input.size() < 4'096) input.insert(input.end(), piece.begin(), piece.end());
    }
  }
}

void run(const char* folder, FuzzTarget target, unsigned rounds) {
  const auto inputs = corpus(folder);
  REQUIRE_FALSE(inputs.empty());
  std::mt19937_64 random{20'240'601};
  for (const auto& input : inputs) target(input.data(), input.size());
  for (unsigned i = 0; i < rounds; ++i) {
    Input input = inputs[i % inputs.size()];
    for (auto changes = 1 + random() % 4; changes > 0; --changes) change(input, random);
    target(input.data(), input.size());
  }
}

}  // namespace

TEST_CASE("no bytes make a frame reach outside itself") { run("frame", fuzz_frame, 100'000); }

TEST_CASE("no text makes a config that nobody could have made") { run("config", fuzz_config, 20'000); }

TEST_CASE("no header makes a segment reach outside its file") { run("segment", fuzz_segment_header, 100'000); }

TEST_CASE("no bytes make a record batch reach outside itself or its budget") {
  run("record_batch", fuzz_record_batch, 30'000);
}

TEST_CASE("the corpus is what it says: each input is accepted as it stands") {
  for (const auto& input : corpus("frame")) {
    log::FrameView view;
    CHECK(view.parse(reinterpret_cast<const std::byte*>(input.data()), input.size(), 8));
  }
  for (const auto& input : corpus("config"))
    CHECK(towpath::detail::parse_config(std::string{input.begin(), input.end()}).has_value());
  for (const auto& input : corpus("record_batch"))
    CHECK(log::RecordBatchView::parse({reinterpret_cast<const std::byte*>(input.data()), input.size()}).has_value());
  for (const auto& input : corpus("segment")) {
    log::SegmentHeader header{};
    std::uint64_t bytes = 0;
    REQUIRE(input.size() == sizeof header + sizeof bytes);
    std::memcpy(static_cast<void*>(&header), input.data(), sizeof header);
    std::memcpy(&bytes, input.data() + sizeof header, sizeof bytes);
    CHECK(log::Segment::check(header, bytes).has_value());
  }
}
