/*
 * The parts of `kymo feed`: a reader gives samples one by one (CSV, HDF5, this machine),
 * a writer takes them (a socket, an acknowledged socket, a recording). feed.c joins the two
 * and keeps the pace. Everything belongs to the main thread.
 */
#ifndef KY_FEED_H
#define KY_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "models/error.h"
#include "models/sample.h"

typedef struct ky_feed_opts {
    const char *source, *to;
    const char *stream, *label, *sender;
    const char *stream_column, *time_column, *label_column, *values;
    const char *time_unit, *label_on, *format;
    int64_t streams, limit, interleave; /* interleave -1: the reader's own order */
    int64_t window, hop, seconds_us, timeout_us;
    double rate;
    bool realtime, ack, bind, labels, number, json, quiet, print_features, whole, joined;
} ky_feed_opts;

/* One sample; all borrowed until the next. */
typedef struct ky_row {
    const char *stream;
    int64_t seq, ts_us; /* KY_NONE: not said */
    const float *x;     /* [features], NaN: not there */
    const char *label;  /* NULL: none */
    unsigned flags;     /* KY_START, KY_END */
} ky_row;

typedef struct ky_reader {
    /** 1 and a row, 0 at the end, or a negative code. */
    int (*next)(struct ky_reader *r, ky_row *ret, ky_err *err);
    void (*free)(struct ky_reader *r);
    int features;
    char **names;   /* [features] */
    double total;   /* rows there are, 0: nobody knows */
    double rate_hz; /* at which each stream was sampled, 0: nobody knows */
    int streams;    /* played side by side; 1 where nobody knows */
} ky_reader;

int ky_feed_csv(const ky_feed_opts *o, ky_reader **ret, ky_err *err);
int ky_feed_h5(const ky_feed_opts *o, ky_reader **ret, ky_err *err);
int ky_feed_host(const ky_feed_opts *o, ky_reader **ret, ky_err *err);
/** Takes all rows of `inner` (which it owns from now on, also on failure) into memory and gives
 *  them with the streams shuffled among each other; each stream keeps its order. */
int ky_feed_shuffled(ky_reader *inner, uint64_t seed, ky_reader **ret, ky_err *err);

typedef struct ky_feed_counts {
    int64_t sent, acknowledged, refused, resent, sessions, windows;
} ky_feed_counts;

typedef struct ky_writer {
    int (*put)(struct ky_writer *w, const ky_row *row, ky_err *err);
    /** Everything is where it belongs when this returns KY_OK; KY_EAGAIN: interrupted. */
    int (*finish)(struct ky_writer *w, ky_err *err);
    void (*free)(struct ky_writer *w);
    ky_feed_counts counts;
} ky_writer;

int ky_feed_socket(const ky_feed_opts *o, const ky_reader *r, ky_writer **ret, ky_err *err);
int ky_feed_acknowledged(const ky_feed_opts *o, const ky_reader *r, ky_writer **ret, ky_err *err);
int ky_feed_recording(const ky_feed_opts *o, const ky_reader *r, ky_writer **ret, ky_err *err);

struct ky_feed_buffer;

/* How messages are written. */
typedef struct ky_feed_format {
    const char *name;
    bool fields; /* has named fields; if not, a frame in front names the stream */
    void (*encode)(const ky_row *row, int features, struct ky_feed_buffer *t);
} ky_feed_format;

/** "json", "msgpack", "f32"; NULL: unknown. */
const ky_feed_format *ky_feed_format_find(const char *name);

/** The row as a message (DESIGN 4.1). Returns its length; *buf and *cap grow as needed. */
int ky_feed_encode(const ky_feed_format *format, const ky_row *row, int features, char **buf,
                   size_t *cap, ky_err *err);

#endif
