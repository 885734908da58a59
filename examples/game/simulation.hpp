// A little world in whole numbers: a player runs, slides, bumps into four walls, and shoots at what chance puts before
// him. The same commands make the same state on every machine, so a state needs never be sent.
#pragma once

#include "topics.hpp"

/// 65,536 times the sine, by Bhaskara's rational approximation.
constexpr std::int64_t sine(std::uint32_t angle) {
  constexpr std::int64_t half_turn = 32'768;
  const std::int64_t x = angle >> 16 & 0x7FFF;
  const std::int64_t product = x * (half_turn - x);
  const std::int64_t value = 16 * product * 65'536 / (5 * half_turn * half_turn - 4 * product);
  return angle >> 31 ? -value : value;
}
constexpr std::int64_t cosine(std::uint32_t angle) { return sine(angle + (1u << 30)); }

/// Moves along one axis, and back from the wall.
constexpr void slide(std::int64_t& place, std::int64_t& speed, std::uint32_t& bumps) {
  constexpr std::int64_t wall = std::int64_t{512} << 16, friction = 0xE800;
  place += speed;
  speed = speed * friction / 65'536;
  if (place >= -wall && place <= wall) return;
  place = place < 0 ? -wall : wall;
  speed = -speed / 2;
  ++bumps;
}

constexpr void step(Player& player, const Command& command) {
  constexpr std::int64_t thrust = 2'048;
  constexpr unsigned fire = 1, use = 2, change = 4;
  player.random = player.random * 1'664'525u + 1'013'904'223u;
  player.angle += std::uint32_t{command.turn} << 24;
  const std::uint32_t right = player.angle - (1u << 30);
  player.speed_x += thrust * (command.forward * cosine(player.angle) + command.sideways * cosine(right)) / 65'536;
  player.speed_y += thrust * (command.forward * sine(player.angle) + command.sideways * sine(right)) / 65'536;
  slide(player.x, player.speed_x, player.bumps);
  slide(player.y, player.speed_y, player.bumps);
  if (command.buttons & change) player.weapon = command.buttons >> 3 & 7u;
  if (command.buttons & fire && player.ticks >= player.ready) {
    ++player.shots;
    if (player.random >> 24 < 96) ++player.hits;
    player.ready = player.ticks + 8 + 2 * player.weapon;
  }
  if (command.buttons & use && !(player.held & use)) ++player.uses;
  player.held = command.buttons;
  ++player.ticks;
}

inline std::uint32_t checksum(const Player& player) {
  return towpath::crc32c({reinterpret_cast<const std::byte*>(&player), sizeof player});
}
