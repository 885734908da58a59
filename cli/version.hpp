// What `towpath --version` prints.
#pragma once

#include <string>

#include <towpath/core/version.hpp>

namespace towpath::cli {

/// "towpath 0.1.0 (segment format 0; compression: gzip snappy lz4 zstd)" and a newline.
std::string version_text();

}  // namespace towpath::cli
