// The names of the readers that a topic waits for:  {.on_full = OnFull::block, .readers = {"recorder", "planner"}}
// A value without pointers, usable at compile time. A list that breaks a rule stays, and is_valid() says so.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <string_view>

#include <towpath/topic/names.hpp>

namespace towpath::inline TOWPATH_ABI {

class ReaderList {
 public:
  static constexpr std::size_t max_names = 16;
  static constexpr std::size_t max_text = 480;

  constexpr ReaderList() noexcept = default;
  constexpr ReaderList(std::initializer_list<std::string_view> names) noexcept {
    for (const auto name : names) add(name);
  }
  /// As text() writes it: "recorder,planner".
  static constexpr ReaderList of(std::string_view text) noexcept {
    ReaderList list;
    while (!text.empty()) {
      const auto name = text.substr(0, text.find(','));
      list.add(name);
      text.remove_prefix(name.size() < text.size() ? name.size() + 1 : text.size());
    }
    return list;
  }

  /// Adds a name; one that is there already changes nothing.
  constexpr void add(std::string_view name) noexcept {
    if (contains(name)) return;
    const bool fits = count_ < max_names && size_ + name.size() + 1 <= max_text && check_reader_name(name).has_value();
    if (!fits) return void(valid_ = false);
    if (size_ > 0) text_[size_++] = ',';
    for (const char c : name) text_[size_++] = c;
    ++count_;
  }

  [[nodiscard]] constexpr bool contains(std::string_view name) const noexcept {
    for (std::size_t i = 0; i < count_; ++i)
      if ((*this)[i] == name) return true;
    return false;
  }
  [[nodiscard]] constexpr std::string_view operator[](std::size_t i) const noexcept {
    std::string_view left = text();
    for (; i > 0; --i) left.remove_prefix(left.find(',') + 1);
    return left.substr(0, left.find(','));
  }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return count_; }
  [[nodiscard]] constexpr bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] constexpr std::string_view text() const noexcept { return {text_.data(), size_}; }
  [[nodiscard]] constexpr bool is_valid() const noexcept { return valid_; }

  friend constexpr bool operator==(const ReaderList&, const ReaderList&) noexcept = default;

 private:
  std::array<char, max_text> text_{};
  std::size_t size_ = 0;
  std::size_t count_ = 0;
  bool valid_ = true;
};

}  // namespace towpath::inline TOWPATH_ABI
