#include "models/evaluate.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "models/plan.h"
#include "models/pool.h"

/* Rows a thread answers at once. Answers do not depend on it (P2). */
enum { BLOCK = 64 };

/* One piece of a stream's life: rows whose state goes on from each to the next. */
typedef struct chain {
    const uint32_t *rows;
    int n;
} chain;

typedef struct answering {
    const ky_model *m;
    const ky_dataset *d;
    ky_walk walk;  /* the rows at hand: chains, rows and y are of those */
    ky_plan *plan; /* NULL: whole windows */
    chain *chains; /* [n_chains], over `rows` */
    int n_chains;
    uint32_t *rows;
    float *y;
    int outputs;
    void **desk;        /* [workers] a ky_wave or a ky_work */
    float **window;     /* [workers] BLOCK rows side by side, of whole windows */
    char **states;      /* [workers] BLOCK states of the plan */
    size_t state_bytes; /* rounded up to 64 */
    atomic_int silent;  /* rows without an answer */
    atomic_int answered;
    void (*told)(int rows, void *arg); /* by worker 0, which is the caller; NULL: nobody */
    void *arg;
} answering;

typedef struct by_group {
    uint32_t group, row;
    int64_t ts;
} by_group;

static int compare_groups(const void *a, const void *b)
{
    const by_group *x = a, *y = b;

    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->ts != y->ts)
        return x->ts < y->ts ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* The rows at hand into chains: one a row, or where the state is carried one a group. */
static int link_chains(answering *a, ky_err *err)
{
    const ky_dataset *d = a->d;
    bool linked = d->carried && d->group != NULL && a->plan != NULL;
    size_t N = (size_t)a->walk.n;
    by_group *g = malloc(N * sizeof *g);

    free(a->rows);
    free(a->chains);
    a->n_chains = 0;
    a->rows = malloc(N * sizeof *a->rows);
    a->chains = malloc(N * sizeof *a->chains);
    if (g == NULL || a->rows == NULL || a->chains == NULL) {
        free(g);
        return ky_fail(err, KY_ENOMEM, "no memory for answers to %zu sequences", N);
    }
    for (size_t i = 0; i < N; i++)
        g[i] = (by_group){ .group = linked ? d->group[i] : 0,
                           .row = (uint32_t)i,
                           .ts = linked && d->ts != NULL ? d->ts[i] : 0 };
    if (linked)
        qsort(g, N, sizeof *g, compare_groups);
    for (size_t i = 0; i < N; i++) {
        a->rows[i] = g[i].row;
        if (!linked || i == 0 || g[i].group != g[i - 1].group)
            a->chains[a->n_chains++] = (chain){ .rows = a->rows + i, .n = 0 };
        a->chains[a->n_chains - 1].n++;
    }
    free(g);
    return KY_OK;
}

/* So many rows more. */
static void tell(answering *a, int rows, int worker)
{
    int n = atomic_fetch_add(&a->answered, rows) + rows;

    if (worker == 0 && a->told != NULL)
        a->told(n, a->arg);
}

/* T steps of up to BLOCK rows, each on from its state; returns how many got no answer. */
static int step_rows(answering *a, ky_wave *w, int B, const uint32_t *row, void *const *state)
{
    const ky_dataset *d = a->d;
    const float *x[BLOCK];
    float *y[BLOCK];
    bool now[BLOCK], ever[BLOCK] = { false };
    int silent = 0;

    for (int r = 0; r < B; r++)
        y[r] = a->y + (size_t)row[r] * (size_t)a->outputs;
    for (int t = 0; t < d->T; t++) {
        for (int r = 0; r < B; r++)
            x[r] = a->walk.x[row[r]] + (size_t)t * (size_t)d->F;
        ky_plan_step(a->plan, w, B, x, state, y, now);
        for (int r = 0; r < B; r++)
            ever[r] |= now[r];
    }
    for (int r = 0; r < B; r++)
        silent += !ever[r];
    return silent;
}

/* One block of chains: the first rows of all, the second rows of those that have one, ... */
static void answer_stepping(void *arg, int i, int worker)
{
    answering *a = arg;
    chain *c = a->chains + (size_t)i * BLOCK;
    int n = a->n_chains - i * BLOCK < BLOCK ? a->n_chains - i * BLOCK : BLOCK, longest = 0;
    int silent = 0;

    for (int j = 0; j < n; j++) {
        ky_plan_zero(a->plan, a->states[worker] + (size_t)j * a->state_bytes);
        if (c[j].n > longest)
            longest = c[j].n;
    }
    for (int k = 0; k < longest; k++) {
        uint32_t row[BLOCK];
        void *state[BLOCK];
        int B = 0;

        for (int j = 0; j < n; j++)
            if (k < c[j].n) {
                row[B] = c[j].rows[k];
                state[B++] = a->states[worker] + (size_t)j * a->state_bytes;
            }
        silent += step_rows(a, a->desk[worker], B, row, state);
        tell(a, B, worker);
    }
    atomic_fetch_add(&a->silent, silent);
}

