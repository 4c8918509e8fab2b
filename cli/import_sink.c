#include "cli/import_sink.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/csv.h"

enum {
    MOST_CLASSES = 10000, /* as `kymo train` reads them */
    MOST_NAME = 4096,     /* bytes */
    BLOCK = 1 << 20,      /* bytes of rows that are written at a time */
};

static const char *const suffixes[] = { "", "_train", "_test" };

/* -- what a source says ----------------------------------------------------------------------- */

ky_sink *ky_sink_new(const ky_import_opts *o)
{
    ky_sink *s = calloc(1, sizeof *s);

    if (s != NULL)
        s->o = o;
    return s;
}

void ky_sink_free(ky_sink *s)
{
    if (s == NULL)
        return;
    ky_h5_close(s->file);
    for (int p = 0; p < KY_IMPORT_PARTS; p++)
        free(s->block[p].rows);
    for (size_t i = 0; i < s->n_features; i++)
        free(s->features[i]);
    free(s->features);
    ky_names_done(&s->labels);
    ky_names_done(&s->groups);
    free(s->fact);
    free(s->target);
    free(s->place);
    free(s->filled);
    free(s);
}

static size_t type_bytes(enum ky_h5_type t)
{
    static const size_t bytes[] = {
        [KY_H5_F32] = 4, [KY_H5_F64] = 8, [KY_H5_I8] = 1,  [KY_H5_U8] = 1,  [KY_H5_I16] = 2,
        [KY_H5_I32] = 4, [KY_H5_U32] = 4, [KY_H5_I64] = 8, [KY_H5_U64] = 8,
    };

    return bytes[t];
}

ky_sink_text ky_sink_shape_text(int rank, const uint64_t *dims)
{
    ky_sink_text t = { "" };

    for (int i = 0; i < rank; i++) {
        size_t n = strlen(t.s);

        snprintf(t.s + n, sizeof t.s - n, dims[i] > 0 ? "%s%llu" : "%sT", i > 0 ? "x" : "",
                 (unsigned long long)dims[i]);
    }
    return t;
}

static int check_shape(const ky_sink *s, enum ky_h5_type type, int rank, const uint64_t *dims,
                       ky_err *err)
{
    bool same = type == s->type && rank == s->rank && s->varying == (dims[0] == 0);

    for (int i = s->varying ? 1 : 0; same && i < rank; i++)
        same = dims[i] == s->dims[i];
    if (same)
        return KY_OK;
    return ky_fail(err, KY_ESHAPE, "rows are %s here, but %s before",
                   ky_sink_shape_text(rank, dims).s, ky_sink_shape_text(s->rank, s->dims).s);
}

int ky_sink_shape(ky_sink *s, enum ky_h5_type type, int rank, const uint64_t *dims, ky_err *err)
{
    size_t step = type_bytes(type), row;

    if (s->shaped)
        return check_shape(s, type, rank, dims, err);
    for (int i = 1; i < rank; i++)
        if (dims[i] == 0 || dims[i] > INT32_MAX || ky_size_mul(step, dims[i], &step) < 0)
            return ky_fail(err, KY_ESHAPE, "rows of %s: empty or too large",
                           ky_sink_shape_text(rank, dims).s);
    if (ky_size_mul(step, dims[0], &row) < 0 || row > KY_SINK_ROW || step > KY_SINK_ROW)
        return ky_fail(err, KY_EFULL, "rows of %s: over %zu bytes",
                       ky_sink_shape_text(rank, dims).s, KY_SINK_ROW);
    s->type = type;
    s->rank = rank;
    memcpy(s->dims, dims, (size_t)rank * sizeof *dims);
    s->step = step;
    s->varying = dims[0] == 0;
    s->shortest = INT32_MAX;
    s->shaped = true;
    return KY_OK;
}

