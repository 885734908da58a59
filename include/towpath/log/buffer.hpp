// A Buffer is private memory that is filled, read and filled again: what a batch is unpacked into. It begins at a
// multiple of 64 bytes, grows by asking and never shrinks, so that the next batch finds the room of the largest so far.
// It says no instead of throwing when there is no memory. Not thread-safe; nothing of it is shared between processes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include <towpath/core/bytes.hpp>

namespace towpath::inline TOWPATH_ABI::log {

class Buffer {
 public:
  static constexpr std::size_t alignment = 64;

  Buffer() noexcept = default;
  Buffer(Buffer&& other) noexcept
      : data_{std::exchange(other.data_, nullptr)},
        size_{std::exchange(other.size_, 0)},
        capacity_{std::exchange(other.capacity_, 0)} {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~Buffer() { release(data_); }

  [[nodiscard]] std::byte* data() noexcept { return data_; }
  [[nodiscard]] const std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] Bytes bytes() const noexcept { return {data_, size_}; }
  void clear() noexcept { size_ = 0; }

  /// Room for `capacity` bytes; what stands in the buffer stays, at another address. False: no memory, nothing changed.
  [[nodiscard]] bool reserve(std::size_t capacity) noexcept {
    if (capacity <= capacity_) return true;
    if (capacity > std::numeric_limits<std::size_t>::max() / 2) return false;
    auto* const data = static_cast<std::byte*>(::operator new (capacity, std::align_val_t{alignment}, std::nothrow));
    if (data == nullptr) return false;
    if (size_ > 0) std::memcpy(data, data_, size_);
    release(data_);
    data_ = data, capacity_ = capacity;
    return true;
  }

  /// Makes it `size` bytes long. New bytes are whatever stood there before. False: no memory, nothing changed.
  [[nodiscard]] bool resize(std::size_t size) noexcept {
    if (size > capacity_ && !reserve(std::max(size, capacity_ + capacity_ / 2))) return false;
    size_ = size;
    return true;
  }

 private:
  static void release(std::byte* data) noexcept { ::operator delete (data, std::align_val_t{alignment}); }

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace towpath::inline TOWPATH_ABI::log
