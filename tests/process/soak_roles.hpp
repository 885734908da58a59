// What the processes of the soak do until they are killed.
#pragma once

#include <random>
#include <thread>
#include <vector>

#include <towpath/towpath.hpp>

#include "soak_ledger.hpp"

namespace towpath::test {

inline constexpr Duration soak_grace{std::chrono::milliseconds{5}};

inline Result<Bus> open_soak_bus(const char* path, bool maintains) {
  BusConfig config;
  config.maintenance = maintains ? MaintenanceMode::thread : MaintenanceMode::manual;
  config.maintenance_interval = std::chrono::milliseconds{20};
  return Bus::open(path, config);
}

/// Small segments, so that rolls, retirements and recycling happen all the time.
inline Result<Topic<Bytes>> open_soak_topic(Bus& bus) {
  using namespace literals;
  TopicConfig config;
  config.partitions = soak_partitions;
  config.segment_bytes = 256_KiB;
  config.max_message_bytes = 200_KiB;
  config.retention.bytes = 8_MiB;
  config.grace = soak_grace;
  return Topic<Bytes>::open(bus, "soak", config);
}

/// Sends bursts of all kinds of records until it is killed. Returns only when something is wrong.
class SoakProducer {
 public:
  SoakProducer(Ledger& ledger, unsigned id, Producer<Bytes>& producer)
      : ledger_{ledger}, life_{ledger.lives[id]}, id_{id}, producer_{producer}, random_{id}, buffer_(150 * 1024) {}

