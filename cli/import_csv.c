/*
 * Tables: long ones, a sample a line with the stream it belongs to, which are cut into windows, and
 * wide ones, a series a line.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/csv.h"
#include "cli/feed.h"
#include "cli/import.h"
#include "cli/names.h"

/* -- long ------------------------------------------------------------------------------------- */

enum {
    MOST_STREAMS = 1 << 20,
    STEPS_SEEN = 1000,             /* of a stream, that its usual one is taken from */
    MOST_WINDOW_BYTES = 256 << 20, /* of one stream */
};

/* One stream of a table. */
typedef struct stream {
    const char *name;
    int64_t step_us; /* longer ones are gaps; 0: not known */
    int64_t *steps;  /* [n_steps] while they are learned */
    int n_steps;
    int64_t last_ts_us, last_seq;
    int64_t *ts_us; /* [cap] of the samples */
    float *x;       /* [cap,F] samples since the last gap, the last n of them */
    size_t cap, first, n;
    int64_t taken;    /* samples since the last gap */
    char *label;      /* the last one, NULL */
    int64_t labelled; /* samples that were taken when it came */
} stream;

/* What is kept from pass to pass, and what goes through one. */
typedef struct table {
    ky_names names;
    stream *stream; /* [n] as they are numbered */
    int n, cap;
    bool labels, timed;
    int F;
    int64_t gaps, unlabelled, short_ones;
} table;

static void free_table(void *own)
{
    table *t = own;

    for (int i = 0; i < t->n; i++) {
        free(t->stream[i].steps);
        free(t->stream[i].x);
        free(t->stream[i].ts_us);
        free(t->stream[i].label);
    }
    free(t->stream);
    ky_names_done(&t->names);
    free(t);
}

/* The stream of a name, NULL: it cannot be remembered. */
static stream *find_stream(table *t, const char *name, ky_err *err)
{
    int32_t k = ky_names_number(&t->names, name);

    if (k >= MOST_STREAMS || k < 0) {
        ky_fail(err, KY_EFULL, "over %d streams, or no memory for them", t->n);
        return NULL;
    }
    if (k >= t->cap) {
        int cap = t->cap > 0 ? 2 * t->cap : 64;
        stream *more = realloc(t->stream, (size_t)cap * sizeof *more);

        if (more == NULL) {
            ky_fail(err, KY_ENOMEM, "no memory for %d streams", cap);
            return NULL;
        }
        t->stream = more;
        t->cap = cap;
    }
    if (k == t->n)
        t->stream[t->n++] = (stream){ .name = t->names.name[k], .last_ts_us = KY_NONE };
    return &t->stream[k];
}

static int open_reader(const ky_import *im, const ky_import_file *f, ky_reader **ret, ky_err *err)
{
    const ky_import_opts *o = im->o;
    ky_feed_opts feed = { .source = f->path,
                          .stream_column = o->group,
                          .time_column = o->time,
                          .label_column = o->label,
                          .values = o->features,
                          .time_unit = o->time_unit };

    return ky_feed_csv(&feed, ret, err);
}

/* -- the usual step of each stream -- */

/* From an earlier time to a later one. */
static int64_t between(int64_t from_us, int64_t to_us)
{
    uint64_t step = (uint64_t)to_us - (uint64_t)from_us;

    return step < INT64_MAX / 2 ? (int64_t)step : INT64_MAX / 2;
}