int ky_sink_features(ky_sink *s, const char *const *list, size_t n, ky_err *err)
{
    if (s->features != NULL)
        return KY_OK;
    s->features = calloc(n + 1, sizeof *s->features);
    for (size_t i = 0; s->features != NULL && i < n; i++, s->n_features++)
        if ((s->features[i] = strdup(list[i])) == NULL)
            break;
    return s->n_features == n ? KY_OK : ky_fail(err, KY_ENOMEM, "no memory for names of features");
}

/* The class of a name; the length of names and the number of classes are bounded. */
static int take_label(ky_sink *s, const char *name, int32_t *ret, ky_err *err)
{
    if (strlen(name) > MOST_NAME)
        return ky_fail(err, KY_EFORMAT, "row %zu: a label of %zu bytes", s->at, strlen(name));
    if ((*ret = ky_names_number(&s->labels, name)) < 0)
        return ky_fail(err, KY_ENOMEM, "no memory for labels");
    if (s->labels.n > MOST_CLASSES)
        return ky_fail(err, KY_EINVAL,
                       "over %d different labels ('%.40s', ..., '%.40s'): these are no classes. "
                       "--label says where the label stands, --task regress that it is a number",
                       MOST_CLASSES, s->labels.name[0], name);
    return KY_OK;
}

int ky_sink_class(ky_sink *s, const char *name, ky_err *err)
{
    int32_t number;
    int rc = s->pass == KY_IMPORT_SCAN ? take_label(s, name, &number, err) : KY_OK;

    s->listed = s->pass == KY_IMPORT_SCAN ? s->labels.n : s->listed;
    return rc;
}

enum ky_import_pass ky_sink_pass(const ky_sink *s)
{
    return s->pass;
}

enum ky_import_part ky_sink_part(const ky_sink *s)
{
    return s->at < s->n ? (enum ky_import_part)s->fact[s->at].part : KY_IMPORT_WHOLE;
}

ky_h5 *ky_sink_file(ky_sink *s)
{
    return s->pass == KY_IMPORT_WRITE ? s->file : NULL;
}

void ky_sink_say(ky_sink *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(s->note, sizeof s->note, fmt, ap);
    va_end(ap);
}

/* -- the first pass --------------------------------------------------------------------------- */

static int steps_of(const ky_sink *s, const ky_import_row *row)
{
    return s->varying ? row->steps : (int)s->dims[0];
}

static size_t count_missing(const ky_sink *s, const ky_import_row *row, int steps)
{
    const float *x = row->x;
    size_t n = (size_t)steps * s->step / sizeof *x, missing = 0;

    for (size_t i = 0; i < n; i++)
        missing += isnan(x[i]) != 0;
    return missing;
}

