#include <doctest/doctest.h>

#include <towpath/core/config.hpp>

#include <string>

namespace towpath::inline TOWPATH_ABI {
struct Probe {};
}  // namespace towpath::inline TOWPATH_ABI

#define TEXT_OF_(text) #text
#define TEXT_OF(text) TEXT_OF_(text)

TEST_CASE("the version text is the three numbers") {
  CHECK(std::string{TOWPATH_VERSION_STRING} == std::to_string(TOWPATH_VERSION_MAJOR) + "." +
                                                   std::to_string(TOWPATH_VERSION_MINOR) + "." +
                                                   std::to_string(TOWPATH_VERSION_PATCH));
}

TEST_CASE("files built with and without exceptions never share a symbol") {
  const std::string abi = TEXT_OF(TOWPATH_ABI);
#if defined(__cpp_exceptions)
  CHECK(TOWPATH_EXCEPTIONS == 1);
  CHECK(abi.find("_noexcept") == std::string::npos);
#else
  CHECK(TOWPATH_EXCEPTIONS == 0);
  CHECK(abi.find("_noexcept") != std::string::npos);
#endif
  CHECK(abi.starts_with("v0"));
}

TEST_CASE("the inline namespace does not show in the names a user writes") {
  [[maybe_unused]] const towpath::Probe probe;
  CHECK(sizeof(towpath::Probe) == sizeof(towpath::TOWPATH_ABI::Probe));
}

TEST_CASE("the thread sanitizer is noticed where it runs, and nowhere else") {
#if defined(__SANITIZE_THREAD__)
  CHECK(TOWPATH_TSAN == 1);
#elif defined(__GNUC__) && !defined(__clang__)
  CHECK(TOWPATH_TSAN == 0);
#elif defined(__clang__)
  CHECK(TOWPATH_TSAN == (__has_feature(thread_sanitizer) ? 1 : 0));
#endif
}
