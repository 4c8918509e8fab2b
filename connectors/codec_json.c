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

#include "connectors/jsonscan.h"
#include "connectors/timestamp.h"

enum { VALUES_MAX = 65536, KEY_MAX = 1024, STRANGERS = 1024, SLOTS = 2 * STRANGERS };

typedef struct json json;
typedef struct field field;

/* A key we know. */
struct field {
    const char *name;
    size_t len;
    int (*read)(json *j, ky_scan *s, const field *f, ky_sample *ret);
    uint32_t seen;       /* number of the message that last had it */
    int index;           /* of a named value */
    uint64_t head, mask; /* the name and its closing quote in the lowest bytes, if they fit; else
                            a head that nothing matches */
    unsigned flag;       /* of start, end, reset */
};

enum { FIXED = 8 };

struct json {
    ky_codec codec;
    int time_shift; /* power of ten from the time unit to microseconds */
    enum ky_missing missing;
    int max_values, n_values;
    uint32_t message; /* number of the present one, for `seen` */
    field *field;     /* [n_fields] in the order in which messages usually have them */
    int n_fields;
    char *names; /* copies of the fields' names */
    float *x;    /* [max_values] */
    int strangers;
    struct { /* hashes of keys we do not know, by open addressing */
        uint64_t hash;
        uint32_t seen;
    } slot[SLOTS];
    char stream[KY_STREAM_MAX], label[KY_LABEL_MAX], key[KEY_MAX];
};

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

static int read_stream(json *j, ky_scan *s, const field *f, ky_sample *ret)
{
    int rc;

    (void)f;
    if (take_null(s, &rc))
        return rc;
    return read_name(s, "stream id", j->stream, KY_STREAM_MAX, &ret->stream, &ret->stream_len);
}

static int read_label(json *j, ky_scan *s, const field *f, ky_sample *ret)
{
    int rc;

    (void)f;
    if (take_null(s, &rc))
        return rc;
    return read_name(s, "label", j->label, KY_LABEL_MAX, &ret->label, &ret->label_len);
}

static int read_time(json *j, ky_scan *s, const field *f, ky_sample *ret)
{
    ky_number n;
    ky_text t;
    int rc, c = ky_scan_peek(s);

    if (take_null(s, &rc))
        return rc;
    if (c == '"') {
        if ((rc = ky_scan_string(s, &t)) != KY_OK)
            return rc;
        if (!ky_time_parse(t.at, t.len, &ret->ts_us))
            return ky_scan_bad(s, "'%s': '%.*s' is not a time as RFC 3339 writes it", f->name,
                               (int)(t.len < 40 ? t.len : 40), t.at);
        return KY_OK;
    }
    if ((rc = ky_scan_number(s, &n)) != KY_OK)
        return rc;
    if (!ky_number_scaled(&n, j->time_shift, &ret->ts_us) || ret->ts_us < KY_TIME_MIN_US ||
        ret->ts_us > KY_TIME_MAX_US)
        return ky_scan_bad(s, "'%s': %.*s is not within the years 0 to 9999 (is time_unit right?)",
                           f->name, (int)(n.len < 40 ? n.len : 40), n.text);
    return KY_OK;
}

static int read_seq(json *j, ky_scan *s, const field *f, ky_sample *ret)
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

static int read_flag(json *j, ky_scan *s, const field *f, ky_sample *ret)
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

/* What stands for a value that is not there. */
static int put_missing(json *j, ky_scan *s, const char *name, float *x, ky_sample *ret)
{
    if (j->missing == KY_MISSING_REJECT)
        return ky_scan_bad(s, "value %s is missing (missing = reject)", name);
    ret->holes += j->missing == KY_MISSING_HOLD;
    *x = j->missing == KY_MISSING_HOLD ? NAN : 0.0f;
    return KY_OK;
}

