#include "cli/windows.h"

#include <stdlib.h>
#include <string.h>

/* Steps first to last have labels of one class; -1: of none of the model's. */
typedef struct run {
    int first, last, class;
} run;

typedef struct sequence {
    run *runs; /* [n_runs] ascending, until the windows are known */
    int n_runs, steps;
    bool uniform;         /* whole, and all its labels are one: it is that of every step */
    int64_t first_ts, ts; /* of the first sample and of the last */
    int32_t *row;         /* [steps / T] of each window, -1: left out; NULL: all are */
    float *window;        /* [T,F] the one whose values are coming */
} sequence;

struct ky_windows {
    const ky_model_info *model;
    int T;               /* 0: not known yet */
    sequence *seq;       /* in the order in which they begin */
    size_t n_seq, n_met; /* met: when they are read again */
    uint32_t *open;      /* [n_open] a stream's sequence, by its number */
    size_t n_open;
    uint32_t *over; /* [n_over] in the order in which they end, where T is not known */
    size_t n_over;
    int32_t *class; /* [N] rows */
    int64_t *ts;
    int N;
    ky_windows_count count;
};

static int no_memory(ky_err *err)
{
    return ky_fail(err, KY_ENOMEM, "no memory for the archive's sequences");
}

int ky_windows_grow(void **array, size_t n, size_t size, ky_err *err)
{
    void *p = ky_grow(*array, n, size);

    if (p == NULL)
        return no_memory(err);
    *array = p;
    return KY_OK;
}

int ky_windows_new(const ky_model_info *model, ky_windows **ret, ky_err *err)
{
    ky_windows *w = calloc(1, sizeof *w);

    if (w == NULL)
        return no_memory(err);
    w->model = model;
    w->T = model->window;
    *ret = w;
    return KY_OK;
}

void ky_windows_free(ky_windows *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < w->n_seq; i++) {
        free(w->seq[i].runs);
        free(w->seq[i].row);
        free(w->seq[i].window);
    }
    free(w->seq);
    free(w->open);
    free(w->over);
    free(w->class);
    free(w->ts);
    free(w);
}

/* ---- first: which there are ---- */

int ky_windows_step(ky_windows *w, const ky_sequence *s, ky_err *err)
{
    int rc = KY_OK;

    if (s->steps > 1)
        return KY_OK;
    while (rc == KY_OK && w->n_open <= s->number)
        if ((rc = ky_windows_grow((void **)&w->open, w->n_open, sizeof *w->open, err)) == KY_OK)
            w->open[w->n_open++] = 0;
    if (rc < 0 || (rc = ky_windows_grow((void **)&w->seq, w->n_seq, sizeof *w->seq, err)) < 0)
        return rc;
    w->seq[w->n_seq] = (sequence){ .first_ts = s->first_ts_us };
    w->open[s->number] = (uint32_t)w->n_seq++;
    return KY_OK;
}

int ky_windows_label(ky_windows *w, const ky_sequence *s, int class, ky_err *err)
{
    sequence *q = &w->seq[w->open[s->number]];
    int step = s->steps - 1, rc;
    run *last = q->n_runs > 0 ? &q->runs[q->n_runs - 1] : NULL;

    if (last != NULL && last->last == step) { /* the step has had another */
        q->n_runs -= last->first == last->last--;
        last = q->n_runs > 0 ? &q->runs[q->n_runs - 1] : NULL;
    }
    if (last != NULL && last->last == step - 1 && last->class == class) {
        last->last = step;
        return KY_OK;
    }
    if ((rc = ky_windows_grow((void **)&q->runs, (size_t)q->n_runs, sizeof *q->runs, err)) < 0)
        return rc;
    q->runs[q->n_runs++] = (run){ step, step, class };
    return KY_OK;
}

/* The class of steps [from,to): that of the last labelled one of them. KY_ENOENT: none is.
 * Windows come in order: *next is the first run behind the one before, then behind this. */
