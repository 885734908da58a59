#include "output.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "quit.hpp"

namespace towpath::cli {

void Output::flush() {
  for (std::size_t done = 0; done < buffer_.size();) {
    const auto written = ::write(STDOUT_FILENO, buffer_.data() + done, buffer_.size() - done);
    if (written >= 0) {
      done += static_cast<std::size_t>(written);
    } else if (errno == EAGAIN) {  // somebody who shares it with us made it non-blocking
      pollfd ready{STDOUT_FILENO, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno == EPIPE) {
      throw Quit{Exit::ok, ""};
    } else if (errno != EINTR) {
      throw Quit{Exit::error, std::string{"cannot write to standard output: "} + std::strerror(errno)};
    }
  }
  buffer_.clear();
}

}  // namespace towpath::cli