static int grow_facts(ky_sink *s, ky_err *err)
{
    size_t cap = s->cap > 0 ? 2 * s->cap : 1024;
    ky_sink_fact *more;
    float *targets;

    if (s->n == INT32_MAX)
        return ky_fail(err, KY_EFULL, "over %d rows", INT32_MAX);
    if ((more = realloc(s->fact, cap * sizeof *more)) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for %zu rows", cap);
    s->fact = more;
    if (s->o->numbers) {
        if ((targets = realloc(s->target, cap * sizeof *targets)) == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory for %zu rows", cap);
        s->target = targets;
    }
    s->cap = cap;
    return KY_OK;
}

static int note_label(ky_sink *s, const ky_import_row *row, ky_sink_fact *f, ky_err *err)
{
    if (row->label == NULL || row->label[0] == '\0') {
        s->unlabelled++;
        return KY_OK;
    }
    if (!s->o->numbers)
        return take_label(s, row->label, &f->label, err);
    f->label = 0;
    return ky_csv_number(row->label, strlen(row->label), &s->target[s->n]) == 1
               ? KY_OK
               : ky_fail(err, KY_EFORMAT, "row %zu: '%.60s' is no number to learn", s->n,
                         row->label);
}

static int scan_row(ky_sink *s, const ky_import_row *row, ky_err *err)
{
    int steps = steps_of(s, row), rc;
    ky_sink_fact f = { .label = -1,
                       .group = -1,
                       .part = (uint8_t)row->part,
                       .from_us = row->from_us,
                       .ts_us = row->ts_us };
    size_t bytes, missing;

    if (s->n == s->cap && (rc = grow_facts(s, err)) < 0)
        return rc;
    if (steps < 1 || ky_size_mul((size_t)steps, s->step, &bytes) < 0 || bytes > KY_SINK_ROW)
        return ky_fail(err, KY_ESHAPE, "row %zu: %d steps", s->n, steps);
    if ((rc = note_label(s, row, &f, err)) < 0)
        return rc;
    if (row->group != NULL && (f.group = ky_names_number(&s->groups, row->group)) < 0)
        return ky_fail(err, KY_ENOMEM, "no memory for groups");
    f.steps = steps;
    if (s->type == KY_H5_F32 && row->x != NULL && (missing = count_missing(s, row, steps)) > 0) {
        s->missing += (int64_t)missing;
        if (s->o->missing == KY_MISSING_DROP) {
            f.part = KY_IMPORT_PARTS;
            s->dropped++;
        }
    }
    s->shortest = steps < s->shortest ? steps : s->shortest;
    s->longest = steps > s->longest ? steps : s->longest;
    s->fact[s->n++] = f;
    return KY_OK;
}

/* -- the last pass ---------------------------------------------------------------------------- */

static bool has_part(const ky_sink *s, int part)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->fact[i].part == part)
            return true;
    return false;
}

static size_t row_bytes(const ky_sink *s)
{
    return (size_t)s->dims[0] * s->step;
}

