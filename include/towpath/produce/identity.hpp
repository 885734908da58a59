// A producer that has an id: one live Producer of a topic at a time, and the sequence number of its next record. The
// kernel frees the id when the process dies, so whoever takes it over finds everything the dead one sent.
// One thread.
#pragma once

#include <towpath/log/producer_state.hpp>
#include <towpath/produce/producer_config.hpp>
#include <towpath/topic/topic_files.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

class ProducerIdentity {
 public:
  /// Takes the id and reads what the topic has of it. Errors: busy (another live Producer has it), invalid_argument,
  /// and those of mapping.
  static Result<ProducerIdentity> take(TopicFiles& files, std::int64_t id) {
    if (id < 0 || id > ProducerConfig::max_id) return Failure{Errc::invalid_argument, "producer id: 0 to 2^40 - 1"};
    ProducerIdentity identity;
    auto lock = shm::LockDescriptor::open([&] { return files.directory().open("wait", shm::Access::read_write); });
    if (!lock) return lock.error();
    identity.lock_ = std::move(*lock);
    const auto byte = first_byte + static_cast<std::uint64_t>(id);
    if (auto taken = shm::try_lock(identity.lock_.get(), byte, shm::LockKind::write); !taken)
      return taken.error() == Errc::busy ? Failure{Errc::busy, "another live Producer has this id"} : taken.error();
    auto pins = files.open_pins_holder();
    if (!pins) return pins.error();
    identity.last_.id = id;
    for (std::int32_t i = 0; i < files.partitions(); ++i) {
      auto log = files.partition({i});
      if (!log) return log.error();
      const auto found = log::last_mark(**log, *pins, id);
      if (!found) return found.error();
      if (found->is_present() && (!identity.last() || log::is_after(found->sequence, *identity.last())))
        identity.last_ = *found;
    }
    identity.last_.epoch = 0;
    return identity;
  }

  /// The number of the last record that was sent, now or by whoever had the id before; none: the topic has none.
  [[nodiscard]] std::optional<std::int32_t> last() const noexcept {
    return last_.sequence < 0 ? std::nullopt : std::optional{last_.sequence};
  }

  /// The mark of the next record. Errors: duplicate_sequence (not above the last, or 2^30 or more above it),
  /// invalid_argument (a negative number).
  [[nodiscard]] Result<log::ProducerMark> next(std::optional<std::int32_t> wanted) const noexcept {
    if (!wanted) return last() ? last_.after(1) : log::ProducerMark{last_.id, 0, last_.epoch};
    if (*wanted < 0) return Failure{Errc::invalid_argument, "sequence: 0 to 2^31 - 1"};
    if (last() && !log::is_after(*wanted, *last()))
      return Failure{Errc::duplicate_sequence, "the log has it: not above last_sequence(), or 2^30 or more above it"};
    return log::ProducerMark{last_.id, *wanted, last_.epoch};
  }

  void sent(const log::ProducerMark& mark) noexcept { last_ = mark; }

 private:
  static constexpr std::uint64_t first_byte = std::uint64_t{1}
                                              << 40;  // of the topic's wait file, whose data end before

  shm::LockDescriptor lock_;
  log::ProducerMark last_;
};

}  // namespace towpath::inline TOWPATH_ABI::detail
