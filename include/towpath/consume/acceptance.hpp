// Whether a record may be given to the user: its bytes are whole, and they are a value of his type.
// One thread; it looks into pinned segments only and trusts nothing that stands there.
#pragma once

#include <optional>
#include <vector>

#include <towpath/consume/unpacked_run.hpp>
#include <towpath/log/reader.hpp>
#include <towpath/serde/serde.hpp>

namespace towpath::inline TOWPATH_ABI::detail {

/// The values of a serde that decodes, in the order of their records; none for a tombstone.
template <class T, class S>
struct Decoded {
  std::vector<std::optional<T>> values;
};
/// A serde that reads in place needs none.
template <class T, InPlaceSerde<T> S>
struct Decoded<T, S> {};

/// Asked of each committed slot in turn, until it refuses one.
template <class T, class S>
class Acceptance {
 public:
  /// What is unpacked goes to `unpacked`, which is made when it is needed; `last` is the latest of an earlier poll.
  TOWPATH_HOT Acceptance(Decoded<T, S>& decoded, std::unique_ptr<UnpackedRun>& unpacked, log::SharedRecords& last,
                         const log::PartitionLog& log, bool check_crcs) noexcept
      : decoded_{&decoded}, unpacked_{&unpacked}, last_{&last}, log_{&log}, check_crcs_{check_crcs} {}

  /// May slot `n` be delivered? Keeps the value that it was decoded to.
  TOWPATH_HOT log::Verdict operator()(std::uint64_t slot, std::uint64_t n, const log::Segment& segment) {
    log::FrameView view;
    const std::byte* frame = segment.data + log::Slot::position(slot);
    if (!segment.contains(slot)) [[unlikely]]
      return refuse(damaged());
    if (!view.parse(frame, log::Slot::length(slot), log_->format().value_alignment)) [[unlikely]]
      return log::BatchFrame::is_one(frame) ? judge_packed(n, segment) : refuse(damaged());
    if (segment.checksummed && check_crcs_ && is_damaged(frame, slot, n, segment, view)) [[unlikely]]
      return refuse(damaged());
    return judge(view);
  }

  /// Why it refused.
  [[nodiscard]] const Failure& refusal() const noexcept { return refusal_; }

 private:
  static Failure damaged() noexcept { return {Errc::corrupt, "the record's bytes are damaged; seek past them"}; }

  static bool is_damaged(const std::byte* frame, std::uint64_t slot, std::uint64_t n, const log::Segment& segment,
                         const log::FrameView& view) noexcept {
    return log::frame_checksum(frame, log::Slot::length(slot), segment.uuid, segment.base + n) != view.header.crc32c;
  }

  TOWPATH_COLD log::Verdict refuse(const Failure& why) noexcept {
    refusal_ = why;
    return log::Verdict::refuse;
  }

  /// Slot `n` is of a Kafka record batch.
  TOWPATH_COLD log::Verdict judge_packed(std::uint64_t n, const log::Segment& segment) {
    if (!*unpacked_) *unpacked_ = std::make_unique<UnpackedRun>();
    const auto* records = (*unpacked_)->find(segment, n);
    if (!records) {
      if (!*last_ || !(*last_)->covers(segment, n)) {
        auto unpacked = log::unpack_records(segment, n, *log_, check_crcs_);
        if (!unpacked) return refuse(unpacked.error());
        *last_ = std::move(*unpacked);
      }
      records = last_->get();
      (*unpacked_)->add(*last_);
    }
    const auto frame = records->batch.frame(static_cast<std::int32_t>(n - records->head));
    if (!frame || records->batch.header().is_control()) return log::Verdict::skip;  // compacted away; Kafka's own
    log::FrameView view;
    if (!view.parse(frame->data, frame->length, log_->format().value_alignment)) return refuse(damaged());
    return judge(view);
  }

  TOWPATH_HOT log::Verdict judge(const log::FrameView& view) {
    if constexpr (InPlaceSerde<S, T>)
      return !view.has_value || S::accepts(view.value) ? log::Verdict::take : log::Verdict::refuse;
    else
      return keep(view) ? log::Verdict::take : log::Verdict::refuse;
  }

  bool keep(const log::FrameView& view) {
    std::optional<T> value;
    if (view.has_value) {
      auto decoded = decode(view.value);
      if (!decoded) {
        if (*decoded.error().detail) refusal_.detail = decoded.error().detail;
        return false;
      }
      value = std::move(*decoded);
    }
    decoded_->values.push_back(std::move(value));
    return true;
  }

  /// A decode that throws is one that fails: the records before it are still delivered, and the position stays before
  /// it.
  static Result<T> decode(Bytes bytes) {
#if TOWPATH_EXCEPTIONS
    try {
      return S::decode(bytes);
    } catch (const shm::ThreadCancelled&) {
      throw;  // the thread is being cancelled
    } catch (...) {
      return Failure{Errc::undecodable, "the serde's decode threw an exception; seek past the record"};
    }
#else
    return S::decode(bytes);
#endif
  }

  Decoded<T, S>* decoded_;
  std::unique_ptr<UnpackedRun>* unpacked_;
  log::SharedRecords* last_;
  const log::PartitionLog* log_;
  bool check_crcs_;
  Failure refusal_{Errc::undecodable, "the record is no value of this type; seek past it"};
};

}  // namespace towpath::inline TOWPATH_ABI::detail
