#include "interrupt.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdint>

#include "quit.hpp"

namespace towpath::cli {
namespace {

void ring(int descriptor) noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(descriptor, &one, sizeof one);
}

void add_unless_ignored(sigset_t& set, int signal) noexcept {
  struct sigaction now {};
  if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) return;
  ::sigaddset(&set, signal);
}

}  // namespace

Interrupt::Interrupt(Output output) {
  sigset_t set;
  ::sigemptyset(&set);
  add_unless_ignored(set, SIGINT);
  add_unless_ignored(set, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);  // threads that are started from here on inherit it
  signals_fd_ = ::signalfd(-1, &set, SFD_CLOEXEC);
  requested_fd_ = ::eventfd(0, EFD_CLOEXEC);
  end_fd_ = ::eventfd(0, EFD_CLOEXEC);
  if (signals_fd_ < 0 || requested_fd_ < 0 || end_fd_ < 0) throw Quit{Exit::error, "out of file descriptors"};
  thread_ = std::thread{[this, output] { watch(output == Output::watched); }};
}

Interrupt::~Interrupt() {
  ring(end_fd_);
  thread_.join();
  for (const int descriptor : {signals_fd_, requested_fd_, end_fd_}) ::close(descriptor);
}

void Interrupt::watch(bool output) {
  // Without an event asked for, an output reports only that its reader is gone.
  pollfd watched[] = {{end_fd_, POLLIN, 0}, {signals_fd_, POLLIN, 0}, {output ? STDOUT_FILENO : -1, 0, 0}};
  for (;;) {
    if (::poll(watched, 3, -1) < 0) continue;
    if (watched[0].revents != 0) return;
    if (watched[1].revents != 0) {
      signalfd_siginfo info;
      if (::read(signals_fd_, &info, sizeof info) != sizeof info) continue;
      if (by_signal()) ::_exit(static_cast<int>(Exit::interrupted));
      by_signal_.request_stop();
      request();
    }
    if (watched[2].revents != 0) {
      if ((watched[2].revents & POLLERR) != 0) request();
      watched[2].fd = -1;
    }
  }
}

void Interrupt::request() {
  ring(requested_fd_);
  source_.request_stop();
}

}  // namespace towpath::cli
