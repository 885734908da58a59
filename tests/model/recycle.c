// Weak-memory model of recycling one segment (docs/protocol.md R1..R8, T1..T4, RESERVE, ATTACH).
//   genmc --rc11|--imm --disable-estimation -- [-DCASE] [-DBUG_x | -DMO_X=memory_order_y] recycle.c       (tools/prove runs all)
// Modelled: one inode that was base 1 (sealed, one committed record) becomes base 2: a producer that chose base 1 long ago, a recycler
// {log_start, CLOSED, scan of the member lines, pins, UNSET, clear, spare}, a taker that opens the spare as base 2 and appends, and
// optionally a reader in place under a pin or a helper that aborts. An append is a record or a batch of K; a LARGE one reads the tail
// by a read-modify-write, reserves by compare-and-swap, and seals what it does not fit into.
// Payload is plain memory: RC11 reports each race on it.
// Renames, locks and pins order like acquire/release in the kernel; pins are asked by a lock of their own, here a seq_cst word.
// Not modelled: rolling and names (log.pml), a member that goes between partitions (hazard.c), readers without pins.
// Checked: nobody commits, writes or seals in an incarnation that is not his; what base 2 acked stands; a pinned reader reads base 1.
// Cases:  (none) -DREADER -DHELPER -DTWICE (the producer and the taker append twice) -DELSEWHERE (the taker twice, the producer
//         once, then it announces another segment) -DK=2 -DLARGE, alone, with -DK=2, with -DFULL (base 1 is past its end), with
//         -DBASE_FIRST (base is looked at before the compare-and-swap, and not again: enough, and a stale one takes no slots)
// Seeded: BUG_NO_BASE_CHECK BUG_NO_WRITING BUG_NO_CLOSED BUG_NO_SCAN; -DREADER BUG_NO_PIN BUG_NO_LOG_START BUG_LATE_BUMP;
//         MO_TAIL (acquire) MO_CLOSED (release); -DTWICE MO_CLEAR MO_SCAN, -DELSEWHERE MO_RESERVING (relaxed); -DK=2 BUG_NO_WRITING
//         BUG_NO_SCAN BUG_NO_BASE_CHECK; -DLARGE -DFULL BUG_TAIL_LOADED (by a plain load) MO_TAIL (acquire)
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release
#define ACQ_REL memory_order_acq_rel
#define SEQ_CST memory_order_seq_cst
#ifndef MO_RESERVING
#define MO_RESERVING RELEASE
#endif
#ifndef MO_CLEAR
#define MO_CLEAR RELEASE
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
#ifndef K
#define K 1
#endif
#define CAP (K + 1)
#define SLOTS (K + 2)
#define MEMBERS 2
#define UID 7
enum { empty, committed, aborted, continued };  // a slot: state | position << 2 | writer << 4
enum { unset = 0, closed = 0x8000, reserving = 0x80, one_slot = 0x100 };

atomic_int tail, base, fin, slot[SLOTS];  // the inode
int payload[CAP];
struct {
  atomic_int inflight, uid;
} member[MEMBERS];
atomic_int log_start, pinned, spare;
int acked[3][SLOTS];  // [base][slot]: writer

static int want(int b, int writer) { return b * 16 + writer; }

static int count(int word) { return word >> 8 & 0x7f; }
static int bytes(int word) { return word & 0x7f; }
static int fits(int word) { return !(word & closed) && bytes(word) + K <= CAP && count(word) + K <= SLOTS; }

static int resolve(int n, int value) {
  int expected = empty;
  return atomic_compare_exchange_strong_explicit(&slot[n], &expected, value, SEQ_CST, ACQUIRE);
}

// What tail was when k slots were taken by one fetch_add, or looked at and taken by compare-and-swap.
static int reserve(int b) {
#ifndef LARGE
  return atomic_fetch_add_explicit(&tail, K * (one_slot + 1), MO_TAIL);
#else
#ifdef BUG_TAIL_LOADED
  int old = atomic_load_explicit(&tail, ACQUIRE);
#else
  int old = atomic_fetch_add_explicit(&tail, 0, MO_TAIL);
#endif
#ifdef BASE_FIRST
  if (atomic_load_explicit(&base, RELAXED) != b) return closed;
#endif
  while (fits(old) &&
         !atomic_compare_exchange_strong_explicit(&tail, &old, old + K * (one_slot + 1), MO_TAIL, ACQUIRE)) {
  }
  return old;
#endif
}

static void append(int id, int b) {
  int writer = id + 1;
  atomic_store_explicit(&member[id].uid, UID, RELEASE);
  atomic_store_explicit(&member[id].inflight, reserving | b, MO_RESERVING);
  int old = reserve(b), n = count(old), position = bytes(old), mine = !(old & closed);
#if !defined(BUG_NO_BASE_CHECK) && !defined(BASE_FIRST)
  mine = mine && atomic_load_explicit(&base, RELAXED) == b;
#endif
#ifdef LARGE
  int open = 0;
  if (mine && !fits(old)) atomic_compare_exchange_strong_explicit(&fin, &open, b * 8 + n + 1, SEQ_CST, ACQUIRE);
#endif
  if (!mine || !fits(old)) {
    atomic_store_explicit(&member[id].inflight, 0, MO_CLEAR);
    return;
  }
#ifdef BUG_NO_WRITING
  atomic_store_explicit(&member[id].inflight, 0, RELEASE);
#else
  atomic_store_explicit(&member[id].inflight, b * 8 + n + 1, RELEASE);
#endif
  for (int i = 0; i < K; i++) payload[position + i] = want(b, writer);
  for (int i = 1; i < K; i++)
    atomic_store_explicit(&slot[n + i], continued | (position + i) << 2 | writer << 4, RELAXED);
  if (resolve(n, committed | position << 2 | writer << 4)) {
    for (int i = 0; i < K; i++) acked[b][n + i] = writer;
    assert(atomic_load_explicit(&base, RELAXED) == b);
  }
  atomic_store_explicit(&member[id].inflight, 0, MO_CLEAR);
}

