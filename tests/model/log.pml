/* The log of one partition, as built: append, roll, retire, recycle, read, help (docs/protocol.md).
   Sequential consistency only; the memory orders are the business of core.c and recycle.c beside this file.

   Modelled: the state block {hint, log_start, resolved_to}; segment files by name, the spare, private (own) files; the words of a segment
   (tail as count and bytes, CLOSED, base, fin, slots) and its payload; the inflight word of each producing member and its lock
   byte; records and batches by fetch_add, large ones by the CAS loop and their forced roll; NEXT, TAKE, RETIRE (from R1, and from R2
   for what a dead maintainer left), several maintainers at once; one reader with its pins, ATTACH, READ, a seek, and HELP; a dead
   owner's slot is aborted at once, a possibly live one's after the grace: the tail is noted when the reader is first blocked, after
   one expiry every EMPTY slot below it is aborted, head first; another helper that does so in the first segment (HELPER). SIGKILL before
   any step of any process (KILLS in all). A freeze is a process that takes no step; GRACES bounds how often a live owner is suspected.
   A batch takes k slots at once: payload, CONT into all but the first, then the first (the head) decides for all.
   Not modelled: waking (waiters.pml), the words of a member line one by one (member.pml), durability, several spares,
   growing segments, the wait of the others while the crosser creates (here they never wait), re-reading inflight (reading
   it later covers that). Unlinked inodes are never used again, so INODES bounds the run: an append without one ends as no_space.

   Checked: nobody writes into, aborts in, or reads from an incarnation that is not the one it believes in; one record per offset;
   nothing is committed below resolved_to (unless retention dropped it); a tail never counts more than the fetch_adds may overshoot;
   the reader sees the committed record of each offset, per producer in order, and of a batch that is not committed none; at the end
   every committed record was seen or was skipped by retention (with HONOUR nothing may be skipped: retention waits for the reader)
   or by the seek; a slot that nobody holds is found open only behind one who died or was stale.

   A HOLD_ switch keeps one process at one point until the log has moved on: a directed search. Each is run on the correct model too.

   Sizes:  PRODUCERS FIRST_RECORDS RECORDS LARGE CAP NSLOTS MAINTAINERS ROUNDS KILLS GRACES INODES HONOUR FINE
           LARGE_FIRST (of the last producer, only record 1 is large) LATE_READER (it attaches when nobody writes any more)
           BATCH (k of the last producer's appends; RECORDS is a multiple) FIRST_BATCH (of producer 0's) LOOP (BATCH by the CAS loop)
           GIVES_UP (a batch may be abandoned before its head is decided) SEEK (once, to anywhere ahead) HELPER
   Holds:  HOLD_HINT (last producer, after it read hint) HOLD_RESERVE HOLD_WRITE (producer 1, until hint reaches the value) HOLD_MAKE
           (producer 1 before T4, until its base is retired) HOLD_FIN (maintainer 1 before it reads fin, until the inode is recycled and sealed again)
           HOLD_CONT (producer 1 after its first CONT, until hint reaches the value)
           HOLD_ATTACH (the reader between pin and open, until that segment is retired)
   Seeded: PLAIN_COMMIT NO_LOG_START NO_RECHECK_MADE NO_RECHECK_ACTIVE CHECK_BEFORE_OPEN NO_RECHECK_FIN NO_BASE_CHECK NO_RESERVING
           NO_WRITING NO_CLOSED NO_SCAN SCAN_FIRST NO_PIN LATE_BUMP FIN_KEPT STALE_ABORTS NO_ABORT_BEFORE_SEAL POSITION_PAST_ABORTED
           NO_HELP_WHEN_CLOSED HEAD_FIRST CONT_DELIVERED NO_WALK_BACK HELP_WHERE_IT_STANDS HELP_TAIL_FIRST ABORT_FIRST_ONLY
           SLOTS_UNCHECKED PASSES_END SOUGHT_RESOLVES                        (-DBUG_x) */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef FIRST_RECORDS
