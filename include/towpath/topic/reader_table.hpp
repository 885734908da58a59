// Whom a topic that is on_full = block or fail waits for, as one process sees it: the readers of the config's list and
// where each stands. Asked when a segment is full or retired, never per record. Thread-safe.
#pragma once

#include <mutex>

#include <towpath/log/partition_log.hpp>
#include <towpath/topic/config_text.hpp>
#include <towpath/topic/reader_file.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

class ReaderTable final : public log::ReaderHold {
 public:
  /// Both outlive it.
  void watch(shm::Directory& directory, const log::TopicWords& words) noexcept {
    directory_ = &directory, words_ = &words;
  }

  /// The lowest offset that a listed reader still needs; the largest number when there is none. A reader that never
  /// came needs all. A list that cannot be read counts as it was known last; before that as one that needs all.
  std::uint64_t lowest(std::int32_t partition) noexcept override {
    const std::lock_guard hold{mutex_};
    if (!directory_) return nobody;
    follow_config();
    if (!known_) return 0;
    std::uint64_t lowest = nobody;
    for (std::size_t i = 0; i < list_.size(); ++i) lowest = std::min(lowest, stands_at(i, partition));
    return lowest;
  }

  [[nodiscard]] bool contains(std::string_view reader) {
    const std::lock_guard hold{mutex_};
    if (directory_) follow_config();
    return directory_ && list_.contains(reader) && words_->on_full.load(shm::relaxed) != 0;
  }

 private:
  static constexpr std::uint64_t nobody = ~std::uint64_t{0};

  void follow_config() {
    const std::uint64_t version = words_->config_version.load(shm::acquire);  // pairs with publish_settings()
    if (known_ && version == version_) return;
    const auto text = shm::read_file(*directory_, "config", 64 * 1024);
    const auto stored = text ? parse_config(*text) : Result<StoredConfig>{text.error()};
    if (!stored) return;
    list_ = stored->config.readers;
    files_.clear();
    files_.resize(list_.size());
    version_ = version, known_ = true;
  }

  std::uint64_t stands_at(std::size_t i, std::int32_t partition) {
    auto& file = files_[i];
    if (!file || !file->entry(partition)) {
      auto opened = ReaderFile::open(*directory_, ReaderFile::name_of(list_[i]), partition + 1, false);
      if (!opened || !opened->entry(partition)) return 0;
      file = std::make_unique<ReaderFile>(std::move(*opened));
    }
    const std::uint64_t stands =
        file->entry(partition)->stands_at.load(shm::acquire);  // pairs with ReaderSeat::publish()
    return stands == 0 ? 0 : stands - 1;
  }

  std::mutex mutex_;
  shm::Directory* directory_ = nullptr;
  const log::TopicWords* words_ = nullptr;
  std::uint64_t version_ = 0;
  bool known_ = false;
  ReaderList list_;
  std::vector<std::unique_ptr<ReaderFile>> files_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail
