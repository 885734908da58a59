#include "arguments.hpp"

#include <unistd.h>

#include <cstdlib>
#include <limits>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "help.hpp"
#include "talk.hpp"
#include "text.hpp"
#include "version.hpp"

namespace towpath::cli {
namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

/// The folder of the bus when none is named.
std::string default_dir() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value ? value : "";
  };
  if (auto dir = variable("TOWPATH_DIR"); !dir.empty()) return dir;
  if (auto dir = variable("XDG_RUNTIME_DIR"); !dir.empty()) return dir + "/towpath";
  return fmt::format("/dev/shm/towpath-{}", ::getuid());
}

/// Builds the parser; what is typed lands in its members.
class Parser {
 public:
  explicit Parser(CommandLine& result) : result_{result} {
    app_.footer(help::command + 1);  // without its first newline
    app_.require_subcommand(1)->fallthrough();
    set_words(*app_.get_formatter());
    app_.set_help_flag("-h,--help", "Print this help and end");
    app_.add_flag("-V,--version", version_, "Print the version and end");
    app_.add_option("-d,--dir", dir_, "The bus's folder")->type_name("DIR");
    app_.add_flag("-q,--quiet", quiet_, "Only errors on standard error");
    add_produce();
    add_consume();
    add_topic();
    add_stat();
    add_hz();
  }

  void parse(int argc, char** argv) try {
    app_.parse(argc, argv);
    if (app_.get_option("--dir")->count() > 0 && dir_.empty()) throw Quit{Exit::usage, "--dir: the name is empty"};
    result_.common.dir = dir_.empty() ? default_dir() : dir_;
    talks = !quiet_;
    if (version_) result_.verb = Show{version_text()};
  } catch (const CLI::CallForHelp&) {
    if (const auto wrong = unknown_verb()) throw Quit{Exit::usage, *wrong};
    result_.verb = Show{app_.help()};
  } catch (const CLI::ParseError& error) {
    if (version_) return void(result_.verb = Show{version_text()});
    throw Quit{Exit::usage, fmt::format("{}\nTry '{} --help'.", explain(error), path_of(typed_verb()))};
  }

 private:
  /// One value each time it is given, so that what follows stays a positional.
  template <class List>
  static CLI::Option* add_list(CLI::App& verb, const char* names, List& list, const char* text) {
    return verb.add_option(names, list, text)->allow_extra_args(false);
  }
  static CLI::Option* add_names(CLI::App& verb, const char* what, std::vector<std::string>& list, const char* text) {
    return verb.add_option(what, list, text)->expected(1, -1);  // 0 would take nothing behind --
  }

  /// Whole numbers only; CLI11's own reading takes -3 for a large one.
  static CLI::Option* add_number(CLI::Option* option, std::int64_t lowest, std::int64_t highest) {
    const auto check = [=](const std::string& text) {
      const auto number = parse_number(text);
      if (number && *number >= lowest && *number <= highest) return std::string{};
      if (highest == most) return fmt::format("'{}' is not a number of at least {}", text, lowest);
      return fmt::format("'{}' is not a number from {} to {}", text, lowest, highest);
    };
    return option->check(CLI::Validator{check, ""})->type_name("N");
  }

  template <class Arguments>
  CLI::App* add_verb(CLI::App& parent, const char* name, const char* text, const char* footer, Arguments& arguments) {
    auto* verb = parent.add_subcommand(name, text)->group("Verbs");
    verb->footer(footer + 1 + std::string{help::everywhere});
    verb->callback([this, &arguments] { result_.verb = arguments; });
    return verb;
  }

  static void set_words(CLI::FormatterBase& formatter) {
    formatter.column_width(34);
    formatter.label("SUBCOMMAND", "VERB");
    formatter.label("Positionals", "Arguments");
    formatter.label("TEXT", "");
    formatter.label("REQUIRED", "");
    formatter.label("Excludes", "not with");
  }

