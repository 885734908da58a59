// `towpath consume`: records become output.
#include <limits>

#include "interrupt.hpp"
#include "output.hpp"
#include "printer.hpp"
#include "source.hpp"
#include "talk.hpp"
#include "text.hpp"

namespace towpath::cli {
namespace {

using Clock = std::chrono::steady_clock;

Printer choose_printer(const Consume& arguments) {
  const std::string null = arguments.null_text ? "NULL" : "";
  if (arguments.json) return json_printer();
  if (arguments.format) return template_printer(*arguments.format, null);
  const auto between = arguments.key_delimiter ? parse_delimiter(*arguments.key_delimiter, "-K") : std::string{};
  return plain_printer(parse_delimiter(arguments.delimiter, "-D"), between, null);
}

/// What one run has printed and how long it waits.
class Session {
 public:
  Session(const Consume& arguments, const Interrupt& interrupt)
      : print_{choose_printer(arguments)},
        limit_{arguments.count.value_or(std::numeric_limits<std::int64_t>::max())},
        has_limit_{arguments.count.has_value()},
        interrupt_{interrupt} {
    if (arguments.timeout) timeout_ = parse_duration(*arguments.timeout, "--timeout");
    before_talking = [this] { out_.flush(); };
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() { before_talking = nullptr; }

  Exit run(Source& source) {
    auto last = Clock::now();
    while (count_ < limit_ && !interrupt_.requested() && !source.is_finished()) {
      const auto left = timeout_ ? *timeout_ - (Clock::now() - last) : std::chrono::hours{1};
      const auto came = source.next(std::max(left, std::chrono::nanoseconds{0}),
                                    [this](const RecordView& record) { return print(record); });
      out_.flush();
      if (came > 0)
        last = Clock::now();
      else if (timeout_ && Clock::now() - last >= *timeout_)
        return out_of_time();
    }
    return interrupt_.by_signal() ? Exit::interrupted : Exit::ok;
  }

 private:
  bool print(const RecordView& record) {
    print_(record, out_.buffer());
    out_.keep_small();
    return ++count_ < limit_;
  }

  /// To wait for the end of what comes is fine, if something came.
  [[nodiscard]] Exit out_of_time() const {
    if (!has_limit_ && count_ > 0) return Exit::ok;
    throw Quit{Exit::timeout, has_limit_ ? fmt::format("{} of {} records came in time", count_, limit_)
                                         : std::string{"no record came in time"}};
  }

  Printer print_;
  Output out_;
  std::optional<std::chrono::nanoseconds> timeout_;
  std::int64_t limit_;
  bool has_limit_;
  std::int64_t count_ = 0;
  const Interrupt& interrupt_;
};

}  // namespace

Exit run(const Common& common, const Consume& arguments) {
  const Where from = parse_where(arguments.from);
  const Interrupt interrupt{Interrupt::Output::watched};
  Session session{arguments, interrupt};
  Source source{common, {arguments.topics, arguments.partitions, from, arguments.until_end}, interrupt.token()};
  return session.run(source);
}

}  // namespace towpath::cli
