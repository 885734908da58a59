// `towpath hz`: how often records come, as `ros2 topic hz` says it.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "interrupt.hpp"
#include "output.hpp"
#include "source.hpp"
#include "text.hpp"

namespace towpath::cli {
namespace {

using Clock = std::chrono::steady_clock;

/// What came since the last line.
class Rate {
 public:
  void add(const RecordView& record) {
    ++records_;
    bytes_ += record.key.value_or("").size() + record.value.value_or("").size();
    const auto [last, is_first] = last_.try_emplace(record.partition, record.timestamp_ns);
    if (!is_first) add_gap(record.timestamp_ns - last->second);
    last->second = record.timestamp_ns;
  }

  /// One line about the last `elapsed`, and begins anew.
  std::string report(std::chrono::nanoseconds elapsed, bool json) {
    const double seconds = std::chrono::duration<double>{elapsed}.count();
    const double rate = static_cast<double>(records_) / seconds;
    const double volume = static_cast<double>(bytes_) / seconds;
    const auto ms = [](double ns) { return ns / 1e6; };
    const double mean = gaps_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(gaps_);
    std::string line;
    if (json) {
      line = fmt::format(R"({{"records_per_s":{:.3f},"bytes_per_s":{:.1f},"records":{},"gap_ms":)", rate, volume,
                         records_);
      line += gaps_ == 0 ? "null"
                         : fmt::format(R"({{"min":{:.6f},"mean":{:.6f},"max":{:.6f}}})", ms(static_cast<double>(min_)),
                                       ms(mean), ms(static_cast<double>(max_)));
      line += "}\n";
    } else {
      line = fmt::format("{:.1f} records/s  {}/s", rate, human_bytes(volume));
      if (gaps_ > 0)
        line += fmt::format("  gap min {:.3f} mean {:.3f} max {:.3f} ms", ms(static_cast<double>(min_)), ms(mean),
                            ms(static_cast<double>(max_)));
      line += "\n";
    }
    records_ = bytes_ = gaps_ = 0, sum_ = 0;
    return line;
  }

 private:
  void add_gap(std::int64_t gap) noexcept {
    min_ = gaps_ == 0 ? gap : std::min(min_, gap);
    max_ = gaps_ == 0 ? gap : std::max(max_, gap);
    sum_ += gap;
    ++gaps_;
  }

  std::uint64_t records_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t gaps_ = 0;
  std::int64_t min_ = 0;
  std::int64_t max_ = 0;
  std::int64_t sum_ = 0;
  std::map<std::int32_t, std::int64_t> last_;  // timestamp of the last record of each partition
};

}  // namespace

Exit run(const Common& common, const Hz& arguments) {
  constexpr std::chrono::nanoseconds period = std::chrono::seconds{1};
  const Interrupt interrupt{Interrupt::Output::watched};
  const Where from_now{Where::Kind::end, 0};
  Source source{common, {{arguments.topic}, arguments.partitions, from_now, false}, interrupt.token()};
  Output out;
  Rate rate;
  auto begin = Clock::now();
  for (std::int64_t lines = 0; lines < arguments.count.value_or(lines + 1) && !interrupt.requested();) {
    const auto left = begin + period - Clock::now();
    if (left.count() > 0) {
      source.next(left, [&](const RecordView& record) { return rate.add(record), true; });
      continue;
    }
    const auto now = Clock::now();
    out.buffer() += rate.report(now - begin, arguments.format == "json");
    out.flush();
    begin = now;
    ++lines;
  }
  return interrupt.by_signal() ? Exit::interrupted : Exit::ok;
}

}  // namespace towpath::cli
