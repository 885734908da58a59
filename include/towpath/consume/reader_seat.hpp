// A Consumer with a name, in one topic: it alone has the name while it lives, and leaves behind how far it came, for
// topics that wait for it and for the next Consumer of that name. One thread. A crash leaves what the last poll began
// with: what was polled then is read again.
#pragma once

#include <towpath/topic/topic_files.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

class ReaderSeat {
 public:
  /// `name` was checked. Errors: busy (another live Consumer has the name), read_only, permission_denied (no right to
  /// make its file), no_space, corrupt, newer_format, and those of mapping.
  static Result<ReaderSeat> take(const TopicFiles& files, const std::string& name) {
    if (!files.core().members())
      return Failure{Errc::read_only, "a consumer with a name leaves a trace; this may only read"};
    auto& directory = files.directory();
    const auto file = ReaderFile::name_of(name);
    if (auto made = ReaderFile::make(directory, file, files.partitions()); !made) return made.error();
    ReaderSeat seat;
    auto lock = shm::LockDescriptor::open([&] { return directory.open(file.c_str(), shm::Access::read_write); });
    if (!lock) return lock.error();
    if (auto taken = shm::try_lock(lock->get(), 0, shm::LockKind::write); !taken)
      return taken.error() == Errc::busy ? Failure{Errc::busy, "another live Consumer has this name"} : taken.error();
    seat.lock_ = std::move(*lock);
    seat.directory_ = &directory;
    seat.file_ = file;
    if (auto grown = seat.grow(files.partitions()); !grown) return grown.error();
    return seat;
  }

  /// Where the last Consumer of this name stood; none: there was none.
  [[nodiscard]] std::optional<std::uint64_t> stood_at(std::int32_t partition) const noexcept {
    const auto* entry = opened_->entry(partition);
    const std::uint64_t stands = entry ? entry->stands_at.load(shm::acquire) : 0;
    return stands == 0 ? std::nullopt : std::optional{stands - 1};
  }

  /// Everything below `position` is done with: it may go. Pairs with the acquire in ReaderTable.
  void publish(std::int32_t partition, std::uint64_t position) const noexcept {
    if (auto* entry = opened_->entry(partition)) entry->stands_at.store(position + 1, shm::release);
  }
  void missed(std::int32_t partition, std::uint64_t count) const noexcept {
    if (auto* entry = opened_->entry(partition)) entry->missed.fetch_add(count, shm::relaxed);
  }

  /// Room for the topic's partitions. Errors: no_space, and those of mapping.
  Result<void> grow(std::int32_t partitions) {
    if (opened_ && opened_->entry(partitions - 1)) return {};
    auto opened = ReaderFile::open(*directory_, file_, partitions, true);
    if (!opened) return opened.error();
    opened_ = std::move(*opened);
    return {};
  }

 private:
  shm::LockDescriptor lock_;
  shm::Directory* directory_ = nullptr;
  std::string file_;
  std::optional<ReaderFile> opened_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail
