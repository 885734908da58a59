// Round trips between two processes that both sleep in epoll_wait: towpath through native_handle(), and beside it the
// same 32 bytes through a pipe each way, which is what the kernel takes.
//   bench_epoll_towpath epoll_rtt --dir D        bench_epoll_raw epoll_rtt
#include <towpath/towpath.hpp>

#include <filesystem>

#include <sys/epoll.h>

#include "workload.hpp"

namespace bench {
namespace {

using namespace std::chrono_literals;
using Message = Payload<32>;

/// Level-triggered, one descriptor, as in an event loop.
class Loop {
 public:
  explicit Loop(int descriptor) : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{};
    event.events = EPOLLIN;
    require(epoll_ >= 0 && epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0, "epoll");
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop() { close(epoll_); }

  void wait() const {
    epoll_event event{};
    while (epoll_wait(epoll_, &event, 1, 10'000) != 1)
      if (errno != EINTR) fail("epoll_wait");
  }

 private:
  int epoll_;
};

/// The read end of one pipe and the write end of another; made before the fork.
struct Pipes {
  int ends[2][2];
  Pipes() { require(pipe(ends[0]) == 0 && pipe(ends[1]) == 0, "pipe"); }
};

class PipeEndpoint {
 public:
  PipeEndpoint(const Pipes& pipes, std::size_t side)
      : in_(pipes.ends[side][0]), out_(pipes.ends[1 - side][1]), loop_(in_) {}

  void send(std::uint64_t n) {
    payload_.stamp(n);
    require(write(out_, &payload_, sizeof payload_) == sizeof payload_, "write");
  }
  void receive(std::uint64_t n) {
    loop_.wait();
    Message got = payload_;
    require(read(in_, &got, sizeof got) == sizeof got, "read");
    check(got, n);
  }

 private:
  int in_, out_;
  Loop loop_;
  Message payload_ = Message::pattern();
};

class HandleEndpoint {
 public:
  HandleEndpoint(const std::string& folder, bool asks)
      : bus_(folder),
        out_(bus_, asks ? "there" : "back", live()),
        in_(bus_, asks ? "back" : "there", live()),
        producer_(out_),
        consumer_(in_, towpath::ConsumerConfig{.auto_offset_reset = towpath::OffsetReset::earliest}),
        loop_(consumer_.native_handle().value()) {}

  void send(std::uint64_t n) {
    payload_.stamp(n);
    producer_.send(payload_).value();
  }
  void receive(std::uint64_t n) {
    for (;;) {
      loop_.wait();
      const auto batch = consumer_.poll(0ms);
      if (batch.empty()) continue;
      if (batch.size() != 1) fail("more than one answer");
      for (const auto& record : batch) check(record.value(), n);
      return;
    }
  }

 private:
  static towpath::TopicConfig live() { return {.segment_bytes = 1 << 20, .retention = {.bytes = 8 << 20}}; }

  towpath::Bus bus_;
  towpath::Topic<Message> out_, in_;
  towpath::Producer<Message> producer_;
  towpath::Consumer<Message> consumer_;
  Loop loop_;
  Message payload_ = Message::pattern();
};

void epoll_rtt(const Options& options) {
  if (options.dir.empty()) fail("--dir is missing");
  const std::string folder = options.dir + "/epoll" + std::to_string(getpid());
  RoundTrips result = round_trips([&](Side& side) { return std::make_unique<HandleEndpoint>(folder, side.index == 0); },
                                  sleeping_plan(options));
  std::filesystem::remove_all(folder);
  result.print_percentile("epoll_rtt_p50", 0.50);
  result.print_percentile("epoll_rtt_p99", 0.99);
}

void epoll_rtt_raw(const Options& options) {
  const Pipes pipes;
  RoundTrips result = round_trips([&](Side& side) { return std::make_unique<PipeEndpoint>(pipes, side.index); },
                                  sleeping_plan(options));
  result.print_percentile("epoll_rtt_p50", 0.50);
  result.print_percentile("epoll_rtt_p99", 0.99);
}

}  // namespace
}  // namespace bench

int main(int count, char** arguments) {
  using namespace bench;
  return run_main(count, arguments, {{"epoll_rtt", BENCH_EPOLL_RAW ? epoll_rtt_raw : epoll_rtt}});
}
