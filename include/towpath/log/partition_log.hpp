// A PartitionLog is one partition as seen by one process: its words, its folder, and the steps that make the chain of
// segments longer (protocol.md OPEN, NEXT, TAKE). Appender and Reader work on it.
// Thread-safe: everything it holds is fixed at construction or shared words. Any process may die between any two steps;
// the table in docs/protocol.md says what is left behind and who repairs it.
#pragma once

#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include <towpath/core/time.hpp>
#include <towpath/log/segment.hpp>
#include <towpath/log/state.hpp>

namespace towpath::inline TOWPATH_ABI::log {

/// What is fixed when the topic is created.
struct PartitionFormat {
  std::uint64_t record_alignment = 8;  ///< frames begin at multiples: 8, 16, 32 or 64
  std::uint64_t value_alignment = 8;
  std::uint64_t typical_frame = 0;     ///< bytes of one record when the type tells, else 0
  bool checksummed = false;
  bool recycling = true;
};

using FileName = std::array<char, 320>;

class PartitionLog {
 public:
  /// `folder` is the topic's folder and the partition's number, "topics/pose/0"; it is made with the first segment.
  PartitionLog(shm::Directory& directory, std::string folder, PartitionState& state, WaitBlock* waits, TopicWords& words,
               shm::Members* members, const PartitionFormat& format, const Clock& clock)
      : directory_{&directory}, folder_{std::move(folder)}, state_{&state}, waits_{waits}, words_{&words},
        members_{members}, format_{format}, clock_{clock}, uid_{state.uid.load(shm::acquire)} {}

  [[nodiscard]] shm::Directory& directory() const noexcept { return *directory_; }
  [[nodiscard]] PartitionState& state() const noexcept { return *state_; }
  [[nodiscard]] const TopicWords& words() const noexcept { return *words_; }
  [[nodiscard]] WaitBlock* waits() const noexcept { return waits_; }
  [[nodiscard]] shm::Members& members() const noexcept { return *members_; }
  [[nodiscard]] const PartitionFormat& format() const noexcept { return format_; }
  [[nodiscard]] const Clock& clock() const noexcept { return clock_; }
  [[nodiscard]] std::uint64_t uid() const noexcept { return uid_; }
  [[nodiscard]] const std::string& folder() const noexcept { return folder_; }
  [[nodiscard]] bool is_deleted() const noexcept { return (state_->flags.load(shm::acquire) & partition_deleted) != 0; }
  /// A read-only process has neither members nor waiter block: it never helps and never registers.
  [[nodiscard]] bool may_help() const noexcept { return members_ != nullptr && waits_ != nullptr; }

  void wake() const noexcept {
    if (may_help()) wake_waiters(*waits_, *members_);
  }

  // ---- names
  [[nodiscard]] FileName segment_name(std::uint64_t base) const noexcept { return numbered("%s/%020llu.log", base); }
  [[nodiscard]] FileName spare_name(std::uint64_t i) const noexcept { return numbered("%s/spare.%llu", i); }
  [[nodiscard]] FileName time_index_name(std::uint64_t base) const noexcept { return numbered("%s/%020llu.timeindex", base); }
  /// A private name: exactly one live member may touch what stands under it, sweepers may only unlink it.
  [[nodiscard]] FileName own_name(const shm::Member& member) const noexcept {
    static std::atomic<unsigned long long> next{0};
    FileName name;
    std::snprintf(name.data(), name.size(), "%s/own.%u.%llu.%llu", folder_.c_str(), member.index(),
                  static_cast<unsigned long long>(member.line().incarnation.load(shm::relaxed)), ++next);
    return name;
  }
  [[nodiscard]] FileName in_folder(const char* entry) const noexcept {
    FileName name;
    std::snprintf(name.data(), name.size(), "%s/%s", folder_.c_str(), entry);
    return name;
  }

  /// The live segments' bases, ascending. Empty before the first record.
  [[nodiscard]] Result<std::vector<std::uint64_t>> bases() const {
    auto names = directory_->list(folder_.c_str());
    std::vector<std::uint64_t> found;
    if (!names) return names.error() == Errc::not_found ? Result<std::vector<std::uint64_t>>{std::move(found)} : names.error();
    for (const auto& name : *names)
      if (name.size() == 24 && name.ends_with(".log")) found.push_back(std::strtoull(name.c_str(), nullptr, 10));
    std::sort(found.begin(), found.end());
    return found;
  }

  // ---- segments
  /// OPEN. Errors: not_found when there is no such incarnation, and those of Segment::open.
  [[nodiscard]] Result<Segment> open(std::uint64_t base, Use use) const {
    return Segment::open(*directory_, segment_name(base).data(), base, use);
  }

  /// The segment to append to: that of hint, made if the log is still empty. Errors: topic_deleted, no_space, corrupt.
  Result<Segment> active(const shm::Member& member, std::uint64_t need) const;

  /// NEXT. The segment after `full`, which ends at base `next_base`; whoever crossed the end makes it, others wait a
  /// little first. Returns a later one when the log has moved on. Errors as active().
  Result<Segment> next(const shm::Member& member, const Segment& full, std::uint64_t next_base, bool crosser, std::uint64_t need) const;

  /// A new file under a private name: allocated, initialised, closed, unset. Errors: no_space.
  [[nodiscard]] Result<Segment> make_file(const char* own, const Geometry& shape) const;

  /// The shape of the segment that follows `last`.
  [[nodiscard]] Geometry following(const Segment& last, std::uint64_t need) const noexcept;

 private:
  [[nodiscard]] FileName numbered(const char* pattern, std::uint64_t n) const noexcept {
    FileName name;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    std::snprintf(name.data(), name.size(), pattern, folder_.c_str(), static_cast<unsigned long long>(n));
#pragma GCC diagnostic pop
    return name;
  }

  /// TAKE. True if this call made the segment, false if somebody else did.
  Result<bool> take(const shm::Member& member, std::uint64_t base, const Geometry& shape) const;
  [[nodiscard]] Result<Segment> take_spare(const char* own, const Geometry& shape) const;

  shm::Directory* directory_;
  std::string folder_;
  PartitionState* state_;
  WaitBlock* waits_;
  TopicWords* words_;
  shm::Members* members_;
  PartitionFormat format_;
  Clock clock_;
  std::uint64_t uid_;
};

inline constexpr std::uint64_t spare_names = 8;

}  // namespace towpath::inline TOWPATH_ABI::log
