// The table at the end, and what it is made of.
#include <fmt/core.h>
#include <unistd.h>

#include <bit>

#include "page.hpp"

namespace demo {

void Histogram::add(std::int64_t nanoseconds) noexcept {
  const auto value = static_cast<std::uint64_t>(nanoseconds < 0 ? 0 : nanoseconds);
  const int octave = value < 16 ? 0 : static_cast<int>(std::bit_width(value)) - 4;
  const auto step = static_cast<std::size_t>(value >> (octave > 0 ? octave - 1 : 0)) & 15u;
  ++counts[static_cast<std::size_t>(octave) * 16 + step];
  ++total;
  if (nanoseconds > largest_ns) largest_ns = nanoseconds;
}

double Histogram::percentile(double share) const noexcept {
  const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(total));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < std::size(counts); ++i) {
    seen += counts[i];
    if (seen <= wanted) continue;
    const std::size_t octave = i / 16;
    const auto step = static_cast<double>(i % 16);
    const double value = octave == 0 ? step : (16.0 + step) * static_cast<double>(std::uint64_t{1} << (octave - 1));
    return std::min(value, static_cast<double>(largest_ns));
  }
  return static_cast<double>(largest_ns);
}

std::string duration(double nanoseconds) {
  if (nanoseconds < 1e3) return fmt::format("{:.0f} ns", nanoseconds);
  if (nanoseconds < 1e6) return fmt::format("{:.1f} us", nanoseconds / 1e3);
  return fmt::format("{:.1f} ms", nanoseconds / 1e6);
}

namespace {

std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), 1, ',');
  return text;
}

std::uint64_t print_sent(const Page& page) {
  std::uint64_t all = 0;
  fmt::print("\nWhat was sent{:>53}{:>14}\n", "records", "per second");
  for (const Sent& sent : page.sent) {
    if (sent.what[0] == '\0') continue;
    std::uint64_t records = 0;
    for (std::uint32_t i = 0; i < sent.stream_count.load(); ++i) records += sent.streams[i].acknowledged.load();
    const auto seconds = static_cast<double>(sent.last_ns.load() - sent.first_ns.load()) / 1e9;
    const auto rate = seconds > 0 ? static_cast<double>(records) / seconds : 0.0;
    fmt::print("  {:<54}{:>10}{:>14}{}\n", sent.what, grouped(records), grouped(static_cast<std::uint64_t>(rate)),
               sent.is_cut.load()      ? "  (not all of them)"
               : sent.is_slowed.load() ? "  (slowed down to fit the memory)"
                                       : "");
    all += records;
  }
  return all;
}

void print_latency(const char* what, const Histogram& times) {
  if (times.total == 0) return;
  fmt::print("  {:<26}", what);
  for (const double share : {0.5, 0.9, 0.99, 0.999}) fmt::print("{:>12}", duration(times.percentile(share)));
  fmt::print("{:>12}\n", duration(static_cast<double>(times.largest_ns)));
}

void print_row(const char* what, const std::string& a, const std::string& b) {
  fmt::print("  {:<48}{:>16}{:>14}\n", what, a, b);
}

void print_seen(const Page& page, std::int64_t killed_ns) {
  const Seen& a = page.seen[live];
  const Seen& b = page.seen[late];
  fmt::print("\nWhat readers saw{:>50}{:>14}\n", "live reader", "late joiner");
  const auto row = [&](const char* what, std::uint64_t Seen::*count) {
    print_row(what, grouped(a.*count), grouped(b.*count));
  };
  row("samples", &Seen::samples);
  row("lines", &Seen::lines);
  row("lost", &Seen::lost);
  row("seen twice", &Seen::doubled);
  row("out of order", &Seen::reordered);
  row("damaged", &Seen::damaged);
  row("never sent", &Seen::unknown);
  const auto pause = [&](const Seen& seen) {
    return duration(static_cast<double>(seen.resumed_ns.load() - killed_ns));
  };
  print_row("went on after the kill within", pause(a), pause(b));
  print_row("history read when it joined, samples", "-", grouped(b.history_records));
  print_row("  in", "-", duration(static_cast<double>(b.history_ns)));

  fmt::print("\nFrom send to read, live reader      half       90 %        99 %      99.9 %     longest\n");
  print_latency("samples", a.sample_latency);
  print_latency("lines", a.line_latency);
  fmt::print(
      "  The processes shared {} cores, and two of them sampled without a pause; tools/bench measures undisturbed.\n",
      ::sysconf(_SC_NPROCESSORS_ONLN));
}

}  // namespace

bool report(const Page& page, std::int64_t killed_ns) {
  const std::uint64_t acknowledged = print_sent(page);
  print_seen(page, killed_ns);
  std::uint64_t faults = 0;
  for (const Seen& seen : page.seen) faults += seen.lost + seen.doubled + seen.reordered + seen.damaged + seen.unknown;
  if (faults == 0)
    fmt::print(
        "\nVerified by both readers: each of the {} acknowledged records was read exactly once, whole, and in "
        "order per producer and key.\n",
        grouped(acknowledged));
  else
    fmt::print("\nFAILED: {} faults; see the table.\n", faults);
  return faults == 0;
}

}  // namespace demo
