/*
 * A model version at work in one lane, for one class of streams: the scratch of its waves, where
 * its streams' states come from, and the streams that are ready for it. The lane's thread.
 */
#ifndef KY_WORKS_H
#define KY_WORKS_H

#include "daemon/blocks.h"
#include "daemon/served.h"
#include "daemon/stream.h"

typedef struct ky_works {
    const ky_version *v;
    const ky_plan *plan;
    int nth; /* of its class's models */
    ky_wave *wave;
    size_t state_bytes;  /* a multiple of 64 */
    ky_blocks *blocks;   /* of that size */
    ky_stream **ready;   /* [KY_SLOTS] streams, from head to tail */
    uint32_t head, tail; /* counting on */
    float *y;            /* [max_wave, outputs] */
    char *backup;        /* [max_wave] states before the step */
    size_t strands;      /* that belong to it, with a state in memory or without */
    bool described;      /* the unit being filled, or one before, says what its states are */
    struct ky_works *next;
} ky_works;

/** The works of a version in a list, made at its first use: at recovery or a swap, never in a
 *  wave's path. Being out of memory ends the process.
 *  @param blocks  the lane's, in which states of its size have theirs */
ky_works *ky_works_of(ky_works **list, ky_blocks **blocks, const ky_version *v, int class_, int nth,
                      int max_wave);
/** All of a list. */
void ky_works_free(ky_works *list);
/** A version took over: those of its model's others that no strand belongs to go. No stream is
 *  ready. */
void ky_works_sweep(ky_works **list, const ky_version *now);

static inline ky_stream **ky_works_at(const ky_works *w, uint32_t i)
{
    return &w->ready[i % KY_SLOTS];
}

/** Puts a stream behind those that are ready. */
void ky_works_ready(ky_works *w, ky_stream *s);

/** The state becomes that of a stream that has seen nothing, of this version, before step next_n.
 */
void ky_works_zero(ky_works *w, ky_strand *d, int64_t next_n);
/** The strand, which has no state, belongs to it. */
void ky_works_own(ky_works *w, ky_strand *d);
/** The strand is one that never had a sample, and no state. */
void ky_works_clear(ky_strand *d);

#endif
