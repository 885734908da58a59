// Between main() and the process helpers.
#pragma once

namespace towpath::test {

/// Runs the registered role that argv[1] names; -1 if argv names none.
int run_role(int argc, char** argv);

/// The role's name in a child, nullptr in the test itself.
const char* in_role();

}  // namespace towpath::test
