/*
 * A lane's table of streams: each has one place, which stays as long as the stream does, in
 * slabs that are never moved, each twice as large as the one before; places that became free are
 * taken again. The lane's thread; being out of memory ends the process.
 */
#ifndef KY_STREAMS_H
#define KY_STREAMS_H

#include "daemon/stream.h"

enum { KY_STREAM_SLABS = 23 }; /* for 2^32 places */

typedef struct ky_streams {
    ky_stream *slabs[KY_STREAM_SLABS];
    uint32_t *slot; /* place + 1 by number, 0: free */
    uint32_t n, live, n_slots;
    uint32_t free; /* places to take again, linked through their numbers */
} ky_streams;

void ky_streams_init(ky_streams *t);
void ky_streams_done(ky_streams *t);

/** NULL: it is not there. */
ky_stream *ky_streams_find(const ky_streams *t, uint32_t id);
/* To have a stream and its state at hand when they are needed. Each looks at what the one before it
 * asked for, so there is to be some work between them. */
void ky_stream_want(const ky_stream *s);
void ky_stream_want_state(const ky_stream *s);
/* By number: what stands first where it would be is taken for it. */
void ky_streams_want_slot(const ky_streams *t, uint32_t id);
void ky_streams_want(const ky_streams *t, uint32_t id);
void ky_streams_want_state(const ky_streams *t, uint32_t id);

/** Its place, and what is there: from 0, as low as there is room. */
uint32_t ky_streams_place(const ky_streams *t, const ky_stream *s);
ky_stream *ky_streams_at(const ky_streams *t, uint32_t place);
/** One that is not there, as a stream that never had a sample.
 *  @param n_models  its class has */
ky_stream *ky_streams_add(ky_streams *t, uint32_t id, int class_, int n_models);

/** With all that belongs to it but its state. */
void ky_streams_remove(ky_streams *t, ky_stream *s);

/** All in turn, from NULL to NULL. */
ky_stream *ky_streams_next(const ky_streams *t, const ky_stream *s);

#endif
