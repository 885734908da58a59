// What the processes of examples/game agree on.
#pragma once

#include <towpath/towpath.hpp>

/// What a player did in one tick, a 35th of a second.
struct Command {
  std::uint32_t tick;
  std::int8_t forward;   // speed, backwards if negative
  std::int8_t sideways;  // to the right
  std::uint8_t turn;     // to the left, in 256ths of a full turn
  std::uint8_t buttons;  // 1 fire, 2 use, 4 take weapon number (bits 3 to 5)
};

/// All that a simulation knows of a player. Whole numbers only, no padding: its bytes are its identity.
struct Player {
  std::int64_t x = 0, y = 0;              // 65,536ths of a map unit
  std::int64_t speed_x = 0, speed_y = 0;  // per tick
  std::uint32_t angle = 0;                // 2^32 is a full turn
  std::uint32_t random = 1;
  std::uint32_t ticks = 0;
  std::uint32_t ready = 0;  // the tick in which the weapon can be fired again
  std::uint32_t shots = 0, hits = 0, uses = 0, bumps = 0;
  std::uint32_t weapon = 0;
  std::uint32_t held = 0;  // the buttons of the tick before
};
static_assert(std::has_unique_object_representations_v<Player>);

/// A player's state after all commands before the offset `next`.
struct Snapshot {
  Player player;
  std::int64_t next;
};

// The records keep the times at which the players played, which is long ago, and are to stay.
inline constexpr towpath::Retention forever{towpath::Retention::unlimited, towpath::Duration::max()};

inline constexpr std::int32_t players = 8;  // each has a partition
inline constexpr towpath::TopicSpec<Command> commands{"game.commands", {.partitions = players, .retention = forever}};
inline constexpr towpath::TopicSpec<Snapshot> snapshots{"game.snapshots",
                                                        {.partitions = players, .retention = forever}};
