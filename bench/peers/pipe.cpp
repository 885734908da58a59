// The kernel's pipe. Tuned: 1 MiB of room (the most an unprivileged process may ask for, against 64 KiB), both ends
// non-blocking and spinning, one write per record, and a reader that takes up to 64 KiB at once, as readers of a pipe
// do.
#include <fcntl.h>
#include <poll.h>

#include "measures.hpp"

namespace bench {
namespace {

constexpr int pipe_bytes = 1 << 20;

struct Pipe {
  using Host = NoHost;
  static constexpr bool fans_out = false;
  static constexpr bool sleeps = true;
  static constexpr std::uint64_t burst_bytes = 200'000'000;
  static RoundTripPlan plan(const Options& options) { return spinning_plan(options); }
  static std::uint64_t room(std::size_t bytes) { return pipe_bytes / 2 / bytes; }

  class Channel {
   public:
    Channel(Host&, const char*, std::size_t) {
      require(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0, "pipe");
      require(fcntl(ends[1], F_SETPIPE_SZ, pipe_bytes) >= pipe_bytes, "F_SETPIPE_SZ");
    }
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    ~Channel() {
      close(ends[0]);
      close(ends[1]);
    }
    int ends[2];
  };

  template <std::size_t N>
  class Writer {
   public:
    explicit Writer(Channel& channel) : fd_(channel.ends[1]) {}

    /// Whole at once up to 4,096 bytes (PIPE_BUF); more may take several writes.
    void send(const Payload<N>& payload) {
      const auto* bytes = reinterpret_cast<const std::byte*>(&payload);
      for (std::size_t at = 0; at < N;) {
        const ssize_t written = write(fd_, bytes + at, N - at);
        if (written >= 0)
          at += static_cast<std::size_t>(written);
        else if (errno == EAGAIN)
          pause();
        else
          require(false, "write to the pipe");
      }
    }

   private:
    int fd_;
  };

  template <std::size_t N>
  class Reader {
   public:
    explicit Reader(Channel& channel) : fd_(channel.ends[0]), buffer_(std::max<std::size_t>(64 << 10, N)) {}

    /// Hands over what one read brought, even beyond `limit`: it is in this process already.
    template <class See>
    std::size_t poll(std::size_t, See see) {
      const ssize_t got = read(fd_, buffer_.data() + filled_, buffer_.size() - filled_);
      if (got < 0 && errno == EAGAIN) return 0;
      require(got > 0, "read from the pipe");
      filled_ += static_cast<std::size_t>(got);
      std::size_t at = 0;
      for (; filled_ - at >= N; at += N) see(*reinterpret_cast<const Payload<N>*>(buffer_.data() + at));
      std::memmove(buffer_.data(), buffer_.data() + at, filled_ - at);
      filled_ -= at;
      return at / N;
    }

    template <class See>
    std::size_t sleep(See see) {
      pollfd wanted{fd_, POLLIN, 0};
      require(::poll(&wanted, 1, 10) >= 0 || errno == EINTR, "poll");
      return poll(1, see);
    }

   private:
    int fd_;
    std::vector<std::byte> buffer_;
    std::size_t filled_ = 0;
  };
};

}  // namespace
}  // namespace bench

int main(int count, char** arguments) { return bench::run_main(count, arguments, bench::groups_of<bench::Pipe>()); }
