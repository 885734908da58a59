// What is sent: records of a fixed size that carry a number, and the check that each arrived whole and in its turn.
#pragma once

#include <array>

#include "harness.hpp"

namespace bench {

/// N bytes: a sequence number, then a fixed pattern. Words of 4 bytes, so that 100 bytes are 100 bytes.
template <std::size_t N>
struct Payload {
  static_assert(N % 4 == 0 && N >= 8);
  std::array<std::uint32_t, N / 4> words;

  static Payload pattern() noexcept {
    Payload made{};
    for (std::size_t i = 2; i < made.words.size(); ++i) made.words[i] = 0x9e3779b9U * static_cast<std::uint32_t>(i);
    return made;
  }
  void stamp(std::uint64_t sequence) noexcept { std::memcpy(words.data(), &sequence, sizeof sequence); }
  std::uint64_t sequence() const noexcept {
    std::uint64_t value;
    std::memcpy(&value, words.data(), sizeof value);
    return value;
  }
};

/// The sum over the pattern; a reader that compares it has touched every byte. Two words of 8 bytes at a time: what is
/// measured is how records arrive, not how well a compiler sums.
template <std::size_t N>
std::uint64_t sum_of_pattern(const Payload<N>& payload) noexcept {
  const auto word = [&payload](std::size_t at, std::size_t size) {
    std::uint64_t value = 0;
    std::memcpy(&value, reinterpret_cast<const std::byte*>(&payload) + at, size);
    return value;
  };
  std::uint64_t even = 0, odd = 0;
  std::size_t at = 8;
  for (; at + 16 <= N; at += 16) even += word(at, 8), odd += word(at + 8, 8);
  if (N - at >= 8) even += word(at, 8), at += 8;
  if (at < N) odd += word(at, 4);
  return even + odd;
}

template <std::size_t N>
inline const std::uint64_t expected_sum = sum_of_pattern(Payload<N>::pattern());

/// Ends the program unless this is record `expected`, whole.
template <std::size_t N>
void check(const Payload<N>& payload, std::uint64_t expected) {
  const std::uint64_t sequence = payload.sequence();
  if (sequence != expected || sum_of_pattern(payload) != expected_sum<N>) [[unlikely]]
    fail("record " + std::to_string(expected) + " expected, " + std::to_string(sequence) +
         (sequence == expected ? " came damaged" : " came"));
}

}  // namespace bench
