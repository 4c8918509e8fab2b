/*
 * The optimizer: Adam as Keras writes it. It owns two reals a weight; weights and
 * gradients are the caller's. Element by element, so any split over threads gives the
 * same bits.
 */
#ifndef KY_OPTIM_H
#define KY_OPTIM_H

#include "models/error.h"
#include "models/kernels.h"

typedef struct ky_adam {
    double learning_rate, beta1, beta2, epsilon;
    double decay1, decay2; /* beta1^t, beta2^t after t steps */
    ky_real *m;            /* [n] running mean of the gradient */
    ky_real *v;            /* [n] running mean of its square */
    ky_real alpha;         /* of the present step */
} ky_adam;

/** Keras's defaults (0.9, 0.999, 1e-7) for n weights, all slots zero. */
int ky_adam_init(ky_adam *a, size_t n, double learning_rate, ky_err *err);
void ky_adam_done(ky_adam *a);

/** Begin a step: t += 1, alpha = lr sqrt(1 - beta2^t) / (1 - beta1^t). */
void ky_adam_begin(ky_adam *a);

/** The step for weights [at, at+n): w [n], g [n] their gradients. Any thread, ranges disjoint. */
void ky_adam_apply(const ky_adam *a, const ky_kernels *k, size_t at, size_t n, ky_real *w,
                   const ky_real *g);

#endif
