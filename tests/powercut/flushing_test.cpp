// When records reach the disk, who flushes for whom, and what an I/O error leaves.
#include <topic/topic_support.hpp>

#include <towpath/consume/consumer.hpp>
#include <towpath/produce/producer.hpp>

#include <atomic>
#include <thread>

using namespace towpath;
using namespace towpath::test;

namespace {

using Lines = Topic<std::string>;
using LineProducer = Producer<std::string>;

/// A bus on a tmpfs that the library takes for a disk.
struct DiskBus {
  explicit DiskBus(const BusConfig& with = by_hand()) : config{with} {
    FlushPolicy::tmpfs_is_a_disk = true;
    bus.emplace(open_bus((dir / "bus").string(), config));
  }
  ~DiskBus() {
    bus.reset();
    FlushPolicy::tmpfs_is_a_disk = false;
  }
  DiskBus(const DiskBus&) = delete;
  DiskBus& operator=(const DiskBus&) = delete;
  Lines topic(DurabilityKind kind, Duration interval = std::chrono::seconds{1}) {
    return must(Lines::open(*bus, "t", {.durability = {kind, interval}}));
  }
  BusConfig config;
  TempDir dir;
  std::optional<Bus> bus;
};

std::uint64_t durable_to(const Lines& topic) { return log_of(topic).state().durable_to.load(shm::seq_cst); }

/// Counts the flushes of segments.
struct Counter {
  std::atomic<int> flushes{0};
  FlushHook hook{[this](const FlushCall& call) {
    flushes += call.kind == FlushCall::map;
    return 0;
  }};
};

std::vector<std::string> read_lines(const Lines& topic) {
  std::vector<std::string> lines;
  for (const auto& record : read_topic(topic)) lines.push_back(record.value);
  return lines;
}

}  // namespace

TEST_CASE("a send returns after a flush that covers its record, where each is durable") {
  DiskBus disk;
  auto topic = disk.topic(DurabilityKind::each);
  LineProducer producer{topic};
  std::uint64_t seen = 0;  // how much was resolved when the flush came
  const FlushHook hook{[&](const FlushCall& call) {
    if (call.kind == FlushCall::map) seen = log_of(topic).state().resolved_to.load(shm::seq_cst);
    return 0;
  }};
  for (int i = 0; i < 10; ++i) {
    const auto offset = static_cast<std::uint64_t>(producer.send("x").value().offset.value);
    CHECK(seen > offset);
    CHECK(durable_to(topic) > offset);
  }
}

TEST_CASE("without durability nothing is flushed, by whatever call") {
  DiskBus disk;
  auto topic = disk.topic(DurabilityKind::none);
  const Counter counter;
  LineProducer producer{topic};
  producer.send("x", {.visible = true}).value();
  producer.flush().value();
  must(disk.bus->maintain());
  CHECK(counter.flushes == 0);
  CHECK(durable_to(topic) == 0);
}

TEST_CASE("at intervals maintenance flushes when the interval is over, and flush() at once") {
  auto config = by_hand();
  config.clock = ManualClock::clock();
  DiskBus disk{config};
  auto topic = disk.topic(DurabilityKind::interval, std::chrono::seconds{5});
  LineProducer producer{topic};
  must(disk.bus->maintain());
  producer.send("one").value();
  must(disk.bus->maintain());
  const std::uint64_t before = durable_to(topic);
  producer.send("two").value();
  ManualClock::pass(std::chrono::seconds{4});
  must(disk.bus->maintain());
  CHECK(durable_to(topic) == before);
  ManualClock::pass(std::chrono::seconds{1});
  must(disk.bus->maintain());
  CHECK(durable_to(topic) == 2);
  producer.send("three").value();
  producer.flush().value();
  CHECK(durable_to(topic) == 3);
}

TEST_CASE("a maintenance thread flushes at intervals shorter than its own") {
  auto config = BusConfig{};
  config.maintenance_interval = std::chrono::hours{1};
  DiskBus disk{config};
  auto topic = disk.topic(DurabilityKind::interval, std::chrono::milliseconds{5});
  LineProducer producer{topic};
  log_of(topic).wake_maintenance();  // it notices the topic
  for (int i = 0; i < 3; ++i) {
    const auto offset = static_cast<std::uint64_t>(producer.send("x").value().offset.value);
    CHECK(eventually(10s, [&] {
      log_of(topic).wake_maintenance();
      return durable_to(topic) > offset;
    }));
  }
}

