// The part of a Bus that its topics, producers and consumers keep alive: the directory, ctl, the members.
// Thread-safe. After a crash of this process its member lines are free again, by the kernel.
#pragma once

#include <memory>
#include <string>

#include <towpath/shm/folder_directory.hpp>
#include <towpath/shm/memory_directory.hpp>
#include <towpath/shm/region.hpp>
#include <towpath/topic/bus_config.hpp>
#include <towpath/topic/control.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

class BusCore {
 public:
  /// A bus in this process's memory when `path` is null. Errors: see Bus.
  static Result<std::shared_ptr<BusCore>> open(const char* path, const BusConfig& config) {
    if (shm::page_bytes() > 65'536) return Failure{Errc::unsupported_platform, "pages above 64 KiB"};
    if (config.maintenance_interval < std::chrono::milliseconds{1})
      return Failure{Errc::invalid_argument, "maintenance_interval: 1 ms or more"};
    auto core = std::shared_ptr<BusCore>{new BusCore{config}};
    if (auto opened = core->open_directory(path); !opened) return opened.error();
    bool exists = core->directory_->identify("ctl").has_value();
    if (!exists && (!config.create || config.read_only))
      return Failure{Errc::not_found, "there is no bus in this folder, and it was not to be made"};
    if (!exists)
      if (auto made = core->make(); !made) return made.error();
    if (auto mapped = core->map_control(); !mapped) return mapped.error();
    return core;
  }

  BusCore(const BusCore&) = delete;
  BusCore& operator=(const BusCore&) = delete;
  ~BusCore() {
    if (directory_) shm::RegionCache::instance().forget(*directory_);
  }

  [[nodiscard]] shm::Directory& directory() const noexcept { return *directory_; }
  [[nodiscard]] const BusConfig& config() const noexcept { return config_; }
  [[nodiscard]] ControlHeader& control() const noexcept { return *control_; }
  /// Null in a read-only process.
  [[nodiscard]] shm::Members* members() const noexcept { return members_.get(); }
  [[nodiscard]] bool is_read_only() const noexcept { return members_ == nullptr; }

  /// Was the machine started anew since the bus was last in use? On tmpfs and in memory a restart leaves nothing; on
  /// disk it may have cost what was not flushed, and topic/recovery.hpp looks after that.
  [[nodiscard]] bool is_restarted() const {
    return directory_->is_lasting() && (!knows_boot() || !is_of_boot(*control_, boot_));
  }
  /// False: this process cannot tell whether it was, for it sees no boot id in /proc.
  [[nodiscard]] bool knows_boot() const noexcept { return boot_ != shm::BootId{}; }
  /// The last step of recovery, after all else was flushed. Errors: io_error.
  Result<void> mark_recovered() {
    set_boot(*control_, boot_);
    return directory_->flush("ctl");
  }
  /// For recovery: nobody lives who had a line.
  void clear_members() noexcept {
    for (unsigned i = 0; i < shm::max_members; ++i) lines()[i].clear();
    control_->members_used.store(0, shm::relaxed);
    control_->maintainer.store(0, shm::relaxed);
  }

  static Failure no_boot_id() noexcept {
    return {Errc::unsupported_platform, "no boot id in /proc; without it a restart cannot be noticed on disk"};
  }

  /// Is this the process that opened the bus, not a child of it? Everything that a user calls asks this first.
  [[nodiscard]] TOWPATH_HOT bool is_mine() const noexcept { return watch_.is_mine(); }
  [[nodiscard]] const shm::ForkWatch& fork_watch() const noexcept { return watch_; }
  [[nodiscard]] Result<void> usable() const noexcept {
    if (!is_mine()) return Failure{Errc::forked, "this bus was opened before fork()"};
    return {};
  }

  /// Errors: too_many_members, read_only, forked.
  Result<shm::Member> claim(shm::MemberKind kind, std::string_view name) const {
    if (auto fine = usable(); !fine) return fine.error();
    if (!members_) return Failure{Errc::read_only, "this process may only read the bus"};
    return members_->claim(kind, name);
  }

 private:
  explicit BusCore(const BusConfig& config)
      : config_{config}, watch_{shm::ForkGuard::instance().watch()} {}

  Result<void> open_directory(const char* path) {
    if (!path) {
      directory_ = std::make_unique<shm::MemoryDirectory>();
      return {};
    }
    const shm::FolderOptions options{config_.create && !config_.read_only, config_.force_filesystem,
                                     config_.owner.value_or(~0u)};
    auto opened = shm::FolderDirectory::open(path, options);
    if (!opened) return opened.error();
    directory_ = std::move(*opened);
    return {};
  }

  /// Makes what is missing; ctl last, for a bus exists once that is there. Two processes may do this at once.
  Result<void> make() {
    if (directory_->is_lasting() && !knows_boot()) return no_boot_id();
    const auto keep = [](Result<void> done) {
      return done || done.error() == Errc::already_exists ? Result<void>{} : done;
    };
    const auto topics = directory_->make_folder("topics");
    if (auto made = keep(topics); !made) return made;
    if (auto made = keep(shm::write_file(*directory_, "members", "", 0660)); !made) return made;
    char text[160];
    std::snprintf(text, sizeof text, "version=1\ncluster.id=%016llx%016llx\nnode.id=0\n",
                  static_cast<unsigned long long>(shm::random_bits()),
                  static_cast<unsigned long long>(shm::random_bits()));
    if (auto made = keep(shm::write_file(*directory_, "meta.properties", text, 0640)); !made) return made;
    if (auto kept = directory_->flush_folder(""); !kept) return kept;  // what ctl stands for is there when ctl is
    TOWPATH_FAILPOINT("bus.before_ctl");
    auto header = std::make_unique<ControlHeader>();
    std::memset(static_cast<void*>(header.get()), 0, sizeof *header);
    header->magic = control_magic;
    header->version = control_format_version;
    header->layout_hash = control_layout_hash;
    header->member_lines = shm::max_members;
    header->member_line_bytes = sizeof(shm::MemberLine);
    // Topics without ctl: it was lost, and of what start they are nobody knows. They are to be recovered.
    if (topics || !directory_->is_lasting()) set_boot(*header, boot_);
    std::string bytes(control_bytes, '\0');
    std::memcpy(bytes.data(), header.get(), sizeof *header);
    if (auto made = keep(shm::write_file(*directory_, "ctl", bytes, 0660)); !made) return made;
    return directory_->flush_folder("");
  }

  Result<void> map_control() {
    auto& cache = shm::RegionCache::instance();
    auto region = config_.read_only ? Result<std::shared_ptr<shm::Region>>{Errc::permission_denied}
                                    : cache.map(*directory_, "ctl", shm::View::whole, sizeof(ControlHeader));
    const bool writable = region.has_value();
    if (!writable && region.error() == Errc::permission_denied)
      region = cache.map(*directory_, "ctl", shm::View::readable, sizeof(ControlHeader));
    if (!region) return region.error();
    region_ = std::move(*region);
    control_ = reinterpret_cast<ControlHeader*>(region_->data());
    if (auto fine = check_control(*control_, region_->size()); !fine) return fine;
    if (!writable) return {};
    auto holder = shm::LockDescriptor::open([this] { return directory_->open("members", shm::Access::read_write); });
    auto asker = directory_->open("members", shm::Access::read_write);
    if (!holder) return holder.error();
    if (!asker) return asker.error();
    members_ = std::make_unique<shm::Members>(lines(), control_->members_used, std::move(*holder), std::move(*asker),
                                              directory_.get());
    return {};
  }

  [[nodiscard]] shm::MemberLine* lines() const noexcept {
    return reinterpret_cast<shm::MemberLine*>(region_->data() + sizeof(ControlHeader));
  }

  BusConfig config_;
  shm::ForkWatch watch_;
  shm::BootId boot_ = shm::boot_id();
  std::unique_ptr<shm::Directory> directory_;
  std::shared_ptr<shm::Region> region_;
  ControlHeader* control_ = nullptr;
  std::unique_ptr<shm::Members> members_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail
