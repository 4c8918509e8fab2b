/*
 * The msgpack codec: the json codec's object as a MessagePack map, a message one map.
 *
 * A value is a float32, a float64 or an integer; `x` an array of them, an array of such arrays (T
 * steps), one value, or, in place of any array of values, a bin of little-endian float32. `ts` may
 * be a timestamp (extension type -1). Names and keys are str, or bin that is UTF-8. nil and NaN
 * are values that are missing. What is not known is checked and skipped.
 */
#include "connectors/codec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/decimal.h"
#include "connectors/fields.h"
#include "connectors/jsonscan.h"

typedef struct msgpack {
    ky_codec codec;
    ky_fields fields;
    char stream[KY_DECIMAL_MAX], label[KY_DECIMAL_MAX]; /* integers as names */
} msgpack;

/* -- items --------------------------------------------------------------------- */

enum kind { NEVER, NIL, BOOL, INT, LARGE, F32, F64, STR, BIN, EXT, ARRAY, MAP };

/* One item without what is in it. */
typedef struct item {
    enum kind kind;
    int ext;           /* type of an EXT */
    uint64_t n;        /* bytes of STR, BIN, EXT; elements of ARRAY; pairs of MAP; a float's bits; a
                          LARGE: integer above INT64_MAX */
    int64_t v;         /* INT, BOOL */
    const uint8_t *at; /* its first byte */
} item;

/* By the leading byte from 0xc0 to 0xdf: bytes of the number that follows, big-endian, or without
 * such the number itself. */
static const struct head {
    uint8_t kind, width, number;
    bool is_signed;
} heads[32] = {
    [0x00] = { NIL, 0, 0, false },   [0x01] = { NEVER, 0, 0, false },
    [0x02] = { BOOL, 0, 0, false },  [0x03] = { BOOL, 0, 1, false },
    [0x04] = { BIN, 1, 0, false },   [0x05] = { BIN, 2, 0, false },
    [0x06] = { BIN, 4, 0, false },   [0x07] = { EXT, 1, 0, false },
    [0x08] = { EXT, 2, 0, false },   [0x09] = { EXT, 4, 0, false },
    [0x0a] = { F32, 4, 0, false },   [0x0b] = { F64, 8, 0, false },
    [0x0c] = { INT, 1, 0, false },   [0x0d] = { INT, 2, 0, false },
    [0x0e] = { INT, 4, 0, false },   [0x0f] = { INT, 8, 0, false },
    [0x10] = { INT, 1, 0, true },    [0x11] = { INT, 2, 0, true },
    [0x12] = { INT, 4, 0, true },    [0x13] = { INT, 8, 0, true },
    [0x14] = { EXT, 0, 1, false },   [0x15] = { EXT, 0, 2, false },
    [0x16] = { EXT, 0, 4, false },   [0x17] = { EXT, 0, 8, false },
    [0x18] = { EXT, 0, 16, false },  [0x19] = { STR, 1, 0, false },
    [0x1a] = { STR, 2, 0, false },   [0x1b] = { STR, 4, 0, false },
    [0x1c] = { ARRAY, 2, 0, false }, [0x1d] = { ARRAY, 4, 0, false },
    [0x1e] = { MAP, 2, 0, false },   [0x1f] = { MAP, 4, 0, false },
};

static uint32_t read_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t read_be64(const uint8_t *p)
{
    return (uint64_t)read_be32(p) << 32 | read_be32(p + 4);
}

static uint64_t read_be(const uint8_t *p, int width)
{
    uint64_t v = 0;

    for (int i = 0; i < width; i++)
        v = v << 8 | p[i];
    return v;
}

/* Refuses at an item that has been read. */
#define BAD(s, it, ...) ((s)->p = (it)->at, ky_scan_bad(s, __VA_ARGS__))

/* Whether what the item says it holds can be there: each element takes a byte at least. */
static int check_size(ky_scan *s, const item *it)
{
    uint64_t left = (uint64_t)(s->end - s->p), bytes = it->kind == MAP ? 2 * it->n : it->n;

    if (it->kind < STR || bytes <= left)
        return KY_OK;
    return BAD(s, it, "it says that %llu %s follow, the message has %llu more bytes",
               (unsigned long long)it->n,
               it->kind == MAP     ? "pairs"
               : it->kind == ARRAY ? "elements"
                                   : "bytes",
               (unsigned long long)left);
}

