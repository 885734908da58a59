#include <log/log_support.hpp>

#include <cstddef>
#include <thread>

using namespace towpath;
using namespace towpath::test;
using log::Geometry;
using log::Segment;
using log::SegmentHeader;
using log::Slot;
using log::Tail;
using log::Use;

namespace {

// A fresh segment file called "seg" in a directory in memory.
struct OneSegment {
  LogBench bench;
  Member member = bench.claim();
  OneSegment() { must(bench.log().make_file("seg", Geometry::plan(256_KiB, 64, {64}))); }
  Result<Segment> open(std::uint64_t base = log::unset_base, Use use = Use::append) {
    return Segment::open(bench.directory(), "seg", base, use);
  }
  /// Overwrites header bytes as a stray writer would; the map cache sees the same file.
  template <class T>
  void poke(std::size_t at, T value) {
    const auto file = must(bench.directory().open("seg", shm::Access::read_write));
    must(shm::write_all(file, &value, sizeof value, at));
  }
};

}  // namespace

TEST_CASE("slots do not run out before the data does, for frames of 24 bytes to 1 MiB") {
  for (const std::uint64_t bytes : {256_KiB, 1_MiB, 4_MiB, 16_MiB, 64_MiB})
    for (std::uint64_t frame = 24; frame <= 1_MiB; frame += 8 + frame / 16 / 8 * 8) {
      const auto shape = Geometry::plan(bytes, frame, {frame});
      const auto limit = shape.slot_count - std::min<std::uint64_t>(1'024, shape.slot_count / 8);
      CAPTURE(bytes);
      CAPTURE(frame);
      REQUIRE(limit >= shape.capacity() / frame);
    }
}

TEST_CASE("header and slots fill whole multiples of 64 KiB, data fills the rest, and slots fit where they stand") {
  for (const std::uint64_t bytes : {1_KiB, 256_KiB, 257_KiB, 1_MiB, 64_MiB, 4_GiB})
    for (const std::uint64_t frame : {0u, 1u, 24u, 100u, 1u << 10, 1u << 20, 1u << 30})
      for (const std::uint64_t need : {8u, 64u << 10, 17u << 20}) {
        const auto shape = Geometry::plan(bytes, frame, {need});
        REQUIRE(shape.data_offset % 64_KiB == 0);
        REQUIRE(shape.segment_bytes % 64_KiB == 0);
        REQUIRE(shape.segment_bytes >= bytes);
        REQUIRE(shape.capacity() >= need);
        REQUIRE(log::slots_offset + shape.slot_count * 8 <= shape.data_offset);
        REQUIRE(shape.slot_count > 0);
        REQUIRE(shape.slot_count <= log::max_slots);
        // The count in the tail never reaches bit 63, however many race past the end.
        REQUIRE(Tail::count(Tail::make(shape.slot_count + 65'536, 0)) < std::uint64_t{1} << 23);
      }
}

TEST_CASE("a segment is no larger than asked unless one frame needs it") {
  CHECK(Geometry::plan(256_KiB, 100, {100}).segment_bytes == 256_KiB);
  CHECK(Geometry::plan(64_MiB, 100, {100}).segment_bytes == 64_MiB);
  const auto large = Geometry::plan(256_KiB, 10_MiB, {10_MiB});
  CHECK(large.segment_bytes == 10_MiB + large.data_offset);
}

TEST_CASE("slot, tail and inflight words give back what was put in") {
  for (const std::uint64_t position : {std::uint64_t{0}, std::uint64_t{8}, 4_GiB - 8, 8_GiB - 8})
    for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{16}, 4_GiB - 1})
      for (const auto state : {Slot::committed, Slot::aborted, Slot::continued}) {
        const auto slot = Slot::make(state, position, length);
        CHECK(Slot::state(slot) == state);
        CHECK(Slot::position(slot) == position);
        CHECK(Slot::length(slot) == length);
      }
  CHECK(Tail::count(Tail::make(12'345, 678)) == 12'345);
  CHECK(Tail::bytes(Tail::make(12'345, 678)) == 678);
  CHECK(Tail::is_closed(Tail::closed));
  CHECK_FALSE(Tail::is_closed(Tail::make(log::max_slots + 65'536, Tail::one_slot - 1)));
  CHECK(Tail::bytes(Tail::closed) > log::max_segment_bytes);  // whoever adds to it sees a full segment
}

TEST_CASE("an inflight word endangers exactly the slots that it names, and a reservation its whole segment") {
  using log::Inflight;
  CHECK_FALSE(Inflight::touches(Inflight::idle, 0, 0, 0, 100));
  CHECK(Inflight::touches(Inflight::reserving(500), 0, 500, 510, 511));
  CHECK_FALSE(Inflight::touches(Inflight::reserving(500), 0, 400, 400, 500));
  CHECK(Inflight::touches(Inflight::reserving(0), 0, 0, 0, 1));
  for (const std::uint64_t k : {1u, 5u, 2'047u, 2'048u, 2'049u, 1'000'000u}) {
    const auto word = Inflight::writing(1'000, k);
    const std::uint64_t batch = k > Inflight::many ? k : 77;  // another batch's count means nothing for a small one
    CHECK(Inflight::touches(word, batch, 900, 1'000, 1'001));
    CHECK(Inflight::touches(word, batch, 900, 1'000 + k - 1, 1'000 + k));
    CHECK_FALSE(Inflight::touches(word, batch, 900, 999, 1'000));
    CHECK_FALSE(Inflight::touches(word, batch, 900, 1'000 + k, 1'000 + k + 10));
    CHECK(Inflight::touches(word, batch, 0, 0, 5'000));
  }
  CHECK(Inflight::touches(Inflight::writing(0), 0, 0, 0, 1));
}

TEST_CASE("a slot is decided once, whoever tries") {
  OneSegment one;
  const auto segment = must(one.open());
  CHECK(segment.resolve(3, Slot::make(Slot::committed, 8, 16)));
  CHECK_FALSE(segment.resolve(3, Slot::aborted_in(segment.uuid)));
  CHECK(Slot::state(segment.slots[3].load(shm::acquire)) == Slot::committed);
  std::atomic<int> winners{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::uint64_t n = 100; n < 1'100; ++n)
        winners += segment.resolve(n, t % 2 ? std::uint64_t{Slot::aborted} : Slot::make(Slot::committed, 0, 16));
    });
  for (auto& thread : threads) thread.join();
  CHECK(winners == 1'000);
}

TEST_CASE("the first seal rules, and it is never empty and never beyond the slots") {
  OneSegment one;
  auto segment = must(one.open());
  CHECK(segment.sealed_count() == 0);
  SUBCASE("as proposed") {
    CHECK(segment.seal(40) == 40);
    CHECK(segment.seal(50) == 40);
    CHECK(segment.sealed_count() == 40);
  }
  SUBCASE("not at 0") { CHECK(segment.seal(0) == 1); }
  SUBCASE("not beyond the slots") { CHECK(segment.seal(~std::uint64_t{0} >> 1) == segment.slot_count); }
}

TEST_CASE("a segment opens only as the incarnation that it is") {
  OneSegment one;
  CHECK(one.open(log::unset_base).has_value());
  CHECK(one.open(0).error() == Errc::not_found);
  must(one.open()).header->base.store(4'711, shm::release);
  CHECK(must(one.open(4'711)).base == 4'711);
  CHECK(one.open(log::unset_base).error() == Errc::not_found);
  CHECK(Segment::open(one.bench.directory(), "nothing", 0, Use::append).error() == Errc::not_found);
}

TEST_CASE("every way of mapping shows the same segment, and only those that may help can write") {
  OneSegment one;
  const auto append = must(one.open());
  append.slots[0].store(17, shm::release);
  append.data[0] = std::byte{42};
  for (const auto use : {Use::append, Use::help, Use::look}) {
    const auto segment = must(one.open(log::unset_base, use));
    CHECK(segment.slots[0].load(shm::acquire) == 17);
    CHECK(segment.data[0] == std::byte{42});
    CHECK(segment.geometry() == append.geometry());
    CHECK(segment.slot_limit < segment.slot_count);
    CHECK(segment.helpful == (use != Use::look));
  }
}

TEST_CASE("a header that is foreign, newer or contradicts its file is refused by name") {
  OneSegment one;
  SUBCASE("another magic") {
    one.poke<std::uint64_t>(offsetof(SegmentHeader, magic), 1);
    CHECK(one.open().error() == Errc::corrupt);
  }
  SUBCASE("a newer version") {
    one.poke<std::uint32_t>(offsetof(SegmentHeader, version), log::segment_format_version + 1);
    CHECK(one.open().error() == Errc::newer_format);
  }
  SUBCASE("another kind of index") {
    one.poke<std::uint32_t>(offsetof(SegmentHeader, index_kind), 1);
    CHECK(one.open().error() == Errc::newer_format);
  }
  SUBCASE("a stride") {
    one.poke<std::uint64_t>(offsetof(SegmentHeader, stride), 64);
    CHECK(one.open().error() == Errc::newer_format);
  }
  SUBCASE("another layout") {
    one.poke<std::uint32_t>(offsetof(SegmentHeader, layout_hash), 1);
    CHECK(one.open().error() == Errc::corrupt);
  }
  SUBCASE("sizes that cannot be") {
    const auto good = must(one.open()).geometry();
    const auto refused = [&](std::size_t at, std::uint64_t value, std::uint64_t before) {
      one.poke<std::uint64_t>(at, value);
      CHECK(one.open().error() == Errc::corrupt);
      one.poke<std::uint64_t>(at, before);
      CHECK(one.open().has_value());
    };
    for (const std::uint64_t bytes : {std::uint64_t{0}, 64_KiB, 256_KiB + 1, 512_KiB, ~std::uint64_t{0}})
      refused(offsetof(SegmentHeader, segment_bytes), bytes, good.segment_bytes);
    for (const std::uint64_t slots : {std::uint64_t{0}, good.data_offset / 8, log::max_slots + 1, ~std::uint64_t{0}})
      refused(offsetof(SegmentHeader, slot_count), slots, good.slot_count);
    for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{100}, 256_KiB, 1_MiB, ~std::uint64_t{0}})
      refused(offsetof(SegmentHeader, data_offset), offset, good.data_offset);
  }
}

TEST_CASE("a file shorter than a header is corrupt, not a fault") {
  LogBench bench;
  make_file(bench.directory(), "short", 100);
  make_file(bench.directory(), "empty", 0);
  for (const auto use : {Use::append, Use::help, Use::look}) {
    CHECK(Segment::open(bench.directory(), "short", 0, use).error() == Errc::corrupt);
    CHECK(Segment::open(bench.directory(), "empty", 0, use).error() == Errc::corrupt);
  }
}

TEST_CASE("a slot that leads out of the data, or is shorter than a frame, is seen") {
  OneSegment one;
  const auto segment = must(one.open());
  CHECK(segment.contains(Slot::make(Slot::committed, 0, 16)));
  CHECK(segment.contains(Slot::make(Slot::committed, segment.capacity - 16, 16)));
  CHECK_FALSE(segment.contains(Slot::make(Slot::committed, 0, 15)));
  CHECK_FALSE(segment.contains(Slot::make(Slot::committed, segment.capacity - 8, 16)));
  CHECK_FALSE(segment.contains(Slot::make(Slot::committed, segment.capacity, 16)));
  CHECK_FALSE(segment.contains(Slot::make(Slot::committed, 8_GiB - 8, 4_GiB - 1)));
}
