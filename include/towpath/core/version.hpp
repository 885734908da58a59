// The library's own version (semver). The segment format has its own number in log/format.hpp, the wire is Kafka's.
#pragma once

#define TOWPATH_VERSION_MAJOR 0
#define TOWPATH_VERSION_MINOR 1
#define TOWPATH_VERSION_PATCH 0
#define TOWPATH_VERSION_STRING "0.1.0"
