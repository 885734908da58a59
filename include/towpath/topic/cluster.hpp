// Who takes part in a bus, for people: its id, who maintains it, who produces and consumes.
// Thread-safe and process-safe; a look at words that others change, so true for a moment only.
#pragma once

#include <towpath/topic/admin_types.hpp>
#include <towpath/topic/catalog.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// The member in line `i`, if it lives.
inline std::optional<ClusterMember> cluster_member(const shm::Members& members, unsigned i) {
  const auto& line = members.line(i);
  const std::uint32_t kind = line.kind.load(shm::acquire);
  if (kind < 1 || kind > 3 || !members.is_alive(i)) return std::nullopt;
  ClusterMember member{static_cast<ClusterMember::Kind>(kind), line.pid.load(shm::relaxed), {}};
  for (const char c : line.name) {
    if (c == '\0') break;
    member.name += c >= ' ' && c <= '~' ? c : '?';
  }
  return member;
}

/// Errors: corrupt (meta.properties), not_found, those of listing a folder.
inline Result<ClusterDescription> describe_cluster(Catalog& catalog) {
  const auto& core = *catalog.core();
  const auto text = shm::read_file(core.directory(), "meta.properties", 64 * 1024);
  if (!text) return text.error();
  PropertyReader properties{*text};
  ClusterDescription found;
  found.cluster_id = properties.text("cluster.id");
  found.node_id = static_cast<std::int32_t>(properties.number("node.id"));
  if (!properties.is_whole()) return Failure{Errc::corrupt, "meta.properties lacks cluster.id or node.id"};
  const auto names = catalog.names();
  if (!names) return names.error();
  for (const auto& name : *names) {
    const auto topic = catalog.open(name);
    if (!topic) continue;  // deleted meanwhile, or damaged: who names it is told
    ++found.topics;
    found.partitions += static_cast<std::size_t>((*topic)->partitions());
  }
  const auto* members = core.members();
  if (!members) return found;
  for (unsigned i = 0; i < members->used(); ++i)
    if (auto member = cluster_member(*members, i)) found.members.push_back(std::move(*member));
  const std::uint32_t maintainer = core.control().maintainer.load(shm::acquire);
  if (maintainer != 0 && maintainer <= shm::max_members) found.controller = cluster_member(*members, maintainer - 1);
  return found;
}

}  // namespace towpath::inline TOWPATH_ABI::detail
