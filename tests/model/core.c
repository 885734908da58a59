// Weak-memory model of append, seal, roll, abort and of a consumer that sleeps meanwhile (docs/protocol.md RESERVE .. WAKE).
//   genmc --rc11|--imm --disable-estimation -- [-DCASE] [-DBUG_x | -DMO_X=memory_order_y] core.c          (tools/prove runs all)
// Modelled: segments of CAP records; producers that append one record each and roll when full; hint; the payload as plain memory (a
// race on it is an error in RC11); a helper that aborts slot 0 although its owner lives; one consumer that registers in the waiter
// mask when it is first blocked, announces on its own wake word, rechecks slot, fin and hint, and sleeps.
// Not modelled: files (a segment is there from the start; what its maker published by rename, hint publishes here), recycling
// (recycle.c), several consumers, lines and leaving (waiters.c). The kernel compares under its own lock, and a CAS odd -> even is
// always followed by FUTEX_WAKE, so a sleeper sleeps for ever iff its word never leaves the announced value. No time-out here.
// Checked: a record that was acked is delivered exactly once; what is delivered has its payload; nobody sleeps before a record.
// Cases:  (none) the second record rolls; -DCAP=2 both fit; -DABORTER; -DABORTER -DPRODUCERS=1;
//         -DKILL=1..4 producer 0 dies after reserve, abort, payload or commit; -DLATE_HINT producer 0 only rolls, producer 1
//         finds segment 1 by name and appends there.
// Seeded: MO_COMMIT MO_MASK MO_WAKE (acquire or acq_rel instead of seq_cst) MO_REGISTER MO_ANNOUNCE MO_RECHECK; MO_COMMIT=relaxed
//         MO_READ=relaxed; -DCAP=1 MO_SEAL; -DABORTER MO_ABORT BUG_PLAIN_COMMIT; -DABORTER -DKILL=1 BUG_ABORT_WITHOUT_WAKE;
//         BUG_REGISTER_LATE;
//         MO_HINT (release) and, -DLATE_HINT, MO_HINT_SEEN (relaxed): hint takes part in the recheck, so it is seq_cst
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
#ifndef MO_ABORT
#define MO_ABORT SEQ_CST
#endif
#ifndef MO_SEAL
#define MO_SEAL SEQ_CST
#endif
#ifndef MO_HINT
#define MO_HINT SEQ_CST
#endif
#ifndef MO_HINT_SEEN
#define MO_HINT_SEEN SEQ_CST
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
#ifndef MO_READ
#define MO_READ ACQUIRE
#endif
#ifndef CAP
#define CAP 1
#endif
#ifdef LATE_HINT
#undef CAP
#define CAP (g == 0 ? 0 : 2)  // segment 0 is full
#endif
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef KILL
#define KILL 0
#endif
#define SEGMENTS 3
#define SLOTS 4
enum { empty, committed, aborted };  // a slot: state | position << 2 | producer << 4
#define ONE_SLOT 256                 // tail: count << 8 | bytes

struct segment {
  atomic_int tail, fin, slot[SLOTS];
  int payload[2];
};
struct segment segment[SEGMENTS];
atomic_int hint, mask, wake_word;
int acked[PRODUCERS], seen[PRODUCERS], killed;
int at_segment, at_slot, announced, asleep;  // the consumer's

static void wake(void) {
  if (!atomic_load_explicit(&mask, MO_MASK)) return;
  int word = atomic_load_explicit(&wake_word, MO_WAKE);
  if (word & 1) atomic_compare_exchange_strong_explicit(&wake_word, &word, word + 1, ACQ_REL, RELAXED);
}

static void raise_hint(int to) {
  int now = atomic_load_explicit(&hint, MO_HINT_SEEN);
  while (now < to)
    if (atomic_compare_exchange_strong_explicit(&hint, &now, to, MO_HINT, MO_HINT_SEEN == SEQ_CST ? SEQ_CST : RELAXED)) return;
}

static void seal(int g, int n) {
  int open = 0;
  atomic_compare_exchange_strong_explicit(&segment[g].fin, &open, n + 1, MO_SEAL, ACQUIRE);
  wake();
}

static int resolve(int g, int n, int value, memory_order order) {
  int expected = empty;
  return atomic_compare_exchange_strong_explicit(&segment[g].slot[n], &expected, value, order, ACQUIRE);
}

static int dies(int id, int step) { return id == 0 && KILL == step ? (killed = 1) : 0; }

