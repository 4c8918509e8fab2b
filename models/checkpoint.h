/*
 * Where a training stands, in a file that goes on bit for bit: a model as Keras reads it, and
 * beside it a group /kymo that Keras passes over, with all that the next epoch depends on.
 */
#ifndef KY_CHECKPOINT_H
#define KY_CHECKPOINT_H

#include "models/blueprint.h"
#include "models/optim.h"

/* The trainer's own, after a whole epoch. */
typedef struct ky_checkpoint {
    ky_model *m;
    ky_real *best; /* [n_weights] */
    ky_optim *optim;
    ky_rate *rate;
    ky_rng *rng;
    uint32_t *rows; /* [n_rows] as the last epoch left their order */
    int n_rows;
    ky_json **history;
    uint64_t made_of; /* hash of data and options */
    int epoch, best_epoch, since_best;
    double val_loss, val_accuracy; /* of the best epoch */
} ky_checkpoint;

/** In place of an older one, or not at all. */
int ky_checkpoint_write(const ky_checkpoint *c, const char *path, ky_err *err);

/**
 * Fill in what c points to, and its numbers. KY_EFORMAT if the file is no checkpoint or not whole,
 * KY_EINVAL if it was made of other data, options or another model (c->made_of).
 */
int ky_checkpoint_read(ky_checkpoint *c, const char *path, ky_err *err);

#endif
