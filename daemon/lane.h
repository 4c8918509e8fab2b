/*
 * A lane: one thread that owns the hidden states of its streams (number % lanes) and applies
 * records to them in the journal's order. Everything here is a function of the records; the
 * clock is read only to say how long an answer took and when to commit.
 *
 * Records wait in the lane's queue until they are applied. Those of one stream form a line; the
 * streams whose first record is waiting are ready, in one list a model version. A wave takes at
 * most one step of each ready stream, as many as there are, up to max_wave: nobody waits for a
 * wave to fill. CONFIG and SWAP records are fences: all before them is applied first.
 */
#ifndef KY_LANE_H
#define KY_LANE_H

#include "daemon/commit.h"
#include "daemon/core.h"
#include "daemon/queue.h"
#include "storage/record.h"
#include "storage/results.h"

typedef struct ky_lane ky_lane;

/** So many states are copied into a unit between two waves; set before lanes start. A test that
 *  sets it low sees waves in between that take millions of streams to be seen otherwise. */
extern size_t ky_lane_at_once;

/** What the lane did before this position is committed. Any thread. */
uint64_t ky_lane_committed(const ky_lane *l);

/** The longest that a unit held it up between two waves: ending what was in the middle, and
 * copying; not waiting for the writer (counted as stalls). Any thread. */
uint64_t ky_lane_longest_hold_us(const ky_lane *l);

/** After the writer. */
int ky_lane_new(ky_pipeline *p, int number, ky_lane **ret, ky_err *err);

/** Where its records go in; the producer's bell is the accept stage's. */
ky_queue *ky_lane_queue(ky_lane *l);

/* -- recovery, before start -- */

/** The version that new starts use from here on. */
void ky_lane_set_version(ky_lane *l, const ky_version *v);
/** The journal file that replaying begins in. */
void ky_lane_set_file(ky_lane *l, uint64_t file_first);
/**
 * A stream with one of the rows that results.db has of it.
 *
 * @param nth  whose state it is: the nth of its class's models; -1: none of them
 * @param v    the version it belongs to; NULL: none, or one that is gone
 * @return KY_OK; KY_EFORMAT: the state is not one of v's, the stream starts from zeros
 */
int ky_lane_restore(ky_lane *l, const ky_saved_stream *s, int class_, int nth, const ky_version *v,
                    ky_err *err);

/** All streams of a model began anew at a record that ends at pos: those that come back from
 *  results.db later do so, too. */
void ky_lane_set_reset(ky_lane *l, int model, uint64_t pos);

int ky_lane_start(ky_lane *l, ky_err *err);
/** Returns when its queue is closed and everything applied and handed over. */
void ky_lane_join(ky_lane *l);
void ky_lane_free(ky_lane *l);

#endif
