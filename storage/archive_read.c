/* Sequences out of segments: streams are followed from one segment to the next. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/h5.h"
#include "storage/archive.h"

enum { BATCH = 4096 };

/* A segment being read, a batch of its rows at a time. */
typedef struct reader {
    const char *path;
    ky_h5 *h5;
    uint64_t rows;
    uint32_t features;
    char **streams, **labels;
    size_t n_streams, n_labels;
    uint8_t *op;
    uint32_t *flags, *stream;
    int64_t *n, *ts;
    int32_t *label;
    float *x; /* NULL: not wanted */
} reader;

/* A stream and its sequence, if that is not over. */
typedef struct building {
    char *stream;
    ky_sequence s;
    int64_t next_n;
    bool open;
} building;

typedef struct sequences {
    const ky_archive_visitor *visitor;
    void *arg;
    building *of; /* every stream seen, in the order of sight */
    size_t n, cap;
    uint32_t *table; /* open addressing: index + 1 by name */
    uint32_t n_table;
} sequences;

/* -- one segment -- */

static int refuse(const reader *r, const char *what, ky_err *err)
{
    return ky_fail(err, KY_EFORMAT, "segment '%s': %s", r->path, what);
}

/* A column has one value a row. */
static int check_column(reader *r, const char *path, ky_err *err)
{
    ky_h5_info info;
    int rc = ky_h5_stat(r->h5, path, &info, err);

    if (rc == KY_OK && (info.rank != 1 || info.dims[0] != r->rows))
        rc = ky_fail(err, KY_ESHAPE,
                     "segment '%s': '%s' has not one value for each of %" PRIu64 " rows", r->path,
                     path, r->rows);
    return rc;
}

static int open_segment(reader *r, ky_err *err)
{
    static const char *const paths[] = { "/op", "/flags", "/stream", "/n", "/ts", "/label" };
    ky_h5_info x;
    int rc = ky_h5_open(r->path, &r->h5, err);

    if (rc == KY_OK)
        rc = ky_h5_stat(r->h5, "/x", &x, err);
    if (rc == KY_OK && (x.rank != 2 || x.dims[1] == 0 || x.dims[1] > KY_RECORD_MAX))
        rc = refuse(r, "x is not [rows, features]", err);
    if (rc != KY_OK)
        return rc;
    r->rows = x.dims[0];
    r->features = (uint32_t)x.dims[1];
    for (size_t i = 0; rc == KY_OK && i < sizeof(paths) / sizeof(*paths); i++)
        rc = check_column(r, paths[i], err);
    if (rc == KY_OK)
        rc = ky_h5_read_strs(r->h5, "/streams", &r->streams, &r->n_streams, err);
    if (rc == KY_OK)
        rc = ky_h5_attr_strs(r->h5, "/", "class_names", &r->labels, &r->n_labels, err);
    return rc;
}

static int make_batch(reader *r, bool with_values, ky_err *err)
{
    size_t values;

    if (ky_size_mul(BATCH, r->features, &values) < 0 || values > SIZE_MAX / sizeof(float))
        return refuse(r, "too many features", err);
    r->op = malloc(BATCH * sizeof(*r->op));
    r->flags = malloc(BATCH * sizeof(*r->flags));
    r->stream = malloc(BATCH * sizeof(*r->stream));
    r->n = malloc(BATCH * sizeof(*r->n));
    r->ts = malloc(BATCH * sizeof(*r->ts));
    r->label = malloc(BATCH * sizeof(*r->label));
    r->x = with_values ? malloc(values * sizeof(*r->x)) : NULL;
    if (!r->op || !r->flags || !r->stream || !r->n || !r->ts || !r->label || (with_values && !r->x))
        return ky_fail(err, KY_ENOMEM, "segment '%s': no memory for a batch of rows", r->path);
    return KY_OK;
}

