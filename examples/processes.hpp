// What the examples with several processes share: a folder of their own in memory, and this program started once more
// in another role. Nothing in here needs towpath.
#pragma once

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

/// Made in memory, removed with all that is in it when the example ends.
class TempFolder {
 public:
  TempFolder() {
    if (!mkdtemp(path_.data())) throw std::runtime_error{"cannot make " + path_};
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_ = "/dev/shm/towpath-example-XXXXXX";
};

/// Throws when one of these files is not there, before other processes are started to read it.
inline void must_exist(const std::vector<std::string>& files) {
  for (const auto& file : files)
    if (!std::filesystem::exists(file)) throw std::runtime_error{file + " is not there"};
}

/// This program again, as a process of its own, with these arguments.
inline pid_t start_again(std::vector<std::string> arguments) {
  std::string self = "/proc/self/exe";
  std::vector<char*> argv{self.data()};
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t process = 0;
  if (posix_spawn(&process, self.c_str(), nullptr, nullptr, argv.data(), environ) != 0)
    throw std::runtime_error{"cannot start " + self};
  return process;
}

/// Waits for its end: "ended with 0", "was killed by signal 9".
inline std::string wait_for(pid_t process) {
  int status = 0;
  if (waitpid(process, &status, 0) != process) return "cannot be waited for";
  if (WIFSIGNALED(status)) return fmt::format("was killed by signal {}", WTERMSIG(status));
  return fmt::format("ended with {}", WEXITSTATUS(status));
}
