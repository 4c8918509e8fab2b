/*
 * What the files of the accept stage share. accept.c is its thread, its unit and what others ask
 * of it; accept_take.c what becomes of a source's records; accept_disk.c a batch's way through the
 * journal to the lanes; accept_recover.c the start. Only these include it, and all of it runs on
 * the accept thread (or before that has started).
 */
#ifndef KY_ACCEPT_OWN_H
#define KY_ACCEPT_OWN_H

#include "connectors/source.h"
#include "daemon/accept.h"
#include "daemon/books.h"
#include "daemon/log.h"
#include "daemon/reorder.h"
#include "daemon/requests.h"
#include "daemon/spill.h"

enum { KY_BATCH_BYTES = 1 << 20 }; /* a batch is synced at the latest with so many of records */

/* A record between the journal's buffer and the lanes; the record follows. */
typedef struct ky_staged {
    uint64_t cookie, file_first;
    uint32_t sender;
    bool new_file; /* it is the first of a journal file */
} ky_staged;

/* A source, from here. */
typedef struct ky_port {
    ky_queue *records, *answers;
    ky_reorder *reorder; /* NULL: taken as they come */
    enum ky_delivery delivery;
    const ky_arrival *first; /* waits for room for its stream; NULL: nothing does */
    bool answered;           /* something for its thread since it was last told */
} ky_port;

struct ky_accept {
    ky_pipeline *p;
    ky_bell bell;
    pthread_t thread;
    bool started;
    ky_port *ports; /* [sources] */
    ky_books books;
    ky_spill *spill;
    char *stage; /* [stage_cap] the batch: staged records one behind the other */
    size_t stage_len, stage_cap;
    uint64_t file_first, routed;
    uint64_t *sent;     /* [lanes] */
    uint64_t *asked;    /* [lanes] to commit what was sent before */
    uint64_t booked;    /* recovery: rejects, senders and swaps before this are in results.db */
    uint64_t *file;     /* [models] hash of the model file as it is */
    uint64_t *imported; /* [models] of that which was imported last */
    bool *imported_dirty;
    ky_outbox out;
    int64_t since_ns, ticked_ns;
    int64_t now_ns;          /* this round's */
    int64_t left_ns;         /* until something is due by itself */
    int64_t apart_us;        /* the two clocks, when they were last compared ... */
    bool compared;           /* ... in this round already */
    _Atomic uint64_t wanted; /* the writer wants the journal on disk up to here */
    ky_complaint full;       /* the disk under the journal is */
    ky_requests requests;
};

static inline ky_unit *ky_accept_unit(ky_accept *a)
{
    return ky_outbox_unit(&a->out);
}

static inline ky_record *ky_staged_record(ky_staged *s)
{
    return (ky_record *)(s + 1);
}

/* -- accept.c -- */

/** Something was done that is to be committed. */
void ky_accept_begin_clock(ky_accept *a);
/** Now and then: positions of idle lanes, an old file's seal, the unit. */
void ky_accept_tick(ky_accept *a);

/* -- accept_take.c -- */

/** A row of `events`. */
void ky_accept_tell(ky_accept *a, const char *level, const char *object, const char *what,
                    const char *detail);
/** How far the time of day is ahead of the clock that never steps. */
int64_t ky_accept_clocks_apart_us(void);
/** What of a taken sample's order is worth an event. */
void ky_accept_tell_order(ky_accept *a, const ky_record *r, enum ky_seen seen);
/** Whatever arrived, it is told, staged or skipped. False: not before there is room for its stream;
 *  nothing was done.
 *  @param ret_asked  results.db was asked for its stream */
bool ky_accept_take(ky_accept *a, int source, const ky_arrival *v, bool *ret_asked);
/** Ends the sequences of those that were silent for too long. */
void ky_accept_end_silent(ky_accept *a);
/** The record is on disk: its sender is owed that. */
void ky_accept_acknowledge(ky_accept *a, ky_staged *s);
void ky_accept_pay_owed(ky_accept *a);

/** A record that will be nowhere: a full disk met a stop. */
void ky_accept_let_go(ky_accept *a, int source, const ky_record *r);

/* -- accept_disk.c -- */

/** The journal takes nothing more: its disk stayed full, and a stop was asked for. */
static inline bool ky_accept_gave_up(const ky_accept *a)
{
    return atomic_load_explicit(&a->p->waits.journal_given_up, memory_order_relaxed);
}

/** From now on what comes is let go, and what is on disk of the stage is all that is taken of it.
 */
void ky_accept_give_up(ky_accept *a, const char *why);
/** The end: says what was let go, if anything was. */
void ky_accept_tell_let_go(ky_accept *a);
/** Makes the journal durable, however long the disk is full. */
void ky_accept_sync(ky_accept *a);
/** Room for a record at the end of the stage; it is not there before ky_accept_append. */
ky_staged *ky_accept_stage(ky_accept *a, size_t record);
/** The record is complete but for its position. */
void ky_accept_append(ky_accept *a, ky_staged *s);
/** Journal, disk, acknowledgements, lanes (PROTOCOL.md A2); the stage is empty then. */
void ky_accept_finish_batch(ky_accept *a);
/** A record that is on disk goes to its lane, or where it belongs. */
void ky_accept_route(ky_accept *a, const ky_record *r);
void ky_accept_send_all(ky_accept *a, const ky_record *r);
void ky_accept_send_mark(ky_accept *a, int type, uint64_t pos);
void ky_accept_ring_lanes(ky_accept *a);
/** Lanes that had nothing lately hear how far everybody is. */
void ky_accept_mark_idle(ky_accept *a);
/** The writer has what it waits for on disk. */
void ky_accept_serve_writer(ky_accept *a);
void ky_accept_add_version(ky_accept *a, int model, uint32_t version, uint64_t hash, uint64_t pos);
/** This version of a model is in force: its file is imported if it is this one. */
void ky_accept_imported(ky_accept *a, int model, uint64_t hash);
/** The stream leaves its lane's memory. @param arg  the ky_accept */
void ky_accept_send_leave(void *arg, const ky_known *k);
/** Lanes on whose commits somebody waits commit now. */
void ky_accept_ask_for_room(ky_accept *a);

#endif
