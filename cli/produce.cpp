// `towpath produce`: lines become records.
#include <map>
#include <random>

#include "bus_access.hpp"
#include "input.hpp"
#include "interrupt.hpp"

namespace towpath::cli {
namespace {

constexpr std::size_t most_at_once = 2'000;          // records of one batch
constexpr std::uint64_t bytes_at_once = 256 * 1024;  // of one batch; a first segment has as much

/// Everything about the records of one run that is the same for all.
struct Plan {
  std::optional<std::string> key;
  std::string key_delimiter;  // empty: lines have no keys
  std::optional<PartitionId> partition;
  std::vector<Header> headers;  // views into the arguments
  Compression compression = Compression::none;
  bool empty_is_null = false;
  std::uint64_t fixed_size = 0;  // of the topic's values; 0: any
  std::string type_name;
  std::uint64_t max_bytes = 0;
};

/// A line that was read and not sent.
struct Pending {
  std::uint64_t line = 0;
  Bytes value;
  Outgoing<Bytes> record;
};

class Sender {
 public:
  Sender(const Topic<Bytes>& topic, const Plan& plan)
      : plan_{plan},
        topic_{topic},
        producer_{must(Producer<Bytes>::open(topic, ProducerConfig{.compression = plan.compression},
                                             DefaultPartitioner{std::random_device{}()}),
                       topic.name())},
        has_keys_{plan.key.has_value() || !plan.key_delimiter.empty()} {}

  /// Sends all whole lines that the input has read. Throws Quit with the line that cannot be sent; those before it
  /// were.
  void take(Input& input) {
    pending_.clear();
    std::string wrong;
    while (wrong.empty()) {
      const auto line = input.next();
      if (!line) break;
      wrong = add(*line, input.line());
    }
    for (auto& one : pending_)
      one.record.value = one.record.value ? &one.value : nullptr;  // they stay where they are now
    send_all(input);
    if (!wrong.empty()) throw Quit{Exit::error, input.place(input.line()) + ": " + wrong};
  }

  [[nodiscard]] std::uint64_t sent() const noexcept { return sent_; }

 private:
  /// Why the line is no record; empty if it is one.
  std::string add(std::string_view line, std::uint64_t number) {
    std::string_view key;
    if (plan_.key) key = *plan_.key;
    std::string_view value = line;
    if (!plan_.key_delimiter.empty()) {
      const auto at = line.find(plan_.key_delimiter);
      if (at == std::string_view::npos)
        return fmt::format("the key delimiter '{}' (-K) is not in this line", Bytes{plan_.key_delimiter});
      key = line.substr(0, at);
      value = line.substr(at + plan_.key_delimiter.size());
    }
    const bool has_key = has_keys_ && !(plan_.empty_is_null && key.empty());
    const bool is_null = plan_.empty_is_null && value.empty();
    if (auto wrong = refuse(key, value, is_null); !wrong.empty()) return wrong;
    static constexpr Bytes something;
    const auto* present = is_null ? nullptr : &something;  // its address is known when all lines are there
    pending_.push_back({number, Bytes{value}, {present, has_key ? Key{key} : Key{}, plan_.headers, std::nullopt}});
    return {};
  }

  [[nodiscard]] std::string refuse(std::string_view key, std::string_view value, bool is_null) const {
    if (plan_.fixed_size != 0 && !is_null && value.size() != plan_.fixed_size)
      return fmt::format("values of this topic are {} of {} bytes, and this one has {}", plan_.type_name,
                         plan_.fixed_size, value.size());
    const auto bytes = size_with(key, value);
    if (bytes <= plan_.max_bytes) return {};
    return fmt::format("the record has {} bytes, and the topic takes {} (max.message.bytes)", bytes, plan_.max_bytes);
  }

