// Checks what a reader sees against what producers say they sent: each sequence once, in order per producer and key.
#pragma once

#include <cstring>
#include <set>
#include <unordered_map>
#include <vector>

#include "records.hpp"

namespace demo {

class Tally {
 public:
  Tally(const Page& page, Seen& seen) : page_{page}, seen_{seen} {}

  /// One record, as it came. `is_whole` is false when its checksum is wrong.
  void see(const Origin& origin, towpath::Bytes key, bool is_whole) {
    if (!is_whole) return void(++seen_.damaged);
    if (!is_known(origin, key)) return void(++seen_.unknown);
    auto& streams = streams_[origin.producer];
    if (origin.stream >= streams.size()) streams.resize(origin.stream + 1);
    State& state = streams[origin.stream];
    if (origin.sequence >= state.next) {
      for (; state.next < origin.sequence; ++state.next) state.missing.insert(state.next);
      ++state.next;
    } else if (state.missing.erase(origin.sequence) > 0) {
      ++seen_.reordered;
    } else {
      ++seen_.doubled;
    }
  }

  /// Everything was read: what is still missing is lost.
  void finish() {
    for (std::uint32_t producer = 0; producer < producer_count; ++producer) {
      const Sent& sent = page_.sent[producer];
      const std::uint32_t count = sent.stream_count.load(std::memory_order_acquire);
      streams_[producer].resize(std::max<std::size_t>(streams_[producer].size(), count));
      for (std::uint32_t i = 0; i < count; ++i)
        finish(streams_[producer][i], sent.streams[i].acknowledged.load(std::memory_order_acquire), producer);
    }
  }

 private:
  struct State {
    std::uint64_t next = 1;
    std::set<std::uint64_t> missing;
  };

  [[nodiscard]] bool is_known(const Origin& origin, towpath::Bytes key) const {
    if (origin.producer >= producer_count || origin.sequence == 0) return false;
    const Sent& sent = page_.sent[origin.producer];
    if (origin.stream >= sent.stream_count.load(std::memory_order_acquire)) return false;
    return key.text() == sent.streams[origin.stream].key;
  }

  /// A producer that was killed may have sent one record more than it could note; nobody else may.
  void finish(const State& state, std::uint64_t acknowledged, std::uint32_t producer) {
    const std::uint64_t last = state.next - 1;
    const std::uint64_t allowed = acknowledged + (producer == cores ? 1 : 0);
    seen_.lost += state.missing.size() + (acknowledged > last ? acknowledged - last : 0);
    if (last > allowed) seen_.unknown += last - allowed;
  }

  const Page& page_;
  Seen& seen_;
  std::vector<State> streams_[producer_count];
};

/// Spoils one record on its way to the tally, on request: the proof that the tally can fail.
class Spoiler {
 public:
  Spoiler(Tally& tally, const std::string& fault) : tally_{tally}, fault_{fault} {}

  void see(const Origin& origin, towpath::Bytes key, bool is_whole) {
    if (fault_.empty() || ++count_ < 1'000 || is_done_) return tally_.see(origin, key, is_whole);
    if (fault_ == "reorder") return swap_with_next(origin, key, is_whole);
    is_done_ = true;
    if (fault_ == "lose") return;
    tally_.see(origin, key, is_whole && fault_ != "damage");
    if (fault_ == "double") tally_.see(origin, key, is_whole);
  }

 private:
  /// Holds one record back until the next one of its stream has passed.
  void swap_with_next(const Origin& origin, towpath::Bytes key, bool is_whole) {
    if (held_.sequence == 0) return void(held_ = origin);
    tally_.see(origin, key, is_whole);
    if (origin.producer != held_.producer || origin.stream != held_.stream) return;
    tally_.see(held_, key, true);
    is_done_ = true;
  }

  Tally& tally_;
  std::string fault_;
  std::uint64_t count_ = 0;
  bool is_done_ = false;
  Origin held_;
};

}  // namespace demo
