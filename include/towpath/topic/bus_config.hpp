// How a process opens a bus. Every field has a default that fits; a bus has no other settings than these and its
// topics'.
#pragma once

#include <optional>

#include <towpath/core/time.hpp>

namespace towpath::inline TOWPATH_ABI {

enum class MaintenanceMode {
  thread,  ///< a low-priority thread in this process offers to maintain the bus; one of all processes does
  manual,  ///< your loop calls Bus::maintain()
};

struct BusConfig {
  /// Default thread. A read-only process never maintains.
  MaintenanceMode maintenance = MaintenanceMode::thread;
  /// Make the folder and its files when they are missing. Default true; else not_found.
  bool create = true;
  /// Open without the right to write, even if the files would allow it. Default false. A process that may not write
  /// `ctl` is read-only by itself.
  bool read_only = false;
  /// Accept filesystems without coherent shared maps (overlay, NFS, FUSE). Default false: unsupported_filesystem.
  bool force_filesystem = false;
  /// Accept a folder that this user owns, beside mine and root's. Default none: unsafe_directory.
  std::optional<unsigned> owner = std::nullopt;
  /// How long an idle maintenance thread sleeps at most, 1 ms or more. Default 100 ms.
  Duration maintenance_interval = std::chrono::milliseconds{100};
  /// On disk, after a restart of the machine: how long opening waits for another process that recovers the bus, before
  /// it says recovery_in_progress. Default 10 s. Whoever recovers takes as long as it takes.
  Duration recovery_timeout = std::chrono::seconds{10};
  /// Where time comes from. Default: the system's clocks.
  Clock clock{};
};

}  // namespace towpath::inline TOWPATH_ABI
