// A member is one Producer, Consumer or Maintenance: a line in the bus's member table and the lock byte that proves it
// lives. The kernel drops the lock when the process dies, so liveness is a fact and no pid is ever trusted.
// Claiming and asking are safe between threads and processes; a claimed line's hot words have one writer, their owner.
// After a crash the line stays taken in looks only: its lock is free, and the next claim takes it with a new
// incarnation.
#pragma once

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <string_view>

#include <towpath/shm/doorbell.hpp>
#include <towpath/shm/fork.hpp>
#include <towpath/shm/lock.hpp>
#include <towpath/shm/wake.hpp>

namespace towpath::inline TOWPATH_ABI::shm {

inline constexpr unsigned max_members = 1'024;
enum class MemberKind : std::uint32_t { none = 0, producer = 1, consumer = 2, maintenance = 3 };

/// Roles are lock bytes behind those of the lines.
enum class Role : std::uint64_t { maintenance = max_members, recovery, server };

struct MemberLine {
  // Written by the owner on its hot path; read by recyclers and helpers (protocol.md R4, HELP).
  Word64 inflight;     // 0 idle | 1<<63|base RESERVING | (k-1)<<52|offset+1 WRITING
  Word64 uid;          // the partition that inflight speaks of; changed only while inflight is 0
  Word64 batch;        // k of a batch of 2,048 slots or more; stored before inflight
  Word64 incarnation;  // + 1 at each claim: names in the file system carry it
  Word64 progress;     // + 1 at each poll; not beside the wake word, which committers read
  std::uint64_t reserved0[3];
  // Read by committers for each sleeping consumer: a line of its own.
  Word32 wake;    // shm/wake.hpp
  Word32 kind;    // MemberKind; 0 when released in order
  Word32 pid;     // for people only
  char name[28];  // for people only; zero-terminated
  Word32 bell;    // 1: the owner sleeps on its doorbell, 0: on `wake`; set before it is announced
  std::uint32_t reserved1[5];

  /// For recovery, when nobody lives. The incarnation stays: private names carry it.
  void clear() noexcept {
    for (auto* word : {&inflight, &uid, &batch, &progress}) word->store(0, relaxed);
    for (auto* word : {&wake, &kind, &pid, &bell}) word->store(0, relaxed);
    std::memset(name, 0, sizeof name);
  }
};
static_assert(sizeof(MemberLine) == 128 && std::is_standard_layout_v<MemberLine>);
static_assert(offsetof(MemberLine, incarnation) == 24 && offsetof(MemberLine, wake) == 64);
static_assert(offsetof(MemberLine, progress) == 32 && offsetof(MemberLine, name) == 76);
static_assert(offsetof(MemberLine, bell) == 104);

class Members;

/// A claimed line, given back when this goes out of scope.
class Member {
 public:
  Member() noexcept = default;
  Member(Member&& other) noexcept : table_{std::exchange(other.table_, nullptr)}, index_{other.index_} {}
  Member& operator=(Member&& other) noexcept {
    if (this != &other) {
      leave();
      table_ = std::exchange(other.table_, nullptr), index_ = other.index_;
    }
    return *this;
  }
  ~Member() { leave(); }

  explicit operator bool() const noexcept { return table_ != nullptr; }
  [[nodiscard]] unsigned index() const noexcept { return index_; }
  [[nodiscard]] MemberLine& line() const noexcept;
  [[nodiscard]] Members& table() const noexcept { return *table_; }

 private:
  friend class Members;
  Member(Members& table, unsigned index) noexcept : table_{&table}, index_{index} {}
  void leave() noexcept;

  Members* table_ = nullptr;
  unsigned index_ = 0;
};

class Members {
 public:
  /// `lines` is the mapped table of max_members lines; `holder` and `asker` are two descriptors of the file `members`.
  /// `used` is the table's high-water mark: lines from there on were never claimed. `bells` is where doorbells hang.
  Members(MemberLine* lines, Word32& used, LockDescriptor holder, FileDescriptor asker, Directory* bells = nullptr)
      : lines_{lines}, used_{&used}, holder_{std::move(holder)}, asker_{std::move(asker)}, ringer_{bells} {}

  /// Takes a free line. A few microseconds; up to a millisecond when most are taken. Errors: too_many_members, forked,
  /// permission_denied (the holder's mode).
  Result<Member> claim(MemberKind kind, std::string_view name) {
    if (in_child()) return Failure{Errc::forked, "member table"};
    const std::lock_guard hold{mutex_};
    const unsigned known = used();
    refused_ = {Errc::busy, ""};
    // Lines of the dead before new ones: scans walk all that were ever used. A few tries, for most may live.
    const auto start = static_cast<unsigned>(random_bits() % std::max(known, 1u));
    for (unsigned i = 0; i < known; ++i)
      if (lines_[i].kind.load(relaxed) == 0 && try_claim(i, kind, name)) return Member{*this, i};
    for (unsigned tries = 0; tries < std::min(known, 32u); ++tries)
      if (const unsigned i = (start + tries) % known; try_claim(i, kind, name)) return Member{*this, i};
    for (unsigned i = known; i < max_members; ++i)
      if (try_claim(i, kind, name)) return Member{*this, i};
    for (unsigned i = 0; i < max_members; ++i)
      if (try_claim(i, kind, name)) return Member{*this, i};
    if (refused_.code != Errc::busy) return refused_;
    return Failure{Errc::too_many_members, "all 1,024 lines of the member table are taken"};
  }

