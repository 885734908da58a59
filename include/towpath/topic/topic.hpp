// A Topic<T> is a named log of values of one type, split into partitions. Naming it makes it, if it is missing:
//   towpath::Topic<Pose> poses{bus, "pose"};
//   towpath::Topic scans{bus, lidar_front};      // from a TopicSpec in a shared header
// A handle is cheap to copy and thread-safe. Two processes that disagree on T's name, size or alignment get
// type_mismatch when they open it; explain_type_mismatch<T>(bus, "pose") says what differs. Topic<Bytes> opens any
// topic, and a Producer of it writes any bytes there. A topic that was made for bytes, as by the towpath command, opens
// as any type; a record there that is no T is undecodable. The third argument is the kind of bus: another one (a Kafka
// cluster) specializes Topic, Producer and Consumer.
#pragma once

#include <towpath/serde/serde.hpp>
#include <towpath/topic/bus.hpp>
#include <towpath/topic/schema_check.hpp>

namespace towpath::inline TOWPATH_ABI {

namespace detail {

enum class WhenMissing { make, fail };

/// Opens a topic, or makes it when it is missing and may be made.
inline Result<std::shared_ptr<TopicFiles>> open_topic(Bus& bus, const std::string& name, const TopicConfig& config,
                                                      const Schema& schema, WhenMissing when_missing) {
  if (auto fine = bus.core()->usable(); !fine) return fine.error();
  auto files = bus.catalog().open(name);
  if (!files && files.error() == Errc::unknown_topic && !bus.is_read_only() && when_missing == WhenMissing::make) {
    const auto made = bus.catalog().create(name, config, schema);
    if (!made && made.error() != Errc::topic_exists) return made.error();  // somebody else was faster: fine
    files = bus.catalog().open(name);
  }
  if (!files) return files.error();
  const std::uint64_t wanted = config.record_alignment;
  if (wanted != 0 && wanted != (*files)->format().record_alignment &&
      std::max(wanted, schema.alignment) != (*files)->format().record_alignment)
    return Failure{Errc::config_mismatch, "record_alignment differs from the topic's; leave it 0 to take what it has"};
  if (auto fine = check_schema((*files)->stored(), schema); !fine) return fine.error();
  return files;
}

}  // namespace detail

template <class T, class S = Serde<T>, class BusType = Bus>
class Topic;

template <class T, class S>
class Topic<T, S, Bus> {
  static_assert(SerdeFor<S, T>, "the serde lacks size, encode or decode: see serde/serde.hpp");

 public:
  using value_type = T;
  using serde_type = S;

  /// Throws Error: invalid_name, invalid_argument, type_mismatch, config_mismatch, no_space, corrupt, newer_format,
  /// forked, too_many_members (making one takes a member line for a moment); unknown_topic in a read-only process.
  Topic(Bus& bus, std::string_view name, const TopicConfig& config = {}) : Topic{open(bus, name, config).value()} {}
  Topic(Bus& bus, const TopicSpec<T>& named) : Topic{bus, named.name, named.config} {}

  /// As the constructors, without exceptions.
  static Result<Topic> open(Bus& bus, std::string_view name, const TopicConfig& config = {}) {
    return open(bus, name, config, detail::WhenMissing::make);
  }
  static Result<Topic> open(Bus& bus, const TopicSpec<T>& named) { return open(bus, named.name, named.config); }
  /// As open(), but never makes the topic: unknown_topic if it is missing.
  static Result<Topic> open_existing(Bus& bus, std::string_view name) {
    return open(bus, name, {}, detail::WhenMissing::fail);
  }

  [[nodiscard]] std::string_view name() const noexcept { return files_->name(); }
  /// Now; it may grow. 0 in a child after fork().
  [[nodiscard]] std::int32_t partitions() const noexcept { return files_->core().is_mine() ? files_->partitions() : 0; }
  /// Whether the files allow this process to append.
  [[nodiscard]] bool is_writable() const noexcept { return files_->is_writable(); }

  /// For the stations behind.
  [[nodiscard]] const std::shared_ptr<detail::TopicFiles>& files() const noexcept { return files_; }
  [[nodiscard]] const Bus& bus() const noexcept { return bus_; }

 private:
  static Result<Topic> open(Bus& bus, std::string_view name, const TopicConfig& config,
                            detail::WhenMissing when_missing) {
    auto files = detail::open_topic(bus, std::string{name}, config, schema_of<T, S>(), when_missing);
    if (!files) return files.error();
    return Topic{std::move(*files), bus};
  }

  Topic(std::shared_ptr<detail::TopicFiles> files, const Bus& bus) : bus_{bus}, files_{std::move(files)} {}

  Bus bus_;  // a share of it: keeps the maintenance thread alive
  std::shared_ptr<detail::TopicFiles> files_;
};

template <class T>
Topic(Bus&, const TopicSpec<T>&) -> Topic<T, Serde<T>, Bus>;

/// What keeps Topic<T, S> from opening this topic, field by field, for people: "size: stored 24, asked 32; name: stored
/// Pose, asked Scan". Empty when nothing does. Makes no topic. Errors: unknown_topic, invalid_name, corrupt,
/// newer_format, forked.
template <class T, class S = Serde<T>>
Result<std::string> explain_type_mismatch(const Bus& bus, std::string_view name) {
  if (auto fine = bus.core()->usable(); !fine) return fine.error();
  const auto files = bus.catalog().open(std::string{name});
  if (!files) return files.error();
  return detail::explain_schema((*files)->stored(), schema_of<T, S>());
}

}  // namespace towpath::inline TOWPATH_ABI
