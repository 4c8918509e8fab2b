/* Any bytes as a message: refused with a reason, or a sample that is sound. */
#ifndef KY_FUZZ_SAMPLES_H
#define KY_FUZZ_SAMPLES_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "connectors/codec.h"

enum { VALUES = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void check_name(const char *s, size_t len, size_t max)
{
    if (s != NULL && ky_codec_check_name("name", s, len, max, NULL) != KY_OK)
        abort();
}

static inline void check_sample(const ky_sample *s)
{
    int holes = 0;

    if ((s->steps == 0) != (s->features == 0) || s->steps * s->features > VALUES)
        abort();
    for (int i = 0; i < s->steps * s->features; i++) {
        holes += isnan(s->x[i]);
        if (isinf(s->x[i]))
            abort();
    }
    if (holes != s->holes || (s->steps == 0 && s->label == NULL))
        abort();
    check_name(s->stream, s->stream_len, KY_STREAM_MAX);
    check_name(s->label, s->label_len, KY_LABEL_MAX);
}

/* With each of n codecs, made at the first call. */
static inline int decode_with(const ky_codec_opts *opts, ky_codec **codec, size_t n,
                              const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < n; i++) {
        ky_sample s;
        ky_err err = { 0 };
        if (codec[i] == NULL && ky_codec_new(&opts[i], &codec[i], NULL) != KY_OK)
            abort();
        int rc = ky_codec_decode(codec[i], data, size, &s, &err);
        if (rc == KY_OK)
            check_sample(&s);
        else if (rc != KY_EREJECT || err.text[0] == '\0')
            abort();
    }
    return 0;
}

#endif
