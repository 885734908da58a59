// Aeron over aeron:ipc with its C media driver as a process of its own and its C client in ours. Tuned: one driver
// thread for all (SHARED: there are two cores), terms of 16 MiB that are not sparse, exclusive publications, try_claim
// where a record fits a frame, no bounds checks. Built twice: aeron has a driver that spins and ends that spin; in
// aeron-yield (BENCH_YIELD) driver and ends call sched_yield when they find nothing, which suits two cores better. The
// driver's processor time counts as the system's.
#include "aeronc.h"
#include "daemon.hpp"
#include "measures.hpp"

namespace bench {
namespace {

#if defined(BENCH_YIELD)
constexpr bool yields = true;
#else
constexpr bool yields = false;
#endif
constexpr int term_mebibytes = 16;

inline void idle() {
  if constexpr (yields)
    sched_yield();
  else
    pause();
}

inline void expect_aeron(bool ok, const char* what) {
  if (!ok) fail(std::string("aeron: ") + what + ": " + aeron_errmsg());
}

/// The driver and its folder.
class Driver {
 public:
  explicit Driver(const Options& options)
      : dir(options.dir + "/aeron"),
        daemon_({BENCH_AERON_DRIVER},
                {"AERON_DIR=" + dir, "AERON_DIR_DELETE_ON_START=1", "AERON_DIR_DELETE_ON_SHUTDOWN=1",
                 "AERON_THREADING_MODE=SHARED", "AERON_TERM_BUFFER_SPARSE_FILE=0",
                 "AERON_IPC_TERM_BUFFER_LENGTH=" + std::to_string(term_mebibytes << 20),
                 std::string("AERON_SHARED_IDLE_STRATEGY=") + (yields ? "yield" : "spin")}) {
    if (options.dir.empty()) fail("--dir is missing");
    daemon_.wait_until([this] { return access((dir + "/cnc.dat").c_str(), R_OK) == 0; });
  }
  pid_t daemon() const noexcept { return daemon_.pid(); }

  const std::string dir;
  std::int32_t last_stream = 1000;

 private:
  Daemon daemon_;
};

/// A client of the driver. Its conductor is a thread that mostly sleeps.
class Client {
 public:
  explicit Client(const std::string& dir) {
    expect_aeron(aeron_context_init(&context_) == 0, "context");
    expect_aeron(aeron_context_set_dir(context_, dir.c_str()) == 0, "folder");
    expect_aeron(aeron_init(&aeron_, context_) == 0, "init");
    expect_aeron(aeron_start(aeron_) == 0, "start");
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() {
    aeron_close(aeron_);
    aeron_context_close(context_);
  }
  aeron_t* get() const noexcept { return aeron_; }

 private:
  aeron_context_t* context_ = nullptr;
  aeron_t* aeron_ = nullptr;
};

/// Calls `poll` until what was asked of the driver is there.
template <class Poll>
void await_driver(Poll poll, const char* what) {
  int done;
  while ((done = poll()) == 0) sched_yield();
  expect_aeron(done > 0, what);
}

struct Aeron {
  using Host = Driver;
  static constexpr bool fans_out = true;
  static constexpr bool sleeps = false;
  static constexpr std::uint64_t burst_bytes = 1'000'000'000;
  static RoundTripPlan plan(const Options& options) { return spinning_plan(options); }
  static std::uint64_t room(std::size_t bytes) { return (term_mebibytes << 20) / 4 / (bytes + 64); }

  struct Channel {
    std::string dir;
    std::int32_t stream;
    Channel(Host& host, const char*, std::size_t) : dir(host.dir), stream(++host.last_stream) {}
  };

  template <std::size_t N>
  class Writer {
   public:
    explicit Writer(Channel& channel) : client_(channel.dir) {
      aeron_async_add_exclusive_publication_t* wish = nullptr;
      expect_aeron(aeron_async_add_exclusive_publication(&wish, client_.get(), "aeron:ipc?mtu=8k", channel.stream) == 0,
                   "publication");
      await_driver([&] { return aeron_async_add_exclusive_publication_poll(&publication_, wish); }, "publication");
    }

