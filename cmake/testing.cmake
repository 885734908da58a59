# towpath_suite(log [FAILPOINTS] [NOT_SINGLE] [NEEDS_EXCEPTIONS])
#   One executable, log_tests, of the tests of a folder; with TOWPATH_TEST_SINGLE ON a second one, log_tests.single, that
#   sees nothing but single_include/.
#   FAILPOINTS        TOWPATH_FAILPOINT(name) calls tests/support/failpoint.hpp
#   NOT_SINGLE        no second one on single_include/ (for tests that include no towpath header)
#   NEEDS_EXCEPTIONS  left out, with a notice, where exceptions are off
# towpath_test(log/segment_test [ALONE] [SERIAL] [TIMEOUT seconds] [LABELS ...] [LIBRARIES ...])
#   Adds tests/log/segment_test.cpp to its folder's executable, and one ctest test, log.segment_test, that runs the cases
#   of that file; log.segment_test.single for the other executable. Names in the files of a folder must differ, for they
#   are compiled as one (TOWPATH_TEST_UNITY).
#   ALONE             an executable of its own, for what must be defined for a whole program
#   SERIAL            no other test runs meanwhile (for tests that load both cores on purpose)
#   TIMEOUT           default 60 s; sanitizers get four times as much
#   LIBRARIES         further link targets
# towpath_must_not_compile(pointer_in_payload "has a pointer")
#   tests/compile_fail/pointer_in_payload.cpp compiles; with -DTOWPATH_MUST_FAIL it does not, and the compiler prints the text.
include_guard(GLOBAL)

set(TOWPATH_TEST_SINGLE "OFF" CACHE STRING "Register every test a second time on single_include/: ON, OFF; only: just there")
set_property(CACHE TOWPATH_TEST_SINGLE PROPERTY STRINGS ON OFF only)
# Most of the time to compile a test goes into the library's own code, so a folder at a time takes a third of the time.
option(TOWPATH_TEST_UNITY "Compile the tests of a folder as one file: faster for all, slower for one" OFF)

find_package(doctest REQUIRED)
set(towpath_tests_dir "${PROJECT_SOURCE_DIR}/tests")

# Tests may say #include <towpath/log/segment.hpp>. In the .single build each such name leads to the single header.
add_library(towpath_single INTERFACE)
target_compile_features(towpath_single INTERFACE cxx_std_20)
target_link_libraries(towpath_single INTERFACE Boost::headers fmt::fmt Threads::Threads)
target_include_directories(towpath_single INTERFACE
  "${PROJECT_SOURCE_DIR}/single_include" "${PROJECT_BINARY_DIR}/single_forward")
if(NOT TOWPATH_TEST_SINGLE STREQUAL "OFF")
  foreach(header IN LISTS towpath_headers)
    file(RELATIVE_PATH header "${PROJECT_SOURCE_DIR}/include/towpath" "${header}")
    if(header MATCHES "/" AND NOT header MATCHES "^adapters/")  # those stand in single_include/ by themselves
      file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/single_forward/towpath/${header}"
        CONTENT "#pragma once\n#include <towpath/towpath.hpp>\n")
    endif()
  endforeach()
endif()

# What every test executable has, whichever headers it sees.
add_library(towpath_test_base INTERFACE)
target_link_libraries(towpath_test_base INTERFACE towpath_dev doctest::doctest)
target_include_directories(towpath_test_base INTERFACE "${towpath_tests_dir}")
target_compile_definitions(towpath_test_base INTERFACE
  # A check takes a quarter less compile time; an exception inside one then ends its test case.
  DOCTEST_CONFIG_SUPER_FAST_ASSERTS "TOWPATH_TEST_BUILD_DIR=\"${PROJECT_BINARY_DIR}\"" "TOWPATH_TEST_SOURCE_DIR=\"${towpath_tests_dir}\"")
if(TOWPATH_NOEXCEPT)
  target_compile_definitions(towpath_test_base INTERFACE DOCTEST_CONFIG_NO_EXCEPTIONS_BUT_WITH_ALL_ASSERTS)
endif()

# main() and the helpers, compiled once and linked into every test. They include no towpath header.
add_library(towpath_test_main OBJECT
  "${towpath_tests_dir}/support/main.cpp" "${towpath_tests_dir}/support/process.cpp"
  "${towpath_tests_dir}/support/failpoint.cpp" "${towpath_tests_dir}/support/temp_dir.cpp")
target_link_libraries(towpath_test_main PUBLIC towpath_test_base Threads::Threads)
target_compile_features(towpath_test_main PUBLIC cxx_std_20)

function(towpath_test_executable target library failpoints)
  add_executable(${target} ${ARGN})
  target_link_libraries(${target} PRIVATE ${library} towpath_test_main)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${TOWPATH_TEST_UNITY} UNITY_BUILD_BATCH_SIZE 0)
  if(failpoints)  # before any towpath header
    target_compile_options(${target} PRIVATE "SHELL:-include ${towpath_tests_dir}/support/failpoint.hpp")
  endif()
endfunction()

# What the executable of a library is called, behind the suite's name.
set(towpath_suffix_towpath "")
set(towpath_suffix_towpath_single ".single")

