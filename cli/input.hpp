// Records that are separated by a delimiter, out of files or standard input. Nothing is copied twice, and nothing is
// held back: what a read brings is there at once, so that a line that is typed is seen when it is typed.
//   while (input.refill(limit)) while (auto record = input.next()) use(*record);
// The last record of a file needs no delimiter. A file is opened when it is its turn; all are looked at first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace towpath::cli {

class Input {
 public:
  /// No files: standard input, as is "-". `interrupt` is readable when reading shall end. Throws Quit when a file
  /// cannot be read.
  Input(std::vector<std::string> files, std::string delimiter, int interrupt);
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;
  ~Input();

  /// Reads on until at least one whole record of one file is there; the records before are gone. False: there are no
  /// more, or it was interrupted. Throws Quit: a read error, or `limit` bytes without a delimiter.
  bool refill(std::size_t limit);

  /// The next whole record, good until refill(); none when more must be read.
  std::optional<std::string_view> next();

  /// The number of the record that next() returned last, in its file, from 1.
  [[nodiscard]] std::uint64_t line() const noexcept { return line_; }
  /// "orders.txt:17", for messages.
  [[nodiscard]] std::string place(std::uint64_t line) const { return name_ + ":" + std::to_string(line); }
  /// Bytes that were read behind the last delimiter, when it was interrupted.
  [[nodiscard]] std::size_t left_over() const noexcept { return buffer_.size() - begin_; }

 private:
  enum class Read { some, end, interrupted };

  bool open_next();
  Read read_some();
  [[nodiscard]] std::size_t find_delimiter();

  std::vector<std::string> files_;
  std::string delimiter_;
  int interrupt_;
  std::size_t turn_ = 0;  // which file comes next
  int fd_ = -1;
  std::string name_;
  std::string buffer_;
  std::size_t begin_ = 0;    // of what next() has not returned
  std::size_t scanned_ = 0;  // no delimiter begins before
  bool at_end_ = true;       // of the file
  std::uint64_t line_ = 0;
};

}  // namespace towpath::cli
