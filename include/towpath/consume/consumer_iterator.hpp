// Walks all records that come to a consumer:  for (const auto& record : consumer) ...
// What retention removed before it came is counted by Consumer::missed().
// Ends after consumer_timeout without a record, or at an error, which the next poll returns; a seek goes on behind it.
// One thread, like its consumer.
#pragma once

#include <iterator>

#include <towpath/consume/batch.hpp>
#include <towpath/core/time.hpp>

namespace towpath::inline TOWPATH_ABI {

template <class Consumer, class T, class S>
class ConsumerIterator {
 public:
  using value_type = Record<T, S>;
  using difference_type = std::ptrdiff_t;

  ConsumerIterator(const ConsumerIterator&) = delete;  // at_ points into batch_: it stays where it was made
  ConsumerIterator& operator=(const ConsumerIterator&) = delete;

  const Record<T, S>& operator*() const noexcept { return *at_; }
  const Record<T, S>* operator->() const noexcept { return &*at_; }
  ConsumerIterator& operator++() {
    ++at_;
    settle();
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const ConsumerIterator& i, std::default_sentinel_t) noexcept { return i.consumer_ == nullptr; }

 private:
  friend Consumer;
  explicit ConsumerIterator(Consumer& consumer) : consumer_{&consumer} { settle(); }

  /// Polls for the next batch when this one is through.
  void settle() {
    const auto timeout = consumer_->core_->config().consumer_timeout;
    while (at_ == batch_.end()) {
      batch_ = Batch<T, S>{};  // lets go of the segment before waiting
      batch_ = consumer_->poll(timeout.value_or(std::chrono::hours{1}));
      at_ = batch_.begin();
      if (!batch_.empty()) continue;
      const bool failed = batch_.trouble_ && batch_.trouble_->failure.code != Errc::ok;
      if (failed && !batch_.trouble_->told) consumer_->ended_iteration_ = batch_.trouble_->told = true;
      if (timeout || failed) return void(consumer_ = nullptr);
    }
  }

  Consumer* consumer_;
  Batch<T, S> batch_;
  typename Batch<T, S>::iterator at_;
};

}  // namespace towpath::inline TOWPATH_ABI
