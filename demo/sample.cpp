#include "sample.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace demo {
namespace {

std::string_view next_line(std::string_view& text) {
  const auto end = text.find('\n');
  const auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

std::string_view next_word(std::string_view& line) {
  const auto begin = std::min(line.find_first_not_of(" \t"), line.size());
  line.remove_prefix(begin);
  const auto word = line.substr(0, line.find_first_of(" \t"));
  line.remove_prefix(word.size());
  return word;
}

std::uint64_t next_number(std::string_view& line) {
  const auto word = next_word(line);
  std::uint64_t number = 0;
  std::from_chars(word.data(), word.data() + word.size(), number);
  return number;
}

}  // namespace

ProcFile::ProcFile(const char* path) : fd_{::open(path, O_RDONLY | O_CLOEXEC)}, text_(64 * 1024, '\0') {}
ProcFile::~ProcFile() {
  if (fd_ >= 0) ::close(fd_);
}

std::string_view ProcFile::read() {
  std::size_t size = 0;
  for (ssize_t n = 1; fd_ >= 0 && n > 0;) {
    if (size == text_.size()) text_.resize(2 * size);
    n = ::pread(fd_, text_.data() + size, text_.size() - size, static_cast<off_t>(size));
    if (n > 0) size += static_cast<std::size_t>(n);
  }
  return {text_.data(), size};
}

void sample_cores(ProcFile& stat, std::vector<Reading>& readings) {
  Reading scheduler{"scheduler", Kind::scheduler, {}};
  for (auto text = stat.read(); !text.empty();) {
    auto line = next_line(text);
    const auto name = next_word(line);
    if (name.size() > 3 && name.starts_with("cpu")) {
      Reading reading{std::string{name}, Kind::cpu, {}};
      for (auto& value : reading.values) value = next_number(line);
      readings.push_back(std::move(reading));
    } else if (name == "ctxt") {
      scheduler.values[0] = next_number(line);
    } else if (name == "intr") {
      scheduler.values[1] = next_number(line);
    } else if (name == "processes") {
      scheduler.values[2] = next_number(line);
    } else if (name == "procs_running") {
      scheduler.values[3] = next_number(line);
    } else if (name == "procs_blocked") {
      scheduler.values[4] = next_number(line);
    }
  }
  readings.push_back(std::move(scheduler));
}

void sample_memory(ProcFile& meminfo, std::vector<Reading>& readings) {
  constexpr std::string_view names[] = {
      "MemTotal:", "MemFree:", "MemAvailable:", "Buffers:", "Cached:", "Dirty:", "Mapped:", "Shmem:"};
  Reading reading{"memory", Kind::memory, {}};
  for (auto text = meminfo.read(); !text.empty();) {
    auto line = next_line(text);
    const auto name = next_word(line);
    for (std::size_t i = 0; i < std::size(names); ++i)
      if (name == names[i]) reading.values[i] = next_number(line);
  }
  readings.push_back(std::move(reading));
}

void sample_network(ProcFile& net_dev, std::vector<Reading>& readings) {
  for (auto text = net_dev.read(); !text.empty();) {
    auto line = next_line(text);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;  // the headings
    auto name = line.substr(0, colon);
    line.remove_prefix(colon + 1);
    Reading reading{fmt::format("net.{}", next_word(name)), Kind::network, {}};
    std::uint64_t columns[16] = {};
    for (auto& column : columns) column = next_number(line);
    for (std::size_t i = 0; i < 4; ++i) reading.values[i] = columns[i], reading.values[i + 4] = columns[i + 8];
    readings.push_back(std::move(reading));
  }
}

void sample_disks(ProcFile& diskstats, std::vector<Reading>& readings) {
  for (auto text = diskstats.read(); !text.empty();) {
    auto line = next_line(text);
    next_word(line), next_word(line);  // device numbers
    Reading reading{fmt::format("disk.{}", next_word(line)), Kind::disk, {}};
    std::uint64_t columns[10] = {};
    for (auto& column : columns) column = next_number(line);
    constexpr std::size_t wanted[] = {0, 2, 3, 4, 6, 7, 8, 9};
    for (std::size_t i = 0; i < std::size(wanted); ++i) reading.values[i] = columns[wanted[i]];
    if (columns[0] + columns[4] > 0) readings.push_back(std::move(reading));
  }
}

}  // namespace demo
