#include "storage/recent.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/h5.h"
#include "storage/journal.h"

/* -- the newest so many -- */

/* Keeps a sample if it is among the newest and not there yet. */
static int keep(ky_recent *r, const ky_recent_sample *s)
{
    size_t len = (size_t)s->features * sizeof(float);
    int at = r->n;

    while (at > 0 && r->sample[at - 1].n > s->n)
        at--;
    if ((at > 0 && r->sample[at - 1].n == s->n) || (r->n == r->most && at == 0))
        return KY_OK;
    float *x = malloc(len + 1);

    if (x == NULL)
        return KY_ENOMEM;
    memcpy(x, s->x, len);
    if (r->n == r->most) {
        free(r->sample[0].x);
        memmove(r->sample, r->sample + 1, (size_t)--r->n * sizeof(*r->sample));
        at--;
    }
    memmove(r->sample + at + 1, r->sample + at, (size_t)(r->n - at) * sizeof(*r->sample));
    r->sample[at] = *s;
    r->sample[at].x = x;
    r->n++;
    return KY_OK;
}

/* -- files, the newest first: their names begin with a time or a position -- */

static int newest_first(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*b)->d_name, (*a)->d_name);
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n > m && strcmp(name + n - m, end) == 0;
}

typedef struct search {
    ky_recent *r;
    uint32_t stream;
    const char *name;
} search;

/* Enough, or all that there ever were: steps count from 1. */
static bool complete(const ky_recent *r)
{
    return r->n == r->most || (r->n > 0 && r->sample[0].n <= 1);
}

/* Reads files until there are enough; one that is gone or damaged gives what it has. */
static int each_file(const char *dir, const char *end,
                     int (*read)(const char *path, search *s, ky_err *err), search *s, ky_err *err)
{
    struct dirent **file;
    int n = scandir(dir, &file, NULL, newest_first), rc = KY_OK;

    if (n < 0)
        return errno == ENOENT ? KY_OK : ky_fail(err, -errno, "'%s': %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        char path[8192];

        snprintf(path, sizeof(path), "%s/%s", dir, file[i]->d_name);
        if (rc == KY_OK && !complete(s->r) && ends_with(file[i]->d_name, end))
            rc = read(path, s, err);
        if (rc == KY_ECORRUPT || rc == KY_EFORMAT || rc == -ENOENT)
            rc = KY_OK;
        free(file[i]);
    }
    free(file);
    return rc;
}

/* -- the journal -- */

