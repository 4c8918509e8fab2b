/*
 * A stream as its lane knows it, and the window of sequence numbers that tells a repeated
 * sample from a late one. A ky_stream belongs to the lane's thread; the publisher reads its
 * name and keeps its count of what was published.
 */
#ifndef KY_STREAM_H
#define KY_STREAM_H

#include <stdbool.h>

#include "models/sample.h"

/* The numbers seen on a source that promises nothing (pull, sub). All zeros is wrong: begin with
 * ky_window_init. */
typedef struct ky_window {
    int64_t high;  /* the highest number, KY_NONE before the first */
    uint64_t mask; /* bit i: high - i was seen */
    int64_t epoch; /* how often the sender began anew */
} ky_window;

enum ky_seen {
    KY_SEEN_NEXT,      /* the next number, or the first ever */
    KY_SEEN_GAP,       /* a later one: some are missing in between */
    KY_SEEN_DUPLICATE, /* seen before */
    KY_SEEN_LATE,      /* not seen, but a later one was */
    KY_SEEN_ANEW,      /* 64 or more below the highest: the sender began anew */
    KY_SEEN_SET_BACK,  /* by its time: the sender's clock was set back */
};

void ky_window_init(ky_window *w);
/** What this number would be; changes nothing. */
enum ky_seen ky_window_look(const ky_window *w, int64_t seq);
/** Take it: the same in the accept stage, in the lane and in recovery. */
enum ky_seen ky_window_take(ky_window *w, int64_t seq);

struct ky_works;
struct ky_said;
struct ky_sick;

typedef struct ky_stream {
    uint32_t id;
    uint16_t class_;
    uint8_t name_len;
    bool known; /* it has its row in `streams`, or that is in the unit being filled */
    bool ended; /* the next sample starts from zeros */
    bool dirty; /* its state is newer than what was handed to the writer */
    bool away;  /* its state is in results.db alone; works says whose it is */
    bool cut;   /* its state lost the beginning of the present sequence */
    int label;  /* of the last answer */
    char *name;
    struct ky_works *works; /* the model version that its state belongs to; NULL: no state yet */
    void *state;
    float *held;           /* the last values, where a source fills holes with them; else NULL */
    struct ky_said *final; /* the last answer, where the end of a sequence may come by silence */
    struct ky_sick *sick;  /* its steps that were undone; NULL: none */
    int64_t n, start_n, ts_us;
    int64_t zero_n; /* the first step since the state was zeros */
    ky_window window;
    uint64_t pos;                    /* records before this are applied */
    uint64_t file_first;             /* the journal file in which its state0 was taken */
    uint32_t first, last;            /* slots of its waiting records */
    struct ky_stream *ready;         /* the next in its model's list of ready streams */
    struct ky_stream *older, *newer; /* the pager's: by last use */
    int64_t used_ns;
    uint32_t kept; /* bytes of the state, while it is in memory */
    uint64_t pub;  /* the publisher's: messages published */
    int told;      /* the publisher's: label last told, emit = change; -2: none */
} ky_stream;

/* What a lane keeps in ky_row_state.extra; the held values follow, if there are any. */
typedef struct ky_extra {
    int32_t label; /* last told */
    uint32_t cut;
    int64_t zero_n;
} ky_extra;

enum { KY_EXTRA_NONE = -2 };

/** Reads it back. @return [features] the held values, unaligned; NULL: there are none */
const void *ky_extra_read(const void *extra, size_t len, int features, ky_extra *ret);

#endif
