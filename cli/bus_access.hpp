// How the verbs come to a bus and its topics, and what they say when they cannot. Include it in the files that use the
// library, which are few, for it takes long to compile.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <towpath/towpath.hpp>

#include "arguments.hpp"
#include "talk.hpp"
#include "text.hpp"

namespace towpath::cli {

inline Exit exit_of(Errc code) noexcept {
  switch (code) {
    case Errc::ok: return Exit::ok;
    case Errc::unknown_topic:
    case Errc::unknown_partition:
    case Errc::topic_deleted:
    case Errc::not_found: return Exit::not_found;
    case Errc::timed_out: return Exit::timeout;
    case Errc::invalid_name:
    case Errc::invalid_argument:
    case Errc::config_mismatch: return Exit::usage;
    default: return Exit::error;
  }
}

/// Does the detail say all that the code's own sentence says?
inline bool is_explained_by_detail(const Failure& failure) noexcept {
  switch (failure.code) {
    case Errc::invalid_argument:
    case Errc::invalid_name:
    case Errc::config_mismatch:
    case Errc::topic_deleted:
    case Errc::queue_full: return *failure.detail != '\0';
    default: return false;
  }
}

/// What went wrong, and with what.
inline Quit quit_with(const Failure& failure, std::string_view about) {
  if (is_explained_by_detail(failure))
    return Quit{exit_of(failure.code), fmt::format("{}: {}: {}", about, name(failure.code), failure.detail)};
  const bool says_more = message(failure.code) != failure.detail;
  return Quit{exit_of(failure.code), fmt::format("{}: {}", about, says_more ? failure : Failure{failure.code})};
}

/// The value, or a Quit that names `about`.
template <class T>
T must(Result<T> result, std::string_view about) {
  if (!result) throw quit_with(result.error(), about);
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

enum class Presence {
  visit,  ///< the bus is there; a short look or change, without maintaining it
  stay,   ///< the bus is there; takes its turn at maintaining it
  make,   ///< as stay, and the bus is made if it is missing
};

/// Is this folder something else than a bus? One that is empty, missing or half-made may become one.
inline bool is_foreign(const std::string& dir) {
  std::error_code failed;
  const auto is_ours = [](const std::string& name) {
    return name == "topics" || name == "members" || name == "meta.properties" || name.starts_with(".tmp-");
  };
  if (std::filesystem::exists(std::filesystem::path{dir} / "ctl", failed) || failed) return false;
  std::filesystem::directory_iterator entry{dir, failed};
  for (; !failed && entry != std::filesystem::directory_iterator{}; entry.increment(failed))
    if (!is_ours(entry->path().filename().string())) return true;
  return false;
}

inline Bus open_bus(const Common& common, Presence presence) {
  BusConfig config;
  config.create = presence == Presence::make;
  if (presence == Presence::visit) config.maintenance = MaintenanceMode::manual;
  if (presence == Presence::make && is_foreign(common.dir))
    throw Quit{Exit::error,
               fmt::format("{} holds other files and is no bus; name an empty or a new folder", common.dir)};
  auto bus = Bus::open(common.dir, config);
  if (bus) return *std::move(bus);
  if (bus.error() == Errc::not_found && presence != Presence::make)
    throw Quit{Exit::not_found, fmt::format("there is no bus in {}; name its folder with --dir or TOWPATH_DIR, or make "
                                            "one with `towpath topic create`",
                                            common.dir)};
  throw quit_with(bus.error(), common.dir);
}

/// That there is no such topic, with the name that was probably meant.
inline Quit no_such_topic(const Admin& admin, const Common& common, const std::string& name) {
  auto message = fmt::format("there is no topic '{}' in {}", name, common.dir);
  if (const auto names = admin.list_topics())
    if (const auto meant = nearest(name, *names)) message += fmt::format("; did you mean '{}'?", *meant);
  return Quit{Exit::not_found, message};
}

/// Throws Quit when there is no such topic.
inline TopicDescription describe(const Admin& admin, const Common& common, const std::string& name) {
  auto found = admin.describe_topic(name);
  if (found) return *std::move(found);
  if (found.error() == Errc::unknown_topic) throw no_such_topic(admin, common, name);
  throw quit_with(found.error(), fmt::format("topic '{}'", name));
}

/// A topic that exists.
inline Topic<Bytes> open_topic(Bus& bus, const Admin& admin, const Common& common, const std::string& name) {
  auto topic = Topic<Bytes>::open_existing(bus, name);
  if (topic.error() == Errc::unknown_topic) throw no_such_topic(admin, common, name);
  return must(std::move(topic), fmt::format("topic '{}'", name));
}

}  // namespace towpath::cli
