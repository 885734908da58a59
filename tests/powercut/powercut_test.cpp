// The machine loses power at random moments while a bus is used, and again while it is recovered: nothing that was
// promised to be durable is lost, and what is there afterwards is a prefix of what was sent. 2,000 images of disks.
#include <powercut/disk.hpp>
#include <topic/topic_support.hpp>

#include <towpath/consume/consumer.hpp>
#include <towpath/produce/producer.hpp>

#include <cstdlib>
#include <deque>

using namespace towpath;
using namespace towpath::test;

namespace {

using Texts = Topic<std::string>;

/// What was sent to one partition, and what of it was promised.
struct Sent {
  std::map<std::uint64_t, std::string> records;
  std::uint64_t next = 0;     // all offsets below are known; those without a record were given up
  std::uint64_t durable = 0;  // all below was said to be durable
  std::uint64_t start = 0;    // where the log began
};
struct Knowledge {
  std::map<std::string, std::vector<Sent>> topics;
  std::set<std::string> deleted;
  std::vector<std::string> pending;  // what is being sent while the power fails: all of it, or nothing
  std::string changing;              // the topic that is being made or deleted
};

struct Case {
  Image image;
  Knowledge known;
  int depth = 0;
};

/// All of a partition, as far as it can be read. Complains instead of failing, for negative controls.
std::map<std::uint64_t, std::string> read_partition(const log::PartitionLog& log, const Texts& topic,
                                                    std::vector<std::string>& complaints) {
  std::map<std::uint64_t, std::string> records;
  log::Reader reader{log, must(topic.files()->open_pins_holder())};
  reader.seek(log.state().log_start.load(shm::seq_cst));
  for (;;) {
    log::Run run;
    const auto progress = reader.collect(run, 1'000, accept_all);
    if (progress == log::Progress::idle) return records;
    if (progress != log::Progress::records) {
      complaints.push_back("the log cannot be read to its end");
      return records;
    }
    bool inside = run.begins_inside;  // of a committed batch
    for (std::uint64_t n = run.first; n < run.last; ++n) {
      const std::uint64_t slot = run.segment->slots[n].load(shm::acquire);
      if (log::Slot::state(slot) != log::Slot::continued) inside = log::Slot::state(slot) == log::Slot::committed;
      if (!inside) continue;
      log::FrameView view;
      const bool whole = run.segment->contains(slot) &&
                         view.parse(run.segment->data + log::Slot::position(slot), log::Slot::length(slot), 8);
      records.emplace(run.segment->base + n, whole ? std::string{view.value.text()} : "<damaged>");
    }
  }
}

class Checker {
 public:
  Checker(const std::filesystem::path& folder, std::uint64_t seed) : folder_{folder}, random_{seed} {}

  int images = 0;
  std::vector<std::string> complaints;
  int lost = 0;  // durable records that are not there

  /// Recovers the image, compares, sends on, and cuts the power again, up to two times.
  void check(Case first) {
    std::deque<Case> todo;
    todo.push_back(std::move(first));
    while (!todo.empty()) {
      recover(todo.front(), todo);
      todo.pop_front();
    }
  }

 private:
  void complain(const std::string& what) { complaints.push_back(what); }

  void recover(Case& now, std::deque<Case>& todo) {
    ++images;
    const auto path = folder_ / ("image" + std::to_string(images));
    write_image(now.image, path);
    const char other[40] = "another start of the machine";
    if (now.image.contains("ctl"))
      poke(path / "ctl", offsetof(towpath::detail::ControlHeader, boot_id), other, sizeof other);
    const bool during = now.depth < 2 && random_() % 3 == 0;
    const bool afterwards = now.depth < 2 && random_() % 3 == 0;
    std::optional<Disk> disk;  // watched where the power is to fail again
    if (during || afterwards) disk.emplace(path);
    const auto again = [&] { todo.push_back({disk->cut(random_), now.known, now.depth + 1}); };
    {
      if (during)
        disk->before_flush = [&, left = random_() % 16]() mutable {
          if (left-- == 0) again();
        };
      const FlushHook hook{[&](const FlushCall& call) { return disk ? disk->on_flush(call) : 0; }};
      auto bus = Bus::open(path.string(), by_hand());
      if (disk) disk->before_flush = nullptr;
      if (bus) {
        compare(*bus, now.known);
        go_on(*bus, now.known);
        if (afterwards) again();
      } else {
        complain("the bus does not open: " + std::string{bus.error().detail});
      }
    }
    std::filesystem::remove_all(path);
  }

  void compare(Bus& bus, Knowledge& known) {
    const auto names = must(Admin{bus}.list_topics());
    for (const auto& name : known.deleted)
      if (std::find(names.begin(), names.end(), name) != names.end()) complain("a deleted topic is there again");
    for (auto& [name, partitions] : known.topics) {
      if (name == known.changing) continue;
      if (std::find(names.begin(), names.end(), name) == names.end()) {
        for (const auto& sent : partitions) lost += static_cast<int>(sent.durable);
        complain("a topic is gone");
        continue;
      }
      auto topic = Texts::open(bus, name);
      if (!topic) {
        complain("a topic does not open: " + std::string{topic.error().detail});
        continue;
      }
      if (topic->partitions() < static_cast<std::int32_t>(partitions.size())) complain("a partition is gone");
      for (std::size_t i = 0; i < partitions.size() && static_cast<std::int32_t>(i) < topic->partitions(); ++i)
        compare(*topic, static_cast<std::int32_t>(i), partitions[i], known.pending);
    }
  }

  void compare(const Texts& topic, std::int32_t partition, Sent& sent, const std::vector<std::string>& pending) {
    const auto opened = topic.files()->partition({partition});
    if (!opened) return complain("a partition does not open");
    const auto& log = **opened;
    const auto found = read_partition(log, topic, complaints);
    const std::uint64_t start = log.state().log_start.load(shm::seq_cst);
    const std::uint64_t end = log.state().resolved_to.load(shm::seq_cst);
    if (start > sent.start) complain("the log begins later than retention had come");
    if (end < sent.durable) lost += static_cast<int>(sent.durable - end);
    if (end < sent.durable) complain("durable records were cut away");
    std::vector<std::string> more;
    for (const auto& [offset, text] : found) {
      const auto known = sent.records.find(offset);
      if (offset >= sent.next)
        more.push_back(text);
      else if (known == sent.records.end() || known->second != text)
        complain("a record is not the one that was sent");
    }
    if (!more.empty() && more != pending) complain("a record is there that was never sent, or a part of a batch");
    for (const auto& [offset, text] : sent.records)
      if (offset >= start && offset < end && !found.contains(offset)) {
        complain("a record is missing before the end");
        if (offset < sent.durable) ++lost;
      }
    if (log.uid() == 0) complain("a partition has no uid");
    // From here on what is there is what is known; an abandoned offset stays one.
    sent.records = found;
    sent.next = end, sent.start = start;
  }

  /// The log goes on after it was recovered.
  void go_on(Bus& bus, Knowledge& known) {
    for (auto& [name, partitions] : known.topics) {
      auto topic = Texts::open(bus, name, {.durability = {.kind = DurabilityKind::each}});
      if (!topic || name == known.changing) continue;
      auto opened = Producer<std::string>::open(*topic);
      if (!opened) return complain("nobody can produce afterwards");
      auto& producer = *opened;
      for (std::size_t i = 0; i < partitions.size() && static_cast<std::int32_t>(i) < topic->partitions(); ++i) {
        auto& sent = partitions[i];
        for (int n = 0; n < 3; ++n) {
          const auto text = record_text(random_(), 20 + random_() % 3'000);
          const auto done = producer.send(text, {.partition = PartitionId{static_cast<std::int32_t>(i)}});
          if (!done) return complain("nothing can be sent afterwards: " + std::string{done.error().detail});
          const auto offset = static_cast<std::uint64_t>(done->offset.value);
          if (offset < sent.next) complain("an offset was given out again");
          sent.records.emplace(offset, text);
          sent.next = offset + 1;
        }
        if (auto done = producer.flush(); !done) return complain("nothing can be flushed afterwards");
        sent.durable = log_of(*topic, static_cast<std::int32_t>(i)).state().durable_to.load(shm::seq_cst);
      }
    }
    if (auto done = bus.maintain(); !done)
      complain("the bus cannot be maintained: " + std::string{done.error().detail});
    for (auto& [name, partitions] : known.topics)
      if (auto topic = Texts::open(bus, name); topic && name != known.changing)
        for (std::size_t i = 0; i < partitions.size() && static_cast<std::int32_t>(i) < topic->partitions(); ++i)
          partitions[i].start = log_of(*topic, static_cast<std::int32_t>(i)).state().log_start.load(shm::seq_cst);
    known.pending.clear();
    known.changing.clear();
  }

  std::filesystem::path folder_;
  std::mt19937_64 random_;
};

/// A bus in use, on a disk that will lose power.
class Driver {
 public:
  Driver(const std::filesystem::path& folder, DurabilityKind kind, std::uint64_t seed, const Disk::Bugs& bugs = {})
      : path_{folder / "bus"}, kind_{kind}, random_{seed} {
    std::filesystem::create_directory(path_);
    std::filesystem::permissions(path_, std::filesystem::perms{0750});
    disk_ = std::make_unique<Disk>(path_);
    disk_->bugs = bugs;
    hook_ = std::make_unique<FlushHook>([this](const FlushCall& call) { return disk_->on_flush(call); });
    disk_->before_flush = [this] {
      note();
      if (random_() % 40 == 0) cases.push_back({disk_->cut(random_), known_, 0});
    };
    bus_.emplace(open_bus(path_.string()));
  }

  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  ~Driver() { disk_->before_flush = nullptr; }

  void make(const std::string& name) {
    known_.changing = name;
    TopicConfig config;
    config.segment_bytes = 256_KiB;
    config.retention = {.bytes = 1_MiB, .age = Duration::max()};
    config.durability = {kind_, std::chrono::milliseconds{1}};
    topics_.emplace(name, must(Texts::open(*bus_, name, config)));
    producers_.emplace(name, must(Producer<std::string>::open(topics_.at(name))));
    known_.topics.emplace(name, std::vector<Sent>(1));
    known_.changing.clear();
  }

  /// Turns checksums off behind the library's back, for a negative control. Before anything is sent.
  void turn_checksums_off(const std::string& name) {
    producers_.clear();
    topics_.clear();
    bus_.reset();
    const auto path = path_ / "topics" / name / "config";
    auto text = slurp(path);
    text.replace(text.find("checksummed=1"), 13, "checksummed=0");
    spill(path, text);
    bus_.emplace(open_bus(path_.string()));
    topics_.emplace(name, must(Texts::open(*bus_, name)));
    producers_.emplace(name, must(Producer<std::string>::open(topics_.at(name))));
    disk_ = nullptr;
    disk_ = std::make_unique<Disk>(path_);
  }

  void step() {
    const auto dice = random_() % 100;
    auto& [name, topic] = *std::next(topics_.begin(), static_cast<std::ptrdiff_t>(random_() % topics_.size()));
    auto& producer = producers_.at(name);
    auto& partitions = known_.topics.at(name);
    const auto i = static_cast<std::int32_t>(random_() % partitions.size());
    if (dice < 65)
      send(producer, i, partitions[static_cast<std::size_t>(i)]);
    else if (dice < 75)
      send_several(producer, i, partitions[static_cast<std::size_t>(i)]);
    else if (dice < 80)
      give_up(topic, i);
    else if (dice < 88)
      must(bus_->maintain());
    else if (dice < 92)
      must(producer.flush());
    else if (dice < 96)
      disk_->age();
    else if (dice < 97)
      change(name, topic);
    else
      cases.push_back({disk_->cut(random_), known_, 0});
    note();
  }

  std::vector<Case> cases;
  [[nodiscard]] const Sent& sent(const std::string& name) const { return known_.topics.at(name).front(); }

 private:
  /// Several records in one, as far as this library can: all of them are there afterwards, or none.
  template <class P>
  void send_several(P& producer, std::int32_t partition, Sent& sent) {
    if constexpr (requires(std::vector<std::string> texts) { producer.send_batch(texts, SendOptions{}); }) {
      std::vector<std::string> texts;
      for (std::uint64_t i = 0; i < 2 + random_() % 12; ++i)
        texts.push_back(record_text(++number_, 8 + random_() % 3'000));
      known_.pending = texts;
      const auto done = must(producer.send_batch(texts, {.partition = PartitionId{partition}}));
      auto offset = static_cast<std::uint64_t>(done.first.value);
      for (const auto& text : texts) sent.records.emplace(offset++, text);
      sent.next = offset;
      if (kind_ == DurabilityKind::each) sent.durable = std::max(sent.durable, offset);
      known_.pending.clear();
    } else {
      send(producer, partition, sent);
    }
  }

  void send(Producer<std::string>& producer, std::int32_t partition, Sent& sent) {
    constexpr std::size_t sizes[] = {30, 200, 2'000, 9'000, 30'000, 70'000};
    const auto text = record_text(++number_, 8 + random_() % sizes[random_() % std::size(sizes)]);
    known_.pending = {text};
    const auto done = must(producer.send(text, {.partition = PartitionId{partition}}));
    const auto offset = static_cast<std::uint64_t>(done.offset.value);
    sent.records.emplace(offset, text);
    sent.next = offset + 1;
    if (kind_ == DurabilityKind::each) sent.durable = std::max(sent.durable, offset + 1);
    known_.pending.clear();
  }

  static void give_up(Texts& topic, std::int32_t partition) {
    auto member = must(topic.bus().core()->claim(MemberKind::producer, "test"));
    log::Appender appender{log_of(topic, partition), member};
    appender.abandon(must(appender.reserve(100)));
  }

  /// A second topic comes and goes; the first gets a second partition, or other settings.
  void change(const std::string& name, const Texts& topic) {
    if (name != "first" && random_() % 2 == 0) {
      known_.changing = name;
      const std::string gone = name;
      producers_.erase(gone);
      topics_.erase(gone);
      must(Admin{*bus_}.delete_topic(gone));
      known_.topics.erase(gone);
      known_.deleted.insert(gone);
      known_.changing.clear();
    } else if (topics_.size() < 2) {
      make("topic" + std::to_string(++topics_made_));
    } else if (topic.partitions() == 1) {
      must(Admin{*bus_}.create_partitions(name, 2));
      known_.topics.at(name).resize(2);
    } else {
      auto config = must(Admin{*bus_}.describe_topic(name)).config;
      config.retention.bytes = 1_MiB + random_() % 3 * 256_KiB;
      must(Admin{*bus_}.alter_topic(name, config));
    }
  }

  /// What the words promise.
  void note() {
    for (auto& [name, partitions] : known_.topics)
      for (std::size_t i = 0; i < partitions.size() && topics_.contains(name); ++i) {
        const auto& state = log_of(topics_.at(name), static_cast<std::int32_t>(i)).state();
        partitions[i].durable = std::max(partitions[i].durable, state.durable_to.load(shm::seq_cst));
        partitions[i].start = state.log_start.load(shm::seq_cst);
      }
  }

  std::filesystem::path path_;
  DurabilityKind kind_;
  std::mt19937_64 random_;
  std::unique_ptr<Disk> disk_;
  std::unique_ptr<FlushHook> hook_;
  std::optional<Bus> bus_;
  std::map<std::string, Texts> topics_;
  std::map<std::string, Producer<std::string>> producers_;
  Knowledge known_;
  std::uint64_t number_ = 0;
  int topics_made_ = 0;
};

/// Uses buses and cuts the power until so many images were checked.
struct Outcome {
  int images = 0;
  int lost = 0;
  std::uint64_t rolled = 0;
  std::vector<std::string> complaints;
};

Outcome run(std::uint64_t seed, int images, DurabilityKind kind, const Disk::Bugs& bugs = {}, bool checksums = true) {
  Outcome outcome;
  FlushPolicy::tmpfs_is_a_disk = true;  // pages are lost by the simulation, not by what they lie on
  for (std::uint64_t round = 0; outcome.images < images; ++round) {
    TempDir dir;
    Checker checker{dir.path(), seed + round};
    std::vector<Case> cases;
    {
      Driver driver{dir.path(), kind, seed + round, bugs};
      driver.make("first");
      if (!checksums) driver.turn_checksums_off("first");
      for (int i = 0; i < 400; ++i) driver.step();
      cases = std::move(driver.cases);
      outcome.rolled += driver.sent("first").start > 0;
    }
    for (auto& one : cases) checker.check(std::move(one));
    outcome.images += checker.images;
    outcome.lost += checker.lost;
    if (outcome.complaints.empty() && !checker.complaints.empty())
      outcome.complaints.push_back("seed " + std::to_string(seed + round) + ": " + checker.complaints.front());
  }
  FlushPolicy::tmpfs_is_a_disk = false;
  return outcome;
}

#if TOWPATH_TSAN || defined(__SANITIZE_ADDRESS__)
#define TOWPATH_TEST_SLOW 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TOWPATH_TEST_SLOW 1
#endif
#endif

void expect_nothing_lost(DurabilityKind kind, std::uint64_t seed, int images) {
#ifdef TOWPATH_TEST_SLOW
  images /= 8;
#endif
  if (const char* only = std::getenv("TOWPATH_POWERCUT_SEED")) seed = std::strtoull(only, nullptr, 10);
  if (const char* many = std::getenv("TOWPATH_POWERCUT_IMAGES")) images = std::atoi(many);
  const auto outcome = run(seed, images, kind);
  const std::string first = outcome.complaints.empty() ? "" : outcome.complaints.front();
  INFO(first);
  CHECK(outcome.complaints.empty());
  CHECK(outcome.lost == 0);
  CHECK(outcome.images >= images);
  CHECK(outcome.rolled > 0);
  MESSAGE(outcome.images << " images");
}

}  // namespace

TEST_CASE("no power cut takes a record whose send returned, where each is durable") {
  expect_nothing_lost(DurabilityKind::each, 1'000, 1'000);
}

TEST_CASE("no power cut takes a record that was flushed, and what else is left is a prefix, at intervals") {
  expect_nothing_lost(DurabilityKind::interval, 2'000, 600);
}

TEST_CASE("what a power cut leaves of a topic that nobody flushes is a prefix too") {
  expect_nothing_lost(DurabilityKind::none, 3'000, 400);
}

TEST_CASE("the check finds a flush of files that does nothing") {
  Disk::Bugs bugs;
  bugs.files_are_not_flushed = true;
  const auto outcome = run(4'000, 60, DurabilityKind::each, bugs);
  CHECK(outcome.lost > 0);
}

TEST_CASE("the check finds a flush of folders that does nothing") {
  Disk::Bugs bugs;
  bugs.folders_are_not_flushed = true;
  const auto outcome = run(5'000, 60, DurabilityKind::each, bugs);
  CHECK(outcome.lost > 0);
}

TEST_CASE("the check finds a log_start that is not flushed before a segment goes") {
  Disk::Bugs bugs;
  bugs.lost_name = "state";
  const auto outcome = run(6'000, 200, DurabilityKind::each, bugs);
  CHECK(outcome.lost > 0);
}

TEST_CASE("the check finds a recovery that takes records without looking at their checksums") {
  const auto outcome = run(7'000, 100, DurabilityKind::none, {}, false);
  CHECK_FALSE(outcome.complaints.empty());
}
