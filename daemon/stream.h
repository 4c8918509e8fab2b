/*
 * A stream as its lane knows it, and the window of sequence numbers that tells a repeated
 * sample from a late one. A ky_stream belongs to the lane's thread.
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

/* What few strands need. */
typedef struct ky_rare {
    struct ky_said *last; /* emit = end: the last answer; its n is 0 in a new sequence */
    struct ky_sick *sick; /* its steps that were undone; NULL: none */
    uint32_t unsaid;      /* emit = every N: answers since one was published */
} ky_rare;

/* What a stream has under one of its class's models. With works and no state, the state is in
 * results.db alone. */
typedef struct ky_strand {
    struct ky_works *works; /* the model version that its state belongs to; NULL: no state yet */
    void *state;
    ky_rare *rare;      /* NULL: as ky_rare_none */
    int64_t zero_n;     /* the first step since the state was zeros */
    uint32_t step;      /* of the record in hand: steps done */
    int32_t label : 31; /* of the last answer */
    uint32_t cut : 1;   /* its state lost the beginning of the present sequence */
} ky_strand;

/* What not every stream needs. */
typedef struct ky_aside {
    ky_window window;    /* of its sender's numbers, once there were any */
    float *held;         /* the last values, where a source fills holes with them; else NULL */
    uint64_t file_first; /* archived: the journal file in which its state0 was taken */
    ky_strand more[];    /* [n_models - 1] under its other models */
} ky_aside;

/* Of a lane's records in line; each stream that is ready has one there. */
enum {
    KY_SLOTS = 1 << 13, /* at once, a power of two */
    KY_NO_SLOT = UINT16_MAX,
};

/* Its name is in its records. */
typedef struct ky_stream {
    uint32_t id;
    uint16_t class_;
    uint8_t n_models;
    bool in_use : 1;      /* its place in the table is taken */
    bool known : 1;       /* it has its row in `streams`, or that is in the unit being filled */
    bool ended : 1;       /* the next sample starts from zeros */
    bool dirty : 1;       /* its states are newer than what was handed to the writer */
    bool owed : 1;        /* the unit being filled has rows of it */
    bool leftover : 1;    /* results.db has rows of it that are older, of models it has no longer */
    bool lags : 1;        /* its last sample came before the era that its position lies in */
    uint32_t kept;        /* bytes of its states in memory */
    uint16_t first, last; /* slots of its waiting records */
    ky_strand strand;     /* under its first model */
    ky_aside *aside;      /* NULL: as ky_aside_none */
    int64_t n, start_n, ts_us;
    uint64_t pos;                    /* records before this are applied */
    struct ky_stream *older, *newer; /* the pager's: by last use */
    int64_t used_ns;
    uint64_t pub; /* messages published */
} ky_stream;

/* There may be millions of them. */
_Static_assert(sizeof(ky_stream) == 128, "a stream is two lines of cache besides its state");

extern const ky_aside ky_aside_none;
extern const ky_rare ky_rare_none;

/** To look at. */
static inline const ky_aside *ky_stream_aside(const ky_stream *s)
{
    return s->aside != NULL ? s->aside : &ky_aside_none;
}

/** To change. Being out of memory ends the process. */
ky_aside *ky_stream_set_aside(ky_stream *s);

static inline const ky_rare *ky_strand_rare(const ky_strand *d)
{
    return d->rare != NULL ? d->rare : &ky_rare_none;
}

/** To change. Being out of memory ends the process. */
ky_rare *ky_strand_set_rare(ky_strand *d);

static inline ky_strand *ky_stream_strand(ky_stream *s, int nth)
{
    return nth == 0 ? &s->strand : &s->aside->more[nth - 1];
}

/* What is kept of a strand besides its state, in ky_row_state.extra: this, then the last answer
 * if there is one, then the held values if there are any (with the first model's). */
typedef struct ky_extra {
    int32_t label; /* of the last answer */
    uint32_t cut : 1, answered : 1, unsaid : 30;
    int64_t zero_n;
} ky_extra;

/* [outputs] floats follow. */
typedef struct ky_extra_answer {
    int64_t n, seq, ts_us, latency_us;
    uint32_t version;
    int32_t label;
    float score;
    uint32_t quality : 8, outputs : 24;
} ky_extra_answer;

typedef struct ky_extra_parts {
    ky_extra is;
    ky_extra_answer answer; /* if is.answered */
    const void *y;          /* [answer.outputs] unaligned */
    const void *held;       /* [features] unaligned; NULL: there are none */
} ky_extra_parts;

enum { KY_EXTRA_NONE = -2 };

/** Reads it back. */
ky_extra_parts ky_extra_read(const void *extra, size_t len, int features);

#endif