  /// As the topic's limit counts it.
  [[nodiscard]] std::uint64_t size_with(std::string_view key, std::string_view value) const noexcept {
    std::uint64_t bytes = key.size() + value.size();
    for (const auto& header : plan_.headers) bytes += 8 + header.key.size() + header.value.size();
    return bytes;
  }

  /// Lines with keys go to several partitions; each partition's in order.
  void send_all(const Input& input) {
    if (plan_.partition || plan_.key_delimiter.empty()) return send(pending_, plan_.partition, input);
    const std::int32_t partitions = topic_.partitions();  // of now: it may grow meanwhile
    std::map<std::int32_t, std::vector<Pending>> groups;
    for (const auto& one : pending_) {
      const auto key = one.record.key.bytes();
      const PartitionRequest request{key, one.record.key.is_present(), key.size() + one.value.size(), partitions};
      groups[partitioner_(request)].push_back(one);
    }
    for (auto at = groups.begin(); at != groups.end(); ++at) {
      auto& [partition, group] = *at;
      for (auto& one : group) one.record.value = one.record.value ? &one.value : nullptr;
      try {
        send(group, PartitionId{partition}, input);
      } catch (const Quit& quit) {
        std::uint64_t lowest = 0;  // of the partitions whose turn did not come
        for (auto later = std::next(at); later != groups.end(); ++later)
          lowest = lowest == 0 ? later->second.front().line : std::min(lowest, later->second.front().line);
        if (lowest == 0) throw;
        throw Quit{quit.code(),
                   fmt::format("{}; to other partitions nothing from line {} on was sent", quit.what(), lowest)};
      }
    }
  }

  /// In pieces that a segment takes.
  void send(std::span<const Pending> lines, std::optional<PartitionId> partition, const Input& input) {
    for (std::size_t begin = 0; begin < lines.size();) {
      std::size_t end = begin;
      for (std::uint64_t bytes = 0; end < lines.size() && end - begin < most_at_once; ++end) {
        bytes += 64 + size_with(lines[end].record.key.bytes().text(), lines[end].value.text());
        if (end > begin && bytes > std::min(bytes_at_once, plan_.max_bytes)) break;
      }
      send_batch(lines.subspan(begin, end - begin), partition, input);
      begin = end;
    }
  }

  void send_batch(std::span<const Pending> lines, std::optional<PartitionId> partition, const Input& input) {
    const bool is_plain = lines.size() == 1 && plan_.compression == Compression::none;
    Failure failure = is_plain ? append(lines.front(), partition) : append_batch(lines, partition);
    if (failure == Errc::message_too_large && lines.size() > 1) {  // packed it is larger, or the topic was altered
      send_batch(lines.first(lines.size() / 2), partition, input);
      send_batch(lines.subspan(lines.size() / 2), partition, input);
      return;
    }
    if (failure == Errc::message_too_large && !is_plain) failure = append(lines.front(), partition);
    if (failure.code != Errc::ok) throw quit_with(failure, input.place(lines.front().line));
    sent_ += lines.size();
  }

  /// As it is, not packed.
  Failure append(const Pending& line, std::optional<PartitionId> partition) {
    SendOptions options;
    options.partition = partition;
    options.key = line.record.key, options.headers = Headers{line.record.headers};
    return (line.record.value ? producer_.send(line.value, options) : producer_.send_tombstone(options)).error();
  }

  Failure append_batch(std::span<const Pending> lines, std::optional<PartitionId> partition) {
    SendOptions options;
    options.partition = partition;
    records_.clear();
    for (const auto& one : lines) records_.push_back(one.record);
    return producer_.send_batch(std::span<const Outgoing<Bytes>>{records_}, options).error();
  }

