// topics/<topic>/reader.<name>: how far a reader with a name has come, for topics that wait for it and for people.
// A header and an entry per partition; it grows at its end, and outlives the reader. One live Consumer has a name, by a
// lock byte that the kernel frees when it dies; it writes its entries, everybody may read them.
#pragma once

#include <cstring>
#include <string>

#include <towpath/log/format.hpp>
#include <towpath/shm/fork.hpp>
#include <towpath/shm/lock.hpp>
#include <towpath/shm/region.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

inline constexpr std::uint64_t reader_magic = 0x3052'5057'4F54'0A0Du;  // "\r\nTOWPR0"

struct ReaderHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t entry_bytes;
  std::uint64_t reserved[6];
};
static_assert(sizeof(ReaderHeader) == 64);

struct ReaderEntry {
  shm::Word64 stands_at;  // the offset that it reads next, + 1; 0: it never came
  shm::Word64 missed;     // offsets that were gone when it got there
};
static_assert(sizeof(ReaderEntry) == 16);

class ReaderFile {
 public:
  static std::string name_of(std::string_view reader) { return "reader." + std::string{reader}; }

  /// Writes nothing where it stands already. Errors: no_space, permission_denied.
  static Result<void> make(shm::Directory& directory, const std::string& file, std::int32_t partitions) {
    if (directory.identify(file.c_str())) return {};
    ReaderHeader header{};
    header.magic = reader_magic;
    header.version = log::segment_format_version;
    header.entry_bytes = sizeof(ReaderEntry);
    std::string bytes(bytes_for(partitions), '\0');
    std::memcpy(bytes.data(), &header, sizeof header);
    auto made = shm::write_file(directory, file.c_str(), bytes, 0660);
    return made || made.error() == Errc::already_exists ? Result<void>{} : made;
  }

  /// Opens what stands there, and makes it longer if it has too few entries and may be written.
  /// Errors: not_found, corrupt, newer_format, no_space, permission_denied, and those of mapping.
  static Result<ReaderFile> open(shm::Directory& directory, const std::string& file, std::int32_t partitions,
                                 bool writable) {
    ReaderFile found;
    const auto info = directory.identify(file.c_str());
    if (!info) return info.error();
    const bool grows = writable && info->bytes < bytes_for(partitions);
    if (grows) {
      auto fd = directory.open(file.c_str(), shm::Access::read_write);
      if (!fd) return fd.error();
      if (auto room = shm::allocate(*fd, 0, bytes_for(partitions)); !room) return room.error();
    }
    const auto view = writable ? shm::View::whole : shm::View::readable;
    // As much as there is: a shorter map of before would do for the header.
    const auto at_least = grows ? bytes_for(partitions) : std::max<std::size_t>(info->bytes, sizeof(ReaderHeader));
    auto region = shm::RegionCache::instance().map(directory, file.c_str(), view, at_least);
    if (!region) return region.error();
    const auto* header = reinterpret_cast<const ReaderHeader*>((*region)->data());
    if (header->magic != reader_magic || header->entry_bytes != sizeof(ReaderEntry))
      return Failure{Errc::corrupt, "a reader's file"};
    if (header->version > log::segment_format_version)
      return Failure{Errc::newer_format, "a reader's file is of a newer format"};
    found.region_ = std::move(*region);
    return found;
  }

  /// Null when the file has no entry for it yet.
  [[nodiscard]] ReaderEntry* entry(std::int32_t partition) const noexcept {
    if (bytes_for(partition + 1) > region_->size()) return nullptr;
    return reinterpret_cast<ReaderEntry*>(region_->data() + sizeof(ReaderHeader)) + partition;
  }

 private:
  static std::size_t bytes_for(std::int32_t partitions) noexcept {
    return sizeof(ReaderHeader) + static_cast<std::size_t>(partitions) * sizeof(ReaderEntry);
  }

  std::shared_ptr<shm::Region> region_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail
