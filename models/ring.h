/*
 * The state of a local layer (convolution, pooling) between two steps: its last inputs
 * and where it stands between two outputs. Zeroed memory is a ring that has seen nothing.
 */
#ifndef KY_RING_H
#define KY_RING_H

#include "models/layer_tools.h"

/* What a layer of that reach keeps; never changes. */
typedef struct ky_reach {
    int past;     /* inputs it looks back to, beside the newest; 0: none */
    int channels; /* values of an input */
    int strides;  /* inputs from one output to the next */
    bool full;    /* the first output waits for all of the past (padding valid) */
} ky_reach;

/** Reals of the state. */
size_t ky_ring_reals(const ky_reach *k);

/** Whether the counters can be those of such a layer. */
bool ky_ring_ok(const ky_reach *k, const void *state);

/** Past inputs it holds, at most k->past. */
int ky_ring_seen(const void *state);

/** The input `lag` steps before the newest, 1 <= lag <= ky_ring_seen(). */
const ky_real *ky_ring_past(const ky_reach *k, const void *state, int lag);

/** Whether the newest input, not yet put, completes an output; call once a step. */
bool ky_ring_due(const ky_reach *k, void *state);

/** The newest input joins the past. */
void ky_ring_put(const ky_reach *k, void *state, const ky_real *x);

#endif
