/*
 * The writer: the one thread that writes results.db in service. Every stage that has something
 * to commit (each lane, and the accept stage) owns an outbox with two units: it fills one while
 * the writer commits the other, and waits when both are taken.
 *
 * A unit is committed only when the records it came from are on disk (PROTOCOL.md A3), with the
 * low-water mark that this makes true. A database that is busy or a disk that is full is waited
 * for while everything behind waits too; any other failure ends the process.
 */
#ifndef KY_COMMIT_H
#define KY_COMMIT_H

#include <pthread.h>

#include "daemon/core.h"
#include "daemon/queue.h"
#include "storage/results.h"

typedef struct ky_batch {
    ky_unit unit;
    uint64_t pos;    /* the stage has applied everything before this, here or earlier */
    uint64_t needed; /* must be on disk first: end of the last record that went in */
    _Atomic bool full;
} ky_batch;

typedef struct ky_outbox {
    ky_batch batch[2];
    int filling;           /* the stage's */
    int events;            /* in the unit being filled: what repeats is told so often and no more */
    int taking;            /* the writer's */
    _Atomic uint64_t done; /* the writer's: pos of what is committed */
    _Atomic bool closed;
    ky_bell *stage; /* rings when a unit comes back */
    struct ky_writer *writer;
} ky_outbox;

typedef struct ky_writer {
    ky_pipeline *p;
    ky_results *r;
    ky_bell bell;
    pthread_t thread;
    bool started;
    ky_outbox **outboxes;
    int n_outboxes;
    _Atomic uint64_t low_water; /* committed */
} ky_writer;

/* -- the stages -- */

/** The unit to fill; the stage's until handed over. */
ky_unit *ky_outbox_unit(ky_outbox *o);
/** A row in `events`, by whoever fills the unit. Of what outsiders can cause at will only the first
 *  few of a unit are kept; counters count them all. */
void ky_outbox_event(ky_outbox *o, const char *level, const char *object, const char *what,
                     const char *detail);
/** Whether a hand-over would not wait. */
bool ky_outbox_ready(ky_outbox *o);
/** From here on the other unit is filled; only when ready. */
void ky_outbox_turn(ky_outbox *o);
/** The unit that was filled before that, still the stage's. */
ky_unit *ky_outbox_closing(ky_outbox *o);
/** Hand that over. */
void ky_outbox_hand(ky_outbox *o, uint64_t pos, uint64_t needed);
/** Nothing more will come. */
void ky_outbox_close(ky_outbox *o);

/* -- the pipeline -- */

/** @param low  the low-water mark that recovery read; r is borrowed and the writer's from start on
 */
int ky_writer_new(ky_pipeline *p, ky_results *r, uint64_t low, ky_writer **ret, ky_err *err);
/** Before start. */
void ky_writer_add(ky_writer *w, ky_outbox *o, ky_bell *stage);
int ky_writer_start(ky_writer *w, ky_err *err);
/** Returns when all outboxes are closed and everything is committed. */
void ky_writer_join(ky_writer *w);
void ky_writer_free(ky_writer *w);

#endif
