// A Producer appends records to a topic:  towpath::Producer producer{topic};  producer.send(value).value();
// One thread's; making one costs microseconds (with an id it reads the log), so make one per thread. Any number of
// them, in any number of processes, append to one topic. send() waits for others only where the topic or `visible` asks
// for that. For ZeroCopy values it allocates only when it comes to a partition or a segment for the first time. After a
// crash: what send() returned for is in the log; a send that was cut off is there or is skipped, never half.
#pragma once

#include <towpath/produce/batch_frames.hpp>
#include <towpath/produce/loan.hpp>
#include <towpath/topic/partitioner.hpp>
#include <towpath/topic/topic.hpp>

namespace towpath::inline TOWPATH_ABI {

template <class T, class S = Serde<T>, class BusType = Bus, class P = DefaultPartitioner>
class Producer;

template <class T, class S, class P>
class Producer<T, S, Bus, P> {
  static_assert(Partitioner<P>, "a partitioner is called with a PartitionRequest and returns a number");

 public:
  /// Throws Error: read_only, too_many_members, forked; for what the config asks: invalid_argument, busy (another live
  /// Producer of the topic has the id, or writes its only partition, which has one writer), unsupported_compression,
  /// and with an id or one writer those of mapping.
  explicit Producer(const Topic<T, S>& topic, P partitioner = P{})
      : Producer{topic, ProducerConfig{}, std::move(partitioner)} {}
  Producer(const Topic<T, S>& topic, const ProducerConfig& config, P partitioner = P{})
      : Producer{open(topic, config, std::move(partitioner)).value()} {}

  /// As the constructors, without exceptions.
  static Result<Producer> open(const Topic<T, S>& topic, P partitioner = P{}) {
    return open(topic, ProducerConfig{}, std::move(partitioner));
  }
  static Result<Producer> open(const Topic<T, S>& topic, const ProducerConfig& config, P partitioner = P{}) {
    auto core = detail::ProducerCore::open(topic.files(), config, schema_of<T, S>().size);
    if (!core) return core.error();
    return Producer{topic, std::move(*core), std::move(partitioner)};
  }

  /// Appends the value. When it returns, the record is in the log and survives this process.
  /// Errors, each with nothing appended: message_too_large, no_space, loan_open, unknown_partition, topic_deleted,
  /// invalid_argument (more than 65,535 headers, or a value that its serde refuses), duplicate_sequence, forked,
  /// closed, corrupt, queue_full and timed_out (a topic that waits for its readers), partition_failed, busy (another
  /// live Producer writes the partition, which has one writer), and those of making and mapping a segment. With
  /// `visible` or durability each also those of flush(): then the record is in the log, and sending it again makes a
  /// second one. Microseconds; milliseconds when it makes a segment's file or room for one (on a disk with flushes).
  /// Waits: on_full = block, max_block at most; `visible` and durability each, the grace for each open record before
  /// it; each also for one or two flushes of the disk.
  TOWPATH_HOT Result<RecordMetadata> send(const T& value,
                                          const SendOptions& options = detail::no_options) noexcept(encodes_quietly) {
    if (!core_) [[unlikely]]
      return closed();
    if constexpr (detail::has_fast_path<T, S>)
      if (&options == &detail::no_options) [[likely]]
        if (auto* appender = core_->fast_path().appender()) [[likely]]
          return core_->is_plain() ? send_fast<log::Writing::shared>(*appender, value)
                                   : send_fast<log::Writing::sole>(*appender, value);
    if (core_->is_plain()) [[likely]]
      return send_as<log::Writing::shared>(value, options);
    if (core_->identity()) return send_as<log::Writing::any>(value, options);
    return send_alone(value, options);
  }

  /// Appends a record without a value: Kafka's tombstone, which says that the key is gone. Errors as send().
  Result<RecordMetadata> send_tombstone(const SendOptions& options) noexcept(chooses_quietly) {
    if (!core_) [[unlikely]]
      return closed();
    log::FrameSpec spec = describe(options);
    spec.has_value = false;
    return append<log::Writing::any>(spec, options, [](std::span<std::byte>) noexcept {});
  }

