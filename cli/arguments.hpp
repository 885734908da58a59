// What was typed, as plain values, and the verbs that are run with them. arguments.cpp reads the command line; each
// verb is in a file of its own. None of this includes the library, which takes long to compile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "quit.hpp"

namespace towpath::cli {

/// What every verb is given.
struct Common {
  std::string dir;  ///< the bus's folder
};

struct Produce {
  std::string topic;
  std::optional<std::string> key;            ///< of every record
  std::optional<std::string> key_delimiter;  ///< or: what stands between key and value
  std::string delimiter = "\\n";
  std::optional<std::int32_t> partition;
  std::vector<std::string> headers;  ///< "name=value", or "name" without a value
  std::string codec = "none";
  bool empty_is_null = false;
  bool must_exist = false;
  std::vector<std::string> files;
};

struct Consume {
  std::vector<std::string> topics;
  std::vector<std::int32_t> partitions;
  std::string from = "start";
  std::optional<std::int64_t> count;
  bool until_end = false;
  std::optional<std::string> timeout;
  std::optional<std::string> format;
  bool json = false;
  std::optional<std::string> key_delimiter;
  std::string delimiter = "\\n";
  bool null_text = false;
};

struct TopicCreate {
  std::vector<std::string> names;
  std::int32_t partitions = 1;
  std::vector<std::string> config;  ///< "name=value"
  bool if_missing = false;
};

struct TopicList {
  std::string format = "text";
};

struct TopicDescribe {
  std::vector<std::string> names;
  std::string format = "text";
};

struct TopicAlter {
  std::string name;
  std::optional<std::int32_t> partitions;
  std::vector<std::string> config;
  std::vector<std::string> removed;  ///< names of settings that go back to their defaults
};

struct TopicDelete {
  std::vector<std::string> names;
};

struct Stat {
  std::vector<std::string> topics;
  std::string format = "text";
  bool again = false;
  std::string interval = "1s";
};

struct Hz {
  std::string topic;
  std::vector<std::int32_t> partitions;
  std::optional<std::int64_t> count;
  std::string format = "text";
};

Exit run(const Common& common, const Produce& arguments);
Exit run(const Common& common, const Consume& arguments);
Exit run(const Common& common, const TopicCreate& arguments);
Exit run(const Common& common, const TopicList& arguments);
Exit run(const Common& common, const TopicDescribe& arguments);
Exit run(const Common& common, const TopicAlter& arguments);
Exit run(const Common& common, const TopicDelete& arguments);
Exit run(const Common& common, const Stat& arguments);
Exit run(const Common& common, const Hz& arguments);

/// A text that was asked for in place of a verb: help or the version.
struct Show {
  std::string text;
};

struct CommandLine {
  Common common;
  std::variant<Show, Produce, Consume, TopicCreate, TopicList, TopicDescribe, TopicAlter, TopicDelete, Stat, Hz> verb;
};

/// Throws Quit with Exit::usage.
CommandLine parse_command_line(int argc, char** argv);

}  // namespace towpath::cli
