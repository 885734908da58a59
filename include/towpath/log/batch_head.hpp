// A slot that continues a batch has the state of the batch's first slot, which stands before it: committed, aborted or
// still open. Safe beside writers; what a slot continues never changes, but an open first slot is decided once.
#pragma once

#include <towpath/log/segment.hpp>

namespace towpath::inline TOWPATH_ABI::log {

/// The first slot of the batch that slot `n` continues, or n itself. 0 for a batch without one, which is damaged.
inline std::uint64_t batch_head(const Segment& segment, std::uint64_t n) noexcept {
  // Pairs with the compare-and-swap that decided the head: what it found continued before is found so here.
  while (n > 0 && Slot::state(segment.slots[n].load(shm::acquire)) == Slot::continued) --n;
  return n;
}

/// Asks for one slot after the other, up or down, and walks back once per batch.
class BatchHeads {
 public:
  /// The state that counts for slot `n`: never continued; empty while it is open.
  Slot::State state(const Segment& segment, std::uint64_t n) noexcept {
    const auto own = Slot::state(segment.slots[n].load(shm::acquire));  // pairs with the commit's compare-and-swap
    if (own == Slot::committed || own == Slot::aborted) head_ = known_to_ = n;  // what follows may continue it
    if (own != Slot::continued) return own;
    if (n < head_ || n > known_to_ + 1)
      head_ = batch_head(segment, n), known_to_ = n;
    else
      known_to_ = std::max(known_to_, n);
    const auto found = Slot::state(segment.slots[head_].load(shm::acquire));
    return found == Slot::continued ? Slot::aborted : found;
  }

 private:
  std::uint64_t head_ = ~std::uint64_t{0};
  std::uint64_t known_to_ = 0;  // every slot from head_ up to here is of one batch
};

}  // namespace towpath::inline TOWPATH_ABI::log
