// What can go wrong, as one list. docs/errors.md says for each code when it comes and what to do.
// No data, a lost race and a full queue under a drop policy are outcomes, not errors: they have no code.
#pragma once

#include <string_view>

#include <towpath/core/config.hpp>

namespace towpath::inline TOWPATH_ABI {

enum class Errc : int {
  ok = 0,
  // the caller's request
  invalid_argument,         ///< a value out of its range; the detail names it
  invalid_name,             ///< a topic name that Kafka's rule refuses
  unknown_topic,            ///< no such topic, and it was not to be created
  unknown_partition,        ///< a partition number at or above the topic's count
  topic_exists,             ///< create_topic on a name that is taken
  topic_deleted,            ///< the topic went away under this handle
  config_mismatch,          ///< another alignment or layout than the topic was created with
  type_mismatch,            ///< another value type than the topic was created with
  message_too_large,        ///< above max_message_bytes; nothing was reserved
  loan_open,                ///< one open loan per Producer
  no_group,                 ///< commit without group_id
  no_offset,                ///< auto_offset_reset = none and no position was given
  offset_out_of_range,      ///< the position is before the log's start or past its end
  not_assigned,             ///< the partition is not assigned to this Consumer
  invalid_pattern,          ///< a regular expression that does not compile
  queue_full,               ///< on_full = fail: a named reader has not read what would have to go
  duplicate_sequence,       ///< the producer sent a record with that sequence number before
  unsupported_compression,  ///< this program was built without that codec
  // the data
  undecodable,    ///< bytes that are no value of this type; the position stays before them
  corrupt,        ///< a file's content contradicts itself
  newer_format,   ///< written by a newer library
  log_truncated,  ///< a restart of the machine took records that were not durable; the log goes on before them
  // the machine
  not_found,               ///< no such file or folder
  already_exists,          ///< a file of that name stands already
  permission_denied,       ///< the operating system refused
  not_a_directory,         ///< the bus path is a file
  unsafe_directory,        ///< the folder belongs to somebody else or the world may write to it
  unsupported_filesystem,  ///< no coherent shared mapping there (overlay, NFS, FUSE, ...)
  no_space,                ///< the disk or tmpfs is full; works again when there is room
  out_of_memory,           ///< the operating system has none for a descriptor or lock; for maps see too_many_maps
  too_many_files,          ///< RLIMIT_NOFILE or the system's table is full
  too_many_maps,           ///< vm.max_map_count reached, or no memory or addresses for a map
  too_many_members,        ///< all lines of the member table are taken
  partition_failed,        ///< an I/O error made the partition read-only
  io_error,                ///< any other refusal of the operating system; the detail names the call
  unsupported_platform,    ///< page size above 64 KiB, or a kernel without openat2 or OFD locks
  // the state of things
  recovery_needed,       ///< the machine was restarted since, and who may write has not opened the bus yet
  recovery_in_progress,  ///< another process recovers the bus after a restart of the machine
  read_only,             ///< this member has no right to write
  forked,                ///< used in a child process after fork(): open the bus anew there
  closed,                ///< a loan that was sent already
  busy,                  ///< somebody else holds what only one may hold
  fenced,                ///< a newer owner took over
  timed_out,             ///< the given time passed
};

/// One static sentence per code, for people.
constexpr std::string_view message(Errc code) noexcept;

/// The code's own name, e.g. "message_too_large", for logs and tools.
constexpr std::string_view name(Errc code) noexcept;

namespace detail {

struct ErrcText {
  Errc code;
  std::string_view name;
  std::string_view message;
};

inline constexpr ErrcText errc_texts[] = {
    {Errc::ok, "ok", "no error"},
    {Errc::invalid_argument, "invalid_argument", "a value is out of its range"},
    {Errc::invalid_name, "invalid_name", "topic names are 1 to 249 of [A-Za-z0-9._-], not . or .."},
    {Errc::unknown_topic, "unknown_topic", "no topic of that name on this bus"},
    {Errc::unknown_partition, "unknown_partition", "the topic has fewer partitions"},
    {Errc::topic_exists, "topic_exists", "a topic of that name exists"},
    {Errc::topic_deleted, "topic_deleted", "the topic was deleted; open it anew"},
    {Errc::config_mismatch, "config_mismatch", "the topic was created with another layout"},
    {Errc::type_mismatch, "type_mismatch", "the topic was created with another value type"},
    {Errc::message_too_large, "message_too_large",
     "the record exceeds max_message_bytes; raise it or split the record"},
    {Errc::loan_open, "loan_open", "this producer has an open loan; send or drop it first"},
    {Errc::no_group, "no_group", "this needs a group_id"},
    {Errc::no_offset, "no_offset", "no position and auto_offset_reset is none; seek first"},
    {Errc::offset_out_of_range, "offset_out_of_range", "the log no longer, or not yet, holds that offset; seek"},
    {Errc::not_assigned, "not_assigned", "the partition is not assigned to this consumer"},
    {Errc::invalid_pattern, "invalid_pattern", "the pattern is no POSIX extended regular expression"},
    {Errc::queue_full, "queue_full",
     "a named reader has not read what would have to go; let it read, or raise retention"},
    {Errc::duplicate_sequence, "duplicate_sequence", "the log has a record of that number from this producer already"},
    {Errc::unsupported_compression, "unsupported_compression",
     "this program has no such codec; include towpath/adapters/compression.hpp"},
    {Errc::undecodable, "undecodable", "the bytes are no value of this type; seek past them or stop"},
    {Errc::corrupt, "corrupt", "a file contradicts itself; it was not touched"},
    {Errc::newer_format, "newer_format", "written by a newer library; update this one"},
    {Errc::log_truncated, "log_truncated", "a power cut took records behind this offset; seek, and read on"},
    {Errc::not_found, "not_found", "no such file or folder"},
    {Errc::already_exists, "already_exists", "a file of that name stands already"},
    {Errc::permission_denied, "permission_denied", "the operating system refused access; check owner and mode"},
    {Errc::not_a_directory, "not_a_directory", "a bus is a folder, and this path is not one"},
    {Errc::unsafe_directory, "unsafe_directory", "the folder is world-writable or owned by another user"},
    {Errc::unsupported_filesystem, "unsupported_filesystem",
     "no coherent shared memory here; use tmpfs, ext4, xfs or btrfs"},
    {Errc::no_space, "no_space", "no room left; free some and send again"},
    {Errc::out_of_memory, "out_of_memory", "the operating system has no memory left"},
    {Errc::too_many_files, "too_many_files", "out of file descriptors; raise ulimit -n"},
    {Errc::too_many_maps, "too_many_maps", "out of memory maps; raise vm.max_map_count"},
    {Errc::too_many_members, "too_many_members", "all 1,024 member lines are taken; close producers or consumers"},
    {Errc::partition_failed, "partition_failed", "an I/O error made the partition read-only; see the kernel's log"},
    {Errc::io_error, "io_error", "the operating system refused"},
    {Errc::unsupported_platform, "unsupported_platform", "this kernel lacks what a bus needs"},
    {Errc::recovery_needed, "recovery_needed",
     "the machine was restarted since; open the bus once by a process that may write it"},
    {Errc::recovery_in_progress, "recovery_in_progress", "another process recovers this bus; try again"},
    {Errc::read_only, "read_only", "this process may only read this bus"},
    {Errc::forked, "forked", "a bus cannot be used after fork(); open it anew in the child"},
    {Errc::closed, "closed", "this handle is closed"},
    {Errc::busy, "busy", "somebody else holds it"},
    {Errc::fenced, "fenced", "a newer owner took over; do not retry"},
    {Errc::timed_out, "timed_out", "the given time passed"},
};

constexpr ErrcText find_text(Errc code) noexcept {
  for (const auto& text : errc_texts)
    if (text.code == code) return text;
  return {code, "unknown", "an unknown code"};
}

}  // namespace detail

constexpr std::string_view message(Errc code) noexcept { return detail::find_text(code).message; }
constexpr std::string_view name(Errc code) noexcept { return detail::find_text(code).name; }

}  // namespace towpath::inline TOWPATH_ABI
