// After fork() the child shares the parent's lock descriptors (its members would look alive after its death) and
// none of its maps. So: maps are not inherited, lock descriptors are closed in the child, and a page that the kernel
// wipes on fork tells every handle that it is in a child. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include <pthread.h>
#include <sys/mman.h>

#include <towpath/shm/system.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

/// Whether this is still the process that something was made in: two loads.
class ForkWatch {
 public:
  [[nodiscard]] TOWPATH_HOT bool is_mine() const noexcept {
    return std::atomic_ref<std::uint64_t>{*page_}.load(std::memory_order_relaxed) == generation_;
  }

 private:
  friend class ForkGuard;
  ForkWatch(std::uint64_t* page, std::uint64_t generation) noexcept : page_{page}, generation_{generation} {}

  std::uint64_t* page_;
  std::uint64_t generation_;
};

class ForkGuard {
 public:
  static ForkGuard& instance() {
    static ForkGuard& guard = *new ForkGuard;  // never destroyed: handles may be globals
    return guard;
  }

  /// The number of this process in its line of forks; a handle remembers it. 0 in a child made without atfork handlers.
  [[nodiscard]] std::uint64_t generation() const noexcept {
    return std::atomic_ref<std::uint64_t>{*page_}.load(std::memory_order_relaxed);
  }

  /// The generation for a bus that is being opened in this process.
  std::uint64_t enter() {
    const std::lock_guard hold{mutex_};
    if (generation() == 0) leave_parent();
    return generation();
  }
  ForkWatch watch() { return {page_, enter()}; }

  /// Opens a descriptor that will hold locks, so that a child closes it; no fork comes between opening and knowing.
  /// `open` returns a Result with a FileDescriptor.
  template <class Open>
  auto open_watched(const Open& open) {
    const std::lock_guard hold{mutex_};
    auto fd = open();
    if (fd) lock_holders_.push_back(fd->get());
    return fd;
  }
  /// Closes a watched descriptor. A fork sees it open and watched, or closed: never open and unwatched.
  void close(int fd) {
    const std::lock_guard hold{mutex_};
    std::erase(lock_holders_, fd);
    ::close(fd);
  }

 private:
  ForkGuard() {
    void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page_ = page == MAP_FAILED ? &fallback_ : static_cast<std::uint64_t*>(page);
    if (page_ != &fallback_) ::madvise(page, 4096, MADV_WIPEONFORK);
    renew();
    ::pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                     [] { instance().in_child(); });
  }

  void renew() noexcept { std::atomic_ref<std::uint64_t>{*page_}.store(++last_, std::memory_order_relaxed); }

  void leave_parent() noexcept {
    for (const int fd : lock_holders_) ::close(fd);
    lock_holders_.clear();
    renew();
  }

  void in_child() noexcept {
    leave_parent();
    mutex_.unlock();
  }

  std::mutex mutex_;
  std::uint64_t fallback_ = 0;
  std::uint64_t last_ = 0;
  std::uint64_t* page_ = nullptr;
  std::vector<int> lock_holders_;
};

/// A descriptor that holds locks; closed in the child after a fork.
class LockDescriptor {
 public:
  LockDescriptor() noexcept = default;
  /// What `open` opens; it returns a Result with a FileDescriptor, and so its errors.
  template <class Open>
  static Result<LockDescriptor> open(const Open& open_file) {
    auto fd = ForkGuard::instance().open_watched(open_file);
    if (!fd) return fd.error();
    LockDescriptor lock;
    lock.fd_ = std::move(*fd);
    return lock;
  }
  LockDescriptor(LockDescriptor&&) noexcept = default;
  LockDescriptor& operator=(LockDescriptor&& other) noexcept {
    if (this != &other) {
      close();
      fd_ = std::move(other.fd_);
      generation_ = other.generation_;
    }
    return *this;
  }
  ~LockDescriptor() { close(); }

  [[nodiscard]] const FileDescriptor& get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  /// False in a child after fork(): the descriptor was closed there.
  [[nodiscard]] bool is_mine() const noexcept { return ForkGuard::instance().generation() == generation_; }

 private:
  void close() noexcept {
    if (!fd_) return;
    const int fd = fd_.release();
    // In a child the descriptor was closed already, and its number may be somebody else's by now.
    if (is_mine()) ForkGuard::instance().close(fd);
  }

  FileDescriptor fd_;
  std::uint64_t generation_ = ForkGuard::instance().generation();
};

}  // namespace towpath::inline TOWPATH_ABI::shm
