// How the command ends. Whoever cannot go on throws a Quit; main() says why on stderr and exits with its code.
#pragma once

#include <stdexcept>
#include <string>

namespace towpath::cli {

enum class Exit : int {
  ok = 0,
  error = 1,
  usage = 2,          ///< the command line, or a value in it, makes no sense
  not_found = 3,      ///< no such bus, topic or partition
  timeout = 4,        ///< what was waited for did not come in time
  interrupted = 130,  ///< Ctrl-C or SIGTERM; everything taken in was passed on
};

/// Thrown. An empty message says nothing.
class Quit : public std::runtime_error {
 public:
  Quit(Exit code, const std::string& message) : std::runtime_error{message}, code_{code} {}
  [[nodiscard]] Exit code() const noexcept { return code_; }

 private:
  Exit code_;
};

}  // namespace towpath::cli
