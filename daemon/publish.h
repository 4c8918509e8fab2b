/*
 * The publisher: one thread that tells answers to whoever listens (DESIGN 4.2), on all
 * [publish:...] sockets. A lane puts those that are to be told into its own queue; a subscriber
 * that does not keep up loses messages in its own socket and sees that by `pub`, nobody waits for
 * it.
 */
#ifndef KY_PUBLISH_H
#define KY_PUBLISH_H

#include "daemon/core.h"
#include "daemon/queue.h"
#include "daemon/stream.h"

/* One answer. On its way to the publisher [outputs] floats follow, and the stream's name: the
 * stream itself may have left memory when it gets there. */
typedef struct ky_said {
    ky_stream *s; /* the lane's */
    const ky_version *v;
    uint64_t pub; /* how many were published of the stream, with this one */
    int64_t n, seq, ts_us, latency_us;
    float score;
    int32_t label;
    uint16_t class_;
    uint8_t quality, name_len;
} ky_said;

static inline const char *ky_said_name(const ky_said *a)
{
    return (const char *)(a + 1) + (size_t)a->v->facts->outputs * sizeof(float);
}

typedef struct ky_publisher ky_publisher;

/** Opens nothing yet. */
int ky_publisher_new(ky_pipeline *p, ky_publisher **ret, ky_err *err);
/** The queue of a lane; its bell rings when there is room again. Before start. */
ky_queue *ky_publisher_queue(ky_publisher *b, int lane);
/** Opens the sockets and starts. KY_EBUSY: an endpoint is taken. */
int ky_publisher_start(ky_publisher *b, ky_err *err);
/** Returns when all queues are closed and told. */
void ky_publisher_join(ky_publisher *b);
void ky_publisher_free(ky_publisher *b);
/** Where [publish:...] row i can be reached. */
const char *ky_publisher_address(const ky_publisher *b, int i);

/** The JSON of one answer, as it is published; returns its length, or what it would take. */
size_t ky_publisher_json(char *buf, size_t size, const ky_config *cfg, const ky_said *a);

#endif
