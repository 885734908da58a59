// Judges what the soak's ledger holds. A record is named by (life, sequence), a place by (partition, offset).
//   lost          acknowledged, not read by a reader that came past, and not counted as missed
//   doubled       one record at two places, or twice at one for one reader
//   inconsistent  two readers saw different records at one place, or one other than the producer was told
//   reordered     a reader saw a producer's later record before an earlier one of the same partition, or went backwards
//   invented      read, but never sent, given up, or unacknowledged although its producer went on after it
//   untold        an offset counted as missed that was not dropped
#pragma once

#include <algorithm>
#include <vector>

#include "soak_ledger.hpp"

namespace towpath::test {

struct SoakVerdict {
  std::uint64_t lost = 0;
  std::uint64_t doubled = 0;
  std::uint64_t inconsistent = 0;
  std::uint64_t reordered = 0;
  std::uint64_t invented = 0;
  std::uint64_t untold = 0;

  std::uint64_t acknowledged = 0;
  std::uint64_t read_by_the_first = 0;  // of the acknowledged ones
  std::uint64_t missed = 0;             // offsets, over all readers
  std::uint64_t cut_off = 0;            // in the log although the producer was killed before it could note that
  std::uint64_t given_up = 0;

  std::uint64_t violations() const { return lost + doubled + inconsistent + reordered + invented + untold; }
};

class SoakChecker {
 public:
  explicit SoakChecker(const Ledger& ledger) : ledger_{ledger} {
    std::uint64_t total = 1;
    for (unsigned id = 0; id < max_lives; ++id) {
      first_.push_back(total);
      total += begun(id);
    }
    place_of_.resize(total);
  }

  SoakVerdict judge() {
    for (unsigned s = 0; s < soak_streams; ++s) walk(s);
    for (unsigned id = 0; id < max_lives; ++id)
      for (std::uint64_t sequence = 1; sequence <= begun(id); ++sequence) judge_send(id, sequence);
    return verdict_;
  }

 private:
  enum Seen : std::uint8_t { nothing, record, missed };

  std::uint64_t begun(unsigned id) const { return ledger_.lives[id].begun.load(); }
  std::uint64_t told(unsigned id, std::uint64_t sequence) const { return ledger_.lives[id].places[sequence - 1].load(); }
  std::uint64_t& place_of(unsigned id, std::uint64_t sequence) { return place_of_[first_[id] + sequence - 1]; }

  Seen& seen(unsigned stream, unsigned partition, std::uint64_t offset) {
    auto& flags = seen_[stream][partition];
    if (offset >= flags.size()) flags.resize(std::max<std::size_t>(offset + 1, flags.size() * 2), nothing);
    return flags[offset];
  }

  void walk(unsigned s) {
    const Stream& stream = ledger_.streams[s];
    std::array<std::uint64_t, soak_partitions> next{};
    std::array<std::vector<std::uint32_t>, soak_partitions> last;
    for (auto& sequences : last) sequences.assign(max_lives, 0);
    for (std::uint64_t i = 0; i < stream.count.load(); ++i) {
      const Entry& entry = stream.entries[i];
      const unsigned partition = Place::partition(entry.place);
      const std::uint64_t offset = Place::offset(entry.place);
      if (offset < next[partition]) ++verdict_.reordered;
      if (entry.sequence == 0) {
        note_missed(s, partition, offset, entry.life);
        next[partition] = offset + entry.life;
        continue;
      }
      next[partition] = offset + 1;
      if (entry.life >= max_lives || entry.sequence > begun(entry.life)) {
        ++verdict_.invented;
        continue;
      }
      note_record(s, entry, last[partition][entry.life]);
    }
  }

  void note_missed(unsigned s, unsigned partition, std::uint64_t from, std::uint64_t count) {
    verdict_.missed += count;
    if (from + count > ledger_.log_start[partition].load()) ++verdict_.untold;
    for (std::uint64_t i = 0; i < count; ++i) seen(s, partition, from + i) = missed;
  }

  void note_record(unsigned s, const Entry& entry, std::uint32_t& last) {
    Seen& flag = seen(s, Place::partition(entry.place), Place::offset(entry.place));
    if (flag == record) ++verdict_.doubled;
    flag = record;
    if (entry.sequence <= last) ++verdict_.reordered;
    last = std::max(last, entry.sequence);
    std::uint64_t& known = place_of(entry.life, entry.sequence);
    if (known != 0 && known != entry.place) ++verdict_.doubled;
    known = entry.place;
    auto& names = name_at_[Place::partition(entry.place)];
    const std::uint64_t offset = Place::offset(entry.place);
    if (offset >= names.size()) names.resize(std::max<std::size_t>(offset + 1, names.size() * 2));
    const std::uint64_t name = std::uint64_t{entry.life} << 32 | entry.sequence;
    if (names[offset] != 0 && names[offset] != name) ++verdict_.inconsistent;
    names[offset] = name;
  }

  void judge_send(unsigned id, std::uint64_t sequence) {
    const std::uint64_t place = told(id, sequence);
    const std::uint64_t found = place_of(id, sequence);
    if (place == Place::given_up) {
      ++verdict_.given_up;
      verdict_.invented += found != 0;
    } else if (place == 0) {
      verdict_.invented += found != 0 && sequence != begun(id);
      verdict_.cut_off += found != 0;
    } else {
      ++verdict_.acknowledged;
      verdict_.inconsistent += found != 0 && found != place;
      for (unsigned s = 0; s < soak_streams; ++s) {
        const Seen flag = seen(s, Place::partition(place), Place::offset(place));
        verdict_.lost += flag == nothing;
        verdict_.read_by_the_first += s == 0 && flag == record;
      }
    }
  }

  const Ledger& ledger_;
  SoakVerdict verdict_;
  std::vector<std::uint64_t> first_;     // of each life, into place_of_
  std::vector<std::uint64_t> place_of_;  // where a record was read
  std::array<std::array<std::vector<Seen>, soak_partitions>, soak_streams> seen_;
  std::array<std::vector<std::uint64_t>, soak_partitions> name_at_;
};

}  // namespace towpath::test
