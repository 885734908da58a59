// How to wait for the next record is an argument of poll. Another thread can end the wait.
#include <fmt/core.h>

#include <towpath/towpath.hpp>

using namespace std::chrono_literals;

int main() {
  towpath::Bus bus;
  towpath::Topic<std::int64_t> ticks{bus, "ticks"};
  towpath::Producer producer{ticks};
  towpath::Consumer consumer{ticks};

  const auto show = [](const char* how, const auto& batch) {
    for (const auto& record : batch) fmt::print("{}: tick {}\n", how, record.value());
  };

  // [waiting]
  producer.send(1).value();
  show("spinning", consumer.poll(1s, towpath::wait::Spin{}));  // burns a core, answers fastest
  producer.send(2).value();
  show("backing off", consumer.poll(1s));  // spins for a moment, then sleeps: the default
  producer.send(3).value();
  show("sleeping", consumer.poll(1s, towpath::wait::Block{}));  // sleeps at once, the producer wakes it
  // [/waiting]

  // [run]
  std::atomic<bool> handled = false;
  std::jthread reader{[&](std::stop_token stop) {
    const auto handle = [&](const auto& record) {
      fmt::print("in its own thread: tick {}\n", record.value());
      handled = true;
      handled.notify_one();
    };
    consumer.run(stop, handle).value();
  }};
  producer.send(4).value();
  handled.wait(false);
  reader.request_stop();  // ends the wait inside run()
  // [/run]
  reader.join();
  fmt::print("stopped\n");
}