  void run() {
    while (begun_ < max_sends) {
      for (auto left = 1 + random_() % 200; left > 0 && begun_ < max_sends; --left)
        if (!send()) return;
      for (int naps = 0; naps < 100 && is_far_ahead(); ++naps) std::this_thread::sleep_for(std::chrono::microseconds{200});
      if (random_() % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds{random_() % 1'500});
    }
    for (;;) ::pause();
  }

 private:
  std::size_t any_size() {
    const auto kind = random_() % 256;
    if (kind == 0) return (8'300 + random_() % 9'000) * 8;  // over 64 KiB: reserved by compare-and-swap
    if (kind < 20) return (3 + random_() % 1'000) * 8;
    return (2 + random_() % 40) * 8;
  }

  SendOptions any_options(std::span<const Header> headers) {
    SendOptions options;
    const auto kind = random_() % 8;
    if (kind < 3) options.key = Key{random_() % 100};
    if (kind == 3) options.partition = PartitionId{static_cast<std::int32_t>(random_() % soak_partitions)};
    if (kind == 4) options.key = "a key in words", options.headers = Headers{headers};
    options.visible = random_() % 1'000 == 0;
    return options;
  }

  bool send() {
    std::uint64_t before[soak_partitions];
    for (unsigned p = 0; p < soak_partitions; ++p) before[p] = ledger_.acknowledged_to[p].load();
    const auto size = any_size();
    const Header header{"source", Bytes{std::string_view{"soak"}}};
    const auto options = any_options({&header, 1});
    life_.begun.store(++begun_);
    const auto kind = random_() % 16;
    if (kind == 0) return drop_loan(size, options);
    const auto sent = kind < 5 ? send_loan(size, options) : send_value(size, options);
    if (!sent) return complain(sent.error());
    return note(*sent, before);
  }

  Result<RecordMetadata> send_value(std::size_t size, const SendOptions& options) {
    const std::span<std::byte> bytes{buffer_.data(), size};
    Payload::fill(bytes, id_, begun_);
    return producer_.send(Bytes{bytes}, options);
  }

  Result<RecordMetadata> send_loan(std::size_t size, const SendOptions& options) {
    auto loan = producer_.loan(size, options);
    if (!loan) return loan.error();
    Payload::fill(loan->bytes(), id_, begun_);
    return producer_.send(std::move(*loan));
  }

  bool drop_loan(std::size_t size, const SendOptions& options) {
    life_.places[begun_ - 1].store(Place::given_up);
    auto loan = producer_.loan(size, options);
    if (!loan) return complain(loan.error());
    Payload::fill(loan->bytes(), id_, begun_);
    return true;
  }

  bool note(const RecordMetadata& sent, const std::uint64_t* before) {
    const auto partition = static_cast<unsigned>(sent.partition.value);
    const auto offset = static_cast<std::uint64_t>(sent.offset.value);
    life_.places[begun_ - 1].store(Place::make(partition, offset));
    if (offset < before[partition])
      ledger_.complain("life %u: offset %llu after %llu was acknowledged", id_, static_cast<unsigned long long>(offset),
                       static_cast<unsigned long long>(before[partition] - 1));
    auto& to = ledger_.acknowledged_to[partition];
    for (std::uint64_t seen = to.load(); seen < offset + 1 && !to.compare_exchange_weak(seen, offset + 1);) continue;
    return true;
  }

  bool complain(const Failure& failure) {
    ledger_.complain("life %u: send %llu: %s %s", id_, static_cast<unsigned long long>(begun_),
                     name(failure.code).data(), failure.detail);
    return false;
  }

  bool is_far_ahead() const {
    for (unsigned p = 0; p < soak_partitions; ++p)
      if (ledger_.acknowledged_to[p].load() > ledger_.read_to[p].load() + 4'000) return true;
    return false;
  }

  Ledger& ledger_;
  Life& life_;
  unsigned id_;
  Producer<Bytes>& producer_;
  std::mt19937_64 random_;
  std::vector<std::byte> buffer_;
  std::uint64_t begun_ = 0;
};

/// Reads on from what its stream holds, and writes down what it sees.
class SoakReader {
 public:
  SoakReader(Ledger& ledger, unsigned stream, Consumer<Bytes>& consumer)
      : ledger_{ledger}, stream_{ledger.streams[stream]}, index_{stream}, consumer_{consumer} {
    for (std::uint64_t i = 0; i < stream_.count.load(); ++i) {
      const Entry& entry = stream_.entries[i];
      next_[Place::partition(entry.place)] = Place::offset(entry.place) + (entry.sequence == 0 ? entry.life : 1u);
    }
    for (unsigned p = 0; p < soak_partitions; ++p)
      consumer_.seek({static_cast<std::int32_t>(p)}, {static_cast<std::int64_t>(next_[p])}).ignore();
  }

  /// Until it is killed; the second reader dawdles, so that retention overtakes it now and then.
  void run() {
    std::minstd_rand random{static_cast<unsigned>(::getpid())};
    for (;;) {
      const auto how = random() % 3;
      auto batch = how == 0   ? consumer_.poll(Duration{2'000'000}, wait::Spin{})
                   : how == 1 ? consumer_.poll(Duration{20'000'000}, wait::Block{})
                              : consumer_.poll(Duration{20'000'000});
      if (!note(batch)) return;
      if (index_ == 1 && random() % 64 == 0) {  // a held batch pins its segment
        batch = {};
        std::this_thread::sleep_for(std::chrono::milliseconds{random() % 60});
      } else if (random() % 64 == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds{random() % 3});
        recheck(batch);
      }
    }
  }

  /// To the end of a log that nobody writes any more. Complains if that is not where the end is said to be.
  void drain() {
    for (int quiet = 0; quiet < 4;) {
      auto batch = consumer_.poll(Duration{25'000'000});
      if (!note(batch)) return;
      quiet = batch.empty() ? quiet + 1 : 0;
    }
    const auto ends = consumer_.end_offsets();
    const auto begins = consumer_.beginning_offsets();
    if (!ends || !begins) return ledger_.complain("reader %u: no end_offsets", index_);
    for (unsigned p = 0; p < soak_partitions; ++p) {
      ledger_.log_start[p].store(static_cast<std::uint64_t>((*begins)[p].offset.value));
      const auto position = consumer_.position({static_cast<std::int32_t>(p)});
      if (!position || *position != (*ends)[p].offset)
        ledger_.complain("reader %u: the end of partition %u is %lld, its position %lld", index_, p,
                         static_cast<long long>((*ends)[p].offset.value),
                         position ? static_cast<long long>(position->value) : -1);
    }
  }

 private:
  bool note(const Batch<Bytes>& batch) {
    const auto failure = batch.error();
    if (failure.code != Errc::ok) {
      ledger_.complain("reader %u: %s %s at %lld", index_, name(failure.code).data(), failure.detail,
                       static_cast<long long>(batch.error_offset().value));
      return false;
    }
    if (batch.empty()) return true;
    const auto partition = static_cast<unsigned>(batch.partition().value);
    if (batch.missed() != 0)
      add(Place::make(partition, next_[partition]), static_cast<std::uint32_t>(batch.missed()), 0);
    std::size_t count = 0;
    for (const auto& record : batch) {
      const std::uint64_t stamp = Payload::check(record.value().data(), record.value().size());
      const auto offset = static_cast<std::uint64_t>(record.offset().value);
      if (stamp == 0 || (stamp & 0xFFFF'FFFF) == 0)
        ledger_.complain("reader %u: a damaged value at %u/%llu", index_, partition,
                         static_cast<unsigned long long>(offset));
      else
        add(Place::make(partition, offset), static_cast<std::uint32_t>(stamp >> 32), static_cast<std::uint32_t>(stamp));
      next_[partition] = offset + 1;
      ++count;
    }
    if (count != batch.size()) ledger_.complain("reader %u: a batch of %zu holds %zu", index_, batch.size(), count);
    if (index_ == 0) ledger_.read_to[partition].store(next_[partition]);
    return true;
  }

  /// A batch that was held on to still says the same: nobody recycled its segment.
  void recheck(const Batch<Bytes>& batch) {
    for (const auto& record : batch)
      if (Payload::check(record.value().data(), record.value().size()) == 0)
        ledger_.complain("reader %u: a held value changed at %d/%lld", index_, record.partition().value,
                         static_cast<long long>(record.offset().value));
  }

  void add(std::uint64_t place, std::uint32_t life, std::uint32_t sequence) {
    const std::uint64_t at = stream_.count.load();
    if (at >= max_entries) return ledger_.complain("reader %u: the ledger is full", index_);
    stream_.entries[at] = {place, life, sequence};
    stream_.count.store(at + 1);
  }

  Ledger& ledger_;
  Stream& stream_;
  unsigned index_;
  Consumer<Bytes>& consumer_;
  std::array<std::uint64_t, soak_partitions> next_{};
};

/// In a forked child: complains if it cannot even begin.
inline void run_soak_producer(Ledger& ledger, const char* path, unsigned id, bool maintains) {
  auto bus = open_soak_bus(path, maintains);
  if (!bus) return ledger.complain("life %u: bus: %s", id, name(bus.error().code).data());
  auto topic = open_soak_topic(*bus);
  if (!topic) return ledger.complain("life %u: topic: %s", id, name(topic.error().code).data());
  auto producer = Producer<Bytes>::open(*topic);
  if (!producer) return ledger.complain("life %u: producer: %s", id, name(producer.error().code).data());
  SoakProducer{ledger, id, *producer}.run();
}

inline void run_soak_reader(Ledger& ledger, const char* path, unsigned stream, bool maintains, bool drains) {
  auto bus = open_soak_bus(path, maintains);
  if (!bus) return ledger.complain("reader %u: bus: %s", stream, name(bus.error().code).data());
  auto topic = open_soak_topic(*bus);
  if (!topic) return ledger.complain("reader %u: topic: %s", stream, name(topic.error().code).data());
  ConsumerConfig config;
  config.auto_offset_reset = OffsetReset::earliest;
  config.max_poll_records = 256;
  auto consumer = Consumer<Bytes>::open(*topic, config);
  if (!consumer) return ledger.complain("reader %u: consumer: %s", stream, name(consumer.error().code).data());
  SoakReader reader{ledger, stream, *consumer};
  drains ? reader.drain() : reader.run();
}

}  // namespace towpath::test
