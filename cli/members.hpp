// Who takes part in a bus at this moment: producers, consumers and maintenance of all processes. For people.
#pragma once

#include <string>
#include <vector>

#include <towpath/topic/bus.hpp>

namespace towpath::cli {

struct LiveMember {
  shm::MemberKind kind = shm::MemberKind::none;
  std::uint32_t pid = 0;  ///< in a container the container's
  std::string name;       ///< the topic, or what is done; cut off
};

/// As much of a topic's name as a member's line holds.
inline std::string shown_name(const std::string& topic) { return topic.substr(0, sizeof(shm::MemberLine::name) - 1); }

/// Sorted as their lines are. Empty when this process may only read, for then it cannot ask who lives.
inline std::vector<LiveMember> live_members(const Bus& bus) {
  std::vector<LiveMember> found;
  auto* members = bus.core()->members();
  for (unsigned i = 0; members && i < members->used(); ++i) {
    const auto& line = members->line(i);
    const auto kind = line.kind.load(shm::acquire);  // pairs with the release by which a member enters
    if (kind == 0 || !members->is_alive(i)) continue;
    LiveMember member{static_cast<shm::MemberKind>(kind), line.pid.load(shm::relaxed), {}};
    for (const char c : line.name) {
      if (c == '\0') break;
      member.name += c >= ' ' && c <= '~' ? c : '?';
    }
    found.push_back(std::move(member));
  }
  return found;
}

inline const char* kind_name(shm::MemberKind kind) noexcept {
  switch (kind) {
    case shm::MemberKind::producer: return "producer";
    case shm::MemberKind::consumer: return "consumer";
    case shm::MemberKind::maintenance: return "maintenance";
    default: return "?";
  }
}

}  // namespace towpath::cli
