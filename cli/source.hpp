// Topics as one stream of records, for the verbs that read. It hides the library, which takes long to compile.
//   Source source{common, {.topics = {"orders"}}, stop};
//   while (!source.is_finished()) source.next(1h, [&](const RecordView& record) { ...; return true; });
// Belongs to one thread. It takes nothing out of the log, and after a crash nothing is left of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "record_view.hpp"
#include "where.hpp"

namespace towpath::cli {

struct SourceConfig {
  std::vector<std::string> topics;
  std::vector<std::int32_t> partitions = {};  ///< of each topic; empty: all
  Where from = {};
  bool until_end = false;  ///< nothing that came after the source was made
};

class Source {
 public:
  /// Returns false to be given no more.
  using Take = std::function<bool(const RecordView&)>;

  /// Waiting ends when `stop` is requested. Throws Quit: no such bus, topic or partition, and what reading it can fail
  /// with.
  Source(const Common& common, const SourceConfig& config, std::stop_token stop);
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  ~Source();

  /// Hands over the next records that come within `patience`, some of one partition, and returns how many. Says what
  /// retention had removed. Throws Quit for what cannot be read, with its place.
  std::size_t next(std::chrono::nanoseconds patience, const Take& take);

  /// With until_end: everything was handed over.
  [[nodiscard]] bool is_finished() const noexcept;

 private:
  class Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace towpath::cli
