// All helpers a test may want, but failpoints, which towpath_test(... FAILPOINTS) brings.
#pragma once

#include <support/process.hpp>
#include <support/temp_dir.hpp>
