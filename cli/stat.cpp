// `towpath stat`: how much is in the partitions, what happened to them, and who takes part.
#include <poll.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "bus_access.hpp"
#include "interrupt.hpp"
#include "members.hpp"
#include "output.hpp"
#include "partition_state.hpp"

namespace towpath::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Row {
  std::string topic;
  PartitionState partition;
};

/// Every column of numbers, with its heading.
template <class Use>
void for_each_number(const PartitionState& row, const Use& use) {
  use("begin", row.begin.value);
  use("end", row.end.value);
  use("bytes", row.bytes);
  use("segments", row.segments);
  use("dropped", row.counters.dropped);
  use("aborted", row.counters.aborted);
  use("rolls", row.counters.rolls);
  use("recycled", row.counters.recycled);
  use("fresh", row.counters.fresh);
  use("unlinked", row.counters.unlinked);
  use("waits", row.counters.waits);
}

/// `wanted` names topics that must be there; all that are there when it is empty.
std::vector<Row> look(Bus& bus, const Common& common, const std::vector<std::string>& wanted) {
  const Admin admin{bus};
  std::vector<Row> rows;
  for (const auto& name : wanted.empty() ? must(admin.list_topics(), common.dir) : wanted) try {
      for (const auto& state : states_of(open_topic(bus, admin, common, name))) rows.push_back({name, state});
    } catch (const Quit& quit) {
      if (!wanted.empty() || quit.code() != Exit::not_found) throw;  // deleted a moment ago
    }
  return rows;
}

Json as_json(const std::vector<Row>& rows, const std::vector<ClusterMember>& members) {
  Json found{{"partitions", Json::array()}, {"members", Json::array()}};
  for (const auto& row : rows) {
    Json one{{"topic", row.topic}, {"partition", row.partition.id.value}};
    for_each_number(row.partition, [&](const char* name, auto value) { one[name] = value; });
    found["partitions"].push_back(std::move(one));
  }
  for (const auto& member : members)
    found["members"].push_back({{"kind", kind_name(member.kind)}, {"name", member.name}, {"pid", member.pid}});
  return found;
}

std::string as_text(const std::vector<Row>& rows, const std::vector<ClusterMember>& members) {
  std::vector<std::vector<std::string>> cells{{"TOPIC", "PARTITION"}};
  const PartitionState heading;
  for_each_number(heading, [&](std::string name, auto) {
    for (auto& c : name) c = static_cast<char>(c - 'a' + 'A');
    cells[0].push_back(std::move(name));
  });
  for (const auto& row : rows) {
    auto& line = cells.emplace_back(std::vector<std::string>{row.topic, fmt::format("{}", row.partition.id)});
    for_each_number(row.partition, [&](const char*, auto value) { line.push_back(std::to_string(value)); });
  }
  std::vector<bool> right(cells[0].size(), true);
  right[0] = false;
  std::string text = table(cells, right);
  cells = {{"MEMBER", "PID", "NAME"}};
  for (const auto& member : members) cells.push_back({kind_name(member.kind), std::to_string(member.pid), member.name});
  return text + "\n" + table(cells, {false, true, false});
}

/// False: interrupted.
bool pause_for(const Interrupt& interrupt, std::chrono::nanoseconds time) {
  pollfd requested{interrupt.descriptor(), POLLIN, 0};
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(time).count();
  ::poll(&requested, 1, static_cast<int>(std::min<std::int64_t>(ms, 1'000'000'000)));
  return !interrupt.requested();
}

}  // namespace

Exit run(const Common& common, const Stat& arguments) {
  const auto interval = parse_duration(arguments.interval, "--interval");
  if (interval < std::chrono::milliseconds{10}) throw Quit{Exit::usage, "--interval: 10ms at least"};
  const bool json = arguments.format == "json";
  const bool on_terminal = ::isatty(STDOUT_FILENO) == 1;
  const Interrupt interrupt{Interrupt::Output::watched};
  Bus bus = open_bus(common, Presence::visit);
  Output out;
  for (;;) {
    const auto rows = look(bus, common, arguments.topics);
    const auto members = live_members(Admin{bus}, common);
    if (json)
      out.buffer() = as_json(rows, members).dump(arguments.again ? -1 : 2) + "\n";
    else
      out.buffer() = (arguments.again && on_terminal ? "\x1b[H\x1b[2J" : "") + as_text(rows, members);
    if (arguments.again && !json && !on_terminal) out.buffer() += "\n";
    out.flush();
    if (!arguments.again || !pause_for(interrupt, interval)) break;
  }
  return interrupt.by_signal() ? Exit::interrupted : Exit::ok;
}

}  // namespace towpath::cli
