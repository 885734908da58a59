#include <log/log_support.hpp>

#include <csignal>
#include <thread>

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

using namespace towpath;
using namespace towpath::test;
using log::Appender;
using log::Slot;

namespace {

struct One {
  LogBench bench;
  Member member;
  Appender appender;
  explicit One(const LogOptions& options = {}) : bench{options}, member{bench.claim()}, appender{bench.log(), member} {}
};

/// Everything is there, in order, from offset 0 without a gap.
void check_dense(const std::vector<ReadRecord>& records, std::uint64_t count) {
  CHECK(check_sequence(records, 0) == count);
  for (std::size_t i = 0; i < records.size(); ++i)
    if (records[i].offset != i) FAIL("a gap in the offsets");
}

bool mount_small_tmpfs(const std::string& path, const char* options) {
  if (::mount("tmpfs", path.c_str(), "tmpfs", 0, options) == 0) return true;
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  return ::mount("tmpfs", path.c_str(), "tmpfs", 0, options) == 0;
}

}  // namespace

TEST_CASE("the first record makes the first segment, of 256 KiB, and nothing stands there before") {
  One one{{.segment_bytes = 64_MiB}};
  CHECK(one.bench.bases().empty());
  CHECK(put(one.appender, 0) == Offset{0});
  CHECK(one.bench.bases() == std::vector<std::uint64_t>{0});
  CHECK(one.appender.segment().geometry().segment_bytes == 256_KiB);
  CHECK(one.bench.state().live_bytes.load(shm::relaxed) == 256_KiB);
}

TEST_CASE("one writer's offsets are dense within a segment, and nothing is lost over a roll") {
  One one;
  std::uint64_t before = 0;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    const auto offset = static_cast<std::uint64_t>(put(one.appender, i).value);
    if (i > 0 && offset <= before) FAIL("offsets do not rise");
    before = offset;
  }
  CHECK(one.bench.bases().size() > 5);
  check_dense(read_all(one.bench), 20'000);
}

