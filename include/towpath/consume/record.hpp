// A Record is one record as a consumer sees it, in place in the log. It is a view into the Batch that it came from:
// keep the Batch as long as you use what value(), key() and headers() return.
#pragma once

#include <optional>

#include <towpath/core/formatters.hpp>
#include <towpath/log/frame.hpp>
#include <towpath/serde/serde.hpp>

namespace towpath::inline TOWPATH_ABI {

enum class TimestampType {
  create_time,      ///< the producer's, or what it was told
  log_append_time,  ///< when it was appended
};

namespace detail {

/// What value() returns: a view into the log, or a value that was decoded when it was polled.
template <class T, class S>
struct ValueOf {
  using type = const T&;
};
template <class T, InPlaceSerde<T> S>
struct ValueOf<T, S> {
  using type = typename S::View;
};

/// value() of a record that has none: a caller's bug that must not become a stray read.
template <class T>
[[noreturn]] TOWPATH_COLD const T& no_value() {
  raise({Errc::undecodable, "value() of a tombstone; ask is_tombstone() first"});
}

}  // namespace detail

template <class T, class S = Serde<T>>
class Record {
 public:
  using View = typename detail::ValueOf<T, S>::type;

  [[nodiscard]] std::string_view topic() const noexcept { return topic_; }
  [[nodiscard]] PartitionId partition() const noexcept { return partition_; }
  [[nodiscard]] Offset offset() const noexcept { return offset_; }
  [[nodiscard]] Timestamp timestamp() const noexcept {
    return Timestamp{std::chrono::nanoseconds{frame_.header.timestamp_ns}};
  }
  [[nodiscard]] TimestampType timestamp_type() const noexcept {
    return frame_.header.flags & log::frame_append_time ? TimestampType::log_append_time : TimestampType::create_time;
  }

  /// The value, read in place where the encoding allows it. Ask is_tombstone() first where producers send tombstones.
  [[nodiscard]] View value() const noexcept {
    TOWPATH_ASSERT(!is_tombstone());
    if constexpr (InPlaceSerde<S, T>)
      return S::view(frame_.value);
    else
      return decoded_ ? *decoded_ : detail::no_value<T>();
  }
  /// The value's bytes as they stand in the log.
  [[nodiscard]] Bytes bytes() const noexcept { return frame_.value; }
  /// A key without a value: the key is gone.
  [[nodiscard]] bool is_tombstone() const noexcept { return !frame_.has_value; }

  [[nodiscard]] bool has_key() const noexcept { return frame_.has_key; }
  /// Empty when there is none.
  [[nodiscard]] Bytes key() const noexcept { return frame_.key; }
  /// The key as text, as an integer in Kafka's byte order, or as what another serde makes of it, as
  /// key_as<Robot, JsonSerde<Robot>>(); none when it is absent or is no such value.
  template <class K, class KeySerde = Serde<K>>
  [[nodiscard]] auto key_as() const noexcept(InPlaceSerde<KeySerde, K>) {
    if constexpr (InPlaceSerde<KeySerde, K>) {
      using Found = std::optional<typename KeySerde::View>;
      return frame_.has_key && KeySerde::accepts(frame_.key) ? Found{KeySerde::view(frame_.key)} : Found{};
    } else {
      auto decoded = frame_.has_key ? KeySerde::decode(frame_.key) : Result<K>{Errc::undecodable};
      return decoded ? std::optional<K>{std::move(*decoded)} : std::optional<K>{};
    }
  }
  /// The id of its producer and its sequence number; not present when the producer has no id.
  [[nodiscard]] log::ProducerMark producer() const noexcept { return frame_.producer(); }
  [[nodiscard]] log::HeaderRange headers() const noexcept { return {frame_.headers, frame_.header.header_count}; }

  /// The stored CRC-32C; none on tmpfs and in memory, where records carry none, and in record batches, which have one
  /// in all.
  [[nodiscard]] std::optional<std::uint32_t> checksum() const noexcept {
    return checksummed_ ? std::optional{frame_.header.crc32c} : std::nullopt;
  }
  /// Bytes of key and value; -1 when absent.
  [[nodiscard]] std::int64_t serialized_key_size() const noexcept {
    return frame_.has_key ? static_cast<std::int64_t>(frame_.key.size()) : -1;
  }
  [[nodiscard]] std::int64_t serialized_value_size() const noexcept {
    return frame_.has_value ? static_cast<std::int64_t>(frame_.value.size()) : -1;
  }

 private:
  template <class, class>
  friend class Batch;

  log::FrameView frame_;
  std::string_view topic_;
  PartitionId partition_;
  Offset offset_;
  const T* decoded_ = nullptr;
  bool checksummed_ = false;
};

}  // namespace towpath::inline TOWPATH_ABI

/// topic=pose partition=0 offset=7 timestamp=... timestamp_type=create_time serialized_key_size=2
/// serialized_value_size=24 key=ab value=... header[a]=... checksum=... in one line; what is absent is left out. Bytes
/// that are not printable are escaped; each text is cut after 64 bytes.
template <class T, class S>
struct fmt::formatter<towpath::Record<T, S>> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }

  template <class Context>
  auto format(const towpath::Record<T, S>& record, Context& context) const {
    auto out = fmt::format_to(
        context.out(), "topic={} partition={} offset={} timestamp={} timestamp_type={}", record.topic(),
        record.partition(), record.offset(), record.timestamp().time_since_epoch().count(),
        record.timestamp_type() == towpath::TimestampType::create_time ? "create_time" : "log_append_time");
    out = fmt::format_to(out, " serialized_key_size={} serialized_value_size={}", record.serialized_key_size(),
                         record.serialized_value_size());
    if (record.has_key()) out = fmt::format_to(out, " key={}", record.key());
    if (!record.is_tombstone()) out = write_value(fmt::format_to(out, " value="), record);
    for (const auto& header : record.headers())
      out = fmt::format_to(out, " header[{}]={}", towpath::Bytes{header.key}, header.value);
    if (const auto crc = record.checksum()) out = fmt::format_to(out, " checksum={:08x}", *crc);
    return out;
  }

 private:
  template <class Out>
  static Out write_value(Out out, const towpath::Record<T, S>& record) {
    using View = std::remove_cvref_t<typename towpath::Record<T, S>::View>;
    if constexpr (std::is_arithmetic_v<View>)
      return fmt::format_to(out, "{}", record.value());
    else
      return fmt::format_to(out, "{}", record.bytes());
  }
};