  static void add_format(CLI::App& verb, std::string& format) {
    verb.add_option("--format", format, "text or json")->check(CLI::IsMember({"text", "json"}))->type_name("FORMAT");
  }
  static CLI::Option* add_partitions(CLI::App& verb, std::vector<std::int32_t>& partitions) {
    return add_number(add_list(verb, "-p,--partition", partitions, "Only this partition; may be repeated"), 0, 32'766);
  }

  void add_produce() {
    auto& verb = *add_verb(app_, "produce", "Append the lines of files or of standard input to a topic", help::produce,
                           produce_);
    verb.add_option("TOPIC", produce_.topic, "Where to; made if it is missing")->required();
    add_names(verb, "FILE", produce_.files, "Read in place of standard input; - is standard input");
    auto* key = verb.add_option("-k,--key", produce_.key, "The key of every record")->type_name("KEY");
    verb.add_option("-K,--key-delimiter", produce_.key_delimiter, "A line is key, DELIM, value")
        ->type_name("DELIM")
        ->excludes(key);
    verb.add_option("-D,--delimiter", produce_.delimiter, "What ends a record, in place of \\n")->type_name("DELIM");
    add_number(
        verb.add_option("-p,--partition", produce_.partition, "To this partition; else by key, or to varying ones"), 0,
        32'766);
    add_list(verb, "-H,--header", produce_.headers, "A header of every record; may be repeated")
        ->type_name("NAME=VALUE");
    verb.add_option("-z,--compression", produce_.codec, "none, gzip, snappy, lz4 or zstd")->type_name("CODEC");
    verb.add_flag("-Z,--null", produce_.empty_is_null, "An empty value is a tombstone, an empty key none");
    verb.add_flag("--must-exist", produce_.must_exist, "Make no topic: exit code 3 if it is missing");
  }

  void add_consume() {
    auto& verb = *add_verb(app_, "consume", "Print the records of topics", help::consume, consume_);
    add_names(verb, "TOPIC", consume_.topics, "What to read")->required();
    verb.add_option("-o,--offset", consume_.from, "Where to begin, see below")->type_name("FROM");
    add_number(verb.add_option("-n,-c,--count", consume_.count, "End after N records"), 1, most);
    verb.add_flag("-e,--exit", consume_.until_end, "End at what is now the end of every partition");
    verb.add_option("--timeout", consume_.timeout, "End when nothing comes for so long, see below")->type_name("TIME");
    add_partitions(verb, consume_.partitions);
    auto* format = verb.add_option("-f,--format", consume_.format, "How a record is printed, see below");
    format->type_name("FORMAT");
    verb.add_flag("-J,--json", consume_.json, "A JSON object per line, see below")->excludes(format);
    auto* json = verb.get_option("--json");
    verb.add_option("-K,--key-delimiter", consume_.key_delimiter, "Print the key and DELIM before the value")
        ->type_name("DELIM")
        ->excludes(format)
        ->excludes(json);
    verb.add_option("-D,--delimiter", consume_.delimiter, "What ends a record, in place of \\n")
        ->type_name("DELIM")
        ->excludes(format)
        ->excludes(json);
    verb.add_flag("-Z,--null", consume_.null_text, "Print NULL for a key or value that is not there");
  }

  void add_topic() {
    auto& topic = *app_.add_subcommand("topic", "Make, list, describe, alter and delete topics")->group("Verbs");
    topic.footer(help::topic + 1 + std::string{help::everywhere});
    topic.require_subcommand(1);
    add_topic_create(topic);
    auto& list = *add_verb(topic, "list", "Names of all topics", help::topic_list, list_);
    add_format(list, list_.format);
    auto& describe = *add_verb(topic, "describe", "What topics are like", help::topic_describe, describe_);
    add_names(describe, "NAME", describe_.names, "Topics; all if not given");
    add_format(describe, describe_.format);
    add_topic_alter(topic);
    auto& erase = *add_verb(topic, "delete", "Delete topics with their records", help::topic_delete, delete_);
    add_names(erase, "NAME", delete_.names, "Topics")->required();
  }

  void add_topic_create(CLI::App& topic) {
    auto& verb = *add_verb(topic, "create", "Make topics of untyped bytes", help::topic_config, create_);
    add_names(verb, "NAME", create_.names, "1 to 249 of A-Z a-z 0-9 . _ -")->required();
    add_number(verb.add_option("-p,--partitions", create_.partitions, "How many; 1 if not given"), 1, 32'767);
    add_list(verb, "--config", create_.config, "A setting, see below; may be repeated")->type_name("NAME=VALUE");
    verb.add_flag("--if-not-exists", create_.if_missing, "A topic that is there already is no error");
  }

  void add_topic_alter(CLI::App& topic) {
    auto& verb =
        *add_verb(topic, "alter", "Change a topic's settings, or give it more partitions", help::topic_config, alter_);
    verb.add_option("NAME", alter_.name, "A topic")->required();
    add_number(
        verb.add_option("-p,--partitions", alter_.partitions, "More partitions than now; keys may move to others"), 1,
        32'767);
    add_list(verb, "--config", alter_.config, "A setting, see below; may be repeated")->type_name("NAME=VALUE");
    add_list(verb, "--delete-config", alter_.removed, "Back to the default; may be repeated")->type_name("NAME");
  }

  void add_stat() {
    auto& verb = *add_verb(app_, "stat", "How much is in the partitions, and who takes part", help::stat, stat_);
    add_names(verb, "TOPIC", stat_.topics, "Topics; all if not given");
    add_format(verb, stat_.format);
    auto* watch = verb.add_flag("-w,--watch", stat_.again, "Again and again until Ctrl-C");
    verb.add_option("-i,--interval", stat_.interval, "With --watch: how often; 1s if not given")
        ->type_name("TIME")
        ->needs(watch);
  }

  void add_hz() {
    auto& verb = *add_verb(app_, "hz", "How often records come", help::hz, hz_);
    verb.add_option("TOPIC", hz_.topic, "What to count")->required();
    add_number(verb.add_option("-n,-c,--count", hz_.count, "End after N lines"), 1, most);
    add_partitions(verb, hz_.partitions);
    add_format(verb, hz_.format);
  }

  /// The innermost verb that was recognized; the command itself if none was.
  CLI::App& typed_verb() {
    CLI::App* at = &app_;
    while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
    return *at;
  }
  static std::string path_of(const CLI::App& verb) {
    return (verb.get_parent() ? path_of(*verb.get_parent()) + " " : "") + verb.get_name();
  }

  /// What may stand behind what was typed; nothing behind a verb that does something.
  std::vector<std::string> possible_verbs() {
    std::vector<std::string> verbs;
    for (const auto* one : typed_verb().get_subcommands([](const CLI::App*) { return true; }))
      verbs.push_back(one->get_name());
    return verbs;
  }

  /// What is wrong with the word where a verb should be; none if nothing stands there, or nothing should.
  std::optional<std::string> unknown_verb() {
    const auto verbs = possible_verbs();
    if (verbs.empty()) return std::nullopt;
    for (const auto& word : app_.remaining(true)) {
      if (word.starts_with('-')) continue;
      const auto meant = nearest(word, verbs);
      return fmt::format(
          "there is no verb '{}'; {}", word,
          meant ? fmt::format("did you mean '{}'?", *meant) : fmt::format("there are {}", fmt::join(verbs, ", ")));
    }
    return std::nullopt;
  }

  /// CLI11's own words, but for a verb that is missing or unknown.
  std::string explain(const CLI::ParseError& error) {
    if (const auto wrong = unknown_verb()) return *wrong;
    const auto verbs = possible_verbs();
    return verbs.empty() ? error.what() : fmt::format("a verb is missing: {}", fmt::join(verbs, ", "));
  }

  CommandLine& result_;
  CLI::App app_{"Processes on this host exchange records through shared logs: look into them, write to them.",
                "towpath"};
  bool version_ = false;
  bool quiet_ = false;
  std::string dir_;
  Produce produce_;
  Consume consume_;
  TopicCreate create_;
  TopicList list_;
  TopicDescribe describe_;
  TopicAlter alter_;
  TopicDelete delete_;
  Stat stat_;
  Hz hz_;
};

}  // namespace

CommandLine parse_command_line(int argc, char** argv) {
  CommandLine result;
  Parser{result}.parse(argc, argv);
  return result;
}

}  // namespace towpath::cli