static int take_record(const ky_record *r, void *arg, ky_err *err)
{
    search *s = arg;

    if (r->type != KY_REC_SAMPLE || r->stream != s->stream)
        return KY_OK;
    for (uint32_t t = 0; t < r->steps; t++) {
        float *x = malloc(r->features * sizeof(float));

        if (x == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory");
        memcpy(x, ky_record_x(r) + (size_t)t * r->features, r->features * sizeof(float));
        ky_recent_sample sample = {
            .n = r->n + t, .seq = r->seq, .ts_us = r->ts_us, .features = (int)r->features, .x = x
        };
        int rc = keep(s->r, &sample);

        free(x);
        if (rc < 0)
            return ky_fail(err, rc, "no memory");
    }
    return KY_OK;
}

static int read_journal(const char *path, search *s, ky_err *err)
{
    return ky_journal_read_file(path, take_record, s, err);
}

/* -- the archive -- */

enum { BLOCK = 4096 };

/* Rows of a segment: which are the stream's samples, and what else is said of them. */
typedef struct rows {
    uint64_t n;
    int features;
    uint8_t op[BLOCK];
    uint32_t stream[BLOCK];
    int64_t step[BLOCK], seq[BLOCK], ts[BLOCK];
    float x[]; /* [features] of one */
} rows;

/* Shapes are held against each other before there is memory for them: what the bounds of HDF5 files
 * let pass may still be much, and without features any number of rows is nothing. */
static int make_rows(ky_h5 *f, rows **ret, ky_err *err)
{
    static const char *const columns[] = { "/op", "/stream", "/n", "/seq", "/ts" };
    ky_h5_info x, column;
    int rc = ky_h5_stat(f, "/x", &x, err);

    if (rc < 0)
        return rc;
    if (x.rank != 2 || x.dims[1] == 0 || x.dims[1] > KY_RECORD_MAX / sizeof(float))
        return ky_fail(err, KY_EFORMAT, "no segment of an archive: x is not [rows, features]");
    for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++) {
        if ((rc = ky_h5_stat(f, columns[i], &column, err)) < 0)
            return rc;
        if (column.rank != 1 || column.dims[0] != x.dims[0])
            return ky_fail(err, KY_EFORMAT,
                           "no segment of an archive: '%s' has not one value a row", columns[i]);
    }
    rows *t = malloc(sizeof(*t) + x.dims[1] * sizeof(*t->x));

    if (t == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a segment's rows");
    t->n = x.dims[0];
    t->features = (int)x.dims[1];
    *ret = t;
    return KY_OK;
}

static int read_block(ky_h5 *f, uint64_t first, uint64_t n, rows *t, ky_err *err)
{
    int rc;

    if ((rc = ky_h5_read_rows(f, "/op", KY_H5_U8, first, n, t->op, err)) < 0 ||
        (rc = ky_h5_read_rows(f, "/stream", KY_H5_U32, first, n, t->stream, err)) < 0 ||
        (rc = ky_h5_read_rows(f, "/n", KY_H5_I64, first, n, t->step, err)) < 0 ||
        (rc = ky_h5_read_rows(f, "/seq", KY_H5_I64, first, n, t->seq, err)) < 0 ||
        (rc = ky_h5_read_rows(f, "/ts", KY_H5_I64, first, n, t->ts, err)) < 0)
        return rc;
    return KY_OK;
}

/* The stream's index in this segment; -1: it is not in it. */
static int64_t index_of(ky_h5 *f, const char *name, ky_err *err)
{
    char **names;
    size_t n;
    int64_t at = -1;

    if (ky_h5_read_strs(f, "/streams", &names, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            at = (int64_t)i;
    free(names);
    return at;
}

/* The stream's samples among rows [first, first+n), the newest first. */
static int take_block(ky_h5 *f, search *s, int64_t at, uint64_t first, uint64_t n, rows *t,
                      ky_err *err)
{
    int rc = read_block(f, first, n, t, err);

    for (uint64_t i = n; rc == KY_OK && i-- > 0 && s->r->n < s->r->most;) {
        if (t->op[i] != KY_REC_SAMPLE || t->stream[i] != (uint64_t)at)
            continue;
        if ((rc = ky_h5_read_rows(f, "/x", KY_H5_F32, first + i, 1, t->x, err)) < 0)
            return rc;
        ky_recent_sample sample = {
            .n = t->step[i], .seq = t->seq[i], .ts_us = t->ts[i], .features = t->features, .x = t->x
        };

        if ((rc = keep(s->r, &sample)) < 0)
            ky_fail(err, rc, "no memory");
    }
    return rc;
}

static int read_segment(const char *path, search *s, ky_err *err)
{
    rows *t = NULL;
    ky_h5 *f = NULL;
    int rc = ky_h5_open(path, &f, err);

    if (rc < 0)
        return rc;
    int64_t at = index_of(f, s->name, err);

    if (at >= 0)
        rc = make_rows(f, &t, err);
    for (uint64_t end = t != NULL ? t->n : 0; rc == KY_OK && end > 0 && s->r->n < s->r->most;) {
        uint64_t n = end < BLOCK ? end : BLOCK;

        rc = take_block(f, s, at, end -= n, n, t, err);
    }
    free(t);
    ky_h5_close(f);
    return rc;
}

int ky_recent_samples(const char *dir, const char *class_name, const char *name, uint32_t stream,
                      int most, ky_recent *ret, ky_err *err)
{
    ky_recent r = { .sample = calloc((size_t)most + 1, sizeof(*r.sample)), .most = most };
    search s = { &r, stream, name };
    char path[4096];

    if (r.sample == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    snprintf(path, sizeof(path), "%s/journal", dir);
    int rc = each_file(path, ".kj", read_journal, &s, err);

    snprintf(path, sizeof(path), "%s/archive/%s", dir, class_name);
    if (rc == KY_OK)
        rc = each_file(path, ".h5", read_segment, &s, err);
    if (rc < 0) {
        ky_recent_free(&r);
        return rc;
    }
    *ret = r;
    return KY_OK;
}

void ky_recent_free(ky_recent *r)
{
    for (int i = 0; i < r->n; i++)
        free(r->sample[i].x);
    free(r->sample);
    *r = (ky_recent){ 0 };
}