    void send(const Payload<N>& payload) {
      const auto* const bytes = reinterpret_cast<const std::uint8_t*>(&payload);
      std::int64_t position;
      while ((position = try_send(bytes)) < 0) {
        if (position != AERON_PUBLICATION_BACK_PRESSURED && position != AERON_PUBLICATION_ADMIN_ACTION &&
            position != AERON_PUBLICATION_NOT_CONNECTED)
          expect_aeron(false, "offer");
        idle();
      }
    }

   private:
    std::int64_t try_send(const std::uint8_t* bytes) {
      if constexpr (N > 8'000) {  // goes in fragments
        return aeron_exclusive_publication_offer(publication_, bytes, N, nullptr, nullptr);
      } else {
        aeron_buffer_claim_t claim;
        const std::int64_t position = aeron_exclusive_publication_try_claim(publication_, N, &claim);
        if (position < 0) return position;
        std::memcpy(claim.data, bytes, N);
        aeron_buffer_claim_commit(&claim);
        return position;
      }
    }

    Client client_;
    aeron_exclusive_publication_t* publication_ = nullptr;  // closed with the client
  };

  template <std::size_t N>
  class Reader {
   public:
    explicit Reader(Channel& channel) : client_(channel.dir) {
      aeron_async_add_subscription_t* wish = nullptr;
      expect_aeron(aeron_async_add_subscription(&wish, client_.get(), "aeron:ipc", channel.stream, nullptr, nullptr,
                                                nullptr, nullptr) == 0,
                   "subscription");
      await_driver([&] { return aeron_async_add_subscription_poll(&subscription_, wish); }, "subscription");
    }

    template <class See>
    std::size_t poll(std::size_t limit, See see) {
      Found<See> found{see};
      aeron_fragment_handler_t handler = Found<See>::on_message;
      void* context = &found;
      if constexpr (N > 8'000) {
        if (assembler_ == nullptr)
          expect_aeron(aeron_fragment_assembler_create(&assembler_, on_assembled, &assembled_) == 0, "assembler");
        assembled_ = {handler, context};
        handler = aeron_fragment_assembler_handler;
        context = assembler_;
      }
      const int fragments = aeron_subscription_poll(subscription_, handler, context, std::min<std::size_t>(limit, 256));
      expect_aeron(fragments >= 0, "poll");
      return found.count;
    }

    /// Spins longer than a round trip takes, then yields: the driver needs a core too.
    template <class See>
      requires(yields)
    std::size_t await(See see) {
      for (int tries = 0; tries < 80; ++tries) {
        if (const std::size_t count = poll(1, see)) return count;
        tries < 64 ? pause() : idle();
      }
      return 0;
    }

   private:
    template <class See>
    struct Found {
      See& see;
      std::size_t count = 0;
      static void on_message(void* self, const std::uint8_t* bytes, std::size_t size, aeron_header_t*) {
        if (size != N) fail("a record has a wrong length");
        auto& found = *static_cast<Found*>(self);
        found.see(*reinterpret_cast<const Payload<N>*>(bytes));
        ++found.count;
      }
    };
    struct Assembled {  // who gets a message of several fragments
      aeron_fragment_handler_t handler;
      void* context;
    };
    static void on_assembled(void* self, const std::uint8_t* bytes, std::size_t size, aeron_header_t* header) {
      const auto& to = *static_cast<Assembled*>(self);
      to.handler(to.context, bytes, size, header);
    }

    Client client_;
    aeron_subscription_t* subscription_ = nullptr;     // closed with the client
    aeron_fragment_assembler_t* assembler_ = nullptr;  // lives as long as the process
    Assembled assembled_ = {};
  };
};

}  // namespace
}  // namespace bench

int main(int count, char** arguments) { return bench::run_main(count, arguments, bench::groups_of<bench::Aeron>()); }
