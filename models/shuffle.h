/*
 * A shuffle buffer: rows that do not fit into memory, in an order drawn anew each epoch. Blocks of
 * the source come in a drawn order into a buffer, and batches are drawn out of it; so a file that
 * is sorted by class is mixed well beyond the buffer's size. One owner thread.
 */
#ifndef KY_SHUFFLE_H
#define KY_SHUFFLE_H

#include "models/dataset.h"
#include "models/rng.h"

typedef struct ky_shuffle ky_shuffle;

/**
 * @param d     with a source; borrowed, as is
 * @param row   [n] the rows of d that are drawn, ascending
 * @param batch most rows at a time
 */
int ky_shuffle_new(const ky_dataset *d, const uint32_t *row, int n, int batch, ky_shuffle **ret,
                   ky_err *err);
void ky_shuffle_free(ky_shuffle *s);

/** A new epoch; one number is drawn from rng. */
void ky_shuffle_begin(ky_shuffle *s, ky_rng *rng);

/**
 * The next rows of the epoch, `batch` while there are so many.
 *
 * @param row  [batch] receives which they are, of d
 * @param x    [batch] receives their values, good until the next call
 * @return     how many; 0: the epoch is over
 */
int ky_shuffle_next(ky_shuffle *s, uint32_t *row, const float **x, ky_err *err);

#endif
