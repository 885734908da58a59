#include <shm/shm_support.hpp>

#include <chrono>
#include <thread>

using namespace towpath;
using namespace towpath::test;
using Steady = std::chrono::steady_clock;

namespace {

// Two players hand a turn to and fro; each sleeps on a wake word of its own.
struct Game {
  shm::Word64 turn;  // n: the n-th handoff was made; even numbers are player 0's to see
  shm::Word32 wake[2];
};

struct Played {
  std::uint64_t sleeps = 0;
  std::uint64_t lost = 0;  // slept to the time-out although the turn had come
};

// Far above what a busy machine needs to run the other side, far below what would pass unseen.
constexpr Duration loss = 2s;
constexpr std::uint64_t enough = 3;  // then the game is played to its end without sleeping

Played play(Game& game, unsigned me, std::uint64_t handoffs, Duration timeout, bool wakes) {
  Played played;
  for (std::uint64_t n = me; n < handoffs; n += 2) {
    while (game.turn.load(shm::seq_cst) != n) {
      const auto announced = shm::announce_sleep(game.wake[me]);
      if (game.turn.load(shm::seq_cst) == n) break;
      if (played.lost >= enough) {
        std::this_thread::yield();
        continue;
      }
      const auto begin = Steady::now();
      shm::sleep(game.wake[me], announced, timeout);
      ++played.sleeps;
      if (Steady::now() - begin >= timeout && game.turn.load(shm::seq_cst) == n) ++played.lost;
    }
    game.turn.store(n + 1, shm::seq_cst);
    if (wakes) shm::wake(game.wake[1 - me]);
  }
  return played;
}

struct Board {
  TempDir dir;
  std::unique_ptr<shm::Directory> directory = open_folder(dir.path().string());
  std::shared_ptr<shm::Region> region;
  Board() {
    make_file(*directory, "game", 4096);
    const auto file = must(directory->open("game", shm::Access::read_write));
    region = must(shm::Region::map(file, 4096, shm::Access::read_write));
  }
  Game& game() const { return *reinterpret_cast<Game*>(region->data()); }
};

}  // namespace

TOWPATH_ROLE("player") {
  auto directory = open_folder(args.at(0));
  const auto file = must(directory->open("game", shm::Access::read_write));
  const auto region = must(shm::Region::map(file, 4096, shm::Access::read_write));
  const auto played = play(*reinterpret_cast<Game*>(region->data()), 1, std::stoull(args.at(1)),
                           std::chrono::milliseconds{std::stol(args.at(2))}, args.at(3) == "wakes");
  say(std::to_string(played.lost));
  return 0;
}

TOWPATH_ROLE("sleeper") {
  auto directory = open_folder(args.at(0));
  const auto file = must(directory->open("game", shm::Access::read_write));
  const auto region = must(shm::Region::map(file, 4096, shm::Access::read_write));
  auto& word = reinterpret_cast<Game*>(region->data())->wake[0];
  const auto announced = shm::announce_sleep(word);
  say("asleep");
  const auto begin = Steady::now();
  while (word.load(shm::acquire) == announced && Steady::now() - begin < 60s) shm::sleep(word, announced, 60s);
  return word.load(shm::acquire) == announced ? 1 : 0;
}

TEST_CASE("no wake is lost in 100,000 handoffs between two processes") {
  constexpr std::uint64_t handoffs = 100'000;
  Board board;
  auto child = spawn("player", {board.dir.path().string(), std::to_string(handoffs), "2000", "wakes"});
  const auto played = play(board.game(), 0, handoffs, loss, true);
  CHECK(played.lost == 0);
  CHECK(played.sleeps > 1'000);  // else nothing was tried
  CHECK(child.wait(60s) == exited_well);
  CHECK(child.output() == "0\n");
  CHECK(board.game().turn.load(shm::seq_cst) == handoffs);
}

TEST_CASE("a waker that forgets to wake is noticed, and everybody goes on after the time-out") {
  constexpr std::uint64_t handoffs = 20;
  Board board;
  auto child = spawn("player", {board.dir.path().string(), std::to_string(handoffs), "20", "forgets"});
  const auto played = play(board.game(), 0, handoffs, 20ms, false);
  CHECK(played.lost >= 1);
  CHECK(child.wait(30s) == exited_well);
  CHECK(std::stoull(child.output()) >= 1);
  CHECK(board.game().turn.load(shm::seq_cst) == handoffs);
}

TEST_CASE("a sleep whose wake never comes ends at its time-out, not before") {
  shm::Word32 word;
  word.store(0, shm::relaxed);
  const auto announced = shm::announce_sleep(word);
  const auto begin = Steady::now();
  shm::sleep(word, announced, 30ms);
  const auto slept = Steady::now() - begin;
  CHECK(slept >= 30ms);
  CHECK(slept < 10s);
}

TEST_CASE("a sleep on a word that has moved on, or of no length, does not block") {
  shm::Word32 word;
  word.store(0, shm::relaxed);
  const auto announced = shm::announce_sleep(word);
  const auto begin = Steady::now();
  shm::sleep(word, announced, 0ns);
  shm::sleep(word, announced, -5s);
  shm::wake(word);
  shm::sleep(word, announced, 60s);
  CHECK(Steady::now() - begin < 30s);
}

TEST_CASE("waking counts, clears the announcement, and costs one look when nobody sleeps") {
  shm::Word32 word;
  word.store(0, shm::relaxed);
  shm::wake(word);
  CHECK(word.load(shm::relaxed) == 0);
  CHECK(shm::announce_sleep(word) == 1);
  CHECK(shm::announce_sleep(word) == 1);  // twice is once
  shm::wake(word);
  CHECK(word.load(shm::relaxed) == 2);
  shm::wake(word);
  CHECK(word.load(shm::relaxed) == 2);
  CHECK(shm::announce_sleep(word) == 3);  // differs from the last one: an old sleep cannot be mistaken for a new
}

TEST_CASE("the count runs over without losing a wake") {
  shm::Word32 word;
  word.store(0xffff'fffeu, shm::relaxed);
  CHECK(shm::announce_sleep(word) == 0xffff'ffffu);
  shm::wake(word);
  CHECK(word.load(shm::relaxed) == 0);
}

TEST_CASE("a process sleeping on its own map of the word is woken through another") {
  Board board;
  auto child = spawn("sleeper", {board.dir.path().string()});
  child.wait_for("asleep", 10s);
  shm::wake(board.game().wake[0]);
  CHECK(child.wait(30s) == exited_well);
}

TEST_CASE("a sleeper that was killed leaves nothing that stops the next") {
  Board board;
  auto child = spawn("sleeper", {board.dir.path().string()});
  child.wait_for("asleep", 10s);
  child.kill();
  CHECK(board.game().wake[0].load(shm::acquire) == 1);  // the dead one's announcement
  auto next = spawn("sleeper", {board.dir.path().string()});
  next.wait_for("asleep", 10s);
  shm::wake(board.game().wake[0]);
  CHECK(next.wait(30s) == exited_well);
}