  /// Appends all the values to one partition in a row, and publishes them at once: a reader sees all of them or none,
  /// whoever is killed when. Cheaper than as many sends. With ProducerConfig::compression they become one Kafka record
  /// batch, whose times are milliseconds. `options` are for every record: its key, its headers, its time.
  /// Errors as send(), appended or not as there; invalid_argument (no record, or more than 4,194,304); out_of_memory,
  /// io_error (a codec failed); message_too_large (together above segment_bytes, packed above max_message_bytes).
  Result<BatchMetadata> send_batch(std::span<const T> values,
                                   const SendOptions& options = detail::no_options) noexcept(encodes_quietly) {
    return send_records(values.size(), options, detail::AlikeRecords<T>{values, &options});
  }
  /// As above, each record with its own key, headers and time. Where no partition is named, the keys must belong to
  /// one: else invalid_argument.
  Result<BatchMetadata> send_batch(std::span<const Outgoing<T>> records,
                                   const SendOptions& options = detail::no_options) noexcept(encodes_quietly) {
    return send_records(records.size(), options, detail::OwnRecords<T>{records, &options});
  }

  /// The sequence number of the last record of this producer's id in the topic, sent by it or by whoever had the id
  /// before; none when the topic has none. Errors: invalid_argument (it has no id), closed.
  [[nodiscard]] Result<std::optional<std::int32_t>> last_sequence() const noexcept {
    if (!core_) return closed();
    if (!core_->identity()) return Failure{Errc::invalid_argument, "last_sequence: this producer has no id"};
    return core_->identity()->last();
  }

  /// A pair of literals is a pair of iterators to std::string, never two values.
  Result<RecordMetadata> send(std::initializer_list<const char*>,
                              const SendOptions& = detail::no_options) requires std::same_as<T, std::string>
  = delete;

  /// Room for one value in the log; key and headers are given now. Errors as send().
  Result<Loan<T>> loan(const SendOptions& options = detail::no_options) noexcept(
      chooses_quietly) requires ZeroCopy<T> && std::same_as<S, Serde<T>> && requires {
    S::alignment;
  }
  { return borrow(sizeof(T), options); }

  /// Room for a value of `size` bytes. Errors as send().
  Result<Loan<T>> loan(std::size_t size,
                       const SendOptions& options = detail::no_options) noexcept(chooses_quietly) requires(!requires {
    S::fixed_size;
  }) {
    return borrow(size, options);
  }

  /// Publishes what was filled in. Errors: closed (sent already), invalid_argument (another producer's loan), forked;
  /// no_space and the like only when the slot had been skipped and the copy finds no room: the value is lost with the
  /// loan. With `visible`, and where durability is each, as send().
  Result<RecordMetadata> send(Loan<T>&& loan) noexcept {
    if (!core_) return closed();
    if (!loan.core_) return Failure{Errc::closed, "this loan was sent already"};
    if (!core_->files().core().is_mine()) return Failure{Errc::forked, "the producer was made before fork()"};
    if (loan.core_ != core_.get()) return Failure{Errc::invalid_argument, "this loan is another producer's"};
    const auto timestamp = loan.timestamp_ ? *loan.timestamp_ : core_->now();
    const auto offset = loan.publish(timestamp);
    if (!offset) return offset.error();
    if (core_->identity()) core_->identity()->sent(loan.mark_);
    return finish({{loan.partition_}, *offset, timestamp}, loan.visible_);
  }

  /// Returns when everything this producer sent can be seen by every reader, at most the grace for each open record of
  /// another producer that is in the way; and, unless the topic's durability is none, when it is on stable storage.
  /// Errors: topic_deleted, forked, closed, corrupt, partition_failed (seen, but maybe not durable), those of mapping.
  Result<void> flush() noexcept { return core_ ? core_->flush() : closed(); }

  [[nodiscard]] const Topic<T, S>& topic() const noexcept { return topic_; }

 private:
  static constexpr bool chooses_quietly = noexcept(std::declval<P&>()(std::declval<const PartitionRequest&>()));
  static constexpr bool encodes_quietly = chooses_quietly && [] {
    if constexpr (PreparingSerde<S, T>)
      return noexcept(S::prepare(std::declval<const T&>()));
    else
      return noexcept(S::encode(std::declval<const T&>(), std::span<std::byte>{}))&& noexcept(
          S::size(std::declval<const T&>()));
  }();

