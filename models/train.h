/*
 * Training: a loss, an optimizer, dropout, early stopping on a validation part, one seed
 * for everything. The same data, seed and arguments give the same weights to the bit,
 * whatever the number of threads or the kernel set.
 */
#ifndef KY_TRAIN_H
#define KY_TRAIN_H

#include "models/augment.h"
#include "models/blueprint.h"
#include "models/evaluate.h"
#include "models/loss.h"
#include "models/optim.h"

typedef struct ky_train_progress ky_train_progress;

typedef struct ky_train_opts {
    int epochs, batch, patience;
    int threads;    /* 0: all cores; the weights do not depend on it */
    bool fit_input; /* fit the input normalisation (a new model); false: keep it (warm start) */
    double learning_rate, validation; /* validation: share of the rows, (0,1) */
    double clip_norm;                 /* gradients longer than this are shortened to it; 0: never */
    double clip_array; /* the same of each array of weights by itself (Keras: clipnorm) */
    double clip_value; /* elements of the gradient are cut off here (Keras: clipvalue); 0: never */
    double l1, l2;     /* kernels' l1 sum |w| + l2 sum w^2 is added to the loss, also the
                          validation's (Keras: kernel_regularizer) */
    ky_optim_opts optim;
    ky_rate rate;  /* kind, factor and patience of its schedule; learning_rate is its first */
    ky_loss loss;  /* of data with targets; of classes only its smoothing is read */
    bool balanced; /* rows count by rows / (classes * rows of its class) in the loss */
    const double *class_weight; /* [C] rows count so much instead; NULL: 1. Validation: always 1 */
    ky_augment augment;         /* of the rows learned from, each time anew; never of validation */
    uint64_t seed;
    const char *checkpoint; /* written after each epoch, with all that the next depends on; NULL */
    const char *resume;     /* go on from such a file; same model, data and options, but for epochs,
                               patience and threads */
    /** Called after each batch and epoch; nonzero ends the training with the best weights. Called,
     *  too, while the rows held out are answered. */
    int (*progress)(const ky_train_progress *p, void *arg);
    void *arg;
} ky_train_opts;

struct ky_train_progress {
    int epoch, epochs, batch, batches; /* batch == batches: the epoch is over, val_* are set */
    double loss, accuracy, val_loss, val_accuracy; /* accuracy: what `measure` says */
    const char *measure;                           /* "accuracy", "mae" (mean absolute error) */
    int rows, rows_all;                            /* of the epoch: learned from, to learn from */
    int held, held_all;                            /* after them: held out, answered; 0 before and
                                                      when the epoch is over */
    int best_epoch;                                /* so far, by val_loss; 0: none yet */
    double learning_rate;                          /* of the last batch */
    double seconds;
    const ky_json *history; /* as that of the result, so far */
};

typedef struct ky_train_result {
    int epochs_run, best_epoch;
    double val_loss, val_accuracy, seconds;
    bool stopped_early;
    const char *measure;
    ky_json *history; /* array of epochs, owned by the caller */
} ky_train_result;

/** Keras's defaults and ours: 40 epochs, batch 64, patience 8, 1e-3, validation 0.15, gradients
 *  clipped at norm 1, all cores. */
void ky_train_defaults(ky_train_opts *o);

/** Fit the input normalisation to the training part, train, keep the epoch best on validation. */
int ky_train(ky_model *m, const ky_dataset *d, const ky_train_opts *o, ky_train_result *ret,
             ky_err *err);

#endif
