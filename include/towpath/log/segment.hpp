// A Segment is one mapped file of records. Any number of processes may read it while any number append.
// Thread-safe and process-safe: resolve() and seal() may be called by anybody who helps; each slot and the seal are
// decided once, by one compare-and-swap. After a crash everything committed is whole; an open slot is aborted by
// helpers.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>

#include <towpath/log/format.hpp>
#include <towpath/shm/region.hpp>

namespace towpath::inline TOWPATH_ABI::log {

/// What a reservation asks of a segment.
struct Need {
  std::uint64_t bytes = 0;
  std::uint64_t slots = 1;
};

/// The shape of a segment's file.
struct Geometry {
  std::uint64_t segment_bytes = 0;
  std::uint64_t slot_count = 0;
  std::uint64_t data_offset = 0;

  friend constexpr bool operator==(const Geometry&, const Geometry&) noexcept = default;
  [[nodiscard]] constexpr std::uint64_t capacity() const noexcept { return segment_bytes - data_offset; }

  /// How many of `slots` may be reserved; the others take those who race past the end.
  static constexpr std::uint64_t limit(std::uint64_t slots) noexcept {
    return slots - std::min<std::uint64_t>(1'024, slots / 8);
  }

  /// A file of about `bytes`, at least large enough for `need`, slots for frames of `mean_frame` bytes on
  /// average with an eighth to spare. Header and slots fill whole multiples of 64 KiB, and slots fill those.
  static constexpr Geometry plan(std::uint64_t bytes, std::uint64_t mean_frame, Need need) noexcept {
    bytes = align_up(std::max(bytes, first_segment_bytes), data_alignment);
    const std::uint64_t frame = std::max<std::uint64_t>(mean_frame, 16);
    const std::uint64_t wanted = std::min(max_slots, (bytes / (frame + 8)) * 9 / 8 + 64);
    Geometry shape;
    shape.data_offset = align_up(slots_offset + wanted * 8, data_alignment);
    shape.data_offset =
        std::min(shape.data_offset, std::max(data_alignment, bytes / 2 / data_alignment * data_alignment));
    if (limit((shape.data_offset - slots_offset) / 8) < need.slots)
      shape.data_offset = align_up(slots_offset + (need.slots + 1'024) * 8, data_alignment);
    shape.slot_count = std::min(max_slots, (shape.data_offset - slots_offset) / 8);
    shape.segment_bytes = std::max(bytes, align_up(shape.data_offset + need.bytes, data_alignment));
    return shape;
  }
};

/// How a segment is mapped.
enum class Use {
  append,  ///< all of it writable: producers
  help,    ///< header and slots writable, data read-only: consumers that may help
  look,    ///< all read-only
};

struct Segment {
  std::shared_ptr<shm::Region> control;
  std::shared_ptr<shm::Region> readable;  ///< the same as control when one map serves both
  SegmentHeader* header = nullptr;
  Word64* slots = nullptr;
  std::byte* data = nullptr;
  std::uint64_t base = 0;
  std::uint64_t capacity = 0;
  std::uint64_t slot_count = 0;
  std::uint64_t slot_limit = 0;  ///< reservations that would pass it roll
  std::uint64_t uuid = 0;
  bool checksummed = false;
  bool helpful = false;  ///< header and slots may be written

  explicit operator bool() const noexcept { return header != nullptr; }

  /// Opens what stands under `name`, if it is the incarnation that begins at `base`.
  /// Errors: not_found (also: another incarnation), corrupt, newer_format, and those of mapping.
  static Result<Segment> open(shm::Directory& directory, const char* name, std::uint64_t base, Use use) {
    auto& cache = shm::RegionCache::instance();
    Segment segment;
    const auto first_view = use == Use::append ? shm::View::whole : shm::View::readable;
    auto whole = cache.map(directory, name, first_view, slots_offset);
    if (!whole) return whole.error();
    SegmentHeader constants;  // a copy: what was checked is what is used, whatever a hostile writer does meanwhile
    std::memcpy(static_cast<void*>(&constants), (*whole)->data(), sizeof constants);
    if (auto fine = check(constants, (*whole)->size()); !fine) return fine.error();
    segment.readable = *whole;
    segment.control = *whole;
    if (use == Use::help) {
      auto control = cache.map(directory, name, shm::View::control, constants.data_offset);
      if (!control) return control.error();
      segment.control = std::move(*control);
    }
    segment.helpful = use != Use::look;
    segment.locate(constants);
    if (segment.header->base.load(shm::acquire) != base) return Failure{Errc::not_found, "another incarnation"};
    segment.base = base;
    segment.uuid = segment.header->uuid.load(shm::relaxed);  // ordered by the rename that gave it the name
    return segment;
  }

  /// Is the header one that this library can work with, and does it fit a file of `bytes`?
  static Result<void> check(const SegmentHeader& header, std::uint64_t bytes) noexcept {
    if (header.magic != segment_magic) return Failure{Errc::corrupt, "not a segment file (magic)"};
    if (header.version > segment_format_version) return Failure{Errc::newer_format, "a segment of a newer format"};
    if (header.index_kind != static_cast<std::uint32_t>(IndexKind::dense_slots) || header.stride != 0)
      return Failure{Errc::newer_format, "a segment with another kind of index"};
    if (header.layout_hash != segment_layout_hash) return Failure{Errc::corrupt, "segment layout hash"};
    const bool fits = header.segment_bytes == bytes && header.data_offset < bytes &&
                      header.data_offset >= data_alignment && header.data_offset % data_alignment == 0 &&
                      header.slot_count > 0 && header.slot_count <= max_slots &&
                      header.slot_count <= (header.data_offset - slots_offset) / 8 && bytes <= 2 * max_segment_bytes;
    if (!fits) return Failure{Errc::corrupt, "a segment's header contradicts its file size"};
    return {};
  }

  [[nodiscard]] Geometry geometry() const noexcept {
    return {capacity + static_cast<std::uint64_t>(data - readable->data()), slot_count,
            static_cast<std::uint64_t>(data - readable->data())};
  }

  /// Would it take that if it were empty?
  [[nodiscard]] bool can_hold(Need need) const noexcept { return need.bytes <= capacity && need.slots <= slot_limit; }

  /// Decides a slot, once and for all. False if it was decided before.
  TOWPATH_HOT bool resolve(std::uint64_t n, std::uint64_t value) const noexcept {
#if TOWPATH_SEED_STORE_COMMIT
    slots[n].store(value, shm::release);  // the bug that the soak must find
    return true;
#else
    std::uint64_t open = Slot::empty;
    return slots[n].compare_exchange(open, value, shm::seq_cst,
                                     shm::acquire);  // seq_cst: pairs with a sleeper's recheck
#endif
  }

  /// An abort names its incarnation: resolve(n, Slot::aborted_in(uuid)).
  bool resolve(std::uint64_t n, Slot::State state) const = delete;

  /// Closes the segment after `n` slots unless somebody did; at least one slot, at most all. Returns how many it has.
  /// The caller wakes the waiters.
  std::uint64_t seal(std::uint64_t n) const noexcept {
    std::uint64_t open = 0;
    const std::uint64_t count = std::max<std::uint64_t>(1, std::min(n, slot_count));
    if (header->sealed.compare_exchange(open, count + 1, shm::seq_cst, shm::acquire)) return count;
    return open - 1;
  }

  /// How many slots it was sealed with; 0 while it is open.
  [[nodiscard]] std::uint64_t sealed_count() const noexcept {
    const std::uint64_t sealed = header->sealed.load(shm::acquire);
    return sealed == 0 ? 0 : std::min(sealed - 1, slot_count);
  }

  /// Is what a committed slot says inside the data? Judge the copy that you use, never the word again.
  [[nodiscard]] TOWPATH_HOT bool contains(std::uint64_t slot) const noexcept {
    return Slot::length(slot) >= sizeof(FrameHeader) && Slot::position(slot) + Slot::length(slot) <= capacity;
  }

 private:
  void locate(const SegmentHeader& constants) noexcept {
    header = reinterpret_cast<SegmentHeader*>(control->data());
    slots = reinterpret_cast<Word64*>(control->data() + slots_offset);
    data = readable->data() + constants.data_offset;
    capacity = readable->size() - constants.data_offset;
    slot_count = constants.slot_count;
    slot_limit = Geometry::limit(slot_count);
    checksummed = (constants.features & feature_checksummed) != 0;
  }
};

/// Unlinks a private segment file that nobody owns any more, and tells whoever has it mapped to let go.
inline Result<void> remove_segment_file(shm::Directory& directory, const char* name) {
  auto region = shm::RegionCache::instance().map(directory, name, shm::View::whole, sizeof(SegmentHeader));
  if (region) {
    auto* header = reinterpret_cast<SegmentHeader*>((*region)->data());
    // Pairs with the acquire in forget_gone_segments().
    if (header->magic == segment_magic) header->base.store(gone_base, shm::release);
    shm::RegionCache::instance().forget(region->get());
  }
  return directory.remove(name);
}

/// Lets go of the maps of segments that were removed, so that their memory or disk blocks become free. A segment that
/// somebody in this process still reads stays mapped until that one is through. Once per roll, not per record.
inline void forget_gone_segments() {
  shm::RegionCache::instance().forget_idle([](const shm::Region& region) {
    const auto& header = *reinterpret_cast<const SegmentHeader*>(region.data());
    return region.size() >= sizeof header && header.magic == segment_magic &&
           header.base.load(shm::acquire) == gone_base;
  });
}

}  // namespace towpath::inline TOWPATH_ABI::log
