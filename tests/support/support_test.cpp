#include <doctest/doctest.h>

#include <support/failpoint.hpp>
#include <support/support.hpp>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>

using namespace towpath::test;

TOWPATH_ROLE("echo") {
  for (const auto& arg : args) say(arg);
  say(hear("word"));
  return 7;
}

TOWPATH_ROLE("hang") {
  say("here");
  hang();
}

TOWPATH_ROLE("flood") {
  for (int i = 0; i < 20'000; ++i) say("a line that fills the pipe");
  return 0;
}

TOWPATH_ROLE("fail") { fail("on purpose"); }

TOWPATH_ROLE("failpoint") {
  const Action action = args.at(0) == "kill" ? Action::kill : args.at(0) == "stop" ? Action::stop : Action::pause;
  arm("second", 2, action);
  for (int i = 0; i < 3; ++i) {
    TOWPATH_FAILPOINT("first");
    say("round " + std::to_string(i));
    TOWPATH_FAILPOINT("second");
  }
  return 0;
}

TOWPATH_ROLE("random_kill") {
  arm_random_kill(std::stoull(args.at(0)), 10);
  for (int i = 0; i < 10'000; ++i) {
    say(std::to_string(i));
    TOWPATH_FAILPOINT("loop");
  }
  return 0;
}

TEST_CASE("a child is this binary in another role, and its lines and exit code reach the test") {
  auto child = spawn("echo", {"one", "two words", ""});
  CHECK(child.wait_for("two", 5s) == "two words");
  child.tell("nothing the child waits for");
  child.tell("word of mine");
  CHECK(child.wait_for("word", 5s) == "word of mine");
  CHECK(child.wait(5s) == ExitStatus{7, 0});
}

TEST_CASE("kill() leaves no process behind and wait() tells the signal") {
  auto child = spawn("hang");
  child.wait_for("here", 5s);
  child.kill();
  CHECK(::kill(child.pid(), 0) == -1);
  CHECK(errno == ESRCH);
  CHECK(child.wait(5s) == ExitStatus{-1, SIGKILL});
}

TEST_CASE("a child ends with its handle") {
  pid_t pid = 0;
  {
    auto child = spawn("hang");
    child.wait_for("here", 5s);
    pid = child.pid();
  }
  CHECK(::kill(pid, 0) == -1);
}

TEST_CASE("a stopped child stands still until it is continued") {
  auto child = spawn("echo", {"started"});
  child.wait_for("started", 5s);
  child.stop();
  child.tell("word");
  CHECK_FALSE(eventually(50ms, [&] { return child.output().find("word") != std::string::npos; }));
  child.cont();
  child.wait_for("word", 5s);
  CHECK(child.wait(5s) == ExitStatus{7, 0});
}

TEST_CASE("a child that says more than a pipe holds still ends") {
  auto child = spawn("flood");
  CHECK(child.wait(30s) == exited_well);
  CHECK(child.output().size() == 20'000 * std::string_view{"a line that fills the pipe\n"}.size());
}

TEST_CASE("an unknown role and a failure in a role are not success") {
  CHECK(spawn("no such role").wait(5s) == ExitStatus{2, 0});
  CHECK(spawn("fail").wait(5s) == ExitStatus{3, 0});
}

TEST_CASE("eventually() reports a deadline that was missed and a condition that came true") {
  int calls = 0;
  CHECK(eventually(5s, [&] { return ++calls == 3; }));
  CHECK(calls == 3);
  CHECK_FALSE(eventually(1ms, [] { return false; }));
}

TEST_CASE("a temporary folder is fresh, private, and gone at the end") {
  std::filesystem::path path;
  std::filesystem::path disk_path;
  {
    TempDir dir;
    TempDir other;
    TempDir disk = TempDir::on_disk();
    path = dir.path();
    disk_path = disk.path();
    CHECK(path != other.path());
    CHECK(std::filesystem::status(path).permissions() == std::filesystem::perms::owner_all);
    std::ofstream{dir / "file"} << "text";
    CHECK(std::filesystem::exists(dir / "file"));
    CHECK(std::filesystem::is_directory(disk_path));
  }
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK_FALSE(std::filesystem::exists(disk_path));
}

TEST_CASE("a failpoint acts at the named place, at the nth time, and only once") {
  std::vector<std::string> seen;
  arm("second", 2, [&](const char* name) { seen.emplace_back(name); });
  for (int i = 0; i < 4; ++i) {
    TOWPATH_FAILPOINT("first");
    TOWPATH_FAILPOINT("second");
  }
  CHECK(seen == std::vector<std::string>{"second"});
  CHECK(hits() == 4);
  disarm();
  TOWPATH_FAILPOINT("second");
  CHECK(hits() == 4);
}

TEST_CASE("the recorder names every failpoint that was reached") {
  arm_recorder();
  TOWPATH_FAILPOINT("b");
  TOWPATH_FAILPOINT("a");
  TOWPATH_FAILPOINT("b");
  disarm();
  TOWPATH_FAILPOINT("c");
  CHECK(reached() == std::vector<std::string>{"a", "b"});
}

TEST_CASE("a child killed at a failpoint did everything before it and nothing after") {
  auto child = spawn("failpoint", {"kill"});
  CHECK(child.wait(5s) == ExitStatus{-1, SIGKILL});
  CHECK(child.output() == "round 0\nround 1\n");
}

TEST_CASE("a child stopped at a failpoint goes on when continued") {
  auto child = spawn("failpoint", {"stop"});
  child.wait_stopped(5s);
  child.cont();
  CHECK(child.wait(5s) == exited_well);
  CHECK(child.output() == "round 0\nround 1\nround 2\n");
}

TEST_CASE("a child paused at a failpoint says where it is") {
  auto child = spawn("failpoint", {"pause"});
  child.wait_for("at second", 5s);
  CHECK(child.output() == "round 0\nround 1\nat second\n");
}

TEST_CASE("a random kill repeats with its seed") {
  const auto lines_of = [](const std::string& seed) {
    auto child = spawn("random_kill", {seed});
    CHECK(child.wait(10s) == ExitStatus{-1, SIGKILL});
    return child.output();
  };
  CHECK(lines_of("1") == lines_of("1"));
  CHECK(lines_of("1") != lines_of("2"));
}