/* The item whose first byte is from 0xc0 to 0xdf; p behind that byte. */
static int read_long(ky_scan *s, item *it)
{
    struct head h = heads[it->at[0] - 0xc0];
    size_t more = (size_t)h.width + (h.kind == EXT);

    if (h.kind == NEVER)
        return BAD(s, it, "byte 0xc1, which MessagePack does not use");
    if ((size_t)(s->end - s->p) < more) {
        s->p = s->end;
        return ky_scan_bad(s, "expected %zu more bytes", more);
    }
    uint64_t n = h.width > 0 ? read_be(s->p, h.width) : h.number;
    s->p += more;
    it->kind = h.kind;
    it->ext = h.kind == EXT ? (int8_t)s->p[-1] : 0;
    it->n = n;
    it->v = (int64_t)n;
    if (h.is_signed) {
        int unused = 64 - 8 * h.width;
        it->v = (int64_t)(n << unused) >> unused;
    } else if (h.kind == INT && n > INT64_MAX) {
        it->kind = LARGE;
    }
    return check_size(s, it);
}

static inline enum kind kind_of(uint8_t lead)
{
    if (lead >= 0xc0 && lead < 0xe0)
        return (enum kind)heads[lead - 0xc0].kind;
    return lead < 0x80 || lead >= 0xe0 ? INT : lead >= 0xa0 ? STR : lead >= 0x90 ? ARRAY : MAP;
}

/* The next item; p then is on what is in it, or behind it. */
static inline int read_item(ky_scan *s, item *it)
{
    if (s->p == s->end)
        return ky_scan_bad(s, "expected a value");
    uint8_t c = *s->p;

    it->at = s->p++;
    it->ext = 0;
    it->n = 0;
    it->v = (int8_t)c;
    if (c >= 0xc0 && c < 0xe0)
        return read_long(s, it);
    it->kind = kind_of(c);
    if (it->kind == INT)
        return KY_OK;
    it->n = c & (it->kind == STR ? 0x1f : 0x0f);
    return check_size(s, it);
}

/* The bytes of a STR, BIN or EXT. */
static const char *take_bytes(ky_scan *s, const item *it)
{
    const char *bytes = (const char *)s->p;

    s->p += it->n;
    return bytes;
}

/* An item and all that is in it, checked and forgotten. */
static int skip_item(ky_scan *s)
{
    uint64_t left[KY_SCAN_DEPTH]; /* items to come at each depth */
    int depth = 0, rc;
    item it;

    for (;;) {
        if ((rc = read_item(s, &it)) != KY_OK)
            return rc;
        if (it.kind == ARRAY || it.kind == MAP) {
            if (depth == KY_SCAN_DEPTH)
                return BAD(s, &it, "nested deeper than %d", KY_SCAN_DEPTH);
            left[depth++] = it.kind == MAP ? 2 * it.n : it.n;
        } else if (it.kind >= STR) {
            take_bytes(s, &it);
        }
        while (depth > 0 && left[depth - 1] == 0)
            depth--;
        if (depth == 0)
            return KY_OK;
        left[depth - 1]--;
    }
}

static double float_of(const item *it)
{
    uint32_t low = (uint32_t)it->n;
    double d;
    float f;

    if (it->kind == F64) {
        memcpy(&d, &it->n, sizeof(d));
        return d;
    }
    memcpy(&f, &low, sizeof(f));
    return (double)f;
}

static bool is_number(const item *it)
{
    return it->kind >= INT && it->kind <= F64;
}

static double number_of(const item *it)
{
    return it->kind == INT ? (double)it->v : it->kind == LARGE ? (double)it->n : float_of(it);
}

/* -- one function a kind of field --------------------------------------------- */

/* A name: bytes, or an integer, which is written into buf. */
static int read_name(ky_scan *s, const char *what, char buf[KY_DECIMAL_MAX], const char **ret,
                     size_t *ret_len)
{
    item it;
    int rc;

    if ((rc = read_item(s, &it)) != KY_OK || it.kind == NIL)
        return rc;
    if (it.kind == INT) {
        *ret_len = ky_decimal_int(it.v, buf);
        *ret = buf;
        return KY_OK;
    }
    if (is_number(&it))
        return BAD(s, &it, "%s is a number, but not an integer of 64 bits", what);
    if (it.kind != STR && it.kind != BIN)
        return BAD(s, &it, "%s must be a string or an integer", what);
    const char *name = take_bytes(s, &it);
    if ((rc = ky_codec_check_name(what, name, it.n, KY_STREAM_MAX, s->err)) != KY_OK)
        return rc;
    *ret = name;
    *ret_len = it.n;
    return KY_OK;
}

