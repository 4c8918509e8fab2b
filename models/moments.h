/*
 * Mean and deviation of the values of rows, each of those that are side by side by itself: of
 * series each value of a step, of images each channel. What the input is normalised by.
 */
#ifndef KY_MOMENTS_H
#define KY_MOMENTS_H

#include "models/blueprint.h"
#include "models/dataset.h"

typedef struct ky_moments {
    size_t C;
    double *mean, *squares; /* [C] each, owned; squares: of what is off the mean */
    double n;               /* values of each */
} ky_moments;

int ky_moments_init(ky_moments *s, size_t C, ky_err *err);
void ky_moments_done(ky_moments *s);

/** One row [T,F] of m's input, F a multiple of C; steps that m leaves out do not count. */
void ky_moments_add(ky_moments *s, const ky_model *m, const float *x, size_t T, size_t F);

/** Variance of value c; 1 where it never changes: divided by nearly nothing it would shout. */
double ky_moments_variance(const ky_moments *s, size_t c);

/** Whether all F values of a step are those that Masking takes for a step that is not there. */
bool ky_step_is_masked(const ky_model *m, const float *x, size_t F);

/** The layer that normalises m's input and does not learn: the first, or the one behind Masking;
 *  NULL if there is none. */
ky_layer *ky_model_scaler(const ky_model *m);

/** Give that layer these moments. */
void ky_model_set_scaler(ky_model *m, const ky_moments *s);

#endif
