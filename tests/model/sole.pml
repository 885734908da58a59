/* A partition with one writer (docs/protocol.md, "One writer"): its commit is a plain store, so it stands in a store buffer for a while.
   Modelled: a buffer for each writer, first in first out, which empties when it likes; locked instructions and system calls of its owner wait
   for that. membarrier: at some point between its call and its return the writer's buffer is empty, all points are tried.
   Not modelled: memory orders weaker than that of x86 (sole.c); the futex's time-out.

   CASE_WAKE: one writer, one sleeper. Checked: when nothing moves any more, it does not sleep with a record in front of it.
     FENCED: the kernel refuses the barrier, so the writer fences after every commit.
     Seeded: NO_BARRIER  RECHECK_FIRST (before the barrier)  REGISTER_LATE (after the barrier)  FENCE_IF_MASK (with FENCED)
   else: writer 0 dies, closes or goes on; writer 1 takes over when it can; a helper gives up slots of the dead; maintenance closes the segment.
     Checked: what a reader saw of a slot stays, what was acknowledged is committed by whoever was told so, and lies below the seal.
     Seeded: FIRST_OPEN (the next writer re-uses the first open slot)  ASK_FIRST (who writes is asked before the tail is read)
             GRACE (the slots of a live writer are given up)  FORCED_SEAL (sealed while the writer lives)           (-DBUG_x) */
#ifdef CASE_WAKE

#ifndef COMMITS
#define COMMITS 3
#endif

byte stored, visible;          /* slots 0 .. n-1: committed by the writer; of these in memory */
bit mask, asleep;
byte wake_word, got;

proctype buffer() {
end: do :: visible < stored -> visible++ od
}

proctype writer() {
  byte word; bit seen, woke;
  do
  :: stored < COMMITS ->
     stored++;
#ifdef FENCED
#ifdef BUG_FENCE_IF_MASK
     seen = mask;
     if :: seen -> visible == stored :: else fi;
#else
     visible == stored;
#endif
#endif
     seen = mask;
     if
     :: seen ->
        word = wake_word;
        if
        :: (word & 1) == 1 ->                                  /* a locked instruction: the buffer is empty then */
           atomic { visible == stored; if :: wake_word == word -> wake_word = word + 1; woke = 1 :: else -> woke = 0 fi };
           if :: woke -> asleep = 0 :: else fi
        :: else
        fi
     :: else
     fi
  :: else -> break
  od
}

inline barrier() {
#if !defined(BUG_NO_BARRIER) && !defined(FENCED)
  visible == stored
#else
  skip
#endif
}

proctype sleeper() {
  byte announced; bit registered;
again:
  got = visible;
#ifndef BUG_REGISTER_LATE
  if :: !registered -> mask = 1; registered = 1 :: else fi;
#endif
  d_step { announced = wake_word | 1; wake_word = announced };
#ifndef BUG_RECHECK_FIRST
  barrier();
#endif
  if :: visible > got -> goto again :: else fi;
#ifdef BUG_RECHECK_FIRST
  barrier();
#endif
#ifdef BUG_REGISTER_LATE
  if :: !registered -> mask = 1; registered = 1 :: else fi;
#endif
  d_step { if :: wake_word == announced -> asleep = 1 :: else fi };
end_asleep:
  asleep == 0;
  goto again
}

init {
  atomic { run writer(); run buffer(); run sleeper() };
  timeout;
  assert(stored == COMMITS && visible == stored && !(asleep && visible > got))
}

#else

#define SLOTS 4
#ifndef RECORDS
#define RECORDS 2
#endif
#define SAID 1
#define TAIL 2
#define SLOT 3

byte slot[SLOTS];              /* 0 empty, 1 committed, 2 aborted */
byte value[SLOTS];             /* who committed it: what the frame says */
byte tail, sealed;             /* sealed: 0 open, else the number of slots + 1 */
byte lock;                     /* 0 free, w + 1 a writer's, 9 maintenance's */
bit said[2], alive[2];         /* the member line of each writer: it may touch open slots */
bit asked;                     /* to close the segment */
byte acknowledged[SLOTS];      /* w + 1 */
byte seen[SLOTS];
chan stores[2] = [3 * RECORDS] of { byte, byte };

