/* Rows as messages: json, msgpack, f32 (DESIGN 4.1). */
#include "cli/feed.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/decimal.h"

typedef struct ky_feed_buffer {
    char *at;
    size_t len, cap;
} buffer;

static void put(buffer *t, const void *s, size_t n)
{
    if (n <= t->cap - t->len) /* ky_feed_encode has made room for the longest there can be */
        memcpy(t->at + t->len, s, n);
    t->len += n;
}

/* -- json -------------------------------------------------------------------------- */

static void put_string(buffer *t, const char *s)
{
    char escape[8];

    put(t, "\"", 1);
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x20)
            put(t, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04x", c));
        else if (c == '"' || c == '\\')
            put(t, escape, (size_t)snprintf(escape, sizeof(escape), "\\%c", c));
        else
            put(t, s, 1);
    }
    put(t, "\"", 1);
}

static void put_number(buffer *t, float x)
{
    char number[KY_DECIMAL_MAX];

    if (isnan(x))
        put(t, "null", 4);
    else
        put(t, number, ky_decimal_float(x, number));
}

static void put_time(buffer *t, int64_t us)
{
    char number[40];
    uint64_t u = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    int n = snprintf(number, sizeof(number), "%s%" PRIu64 ".%06" PRIu64, us < 0 ? "-" : "",
                     u / 1000000, u % 1000000);

    put(t, ",\"ts\":", 6);
    put(t, number, (size_t)n);
}

static void encode_json(const ky_row *row, int features, buffer *t)
{
    char number[40];

    put(t, "{\"stream\":", 10);
    put_string(t, row->stream);
    if (row->ts_us != KY_NONE)
        put_time(t, row->ts_us);
    if (row->seq != KY_NONE)
        put(t, number, (size_t)snprintf(number, sizeof(number), ",\"seq\":%" PRId64, row->seq));
    put(t, ",\"x\":[", 6);
    for (int i = 0; i < features; i++) {
        if (i > 0)
            put(t, ",", 1);
        put_number(t, row->x[i]);
    }
    put(t, "]", 1);
    if (row->label != NULL) {
        put(t, ",\"label\":", 9);
        put_string(t, row->label);
    }
    if (row->flags & KY_START)
        put(t, ",\"start\":true", 13);
    if (row->flags & KY_END)
        put(t, ",\"end\":true", 11);
    put(t, "}", 1);
}

/* -- msgpack ------------------------------------------------------------------------ */

/* A leading byte and a number of `width` bytes, big-endian. */
static void put_head(buffer *t, int lead, uint64_t v, int width)
{
    uint8_t bytes[9] = { (uint8_t)lead };

    for (int i = width; i > 0; i--, v >>= 8)
        bytes[i] = (uint8_t)v;
    put(t, bytes, 1 + (size_t)width);
}

static void put_str(buffer *t, const char *s)
{
    size_t n = strlen(s);

    if (n < 32)
        put_head(t, 0xa0 | (int)n, 0, 0);
    else if (n < 256)
        put_head(t, 0xd9, n, 1);
    else
        put_head(t, 0xda, n, 2);
    put(t, s, n);
}

/* A timestamp of 96 bits: nanoseconds behind the second, then the second. */
static void put_timestamp(buffer *t, int64_t us)
{
    int64_t s = us / 1000000 - (us % 1000000 < 0);

    put_head(t, 0xc7, 12, 1);
    put_head(t, 0xff, (uint64_t)(us - s * 1000000) * 1000, 4);
    for (int i = 8; i-- > 0;)
        put(t, &(uint8_t){ (uint8_t)((uint64_t)s >> (8 * i)) }, 1);
}

static void put_array(buffer *t, const float *x, int n)
{
    if (n < 16)
        put_head(t, 0x90 | n, 0, 0);
    else
        put_head(t, 0xdd, (uint64_t)n, 4);
    for (int i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, &x[i], sizeof(bits));
        if (isnan(x[i]))
            put_head(t, 0xc0, 0, 0);
        else
            put_head(t, 0xca, bits, 4);
    }
}

static void encode_msgpack(const ky_row *row, int features, buffer *t)
{
    int pairs = 2 + (row->ts_us != KY_NONE) + (row->seq != KY_NONE) + (row->label != NULL) +
                ((row->flags & KY_START) != 0) + ((row->flags & KY_END) != 0);

    put_head(t, 0x80 | pairs, 0, 0);
    put_str(t, "stream");
    put_str(t, row->stream);
    if (row->ts_us != KY_NONE) {
        put_str(t, "ts");
        put_timestamp(t, row->ts_us);
    }
    if (row->seq != KY_NONE) {
        put_str(t, "seq");
        put_head(t, 0xd3, (uint64_t)row->seq, 8);
    }
    put_str(t, "x");
    put_array(t, row->x, features);
    if (row->label != NULL) {
        put_str(t, "label");
        put_str(t, row->label);
    }
    if (row->flags & KY_START)
        put_str(t, "start"), put_head(t, 0xc3, 0, 0);
    if (row->flags & KY_END)
        put_str(t, "end"), put_head(t, 0xc3, 0, 0);
}

/* -- f32 ------------------------------------------------------------------------------ */

static void encode_f32(const ky_row *row, int features, buffer *t)
{
    for (int i = 0; i < features; i++) {
        uint32_t bits;

        memcpy(&bits, &row->x[i], sizeof(bits));
        for (int k = 0; k < 4; k++)
            put(t, &(uint8_t){ (uint8_t)(bits >> (8 * k)) }, 1);
    }
}

/* -- the table -------------------------------------------------------------------------- */

static const ky_feed_format formats[] = {
    { "json", true, encode_json },
    { "msgpack", true, encode_msgpack },
    { "f32", false, encode_f32 },
};

const ky_feed_format *ky_feed_format_find(const char *name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    return NULL;
}

int ky_feed_encode(const ky_feed_format *format, const ky_row *row, int features, char **buf,
                   size_t *cap, ky_err *err)
{
    size_t label = row->label != NULL ? strlen(row->label) : 0;
    size_t want = 256 + 6 * (strlen(row->stream) + label) + 20 * (size_t)features;

    if (want > *cap) {
        char *more = realloc(*buf, want);
        if (more == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory for a message of %zu bytes", want);
        *buf = more;
        *cap = want;
    }
    buffer t = { .at = *buf, .cap = *cap };
    format->encode(row, features, &t);
    return (int)t.len;
}
