// A test and its child processes. A child is this binary again, in a role that the test file registers:
//   TOWPATH_ROLE("reserve_then_hang") { Bus bus{args.at(0)}; ...; say("reserved"); hang(); }
//   auto child = spawn("reserve_then_hang", {dir.path().string()});
//   child.wait_for("reserved", 5s);
//   child.kill();
// Nothing here sleeps for a fixed time: every wait has a condition and a deadline, and a missed deadline fails the test.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace towpath::test {

using namespace std::chrono_literals;
using Duration = std::chrono::nanoseconds;

/// In a test: fails it and leaves the test case. In a role: prints on stderr and exits with 3.
[[noreturn]] void fail(const std::string& message);

/// Deadlines are stretched where the code is slower by design: 5 times under a sanitizer.
Duration stretched(Duration deadline);

/// Polls until the predicate holds; false if it did not within the deadline.
bool eventually(Duration deadline, const std::function<bool()>& predicate);

// How a process ended.
struct ExitStatus {
  int code = -1;   // of exit(), -1 if a signal ended it
  int signal = 0;  // that ended it, or 0

  bool operator==(const ExitStatus&) const = default;
};
inline constexpr ExitStatus exited_well{0, 0};

// A running child. Owned by one thread; that thread must outlive the child, for the kernel kills the child when it ends.
// The destructor kills and reaps.
class Child {
 public:
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();

  /// Reads the child's stdout until a line starts with `text` and returns that line.
  /// Fails the test at the deadline, and when the child ends first; the message shows what the child said.
  std::string wait_for(std::string_view text, Duration deadline);

  /// Everything the child said up to now, waited for or not.
  const std::string& output() const { return output_; }

  /// Writes a line to the child's stdin, where hear() reads it.
  void tell(std::string_view line);

  /// SIGKILL, then reaps: afterwards the process is gone and its locks are free. Does nothing if it is reaped already.
  void kill();

  /// SIGSTOP and SIGCONT. stop() returns when every thread of the child stands still.
  void stop();
  void cont();

  /// Waits for the child to stop by itself (Action::stop); fails the test at the deadline or if it ends instead.
  void wait_stopped(Duration deadline);

  /// Waits until the child has ended and returns how; fails the test at the deadline.
  ExitStatus wait(Duration deadline);

  pid_t pid() const { return pid_; }

 private:
  friend Child spawn(std::string_view role, const std::vector<std::string>& args);
  Child(pid_t pid, int input, int output) : pid_{pid}, input_{input}, output_fd_{output} {}

  bool read_some(Duration patience);  // false: the child closed its stdout
  bool reap(int flags);
  std::string describe() const;

  pid_t pid_ = -1;
  int input_ = -1;
  int output_fd_ = -1;
  std::string output_;
  std::size_t taken_ = 0;  // how much of output_ wait_for() has passed
  bool ended_ = false;
  ExitStatus status_;
};

/// Starts this binary in another role. Its stderr is the test's.
Child spawn(std::string_view role, const std::vector<std::string>& args = {});

// In the child:

/// Writes one line to stdout, at once and whole.
void say(std::string_view line);

/// Waits for a line on stdin that starts with `text` and returns it; exits with 4 if the parent is gone.
std::string hear(std::string_view text);

/// Sleeps until somebody kills this process.
[[noreturn]] void hang();

using Role = int (*)(const std::vector<std::string>& args);
bool register_role(const char* name, Role role);

}  // namespace towpath::test

#define TOWPATH_TEST_JOIN_(a, b) a##b
#define TOWPATH_TEST_JOIN(a, b) TOWPATH_TEST_JOIN_(a, b)
#define TOWPATH_ROLE_AS(name, function)                                                                  \
  static int function(const std::vector<std::string>& args);                                             \
  [[maybe_unused]] static const bool TOWPATH_TEST_JOIN(function, _registered) =                          \
      ::towpath::test::register_role(name, function);                                                    \
  static int function([[maybe_unused]] const std::vector<std::string>& args)

/// Registers what `--role=name args...` runs: a function body that sees `args` and returns the exit code.
#define TOWPATH_ROLE(name) TOWPATH_ROLE_AS(name, TOWPATH_TEST_JOIN(towpath_role_, __COUNTER__))
