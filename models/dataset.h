/*
 * Rows to learn from and to answer. What a split and a score ask about a row (its label, group and
 * time) is in memory; its values are, too, or they are read in blocks from a source, as what
 * they come from does not fit. Whether they are is said by the data and by options, never by
 * the machine: the order of batches depends on it.
 */
#ifndef KY_DATASET_H
#define KY_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/error.h"

/* Where values come from that are not in memory. One thread at a time. */
typedef struct ky_source ky_source;
struct ky_source {
    /** Rows [first, first+n) into x [n,T,F]. */
    int (*read)(ky_source *s, uint32_t first, uint32_t n, float *x, ky_err *err);
    uint32_t rows;  /* there are */
    uint32_t block; /* so many, from a multiple of it on, are read well at once; >= 1 */
    size_t memory;  /* bytes that rows may take in memory at a time */
    uint64_t hash;  /* of all values */
};

/* Rows of one length; rows of one group never stand on both sides of a split. */
typedef struct ky_dataset {
    int N, T, F, C;
    const float *x;        /* [N,T,F]; NULL where there is a source */
    ky_source *source;     /* NULL where there is x */
    const uint32_t *pick;  /* [N] which rows of x or source these are, ascending; NULL: 0..N-1 */
    const int32_t *y;      /* [N], 0..C-1; NULL where there are targets instead */
    const float *target;   /* [N,C] numbers to answer, or 0 and 1 of several labels; NULL */
    const float *weight;   /* [N] of the rows in the loss that is learned from; NULL: 1 each */
    const uint32_t *group; /* [N] stream or person; NULL: every row its own */
    const int64_t *ts;     /* [N] time, us; NULL: none. Validation is then the latest part */
    int64_t span;          /* from a row's first step to its last, as ts; 0: rows do not overlap */
    bool carried; /* rows of a group are consecutive pieces of one stream: the state is carried
                     from each to the next (truncated backpropagation), --memory stream */
} ky_dataset;

/** Values of a row. */
static inline size_t ky_dataset_len(const ky_dataset *d)
{
    return (size_t)d->T * (size_t)d->F;
}

/** Where row i stands in x or in the source. */
static inline uint32_t ky_dataset_place(const ky_dataset *d, int i)
{
    return d->pick != NULL ? d->pick[i] : (uint32_t)i;
}

/** Row i of a dataset in memory. */
static inline const float *ky_dataset_row(const ky_dataset *d, int i)
{
    return d->x + ky_dataset_place(d, i) * ky_dataset_len(d);
}

/* Some rows of a dataset without a copy of their values: what a split gives. */
typedef struct ky_subset {
    ky_dataset d;
    uint32_t *pick;
    int32_t *y;
    float *target;
    uint32_t *group;
    int64_t *ts;
} ky_subset;

/** The rows row[n] of d, ascending, whose values and source are borrowed. Weights are left out. */
int ky_subset_new(const ky_dataset *d, const uint32_t *row, int n, ky_subset *ret, ky_err *err);
void ky_subset_done(ky_subset *p);

/* A walk over all rows in their order: those in memory at once, else as many at a time as the
 * source allows. */
typedef struct ky_walk {
    const ky_dataset *d;
    int first, n;    /* rows [first, first+n) of d are at hand: */
    const float **x; /* [n] */
    float *own;      /* what is read from a source */
} ky_walk;

/** Before the first rows; to be ended by ky_walk_done, also after a failure. */
int ky_walk_begin(ky_walk *w, const ky_dataset *d, ky_err *err);
/** The next rows; how many, 0 at the end. */
int ky_walk_next(ky_walk *w, ky_err *err);
void ky_walk_done(ky_walk *w);

#endif
