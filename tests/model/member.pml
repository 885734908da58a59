/* The hazard in a member line, {inflight, uid, batch}, of a producer that goes from partition to partition (docs/protocol.md R3, R4, HELP).
   Modelled: two partitions, P (uid 1) and Q (uid 2), whose segments have the same base number on purpose; producers that append to
   Q, P, Q in turn, or Q, P, P, Q; a recycler that closes, scans and re-issues P's segment; a helper whose scan decides that an open
   slot of P has no owner. An append into P takes k slots at once; a k above 1 stands in the word `batch`, and inflight says so (as
   built: above 2,047). Each shared access is a step.
   Not modelled: memory orders (hazard.c), locks (all members live), files and rolling (log.pml).
   Checked: nobody writes or resolves in P after it was re-issued; a helper never aborts at once what a live member has reserved.
   Sizes:  PRODUCERS, HELP (the helper instead of the recycler), HELP_AT (the slot it asks about), K and AGAIN (k of the first append
           into P, and of a second), BATCH_AT (k is stored: 0 before inflight is RESERVING, 1 before, 2 after the reservation, as built)
   Seeded: UID_IN_FLIGHT (uid changes while inflight is set) SCAN_FIRST (inflight and uid read before CLOSED) UID_FIRST (uid read
           before CLOSED, inflight after) UID_LATE (uid stored after the reservation) TAIL_LATE (the helper scans before it loads
           tail) BATCH_LATE (k stored after inflight) BATCH_FIRST (k read before inflight) FIRST_SLOT_ONLY (k not read)  (-DBUG_x) */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef K
#define K 1
#endif
#ifdef AGAIN
#define TURNS 4
#else
#define TURNS 3
#define AGAIN 1
#endif
#ifndef BATCH_AT
#define BATCH_AT 2
#endif
#ifndef HELP_AT
#define HELP_AT 0
#endif
#define SLOTS (PRODUCERS * (K + AGAIN))
#define P 1
#define Q 2
#define BASE 10
#define REISSUED 20
#define RESERVING 100
#define IN_BATCH 50

typedef Segment { byte base; byte count; bit closed; byte slot[SLOTS] };
Segment segment[3];            /* [P], [Q] */
byte inflight[PRODUCERS], uid[PRODUCERS] = Q, batch[PRODUCERS];
byte owner[SLOTS];             /* ghost: who has reserved that slot of P and not let it go, + 1 */

inline say_k(when) { if :: k > 1 && when == BATCH_AT -> batch[me] = k :: else fi }

proctype producer(byte me) {
  byte turn, part, n, k, j; bit closed;
  do
  :: turn < TURNS ->
     d_step { part = (turn == 0 || turn == TURNS - 1 -> Q : P); k = (part == Q -> 1 : (turn == 1 -> K : AGAIN)) }
#ifndef BUG_UID_LATE
     uid[me] = part;                                           /* only while inflight is 0 */
#endif
     say_k(0);
     inflight[me] = RESERVING + BASE;
     say_k(1);
     d_step {
       n = segment[part].count; closed = segment[part].closed; segment[part].count = segment[part].count + k;
       j = 0;
       do :: part == P && !closed && segment[P].base == BASE && j < k -> owner[n + j] = me + 1; j++ :: else -> break od;
       j = 0
     }
#ifdef BUG_UID_LATE
     uid[me] = part;
#endif
     if
     :: closed || segment[part].base != BASE -> skip
     :: else ->
#ifndef BUG_BATCH_LATE
        say_k(2);
#endif
        inflight[me] = BASE + n + 1 + (k > 1 -> IN_BATCH : 0);
#ifdef BUG_BATCH_LATE
        say_k(2);
#endif
#ifdef BUG_UID_IN_FLIGHT
        uid[me] = (part == P -> Q : P);
#endif
        d_step { assert(segment[part].base == BASE) };         /* the payload */
        do
        :: j + 1 < k -> d_step { j++; assert(segment[part].base == BASE); segment[part].slot[n + j] = 3 }
        :: else -> break
        od;
        j = 0;
        d_step {
          assert(segment[part].base == BASE);
          if :: segment[part].slot[n] == 0 -> segment[part].slot[n] = 1 :: else fi;
          do :: part == P && j < k -> owner[n + j] = 0; j++ :: else -> break od;
          j = 0
        }
     fi;
     atomic { inflight[me] = 0; n = 0; closed = 0; k = 0; turn++ }
  :: else -> break
  od
}

/* May live member i write into [from, to) of P? Both count from BASE on. */
inline look(i, from, to) {
#ifdef BUG_BATCH_FIRST
  many = batch[i];
  word = inflight[i];
#else
  d_step { word = inflight[i]; many = 1 };
#ifndef BUG_FIRST_SLOT_ONLY
  if :: word > IN_BATCH && word < RESERVING -> many = batch[i] :: else fi;
#endif
#endif
  d_step { if :: word > IN_BATCH && word < RESERVING -> word = word - IN_BATCH :: word < RESERVING -> many = 1 :: else fi }
  if
  :: word == RESERVING + BASE || (word > 0 && word - 1 < BASE + to && word - 1 + many > BASE + from) ->
     if :: uid[i] == P -> danger = 1 :: else fi
  :: else
  fi;
  d_step { word = 0; many = 0 }
}

proctype recycler() {
  byte i, word, many; bit danger;
#ifdef BUG_UID_FIRST
  byte early[PRODUCERS];
  do :: i < PRODUCERS -> early[i] = uid[i]; i++ :: else -> break od;
  i = 0;
#endif
#ifdef BUG_SCAN_FIRST
  do :: i < PRODUCERS -> look(i, 0, SLOTS); i++ :: else -> break od;
#endif
  segment[P].closed = 1;
#ifdef BUG_UID_FIRST
  do :: i < PRODUCERS -> if :: early[i] == P && inflight[i] != 0 -> danger = 1 :: else fi; i++ :: else -> break od;
#elif !defined(BUG_SCAN_FIRST)
  do :: i < PRODUCERS -> look(i, 0, SLOTS); i++ :: else -> break od;
#endif
  if
  :: danger                                                    /* unlinked: nobody waits */
  :: else -> d_step { segment[P].base = REISSUED; segment[P].count = 0; segment[P].closed = 0 }
  fi
}

proctype helper() {
  byte i, word, many; bit danger, reserved;
#ifndef BUG_TAIL_LATE
  reserved = segment[P].count > HELP_AT;
#endif
  do :: i < PRODUCERS -> look(i, HELP_AT, HELP_AT + 1); i++ :: else -> break od;
#ifdef BUG_TAIL_LATE
  reserved = segment[P].count > HELP_AT;
#endif
  if :: reserved && !danger -> d_step { if :: segment[P].slot[HELP_AT] == 0 -> assert(owner[HELP_AT] == 0) :: else fi } :: else fi
}

init {
  atomic {
    byte k = 0;
    segment[P].base = BASE; segment[Q].base = BASE;
    do :: k < PRODUCERS -> run producer(k); k++ :: else -> break od;
#ifdef HELP
    run helper()
#else
    run recycler()
#endif
  }
}
