// ZeroMQ over ipc:// (a Unix socket), PUSH to PULL, which loses nothing: the sender is refused at the high-water mark.
// Tuned: marks of 10,000 messages on both sides (against 1,000), one I/O thread in each process. Who has nothing to do
// sleeps: with four threads on two cores a process that spins takes the core from the I/O threads, and a round trip
// then takes milliseconds. Small messages are batched by the I/O threads themselves.
#include <zmq.h>

#include "measures.hpp"

namespace bench {
namespace {

constexpr int high_water = 10'000;

inline void expect_zmq(bool ok, const char* what) {
  if (!ok) fail(std::string(what) + ": " + zmq_strerror(zmq_errno()));
}

/// One socket with a context of its own: contexts do not survive a fork.
class Socket {
 public:
  Socket(int type, const std::string& address) : context_(zmq_ctx_new()), socket_(zmq_socket(context_, type)) {
    expect_zmq(socket_ != nullptr, "zmq_socket");
    set(ZMQ_LINGER, 0);
    set(ZMQ_SNDHWM, high_water);
    set(ZMQ_RCVHWM, high_water);
    set(ZMQ_RCVTIMEO, 10);      // ms
    set(ZMQ_RECONNECT_IVL, 1);  // ms: the other side may still be starting
    if (type == ZMQ_PULL)
      expect_zmq(zmq_bind(socket_, address.c_str()) == 0, "zmq_bind");
    else
      expect_zmq(zmq_connect(socket_, address.c_str()) == 0, "zmq_connect");
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }

  void send(const void* data, std::size_t size) {
    while (zmq_send(socket_, data, size, 0) < 0) expect_zmq(zmq_errno() == EINTR, "zmq_send");
  }
  /// The message's true size, or -1 if there is none; `flags` 0 waits 10 ms for it, ZMQ_DONTWAIT does not.
  int receive(void* data, std::size_t size, int flags) {
    const int received = zmq_recv(socket_, data, size, flags);
    expect_zmq(received >= 0 || zmq_errno() == EAGAIN || zmq_errno() == EINTR, "zmq_recv");
    return received;
  }

 private:
  void set(int option, int value) {
    expect_zmq(zmq_setsockopt(socket_, option, &value, sizeof value) == 0, "zmq_setsockopt");
  }

  void* context_;
  void* socket_;
};

struct Zmq {
  using Host = NoHost;
  static constexpr bool fans_out = false;
  static constexpr bool sleeps = true;
  static constexpr std::uint64_t burst_bytes = 400'000'000;
  static RoundTripPlan plan(const Options& options) {
    return {.parts = options.quick ? 8ULL : 40ULL, .rounds = 1'000, .warm = 10};
  }
  static std::uint64_t room(std::size_t) { return high_water / 2; }

  struct Channel {
    std::string address;
    Channel(Host& host, const char* name, std::size_t) : address("ipc://" + host.dir + "/" + name) {}
  };

  template <std::size_t N>
  class Writer {
   public:
    explicit Writer(Channel& channel) : socket_(ZMQ_PUSH, channel.address) {}
    void send(const Payload<N>& payload) { socket_.send(&payload, N); }

   private:
    Socket socket_;
  };

  template <std::size_t N>
  class Reader {
   public:
    explicit Reader(Channel& channel) : socket_(ZMQ_PULL, channel.address), payload_(std::make_unique<Payload<N>>()) {}

    template <class See>
    std::size_t poll(std::size_t, See see) {
      return take(see, ZMQ_DONTWAIT);
    }
    template <class See>
    std::size_t await(See see) {
      return take(see, 0);
    }
    template <class See>
    std::size_t sleep(See see) {
      return take(see, 0);
    }

   private:
    template <class See>
    std::size_t take(See& see, int flags) {
      const int size = socket_.receive(payload_.get(), N, flags);
      if (size < 0) return 0;
      if (size != static_cast<int>(N)) fail("a record has a wrong length");
      see(*payload_);
      return 1;
    }

    Socket socket_;
    std::unique_ptr<Payload<N>> payload_;
  };
};

}  // namespace
}  // namespace bench

int main(int count, char** arguments) { return bench::run_main(count, arguments, bench::groups_of<bench::Zmq>()); }
