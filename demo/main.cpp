// towpath_demo: real processes exchange real data. Without arguments it drives the demo; the other roles are its
// children.
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <system_error>

#include <towpath/core/formatters.hpp>

#include "page.hpp"

namespace demo {

Page& open_page(const std::string& folder, bool create) {
  const std::string path = folder + "/page";
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0), 0600);
  if (fd < 0) throw std::system_error{errno, std::generic_category(), path};
  // Reserved, not sparse: a full memory filesystem is found out here, not by a signal later.
  const int refused = create ? ::posix_fallocate(fd, 0, sizeof(Page)) : 0;
  if (refused != 0) throw std::system_error{refused, std::generic_category(), path};
  void* at = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int error = errno;
  ::close(fd);
  if (at == MAP_FAILED) throw std::system_error{error, std::generic_category(), path};
  return *static_cast<Page*>(at);
}

namespace {

/// Children end with the driver, however it ends.
void end_with_parent() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() == 1) ::_exit(1);
}

int run(int argc, char** argv) {
  const std::string role = argc > 2 ? argv[1] : "";
  if (!role.starts_with("role:")) return drive(argc, argv);
  end_with_parent();
  const std::string folder = argv[2];
  const std::string argument = argc > 3 ? argv[3] : "";
  if (role == "role:cores") return produce_telemetry(folder, cores);
  if (role == "role:cores_again") return produce_telemetry(folder, cores_again);
  if (role == "role:devices") return produce_telemetry(folder, devices);
  if (role == "role:lines") return produce_lines(folder, argument);
  if (role == "role:live") return read(folder, live, argument);
  if (role == "role:late") return read(folder, late, argument);
  throw std::runtime_error{"unknown role " + role};
}

}  // namespace
}  // namespace demo

int main(int argc, char** argv) {
  try {
    return demo::run(argc, argv);
  } catch (const towpath::Error& error) {
    fmt::print(stderr, "demo: {}\n", error.failure());
  } catch (const std::exception& error) {
    fmt::print(stderr, "demo: {}\n", error.what());
  }
  return 1;
}
