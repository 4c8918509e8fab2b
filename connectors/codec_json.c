/*
 * The json codec: one object a message (DESIGN 4.1).
 *
 *   {"stream":"pump-7","ts":1732290000.125,"seq":41,"x":[0.1,2,-3e-4],"label":"worn","start":true}
 *
 * What is not known is checked and skipped; what is known must be what it says. A key may
 * stand only once (at the top; inside skipped values nobody looks). null is as good as absent,
 * except in values.
 */
#include "connectors/codec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/fields.h"
#include "connectors/jsonscan.h"

enum { KEY_MAX = 1024 };

typedef struct json {
    ky_codec codec;
    ky_fields fields;
    char stream[KY_STREAM_MAX], label[KY_LABEL_MAX], key[KEY_MAX];
} json;

/* -- one function a kind of field --------------------------------------------- */

static bool take_null(ky_scan *s, int *rc)
{
    if (ky_scan_peek(s) != 'n')
        return false;
    *rc = s->end - s->p > 1 && s->p[1] == 'a' ? ky_scan_bad(s, "NaN is not JSON")
                                              : ky_scan_word(s, "null");
    return true;
}

/* A name: a string, or an integer as it is written. */
static int read_name(ky_scan *s, const char *what, char *buf, size_t max, const char **ret,
                     size_t *ret_len)
{
    ky_text t;
    ky_number n;
    int64_t v;
    int rc, c = ky_scan_peek(s);

    if (c == '-' || (c >= '0' && c <= '9')) {
        if ((rc = ky_scan_number(s, &n)) != KY_OK)
            return rc;
        if (n.len > 20 || memchr(n.text, '.', n.len) != NULL || !ky_number_integer(&n, &v))
            return ky_scan_bad(s, "%s is a number, but not an integer of 64 bits", what);
        *ret = n.text;
        *ret_len = n.len;
        return KY_OK;
    }
    if (c != '"')
        return ky_scan_bad(s, "%s must be a string or an integer", what);
    if ((rc = ky_scan_string(s, &t)) != KY_OK)
        return rc;
    const char *name = t.at;
    size_t len = t.len;
    if (t.escaped) {
        name = buf;
        if ((len = ky_text_copy(&t, buf, max)) == SIZE_MAX)
            return ky_fail(s->err, KY_EREJECT, "%s: more than the %zu bytes allowed", what, max);
    }
    if (!t.plain || len == 0 || len > max)
        if ((rc = ky_codec_check_name(what, name, len, max, s->err)) != KY_OK)
            return rc;
    *ret = name;
    *ret_len = len;
    return KY_OK;
}

static int read_stream(json *j, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    int rc;

    (void)f;
    if (take_null(s, &rc))
        return rc;
    return read_name(s, "stream id", j->stream, KY_STREAM_MAX, &ret->stream, &ret->stream_len);
}

static int read_label(json *j, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    int rc;

    (void)f;
    if (take_null(s, &rc))
        return rc;
    return read_name(s, "label", j->label, KY_LABEL_MAX, &ret->label, &ret->label_len);
}

static int read_time(json *j, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    ky_number n;
    ky_text t;
    int64_t us = 0;
    int rc, c = ky_scan_peek(s);

    if (take_null(s, &rc))
        return rc;
    if (c == '"') {
        if ((rc = ky_scan_string(s, &t)) != KY_OK)
            return rc;
        return ky_fields_written_time(s, f, t.at, t.len, ret);
    }
    if ((rc = ky_scan_number(s, &n)) != KY_OK)
        return rc;
    bool fits = ky_number_scaled(&n, j->fields.time_shift, &us);
    return ky_fields_time(s, f, fits, us, n.text, n.len, ret);
}

static int read_seq(json *j, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    ky_number n;
    int rc;

    (void)j;
    if (take_null(s, &rc))
        return rc;
    if ((rc = ky_scan_number(s, &n)) != KY_OK)
        return rc;
    if (!ky_number_integer(&n, &ret->seq))
        return ky_scan_bad(s, "'%s' must be an integer of 64 bits", f->name);
    return KY_OK;
}

