// The descriptor for event loops, within one process. Across processes and kills: process/native_handle_test.
#include <consume/consume_support.hpp>

#include <atomic>
#include <set>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <unistd.h>

using namespace towpath;
using namespace towpath::test;

namespace {

struct HandleBench {
  explicit HandleBench(const TopicConfig& config = {}) : topic{bus, "topic", config} {}
  Bus bus;
  Topic<std::string> topic;
  Producer<std::string> producer{topic};
};

bool is_readable(int descriptor, std::chrono::milliseconds patience = 0ms) {
  pollfd asked{descriptor, POLLIN, 0};
  return ::poll(&asked, 1, static_cast<int>(patience.count())) == 1;
}

constexpr std::chrono::milliseconds long_enough{20'000};

/// Polls until nothing is there.
template <class T>
std::size_t drain(Consumer<T>& consumer) {
  std::size_t read = 0;
  for (;;) {
    const auto batch = consumer.poll(0ms);
    if (batch.empty() && batch.error() == Errc::ok) return read;
    read += batch.size();
  }
}

/// Nothing is there, and the handle says so. Not at once where the machine is so slow that an alarm is due by then.
template <class T>
bool settles(Consumer<T>& consumer, int handle) {
  for (int i = 0; i < 100; ++i)
    if (drain(consumer) == 0 && !is_readable(handle)) return true;
  return false;
}

std::size_t bells(const Bus& bus) {
  const auto names = bus.core()->directory().list(shm::doorbell_folder);
  return names ? names->size() : 0;
}

/// What an event loop does with it: level-triggered epoll, one batch at a time.
class Loop {
 public:
  explicit Loop(int descriptor) {
    epoll_event event{};
    event.events = EPOLLIN;
    CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) == 0);
  }
  bool wait(std::chrono::milliseconds patience) {
    epoll_event event{};
    return ::epoll_wait(epoll_.get(), &event, 1, static_cast<int>(patience.count())) == 1;
  }

 private:
  shm::FileDescriptor epoll_{::epoll_create1(EPOLL_CLOEXEC)};
};

}  // namespace

TEST_CASE("the native handle is readable while a poll may return something, and not when one found nothing") {
  HandleBench bench;
  Consumer consumer{bench.topic};
  const int handle = consumer.native_handle().value();
  CHECK(consumer.native_handle().value() == handle);
  CHECK(is_readable(handle));  // nobody has looked yet
  CHECK(settles(consumer, handle));
  for (int round = 0; round < 5; ++round) {
    send_texts(bench.producer, 0, 3);
    CHECK(is_readable(handle, long_enough));
    CHECK(consumer.poll(0ms).size() == 3);
    CHECK(is_readable(handle));
    CHECK(settles(consumer, handle));
  }
}

TEST_CASE("a loop that reads slowly never waits while records remain") {
  HandleBench bench{partitioned(3)};
  ConsumerConfig config = from(OffsetReset::earliest);
  config.max_poll_records = 1;
  Consumer consumer{bench.topic, config};
  Loop loop{consumer.native_handle().value()};
  std::size_t waited = 0;
  for (std::int32_t p = 0; p < 3; ++p) send_texts(bench.producer, 0, 30, p);
  for (int i = 0; i < 90; ++i) {
    waited += !loop.wait(0ms);
    CHECK(consumer.poll(0ms).size() == 1);
  }
  CHECK(waited == 0);
  CHECK(settles(consumer, consumer.native_handle().value()));
}

TEST_CASE("a loop that waits for another thread's records gets them all") {
  constexpr int count = 3'000;
  HandleBench bench;
  Consumer consumer{bench.topic};
  Loop loop{consumer.native_handle().value()};
  std::thread other{[&] {
    for (int i = 0; i < count; ++i) {
      send_texts(bench.producer, i, i + 1);
      if (i % 3 == 0) std::this_thread::yield();
    }
  }};
  std::vector<std::string> read;
  while (read.size() < count && loop.wait(long_enough))
    for (const auto& record : consumer.poll(0ms)) read.emplace_back(record.value());
  other.join();
  CHECK(read == numbers(0, count));
}

TEST_CASE("select sees it, too") {
  HandleBench bench;
  Consumer consumer{bench.topic};
  const int handle = consumer.native_handle().value();
  REQUIRE(handle < FD_SETSIZE);
  drain(consumer);
  const auto selected = [&](int seconds) {
    fd_set readable;
    FD_ZERO(&readable);
    FD_SET(handle, &readable);
    timeval patience{seconds, 0};
    return ::select(handle + 1, &readable, nullptr, nullptr, &patience) == 1;
  };
  CHECK(eventually(10s, [&] { return drain(consumer) == 0 && !selected(0); }));
  std::thread other{[&] { send_texts(bench.producer, 0, 1); }};
  CHECK(selected(20));
  other.join();
  CHECK(eventually(10s, [&] { return consumer.poll(0ms).size() == 1; }));
}