  /// Whether the line's owner lives. Asks the kernel: 0.5 us. May say yes for one that is just being released.
  [[nodiscard]] bool is_alive(unsigned index) const noexcept { return is_locked(asker_, index); }

  /// Wakes the owner of a line if it sleeps or is about to, wherever it does. Call after the seq_cst compare-and-swap
  /// that made something ready.
  TOWPATH_HOT void wake(unsigned index) noexcept {
    if (take_wake(lines_[index].wake)) wake_taken(index);
  }

  /// A private name says whose it is, "<line>.<incarnation>" at `tag`: is he gone? Unlinking what is his is safe then.
  [[nodiscard]] bool is_left_behind(const char* tag) const noexcept {
    unsigned index = 0;
    unsigned long long incarnation = 0;
    if (std::sscanf(tag, "%u.%llu", &index, &incarnation) != 2 || index >= max_members) return false;
    return lines_[index].incarnation.load(acquire) != incarnation || !is_alive(index);
  }

  /// Errors: busy (also when this process has it), forked.
  Result<void> take_role(Role role) {
    if (in_child()) return Failure{Errc::forked, "role"};
    const std::lock_guard hold{mutex_};
    const auto bit = static_cast<std::size_t>(role);
    if (mine_[bit]) return Failure{Errc::busy, "this process has the role"};
    auto taken = try_lock(holder_.get(), bit, LockKind::write);
    if (taken) mine_[bit] = true;
    return taken;
  }
  void drop_role(Role role) noexcept {
    if (in_child()) return;
    const std::lock_guard hold{mutex_};
    const auto bit = static_cast<std::size_t>(role);
    if (mine_[bit]) unlock(holder_.get(), bit);
    mine_[bit] = false;
  }

  [[nodiscard]] MemberLine& line(unsigned index) const noexcept { return lines_[index]; }

  /// Lines from here on were never claimed: scans may stop. Read it where the lines are read, after what orders them.
  [[nodiscard]] unsigned used() const noexcept { return std::min(used_->load(acquire), max_members); }

 private:
  friend class Member;

  bool try_claim(unsigned i, MemberKind kind, std::string_view name) noexcept {
    if (mine_[i]) return false;
    if (const auto locked = try_lock(holder_.get(), i, LockKind::write); !locked) {
      refused_ = locked.error();
      return false;
    }
    mine_[i] = true;
    used_->raise_to(i + 1, acq_rel);  // before the member's first fetch_add on a tail, like its hazard words
    enter(lines_[i], kind, name);
    return true;
  }

  TOWPATH_COLD void wake_taken(unsigned index) noexcept {
    const MemberLine& line = lines_[index];
    // Where the sleeper is that was announced, or later: the compare-and-swap acquired its announcement.
    if (line.bell.load(relaxed) == 0) return end_sleep(line.wake);
    const std::uint64_t incarnation = line.incarnation.load(relaxed);
    if (ringer_.ring(index, incarnation) && !is_alive(index)) ringer_.remove(index, incarnation);
  }

  static void enter(MemberLine& line, MemberKind kind, std::string_view name) noexcept {
    line.incarnation.fetch_add(1, acq_rel);  // what the dead one left on disk is now sweepable
    line.inflight.store(0, release);  // pairs with the scans of recyclers and helpers: the dead one reserves nothing
    line.uid.store(0, release);       // as inflight
    line.batch.store(0, release);
    line.progress.store(0, relaxed);
    line.bell.store(0, relaxed);  // whoever is announced next sleeps on the word, until it says otherwise
    line.pid.store(static_cast<std::uint32_t>(::getpid()), relaxed);
    const auto length = std::min(name.size(), sizeof line.name - 1);
    std::memset(line.name, 0, sizeof line.name);
    std::memcpy(line.name, name.data(), length);
    line.kind.store(static_cast<std::uint32_t>(kind), release);  // only a hint to claim() and to wakers of all
  }

  /// After a fork the table is not mapped here, the lock descriptor is closed and the mutex may be held for ever.
  [[nodiscard]] bool in_child() const noexcept { return ForkGuard::instance().generation() != generation_; }

  void give_back(unsigned index) noexcept {
    if (in_child()) return;
    const std::lock_guard hold{mutex_};
    lines_[index].inflight.store(0, release);  // pairs with the scans of recyclers and helpers
    lines_[index].kind.store(0, release);
    mine_[index] = false;
    unlock(holder_.get(), index);
  }

  MemberLine* lines_;
  Word32* used_;
  LockDescriptor holder_;  // its locks say that we live
  FileDescriptor asker_;   // never holds any: sees also the locks of this process
  std::mutex mutex_;
  std::bitset<max_members + 3> mine_;
  Ringer ringer_;
  Failure refused_;  // why the last line could not be had
  std::uint64_t generation_ = ForkGuard::instance().generation();
};

inline MemberLine& Member::line() const noexcept { return table_->line(index_); }
inline void Member::leave() noexcept {
  if (table_) std::exchange(table_, nullptr)->give_back(index_);
}

}  // namespace towpath::inline TOWPATH_ABI::shm
