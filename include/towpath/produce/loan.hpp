// A Loan is room in the log itself, to be filled in place:
//   auto loan = producer.loan().value();  fill(*loan);  producer.send(std::move(loan)).value();
// One at a time per Producer, which must outlive it; same thread. A loan that is never sent is skipped by readers.
// Fill it quickly: readers wait for it, and after the topic's grace it is skipped; send() then appends a copy itself,
// so nothing is lost. After a crash the room is skipped at once.
#pragma once

#include <towpath/produce/producer_core.hpp>

namespace towpath::inline TOWPATH_ABI {

template <class T>
class Loan {
 public:
  Loan(Loan&& other) noexcept
      : core_{std::exchange(other.core_, nullptr)},
        appender_{other.appender_},
        room_{other.room_},
        value_{other.value_},
        partition_{other.partition_},
        mark_{other.mark_},
        timestamp_{other.timestamp_},
        visible_{other.visible_} {}
  Loan& operator=(Loan&&) = delete;
  ~Loan() { drop(); }

  /// The value, uninitialised until you write it.
  T& operator*() const noexcept requires ZeroCopy<T> { return *reinterpret_cast<T*>(value_.data()); }
  T* operator->() const noexcept requires ZeroCopy<T> { return reinterpret_cast<T*>(value_.data()); }
  /// The value's bytes, for sizes chosen by the caller.
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return value_; }

 private:
  template <class, class, class, class>
  friend class Producer;

  Loan(detail::ProducerCore& core, log::Appender& appender, const log::Reservation& room, std::span<std::byte> value,
       std::int32_t partition, const log::ProducerMark& mark, const SendOptions& options) noexcept
      : core_{&core},
        appender_{&appender},
        room_{room},
        value_{value},
        partition_{partition},
        mark_{mark},
        timestamp_{options.timestamp},
        visible_{options.visible} {
    core.begin_loan();
  }

  /// Commits the frame; where its slot was skipped meanwhile, a copy of it at a later offset. Errors: those of
  /// ProducerCore::reserve(), the value is lost then.
  Result<Offset> publish(Timestamp timestamp) noexcept {
    const auto nanoseconds = timestamp.time_since_epoch().count();
    std::memcpy(room_.frame + offsetof(log::FrameHeader, timestamp_ns), &nanoseconds, sizeof nanoseconds);
    log::seal_in(appender_->segment(), room_);
    std::vector<std::byte> copy;
    const bool published = appender_->commit(room_, [&] { copy.assign(room_.frame, room_.frame + room_.length); });
    auto& core = *std::exchange(core_, nullptr);
    core.end_loan();
    if (published) return room_.offset;
    const log::Need need{align_up(copy.size(), core.record_alignment()), 1};
    for (;;) {
      const auto again = core.reserve(*appender_, need, copy.size());
      if (!again) return again.error();
      std::memcpy(again->frame, copy.data(), copy.size());
      log::seal_in(appender_->segment(), *again);
      if (appender_->commit(*again)) return again->offset;
    }
  }

  void drop() noexcept {
    if (!core_) return;
    if (core_->files().core().is_mine()) appender_->abandon(room_);
    core_->end_loan();
  }

  detail::ProducerCore* core_;
  log::Appender* appender_;
  log::Reservation room_;
  std::span<std::byte> value_;
  std::int32_t partition_;
  log::ProducerMark mark_;
  std::optional<Timestamp> timestamp_;
  bool visible_;
};

}  // namespace towpath::inline TOWPATH_ABI