static void answer_windows(void *arg, int i, int worker)
{
    answering *a = arg;
    size_t len = ky_dataset_len(a->d);
    int first = i * BLOCK, B = a->walk.n - first < BLOCK ? a->walk.n - first : BLOCK;

    for (int r = 0; r < B; r++)
        memcpy(a->window[worker] + (size_t)r * len, a->walk.x[first + r], len * sizeof(float));
    ky_model_predict(a->m, a->desk[worker], B, a->d->T, a->window[worker],
                     a->y + (size_t)first * (size_t)a->outputs);
    tell(a, B, worker);
}

static int check_shapes(const ky_model *m, const ky_dataset *d, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);

    if (d->N < 1 || d->T < 1)
        return ky_fail(err, KY_ESHAPE, "no sequences to answer");
    if (f->n_inputs != 1 || f->n_outputs != 1)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "model '%s' has %d inputs and %d outputs; only one of each can be scored",
                       f->name, f->n_inputs, f->n_outputs);
    if (d->carried && d->group != NULL && d->source != NULL)
        return ky_fail(err, KY_EUNSUPPORTED, "streams with carried state must be in memory");
    if (d->F != f->features)
        return ky_fail(err, KY_ESHAPE, "the data have %d values a step, model '%s' takes %d", d->F,
                       f->name, f->features);
    if (!ky_model_fits(m, d->T))
        return ky_fail(err, KY_ESHAPE, "the data have %d steps a sequence, model '%s' takes %d%s",
                       d->T, f->name, f->window,
                       f->window == 0 ? " (any that all layers fit)" : "");
    return KY_OK;
}

/* The path a model is served by: stepped with memory, else over a ring of the last T samples. */
static int plan_for(const ky_model *m, const ky_dataset *d, ky_plan **ret, ky_err *err)
{
    int rc = ky_plan_new(m, KY_MEMORY_STREAM, 0, 1, ret, err);

    if (rc == KY_EUNSUPPORTED && !d->carried)
        rc = ky_plan_new(m, KY_MEMORY_WINDOW, d->T, 1, ret, err);
    return rc;
}

