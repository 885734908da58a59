// A Result<T> is a value or a Failure. Look before you use it; value() throws towpath::Error instead.
//   if (auto sent = producer.send(x); !sent) log(sent.error());        // a Failure: code and static detail
//   producer.send(x).value();                                          // throws Error{failure}
//   producer.send(x).ignore();                                         // dropped on purpose
// Not thread-safe, like any value. On a temporary value() and * return by value, so that a loop over *f() has what it
// walks; a loop over f()->list has not.
#pragma once

#include <cstdio>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include <towpath/core/errc.hpp>

namespace towpath::inline TOWPATH_ABI {

/// A code and a sentence that lives for ever (a string literal). Compares with Errc.
struct Failure {
  Errc code = Errc::ok;
  const char* detail = "";

  friend constexpr bool operator==(const Failure& a, const Failure& b) noexcept { return a.code == b.code; }
  friend constexpr bool operator==(const Failure& failure, Errc errc) noexcept { return failure.code == errc; }
};

namespace detail {

inline constexpr std::size_t described_size = 256;

/// Code, message and detail as one line; cut off if it is longer than the room.
TOWPATH_COLD inline void describe(const Failure& failure, char (&text)[described_size]) noexcept {
  const auto code = name(failure.code);
  const auto meaning = message(failure.code);
  const auto print = [&](const char* format) {
    std::snprintf(text, sizeof text, format, static_cast<int>(code.size()), code.data(),
                  static_cast<int>(meaning.size()), meaning.data(), failure.detail);
  };
  print(*failure.detail ? "%.*s: %.*s (%s)" : "%.*s: %.*s%s");
}

}  // namespace detail

#if TOWPATH_EXCEPTIONS
/// The exception that carries a Failure. what() says all of it: "no_space: no room left; ... (fallocate)".
class Error : public std::exception {
 public:
  explicit Error(Failure failure) noexcept : failure_{failure} { detail::describe(failure, text_); }
  [[nodiscard]] const Failure& failure() const noexcept { return failure_; }
  [[nodiscard]] Errc code() const noexcept { return failure_.code; }
  [[nodiscard]] const char* what() const noexcept override { return text_; }

 private:
  Failure failure_;
  char text_[detail::described_size];
};
#endif

namespace detail {

/// Throws Error; without exceptions calls TOWPATH_FAIL.
[[noreturn]] TOWPATH_COLD inline void raise(const Failure& failure) {
#if TOWPATH_EXCEPTIONS
  throw Error{failure};
#else
  char text[described_size];
  describe(failure, text);
  TOWPATH_FAIL(text);
  std::abort();
#endif
}

}  // namespace detail

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  constexpr Result(T value) noexcept(std::is_nothrow_move_constructible_v<T>) : value_{std::move(value)} {}
  constexpr Result(Failure failure) noexcept : failure_{failure} {}
  constexpr Result(Errc code) noexcept : failure_{code, ""} {}

  [[nodiscard]] constexpr bool has_value() const noexcept { return value_.has_value(); }
  constexpr explicit operator bool() const noexcept { return value_.has_value(); }

  /// Only when has_value().
  constexpr T& operator*() & noexcept { return *value_; }
  constexpr const T& operator*() const& noexcept { return *value_; }
  constexpr T operator*() && noexcept(std::is_nothrow_move_constructible_v<T>) { return std::move(*value_); }
  constexpr T* operator->() noexcept { return &*value_; }
  constexpr const T* operator->() const noexcept { return &*value_; }

  /// The value, by value. Throws Error (without exceptions: TOWPATH_FAIL) when there is none.
  constexpr T value() && {
    if (!value_) detail::raise(failure_);
    return std::move(*value_);
  }
  constexpr const T& value() const& {
    if (!value_) detail::raise(failure_);
    return *value_;
  }

  /// The failure; Errc::ok when there is a value.
  [[nodiscard]] constexpr Failure error() const noexcept { return failure_; }

  constexpr void ignore() const noexcept {}

  /// Calls `then(*this)`, now: a Result is always ready. What is delivered later has the same function.
  template <class Callback>
  constexpr void then(Callback&& callback) const {
    std::forward<Callback>(callback)(*this);
  }

 private:
  std::optional<T> value_;  // not std::variant: a third of the time to compile this library
  Failure failure_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  constexpr Result() noexcept = default;
  constexpr Result(Failure failure) noexcept : failure_{failure} {}
  constexpr Result(Errc code) noexcept : failure_{code, ""} {}

  [[nodiscard]] constexpr bool has_value() const noexcept { return failure_.code == Errc::ok; }
  constexpr explicit operator bool() const noexcept { return has_value(); }
  constexpr void value() const {
    if (!has_value()) detail::raise(failure_);
  }
  [[nodiscard]] constexpr Failure error() const noexcept { return failure_; }
  constexpr void ignore() const noexcept {}

 private:
  Failure failure_;
};

}  // namespace towpath::inline TOWPATH_ABI
