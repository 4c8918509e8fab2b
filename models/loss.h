/*
 * Losses. They take what stands before the last activation, so that the gradient is exact
 * also where a probability has become zero. Any thread.
 */
#ifndef KY_LOSS_H
#define KY_LOSS_H

#include "models/kernels.h"

/* Probabilities are clipped here before the logarithm, as Keras does. */
#define KY_LOSS_CLIP 1e-7

/** -log of a probability, clipped: the loss of one row. */
double ky_loss_of(double p);

/**
 * Softmax cross-entropy of B rows and its gradient.
 *
 *     p = softmax(z),  l = sum over rows of -log p[y],  dl/dz = (p - [c == y]) * scale
 *
 * @param z     [B,C] before the softmax
 * @param y     [B] classes
 * @param scale 1 / rows of the whole batch, where the loss is their mean
 * @param dz    [B,C] receives the gradient; may be z
 * @param hits  receives how many rows have their largest z (the first of equal ones) at y
 * @return      the sum of the rows' losses
 */
double ky_loss_softmax(const ky_kernels *k, const ky_real *z, const int32_t *y, ky_real scale,
                       ky_real *dz, int *hits, int B, int C);

/**
 * Binary cross-entropy of a sigmoid: p = sigmoid(z), dl/dz = (p - y) * scale, y 0 or 1.
 * z, dz [B]; otherwise as above. A row says 1 where p > 0.5.
 */
double ky_loss_sigmoid(const ky_kernels *k, const ky_real *z, const int32_t *y, ky_real scale,
                       ky_real *dz, int *hits, int B);

#endif
