// <bus>/ctl: what all processes of a bus share: numbers to hand out, who maintains, and the member table.
// Made whole under a private name; a bus exists once it is renamed in. Change a field: raise control_format_version.
#pragma once

#include <cstddef>

#include <towpath/log/state.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

inline constexpr std::uint64_t control_magic = 0x3043'5057'4F54'0A0Du;
inline constexpr std::uint32_t control_format_version = 0;

struct ControlHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t layout_hash;
  std::uint32_t member_lines;
  std::uint32_t member_line_bytes;
  shm::Word64 boot_id[5];  // of the machine's start since which all that stands here is true; text
  // A line each for what changes together.
  shm::Word64 catalog_generation;  // + 1 when a topic comes, goes, grows or is altered
  shm::Word64 next_uid;            // partition uids handed out so far; the first is 1
  shm::Word64 next_producer_id;    // handed out by nobody: ids of producers are the user's
  std::uint64_t reserved0[5];
  shm::Word64 maintenance_progress;  // + 1 at each step of whoever holds the role
  shm::Word32 maintainer;            // member index + 1 of whoever wants to be woken by rolls
  shm::Word32 members_used;          // high-water mark of the member table
  std::uint64_t reserved1[6];
  std::uint64_t reserved2[488];
};
static_assert(sizeof(ControlHeader) == 4096 && std::is_standard_layout_v<ControlHeader>);
static_assert(offsetof(ControlHeader, boot_id) == 24 && offsetof(ControlHeader, catalog_generation) == 64 &&
              offsetof(ControlHeader, maintenance_progress) == 128);

inline constexpr std::uint64_t control_bytes = sizeof(ControlHeader) + shm::max_members * sizeof(shm::MemberLine);

inline constexpr std::uint32_t control_layout_hash = [] {
  std::uint32_t hash = 2'166'136'261u;  // FNV-1a over every size and place that another build could have elsewhere
  for (const std::size_t place :
       {sizeof(ControlHeader), sizeof(shm::MemberLine), sizeof(log::PartitionState), sizeof(log::WaitBlock),
        offsetof(ControlHeader, maintainer), offsetof(shm::MemberLine, wake),
        offsetof(log::PartitionState, resolved_to), offsetof(log::PartitionState, transactions)})
    hash = (hash ^ static_cast<std::uint32_t>(place)) * 16'777'619u;
  return hash;
}();

/// Does the bus speak of this start of the machine? False while somebody is about to say so.
inline bool is_of_boot(const ControlHeader& header, const shm::BootId& id) noexcept {
  std::uint64_t words[5];
  static_assert(sizeof words == sizeof id);
  std::memcpy(words, id.data(), sizeof words);
  for (int i = 0; i < 5; ++i)
    if (header.boot_id[i].load(shm::acquire) != words[i]) return false;
  return true;
}
inline void set_boot(ControlHeader& header, const shm::BootId& id) noexcept {
  std::uint64_t words[5];
  std::memcpy(words, id.data(), sizeof words);
  for (int i = 0; i < 5; ++i) header.boot_id[i].store(words[i], shm::release);  // pairs with is_of_boot()
}

/// Errors: corrupt, newer_format.
inline Result<void> check_control(const ControlHeader& header, std::uint64_t bytes) noexcept {
  if (bytes < control_bytes) return Failure{Errc::corrupt, "the bus's ctl file is cut short"};
  if (header.magic != control_magic) return Failure{Errc::corrupt, "the bus's ctl file is something else (magic)"};
  if (header.version > control_format_version)
    return Failure{Errc::newer_format, "the bus was made by a newer library"};
  const bool same = header.layout_hash == control_layout_hash && header.member_lines == shm::max_members &&
                    header.member_line_bytes == sizeof(shm::MemberLine);
  if (!same) return Failure{Errc::corrupt, "the bus's ctl file has another layout"};
  return {};
}

}  // namespace towpath::inline TOWPATH_ABI::detail
