#include "connectors/codec.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static const ky_codec_ops *const codecs[] = { &ky_codec_json, &ky_codec_msgpack, &ky_codec_f32 };

enum { CODECS = sizeof(codecs) / sizeof(*codecs) };

const char *const ky_codec_names[] = { "json", "msgpack", "f32", NULL };

int ky_codec_new(const ky_codec_opts *o, ky_codec **ret, ky_err *err)
{
    const char *format = o->format != NULL ? o->format : codecs[0]->name;

    for (int i = 0; i < CODECS; i++)
        if (strcmp(codecs[i]->name, format) == 0)
            return codecs[i]->make(o, ret, err);
    return ky_fail(err, KY_EINVAL, "format '%s': must be json, msgpack or f32", format);
}

void ky_codec_free(ky_codec *c)
{
    if (c != NULL)
        c->ops->free(c);
}

int ky_codec_decode(ky_codec *c, const void *data, size_t len, ky_sample *ret, ky_err *err)
{
    return c->ops->decode(c, data, len, ret, err);
}

/* One character: its code point in ret, its bytes returned; 0 if the bytes are not UTF-8. */
static size_t utf8_decode(const uint8_t *p, size_t left, uint32_t *ret)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t n = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
    uint32_t c = n == 1 ? *p : *p & (0x7fu >> n);

    if (n > left || (*p >= 0x80 && *p < 0xc0) || *p >= 0xf8)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (n > 1 && (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)))
        return 0;
    *ret = c;
    return n;
}

int ky_codec_check_name(const char *what, const char *s, size_t len, size_t max, ky_err *err)
{
    const uint8_t *p = (const uint8_t *)s;
    uint32_t c;

    if (len == 0)
        return ky_fail(err, KY_EREJECT, "%s: empty", what);
    if (len > max)
        return ky_fail(err, KY_EREJECT, "%s: %zu bytes, at most %zu are allowed", what, len, max);
    for (size_t i = 0, n; i < len; i += n) {
        n = utf8_decode(p + i, len - i, &c);
        if (n == 0)
            return ky_fail(err, KY_EREJECT, "%s: not UTF-8 at byte %zu (0x%02x)", what, i, p[i]);
        if (c < 0x20 || (c >= 0x7f && c < 0xa0))
            return ky_fail(err, KY_EREJECT, "%s: control character U+%04X at byte %zu", what,
                           (unsigned)c, i);
    }
    return KY_OK;
}

enum { BLOCK = 64 };

/* Whether one of a block of floats is NaN or infinite: its exponent is all ones. Without a branch
 * and of fixed length, so that it becomes vector instructions. */
static bool any_odd(const float x[BLOCK])
{
    uint32_t bits[BLOCK], odd = 0;

    memcpy(bits, x, sizeof(bits));
    for (int i = 0; i < BLOCK; i++)
        odd |= (bits[i] & 0x7f800000) + 0x00800000;
    return odd >> 31 != 0;
}

/* What stands for a float that is not finite. */
static int settle(size_t i, enum ky_missing missing, float *x, int *holes, ky_err *err)
{
    if (!isnan(*x))
        return ky_fail(err, KY_EREJECT, "value %zu is infinite", i + 1);
    if (missing == KY_MISSING_REJECT)
        return ky_fail(err, KY_EREJECT, "value %zu is NaN (missing = reject)", i + 1);
    *holes += missing == KY_MISSING_HOLD;
    *x = missing == KY_MISSING_HOLD ? NAN : 0.0f;
    return KY_OK;
}

/* Floats of the message's byte order. */
static void copy_floats(float *x, const void *data, size_t n)
{
    memcpy(x, data, n * sizeof(float));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof(bits));
        bits = __builtin_bswap32(bits);
        memcpy(&x[i], &bits, sizeof(bits));
    }
#endif
}

int ky_codec_floats(const void *data, size_t n, enum ky_missing missing, float *x, int *holes,
                    ky_err *err)
{
    int rc;

    copy_floats(x, data, n);
    for (size_t i = 0; i < n; i++) {
        while (n - i >= BLOCK && !any_odd(x + i))
            i += BLOCK;
        if (i < n && !isfinite(x[i]) && (rc = settle(i, missing, &x[i], holes, err)) != KY_OK)
            return rc;
    }
    return KY_OK;
}