inline apply(w) {
  d_step {
    stores[w]?what, at;
    if
    :: what == SAID -> said[w] = at
    :: what == TAIL -> tail = at
    :: what == SLOT -> slot[at] = 1; value[at] = w + 1
    fi;
    what = 0; at = 0
  }
}

proctype buffer(byte w) {
  byte what, at;
end: do :: nempty(stores[w]) -> apply(w) od
}

/* Its owner's locked instruction: everything stored before is in memory. */
inline give_up(w, i) { atomic { empty(stores[w]); if :: slot[i] == 0 -> slot[i] = 2 :: else fi } }

proctype writer(byte w) {
  byte n, i, done;
  atomic { lock == 0 -> lock = w + 1 };
  n = tail; i = 0;
#ifdef BUG_FIRST_OPEN
  do :: i < n -> if :: slot[i] == 0 -> n = i :: else -> i++ fi :: else -> break od;
#else
  do :: i < n -> give_up(w, i); i++ :: else -> break od;
#endif
  do
  :: done < RECORDS && n < SLOTS && sealed == 0 ->
     if
     :: asked && n > 0 -> atomic { empty(stores[w]); if :: sealed == 0 -> sealed = n + 1 :: else fi }; break
     :: else
     fi;
     stores[w]!SAID, 1;
     stores[w]!TAIL, n + 1;
     if :: w == 0 -> goto dies :: true fi;
     stores[w]!SLOT, n;
     acknowledged[n] = w + 1;
     n++; done++;
     if :: w == 0 -> goto dies :: true fi
  :: else -> break
  od;
  stores[w]!SAID, 0;                                           /* closes: then its lock */
dies:
  atomic { empty(stores[w]); alive[w] = 0; lock = 0 }          /* the kernel: nothing of it is on its way any more */
}

inline ask() {
  lives = 0;
  if :: said[0] -> if :: alive[0] -> lives = 1 :: else fi :: else fi;
  if :: said[1] -> if :: alive[1] -> lives = 1 :: else fi :: else fi
}

proctype helper() {
  byte t, i; bit lives;
#ifdef BUG_ASK_FIRST
  ask();
  t = tail;
#else
  t = tail;
#ifndef BUG_GRACE
  ask();
#endif
#endif
  do
  :: !lives && i < t -> d_step { if :: slot[i] == 0 -> slot[i] = 2 :: else fi }; i++
  :: else -> break
  od
}

proctype reader() {
  byte i;
end:
  do
  :: i < SLOTS -> atomic { slot[i] != 0; seen[i] = slot[i]; i++ }
  :: else -> break
  od
}

proctype maintenance() {
  byte t, i;
#ifdef BUG_FORCED_SEAL
  t = tail;
  if :: t > 0 -> d_step { if :: sealed == 0 -> sealed = t + 1 :: else fi } :: else fi
#else
  if
  :: atomic { lock == 0 -> lock = 9 };
     t = tail;
     do :: i < t -> d_step { if :: slot[i] == 0 -> slot[i] = 2 :: else fi }; i++ :: else -> break od;
     if :: t > 0 -> d_step { if :: sealed == 0 -> sealed = t + 1 :: else fi } :: else fi;
     lock = 0
  :: asked = 1
  fi
#endif
}

init {
  byte i;
  atomic {
    alive[0] = 1; alive[1] = 1;
    run writer(0); run writer(1); run buffer(0); run buffer(1); run reader(); run helper();
#ifdef CLOSES
    run maintenance()
#endif
  };
  timeout;
  d_step {
    do
    :: i < SLOTS ->
       assert(seen[i] == 0 || seen[i] == slot[i]);
       assert(!acknowledged[i] || (slot[i] == 1 && value[i] == acknowledged[i]));
       assert(!acknowledged[i] || sealed == 0 || i + 1 < sealed);
       i++
    :: else -> break
    od
  }
}

#endif