#define FIRST_RECORDS 2        /* of producer 0 */
#endif
#ifndef RECORDS
#define RECORDS 1              /* of each other producer */
#endif
#ifndef LARGE
#define LARGE 0                /* bytes of a record of the last producer, by the CAS loop; 0: it writes small ones like the others */
#endif
#ifndef CAP
#define CAP 1                  /* a small record takes 1 */
#endif
#ifndef NSLOTS
#define NSLOTS (CAP + 2)
#endif
#ifndef MAINTAINERS
#define MAINTAINERS 1
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef GRACES
#define GRACES 0
#endif
#ifndef INODES
#define INODES 6
#endif
#ifndef BATCH
#define BATCH 1
#endif
#ifndef FIRST_BATCH
#define FIRST_BATCH 1
#endif
#ifdef LOOP
#define SMALL_BATCH FIRST_BATCH /* the most that one fetch_add takes */
#else
#define SMALL_BATCH (BATCH > FIRST_BATCH -> BATCH : FIRST_BATCH)
#endif
#define BASES 12               /* offsets stay below */
#define RECORD_TOTAL (FIRST_RECORDS + (PRODUCERS - 1) * RECORDS)

#define ABORTED 15             /* a slot: 0 EMPTY, ABORTED, position + 1 = COMMITTED, or position + 1 + CONT */
#define CONT 16
#define UNSET 99
#define RESERVING 100          /* inflight: 0, RESERVING + base, or offset + 1 = WRITING */
#define NO_PIN 99

typedef Inode { byte base; byte count; byte bytes; bit closed; byte fin; byte slot[NSLOTS]; byte payload[CAP] };
Inode inode[INODES];
byte fresh = 2;                /* the next inode never used; 0 = no file, 1 = the first segment */
byte name[BASES];              /* <base>.log */
byte spare;
byte hint, log_start, resolved_to;
byte inflight[PRODUCERS];
byte inflight_k[PRODUCERS];    /* written and read with it: member.pml has them apart */
bit locked[PRODUCERS];         /* the member's lock byte */
#ifdef LATE_READER
byte pin_current = NO_PIN;
#else
byte pin_current;
#endif
byte pin_next = NO_PIN;
byte kills, graces, ended;
bit abandoned;                 /* somebody died or was stale: slots may be open that nobody holds */

/* Ghosts: what no process can see. */
byte record_at[BASES];         /* committed there */
bit done_with[BASES];          /* delivered, or skipped by retention */
byte last_seen[PRODUCERS];
byte reader_base;

#if KILLS > 0
#define MAY_DIE if :: kills < KILLS -> kills++; abandoned = 1; goto killed :: true fi
#else
#define MAY_DIE skip
#endif
#ifdef FINE                     /* every shared access is a step of its own */
#define TOGETHER
#else                          /* steps that commute with everybody else's are joined; SIGKILL still falls between them */
#define TOGETHER atomic
#endif
#define MINE(i, b) assert(inode[i].base == b)

inline cas(word, old, new, ok) { d_step { if :: word == old -> word = new; ok = 1 :: else -> ok = 0 fi } }

#define BOUNDED(i) assert(closed || inode[i].count <= NSLOTS + PRODUCERS * SMALL_BATCH)

inline fetch_add(i) {
  d_step {
    n = inode[i].count; pos = inode[i].bytes; closed = inode[i].closed;
    inode[i].count = inode[i].count + k; BOUNDED(i);
    inode[i].bytes = (inode[i].bytes + need <= CAP -> inode[i].bytes + need : CAP + 1)
  }
}

#define FITS(at, slots) (at + need <= CAP && slots + k <= NSLOTS)

/* A large one never passes the end: it fits, or it forces the roll by one CAS that takes one slot. */
inline cas_tail(i, ok) {
  d_step {
    if
    :: inode[i].count == n && inode[i].bytes == pos && inode[i].closed == closed ->
       ok = 1;
       if
       :: FITS(pos, n) -> inode[i].count = n + k; inode[i].bytes = pos + need
       :: else -> inode[i].count = n + 1; inode[i].bytes = CAP + 1
       fi;
       BOUNDED(i)
    :: else -> ok = 0
    fi
  }
}

inline write() { d_step { MINE(i, b); j = 0; do :: j < k -> inode[i].payload[pos + j] = value + j; j++ :: else -> break od; j = 0 } }

