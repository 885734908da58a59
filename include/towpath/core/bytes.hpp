// Bytes is a view of bytes that somebody else owns: a record in the log, a key, a caller's buffer.
// It never allocates and never owns. It is also the value type of an untyped topic: Topic<Bytes>.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <towpath/core/config.hpp>

namespace towpath::inline TOWPATH_ABI {

class Bytes {
 public:
  constexpr Bytes() noexcept = default;
  constexpr Bytes(const std::byte* data, std::size_t size) noexcept : data_{data}, size_{size} {}
  constexpr Bytes(std::span<const std::byte> bytes) noexcept : data_{bytes.data()}, size_{bytes.size()} {}
  Bytes(std::string_view text) noexcept : data_{reinterpret_cast<const std::byte*>(text.data())}, size_{text.size()} {}
  Bytes(const char* text) noexcept : Bytes{std::string_view{text}} {}
  Bytes(const std::string& text) noexcept : Bytes{std::string_view{text}} {}
  Bytes(const std::vector<std::byte>& bytes) noexcept : data_{bytes.data()}, size_{bytes.size()} {}

  [[nodiscard]] constexpr const std::byte* data() const noexcept { return data_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] constexpr const std::byte* begin() const noexcept { return data_; }
  [[nodiscard]] constexpr const std::byte* end() const noexcept { return data_ + size_; }
  [[nodiscard]] constexpr std::span<const std::byte> span() const noexcept { return {data_, size_}; }
  [[nodiscard]] std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }

  friend bool operator==(Bytes a, Bytes b) noexcept {
    return a.size_ == b.size_ && (a.size_ == 0 || std::memcmp(a.data_, b.data_, a.size_) == 0);
  }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace towpath::inline TOWPATH_ABI
