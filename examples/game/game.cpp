// Eight games that people played and recorded, 22,637 commands at 35 in a second. One process plays them all at once;
// another one simulates each command as it comes, and stores a snapshot from time to time. Then the log is replayed,
// from its beginning and from each snapshot: every time the state at the end is the same, to the last bit.
//   example.game FOLDER      with freedoom1.wad and freedoom2.wad in it: tools/fetch_examples game
#include "../processes.hpp"
#include "simulation.hpp"
#include "wad.hpp"

using namespace std::chrono_literals;

constexpr std::uint32_t snapshot_ticks = 350;  // 10 s
constexpr towpath::PartitionId partition_of(std::int32_t player) { return {player}; }

/// The process of the players: all of them at once, tick by tick, each in his partition.
void play(const std::string& folder, const std::string& data) {
  std::vector<std::vector<Command>> games;
  for (const char* file : {"freedoom1.wad", "freedoom2.wad"}) {
    const Wad wad{data + "/" + file};
    for (const char* name : {"DEMO1", "DEMO2", "DEMO3", "DEMO4"}) games.push_back(wad.demo(name));
  }
  towpath::Bus bus{folder, {.create = false}};  // who started this process made it
  towpath::Topic topic{bus, commands};
  towpath::Producer producer{topic};
  const towpath::Timestamp begin{std::chrono::sys_days{std::chrono::year{2019} / 10 / 22}};
  for (std::size_t tick = 0, playing = games.size(); playing > 0; ++tick) {
    for (std::int32_t i = 0; i < players; ++i) {
      const auto& game = games[static_cast<std::size_t>(i)];
      const towpath::Timestamp time = begin + tick * towpath::Duration{1s} / 35;
      if (tick < game.size()) producer.send(game[tick], {.timestamp = time, .partition = partition_of(i)}).value();
      if (tick != game.size()) continue;
      producer.send_tombstone({.timestamp = time, .partition = partition_of(i)}).value();  // the game is over
      --playing;
    }
  }
}

/// Calls `take(player, record)` for each record of these partitions until all their games are over.
template <class Take>
void follow(towpath::Consumer<Command>& consumer, Take&& take) {
  for (std::size_t playing = consumer.assignment().size(); playing > 0;) {
    const auto batch = consumer.poll(30s);
    if (auto failure = batch.error(); failure.code != towpath::Errc::ok) throw towpath::Error{failure};
    if (batch.empty()) throw std::runtime_error{"no command and no end in 30 s"};
    for (const auto& record : batch)
      if (record.is_tombstone())
        --playing;
      else
        take(record.partition().value, record);
  }
}

/// The state of all players, from the commands as they come.
std::vector<Player> simulate(towpath::Bus& bus) {
  towpath::Topic input{bus, commands};
  towpath::Topic output{bus, snapshots};
  towpath::Producer producer{output};
  towpath::Consumer consumer{input, {.auto_offset_reset = towpath::OffsetReset::earliest}};
  std::vector<Player> all(players);
  follow(consumer, [&](std::int32_t i, const auto& record) {
    Player& player = all[static_cast<std::size_t>(i)];
    step(player, record.value());
    if (player.ticks % snapshot_ticks == 0)
      producer.send({player, (record.offset() + 1).value}, {.partition = partition_of(i)}).value();
  });
  return all;
}

/// The state at the end of one player's game, from `player` on, who has seen all before `next`. With `left_out` it does
/// without the command of that offset.
Player replay(towpath::Bus& bus, std::int32_t i, Player player, std::int64_t next, std::int64_t left_out = -1) {
  towpath::Topic input{bus, commands};
  towpath::Consumer consumer{input, {.partitions = {partition_of(i)}}};
  consumer.seek(partition_of(i), towpath::Offset{next}).value();
  follow(consumer, [&](std::int32_t, const auto& record) {
    if (record.offset().value != left_out) step(player, record.value());
  });
  return player;
}

void compare(towpath::Bus& bus, const std::vector<Player>& live) {
  int same = 0, different = 0;
  std::uint64_t ticks = 0;
  for (std::int32_t i = 0; i < players; ++i) {
    const Player& player = live[static_cast<std::size_t>(i)];
    ticks += player.ticks;
    fmt::print(
        "freedoom{} DEMO{}: {:5} ticks, at ({:4}, {:4}), {:3} shots, {:3} hits, {:2} uses, {:3} bumps, state {:08x}\n",
        i / 4 + 1, i % 4 + 1, player.ticks, player.x >> 16, player.y >> 16, player.shots, player.hits, player.uses,
        player.bumps, checksum(player));
    same += checksum(replay(bus, i, {}, 0)) == checksum(player);
    different += checksum(replay(bus, i, {}, 0, player.ticks / 2)) != checksum(player);
  }
  fmt::print("{} ticks together\n", ticks);
  fmt::print("replayed from the beginning: {} of {} end in the same state\n", same, players);
  fmt::print("with one command left out: {} of {} end in another one\n", different, players);

  towpath::Topic stored{bus, snapshots};
  towpath::Consumer consumer{stored, {.auto_offset_reset = towpath::OffsetReset::earliest, .consumer_timeout = 50ms}};
  int count = 0, found = 0;
  for (const auto& record : consumer) {
    const auto& [player, next] = record.value();
    const std::int32_t i = record.partition().value;
    ++count;
    found += checksum(replay(bus, i, player, next)) == checksum(live[static_cast<std::size_t>(i)]);
  }
  fmt::print("replayed from a snapshot: {} of {} end in the same state\n", found, count);
}

int main(int argc, char** argv) try {
  if (argc == 3) return play(argv[1], argv[2]), 0;
  if (argc != 2) throw std::runtime_error{"which folder has the WAD files? tools/fetch_examples game fetches them"};
  must_exist({std::string{argv[1]} + "/freedoom1.wad", std::string{argv[1]} + "/freedoom2.wad"});
  const TempFolder folder;
  towpath::Bus bus{folder.path()};
  const auto playing = start_again({folder.path(), argv[1]});
  const auto live = simulate(bus);
  fmt::print("the process of the players {}\n", wait_for(playing));
  compare(bus, live);
} catch (const std::exception& error) {
  fmt::print(stderr, "example.game: {}\n", error.what());
  return 1;
}
