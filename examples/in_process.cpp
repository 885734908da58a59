#include <fmt/core.h>

#include <towpath/towpath.hpp>

using namespace std::chrono_literals;

struct Pose {  // trivially copyable: stored and read without serializing
  double x, y, heading;
};

int main() {
  towpath::Bus bus;  // memory of this process
  towpath::Topic<Pose> poses{bus, "pose"};
  towpath::Producer producer{poses};
  towpath::Consumer consumer{poses};  // sees every record from now on

  producer.send({1.0, 2.0, 0.5}).value();  // value() throws towpath::Error if it failed
  producer.send({1.5, 2.5, 0.6}).value();

  for (const auto& record : consumer.poll(100ms))  // nothing in time: an empty batch, not an error
    fmt::print("pose {}: x={} y={}\n", record.offset(), record.value().x, record.value().y);
}
