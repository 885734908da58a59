// What each of the files that meet in one program does: sends a record through a bus of its own, and says which version
// of the library it was built with.
#pragma once

#include <towpath/towpath.hpp>

#include <chrono>
#include <string>

namespace {

template <class T>
std::string seen_as() {
  std::string name = __PRETTY_FUNCTION__;
  return name.substr(name.find("T = "));
}

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

std::string library() { return seen_as<towpath::Bus>(); }

}  // namespace
