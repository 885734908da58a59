// What goes with a record beside its value:  producer.send(job, {.key = robot, .headers = {{"source", "plan"}}});
// All views: they must live until send() or loan() returns. So write lists and texts that are made in place into the
// call: a variable, as in  SendOptions o{.headers = {{"a", "b"}}};  keeps a view of a list that is gone behind the
// semicolon. For a variable keep the headers in a std::vector<Header>, and the key's text in a std::string, beside it.
#pragma once

#include <initializer_list>
#include <optional>

#include <towpath/log/frame.hpp>
#include <towpath/serde/serde.hpp>

namespace towpath::inline TOWPATH_ABI {

/// A record's key: text, bytes or an integer (2, 4 or 8 bytes, big-endian as Kafka's serializers have it). Records with
/// the same key go to the same partition and keep their order.
class Key {
 public:
  constexpr Key() noexcept = default;  ///< no key
  Key(const char* text) noexcept : view_{std::string_view{text}}, present_{true} {}
  Key(std::string_view text) noexcept : view_{text}, present_{true} {}
  Key(const std::string& text) noexcept : view_{std::string_view{text}}, present_{true} {}
  Key(Bytes bytes) noexcept : view_{bytes}, present_{true} {}
  template <std::integral T>
    requires(sizeof(T) > 1)
  constexpr Key(T number) noexcept : inline_size_{sizeof(T)}, present_{true} {
    const auto bytes = detail::big_endian(number);
    for (std::size_t i = 0; i < sizeof(T); ++i) inline_[i] = bytes[i];
  }

  [[nodiscard]] constexpr bool is_present() const noexcept { return present_; }
  /// Valid while this Key is.
  [[nodiscard]] constexpr Bytes bytes() const noexcept { return inline_size_ ? Bytes{inline_, inline_size_} : view_; }

 private:
  Bytes view_;
  std::byte inline_[8]{};
  std::size_t inline_size_ = 0;
  bool present_ = false;
};

/// The headers of one record, at most 65,535. A view: of braces only until the end of the statement they stand in.
class Headers {
 public:
  constexpr Headers() noexcept = default;
  constexpr Headers(std::initializer_list<Header> list) noexcept : view_{list.begin(), list.size()} {}
  constexpr Headers(std::span<const Header> headers) noexcept : view_{headers} {}
  /// A template, so that braces never mean a vector: {{"a", "b"}} is one header.
  template <std::same_as<std::vector<Header>> Vector>
  Headers(const Vector& headers) noexcept : view_{headers} {}
  [[nodiscard]] constexpr std::span<const Header> view() const noexcept { return view_; }

 private:
  std::span<const Header> view_;
};

struct SendOptions {
  Key key{};
  Headers headers{};
  /// When it happened. Default: now, when it is sent.
  std::optional<Timestamp> timestamp = std::nullopt;
  /// Where to. Default: the producer's partitioner decides.
  std::optional<PartitionId> partition = std::nullopt;
  /// Its number among the records of a Producer that has an id; of a batch, that of the first. Must be higher than all
  /// it sent to the topic so far, else duplicate_sequence; gaps below 2^30 are fine. Default: one more than the last.
  std::optional<std::int32_t> sequence = std::nullopt;
  /// Return only when every reader can see the record, that is, when all before it are resolved. Default: return when
  /// it is in the log; an earlier record of a slow producer may still hold readers up (where durability is each, a send
  /// waits for that in any case). A send that fails while it waits has appended the record nevertheless.
  bool visible = false;
};

namespace detail {

/// What a send without options refers to: none is filled in for each call.
inline constexpr SendOptions no_options{};

}  // namespace detail

/// What a send tells about the record.
struct RecordMetadata {
  PartitionId partition;
  Offset offset;
  Timestamp timestamp;
};

/// What send() returns on any kind of bus: on this host a Result, at once; over a network something to wait for.
template <class D>
concept Delivery = requires(D delivery, void (*callback)(const Result<RecordMetadata>&)) {
  { std::move(delivery).value() } -> std::convertible_to<RecordMetadata>;  // waits; throws Error if it failed
  { delivery.error() } -> std::convertible_to<Failure>;                    // waits
  delivery.ignore();                                                       // on purpose
  delivery.then(callback);                                                 // calls it when it is there
};
static_assert(Delivery<Result<RecordMetadata>>);

}  // namespace towpath::inline TOWPATH_ABI
