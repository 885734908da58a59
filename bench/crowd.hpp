// More than two processes on two cores: the one on the single side has the first core for itself, the others share the
// second. A writer stays at most a window ahead of the slowest reader.
#pragma once

#include "system.hpp"

namespace bench {

/// What the processes share. Each word has its line to itself.
struct CrowdPage {
  static constexpr std::size_t most = 4;
  SharedPage::Line arrived;
  SharedPage::Line consumed[most];  // two writers: of each writer's records; three readers: by each reader
  SharedPage::Line produced[most];  // by each writer once it is through, with detail::over set
  SharedPage::Line took_ns[most];   // each reader's time
};

/// A process of a crowd.
struct Member {
  CrowdPage& page;
  std::size_t index, count;
  std::uint64_t meetings = 0;

  void meet_others() {
    ++meetings;
    page.arrived.word.fetch_add(1, std::memory_order_acq_rel);
    while (page.arrived.word.load(std::memory_order_acquire) < count * meetings) sched_yield();
  }
};

/// Runs `work(Member&)` in `count` processes, of which this is number 0. Ends the program if any fails.
template <class Work>
void run_crowd(CrowdPage& page, std::size_t count, Work&& work) {
  std::vector<pid_t> children;
  for (std::size_t index = 1; index < count; ++index)
    children.push_back(detail::start_process([&] {
      Member member{page, index, count};
      work(member);
    }));
  Member member{page, 0, count};
  work(member);
  for (const pid_t child : children) detail::wait_for_process(child);
  unpin();
}

namespace detail {

/// Number n of writer w, as it stands in a record.
constexpr std::uint64_t number_of(std::size_t writer, std::uint64_t n) {
  return n | static_cast<std::uint64_t>(writer) << 56;
}

/// Sends for `length_ns`. `slowest()` says how far the slowest reader is.
template <class System, class Slowest>
void write_in_crowd(Member& member, NumberedWriter<System, 100>& writer, std::size_t number, double length_ns,
                    Slowest slowest) {
  const std::uint64_t window = window_of<System>(100), start = ticks();
  std::uint64_t sent = 0;
  for (; sent % 256 != 0 || nanoseconds(ticks() - start) < length_ns; ++sent) {
    if (sent % 256 == 0)
      while (sent - slowest() > window) sched_yield();
    writer.send(number_of(number, sent));
  }
  member.page.produced[number].word.store(sent | over, std::memory_order_release);
}

inline bool is_end(const CrowdPage& page, std::size_t writer, std::uint64_t next) {
  return page.produced[writer].word.load(std::memory_order_acquire) == (next | over);
}

inline double crowd_length_ns(const Options& options) { return options.quick ? 3e8 : 2e9; }

}  // namespace detail

/// Two writers, one reader that checks the order of each writer's records. Prints the sum and the slower writer's rate.
template <class System>
void measure_two_to_one(const Options& options, const char* measure) {
  typename System::Host host(options);
  typename System::Channel channel(host, "stream", 100);
  SharedMemory memory(sizeof(CrowdPage));
  auto& page = *new (memory.data()) CrowdPage;
  std::uint64_t next[2] = {};
  double seconds_taken = 0;
  const auto read = [&](Member& member) {
    NumberedReader<System, 100> reader(channel);
    member.meet_others();
    pin(0);
    member.meet_others();
    const std::uint64_t start = ticks();
    while (!detail::is_end(page, 0, next[0]) || !detail::is_end(page, 1, next[1])) {
      reader.drain_any([&](std::uint64_t number) {
        const std::size_t writer = number >> 56;
        return writer < 2 ? detail::number_of(writer, next[writer]++) : ~number;
      });
      for (std::size_t writer = 0; writer < 2; ++writer)
        page.consumed[writer].word.store(next[writer], std::memory_order_release);
    }
    seconds_taken = seconds(ticks() - start);
  };
  run_crowd(page, 3, [&](Member& member) {
    if (member.index == 0) return read(member);
    member.meet_others();
    const std::size_t number = member.index - 1;
    NumberedWriter<System, 100> writer(channel);
    pin(1);
    member.meet_others();
    detail::write_in_crowd<System>(member, writer, number, detail::crowd_length_ns(options),
                                   [&] { return page.consumed[number].word.load(std::memory_order_acquire); });
    while (page.consumed[number].word.load(std::memory_order_acquire) !=
           (page.produced[number].word.load(std::memory_order_acquire) & ~detail::over))
      sched_yield();  // some systems drop what a writer that ends has not handed over
  });
  print(measure, static_cast<double>(next[0] + next[1]) / seconds_taken, "records/s");
  print(std::string(measure) + "_each", static_cast<double>(std::min(next[0], next[1])) / seconds_taken, "records/s");
}

/// One writer, three readers that all see everything. Prints what they read together, and the slowest reader's rate.
template <class System>
void measure_one_to_three(const Options& options, const char* measure) {
  typename System::Host host(options);
  typename System::Channel channel(host, "stream", 100);
  SharedMemory memory(sizeof(CrowdPage));
  auto& page = *new (memory.data()) CrowdPage;
  const auto slowest = [&page] {
    std::uint64_t least = ~std::uint64_t{0};
    for (std::size_t reader = 1; reader < 4; ++reader)
      least = std::min(least, page.consumed[reader].word.load(std::memory_order_acquire));
    return least;
  };
  run_crowd(page, 4, [&](Member& member) {
    if (member.index == 0) {
      NumberedWriter<System, 100> writer(channel);
      member.meet_others();  // the readers open what the writer made
      member.meet_others();
      pin(0);
      detail::write_in_crowd<System>(member, writer, 0, detail::crowd_length_ns(options), slowest);
      while (slowest() != (page.produced[0].word.load(std::memory_order_acquire) & ~detail::over)) sched_yield();
      return;
    }
    member.meet_others();
    NumberedReader<System, 100> reader(channel);
    pin(1);
    member.meet_others();
    const std::uint64_t start = ticks();
    for (std::uint64_t next = 0; !detail::is_end(page, 0, next);) {
      const std::uint64_t before = next;
      next = reader.drain(next);
      page.consumed[member.index].word.store(next, std::memory_order_release);
      if (next == before) sched_yield();
    }
    page.took_ns[member.index].word.store(static_cast<std::uint64_t>(nanoseconds(ticks() - start)));
  });
  const auto records = static_cast<double>(page.consumed[1].word.load());
  double sum = 0, least = 1e300;
  for (std::size_t reader = 1; reader < 4; ++reader) {
    const double rate_of_one = records * 1e9 / static_cast<double>(page.took_ns[reader].word.load());
    sum += rate_of_one, least = std::min(least, rate_of_one);
  }
  print(measure, sum, "records/s");
  print(std::string(measure) + "_each", least, "records/s");
}

}  // namespace bench