static int learn_row(table *t, const ky_row *row, ky_err *err)
{
    stream *s = find_stream(t, row->stream, err);

    if (s == NULL)
        return KY_ENOMEM;
    if (s->steps == NULL && (s->steps = calloc(STEPS_SEEN, sizeof *s->steps)) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for %d streams", t->n);
    t->labels = t->labels || row->label != NULL;
    t->timed = t->timed || row->ts_us != KY_NONE;
    if (row->ts_us != KY_NONE && s->last_ts_us != KY_NONE && row->ts_us > s->last_ts_us &&
        s->n_steps < STEPS_SEEN)
        s->steps[s->n_steps++] = between(s->last_ts_us, row->ts_us);
    s->last_ts_us = row->ts_us;
    return KY_OK;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void learn_steps(const ky_import_opts *o, table *t)
{
    for (int i = 0; i < t->n; i++) {
        stream *s = &t->stream[i];

        if (s->n_steps > 0) {
            qsort(s->steps, (size_t)s->n_steps, sizeof *s->steps, by_size);
            s->step_us = s->steps[s->n_steps / 2];
        }
        /* Half as long again as the usual step: one sample is missing. */
        s->step_us = o->gap_us > 0 ? o->gap_us : s->step_us + s->step_us / 2;
        free(s->steps);
        s->steps = NULL;
    }
}

static int learn_file(const ky_import *im, const ky_import_file *f, table *t, ky_err *err)
{
    ky_reader *r = NULL;
    ky_row row;
    int rc = open_reader(im, f, &r, err);

    if (rc < 0)
        return rc;
    if (t->F != 0 && t->F != r->features)
        rc = ky_fail(err, KY_ESHAPE, "'%s' has %d values a sample, the files before it %d", f->path,
                     r->features, t->F);
    t->F = r->features;
    while (rc >= 0 && (rc = r->next(r, &row, err)) > 0)
        rc = learn_row(t, &row, err);
    r->free(r);
    return rc;
}

static int learn(ky_import *im, ky_err *err)
{
    table *t = calloc(1, sizeof *t);
    int rc = KY_OK;

    if ((im->own = t) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for streams");
    for (int i = 0; rc == KY_OK && i < im->files->n; i++)
        rc = learn_file(im, &im->files->file[i], t, err);
    learn_steps(im->o, t);
    return rc;
}

/* -- windows -- */

static bool is_gap(const stream *s, const ky_row *row)
{
    if (s->taken == 0)
        return false;
    if (row->seq != KY_NONE && s->last_seq != KY_NONE && row->seq != s->last_seq + 1)
        return true;
    return row->ts_us != KY_NONE && s->last_ts_us != KY_NONE &&
           (row->ts_us < s->last_ts_us ||
            (s->step_us > 0 && between(s->last_ts_us, row->ts_us) > s->step_us));
}

/* One window, or without --window all since the last gap. */
static int give(table *t, const stream *s, size_t steps, enum ky_import_part part, ky_sink *sink,
                ky_err *err)
{
    bool labelled = s->label != NULL && s->taken - s->labelled < (int64_t)steps;
    ky_import_row row = { .part = part,
                          .x = s->x + (s->first + s->n - steps) * (size_t)t->F,
                          .steps = (int)steps,
                          .label = labelled ? s->label : NULL,
                          .group = s->name,
                          .from_us = t->timed ? s->ts_us[s->first + s->n - steps] : KY_NONE,
                          .ts_us = t->timed ? s->last_ts_us : KY_NONE };

    if (t->labels && !labelled) {
        t->unlabelled++;
        return KY_OK;
    }
    return ky_sink_row(sink, &row, err);
}

/* What was gathered ends here. */
static int end_run(const ky_import *im, table *t, stream *s, enum ky_import_part part,
                   ky_sink *sink, ky_err *err)
{
    int rc = KY_OK;

    if (s->n > 0 && im->o->window == 0)
        rc = give(t, s, s->n, part, sink, err);
    else if (s->taken > 0 && s->taken < im->o->window)
        t->short_ones++;
    s->first = s->n = 0;
    s->taken = 0;
    free(s->label);
    s->label = NULL;
    return rc;
}

/* Room for one more sample; of windows only the last are kept. */
static int make_room(const ky_import *im, const table *t, stream *s, ky_err *err)
{
    size_t F = (size_t)t->F, window = (size_t)im->o->window;

    if (s->first + s->n < s->cap)
        return KY_OK;
    if (window > 0 && s->n >= window) {
        s->first += s->n - (window - 1);
        s->n = window - 1;
    }
    if (s->first > 0 && s->first >= s->n) {
        memmove(s->x, s->x + s->first * F, s->n * F * sizeof *s->x);
        memmove(s->ts_us, s->ts_us + s->first, s->n * sizeof *s->ts_us);
        s->first = 0;
        return KY_OK;
    }
    size_t cap = s->cap > 0 ? 2 * s->cap : 64;
    float *more =
        cap < MOST_WINDOW_BYTES / sizeof *more / F ? realloc(s->x, cap * F * sizeof *more) : NULL;
    int64_t *times;
    if (more != NULL && (times = realloc(s->ts_us, cap * sizeof *times)) != NULL)
        s->ts_us = times;
    else if (more != NULL) {
        s->x = more;
        more = NULL;
    }
    if (more == NULL)
        return ky_fail(err, KY_EFULL,
                       "stream '%.60s': over %zu samples without a gap; --window "
                       "cuts it",
                       s->name, s->cap);
    s->x = more;
    s->cap = cap;
    return KY_OK;
}

static int take_sample(const ky_import *im, table *t, stream *s, const ky_row *row,
                       enum ky_import_part part, ky_sink *sink, ky_err *err)
{
    size_t F = (size_t)t->F;
    int64_t window = im->o->window, hop = im->o->hop > 0 ? im->o->hop : window;
    int rc = KY_OK;

    if (is_gap(s, row)) {
        t->gaps++;
        rc = end_run(im, t, s, part, sink, err);
    }
    if (rc < 0 || (rc = make_room(im, t, s, err)) < 0)
        return rc;
    s->ts_us[s->first + s->n] = row->ts_us;
    memcpy(s->x + (s->first + s->n++) * F, row->x, F * sizeof *s->x);
    s->taken++;
    s->last_ts_us = row->ts_us;
    s->last_seq = row->seq;
    if (row->label != NULL) {
        if (s->label == NULL || strcmp(s->label, row->label) != 0) {
            free(s->label);
            if ((s->label = strdup(row->label)) == NULL)
                return ky_fail(err, KY_ENOMEM, "no memory for labels");
        }
        s->labelled = s->taken;
    }
    if (window > 0 && s->taken >= window && (s->taken - window) % hop == 0)
        rc = give(t, s, (size_t)window, part, sink, err);
    return rc;
}

static int read_long_file(const ky_import *im, const ky_import_file *f, table *t, ky_sink *sink,
                          ky_err *err)
{
    ky_reader *r = NULL;
    stream *s;
    ky_row row;
    int rc = open_reader(im, f, &r, err);

    if (rc < 0)
        return rc;
    if ((rc = ky_sink_shape(sink, KY_H5_F32, 2, (const uint64_t[]){ 0, (uint64_t)t->F }, err)) ==
        KY_OK)
        rc = ky_sink_features(sink, (const char *const *)r->names, (size_t)r->features, err);
    while (rc >= 0 && (rc = r->next(r, &row, err)) > 0) {
        if ((s = find_stream(t, row.stream, err)) == NULL)
            rc = KY_ENOMEM;
        else
            rc = take_sample(im, t, s, &row, f->part, sink, err);
    }
    /* A stream does not go on in the next file: it may be of the other part. */
    for (int i = 0; rc >= 0 && i < t->n; i++)
        rc = end_run(im, t, &t->stream[i], f->part, sink, err);
    r->free(r);
    return rc;
}

static int read_long(ky_import *im, ky_sink *sink, ky_err *err)
{
    int rc = im->own == NULL ? learn(im, err) : KY_OK;
    table *t = im->own;

    if (rc < 0)
        return rc;
    t->gaps = t->unlabelled = t->short_ones = 0;
    for (int i = 0; rc == KY_OK && i < im->files->n; i++)
        rc = read_long_file(im, &im->files->file[i], t, sink, err);
    ky_sink_say(sink,
                "%d streams, %lld gaps; left out: %lld windows without a label, %lld runs "
                "shorter than a window",
                t->n, (long long)t->gaps, (long long)t->unlabelled, (long long)t->short_ones);
    return rc;
}

/* Whether the first line has a cell of that name. */
static bool has_name(const char *line, size_t n, const char *name)
{
    size_t k = strlen(name);

    for (size_t at = 0; at + k <= n; at++)
        if (memcmp(line + at, name, k) == 0 && (at == 0 || strchr(",;\t\" ", line[at - 1])) &&
            (at + k == n || strchr(",;\t\" ", line[at + k])))
            return true;
    return false;
}

static size_t first_line(const char *head, size_t n)
{
    size_t len = 0;

    while (len < n && head[len] != '\n' && head[len] != '\r')
        len++;
    return len;
}

static bool is_table(const char *base, const char *head, size_t n)
{
    return ky_import_ends(base, ".csv") && memchr(head, '\0', n) == NULL;
}

static bool is_long(const char *base, const char *head, size_t n)
{
    static const char *const names[] = { "stream", "stream_id", "ts", "time", "timestamp", "seq" };
    size_t len = first_line(head, n);

    if (n >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0) {
        head += 3;
        len -= len > 3 ? 3 : len;
    }
    for (size_t i = 0; is_table(base, head, n) && i < sizeof names / sizeof *names; i++)
        if (has_name(head, len, names[i]))
            return true;
    return false;
}

const ky_format ky_import_csv_long = { "csv-long", "a sample a line: stream, time, values, label",
                                       is_long,    read_long,
                                       free_table, false };

/* -- wide ------------------------------------------------------------------------------------- */

/* Where in a line what stands. */
typedef struct wide {
    int label, group, time; /* columns, -1: none */
    int time_shift;
    int *value; /* [T,F] columns */
    int T, F;
    char **words; /* [F] features, NULL: one without a name */
    float *x;     /* [T,F] */
} wide;

static void free_wide(wide *w)
{
    free(w->value);
    free(w->words);
    free(w->x);
}

/* The step in a name that is a feature's with a number behind: "x_12", "x12", "x[12]"; -1: none. */
static int64_t step_of(const char *name, const char *feature)
{
    size_t len = strlen(feature);
    const char *p = name + len;
    char *end;
    int64_t step;

    if (strncmp(name, feature, len) != 0)
        return -1;
    p += strspn(p, "_.- [(");
    if (!isdigit((unsigned char)*p))
        return -1;
    step = strtoll(p, &end, 10);
    return end[strspn(end, "])")] == '\0' ? step : -1;
}

typedef struct placed {
    int64_t step;
    int column;
} placed;

static int by_step(const void *a, const void *b)
{
    const placed *x = a, *y = b;

    return x->step != y->step ? (x->step < y->step ? -1 : 1) : x->column - y->column;
}

/* The columns of one feature in the order of their steps; how many. */
static int steps_of(const ky_csv *c, const char *feature, placed *to)
{
    int n = 0;

    for (int i = 0; i < c->columns; i++) {
        int64_t step = step_of(c->name[i], feature);

        if (step >= 0)
            to[n++] = (placed){ step, i };
    }
    qsort(to, (size_t)n, sizeof *to, by_step);
    return n;
}

/* --features names columns, each a step of one series, or features, whose columns bear numbers. */
static int choose_named(const ky_csv *c, const char *list, wide *w, ky_err *err)
{
    placed *p = calloc((size_t)c->columns + 1, sizeof *p);
    int n = 0, rc = KY_OK, whole = 0;
    char **words = ky_csv_words(list, &n);

    if (p == NULL || words == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory for %d columns", c->columns);
    for (int i = 0; rc == KY_OK && i < n; i++)
        whole += ky_csv_find(c, words[i]) >= 0;
    w->F = whole == n ? 1 : n;
    w->T = 0;
    for (int f = 0; rc == KY_OK && f < n; f++) {
        int T = whole == n ? n : steps_of(c, words[f], p);

        if (T == 0 || (f > 0 && T != w->T))
            rc = ky_fail(err, KY_EINVAL, "'%s': --features '%s' names %d columns%s", c->path,
                         words[f], T, f > 0 ? ", the first another number" : "");
        if (rc == KY_OK && f == 0 &&
            (w->value = calloc((size_t)T * (size_t)w->F, sizeof *w->value)) == NULL)
            rc = ky_fail(err, KY_ENOMEM, "no memory for %d columns", c->columns);
        w->T = T;
        for (int t = 0; rc == KY_OK && whole < n && t < T; t++)
            w->value[t * w->F + f] = p[t].column;
        if (rc == KY_OK && whole == n)
            w->value[f] = ky_csv_find(c, words[f]);
    }
    free(p);
    if (whole < n)
        w->words = words;
    else
        free(words);
    return rc;
}

/* All columns that are nothing else, each a step of one series. */
static int choose_rest(const ky_csv *c, wide *w, ky_err *err)
{
    w->value = calloc((size_t)c->columns, sizeof *w->value);
    if (w->value == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for %d columns", c->columns);
    w->F = 1;
    for (int i = 0; i < c->columns; i++)
        if (i != w->label && i != w->group && i != w->time)
            w->value[w->T++] = i;
    return w->T > 0 ? KY_OK : ky_fail(err, KY_EINVAL, "%s has no column of values", c->path);
}

static int choose_wide(const ky_import_opts *o, const ky_csv *c, wide *w, ky_err *err)
{
    static const char *const labels[] = { "label", "class", "target", "y", NULL },
                             *const groups[] = { "group", "subject", NULL },
                             *const none[] = { NULL };
    int rc;

    if (o->window > 0)
        return ky_fail(err, KY_EINVAL,
                       "'%s' has no column 'stream' or 'time': for windows, say --format csv-long",
                       c->path);
    if (c->headless && o->label == NULL)
        return ky_fail(err, KY_EINVAL,
                       "'%s' has no header: --label 1 says that the label is the first column",
                       c->path);
    if ((rc = ky_csv_role(c, o->label, labels, &w->label, err)) < 0 ||
        (rc = ky_csv_role(c, o->group, groups, &w->group, err)) < 0 ||
        (rc = ky_csv_role(c, o->time, none, &w->time, err)) < 0 ||
        (rc = ky_csv_time_shift(o->time_unit, &w->time_shift, err)) < 0)
        return rc;
    rc = o->features != NULL ? choose_named(c, o->features, w, err) : choose_rest(c, w, err);
    if (rc == KY_OK && (w->x = calloc((size_t)w->T * (size_t)w->F, sizeof *w->x)) == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory for %d columns", c->columns);
    return rc;
}

/* Steps up to the last that has a value: tables fill shorter series with empty cells. */
static int steps_there(const wide *w)
{
    int n = w->T * w->F;

    while (n > 0 && isnan(w->x[n - 1]))
        n--;
    return n > 0 ? (n + w->F - 1) / w->F : 1;
}

static int read_series(const ky_csv *c, wide *w, enum ky_import_part part, ky_sink *s, ky_err *err)
{
    ky_import_row row = { .part = part, .x = w->x, .from_us = KY_NONE, .ts_us = KY_NONE };
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < w->T * w->F; i++)
        rc = ky_csv_value(c, w->value[i], &w->x[i], err);
    if (rc == KY_OK && w->time >= 0)
        rc = ky_csv_time(c, w->time, w->time_shift, &row.ts_us, err);
    row.label = w->label >= 0 ? c->cell[w->label] : NULL;
    row.group = w->group >= 0 ? c->cell[w->group] : NULL;
    row.steps = steps_there(w);
    if (rc == KY_OK)
        rc = ky_sink_row(s, &row, err);
    return rc < 0 ? ky_context(err, rc, "'%s', line %lld", c->path, (long long)c->line_number)
                  : KY_OK;
}

static int read_wide_file(const ky_import *im, const ky_import_file *f, ky_sink *s, ky_err *err)
{
    wide w = { .T = 0 };
    ky_csv c;
    int rc = ky_csv_open(f->path, true, &c, err);

    if (rc < 0)
        return rc;
    if ((rc = choose_wide(im->o, &c, &w, err)) == KY_OK &&
        (rc = ky_sink_shape(s, KY_H5_F32, 2, (const uint64_t[]){ 0, (uint64_t)w.F }, err)) ==
            KY_OK &&
        w.words != NULL)
        rc = ky_sink_features(s, (const char *const *)w.words, (size_t)w.F, err);
    while (rc >= 0 && (rc = ky_csv_next(&c, err)) > 0)
        rc = read_series(&c, &w, f->part, s, err);
    free_wide(&w);
    ky_csv_close(&c);
    return rc;
}

static int read_wide(ky_import *im, ky_sink *s, ky_err *err)
{
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < im->files->n; i++)
        rc = read_wide_file(im, &im->files->file[i], s, err);
    return rc;
}

const ky_format ky_import_csv_wide = { "csv-wide", "a series a line", is_table, read_wide, NULL,
                                       false };
