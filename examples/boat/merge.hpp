// Several partitions of two topics as one stream in the order of time. Within a partition records come in that order
// already, so the oldest front of all is the next one; a partition whose producer is slower is waited for.
#pragma once

#include <deque>

#include "topics.hpp"

/// One partition as a queue. It is over at a tombstone with the key "end", which producers of a recording send last.
template <class T>
class Lane {
 public:
  Lane(const towpath::Topic<T>& topic, std::int32_t partition)
      : consumer_{topic, {.auto_offset_reset = towpath::OffsetReset::earliest, .partitions = {{partition}}}} {}

  /// The next record, in place in the log; null when it is over.
  const towpath::Record<T>* front() {
    while (!over_ && next_ == std::default_sentinel) {
      batch_ = consumer_.poll(std::chrono::seconds{30});
      if (auto failure = batch_.error(); failure.code != towpath::Errc::ok) throw towpath::Error{failure};
      if (batch_.missed() > 0) throw std::runtime_error{"records are gone"};
      if (batch_.empty()) throw std::runtime_error{"no record and no end in 30 s"};
      next_ = batch_.begin();
    }
    if (!over_ && next_->is_tombstone() && next_->key().text() == "end") over_ = true;
    return over_ ? nullptr : &*next_;
  }
  void pop() { ++next_; }

 private:
  towpath::Consumer<T> consumer_;
  towpath::Batch<T> batch_;
  typename towpath::Batch<T>::iterator next_ = batch_.begin();
  bool over_ = false;
};

/// The lanes of all partitions of a topic.
template <class T>
class Lanes {
 public:
  explicit Lanes(const towpath::Topic<T>& topic) {
    for (std::int32_t i = 0; i < topic.partitions(); ++i) lanes_.emplace_back(topic, i);
  }
  /// The one with the oldest front, of several the first; null when all are over.
  Lane<T>* oldest() {
    Lane<T>* found = nullptr;
    for (auto& lane : lanes_)
      if (lane.front() && (!found || lane.front()->timestamp() < found->front()->timestamp())) found = &lane;
    return found;
  }

 private:
  std::deque<Lane<T>> lanes_;  // a lane points into itself: it never moves
};

/// Calls `take(record)` for all records of both topics, oldest first; of two with one time the first topic's.
template <class A, class B, class Take>
void merge(const towpath::Topic<A>& one, const towpath::Topic<B>& other, Take&& take) {
  Lanes<A> left{one};
  Lanes<B> right{other};
  for (;;) {
    auto* a = left.oldest();
    auto* b = right.oldest();
    if (!a && !b) return;
    if (a && (!b || a->front()->timestamp() <= b->front()->timestamp()))
      take(*a->front()), a->pop();
    else
      take(*b->front()), b->pop();
  }
}
