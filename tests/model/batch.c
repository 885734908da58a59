// Weak-memory model of an atomic batch: k slots by one reservation, one compare-and-swap on the first decides (docs/protocol.md BATCH).
//   genmc --rc11|--imm --disable-estimation -- [-DCASE] [-DBUG_x | -DMO_X=memory_order_y] batch.c         (tools/prove runs all)
// Modelled: one segment; producer 0 appends a batch of K, producer 1 OTHER records at once; who loses the head appends the whole batch
// again; a helper that aborts what was reserved when it looked, head first, though the owners live (ABORTER), and may die at it; one
// consumer that waits as built: blocked it looks again, idle it registers, announces, rechecks and sleeps; it may begin inside the
// batch (SEEK) and may help itself (HELPS). Payload is plain memory: RC11 reports each race on it.
// Not modelled: rolling, recycling and the CAS loop (log.pml, recycle.c), the member line (hazard.c).
// Checked: a batch is there whole or not at all, and iff it was acked, once; the consumer sees exactly the log from where it began;
// what is delivered has its payload; nobody sleeps before a record.
// Cases:  (none) -DOTHER=2 (two batches) -DOTHER=0 (nobody else appends) -DABANDON (producer 0 gives its batch up) -DKILL=1..4 (it dies
//         after the reservation, a CONT, all CONT, the commit) -DSEEK=1; with -DOTHER=0 also -DABORTER, -DABORTER -DHELPER_DIES,
//         -DHELPS and each of them with -DSEEK=1
// Seeded: MO_COMMIT (acq_rel, relaxed) MO_READ (relaxed) -DKILL=2 BUG_HEAD_FIRST; -DOTHER=0 with -DABORTER BUG_HEAD_FIRST,
//         BUG_CONT_DELIVERED, BUG_SLEEP_BLOCKED; with -DSEEK=1 BUG_NO_WALK_BACK; with -DSEEK=1 -DHELPS BUG_HELP_WHERE_IT_STANDS; with
//         -DSEEK=1 -DABORTER BUG_TAIL_FIRST
// Harmless, as it shows: relaxed CONT stores and a relaxed walk back. SLEEP_BLOCKED is why a reader in front of an open slot never
// sleeps long: a batch that lost its head may fill that slot with CONT, and nobody wakes for that.
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
#ifndef MO_READ
#define MO_READ ACQUIRE
#endif
#ifndef K
#define K 2
#endif
#ifndef OTHER
#define OTHER 1  // 0: nobody else appends
#endif
#ifndef KILL
#define KILL 0
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef SLOTS
#define SLOTS (K + OTHER + 2)
#endif
enum { empty, committed, aborted, continued };  // a slot: state | producer << 2

atomic_int tail, mask, wake_word, slot[SLOTS];
int payload[SLOTS];
int acked[2];
int at, from, head_is_there, announced,
    asleep;  // the consumer's: cursor, where it began, the fate of the batch it is in
int seen;    // bit per offset

static int value_of(int id, int i) { return 10 * (id + 1) + i; }

static void wake(void) {
  if (!atomic_load_explicit(&mask, SEQ_CST)) return;
  int word = atomic_load_explicit(&wake_word, SEQ_CST);
  if (word & 1) atomic_compare_exchange_strong_explicit(&wake_word, &word, word + 1, ACQ_REL, RELAXED);
}

static int resolve(int n, int value, memory_order order) {
  int expected = empty;
  return atomic_compare_exchange_strong_explicit(&slot[n], &expected, value, order, ACQUIRE);
}

static int dies(int id, int step) { return id == 0 && KILL == step; }

static int give_up(int n, int k) {  // head first
  for (int i = 0; i < k; i++)
    if (resolve(n + i, aborted, SEQ_CST)) wake();
  return 1;
}

// 0: the head was aborted, again.
static int append(int id, int k) {
  int n = atomic_fetch_add_explicit(&tail, k, ACQ_REL);
  if (n + k > SLOTS) return 1;  // it would roll
  if (dies(id, 1)) return 1;
  for (int i = 0; i < k; i++) payload[n + i] = value_of(id, i);
#ifdef BUG_HEAD_FIRST
  if (!resolve(n, committed | id << 2, MO_COMMIT)) return 0;
  acked[id] = 1;
#endif
  for (int i = 1; i < k; i++) {
    atomic_store_explicit(&slot[n + i], continued | id << 2, RELAXED);
    if (i == 1 && dies(id, 2)) return 1;
  }
  if (dies(id, 3)) return 1;
#ifdef ABANDON
  if (id == 0) return give_up(n, k);
#endif
#ifndef BUG_HEAD_FIRST
  if (!resolve(n, committed | id << 2, MO_COMMIT)) return 0;
  acked[id] = 1;
#endif
  if (dies(id, 4)) return 1;
  wake();
  return 1;
}

