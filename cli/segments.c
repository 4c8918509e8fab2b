#include "cli/segments.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "storage/archive.h"
#include "storage/results.h"

typedef struct late {
    const char *stream;
    int64_t n;
    size_t order; /* the latest of several wins */
    int class;
} late;

/* Sequences that are being read: of one stream class at a time. */
typedef struct reading {
    const ky_segments_opts *o;
    const ky_model_info *model;
    ky_windows *windows;
    ky_segments *out;
    char **paths;
    size_t n_paths;
    size_t *seen; /* [from] segments of a folder in the first pass: later ones come behind them */
    late *late;
    size_t n_late;
    char **streams; /* the names in `late` */
    size_t n_streams;
    int put; /* windows whose values have come */
} reading;

/* ---- which files ---- */

static int add_path(reading *r, const char *path, ky_err *err)
{
    int rc = ky_windows_grow((void **)&r->paths, r->n_paths, sizeof *r->paths, err);

    if (rc < 0)
        return rc;
    r->paths[r->n_paths] = strdup(path);
    return r->paths[r->n_paths++] != NULL ? KY_OK
                                          : ky_fail(err, KY_ENOMEM, "no memory for '%s'", path);
}

static int is_segment(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');

    return e->d_name[0] != '.' && dot != NULL && strcmp(dot, ".h5") == 0;
}

static int add_folder(reading *r, const char *path, ky_err *err)
{
    struct dirent **list = NULL;
    int n = scandir(path, &list, is_segment, alphasort), rc = KY_OK;

    if (n < 0)
        return ky_fail(err, KY_EIO, "'%s': %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        char file[4096];

        if (rc == KY_OK &&
            snprintf(file, sizeof file, "%s/%s", path, list[i]->d_name) < (int)sizeof file)
            rc = add_path(r, file, err);
        free(list[i]);
    }
    free(list);
    return rc;
}

/* ---- labels that came late ---- */

static int class_of(const ky_model_info *f, const char *label)
{
    char *end;
    long v;

    for (int c = 0; c < f->n_labels; c++)
        if (strcmp(f->labels[c], label) == 0)
            return c;
    v = strtol(label, &end, 10);
    if (f->n_labels > 0 || *label == 0 || *end != 0 || v < 0 ||
        v >= (f->outputs == 1 ? 2 : f->outputs))
        return -1;
    return (int)v;
}

/* A copy of the name; labels come stream by stream, so that the last is mostly it. */
static int keep_name(reading *r, const char *stream, ky_err *err)
{
    int rc;

    if (r->n_streams > 0 && strcmp(r->streams[r->n_streams - 1], stream) == 0)
        return KY_OK;
    if ((rc = ky_windows_grow((void **)&r->streams, r->n_streams, sizeof *r->streams, err)) < 0)
        return rc;
    r->streams[r->n_streams] = strdup(stream);
    return r->streams[r->n_streams++] != NULL
               ? KY_OK
               : ky_fail(err, KY_ENOMEM, "no memory for '%s'", stream);
}

static int take_late(const char *stream, int64_t n, const char *label, void *arg, ky_err *err)
{
    reading *r = arg;
    int rc = keep_name(r, stream, err);

    if (rc < 0 || (rc = ky_windows_grow((void **)&r->late, r->n_late, sizeof *r->late, err)) < 0)
        return rc;
    r->late[r->n_late] = (late){ .stream = r->streams[r->n_streams - 1],
                                 .n = n,
                                 .order = r->n_late,
                                 .class = class_of(r->model, label) };
    r->n_late++;
    return KY_OK;
}