static void* producer(void* argument) {
  int id = (int)(long)argument, g = 0;
#ifdef LATE_HINT
  if (id == 1) {  // segment 0 is sealed and the next is there by name, whoever made it
    if (!atomic_load_explicit(&segment[0].fin, ACQUIRE)) return 0;
    raise_hint(g = 1);
  }
#endif
  for (; g < SEGMENTS;) {
    int old = atomic_fetch_add_explicit(&segment[g].tail, ONE_SLOT + 1, ACQ_REL), n = old / ONE_SLOT, position = old % ONE_SLOT;
    if (dies(id, 1)) return 0;
    if (position + 1 > CAP) {
      if (resolve(g, n, aborted, MO_ABORT)) wake();
      if (dies(id, 2)) return 0;
      seal(g, n);
      raise_hint(++g);
#ifdef LATE_HINT
      return 0;  // it rolled for retention's sake
#endif
      continue;
    }
    segment[g].payload[position] = id + 10;
    if (dies(id, 3)) return 0;
    int value = committed | position << 2 | id << 4;
#ifdef BUG_PLAIN_COMMIT
    atomic_store_explicit(&segment[g].slot[n], value, RELEASE);
#else
    if (!resolve(g, n, value, MO_COMMIT)) continue;
#endif
    acked[id] = 1;
    if (dies(id, 4)) return 0;
    wake();
    return 0;
  }
  return 0;
}

#ifdef ABORTER
static void* aborter(void* argument) {  // the grace of a live owner has expired
  if (atomic_load_explicit(&segment[0].tail, ACQUIRE) < ONE_SLOT) return 0;
  int done = resolve(0, 0, aborted, MO_ABORT);
#ifndef BUG_ABORT_WITHOUT_WAKE
  if (done) wake();
#endif
  return 0;
}
#endif

static int step(void) {  // 1 = got on
  int slot = atomic_load_explicit(&segment[at_segment].slot[at_slot], MO_READ);
  if (slot == empty) {
    int fin = atomic_load_explicit(&segment[at_segment].fin, ACQUIRE);
    if (!fin || at_slot < fin - 1 || atomic_load_explicit(&hint, ACQUIRE) <= at_segment) return 0;
    at_segment++, at_slot = 0;
    return 1;
  }
  at_slot++;
  if ((slot & 3) != committed) return 1;
  int id = slot >> 4;
  assert(segment[at_segment].payload[slot >> 2 & 3] == id + 10);
  assert(!seen[id]);
  seen[id] = 1;
  return 1;
}

static int something(memory_order order) {
  if (atomic_load_explicit(&segment[at_segment].slot[at_slot], order) != empty) return 1;
  int fin = atomic_load_explicit(&segment[at_segment].fin, order);
  return fin && at_slot >= fin - 1 && atomic_load_explicit(&hint, order) > at_segment;
}

static void* consumer(void* argument) {
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < 3 && step(); i++) {}
#ifndef BUG_REGISTER_LATE
    if (round == 0) atomic_fetch_or_explicit(&mask, 1, MO_REGISTER);
#endif
    announced = atomic_fetch_or_explicit(&wake_word, 1, MO_ANNOUNCE) | 1;
    int ready = something(MO_RECHECK);
#ifdef BUG_REGISTER_LATE
    if (round == 0) atomic_fetch_or_explicit(&mask, 1, MO_REGISTER);
#endif
    if (ready) continue;
    asleep = 1;
    if (atomic_load_explicit(&wake_word, SEQ_CST) == announced) return 0;  // so far; main() looks at the end
    asleep = 0;
  }
  return 0;
}

static void check_sleeper(void) {
  if (!asleep || atomic_load(&wake_word) != announced) return;
  int g = at_segment, fin = atomic_load(&segment[g].fin);
  int ahead = atomic_load(&segment[g].slot[at_slot]) != empty;
  if (fin && at_slot >= fin - 1 && g + 1 < SEGMENTS) ahead = atomic_load(&segment[g + 1].slot[0]) != empty;
  assert(!ahead);  // asleep for ever with something resolved in front of it
}

static void drain(void) {  // everybody is gone: help past what is open
  for (int i = 0; i < 10; i++) {
    if (step()) continue;
    int tail = atomic_load(&segment[at_segment].tail), n = tail / ONE_SLOT;
    if (n > at_slot && !atomic_load(&segment[at_segment].fin)) resolve(at_segment, at_slot, aborted, SEQ_CST);
    else if (atomic_load(&segment[at_segment].slot[at_slot]) == empty && n > at_slot) resolve(at_segment, at_slot, aborted, SEQ_CST);
    else return;
  }
}

int main(void) {
  pthread_t thread[PRODUCERS + 2];
  int threads = 0;
  for (long i = 0; i < PRODUCERS; i++) pthread_create(&thread[threads++], 0, producer, (void*)i);
  pthread_create(&thread[threads++], 0, consumer, 0);
#ifdef ABORTER
  pthread_create(&thread[threads++], 0, aborter, 0);
#endif
  for (int i = 0; i < threads; i++) pthread_join(thread[i], 0);
  if (!killed || KILL == 1 || KILL == 3) check_sleeper();  // a wake lost between 2 or 4 and the call is what the time-out is for
  drain();
  for (int i = 0; i < PRODUCERS; i++) assert(!acked[i] || seen[i]);
  return 0;
}
