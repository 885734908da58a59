// fmt formatters of the core words: fmt::print("{}", record.offset()), fmt::print("{}", result.error()).
#pragma once

#include <fmt/format.h>

#include <towpath/core/bytes.hpp>
#include <towpath/core/ids.hpp>
#include <towpath/core/result.hpp>
#include <towpath/core/topic_partition.hpp>

template <>
struct fmt::formatter<towpath::Offset> : fmt::formatter<std::int64_t> {
  template <class Context>
  auto format(towpath::Offset offset, Context& context) const {
    return fmt::formatter<std::int64_t>::format(offset.value, context);
  }
};

template <>
struct fmt::formatter<towpath::PartitionId> : fmt::formatter<std::int32_t> {
  template <class Context>
  auto format(towpath::PartitionId id, Context& context) const {
    return fmt::formatter<std::int32_t>::format(id.value, context);
  }
};

/// "pose-0", as Kafka writes it.
template <>
struct fmt::formatter<towpath::TopicPartition> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  template <class Context>
  auto format(const towpath::TopicPartition& at, Context& context) const {
    return fmt::format_to(context.out(), "{}-{}", at.topic, at.partition.value);
  }
};

/// Printable characters as they are, others as \xNN; cut after 64 bytes.
template <>
struct fmt::formatter<towpath::Bytes> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  template <class Context>
  auto format(towpath::Bytes bytes, Context& context) const {
    constexpr std::size_t shown = 64;
    auto out = context.out();
    for (std::size_t i = 0; i < bytes.size() && i < shown; ++i) {
      const auto c = std::to_integer<unsigned>(bytes.data()[i]);
      out = c >= 0x20 && c < 0x7F && c != '\\' ? fmt::format_to(out, "{}", static_cast<char>(c))
                                               : fmt::format_to(out, "\\x{:02x}", c);
    }
    return bytes.size() > shown ? fmt::format_to(out, "... ({} B)", bytes.size()) : out;
  }
};

template <>
struct fmt::formatter<towpath::LeaderEpoch> : fmt::formatter<std::int32_t> {
  template <class Context>
  auto format(towpath::LeaderEpoch epoch, Context& context) const {
    return fmt::formatter<std::int32_t>::format(epoch.value, context);
  }
};

template <>
struct fmt::formatter<towpath::Errc> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(towpath::Errc code, Context& context) const {
    return fmt::formatter<std::string_view>::format(towpath::name(code), context);
  }
};

/// "no_space: no room left; free some and send again (fallocate)"
template <>
struct fmt::formatter<towpath::Failure> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  template <class Context>
  auto format(const towpath::Failure& failure, Context& context) const {
    auto out = fmt::format_to(context.out(), "{}: {}", towpath::name(failure.code), towpath::message(failure.code));
    return *failure.detail ? fmt::format_to(out, " ({})", failure.detail) : out;
  }
};
