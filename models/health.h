/*
 * How a stream's hidden state is: how large its values are and how many of its units stand at
 * the end of their range. Plain numbers of what is there; nothing is changed. Any thread.
 */
#ifndef KY_HEALTH_H
#define KY_HEALTH_H

#include "models/plan.h"

/* A unit is saturated where |h| is above this and its layer's activation is tanh or a sigmoid,
 * which end at 1: there the gates have all but stopped to follow what comes in. */
#define KY_SATURATED 0.95f

typedef struct ky_health {
    size_t values;    /* of the parts looked at */
    double squares;   /* the sum of their squares */
    float largest;    /* their largest magnitude */
    size_t units;     /* outputs of bounded activations among them */
    size_t saturated; /* and how many of those are */
} ky_health;

/**
 * Adds a part of a state.
 *
 * @param v      [values]
 * @param units  how many of them, from the first on, are outputs of a bounded activation
 */
void ky_health_add(ky_health *h, const float *v, size_t values, size_t units);

/** The hidden states (h, and c) of a state's recurrent layers; no values where there are none. */
ky_health ky_health_of(const ky_plan *p, const void *state);

/** The root of the mean square; NaN where there is no value. */
double ky_health_rms(const ky_health *h);
/** The share of the units that is saturated, 0 to 1; NaN where there is no unit. */
double ky_health_saturated(const ky_health *h);

#endif