/* The head: what it becomes, all of the batch becomes. */
inline decide() {
  d_step {
    MINE(i, b);
#ifdef BUG_PLAIN_COMMIT
    ok = 1; inode[i].slot[n] = pos + 1;
#else
    if :: inode[i].slot[n] == 0 -> inode[i].slot[n] = pos + 1; ok = 1 :: else -> ok = 0 fi;
#endif
    j = 0;
    do
    :: ok && j < k -> assert(record_at[b + n + j] == 0 && (b + n >= resolved_to || b + n < log_start)); record_at[b + n + j] = value; value++; j++
    :: else -> break
    od;
    j = 0
  }
}

proctype producer(byte me; byte value; byte last; byte k; byte need; bit loop) {
  byte b, i, n, pos, nb, j; bit ok, closed, made;
take_hint:
  atomic { n = 0; pos = 0; nb = 0; ok = 0; closed = 0; made = 0; i = 0; b = 0;
           if :: value > last -> goto finished :: else fi; MAY_DIE;
#ifdef HOLD_HINT
           if :: me == PRODUCERS - 1 -> (hint == 1) :: else fi;
#endif
           b = hint }
#ifdef HOLD_HINT
  if :: me == PRODUCERS - 1 -> (log_start > b) :: else fi;
#endif
  atomic { i = name[b]; if :: i == 0 || inode[i].base != b -> goto take_hint :: else fi }
#if !defined(BUG_NO_RECHECK_ACTIVE) && !defined(BUG_NO_LOG_START)
  if :: b < log_start -> goto take_hint :: else fi;
#endif
reserve:
  atomic { if :: value > last -> goto finished :: else fi; MAY_DIE;
#ifdef HOLD_RESERVE
           if :: me == 1 -> (hint >= HOLD_RESERVE) :: else fi;
#endif
#ifndef BUG_NO_RESERVING
           inflight[me] = RESERVING + b
#endif
  }
  TOGETHER {
  if
  :: atomic { !loop -> MAY_DIE; fetch_add(i) }
  :: else ->
again:
     atomic { n = inode[i].count; pos = inode[i].bytes; closed = inode[i].closed }
     if
     :: closed || pos > CAP || n >= NSLOTS -> ok = 0
     :: else -> atomic { MAY_DIE; cas_tail(i, ok); if :: !ok -> goto again :: else fi }
     fi
  fi;
  atomic {
    if
#ifndef BUG_NO_BASE_CHECK
    :: closed || inode[i].base != b ->
#else
    :: closed ->
#endif
       goto stale
    :: else fi;
#ifdef BUG_SLOTS_UNCHECKED
    if :: pos + need > CAP || n >= NSLOTS -> goto no_room :: else fi
#else
    if :: !FITS(pos, n) -> goto no_room :: else fi
#endif
  }
  }
  atomic { MAY_DIE;
#ifndef BUG_NO_WRITING
           inflight[me] = b + n + 1; inflight_k[me] = k;
#else
           inflight[me] = 0;
#endif
           if :: k > 1 -> goto batch :: else fi }
#ifdef HOLD_WRITE
  if :: me == 1 -> (hint >= HOLD_WRITE) :: else fi;
#endif
  TOGETHER {
  atomic { MAY_DIE; write() }
  atomic { MAY_DIE; decide() }
  }
done:
  atomic { MAY_DIE; inflight[me] = 0; inflight_k[me] = 0; n = 0; pos = 0; ok = 0; closed = 0; j = 0;
#ifdef LARGE_FIRST
           if :: value > 1 -> need = 1; loop = 0 :: else fi;
#endif
           goto reserve }

batch:
#ifdef HOLD_WRITE
  if :: me == 1 -> (hint >= HOLD_WRITE) :: else fi;
#endif
  atomic { MAY_DIE; write();
#ifdef BUG_HEAD_FIRST
           decide(); if :: ok -> value = value - k :: else -> goto done fi;
#endif
           j = 1 }
  do
  :: atomic { j < k -> MAY_DIE; d_step { MINE(i, b); inode[i].slot[n + j] = pos + j + 1 + CONT; j++ } }
#ifdef HOLD_CONT
     if :: me == 1 && j == 2 -> (hint >= HOLD_CONT) :: else fi;
#endif
#ifdef GIVES_UP
  :: atomic { j > 1 -> j = 0; goto give_up }
#endif
  :: else -> break
  od;
#ifdef BUG_HEAD_FIRST
  atomic { value = value + k; goto done }
#else
  atomic { MAY_DIE; decide(); goto done }
#endif
#ifdef GIVES_UP
give_up:                                                      /* head first */
  do
  :: atomic { j < k -> MAY_DIE; MINE(i, b); cas(inode[i].slot[n + j], 0, ABORTED, ok); j++ }
  :: else -> break
  od;
  atomic { value = value + k; goto done }
#endif

stale:                                                        /* somebody else's incarnation: touch nothing */
  abandoned = 1;
#ifdef BUG_STALE_ABORTS
  atomic { if :: !closed && n < NSLOTS && inode[i].slot[n] == 0 -> MINE(i, b); inode[i].slot[n] = ABORTED :: else fi }
#endif
  atomic { MAY_DIE; inflight[me] = 0; goto take_hint }

no_room:                                                         /* mine, under RESERVING: abort my slot, seal, go on */
  if
  :: loop && !ok -> skip                                      /* a large one that found the tail past the end took no slot */
  :: else ->
#ifndef BUG_NO_ABORT_BEFORE_SEAL
#ifdef BUG_ABORT_FIRST_ONLY
     if :: n < NSLOTS -> atomic { MAY_DIE; MINE(i, b); cas(inode[i].slot[n], 0, ABORTED, ok) } :: else fi
#else
     do
     :: atomic { n + j < NSLOTS && j < (loop -> 1 : k) -> MAY_DIE; MINE(i, b); cas(inode[i].slot[n + j], 0, ABORTED, ok); j++ }
     :: else -> break
     od
#endif
#else
     skip
#endif
  fi;
  atomic { MAY_DIE; MINE(i, b);
           if :: n == 0 -> n = 1 :: n > NSLOTS -> n = NSLOTS :: else fi;
           cas(inode[i].fin, 0, n + 1, ok); nb = b + inode[i].fin - 1; assert(nb < BASES) }
  atomic { MAY_DIE; inflight[me] = 0; n = 0; pos = 0; ok = 0; closed = 0; j = 0 }

next:
  TOGETHER {
#ifndef BUG_NO_LOG_START
  atomic { made = 0; i = 0; if :: nb < log_start -> goto take_hint :: else fi }
#endif
  atomic { i = name[nb]; if :: i != 0 && inode[i].base != nb -> goto next :: else fi }
  if
  :: i == 0 ->
#ifndef BUG_NO_LOG_START
     if :: hint > nb -> goto take_hint :: else fi;
#endif
     atomic { MAY_DIE;                                        /* T1 */
              if
              :: spare != 0 -> i = spare; spare = 0
              :: spare == 0 && fresh < INODES -> i = fresh; fresh++; inode[i].closed = 1; inode[i].base = UNSET
              :: else -> goto finished                        /* no_space */
              fi }
     atomic { MAY_DIE; inode[i].base = nb }                   /* T2 */
     atomic { MAY_DIE; d_step { inode[i].count = 0; inode[i].bytes = 0; inode[i].closed = 0 } }                          /* T3 */
     made = 1
  :: else fi
  }
  if
  :: made ->
#ifdef HOLD_MAKE
     if :: me == 1 -> (log_start > nb) :: else fi;
#endif
     atomic { MAY_DIE; if :: name[nb] == 0 -> name[nb] = i :: else -> goto next fi }                             /* T4 */
  :: else fi;
#if !defined(BUG_NO_RECHECK_MADE) && !defined(BUG_NO_LOG_START)
  atomic { if
           :: nb < log_start -> if :: made -> goto unlink_made :: else -> goto take_hint fi
           :: else fi }
#endif
  atomic { MAY_DIE; if :: hint < nb -> hint = nb :: else fi; b = nb; nb = 0; made = 0; goto reserve }
unlink_made:
  atomic { MAY_DIE; name[nb] = 0; goto take_hint }
killed:
finished:
  atomic { locked[me] = 0; ended++ }
}

