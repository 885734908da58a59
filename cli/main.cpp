// The `towpath` command: a bus from the shell. See docs/cli.md, or `towpath --help`.
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
  return static_cast<int>(towpath::cli::run_command(argc, argv));
}
