// towpath as a system (system.hpp), for the measures that all systems take the same way. Defaults, but for what a topic
// keeps.
#pragma once

#include "endpoints.hpp"
#include "measures.hpp"

namespace bench {

struct Towpath {
  static constexpr bool fans_out = true;
  static std::uint64_t window(std::size_t record_bytes) { return kept_bytes / 4 / record_bytes; }

  struct Host {
    BusFolder folder;
    explicit Host(const Options& options) : folder(options, "shared") {}
    pid_t daemon() const noexcept { return 0; }
  };

  struct Channel {
    std::string folder, name;
    towpath::TopicConfig config;
    Channel(Host& host, const char* topic, std::size_t) : folder(host.folder.path()), name(topic) {
      config = keeping(kept_bytes);
      // Half a second in eight segments: what is retired is not the one that is being read, and memory has come round
      // before the parts that count.
      if (name == "paced") config = keeping(128_MiB), config.segment_bytes = 16_MiB;
    }
  };

  template <std::size_t N>
  class Writer {
   public:
    explicit Writer(Channel& channel)
        : bus_(channel.folder), topic_(bus_, channel.name, channel.config), producer_(topic_) {}
    void send(const Payload<N>& payload) { expect_ok(producer_.send(payload).error(), "send"); }
    void hand_over(std::uint64_t n) {
      auto loan = producer_.loan().value();
      loan->stamp(n);
      expect_ok(producer_.send(std::move(loan)).error(), "send of a loan");
    }

   private:
    towpath::Bus bus_;
    towpath::Topic<Payload<N>> topic_;
    towpath::Producer<Payload<N>> producer_;
  };

  template <std::size_t N>
  class Reader {
   public:
    explicit Reader(Channel& channel)
        : bus_(channel.folder), topic_(bus_, channel.name, channel.config), consumer_(topic_, from_the_start()) {}

    /// For latency: spins.
    template <class See>
    std::size_t await(See see) {
      return hand_on(consumer_.poll(10ms, towpath::wait::Spin{}), see);
    }
    /// For rates: one poll as a user calls it, which keeps its distance from the writer.
    template <class See>
    std::size_t gather(See see) {
      return hand_on(consumer_.poll(10ms), see);
    }

   private:
    template <class Batch, class See>
    static std::size_t hand_on(const Batch& batch, See& see) {
      expect_unbroken(batch);
      for (const auto& record : batch) see(record.value());
      return batch.size();
    }

    towpath::Bus bus_;
    towpath::Topic<Payload<N>> topic_;
    towpath::Consumer<Payload<N>> consumer_;
  };
};

}  // namespace bench
