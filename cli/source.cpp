#include "source.hpp"

#include <poll.h>

#include <map>

#include "bus_access.hpp"

namespace towpath::cli {
namespace {

std::vector<PartitionId> ids_of(const std::vector<std::int32_t>& numbers) {
  std::vector<PartitionId> ids;
  for (const auto number : numbers) ids.push_back({number});
  return ids;
}

std::string place_of(std::string_view topic, PartitionId partition) { return fmt::format("{} [{}]", topic, partition); }

void fill(RecordView& view, const Record<Bytes>& record) {
  view.topic = record.topic();
  view.partition = record.partition().value;
  view.offset = record.offset().value;
  view.timestamp_ns = record.timestamp().time_since_epoch().count();
  view.is_append_time = record.timestamp_type() == TimestampType::log_append_time;
  view.key = record.has_key() ? std::optional{record.key().text()} : std::nullopt;
  view.value = record.is_tombstone() ? std::nullopt : std::optional{record.bytes().text()};
  view.headers.clear();
  for (const auto& header : record.headers())
    view.headers.push_back({header.key, header.is_null ? std::nullopt : std::optional{header.value.text()}});
}

}  // namespace

/// One topic and how far it was read.
class Reading {
 public:
  Reading(const Topic<Bytes>& topic, const SourceConfig& config) : consumer_{open(topic, config)} {
    seek(config.from);
    if (!config.until_end) return;
    for (const auto& [at, end] : must(consumer_.end_offsets(), topic.name())) ends_[at.partition.value] = end;
    for (const auto& [number, end] : std::map{ends_}) note_position({number});
  }

  [[nodiscard]] Consumer<Bytes>& consumer() noexcept { return consumer_; }
  [[nodiscard]] std::string_view name() const noexcept { return consumer_.topic().name(); }

  /// Whether a record was there when reading began.
  [[nodiscard]] bool is_wanted(PartitionId partition, Offset offset) const {
    const auto found = ends_.find(partition.value);
    return found != ends_.end() && offset < found->second;
  }
  [[nodiscard]] bool is_finished() const noexcept { return ends_.empty(); }

  /// Strikes out a partition that was read to its end, or `all` of them.
  void note_position(PartitionId partition) {
    const auto found = ends_.find(partition.value);
    if (found == ends_.end()) return;
    if (const auto position = consumer_.position(partition); !position || *position < found->second) return;
    talk("Reached end of topic {} [{}] at offset {}", name(), partition, found->second);
    ends_.erase(found);
  }
  /// Nothing was there to read, so all ends were reached: what is left are offsets without records.
  void note_idle() {
    for (const auto& [number, end] : ends_) talk("Reached end of topic {} [{}] at offset {}", name(), number, end);
    ends_.clear();
  }

 private:
  static Consumer<Bytes> open(const Topic<Bytes>& topic, const SourceConfig& config) {
    // If retention overtakes the reader it goes on at the first record there is, and says what it missed.
    const ConsumerConfig wanted{.auto_offset_reset = OffsetReset::earliest, .partitions = ids_of(config.partitions)};
    for (const auto& id : wanted.partitions)
      if (id.value >= topic.partitions())
        throw Quit{Exit::not_found,
                   fmt::format("topic '{}' has {} partition{}, and there is none of number {}", topic.name(),
                               topic.partitions(), plural(static_cast<std::uint64_t>(topic.partitions())), id)};
    return must(Consumer<Bytes>::open(topic, wanted), topic.name());
  }

  void seek(const Where& where) {
    switch (where.kind) {
      case Where::Kind::start: return;
      case Where::Kind::end: return must(consumer_.seek_to_end(), name());
      case Where::Kind::time:
        return must(consumer_.seek_to_time(Timestamp{std::chrono::nanoseconds{where.number}}), name());
      default: return seek_by_number(where);
    }
  }

  void seek_by_number(const Where& where) {
    const auto begins = must(consumer_.beginning_offsets(), name());
    const auto ends = must(consumer_.end_offsets(), name());
    for (std::size_t i = 0; i < ends.size(); ++i) {
      const auto& [at, end] = ends[i];
      Offset target{where.number};
      if (where.kind == Where::Kind::last)
        target = Offset{std::max(begins[i].offset.value, end.value - std::min(end.value, where.number))};
      if (target > end)
        talk("{}: offset {} is behind the end; reading from the end, {}", place_of(name(), at.partition), target, end);
      must(consumer_.seek(at, std::min(target, end)), name());
    }
  }

