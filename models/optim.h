/*
 * Optimizers as Keras writes them, and how the learning rate changes while one runs. An
 * optimizer owns its slots, up to three reals a weight; weights and gradients are the
 * caller's. Element by element, so any split over threads gives the same bits.
 */
#ifndef KY_OPTIM_H
#define KY_OPTIM_H

#include <stdbool.h>

#include "models/error.h"
#include "models/kernels.h"

enum ky_optimizer { KY_ADAM, KY_ADAMW, KY_SGD, KY_RMSPROP };
enum { KY_MAX_SLOTS = 3 };

typedef struct ky_optim_opts {
    enum ky_optimizer kind;
    double momentum;     /* of SGD and RMSprop, [0,1) */
    double rho;          /* of RMSprop: how much of its running means a step keeps, [0,1) */
    double weight_decay; /* a step takes this share of lr * w away, before anything else */
    bool nesterov;       /* SGD with momentum: the gradient as if the step were made */
    bool centered;       /* RMSprop: divide by the deviation, not by the root of the square */
} ky_optim_opts;

typedef struct ky_optim {
    ky_optim_opts o;
    double decay1, decay2; /* Adam's beta1^t, beta2^t after t steps */
    size_t n;
    int n_slots;
    ky_real *slot[KY_MAX_SLOTS]; /* [n] each: running means, velocity */
    ky_real rate, alpha;         /* of the present step; alpha: Adam's, with the bias taken out */
} ky_optim;

/** Keras's defaults: rho 0.9, no momentum; AdamW's weight decay is 0.004, others' 0. */
void ky_optim_defaults(enum ky_optimizer kind, ky_optim_opts *ret);

/** Keras's default learning rate: 0.001, of SGD 0.01. */
double ky_optim_rate(enum ky_optimizer kind);

/** By its name: adam, adamw, sgd, rmsprop. KY_EINVAL with all names. */
int ky_optim_find(const char *name, enum ky_optimizer *ret, ky_err *err);

/** All slots zero for n weights. KY_EINVAL where an option is out of range or not this one's. */
int ky_optim_init(ky_optim *a, const ky_optim_opts *o, size_t n, ky_err *err);
void ky_optim_done(ky_optim *a);

/** Begin a step of this learning rate. */
void ky_optim_begin(ky_optim *a, double rate);

/** The step for weights [at, at+n): w [n], g [n] their gradients. Any thread, ranges disjoint. */
void ky_optim_apply(const ky_optim *a, const ky_kernels *k, size_t at, size_t n, ky_real *w,
                    const ky_real *g);

/* ---- the learning rate ---- */

enum ky_decay { KY_DECAY_NONE, KY_DECAY_EXPONENTIAL, KY_DECAY_COSINE, KY_DECAY_PLATEAU };

/* What follows `factor` is where the schedule stands. */
typedef struct ky_rate {
    enum ky_decay kind;
    int patience;  /* PLATEAU: epochs without a lower loss before the rate falls */
    double first;  /* of the first step */
    double factor; /* EXPONENTIAL: of every epoch; PLATEAU: of every fall */
    double now, best;
    int since_best;
} ky_rate;

/** By its name: constant, exponential, cosine, plateau. KY_EINVAL with all names. */
int ky_decay_find(const char *name, enum ky_decay *ret, ky_err *err);

/** Begin with `first`. KY_EINVAL where factor or patience is out of range. */
int ky_rate_init(ky_rate *r, ky_err *err);

/**
 * The rate of a step.
 *
 * @param done  share of all steps that lie before it, [0,1)
 * COSINE: first (1 + cos(pi done)) / 2, as Keras's CosineDecay down to 0 (Loshchilov and Hutter
 * 2017); others: the same throughout an epoch.
 */
double ky_rate_at(const ky_rate *r, double done);

/** An epoch is over with this validation loss. PLATEAU as Keras's ReduceLROnPlateau: a loss counts
 *  as lower from 1e-4 on. */
void ky_rate_next(ky_rate *r, double val_loss);

#endif
