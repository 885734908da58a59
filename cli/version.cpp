#include "version.hpp"

#include <fmt/format.h>

#include <towpath/log/codec.hpp>
#include <towpath/log/format.hpp>

#if TOWPATH_CLI_COMPRESSION
#include <towpath/adapters/compression.hpp>
#endif

namespace towpath::cli {

std::string version_text() {
  std::string codecs;
  for (const auto one : {Compression::gzip, Compression::snappy, Compression::lz4, Compression::zstd})
    if (log::find_codec(one)) codecs.append(codecs.empty() ? "" : " ").append(name(one));
  return fmt::format("towpath {}.{}.{} (segment format {}; compression: {})\n", TOWPATH_VERSION_MAJOR,
                     TOWPATH_VERSION_MINOR, TOWPATH_VERSION_PATCH, log::segment_format_version,
                     codecs.empty() ? "none" : codecs);
}

}  // namespace towpath::cli
