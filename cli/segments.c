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
    char *stream, *label;
    int64_t n;
    size_t order; /* the latest of several wins */
} late;

/* The class of one step; -1: a label that the model does not know. */
typedef struct mark {
    int step, class;
} mark;

typedef struct sequence {
    float *x; /* [steps, F] */
    mark *marks;
    int steps, n_marks;
    bool uniform;         /* whole, and all its labels are one: it is that of every step */
    int64_t first_ts, ts; /* of the first sample and of the last */
} sequence;

typedef struct reading {
    const ky_model_info *model;
    const char *results;
    ky_segments *out;
    char **paths;
    size_t n_paths;
    late *late;
    size_t n_late;
    sequence *seq;
    size_t n_seq;
} reading;

/* Room for one more of n, growing by doubling. */
static int grow(void **array, size_t n, size_t size, ky_err *err)
{
    void *p;

    if (n != 0 && (n < 16 || (n & (n - 1)) != 0))
        return KY_OK;
    p = realloc(*array, (n < 16 ? 16 : 2 * n) * size);
    if (p == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for the archive's sequences");
    *array = p;
    return KY_OK;
}

/* ---- which files ---- */

static int add_path(reading *r, const char *path, ky_err *err)
{
    int rc = grow((void **)&r->paths, r->n_paths, sizeof *r->paths, err);

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

static int take_late(const char *stream, int64_t n, const char *label, void *arg, ky_err *err)
{
    reading *r = arg;
    int rc = grow((void **)&r->late, r->n_late, sizeof *r->late, err);
    late *l;

    if (rc < 0)
        return rc;
    l = r->late + r->n_late;
    *l = (late){ .stream = strdup(stream), .label = strdup(label), .n = n, .order = r->n_late };
    r->n_late++;
    return l->stream != NULL && l->label != NULL ? KY_OK
                                                 : ky_fail(err, KY_ENOMEM, "no memory for labels");
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
    int rc = ky_results_open(r->results, false, &db, err);

    if (rc < 0)
        return rc;
    rc = ky_results_each_label(db, class_name, take_late, r, err);
    ky_results_close(db);
    if (rc >= 0 && r->n_late > 0)
        qsort(r->late, r->n_late, sizeof *r->late, compare_late);
    return rc;
}

/* The last label that came for step n of a stream; NULL without. */
static const char *late_label(const char *stream, int64_t n, void *arg)
{
    const reading *r = arg;
    const late key = { .stream = (char *)(uintptr_t)stream, .n = n, .order = SIZE_MAX };
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
    return r->late[lo - 1].label;
}

/* ---- sequences ---- */

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

/* Copies the steps and the labels as classes. */
static int copy_sequence(const reading *r, const ky_sequence *s, sequence *q, ky_err *err)
{
    size_t values = (size_t)s->steps * (size_t)s->features;

    *q = (sequence){
        .steps = s->steps, .n_marks = s->n_marks, .first_ts = s->first_ts_us, .ts = s->ts_us
    };
    q->x = malloc((values + 1) * sizeof *q->x);
    q->marks = malloc(((size_t)s->n_marks + 1) * sizeof *q->marks);
    if (q->x == NULL || q->marks == NULL) {
        free(q->x);
        free(q->marks);
        return ky_fail(err, KY_ENOMEM, "no memory for a sequence of %d steps", s->steps);
    }
    memcpy(q->x, s->x, values * sizeof *q->x);
    q->uniform = s->starts && s->ends;
    for (int i = 0; i < s->n_marks; i++) {
        q->marks[i] = (mark){ s->marks[i].step, class_of(r->model, s->marks[i].label) };
        q->uniform = q->uniform && strcmp(s->marks[i].label, s->marks[0].label) == 0;
    }
    return KY_OK;
}

static int take_sequence(const ky_sequence *s, void *arg, ky_err *err)
{
    reading *r = arg;
    int rc;

    r->out->sequences++;
    if (s->n_marks == 0 || s->features != r->model->features) {
        r->out->unlabelled += s->n_marks == 0;
        r->out->misfits += s->n_marks > 0;
        return KY_OK;
    }
    if ((rc = grow((void **)&r->seq, r->n_seq, sizeof *r->seq, err)) < 0 ||
        (rc = copy_sequence(r, s, r->seq + r->n_seq, err)) < 0)
        return rc;
    r->n_seq++;
    return KY_OK;
}

static int compare_int(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return x < y ? -1 : x > y;
}

/* The length most sequences have; the longer of equals. 0: no memory or no sequences. */
static int usual_length(const reading *r)
{
    int *len = malloc((r->n_seq + 1) * sizeof *len), best = 0;
    size_t most = 0;

    if (len == NULL)
        return 0;
    for (size_t i = 0; i < r->n_seq; i++)
        len[i] = r->seq[i].steps;
    qsort(len, r->n_seq, sizeof *len, compare_int);
    for (size_t i = 0, run = 0; i < r->n_seq; i++) {
        run = i > 0 && len[i] == len[i - 1] ? run + 1 : 1;
        if (run >= most) {
            most = run;
            best = len[i];
        }
    }
    free(len);
    return best;
}

/* The class of steps [from,to): that of the last labelled one of them. KY_ENOENT: none is. */
static int label_within(const sequence *q, int from, int to)
{
    int class = KY_ENOENT;

    if (q->uniform)
        return q->marks[0].class;
    for (int i = 0; i < q->n_marks && q->marks[i].step < to; i++)
        if (q->marks[i].step >= from)
            class = q->marks[i].class;
    return class;
}

/*
 * All windows of a whole sequence have its time, so no split parts them. A stream without an end
 * must be parted somewhere: there it is the time of the window's last step.
 */
static int64_t time_of(const sequence *q, int step)
{
    if (q->uniform || q->steps < 2 || q->first_ts > q->ts || q->first_ts == KY_NONE)
        return q->ts;
    return q->first_ts + (int64_t)((double)(q->ts - q->first_ts) * step / (q->steps - 1));
}

/* Windows one behind the other, the last ending where the sequence ends. */
static void cut_sequence(ky_segments *o, const sequence *q, int T, size_t F)
{
    o->too_short += q->steps < T;
    for (int at = q->steps % T; at + T <= q->steps; at += T) {
        int class = label_within(q, at, at + T);

        o->unlabelled += class == KY_ENOENT;
        o->unknown += class == -1;
        if (class < 0)
            continue;
        memcpy(o->x + (size_t)o->set.N * (size_t)T * F, q->x + (size_t)at * F,
               (size_t)T * F * sizeof *o->x);
        o->y[o->set.N] = class;
        o->ts[o->set.N++] = time_of(q, at + T - 1);
    }
}

static int cut_windows(reading *r, ky_err *err)
{
    ky_segments *o = r->out;
    int T = r->model->window > 0 ? r->model->window : usual_length(r);
    size_t F = (size_t)r->model->features, N = 0;

    for (size_t i = 0; i < r->n_seq && T > 0; i++)
        N += (size_t)(r->seq[i].steps / T);
    o->x = malloc((N * (size_t)T * F + 1) * sizeof *o->x);
    o->y = malloc((N + 1) * sizeof *o->y);
    o->ts = malloc((N + 1) * sizeof *o->ts);
    if (o->x == NULL || o->y == NULL || o->ts == NULL || N > INT32_MAX)
        return ky_fail(err, KY_ENOMEM, "no memory for %zu windows of %d steps", N, T);
    o->set = (ky_dataset){ .T = T, .F = (int)F, .x = o->x, .y = o->y, .ts = o->ts };
    o->set.C = r->model->outputs == 1 ? 2 : r->model->outputs;
    for (size_t i = 0; i < r->n_seq && T > 0; i++)
        cut_sequence(o, r->seq + i, T, F);
    return KY_OK;
}

/* Paths and late labels are one class's. */
static void clear_class(reading *r)
{
    for (size_t i = 0; i < r->n_paths; i++)
        free(r->paths[i]);
    for (size_t i = 0; i < r->n_late; i++) {
        free(r->late[i].stream);
        free(r->late[i].label);
    }
    free(r->paths);
    free(r->late);
    r->paths = NULL;
    r->late = NULL;
    r->n_paths = r->n_late = 0;
}

/* The sequences of one stream class; its segments are in r->paths. */
static int read_class(reading *r, const char *class_name, ky_err *err)
{
    int rc = r->results != NULL ? read_late(r, class_name, err) : KY_OK;

    if (rc >= 0)
        rc = ky_archive_each_sequence((const char *const *)r->paths, (int)r->n_paths,
                                      r->n_late > 0 ? late_label : NULL, take_sequence, r, err);
    clear_class(r);
    return rc;
}

/* Folders are a class each; files that are named one by one are one class together. */
static int read_sources(reading *r, const char *const *from, int n_from, const char *class_name,
                        bool folders, ky_err *err)
{
    int rc = KY_OK;

    for (int i = 0; i < n_from && rc >= 0; i++) {
        char folder[256];
        struct stat st;

        if (stat(from[i], &st) != 0)
            return ky_fail(err, errno == ENOENT ? KY_ENOENT : KY_EIO, "'%s': %s", from[i],
                           strerror(errno));
        if (S_ISDIR(st.st_mode) != folders)
            continue;
        class_of_folder(from[i], folder);
        rc = folders ? add_folder(r, from[i], err) : add_path(r, from[i], err);
        if (rc >= 0 && folders)
            rc = read_class(r, class_name != NULL ? class_name : folder, err);
    }
    if (rc >= 0 && r->n_paths > 0)
        rc = read_class(r, class_name != NULL ? class_name : "", err);
    return rc;
}

int ky_segments_load(const char *const *from, int n_from, const char *results,
                     const char *class_name, const ky_model *m, ky_segments *ret, ky_err *err)
{
    ky_segments out = { 0 };
    reading r = { .model = ky_model_facts(m), .out = &out, .results = results };
    int rc = read_sources(&r, from, n_from, class_name, true, err);

    if (rc >= 0)
        rc = read_sources(&r, from, n_from, class_name, false, err);
    if (rc >= 0)
        rc = cut_windows(&r, err);
    clear_class(&r);
    for (size_t i = 0; i < r.n_seq; i++) {
        free(r.seq[i].x);
        free(r.seq[i].marks);
    }
    free(r.seq);
    if (rc < 0) {
        ky_segments_free(&out);
        return rc;
    }
    *ret = out;
    return KY_OK;
}

void ky_segments_free(ky_segments *s)
{
    free(s->x);
    free(s->y);
    free(s->ts);
    memset(s, 0, sizeof *s);
}
