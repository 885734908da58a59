// A topic that loses nothing of what a named reader still needs: producers wait for it, or are told to do something
// else. Readers that nobody named stop nobody; they are told what they missed.
#include <fmt/core.h>

#include <thread>

#include <towpath/towpath.hpp>

using namespace std::chrono_literals;
using namespace towpath::literals;

int main() {
  towpath::Bus bus;
  // [readers]
  towpath::Topic<std::string> frames{bus,
                                     "frames",
                                     {.segment_bytes = 256_KiB,
                                      .retention = {.bytes = 1_MiB},
                                      .on_full = towpath::OnFull::block,  // or fail
                                      .readers = {"recorder"}}};
  towpath::Consumer recorder{frames, {.name = "recorder"}};  // one that comes later finds all of it, too
  towpath::Producer camera{frames, {.max_block = 20ms}};     // how long a send may wait for it; a minute by default
  // [/readers]
  towpath::Consumer viewer{frames};

  const std::string frame(50'000, '.');
  int sent = 0;
  auto last = camera.send(frame);
  for (; last; last = camera.send(frame)) ++sent;
  fmt::print("the recorder sleeps, so the topic is full: {}\n", towpath::name(last.error().code));

  std::jthread recording{[&] {
    int recorded = 0;
    while (recorded < sent + 100) {
      const auto batch = recorder.poll(1s);
      if (auto failure = batch.error(); failure.code != towpath::Errc::ok) throw towpath::Error{failure};
      recorded += static_cast<int>(batch.size());
    }
    fmt::print("recorded all of it: {}, missed {}\n", recorded == sent + 100, recorder.missed());
  }};
  towpath::Producer patient{frames};  // waits up to a minute
  for (int i = 0; i < 100; ++i) patient.send(frame).value();
  recording.join();

  int viewed = 0;
  for (;;) {
    const auto batch = viewer.poll(0ms);
    if (auto failure = batch.error(); failure.code != towpath::Errc::ok) throw towpath::Error{failure};
    if (batch.empty()) break;
    viewed += static_cast<int>(batch.size());
  }
  fmt::print("the viewer was too slow and stopped nobody; seen and missed are all there was: {}\n",
             viewed + static_cast<int>(viewer.missed()) == sent + 100);

  // A recorder that is gone for good is taken out of the list, or nobody could go on.
  towpath::Admin{bus}
      .alter_configs("frames", {{"towpath.readers", "recorder", towpath::ConfigOperation::subtract}})
      .value();
  for (int i = 0; i < 100; ++i) camera.send(frame).value();
  fmt::print("nobody is waited for any more\n");
}
