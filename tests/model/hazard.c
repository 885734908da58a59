// Weak-memory model of the hazard in a member line, {inflight, uid, batch}, of a producer that goes between partitions
// (docs/protocol.md R3, R4, HELP).
//   genmc --rc11|--imm --disable-estimation -- [-DCASE] [-DBUG_x | -DMO_X=memory_order_y] hazard.c        (tools/prove runs all)
// Modelled: partitions P (uid 1, being recycled or helped) and Q (uid 2), whose segments have the same base on purpose; producers; the
// scanner that reads inflight, then uid and batch, all after its exchange (recycler) or after its load of tail (helper). A batch is
// reserved at once; its k stands in the word `batch`, and `inflight` says so. P's payload is plain.
// Not modelled: locks (all members live), rolling, a k that fits into inflight (one word then, as for a single record).
// Checked: no late payload and no late slot in P once it is issued anew; a helper never aborts at once what a live member holds.
// Cases:  (none) P only; -DFROM_Q Q then P; -DTO_Q P then Q; -DFROM_Q -DTO_Q; -DAGAIN P twice; -DPRODUCERS=2; -DHELP (the helper
//         instead; -DHELP_AT=n the slot it asks about); -DK=k -DNEXT_K=k of the first and second append into P;
//         -DBATCH_AT=0..2 k is stored before inflight says RESERVING, between that and the reservation, (as built) after it
// Seeded: -DTO_Q MO_UID MO_UID_READ MO_SCAN MO_CLEAR (relaxed); MO_TAIL (acquire) MO_CLOSED (release);
//         -DTO_Q -DQ_BASE=16 MO_RESERVING (relaxed: other base, so the uid is never asked); -DTO_Q BUG_UID_IN_FLIGHT; BUG_SCAN_FIRST;
//         -DFROM_Q BUG_UID_BEFORE_CLOSED; -DHELP BUG_TAIL_LATE; -DK=2 BUG_BATCH_LATE BUG_BATCH_FIRST, also of a helper (-DHELP_AT=1), and
//         there BUG_FIRST_SLOT_ONLY and MO_WRITING (relaxed); -DHELP -DHELP_AT=2 -DK=3 -DAGAIN -DNEXT_K=2 MO_BATCH MO_BATCH_READ (relaxed)
// Harmless, as it shows: the recycler looks at a batch's first slot only (-DK=2 BUG_FIRST_SLOT_ONLY), for what was reserved lies below
// the seal as a whole; but not at none: a k of 0 must count as 1.
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
#ifndef MO_BATCH
#define MO_BATCH RELEASE
#endif
#ifndef MO_WRITING
#define MO_WRITING RELEASE
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
#ifndef MO_BATCH_READ
#define MO_BATCH_READ ACQUIRE
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
#ifndef K
#define K 1
#endif
#ifndef NEXT_K
#define NEXT_K K
#endif
#ifndef BATCH_AT
#define BATCH_AT 2
#endif
#ifndef HELP_AT
#define HELP_AT 0
#endif
#define SLOTS (K > 1 || NEXT_K > 1 ? K + NEXT_K : 3)
#define MOST_SLOTS 6
enum { unset = 0, P = 1, Q = 2, reserving = 64, closed = 128, in_batch = 256, reissued = 9 };
enum { empty, committed, aborted, continued };

struct segment {
  atomic_int tail, base, slot[MOST_SLOTS];
  int payload[MOST_SLOTS];
};
struct segment segment[3];
struct {
  atomic_int inflight, uid, batch;
} member[PRODUCERS];

static int base_of(int partition) { return partition == P ? 1 : Q_BASE; }

static void say_k(int id, int k, int when) {
  if (k > 1 && when == BATCH_AT) atomic_store_explicit(&member[id].batch, k, MO_BATCH);
}