static int read_batch(reader *r, uint64_t first, uint64_t n, ky_err *err)
{
    const struct {
        const char *path;
        enum ky_h5_type type;
        void *to;
    } columns[] = {
        { "/op", KY_H5_U8, r->op },          { "/flags", KY_H5_U32, r->flags },
        { "/stream", KY_H5_U32, r->stream }, { "/n", KY_H5_I64, r->n },
        { "/ts", KY_H5_I64, r->ts },         { "/label", KY_H5_I32, r->label },
        { "/x", KY_H5_F32, r->x }, /* the last: it may not be wanted */
    };
    size_t n_columns = sizeof(columns) / sizeof(*columns) - (r->x == NULL);
    int rc = KY_OK;

    for (size_t i = 0; rc == KY_OK && i < n_columns; i++)
        rc = ky_h5_read_rows(r->h5, columns[i].path, columns[i].type, first, n, columns[i].to, err);
    for (uint64_t i = 0; rc == KY_OK && i < n; i++)
        if (r->stream[i] >= r->n_streams ||
            (r->label[i] >= 0 && (uint32_t)r->label[i] >= r->n_labels))
            rc = refuse(r, "a row names a stream or label that is not there", err);
    return rc;
}

static void close_segment(reader *r)
{
    ky_h5_close(r->h5);
    free(r->streams);
    free(r->labels);
    free(r->op);
    free(r->flags);
    free(r->stream);
    free(r->n);
    free(r->ts);
    free(r->label);
    free(r->x);
}

/* -- streams -- */

static uint32_t hash_name(const char *name)
{
    uint32_t h = 2166136261u;

    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    return h;
}

static uint32_t *slot_of(const sequences *q, const char *name)
{
    uint32_t at = hash_name(name) % q->n_table;

    while (q->table[at] != 0 && strcmp(q->of[q->table[at] - 1].stream, name) != 0)
        at = (at + 1) % q->n_table;
    return &q->table[at];
}

static int grow_streams(sequences *q)
{
    size_t cap = q->cap ? 2 * q->cap : 64;
    building *of = realloc(q->of, cap * sizeof(*of));
    uint32_t *table = calloc(3 * cap, sizeof(*table));

    if (of != NULL)
        q->of = of;
    if (of == NULL || table == NULL) {
        free(table);
        return KY_ENOMEM;
    }
    free(q->table);
    q->table = table;
    q->n_table = (uint32_t)(3 * cap);
    q->cap = cap;
    for (size_t i = 0; i < q->n; i++)
        *slot_of(q, q->of[i].stream) = (uint32_t)i + 1;
    return KY_OK;
}

static building *building_of(sequences *q, const char *name)
{
    uint32_t *slot;
    building *b;

    if (q->n == q->cap && grow_streams(q) != KY_OK)
        return NULL;
    slot = slot_of(q, name);
    if (*slot != 0)
        return &q->of[*slot - 1];
    b = &q->of[q->n];
    memset(b, 0, sizeof(*b));
    b->stream = strdup(name);
    if (b->stream == NULL)
        return NULL;
    *slot = (uint32_t)++q->n;
    return b;
}

/* -- sequences -- */

static int finish(sequences *q, building *b, bool ends, ky_err *err)
{
    int rc = KY_OK;

    b->s.ends = ends;
    if (b->open && q->visitor->over != NULL)
        rc = q->visitor->over(&b->s, q->arg, err);
    b->open = false;
    return rc;
}

