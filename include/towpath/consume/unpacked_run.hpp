// The Kafka record batches among what one poll found, unpacked, so that their records are read like all others.
// A batch that several polls share is unpacked once. One thread's; private memory, gone with its last user.
#pragma once

#include <vector>

#include <towpath/log/unpacked_records.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

class UnpackedRun {
 public:
  /// Null when slot `n` belongs to none of these.
  [[nodiscard]] const log::UnpackedRecords* find(const log::Segment& segment, std::uint64_t n) const noexcept {
    for (std::size_t tries = 0; tries < all_.size(); ++tries, last_ = last_ + 1 < all_.size() ? last_ + 1 : 0)
      if (all_[last_]->covers(segment, n)) return all_[last_].get();
    return nullptr;
  }
  void add(log::SharedRecords records) { all_.push_back(std::move(records)); }

 private:
  std::vector<log::SharedRecords> all_;  // in the order of their offsets
  mutable std::size_t last_ = 0;         // where the last question was answered: the next is most often there or behind
};

}  // namespace towpath::inline TOWPATH_ABI::detail
