// How poll waits while there is nothing:  consumer.poll(2ms, towpath::wait::Spin{});
//   Spin     burns the processor, answers in a cache line's time
//   Backoff  spins, then yields, then sleeps: the default
//   Block    sleeps at once; woken by the producer's commit
// A sleeper is woken through its own word; a producer that dies between commit and wake costs it 50 ms at most.
#pragma once

#include <thread>

#include <towpath/core/time.hpp>
#include <towpath/shm/word.hpp>

namespace towpath::inline TOWPATH_ABI::wait {

/// What a strategy decides after each empty look.
enum class Next { look, sleep };

/// Called after each look that found nothing; `round` counts them from 0.
template <class W>
concept Strategy = requires(W strategy, std::uint64_t round) {
  { strategy(round) } -> std::same_as<Next>;
};

struct Spin {
  Next operator()(std::uint64_t) const noexcept {
    shm::pause();
    return Next::look;
  }
};

struct Backoff {
  std::uint64_t spins = 2'000;  ///< looks with a pause between them, about 50 us
  std::uint64_t yields = 50;    ///< looks with sched_yield between them

  Next operator()(std::uint64_t round) const noexcept {
    if (round >= spins + yields) return Next::sleep;
    if (round < spins)
      shm::pause();
    else
      std::this_thread::yield();
    return Next::look;
  }
};

struct Block {
  Next operator()(std::uint64_t) const noexcept { return Next::sleep; }
};

static_assert(Strategy<Spin> && Strategy<Backoff> && Strategy<Block>);

}  // namespace towpath::inline TOWPATH_ABI::wait
