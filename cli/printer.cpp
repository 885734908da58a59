#include "printer.hpp"

#include <array>
#include <memory>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "quit.hpp"
#include "text.hpp"

namespace towpath::cli {
namespace {

constexpr std::string_view known_letters = "sSRkKTtpoh%";

/// A format taken apart: letter 0 stands for the text itself.
struct Piece {
  char letter = 0;
  std::string text;
};

std::vector<Piece> parse_template(std::string_view format) {
  std::vector<Piece> pieces;
  const auto put = [&](char c) {
    if (pieces.empty() || pieces.back().letter != 0) pieces.emplace_back();
    pieces.back().text += c;
  };
  for (auto left = format; !left.empty();) {
    const char c = left.front();
    left.remove_prefix(1);
    if (c == '\\') {
      const auto escaped = take_escape(left);
      if (!escaped) throw Quit{Exit::usage, fmt::format("-f '{}': escapes are \\n \\r \\t \\0 \\\\ and \\xHH", format)};
      put(*escaped);
    } else if (c == '%') {
      const char letter = left.empty() ? ' ' : left.front();
      if (known_letters.find(letter) == std::string_view::npos)
        throw Quit{Exit::usage,
                   fmt::format("-f '{}': '%{}' is none of %s %S %R %k %K %T %t %p %o %h %%", format, letter)};
      left.remove_prefix(1);
      if (letter == '%')
        put('%');
      else
        pieces.push_back({letter, {}});
    } else {
      put(c);
    }
  }
  return pieces;
}

std::int64_t size_of(const std::optional<std::string_view>& bytes) noexcept {
  return bytes ? static_cast<std::int64_t>(bytes->size()) : -1;
}

void put_number(std::int64_t number, std::string& out) { fmt::format_to(std::back_inserter(out), "{}", number); }

void put_headers(const RecordView& record, const std::string& null, std::string& out) {
  bool is_first = true;
  for (const auto& header : record.headers) {
    if (!is_first) out += ',';
    is_first = false;
    out.append(header.name).append("=").append(header.value.value_or(null.empty() ? "NULL" : null));
  }
}

void put_big_endian(std::int64_t number, std::string& out) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(number >> shift & 0xFF);
}

void put_piece(const Piece& piece, const RecordView& record, const std::string& null, std::string& out) {
  switch (piece.letter) {
    case 's': out.append(record.value.value_or(null)); return;
    case 'S': put_number(size_of(record.value), out); return;
    case 'R': put_big_endian(size_of(record.value), out); return;
    case 'k': out.append(record.key.value_or(null)); return;
    case 'K': put_number(size_of(record.key), out); return;
    case 'T': put_number(record.timestamp_ms(), out); return;
    case 't': out.append(record.topic); return;
    case 'p': put_number(record.partition, out); return;
    case 'o': put_number(record.offset, out); return;
    case 'h': put_headers(record, null, out); return;
    default: out.append(piece.text); return;
  }
}

using Json = nlohmann::ordered_json;

void put_bytes(Json& object, const char* name, const std::optional<std::string_view>& bytes) {
  if (!bytes)
    object[name] = nullptr;
  else if (is_utf8(*bytes))
    object[name] = *bytes;
  else
    object[std::string{name} + "_base64"] = to_base64(*bytes);
}

Json header_text(std::string_view bytes) { return is_utf8(bytes) ? Json(bytes) : Json{{"base64", to_base64(bytes)}}; }

Json envelope(const RecordView& record) {
  Json object;
  object["topic"] = record.topic;
  object["partition"] = record.partition;
  object["offset"] = record.offset;
  object["tstype"] = record.is_append_time ? "logappend" : "create";
  object["ts"] = record.timestamp_ms();
  object["broker"] = 0;  // the node.id of every bus
  if (!record.headers.empty()) {
    auto& headers = object["headers"] = Json::array();
    for (const auto& header : record.headers) {
      headers.push_back(header_text(header.name));
      headers.push_back(header.value ? header_text(*header.value) : Json(nullptr));
    }
  }
  put_bytes(object, "key", record.key);
  put_bytes(object, "payload", record.value);
  return object;
}

}  // namespace

Printer template_printer(std::string_view format, std::string null) {
  return [pieces = parse_template(format), null = std::move(null)](const RecordView& record, std::string& out) {
    for (const auto& piece : pieces) put_piece(piece, record, null, out);
  };
}

Printer plain_printer(std::string delimiter, std::string key_delimiter, std::string null) {
  return [=](const RecordView& record, std::string& out) {
    if (!key_delimiter.empty()) out.append(record.key.value_or(null)).append(key_delimiter);
    out.append(record.value.value_or(null)).append(delimiter);
  };
}

Printer json_printer() {
  return [](const RecordView& record, std::string& out) { out.append(envelope(record).dump()).append("\n"); };
}

}  // namespace towpath::cli