  Consumer<Bytes> consumer_;
  std::map<std::int32_t, Offset> ends_;  // not reached yet
};

class Source::Inside {
 public:
  Inside(const Common& common, const SourceConfig& config, std::stop_token stop)
      : bus_{open_bus(common, Presence::stay)}, until_end_{config.until_end}, stop_{std::move(stop)} {
    const Admin admin{bus_};
    for (const auto& name : config.topics) {
      if (std::count(config.topics.begin(), config.topics.end(), name) > 1)
        throw Quit{Exit::usage, fmt::format("topic '{}' is named twice", name)};
      readings_.push_back(std::make_unique<Reading>(open_topic(bus_, admin, common, name), config));
    }
    if (until_end_ || readings_.size() == 1) return;
    for (const auto& reading : readings_)
      handles_.push_back({must(reading->consumer().native_handle(), reading->name()), POLLIN, 0});
  }

  std::size_t next(std::chrono::nanoseconds patience, const Take& take) {
    if (until_end_) return one_round(take);
    if (readings_.size() == 1) return hand_over(*readings_[0], readings_[0]->consumer().poll(stop_, patience), take);
    const auto deadline = std::chrono::steady_clock::now() + patience;
    for (;;) {
      if (const auto count = one_round(take); count > 0) return count;
      const auto left = deadline - std::chrono::steady_clock::now();
      if (stop_.stop_requested() || left <= left.zero()) return 0;
      wait(left);
    }
  }

  [[nodiscard]] bool is_finished() const noexcept {
    return until_end_ &&
           std::all_of(readings_.begin(), readings_.end(), [](const auto& reading) { return reading->is_finished(); });
  }

 private:
  /// Until some topic may have something, or waiting shall end.
  void wait(std::chrono::nanoseconds patience) {
    const std::stop_callback on_stop{stop_, [this] { readings_.front()->consumer().wakeup(); }};
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(patience).count();
    ::poll(handles_.data(), handles_.size(), static_cast<int>(std::min<std::int64_t>(ms, 3'600'000)));
  }

  /// One look at each topic, until one has something.
  std::size_t one_round(const Take& take) {
    for (std::size_t i = 0; i < readings_.size(); ++i) {
      auto& reading = *readings_[turn_];
      turn_ = (turn_ + 1) % readings_.size();
      if (until_end_ && reading.is_finished()) continue;
      if (const auto count = hand_over(reading, reading.consumer().poll(Duration::zero()), take); count > 0)
        return count;
    }
    return 0;
  }

  std::size_t hand_over(Reading& reading, const Batch<Bytes>& batch, const Take& take) {
    if (batch.missed() > 0) talk("{}: {} records were gone before they could be read", reading.name(), batch.missed());
    if (batch.empty()) {
      if (const auto failure = batch.error(); failure.code != Errc::ok)
        throw quit_with(
            failure, fmt::format("{} at offset {}", place_of(reading.name(), batch.partition()), batch.error_offset()));
      if (until_end_) reading.note_idle();
      return 0;
    }
    std::size_t count = 0;
    for (const auto& record : batch) {
      if (until_end_ && !reading.is_wanted(record.partition(), record.offset())) continue;
      fill(view_, record);
      ++count;
      if (!take(view_)) return count;
    }
    if (until_end_) reading.note_position(batch.partition());
    return count;
  }

  Bus bus_;
  bool until_end_;
  std::stop_token stop_;
  std::vector<std::unique_ptr<Reading>> readings_;
  std::vector<pollfd> handles_;  // of several topics, to wait for all at once
  std::size_t turn_ = 0;
  RecordView view_;
};

Source::Source(const Common& common, const SourceConfig& config, std::stop_token stop)
    : inside_{std::make_unique<Inside>(common, config, std::move(stop))} {}
Source::~Source() = default;

std::size_t Source::next(std::chrono::nanoseconds patience, const Take& take) { return inside_->next(patience, take); }
bool Source::is_finished() const noexcept { return inside_->is_finished(); }

}  // namespace towpath::cli
