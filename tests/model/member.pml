/* The hazard in a member line, {inflight, uid}, of a producer that goes from partition to partition (docs/protocol.md R3, R4, HELP).
   Modelled: two partitions, P (uid 1) and Q (uid 2), whose segments have the same base number on purpose; producers that append to
   Q, P, Q in turn; a recycler that closes, scans and re-issues P's segment; a helper whose scan decides that an open slot of P has
   no owner. Each shared access is a step.
   Not modelled: memory orders (hazard.c), locks (all members live), files and rolling (log.pml).
   Checked: nobody writes or resolves in P after it was re-issued; a helper never aborts at once what a live member has reserved.
   Sizes:  PRODUCERS, HELP (the helper instead of the recycler)
   Seeded: UID_IN_FLIGHT (uid changes while inflight is set) SCAN_FIRST (inflight and uid read before CLOSED) UID_FIRST (uid read
           before CLOSED, inflight after) UID_LATE (uid stored after the reservation) TAIL_LATE (the helper scans before it loads
           tail)                                                                                                  (-DBUG_x) */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#define SLOTS 8
#define P 1
#define Q 2
#define BASE 10
#define REISSUED 20
#define RESERVING 100

typedef Segment { byte base; byte count; bit closed; byte slot[SLOTS] };
Segment segment[3];            /* [P], [Q] */
byte inflight[PRODUCERS], uid[PRODUCERS] = Q;
byte owner[SLOTS];             /* ghost: who has reserved that slot of P and not let it go, + 1 */

proctype producer(byte me) {
  byte turn, part, n; bit closed, ok;
  do
  :: turn < 3 ->
     part = (turn == 1 -> P : Q);
#ifndef BUG_UID_LATE
     uid[me] = part;                                           /* only while inflight is 0 */
#endif
     inflight[me] = RESERVING + BASE;
     d_step {
       n = segment[part].count; closed = segment[part].closed; segment[part].count++;
       if :: part == P && !closed && segment[P].base == BASE -> owner[n] = me + 1 :: else fi
     }
#ifdef BUG_UID_LATE
     uid[me] = part;
#endif
     if
     :: closed || segment[part].base != BASE -> skip
     :: else ->
        inflight[me] = BASE + n + 1;
#ifdef BUG_UID_IN_FLIGHT
        uid[me] = (turn == 1 -> Q : P);
#endif
        d_step { assert(segment[part].base == BASE) };         /* the payload */
        d_step {
          assert(segment[part].base == BASE);
          if :: segment[part].slot[n] == 0 -> segment[part].slot[n] = 1 :: else fi;
          if :: part == P -> owner[n] = 0 :: else fi
        }
     fi;
     atomic { inflight[me] = 0; n = 0; closed = 0; turn++ }
  :: else -> break
  od
}

inline look(i, from, to) {                                     /* may live member i write into [from, to) of P? */
  word = inflight[i];
  if
  :: word == RESERVING + BASE || (word > from && word <= to) -> if :: uid[i] == P -> danger = 1 :: else fi
  :: else
  fi
}

proctype recycler() {
  byte i, word; bit danger;
#ifdef BUG_UID_FIRST
  byte early[PRODUCERS];
  do :: i < PRODUCERS -> early[i] = uid[i]; i++ :: else -> break od;
  i = 0;
#endif
#ifdef BUG_SCAN_FIRST
  do :: i < PRODUCERS -> look(i, BASE, BASE + SLOTS); i++ :: else -> break od;
#endif
  segment[P].closed = 1;
#ifdef BUG_UID_FIRST
  do :: i < PRODUCERS -> if :: early[i] == P && inflight[i] != 0 -> danger = 1 :: else fi; i++ :: else -> break od;
#elif !defined(BUG_SCAN_FIRST)
  do :: i < PRODUCERS -> look(i, BASE, BASE + SLOTS); i++ :: else -> break od;
#endif
  if
  :: danger                                                    /* unlinked: nobody waits */
  :: else -> d_step { segment[P].base = REISSUED; segment[P].count = 0; segment[P].closed = 0 }
  fi
}

proctype helper() {
  byte i, word; bit danger, reserved;
#ifndef BUG_TAIL_LATE
  reserved = segment[P].count > 0;
#endif
  do :: i < PRODUCERS -> look(i, BASE, BASE + 1); i++ :: else -> break od;
#ifdef BUG_TAIL_LATE
  reserved = segment[P].count > 0;
#endif
  if :: reserved && !danger -> d_step { if :: segment[P].slot[0] == 0 -> assert(owner[0] == 0) :: else fi } :: else fi
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
