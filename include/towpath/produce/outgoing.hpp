// The records of one send_batch():  producer.send_batch(values)  or, where they differ in more than their value,
//   Outgoing<Pose> some[] = {{&a, "left"}, {&b, "right"}, {nullptr, "gone"}};
//   producer.send_batch(some);
// All views: they must live until send_batch() returns.
#pragma once

#include <towpath/produce/send_options.hpp>

namespace towpath::inline TOWPATH_ABI {

/// One record of a batch.
template <class T>
struct Outgoing {
  const T* value = nullptr;  ///< null: a tombstone
  Key key{};
  std::span<const Header> headers{};
  std::optional<Timestamp> timestamp = std::nullopt;  ///< default: the batch's
};

namespace detail {

/// The records of a batch that have all but their values in common.
template <class T>
struct AlikeRecords {
  static constexpr bool are_alike = true;
  std::span<const T> values;
  const SendOptions* options;

  Outgoing<T> operator()(std::size_t i) const noexcept {
    return {&values[i], options->key, options->headers.view(), options->timestamp};
  }
};

/// Records that may differ in everything.
template <class T>
struct OwnRecords {
  static constexpr bool are_alike = false;
  std::span<const Outgoing<T>> records;
  const SendOptions* options;

  Outgoing<T> operator()(std::size_t i) const noexcept {
    Outgoing<T> record = records[i];
    if (!record.timestamp) record.timestamp = options->timestamp;
    return record;
  }
};

}  // namespace detail

/// What send_batch() tells about its records: they have the offsets first to first + count - 1.
struct BatchMetadata {
  PartitionId partition;
  Offset first;
  std::size_t count = 0;
};

}  // namespace towpath::inline TOWPATH_ABI