  const Plan& plan_;
  const Topic<Bytes>& topic_;
  Producer<Bytes> producer_;
  DefaultPartitioner partitioner_{std::random_device{}()};  // of lines that have no key
  bool has_keys_;
  std::vector<Pending> pending_;
  std::vector<Outgoing<Bytes>> records_;
  std::uint64_t sent_ = 0;
};

std::vector<Header> parse_headers(const std::vector<std::string>& typed) {
  std::vector<Header> headers;
  for (const std::string_view text : typed) {
    const auto equals = text.find('=');
    const bool is_null = equals == std::string_view::npos;
    if (equals == 0 || text.empty()) throw Quit{Exit::usage, fmt::format("-H '{}': the name is empty", text)};
    headers.push_back({text.substr(0, equals), is_null ? Bytes{} : Bytes{text.substr(equals + 1)}, is_null});
  }
  return headers;
}

Compression parse_codec(const std::string& name) {
  const auto compression = parse_compression(name);
  if (!compression) throw Quit{Exit::usage, fmt::format("-z '{}': none, gzip, snappy, lz4 or zstd", name)};
  if (*compression != Compression::none && !log::find_codec(*compression))
    throw Quit{Exit::error, fmt::format("-z {}: this towpath was built without {}", name, name)};
  return *compression;
}

Plan make_plan(const Produce& arguments) {
  Plan plan;
  plan.key = arguments.key;
  if (arguments.key_delimiter) plan.key_delimiter = parse_delimiter(*arguments.key_delimiter, "-K");
  if (arguments.partition) plan.partition = PartitionId{*arguments.partition};
  plan.headers = parse_headers(arguments.headers);
  plan.compression = parse_codec(arguments.codec);
  plan.empty_is_null = arguments.empty_is_null;
  return plan;
}

/// The topic, made if it is missing and may be made. What it asks of records goes into the plan.
Topic<Bytes> reach_topic(Bus& bus, const Common& common, const Produce& arguments, Plan& plan) {
  const Admin admin{bus};
  const auto& name = arguments.topic;
  const bool is_missing = admin.describe_topic(name).error() == Errc::unknown_topic;
  if (is_missing && arguments.must_exist) throw no_such_topic(admin, common, name);
  if (is_missing && plan.partition && plan.partition->value >= TopicConfig{}.partitions)
    throw Quit{Exit::not_found, fmt::format("there is no topic '{}', and it would be made with one partition; "
                                            "'towpath topic create' makes it with more",
                                            name)};
  auto topic = must(Topic<Bytes>::open(bus, name), fmt::format("topic '{}'", name));
  if (is_missing) talk("Made topic {} in {}", name, common.dir);
  if (plan.partition && plan.partition->value >= topic.partitions())
    throw Quit{Exit::not_found,
               fmt::format("topic '{}' has {} partition{}, and there is none of number {}", name, topic.partitions(),
                           plural(static_cast<std::uint64_t>(topic.partitions())), plan.partition->value)};
  const auto description = describe(admin, common, name);
  plan.fixed_size = description.type_size;
  plan.type_name = description.type_name;
  plan.max_bytes = description.config.max_message_bytes;
  return topic;
}

}  // namespace

Exit run(const Common& common, const Produce& arguments) {
  Plan plan = make_plan(arguments);
  const Interrupt interrupt{Interrupt::Output::unwatched};
  Input input{arguments.files, parse_delimiter(arguments.delimiter, "-D"), interrupt.descriptor()};
  if (!check_topic_name(arguments.topic)) throw quit_with(Failure{Errc::invalid_name, ""}, arguments.topic);
  Bus bus = open_bus(common, arguments.must_exist ? Presence::stay : Presence::make);
  const auto topic = reach_topic(bus, common, arguments, plan);
  Sender sender{topic, plan};
  while (input.refill(plan.max_bytes + plan.key_delimiter.size())) sender.take(input);
  if (!interrupt.by_signal()) return Exit::ok;
  talk("Interrupted: {} record{} sent", sender.sent(), plural(sender.sent()));
  if (input.left_over() > 0) talk("Not sent: {} bytes behind the last delimiter", input.left_over());
  return Exit::interrupted;
}

}  // namespace towpath::cli
