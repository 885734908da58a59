// Who may append to a partition of a topic with one writer (TopicConfig::writers): whoever holds its lock byte in the
// topic's `wait` file. The kernel drops the lock when its holder dies, so whoever gets it knows that nobody writes.
// One thread's, like the Producer that has it. After a crash nothing is left.
#pragma once

#include <thread>

#include <towpath/log/partition_log.hpp>
#include <towpath/shm/lock.hpp>

namespace towpath::inline TOWPATH_ABI::log {

/// The lock bytes that one Producer has of one topic: a descriptor of its own, for locks of one descriptor do not
/// exclude each other.
class WriterLocks {
 public:
  /// For a Producer, until give_back(). Maintenance has a lock for as long as it takes to make a segment: that is
  /// waited for, a second at most. Errors: busy (another live Producer has it), and those of opening a file.
  Result<void> take(const PartitionLog& log) {
    if (auto opened = open(log); !opened) return opened;
    Result<void> taken;
    for (int tries = 0, refused = 0; tries < 20'000 && refused < 2; ++tries) {
      taken = shm::try_lock(file_.get(), writer(log), shm::LockKind::write);
      if (taken || taken.error() != Errc::busy) return taken;
      // Maintenance takes its own byte first and drops it last: not held, and refused again, it was somebody else.
      if (!shm::is_locked(file_.get(), maintenance(log))) {
        ++refused;
        continue;
      }
      refused = 0;
      std::this_thread::sleep_for(std::chrono::microseconds{50});
    }
    return Failure{Errc::busy, "another live Producer writes this partition"};
  }

  /// For maintenance, for a moment. Errors as take(): busy is at once.
  Result<void> take_for_maintenance(const PartitionLog& log) {
    if (auto opened = open(log); !opened) return opened;
    auto taken = shm::try_lock(file_.get(), maintenance(log), shm::LockKind::write);
    if (!taken) return taken;
    taken = shm::try_lock(file_.get(), writer(log), shm::LockKind::write);
    if (!taken) shm::unlock(file_.get(), maintenance(log));
    return taken;
  }

  void give_back(const PartitionLog& log) noexcept {
    if (!file_ || !file_.is_mine()) return;
    shm::unlock(file_.get(), writer(log));
    shm::unlock(file_.get(), maintenance(log));
  }

 private:
  // Bytes of the topic's wait file, whose data and whose producers' ids end before.
  static std::uint64_t writer(const PartitionLog& log) noexcept { return (std::uint64_t{1} << 42) + log.number(); }
  static std::uint64_t maintenance(const PartitionLog& log) noexcept { return (std::uint64_t{1} << 43) + log.number(); }

  Result<void> open(const PartitionLog& log) {
    if (file_) return file_.is_mine() ? Result<void>{} : Failure{Errc::forked, "the producer was made before fork()"};
    auto file = shm::LockDescriptor::open([&] { return log.directory().open("wait", shm::Access::read_write); });
    if (!file) return file.error();
    file_ = std::move(*file);
    return {};
  }

  shm::LockDescriptor file_;
};

}  // namespace towpath::inline TOWPATH_ABI::log
