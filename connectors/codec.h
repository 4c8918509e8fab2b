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

typedef struct ky_codec_opts {
    const char *format;       /* json */
    const char *stream_field; /* "stream" */
    const char *time_field;   /* "ts" */
    const char *label_field;  /* "label" */
    const char *const *values; /* names of the fields to read in place of "x"; NULL: "x" */
    int n_values;
    int64_t time_unit_ns;     /* of a number in the time field: 1000000000 (s), 1000000, 1000, 1 */
    enum ky_missing missing;  /* what null in the values means; hold is resolved per stream later:
                                 the decoder leaves NaN there and says so in `holes` */
    int max_values;           /* T*F a message may carry */
} ky_codec_opts;

typedef struct ky_codec ky_codec;

int ky_codec_new(const ky_codec_opts *o, ky_codec **ret, ky_err *err);
void ky_codec_free(ky_codec *c);

/**
 * Decode one message.
 *
 * @param ret  receives one sample, its pointers into the codec's own buffers, borrowed until the
 *             next call; fields that the message does not carry are NULL or KY_NONE
 * @return KY_OK, or KY_EREJECT with the reason: malformed JSON and where, a number out of range,
 *         rows of different length, no values and no label, a name too long ...
 */
int ky_codec_decode(ky_codec *c, const void *data, size_t len, ky_sample *ret, ky_err *err);

/** Names of all codecs, for the settings table; NULL behind the last. */
extern const char *const ky_codec_names[];

#endif
