/*
 * The loss of a batch and its gradient. A batch is cut into shards of rows, how many
 * depends only on the batch size; each goes forward and backward on its own with a
 * gradient of its own, and the gradients are added in the shards' order. So the sum is
 * the same to the bit however many threads there are. One owner thread.
 */
#ifndef KY_GRADIENT_H
#define KY_GRADIENT_H

#include "models/blueprint.h"
#include "models/evaluate.h"
#include "models/loss.h"
#include "models/pool.h"

typedef struct ky_gradient ky_gradient;

/* Rows to learn from. */
typedef struct ky_batch {
    const float *const *x; /* [n] their values, [T,F] each */
    const int32_t *y;      /* [n] their classes; not read where there are targets */
    const float *target;   /* [n,C] or NULL */
    const ky_real *weight; /* [n] what they count in the loss; NULL: 1 each */
    ky_real *const *state; /* [n] carried states, 64-byte aligned; NULL: from zeros */
    int n;
    uint64_t seed; /* of the dropout of this batch */
} ky_batch;

/**
 * @param m       borrowed, packed with `training`; its weights and packed weights are read at
 *                each batch
 * @param loss    copied
 * @param T       steps a row
 * @param batch   most rows of a batch
 * @param pool    borrowed
 * @param carried the state goes on from batch to batch
 * @return KY_EUNSUPPORTED if a layer cannot be trained, or the last one does not end as the loss
 *         wants it
 */
int ky_gradient_new(const ky_model *m, const ky_loss *loss, int T, int batch, bool carried,
                    ky_pool *pool, ky_gradient **ret, ky_err *err);
void ky_gradient_free(ky_gradient *g);

/** Reals of one stream's carried state, a multiple of 64 bytes: zeros to begin with. */
size_t ky_gradient_state_reals(const ky_gradient *g);

/** Shards that the last batch was cut into. */
int ky_gradient_shards(const ky_gradient *g);

/** Forward and backward; the sums of the rows' losses, with the penalties of their activities, and
 *  of what ky_loss_rows measures. */
double ky_gradient_batch(ky_gradient *g, const ky_batch *b, double *measure);

/** Whether there are such penalties: an ActivityRegularization. */
bool ky_gradient_penalizes(const ky_gradient *g);

/** Their sum over the rows where nothing is learned: no dropout, moving statistics. */
double ky_gradient_penalty(ky_gradient *g, const ky_batch *b);

/** The loss of a model of classes: by its outputs. */
ky_loss ky_gradient_loss(const ky_model *m);

/**
 * Adds up the last batch's gradient for weights [at, at+n) and returns it, d(mean loss)/dw; at
 * the places of moving statistics, the sum over the shards (ky_gradient_shards) of each one's
 * statistic. Ranges may be asked for by several threads, each once a batch.
 */
const ky_real *ky_gradient_sum(ky_gradient *g, size_t at, size_t n);

/** The sum from weight `at` on, where it has been added up; the caller may change it. */
ky_real *ky_gradient_at(ky_gradient *g, size_t at);

#endif
