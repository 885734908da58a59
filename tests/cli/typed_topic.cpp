// Makes the topic "pose", of a struct, in the bus that is named, and sends one record, as a robot's program does.
#include <cstdio>

#include <towpath/towpath.hpp>

struct Pose {
  double x, y, heading;
};

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  towpath::Bus bus{argv[1]};
  towpath::Topic<Pose> poses{bus, "pose"};
  towpath::Producer producer{poses};
  producer.send({1, 2, 3}).value();
}