/* A step begins a sequence, goes on with one, or shows that some between are missing. */
static int take_step(sequences *q, building *b, const reader *r, size_t i, ky_err *err)
{
    bool start = (r->flags[i] & (KY_START | KY_RESET)) != 0 || r->n[i] == 1;
    int rc = KY_OK;

    if (b->open && (start || r->n[i] != b->next_n || b->s.features != (int)r->features ||
                    b->s.steps >= KY_SEQUENCE_MAX))
        rc = finish(q, b, start && r->n[i] == b->next_n, err);
    if (rc != KY_OK)
        return rc;
    if (!b->open) {
        b->open = true;
        b->s = (ky_sequence){ .stream = b->stream,
                              .number = (uint32_t)(b - q->of),
                              .first_n = r->n[i],
                              .first_ts_us = r->ts[i],
                              .features = (int)r->features,
                              .starts = start };
    }
    b->s.steps++;
    b->s.last_n = r->n[i];
    b->s.ts_us = r->ts[i];
    b->next_n = (int64_t)((uint64_t)r->n[i] + 1);
    rc = q->visitor->step(&b->s, r->x != NULL ? r->x + i * r->features : NULL,
                          r->label[i] >= 0 ? r->labels[r->label[i]] : NULL, q->arg, err);
    return rc == KY_OK && (r->flags[i] & KY_END) ? finish(q, b, true, err) : rc;
}

static int take_row(sequences *q, const reader *r, size_t i, ky_err *err)
{
    building *b = building_of(q, r->streams[r->stream[i]]);

    if (b == NULL)
        return ky_fail(err, KY_ENOMEM, "segment '%s': no memory for its streams", r->path);
    switch (r->op[i]) {
    case KY_REC_SAMPLE:
        return take_step(q, b, r, i, err);
    case KY_REC_END:
    case KY_REC_FORGET:
        return b->open && r->n[i] == b->next_n - 1 ? finish(q, b, true, err) : KY_OK;
    case KY_REC_LABEL: /* without a step number it is in results.db, where its step was found */
        return b->open && r->label[i] >= 0 && r->n[i] == b->s.last_n && q->visitor->label != NULL
                   ? q->visitor->label(&b->s, r->labels[r->label[i]], q->arg, err)
                   : KY_OK;
    default:
        return KY_OK;
    }
}

static int take_segment(sequences *q, const char *path, ky_err *err)
{
    reader r = { .path = path };
    int rc = open_segment(&r, err);

    if (rc == KY_OK)
        rc = make_batch(&r, !q->visitor->no_values, err);
    for (uint64_t at = 0; rc == KY_OK && at < r.rows; at += BATCH) {
        uint64_t n = r.rows - at < BATCH ? r.rows - at : BATCH;

        rc = read_batch(&r, at, n, err);
        for (uint64_t i = 0; rc == KY_OK && i < n; i++)
            rc = take_row(q, &r, i, err);
    }
    close_segment(&r);
    return rc;
}

/* -- order -- */

typedef struct ordered {
    const char *path;
    double first;
} ordered;

static int compare_ordered(const void *a, const void *b)
{
    const ordered *x = a, *y = b;

    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return strcmp(x->path, y->path);
}

static int order_of(ordered *o, ky_err *err)
{
    ky_h5 *h5 = NULL;
    int rc = ky_h5_open(o->path, &h5, err);

    if (rc == KY_OK)
        rc = ky_h5_attr_num(h5, "/", "journal_first", &o->first, err);
    ky_h5_close(h5);
    return rc;
}

int ky_archive_read(const char *const *paths, int n_paths, const ky_archive_visitor *visitor,
                    void *arg, ky_err *err)
{
    sequences q = { .visitor = visitor, .arg = arg };
    ordered *o = calloc((size_t)n_paths + 1, sizeof(*o));
    int rc = KY_OK;

    if (o == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory to read %d segments", n_paths);
    for (int i = 0; rc == KY_OK && i < n_paths; i++) {
        o[i].path = paths[i];
        rc = order_of(&o[i], err);
    }
    if (rc == KY_OK && n_paths > 1)
        qsort(o, (size_t)n_paths, sizeof(*o), compare_ordered);
    for (int i = 0; rc == KY_OK && i < n_paths; i++)
        rc = take_segment(&q, o[i].path, err);
    for (size_t i = 0; rc == KY_OK && i < q.n; i++)
        rc = finish(&q, &q.of[i], false, err);
    for (size_t i = 0; i < q.n; i++)
        free(q.of[i].stream);
    free(q.of);
    free(q.table);
    free(o);
    return rc;
}
