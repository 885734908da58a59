#include "input.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "quit.hpp"

namespace towpath::cli {
namespace {

constexpr std::size_t read_at_once = 256 * 1024;

[[noreturn]] void cannot_read(const std::string& name) {
  throw Quit{Exit::error, fmt::format("cannot read {}: {}", name, std::strerror(errno))};
}

void check_readable(const std::string& file) {
  if (::access(file.c_str(), R_OK) != 0) cannot_read(file);
  struct stat found {};
  if (::stat(file.c_str(), &found) == 0 && !S_ISDIR(found.st_mode)) return;
  errno = EISDIR;
  cannot_read(file);
}

}  // namespace

Input::Input(std::vector<std::string> files, std::string delimiter, int interrupt)
    : files_{std::move(files)}, delimiter_{std::move(delimiter)}, interrupt_{interrupt} {
  if (files_.empty()) files_.emplace_back("-");
  for (const auto& file : files_)
    if (file != "-") check_readable(file);
}

Input::~Input() {
  if (fd_ > STDIN_FILENO) ::close(fd_);
}

bool Input::open_next() {
  if (fd_ > STDIN_FILENO) ::close(fd_);
  fd_ = -1;
  if (turn_ == files_.size()) return false;
  const auto& file = files_[turn_++];
  name_ = file == "-" ? "standard input" : file;
  fd_ = file == "-" ? STDIN_FILENO : ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) cannot_read(name_);
  at_end_ = false, line_ = 0;
  return true;
}

Input::Read Input::read_some() {
  pollfd waits[] = {{fd_, POLLIN, 0}, {interrupt_, POLLIN, 0}};
  while (::poll(waits, 2, -1) < 0)
    if (errno != EINTR) cannot_read(name_);
  if (waits[1].revents != 0) return Read::interrupted;
  const std::size_t before = buffer_.size();
  buffer_.resize(before + read_at_once);
  const auto got = ::read(fd_, buffer_.data() + before, read_at_once);
  buffer_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(0, got)));
  if (got < 0 && errno != EINTR && errno != EAGAIN) cannot_read(name_);
  return got == 0 ? Read::end : Read::some;
}

std::size_t Input::find_delimiter() {
  const auto found = buffer_.find(delimiter_, scanned_);
  if (found == std::string::npos) {
    // The delimiter's first bytes may be the buffer's last.
    const std::size_t open = std::min(delimiter_.size() - 1, buffer_.size() - begin_);
    scanned_ = std::max(scanned_, buffer_.size() - open);
  }
  return found;
}

bool Input::refill(std::size_t limit) {
  buffer_.erase(0, begin_);
  scanned_ -= std::min(scanned_, begin_);
  begin_ = 0;
  for (;;) {
    if (at_end_ && !open_next()) return false;
    if (find_delimiter() != std::string::npos) return true;
    if (buffer_.size() > limit + delimiter_.size())  // which may be there in part
      throw Quit{Exit::error,
                 fmt::format("{}: more than {} bytes without the delimiter (-D); the topic takes no larger "
                             "record (max.message.bytes)",
                             place(line_ + 1), limit)};
    const Read got = read_some();
    if (got == Read::interrupted) return false;
    if (got == Read::some) continue;
    at_end_ = true;
    if (!buffer_.empty()) return true;
  }
}

std::optional<std::string_view> Input::next() {
  if (begin_ == buffer_.size()) return std::nullopt;
  const auto found = find_delimiter();
  if (found == std::string::npos && !at_end_) return std::nullopt;
  const std::size_t end = std::min(found, buffer_.size());
  const auto record = std::string_view{buffer_}.substr(begin_, end - begin_);
  begin_ = scanned_ = std::min(buffer_.size(), end + (found == std::string::npos ? 0 : delimiter_.size()));
  ++line_;
  return record;
}

}  // namespace towpath::cli
