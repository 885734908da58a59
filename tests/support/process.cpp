#include <support/process.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <support/role.hpp>

extern char** environ;

namespace towpath::test {
namespace {

using Clock = std::chrono::steady_clock;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int patience_factor = 5;
#elif defined(__clang__)
constexpr int patience_factor = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ? 5 : 1;
#else
constexpr int patience_factor = 1;
#endif

void nap() {
  const timespec short_time{0, 200'000};
  ::nanosleep(&short_time, nullptr);
}

[[noreturn]] void fail_errno(const std::string& what) { fail(what + ": " + std::strerror(errno)); }

struct Pipe {
  int read = -1;
  int write = -1;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail_errno("pipe2");
  return {ends[0], ends[1]};
}

void close_quietly(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

void fail(const std::string& message) {
  if (in_role()) {
    std::fprintf(stderr, "role %s: %s\n", in_role(), message.c_str());
    std::_Exit(3);
  }
  FAIL(message);
  // Without exceptions FAIL comes back; the rest of the test would run on a broken premise.
  std::abort();
}

Duration stretched(Duration deadline) { return deadline * patience_factor; }

bool eventually(Duration deadline, const std::function<bool()>& predicate) {
  const auto end = Clock::now() + stretched(deadline);
  while (!predicate()) {
    if (Clock::now() >= end) return predicate();
    nap();
  }
  return true;
}

Child spawn(std::string_view role, const std::vector<std::string>& args) {
  Pipe input = make_pipe();
  Pipe output = make_pipe();
  std::vector<std::string> words{"/proc/self/exe", "--role=" + std::string{role}};
  words.insert(words.end(), args.begin(), args.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::string parent = "TOWPATH_TEST_PARENT=" + std::to_string(::getpid());
  std::vector<char*> environment{parent.data()};
  for (char** entry = environ; *entry != nullptr; ++entry) environment.push_back(*entry);
  environment.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, input.read, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, output.write, STDOUT_FILENO);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, argv.data(), environment.data());
  ::posix_spawn_file_actions_destroy(&actions);
  close_quietly(input.read);
  close_quietly(output.write);
  if (error != 0) fail("posix_spawn: " + std::string{std::strerror(error)});
  return Child{pid, input.write, output.read};
}

Child::Child(Child&& other) noexcept { *this = std::move(other); }

Child& Child::operator=(Child&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(input_, other.input_);
  std::swap(output_fd_, other.output_fd_);
  std::swap(output_, other.output_);
  std::swap(taken_, other.taken_);
  std::swap(ended_, other.ended_);
  std::swap(status_, other.status_);
  return *this;
}

Child::~Child() {
  kill();
  close_quietly(input_);
  close_quietly(output_fd_);
}

bool Child::read_some(Duration patience) {
  pollfd ready{output_fd_, POLLIN, 0};
  const auto wait_ms = std::max<std::int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(patience).count());
  const int count = ::poll(&ready, 1, static_cast<int>(wait_ms));
  if (count == 0 || (count < 0 && errno == EINTR)) return true;
  if (count < 0) fail_errno("poll");
  std::array<char, 4096> buffer;
  const ssize_t got = ::read(output_fd_, buffer.data(), buffer.size());
  if (got < 0) fail_errno("read from child");
  output_.append(buffer.data(), static_cast<std::size_t>(got));
  return got > 0;
}

std::string Child::wait_for(std::string_view text, Duration deadline) {
  const auto end = Clock::now() + stretched(deadline);
  for (;;) {
    for (auto line_end = output_.find('\n', taken_); line_end != std::string::npos;
         line_end = output_.find('\n', taken_)) {
      std::string line = output_.substr(taken_, line_end - taken_);
      taken_ = line_end + 1;
      if (line.starts_with(text)) return line;
    }
    const auto left = end - Clock::now();
    if (left <= Duration::zero()) fail("no line '" + std::string{text} + "' in time from " + describe());
    if (!read_some(left)) fail("the end of output before a line '" + std::string{text} + "' from " + describe());
  }
}

std::string Child::describe() const { return "child " + std::to_string(pid_) + ", which said:\n" + output_; }

void Child::tell(std::string_view line) {
  if (!write_all(input_, std::string{line} + '\n')) fail_errno("tell: " + describe());
}

bool Child::reap(int flags) {
  if (ended_) return true;
  int status = 0;
  const pid_t got = ::waitpid(pid_, &status, flags);
  if (got == 0 || (got < 0 && errno == EINTR)) return false;
  if (got < 0) fail_errno("waitpid");
  ended_ = true;
  status_ = WIFEXITED(status) ? ExitStatus{WEXITSTATUS(status), 0} : ExitStatus{-1, WTERMSIG(status)};
  return true;
}

void Child::kill() {
  if (pid_ < 0 || ended_) return;
  ::kill(pid_, SIGKILL);
  while (!reap(0)) continue;
}

void Child::stop() {
  ::kill(pid_, SIGSTOP);
  wait_stopped(10s);
}

void Child::wait_stopped(Duration deadline) {
  const bool stands = eventually(deadline, [this] {
    siginfo_t info{};
    // A child that has ended cannot stop any more, which the kernel reports as no such child.
    if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WNOHANG) != 0) fail("the end instead of a stop of " + describe());
    return info.si_pid == pid_ && info.si_code == CLD_STOPPED;
  });
  if (!stands) fail("no stop in time of " + describe());
}

void Child::cont() { ::kill(pid_, SIGCONT); }

ExitStatus Child::wait(Duration deadline) {
  close_quietly(input_);
  const auto end = Clock::now() + stretched(deadline);
  while (!reap(WNOHANG)) {
    if (Clock::now() >= end) fail("no exit in time of " + describe());
    // A child that says more than a pipe holds would never end if nobody read.
    if (output_fd_ >= 0 && !read_some(200us)) close_quietly(output_fd_);
    nap();
  }
  // What it said last. A grandchild may hold the pipe open, so the end of output is not waited for.
  for (std::size_t before = output_.size() + 1; output_fd_ >= 0 && before != output_.size();) {
    before = output_.size();
    if (!read_some(0ns)) close_quietly(output_fd_);
  }
  return status_;
}

void say(std::string_view line) {
  if (!write_all(STDOUT_FILENO, std::string{line} + '\n')) std::_Exit(4);
}

std::string hear(std::string_view text) {
  std::string line;
  for (char c = 0;;) {
    const ssize_t got = ::read(STDIN_FILENO, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) std::_Exit(4);
    if (c != '\n') {
      line += c;
    } else if (line.starts_with(text)) {
      return line;
    } else {
      line.clear();
    }
  }
}

void hang() {
  for (;;) ::pause();
}

}  // namespace towpath::test
