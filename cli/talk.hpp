// What the command says beside its data: lines on stderr that begin with "% ", as kcat's do. --quiet turns them off;
// errors are always said. What was printed before a line is written before it.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace towpath::cli {

inline bool talks = true;                     // set once, while the command line is read
inline std::function<void()> before_talking;  // writes out what is buffered

template <class... Args>
void talk(fmt::format_string<Args...> format, Args&&... args) {
  if (!talks) return;
  if (before_talking) before_talking();
  const std::string line = "% " + fmt::format(format, std::forward<Args>(args)...) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace towpath::cli