/* R4: a live member that may still write there. One load per member. */
inline scan(p, b, c, doubt) {
  p = 0;
  do
  :: p < PRODUCERS ->
     d_step {
       if
       :: locked[p] && inflight[p] == RESERVING + b -> doubt = 1
       :: locked[p] && inflight[p] > 0 && inflight[p] <= b + c && inflight[p] + inflight_k[p] > b + 1 -> doubt = 1
       :: else fi;
       p++
     }
  :: else -> break
  od;
  p = 0
}

#if MAINTAINERS == 1
#define TOGETHER_MAINTAINER TOGETHER
#else
#define TOGETHER_MAINTAINER
#endif

proctype maintainer(byte me) {
  byte b, i, c, p, round; bit doubt;
step:
  atomic { b = 0; i = 0; c = 0; p = 0; doubt = 0; if :: round == ROUNDS || ended == PRODUCERS -> goto finished :: else fi }
  TOGETHER_MAINTAINER {
  if
  :: atomic { name[log_start] != 0 -> b = log_start }          /* the oldest segment, by policy */
  :: atomic {                                                  /* or what somebody left below log_start: from R2, no bump */
       b < log_start ->
       do :: b < log_start && name[b] == 0 -> b++ :: else -> break od
     }
     if :: b < log_start -> goto rename_own :: else -> goto step fi
  :: ended == PRODUCERS -> goto finished
  fi;
  atomic { i = name[b]; if :: i == 0 || inode[i].base != b -> goto step :: else fi }
#ifdef HOLD_FIN
  if :: me == 1 -> (inode[i].base != b && inode[i].fin != 0) :: else fi;
#endif
  atomic { c = inode[i].fin; if :: c == 0 -> goto step :: else -> c-- fi }
#ifndef BUG_NO_RECHECK_FIN
  if :: inode[i].base != b -> goto step :: else fi;            /* fin was this incarnation's only if base still is */
#endif
  if :: b + c > hint -> goto step :: else fi;
#ifdef HONOUR
  if :: b + c > reader_base -> goto step :: else fi;
#endif
  skip }
#ifndef BUG_LATE_BUMP
  atomic { MAY_DIE; round++; if :: log_start < b + c -> log_start = b + c :: else fi; i = 0; c = 0 }                            /* R1 */
#else
  scan(p, b, c, doubt);
  if :: pin_current == b || pin_next == b -> doubt = 1 :: else fi;
  atomic { round++; if :: log_start < b + c -> log_start = b + c :: else fi; i = 0; c = 0 }
#endif
rename_own:
  atomic { MAY_DIE; i = name[b]; name[b] = 0; if :: i == 0 -> goto step :: else fi }                                   /* R2 */
#ifdef BUG_SCAN_FIRST
  atomic { c = inode[i].count };
  scan(p, b, c, doubt);
#endif
#ifndef BUG_NO_CLOSED
  atomic { MAY_DIE; inode[i].closed = 1; c = inode[i].count }                                                         /* R3 */
#else
  c = inode[i].count;
#endif
#if !defined(BUG_NO_SCAN) && !defined(BUG_LATE_BUMP) && !defined(BUG_SCAN_FIRST)
  scan(p, b, c, doubt);                                                                                                /* R4 */
#endif
#if !defined(BUG_NO_PIN) && !defined(BUG_LATE_BUMP)
  if :: pin_current == b || pin_next == b -> doubt = 1 :: else fi;                                                     /* R5 */
#endif
  TOGETHER {
  atomic { MAY_DIE; if :: doubt -> goto step :: else fi; inode[i].base = UNSET }                                       /* R6 */
  atomic { MAY_DIE; d_step { p = 0; do :: p < NSLOTS -> inode[i].slot[p] = 0; p++ :: else -> break od; p = 0 } }      /* R7 */
#ifndef BUG_FIN_KEPT
  atomic { MAY_DIE; inode[i].fin = 0 }
#endif
  atomic { MAY_DIE; if :: spare == 0 -> spare = i :: else fi; goto step }                                             /* R8 */
  }
killed:
finished:
  skip
}