_Static_assert(KY_STREAM_MAX == KY_LABEL_MAX, "read_name has one bound for both");

static int read_stream(msgpack *m, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    (void)f;
    return read_name(s, "stream id", m->stream, &ret->stream, &ret->stream_len);
}

static int read_label(msgpack *m, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    (void)f;
    return read_name(s, "label", m->label, &ret->label, &ret->label_len);
}

/* Microseconds of a timestamp: 32 bits of seconds; 30 of nanoseconds above 34 of seconds; or 32 of
 * nanoseconds, then 64 of seconds, signed. */
static bool timestamp_us(const uint8_t *p, uint64_t n, int64_t *ret)
{
    uint64_t ns = n == 8 ? read_be64(p) >> 34 : n == 12 ? read_be32(p) : 0;
    int64_t s = n == 8    ? (int64_t)(read_be64(p) & 0x3ffffffff)
                : n == 12 ? (int64_t)read_be64(p + 4)
                          : (int64_t)read_be32(p);

    return ns <= 999999999 && !__builtin_mul_overflow(s, 1000000, &s) &&
           !__builtin_add_overflow(s, (int64_t)(ns + 500) / 1000, ret);
}

static int read_timestamp(ky_scan *s, const ky_field *f, const item *it, ky_sample *ret)
{
    const uint8_t *p = (const uint8_t *)take_bytes(s, it);
    int64_t us = 0;

    if (it->ext != -1)
        return BAD(s, it, "'%s': extension type %d, a timestamp is -1", f->name, it->ext);
    if (it->n != 4 && it->n != 8 && it->n != 12)
        return BAD(s, it, "'%s': a timestamp of %llu bytes, it has 4, 8 or 12", f->name,
                   (unsigned long long)it->n);
    bool fits = timestamp_us(p, it->n, &us);
    return ky_fields_time(s, f, fits, us, "the timestamp", 13, ret);
}

/* A number times 10^shift (6, 3, 0 or -3), to the nearest integer, halves away from zero. */
static bool scale(const item *it, int shift, int64_t *ret)
{
    double d = number_of(it), whole = trunc(d), part = d - whole;
    ky_number n = { .negative = it->kind == INT ? it->v < 0 : d < 0 };

    if (it->kind == INT)
        n.m = it->v < 0 ? 0 - (uint64_t)it->v : (uint64_t)it->v;
    else if (it->kind == LARGE)
        n.m = it->n;
    else if (fabs(d) < 0x1p63)
        n.m = (uint64_t)fabs(whole);
    else
        return false;
    if (!ky_number_scaled(&n, shift, ret))
        return false;
    if (it->kind < F32 || shift < 0) /* less than one unit has no say in thousands of them */
        return true;
    part *= shift == 6 ? 1e6 : shift == 3 ? 1e3 : 1;
    return !__builtin_add_overflow(*ret, llround(part), ret);
}

static int read_time(msgpack *m, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    char text[32];
    int64_t us = 0;
    item it;
    int rc;

    if ((rc = read_item(s, &it)) != KY_OK || it.kind == NIL)
        return rc;
    if (it.kind == EXT)
        return read_timestamp(s, f, &it, ret);
    if (it.kind == STR || it.kind == BIN)
        return ky_fields_written_time(s, f, take_bytes(s, &it), it.n, ret);
    if (!is_number(&it))
        return BAD(s, &it, "'%s' must be a number, a timestamp or a string", f->name);
    if (scale(&it, m->fields.time_shift, &us))
        return ky_fields_time(s, f, true, us, "it", 2, ret);
    snprintf(text, sizeof(text), "%.17g", number_of(&it));
    return ky_fields_time(s, f, false, 0, text, strlen(text), ret);
}

static int read_seq(msgpack *m, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    item it;
    int rc;

    (void)m;
    if ((rc = read_item(s, &it)) != KY_OK || it.kind == NIL)
        return rc;
    double d = is_number(&it) ? number_of(&it) : NAN;
    if (it.kind == INT)
        ret->seq = it.v;
    else if (it.kind != LARGE && d == trunc(d) && fabs(d) < 0x1p63)
        ret->seq = (int64_t)d;
    else
        return BAD(s, &it, "'%s' must be an integer of 64 bits", f->name);
    return KY_OK;
}

static int read_flag(msgpack *m, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    item it;
    int rc;

    (void)m;
    if ((rc = read_item(s, &it)) != KY_OK || it.kind == NIL)
        return rc;
    if (it.kind != BOOL)
        return BAD(s, &it, "'%s' must be true or false", f->name);
    ret->flags |= it.v ? f->flag : 0;
    return KY_OK;
}

