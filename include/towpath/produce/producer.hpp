// A Producer appends records to a topic:  towpath::Producer producer{topic};  producer.send(value).value();
// It belongs to one thread; making one costs microseconds, so make one per thread. Any number of them, in any number of
// processes, append to one topic. send() never depends on another process, and for ZeroCopy values it allocates only
// when it comes to a partition or a segment for the first time.
// After a crash: what send() returned for is in the log; a send that was cut off is there or is skipped, never half.
#pragma once

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
  /// Throws Error: read_only, too_many_members, forked.
  explicit Producer(const Topic<T, S>& topic, P partitioner = P{})
      : Producer{open(topic, std::move(partitioner)).value()} {}

  /// As the constructor, without exceptions.
  static Result<Producer> open(const Topic<T, S>& topic, P partitioner = P{}) {
    auto core = detail::ProducerCore::open(topic.files());
    if (!core) return core.error();
    return Producer{topic, std::move(*core), std::move(partitioner)};
  }

  /// Appends the value. When it returns, the record is in the log and survives this process.
  /// Errors, each with nothing appended: message_too_large, no_space, loan_open, unknown_partition, topic_deleted,
  /// invalid_argument (more than 65,535 headers), forked, corrupt, and those of opening and mapping a segment. With
  /// `visible`, and where durability is each, also the errors of flush(): then the record is in the log, and sending it
  /// again makes a second one. partition_failed comes before too, when an I/O error made the partition read-only.
  /// Microseconds; milliseconds when it makes a segment's file. With `visible` up to the grace for each open record;
  /// where durability is each, as long as the disk takes to flush.
  TOWPATH_HOT Result<RecordMetadata> send(const T& value,
                                          const SendOptions& options = detail::no_options) noexcept(encodes_quietly) {
    if (!core_) [[unlikely]]
      return closed();
    log::FrameSpec spec = describe(options);
    spec.value_size = S::size(value);
    return append(spec, options, [&](std::span<std::byte> out) { S::encode(value, out); });
  }

  /// Appends a record without a value: Kafka's tombstone, which says that the key is gone. Errors as send().
  Result<RecordMetadata> send_tombstone(const SendOptions& options) noexcept(chooses_quietly) {
    if (!core_) [[unlikely]]
      return closed();
    log::FrameSpec spec = describe(options);
    spec.has_value = false;
    return append(spec, options, [](std::span<std::byte>) noexcept {});
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
  /// loan. With `visible` as send().
  Result<RecordMetadata> send(Loan<T>&& loan) noexcept {
    if (!core_) return closed();
    if (!loan.core_) return Failure{Errc::closed, "this loan was sent already"};
    if (!core_->files().core().is_mine()) return Failure{Errc::forked, "the producer was made before fork()"};
    if (loan.core_ != core_.get()) return Failure{Errc::invalid_argument, "this loan is another producer's"};
    const auto timestamp = loan.timestamp_ ? *loan.timestamp_ : core_->now();
    const auto nanoseconds = timestamp.time_since_epoch().count();
    std::memcpy(loan.room_.frame + offsetof(log::FrameHeader, timestamp_ns), &nanoseconds, sizeof nanoseconds);
    seal(loan.room_.frame, loan.room_, *loan.appender_);
    std::vector<std::byte> copy;
    const auto keep = [&] { copy.assign(loan.room_.frame, loan.room_.frame + loan.room_.length); };
    const bool published = loan.appender_->commit(loan.room_, keep);
    loan.core_ = nullptr;
    core_->loan_open = false;
    Offset offset = loan.room_.offset;
    if (!published) {
      auto again = loan.appender_->reserve(copy.size());
      for (; again; again = loan.appender_->reserve(copy.size())) {
        std::memcpy(again->frame, copy.data(), copy.size());
        seal(again->frame, *again, *loan.appender_);
        if (loan.appender_->commit(*again)) break;
      }
      if (!again) return again.error();
      offset = again->offset;
    }
    return finish({{loan.partition_}, offset, timestamp}, loan.visible_);
  }

  /// Returns when everything this producer sent can be seen by every reader, at most the grace for each open record of
  /// another producer that is in the way; and, unless the topic's durability is none, when it is on stable storage.
  /// Errors: topic_deleted, forked, partition_failed (seen, but perhaps not on the disk), those of mapping.
  Result<void> flush() noexcept { return core_ ? core_->flush() : closed(); }

  [[nodiscard]] const Topic<T, S>& topic() const noexcept { return topic_; }

 private:
  static constexpr bool chooses_quietly = noexcept(std::declval<P&>()(std::declval<const PartitionRequest&>()));
  static constexpr bool encodes_quietly = chooses_quietly&& noexcept(
      S::encode(std::declval<const T&>(), std::span<std::byte>{}))&& noexcept(S::size(std::declval<const T&>()));

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
    if (!options.partition && count == 1) [[likely]]
      return 0;
    const std::int32_t chosen =
        options.partition
            ? options.partition->value
            : static_cast<std::int32_t>(partitioner_(PartitionRequest{spec.key, spec.has_key, bytes, count}));
    if (chosen < 0 || chosen >= count) return Failure{Errc::unknown_partition, "the topic has fewer partitions"};
    return chosen;
  }

  TOWPATH_HOT static void seal(std::byte* frame, const log::Reservation& room, const log::Appender& appender) noexcept {
    if (appender.segment().checksummed)
      log::seal_frame(frame, room.length, appender.segment().uuid, static_cast<std::uint64_t>(room.offset.value));
  }

  /// Gives the room back if the user's encode throws.
  struct Guard {
    log::Appender* appender;
    const log::Reservation* room;
    ~Guard() {
      if (appender) appender->abandon(*room);
    }
  };

  template <class Encode>
  TOWPATH_HOT Result<RecordMetadata> append(const log::FrameSpec& spec, const SendOptions& options,
                                            const Encode& encode) noexcept(encodes_quietly) {
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
    for (;;) {
      const auto room = appender.reserve(layout.length);
      if (!room) [[unlikely]]
        return room.error();
      Guard guard{&appender, &*room};
      log::write_frame(room->frame, layout, spec);
      TOWPATH_FAILPOINT("append.half_written");
      encode(std::span<std::byte>{room->frame + layout.value_at, static_cast<std::size_t>(spec.value_size)});
      seal(room->frame, *room, appender);
      TOWPATH_FAILPOINT("append.written");
      guard.appender = nullptr;
      if (appender.commit(*room)) [[likely]]
        return finish({{*partition}, room->offset, spec.timestamp}, options.visible);
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
    const auto layout = log::FrameLayout::of(spec, core_->value_alignment());
    if (const Failure refused = core_->refuses(spec, layout); refused.code != Errc::ok) return refused;
    const auto partition = choose(spec, options, layout.length);
    if (!partition) return partition.error();
    const auto found = core_->appender(*partition);
    if (!found) return found.error();
    const auto room = (*found)->reserve(layout.length);
    if (!room) return room.error();
    log::write_frame(room->frame, layout, spec);
    return Loan<T>{*core_, **found, *room, {room->frame + layout.value_at, size}, *partition, options};
  }

  Topic<T, S> topic_;
  std::unique_ptr<detail::ProducerCore> core_;
  P partitioner_;
};

template <class T, class S>
Producer(const Topic<T, S, Bus>&) -> Producer<T, S, Bus, DefaultPartitioner>;
template <class T, class S, class P>
Producer(const Topic<T, S, Bus>&, P) -> Producer<T, S, Bus, P>;

}  // namespace towpath::inline TOWPATH_ABI
