// main() of every test: doctest's, unless the process was started in a role.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <support/process.hpp>
#include <support/role.hpp>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>

#include <sys/prctl.h>
#include <unistd.h>

namespace towpath::test {
namespace {

std::string role_name;

std::map<std::string, Role>& roles() {
  static std::map<std::string, Role> all;
  return all;
}

// A test that ctest kills at its timeout must not leave children behind, least of all spinning ones.
void die_with_parent() {
  const char* parent = std::getenv("TOWPATH_TEST_PARENT");
  if (parent == nullptr) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (std::to_string(::getppid()) != parent) std::_Exit(4);
}

}  // namespace

bool register_role(const char* name, Role role) {
  if (!roles().emplace(name, role).second) {
    std::fprintf(stderr, "the role %s is registered twice\n", name);
    std::abort();
  }
  return true;
}

const char* in_role() { return role_name.empty() ? nullptr : role_name.c_str(); }

int run_role(int argc, char** argv) {
  const std::string_view prefix = "--role=";
  if (argc < 2 || !std::string_view{argv[1]}.starts_with(prefix)) return -1;
  die_with_parent();
  role_name = argv[1] + prefix.size();
  const auto role = roles().find(role_name);
  if (role == roles().end()) {
    std::fprintf(stderr, "there is no role %s\n", role_name.c_str());
    return 2;
  }
  return role->second({argv + 2, argv + argc}) & 0xff;
}

}  // namespace towpath::test

int main(int argc, char** argv) {
  // A child that dies while the test talks to it is a failed call, not the end of the test.
  std::signal(SIGPIPE, SIG_IGN);
  const int code = towpath::test::run_role(argc, argv);
  return code >= 0 ? code : doctest::Context{argc, argv}.run();
}
