// Two processes and one folder. The value is written once, in the log, and read there.
// The program starts itself a second time for the other role, so that one command shows both.
#include <fmt/core.h>

#include <towpath/towpath.hpp>

#include "processes.hpp"
#include "topics.hpp"

constexpr std::uint32_t scans_sent = 5;

void fill(Scan& scan, std::uint32_t number) {
  scan.number = number;
  for (std::size_t i = 0; i < std::size(scan.ranges); ++i) scan.ranges[i] = static_cast<float>(number) + 0.25f;
}

void produce(const std::string& folder) {
  // [produce]
  towpath::Bus bus{folder};
  towpath::Topic scans{bus, lidar_front};
  towpath::Producer producer{scans};
  for (std::uint32_t number = 0; number < scans_sent; ++number) {
    auto loan = producer.loan().value();     // room in the log itself
    fill(*loan, number);                     // written once, in place
    producer.send(std::move(loan)).value();  // published; a loan that is never sent is skipped by readers
  }
  // [/produce]
}

void consume(const std::string& folder) {
  // [consume]
  towpath::Bus bus{folder};
  towpath::Topic scans{bus, lidar_front};
  towpath::Consumer consumer{scans, {.auto_offset_reset = towpath::OffsetReset::earliest}};
  for (std::uint32_t seen = 0; seen < scans_sent;) {
    auto batch = consumer.poll(2ms, towpath::wait::Spin{});  // or Backoff{}, the default, or Block{}
    for (const auto& record : batch) {
      const Scan& scan = record.value();  // in shared memory, not copied
      fmt::print("scan {}: first range {} m, last {} m\n", scan.number, scan.ranges[0], scan.ranges[1'023]);
      ++seen;
    }
    if (batch.missed() > 0) fmt::print("{} scans were gone before we came\n", batch.missed());
    if (auto failure = batch.error(); failure.code != towpath::Errc::ok) throw towpath::Error{failure};
  }
  // [/consume]
}

int main(int argc, char** argv) {
  if (argc == 2) return produce(argv[1]), 0;

  const TempFolder folder;
  const pid_t producer = start_again({folder.path()});
  consume(folder.path());
  fmt::print("the producer process {}\n", wait_for(producer));
}