static int open_file(ky_sink *s, ky_err *err)
{
    int rc = KY_OK;

    if (s->o->out != NULL)
        rc = ky_h5_create(s->o->out, &s->file, err);
    for (int p = 0; rc == KY_OK && p < KY_IMPORT_PARTS; p++) {
        ky_sink_block *b = &s->block[p];
        char path[32];

        if (!has_part(s, p))
            continue;
        b->most = row_bytes(s) < BLOCK ? BLOCK / row_bytes(s) : 1;
        b->rows = malloc(b->most * row_bytes(s));
        if (b->rows == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory for rows of %zu bytes", row_bytes(s));
        snprintf(path, sizeof path, "/X%s", suffixes[p]);
        if (s->file != NULL)
            rc = ky_h5_table(s->file, path, s->type, s->rank + 1, s->dims, err);
    }
    if (rc == KY_OK && (s->filled = malloc(row_bytes(s))) == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory for rows of %zu bytes", row_bytes(s));
    return rc;
}

int ky_sink_begin(ky_sink *s, enum ky_import_pass pass, ky_err *err)
{
    int rc = KY_OK;

    if (s->pass == KY_IMPORT_SCAN && pass != KY_IMPORT_SCAN)
        rc = ky_sink_settle(s, err);
    s->pass = pass;
    s->at = 0;
    if (rc == KY_OK && pass == KY_IMPORT_WRITE)
        rc = open_file(s, err);
    return rc;
}

static int flush(ky_sink *s, int part, ky_err *err)
{
    ky_sink_block *b = &s->block[part];
    char path[32];
    int rc = KY_OK;

    snprintf(path, sizeof path, "/X%s", suffixes[part]);
    if (s->file != NULL)
        rc = ky_h5_append(s->file, path, b->rows, b->n, err);
    b->n = 0;
    return rc;
}

/* One value of every step, stride apart: what is missing lies on the line between its neighbours,
 * before the first and behind the last it is theirs. */
static bool fill_line(float *x, int n, size_t stride)
{
    int last = -1;

    for (int t = 0; t < n; t++) {
        if (isnan(x[(size_t)t * stride]))
            continue;
        float to = x[(size_t)t * stride], from = last < 0 ? to : x[(size_t)last * stride];

        for (int k = last + 1; k < t; k++)
            x[(size_t)k * stride] = from + (to - from) * (float)(k - last) / (float)(t - last);
        last = t;
    }
    for (int k = last + 1; last >= 0 && k < n; k++)
        x[(size_t)k * stride] = x[(size_t)last * stride];
    return last >= 0;
}

static int fill_row(ky_sink *s, int steps, ky_err *err)
{
    size_t stride = s->step / sizeof *s->filled;

    for (size_t f = 0; f < stride; f++)
        if (!fill_line(s->filled + f, steps, stride))
            return ky_fail(err, KY_EFORMAT,
                           "row %zu has no value %zu at any step: --missing drop leaves it out",
                           s->at, f);
    return KY_OK;
}

static int write_row(ky_sink *s, const ky_import_row *row, ky_err *err)
{
    const ky_sink_fact *f = &s->fact[s->at];
    ky_sink_block *b = &s->block[f->part];
    size_t T = s->dims[0], steps = (size_t)steps_of(s, row), all = row_bytes(s);
    size_t bytes = (steps < T ? steps : T) * s->step;
    const void *x = row->x;
    int rc;

    if (s->type == KY_H5_F32 && s->o->missing == KY_MISSING_LINEAR) {
        memcpy(s->filled, x, bytes);
        if ((rc = fill_row(s, (int)(bytes / s->step), err)) < 0)
            return rc;
        x = s->filled;
    }
    memcpy(b->rows + b->n * all, x, bytes);
    memset(b->rows + b->n * all + bytes, 0, all - bytes);
    for (size_t i = bytes; s->type == KY_H5_F32 && i < all; i += sizeof(float))
        memcpy(b->rows + b->n * all + i, &(float){ NAN }, sizeof(float));
    return ++b->n == b->most ? flush(s, f->part, err) : KY_OK;
}

int ky_sink_row(ky_sink *s, const ky_import_row *row, ky_err *err)
{
    int steps, rc = KY_OK;

    if (s->pass == KY_IMPORT_SCAN) {
        rc = scan_row(s, row, err);
        s->at += rc == KY_OK;
        return rc;
    }
    steps = steps_of(s, row);
    if (s->at == s->n || (s->varying && steps < s->fact[s->at].steps))
        return ky_fail(err, KY_EBUSY, "row %zu: the files changed while they were read", s->at);
    if (s->pass == KY_IMPORT_WRITE && s->fact[s->at].part < KY_IMPORT_PARTS)
        rc = write_row(s, row, err);
    if (rc == KY_OK && s->pass == KY_IMPORT_WRITE && s->o->progress != NULL)
        s->o->progress(s->o->arg, (double)s->at + 1, (double)s->n);
    s->at++;
    return rc;
}

/* -- the end ---------------------------------------------------------------------------------- */

/* Columns beside X. */
enum column { LABEL, TARGET, LENGTH, GROUP, TIME, COLUMNS };

static const struct {
    const char *name;
    enum ky_h5_type type;
} columns[] = {
    [LABEL] = { "y", KY_H5_I32 },    [TARGET] = { "y", KY_H5_F32 },
    [LENGTH] = { "len", KY_H5_I32 }, [GROUP] = { "group", KY_H5_I32 },
    [TIME] = { "ts", KY_H5_I64 },
};

static bool has_column(const ky_sink *s, enum column c)
{
    const bool has[] = {
        [LABEL] = s->unlabelled == 0 && !s->o->numbers,
        [TARGET] = s->unlabelled == 0 && s->o->numbers,
        [LENGTH] = s->padded,
        [GROUP] = s->groups.n > 0,
        [TIME] = s->fact[0].ts_us != KY_NONE,
    };

    return has[c];
}

static void store(const ky_sink *s, enum column c, size_t row, void *values, size_t i)
{
    const ky_sink_fact *f = &s->fact[row];

    if (c == TIME)
        ((int64_t *)values)[i] = f->ts_us;
    else if (c == TARGET)
        ((float *)values)[i] = s->target[row];
    else
        ((int32_t *)values)[i] = c == LABEL ? s->place[f->label] : c == GROUP ? f->group : f->steps;
}

static int put_column(ky_sink *s, enum column c, int part, ky_err *err)
{
    void *values = malloc((s->n + 1) * sizeof(int64_t));
    uint64_t n = 0;
    char path[32];
    int rc;

    if (values == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for %zu rows", s->n);
    for (size_t i = 0; i < s->n; i++)
        if (s->fact[i].part == part)
            store(s, c, i, values, n++);
    snprintf(path, sizeof path, "/%s%s", columns[c].name, suffixes[part]);
    rc = ky_h5_put(s->file, path, columns[c].type, 1, &n, values, err);
    free(values);
    return rc;
}

static int put_names(ky_sink *s, const ky_import_report *r, ky_err *err)
{
    int rc = KY_OK;

    if (r->n_classes > 0)
        rc = ky_h5_set_attr_strs(s->file, "/", "class_names", (const char *const *)r->classes,
                                 (size_t)r->n_classes, err);
    if (rc == KY_OK && s->groups.n > 0 && s->groups.n <= MOST_CLASSES)
        rc = ky_h5_set_attr_strs(s->file, "/", "group_names", (const char *const *)s->groups.name,
                                 (size_t)s->groups.n, err);
    if (rc == KY_OK && s->n_features > 0)
        rc = ky_h5_set_attr_strs(s->file, "/", "features", (const char *const *)s->features,
                                 s->n_features, err);
    return rc;
}

static int report(ky_sink *s, ky_import_report *r, ky_err *err)
{
    int n = s->o->numbers ? 0 : s->labels.n;

    r->type = s->type;
    r->rank = s->rank;
    memcpy(r->dims, s->dims, sizeof r->dims);
    r->shortest = s->shortest;
    r->longest = s->longest;
    r->n_classes = n;
    r->n_groups = s->groups.n;
    r->missing = s->missing;
    r->dropped = s->dropped;
    r->straddling = s->straddling;
    snprintf(r->note, sizeof r->note, "%s", s->note);
    r->classes = calloc((size_t)n + 1, sizeof *r->classes);
    r->counts = calloc(((size_t)n + 1) * KY_IMPORT_PARTS, sizeof *r->counts);
    if (r->classes == NULL || r->counts == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for %d classes", n);
    for (int i = 0; i < n; i++)
        if ((r->classes[s->place[i]] = strdup(s->labels.name[i])) == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory for %d classes", n);
    for (size_t i = 0; i < s->n; i++) {
        const ky_sink_fact *f = &s->fact[i];

        if (f->part == KY_IMPORT_PARTS)
            continue;
        r->rows[f->part]++;
        if (f->label >= 0 && n > 0)
            r->counts[s->place[f->label] * KY_IMPORT_PARTS + f->part]++;
    }
    return KY_OK;
}

int ky_sink_finish(ky_sink *s, ky_import_report *ret, ky_err *err)
{
    ky_h5 *file = s->file;
    int rc;

    if (s->at < s->n)
        return ky_fail(err, KY_EBUSY, "%zu rows, then %zu: the files changed while they were read",
                       s->n, s->at);
    if ((rc = report(s, ret, err)) < 0)
        return rc;
    for (int p = 0; rc == KY_OK && p < KY_IMPORT_PARTS; p++)
        rc = s->block[p].n > 0 ? flush(s, p, err) : KY_OK;
    if (file == NULL || rc < 0)
        return rc;
    for (int p = 0; rc == KY_OK && p < KY_IMPORT_PARTS; p++)
        for (int c = 0; rc == KY_OK && c < COLUMNS && has_part(s, p); c++)
            rc = has_column(s, (enum column)c) ? put_column(s, (enum column)c, p, err) : KY_OK;
    if (rc == KY_OK)
        rc = put_names(s, ret, err);
    if (rc < 0)
        return rc;
    s->file = NULL;
    return ky_h5_commit(file, err);
}
