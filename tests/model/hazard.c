// Weak-memory model of the hazard in a member line, {inflight, uid}, of a producer that goes between partitions
// (docs/protocol.md R3, R4, HELP).
//   genmc --rc11|--imm --disable-estimation -- [-DCASE] [-DBUG_x | -DMO_X=memory_order_y] hazard.c        (tools/prove runs all)
// Modelled: partitions P (uid 1, being recycled or helped) and Q (uid 2), whose segments have the same base on purpose; producers; the
// scanner that reads inflight, then uid, both after its exchange (recycler) or after its load of tail (helper). P's payload is plain.
// Not modelled: locks (all members live), rolling.
// Checked: no late payload and no late commit in P once it is issued anew; a helper never aborts at once what a live member holds.
// Cases:  (none) P only; -DFROM_Q Q then P; -DTO_Q P then Q; -DFROM_Q -DTO_Q; -DPRODUCERS=2; -DHELP (the helper instead)
// Seeded: -DTO_Q MO_UID MO_UID_READ MO_SCAN MO_CLEAR (relaxed); MO_TAIL (acquire) MO_CLOSED (release);
//         -DTO_Q -DQ_BASE=16 MO_RESERVING (relaxed: other base, so the uid is never asked); -DTO_Q BUG_UID_IN_FLIGHT; BUG_SCAN_FIRST;
//         -DFROM_Q BUG_UID_BEFORE_CLOSED; -DHELP BUG_TAIL_LATE
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release
#define ACQ_REL memory_order_acq_rel
#define SEQ_CST memory_order_seq_cst
#ifndef MO_UID
#define MO_UID RELEASE
#endif
#ifndef MO_RESERVING
#define MO_RESERVING RELEASE
#endif
#ifndef MO_TAIL
#define MO_TAIL ACQ_REL
#endif
#ifndef MO_CLOSED
#define MO_CLOSED ACQ_REL
#endif
#ifndef MO_SCAN
#define MO_SCAN ACQUIRE
#endif
#ifndef MO_UID_READ
#define MO_UID_READ ACQUIRE
#endif
#ifndef MO_CLEAR
#define MO_CLEAR RELEASE
#endif
#ifndef Q_BASE
#define Q_BASE 1
#endif
#ifndef PRODUCERS
#define PRODUCERS 1
#endif
#define SLOTS 3
enum { unset = 0, P = 1, Q = 2, reserving = 64, closed = 128, reissued = 9 };

struct segment {
  atomic_int tail, base, slot[SLOTS];
  int payload[SLOTS];
};
struct segment segment[3];
struct { atomic_int inflight, uid; } member[PRODUCERS];

static int base_of(int partition) { return partition == P ? 1 : Q_BASE; }

static void append(int id, int partition) {
  struct segment* s = &segment[partition];
  int b = base_of(partition), expected = 0;
  atomic_store_explicit(&member[id].uid, partition, MO_UID);  // only while inflight is 0
  atomic_store_explicit(&member[id].inflight, reserving | b, MO_RESERVING);
  int n = atomic_fetch_add_explicit(&s->tail, 1, MO_TAIL);
  if ((n & closed) || n >= SLOTS || atomic_load_explicit(&s->base, RELAXED) != b) {
    atomic_store_explicit(&member[id].inflight, 0, MO_CLEAR);
    return;
  }
  atomic_store_explicit(&member[id].inflight, b + n + 1, RELEASE);
#ifdef BUG_UID_IN_FLIGHT
  if (partition == P) atomic_store_explicit(&member[id].uid, Q, MO_UID);
#endif
  s->payload[n] = 10 + id;
  atomic_compare_exchange_strong_explicit(&s->slot[n], &expected, 1, SEQ_CST, ACQUIRE);
  atomic_store_explicit(&member[id].inflight, 0, MO_CLEAR);
}

static void* producer(void* argument) {
  int id = (int)(long)argument;
#ifdef FROM_Q
  append(id, Q);
#endif
  append(id, P);
#ifdef TO_Q
  append(id, Q);
#endif
  return 0;
}

static int dangerous(int i, int from, int to) {
  int word = atomic_load_explicit(&member[i].inflight, MO_SCAN);
  if (word != (reserving | 1) && !(word > from && word <= to)) return 0;
  return atomic_load_explicit(&member[i].uid, MO_UID_READ) == P;
}

#ifndef HELP
static void* recycler(void* argument) {
  int doubt = 0;
#ifdef BUG_UID_BEFORE_CLOSED
  int early[PRODUCERS];
  for (int i = 0; i < PRODUCERS; i++) early[i] = atomic_load_explicit(&member[i].uid, MO_UID_READ);
#endif
#ifdef BUG_SCAN_FIRST
  for (int i = 0; i < PRODUCERS; i++) doubt |= dangerous(i, 1, 1 + SLOTS);
#endif
  atomic_exchange_explicit(&segment[P].tail, closed, MO_CLOSED);
#ifdef BUG_UID_BEFORE_CLOSED
  for (int i = 0; i < PRODUCERS; i++) doubt |= early[i] == P && atomic_load_explicit(&member[i].inflight, MO_SCAN) != 0;
#elif !defined(BUG_SCAN_FIRST)
  for (int i = 0; i < PRODUCERS; i++) doubt |= dangerous(i, 1, 1 + SLOTS);
#endif
  if (doubt) return 0;
  atomic_store_explicit(&segment[P].base, unset, SEQ_CST);
  for (int n = 0; n < SLOTS; n++) {  // what the next incarnation would write
    segment[P].payload[n] = 0;
    atomic_store_explicit(&segment[P].slot[n], 0, RELAXED);
  }
  atomic_store_explicit(&segment[P].base, reissued, RELAXED);
  atomic_store_explicit(&segment[P].tail, 0, RELEASE);
  return 0;
}
#else
static void* helper(void* argument) {
#ifndef BUG_TAIL_LATE
  if (atomic_load_explicit(&segment[P].tail, ACQUIRE) < 1) return 0;
#endif
  for (int i = 0; i < PRODUCERS; i++)
    if (dangerous(i, 1, 2)) return 0;
#ifdef BUG_TAIL_LATE
  if (atomic_load_explicit(&segment[P].tail, ACQUIRE) < 1) return 0;
#endif
  int expected = 0;
  int done = atomic_compare_exchange_strong_explicit(&segment[P].slot[0], &expected, 2, SEQ_CST, ACQUIRE);
  assert(!done);  // safe, but the owner lives: its grace was due
  return 0;
}
#endif

int main(void) {
  pthread_t thread[PRODUCERS + 1];
  atomic_store_explicit(&segment[P].base, 1, RELAXED);
  atomic_store_explicit(&segment[Q].base, Q_BASE, RELAXED);
  for (long i = 0; i < PRODUCERS; i++) pthread_create(&thread[i], 0, producer, (void*)i);
#ifdef HELP
  pthread_create(&thread[PRODUCERS], 0, helper, 0);
#else
  pthread_create(&thread[PRODUCERS], 0, recycler, 0);
#endif
  for (int i = 0; i <= PRODUCERS; i++) pthread_join(thread[i], 0);
  if (atomic_load(&segment[P].base) != reissued) return 0;
  for (int n = 0; n < SLOTS; n++) assert(atomic_load(&segment[P].slot[n]) == 0 && segment[P].payload[n] == 0);
  return 0;
}
