// A user's program that takes an adapter too, by its own target.
#include <towpath/towpath.hpp>

#include <towpath/adapters/json.hpp>

#include <cstdio>

int main() {
  towpath::Bus bus;
  towpath::Topic<int, towpath::JsonSerde<int>> topic{bus, "numbers"};
  towpath::Producer producer{topic};
  towpath::Consumer consumer{topic};
  producer.send(42).value();
  for (const auto& record : consumer.poll(std::chrono::seconds{1})) std::printf("json: received %d\n", record.value());
}