static int read_value(json *j, ky_scan *s, const char *name, float *x, ky_sample *ret)
{
    ky_number n;
    int rc;

    if (s->p < s->end && *s->p == 'n')
        return take_null(s, &rc) && rc == KY_OK ? put_missing(j, s, name, x, ret) : rc;
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
        if (at + n == j->max_values)
            rc = ky_scan_bad(&s, "more than %d values", j->max_values);
        else
            rc = read_element(j, &s, j->x + at + n, ret);
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
        if (ret->steps > 0 && n != ret->features)
            return ky_scan_bad(s, "row %d has %d values, the first has %d", ret->steps + 1, n,
                               ret->features);
        if (n == 0)
            return ky_scan_bad(s, "a row without values");
        ret->features = n;
        ret->steps++;
        int c = ky_scan_peek(s);
        if (c != ',' && c != ']')
            return ky_scan_bad(s, "expected ',' or ']' behind a row");
        s->p++;
        if (c == ']')
            return KY_OK;
    }
}

static int read_x(json *j, ky_scan *s, const field *f, ky_sample *ret)
{
    int rc;

    (void)f;
    if (ky_scan_peek(s) != '[') {
        if ((rc = read_value(j, s, "'x'", j->x, ret)) != KY_OK)
            return rc;
        ret->steps = ret->features = 1;
        return KY_OK;
    }
    s->p++;
    if (ky_scan_peek(s) == '[')
        return read_rows(j, s, ret);
    if ((rc = read_row(j, s, 0, ret)) < 0)
        return rc;
    if (rc == 0)
        return ky_scan_bad(s, "'x' has no values");
    ret->steps = 1;
    ret->features = rc;
    return KY_OK;
}

static int read_named(json *j, ky_scan *s, const field *f, ky_sample *ret)
{
    int rc;

    ky_scan_peek(s);
    rc = read_value(j, s, f->name, j->x + f->index, ret);
    ret->features++; /* counted up to n_values; see finish_named */
    return rc;
}

/* Named values make one step; those that did not come are missing. */
static int finish_named(json *j, ky_scan *s, ky_sample *ret)
{
    int rc, came = ret->features;

    ret->features = 0;
    if (came == 0)
        return KY_OK;
    for (int i = 0; came < j->n_values && i < j->n_fields; i++) {
        const field *f = &j->field[i];
        if (f->read != read_named || f->seen == j->message)
            continue;
        if ((rc = put_missing(j, s, f->name, j->x + f->index, ret)) != KY_OK)
            return rc;
    }
    ret->steps = 1;
    ret->features = j->n_values;
    return KY_OK;
}

/* -- keys ------------------------------------------------------------------------ */

/* The field of that name, looked for from `from` on, where it usually is. */
static field *find_field(json *j, const char *name, size_t len, int from)
{
    for (int k = 0, i = from; k < j->n_fields; k++, i++) {
        i = i == j->n_fields ? 0 : i;
        if (j->field[i].len == len && memcmp(j->field[i].name, name, len) == 0)
            return &j->field[i];
    }
    return NULL;
}

/* FNV-1a. A collision, which needs 2^32 keys or somebody who seeks it, refuses a message of the
 * one who sent it. */
static uint64_t hash_of(const char *s, size_t len)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)s[i]) * UINT64_C(0x100000001b3);
    return h;
}

/* Remembers an unknown key; refuses it if this message had it before. */
static int check_stranger(json *j, ky_scan *s, const char *name, size_t len)
{
    uint64_t h = hash_of(name, len);

    for (size_t i = h % SLOTS;; i = (i + 1) % SLOTS) {
        if (j->slot[i].seen != j->message) {
            if (++j->strangers > STRANGERS)
                return ky_scan_bad(s, "more than %d keys that are not known", STRANGERS);
            j->slot[i].seen = j->message;
            j->slot[i].hash = h;
            return KY_OK;
        }
        if (j->slot[i].hash == h)
            return ky_scan_bad(s, "key '%.*s' stands twice", (int)(len < 40 ? len : 40), name);
    }
}

/* A key as it is written; *ret NULL if it is none of ours. p behind it. */
static int read_key(json *j, ky_scan *s, int from, field **ret)
{
    ky_text t;
    int rc;

    if ((rc = ky_scan_string(s, &t)) != KY_OK)
        return rc;
    if (t.escaped) {
        if ((t.len = ky_text_copy(&t, j->key, KEY_MAX)) == SIZE_MAX)
            return ky_scan_bad(s, "a key of more than %d bytes", KEY_MAX);
        t.at = j->key;
    }
    *ret = find_field(j, t.at, t.len, from);
    return *ret != NULL ? KY_OK : check_stranger(j, s, t.at, t.len);
}

