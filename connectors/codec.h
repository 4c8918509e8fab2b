/*
 * Codecs: what the bytes of a message mean. One file a codec, one row in codec.c.
 * A decoder is strict, allocates nothing, trusts nothing, and says in one sentence what
 * was wrong. One decoder belongs to one source thread.
 */
#ifndef KY_CODEC_H
#define KY_CODEC_H

#include "models/error.h"
#include "models/sample.h"

enum ky_missing { KY_MISSING_REJECT, KY_MISSING_HOLD, KY_MISSING_ZERO };

/* Zeroed members mean the default named beside them. */
typedef struct ky_codec_opts {
    const char *format;        /* "json", "msgpack" or "f32" */
    const char *stream_field;  /* "stream" */
    const char *time_field;    /* "ts" */
    const char *label_field;   /* "label" */
    const char *const *values; /* names of the fields to read in place of "x"; NULL: "x" */
    int n_values;
    int64_t time_unit_ns;    /* of a number in the time field: 1000000000 (s, the default),
                                1000000, 1000 or 1 */
    enum ky_missing missing; /* what null, or a named field that is not there, means; hold is
                                resolved per stream later: the decoder leaves NaN there and
                                counts it in ky_sample.holes */
    int max_values;          /* T*F a message may carry, 65536 */
} ky_codec_opts;

typedef struct ky_codec_ops ky_codec_ops;

typedef struct ky_codec {
    const ky_codec_ops *ops;
} ky_codec;

/** KY_EINVAL: no such format, or options that contradict each other; KY_ENOMEM. */
int ky_codec_new(const ky_codec_opts *o, ky_codec **ret, ky_err *err);
void ky_codec_free(ky_codec *c);

/**
 * Decode one message.
 *
 * @param ret  receives one sample, its pointers into the message or the codec's own buffers,
 *             borrowed until the next call; fields that the message does not carry are NULL or
 *             KY_NONE
 * @return KY_OK, or KY_EREJECT with the reason: malformed bytes and where, a number out of range,
 *         rows of different length, no values and no label, a name too long ...; then ret holds
 *         what had been read before that (the stream, if it came first)
 */
int ky_codec_decode(ky_codec *c, const void *data, size_t len, ky_sample *ret, ky_err *err);

/**
 * Whether bytes from outside may be the name of a stream, a label or a sender: 1 to `max` bytes of
 * UTF-8 without control characters (C0, DEL, C1), which could forge log lines or drive a
 * terminal. Every name that a codec gives has passed; a transport's key has not yet.
 *
 * @param what  for the message: "stream id"
 * @return KY_OK or KY_EREJECT with the reason
 */
int ky_codec_check_name(const char *what, const char *s, size_t len, size_t max, ky_err *err);

/**
 * Little-endian 32-bit floats as they are in a message. NaN is a value that is missing; infinite
 * ones are refused.
 *
 * @param data   n floats, aligned or not
 * @param x      [n] receives them
 * @param holes  raised by the values that `missing = hold` leaves as NaN
 * @return KY_OK, or KY_EREJECT: "value 3 is infinite"
 */
int ky_codec_floats(const void *data, size_t n, enum ky_missing missing, float *x, int *holes,
                    ky_err *err);

/** Names of all codecs, for the settings table; NULL behind the last. */
extern const char *const ky_codec_names[];

/* What a codec is made of; its own struct begins with a ky_codec. */
struct ky_codec_ops {
    const char *name;
    int (*make)(const ky_codec_opts *o, ky_codec **ret, ky_err *err);
    int (*decode)(ky_codec *c, const void *data, size_t len, ky_sample *ret, ky_err *err);
    void (*free)(ky_codec *c);
};

extern const ky_codec_ops ky_codec_json, ky_codec_msgpack, ky_codec_f32;

#endif
