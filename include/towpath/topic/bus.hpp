// A Bus is a folder through which processes exchange records, or the memory of this process. Who opens it first makes
// it; nothing runs but the processes that use it.
//   towpath::Bus bus;                        // this process only, nothing on disk
//   towpath::Bus bus{"/dev/shm/robot"};      // every process that names the folder
// Thread-safe. Topics, producers and consumers keep what they need of it: it may go out of scope before them.
// After a crash of processes nothing needs repair. After a restart of the machine whoever opens a bus on disk first,
// with the right to write, recovers it: see Durability in topic_config.hpp for what is lost. After fork() the child's
// copy says `forked`; open the bus anew there.
#pragma once

#include <towpath/topic/caretaker.hpp>
#include <towpath/topic/recovery.hpp>

namespace towpath::inline TOWPATH_ABI {

class Bus {
 public:
  /// A bus in this process's memory, gone with its last user. Throws Error: too_many_files, too_many_maps, no_space,
  /// unsupported_platform.
  Bus() : Bus{open_in_memory({}).value()} {}

  /// The bus in the folder `path`, made if it is missing (its parent must exist).
  /// Throws Error: not_found, not_a_directory, unsafe_directory, unsupported_filesystem, permission_denied, corrupt,
  /// newer_format, recovery_needed (this process may only read), recovery_in_progress, no_space, too_many_files,
  /// too_many_maps, too_many_members, unsupported_platform, invalid_argument (an empty path, a maintenance_interval
  /// below 1 ms).
  explicit Bus(const char* path, const BusConfig& config = {}) : Bus{open(path, config).value()} {}
  explicit Bus(const std::string& path, const BusConfig& config = {}) : Bus{path.c_str(), config} {}

  /// As the constructors, without exceptions.
  static Result<Bus> open(const char* path, const BusConfig& config = {}) {
    if (!path || !*path) return Failure{Errc::invalid_argument, "the path of a bus is empty"};
    return open_core(path, config);
  }
  static Result<Bus> open(const std::string& path, const BusConfig& config = {}) { return open(path.c_str(), config); }
  static Result<Bus> open_in_memory(const BusConfig& config) { return open_core(nullptr, config); }

  /// One round of maintenance in the caller's thread, for MaintenanceMode::manual: retention, spares, sweeping the
  /// dead. Milliseconds when segments are made or cleaned, microseconds when nothing is to do. Does nothing while
  /// another process maintains the bus. Errors: read_only, forked, too_many_members, no_space (all else was done).
  Result<void> maintain() { return inside_->caretaker.step(); }

  /// What the maintenance thread's last round ended with: Errc::ok, or no_space and the like when it could not make
  /// spares or give room back. It tries again by itself; nothing is lost meanwhile.
  [[nodiscard]] Failure maintenance_failure() const { return inside_->caretaker.last_failure(); }

  /// May this process only read?
  [[nodiscard]] bool is_read_only() const noexcept { return inside_->core->is_read_only(); }

  /// For the stations behind: topics, producers, consumers.
  [[nodiscard]] detail::Catalog& catalog() const noexcept { return inside_->catalog; }
  [[nodiscard]] const std::shared_ptr<detail::BusCore>& core() const noexcept { return inside_->core; }

 private:
  struct Inside {
    explicit Inside(std::shared_ptr<detail::BusCore> c) : core{c}, catalog{c}, caretaker{c, catalog} {}
    std::shared_ptr<detail::BusCore> core;
    detail::Catalog catalog;
    detail::Caretaker caretaker;
  };

  explicit Bus(std::shared_ptr<Inside> inside) noexcept : inside_{std::move(inside)} {}

  static Result<Bus> open_core(const char* path, const BusConfig& config) {
    auto core = detail::BusCore::open(path, config);
    if (!core) return core.error();
    if ((*core)->is_restarted())
      if (auto recovered = detail::recover(*core); !recovered) return recovered.error();
    auto inside = std::make_shared<Inside>(std::move(*core));
    const bool wanted = config.maintenance == MaintenanceMode::thread && !inside->core->is_read_only();
    if (wanted)
      if (auto started = inside->caretaker.start(); !started) return started.error();
    return Bus{std::move(inside)};
  }

  std::shared_ptr<Inside> inside_;
};

}  // namespace towpath::inline TOWPATH_ABI
