// iceoryx (classic) with its daemon RouDi, started for the run and ended after it; there can be one per machine. Tuned:
// 256 records wait for a reader (the most that Debian's build allows), a full queue blocks the writer (lossless), no
// history, untyped loans in shared memory (a typed one
// is zeroed first), a reader that takes and spins. RouDi keeps its default pools of memory; its
// processor time counts as the system's.
#include <pwd.h>

#include <filesystem>

#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/subscriber.hpp>
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>

#include "daemon.hpp"
#include "leftovers.hpp"
#include "measures.hpp"

namespace bench {
namespace {

/// RouDi. It is ended by SIGKILL: at an orderly end it would kill whoever is registered, which is this process, and at
/// any end names remain, so they are removed here.
class Broker {
 public:
  explicit Broker(const Options&)
      : daemon_(std::make_unique<Daemon>(
            std::vector<std::string>{"iox-roudi", "--log-level", "error", "--monitoring-mode", "off"},
            std::vector<std::string>{}, SIGKILL)) {
    prefix() = "towpath-bench-" + std::to_string(getpid()) + "-";
    usleep(200'000);  // if there is a RouDi already, this one notices and ends
    daemon_->wait_until([] { return access("/tmp/roudi", F_OK) == 0; });  // the socket at which it can be asked
  }
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;
  ~Broker() {
    daemon_.reset();
    remove_leftovers("/tmp", "towpath-bench-");
    for (const char* name : {"/tmp/roudi", "/tmp/roudi.lock", "/tmp/iox-unique-roudi.lock", "/dev/shm/iceoryx_mgmt"})
      std::filesystem::remove(name);
    const passwd* const user = getpwuid(geteuid());  // RouDi calls the payload's memory after its user
    if (user != nullptr) std::filesystem::remove(std::string("/dev/shm/") + user->pw_name);
  }
  pid_t daemon() const noexcept { return daemon_->pid(); }

  /// Of the names of all processes of this run.
  static std::string& prefix() {
    static std::string text;
    return text;
  }

 private:
  std::unique_ptr<Daemon> daemon_;
};

/// Registers this process once.
inline void join() {
  static const bool joined = [] {
    iox::log::LogManager::GetLogManager().SetDefaultLogLevel(iox::log::LogLevel::kError,
                                                             iox::log::LogLevelOutput::kHideLogLevel);
    const std::string name = Broker::prefix() + std::to_string(getpid());
    iox::runtime::PoshRuntime::initRuntime(iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name.c_str()));
    return true;
  }();
  (void)joined;
}

struct Iceoryx {
  using Host = Broker;
  static constexpr std::size_t waiting = 256;
  static constexpr bool fans_out = false;  // a writer cannot tell when all three readers are connected
  static constexpr bool sleeps = false;
  static constexpr std::uint64_t burst_bytes = 100'000'000;
  static RoundTripPlan plan(const Options& options) { return spinning_plan(options); }
  static std::uint64_t room(std::size_t) { return waiting; }

  struct Channel {
    iox::capro::ServiceDescription service;
    Channel(Host&, const char* name, std::size_t)
        : service("towpath", "bench", iox::capro::IdString_t(iox::cxx::TruncateToCapacity, name)) {}
  };

  template <std::size_t N>
  class Writer {
   public:
    explicit Writer(Channel& channel) {
      join();
      iox::popo::PublisherOptions options;
      options.historyCapacity = 0;
      options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
      publisher_ = std::make_unique<iox::popo::UntypedPublisher>(channel.service, options);
    }

    void send(const Payload<N>& payload) {
      fill_and_send([&payload](Payload<N>& room) { room = payload; });
    }
    void hand_over(std::uint64_t n) {
      fill_and_send([n](Payload<N>& room) { room.stamp(n); });
    }

   private:
    template <class Fill>
    void fill_and_send(Fill fill) {
      while (!connected_) connected_ = publisher_->hasSubscribers();  // RouDi connects both ends within 100 ms
      auto loan = publisher_->loan(N, alignof(Payload<N>));
      if (loan.has_error()) fail("iceoryx: no memory to loan");
      fill(*static_cast<Payload<N>*>(loan.value()));
      publisher_->publish(loan.value());
    }

    std::unique_ptr<iox::popo::UntypedPublisher> publisher_;
    bool connected_ = false;
  };

  template <std::size_t N>
  class Reader {
   public:
    explicit Reader(Channel& channel) {
      join();
      iox::popo::SubscriberOptions options;
      options.queueCapacity = waiting;
      options.historyRequest = 0;
      options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
      subscriber_ = std::make_unique<iox::popo::Subscriber<Payload<N>>>(channel.service, options);
    }

    template <class See>
    std::size_t poll(std::size_t, See see) {
      auto taken = subscriber_->take();
      if (taken.has_error()) {
        if (taken.get_error() != iox::popo::ChunkReceiveResult::NO_CHUNK_AVAILABLE) fail("iceoryx: take");
        return 0;
      }
      see(*taken.value());
      return 1;
    }

   private:
    std::unique_ptr<iox::popo::Subscriber<Payload<N>>> subscriber_;
  };
};

}  // namespace
}  // namespace bench

/// Leaves by _exit: destructors at exit would look for RouDi, which has ended.
int main(int count, char** arguments) {
  const int status = bench::run_main(count, arguments, bench::groups_of<bench::Iceoryx>());
  std::fflush(stdout);
  _exit(status);
}