static void append(int id, int partition, int k) {
  struct segment* s = &segment[partition];
  int b = base_of(partition), expected = empty;
  atomic_store_explicit(&member[id].uid, partition, MO_UID);  // only while inflight is 0
  say_k(id, k, 0);
  atomic_store_explicit(&member[id].inflight, reserving | b, MO_RESERVING);
  say_k(id, k, 1);
  int n = atomic_fetch_add_explicit(&s->tail, k, MO_TAIL);
  if ((n & closed) || n + k > SLOTS || atomic_load_explicit(&s->base, RELAXED) != b) {
    atomic_store_explicit(&member[id].inflight, 0, MO_CLEAR);
    return;
  }
#ifndef BUG_BATCH_LATE
  say_k(id, k, 2);
#endif
  atomic_store_explicit(&member[id].inflight, (k > 1 ? in_batch : 0) | (b + n + 1), MO_WRITING);
#ifdef BUG_BATCH_LATE
  say_k(id, k, 2);
#endif
#ifdef BUG_UID_IN_FLIGHT
  if (partition == P) atomic_store_explicit(&member[id].uid, Q, MO_UID);
#endif
  for (int i = 0; i < k; i++) s->payload[n + i] = 10 + id;
  for (int i = 1; i < k; i++) atomic_store_explicit(&s->slot[n + i], continued, RELAXED);
  atomic_compare_exchange_strong_explicit(&s->slot[n], &expected, committed, SEQ_CST, ACQUIRE);
  atomic_store_explicit(&member[id].inflight, 0, MO_CLEAR);
}

static void* producer(void* argument) {
  int id = (int)(long)argument;
#ifdef FROM_Q
  append(id, Q, 1);
#endif
  append(id, P, K);
#ifdef AGAIN
  append(id, P, NEXT_K);
#endif
#ifdef TO_Q
  append(id, Q, 1);
#endif
  return 0;
}

// May live member i write into the slots from..to-1 of P? Both count from P's base on.
static int dangerous(int i, int from, int to) {
#ifdef BUG_BATCH_FIRST
  int k = atomic_load_explicit(&member[i].batch, MO_BATCH_READ);
#endif
  int word = atomic_load_explicit(&member[i].inflight, MO_SCAN), first = (word & (reserving - 1)) - 1 - base_of(P),
      many = 1;
  if (word == 0 || ((word & reserving) && word != (reserving | base_of(P)))) return 0;
#ifdef BUG_BATCH_FIRST
  if (word & in_batch) many = k;
#elif !defined(BUG_FIRST_SLOT_ONLY)
  if (word & in_batch) many = atomic_load_explicit(&member[i].batch, MO_BATCH_READ);
#endif
  if (!(word & reserving) && !(first < to && first + many > from)) return 0;
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
  for (int i = 0; i < PRODUCERS; i++) doubt |= dangerous(i, 0, SLOTS);
#endif
  atomic_exchange_explicit(&segment[P].tail, closed, MO_CLOSED);
#ifdef BUG_UID_BEFORE_CLOSED
  for (int i = 0; i < PRODUCERS; i++) doubt |= early[i] == P && atomic_load_explicit(&member[i].inflight, MO_SCAN) != 0;
#elif !defined(BUG_SCAN_FIRST)
  for (int i = 0; i < PRODUCERS; i++) doubt |= dangerous(i, 0, SLOTS);
#endif
  if (doubt) return 0;
  atomic_store_explicit(&segment[P].base, unset, SEQ_CST);
  for (int n = 0; n < SLOTS; n++) {  // what the next incarnation would write
    segment[P].payload[n] = 0;
    atomic_store_explicit(&segment[P].slot[n], empty, RELAXED);
  }
  atomic_store_explicit(&segment[P].base, reissued, RELAXED);
  atomic_store_explicit(&segment[P].tail, 0, RELEASE);
  return 0;
}
#else
static void* helper(void* argument) {
#ifndef BUG_TAIL_LATE
  if (atomic_load_explicit(&segment[P].tail, ACQUIRE) <= HELP_AT) return 0;
#endif
  for (int i = 0; i < PRODUCERS; i++)
    if (dangerous(i, HELP_AT, HELP_AT + 1)) return 0;
#ifdef BUG_TAIL_LATE
  if (atomic_load_explicit(&segment[P].tail, ACQUIRE) <= HELP_AT) return 0;
#endif
  int expected = empty;
  int done = atomic_compare_exchange_strong_explicit(&segment[P].slot[HELP_AT], &expected, aborted, SEQ_CST, ACQUIRE);
  assert(!done);  // the owner lives: its grace was due
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
  for (int n = 0; n < SLOTS; n++) assert(atomic_load(&segment[P].slot[n]) == empty && segment[P].payload[n] == 0);
  return 0;
}
