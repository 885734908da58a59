// How a record becomes output: a function that appends it to a text.
//   template_printer("%t %p %o %k: %s\n")    kcat's letters, listed in template_letters
//   json_printer()                           kcat's JSON envelope, one object per line
// What a printer keeps is its own; it may be called from one thread at a time.
#pragma once

#include <functional>
#include <string>

#include "record_view.hpp"

namespace towpath::cli {

using Printer = std::function<void(const RecordView&, std::string&)>;

/// `null` stands for keys and values that are not there. Throws Quit with Exit::usage.
Printer template_printer(std::string_view format, std::string null);

/// The value and `delimiter`; before it the key and `key_delimiter` if that is not empty.
Printer plain_printer(std::string delimiter, std::string key_delimiter, std::string null);

/// Text that is not UTF-8 has no place in JSON: it stands in Base64 in "key_base64" and "payload_base64", and among the
/// headers as {"base64": ...}.
Printer json_printer();

}  // namespace towpath::cli
