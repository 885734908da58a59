// The driver: starts the processes, kills one in the middle of a record, and lets the report decide.
#include <fcntl.h>
#include <fmt/core.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <map>
#include <stdexcept>

#include "page.hpp"

namespace demo {
namespace {

volatile std::sig_atomic_t interrupted = 0;

struct Options {
  double seconds = 12;
  std::string file;
  std::string fault;
};

constexpr const char* usage =
    "usage: demo [--seconds N] [--break lose|double|reorder|damage] [FILE]\n"
    "  FILE       its lines are sent instead of the system's package log\n"
    "  --seconds  how long producers run: 2 to 30, default 12\n"
    "  --break    spoil one record on its way to the verification, to see that it is found (exit 1)\n";

/// Exits with 2 and the usage when the arguments cannot be understood.
Options parse(int argc, char** argv) {
  Options options;
  const auto refuse = [](const std::string& what) {
    fmt::print(stderr, "demo: {}\n{}", what, usage);
    std::exit(2);
  };
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--help") std::fputs(usage, stdout), std::exit(0);
    if (argument == "--seconds" && i + 1 < argc)
      options.seconds = std::strtod(argv[++i], nullptr);
    else if (argument == "--break" && i + 1 < argc)
      options.fault = argv[++i];
    else if (!argument.starts_with("--") && options.file.empty())
      options.file = argument;
    else
      refuse(argument + ": no such option, or it lacks its value");
  }
  const bool knows_fault = options.fault.empty() || options.fault == "lose" || options.fault == "double" ||
                           options.fault == "reorder" || options.fault == "damage";
  if (!knows_fault) refuse(options.fault + ": no such fault");
  if (!(options.seconds >= 2 && options.seconds <= 30)) refuse("--seconds: 2 to 30");
  struct stat info {};
  if (!options.file.empty() && ::stat(options.file.c_str(), &info) == 0 && S_ISDIR(info.st_mode))
    throw std::runtime_error{options.file + " is a folder; name a file"};
  if (!options.file.empty() && ::access(options.file.c_str(), R_OK) != 0)
    throw std::runtime_error{options.file + " cannot be read"};
  if (options.file.empty() && ::access("/var/log/dpkg.log", R_OK) == 0) options.file = "/var/log/dpkg.log";
  return options;
}

/// A fresh folder in memory, gone at the end with all that is in it.
class Folder {
 public:
  Folder() {
    const char* user = std::getenv("XDG_RUNTIME_DIR");
    for (std::string parent : {std::string{"/dev/shm"}, std::string{user ? user : ""}}) {
      path_ = parent + "/towpath-demo-XXXXXX";
      if (!parent.empty() && ::mkdtemp(path_.data())) return;
    }
    throw std::runtime_error{"neither /dev/shm nor $XDG_RUNTIME_DIR can be written to"};
  }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
    if (error) fmt::print(stderr, "demo: {} could not be removed: {}\n", path_, error.message());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }

  [[nodiscard]] std::uint64_t free_bytes() const {
    struct statvfs room {};
    if (::statvfs(path_.c_str(), &room) != 0) throw std::runtime_error{path_ + ": statvfs failed"};
    return room.f_bavail * room.f_frsize;
  }

 private:
  std::string path_;
};

class Driver {
 public:
  explicit Driver(const Options& options) : options_{options}, page_{open_page(folder_.path(), true)} {}
  ~Driver() {
    for (const auto& [pid, role] : children_) ::kill(pid, SIGKILL);
    while (!children_.empty() && ::waitpid(children_.begin()->first, nullptr, 0) > 0)
      children_.erase(children_.begin());
  }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  int run() {
    prepare();
    say(fmt::format("The bus is a folder in shared memory: {}/bus. No server runs.", folder_.path()));
    start("live", options_.fault);
    wait_until([&] { return page_.seen[live].is_ready.load() != 0; }, 30, "the live reader is ready");
    const pid_t victim = start_producers();

    pause_until(0.35);
    say("A second reader joins now. It reads everything from the first record on, then follows.");
    start("late", "");
    pause_until(0.6);
    const std::int64_t killed_ns = kill_in_the_middle_of_a_record(victim);
    pause_until(1.0);
    finish();
    return report(page_, killed_ns) ? 0 : 1;
  }

 private:
  void prepare() {
    const std::uint64_t room = folder_.free_bytes();
    if (room < (48u << 20))
      throw std::runtime_error{fmt::format("only {} MiB are free in {}; the demo needs 48 (in a container: --shm-size)",
                                           room >> 20, folder_.path())};
    page_.began_ns = now_ns();
    page_.segment_bytes = room < (1u << 30) ? 1u << 20 : 8u << 20;
    page_.share_bytes = std::min<std::uint64_t>(room / 2, 1u << 30) / producer_count;
    page_.run_ns = static_cast<std::int64_t>(options_.seconds * 1e9);
    page_.pace_total_ns = static_cast<std::int64_t>(options_.seconds * 0.8e9);
  }

