/*
 * Recordings: what `kymo train` reads, and every sample besides.
 *
 *     X [N,T,F], y [N], group [N]      windows of --window samples every --hop; a window lies
 *                                      within one stream, one run and one label
 *     rows/x [M,F], rows/ts, rows/stream, rows/label     every sample
 *     attributes class_names, stream_names, feature_names
 *
 * A file that exists is copied and added to; it takes its place when all is written, so a
 * failure leaves the old one.
 */
#include "cli/feed.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/h5.h"

enum { COPY_ROWS = 4096, NAMES_MAX = 100000 };

typedef struct names {
    char **name;
    size_t n, cap;
} names;

/* The last samples of a stream, to make windows of. */
typedef struct tail {
    int64_t label; /* of all of them */
    int64_t n;     /* samples of this run with this label so far */
    float *x;      /* [T,F] ring */
} tail;

typedef struct recording {
    ky_writer writer;
    const ky_feed_opts *opts;
    const ky_reader *reader;
    ky_h5 *file;
    names classes, streams;
    tail *tails; /* one a stream */
    size_t n_tails;
    int64_t T, hop;
    float *window; /* [T,F] */
} recording;

/* The number of a name, given at first sight; -1: no memory or too many. */
static int64_t number_of(names *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->name[i], name) == 0)
            return (int64_t)i;
    if (t->n == t->cap) {
        size_t cap = t->cap > 0 ? 2 * t->cap : 16;
        char **more = cap <= NAMES_MAX ? realloc(t->name, cap * sizeof(*more)) : NULL;
        if (more == NULL)
            return -1;
        t->name = more;
        t->cap = cap;
    }
    t->name[t->n] = strdup(name);
    return t->name[t->n] != NULL ? (int64_t)t->n++ : -1;
}

static void names_done(names *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->name[i]);
    free(t->name);
}

/* -- the file ------------------------------------------------------------------------ */

typedef struct table {
    const char *path;
    enum ky_h5_type type;
    int rank;
    size_t size; /* of a value */
    bool windows;
} table;

static const table tables[] = {
    { "/X", KY_H5_F32, 3, sizeof(float), true },
    { "/y", KY_H5_I32, 1, sizeof(int32_t), true },
    { "/group", KY_H5_U32, 1, sizeof(uint32_t), true },
    { "/rows/x", KY_H5_F32, 2, sizeof(float), false },
    { "/rows/ts", KY_H5_I64, 1, sizeof(int64_t), false },
    { "/rows/stream", KY_H5_U32, 1, sizeof(uint32_t), false },
    { "/rows/label", KY_H5_I32, 1, sizeof(int32_t), false },
};

enum { TABLES = sizeof(tables) / sizeof(*tables) };

static void row_dims(const recording *r, const table *t, uint64_t dims[2])
{
    uint64_t F = (uint64_t)r->reader->features;

    dims[0] = t->rank == 3 ? (uint64_t)r->T : F;
    dims[1] = F;
}

static int make_tables(recording *r, ky_err *err)
{
    uint64_t dims[2];
    int rc = KY_OK;

    for (int i = 0; i < TABLES && rc == KY_OK; i++) {
        if (tables[i].windows && r->T == 0)
            continue;
        row_dims(r, &tables[i], dims);
        rc = ky_h5_table(r->file, tables[i].path, tables[i].type, tables[i].rank, dims, err);
    }
    return rc;
}

