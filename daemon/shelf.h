/*
 * The shelf: what a source that may lose samples sets aside while the pipeline is full, and which
 * of it is lost when the shelf is full, too (`when_full`):
 *
 *     drop_oldest   the oldest
 *     latest        all of a stream but the newest; should that not be enough, the oldest
 *
 * A start, reset or end on a sample that is lost is not: the next sample of its stream that gets
 * through begins from zeros. The source's thread owns it; only the count is for everybody.
 */
#ifndef KY_SHELF_H
#define KY_SHELF_H

#include "daemon/accept.h"
#include "daemon/queue.h"

typedef struct ky_shelf_entry {
    uint64_t hash;  /* of a stream's name */
    uint64_t value; /* newest: where its newest sample is; owed: flags, 0 for a free row */
} ky_shelf_entry;

typedef struct ky_shelf {
    bool latest;
    ky_queue ring; /* of ky_arrival, each with its record; both ends are ours */
    uint64_t key[2];
    ky_shelf_entry *newest, *owed; /* sets of a few rows each */
    size_t n_owed;
    size_t dead;    /* bytes of samples in the ring that newer ones replaced */
    char *one;      /* room for one record while it moves */
    ky_arrival *at; /* reserved */
    _Atomic uint64_t dropped;
} ky_shelf;

/** @param bytes  room for records; the largest may have as many. KY_ENOMEM, or why no memory could
 *  be mapped. After a failure, too, done is due. */
int ky_shelf_init(ky_shelf *s, bool latest, size_t bytes, ky_err *err);
void ky_shelf_done(ky_shelf *s);

/** Room for an arrival with its record, `size` bytes in all; what must go for it goes. */
ky_arrival *ky_shelf_reserve(ky_shelf *s, size_t size);
/** It is there, `size` bytes of what was reserved. */
void ky_shelf_commit(ky_shelf *s, size_t size);

/** The oldest arrival that is not lost, with its size; NULL: the shelf is empty. */
const ky_arrival *ky_shelf_first(ky_shelf *s, size_t *ret_size);
/** That one has gone on. */
void ky_shelf_pop(ky_shelf *s);

/** A record that goes on, from the shelf or past it: what lost ones before it meant to it. */
void ky_shelf_settle(ky_shelf *s, ky_record *r);

/** Bytes on it, about. Any thread. */
size_t ky_shelf_fill(const ky_shelf *s);

#endif
