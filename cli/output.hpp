// Standard output, written in large pieces. Every byte arrives or the command ends with an error; if nobody reads it
// any more the command ends quietly, as in `towpath consume t | head -1`.
#pragma once

#include <string>

namespace towpath::cli {

class Output {
 public:
  /// What will be written next; append to it.
  [[nodiscard]] std::string& buffer() noexcept { return buffer_; }
  /// Writes if there is much to write. Throws Quit.
  void keep_small() {
    if (buffer_.size() >= large) flush();
  }
  /// Throws Quit: ok when the reader is gone, error when it cannot be written.
  void flush();

 private:
  static constexpr std::size_t large = 64 * 1024;

  std::string buffer_;
};

}  // namespace towpath::cli