static void* stale(void* argument) {
  append(0, 1);
#ifdef TWICE
  append(0, 1);
#endif
#ifdef ELSEWHERE
  atomic_store_explicit(&member[0].inflight, reserving | 9, MO_RESERVING);  // ... in some other segment
#endif
  return 0;
}

static void* taker(void* argument) {
  if (!atomic_load_explicit(&spare, ACQUIRE)) return 0;
  atomic_store_explicit(&base, 2, RELAXED);
  atomic_store_explicit(&tail, 0, RELEASE);
  append(1, 2);
#if defined(TWICE) || defined(ELSEWHERE)
  append(1, 2);
#endif
  return 0;
}

static int in_doubt(void) {
  int doubt = 0;
#ifndef BUG_NO_SCAN
  for (int i = 0; i < MEMBERS; i++) {
    int word = atomic_load_explicit(&member[i].inflight, MO_SCAN);
    int there = word == (reserving | 1) || (word && !(word & reserving) && word - 1 >= 8 && word - 1 < 16);
    if (there && atomic_load_explicit(&member[i].uid, MO_SCAN) == UID) doubt = 1;
  }
#endif
#ifndef BUG_NO_PIN
  if (atomic_load_explicit(&pinned, SEQ_CST)) doubt = 1;
#endif
  return doubt;
}

static void* recycler(void* argument) {
#ifndef BUG_LATE_BUMP
  atomic_store_explicit(&log_start, 2, SEQ_CST);
#endif
#ifndef BUG_NO_CLOSED
  atomic_exchange_explicit(&tail, closed, MO_CLOSED);
#endif
  int doubt = in_doubt();
#ifdef BUG_LATE_BUMP
  atomic_store_explicit(&log_start, 2, SEQ_CST);
#endif
  if (doubt) return 0;  // unlinked: nobody waits
  atomic_store_explicit(&base, unset, SEQ_CST);
  for (int n = 0; n < SLOTS; n++) atomic_store_explicit(&slot[n], empty, RELAXED);
  atomic_store_explicit(&fin, 0, RELAXED);
  atomic_store_explicit(&base, unset, RELEASE);
  atomic_store_explicit(&spare, 1, RELEASE);
  return 0;
}

#ifdef READER
static void* reader(void* argument) {
  atomic_store_explicit(&pinned, 1, SEQ_CST);
#ifndef BUG_NO_LOG_START
  if (atomic_load_explicit(&log_start, SEQ_CST) > 1) return 0;
#endif
  int x = atomic_load_explicit(&slot[0], ACQUIRE);
  assert((x & 3) == committed);  // it was so before anybody retired it
  int got = payload[x >> 2 & 3];
  assert(got == want(1, 3));
  atomic_store_explicit(&pinned, 0, RELEASE);
  return 0;
}
#endif

#ifdef HELPER
static void* helper(void* argument) {  // a false suspicion: aborts slot 1 of base 1, under a pin
  atomic_store_explicit(&pinned, 1, SEQ_CST);
  if (atomic_load_explicit(&log_start, SEQ_CST) > 1) return 0;
  if (count(atomic_load_explicit(&tail, ACQUIRE)) > 1) resolve(1, aborted);
  return 0;
}
#endif

int main(void) {
  pthread_t thread[4];
  int threads = 0;
  payload[0] = want(1, 3);
  atomic_store_explicit(&slot[0], committed | 3 << 4, RELAXED);
#ifdef FULL
  atomic_store_explicit(&tail, 2 * one_slot + CAP + 1, RELAXED);
#else
  atomic_store_explicit(&tail, one_slot + 1, RELAXED);
#endif
  atomic_store_explicit(&base, 1, RELAXED);
  atomic_store_explicit(&log_start, 1, RELAXED);
  atomic_store_explicit(&fin, 1 * 8 + 2, RELAXED);
  pthread_create(&thread[threads++], 0, stale, 0);
  pthread_create(&thread[threads++], 0, recycler, 0);
  pthread_create(&thread[threads++], 0, taker, 0);
#ifdef READER
  pthread_create(&thread[threads++], 0, reader, 0);
#endif
#ifdef HELPER
  pthread_create(&thread[threads++], 0, helper, 0);
#endif
  for (int i = 0; i < threads; i++) pthread_join(thread[i], 0);
  if (atomic_load(&base) != 2) return 0;
  int sealed = atomic_load(&fin);
  assert(sealed == 0 || sealed > 2 * 8);  // by who believes in base 2
  for (int n = 0; n < SLOTS; n++) {       // base 2 holds exactly what base 2 acked
    int x = atomic_load(&slot[n]), writer = x >> 4;
    assert((x & 3) == empty ? !acked[2][n] : acked[2][n] == writer);
    if ((x & 3) != empty) assert(payload[x >> 2 & 3] == want(2, writer));
  }
  return 0;
}
