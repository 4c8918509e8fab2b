#include "models/loader.h"

#include <stdlib.h>
#include <string.h>

#include "models/shuffle.h"

struct ky_loader {
    const ky_dataset *d;
    uint32_t *row;
    int n, batch;
    const ky_augmenter *augment;
    ky_pool *pool;
    uint64_t seed;         /* of the epoch */
    ky_schedule *schedule; /* of rows in memory */
    ky_shuffle *shuffle;   /* of those of a source */
    /* [batch] of the batch at hand */
    ky_turn *turns;
    uint32_t *at;
    const float **x;
    float *changed; /* [batch] rows, where they are augmented */
    int32_t *y;
    float *target; /* [batch,C] */
    ky_real *weight;
};

/* Room for a batch. */
static int set_batch(ky_loader *l)
{
    size_t n = (size_t)l->batch, C = l->d->C > 0 ? (size_t)l->d->C : 1, bytes;

    l->turns = calloc(n, sizeof *l->turns);
    l->at = calloc(n, sizeof *l->at);
    l->x = calloc(n, sizeof *l->x);
    l->y = calloc(n, sizeof *l->y);
    l->target = calloc(n * C, sizeof *l->target);
    l->weight = calloc(n, sizeof *l->weight);
    if (l->augment != NULL && (ky_size_mul(n, ky_dataset_len(l->d) * sizeof(float), &bytes) < 0 ||
                               (l->changed = malloc(bytes)) == NULL))
        return KY_ENOMEM;
    return l->turns != NULL && l->at != NULL && l->x != NULL && l->y != NULL && l->target != NULL &&
                   l->weight != NULL
               ? KY_OK
               : KY_ENOMEM;
}

int ky_loader_new(const ky_dataset *d, uint32_t *row, int n, int batch, const ky_augmenter *a,
                  ky_pool *pool, ky_loader **ret, ky_err *err)
{
    ky_loader *l = calloc(1, sizeof *l);
    int rc = KY_ENOMEM;

    if (l != NULL) {
        *l = (ky_loader){ .d = d, .row = row, .n = n, .batch = batch, .augment = a, .pool = pool };
        rc = set_batch(l);
    }
    if (rc < 0)
        ky_fail(err, rc, "no memory for batches of %d rows", batch);
    else if (d->source != NULL && d->carried)
        rc = ky_fail(err, KY_EUNSUPPORTED,
                     "training with carried state wants all rows in memory, these take more than "
                     "%zu MiB",
                     d->source->memory >> 20);
    else if (d->source != NULL)
        rc = ky_shuffle_new(d, row, n, batch, &l->shuffle, err);
    else
        rc = ky_schedule_new(d, row, n, batch, &l->schedule, err);
    if (rc < 0) {
        ky_loader_free(l);
        return rc;
    }
    *ret = l;
    return KY_OK;
}

void ky_loader_free(ky_loader *l)
{
    if (l == NULL)
        return;
    ky_schedule_free(l->schedule);
    ky_shuffle_free(l->shuffle);
    free(l->turns);
    free(l->at);
    free(l->x);
    free(l->changed);
    free(l->y);
    free(l->target);
    free(l->weight);
    free(l);
}

uint32_t *ky_loader_order(ky_loader *l)
{
    return l->schedule != NULL ? ky_schedule_rows(l->schedule) : l->row;
}

int ky_loader_begin(ky_loader *l, ky_rng *rng, uint64_t seed)
{
    l->seed = seed;
    if (l->schedule != NULL)
        return ky_schedule_begin(l->schedule, rng);
    ky_shuffle_begin(l->shuffle, rng);
    return (l->n + l->batch - 1) / l->batch;
}

/* Which rows the batch has, and their values. */
static int draw_rows(ky_loader *l, int i, ky_err *err)
{
    int n;

    if (l->schedule != NULL) {
        n = ky_schedule_batch(l->schedule, i, l->turns);
        for (int r = 0; r < n; r++) {
            l->at[r] = l->turns[r].row;
            l->x[r] = ky_dataset_row(l->d, (int)l->at[r]);
        }
        return n;
    }
    n = ky_shuffle_next(l->shuffle, l->at, l->x, err);
    for (int r = 0; r < n; r++)
        l->turns[r] = (ky_turn){ .row = l->at[r], .lane = r, .fresh = true };
    return n;
}

static void augment_row(void *arg, int r, int worker)
{
    ky_loader *l = arg;
    float *to = l->changed + (size_t)r * ky_dataset_len(l->d);

    (void)worker;
    ky_augment_row(l->augment, ky_hash(l->seed, &l->at[r], sizeof l->at[r]), l->x[r], to);
    l->x[r] = to;
}

int ky_loader_batch(ky_loader *l, int i, ky_batch *ret, const ky_turn **turns, ky_err *err)
{
    const ky_dataset *d = l->d;
    size_t C = (size_t)d->C;
    int n = draw_rows(l, i, err);

    if (n > 0 && l->augment != NULL)
        ky_pool_run(l->pool, n, augment_row, l);
    for (int r = 0; r < n; r++) {
        if (d->y != NULL)
            l->y[r] = d->y[l->at[r]];
        if (d->target != NULL)
            memcpy(l->target + (size_t)r * C, d->target + l->at[r] * C, C * sizeof *l->target);
        if (d->weight != NULL)
            l->weight[r] = d->weight[l->at[r]];
    }
    ret->x = l->x;
    ret->y = l->y;
    ret->target = d->target != NULL ? l->target : NULL;
    ret->weight = d->weight != NULL ? l->weight : NULL;
    ret->n = n;
    *turns = l->turns;
    return n;
}
