// The `towpath` command: a bus from the shell. See docs/cli.md, or `towpath --help`.
#include <fcntl.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <variant>

#include "arguments.hpp"
#include "output.hpp"

namespace towpath::cli {
namespace {

/// Run when no verb was: help or the version.
Exit run(const Common&, const Show& show) {
  Output output;
  output.buffer() = show.text;
  output.flush();
  return Exit::ok;
}

/// A standard descriptor that is closed would be taken by the next file that is opened. What is opened in its place can
/// be neither read nor written, so that using it is an error as before.
void occupy_standard_descriptors() {
  for (int fd : {0, 1, 2})
    if (::fcntl(fd, F_GETFD) < 0) (void)::open("/dev/null", (fd == 0 ? O_WRONLY : O_RDONLY));
}

void complain(const std::string& message) {
  if (message.empty()) return;
  const std::string line = "towpath: " + message + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

Exit run_command(int argc, char** argv) try {
  const CommandLine line = parse_command_line(argc, argv);
  return std::visit([&](const auto& verb) { return run(line.common, verb); }, line.verb);
} catch (const Quit& quit) {
  complain(quit.what());
  return quit.code();
} catch (const std::exception& error) {
  complain(error.what());
  return Exit::error;
}

}  // namespace
}  // namespace towpath::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a write that nobody reads is an error we look at
  towpath::cli::occupy_standard_descriptors();
  return static_cast<int>(towpath::cli::run_command(argc, argv));
}