TEST_CASE("edge-triggered epoll is told once for each time that a poll found nothing before") {
  HandleBench bench;
  Consumer consumer{bench.topic};
  const shm::FileDescriptor epoll{::epoll_create1(EPOLL_CLOEXEC)};
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  REQUIRE(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, consumer.native_handle().value(), &event) == 0);
  const auto told = [&](std::chrono::milliseconds patience) {
    epoll_event found{};
    return ::epoll_wait(epoll.get(), &found, 1, static_cast<int>(patience.count())) == 1;
  };
  CHECK(told(0ms));
  for (int round = 0; round < 20; ++round) {
    CHECK(drain(consumer) == 0);
    send_texts(bench.producer, round, round + 1);
    REQUIRE(told(long_enough));
    CHECK(eventually(10s, [&] { return drain(consumer) == 1; }));
  }
}

TEST_CASE("wakeup from another thread makes it readable until the next poll") {
  HandleBench bench;
  Consumer consumer{bench.topic};
  const int handle = consumer.native_handle().value();
  CHECK(settles(consumer, handle));
  consumer.wakeup();
  CHECK(is_readable(handle));  // at once, not by the alarm
  for (int i = 0; i < 50; ++i) {
    drain(consumer);
    std::thread other{[&] { consumer.wakeup(); }};
    CHECK(is_readable(handle, long_enough));
    other.join();
    CHECK(settles(consumer, handle));
  }
  const auto begun = std::chrono::steady_clock::now();
  CHECK(consumer.poll(5ms, wait::Block{}).empty());  // those wakeups were answered
  CHECK(std::chrono::steady_clock::now() - begun >= 5ms);
}

TEST_CASE("whatever lets the next poll find something makes it readable: seeks, resuming, assigning, subscribing") {
  HandleBench bench{partitioned(2)};
  send_texts(bench.producer, 0, 2, 0);
  Consumer<std::string> consumer{bench.bus, [] {
                                   ConsumerConfig config = from(OffsetReset::earliest);
                                   config.topics = {"topic"};
                                   return config;
                                 }()};
  const int handle = consumer.native_handle().value();
  const auto settled = [&] { return drain(consumer), settles(consumer, handle); };
  CHECK(settled());
  consumer.seek({0}, {1}).value();
  CHECK(is_readable(handle));
  CHECK(settled());
  consumer.seek_to_beginning().value();
  CHECK(is_readable(handle));
  CHECK(settled());
  consumer.seek_to_time({}).value();
  CHECK(is_readable(handle));
  CHECK(settled());
  consumer.pause({1}).value();
  CHECK(settled());
  send_texts(bench.producer, 0, 1, 1);
  CHECK(settled());  // rung or not, there is nothing for it
  consumer.resume({1}).value();
  CHECK(is_readable(handle));
  CHECK(consumer.poll(0ms).size() == 1);
  CHECK(settled());
  consumer.assign({{0}}).value();
  CHECK(is_readable(handle));
  CHECK(settled());
  consumer.subscribe({"topic"}).value();
  CHECK(is_readable(handle));
  CHECK(drain(consumer) == 1);
}

TEST_CASE("a poll that slept on its own word, not on the handle, leaves the handle readable for what remains") {
  HandleBench bench;
  ConsumerConfig config;
  config.max_poll_records = 1;
  Consumer consumer{bench.topic, config};
  const int handle = consumer.native_handle().value();
  auto& members = *bench.bus.core()->members();
  unsigned index = 0;
  while (members.line(index).kind.load(shm::acquire) != static_cast<std::uint32_t>(shm::MemberKind::consumer)) ++index;
  auto& line = members.line(index);
  for (int round = 0; round < 5; ++round) {
    CHECK(settles(consumer, handle));
    CHECK(line.bell.load(shm::acquire) == 1);
    std::thread other{[&] {
      const bool sleeps =
          eventually(10s, [&] { return line.bell.load(shm::acquire) == 0 && (line.wake.load(shm::acquire) & 1) == 1; });
      if (sleeps) send_texts(bench.producer, 0, 3);
    }};
    CHECK(consumer.poll(stretched(20s), wait::Block{}).size() == 1);
    CHECK(is_readable(handle));
    other.join();
    std::size_t left = 2;
    while (left > 0 && is_readable(handle, long_enough)) left -= consumer.poll(0ms).size();
    CHECK(left == 0);
  }
}

