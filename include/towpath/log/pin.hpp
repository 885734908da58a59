// A pin keeps a segment from being recycled while somebody reads it (protocol.md ATTACH): a byte lock in the topic's
// pins file. One descriptor per Consumer, which belongs to one thread, as do the references here. After a crash the
// kernel drops the locks: what was pinned may be recycled at once.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <towpath/log/partition_log.hpp>

namespace towpath::inline TOWPATH_ABI::log {

class PinnedSegment;

/// One consumer's descriptor of a topic's pins file, and what it pins: locks of one descriptor do not count twice.
/// It lives as long as anything that was read through it, and so does the topic's name.
struct Pins {
  shm::LockDescriptor file;
  std::vector<PinnedSegment*> held;
  std::string topic;
};

/// A segment that its holders may read in place. Counted by hand: a Consumer and its batches live in one thread.
class PinnedSegment {
 public:
  PinnedSegment(Segment segment, std::shared_ptr<Pins> pins, std::uint64_t byte)
      : segment_{std::move(segment)}, pins_{std::move(pins)}, byte_{byte} {
    pins_->held.push_back(this);
  }
  ~PinnedSegment() {
    std::erase(pins_->held, this);
    if (pins_->file.is_mine()) shm::unlock(pins_->file.get(), byte_);  // in a child the number may be another file's
  }
  PinnedSegment(const PinnedSegment&) = delete;
  PinnedSegment& operator=(const PinnedSegment&) = delete;

  [[nodiscard]] std::uint64_t byte() const noexcept { return byte_; }

 private:
  friend class PinRef;
  Segment segment_;
  std::shared_ptr<Pins> pins_;
  std::uint64_t byte_;
  std::uint32_t uses_ = 0;
};

/// A counted reference to a PinnedSegment, for one thread.
class PinRef {
 public:
  PinRef() noexcept = default;
  explicit PinRef(PinnedSegment* pinned) noexcept : pinned_{pinned} { add(); }
  TOWPATH_HOT PinRef(const PinRef& other) noexcept : pinned_{other.pinned_} { add(); }
  TOWPATH_HOT PinRef(PinRef&& other) noexcept : pinned_{std::exchange(other.pinned_, nullptr)} {}
  TOWPATH_HOT PinRef& operator=(const PinRef& other) noexcept {
    if (pinned_ == other.pinned_) return *this;
    drop();
    pinned_ = other.pinned_;
    add();
    return *this;
  }
  TOWPATH_HOT PinRef& operator=(PinRef&& other) noexcept {
    PinnedSegment* const taken = std::exchange(other.pinned_, nullptr);
    drop();
    pinned_ = taken;
    return *this;
  }
  TOWPATH_HOT ~PinRef() { drop(); }

  explicit operator bool() const noexcept { return pinned_ != nullptr; }
  const Segment& operator*() const noexcept { return pinned_->segment_; }
  const Segment* operator->() const noexcept { return &pinned_->segment_; }
  /// The name of the topic that the segment belongs to.
  [[nodiscard]] const std::string& topic() const noexcept { return pinned_->pins_->topic; }

 private:
  TOWPATH_HOT void add() noexcept {
    if (pinned_) ++pinned_->uses_;
  }
  TOWPATH_HOT void drop() noexcept {
    if (pinned_ && --pinned_->uses_ == 0) unpin();
  }
  TOWPATH_COLD void unpin() noexcept { delete pinned_; }

  PinnedSegment* pinned_ = nullptr;
};

/// ATTACH: the segment at `base`, pinned for the holder of `pins` until the last reference goes.
/// Errors: not_found (retired, or not made yet), and those of locking and mapping.
inline Result<PinRef> pin_segment(const PartitionLog& log, const std::shared_ptr<Pins>& pins, std::uint64_t base) {
  const std::uint64_t byte = log.pin_byte(base);
  for (auto* held : pins->held)
    if (held->byte() == byte) return PinRef{held};
  if (const auto locked = shm::try_lock(pins->file.get(), byte, shm::LockKind::read); !locked) return locked.error();
  TOWPATH_FAILPOINT("attach.pinned");
  auto segment = log.open(base, log.may_help() ? Use::help : Use::look);
  // Pin, open, then look: pairs with R1 before R5, and sees through a retired name that a slow maker put back.
  const bool retired = segment && log.state().log_start.load(shm::seq_cst) > base;
  if (retired) segment = Failure{Errc::not_found, "retired"};
  if (segment) return PinRef{new PinnedSegment{std::move(*segment), pins, byte}};
  shm::unlock(pins->file.get(), byte);
  return segment.error();
}

/// Segments that random seeks keep pinned, by base: a seek to a sealed one asks nobody and looks into no header.
class RecentSegments {
 public:
  static constexpr std::size_t max_size = 64;
  static constexpr std::uint64_t open_end = ~std::uint64_t{0};

  struct Recent {
    std::uint64_t base;
    std::uint64_t end;  ///< the offset behind its last; open_end while it is not sealed
    std::uint64_t used;
    PinRef pin;
  };

  /// The one with the offset; nullptr if it is not among these. May be wrong about one whose end is open.
  [[nodiscard]] const Recent* find(std::uint64_t offset) noexcept {
    const auto above = lower_bound(offset + 1);
    if (above == all_.begin()) return nullptr;
    Recent& found = *std::prev(above);
    found.used = ++tick_;
    return offset < found.end ? &found : nullptr;
  }

  /// Keeps a segment, in place of the one that was not asked for for longest.
  void keep(const PinRef& pin, std::uint64_t end) {
    const std::uint64_t base = pin->base;
    auto at = lower_bound(base);
    if (at != all_.end() && at->base == base) return void(at->end = end);
    if (all_.size() >= max_size) {
      all_.erase(std::min_element(all_.begin(), all_.end(), [](auto& a, auto& b) { return a.used < b.used; }));
      at = lower_bound(base);
    }
    all_.insert(at, {base, end, ++tick_, pin});
  }

  /// Lets go of those that begin below `start`. True if there were any.
  bool drop_below(std::uint64_t start) {
    const auto first_kept = lower_bound(start);
    if (first_kept == all_.begin()) return false;
    all_.erase(all_.begin(), first_kept);
    return true;
  }
  void clear() noexcept { all_.clear(); }
  [[nodiscard]] bool empty() const noexcept { return all_.empty(); }

 private:
  std::vector<Recent>::iterator lower_bound(std::uint64_t base) noexcept {
    return std::lower_bound(all_.begin(), all_.end(), base, [](const Recent& r, auto b) { return r.base < b; });
  }

  std::vector<Recent> all_;
  std::uint64_t tick_ = 0;
};

}  // namespace towpath::inline TOWPATH_ABI::log
