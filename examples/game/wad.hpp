// WAD files, as far as a recorded game needs them: a directory of named lumps, and the commands in a DEMO lump.
// A file that contradicts itself is an exception that says how; nothing outside the file's bytes is ever read.
#pragma once

#include <filesystem>
#include <fstream>

#include "topics.hpp"

class Wad {
 public:
  explicit Wad(std::string path) : path_{std::move(path)} {
    std::ifstream file{path_, std::ios::binary | std::ios::ate};
    if (!file || !std::filesystem::is_regular_file(path_)) fail("cannot be read");
    file_.resize(static_cast<std::size_t>(file.tellg()));
    if (!file.seekg(0).read(file_.data(), static_cast<std::streamsize>(file_.size()))) fail("cannot be read whole");
    const auto kind = view().substr(0, 4);
    if (file_.size() < 12 || (kind != "IWAD" && kind != "PWAD")) fail("is no WAD file");
    count_ = word(4), directory_ = word(8);
    if (directory_ > file_.size() || count_ > (file_.size() - directory_) / 16)
      fail("has a directory that does not lie in the file");
  }

  /// The bytes of the first lump of that name.
  [[nodiscard]] std::string_view lump(std::string_view name) const {
    for (std::uint32_t i = 0; i < count_; ++i) {
      const std::size_t entry = directory_ + std::size_t{i} * 16;
      auto found = view().substr(entry + 8, 8);
      found = found.substr(0, found.find('\0'));
      if (found != name) continue;
      const std::uint32_t at = word(entry), size = word(entry + 4);
      if (at > file_.size() || size > file_.size() - at)
        fail(fmt::format("has a lump {} that does not lie in it", name));
      return view().substr(at, size);
    }
    fail(fmt::format("has no lump {}", name));
  }

  /// The commands of a recorded game of one player.
  [[nodiscard]] std::vector<Command> demo(std::string_view name) const {
    constexpr std::size_t header_bytes = 13;
    constexpr char version = 109, end = static_cast<char>(0x80);
    const auto bytes = lump(name);
    if (bytes.size() <= header_bytes || bytes[0] != version) fail(fmt::format("{} is no game of version 1.9", name));
    if (bytes[9] != 1 || bytes[10] != 0 || bytes[11] != 0 || bytes[12] != 0)
      fail(fmt::format("{} is no game of one player", name));
    std::vector<Command> found;
    for (std::size_t at = header_bytes; at < bytes.size() && bytes[at] != end; at += 4) {
      if (bytes.size() - at < 5) fail(fmt::format("{} breaks off", name));
      found.push_back({.tick = static_cast<std::uint32_t>(found.size()),
                       .forward = static_cast<std::int8_t>(bytes[at]),
                       .sideways = static_cast<std::int8_t>(bytes[at + 1]),
                       .turn = static_cast<std::uint8_t>(bytes[at + 2]),
                       .buttons = static_cast<std::uint8_t>(bytes[at + 3])});
    }
    return found;
  }

 private:
  [[noreturn]] void fail(const std::string& how) const { throw std::runtime_error{path_ + ": " + how}; }
  [[nodiscard]] std::string_view view() const { return file_; }

  /// Four bytes, little-endian. The caller has seen that they are there.
  [[nodiscard]] std::uint32_t word(std::size_t at) const {
    std::uint32_t value = 0;
    for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(file_[at + i]);
    return value;
  }

  std::string path_;
  std::string file_;
  std::uint32_t count_ = 0, directory_ = 0;
};
