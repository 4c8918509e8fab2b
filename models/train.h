/*
 * Training: softmax cross-entropy, Adam, dropout, early stopping on a validation part,
 * one seed for everything. The same data, seed and arguments give the same weights to
 * the bit, whatever the number of threads or the kernel set.
 */
#ifndef KY_TRAIN_H
#define KY_TRAIN_H

#include "models/blueprint.h"

/* Labelled sequences of one length; rows of one group never stand on both sides of a split. */
typedef struct ky_dataset {
    int N, T, F, C;
    const float *x;        /* [N,T,F] */
    const int32_t *y;      /* [N], 0..C-1 */
    const uint32_t *group; /* [N] stream or person; NULL: every row its own */
    const int64_t *ts;     /* [N] time, us; NULL: none. Validation is then the latest part */
    bool carried; /* rows of a group are consecutive pieces of one stream: the state is carried
                     from each to the next (truncated backpropagation), --memory stream */
} ky_dataset;

typedef struct ky_train_progress ky_train_progress;

typedef struct ky_train_opts {
    int epochs, batch, patience, threads;
    double learning_rate, validation; /* validation: share of the rows, (0,1) */
    uint64_t seed;
    /** Called after each batch and epoch; nonzero ends the training with the best weights. */
    int (*progress)(const ky_train_progress *p, void *arg);
    void *arg;
} ky_train_opts;

struct ky_train_progress {
    int epoch, epochs, batch, batches; /* batch == batches: the epoch is over, val_* are set */
    double loss, accuracy, val_loss, val_accuracy;
    double seconds;
};

typedef struct ky_train_result {
    int epochs_run, best_epoch;
    double val_loss, val_accuracy, seconds;
    bool stopped_early;
    ky_json *history; /* array of epochs, owned by the caller */
} ky_train_result;

/** Keras's defaults and ours: 40 epochs, batch 64, patience 8, 1e-3, validation 0.15, all cores. */
void ky_train_defaults(ky_train_opts *o);

/** Fit the input normalisation to the training part, train, keep the epoch best on validation. */
int ky_train(ky_model *m, const ky_dataset *d, const ky_train_opts *o, ky_train_result *ret,
             ky_err *err);

typedef struct ky_score {
    int N, C;
    double accuracy, macro_f1, log_loss;
    uint32_t *confusion; /* [C,C] rows: true, columns: said; owned */
} ky_score;

/** Score a model on labelled sequences along the serving path (ky_plan; P10). */
int ky_evaluate(const ky_model *m, const ky_dataset *d, ky_score *ret, ky_err *err);

#endif
