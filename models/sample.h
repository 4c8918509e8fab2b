/*
 * What a stream delivers and what a model answers: the two records that every
 * part of kymo passes along, and the few words they share.
 */
#ifndef KY_SAMPLE_H
#define KY_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KY_NONE INT64_MIN /* no sequence number, no time */

/* Longest names taken from outside, in bytes; longer ones are refused, never cut. */
enum { KY_STREAM_MAX = 255, KY_LABEL_MAX = 255, KY_NAME_MAX = 63 };

enum ky_sample_flag {
    KY_START = 1 << 0, /* the stream begins anew here: its state is zeros before this sample */
    KY_END = 1 << 1,   /* the sequence is over after this sample */
    KY_RESET = 1 << 2, /* as start, but the same sequence */
    KY_LATE = 1 << 3,  /* older than one taken before, and taken all the same */
    KY_LAST = 1 << 4,  /* the final record of its message: the source's position advances */
    KY_RESUMED =
        1 << 5, /* the first of its stream after a restart, or since the host's clock was set */
    KY_COUNTED = 1 << 6, /* its seq was held against the stream's window of numbers (pull, sub) */
    KY_FORGET = 1 << 7,  /* of a message without values: the stream is to be forgotten */
};

enum ky_time_source { KY_TIME_SAMPLE, KY_TIME_KAFKA, KY_TIME_ARRIVAL };

/* One message's worth of one stream: T consecutive steps, or only a label. */
typedef struct ky_sample {
    const char *stream; /* borrowed, not terminated; NULL: the transport names the stream */
    size_t stream_len;
    int64_t seq;    /* the sender's own number, KY_NONE without */
    int64_t ts_us;  /* when it was measured, microseconds since 1970 UTC, KY_NONE without */
    int steps;      /* T; 0: a label for an earlier sample */
    int features;   /* F */
    bool flat;      /* the message does not say F: one step of all values, until the class says how
                       many make a step */
    const float *x; /* [T,F] in the stream's units, finite but for holes, borrowed */
    int holes; /* values that were null: NaN in x, for the accept stage to fill (missing = hold) */
    const char *label; /* borrowed, not terminated; NULL without */
    size_t label_len;
    unsigned flags; /* KY_START, KY_END, KY_RESET, KY_FORGET as the sender set them */
} ky_sample;

enum ky_quality {
    KY_Q_OK,
    KY_Q_WARMING,   /* one of the first warm_up answers from zeros */
    KY_Q_GAP,       /* the first behind a gap */
    KY_Q_LATE,      /* of a sample that is older than one answered before */
    KY_Q_TRUNCATED, /* the state lost the beginning of this sequence */
};

/* What the model said about one step. */
typedef struct ky_prediction {
    uint32_t stream; /* kymo's number of the stream */
    int64_t n;       /* kymo's own step number of the stream: 1, 2, 3 ... */
    int64_t seq;     /* of the sample it answers */
    int64_t ts_us;   /* of the sample it answers */
    int64_t answered_us;
    int64_t latency_us; /* from arrival of the bytes to this record */
    uint32_t version;   /* of the model */
    int16_t label;      /* index of the class; -1: unknown */
    uint8_t quality, time_source;
    int outputs;
    float score;
    const float *y; /* [outputs], borrowed */
} ky_prediction;

#endif