static void* producer(void* argument) {
  int id = (int)(long)argument;
  if (!append(id, id == 0 ? K : OTHER)) append(id, id == 0 ? K : OTHER);
  return 0;
}

// One grace of a stall at `first` is over: what was reserved when it began goes, head first.
static int abort_open(int first) {
  int noted = atomic_load_explicit(&tail, ACQUIRE), done = 0;
  if (noted > SLOTS) noted = SLOTS;
#ifdef BUG_TAIL_FIRST
  for (int i = noted - 1; i >= first; i--) {
#else
  for (int i = first; i < noted; i++) {
#endif
    if (atomic_load_explicit(&slot[i], ACQUIRE) != empty || !resolve(i, aborted, SEQ_CST)) continue;
    done = 1;
    wake();
#ifdef HELPER_DIES
    return 1;
#endif
  }
  return done;
}

#ifdef ABORTER
static void* aborter(void* argument) {
  abort_open(0);
  return 0;
}
#endif

// A seek puts the cursor on the nearest committed or aborted slot at or below the offset, or on the first slot that is
// open.
static int seek(int to) {
  if (atomic_load_explicit(&tail, ACQUIRE) < to) return 0;  // out of range
  at = from = to;
#ifdef BUG_NO_WALK_BACK
  return 1;
#endif
#ifdef BUG_HELP_WHERE_IT_STANDS
  while (at > 0 && (atomic_load_explicit(&slot[at], RELAXED) & 3) == continued) at--;
#else
  for (; at > 0; at--) {
    int state = atomic_load_explicit(&slot[at], RELAXED) & 3;
    if (state == committed || state == aborted) break;
  }
#endif
  return 1;
}

static int step(void) {  // 1 = got on
  if (at >= SLOTS) return 0;
  int x = atomic_load_explicit(&slot[at], MO_READ), state = x & 3;
  if (state == empty) return 0;
  if (state != continued) head_is_there = state == committed;
#ifdef BUG_CONT_DELIVERED
  if (state == continued) head_is_there = 1;
#endif
  if (head_is_there && at >= from) {
    assert(payload[at] / 10 == (x >> 2) + 1);
    seen |= 1 << at;
  }
  at++;
  return 1;
}

static void* consumer(void* argument) {
#ifdef SEEK
  if (!seek(SEEK)) {
    from = SLOTS;  // it never began
    return 0;
  }
#endif
  int registered = 0;
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < SLOTS && step(); i++) {
    }
    if (at >= SLOTS) return 0;
#ifndef BUG_SLEEP_BLOCKED
    if (atomic_load_explicit(&tail, ACQUIRE) > at) {  // blocked: it looks again by itself
#ifdef HELPS
      abort_open(at);
#endif
      continue;
    }
#endif
    if (!registered) atomic_fetch_or_explicit(&mask, 1, SEQ_CST);
    registered = 1;
    announced = atomic_fetch_or_explicit(&wake_word, 1, SEQ_CST) | 1;
    if (atomic_load_explicit(&slot[at], SEQ_CST) != empty) continue;
    asleep = 1;
    if (atomic_load_explicit(&wake_word, SEQ_CST) == announced) return 0;
    asleep = 0;
  }
  return 0;
}

static int is_there(int n) {  // whoever lands on n
  while (n > 0 && (atomic_load(&slot[n]) & 3) == continued) n--;
  return (atomic_load(&slot[n]) & 3) == committed;
}

static void drain(void) {  // everybody is gone: help past what is open
  for (int i = 0; i < 2 * SLOTS; i++) {
    if (step()) continue;
    if (at >= SLOTS || at >= atomic_load(&tail)) return;
    resolve(at, aborted, SEQ_CST);
  }
}

int main(void) {
  pthread_t thread[4];
  int threads = 0, there[2] = {0, 0};
  for (long i = 0; i < (OTHER ? 2 : 1); i++) pthread_create(&thread[threads++], 0, producer, (void*)i);
  pthread_create(&thread[threads++], 0, consumer, 0);
#ifdef ABORTER
  pthread_create(&thread[threads++], 0, aborter, 0);
#endif
  for (int i = 0; i < threads; i++) pthread_join(thread[i], 0);
  if (asleep && atomic_load(&wake_word) == announced && KILL != 4) assert(atomic_load(&slot[at]) == empty);
  if (from < SLOTS) drain();
  for (int n = 0; n < SLOTS && n < atomic_load(&tail); n++) {
    int id = atomic_load(&slot[n]) >> 2, here = is_there(n);
    if (n >= from) assert(here == (seen >> n & 1));
    if (!here) continue;
    assert(payload[n] >= value_of(id, 0) && !(there[id] >> (payload[n] - value_of(id, 0)) & 1));
    there[id] |= 1 << (payload[n] - value_of(id, 0));
  }
  assert(there[0] == (acked[0] ? (1 << K) - 1 : 0) && there[1] == (acked[1] ? (1 << OTHER) - 1 : 0));
  return 0;
}
