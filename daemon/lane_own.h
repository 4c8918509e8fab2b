/*
 * What the files of the lane share. lane.c is its thread, its streams and its fences; lane_line.c
 * the records in line; lane_wave.c the waves; lane_tell.c what goes to the publisher;
 * lane_commit.c what goes to the writer. Only these include it, and all of it runs on the lane's
 * thread (or before that has started).
 */
#ifndef KY_LANE_OWN_H
#define KY_LANE_OWN_H

#include "daemon/lane.h"
#include "daemon/log.h"
#include "daemon/marks.h"
#include "daemon/pager.h"
#include "daemon/publish.h"
#include "daemon/streams.h"
#include "daemon/works.h"
#include "models/clock.h"

/* A record in line, and what was decided about it when it became its stream's first. */
typedef struct ky_slot {
    const ky_record *r;
    ky_stream *s;
    uint16_t next;
    uint8_t left; /* so many models have not stepped all of it */
    bool begun, done;
    bool zero, gap, reset; /* reset: zero because of a gap in time */
} ky_slot;

/* Records that were taken from the queue and not yet in line. */
enum { KY_AHEAD = 32 };
typedef struct ky_ahead {
    const ky_record *r[KY_AHEAD];
    uint32_t head, tail;
} ky_ahead;

struct ky_lane {
    ky_pipeline *p;
    int number;
    ky_queue in;
    ky_bell bell;
    pthread_t thread;
    bool started;
    ky_outbox out;
    ky_queue *told; /* to the publisher; NULL without one */
    bool told_any;
    ky_streams streams;
    ky_works **works;            /* [classes] lists */
    ky_blocks *blocks;           /* of all sizes */
    const ky_version **current;  /* [models] */
    uint64_t *reset_pos;         /* [models] end of the last record that began all streams anew */
    const ky_version **reset_to; /* [models] with this version; NULL: results.db says which */
    ky_complaint unusable;       /* states of streams that came back */
    bool hurry;                  /* what is done is to be committed now */
    ky_slot *slots;              /* [KY_SLOTS] */
    uint32_t head, tail;         /* of slots, counting on */
    uint32_t n_applied;          /* records before head that are still in the queue */
    int ready;                   /* streams that wait for a wave, once for each of their models */
    int midway;                  /* records that are begun and not done */
    ky_ahead ahead;
    const ky_record *fence;
    ky_pager *pager;
    int64_t paged_ns; /* when it was last asked */
    uint64_t file_first, done, needed;
    /* By place. Streams that are newer than what was handed over: since the round began, and since
     * before. Of both, those with rows in the unit being filled; and those with rows in the unit
     * being closed, as they were then. */
    ky_marks fresh, round, owed, closing;
    size_t new_bytes; /* of states that the pager does not have yet */
    size_t owed_bytes, others_bytes;
    int64_t others; /* of other streams in the unit being closed, so many states */
    bool is_closing, in_round;
    int64_t closed_ns, closed_us;   /* when closing began */
    uint32_t next_owed, next_other; /* places below have had their turn in this unit */
    uint64_t round_done, handed;    /* done when the round began; done of what was handed over */
    int64_t held_ns;                /* by units, since the last look */
    _Atomic uint64_t longest_hold_us;
    int64_t since_ns; /* when the oldest thing not handed over was done; 0: nothing */
    /* a wave */
    ky_stream **rows;
    const float **x;
    void **state;
    float **y;
    bool *answered;
    uint64_t n_answers; /* of the wave in hand */
};

/* -- lane.c -- */

/** A version at work for a class, whose model it is the nth of. */
ky_works *ky_lane_works_of(ky_lane *l, int class_, int nth, const ky_version *v);
/** The version of its nth model that new starts use. */
ky_works *ky_lane_works(ky_lane *l, const ky_stream *s, int nth);
/** The stream's nth strand is that of one that has seen nothing, before its next step.
 *  @param cut  it lost the beginning of the sequence */
void ky_lane_zero(ky_lane *l, ky_stream *s, int nth, bool cut);
/** The record's stream, read back if it is not in memory, made if it is new. */
ky_stream *ky_lane_stream(ky_lane *l, const ky_record *r);
/** Does to an idle stream what resets before this record did to all while it was not in memory. */
void ky_lane_catch_up(ky_lane *l, ky_stream *s, const ky_record *r);
/** The stream leaves memory; all that was done to it is committed. */
void ky_lane_forget(ky_lane *l, uint32_t id);

/* -- lane_line.c -- */

static inline ky_slot *ky_lane_slot(ky_lane *l, uint32_t i)
{
    return &l->slots[i % KY_SLOTS];
}

/** Takes records from the queue, up to a fence or until a wave has streams enough. @return whether
 *  there were any */
bool ky_lane_admit(ky_lane *l);
/** What is applied leaves the queue. */
void ky_lane_release(ky_lane *l);
/** The stream's first record is applied: it leaves the line. */
void ky_lane_leave(ky_lane *l, ky_stream *s);
/** Goes through the stream's line up to its next sample, which makes it ready. */
void ky_lane_next(ky_lane *l, ky_stream *s);

/* -- lane_wave.c -- */

/** The stream waits for a wave. */
static inline void ky_lane_ready(ky_lane *l, ky_works *w, ky_stream *s)
{
    ky_works_ready(w, s);
    l->ready++;
}

/** A wave of each version that has streams ready; with midway only of those whose record is begun.
 *  @return whether there was any */
bool ky_lane_waves(ky_lane *l, bool midway);

/* -- lane_tell.c -- */

/** An answer is there, of the record: it is published now, later or never, as `emit` says.
 *  @param m  of the stream, as the answer before left it
 *  @param y  [outputs] */
void ky_lane_tell(ky_lane *l, ky_strand *d, const ky_said *a, const ky_record *r, const float *y);
/** a is the sequence's last answer so far. */
void ky_lane_keep_last(ky_strand *d, const ky_said *a, const void *y);
/** The record ends the stream's sequence. */
void ky_lane_tell_last(ky_lane *l, ky_stream *s, const ky_record *r);

/* -- lane_commit.c -- */

static inline ky_unit *ky_lane_unit(ky_lane *l)
{
    return ky_outbox_unit(&l->out);
}

/** Something was done that is to be committed. */
void ky_lane_begin_clock(ky_lane *l);
/** Before a stream's row changes: it has a row, a state to save, and its state0 in this file.
 *  @param r  its record, which names it; may be another's if it has its row */
void ky_lane_touch(ky_lane *l, ky_stream *s, const ky_record *r);
/** The stream's position goes on, though no sample of its own lies there. */
void ky_lane_move(const ky_lane *l, ky_stream *s, uint64_t pos);
/** The stream's position goes behind the record. */
void ky_lane_applied(ky_lane *l, ky_stream *s, const ky_record *r);
/** The unit being filled has a row of the stream, whose state must go with it. After its touch. */
void ky_lane_owe(ky_lane *l, ky_stream *s);
/** Closes a unit when one is due and the writer is free, or when it is too large to grow.
 *  @return whether there is more to do about it at once */
bool ky_lane_commit_if_due(ky_lane *l);
/** Returns when everything is committed. */
void ky_lane_commit_all(ky_lane *l);
int64_t ky_lane_until_due_us(ky_lane *l);
/** States leave memory when the last unit is committed, so that results.db has them. */
void ky_lane_page_out(ky_lane *l);

#endif
