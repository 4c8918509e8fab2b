/*
 * The accept stage: the one thread that decides, before the journal, what a record is
 * (PROTOCOL.md A1, A2, B2, E1). It takes records from all sources in turn, and in batches:
 *
 *   known?     an acknowledged sender's next number, a Kafka partition's next offset, a sequence
 *              number not seen yet; what is known already is acknowledged again or skipped
 *   whose?     the stream's number, given at first sight; the sample's step number
 *   journal    appended; with the batch, written and synced
 *   then       acknowledged to the senders, handed to the lanes
 *
 * In the journal's order it also appends the swaps and seals that others ask for, and keeps what
 * restarts need of it (last numbers of senders, rejects, events, swaps) in units of its own.
 *
 * The tables here belong to the accept thread; during recovery, before it starts, to the main one.
 */
#ifndef KY_ACCEPT_H
#define KY_ACCEPT_H

#include "daemon/commit.h"
#include "daemon/core.h"
#include "daemon/queue.h"
#include "storage/record.h"
#include "storage/results.h"

typedef struct ky_accept ky_accept;

/* Rows in `positions` that are no source's; no source has such a name. */
#define KY_ACCEPT_JOURNAL "=journal" /* how far the accept stage's own rows go */
#define KY_ACCEPT_MODEL   "=model"   /* by model: hash of the file imported last */
#define KY_ACCEPT_RESET   "=reset"   /* by model: behind the last swap that began all anew */

/* What a source's thread puts into its queue: this, then the record. */
typedef struct ky_arrival {
    uint64_t cookie; /* whom to answer */
    uint32_t holes;  /* values that are NaN, to be filled with the stream's last */
    uint32_t spare;
} ky_arrival;

/* What goes back to it; the reason follows, with its final zero, if there is one. */
typedef struct ky_answer {
    uint64_t cookie, number;
    uint8_t session[KY_SESSION];
    uint32_t reason_len, spare;
} ky_answer;

/** After the lanes and the writer. @param low  the low-water mark that recovery read */
int ky_accept_new(ky_pipeline *p, uint64_t low, ky_accept **ret, ky_err *err);
ky_bell *ky_accept_bell(ky_accept *a);

/** A source's two queues: records to here, answers from here. */
int ky_accept_connect(ky_accept *a, int source, ky_queue *records, ky_queue *answers, ky_err *err);

/* -- recovery, before start -- */

/** @param in_memory  false: results.db has streams of its class that were used later, enough of
 *                    them. Those in memory come in any order. */
void ky_accept_restore_stream(ky_accept *a, const ky_saved_stream *s, int class_, bool in_memory);
/** A row of `positions`. */
void ky_accept_restore_source(ky_accept *a, const char *source, const char *key,
                              const uint8_t session[KY_SESSION], int64_t number);
/** A record of the journal's tail, its source and class already numbered as in the present
 *  configuration (source UINT16_MAX: no longer there): books it and sends it on. */
void ky_accept_replay(ky_accept *a, const ky_record *r);
/** A record of the tail that nothing can answer any more: that it was taken is booked all the
 *  same, and its stream's number stays its own. */
void ky_accept_leave_out(ky_accept *a, const ky_record *r);
/** The tail has run: all before pos is on its way. */
void ky_accept_live(ky_accept *a, uint64_t pos);
/** Before the tail: the hash of a model's file as it is. That it was imported is written when its
 *  version takes over, with the row that says so, as nobody looks at that file again then. */
void ky_accept_note_file(ky_accept *a, int model, uint64_t hash);
/** Behind the tail: whether that file is still to take over; it may have done so in the tail, and
 *  another after it.
 *  @param in_force  its version is */
bool ky_accept_file_waits(ky_accept *a, int model, bool in_force);
/** A row for `swaps` that is not in the journal: the very first version. */
void ky_accept_note_version(ky_accept *a, const ky_version *v);

int ky_accept_start(ky_accept *a, ky_err *err);
/** Returns when all sources' queues are closed and drained and the lanes' queues closed. */
void ky_accept_join(ky_accept *a);
void ky_accept_free(ky_accept *a);

/* -- any thread -- */

/** Append this swap; returns when it is on disk and on its way. */
int ky_accept_swap(ky_accept *a, const ky_swap *s, ky_err *err);
int ky_accept_seal(ky_accept *a, ky_err *err);
/** Kafka: the last offset of "topic/partition" taken, -1 for none. Asks the accept thread, which
 *  may be busy with other sources already. */
int64_t ky_accept_offset(ky_accept *a, int source, const char *key);
void ky_accept_event(ky_accept *a, const char *level, const char *object, const char *what,
                     const char *detail);
/** The writer: sync up to here soon; its bell rings then. */
void ky_accept_want_durable(ky_accept *a, uint64_t pos);

#endif