/* HELP at once: no live member may own the slot (member.pml looks at this scan word by word). */
inline owner_possible(p, off, possible) {
  d_step {
    p = 0; possible = 0;
    do
    :: p < PRODUCERS ->
       if
       :: locked[p] && inflight[p] == RESERVING + rb -> possible = 1
       :: locked[p] && inflight[p] > 0 && inflight[p] <= off + 1 && inflight[p] + inflight_k[p] > off + 1 -> possible = 1
       :: else
       fi;
       p++
    :: else -> break
    od;
    p = 0
  }
}

#if defined(SEEK) && !defined(BUG_SOUGHT_RESOLVES) /* who did not walk there does not know what lies below */
#define RESOLVED_BELOW(offset) skip
#else
#define RESOLVED_BELOW(offset) if :: resolved_to < (offset) -> resolved_to = (offset) :: else fi
#endif

inline deliver() {
  d_step {
    MINE(ri, rb);
    if :: x < CONT -> head = 1 :: else -> x = x - CONT fi;
    if
    :: rb + rn >= target ->
       v = inode[ri].payload[x - 1];
       assert(v != 0 && record_at[rb + rn] == v && !done_with[rb + rn]);
       done_with[rb + rn] = 1;
       p = (v <= FIRST_RECORDS -> 0 : 1 + (v - FIRST_RECORDS - 1) / RECORDS);
       assert(v > last_seen[p]); last_seen[p] = v; p = 0; v = 0;
       position = rb + rn + 1;
       RESOLVED_BELOW(position)
    :: else
    fi;
    x = 0; rn++
  }
}

