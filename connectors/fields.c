#include "connectors/fields.h"

#include <math.h>
#include <stdlib.h>

#include "connectors/timestamp.h"

enum { VALUES_MAX = 65536, SHOWN = 40 }; /* bytes of foreign text in a reason */

static int shown(size_t len)
{
    return (int)(len < SHOWN ? len : SHOWN);
}

/* -- keys ------------------------------------------------------------------------ */

/* The field of that name, looked for from `from` on, where it usually is. */
static ky_field *look_up(ky_fields *f, const char *name, size_t len, int from)
{
    for (int k = 0, i = from; k < f->n; k++, i++) {
        i = i == f->n ? 0 : i;
        if (f->field[i].len == len && memcmp(f->field[i].name, name, len) == 0)
            return &f->field[i];
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

/* A reason goes where text goes: bytes that are no name are not shown. */
static int refuse_stranger(ky_scan *s, const char *name, size_t len)
{
    if (ky_codec_check_name("", name, len, SHOWN, NULL) != KY_OK)
        return ky_scan_bad(s, "a key of %zu bytes stands twice", len);
    return ky_scan_bad(s, "key '%.*s' stands twice", (int)len, name);
}

/* Remembers an unknown key; refuses it if this message had it before. */
static int check_stranger(ky_fields *f, ky_scan *s, const char *name, size_t len)
{
    uint64_t h = hash_of(name, len);

    for (size_t i = h % KY_STRANGER_SLOTS;; i = (i + 1) % KY_STRANGER_SLOTS) {
        if (f->slot[i].seen != f->message) {
            if (++f->strangers > KY_STRANGERS)
                return ky_scan_bad(s, "more than %d keys that are not known", KY_STRANGERS);
            f->slot[i].seen = f->message;
            f->slot[i].hash = h;
            return KY_OK;
        }
        if (f->slot[i].hash == h)
            return refuse_stranger(s, name, len);
    }
}

int ky_fields_twice(ky_scan *s, const ky_field *f)
{
    return ky_scan_bad(s, "key '%s' stands twice", f->name);
}

int ky_fields_find(ky_fields *f, ky_scan *s, const char *name, size_t len, ky_field **ret)
{
    *ret = look_up(f, name, len, f->next);
    return *ret != NULL ? ky_fields_take(f, s, *ret) : check_stranger(f, s, name, len);
}

void ky_field_head(ky_field *f, const void *bytes, size_t n)
{
    f->head = 1; /* and mask 0: nothing matches */
    f->mask = 0;
    if (n > sizeof(f->head))
        return;
    f->head = 0;
    memcpy(&f->head, bytes, n);
    memset(&f->mask, 0xff, n);
}

/* -- values ------------------------------------------------------------------------ */

int ky_fields_time(ky_scan *s, const ky_field *field, bool fits, int64_t us, const char *text,
                   size_t len, ky_sample *ret)
{
    if (!fits || us < KY_TIME_MIN_US || us > KY_TIME_MAX_US)
        return ky_scan_bad(s, "'%s': %.*s is not within the years 0 to 9999 (is time_unit right?)",
                           field->name, shown(len), text);
    ret->ts_us = us;
    return KY_OK;
}

int ky_fields_written_time(ky_scan *s, const ky_field *field, const char *text, size_t len,
                           ky_sample *ret)
{
    if (ky_time_parse(text, len, &ret->ts_us))
        return KY_OK;
    if (len > 0 && ky_codec_check_name("", text, len, SHOWN, NULL) != KY_OK)
        return ky_scan_bad(s, "'%s': not a time as RFC 3339 writes it", field->name);
    return ky_scan_bad(s, "'%s': '%.*s' is not a time as RFC 3339 writes it", field->name,
                       shown(len), text);
}

int ky_fields_missing(const ky_fields *f, ky_scan *s, const char *name, const char *is, float *x,
                      ky_sample *ret)
{
    if (f->missing == KY_MISSING_REJECT)
        return ky_scan_bad(s, "value %s is %s (missing = reject)", name, is);
    ret->holes += f->missing == KY_MISSING_HOLD;
    *x = f->missing == KY_MISSING_HOLD ? NAN : 0.0f;
    return KY_OK;
}

int ky_fields_flat(ky_scan *s, int n, ky_sample *ret)
{
    if (n == 0)
        return ky_scan_bad(s, "'x' has no values");
    ret->steps = 1;
    ret->features = n;
    return KY_OK;
}

int ky_fields_row(ky_scan *s, int n, ky_sample *ret)
{
    if (ret->steps > 0 && n != ret->features)
        return ky_scan_bad(s, "row %d has %d values, the first has %d", ret->steps + 1, n,
                           ret->features);
    if (n == 0)
        return ky_scan_bad(s, "a row without values");
    ret->features = n;
    ret->steps++;
    return KY_OK;
}

/* -- a message -------------------------------------------------------------------- */

/* Message numbers came round: forget what was seen under them before. */
static void forget_seen(ky_fields *f)
{
    for (int i = 0; i < f->n; i++)
        f->field[i].seen = 0;
    memset(f->slot, 0, sizeof(f->slot));
    f->message = 1;
}

void ky_fields_begin(ky_fields *f, ky_sample *ret)
{
    *ret = (ky_sample){ .seq = KY_NONE, .ts_us = KY_NONE, .x = f->x };
    if (++f->message == 0)
        forget_seen(f);
    f->strangers = 0;
    f->next = 0;
}

/* Named values make one step; those that did not come are missing. */
static int finish_named(const ky_fields *f, ky_scan *s, ky_sample *ret)
{
    int rc, came = ret->features;

    ret->features = 0;
    if (came == 0)
        return KY_OK;
    for (int i = 0; came < f->n_values && i < f->n; i++) {
        const ky_field *field = &f->field[i];
        if (field->kind != KY_FIELD_VALUE || field->seen == f->message)
            continue;
        rc = ky_fields_missing(f, s, field->name, "missing", f->x + field->index, ret);
        if (rc != KY_OK)
            return rc;
    }
    ret->steps = 1;
    ret->features = f->n_values;
    return KY_OK;
}

int ky_fields_finish(ky_fields *f, ky_scan *s, ky_sample *ret)
{
    int rc;

    if (f->n_values > 0 && (rc = finish_named(f, s, ret)) != KY_OK)
        return rc;
    if (ret->steps > 0 || ret->flags & KY_FORGET)
        return KY_OK;
    if (ret->label == NULL)
        return ky_fail(s->err, KY_EREJECT, "%s: no values and no label", f->format);
    if (ret->seq == KY_NONE && ret->ts_us == KY_NONE)
        return ky_fail(s->err, KY_EREJECT,
                       "%s: a label without values needs seq or ts, to say which sample it means",
                       f->format);
    if (ret->flags != 0)
        return ky_fail(s->err, KY_EREJECT, "%s: start, end and reset need values", f->format);
    return KY_OK;
}

/* -- the table -------------------------------------------------------------------- */

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

/* Adds a row; two rows of one name are a contradiction. */
static int add_field(ky_fields *f, ky_field field, char **names, ky_err *err)
{
    field.len = strlen(field.name);
    if (field.len == 0)
        return ky_fail(err, KY_EINVAL, "values: a field without a name");
    if (look_up(f, field.name, field.len, 0) != NULL)
        return ky_fail(err, KY_EINVAL, "field '%s' is asked for twice", field.name);
    field.name = memcpy(*names, field.name, field.len + 1);
    *names += field.len + 1;
    f->field[f->n++] = field;
    return KY_OK;
}

static int add_fields(ky_fields *f, const ky_codec_opts *o, ky_err *err)
{
    const ky_field fixed[] = {
        { .name = or_else(o->stream_field, "stream"), .kind = KY_FIELD_STREAM },
        { .name = or_else(o->time_field, "ts"), .kind = KY_FIELD_TIME },
        { .name = "seq", .kind = KY_FIELD_SEQ },
        { .name = "x", .kind = KY_FIELD_X },
        { .name = or_else(o->label_field, "label"), .kind = KY_FIELD_LABEL },
        { .name = "start", .kind = KY_FIELD_FLAG, .flag = KY_START },
        { .name = "end", .kind = KY_FIELD_FLAG, .flag = KY_END },
        { .name = "reset", .kind = KY_FIELD_FLAG, .flag = KY_RESET },
        { .name = "forget", .kind = KY_FIELD_FLAG, .flag = KY_FORGET },
    };
    size_t size = 0, n = sizeof(fixed) / sizeof(*fixed);
    int rc = KY_OK;

    for (size_t i = 0; i < n; i++)
        size += strlen(fixed[i].name) + 1;
    for (int i = 0; i < o->n_values; i++)
        size += strlen(o->values[i]) + 1;
    f->field = calloc(n + (size_t)o->n_values, sizeof(*f->field));
    char *names = f->names = malloc(size);
    if (f->field == NULL || names == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a decoder");
    for (size_t i = 0; i < n && rc == KY_OK; i++)
        if (fixed[i].kind != KY_FIELD_X || o->n_values == 0)
            rc = add_field(f, fixed[i], &names, err);
    for (int i = 0; i < o->n_values && rc == KY_OK; i++)
        rc = add_field(f, (ky_field){ .name = o->values[i], .kind = KY_FIELD_VALUE, .index = i },
                       &names, err);
    return rc;
}

int ky_fields_init(ky_fields *f, const char *format, const ky_codec_opts *o, ky_err *err)
{
    int max = o->max_values > 0 ? o->max_values : VALUES_MAX;

    memset(f, 0, sizeof(*f));
    f->format = format;
    f->missing = o->missing;
    f->max_values = max;
    f->n_values = o->n_values;
    if (power_of_unit(o->time_unit_ns, &f->time_shift) != KY_OK)
        return ky_fail(err, KY_EINVAL, "time unit of %lld ns: must be s, ms, us or ns",
                       (long long)o->time_unit_ns);
    if (o->n_values > max)
        return ky_fail(err, KY_EINVAL, "%d named values, at most %d are allowed", o->n_values, max);
    if ((f->x = malloc((size_t)max * sizeof(float))) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a decoder of %d values", max);
    return add_fields(f, o, err);
}

void ky_fields_done(ky_fields *f)
{
    free(f->x);
    free(f->field);
    free(f->names);
}
