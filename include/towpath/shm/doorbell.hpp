// A Doorbell is what a consumer sleeps on in somebody else's event loop: a descriptor that becomes readable when
// another process rings, when an alarm is due, or when signal() was called. A Ringer rings the doorbells of other
// members. A bell with a name is a FIFO in the bus's folder, called after its owner's member line and incarnation.
// Doorbell: its owner's thread, but for signal(). Ringer: any thread.
// After a crash the name is left behind; nobody waits for it, and whoever finds its owner dead removes it. A ringer
// that is killed loses its ring: always set an alarm.
#pragma once

#include <array>
#include <mutex>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <towpath/core/time.hpp>
#include <towpath/shm/directory.hpp>
#include <towpath/shm/fork.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

inline constexpr const char* doorbell_folder = "bells";

struct DoorbellName {
  DoorbellName(unsigned member, std::uint64_t incarnation) noexcept {
    std::snprintf(text, sizeof text, "%s/%u.%llu", doorbell_folder, member,
                  static_cast<unsigned long long>(incarnation));
  }
  char text[48];
};

namespace detail {

/// Not ::write, which is a place where a thread may be cancelled. A bell that is full is readable anyway.
inline void ring_once(const FileDescriptor& bell) noexcept {
  const std::uint64_t one = 1;  // what an eventfd takes; a FIFO takes anything
  ::syscall(SYS_write, bell.get(), &one, sizeof one);
}

}  // namespace detail

class Doorbell {
 public:
  /// A bell that others can ring under `name`. Errors: too_many_files, no_space, permission_denied (the folder is not
  /// ours to write), already_exists.
  static Result<std::unique_ptr<Doorbell>> open(Directory& directory, const DoorbellName& name) {
    if (auto made = directory.make_folder(doorbell_folder); !made && made.error() != Errc::already_exists)
      return made.error();
    auto bell = directory.make_fifo(name.text, 0660);
    if (!bell) return bell.error();
    auto doorbell = assemble(std::move(*bell));
    if (doorbell)
      (*doorbell)->directory_ = &directory, (*doorbell)->name_ = name.text;
    else
      directory.remove(name.text).ignore();
    return doorbell;
  }
  /// A bell that only its own process can ring. Errors: too_many_files.
  static Result<std::unique_ptr<Doorbell>> open_private() {
    FileDescriptor bell{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (!bell) return system_failure(errno, "eventfd");
    return assemble(std::move(bell));
  }

  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;
  ~Doorbell() {
    // In a child the name is still the parent's.
    if (directory_ && ForkGuard::instance().generation() == generation_) directory_->remove(name_.c_str()).ignore();
  }

  /// An epoll descriptor; it stays this one.
  [[nodiscard]] int descriptor() const noexcept { return epoll_.get(); }
  [[nodiscard]] bool has_name() const noexcept { return directory_ != nullptr; }

  /// Makes it readable. From any thread.
  void signal() noexcept { detail::ring_once(bell_); }

  /// Takes back all rings and signals up to now. An alarm that is due stays so until the next one is set.
  void clear() noexcept {
    std::array<char, 4096> taken;
    while (::syscall(SYS_read, bell_.get(), taken.data(), taken.size()) == static_cast<long>(taken.size())) continue;
  }

  /// Makes it readable once, after `time` at the latest and half of that at the soonest: one that is set already will
  /// do, so that a busy owner does not pay for setting it.
  void set_alarm(Duration time) noexcept {
    const Monotonic now = Clock::system_steady();  // the kernel's alarms go by no other clock
    if (alarm_ > now + time / 2 && alarm_ <= now + time) return;
    alarm_ = now + time;
    itimerspec when{};
    when.it_value.tv_sec = static_cast<time_t>(time.count() / 1'000'000'000);
    when.it_value.tv_nsec = static_cast<long>(time.count() % 1'000'000'000);
    ::timerfd_settime(timer_.get(), 0, &when, nullptr);
  }

 private:
  Doorbell(FileDescriptor bell, FileDescriptor timer, FileDescriptor epoll) noexcept
      : bell_{std::move(bell)}, timer_{std::move(timer)}, epoll_{std::move(epoll)} {}

  static Result<std::unique_ptr<Doorbell>> assemble(FileDescriptor bell) {
    FileDescriptor timer{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)};
    if (!timer) return system_failure(errno, "timerfd_create");
    FileDescriptor epoll{::epoll_create1(EPOLL_CLOEXEC)};
    if (!epoll) return system_failure(errno, "epoll_create1");
    for (const auto* source : {&bell, &timer}) {
      epoll_event readable{};
      readable.events = EPOLLIN;
      if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, source->get(), &readable) != 0)
        return system_failure(errno, "epoll_ctl");
    }
    return std::unique_ptr<Doorbell>{new Doorbell{std::move(bell), std::move(timer), std::move(epoll)}};
  }

  FileDescriptor bell_;  // open for reading and writing: it never ends
  FileDescriptor timer_;
  FileDescriptor epoll_;
  Monotonic alarm_{};
  Directory* directory_ = nullptr;
  std::string name_;
  std::uint64_t generation_ = ForkGuard::instance().generation();
};

/// Rings by name. Keeps the last few bells open, so that ringing the same ones again is one system call.
class Ringer {
 public:
  /// No directory: nobody can be rung.
  explicit Ringer(Directory* directory) noexcept : directory_{directory} {}

  /// Never blocks. A bell that cannot be opened is not rung: its owner's alarm is for that. True if the bell was opened
  /// by this call: a good moment to ask whether its owner lives.
  bool ring(unsigned member, std::uint64_t incarnation) noexcept {
    const std::lock_guard hold{mutex_};
    Kept& kept = kept_[member % kept_.size()];
    const bool is_kept = kept.bell && kept.member == member && kept.incarnation == incarnation;
    if (!is_kept) {
      auto bell = directory_ ? directory_->open_fifo(DoorbellName{member, incarnation}.text) : Errc::not_found;
      if (!bell) return false;
      kept = Kept{std::move(*bell), member, incarnation};
    }
    TOWPATH_FAILPOINT("wake.before_fifo");
    detail::ring_once(kept.bell);
    return !is_kept;
  }

  /// Removes the bell of somebody who is dead.
  void remove(unsigned member, std::uint64_t incarnation) noexcept {
    const std::lock_guard hold{mutex_};
    kept_[member % kept_.size()] = Kept{};
    if (directory_) directory_->remove(DoorbellName{member, incarnation}.text).ignore();
  }

 private:
  struct Kept {
    FileDescriptor bell;
    unsigned member = 0;
    std::uint64_t incarnation = 0;
  };

  Directory* directory_;
  std::mutex mutex_;
  std::array<Kept, 8> kept_;
};

}  // namespace towpath::inline TOWPATH_ABI::shm