TEST_CASE("whoever maintains flushes once more when its bus closes") {
  DiskBus disk;
  auto topic = std::make_unique<Lines>(disk.topic(DurabilityKind::interval, std::chrono::hours{1}));
  {
    LineProducer producer{*topic};
    must(disk.bus->maintain());
    producer.send("x").value();
    must(disk.bus->maintain());
    producer.send("y").value();
  }
  topic.reset();
  disk.bus.emplace(open_bus((disk.dir / "bus").string()));
  CHECK(durable_to(disk.topic(DurabilityKind::interval)) == 2);
}

TEST_CASE("those who send while a flush runs share the next one") {
  DiskBus disk;
  auto topic = disk.topic(DurabilityKind::each);
  constexpr int others = 7;
  LineProducer{topic}.send("first").value();
  std::atomic<int> flushes{0};
  const auto& log = log_of(topic);
  const FlushHook hook{[&](const FlushCall& call) {
    if (call.kind == FlushCall::map && flushes++ == 0)  // the first waits until all others have committed
      eventually(10s, [&] {
        const auto segment = must(log.open(0, log::Use::append));
        for (std::uint64_t n = 0; n < others + 2; ++n)
          if (segment.slots[n].load(shm::acquire) == log::Slot::empty) return false;
        return true;
      });
    return 0;
  }};
  std::vector<std::thread> threads;
  std::atomic<int> sent{0};
  for (int i = 0; i <= others; ++i)
    threads.emplace_back([&] {
      LineProducer producer{topic};
      sent += producer.send("x").has_value();
    });
  for (auto& thread : threads) thread.join();
  CHECK(sent == others + 1);
  CHECK(durable_to(topic) == others + 2);
  CHECK(flushes <= 3);  // the first, one for the others, and one for whoever came in between
}

TOWPATH_ROLE("flush_and_end") {
  FlushPolicy::tmpfs_is_a_disk = true;
  auto bus = open_bus(args.at(0));
  Lines topic{bus, "t"};
  LineProducer producer{topic};
  producer.send("before").value();
  arm("flush.claimed", 1, args.at(1) == "kill" ? Action::kill : Action::stop);
  say("sending");
  producer.send("cut off").value();
  say("sent");
  return 0;
}

TEST_CASE("who dies while it flushes holds nobody up") {
  DiskBus disk;
  auto topic = disk.topic(DurabilityKind::each);
  auto child = spawn("flush_and_end", {(disk.dir / "bus").string(), "kill"});
  CHECK(child.wait(20s).signal == SIGKILL);
  CHECK((log_of(topic).state().flusher.load(shm::relaxed) & 0x7FF) != 0);
  LineProducer producer{topic};
  CHECK(producer.send("after").has_value());
  CHECK(durable_to(topic) == 3);
  CHECK(read_lines(topic) == std::vector<std::string>{"before", "cut off", "after"});
}

TEST_CASE("who stands still while it flushes is not waited for") {
  DiskBus disk;
  auto topic = disk.topic(DurabilityKind::each);
  auto child = spawn("flush_and_end", {(disk.dir / "bus").string(), "stop"});
  child.wait_stopped(20s);
  LineProducer producer{topic};
  CHECK(producer.send("after").has_value());
  CHECK(durable_to(topic) == 3);
  child.cont();
  child.wait_for("sent", 20s);
  CHECK(child.wait(20s) == exited_well);
  CHECK((log_of(topic).state().flusher.load(shm::relaxed) & 0x7FF) == 0);
}

TEST_CASE("an I/O error makes a partition read-only for good, is not tried again, and leaves the others alone") {
  DiskBus disk;
  std::optional<Lines> topic{
      must(Lines::open(*disk.bus, "t", {.partitions = 2, .durability = {DurabilityKind::each}}))};
  std::optional<LineProducer> other{*topic};
  other->send("well", {.partition = PartitionId{0}}).value();
  const auto on = [](std::int32_t i) { return SendOptions{.partition = PartitionId{i}}; };
  std::atomic<int> broken{0};
  {
    const FlushHook hook{[&](const FlushCall& call) { return call.kind == FlushCall::map ? ++broken, EIO : 0; }};
    LineProducer producer{*topic};
    CHECK(producer.send("perhaps lost", on(0)).error() == Errc::partition_failed);
    CHECK(broken == 1);
    CHECK(producer.send("refused", on(0)).error() == Errc::partition_failed);
    CHECK(producer.flush().error() == Errc::partition_failed);
    CHECK(other->send("refused", on(0)).error() == Errc::partition_failed);
    CHECK(broken == 1);
  }
  // The disk is well again, and yet: what it dropped nobody knows.
  CHECK(other->send("refused", on(0)).error() == Errc::partition_failed);
  CHECK(other->send("well", on(1)).has_value());
  CHECK(disk.bus->maintain().error() == Errc::partition_failed);
  CHECK(read_lines(*topic) == std::vector<std::string>{"well", "perhaps lost"});
  CHECK(Admin{*disk.bus}.list_topics().has_value());
  other.reset();
  topic.reset();
  disk.bus.emplace(open_bus((disk.dir / "bus").string()));
  topic.emplace(disk.topic(DurabilityKind::each));
  CHECK(LineProducer{*topic}.send("refused", on(0)).error() == Errc::partition_failed);
  CHECK(read_lines(*topic).size() == 2);
}

