// Weak-memory model of the waiter mask: one wake word per consumer, one mask and its lines per partition (docs/protocol.md WAIT, WAKE).
//   genmc --rc11|--imm --disable-estimation -- [-DCASE] [-DBUG_x | -DMO_X=memory_order_y] waiters.c       (tools/prove runs all)
// Modelled: committers (a CAS on a slot or on fin, then mask, line and wake word); consumers that register when first blocked (line by
// CAS, then fetch_or, always), announce, recheck every partition, and sleep; leaving, taking over a dead member's line, the sweeper,
// the overflow bit. A line holds {member, incarnation} as one number; the index that lives again is waiters.pml's.
// Not modelled: segments and payload (core.c); a committer killed between commit and wake: the time-out is for that.
// A sleeper sleeps for ever iff its wake word never leaves the announced value (see core.c).
// Checked: nobody sleeps for ever with something resolved in front of him.
// Cases:  (none) one consumer on two partitions; -DPARTITIONS=1 -DCONSUMERS=2; -DSEAL; -DCASE_LEAVE consumer 1 leaves meanwhile;
//         -DCASE_REUSE consumer 1 takes the line that 0 gives up; -DCASE_DEAD ... of a killed consumer; -DCASE_DEAD -DSWEEP ... while
//         maintenance sweeps it; -DCASE_OVERFLOW both behind the overflow bit, consumer 1 leaves
// Seeded: MO_COMMIT MO_REGISTER MO_ANNOUNCE (acq_rel) MO_MASK MO_WAKE MO_RECHECK (acquire) BUG_REGISTER_LATE BUG_ONE_PARTITION;
//         -DCASE_DEAD or -DCASE_REUSE BUG_SKIP_OR; -DCASE_REUSE BUG_FREE_FIRST; -DCASE_DEAD -DSWEEP BUG_SWEEP_UNOWNED;
//         -DCASE_OVERFLOW BUG_OVERFLOW_CLEARED; under IMM only: -DCASE_REUSE MO_LEAVE and MO_FREE both relaxed
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release
#define ACQ_REL memory_order_acq_rel
#define SEQ_CST memory_order_seq_cst
#ifndef MO_COMMIT
#define MO_COMMIT SEQ_CST
#endif
#ifndef MO_MASK
#define MO_MASK SEQ_CST
#endif
#ifndef MO_WAKE
#define MO_WAKE SEQ_CST
#endif
#ifndef MO_REGISTER
#define MO_REGISTER SEQ_CST
#endif
#ifndef MO_ANNOUNCE
#define MO_ANNOUNCE SEQ_CST
#endif
#ifndef MO_RECHECK
#define MO_RECHECK SEQ_CST
#endif
#ifndef MO_LEAVE
#define MO_LEAVE ACQ_REL
#endif
#ifndef MO_FREE
#define MO_FREE RELEASE
#endif
#if defined(CASE_LEAVE) || defined(CASE_REUSE) || defined(CASE_DEAD) || defined(CASE_OVERFLOW)
#define PARTITIONS 1
#define CONSUMERS 2
#endif
#ifndef PARTITIONS
#define PARTITIONS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 1
#endif
#define ROUNDS 2
enum { overflow_bit = 2, sweeping = 9 };

atomic_int slot[PARTITIONS], fin[PARTITIONS], mask[PARTITIONS], line[PARTITIONS][2];  // a line: 0 free, sweeping, member + 1
atomic_int wake_word[CONSUMERS];
int done[CONSUMERS][PARTITIONS], announced[CONSUMERS], asleep[CONSUMERS];

static void wake(int consumer) {
  int word = atomic_load_explicit(&wake_word[consumer], MO_WAKE);
  if (word & 1) atomic_compare_exchange_strong_explicit(&wake_word[consumer], &word, word + 1, ACQ_REL, RELAXED);
}

static void* committer(void* argument) {
  int p = (int)(long)argument, expected = 0;
  atomic_int* word = &slot[p];
#ifdef SEAL
  if (p == 0) word = &fin[p];
#endif
  atomic_compare_exchange_strong_explicit(word, &expected, 1, MO_COMMIT, ACQUIRE);
  int bits = atomic_load_explicit(&mask[p], MO_MASK);
  if (bits >> overflow_bit & 1)
    for (int c = 0; c < CONSUMERS; c++) wake(c);
  for (int b = 0; b < overflow_bit; b++) {
    if (!(bits >> b & 1)) continue;
    int holder = atomic_load_explicit(&line[p][b], ACQUIRE);
    if (holder != 0 && holder != sweeping) wake(holder - 1);
  }
  return 0;
}

