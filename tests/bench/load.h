/*
 * A load on a service that takes samples on a ZeroMQ PULL and publishes answers on a PUB: the
 * sender is a process of its own, the subscriber the calling one. Latency is open loop: from the
 * time a message was due to be sent to its answer's receipt; of formats that carry no time, from
 * its arrival.
 */
#ifndef KY_BENCH_LOAD_H
#define KY_BENCH_LOAD_H

enum { BENCH_STREAMS = 1000 };

typedef struct bench_format bench_format;

/** "json", "msgpack", "f32"; NULL for another. */
const bench_format *bench_format_of(const char *name);
const char *bench_format_name(const bench_format *f);
/** Whether a first frame names the stream; such messages carry no time. */
int bench_format_frames(const bench_format *f);

/** First in main: this process may be a sender that the other calls have started. */
void bench_load_init(int argc, char **argv);

/** Messages a second from socket to socket with nothing behind. */
double bench_bare_rate(const char *endpoint, int total, const bench_format *f);

typedef struct bench_load {
    const char *in, *out; /* endpoints of the service */
    const bench_format *format;
    int total;
    double rate; /* a second; 0: as fast as they are taken */
    /* results */
    double *latency_ms; /* [total], the first n */
    int n;              /* answers */
    double seconds;     /* from the first sending to the last answer */
} bench_load;

/** Runs it; ends when an answer has not come for five seconds. */
void bench_load_run(bench_load *l);

#endif