  pid_t start_producers() {
    describe(devices, "memory, network and disks of this machine");
    describe(cores, "each core and the scheduler (killed in the middle)");
    start("devices", "");
    const pid_t victim = start("cores", "");
    say("Two processes send this machine's counters, as fast as they can be sampled.");
    if (options_.file.empty()) {
      say("No file's lines are sent: there is no /var/log/dpkg.log here, and none was named.");
    } else {
      describe(lines, fmt::format("lines of {}", options_.file));
      start("lines", options_.file);
      say(fmt::format("A third one sends the lines of {}.", options_.file));
    }
    return victim;
  }

  /// Returns when it was killed.
  std::int64_t kill_in_the_middle_of_a_record(pid_t victim) {
    page_.crash_partition = partition_of_memory();
    page_.crash = Crash::wanted;
    wait_until([&] { return page_.crash == Crash::open; }, 10, "the producer has a record open");
    const std::int64_t killed_ns = now_ns();
    ::kill(victim, SIGKILL);
    reap(victim, true);
    wait_until([&] { return page_.seen[live].resumed_ns != 0 && page_.seen[late].resumed_ns != 0; }, 20,
               "both readers are past the record that was cut off");
    const auto first = std::min(page_.seen[live].resumed_ns.load(), page_.seen[late].resumed_ns.load());
    const auto last = std::max(page_.seen[live].resumed_ns.load(), page_.seen[late].resumed_ns.load());
    say(
        fmt::format("Process {} was killed (SIGKILL) with a record reserved and half written. The readers behind it "
                    "went on after {:.1f} ms and {:.1f} ms.",
                    victim, static_cast<double>(first - killed_ns) / 1e6, static_cast<double>(last - killed_ns) / 1e6));
    describe(cores_again, "each core again, by the process that took over");
    start("cores_again", "");
    return killed_ns;
  }

  /// Where another producer keeps sending, so that readers have something to wait for behind the gap.
  std::int32_t partition_of_memory() {
    const Stream* found = nullptr;
    wait_until(
        [&] {
          for (std::uint32_t i = 0; i < page_.sent[devices].stream_count.load(); ++i)
            if (std::strcmp(page_.sent[devices].streams[i].key, "memory") == 0) found = &page_.sent[devices].streams[i];
          return found && found->acknowledged.load() > 0;
        },
        10, "there is a record about memory");
    return found->partition.load();
  }

  void finish() {
    page_.stop = 1;
    for (const char* role : {"devices", "lines", "cores_again"}) wait_for_end(role);
    page_.nothing_more_comes = 1;
    for (const char* role : {"live", "late"}) wait_for_end(role);
    if (!page_.seen[live].is_finished || !page_.seen[late].is_finished)
      throw std::runtime_error{"a reader ended before it had read everything"};
  }

  pid_t start(const std::string& role, const std::string& argument) {
    std::string words[] = {"/proc/self/exe", "role:" + role, folder_.path(), argument};
    char* arguments[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
    pid_t pid = 0;
    const int error = ::posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, arguments, environ);
    if (error != 0) throw std::runtime_error{fmt::format("{} was not started: {}", role, std::strerror(error))};
    children_[pid] = role;
    return pid;
  }

  /// Takes note of a child that ended. One that fails, or ends before it was asked to, ends the demo.
  void reap(pid_t pid, bool killed) {
    int status = 0;
    if (::waitpid(pid, &status, killed ? 0 : WNOHANG) != pid) return;
    const std::string role = children_[pid];
    children_.erase(pid);
    if (!killed && status != 0)
      throw std::runtime_error{fmt::format("the process '{}' failed (wait status {})", role, status)};
  }

  template <class Condition>
  void wait_until(const Condition& condition, double seconds, const char* what) {
    const std::int64_t deadline = now_ns() + static_cast<std::int64_t>(seconds * 1e9);
    while (!condition()) {
      if (interrupted) throw std::runtime_error{"interrupted"};
      if (now_ns() > deadline)
        throw std::runtime_error{fmt::format("within {} s it did not come about that {}", seconds, what)};
      std::map<pid_t, std::string> now = children_;
      for (const auto& [pid, role] : now) reap(pid, false);
      ::usleep(100);
    }
  }

  void pause_until(double part) {
    const std::int64_t end = page_.began_ns + static_cast<std::int64_t>(options_.seconds * part * 1e9);
    wait_until([&] { return now_ns() >= end; }, 60, "time passes");
  }

  void wait_for_end(const std::string& role) {
    const auto runs = [&] {
      for (const auto& [pid, name] : children_)
        if (name == role) return true;
      return false;
    };
    wait_until([&] { return !runs(); }, 40, "every process ends");
  }

  void describe(Producer producer, const std::string& what) {
    auto& text = page_.sent[producer].what;
    what.copy(text, sizeof text - 1);
  }

  /// On a line of its own, above the one that the live reader keeps rewriting.
  void say(const std::string& text) const {
    const auto seconds = static_cast<double>(now_ns() - page_.began_ns) / 1e9;
    fmt::print("{}{:5.1f} s   {}\n", ::isatty(STDOUT_FILENO) ? "\r\033[K" : "", seconds, text);
    std::fflush(stdout);
  }

  Options options_;
  Folder folder_;
  Page& page_;
  std::map<pid_t, std::string> children_;
};

}  // namespace

int drive(int argc, char** argv) {
  const Options options = parse(argc, argv);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, [](int) { interrupted = 1; });
  return Driver{options}.run();
}

}  // namespace demo