static int label_within(const sequence *q, int from, int to, int *next)
{
    if (q->uniform)
        return q->runs[0].class;
    while (*next < q->n_runs && q->runs[*next].first < to)
        ++*next;
    return *next > 0 && q->runs[*next - 1].last >= from ? q->runs[*next - 1].class : KY_ENOENT;
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

static int add_row(ky_windows *w, int class, int64_t ts, ky_err *err)
{
    size_t n = (size_t)w->N;
    int rc;

    if (w->N == INT32_MAX)
        return ky_fail(err, KY_EFULL, "the archive has more than %d windows", w->N);
    if ((rc = ky_windows_grow((void **)&w->class, n, sizeof *w->class, err)) < 0 ||
        (rc = ky_windows_grow((void **)&w->ts, n, sizeof *w->ts, err)) < 0)
        return rc;
    w->class[n] = class;
    w->ts[n] = ts;
    w->N++;
    return KY_OK;
}

/* Windows one behind the other, the last ending where the sequence ends. */
static int cut(ky_windows *w, sequence *q, ky_err *err)
{
    int rc = KY_OK, before = w->N, n = 0, next = 0;

    w->count.too_short += q->steps < w->T;
    q->row = malloc((size_t)(q->steps / w->T) * sizeof *q->row + 1);
    if (q->row == NULL)
        return no_memory(err);
    for (int at = q->steps % w->T; at + w->T <= q->steps && rc == KY_OK; at += w->T, n++) {
        int class = label_within(q, at, at + w->T, &next);

        w->count.unlabelled += class == KY_ENOENT;
        w->count.unknown += class == -1;
        q->row[n] = class < 0 ? -1 : w->N;
        if (class >= 0)
            rc = add_row(w, class, time_of(q, at + w->T - 1), err);
    }
    free(q->runs);
    q->runs = NULL;
    if (w->N == before) {
        free(q->row);
        q->row = NULL;
    }
    return rc;
}

int ky_windows_over(ky_windows *w, const ky_sequence *s, ky_err *err)
{
    uint32_t at = w->open[s->number];
    sequence *q = &w->seq[at];
    bool fits = s->features == w->model->features;
    int rc;

    w->count.sequences++;
    w->count.unlabelled += q->n_runs == 0;
    w->count.misfits += q->n_runs > 0 && !fits;
    if (q->n_runs == 0 || !fits)
        return KY_OK;
    q->steps = s->steps;
    q->ts = s->ts_us;
    q->uniform = s->starts && s->ends;
    for (int i = 1; i < q->n_runs; i++)
        q->uniform = q->uniform && q->runs[i].class == q->runs[0].class;
    if (w->T > 0)
        return cut(w, q, err);
    if ((rc = ky_windows_grow((void **)&w->over, w->n_over, sizeof *w->over, err)) == KY_OK)
        w->over[w->n_over++] = at;
    return rc;
}

static int compare_int(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return x < y ? -1 : x > y;
}

/* The length most sequences have; the longer of equals. */
static int usual_length(const ky_windows *w, int *len)
{
    size_t most = 0;
    int best = 0;

    for (size_t i = 0; i < w->n_over; i++)
        len[i] = w->seq[w->over[i]].steps;
    qsort(len, w->n_over, sizeof *len, compare_int);
    for (size_t i = 0, same = 0; i < w->n_over; i++) {
        same = i > 0 && len[i] == len[i - 1] ? same + 1 : 1;
        if (same >= most) {
            most = same;
            best = len[i];
        }
    }
    return best;
}

int ky_windows_settle(ky_windows *w, ky_err *err)
{
    int rc = KY_OK, *len;

    if (w->T > 0 || w->n_over == 0)
        return KY_OK;
    len = malloc(w->n_over * sizeof *len);
    if (len == NULL)
        return no_memory(err);
    w->T = usual_length(w, len);
    free(len);
    for (size_t i = 0; i < w->n_over && rc == KY_OK; i++)
        rc = cut(w, &w->seq[w->over[i]], err);
    return rc;
}

int ky_windows_rows(const ky_windows *w, int *ret_T, const int32_t **ret_class,
                    const int64_t **ret_ts, ky_windows_count *ret_count)
{
    *ret_T = w->T;
    *ret_class = w->class;
    *ret_ts = w->ts;
    *ret_count = w->count;
    return w->N;
}

/* ---- then: their values ---- */

static int changed(const ky_sequence *s, ky_err *err)
{
    return ky_fail(err, KY_EFORMAT, "stream '%s': its segments changed while they were read",
                   s->stream);
}

int ky_windows_value(ky_windows *w, const ky_sequence *s, const float *x, ky_windows_put *put,
                     void *arg, ky_err *err)
{
    size_t F = (size_t)w->model->features;
    sequence *q;
    int at, rc;

    if (s->number >= w->n_open || (s->steps == 1 && w->n_met == w->n_seq))
        return changed(s, err);
    if (s->steps == 1)
        w->open[s->number] = (uint32_t)w->n_met++;
    q = &w->seq[w->open[s->number]];
    if (q->row == NULL || s->steps <= q->steps % w->T)
        return KY_OK;
    if (s->steps > q->steps || s->features != w->model->features)
        return changed(s, err);
    at = s->steps - 1 - q->steps % w->T;
    if (q->row[at / w->T] < 0)
        return KY_OK;
    if (q->window == NULL && (q->window = malloc((size_t)w->T * F * sizeof *x)) == NULL)
        return no_memory(err);
    memcpy(q->window + (size_t)(at % w->T) * F, x, F * sizeof *x);
    if (at % w->T < w->T - 1)
        return KY_OK;
    rc = put(q->row[at / w->T], q->window, arg, err);
    free(q->window);
    q->window = NULL;
    return rc;
}
