/*
 * The f32 codec: a message is little-endian 32-bit floats and nothing else, T*F of them. The
 * stream is what the transport names; how many values make a step its class knows.
 */
#include "connectors/codec.h"

#include <stdlib.h>

enum { VALUES_MAX = 65536 };

typedef struct f32 {
    ky_codec codec;
    enum ky_missing missing;
    int max_values;
    float x[]; /* [max_values] */
} f32;

static int f32_decode(ky_codec *codec, const void *data, size_t len, ky_sample *ret, ky_err *err)
{
    f32 *c = (f32 *)codec;
    size_t n = len / sizeof(float);
    int rc;

    *ret = (ky_sample){ .seq = KY_NONE, .ts_us = KY_NONE, .x = c->x };
    if (len == 0)
        return ky_fail(err, KY_EREJECT, "f32: empty message");
    if (len % sizeof(float) != 0)
        return ky_fail(err, KY_EREJECT, "f32: %zu bytes are no number of 32-bit floats", len);
    if (n > (size_t)c->max_values)
        return ky_fail(err, KY_EREJECT, "f32: more than %d values", c->max_values);
    if ((rc = ky_codec_floats(data, n, c->missing, c->x, &ret->holes, err)) != KY_OK)
        return ky_context(err, rc, "f32");
    ret->steps = 1;
    ret->features = (int)n;
    ret->flat = true;
    return KY_OK;
}

static void f32_free(ky_codec *codec)
{
    free(codec);
}

static int f32_make(const ky_codec_opts *o, ky_codec **ret, ky_err *err)
{
    int max = o->max_values > 0 ? o->max_values : VALUES_MAX;

    if (o->n_values > 0)
        return ky_fail(err, KY_EINVAL, "values: a message of format f32 has no fields");
    f32 *c = malloc(sizeof(*c) + (size_t)max * sizeof(float));
    if (c == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a decoder of %d values", max);
    c->codec.ops = &ky_codec_f32;
    c->missing = o->missing;
    c->max_values = max;
    *ret = &c->codec;
    return KY_OK;
}

const ky_codec_ops ky_codec_f32 = { "f32", f32_make, f32_decode, f32_free };
