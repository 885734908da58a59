// The short way of a send: a value of a fixed size with nothing beside it, to the only partition of its topic. What a
// send has to ask first is asked once, and again after the topic's settings changed. One thread's, as the producer is.
// Measured: docs/decisions/0031.
#pragma once

#include <optional>

#include <towpath/log/appender.hpp>
#include <towpath/serde/serde.hpp>
#include <towpath/shm/fork.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// Whether values of this type may go that way: of one size that is not large, and encoded without throwing.
template <class T, class S>
inline constexpr bool has_fast_path = [] {
  if constexpr (requires { S::fixed_size; } && !PreparingSerde<S, T>)
    return noexcept(S::encode(std::declval<const T&>(), std::span<std::byte>{})) &&
           S::fixed_size <= log::max_small_frame / 2;
  else
    return false;
}();

class FastPath {
 public:
  FastPath(const log::TopicWords& words, const shm::ForkWatch& watch) noexcept : words_{&words}, watch_{watch} {}

  /// Where to append; null: go the long way.
  [[nodiscard]] TOWPATH_HOT log::Appender* appender() const noexcept {
    // In this order: a child after fork() has no words.
    return watch_.is_mine() && version_ == words_->config_version.load(shm::relaxed) ? appender_ : nullptr;
  }

  /// Were the settings changed since it was armed? Pairs with publish_settings() and publish_partitions().
  [[nodiscard]] bool is_outdated() const noexcept { return version_ != words_->config_version.load(shm::acquire); }

  /// Values of `size` bytes may go to `appender` while the settings are those of `version`; nowhere if it is null.
  void arm(log::Appender* appender, std::uint64_t version, std::uint64_t value_at, std::uint64_t size,
           std::uint64_t alignment) noexcept {
    appender_ = appender, version_ = version;
    value_at_ = value_at, length_ = value_at + size, bytes_ = align_up(length_, alignment);
  }
  void disarm() noexcept { appender_ = nullptr; }

  /// None: nothing was appended, go the long way.
  template <class S, log::Writing how, class T>
  TOWPATH_HOT std::optional<Offset> append(log::Appender& appender, Timestamp time, const T& value) const noexcept {
    log::Reservation room;
    do {
      if (!appender.reserve_here<how>({bytes_, 1}, length_, room)) [[unlikely]]
        return std::nullopt;
      const log::FrameHeader header{0, 0, 0, time.time_since_epoch().count()};
      std::memcpy(room.frame, &header, sizeof header);
      TOWPATH_FAILPOINT("append.half_written");
      S::encode(value, std::span<std::byte>{room.frame + value_at_, static_cast<std::size_t>(length_ - value_at_)});
      TOWPATH_FAILPOINT("append.written");
    } while (!appender.commit<how>(room));
    return room.offset;
  }

 private:
  const log::TopicWords* words_;
  shm::ForkWatch watch_;
  std::uint64_t version_ = ~std::uint64_t{0};
  log::Appender* appender_ = nullptr;
  std::uint64_t value_at_ = 0;
  std::uint64_t length_ = 0;
  std::uint64_t bytes_ = 0;  // of the log
};

}  // namespace towpath::inline TOWPATH_ABI::detail