/* Copies a table of the old file, in slices. */
static int copy_table(recording *r, ky_h5 *old, const table *t, ky_err *err)
{
    ky_h5_info info;
    uint64_t dims[2], values = 1;
    int rc = ky_h5_stat(old, t->path, &info, err);

    if (rc != KY_OK)
        return rc;
    row_dims(r, t, dims);
    for (int i = 1; i < t->rank; i++)
        values *= dims[i - 1];
    if (info.rank != t->rank || (t->rank > 1 && info.dims[1] != dims[0]) ||
        (t->rank > 2 && info.dims[2] != dims[1]))
        return ky_fail(err, KY_ESHAPE,
                       "%s: %s is [%" PRIu64 ",%" PRIu64 ",%" PRIu64
                       "], this recording has windows "
                       "of %" PRId64 " samples of %d values",
                       r->opts->to, t->path, info.dims[0], info.rank > 1 ? info.dims[1] : 1,
                       info.rank > 2 ? info.dims[2] : 1, r->T, r->reader->features);
    uint64_t slice = COPY_ROWS / (values < COPY_ROWS ? values : COPY_ROWS);
    void *buf = malloc(slice * values * t->size);
    if (buf == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory to copy %s", t->path);
    for (uint64_t at = 0; at < info.dims[0] && rc == KY_OK; at += slice) {
        uint64_t n = info.dims[0] - at < slice ? info.dims[0] - at : slice;
        if ((rc = ky_h5_read_rows(old, t->path, t->type, at, n, buf, err)) == KY_OK)
            rc = ky_h5_append(r->file, t->path, buf, n, err);
    }
    free(buf);
    return rc;
}

static int copy_names(names *t, ky_h5 *old, const char *attr, ky_err *err)
{
    char **s = NULL;
    size_t n = 0;
    int rc = ky_h5_attr_strs(old, "/", attr, &s, &n, err);

    for (size_t i = 0; i < n && rc == KY_OK; i++)
        if (number_of(t, s[i]) != (int64_t)i)
            rc = ky_fail(err, KY_EFORMAT, "%s has a name twice, or no memory for them", attr);
    free(s);
    return rc;
}

/* Takes over what the file that is there has; a file that is no recording is refused. */
static int copy_old(recording *r, ky_err *err)
{
    ky_h5 *old;
    int rc;

    if (access(r->opts->to, F_OK) != 0)
        return KY_OK;
    if ((rc = ky_h5_open(r->opts->to, &old, err)) != KY_OK)
        return rc;
    if (!ky_h5_exists(old, "/rows/x") || !ky_h5_has_attr(old, "/", "stream_names"))
        rc = ky_fail(err, KY_EFORMAT, "%s is there and is no recording", r->opts->to);
    else if (ky_h5_exists(old, "/X") != (r->T > 0))
        rc = ky_fail(err, KY_EINVAL, "%s was recorded %s --window; it must be so again",
                     r->opts->to, r->T > 0 ? "without" : "with");
    if (rc == KY_OK && (rc = copy_names(&r->classes, old, "class_names", err)) == KY_OK)
        rc = copy_names(&r->streams, old, "stream_names", err);
    for (int i = 0; i < TABLES && rc == KY_OK; i++)
        if (!tables[i].windows || r->T > 0)
            rc = copy_table(r, old, &tables[i], err);
    ky_h5_close(old);
    return rc;
}

/* -- windows --------------------------------------------------------------------------- */

static tail *tail_of(recording *r, size_t stream)
{
    size_t F = (size_t)r->reader->features;

    if (stream >= r->n_tails) {
        size_t n = 2 * stream + 16;
        tail *more = realloc(r->tails, n * sizeof(*more));
        if (more == NULL)
            return NULL;
        memset(more + r->n_tails, 0, (n - r->n_tails) * sizeof(*more));
        r->tails = more;
        r->n_tails = n;
    }
    tail *t = &r->tails[stream];
    if (t->x == NULL)
        t->x = malloc((size_t)r->T * F * sizeof(float));
    return t->x != NULL ? t : NULL;
}

static int put_window(recording *r, const tail *t, uint32_t stream, ky_err *err)
{
    size_t F = (size_t)r->reader->features;
    int32_t y = (int32_t)t->label;
    int rc;

    for (int64_t i = 0; i < r->T; i++)
        memcpy(r->window + (size_t)i * F, t->x + (size_t)((t->n + i) % r->T) * F,
               F * sizeof(float));
    if ((rc = ky_h5_append(r->file, "/X", r->window, 1, err)) == KY_OK &&
        (rc = ky_h5_append(r->file, "/y", &y, 1, err)) == KY_OK)
        rc = ky_h5_append(r->file, "/group", &stream, 1, err);
    r->writer.counts.windows += rc == KY_OK;
    return rc;
}

static int add_to_window(recording *r, const ky_row *row, uint32_t stream, int64_t label,
                         ky_err *err)
{
    size_t F = (size_t)r->reader->features;
    tail *t = tail_of(r, stream);

    if (t == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for windows");
    if (t->label != label || (row->flags & KY_START))
        t->n = 0;
    t->label = label;
    for (size_t i = 0; i < F; i++)
        if (isnan(row->x[i])) {
            t->n = 0; /* no window holds a value that is not there */
            return KY_OK;
        }
    memcpy(t->x + (size_t)(t->n % r->T) * F, row->x, F * sizeof(float));
    t->n++;
    if (label < 0 || t->n < r->T || (t->n - r->T) % r->hop != 0)
        return KY_OK;
    return put_window(r, t, stream, err);
}

/* -- the writer --------------------------------------------------------------------------- */

static int recording_put(ky_writer *w, const ky_row *row, ky_err *err)
{
    recording *r = (recording *)w;
    int64_t stream = number_of(&r->streams, row->stream);
    int64_t label = row->label != NULL ? number_of(&r->classes, row->label) : -1;
    int64_t ts = row->ts_us;
    int32_t y = (int32_t)label;
    uint32_t s = (uint32_t)stream;
    int rc;

    if (stream < 0 || (row->label != NULL && label < 0))
        return ky_fail(err, KY_EFULL, "more than %d streams or classes", NAMES_MAX);
    if ((rc = ky_h5_append(r->file, "/rows/x", row->x, 1, err)) != KY_OK ||
        (rc = ky_h5_append(r->file, "/rows/ts", &ts, 1, err)) != KY_OK ||
        (rc = ky_h5_append(r->file, "/rows/stream", &s, 1, err)) != KY_OK ||
        (rc = ky_h5_append(r->file, "/rows/label", &y, 1, err)) != KY_OK)
        return rc;
    return r->T > 0 ? add_to_window(r, row, s, label, err) : KY_OK;
}

static int put_attributes(recording *r, ky_err *err)
{
    int rc;

    if ((rc = ky_h5_set_attr_strs(r->file, "/", "class_names", (const char *const *)r->classes.name,
                                  r->classes.n, err)) != KY_OK ||
        (rc = ky_h5_set_attr_strs(r->file, "/", "stream_names",
                                  (const char *const *)r->streams.name, r->streams.n, err)) !=
            KY_OK)
        return rc;
    rc = ky_h5_set_attr_strs(r->file, "/", "feature_names", (const char *const *)r->reader->names,
                             (size_t)r->reader->features, err);
    if (rc == KY_OK && r->reader->rate_hz > 0)
        rc = ky_h5_set_attr_num(r->file, "/", "sample_rate_hz", r->reader->rate_hz, err);
    return rc;
}

/* An interrupted recording is kept up to there. */
static int recording_finish(ky_writer *w, ky_err *err)
{
    recording *r = (recording *)w;
    int rc = put_attributes(r, err);
    ky_h5 *file = r->file;

    if (rc != KY_OK)
        return rc;
    r->file = NULL;
    return ky_h5_commit(file, err);
}

static void recording_free(ky_writer *w)
{
    recording *r = (recording *)w;

    ky_h5_close(r->file);
    for (size_t i = 0; i < r->n_tails; i++)
        free(r->tails[i].x);
    free(r->tails);
    free(r->window);
    names_done(&r->classes);
    names_done(&r->streams);
    free(r);
}

int ky_feed_recording(const ky_feed_opts *o, const ky_reader *reader, ky_writer **ret, ky_err *err)
{
    recording *r = calloc(1, sizeof(*r));
    int rc;

    if (r == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a recording");
    r->writer =
        (ky_writer){ .put = recording_put, .finish = recording_finish, .free = recording_free };
    r->opts = o;
    r->reader = reader;
    r->T = o->window;
    r->hop = o->hop > 0 ? o->hop : o->window;
    if (r->T > 0 &&
        (r->window = malloc((size_t)r->T * (size_t)reader->features * sizeof(float))) == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory for windows of %" PRId64 " samples", r->T);
    else if ((rc = ky_h5_create(o->to, &r->file, err)) == KY_OK &&
             (rc = make_tables(r, err)) == KY_OK)
        rc = copy_old(r, err);
    if (rc != KY_OK) {
        recording_free(&r->writer);
        return rc;
    }
    *ret = &r->writer;
    return KY_OK;
}
