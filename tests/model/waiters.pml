/* Sleeping and waking through the waiter mask (docs/protocol.md WAIT, WAKE).
   Modelled: one wake word per consumer (bit 0: about to sleep; odd + 1 on a wake), one mask and its lines per partition, committers
   (a commit, an abort or a seal is the same step: something is resolved), registration at the first block, the recheck of every
   partition, the kernel's compare under its lock, leaving, taking over a dead member's line, the sweeper, the overflow bit, a
   member index that is claimed again after a death. A line holds {member, incarnation}.
   CASE_BELL: each sleep is on the word or on the doorbell, as the consumer likes; once it goes by itself, as if an alarm was due.
   Not modelled: memory orders (waiters.c); a committer killed between its commit and its wake, which the time-out is for.
   Checked: when nothing moves any more, no consumer sleeps with something resolved in front of it.
   Cases:  PARTITIONS COMMITS (per partition) CASE_LEAVE CASE_REUSE CASE_DEAD CASE_SWEEP CASE_OVERFLOW CASE_AGAIN CASE_BELL
   Seeded: ABORT_WITHOUT_WAKE REGISTER_LATE NO_RECHECK ONE_PARTITION SKIP_OR FREE_FIRST SWEEP_UNOWNED OVERFLOW_CLEARED
           LINE_WITHOUT_INCARNATION MASK_FIRST (the mask is loaded before the commit)
           CASE_BELL: FLAG_LATE (where it sleeps is said after announcing) FLAG_FIRST (a waker asks before it takes the wake)
           CLEAR_LATE (old rings are cleared after announcing)                                                     (-DBUG_x) */
#ifndef PARTITIONS
#define PARTITIONS 1
#endif
#ifndef COMMITS
#define COMMITS 2
#endif
#define CONSUMERS 3            /* member indexes 0..2 */
#define LINES 2                /* and the overflow bit */
#define FREE 0
#define SWEEPING 99
#define DEAD 0                 /* the incarnation that died; a member lives with incarnation 1 */
#ifdef BUG_LINE_WITHOUT_INCARNATION
#define ENTRY(member, incarnation) (1 + (member))
#else
#define ENTRY(member, incarnation) (1 + (member) + 4 * (incarnation))
#endif
#define MEMBER(entry) (((entry) - 1) % 4)

byte resolved[PARTITIONS];
typedef Waiters { bit mask[LINES]; bit overflow; byte line[LINES] };
Waiters waiters[PARTITIONS];
byte wake_word[CONSUMERS];
bit asleep[CONSUMERS];
bit bell[CONSUMERS];           /* 1: announced to sleep on the doorbell */
bit rung[CONSUMERS];           /* the doorbell is readable */
bit in_loop[CONSUMERS];        /* sleeps on the doorbell, until it is rung */
typedef Seen { byte at[PARTITIONS] };
Seen seen[CONSUMERS];

inline wake(c) {
  word = wake_word[c];
  if
  :: (word & 1) == 1 ->
#ifdef BUG_FLAG_FIRST
     on_bell = bell[c];
#endif
     d_step { if :: wake_word[c] == word -> wake_word[c] = word + 1; ok = 1 :: else -> ok = 0 fi };
     if
     :: ok ->
#ifndef BUG_FLAG_FIRST
        on_bell = bell[c];
#endif
        if :: on_bell -> rung[c] = 1 :: else -> asleep[c] = 0 fi    /* a byte into the FIFO, or FUTEX_WAKE */
     :: else
     fi
  :: else
  fi
}

proctype committer(byte p; bit aborts) {
  byte b, word, entry; bit ok, on_bell; bit mask[LINES]; bit overflow;
#ifdef BUG_MASK_FIRST
  d_step { mask[0] = waiters[p].mask[0]; mask[1] = waiters[p].mask[1]; overflow = waiters[p].overflow };
  resolved[p]++;
#else
  resolved[p]++;                                               /* the compare-and-swap on a slot or on fin */
#ifdef BUG_ABORT_WITHOUT_WAKE
  if :: aborts -> goto done :: else fi;
#endif
  d_step { mask[0] = waiters[p].mask[0]; mask[1] = waiters[p].mask[1]; overflow = waiters[p].overflow };
#endif
  if
  :: overflow -> b = 0; do :: b < CONSUMERS -> wake(b); b++ :: else -> break od
  :: else
  fi;
  b = 0;
  do
  :: b < LINES ->
     if
     :: mask[b] -> entry = waiters[p].line[b]; if :: entry != FREE && entry != SWEEPING -> wake(MEMBER(entry)) :: else fi
     :: else
     fi;
     b++
  :: else -> break
  od;
#ifdef BUG_ABORT_WITHOUT_WAKE
done: skip
#endif
}

/* Claims the first line that is free, its own, or of a dead member. `dead` was judged in a step of its own. */
inline enter(me, p) {
#ifdef CASE_OVERFLOW
  waiters[p].overflow = 1;
#else
  b = 0;
  do
  :: b < LINES ->
#ifdef BUG_SKIP_OR                                              /* "the bit is set already, nothing to do" */
     ok = waiters[p].mask[b];
#endif
     entry = waiters[p].line[b];
     if
     :: entry == FREE || entry == ENTRY(me, 1) || entry == dead ->
        d_step { if :: waiters[p].line[b] == entry -> waiters[p].line[b] = ENTRY(me, 1); mine = 1 :: else -> mine = 0 fi };
        if
        :: mine ->
#ifdef BUG_SKIP_OR
           if :: ok :: else -> waiters[p].mask[b] = 1 fi;
#else
           waiters[p].mask[b] = 1;                             /* always */
#endif
           break
        :: else -> b++
        fi
     :: else -> b++
     fi
  :: else -> waiters[p].overflow = 1; break
  od
#endif
}