static int read_flag(json *j, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    int rc, c = ky_scan_peek(s);

    (void)j;
    if (take_null(s, &rc))
        return rc;
    if (c != 't' && c != 'f')
        return ky_scan_bad(s, "'%s' must be true or false", f->name);
    if ((rc = ky_scan_word(s, c == 't' ? "true" : "false")) != KY_OK)
        return rc;
    ret->flags |= c == 't' ? f->flag : 0;
    return KY_OK;
}

/* -- values -------------------------------------------------------------------- */

static int read_value(json *j, ky_scan *s, const char *name, float *x, ky_sample *ret)
{
    ky_number n;
    int rc;

    if (s->p < s->end && *s->p == 'n')
        return take_null(s, &rc) && rc == KY_OK
                   ? ky_fields_missing(&j->fields, s, name, "missing", x, ret)
                   : rc;
    if ((rc = ky_scan_number(s, &n)) != KY_OK)
        return rc;
    *x = (float)ky_number_double(&n);
    if (isinf(*x))
        return ky_scan_bad(s, "%.*s is beyond the largest 32-bit float",
                           (int)(n.len < 40 ? n.len : 40), n.text);
    return KY_OK;
}

/* The value that p is on, behind which p then is. Most are read here, in registers. */
static inline int read_element(json *j, ky_scan *s, float *x, ky_sample *ret)
{
    ky_number n;
    const uint8_t *behind = ky_number_quick(s->p, s->end, &n);

    if (behind == NULL)
        return read_value(j, s, "in 'x'", x, ret);
    if (ky_number_easy(&n)) {
        *x = (float)ky_number_divide(&n);
    } else { /* a copy, so that the usual one stays in registers; at most 19 digits fit a float */
        ky_number full = { .m = n.m, .e10 = n.e10, .negative = n.negative };
        *x = (float)ky_number_slow(&full);
    }
    s->p = behind;
    return KY_OK;
}

/* Numbers up to the closing bracket, appended to x; p behind the opening one. Returns their
 * number or KY_EREJECT. */
static int read_row(json *j, ky_scan *scan, int at, ky_sample *ret)
{
    ky_scan s = *scan; /* a copy whose fields can stay in registers */
    int n = 0, rc = KY_OK, c = ky_scan_peek(&s);

    while (c != ']' || n > 0) {
        if (at + n == j->fields.max_values)
            rc = ky_scan_bad(&s, "more than %d values", j->fields.max_values);
        else
            rc = read_element(j, &s, j->fields.x + at + n, ret);
        if (rc != KY_OK)
            return rc;
        n++;
        c = ky_scan_peek(&s);
        if (c != ',')
            break;
        s.p++;
        ky_scan_peek(&s);
    }
    if (c != ']')
        return ky_scan_bad(&s, "expected ',' or ']' behind a value");
    scan->p = s.p + 1;
    return n;
}

/* Rows up to the closing bracket of them all; p on the first row's bracket. */
static int read_rows(json *j, ky_scan *s, ky_sample *ret)
{
    for (;;) {
        if (ky_scan_peek(s) != '[')
            return ky_scan_bad(s, "expected '[', another row");
        s->p++;
        int n = read_row(j, s, ret->steps * ret->features, ret);
        if (n < 0)
            return n;
        if (ky_fields_row(s, n, ret) != KY_OK)
            return KY_EREJECT;
        int c = ky_scan_peek(s);
        if (c != ',' && c != ']')
            return ky_scan_bad(s, "expected ',' or ']' behind a row");
        s->p++;
        if (c == ']')
            return KY_OK;
    }
}

static int read_x(json *j, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    int rc;

    (void)f;
    if (ky_scan_peek(s) != '[') {
        if ((rc = read_value(j, s, "'x'", j->fields.x, ret)) != KY_OK)
            return rc;
        return ky_fields_flat(s, 1, ret);
    }
    s->p++;
    if (ky_scan_peek(s) == '[')
        return read_rows(j, s, ret);
    if ((rc = read_row(j, s, 0, ret)) < 0)
        return rc;
    return ky_fields_flat(s, rc, ret);
}

static int read_named(json *j, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    int rc;

    ky_scan_peek(s);
    rc = read_value(j, s, f->name, j->fields.x + f->index, ret);
    ky_fields_value(ret);
    return rc;
}

