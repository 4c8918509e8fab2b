/*
 * Predictions, as they lie in results.db. What people ask is the view `predictions`; below it
 *
 *   answers  in the order of commits: a unit's rows are appended, no page is touched twice
 *   series   a stream's answers by one model in one role, with the last of them
 *   runs     where a series' answers lie: those of one unit stand side by side
 *
 * Keyed by stream and step the answers would touch a page a stream with each unit. Runs would too,
 * so they have two levels: those of the last units (level 1) are few and on few pages, and move
 * among the others (level 0) many at a time. A series' steps only rise, so what is in level 1 lies
 * behind what is in level 0.
 */
#include <stdlib.h>

#include "models/kernels.h"
#include "storage/results_sqlite.h"

enum {
    SETTLE_RUNS = 1024, /* fewer are not worth moving */
    SETTLE_UNITS = 16,  /* as many units' runs move together */
    SETTLE_MOST = 32768,
    RUN_MOST = 1000,  /* answers; a step is looked for within a run one by one */
    LOOK_BACK = 4096, /* answers, for the step of a late label */
};

/* -- adding -- */

/* One run: answers of one series, in the order of n. */
typedef struct run {
    const ky_answer_order *at;
    uint32_t n;
    int64_t first; /* id of its first answer */
} run;

static const ky_row_prediction *answer_of(const ky_unit *u, const run *v, uint32_t i)
{
    return &u->predictions.row[v->at[i].row];
}

static int answered_twice(ky_results *r, const ky_row_prediction *p, ky_err *err)
{
    return ky_fail(err, KY_ECORRUPT, "'%s': stream %u, n %lld or a later step is answered already",
                   r->path, p->stream, (long long)p->n);
}

static int new_series(ky_results *r, const ky_unit *u, const ky_row_prediction *to, int64_t last,
                      int64_t *ret, ky_err *err)
{
    sqlite3_stmt *s = ky_results_kept(r, KY_SQL_NEW_SERIES);

    sqlite3_bind_int64(s, 1, to->stream);
    ky_bind_text(s, 2, u->models[to->model]);
    sqlite3_bind_int64(s, 3, to->n);
    sqlite3_bind_int64(s, 4, last);
    int rc = ky_results_run(r, s, "adding a series", err);

    *ret = sqlite3_last_insert_rowid(r->db);
    return rc;
}

static int end_series(ky_results *r, int64_t id, int64_t n, int64_t last, ky_err *err)
{
    sqlite3_stmt *s = ky_results_kept(r, KY_SQL_SERIES_END);

    sqlite3_bind_int64(s, 1, id);
    sqlite3_bind_int64(s, 2, n);
    sqlite3_bind_int64(s, 3, last);
    return ky_results_run(r, s, "adding answers to a series", err);
}

/* The run's series, which now ends with it. Its steps rise: one that does not lie behind the last
 * answer is there already. */
static int put_series(ky_results *r, const ky_unit *u, const run *v, int64_t *ret, ky_err *err)
{
    const ky_row_prediction *from = answer_of(u, v, 0), *to = answer_of(u, v, v->n - 1);
    sqlite3_stmt *s = ky_results_kept(r, KY_SQL_SERIES);
    int64_t last = v->first + v->n - 1, n = 0;

    sqlite3_bind_int64(s, 1, from->stream);
    ky_bind_text(s, 2, u->models[from->model]);
    int step = s == NULL ? SQLITE_ERROR : sqlite3_step(s);
    if (step == SQLITE_ROW) {
        *ret = sqlite3_column_int64(s, 0);
        n = sqlite3_column_int64(s, 1);
    }
    int rc = step == SQLITE_ROW || step == SQLITE_DONE
                 ? KY_OK
                 : ky_results_fail(r, "looking for a series", err);
    sqlite3_reset(s);
    if (rc != KY_OK)
        return rc;
    if (step == SQLITE_DONE)
        return new_series(r, u, to, last, ret, err);
    return from->n > n ? end_series(r, *ret, to->n, last, err) : answered_twice(r, from, err);
}

/* Answers go in many at a time: a statement costs a fifth of a row. */
typedef struct waiting {
    struct {
        const ky_row_prediction *p;
        int64_t id, series;
    } row[KY_ANSWERS_AT_ONCE];
    int n;
} waiting;

