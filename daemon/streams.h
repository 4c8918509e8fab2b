/*
 * A lane's table of streams: each has one place, which stays as long as the stream does, in
 * slabs that are never moved. The lane's thread; being out of memory ends the process.
 */
#ifndef KY_STREAMS_H
#define KY_STREAMS_H

#include "daemon/stream.h"

typedef struct ky_streams {
    ky_stream **slabs;
    size_t n_slabs;
    uint32_t lanes;
} ky_streams;

/** @param lanes  of the pipeline: the numbers of this one's streams are so far apart */
void ky_streams_init(ky_streams *t, int lanes);
void ky_streams_done(ky_streams *t);

/** NULL: it is not there. */
ky_stream *ky_streams_find(const ky_streams *t, uint32_t id);
/** One that is not there, as a stream that never had a sample.
 *  @param n_models  its class has */
ky_stream *ky_streams_add(ky_streams *t, uint32_t id, int class_, int n_models, const char *name,
                          size_t len);

/** All in turn, from NULL to NULL, in the order of their numbers. */
ky_stream *ky_streams_next(const ky_streams *t, const ky_stream *s);

#endif
