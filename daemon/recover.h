/*
 * Recovery: what a start finds in the state directory (PROTOCOL.md A4). In this order: positions
 * and versions from results.db, the journal's tail cut, states and senders' numbers loaded, the
 * tail run again through the accept stage's books and the lanes; only then sockets open. After a
 * clean stop the tail is empty.
 */
#ifndef KY_RECOVER_H
#define KY_RECOVER_H

#include "daemon/core.h"
#include "storage/results.h"

typedef struct ky_recovery {
    ky_results *r;
    uint64_t low;  /* everything before is in results.db */
    uint64_t high; /* the highest position that results.db knows */
    /* [models] */
    uint32_t *imported;  /* version of a model file that changed while stopped; 0: it did not */
    uint64_t *from_file; /* hash of the model file as it is */
    bool *first;         /* no version was in force before */
} ky_recovery;

/** Low and high. */
int ky_recover_positions(ky_recovery *v, ky_err *err);

/** The version of each model that was in force at `low`, without a journal the last; imports model
 * files that are new. */
int ky_recover_models(ky_pipeline *p, ky_recovery *v, ky_err *err);

/** Queues that records fit which the journal's tail has under settings of before. Before there are
 *  lanes. */
int ky_recover_room(ky_pipeline *p, const ky_recovery *v, ky_err *err);

/** A stream into its lane, under the version that its state is of. KY_EFORMAT: it is of none, the
 *  stream starts from zeros. Before the lanes start, and on the stream's own lane. */
int ky_recover_state(ky_pipeline *p, const ky_saved_stream *s, int class_, ky_err *err);

/** States into the lanes, numbers into the accept stage. */
int ky_recover_states(ky_pipeline *p, ky_recovery *v, ky_err *err);

/** Runs the journal from `low` on. The lanes and the writer are running. */
int ky_recover_tail(ky_pipeline *p, ky_recovery *v, ky_err *err);

#endif
