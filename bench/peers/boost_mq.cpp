// Boost.Interprocess message_queue: a mutex, two condition variables and a heap of priorities in shared memory. Tuned:
// 1,024 messages of room, one priority (its fast path), try_send and try_receive spinning instead of sleeping.
#include <boost/interprocess/ipc/message_queue.hpp>

#include "measures.hpp"

namespace bench {
namespace {

namespace ipc = boost::interprocess;

struct BoostQueue {
  using Host = NoHost;
  static constexpr std::size_t messages = 1024;
  static constexpr bool fans_out = false;
  static constexpr bool sleeps = true;
  static constexpr std::uint64_t burst_bytes = 200'000'000;
  static RoundTripPlan plan(const Options& options) { return spinning_plan(options); }
  static std::uint64_t room(std::size_t bytes) { return bytes > 100'000 ? 8 : messages; }

  /// The queue lies in /dev/shm under a name: Boost knows no other place. The name goes at once, the mapping stays.
  class Channel {
   public:
    Channel(Host&, const char* name, std::size_t record_bytes)
        : Channel("towpath-bench-" + std::to_string(getpid()) + "-" + name, record_bytes) {}
    ipc::message_queue queue;  // both sides of the fork share it

   private:
    Channel(const std::string& name, std::size_t record_bytes)
        : queue(ipc::create_only, name.c_str(), room(record_bytes), record_bytes, ipc::permissions(0600)) {
      ipc::message_queue::remove(name.c_str());
    }
  };

  template <std::size_t N>
  class Writer {
   public:
    explicit Writer(Channel& channel) : queue_(channel.queue) {}
    void send(const Payload<N>& payload) {
      while (!queue_.try_send(&payload, N, 0)) pause();
    }

   private:
    ipc::message_queue& queue_;
  };

  template <std::size_t N>
  class Reader {
   public:
    explicit Reader(Channel& channel) : queue_(channel.queue), payload_(std::make_unique<Payload<N>>()) {}

    template <class See>
    std::size_t poll(std::size_t, See see) {
      ipc::message_queue::size_type size = 0;
      unsigned priority = 0;
      if (!queue_.try_receive(payload_.get(), N, size, priority)) return 0;
      return hand_on(size, see);
    }

    template <class See>
    std::size_t sleep(See see) {
      ipc::message_queue::size_type size = 0;
      unsigned priority = 0;
      queue_.receive(payload_.get(), N, size, priority);
      return hand_on(size, see);
    }

   private:
    template <class See>
    std::size_t hand_on(std::size_t size, See& see) {
      if (size != N) fail("a record has a wrong length");
      see(*payload_);
      return 1;
    }

    ipc::message_queue& queue_;
    std::unique_ptr<Payload<N>> payload_;
  };
};

}  // namespace
}  // namespace bench

int main(int count, char** arguments) {
  return bench::run_main(count, arguments, bench::groups_of<bench::BoostQueue>());
}
