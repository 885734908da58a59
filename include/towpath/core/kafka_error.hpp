// What Kafka calls an error of ours: the number and name that its protocol and its clients have for it.
//   if (auto done = admin.create_topic(name, config); !done) reply(kafka_error(done.error()).number);
// Kafka's protocol has fewer words than the machine has ways to fail, so several codes share one; docs/kafka.md has the
// table. Constant functions of their argument: thread-safe.
#pragma once

#include <cstdint>

#include <towpath/core/result.hpp>

namespace towpath::inline TOWPATH_ABI {

struct KafkaError {
  std::int16_t number = 0;
  std::string_view name = "NONE";

  friend constexpr bool operator==(const KafkaError&, const KafkaError&) noexcept = default;
};

namespace detail {

struct KafkaErrorOf {
  Errc code;
  KafkaError error;
};

inline constexpr KafkaError kafka_unknown{-1, "UNKNOWN_SERVER_ERROR"};
inline constexpr KafkaError kafka_out_of_range{1, "OFFSET_OUT_OF_RANGE"};
inline constexpr KafkaError kafka_unknown_topic{3, "UNKNOWN_TOPIC_OR_PARTITION"};
inline constexpr KafkaError kafka_try_again{7, "REQUEST_TIMED_OUT"};
inline constexpr KafkaError kafka_unauthorized{29, "TOPIC_AUTHORIZATION_FAILED"};
inline constexpr KafkaError kafka_invalid_config{40, "INVALID_CONFIG"};
inline constexpr KafkaError kafka_storage{56, "KAFKA_STORAGE_ERROR"};
inline constexpr KafkaError kafka_invalid_record{87, "INVALID_RECORD"};

inline constexpr KafkaErrorOf kafka_errors[] = {
    {Errc::ok, {0, "NONE"}},
    {Errc::invalid_argument, {42, "INVALID_REQUEST"}},
    {Errc::invalid_name, {17, "INVALID_TOPIC_EXCEPTION"}},
    {Errc::unknown_topic, kafka_unknown_topic},
    {Errc::unknown_partition, kafka_unknown_topic},
    {Errc::topic_exists, {36, "TOPIC_ALREADY_EXISTS"}},
    {Errc::topic_deleted, kafka_unknown_topic},
    {Errc::config_mismatch, kafka_invalid_config},
    {Errc::type_mismatch, kafka_invalid_record},
    {Errc::message_too_large, {10, "MESSAGE_TOO_LARGE"}},
    {Errc::loan_open, kafka_unknown},
    {Errc::no_group, {24, "INVALID_GROUP_ID"}},
    {Errc::no_offset, kafka_out_of_range},
    {Errc::offset_out_of_range, kafka_out_of_range},
    {Errc::not_assigned, kafka_unknown},
    {Errc::invalid_pattern, {128, "INVALID_REGULAR_EXPRESSION"}},
    {Errc::queue_full, {44, "POLICY_VIOLATION"}},
    {Errc::duplicate_sequence, {46, "DUPLICATE_SEQUENCE_NUMBER"}},
    {Errc::unsupported_compression, {76, "UNSUPPORTED_COMPRESSION_TYPE"}},
    {Errc::undecodable, kafka_invalid_record},
    {Errc::corrupt, {2, "CORRUPT_MESSAGE"}},
    {Errc::newer_format, {35, "UNSUPPORTED_VERSION"}},
    {Errc::log_truncated, kafka_out_of_range},
    {Errc::not_found, kafka_storage},
    {Errc::already_exists, kafka_storage},
    {Errc::permission_denied, kafka_unauthorized},
    {Errc::not_a_directory, kafka_storage},
    {Errc::unsafe_directory, kafka_unauthorized},
    {Errc::unsupported_filesystem, kafka_storage},
    {Errc::no_space, kafka_storage},
    {Errc::out_of_memory, kafka_storage},
    {Errc::too_many_files, kafka_storage},
    {Errc::too_many_maps, kafka_storage},
    {Errc::too_many_members, kafka_unknown},
    {Errc::partition_failed, kafka_storage},
    {Errc::io_error, kafka_storage},
    {Errc::unsupported_platform, kafka_unknown},
    {Errc::recovery_needed, kafka_storage},
    {Errc::recovery_in_progress, {5, "LEADER_NOT_AVAILABLE"}},
    {Errc::read_only, kafka_unauthorized},
    {Errc::forked, kafka_unknown},
    {Errc::closed, kafka_unknown},
    {Errc::busy, kafka_try_again},
    {Errc::fenced, {22, "ILLEGAL_GENERATION"}},
    {Errc::timed_out, kafka_try_again},
};

/// Fields whose wrong values Kafka calls INVALID_CONFIG. The detail of an invalid_argument begins with the field.
inline constexpr std::string_view config_fields[] = {
    "segment_bytes", "max_message_bytes", "retention",  "grace",    "record_alignment",
    "on_full",       "readers",           "durability", "flush.ms", "cleanup.policy",
    "segment.bytes", "max.message.bytes", "towpath.",   "property", "writers"};

}  // namespace detail

/// By the code alone: invalid_argument is INVALID_REQUEST, whatever the argument was.
constexpr KafkaError kafka_error(Errc code) noexcept {
  for (const auto& known : detail::kafka_errors)
    if (known.code == code) return known.error;
  return detail::kafka_unknown;
}

/// As above; a refused number of partitions is INVALID_PARTITIONS and another refused setting INVALID_CONFIG.
constexpr KafkaError kafka_error(const Failure& failure) noexcept {
  if (failure.code != Errc::invalid_argument) return kafka_error(failure.code);
  const std::string_view detail = failure.detail;
  if (detail.starts_with("partitions")) return {37, "INVALID_PARTITIONS"};
  for (const auto field : detail::config_fields)
    if (detail.starts_with(field)) return detail::kafka_invalid_config;
  return kafka_error(failure.code);
}

}  // namespace towpath::inline TOWPATH_ABI