  static Failure closed() noexcept { return {Errc::closed, "this producer was moved from"}; }

  Producer(const Topic<T, S>& topic, std::unique_ptr<detail::ProducerCore> core, P partitioner)
      : topic_{topic}, core_{std::move(core)}, partitioner_{std::move(partitioner)} {}

  TOWPATH_HOT log::FrameSpec describe(const SendOptions& options) const noexcept {
    log::FrameSpec spec;
    spec.has_key = options.key.is_present();
    spec.key = options.key.bytes();
    spec.headers = options.headers.view();
    spec.timestamp = options.timestamp ? *options.timestamp : core_->now();
    return spec;
  }

  TOWPATH_HOT Result<std::int32_t> choose(const log::FrameSpec& spec, const SendOptions& options,
                                          std::uint64_t bytes) noexcept(chooses_quietly) {
    const std::int32_t count = core_->partitions();
#pragma GCC diagnostic push
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12 sees the value of an optional that has none
#endif
    if (options.partition) return in_range(options.partition->value, count);
#pragma GCC diagnostic pop
    if (count == 1) [[likely]]
      return 0;
    return in_range(static_cast<std::int32_t>(partitioner_(PartitionRequest{spec.key, spec.has_key, bytes, count})),
                    count);
  }
  static Result<std::int32_t> in_range(std::int32_t partition, std::int32_t count) noexcept {
    if (partition >= 0 && partition < count) return partition;
    return Failure{Errc::unknown_partition, "the topic has fewer partitions"};
  }

  template <log::Writing how>
  TOWPATH_HOT Result<RecordMetadata> send_fast(log::Appender& appender, const T& value) noexcept {
    const Timestamp time = core_->now();
    const auto offset = core_->fast_path().template append<S, how>(appender, time, value);
    if (!offset) [[unlikely]]
      return send_slowly(value);
    core_->sent(0, *offset);
    return RecordMetadata{{0}, *offset, time};
  }
  [[gnu::noinline, gnu::cold]] Result<RecordMetadata> send_slowly(const T& value) noexcept {
    return send_as<log::Writing::any>(value, detail::no_options);
  }

  template <log::Writing how>
  TOWPATH_HOT Result<RecordMetadata> send_as(const T& value, const SendOptions& options) noexcept(encodes_quietly) {
    log::FrameSpec spec = describe(options);
    if constexpr (PreparingSerde<S, T>) {
      const auto prepared = S::prepare(value);
      if (!prepared) return prepared.error();
      const Bytes bytes = prepared->bytes();
      spec.value_size = bytes.size();
      return append<how>(spec, options, [&](std::span<std::byte> out) noexcept { Serde<Bytes>::encode(bytes, out); });
    } else {
      spec.value_size = S::size(value);
      return append<how>(spec, options, [&](std::span<std::byte> out) { S::encode(value, out); });
    }
  }

  /// Apart, so that a call of send() does not hold both. Hot, although that call takes it for unlikely.
  [[gnu::noinline, gnu::hot]] Result<RecordMetadata> send_alone(const T& value,
                                                                const SendOptions& options) noexcept(encodes_quietly) {
    return send_as<log::Writing::sole>(value, options);
  }

  template <log::Writing how, class Encode>
  TOWPATH_HOT Result<RecordMetadata> append(const log::FrameSpec& spec, const SendOptions& options,
                                            const Encode& encode) noexcept(encodes_quietly) {
    if constexpr (how == log::Writing::any)
      if (core_->identity()) return append_signed(spec, options, encode);
    return append_as<how>(spec, options, encode, [] {});
  }

  /// Apart, so that a producer without id keeps what it writes in registers.
  template <class Encode>
  [[gnu::noinline]] Result<RecordMetadata> append_signed(log::FrameSpec spec, const SendOptions& options,
                                                         const Encode& encode) noexcept(encodes_quietly) {
    if (const Failure refused = core_->sign(spec.producer, options); refused.code != Errc::ok) return refused;
    return append_as<log::Writing::any>(spec, options, encode, [&] { core_->identity()->sent(spec.producer); });
  }

