// A process beside the two that are measured: a media driver, a broker. It ends when its owner ends, however that ends.
#pragma once

#include <fcntl.h>

#include "harness.hpp"

namespace bench {

class Daemon {
 public:
  /// `settings`: NAME=value for its environment. `end`: the signal that ends it. What it prints on standard output is
  /// dropped. It may run on all cores.
  Daemon(const std::vector<std::string>& command, const std::vector<std::string>& settings, int end = SIGTERM)
      : end_(end) {
    std::fflush(stdout);
    const pid_t owner = getpid();
    pid_ = fork();
    require(pid_ >= 0, "fork");
    if (pid_ != 0) return;
    require(prctl(PR_SET_PDEATHSIG, end_) == 0 && getppid() == owner, "the owner died");
    const int nowhere = open("/dev/null", O_WRONLY);
    require(nowhere >= 0 && dup2(nowhere, STDOUT_FILENO) >= 0, "/dev/null");
    for (const std::string& setting : settings) require(putenv(const_cast<char*>(setting.c_str())) == 0, setting);
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    execvp(words[0], words.data());
    require(false, command[0]);
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  /// Asks it to end; insists after 5 s.
  ~Daemon() {
    signal(SIGCHLD, SIG_DFL);  // its end is wanted now
    kill(pid_, end_);
    for (int waited = 0; waitpid(pid_, nullptr, WNOHANG) == 0; ++waited) {
      if (waited == 500) kill(pid_, SIGKILL);
      usleep(10'000);
    }
  }

  pid_t pid() const noexcept { return pid_; }

  /// Waits until `ready()`, up to 10 s. Ends the program if the daemon has ended meanwhile.
  template <class Ready>
  void wait_until(Ready ready) {
    for (int waited = 0;; ++waited) {
      if (waitpid(pid_, nullptr, WNOHANG) != 0) fail("the daemon ended");
      if (ready()) return;
      if (waited == 1'000) fail("the daemon is not ready after 10 s");
      usleep(10'000);
    }
  }

 private:
  int end_;
  pid_t pid_ = -1;
};

}  // namespace bench