/* -- values -------------------------------------------------------------------- */

static int put_value(const msgpack *m, ky_scan *s, const char *name, const item *it, float *x,
                     ky_sample *ret)
{
    double d = is_number(it) ? number_of(it) : 0;

    if (it->kind == NIL || isnan(d)) {
        const uint8_t *behind = s->p;
        s->p = it->at;
        int rc = ky_fields_missing(&m->fields, s, name, isnan(d) ? "NaN" : "missing", x, ret);
        s->p = behind;
        return rc;
    }
    if (!is_number(it))
        return BAD(s, it, "value %s must be a number", name);
    *x = (float)d;
    if (isinf(*x))
        return BAD(s, it, "%.17g is beyond the largest 32-bit float", d);
    return KY_OK;
}

/* The usual elements, finite and within a float: whether p is on one, behind which it then is. */
static inline bool quick_value(ky_scan *s, float *x)
{
    ptrdiff_t left = s->end - s->p;
    uint32_t bits;
    uint64_t wide;
    double d;

    if (left >= 5 && s->p[0] == 0xca) {
        bits = read_be32(s->p + 1);
        memcpy(x, &bits, sizeof(bits));
        if ((bits & 0x7f800000) == 0x7f800000)
            return false;
        s->p += 5;
        return true;
    }
    if (left < 9 || s->p[0] != 0xcb)
        return false;
    wide = read_be64(s->p + 1);
    memcpy(&d, &wide, sizeof(d));
    *x = (float)d;
    if (!isfinite(*x))
        return false;
    s->p += 9;
    return true;
}

static int read_elements(msgpack *m, ky_scan *scan, const item *array, float *x, ky_sample *ret)
{
    ky_scan s = *scan; /* a copy whose fields can stay in registers */
    item it;
    int rc;

    for (uint64_t i = 0; i < array->n; i++) {
        if (quick_value(&s, x + i))
            continue;
        if ((rc = read_item(&s, &it)) != KY_OK ||
            (rc = put_value(m, &s, "in 'x'", &it, x + i, ret)) != KY_OK)
            return rc;
    }
    scan->p = s.p;
    return KY_OK;
}

/* A bin of float32. */
static int read_floats(msgpack *m, ky_scan *s, const item *bin, float *x, ky_sample *ret)
{
    ky_err why;

    if (ky_codec_floats(s->p, bin->n / sizeof(float), m->fields.missing, x, &ret->holes, &why) !=
        KY_OK)
        return BAD(s, bin, "%s", why.text);
    s->p += bin->n;
    return KY_OK;
}

/* The values of one row, appended to x. Returns their number or KY_EREJECT. */
static int read_row(msgpack *m, ky_scan *s, const item *row, ky_sample *ret)
{
    int at = ret->steps * ret->features, max = m->fields.max_values;
    uint64_t n = row->kind == BIN ? row->n / sizeof(float) : row->n;
    float *x = m->fields.x + at;
    int rc;

    if (row->kind != ARRAY && row->kind != BIN)
        return BAD(s, row, "expected an array or a bin, another row");
    if (row->kind == BIN && row->n % sizeof(float) != 0)
        return BAD(s, row, "%llu bytes are no number of 32-bit floats", (unsigned long long)row->n);
    if (n > (uint64_t)(max - at))
        return BAD(s, row, "more than %d values", max);
    rc = row->kind == BIN ? read_floats(m, s, row, x, ret) : read_elements(m, s, row, x, ret);
    return rc != KY_OK ? rc : (int)n;
}

static int read_rows(msgpack *m, ky_scan *s, uint64_t rows, ky_sample *ret)
{
    item row;
    int n, rc;

    for (uint64_t i = 0; i < rows; i++) {
        if ((rc = read_item(s, &row)) != KY_OK)
            return rc;
        if ((n = read_row(m, s, &row, ret)) < 0)
            return n;
        if ((rc = ky_fields_row(s, n, ret)) != KY_OK)
            return rc;
    }
    return KY_OK;
}

/* Whether an array or a bin follows: rows. */
static bool row_follows(const ky_scan *s)
{
    enum kind next = s->p < s->end ? kind_of(*s->p) : NEVER;

    return next == ARRAY || next == BIN;
}