function(towpath_suite folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "FAILPOINTS;NOT_SINGLE;NEEDS_EXCEPTIONS" "" "")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "towpath_suite(${folder}): unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  set(libraries "")
  if(NOT TOWPATH_TEST_SINGLE STREQUAL "only" OR arg_NOT_SINGLE)
    list(APPEND libraries towpath)
  endif()
  if(NOT TOWPATH_TEST_SINGLE STREQUAL "OFF" AND NOT arg_NOT_SINGLE)
    list(APPEND libraries towpath_single)
  endif()
  if(arg_NEEDS_EXCEPTIONS AND TOWPATH_NOEXCEPT)
    message(NOTICE "towpath: not built without exceptions: the tests of ${folder}/")
    set(libraries "")
  endif()
  foreach(library IN LISTS libraries)
    towpath_test_executable(${folder}_tests${towpath_suffix_${library}} ${library} ${arg_FAILPOINTS})
  endforeach()
  set(towpath_suite_libraries "${libraries}" PARENT_SCOPE)
endfunction()

function(towpath_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "ALONE;SERIAL" "TIMEOUT" "LABELS;LIBRARIES")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "towpath_test(${name}): unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  if(TOWPATH_SANITIZE)
    math(EXPR arg_TIMEOUT "4 * ${arg_TIMEOUT}")
  endif()
  string(REPLACE "/" "." test "${name}")
  string(REGEX REPLACE "/.*" "" folder "${name}")
  foreach(library IN LISTS towpath_suite_libraries)
    set(suffix "${towpath_suffix_${library}}")
    set(executable ${folder}_tests${suffix})
    set(source "${towpath_tests_dir}/${name}.cpp")
    if(arg_ALONE)
      set(executable ${test}${suffix})
      towpath_test_executable(${executable} ${library} OFF "${source}")
    else()
      target_sources(${executable} PRIVATE "${source}")
    endif()
    target_link_libraries(${executable} PRIVATE ${arg_LIBRARIES})
    add_test(NAME ${test}${suffix} COMMAND ${executable} "--source-file=*/${name}.cpp")
    set_tests_properties(${test}${suffix} PROPERTIES
      TIMEOUT ${arg_TIMEOUT} RUN_SERIAL ${arg_SERIAL} LABELS "${arg_LABELS}"
      FAIL_REGULAR_EXPRESSION "test cases: *0 [|]")  # a name that fits no test must not pass
  endforeach()
endfunction()

# The compiler command with the flags of the project's own targets, for checks that compile without building.
get_target_property(towpath_dev_flags towpath_dev INTERFACE_COMPILE_OPTIONS)
set(towpath_check_command ${CMAKE_CXX_COMPILER} -std=c++20 ${towpath_dev_flags} -fsyntax-only)
if(TOWPATH_BOOST_INCLUDE)
  list(APPEND towpath_check_command -isystem "${TOWPATH_BOOST_INCLUDE}")
endif()
list(APPEND towpath_check_command "-I${PROJECT_SOURCE_DIR}/include")
foreach(dependency Boost::headers fmt::fmt)
  get_target_property(folders ${dependency} INTERFACE_INCLUDE_DIRECTORIES)
  foreach(folder IN LISTS folders)
    # /usr/include must not be named: it would move before the compiler's own folders.
    if(folder AND NOT folder STREQUAL "/usr/include")
      list(APPEND towpath_check_command -isystem "${folder}")
    endif()
  endforeach()
endforeach()

function(towpath_must_not_compile name text)
  if(TOWPATH_SANITIZE OR TOWPATH_NOEXCEPT OR TOWPATH_TEST_SINGLE STREQUAL "only")
    return()  # what the compiler refuses does not depend on these
  endif()
  string(REPLACE ";" "|" command "${towpath_check_command}")
  add_test(NAME compile_fail.${name} COMMAND ${CMAKE_COMMAND}
    "-DSOURCE=${towpath_tests_dir}/compile_fail/${name}.cpp" "-DTEXT=${text}" "-DCOMMAND=${command}"
    -P "${PROJECT_SOURCE_DIR}/cmake/must_not_compile.cmake")
  set_tests_properties(compile_fail.${name} PROPERTIES LABELS compile_fail TIMEOUT 120)
endfunction()

# Each public header compiles alone, twice included. Up to date headers are not compiled again.
function(towpath_headers_alone)
  set(stamps "")
  foreach(header IN LISTS towpath_headers)
    file(RELATIVE_PATH name "${PROJECT_SOURCE_DIR}/include" "${header}")
    if(name STREQUAL "towpath/adapters/compression.hpp" AND NOT TARGET towpath::compression)
      continue()  # its libraries are not there
    endif()
    if(name MATCHES "^towpath/adapters/(json|msgpack|cbor)" AND NOT TARGET towpath::json)
      continue()
    endif()
    set(base "${PROJECT_BINARY_DIR}/headers_alone/${name}")
    file(CONFIGURE OUTPUT "${base}.cpp" CONTENT "#include <${name}>\n#include <${name}>\n")
    add_custom_command(OUTPUT "${base}.stamp"
      COMMAND ${towpath_check_command} -MD -MF "${base}.d" -MT "${base}.stamp" "${base}.cpp"
      COMMAND ${CMAKE_COMMAND} -E touch "${base}.stamp"
      DEPENDS "${base}.cpp" DEPFILE "${base}.d" COMMENT "Header alone: ${name}" VERBATIM)
    list(APPEND stamps "${base}.stamp")
  endforeach()
  add_custom_target(headers_alone DEPENDS ${stamps})
  add_custom_target(umbrella_alone DEPENDS "${PROJECT_BINARY_DIR}/headers_alone/towpath/towpath.hpp.stamp")
endfunction()
