/*
 * Streams whose step ran away: the state or the answer behind it is not finite. The step is
 * undone, for that stream alone, and counted. Everything is a function of the records, and what
 * the next step needs of it goes with the stream's row. The lane's thread.
 */
#ifndef KY_DAEMON_HEALTH_H
#define KY_DAEMON_HEALTH_H

#include "daemon/stream.h"
#include "daemon/works.h"
#include "storage/results.h"

/* A state from which no step was finite for so many steps in a row is at fault itself (a window
 * that holds a value too large for the model, a memory that has grown to the end of float): the
 * stream begins from zeros. */
enum { KY_GIVE_UP = 32 };

/* NULL in a strand: it never happened to it. */
typedef struct ky_sick {
    int64_t times;
    int64_t n, first_n; /* the last step undone, and the first of those in a row before it */
    int64_t at_us;      /* when its sample arrived */
} ky_sick;

/** Whether a row of a wave may stand after its step. y NULL: it gave no answer. */
bool ky_health_stands(const ky_works *w, const void *state, const float *y);

enum ky_undone {
    KY_UNDONE,       /* as the step before */
    KY_UNDONE_FIRST, /* the first in a row */
    KY_UNDONE_ALL,   /* the state was given up: zeros */
};

/**
 * Undoes a step.
 *
 * @param n       its number
 * @param before  the state before it
 * @param at_us   when its sample arrived
 */
enum ky_undone ky_health_undo(ky_strand *d, int64_t n, const void *before, int64_t at_us);

/** What a row of `states` says of it, and back. */
void ky_health_row(const ky_strand *d, int64_t n, int64_t now_us, ky_row_health *ret);
void ky_health_restore(ky_strand *d, const ky_row_health *row);

#endif