/* Row `i` of those that the statement inserts. */
static void bind_answer(sqlite3_stmt *s, const ky_unit *u, const waiting *w, int i, int at)
{
    const ky_row_prediction *p = w->row[i].p;

    sqlite3_bind_int64(s, at + 1, w->row[i].id);
    sqlite3_bind_int64(s, at + 2, w->row[i].series);
    sqlite3_bind_int64(s, at + 3, p->n);
    sqlite3_bind_int64(s, at + 4, p->version);
    ky_bind_time(s, at + 5, p->seq);
    ky_bind_time(s, at + 6, p->ts_us);
    if (p->label >= 0)
        ky_bind_span(s, at + 7, u, p->name);
    else
        sqlite3_bind_null(s, at + 7);
    sqlite3_bind_double(s, at + 8, p->score); /* NaN becomes NULL */
    ky_bind_blob(s, at + 9, u, p->y);
    sqlite3_bind_int(s, at + 10, p->quality);
    sqlite3_bind_int(s, at + 11, p->time_source);
    sqlite3_bind_int(s, at + 12, KY_KERNEL_ABI);
    sqlite3_bind_int64(s, at + 13, p->answered_us);
    sqlite3_bind_int64(s, at + 14, p->latency_us);
}

/* All that wait, at once if there are as many as that takes. */
static int put_waiting(ky_results *r, const ky_unit *u, waiting *w, ky_err *err)
{
    bool full = w->n == KY_ANSWERS_AT_ONCE;
    sqlite3_stmt *s = ky_results_kept(r, full ? KY_SQL_ANSWERS : KY_SQL_ANSWER);
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < w->n; i++) {
        bind_answer(s, u, w, i, full ? KY_ANSWER_COLUMNS * i : 0);
        if (!full || i == w->n - 1)
            rc = ky_results_run(r, s, "adding answers", err);
    }
    w->n = 0;
    return rc;
}

static int put_run(ky_results *r, const ky_unit *u, const run *v, waiting *w, ky_err *err)
{
    sqlite3_stmt *s = ky_results_kept(r, KY_SQL_RUN);
    int64_t series = 0;
    int rc = put_series(r, u, v, &series, err);

    for (uint32_t i = 0; rc == KY_OK && i < v->n; i++) {
        const ky_row_prediction *p = answer_of(u, v, i);

        if (i > 0 && p->n <= answer_of(u, v, i - 1)->n)
            return answered_twice(r, p, err);
        w->row[w->n].p = p;
        w->row[w->n].id = v->first + i;
        w->row[w->n++].series = series;
        if (w->n == KY_ANSWERS_AT_ONCE)
            rc = put_waiting(r, u, w, err);
    }
    if (rc != KY_OK)
        return rc;
    sqlite3_bind_int64(s, 1, series);
    sqlite3_bind_int64(s, 2, answer_of(u, v, v->n - 1)->n);
    sqlite3_bind_int64(s, 3, answer_of(u, v, 0)->n);
    sqlite3_bind_int64(s, 4, v->first);
    sqlite3_bind_int64(s, 5, v->first + v->n - 1);
    return ky_results_run(r, s, "adding a run of answers", err);
}

