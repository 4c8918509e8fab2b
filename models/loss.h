/*
 * Losses as Keras defines them. Cross-entropy takes what stands before the last activation, so
 * that the gradient is exact also where a probability has become zero; the others take the
 * answers. Any thread.
 */
#ifndef KY_LOSS_H
#define KY_LOSS_H

#include "models/error.h"
#include "models/kernels.h"

/* Probabilities are clipped here before the logarithm, as Keras does. */
#define KY_LOSS_CLIP 1e-7

enum ky_loss_kind {
    KY_LOSS_CATEGORICAL, /* of a softmax: -sum over c of t log p */
    KY_LOSS_BINARY,      /* of sigmoids: the mean over c of -t log p - (1 - t) log(1 - p) */
    KY_LOSS_MSE,         /* the mean over c of (p - t)^2 */
    KY_LOSS_MAE,         /* the mean over c of |p - t| */
    KY_LOSS_HUBER,       /* the mean over c of r^2/2, |r| - 1/2 where |r| > 1, r = p - t */
};

typedef struct ky_loss {
    enum ky_loss_kind kind;
    double smoothing; /* of cross-entropy: t (1 - s) + s / C, of BINARY s / 2; [0,1) */
} ky_loss;

/* What rows should be answered. */
typedef struct ky_wanted {
    const int32_t *y;      /* [B] classes; BINARY with one output: 0 or 1 */
    const float *target;   /* [B,C] in the place of classes; of CATEGORICAL there are only those */
    const ky_real *weight; /* [B] of the rows in the sum; NULL: 1 each */
} ky_wanted;

/** "categorical_crossentropy", "binary_crossentropy", "mse", "mae", "huber". */
const char *ky_loss_name(enum ky_loss_kind kind);
int ky_loss_find(const char *name, enum ky_loss_kind *ret, ky_err *err);

/** Whether the loss takes z in the place of softmax(z) or sigmoid(z). */
bool ky_loss_takes_logits(const ky_loss *l);

/** -log of a probability, clipped. */
double ky_loss_of(double p);

/**
 * Loss of B rows and its gradient.
 *
 * @param z       [B,C] before the softmax or sigmoid where the loss takes that, else answers
 * @param scale   1 / rows of the whole batch, where the loss is their mean
 * @param dz      [B,C] receives the gradient; may be z
 * @param measure receives the sum over the rows of: CATEGORICAL 1 where the largest z (the first
 *                of equal ones) is at y; BINARY the share of outputs on the right side of one
 *                half; of others the mean of |p - t|
 * @return        the sum of the rows' losses
 */
double ky_loss_rows(const ky_loss *l, const ky_kernels *k, const ky_real *z, const ky_wanted *w,
                    ky_real scale, ky_real *dz, double *measure, int B, int C);

/** The mean loss and measure of answers p [N,C], probabilities and values. */
double ky_loss_answers(const ky_loss *l, const float *p, const ky_wanted *w, double *measure, int N,
                       int C);

#endif