/* Whether the key at p (a quote) is the field's, by one comparison of eight bytes. */
static inline bool is_next(const ky_scan *s, const field *f)
{
    uint64_t w;

    if (s->end - s->p < 9)
        return false;
    memcpy(&w, s->p + 1, 8);
    return (w & f->mask) == f->head;
}

/* One key with its value; *next is the field to expect, and then the one behind it. */
static int read_pair(json *j, ky_scan *s, int *next, ky_sample *ret)
{
    field *f = &j->field[*next < j->n_fields ? *next : 0];
    int rc;

    if (ky_scan_peek(s) != '"')
        return ky_scan_bad(s, "expected a key in quotes");
    if (is_next(s, f))
        s->p += f->len + 2;
    else if ((rc = read_key(j, s, *next, &f)) != KY_OK)
        return rc;
    if (f != NULL) {
        if (f->seen == j->message)
            return ky_scan_bad(s, "key '%s' stands twice", f->name);
        f->seen = j->message;
        *next = (int)(f - j->field) + 1;
    }
    if (ky_scan_peek(s) != ':')
        return ky_scan_bad(s, "expected ':'");
    s->p++;
    return f != NULL ? f->read(j, s, f, ret) : ky_scan_skip(s);
}

static int read_object(json *j, ky_scan *s, ky_sample *ret)
{
    int rc, next = 0, c = ky_scan_peek(s);

    if (c != '{')
        return ky_scan_bad(s, c < 0 ? "empty message" : "expected '{': a message is one object");
    s->p++;
    if (ky_scan_peek(s) == '}') {
        s->p++;
        return KY_OK;
    }
    for (;;) {
        if ((rc = read_pair(j, s, &next, ret)) != KY_OK)
            return rc;
        c = ky_scan_peek(s);
        if (c != ',' && c != '}')
            return ky_scan_bad(s, "expected ',' or '}'");
        s->p++;
        if (c == '}')
            return KY_OK;
    }
}

/* What a whole message must have. */
static int check_sample(const ky_sample *r, ky_err *err)
{
    if (r->steps > 0)
        return KY_OK;
    if (r->label == NULL)
        return ky_fail(err, KY_EREJECT, "json: no values and no label");
    if (r->seq == KY_NONE && r->ts_us == KY_NONE)
        return ky_fail(
            err, KY_EREJECT,
            "json: a label without values needs seq or ts, to say which sample it means");
    if (r->flags != 0)
        return ky_fail(err, KY_EREJECT, "json: start, end and reset need values");
    return KY_OK;
}

/* Message numbers came round: forget what was seen under them before. */
static void forget_seen(json *j)
{
    for (int i = 0; i < j->n_fields; i++)
        j->field[i].seen = 0;
    memset(j->slot, 0, sizeof(j->slot));
    j->message = 1;
}

static int json_decode(ky_codec *codec, const void *data, size_t len, ky_sample *ret, ky_err *err)
{
    json *j = (json *)codec;
    ky_scan s;
    int rc;

    *ret = (ky_sample){ .seq = KY_NONE, .ts_us = KY_NONE, .x = j->x };
    if (++j->message == 0)
        forget_seen(j);
    j->strangers = 0;
    ky_scan_init(&s, data, len, err);
    if ((rc = read_object(j, &s, ret)) != KY_OK)
        return rc;
    if (ky_scan_peek(&s) >= 0)
        return ky_scan_bad(&s, "more bytes behind the object");
    if (j->n_values > 0 && (rc = finish_named(j, &s, ret)) != KY_OK)
        return rc;
    return check_sample(ret, err);
}

/* -- making one -------------------------------------------------------------------- */

static void json_free(ky_codec *codec)
{
    json *j = (json *)codec;

    free(j->x);
    free(j->field);
    free(j->names);
    free(j);
}

static int power_of_unit(int64_t unit_ns, int *ret)
{
    static const struct {
        int64_t ns;
        int shift;
    } units[] = { { 0, 6 }, { 1000000000, 6 }, { 1000000, 3 }, { 1000, 0 }, { 1, -3 } };

    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
        if (units[i].ns == unit_ns) {
            *ret = units[i].shift;
            return KY_OK;
        }
    return KY_EINVAL;
}

