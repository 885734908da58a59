// A consumer in an event loop: Asio waits for its native handle, so a coroutine reads one topic after the other's
// records without a thread of its own. epoll, poll and select take the handle as well.
#include <fmt/core.h>

#include <utility>  // Boost 1.74's awaitable.hpp forgets it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <towpath/towpath.hpp>

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

// [next]
/// The next records, whenever they come; the thread does other things meanwhile.
template <class T>
asio::awaitable<towpath::Batch<T>> next(towpath::Consumer<T>& consumer, asio::posix::stream_descriptor& readable) {
  for (;;) {
    auto batch = consumer.poll(0ms);  // an empty batch: now the handle is not readable until there may be more
    if (!batch.empty()) co_return batch;
    if (const auto failure = batch.error(); failure.code != towpath::Errc::ok) throw towpath::Error{failure};
    co_await readable.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
  }
}
// [/next]

// [listen]
asio::awaitable<void> listen(towpath::Topic<std::string> topic, int records) {
  towpath::Consumer consumer{topic};
  // Asio closes what it is given, and the handle is the consumer's: so it gets a copy.
  asio::posix::stream_descriptor readable{co_await asio::this_coro::executor, ::dup(consumer.native_handle().value())};
  while (records > 0)
    for (auto batch = co_await next(consumer, readable); const auto& record : batch) {
      fmt::print("{} heard \"{}\"\n", topic.name(), record.value());
      --records;
    }
}
// [/listen]

asio::awaitable<void> speak(towpath::Topic<std::string> left, towpath::Topic<std::string> right) {
  towpath::Producer to_left{left};
  towpath::Producer to_right{right};
  asio::steady_timer timer{co_await asio::this_coro::executor};
  for (const char* what : {"one", "two", "three"}) {
    for (auto* producer : {&to_left, &to_right}) {
      timer.expires_after(10ms);
      co_await timer.async_wait(asio::use_awaitable);
      producer->send(what).value();
    }
  }
}

}  // namespace

int main() {
  towpath::Bus bus;
  towpath::Topic<std::string> left{bus, "left"};
  towpath::Topic<std::string> right{bus, "right"};
  asio::io_context loop{1};                              // one thread for all of it
  const auto rethrow = [](std::exception_ptr failure) {  // out of loop.run()
    if (failure) std::rethrow_exception(failure);
  };
  asio::co_spawn(loop, listen(left, 3), rethrow);
  asio::co_spawn(loop, listen(right, 3), rethrow);
  asio::co_spawn(loop, speak(left, right), rethrow);
  loop.run();
  fmt::print("everybody was heard\n");
}
