# What tests, examples, demo and bench are built with: a user of the library never sees this file.
option(TOWPATH_NOEXCEPT "Build without exceptions and RTTI" OFF)
set(TOWPATH_SANITIZE "" CACHE STRING "Sanitizers, as in -fsanitize=: address,undefined or thread")
set(TOWPATH_BOOST_INCLUDE "" CACHE PATH "Another Boost's include folder, put before the one that was found")

# towpath_dev: link it PRIVATE to everything this project builds for itself.
add_library(towpath_dev INTERFACE)
target_compile_options(towpath_dev INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
if(TOWPATH_NOEXCEPT)
  target_compile_options(towpath_dev INTERFACE -fno-exceptions -fno-rtti)
endif()
if(TOWPATH_SANITIZE)
  target_compile_options(towpath_dev INTERFACE
    "-fsanitize=${TOWPATH_SANITIZE}" -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(towpath_dev INTERFACE "-fsanitize=${TOWPATH_SANITIZE}")
endif()
if(TOWPATH_BOOST_INCLUDE)
  target_include_directories(towpath_dev SYSTEM BEFORE INTERFACE "${TOWPATH_BOOST_INCLUDE}")
endif()