static const char *or_else(const char *s, const char *otherwise)
{
    return s != NULL && *s != '\0' ? s : otherwise;
}

/* Names with a quote or a backslash are written with escapes: those go the long way. */
static void set_head(field *f)
{
    char bytes[8] = { 0 }, mask[8] = { 0 };

    f->head = 1; /* and mask 0: nothing matches */
    if (f->len > 7 || strpbrk(f->name, "\"\\") != NULL)
        return;
    memcpy(bytes, f->name, f->len);
    bytes[f->len] = '"';
    memset(mask, 0xff, f->len + 1);
    memcpy(&f->head, bytes, 8);
    memcpy(&f->mask, mask, 8);
}

/* Adds a row; two rows of one name are a contradiction. */
static int add_field(json *j, field f, char **names, ky_err *err)
{
    f.len = strlen(f.name);
    if (f.len == 0)
        return ky_fail(err, KY_EINVAL, "values: a field without a name");
    if (find_field(j, f.name, f.len, 0) != NULL)
        return ky_fail(err, KY_EINVAL, "field '%s' is asked for twice", f.name);
    f.name = memcpy(*names, f.name, f.len + 1);
    *names += f.len + 1;
    set_head(&f);
    j->field[j->n_fields++] = f;
    return KY_OK;
}

static int add_fields(json *j, const ky_codec_opts *o, ky_err *err)
{
    const field fixed[] = {
        { .name = or_else(o->stream_field, "stream"), .read = read_stream },
        { .name = or_else(o->time_field, "ts"), .read = read_time },
        { .name = "seq", .read = read_seq },
        { .name = "x", .read = read_x },
        { .name = or_else(o->label_field, "label"), .read = read_label },
        { .name = "start", .read = read_flag, .flag = KY_START },
        { .name = "end", .read = read_flag, .flag = KY_END },
        { .name = "reset", .read = read_flag, .flag = KY_RESET },
    };
    size_t size = 0, n = sizeof(fixed) / sizeof(*fixed);
    int rc = KY_OK;

    for (size_t i = 0; i < n; i++)
        size += strlen(fixed[i].name) + 1;
    for (int i = 0; i < o->n_values; i++)
        size += strlen(o->values[i]) + 1;
    j->field = calloc(n + (size_t)o->n_values, sizeof(*j->field));
    char *names = j->names = malloc(size);
    if (j->field == NULL || names == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a decoder");
    for (size_t i = 0; i < n && rc == KY_OK; i++)
        if (fixed[i].read != read_x || o->n_values == 0)
            rc = add_field(j, fixed[i], &names, err);
    for (int i = 0; i < o->n_values && rc == KY_OK; i++)
        rc = add_field(j, (field){ .name = o->values[i], .read = read_named, .index = i }, &names,
                       err);
    return rc;
}

static int json_make(const ky_codec_opts *o, ky_codec **ret, ky_err *err)
{
    int max = o->max_values > 0 ? o->max_values : VALUES_MAX;
    int rc, shift;

    if (power_of_unit(o->time_unit_ns, &shift) != KY_OK)
        return ky_fail(err, KY_EINVAL, "time unit of %lld ns: must be s, ms, us or ns",
                       (long long)o->time_unit_ns);
    if (o->n_values > max)
        return ky_fail(err, KY_EINVAL, "%d named values, at most %d are allowed", o->n_values, max);
    json *j = calloc(1, sizeof(*j));
    if (j == NULL || (j->x = malloc((size_t)max * sizeof(float))) == NULL) {
        free(j);
        return ky_fail(err, KY_ENOMEM, "no memory for a decoder of %d values", max);
    }
    j->codec.ops = &ky_codec_json;
    j->time_shift = shift;
    j->missing = o->missing;
    j->max_values = max;
    j->n_values = o->n_values;
    if ((rc = add_fields(j, o, err)) != KY_OK) {
        json_free(&j->codec);
        return rc;
    }
    *ret = &j->codec;
    return KY_OK;
}

const ky_codec_ops ky_codec_json = { "json", json_make, json_decode, json_free };
