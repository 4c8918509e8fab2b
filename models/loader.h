/*
 * The batches of an epoch: which rows, in what order, and their values as they are learned from.
 * Rows in memory are handed on where they lie; those of a source pass through a shuffle
 * buffer. One owner thread.
 */
#ifndef KY_LOADER_H
#define KY_LOADER_H

#include "models/augment.h"
#include "models/dataset.h"
#include "models/gradient.h"
#include "models/rng.h"
#include "models/schedule.h"

typedef struct ky_loader ky_loader;

/**
 * @param d    borrowed, with its weights
 * @param row  [n] the rows to learn from, ascending; borrowed
 * @param a    changes rows on their way; NULL: they stay as they are. Borrowed, as is the pool
 * @return KY_EUNSUPPORTED for streams (d->carried) that are not in memory
 */
int ky_loader_new(const ky_dataset *d, uint32_t *row, int n, int batch, const ky_augmenter *a,
                  ky_pool *pool, ky_loader **ret, ky_err *err);
void ky_loader_free(ky_loader *l);

/** The order [n] that the next epoch's depends on, beside rng: a loader that is given it back goes
 *  on as this one would. */
uint32_t *ky_loader_order(ky_loader *l);

/** A new epoch, its order drawn from rng and what becomes of its rows from the seed; returns how
 *  many batches it has. */
int ky_loader_begin(ky_loader *l, ky_rng *rng, uint64_t seed);

/**
 * The next batch, i counting from 0.
 *
 * @param ret   x, y, target, weight and n are filled in, good until the next call
 * @param turns [n] receives whose state each row continues; borrowed
 */
int ky_loader_batch(ky_loader *l, int i, ky_batch *ret, const ky_turn **turns, ky_err *err);

#endif
