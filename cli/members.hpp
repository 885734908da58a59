// Who takes part in a bus at this moment, as the verbs show it.
#pragma once

#include <string>
#include <vector>

#include "bus_access.hpp"

namespace towpath::cli {

/// As much of a topic's name as a member's line holds.
inline std::string shown_name(const std::string& topic) { return topic.substr(0, sizeof(shm::MemberLine::name) - 1); }

/// Sorted as their lines are. Empty when this process may only read, for then it cannot ask who lives.
inline std::vector<ClusterMember> live_members(const Admin& admin, const Common& common) {
  return must(admin.describe_cluster(), common.dir).members;
}

inline const char* kind_name(ClusterMember::Kind kind) noexcept {
  switch (kind) {
    case ClusterMember::Kind::producer: return "producer";
    case ClusterMember::Kind::consumer: return "consumer";
    case ClusterMember::Kind::maintenance: return "maintenance";
  }
  return "?";
}

}  // namespace towpath::cli
