// While a FolderHold lives, this thread's work in one folder of a Directory goes through one descriptor of it. A roll
// looks and renames a dozen times in its partition's folder, and would open and close it each time: 32 of 45 system
// calls. Keep it for one piece of work, not for long: a descriptor is held meanwhile. One thread's; holds nest.
#pragma once

#include <string_view>

#include <towpath/shm/directory.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

class FolderHold {
 public:
  /// `folder` outlives this. One that is not there is not held.
  FolderHold(Directory& directory, const std::string& folder) noexcept
      : directory_{&directory}, folder_{folder}, outer_{innermost_}, held_{directory.hold_folder(folder.c_str())} {
    innermost_ = this;
  }
  FolderHold(const FolderHold&) = delete;
  FolderHold& operator=(const FolderHold&) = delete;
  ~FolderHold() { innermost_ = outer_; }

  /// The folder's descriptor if this thread holds it, else -1.
  static int find(const Directory& directory, std::string_view folder) noexcept {
    for (const auto* hold = innermost_; hold; hold = hold->outer_)
      if (hold->held_ && hold->directory_ == &directory && hold->folder_ == folder) return hold->held_.get();
    return -1;
  }

 private:
  static inline thread_local const FolderHold* innermost_ = nullptr;

  const Directory* directory_;
  std::string_view folder_;
  const FolderHold* outer_;
  FileDescriptor held_;
};

}  // namespace towpath::inline TOWPATH_ABI::shm
