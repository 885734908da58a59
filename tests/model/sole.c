// Weak-memory model of a partition with one writer (docs/protocol.md, "One writer"): a commit that is a store, a sleeper that
// orders both sides by membarrier(2), the takeover after a death.
//   genmc --rc11|--imm --disable-estimation -- [-DCASE] [-DBUG_x | -DMO_X=memory_order_y] sole.c          (tools/prove runs all)
// Wake-up (the default): a writer commits two records, a reader registers, announces, calls membarrier, rechecks, sleeps.
//   Between entry and return of membarrier every running thread of a registered process executes a full barrier, from an
//   interrupt, so at one point of its program. Modelled so: at position IPI (0 to 6) of the writer's program a handler waits
//   for the request, fences, answers; the caller fences, asks, waits for the answer, fences. All positions are all behaviours.
//   -DIPI2=0..6: a second sleep with its own barrier. -DFENCED: membarrier is refused, the writer fences after every commit.
//   Checked: nobody sleeps for ever with a record in front of him; what is read has its payload.
//   Seeded: BUG_NO_BARRIER; -DFENCED BUG_FENCE_IF_MASK; at some positions BUG_RECHECK_FIRST BUG_REGISTER_LATE MO_COMMIT=relaxed.
// Takeover (-DTAKEOVER): writer 0 dies at step DIE (0 at once, 1 after the tail of slot 0, 2 after its commit, 3 after the tail of
//   slot 1, 4 it closes); writer 1 gets the lock when it is free, gives up what is open, goes on at the tail. A helper, and with
//   -DTWO_HELPERS another, gives up slots of the dead: the tail first, then the member lines. -DCLOSES: maintenance seals.
//   Checked: a slot that was seen decided stays so; what was acknowledged is committed, its own, and below the seal.
//   Seeded: BUG_FIRST_OPEN BUG_ASK_FIRST BUG_GRACE; -DCLOSES BUG_FORCED_SEAL.
// Not modelled: rolls, several partitions of a Producer (hazard.c has a line that goes between partitions), recycling.
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release
#define ACQ_REL memory_order_acq_rel
#define SEQ_CST memory_order_seq_cst
#ifndef MO_COMMIT
#define MO_COMMIT RELEASE
#endif
#ifndef MO_MASK
#define MO_MASK ACQUIRE
#endif
#ifndef MO_WAKE
#define MO_WAKE ACQUIRE
#endif
#ifndef MO_TAIL
#define MO_TAIL RELEASE
#endif
#ifndef IPI
#define IPI 0
#endif
#ifndef IPI2
#define IPI2 9
#endif
void __VERIFIER_assume(int);

static void fence(void) { atomic_thread_fence(SEQ_CST); }

#ifndef TAKEOVER

atomic_int slot[2], tail, mask, wake_word, requests, answers;
int payload[2], cursor, asleep_on;

static void interrupt(int position) {
#if !defined(BUG_NO_BARRIER) && !defined(FENCED)
  for (int k = 1; k <= 2; k++) {
    if (position != (k == 1 ? IPI : IPI2)) continue;
    __VERIFIER_assume(atomic_load_explicit(&requests, ACQUIRE) >= k);
    fence();
    atomic_store_explicit(&answers, k, RELEASE);
  }
#endif
}

static void barrier_everywhere(int k) {
  fence();
#if !defined(BUG_NO_BARRIER) && !defined(FENCED)
  atomic_store_explicit(&requests, k, RELEASE);
  __VERIFIER_assume(atomic_load_explicit(&answers, ACQUIRE) >= k);
  fence();
#endif
}

static void* writer(void* unused) {
  for (int n = 0; n < 2; n++) {
    interrupt(3 * n);
    payload[n] = 10 + n;
    atomic_store_explicit(&tail, n + 1, MO_TAIL);
    atomic_store_explicit(&slot[n], 1, MO_COMMIT);
#ifdef FENCED
#ifdef BUG_FENCE_IF_MASK
    if (atomic_load_explicit(&mask, MO_MASK))
#endif
      fence();
#endif
    interrupt(3 * n + 1);
    int seen = atomic_load_explicit(&mask, MO_MASK);
    interrupt(3 * n + 2);
    if (!seen) continue;
    int word = atomic_load_explicit(&wake_word, MO_WAKE);
    if (word & 1) atomic_compare_exchange_strong_explicit(&wake_word, &word, word + 1, ACQ_REL, RELAXED);
  }
  interrupt(6);
  return 0;
}

static void* sleeper(void* unused) {
#ifndef BUG_REGISTER_LATE
  atomic_fetch_or_explicit(&mask, 1, SEQ_CST);
#endif
  for (int k = 1; k <= (IPI2 == 9 ? 1 : 2); k++) {
    while (cursor < 2 && atomic_load_explicit(&slot[cursor], ACQUIRE)) {
      assert(payload[cursor] == 10 + cursor);
      cursor++;
    }
    int announced = atomic_fetch_or_explicit(&wake_word, 1, SEQ_CST) | 1;
#ifndef BUG_RECHECK_FIRST
    barrier_everywhere(k);
#endif
    int found = cursor < 2 && atomic_load_explicit(&slot[cursor], SEQ_CST);
#ifdef BUG_RECHECK_FIRST
    barrier_everywhere(k);
#endif
    if (found) continue;
#ifdef BUG_REGISTER_LATE
    atomic_fetch_or_explicit(&mask, 1, SEQ_CST);
#endif
    if (atomic_load_explicit(&wake_word, SEQ_CST) != announced) continue;
    asleep_on = announced;
    break;
  }
  // Interrupts for somebody else: a handler that still waits may go on.
  if (atomic_load_explicit(&requests, RELAXED) < 2) atomic_store_explicit(&requests, 2, RELEASE);
  return 0;
}