static int compare_order(const void *a, const void *b)
{
    const ky_answer_order *x = a, *y = b;

    if (x->series != y->series)
        return x->series < y->series ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* The unit's answers series by series; within one they come in the order of n already. */
static int order_answers(ky_results *r, const ky_unit *u, ky_err *err)
{
    uint32_t n = u->predictions.n;

    if (n > r->cap_order) {
        ky_answer_order *grown = realloc(r->order, 2 * (size_t)n * sizeof(*grown));

        if (grown == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory to order %u predictions", n);
        r->order = grown;
        r->cap_order = 2 * (size_t)n;
    }
    for (uint32_t i = 0; i < n; i++) {
        const ky_row_prediction *p = &u->predictions.row[i];

        r->order[i] = (ky_answer_order){ (uint64_t)p->stream << 16 | p->model, i };
    }
    qsort(r->order, n, sizeof(*r->order), compare_order);
    return KY_OK;
}

/* A number that a kept statement gives, NULL as 0. */
static int one_number(ky_results *r, enum ky_statement which, int64_t *ret, ky_err *err)
{
    sqlite3_stmt *s = ky_results_kept(r, which);
    int rc = KY_OK;

    if (s != NULL && sqlite3_step(s) == SQLITE_ROW)
        *ret = sqlite3_column_int64(s, 0);
    else
        rc = ky_results_fail(r, "looking where answers end", err);
    sqlite3_reset(s);
    return rc;
}

/* Moves the newest runs among the others when there are enough for a page to take several. */
static int settle(ky_results *r, uint32_t runs, ky_err *err)
{
    int64_t enough = (int64_t)SETTLE_UNITS * runs;
    int rc;

    r->unsettled += runs;
    if (r->unsettled < SETTLE_RUNS || (r->unsettled < enough && r->unsettled < SETTLE_MOST))
        return KY_OK;
    rc = ky_results_run(r, ky_results_kept(r, KY_SQL_SETTLE), "settling runs of answers", err);
    if (rc == KY_OK)
        rc = ky_results_run(r, ky_results_kept(r, KY_SQL_SETTLED), "settling runs of answers", err);
    r->unsettled = 0;
    return rc;
}

int ky_answers_put(ky_results *r, const ky_unit *u, ky_err *err)
{
    waiting w = { 0 };
    run v = { 0 };
    uint32_t n = u->predictions.n, runs = 0;
    int rc;

    if (n == 0)
        return KY_OK;
    rc = order_answers(r, u, err);
    if (rc == KY_OK)
        rc = one_number(r, KY_SQL_LAST_ANSWER, &v.first, err);
    if (rc == KY_OK && r->unsettled < 0)
        rc = one_number(r, KY_SQL_UNSETTLED, &r->unsettled, err);
    v.first++;
    for (uint32_t i = 0; rc == KY_OK && i < n; i += v.n, v.first += v.n, runs++) {
        v.at = &r->order[i];
        for (v.n = 1; v.n < RUN_MOST && i + v.n < n && v.at[v.n].series == v.at->series;)
            v.n++;
        rc = put_run(r, u, &v, &w, err);
    }
    if (rc == KY_OK)
        rc = put_waiting(r, u, &w, err);
    return rc == KY_OK ? settle(r, runs, err) : rc;
}

/* -- the step of a late label -- */

/* What a label says of its step: a series' numbers, and its key by seq or by ts. */
typedef struct search {
    ky_results *r;
    int64_t series, want;
    int column; /* of the statements: 1 seq, 2 ts */
} search;

/* Looks back over the newest answers, which most late labels mean, for the last with this key. */
static int64_t find_recent(const search *f)
{
    sqlite3_stmt *s = ky_results_kept(f->r, KY_SQL_NEWEST_STEPS);
    int64_t n = KY_NONE;

    for (int level = 1, left = LOOK_BACK; n == KY_NONE && level >= 0 && left > 0; level--) {
        sqlite3_bind_int(s, 1, level);
        sqlite3_bind_int64(s, 2, f->series);
        sqlite3_bind_int(s, 3, left);
        for (; n == KY_NONE && sqlite3_step(s) == SQLITE_ROW; left--)
            if (ky_column_time(s, f->column) == f->want)
                n = sqlite3_column_int64(s, 0);
        sqlite3_reset(s);
    }
    return n;
}

/* The first logged step at or behind n; false if there is none. */
static bool step_from(const search *f, int64_t n, int64_t *ret_n, int64_t *ret_key)
{
    sqlite3_stmt *s = ky_results_kept(f->r, KY_SQL_STEP_FROM);
    bool found = false;

    for (int level = 0; !found && level <= 1; level++) {
        sqlite3_bind_int(s, 1, level);
        sqlite3_bind_int64(s, 2, f->series);
        sqlite3_bind_int64(s, 3, n);
        found = sqlite3_step(s) == SQLITE_ROW;
        if (found) {
            *ret_n = sqlite3_column_int64(s, 0);
            *ret_key = ky_column_time(s, f->column);
        }
        sqlite3_reset(s);
    }
    return found;
}

/* Older steps are searched by halves: seq and ts grow with n within one epoch of the sender. There
 * is no index for it, which would cost every prediction as much again. */
static int64_t find_old(const search *f)
{
    int64_t low = 0, high = INT64_C(1) << 62, best = KY_NONE;

    while (low < high) {
        int64_t mid = low + (high - low) / 2, n, key;

        if (!step_from(f, mid, &n, &key) || key > f->want) {
            high = mid;
            continue;
        }
        if (key == f->want)
            best = n; /* perhaps not the last with this key */
        low = n + 1;
    }
    return best;
}

int64_t ky_answers_find(ky_results *r, uint32_t stream, int64_t seq, int64_t ts_us)
{
    search f = { .r = r, .want = seq != KY_NONE ? seq : ts_us, .column = seq != KY_NONE ? 1 : 2 };
    sqlite3_stmt *s = ky_results_kept(r, KY_SQL_SERIES_OF);
    int64_t n = KY_NONE;

    if (f.want == KY_NONE)
        return KY_NONE;
    sqlite3_bind_int64(s, 1, stream);
    while (n == KY_NONE && sqlite3_step(s) == SQLITE_ROW) {
        f.series = sqlite3_column_int64(s, 0);
        n = find_recent(&f);
        if (n == KY_NONE)
            n = find_old(&f);
    }
    sqlite3_reset(s);
    return n;
}
