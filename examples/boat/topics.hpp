// What the processes of examples/boat agree on.
#pragma once

#include <towpath/towpath.hpp>

/// A message of the NMEA 2000 network, whose CAN frames the gateway has put together.
struct CanMessage {
  std::uint32_t pgn = 0;  // what it is about: "parameter group number"
  std::uint8_t priority = 0;
  std::uint8_t source = 0;
  std::uint8_t destination = 0;
  std::uint8_t length = 0;
  std::uint8_t data[224]{};  // a message has at most 223 bytes
};

/// What a process says at its end, under its role as key.
struct Report {
  std::uint64_t records = 0;
  std::uint64_t refused = 0;
  std::uint32_t state = 0;  // a checksum of the newest value of every sensor
  std::uint32_t order = 0;  // a checksum of all records in their order
};

// The records keep the times of the recording, which is years old, and are to stay.
inline constexpr towpath::Retention forever{towpath::Retention::unlimited, towpath::Duration::max()};

/// The sentences of the older instruments, by talker and type as "IIVHW".
inline constexpr towpath::TopicSpec<std::string> nmea_sentences{"boat.nmea", {.partitions = 4, .retention = forever}};
/// By PGN and source as "129029/160".
inline constexpr towpath::TopicSpec<CanMessage> can_messages{"boat.can", {.partitions = 4, .retention = forever}};
inline constexpr towpath::TopicSpec<Report> reports{"boat.reports"};