  /// `committed()` is called when the record is in the log, whatever is waited for then.
  template <log::Writing how, class Encode, class Committed>
  TOWPATH_HOT Result<RecordMetadata> append_as(const log::FrameSpec& spec, const SendOptions& options,
                                               const Encode& encode,
                                               const Committed& committed) noexcept(encodes_quietly) {
    const auto layout = log::FrameLayout::of(spec, core_->value_alignment());
    if (const Failure refused = core_->refuses(spec, layout); refused.code != Errc::ok) [[unlikely]]
      return refused;
    const auto partition = choose(spec, options, layout.length);
    if (!partition) [[unlikely]]
      return partition.error();
    const auto found = core_->appender(*partition);
    if (!found) [[unlikely]]
      return found.error();
    log::Appender& appender = **found;
    const log::Need need{align_up(layout.length, core_->record_alignment()), 1};
    for (;;) {
      auto room = appender.template reserve<how>(need, layout.length);
      if (!room) [[unlikely]]
        if (room = core_->reserve_later(room.error(), appender, need, layout.length); !room) return room.error();
      log::RoomGuard guard{&appender, &*room};
      log::write_frame(room->frame, layout, spec);
      TOWPATH_FAILPOINT("append.half_written");
      encode(std::span<std::byte>{room->frame + layout.value_at, static_cast<std::size_t>(spec.value_size)});
      log::seal_in(appender.segment(), *room);
      TOWPATH_FAILPOINT("append.written");
      guard.appender = nullptr;
      if (!appender.template commit<how>(*room)) [[unlikely]]
        continue;
      committed();
      return finish({{*partition}, room->offset, spec.timestamp}, options.visible);
    }
  }

  /// The one partition of a batch. Errors: unknown_partition, invalid_argument (its keys belong to several).
  template <class Records>
  Result<std::int32_t> choose_for(std::size_t count, const SendOptions& options, std::uint64_t bytes,
                                  const Records& record) noexcept(chooses_quietly) {
    std::int32_t chosen = -1;
    const bool is_open = !options.partition && core_->partitions() > 1;
    for (std::size_t i = 0; i < (is_open ? count : 1); ++i) {
      const Outgoing<T> one = record(i);
      if (i > 0 && !one.key.is_present()) continue;
      log::FrameSpec spec;
      spec.has_key = one.key.is_present(), spec.key = one.key.bytes();
      const auto partition = choose(spec, options, bytes);
      if (!partition) return partition;
      if (i > 0 && *partition != chosen)
        return Failure{Errc::invalid_argument, "the keys of a batch belong to several partitions; name one"};
      chosen = *partition;
    }
    return chosen;
  }

  template <class Records>
  Result<BatchMetadata> send_records(std::size_t count, const SendOptions& options,
                                     const Records& record) noexcept(encodes_quietly) {
    if (!core_) [[unlikely]]
      return closed();
    detail::SendStamp stamp{core_->now(), {}};
    if (core_->identity())
      if (const Failure refused = core_->sign(stamp.first, options); refused.code != Errc::ok) return refused;
    if (!scratch_) scratch_ = std::make_unique<detail::BatchScratch>();
    detail::BatchFrames<T, S, Records> frames{*core_, count, record, stamp, *scratch_};
    if (const Failure refused = frames.measure(); refused.code != Errc::ok) return refused;
    const auto partition = choose_for(count, options, frames.need().bytes, record);
    if (!partition) return partition.error();
    const auto found = core_->appender(*partition);
    if (!found) return found.error();
    const auto room = core_->config().compression == Compression::none ? append_plain(**found, frames)
                                                                       : append_packed(**found, frames);
    if (!room) return room.error();
    if (core_->identity()) core_->identity()->sent(stamp.first.after(count - 1));
    const Offset last{room->offset.value + static_cast<std::int64_t>(count) - 1};
    if (auto seen = finish({{*partition}, last, stamp.time}, options.visible); !seen) return seen.error();
    return BatchMetadata{{*partition}, room->offset, count};
  }

