// `towpath topic`: make, list, describe, alter and delete topics.
#include <nlohmann/json.hpp>
#include <thread>

#include "bus_access.hpp"
#include "members.hpp"
#include "output.hpp"
#include "partition_state.hpp"

namespace towpath::cli {
namespace {

using Json = nlohmann::ordered_json;

void print(std::string text) {
  Output out;
  out.buffer() = std::move(text);
  out.flush();
}

/// What a named reader of a topic that waits for its readers has read of a partition.
struct ReaderPlace {
  std::string name;
  PartitionId partition;
  std::optional<Offset> next;  ///< none: it never came
};

struct Look {
  TopicDescription topic;
  std::vector<ConfigEntry> settings;
  std::vector<PartitionState> partitions;
  std::vector<ReaderPlace> readers;
  std::size_t producers = 0;  // alive, of this topic
  std::size_t consumers = 0;
};

/// Of `partitions` partitions.
std::vector<ReaderPlace> places_of(const Topic<Bytes>& topic, const ReaderList& readers, std::int32_t partitions) {
  std::vector<ReaderPlace> places;
  for (std::size_t i = 0; i < readers.size(); ++i) {
    const auto name = detail::ReaderFile::name_of(readers[i]);
    const auto file = detail::ReaderFile::open(topic.files()->directory(), name, partitions, false);
    for (std::int32_t p = 0; p < partitions; ++p) {
      ReaderPlace place{std::string{readers[i]}, {p}, std::nullopt};
      const auto* entry = file ? file->entry(p) : nullptr;
      // pairs with the reader's own stores of how far it came
      const std::uint64_t stands = entry ? entry->stands_at.load(shm::acquire) : 0;
      if (stands > 0) place.next = Offset{static_cast<std::int64_t>(stands) - 1};
      places.push_back(std::move(place));
    }
  }
  return places;
}

Look look_at(Bus& bus, const Common& common, const std::string& name, const std::vector<ClusterMember>& members) {
  const Admin admin{bus};
  Look look;
  look.topic = describe(admin, common, name);
  look.settings = must(admin.describe_configs(name), name);
  const auto topic = open_topic(bus, admin, common, name);
  look.partitions = states_of(topic);
  look.readers = places_of(topic, look.topic.config.readers, static_cast<std::int32_t>(look.partitions.size()));
  for (const auto& member : members) {
    if (member.name != shown_name(name)) continue;
    if (member.kind == ClusterMember::Kind::producer) ++look.producers;
    if (member.kind == ClusterMember::Kind::consumer) ++look.consumers;
  }
  return look;
}

Json as_json(const Look& look) {
  const auto& topic = look.topic;
  Json found{{"name", topic.name}, {"id", topic.id}};
  found["type"] = {{"name", topic.type_name},
                   {"encoding", topic.encoding},
                   {"size", topic.type_size},
                   {"alignment", topic.type_alignment}};
  auto& config = found["config"] = Json::object();
  for (const auto& setting : look.settings) config[setting.name] = setting.value;
  auto& partitions = found["partitions"] = Json::array();
  for (const auto& one : look.partitions)
    partitions.push_back({{"partition", one.id.value},
                          {"begin_offset", one.begin.value},
                          {"end_offset", one.end.value},
                          {"bytes", one.bytes},
                          {"segments", one.segments}});
  auto& readers = found["readers"] = Json::array();
  for (const auto& place : look.readers)
    readers.push_back({{"name", place.name},
                       {"partition", place.partition.value},
                       {"next_offset", place.next ? Json(place.next->value) : Json(nullptr)}});
  found["producers"] = look.producers;
  found["consumers"] = look.consumers;
  return found;
}

std::string as_text(const Look& look) {
  const auto& topic = look.topic;
  const std::string size = topic.type_size == 0 ? "of any size" : fmt::format("of {} bytes", topic.type_size);
  std::string text = fmt::format("topic       {}\nid          {}\nvalues      {}, {}, {}\n", topic.name, topic.id,
                                 topic.type_name, topic.encoding, size);
  text += fmt::format("alive       {} producer{}, {} consumer{}\n", look.producers, plural(look.producers),
                      look.consumers, plural(look.consumers));
  for (const auto& setting : look.settings)
    text += fmt::format("  {:<24}  {}\n", setting.name, setting.value.empty() ? "-" : setting.value);
  std::vector<std::vector<std::string>> rows{{"PARTITION", "BEGIN", "END", "BYTES", "SEGMENTS"}};
  const auto number = [](auto value) { return fmt::format("{}", value); };
  for (const auto& one : look.partitions)
    rows.push_back({number(one.id), number(one.begin), number(one.end), number(one.bytes), number(one.segments)});
  text += table(rows, std::vector<bool>(5, true));
  if (look.readers.empty()) return text;
  rows = {{"READER", "PARTITION", "NEXT", "LAG"}};
  for (const auto& place : look.readers) {
    const auto& partition = look.partitions[static_cast<std::size_t>(place.partition.value)];
    const Offset next = std::max(place.next.value_or(partition.begin), partition.begin);
    rows.push_back({place.name, number(place.partition), place.next ? number(*place.next) : "never came",
                    number(std::max<std::int64_t>(0, partition.end - next))});
  }
  return text + table(rows, {false, true, true, true});
}

/// Does it for each name; goes on behind one that fails, which is said at once, and ends as the first that failed.
template <class Do>
void for_each_name(const std::vector<std::string>& names, const Do& act) {
  Exit result = Exit::ok;
  std::string last;
  for (const auto& name : names) try {
      act(name);
    } catch (const Quit& quit) {
      if (!last.empty()) fmt::print(stderr, "towpath: {}\n", last);
      last = quit.what();
      if (result == Exit::ok) result = quit.code();
    }
  if (result != Exit::ok) throw Quit{result, last};
}

std::string about(const std::string& name) { return fmt::format("topic '{}'", name); }

/// Somebody else alters the topic at this moment: again, for 5 s.
template <class Do>
Result<void> patiently(const Do& act) {
  for (int tries = 0;; ++tries)
    if (auto done = act(); done.error() != Errc::busy || tries == 1'000)
      return done;
    else
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
}

/// A name that no setting has, with the one that was probably meant.
Quit no_such_setting(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& property : detail::topic_properties) names.emplace_back(property.name);
  const auto meant = nearest(name, names);
  return Quit{Exit::usage, fmt::format("topics have no setting '{}'; {}", name,
                                       meant ? fmt::format("did you mean '{}'?", *meant)
                                             : fmt::format("there are {}", fmt::join(names, ", ")))};
}

/// What --config and --delete-config ask for. Throws Quit: a name that is none.
std::vector<ConfigChange> changes_of(const std::vector<std::string>& typed, const std::vector<std::string>& removed) {
  std::vector<ConfigChange> changes;
  for (const auto& name : removed) changes.push_back({name, {}, ConfigOperation::remove});
  for (const auto& text : typed) {
    const auto equals = text.find('=');
    if (equals == std::string::npos)
      throw Quit{Exit::usage, fmt::format("--config '{}': NAME=VALUE, as retention.ms=60000", text)};
    changes.push_back({text.substr(0, equals), text.substr(equals + 1)});
  }
  for (const auto& change : changes)
    if (!detail::find_property(change.name)) throw no_such_setting(change.name);
  return changes;
}

}  // namespace

Exit run(const Common& common, const TopicCreate& arguments) {
  NewTopic topic{{}, {.partitions = arguments.partitions}, changes_of(arguments.config, {})};
  for (const auto& name : arguments.names) must(check_topic_name(name), about(name));
  const Bus bus = open_bus(common, Presence::make);
  for_each_name(arguments.names, [&](const std::string& name) {
    topic.name = name;
    const auto made = Admin{bus}.create_topic(topic);
    if (made.error() == Errc::topic_exists && arguments.if_missing) return;
    must(made, about(name));
  });
  return Exit::ok;
}

Exit run(const Common& common, const TopicList& arguments) {
  const Bus bus = open_bus(common, Presence::visit);
  const Admin admin{bus};
  const auto names = must(admin.list_topics(), common.dir);
  std::string text;
  auto list = Json::array();
  for (const auto& name : names) {
    text += name + "\n";
    if (arguments.format != "json") continue;
    const auto found = admin.describe_topic(name);
    list.push_back({{"name", name}, {"partitions", found ? Json(found->config.partitions) : Json(nullptr)}});
  }
  print(arguments.format == "json" ? list.dump(2) + "\n" : text);
  return Exit::ok;
}

Exit run(const Common& common, const TopicDescribe& arguments) {
  Bus bus = open_bus(common, Presence::visit);
  const bool all = arguments.names.empty();
  const auto names = all ? must(Admin{bus}.list_topics(), common.dir) : arguments.names;
  std::string text;
  auto list = Json::array();
  const auto members = live_members(Admin{bus}, common);
  const auto describe_one = [&](const std::string& name) {
    try {
      const auto look = look_at(bus, common, name, members);
      text += (text.empty() ? "" : "\n") + as_text(look);
      list.push_back(as_json(look));
    } catch (const Quit& quit) {
      if (!all || quit.code() != Exit::not_found) throw;  // deleted a moment ago
    }
  };
  const auto show = [&] { print(arguments.format == "json" ? list.dump(2) + "\n" : text); };
  try {
    for_each_name(names, describe_one);
  } catch (const Quit&) {
    show();
    throw;
  }
  show();
  return Exit::ok;
}

Exit run(const Common& common, const TopicAlter& arguments) {
  if (!arguments.partitions && arguments.config.empty() && arguments.removed.empty())
    throw Quit{Exit::usage, "nothing to alter: --partitions, --config or --delete-config"};
  const Bus bus = open_bus(common, Presence::visit);
  Admin admin{bus};
  const auto had = describe(admin, common, arguments.name).config.partitions;
  if (arguments.partitions && *arguments.partitions < had)
    throw Quit{Exit::usage, fmt::format("{} has {} partitions; a topic only grows", about(arguments.name), had)};
  const auto changes = changes_of(arguments.config, arguments.removed);
  must(patiently([&] { return admin.alter_configs(arguments.name, changes); }), about(arguments.name));
  if (arguments.partitions)
    must(patiently([&] { return admin.create_partitions(arguments.name, *arguments.partitions); }),
         about(arguments.name) + (changes.empty() ? "" : ": its settings were changed, its partitions were not"));
  return Exit::ok;
}

Exit run(const Common& common, const TopicDelete& arguments) {
  const Bus bus = open_bus(common, Presence::visit);
  Admin admin{bus};
  for_each_name(arguments.names, [&](const std::string& name) {
    const auto gone = admin.delete_topic(name);
    if (gone.error() == Errc::unknown_topic) throw no_such_topic(admin, common, name);
    must(gone, about(name));
  });
  return Exit::ok;
}

}  // namespace towpath::cli
