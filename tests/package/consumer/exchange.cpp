#include <towpath/towpath.hpp>

#include <chrono>

int exchange(int number) {
  using namespace std::chrono_literals;
  towpath::Bus bus;
  towpath::Topic<int> numbers{bus, "numbers"};
  towpath::Producer producer{numbers};
  towpath::Consumer consumer{numbers};
  producer.send(number).value();
  int received = 0;
  for (const auto& record : consumer.poll(5s)) received = record.value();
  return received;
}
