// A record as the command prints it: views that are good while it is handed over.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace towpath::cli {

struct HeaderView {
  std::string_view name;
  std::optional<std::string_view> value;
};

struct RecordView {
  std::string_view topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::int64_t timestamp_ns = 0;
  bool is_append_time = false;
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;  ///< none: a tombstone
  std::vector<HeaderView> headers;

  /// Kafka's unit; towards the past, so that an earlier record never has a later number.
  [[nodiscard]] std::int64_t timestamp_ms() const noexcept {
    return timestamp_ns / 1'000'000 - (timestamp_ns % 1'000'000 < 0 ? 1 : 0);
  }
};

}  // namespace towpath::cli
