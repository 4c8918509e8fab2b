/*
 * The queue between two threads: one produces, one consumes, records of any size in a ring
 * of fixed size. A full queue makes the producer wait; nothing is ever dropped here.
 *
 * A thread waits on its bell: whoever has news for it, through whichever queue, rings that.
 * A bell is listened to before looking and waited on after finding nothing, so a ring in
 * between is not missed:
 *
 *     uint32_t heard = ky_bell_listen(&bell);
 *     if (there is nothing in any queue)
 *         ky_bell_wait(&bell, heard, timeout_us);
 */
#ifndef KY_QUEUE_H
#define KY_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/notify.h"
#include "models/error.h"

/* All zeros is a bell nobody has rung. A thread that listens and waits shows by it that it lives.
 */
typedef struct ky_bell {
    _Atomic uint32_t rings, waiting;
    ky_heart heart;
    void (*also)(void *arg); /* called when it rings, if there is one: its thread waits elsewhere,
                                too; set before anybody rings */
    void *arg;
} ky_bell;

/** Its thread. */
uint32_t ky_bell_listen(ky_bell *b);
/** Any thread; a system call only if somebody waits. */
void ky_bell_ring(ky_bell *b);
/** Returns when it has rung since `heard`, or after timeout_us (-1: none). May return early, and
 *  does so twice a second for the heart's sake. Its thread. */
void ky_bell_wait(ky_bell *b, uint32_t heard, int64_t timeout_us);

typedef struct ky_queue {
    char *ring; /* mapped twice, end to end, so that no record is ever split */
    size_t bytes;
    ky_bell *consumer, *producer;
    _Atomic uint64_t tail; /* written so far; the producer's */
    _Atomic uint64_t head; /* freed so far; the consumer's */
    uint64_t read;         /* looked at so far; the consumer's */
    _Atomic bool closed, wanting;
    _Atomic uint64_t records, waits; /* passed through; times it was found full */
} ky_queue;

/** Room for at least `bytes`, rounded up to pages. The bells outlive the queue; either may be NULL.
 */
int ky_queue_init(ky_queue *q, size_t bytes, ky_bell *consumer, ky_bell *producer, ky_err *err);
void ky_queue_done(ky_queue *q);

/* -- the producer -- */

/** Space for a record of up to `size` bytes, 8-byte aligned; NULL while it is full: the producer's
 *  bell rings when that may have changed. A second call forgets the first's space. */
void *ky_queue_reserve(ky_queue *q, size_t size);
/** The record is there, `size` bytes of what was reserved. */
void ky_queue_commit(ky_queue *q, size_t size);
/** Tells the consumer, once after any number of commits. */
void ky_queue_ring(ky_queue *q);
/** Nothing more will come; tells the consumer. */
void ky_queue_close(ky_queue *q);
/** The largest record that fits an empty queue. */
size_t ky_queue_largest(const ky_queue *q);

/* -- the consumer -- */

/** The next record not looked at yet, NULL if there is none now. It stays where it is until popped.
 */
void *ky_queue_next(ky_queue *q, size_t *ret_size);
/** Frees the oldest record that was looked at. */
void ky_queue_pop(ky_queue *q);
/** The n oldest at once. */
void ky_queue_pop_many(ky_queue *q, uint32_t n);
/** Whether nothing more will be put in. */
bool ky_queue_closed(const ky_queue *q);
/** Whether it was closed and everything has been looked at. */
bool ky_queue_ended(ky_queue *q);

/* -- who is both at once -- */

/** Places are bytes since the queue was made: where the oldest record is, where the next will be.
 */
uint64_t ky_queue_begin(const ky_queue *q);
uint64_t ky_queue_end(const ky_queue *q);
/** The record at its place. */
void *ky_queue_at(const ky_queue *q, uint64_t place);
/** Looks at the oldest again. */
void ky_queue_rewind(ky_queue *q);

/* -- any thread -- */
size_t ky_queue_fill(const ky_queue *q); /* bytes waiting, about */

#endif