  template <class Frames>
  Result<log::Reservation> append_plain(log::Appender& appender, const Frames& frames) noexcept(encodes_quietly) {
    for (;;) {
      const auto room = core_->reserve(appender, frames.need(), frames.head_length());
      if (!room) return room;
      log::RoomGuard guard{&appender, &*room};
      frames.write(*room, appender);
      TOWPATH_FAILPOINT("batch.written");
      guard.appender = nullptr;
      if (appender.commit(*room)) return room;
    }
  }

  /// As one Kafka record batch: one frame, and a slot for each of its offsets.
  template <class Frames>
  Result<log::Reservation> append_packed(log::Appender& appender, const Frames& frames) noexcept(encodes_quietly) {
    const auto batch = frames.pack(core_->config().compression);
    if (!batch) return batch.error();
    if (batch->empty()) return append_plain(appender, frames);
    const std::uint64_t length = log::BatchFrame::batch_at + batch->size();
    if (batch->size() > core_->files().words().max_message_bytes.load(shm::relaxed))
      return Failure{Errc::message_too_large, "the packed batch exceeds max_message_bytes"};
    const log::Need need{align_up(length, core_->record_alignment()), frames.need().slots};
    const auto newest = log::from_kafka_time(log::RecordBatchHeader::read(batch->data()).max_timestamp_ms);
    for (;;) {
      const auto room = core_->reserve(appender, need, length);
      if (!room) return room;
      log::BatchFrame::write(room->frame, static_cast<std::uint32_t>(need.slots), newest, *batch);
      log::place_batch(room->frame + log::BatchFrame::batch_at, room->offset.value, 0);
      log::seal_in(appender.segment(), *room);
      for (std::uint64_t i = 1; i < need.slots; ++i) appender.place(*room, i, room->position, length);
      TOWPATH_FAILPOINT("batch.written");
      if (appender.commit(*room)) return room;
    }
  }

  TOWPATH_HOT Result<RecordMetadata> finish(const RecordMetadata& sent, bool visible) noexcept {
    core_->sent(sent.partition.value, sent.offset);
    if (visible || core_->is_each_durable()) [[unlikely]]
      if (auto done = core_->settle(sent.partition.value, static_cast<std::uint64_t>(sent.offset.value)); !done)
        return done.error();
    return sent;
  }

  Result<Loan<T>> borrow(std::size_t size, const SendOptions& options) noexcept(chooses_quietly) {
    if (!core_) [[unlikely]]
      return closed();
    log::FrameSpec spec = describe(options);
    spec.value_size = size;
    if (core_->identity())
      if (const Failure refused = core_->sign(spec.producer, options); refused.code != Errc::ok) return refused;
    const auto layout = log::FrameLayout::of(spec, core_->value_alignment());
    if (const Failure refused = core_->refuses(spec, layout); refused.code != Errc::ok) return refused;
    const auto partition = choose(spec, options, layout.length);
    if (!partition) return partition.error();
    const auto found = core_->appender(*partition);
    if (!found) return found.error();
    const auto room = core_->reserve(**found, {align_up(layout.length, core_->record_alignment()), 1}, layout.length);
    if (!room) return room.error();
    log::write_frame(room->frame, layout, spec);
    return Loan<T>{*core_, **found, *room, {room->frame + layout.value_at, size}, *partition, spec.producer, options};
  }

  Topic<T, S> topic_;
  std::unique_ptr<detail::ProducerCore> core_;
  P partitioner_;
  std::unique_ptr<detail::BatchScratch> scratch_;
};

template <class T, class S>
Producer(const Topic<T, S, Bus>&) -> Producer<T, S, Bus, DefaultPartitioner>;
template <class T, class S>
Producer(const Topic<T, S, Bus>&, const ProducerConfig&) -> Producer<T, S, Bus, DefaultPartitioner>;
template <class T, class S, class P>
Producer(const Topic<T, S, Bus>&, const ProducerConfig&, P) -> Producer<T, S, Bus, P>;
template <class T, class S, class P>
Producer(const Topic<T, S, Bus>&, P) -> Producer<T, S, Bus, P>;

}  // namespace towpath::inline TOWPATH_ABI