/* By ky_field_kind. */
static int (*const readers[KY_FIELD_KINDS])(json *j, ky_scan *s, const ky_field *f,
                                            ky_sample *ret) = {
    [KY_FIELD_STREAM] = read_stream, [KY_FIELD_TIME] = read_time,   [KY_FIELD_SEQ] = read_seq,
    [KY_FIELD_X] = read_x,           [KY_FIELD_LABEL] = read_label, [KY_FIELD_FLAG] = read_flag,
    [KY_FIELD_VALUE] = read_named,
};

/* -- keys ------------------------------------------------------------------------ */

/* A key as it is written; *ret NULL if it is none of ours. p behind it. */
static int read_key(json *j, ky_scan *s, ky_field **ret)
{
    ky_text t;
    int rc;

    if ((*ret = ky_fields_expected(&j->fields, s->p + 1, s->end)) != NULL) {
        s->p += (*ret)->len + 2;
        return ky_fields_take(&j->fields, s, *ret);
    }
    if ((rc = ky_scan_string(s, &t)) != KY_OK)
        return rc;
    if (t.escaped) {
        if ((t.len = ky_text_copy(&t, j->key, KEY_MAX)) == SIZE_MAX)
            return ky_scan_bad(s, "a key of more than %d bytes", KEY_MAX);
        t.at = j->key;
    }
    return ky_fields_find(&j->fields, s, t.at, t.len, ret);
}

/* One key with its value. */
static int read_pair(json *j, ky_scan *s, ky_sample *ret)
{
    ky_field *f;
    int rc;

    if (ky_scan_peek(s) != '"')
        return ky_scan_bad(s, "expected a key in quotes");
    if ((rc = read_key(j, s, &f)) != KY_OK)
        return rc;
    if (ky_scan_peek(s) != ':')
        return ky_scan_bad(s, "expected ':'");
    s->p++;
    return f != NULL ? readers[f->kind](j, s, f, ret) : ky_scan_skip(s);
}

static int read_object(json *j, ky_scan *s, ky_sample *ret)
{
    int rc, c = ky_scan_peek(s);

    if (c != '{')
        return ky_scan_bad(s, c < 0 ? "empty message" : "expected '{': a message is one object");
    s->p++;
    if (ky_scan_peek(s) == '}') {
        s->p++;
        return KY_OK;
    }
    for (;;) {
        if ((rc = read_pair(j, s, ret)) != KY_OK)
            return rc;
        c = ky_scan_peek(s);
        if (c != ',' && c != '}')
            return ky_scan_bad(s, "expected ',' or '}'");
        s->p++;
        if (c == '}')
            return KY_OK;
    }
}

static int json_decode(ky_codec *codec, const void *data, size_t len, ky_sample *ret, ky_err *err)
{
    json *j = (json *)codec;
    ky_scan s;
    int rc;

    ky_fields_begin(&j->fields, ret);
    ky_scan_init(&s, data, len, err);
    if ((rc = read_object(j, &s, ret)) != KY_OK)
        return rc;
    if (ky_scan_peek(&s) >= 0)
        return ky_scan_bad(&s, "more bytes behind the object");
    return ky_fields_finish(&j->fields, &s, ret);
}

/* -- making one -------------------------------------------------------------------- */

static void json_free(ky_codec *codec)
{
    json *j = (json *)codec;

    ky_fields_done(&j->fields);
    free(j);
}

/* The name and its closing quote. Names with a quote or a backslash are written with escapes: those
 * go the long way. */
static void set_head(ky_field *f)
{
    char bytes[8] = { 0 };
    bool plain = strpbrk(f->name, "\"\\") == NULL;

    memcpy(bytes, f->name, f->len < sizeof(bytes) ? f->len : sizeof(bytes) - 1);
    if (f->len < sizeof(bytes))
        bytes[f->len] = '"';
    ky_field_head(f, bytes, plain ? f->len + 1 : SIZE_MAX);
}

static int json_make(const ky_codec_opts *o, ky_codec **ret, ky_err *err)
{
    json *j = calloc(1, sizeof(*j));
    int rc;

    if (j == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a decoder");
    j->codec.ops = &ky_codec_json;
    if ((rc = ky_fields_init(&j->fields, "json", o, err)) != KY_OK) {
        json_free(&j->codec);
        return rc;
    }
    for (int i = 0; i < j->fields.n; i++)
        set_head(&j->fields.field[i]);
    *ret = &j->codec;
    return KY_OK;
}

const ky_codec_ops ky_codec_json = { "json", json_make, json_decode, json_free };