inline skip_to(to) { /* the reader counts these as missed */
  p = position; do :: p < to -> done_with[p] = 1; p++ :: else -> break od; p = 0
}

proctype reader() {
  byte rb, rn, ri = 1, position, x, f, nb, v, p, noted, final, target; bit ok, head, sought;
#ifdef LATE_READER                                             /* attaches when nobody writes any more */
  atomic { ended == PRODUCERS -> rb = 0; goto out_of_range }
#endif
#ifdef HOLD_ATTACH
  (hint >= 1);
#endif
loop:
#ifdef SEEK
  if
  :: atomic { !sought && rb == 0 -> sought = 1; MAY_DIE; target = position;
              do :: target < inode[ri].count && target < NSLOTS - 1 -> done_with[target] = 1; target++ :: break od;
              rn = target; noted = 0; position = target }
walk:                                                          /* back to what is decided for itself, or to the segment's first */
     atomic { MINE(ri, rb); x = inode[ri].slot[rn];
#ifdef BUG_NO_WALK_BACK
              skip
#elif defined(BUG_HELP_WHERE_IT_STANDS)
              if :: rn > 0 && x > CONT -> rn--; goto walk :: else fi
#else
              if :: rn > 0 && (x == 0 || x > CONT) -> rn--; goto walk :: else fi
#endif
     }
     atomic { x = 0; head = 0 }
  :: true
  fi;
#endif
  atomic { noted = 0; if :: ended == PRODUCERS && final == 2 -> goto finished :: else fi;
           final = (ended == PRODUCERS -> 1 : 0) }             /* 1: nobody writes any more, one last full look */
look:
  TOGETHER {
  atomic { MAY_DIE; f = 0; nb = 0; v = 0; ok = 0; x = 0;
           if :: rn < NSLOTS -> MINE(ri, rb); x = inode[ri].slot[rn] :: else fi }
  if
  :: x == 0 ->
     d_step { MINE(ri, rb); f = inode[ri].fin }
     if
     :: f > 0 && rn >= f - 1 -> nb = rb + f - 1; goto attach
     :: else -> atomic { if :: inode[ri].count > rn || f > 0 -> goto blocked :: else -> goto idle fi }
     fi
#ifdef BUG_CONT_DELIVERED
  :: x == ABORTED ->
#else
  :: x == ABORTED || (x > CONT && !head) ->
#endif
     atomic { if :: noted > rn -> skip :: else -> noted = 0 fi; rn++; x = 0; head = 0;
#ifdef BUG_POSITION_PAST_ABORTED
              position = rb + rn; RESOLVED_BELOW(position);
#endif
              goto look }                                      /* position waits: past the seal this number is the next segment's */
  :: else -> atomic { deliver(); noted = 0; goto look }
  fi
  }

blocked:
  atomic { if :: noted == 0 && graces < GRACES -> noted = inode[ri].count; if :: noted <= rn -> noted = rn + 1 :: else fi :: else fi;
           if :: rn >= NSLOTS -> goto idle :: else fi;
#ifdef BUG_NO_HELP_WHEN_CLOSED
           if :: inode[ri].closed -> goto idle :: else fi;
#endif
           owner_possible(p, rb + rn, ok) }
  if
  :: !ok || final == 1 -> atomic { MAY_DIE; MINE(ri, rb); cas(inode[ri].slot[rn], 0, ABORTED, ok); assert(!ok || abandoned); goto look }
  :: ok && final == 0 && graces < GRACES -> graces++; p = rn;
     do
     :: atomic { p < noted && p < NSLOTS -> MAY_DIE; MINE(ri, rb); cas(inode[ri].slot[p], 0, ABORTED, ok); p++ }
     :: else -> break
     od;
     atomic { p = 0; noted = 0; goto look }
  :: ok && final == 0 -> atomic { ok = 0; f = 0; goto loop }
  fi;

attach:                                                        /* pin, then open, then look whether it is still wanted */
  TOGETHER {
  if :: hint < nb && final == 0 -> goto idle :: else fi;
  atomic { MAY_DIE; pin_next = nb }
  }
#ifdef BUG_CHECK_BEFORE_OPEN
  if :: log_start > nb -> goto out_of_range :: else fi;
#endif
#ifdef HOLD_ATTACH
  if :: final == 0 -> (log_start > nb) :: else fi;
#endif
  atomic { x = name[nb]; if :: x != 0 && inode[x].base != nb -> x = 0 :: else fi }
#ifndef BUG_CHECK_BEFORE_OPEN
  if :: log_start > nb -> goto out_of_range :: else fi;
#endif
  if :: x == 0 -> atomic { pin_next = NO_PIN; if :: log_start > nb -> goto out_of_range :: else -> goto idle fi } :: else fi;
  atomic { MAY_DIE;
           d_step { skip_to(nb); RESOLVED_BELOW(nb); if :: position < nb -> position = nb :: else fi;
                    rb = nb; reader_base = nb; rn = 0; head = 0; ri = x; x = 0; pin_current = nb; pin_next = NO_PIN }
           goto look }
out_of_range:
#ifdef HONOUR
  assert(false);
#endif
  atomic { nb = log_start; x = 0; goto attach }

idle:
  atomic { x = 0; f = 0; nb = 0; ok = 0; if :: final == 1 -> final = 2 :: else fi; goto loop }
killed:
  atomic { pin_current = NO_PIN; pin_next = NO_PIN; goto end_reader }
finished:
  p = 0;
  d_step { do :: p < BASES -> assert(record_at[p] == 0 || done_with[p]); p++ :: else -> break od }
end_reader:
  skip
}

