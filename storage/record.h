/*
 * The journal record: what passed the accept stage, in the one order of all lanes
 * (PROTOCOL.md E2). The same bytes are what a source hands to the accept stage, what
 * the journal has on disk and what a lane applies, so recovery and live service run the
 * same path. Little-endian, 8-byte aligned; on disk as it is in memory.
 */
#ifndef KY_RECORD_H
#define KY_RECORD_H

#include <stdint.h>
#include <string.h>

#include "models/sample.h"

enum ky_record_type {
    KY_REC_SAMPLE = 1,
    KY_REC_LABEL,  /* a label for an earlier sample: by seq or ts */
    KY_REC_END,    /* by silence: the sequence of `stream` is over, if its last step is still `n` */
    KY_REC_FORGET, /* what the stream remembers is gone; its numbers go on behind `n` */
    KY_REC_REJECT, /* text: the reason; body: the first bytes of the message */
    KY_REC_CONFIG, /* text: sources and classes by number, effective settings */
    KY_REC_SWAP,   /* body: ky_swap */
};

enum { KY_RECORD_MAX = 64 << 20, KY_REJECT_KEEP = 4096, KY_SESSION = 16 };

typedef struct ky_record {
    uint32_t size; /* bytes of all of it, a multiple of 8 */
    uint32_t crc;  /* CRC32C over the file's id, `size`, and everything from `pos` on */
    uint64_t pos;  /* where it stands in the journal: bytes since its beginning */
    uint8_t type, time_source;
    uint16_t flags;    /* ky_sample_flag */
    uint16_t source;   /* row of [source:...] in the file's CONFIG record */
    uint16_t class_;   /* row of [stream:...] likewise */
    uint32_t stream;   /* kymo's number of the stream: dense, given at first sight, never reused */
    int32_t partition; /* Kafka */
    uint64_t number;   /* acknowledged: message number; Kafka: offset; else a running count */
    /* SAMPLE: the stream's own step number of the record's first step, counted by the accept
     * stage (its steps are n .. n+steps-1); the lane finds its last number + 1 here, or something
     * is corrupt. END: the step number it expects to end. LABEL: the step, or KY_NONE (found by
     * seq or ts). Else KY_NONE. */
    int64_t n;
    int64_t seq, ts_us, arrival_us;
    uint8_t session[KY_SESSION]; /* acknowledged: the sender's run */
    uint32_t steps, features;    /* T, F: body is [T,F] floats */
    uint32_t body_len;           /* bytes */
    uint16_t sender_len, stream_len;
    uint32_t text_len;
    uint32_t filled; /* SAMPLE: so many of its first steps stand for samples that are missing */
    /* then sender, stream id, text (label | reason | settings), padding to 8, body, padding to 8 */
} ky_record;

/* The body of a SWAP record. */
typedef struct ky_swap {
    char model[KY_NAME_MAX + 1]; /* configured name */
    uint64_t old_hash, new_hash;
    uint32_t version, kernel_abi;
    uint32_t policy; /* ky_on_swap */
    uint32_t spare;
    uint64_t w0; /* first replayed sample, 0 without warm-up */
} ky_swap;

static inline size_t ky_pad8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static inline const char *ky_record_sender(const ky_record *r)
{
    return (const char *)(r + 1);
}

static inline const char *ky_record_stream(const ky_record *r)
{
    return ky_record_sender(r) + r->sender_len;
}

static inline const char *ky_record_text(const ky_record *r)
{
    return ky_record_stream(r) + r->stream_len;
}

static inline const void *ky_record_body(const ky_record *r)
{
    return (const char *)r + sizeof(*r) +
           ky_pad8((size_t)r->sender_len + r->stream_len + r->text_len);
}

static inline const float *ky_record_x(const ky_record *r)
{
    return (const float *)ky_record_body(r);
}

/** Bytes a record with these parts takes. */
static inline size_t ky_record_size(size_t sender, size_t stream, size_t text, size_t body)
{
    return sizeof(ky_record) + ky_pad8(sender + stream + text) + ky_pad8(body);
}

/** Whether the lengths inside agree with `size`: for bytes that come from a file. */
static inline int ky_record_ok(const ky_record *r)
{
    uint64_t names = (uint64_t)r->sender_len + r->stream_len + r->text_len;
    uint64_t size = sizeof(*r) + ((names + 7) & ~7ull) + (((uint64_t)r->body_len + 7) & ~7ull);

    if (r->size != size || size > KY_RECORD_MAX || r->type < KY_REC_SAMPLE || r->type > KY_REC_SWAP)
        return 0;
    if (r->type == KY_REC_SAMPLE) /* both factors are bounded first: 2^31 * 2^31 * 4 is 0 */
        return r->steps > 0 && r->features > 0 && r->filled < r->steps &&
               r->steps <= KY_RECORD_MAX && r->features <= KY_RECORD_MAX &&
               (uint64_t)r->steps * r->features == r->body_len / sizeof(float) &&
               r->body_len % sizeof(float) == 0;
    return r->type != KY_REC_SWAP || r->body_len == sizeof(ky_swap);
}

_Static_assert(sizeof(ky_record) == 112 && sizeof(ky_swap) == 104, "no hidden padding on disk");

#endif
