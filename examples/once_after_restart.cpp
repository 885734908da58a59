// A producer that is killed and started again neither loses nor doubles: it has an id, its records carry where in the
// source they come from, and the log itself says how far it came.
#include <fmt/core.h>

#include <csignal>

#include <towpath/towpath.hpp>

#include "processes.hpp"

using namespace std::chrono_literals;

/// What is to be sent: a file, a device's memory, a table. Whoever starts again can read it again from any place.
const std::vector<std::string> source{"cast off", "set the jib", "tack", "gybe", "reef", "drop the sails", "moor"};

void produce(const std::string& folder) {
  towpath::Bus bus{folder};
  towpath::Topic<std::string> log{bus, "ship.log"};
  // [once]
  towpath::Producer producer{log, {.id = 7}};  // mine, whenever I am started; a second one at a time is `busy`
  const auto last = producer.last_sequence().value();
  for (std::int32_t position = last ? *last + 1 : 0; position < static_cast<std::int32_t>(source.size()); ++position) {
    producer.send(source[static_cast<std::size_t>(position)], {.sequence = position}).value();
    // [/once]
    if (!last && position == 2) std::raise(SIGKILL);  // before it could note that this one was sent
  }
}

int main(int argc, char** argv) {
  if (argc == 2) return produce(argv[1]), 0;

  const TempFolder folder;
  fmt::print("the producer {}\n", wait_for(start_again({folder.path()})));
  fmt::print("started again, it {}\n", wait_for(start_again({folder.path()})));
  fmt::print("once more, with nothing left to do, it {}\n", wait_for(start_again({folder.path()})));

  towpath::Bus bus{folder.path()};
  towpath::Topic<std::string> log{bus, "ship.log"};
  towpath::Consumer consumer{log, {.auto_offset_reset = towpath::OffsetReset::earliest, .consumer_timeout = 100ms}};
  for (const auto& record : consumer)
    fmt::print("{} by producer {}: {}\n", record.producer().sequence, record.producer().id, record.value());

  // Who does not know whether a record got through sends it again: the log knows.
  towpath::Producer unsure{log, {.id = 7}};
  fmt::print("sent again: {}\n", towpath::name(unsure.send(source[2], {.sequence = 2}).error().code));
}