#ifdef HELPER
/* Another reader, blocked at the first open slot of the first segment: its grace is over. */
proctype helper() {
  byte p, noted; bit ok;
  atomic { (inode[1].count > 0) -> noted = (inode[1].count < NSLOTS -> inode[1].count : NSLOTS) }
  do
  :: atomic { p < noted -> MAY_DIE;
#ifdef BUG_HELP_TAIL_FIRST
              cas(inode[1].slot[noted - 1 - p], 0, ABORTED, ok);
#else
              cas(inode[1].slot[p], 0, ABORTED, ok);
#endif
              p++ }
  :: else -> break
  od;
killed:
  atomic { p = 0; noted = 0; ok = 0 }
}
#endif

init {
  atomic {
    byte k = 0;
    name[0] = 1;
    do
    :: k < PRODUCERS ->
       locked[k] = 1;
       run producer(k, (k == 0 -> 1 : FIRST_RECORDS + (k - 1) * RECORDS + 1), (k == 0 -> FIRST_RECORDS : FIRST_RECORDS + k * RECORDS),
                    (k == PRODUCERS - 1 -> BATCH : (k == 0 -> FIRST_BATCH : 1)),
                    (k == PRODUCERS - 1 -> (LARGE > 0 -> LARGE : BATCH) : (k == 0 -> FIRST_BATCH : 1)),
#if defined(LOOP) && !defined(BUG_PASSES_END)
                    k == PRODUCERS - 1);
#else
                    LARGE > 0 && k == PRODUCERS - 1);
#endif
       k++
    :: else -> break
    od;
    k = 0; do :: k < MAINTAINERS -> run maintainer(k); k++ :: else -> break od;
#ifdef HELPER
    run helper();
#endif
    run reader()
  }
}