TEST_CASE(
    "it stays the same when the consumer moves, works beside a poll that waits, and is closed with its consumer") {
  HandleBench bench;
  int handle = -1;
  {
    Consumer first{bench.topic};
    handle = first.native_handle().value();
    Consumer consumer{std::move(first)};
    CHECK(first.native_handle().error() == Errc::closed);
    CHECK(consumer.native_handle().value() == handle);
    CHECK(bells(bench.bus) == 1);
    drain(consumer);
    std::thread other{[&] { send_texts(bench.producer, 0, 1); }};
    CHECK(consumer.poll(stretched(20s), wait::Block{}).size() == 1);
    other.join();
    CHECK(is_readable(handle));
    CHECK(consumer.poll(1ms, wait::Block{}).empty());
    CHECK(settles(consumer, handle));
    send_texts(bench.producer, 1, 2);
    CHECK(is_readable(handle, long_enough));
    CHECK(drain(consumer) == 1);
  }
  CHECK(::fcntl(handle, F_GETFD) == -1);
  CHECK(bells(bench.bus) == 0);
}

TEST_CASE("twenty consumers of one process sleep in one loop, and each is woken by its own topic") {
  constexpr int count = 20;
  Bus bus;
  std::vector<Consumer<std::int64_t>> consumers;
  std::vector<pollfd> asked;
  for (int i = 0; i < count; ++i) {
    Topic<std::int64_t> topic{bus, "topic." + std::to_string(i)};
    consumers.emplace_back(topic);
    asked.push_back({consumers.back().native_handle().value(), POLLIN, 0});
    drain(consumers.back());
  }
  CHECK(bells(bus) == count);
  for (int i = 0; i < 3 * count; ++i) {
    const auto which = static_cast<std::size_t>(i * 7 % count);
    Topic<std::int64_t> topic{bus, "topic." + std::to_string(which)};
    Producer{topic}.send(i).value();
    CHECK(is_readable(asked[which].fd, long_enough));
    const auto batch = consumers[which].poll(0ms);
    REQUIRE(batch.size() == 1);
    CHECK((*batch.begin()).value() == i);
    drain(consumers[which]);
  }
}

TEST_CASE("a topic that comes later, and one that goes, are noticed in the loop") {
  Bus bus;
  ConsumerConfig config = from(OffsetReset::latest);
  config.topics = {"named"};
  Consumer<std::string> consumer{bus, config};
  Loop loop{consumer.native_handle().value()};
  drain(consumer);
  Topic<std::string> named{bus, "named"};
  Producer{named}.send("first").value();
  const auto in_loop = [&](const auto& found) {
    return eventually(10s, [&] { return loop.wait(long_enough) && found(consumer.poll(0ms)); });
  };
  CHECK(in_loop([](const auto& batch) { return batch.size() == 1; }));
  drain(consumer);
  Admin{bus}.delete_topic("named").value();
  CHECK(in_loop([](const auto& batch) { return batch.error() == Errc::topic_deleted; }));
}

TEST_CASE("a process that may only read looks each millisecond") {
  const TempDir dir;
  const auto path = (dir / "bus").string();
  Bus bus{path};
  Topic<std::string> topic{bus, "topic"};
  Bus reading = Bus::open(path, {.read_only = true}).value();
  auto read = Topic<std::string>::open(reading, "topic").value();
  Consumer consumer{read};
  Loop loop{consumer.native_handle().value()};
  drain(consumer);
  CHECK(bells(bus) == 0);
  Producer{topic}.send("x").value();
  CHECK(eventually(10s, [&] { return loop.wait(long_enough) && consumer.poll(0ms).size() == 1; }));
}

TEST_CASE("without a free descriptor it is too_many_files, and comes when there is one") {
  HandleBench bench;
  Consumer consumer{bench.topic};
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const int next = ::dup(0);
  for (int more = 0; more < 4; ++more) {  // at each of the descriptors that it takes
    const rlimit tight{static_cast<rlim_t>(next + more), before.rlim_max};
    if (more == 0) ::close(next);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
    const auto handle = consumer.native_handle();
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    if (handle) break;
    CHECK(handle.error() == Errc::too_many_files);
    CHECK(bells(bench.bus) == 0);
  }
  CHECK(consumer.native_handle().has_value());
  send_texts(bench.producer, 0, 1);
  CHECK(consumer.poll(stretched(5s)).size() == 1);
}