TEST_CASE("each next segment is four times larger, up to segment_bytes") {
  One one{{.segment_bytes = 4_MiB}};
  std::vector<std::uint64_t> sizes;
  for (std::uint64_t i = 0; i < 12'000; ++i) {
    put(one.appender, i, 1'000);
    const auto bytes = one.appender.segment().geometry().segment_bytes;
    if (sizes.empty() || one.bench.bases().size() > sizes.size()) sizes.push_back(bytes);
  }
  REQUIRE(sizes.size() >= 4);
  CHECK(sizes[0] == 256_KiB);
  CHECK(sizes[1] == 1_MiB);
  CHECK(sizes[2] == 4_MiB);
  CHECK(sizes[3] == 4_MiB);
}

TEST_CASE("frames begin at multiples of the topic's alignment, values at multiples of theirs") {
  for (const std::uint64_t alignment : {8u, 16u, 32u, 64u}) {
    LogOptions options;
    options.format.record_alignment = alignment;
    options.format.value_alignment = alignment;
    One one{options};
    for (std::uint64_t i = 0; i < 5'000; ++i) put(one.appender, i, 8 + i % 90);
    check_dense(read_all(one.bench), 5'000);
    const auto& segment = one.appender.segment();
    for (std::uint64_t n = 0; n < 100; ++n)
      if (const auto slot = segment.slots[n].load(shm::acquire); Slot::state(slot) == Slot::committed) {
        REQUIRE(Slot::position(slot) % alignment == 0);
        REQUIRE(reinterpret_cast<std::uintptr_t>(segment.data + Slot::position(slot)) % alignment == 0);
      }
  }
}

TEST_CASE("a record of any size goes in, also one larger than 64 KiB, than what is left and than segment_bytes") {
  One one;
  const std::size_t sizes[] = {8,  60'000,    64_KiB - 16, 64_KiB, 64_KiB + 1, 100'000, 300'000,
                               10, 1'000'000, 16_MiB,      100,    200'000,    200'000};
  std::uint64_t i = 0;
  for (const auto size : sizes) put(one.appender, i++, size);
  const auto records = read_all(one.bench);
  CHECK(check_sequence(records, 0) == i);
  for (std::size_t k = 0; k < records.size(); ++k) CHECK(records[k].value.size() == sizes[k]);
}

TEST_CASE("after a record that needed a segment of its own, segments have their usual size again") {
  One one;
  put(one.appender, 0, 5_MiB);
  CHECK(one.appender.segment().geometry().segment_bytes > 5_MiB);
  for (std::uint64_t i = 1; one.bench.bases().size() < 3 && i < 100'000; ++i) put(one.appender, i, 1'000);
  CHECK(one.appender.segment().geometry().segment_bytes == 256_KiB);
}

TEST_CASE("an abandoned reservation is a gap that readers skip") {
  One one;
  put(one.appender, 0);
  one.appender.abandon(must(one.appender.reserve(40)));
  put(one.appender, 1);
  const auto records = read_all(one.bench);
  REQUIRE(records.size() == 2);
  CHECK(records[1].offset == 2);
  CHECK(one.member.line().inflight.load(shm::acquire) == 0);
}

TEST_CASE("a commit whose slot was aborted says so, shows nothing, and leaves the bytes to be copied") {
  One one;
  const auto layout = log::FrameLayout::of({.value_size = 5}, 8);
  const auto room = must(one.appender.reserve(layout.length));
  fill_frame(room.frame, layout, {.value_size = 5}, "hello", 0, one.appender.segment());
  CHECK(log::abort_slot(one.bench.log(), one.appender.segment(), room.n));
  std::string saved;
  std::uint64_t inflight = 0;
  CHECK_FALSE(one.appender.commit(room, [&] {
    inflight = one.member.line().inflight.load(shm::acquire);
    saved.assign(reinterpret_cast<const char*>(room.frame + layout.value_at), 5);
  }));
  CHECK(saved == "hello");
  CHECK(inflight == log::Inflight::writing(0));  // still protected while it is copied
  CHECK(read_all(one.bench).empty());
  put(one.appender, 0);
  CHECK(read_all(one.bench).size() == 1);
}

TEST_CASE("append() writes a record again whose slot a helper aborted, and it is seen once") {
  One one;
  int calls = 0;
  const auto text = record_text(0);
  log::FrameSpec spec;
  spec.value_size = text.size();
  const auto layout = log::FrameLayout::of(spec, 8);
  const auto offset =
      must(one.appender.append(layout.length, [&](std::byte* frame, std::uint64_t at, const log::Segment& segment) {
        fill_frame(frame, layout, spec, text, at, segment);
        if (++calls <= 3) log::abort_slot(one.bench.log(), segment, at - segment.base);
      }));
  CHECK(calls == 4);
  CHECK(offset == Offset{3});
  CHECK(check_sequence(read_all(one.bench), 0) == 1);
}

TEST_CASE("many writers, in threads with one log each or shared, lose, double and reorder nothing") {
  constexpr std::uint64_t writers = 4;
  const std::uint64_t each = sanitized ? 5'000 : 20'000;
  LogBench first;
  std::vector<std::thread> threads;
  std::vector<std::unique_ptr<LogBench>> benches;
  for (std::uint64_t w = 0; w < writers; ++w)
    benches.push_back(w % 2 ? std::make_unique<LogBench>(first.shared_directory()) : nullptr);
  for (std::uint64_t w = 0; w < writers; ++w)
    threads.emplace_back([&, w] {
      const LogBench& bench = benches[w] ? *benches[w] : first;
      auto member = bench.claim();
      Appender appender{bench.log(), member};
      for (std::uint64_t i = 0; i < each; ++i) put(appender, w << 32 | i, 8 + i % 200);
    });
  for (auto& thread : threads) thread.join();
  std::vector<std::uint64_t> next(writers, 0);
  for (const auto& record : read_all(first)) {
    const auto writer = record.number() >> 32;
    REQUIRE(writer < writers);
    REQUIRE((record.number() & 0xFFFF'FFFF) == next[writer]);
    ++next[writer];
  }
  for (const auto count : next) CHECK(count == each);
  for (std::uint64_t i = 0; i < 4; ++i)
    CHECK(first.members().line(static_cast<unsigned>(i)).inflight.load(shm::acquire) == 0);
}

TEST_CASE("large records of several writers that race for the last room of a segment all arrive") {
  constexpr std::uint64_t writers = 3;
  constexpr std::uint64_t each = 200;
  LogBench bench;
  std::vector<std::thread> threads;
  for (std::uint64_t w = 0; w < writers; ++w)
    threads.emplace_back([&, w] {
      auto member = bench.claim();
      Appender appender{bench.log(), member};
      for (std::uint64_t i = 0; i < each; ++i) put(appender, w << 32 | i, i % 3 == w ? 70'000 + i * 100 : 500);
    });
  for (auto& thread : threads) thread.join();
  std::vector<std::uint64_t> next(writers, 0);
  for (const auto& record : read_all(bench)) {
    const auto writer = record.number() >> 32;
    REQUIRE(writer < writers);
    REQUIRE((record.number() & 0xFFFF'FFFF) == next[writer]++);
  }
  for (const auto count : next) CHECK(count == each);
}

TEST_CASE("roll() closes a segment that has records and leaves an empty log alone") {
  One one;
  must(one.appender.roll());
  must(one.appender.roll());
  CHECK(one.bench.bases().size() == 1);
  put(one.appender, 0);
  must(one.appender.roll());
  CHECK(one.bench.bases().size() == 2);
  must(one.appender.roll());
  CHECK(one.bench.bases().size() == 2);
  put(one.appender, 1);
  check_sequence(read_all(one.bench), 0);
  CHECK(read_all(one.bench).size() == 2);
}

TEST_CASE("a deleted topic's log takes nothing more") {
  One one;
  put(one.appender, 0);
  one.bench.state().flags.fetch_or(log::partition_deleted, shm::seq_cst);
  one.appender.segment().header->tail.exchange(log::Tail::closed, shm::acq_rel);  // as deletion does
  CHECK(append(one.appender, "x").error() == Errc::topic_deleted);
  CHECK(append(one.appender, "x").error() == Errc::topic_deleted);
  CHECK(one.member.line().inflight.load(shm::acquire) == 0);
}

TOWPATH_ROLE("fill_a_small_tmpfs") {
  if (!mount_small_tmpfs(args.at(0), "size=1m,mode=750")) return say("skipped: no right to mount a small tmpfs"), 0;
  make_file(*open_folder(args.at(0)), "ballast", 300 * 1024);
  LogBench bench{args.at(0)};
  auto member = bench.claim();
  Appender appender{bench.log(), member};
  std::uint64_t appended = 0;
  Failure failure;
  while (failure.code == Errc::ok && appended < 100'000) {
    const auto offset = append(appender, record_text(appended, 1'000));
    if (offset)
      ++appended;
    else
      failure = offset.error();
  }
  expect(failure == Errc::no_space, "a full tmpfs is no_space");
  expect(member.line().inflight.load(shm::acquire) == 0, "nothing is in flight after no_space");
  expect(append(appender, "again").error() == Errc::no_space, "and stays so");
  expect(check_sequence(read_all(bench), 0) == appended, "what was acknowledged can be read");
  expect(bench.count_files("own.") == 0, "no half-made file stays behind");
  const auto log_bytes = bench.state().live_bytes.load(shm::relaxed);
  expect(log_bytes <= 1_MiB, "live_bytes counts only what stands there");
  must(bench.directory().remove("ballast"));
  put(appender, appended, 1'000);
  expect(check_sequence(read_all(bench), 0) == appended + 1, "it works again");
  say("done");
  return 0;
}

TEST_CASE("a full filesystem is no_space, loses nothing, is never a SIGBUS, and works again when there is room") {
  TempDir dir;
  auto child = spawn("fill_a_small_tmpfs", {dir.path().string()});
  CHECK(child.wait(30s) == exited_well);
  if (child.output().starts_with("skipped"))
    MESSAGE(child.output());
  else
    CHECK(child.output() == "done\n");
  ::umount2(dir.path().c_str(), MNT_DETACH);
}