static int set_desks(answering *a, int workers, ky_err *err)
{
    a->desk = calloc((size_t)workers, sizeof *a->desk);
    a->states = calloc((size_t)workers, sizeof *a->states);
    a->window = calloc((size_t)workers, sizeof *a->window);
    if (a->desk == NULL || a->states == NULL || a->window == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for %d threads", workers);
    if (a->plan != NULL)
        a->state_bytes = (ky_plan_state_bytes(a->plan) + 63) / 64 * 64;
    for (int i = 0; i < workers; i++) {
        if (a->plan != NULL) {
            a->desk[i] = ky_wave_new(a->plan, BLOCK);
            a->states[i] = aligned_alloc(64, BLOCK * (a->state_bytes + 64));
        } else {
            a->desk[i] = ky_work_new(a->m, a->d->T, BLOCK);
            a->window[i] = malloc(BLOCK * ky_dataset_len(a->d) * sizeof(float));
        }
        if (a->desk[i] == NULL || (a->plan != NULL ? a->states[i] == NULL : a->window[i] == NULL))
            return ky_fail(err, KY_ENOMEM, "no memory to run model '%s'",
                           ky_model_facts(a->m)->name);
    }
    return KY_OK;
}

static void clear_desks(answering *a, int workers)
{
    for (int i = 0; i < workers; i++) {
        if (a->desk != NULL && a->plan != NULL)
            ky_wave_free(a->desk[i]);
        else if (a->desk != NULL)
            ky_work_free(a->desk[i]);
        if (a->states != NULL)
            free(a->states[i]);
        if (a->window != NULL)
            free(a->window[i]);
    }
    free(a->desk);
    free(a->states);
    free(a->window);
}

/* All rows at hand. */
static int answer_rows(answering *a, ky_pool *pool, ky_err *err)
{
    int rc = a->plan != NULL ? link_chains(a, err) : KY_OK;

    if (rc < 0)
        return rc;
    if (a->plan != NULL)
        ky_pool_run(pool, (a->n_chains + BLOCK - 1) / BLOCK, answer_stepping, a);
    else
        ky_pool_run(pool, (a->walk.n + BLOCK - 1) / BLOCK, answer_windows, a);
    a->y += (size_t)a->walk.n * (size_t)a->outputs;
    return KY_OK;
}

static int answer_all(answering *a, ky_pool *pool, ky_err *err)
{
    int rc = ky_walk_begin(&a->walk, a->d, err);

    while (rc >= 0 && (rc = ky_walk_next(&a->walk, err)) > 0)
        rc = answer_rows(a, pool, err);
    if (rc >= 0 && atomic_load(&a->silent) > 0)
        rc = ky_fail(err, KY_ESHAPE, "model '%s' gives no answer within %d steps",
                     ky_model_facts(a->m)->name, a->d->T);
    ky_walk_done(&a->walk);
    return rc;
}

int ky_answer(const ky_model *m, const ky_dataset *d, enum ky_path path, int threads, float *y,
              ky_err *err)
{
    return ky_answer_telling(m, d, path, threads, y, NULL, NULL, err);
}

int ky_answer_telling(const ky_model *m, const ky_dataset *d, enum ky_path path, int threads,
                      float *y, void (*told)(int rows, void *arg), void *arg, ky_err *err)
{
    answering a = { .m = m, .d = d, .y = y, .told = told, .arg = arg };
    ky_pool *pool = NULL;
    int workers = 0, rc = check_shapes(m, d, err);

    a.outputs = ky_model_facts(m)->outputs;
    if (rc < 0)
        return rc;
    if (path == KY_PATH_SERVED && (rc = plan_for(m, d, &a.plan, err)) < 0)
        return rc;
    pool = ky_pool_new(threads);
    if (pool == NULL) {
        rc = ky_fail(err, KY_ENOMEM, "no memory for threads");
        goto out;
    }
    workers = ky_pool_workers(pool);
    if ((rc = set_desks(&a, workers, err)) == KY_OK)
        rc = answer_all(&a, pool, err);
out:
    ky_pool_free(pool);
    clear_desks(&a, workers);
    ky_plan_free(a.plan);
    free(a.chains);
    free(a.rows);
    return rc;
}

/* What there is to measure; p is still missing. */
static ky_answered answered_to(const ky_model *m, const ky_dataset *d, enum ky_truth truth)
{
    const ky_model_info *f = ky_model_facts(m);

    return (ky_answered){ .truth = truth,
                          .probabilities = f->probabilities,
                          .N = d->N,
                          .C = truth == KY_OF_CLASSES && f->outputs == 1 ? 2 : f->outputs,
                          .outputs = f->outputs,
                          .y = d->y,
                          .target = d->target,
                          .group = d->group };
}

/* Figures without intervals as a score. */
static int score(const ky_answered *a, ky_score *ret, ky_err *err)
{
    ky_metrics s;
    int rc = ky_measure(a, 0, 0, 1, &s, err);

    if (rc < 0)
        return rc;
    *ret = (ky_score){ .N = s.N,
                       .C = s.C,
                       .accuracy = s.figure[KY_ACCURACY].value,
                       .macro_f1 = s.figure[KY_MACRO_F1].value,
                       .log_loss = s.figure[KY_LOG_LOSS].value,
                       .confusion = s.confusion };
    s.confusion = NULL;
    ky_metrics_done(&s);
    return KY_OK;
}

int ky_score_answers(const ky_dataset *d, const float *y, int outputs, ky_score *ret, ky_err *err)
{
    const ky_answered a = { .truth = KY_OF_CLASSES,
                            .probabilities = true,
                            .N = d->N,
                            .C = outputs == 1 ? 2 : outputs,
                            .outputs = outputs,
                            .y = d->y,
                            .p = y };

    return score(&a, ret, err);
}

/* Answers of the serving path, from malloc. */
static int answer_served(const ky_model *m, const ky_dataset *d, int threads, float **ret,
                         ky_err *err)
{
    float *y =
        malloc((size_t)(d->N > 0 ? d->N : 1) * (size_t)ky_model_facts(m)->outputs * sizeof *y);
    int rc;

    if (y == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for answers to %d sequences", d->N);
    rc = ky_answer(m, d, KY_PATH_SERVED, threads, y, err);
    if (rc < 0)
        free(y);
    else
        *ret = y;
    return rc;
}

int ky_evaluate(const ky_model *m, const ky_dataset *d, int threads, ky_score *ret, ky_err *err)
{
    float *y = NULL;
    int rc = answer_served(m, d, threads, &y, err);

    if (rc == KY_OK)
        rc = ky_score_answers(d, y, ky_model_facts(m)->outputs, ret, err);
    free(y);
    return rc;
}

int ky_evaluate_with(const ky_model *m, const ky_dataset *d, enum ky_truth truth, int resamples,
                     uint64_t seed, int threads, float **ret_p, ky_metrics *ret, ky_err *err)
{
    ky_answered a = answered_to(m, d, truth);
    float *y = NULL;
    int rc;

    if (truth != KY_OF_CLASSES && d->C != a.C)
        return ky_fail(err, KY_ESHAPE, "the data have %d targets a row, the model %d outputs", d->C,
                       a.C);
    if ((rc = answer_served(m, d, threads, &y, err)) < 0)
        return rc;
    a.p = y;
    rc = ky_measure(&a, resamples, seed, threads, ret, err);
    if (rc < 0 || ret_p == NULL)
        free(y);
    else
        *ret_p = y;
    return rc;
}