int main(void) {
  pthread_t threads[2];
  pthread_create(&threads[0], 0, writer, 0);
  pthread_create(&threads[1], 0, sleeper, 0);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);
  if (asleep_on && atomic_load(&wake_word) == asleep_on) assert(!(cursor < 2 && atomic_load(&slot[cursor])));
  return 0;
}

#else

#ifndef DIE
#define DIE 1
#endif
#define SLOTS 3
enum { empty, committed, aborted };

atomic_int slot[SLOTS], tail, locked, sealed, said[2], dead[2];
int payload[SLOTS], seen[SLOTS], acknowledged[SLOTS];

static void give_up(int n) {
  int expected = empty;
  atomic_compare_exchange_strong_explicit(&slot[n], &expected, aborted, SEQ_CST, ACQUIRE);
}

static void reserve(int id, int n) {
  payload[n] = id + 1;
  atomic_store_explicit(&said[id], 1, RELEASE);
  atomic_store_explicit(&tail, n + 1, MO_TAIL);
}

static void commit(int id, int n) {
  atomic_store_explicit(&slot[n], committed, MO_COMMIT);
  acknowledged[n] = id + 1;
}

// The kernel: whoever sees the lock free, or the line's owner dead, sees all that he stored.
static void* first_writer(void* unused) {
  if (DIE >= 1) reserve(0, 0);
  if (DIE >= 2) commit(0, 0);
  if (DIE >= 3) reserve(0, 1);
  if (DIE >= 4) {
    commit(0, 1);
    atomic_store_explicit(&said[0], 0, RELEASE);
  }
  atomic_store_explicit(&dead[0], 1, RELEASE);
  atomic_store_explicit(&locked, 0, RELEASE);
  return 0;
}

static int take_lock(int owner) {
  int nobody = 0;
  return atomic_compare_exchange_strong_explicit(&locked, &nobody, owner, ACQ_REL, RELAXED);
}

static void* second_writer(void* unused) {
  if (!take_lock(2)) return 0;  // busy
  int n = atomic_load_explicit(&tail, ACQUIRE);
#ifdef BUG_FIRST_OPEN
  for (int i = n - 1; i >= 0; i--)
    if (atomic_load_explicit(&slot[i], ACQUIRE) == empty) n = i;
#else
  for (int i = 0; i < n; i++) give_up(i);
#endif
  if (n < SLOTS && !atomic_load_explicit(&sealed, ACQUIRE)) {
    reserve(1, n);
    commit(1, n);
  }
  atomic_store_explicit(&said[1], 0, RELEASE);
  atomic_store_explicit(&locked, 0, RELEASE);
  return 0;
}

static int may_live(void) {
  for (int i = 0; i < 2; i++)
    if (atomic_load_explicit(&said[i], ACQUIRE) && !atomic_load_explicit(&dead[i], ACQUIRE)) return 1;
  return 0;
}

static void* helper(void* looks) {
#ifdef BUG_ASK_FIRST
  if (may_live()) return 0;
  int n = atomic_load_explicit(&tail, ACQUIRE);
#else
  int n = atomic_load_explicit(&tail, ACQUIRE);
#ifndef BUG_GRACE
  if (may_live()) return 0;
#endif
#endif
  for (int i = 0; i < n; i++) give_up(i);
  for (int i = 0; looks && i < SLOTS; i++)
    if (!(seen[i] = atomic_load_explicit(&slot[i], ACQUIRE))) break;
  return 0;
}

static void* closer(void* unused) {
#ifndef BUG_FORCED_SEAL
  if (!take_lock(3)) return 0;
#endif
  int n = atomic_load_explicit(&tail, ACQUIRE), open = 0;
#ifndef BUG_FORCED_SEAL
  for (int i = 0; i < n; i++) give_up(i);
#endif
  if (n) atomic_compare_exchange_strong_explicit(&sealed, &open, n + 1, SEQ_CST, ACQUIRE);
#ifndef BUG_FORCED_SEAL
  atomic_store_explicit(&locked, 0, RELEASE);
#endif
  return 0;
}

int main(void) {
  pthread_t threads[5];
  int count = 0;
  atomic_store_explicit(&locked, 1, RELAXED);
  pthread_create(&threads[count++], 0, first_writer, 0);
  pthread_create(&threads[count++], 0, second_writer, 0);
  pthread_create(&threads[count++], 0, helper, &seen);
#ifdef TWO_HELPERS
  pthread_create(&threads[count++], 0, helper, 0);
#endif
#ifdef CLOSES
  pthread_create(&threads[count++], 0, closer, 0);
#endif
  for (int i = 0; i < count; i++) pthread_join(threads[i], 0);
  int end = atomic_load(&sealed);
  for (int i = 0; i < SLOTS; i++) {
    int state = atomic_load(&slot[i]);
    assert(!seen[i] || seen[i] == state);
    assert(!acknowledged[i] || (state == committed && payload[i] == acknowledged[i]));
    assert(!acknowledged[i] || !end || i < end - 1);
  }
  return 0;
}

#endif