static int compare_late(const void *a, const void *b)
{
    const late *x = a, *y = b;
    int c = strcmp(x->stream, y->stream);

    if (c != 0)
        return c;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* A folder's name is that of the class whose segments it holds. */
static void class_of_folder(const char *path, char ret[256])
{
    const char *end = path + strlen(path), *begin;

    while (end > path && end[-1] == '/')
        end--;
    for (begin = end; begin > path && begin[-1] != '/';)
        begin--;
    snprintf(ret, 256, "%.*s", (int)(end - begin), begin);
}

static int read_late(reading *r, const char *class_name, ky_err *err)
{
    ky_results *db = NULL;
    int rc = ky_results_open_labels(r->o->results, &db, err);

    if (rc < 0)
        return rc;
    rc = ky_results_each_label(db, class_name, take_late, r, err);
    ky_results_close(db);
    if (rc >= 0 && r->n_late > 0)
        qsort(r->late, r->n_late, sizeof *r->late, compare_late);
    return rc;
}

/* The last label that came for step n of a stream. */
static const late *late_label(const reading *r, const char *stream, int64_t n)
{
    const late key = { .stream = stream, .n = n, .order = SIZE_MAX };
    size_t lo = 0, hi = r->n_late;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (compare_late(r->late + mid, &key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0 || strcmp(r->late[lo - 1].stream, stream) != 0 || r->late[lo - 1].n != n)
        return NULL;
    return r->late + lo - 1;
}

/* ---- sequences ---- */

static int label_step(const ky_sequence *s, const char *label, void *arg, ky_err *err)
{
    reading *r = arg;

    return ky_windows_label(r->windows, s, class_of(r->model, label), err);
}

/* A label that came later takes the place of one that came with the step. */
static int look_at_step(const ky_sequence *s, const float *x, const char *label, void *arg,
                        ky_err *err)
{
    reading *r = arg;
    const late *l = r->n_late > 0 ? late_label(r, s->stream, s->last_n) : NULL;
    int rc = ky_windows_step(r->windows, s, err);

    (void)x;
    if (rc < 0 || (l == NULL && label == NULL))
        return rc;
    return l != NULL ? ky_windows_label(r->windows, s, l->class, err)
                     : label_step(s, label, arg, err);
}

static int end_sequence(const ky_sequence *s, void *arg, ky_err *err)
{
    return ky_windows_over(((reading *)arg)->windows, s, err);
}

static int put_row(int row, const float *x, void *arg, ky_err *err)
{
    reading *r = arg;
    ky_segments *out = r->out;
    size_t len = ky_dataset_len(&out->set);

    r->put++;
    if (out->spool != NULL)
        return ky_spool_put(out->spool, (uint32_t)row, x, err);
    memcpy(out->x + (size_t)row * len, x, len * sizeof *x);
    return KY_OK;
}

static int take_values(const ky_sequence *s, const float *x, const char *label, void *arg,
                       ky_err *err)
{
    (void)label;
    return ky_windows_value(((reading *)arg)->windows, s, x, put_row, arg, err);
}

/* Which windows there are, and then what is in them. */
static const ky_archive_visitor look = { look_at_step, label_step, end_sequence, true };
static const ky_archive_visitor take = { take_values, NULL, NULL, false };

/* Paths and late labels are one class's. */
static void clear_class(reading *r)
{
    for (size_t i = 0; i < r->n_paths; i++)
        free(r->paths[i]);
    for (size_t i = 0; i < r->n_streams; i++)
        free(r->streams[i]);
    free(r->paths);
    free(r->streams);
    free(r->late);
    r->paths = r->streams = NULL;
    r->late = NULL;
    r->n_paths = r->n_streams = r->n_late = 0;
}

/* The sequences of one stream class; its segments are in r->paths. */
static int read_class(reading *r, const ky_archive_visitor *v, const char *class_name, ky_err *err)
{
    int rc = r->o->results != NULL && v == &look ? read_late(r, class_name, err) : KY_OK;

    if (rc >= 0)
        rc = ky_archive_read((const char *const *)r->paths, (int)r->n_paths, v, r, err);
    clear_class(r);
    return rc;
}

/* Both passes read the same segments, also where the archive grows meanwhile. */
static void keep_seen(reading *r, int folder, bool first)
{
    if (first)
        r->seen[folder] = r->n_paths;
    while (r->n_paths > r->seen[folder])
        free(r->paths[--r->n_paths]);
}

/* Folders are a class each; files that are named one by one are one class together. */
static int read_each(reading *r, const ky_archive_visitor *v, bool folders, ky_err *err)
{
    const ky_segments_opts *o = r->o;
    int rc = KY_OK;

    for (int i = 0; i < o->n_from && rc >= 0; i++) {
        char folder[256];
        struct stat st;

        if (stat(o->from[i], &st) != 0)
            return ky_fail(err, errno == ENOENT ? KY_ENOENT : KY_EIO, "'%s': %s", o->from[i],
                           strerror(errno));
        if (S_ISDIR(st.st_mode) != folders)
            continue;
        class_of_folder(o->from[i], folder);
        rc = folders ? add_folder(r, o->from[i], err) : add_path(r, o->from[i], err);
        if (rc >= 0 && folders)
            keep_seen(r, i, v == &look);
        if (rc >= 0 && folders)
            rc = read_class(r, v, o->class_name != NULL ? o->class_name : folder, err);
    }
    if (rc >= 0 && r->n_paths > 0)
        rc = read_class(r, v, o->class_name != NULL ? o->class_name : "", err);
    return rc;
}

static int read_all(reading *r, const ky_archive_visitor *v, ky_err *err)
{
    int rc = read_each(r, v, true, err);

    return rc < 0 ? rc : read_each(r, v, false, err);
}

/* ---- rows ---- */

/* What is known of the rows before their values. */
static int set_rows(reading *r, ky_err *err)
{
    ky_segments *out = r->out;
    const int32_t *class;
    const int64_t *ts;
    size_t N;

    out->set = (ky_dataset){ .F = r->model->features,
                             .C = r->model->outputs == 1 ? 2 : r->model->outputs };
    out->set.N = ky_windows_rows(r->windows, &out->set.T, &class, &ts, &out->count);
    N = (size_t)out->set.N;
    out->y = malloc(N * sizeof *out->y + 1);
    out->ts = malloc(N * sizeof *out->ts + 1);
    if (out->y == NULL || out->ts == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for the labels of %zu windows", N);
    if (N > 0) {
        memcpy(out->y, class, N * sizeof *class);
        memcpy(out->ts, ts, N * sizeof *ts);
    }
    out->set.y = out->y;
    out->set.ts = out->ts;
    return KY_OK;
}

/* Where the values go: memory, or a file. */
static int make_room(reading *r, ky_err *err)
{
    ky_segments *out = r->out;
    ky_dataset *d = &out->set;
    size_t len = ky_dataset_len(d), bytes;
    int rc;

    if (ky_size_mul((size_t)d->N, len * sizeof(float), &bytes) == KY_OK && bytes <= r->o->memory) {
        d->x = out->x = malloc(bytes + 1);
        return out->x != NULL
                   ? KY_OK
                   : ky_fail(err, KY_ENOMEM, "no memory for %d windows of %d steps", d->N, d->T);
    }
    rc = ky_spool_open(r->o->dir, (uint32_t)d->N, len, r->o->memory, &out->spool, err);
    if (rc == KY_OK)
        d->source = &out->spool->source;
    return rc;
}

static int read_rows(reading *r, ky_err *err)
{
    int rc;

    if ((rc = read_all(r, &look, err)) < 0 || (rc = ky_windows_settle(r->windows, err)) < 0 ||
        (rc = set_rows(r, err)) < 0 || (rc = make_room(r, err)) < 0 ||
        (rc = read_all(r, &take, err)) < 0)
        return rc;
    return r->put == r->out->set.N
               ? KY_OK
               : ky_fail(err, KY_EFORMAT, "the segments changed while they were read");
}

int ky_segments_load(const ky_segments_opts *o, const ky_model *m, ky_segments *ret, ky_err *err)
{
    ky_segments out = { 0 };
    reading r = { .o = o, .model = ky_model_facts(m), .out = &out };
    int rc = ky_windows_new(r.model, &r.windows, err);

    r.seen = calloc((size_t)o->n_from + 1, sizeof *r.seen);
    if (rc == KY_OK && r.seen == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory for the archive's segments");
    if (rc == KY_OK)
        rc = read_rows(&r, err);
    clear_class(&r);
    free(r.seen);
    ky_windows_free(r.windows);
    if (rc < 0) {
        ky_segments_free(&out);
        return rc;
    }
    *ret = out;
    return KY_OK;
}

void ky_segments_free(ky_segments *s)
{
    ky_spool_close(s->spool);
    free(s->x);
    free(s->y);
    free(s->ts);
    memset(s, 0, sizeof *s);
}
