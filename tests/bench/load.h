/*
 * A load on a service that takes samples on a ZeroMQ PULL and publishes answers on a PUB: the
 * sender is a process of its own, the subscriber the calling one. Latency is open loop: from the
 * time a message was due to be sent to its answer's receipt; of formats that carry no time, from
 * its arrival.
 */
#ifndef KY_BENCH_LOAD_H
#define KY_BENCH_LOAD_H

#include "tests/bench/service.h"

enum { BENCH_STREAMS = 1000 };

typedef struct bench_format bench_format;

/** "json", "msgpack", "f32"; NULL for another. */
const bench_format *bench_format_of(const char *name);
const char *bench_format_name(const bench_format *f);
/** Whether a first frame names the stream; such messages carry no time. */
int bench_format_frames(const bench_format *f);

/** First in main: this process may be a sender that the other calls have started. */
void bench_load_init(int argc, char **argv);

typedef struct bench_load {
    const char *in, *out; /* endpoints of the service */
    const bench_format *format;
    int total, room;
    double rate; /* a second; 0: as fast as they are taken */
    /* results */
    double *latency_ms;              /* [room], the first n */
    int n;                           /* answers */
    double seconds;                  /* from the sending of the first answered to the last answer */
    double sender_us, subscriber_us; /* processor time a message */
} bench_load;

/** A load of a service at its place, of at most `room` messages; latency_ms is the caller's to
 * free.
 */
bench_load bench_load_of(const bench_place *at, const bench_format *format, int room);

/** Runs it; ends when an answer has not come for five seconds. */
void bench_load_run(bench_load *l);
/** The same with nothing between: the samples go straight to who would read the answers. */
void bench_bare_run(bench_load *l);

#endif
