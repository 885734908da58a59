// A type that nlohmann-json cannot convert is refused where its serde is named, with what to do about it.
#include <towpath/adapters/json.hpp>

struct Plain {
  int number;
};
#ifdef TOWPATH_MUST_FAIL
using Value = Plain;
#else
using Value = int;
#endif

constexpr auto encoding = towpath::JsonSerde<Value>::encoding;
