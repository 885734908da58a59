// One libFuzzer program per target: built with clang and -DTOWPATH_FUZZ=ON.
#include <fuzz/targets.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  towpath::test::TOWPATH_FUZZ_TARGET(data, size);
  return 0;
}