inline leave(p, b) {
#ifdef BUG_FREE_FIRST
  waiters[p].line[b] = FREE;
  waiters[p].mask[b] = 0
#else
  waiters[p].mask[b] = 0;
  waiters[p].line[b] = FREE
#endif
}

inline register_all(me) {
  p = 0;
  do :: p < PARTITIONS -> enter(me, p); p++ :: else -> break od
}

proctype consumer(byte me; byte dead) {
  byte p, b, entry, announced; bit ok, mine, registered, something, loops, went;
again:
#ifdef CASE_BELL
  if :: loops = 0 :: loops = 1 fi;
#endif
  p = 0;
  do :: p < PARTITIONS -> seen[me].at[p] = resolved[p]; p++ :: else -> break od;
#ifndef BUG_REGISTER_LATE
  if :: !registered -> register_all(me); registered = 1 :: else fi;
#endif
#ifdef CASE_BELL
#ifndef BUG_CLEAR_LATE
  if :: loops -> rung[me] = 0 :: else fi;
#endif
#ifndef BUG_FLAG_LATE
  bell[me] = loops;
#endif
#endif
  skip;
  d_step { announced = wake_word[me] | 1; wake_word[me] = announced };
#ifdef BUG_FLAG_LATE
  bell[me] = loops;
#endif
#ifdef BUG_CLEAR_LATE
  if :: loops -> rung[me] = 0 :: else fi;
#endif
#ifndef BUG_NO_RECHECK
  p = 0; something = 0;
#ifdef BUG_ONE_PARTITION
  if :: resolved[0] > seen[me].at[0] -> something = 1 :: else fi;
#else
  do :: p < PARTITIONS -> if :: resolved[p] > seen[me].at[p] -> something = 1 :: else fi; p++ :: else -> break od;
#endif
  if :: something -> goto again :: else fi;
#endif
#ifdef BUG_REGISTER_LATE
  if :: !registered -> register_all(me); registered = 1 :: else fi;
#endif
  skip;
#ifdef CASE_BELL
  if
  :: loops -> d_step { if :: !rung[me] -> in_loop[me] = 1 :: else fi }
  :: else -> d_step { if :: wake_word[me] == announced -> asleep[me] = 1 :: else fi }
  fi;
end_in_either:
  do
  :: in_loop[me] && rung[me] -> in_loop[me] = 0; break
  :: !in_loop[me] && !asleep[me] -> break
  :: !went -> d_step { went = 1; in_loop[me] = 0; asleep[me] = 0 }; break
  od;
#else
  d_step { if :: wake_word[me] == announced -> asleep[me] = 1 :: else fi };
end_asleep:
  asleep[me] == 0;
#endif
  goto again
}

proctype leaver(byte b) { leave(0, b) }

proctype overflow_leaver() {
#ifdef BUG_OVERFLOW_CLEARED
  waiters[0].overflow = 0
#else
  skip                                                         /* nobody owns that bit alone: nobody clears it */
#endif
}

proctype sweeper() {
  bit mine;
#ifdef BUG_SWEEP_UNOWNED
  if :: waiters[0].line[0] == ENTRY(0, DEAD) -> waiters[0].mask[0] = 0 :: else fi
#else
  d_step { if :: waiters[0].line[0] == ENTRY(0, DEAD) -> waiters[0].line[0] = SWEEPING; mine = 1 :: else fi };
  if :: mine -> leave(0, 0) :: else fi
#endif
}

init {
  byte p, c;
  atomic {
    do
    :: p < PARTITIONS -> c = 0; do :: c < COMMITS -> run committer(p, c == COMMITS - 1); c++ :: else -> break od; p++
    :: else -> break
    od;
#ifdef CASE_LEAVE                                              /* consumer 0 leaves its line while 1 comes */
    waiters[0].line[0] = ENTRY(0, 1); waiters[0].mask[0] = 1;
    run leaver(0); run consumer(1, SWEEPING)
#elif defined(CASE_DEAD)                                       /* member 0 was killed while it stood there */
    waiters[0].line[0] = ENTRY(0, DEAD); waiters[0].mask[0] = 1;
#ifdef CASE_SWEEP
    run sweeper();
#endif
#ifdef CASE_AGAIN                                              /* ... and somebody has its index again */
    run consumer(0, SWEEPING);
#endif
    run consumer(1, ENTRY(0, DEAD))
#elif defined(CASE_OVERFLOW)
    run consumer(0, SWEEPING); run overflow_leaver();
    waiters[0].overflow = 0
#else
    run consumer(0, SWEEPING)
#endif
  }
  timeout;
  p = 0;
  do
  :: p < PARTITIONS -> c = 0;
     do :: c < CONSUMERS -> assert(!((asleep[c] || (in_loop[c] && !rung[c])) && resolved[p] > seen[c].at[p])); c++ :: else -> break od;
     p++
  :: else -> break
  od
}