TEST_CASE("a partition that fails with nothing in its active segment takes nothing either") {
  DiskBus disk;
  auto topic = disk.topic(DurabilityKind::interval);
  LineProducer producer{topic};
  producer.send("x").value();
  auto member = must(disk.bus->core()->claim(MemberKind::producer, "roll"));
  must(log::Appender{log_of(topic), member}.roll());
  log::fail_partition(log_of(topic));
  CHECK(disk.bus->maintain().error() == Errc::partition_failed);  // it closes the segment
  CHECK(producer.send("refused").error() == Errc::partition_failed);
  CHECK(read_lines(topic).size() == 1);
}

namespace {

/// An ext4 on a file that has no room for all that it promises: writing to it meets real I/O errors.
class BadDisk {
 public:
  explicit BadDisk(const TempDir& dir) : room_{dir / "room"}, at_{dir / "mounted"} {
    std::filesystem::create_directory(room_);
    std::filesystem::create_directory(at_);
    const auto image = (room_ / "image").string();
    is_there_ = run("mount -t tmpfs -o size=24m none " + room_.string()) && run("truncate -s 96M " + image) &&
                run("mkfs.ext4 -q -F -E lazy_itable_init=0,nodiscard " + image) &&
                run("mount -o loop " + image + " " + at_.string());
  }
  ~BadDisk() {
    run("umount " + at_.string());
    run("umount " + room_.string());
  }
  BadDisk(const BadDisk&) = delete;
  BadDisk& operator=(const BadDisk&) = delete;
  explicit operator bool() const { return is_there_; }
  const std::filesystem::path& path() const { return at_; }

 private:
  static bool run(const std::string& command) {
    return std::system(("PATH=$PATH:/usr/sbin:/sbin; " + command + " >/dev/null 2>&1").c_str()) == 0;
  }
  std::filesystem::path room_;
  std::filesystem::path at_;
  bool is_there_ = false;
};

}  // namespace

TEST_CASE("a real disk that cannot write makes the partition fail, and what was acknowledged can be read") {
  TempDir dir = TempDir::on_disk();
  const BadDisk bad{dir};
  if (!bad) {
    MESSAGE("skipped: no loop device can be mounted here");
    return;
  }
  auto bus = open_bus((bad.path() / "bus").string());
  Lines topic{bus, "t", {.segment_bytes = 8_MiB, .durability = {DurabilityKind::each}}};
  LineProducer producer{topic};
  std::uint64_t sent = 0;
  Errc why = Errc::ok;
  for (; sent < 90 && why == Errc::ok; ++sent) why = producer.send(record_text(sent, 1'000'000)).error().code;
  CHECK(why == Errc::partition_failed);
  CHECK(producer.send("refused").error() == Errc::partition_failed);
  const auto records = read_topic(topic);
  CHECK(records.size() >= sent - 1);
  CHECK(check_sequence(records, 0) >= sent - 1);
}

TEST_CASE("maintenance exports what the words say, in Kafka's form") {
  DiskBus disk;
  const auto text = [&](const char* name) { return slurp(disk.dir / "bus" / name); };
  {
    auto topic = must(Lines::open(*disk.bus, "t", {.partitions = 2, .durability = {DurabilityKind::each}}));
    LineProducer producer{topic};
    for (int i = 0; i < 3; ++i) producer.send("x", {.partition = PartitionId{1}}).value();
    must(disk.bus->maintain());
    disk.bus.reset();
  }
  const auto lines = [](std::string whole) {
    std::set<std::string> set;
    for (std::size_t at; (at = whole.find('\n')) != std::string::npos; whole.erase(0, at + 1))
      set.insert(whole.substr(0, at));
    return set;
  };
  CHECK(text("recovery-point-offset-checkpoint").starts_with("0\n2\n"));
  CHECK(lines(text("recovery-point-offset-checkpoint")) == std::set<std::string>{"0", "2", "t 0 0", "t 1 3"});
  CHECK(lines(text("replication-offset-checkpoint")) == std::set<std::string>{"0", "2", "t 0 0", "t 1 3"});
  CHECK(text("log-start-offset-checkpoint") == "0\n0\n");
  CHECK(text("cleaner-offset-checkpoint") == "0\n0\n");
}
