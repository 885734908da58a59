// What is known about the boat: the newest value of each sensor, and a few facts.
#pragma once

#include <map>

#include "parse.hpp"

class BoatState {
 public:
  void take(const towpath::Record<std::string>& record) {
    note(record, 0);
    ++sentences_;
    const auto line = record.value();
    const auto type = record.key().text();
    if (type == "IIVTG") widen(fastest_, decimal(field(line, 5)), std::greater<>{});   // knots over ground
    if (type == "IIDBT") widen(shallowest_, decimal(field(line, 3)), std::less<>{});   // metres below the transducer
    if (type == "IIVWT") widen(windiest_, decimal(field(line, 3)), std::greater<>{});  // knots of true wind
    if (type == "GPZDA") clock_ = field(line, 1);
  }

  void take(const towpath::Record<CanMessage>& record) {
    note(record, 1);
    ++messages_;
    const CanMessage& message = record.value();
    const auto word = [&](int at) { return message.data[at] | message.data[at + 1] << 8; };  // little-endian
    constexpr int absent = 0xFFFF;
    if (message.pgn == 128'259 && message.length >= 3 && word(1) != absent)  // speed through water, 0.01 m/s
      widen(can_fastest_, std::optional{word(1) * 0.01}, std::greater<>{});
    if (message.pgn == 128'267 && message.length >= 5 && word(3) != absent)  // depth, 0.01 m in two words
      widen(can_shallowest_, std::optional{(word(3) * 65'536.0 + word(1)) * 0.01}, std::less<>{});
  }

  [[nodiscard]] Report report() const {
    Report report{.records = sentences_ + messages_, .order = order_};
    for (const auto& [sensor, value] : newest_)
      report.state = towpath::crc32c(value, towpath::crc32c(sensor, report.state));
    return report;
  }

  void print() const {
    fmt::print("{} sentences and {} messages of {} sensors in the order of time\n", sentences_, messages_,
               newest_.size());
    fmt::print("  {} times from one recording to the other, {} times back in time\n", switches_, steps_back_);
    fmt::print(
        "  sentences: the clock says {} at the end; {:.2f} knots at most, {:.2f} m at least, wind to {:.2f} knots\n",
        clock_, fastest_, shallowest_, windiest_);
    fmt::print("  messages: {:.2f} m/s through the water at most, {:.2f} m deep at least\n", can_fastest_,
               can_shallowest_);
    fmt::print("  newest values {:08x}\n", report().state);
  }

 private:
  template <class Record>
  void note(const Record& record, int recording) {
    if (sentences_ + messages_ > 0) {
      switches_ += recording != recording_;
      steps_back_ += record.timestamp() < time_;
    }
    recording_ = recording;
    time_ = record.timestamp();
    order_ = towpath::crc32c(record.bytes(), towpath::crc32c(record.key(), order_));
    newest_.insert_or_assign(std::string{record.key().text()}, std::string{record.bytes().text()});
  }

  template <class Better>
  static void widen(double& extreme, std::optional<double> value, Better is_better) {
    if (value && (extreme < 0 || is_better(*value, extreme))) extreme = *value;
  }

  std::map<std::string, std::string> newest_;
  std::uint64_t sentences_ = 0, messages_ = 0, switches_ = 0, steps_back_ = 0;
  std::uint32_t order_ = 0;
  int recording_ = 0;
  towpath::Timestamp time_{};
  std::string clock_;
  double fastest_ = -1, shallowest_ = -1, windiest_ = -1, can_fastest_ = -1, can_shallowest_ = -1;  // -1: never seen
};