static int enter(int me, int p, int b) {
#ifdef CASE_OVERFLOW
  atomic_fetch_or_explicit(&mask[p], 1 << overflow_bit, MO_REGISTER);
  return 1;
#endif
#ifdef BUG_SKIP_OR  // "the bit is set already, nothing to do"
  if (atomic_load_explicit(&mask[p], SEQ_CST) >> b & 1) {
    atomic_store_explicit(&line[p][b], me + 1, RELEASE);
    return 1;
  }
#endif
  int holder = 0;
  int mine = atomic_compare_exchange_strong_explicit(&line[p][b], &holder, me + 1, ACQ_REL, ACQUIRE);
#ifdef CASE_DEAD
  if (!mine && holder == 1)  // its lock byte is free
    mine = atomic_compare_exchange_strong_explicit(&line[p][b], &holder, me + 1, ACQ_REL, ACQUIRE);
#endif
  if (mine) atomic_fetch_or_explicit(&mask[p], 1 << b, MO_REGISTER);
  return mine;
}

static void leave(int p, int b) {
#ifdef BUG_FREE_FIRST
  atomic_store_explicit(&line[p][b], 0, MO_FREE);
  atomic_fetch_and_explicit(&mask[p], ~(1 << b), MO_LEAVE);
#else
  atomic_fetch_and_explicit(&mask[p], ~(1 << b), MO_LEAVE);
  atomic_store_explicit(&line[p][b], 0, MO_FREE);
#endif
}

static int something(int p, memory_order order) {
  return atomic_load_explicit(&slot[p], order) || atomic_load_explicit(&fin[p], order);
}

static int enter_all(int me, int b) {
  int all = 1;
  for (int p = 0; p < PARTITIONS; p++) all &= enter(me, p, b);
  return all;
}

static int recheck(int me) {
  int any = 0;
#ifdef BUG_ONE_PARTITION
  for (int p = 0; p < 1; p++)
#else
  for (int p = 0; p < PARTITIONS; p++)
#endif
    if (!done[me][p] && something(p, MO_RECHECK)) any = 1;
  return any;
}

static void consume(int me, int b) {
  for (int round = 0; round < ROUNDS; round++) {
    for (int p = 0; p < PARTITIONS; p++)
      if (!done[me][p]) done[me][p] = something(p, ACQUIRE);
#ifndef BUG_REGISTER_LATE
    if (round == 0 && !enter_all(me, b)) return;  // no line here: the overflow bit is a case of its own
#endif
    announced[me] = atomic_fetch_or_explicit(&wake_word[me], 1, MO_ANNOUNCE) | 1;
    int any = recheck(me);
#ifdef BUG_REGISTER_LATE
    if (round == 0 && !enter_all(me, b)) return;
#endif
    if (any) continue;
    asleep[me] = 1;
    if (atomic_load_explicit(&wake_word[me], SEQ_CST) == announced[me]) return;  // so far; main() looks at the end
    asleep[me] = 0;
  }
}

static void* consumer(void* argument) {
  int me = (int)(long)argument, b = me;
#if defined(CASE_REUSE) || defined(CASE_DEAD)
  b = 0;
  if (me == 0) {
    leave(0, 0);
    return 0;
  }
#endif
#ifdef CASE_LEAVE
  if (me == 1) {
    leave(0, 1);
    return 0;
  }
#endif
#ifdef CASE_OVERFLOW
  if (me == 1) {
    enter(1, 0, 0);
#ifdef BUG_OVERFLOW_CLEARED
    atomic_fetch_and_explicit(&mask[0], ~(1 << overflow_bit), MO_LEAVE);
#endif
    return 0;
  }
#endif
  consume(me, b);
  return 0;
}

#ifdef SWEEP
static void* sweeper(void* argument) {
  int dead = 1;
#ifdef BUG_SWEEP_UNOWNED
  if (atomic_load_explicit(&line[0][0], ACQUIRE) == dead) atomic_fetch_and_explicit(&mask[0], ~1, ACQ_REL);
#else
  if (!atomic_compare_exchange_strong_explicit(&line[0][0], &dead, sweeping, ACQ_REL, ACQUIRE)) return 0;
  leave(0, 0);
#endif
  return 0;
}
#endif

int main(void) {
  pthread_t thread[6];
  int threads = 0;
#if defined(CASE_REUSE) || defined(CASE_DEAD)
  atomic_store_explicit(&mask[0], 1, RELAXED);
  atomic_store_explicit(&line[0][0], 1, RELAXED);
#endif
#ifdef CASE_LEAVE
  atomic_store_explicit(&mask[0], 2, RELAXED);
  atomic_store_explicit(&line[0][1], 2, RELAXED);
#endif
  for (long p = 0; p < PARTITIONS; p++) pthread_create(&thread[threads++], 0, committer, (void*)p);
#ifdef CASE_DEAD
  for (long c = 1; c < CONSUMERS; c++) pthread_create(&thread[threads++], 0, consumer, (void*)c);
#else
  for (long c = 0; c < CONSUMERS; c++) pthread_create(&thread[threads++], 0, consumer, (void*)c);
#endif
#ifdef SWEEP
  pthread_create(&thread[threads++], 0, sweeper, 0);
#endif
  for (int i = 0; i < threads; i++) pthread_join(thread[i], 0);
  for (int c = 0; c < CONSUMERS; c++) {
    if (!asleep[c] || atomic_load(&wake_word[c]) != announced[c]) continue;
    for (int p = 0; p < PARTITIONS; p++) assert(done[c][p] || !something(p, SEQ_CST));  // for ever, with something in front
  }
  return 0;
}