static int read_x(msgpack *m, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    item it;
    int rc;

    (void)f;
    if ((rc = read_item(s, &it)) != KY_OK)
        return rc;
    if (it.kind == ARRAY && it.n > 0 && row_follows(s))
        return read_rows(m, s, it.n, ret);
    if (it.kind == ARRAY || it.kind == BIN)
        rc = read_row(m, s, &it, ret);
    else if ((rc = put_value(m, s, "'x'", &it, m->fields.x, ret)) == KY_OK)
        rc = 1;
    return rc < 0 ? rc : ky_fields_flat(s, rc, ret);
}

static int read_named(msgpack *m, ky_scan *s, const ky_field *f, ky_sample *ret)
{
    item it;
    int rc;

    if ((rc = read_item(s, &it)) != KY_OK)
        return rc;
    rc = put_value(m, s, f->name, &it, m->fields.x + f->index, ret);
    ky_fields_value(ret);
    return rc;
}

/* By ky_field_kind. */
static int (*const readers[KY_FIELD_KINDS])(msgpack *m, ky_scan *s, const ky_field *f,
                                            ky_sample *ret) = {
    [KY_FIELD_STREAM] = read_stream, [KY_FIELD_TIME] = read_time,   [KY_FIELD_SEQ] = read_seq,
    [KY_FIELD_X] = read_x,           [KY_FIELD_LABEL] = read_label, [KY_FIELD_FLAG] = read_flag,
    [KY_FIELD_VALUE] = read_named,
};

/* -- a message ------------------------------------------------------------------- */

/* *ret NULL if it is no key of ours. */
static int read_key(msgpack *m, ky_scan *s, ky_field **ret)
{
    item it;
    int rc;

    if ((*ret = ky_fields_expected(&m->fields, s->p, s->end)) != NULL) {
        s->p += (*ret)->len + 1;
        return ky_fields_take(&m->fields, s, *ret);
    }
    if ((rc = read_item(s, &it)) != KY_OK)
        return rc;
    if (it.kind != STR && it.kind != BIN)
        return BAD(s, &it, "a key must be a string");
    return ky_fields_find(&m->fields, s, take_bytes(s, &it), it.n, ret);
}

static int read_map(msgpack *m, ky_scan *s, ky_sample *ret)
{
    ky_field *f;
    item map;
    int rc;

    if (s->p == s->end)
        return ky_scan_bad(s, "empty message");
    if ((rc = read_item(s, &map)) != KY_OK)
        return rc;
    if (map.kind != MAP)
        return BAD(s, &map, "expected a map: a message is one map");
    for (uint64_t i = 0; i < map.n; i++) {
        if ((rc = read_key(m, s, &f)) != KY_OK)
            return rc;
        rc = f != NULL ? readers[f->kind](m, s, f, ret) : skip_item(s);
        if (rc != KY_OK)
            return rc;
    }
    return KY_OK;
}

static int msgpack_decode(ky_codec *codec, const void *data, size_t len, ky_sample *ret,
                          ky_err *err)
{
    msgpack *m = (msgpack *)codec;
    ky_scan s = { data, (const uint8_t *)data + len, data, m->fields.format, err };
    int rc;

    ky_fields_begin(&m->fields, ret);
    if ((rc = read_map(m, &s, ret)) != KY_OK)
        return rc;
    if (s.p != s.end)
        return ky_scan_bad(&s, "more bytes behind the map");
    return ky_fields_finish(&m->fields, &s, ret);
}

/* -- making one -------------------------------------------------------------------- */

static void msgpack_free(ky_codec *codec)
{
    msgpack *m = (msgpack *)codec;

    ky_fields_done(&m->fields);
    free(m);
}

/* A short string's only byte of length, then the name. */
static void set_head(ky_field *f)
{
    char bytes[8] = { (char)(0xa0 | (f->len & 0x1f)) };

    memcpy(bytes + 1, f->name, f->len < sizeof(bytes) ? f->len : sizeof(bytes) - 1);
    ky_field_head(f, bytes, f->len + 1);
}

static int msgpack_make(const ky_codec_opts *o, ky_codec **ret, ky_err *err)
{
    msgpack *m = calloc(1, sizeof(*m));
    int rc;

    if (m == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a decoder");
    m->codec.ops = &ky_codec_msgpack;
    if ((rc = ky_fields_init(&m->fields, "msgpack", o, err)) != KY_OK) {
        msgpack_free(&m->codec);
        return rc;
    }
    for (int i = 0; i < m->fields.n; i++)
        set_head(&m->fields.field[i]);
    *ret = &m->codec;
    return KY_OK;
}

const ky_codec_ops ky_codec_msgpack = { "msgpack", msgpack_make, msgpack_decode, msgpack_free };
