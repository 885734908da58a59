// What each of the files that meet in one program does: sends a record through a bus of its own, and says which copy
// of the library it uses, by the address of something there is once per copy.
#pragma once

#include <towpath/towpath.hpp>

#include <chrono>

namespace {

int exchange(int number) {
  towpath::Bus bus;
  towpath::Topic<int> numbers{bus, "numbers"};
  towpath::Producer producer{numbers};
  towpath::Consumer consumer{numbers};
  producer.send(number).value();
  int received = 0;
  for (const auto& record : consumer.poll(std::chrono::seconds{5})) received = record.value();
  return received;
}

const void* library() { return &towpath::shm::RegionCache::instance(); }

}  // namespace
