#include "models/ring.h"

#include <string.h>

/* The first cache line of the state; the inputs follow it. */
typedef struct counters {
    int32_t seen;  /* inputs in the ring, up to past */
    int32_t head;  /* where the next one goes */
    int32_t phase; /* inputs since the last output, modulo strides */
} counters;

enum { LINE = 16 }; /* reals in front of the inputs, one cache line or two */

size_t ky_ring_reals(const ky_reach *k)
{
    return LINE + (size_t)k->past * (size_t)k->channels;
}

bool ky_ring_ok(const ky_reach *k, const void *state)
{
    const counters *n = state;
    bool wrapped = n->seen == k->past;

    return n->seen >= 0 && n->seen <= k->past && n->phase >= 0 && n->phase < k->strides &&
           n->head >= 0 && (n->head < k->past || n->head == 0) && (wrapped || n->head == n->seen);
}

int ky_ring_seen(const void *state)
{
    return ((const counters *)state)->seen;
}

const ky_real *ky_ring_past(const ky_reach *k, const void *state, int lag)
{
    int at = ((const counters *)state)->head - lag;

    at = at < 0 ? at + k->past : at;
    return (const ky_real *)state + LINE + (size_t)at * (size_t)k->channels;
}

bool ky_ring_due(const ky_reach *k, void *state)
{
    counters *n = state;
    bool due;

    if (k->full && n->seen < k->past)
        return false;
    due = n->phase == 0;
    n->phase = n->phase + 1 < k->strides ? n->phase + 1 : 0;
    return due;
}

void ky_ring_put(const ky_reach *k, void *state, const ky_real *x)
{
    counters *n = state;
    ky_real *inputs = (ky_real *)state + LINE;

    if (k->past == 0)
        return;
    memcpy(inputs + (size_t)n->head * (size_t)k->channels, x, (size_t)k->channels * sizeof(*x));
    n->head = n->head + 1 < k->past ? n->head + 1 : 0;
    n->seen += n->seen < k->past;
}
