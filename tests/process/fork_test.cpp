// Every handle in a child after fork(): it says forked, at once, and its destructor harms neither process.
#include <consume/consume_support.hpp>

#include <csignal>

#include <optional>

#include <sys/wait.h>
#include <unistd.h>

using namespace towpath;
using namespace towpath::test;

namespace {

struct Handles {
  explicit Handles(const std::string& path) : bus{path}, topic{bus, "topic", patient()} {}
  static TopicConfig patient() {
    TopicConfig config;
    config.grace = std::chrono::hours{1};  // the open loan is nobody's to skip
    return config;
  }
  Bus bus;
  Topic<std::string> topic;
  Producer<std::string> producer{topic};
  Producer<std::string> lender{topic};
  Consumer<std::string> consumer{topic, from(OffsetReset::earliest)};
};

/// Runs `work` in a child, which must come to its end in time; returns what it returned, -1 if it hung or died.
template <class Work>
int in_child(const Work& work) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(work());
  int status = 0;
  const bool ended = eventually(10s, [&] { return ::waitpid(pid, &status, WNOHANG) == pid; });
  if (!ended) ::kill(pid, SIGKILL), ::waitpid(pid, &status, 0);
  return ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// 0 if every call said forked, else which one did not.
int ask_all(Handles& handles, std::optional<Loan<std::string>>& loan, const Batch<std::string>& held) {
  int asked = 0;
  const auto said = [&](const Failure& failure) { return ++asked, failure == Errc::forked; };
  if (!said(handles.bus.maintain().error())) return asked;
  if (!said(handles.bus.maintenance_failure())) return asked;
  if (!said(Topic<std::string>::open(handles.bus, "topic").error())) return asked;
  if (!said(Topic<std::string>::open(handles.bus, "new").error())) return asked;
  if (!said(Producer<std::string>::open(handles.topic).error())) return asked;
  if (!said(Consumer<std::string>::open(handles.topic).error())) return asked;
  if (!said(handles.producer.send("x").error())) return asked;
  if (!said(handles.producer.send("x", {.visible = true}).error())) return asked;
  if (!said(handles.producer.loan(5).error())) return asked;
  if (!said(handles.producer.flush().error())) return asked;
  if (!said(handles.lender.send(std::move(*loan)).error())) return asked;
  if (!said(handles.consumer.poll(10s).error())) return asked;
  if (!said(handles.consumer.assign({{0}}).error())) return asked;
  if (!said(handles.consumer.seek_to_beginning().error())) return asked;
  if (!said(handles.consumer.seek_to_time({}).error())) return asked;
  if (!said(handles.consumer.end_offsets().error())) return asked;
  if (!said(handles.consumer.beginning_offsets().error())) return asked;
  if (!said(handles.consumer.offsets_for_times({}).error())) return asked;
  if (!said(Admin{handles.bus}.list_topics().error())) return asked;
  if (!said(Admin{handles.bus}.delete_topic("topic").error())) return asked;
  handles.consumer.wakeup();
  return held.size() == 1 ? 0 : 99;
}

}  // namespace

TEST_CASE("in a child every handle says forked and nothing hangs") {
  if (TOWPATH_TSAN) {
    MESSAGE("skipped: ThreadSanitizer does not follow a fork of a process with threads");
    return;
  }
  const TempDir dir;
  const auto path = (dir / "bus").string();
  std::optional<Handles> handles{std::in_place, path};
  handles->producer.send("held").value();
  std::optional<Batch<std::string>> held{handles->consumer.poll(stretched(5s))};
  std::optional<Loan<std::string>> loan{handles->lender.loan(4).value()};
  CHECK(in_child([&] { return ask_all(*handles, loan, *held); }) == 0);
  CHECK(in_child([&] {
    loan.reset(), held.reset(), handles.reset();  // every destructor
    return 7;
  }) == 7);
  CHECK(in_child([&] {  // a bus opened anew works in the child
    handles.reset();
    Handles own{path};
    own.producer.send("from the child").value();
    return read_texts(own.consumer, 1) == std::vector<std::string>{"held"} ? 5 : 6;
  }) == 5);
  // The parent goes on as if nothing had been.
  std::memcpy(loan->bytes().data(), "lent", 4);
  handles->lender.send(std::move(*loan)).value();
  handles->producer.send("after").value();
  CHECK(read_texts(handles->consumer, 3) == std::vector<std::string>{"lent", "from the child", "after"});
  handles->bus.maintain().value();
}
