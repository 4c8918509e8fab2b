#include "models/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/loss.h"
#include "models/model.h"
#include "models/pool.h"
#include "models/rng.h"

/* What the figures need of a row, worked out once. */
typedef struct row {
    int32_t is, says;
    double confidence, loss, brier; /* loss and brier: of labels the mean of theirs */
} row;

/* Sums of one class, label or number. */
typedef struct part {
    double truly, claimed, both, right;
    double off, squares;  /* |r|, r^2 */
    double above, spread; /* t - its mean over all rows, and that squared */
} part;

typedef struct bin {
    double n, confidence, right;
} bin;

/* Sums over rows, from which every figure follows. */
typedef struct tally {
    double rows, right, loss, brier;
    bin bins[KY_BINS];
    part *parts; /* [C] */
} tally;

/* What a thread draws with. */
typedef struct desk {
    uint32_t *times; /* [n_units] that each was drawn */
    tally sums;
} desk;

typedef struct measuring {
    ky_answered a;
    row *rows;      /* [N] */
    double *mean;   /* [C] of numbers */
    uint32_t *unit; /* [N] what each row is drawn with */
    int n_units;
    desk *desks;    /* [workers] */
    double *values; /* [KY_FIGURES, resamples] */
    int resamples;
    uint64_t seed;
} measuring;

/* ---- sums ---- */

/* Classes: what is said, and how it is paid for. */
static row row_of_class(const ky_answered *a, int i)
{
    const float *p = a->p + (size_t)i * (size_t)a->outputs;
    row r = { .is = a->y[i] };
    double truth;

    if (a->outputs == 1) {
        double second = (double)p[0];

        r.says = p[0] > 0.5f;
        r.confidence = r.says ? second : 1 - second;
        truth = r.is ? second : 1 - second;
        r.brier = 2 * (1 - truth) * (1 - truth);
    } else {
        for (int c = 0; c < a->C; c++) {
            double off = (double)p[c] - (c == r.is);

            if (p[c] > p[r.says])
                r.says = c;
            r.brier += off * off;
        }
        r.confidence = (double)p[r.says];
        truth = (double)p[r.is];
    }
    r.loss = ky_loss_of(truth);
    return r;
}

static row row_of_labels(const ky_answered *a, int i)
{
    row r = { 0 };

    for (int c = 0; c < a->C; c++) {
        double p = (double)a->p[(size_t)i * (size_t)a->C + (size_t)c];
        double t = a->target[(size_t)i * (size_t)a->C + (size_t)c] > 0.5f;

        r.loss += ky_loss_of(t > 0 ? p : 1 - p) / a->C;
        r.brier += (p - t) * (p - t) / a->C;
    }
    return r;
}

static void add_to_bin(tally *s, double confidence, bool right, double times)
{
    int b = confidence < 1 ? (int)(fmax(confidence, 0) * KY_BINS) : KY_BINS - 1; /* NaN: the last */
    bin *to = &s->bins[b];

    to->n += times;
    to->confidence += times * confidence;
    to->right += right ? times : 0;
}

static void add_class(const measuring *m, int i, double times, tally *s)
{
    const row *r = m->rows + i;
    bool hit = r->is == r->says;

    s->right += hit ? times : 0;
    s->parts[r->is].truly += times;
    s->parts[r->says].claimed += times;
    s->parts[r->is].both += hit ? times : 0;
    if (m->a.probabilities)
        add_to_bin(s, r->confidence, hit, times);
}

static void add_labels(const measuring *m, int i, double times, tally *s)
{
    for (int c = 0; c < m->a.C; c++) {
        size_t at = (size_t)i * (size_t)m->a.C + (size_t)c;
        bool is = m->a.target[at] > 0.5f, says = m->a.p[at] > 0.5f;
        part *p = s->parts + c;

        p->truly += is ? times : 0;
        p->claimed += says ? times : 0;
        p->both += is && says ? times : 0;
        p->right += is == says ? times : 0;
        if (m->a.probabilities)
            add_to_bin(s, (double)m->a.p[at], is, times);
    }
}

static void add_numbers(const measuring *m, int i, double times, tally *s)
{
    for (int c = 0; c < m->a.C; c++) {
        size_t at = (size_t)i * (size_t)m->a.C + (size_t)c;
        double t = (double)m->a.target[at], r = (double)m->a.p[at] - t, above = t - m->mean[c];
        part *p = s->parts + c;

        p->off += times * fabs(r);
        p->squares += times * r * r;
        p->above += times * above;
        p->spread += times * above * above;
    }
}

/* How each kind of truth is worked on. */
static const struct kind {
    row (*row)(const ky_answered *a, int i); /* NULL: nothing of a row is needed */
    void (*add)(const measuring *m, int i, double times, tally *s);
} kinds[] = { [KY_OF_CLASSES] = { row_of_class, add_class },
              [KY_OF_LABELS] = { row_of_labels, add_labels },
              [KY_OF_NUMBERS] = { NULL, add_numbers } };

static void clear(tally *s, int C)
{
    part *parts = s->parts;

    memset(parts, 0, (size_t)C * sizeof *parts);
    *s = (tally){ .parts = parts };
}

static void add_row(const measuring *m, int i, double times, tally *s)
{
    s->rows += times;
    if (m->rows != NULL) {
        s->loss += times * m->rows[i].loss;
        s->brier += times * m->rows[i].brier;
    }
    kinds[m->a.truth].add(m, i, times, s);
}

/* ---- figures ---- */

static double ratio(double a, double b)
{
    return b > 0 ? a / b : NAN;
}

static double f1_of(const part *p)
{
    return ratio(2 * p->both, p->truly + p->claimed);
}

static double r2_of(const part *p, double rows)
{
    double spread = p->spread - p->above * p->above / rows;

    /* What is constant in these rows differs from its mean by rounding alone. */
    return spread > 1e-12 * p->spread && spread > 0 ? 1 - p->squares / spread : NAN;
}

static double accuracy(const tally *s, int C)
{
    double right = s->right;

    for (int c = 0; c < C; c++)
        right += s->parts[c].right / C; /* labels; 0 of classes */
    return ratio(right, s->rows);
}

/* The mean of what there is. */
static double mean_of(const tally *s, int C, double (*of)(const part *p, double rows))
{
    double sum = 0;
    int n = 0;

    for (int c = 0; c < C; c++) {
        double v = of(s->parts + c, s->rows);

        if (!isnan(v)) {
            sum += v;
            n++;
        }
    }
    return ratio(sum, n);
}

static double f1_of_rows(const part *p, double rows)
{
    (void)rows;
    return f1_of(p);
}

static double macro_f1(const tally *s, int C)
{
    return mean_of(s, C, f1_of_rows);
}

static double log_loss(const tally *s, int C)
{
    (void)C;
    return ratio(s->loss, s->rows);
}

static double brier(const tally *s, int C)
{
    (void)C;
    return ratio(s->brier, s->rows);
}

static double ece(const tally *s, int C)
{
    double n = 0, off = 0;

    (void)C;
    for (int b = 0; b < KY_BINS; b++) {
        n += s->bins[b].n;
        off += fabs(s->bins[b].right - s->bins[b].confidence);
    }
    return ratio(off, n);
}

static double mae_of(const part *p, double rows)
{
    return ratio(p->off, rows);
}

static double square_of(const part *p, double rows)
{
    return ratio(p->squares, rows);
}

static double mae(const tally *s, int C)
{
    return mean_of(s, C, mae_of);
}

static double rmse(const tally *s, int C)
{
    return sqrt(mean_of(s, C, square_of));
}

static double r2(const tally *s, int C)
{
    return mean_of(s, C, r2_of);
}

enum { CLASSES = 1 << KY_OF_CLASSES, LABELS = 1 << KY_OF_LABELS, NUMBERS = 1 << KY_OF_NUMBERS };

static const struct figure {
    const char *name, *title;
    double (*value)(const tally *s, int C);
    int of;
    bool probabilities; /* only of answers that are */
    bool biased; /* larger in a resample than in the rows: its percentiles are moved by as much */
} figures[KY_FIGURES] = {
    [KY_ACCURACY] = { "accuracy", "accuracy", accuracy, CLASSES | LABELS, false, false },
    [KY_MACRO_F1] = { "macro_f1", "macro F1", macro_f1, CLASSES | LABELS, false, false },
    [KY_LOG_LOSS] = { "log_loss", "log loss", log_loss, CLASSES | LABELS, true, false },
    [KY_BRIER] = { "brier", "Brier score", brier, CLASSES | LABELS, true, false },
    [KY_ECE] = { "ece", "ECE", ece, CLASSES | LABELS, true, true },
    [KY_MAE] = { "mae", "MAE", mae, NUMBERS, false, false },
    [KY_RMSE] = { "rmse", "RMSE", rmse, NUMBERS, false, false },
    [KY_R2] = { "r2", "R2", r2, NUMBERS, false, false },
};

const char *ky_figure_name(enum ky_figure f)
{
    return figures[f].name;
}

const char *ky_figure_title(enum ky_figure f)
{
    return figures[f].title;
}

static double value_of(const measuring *m, enum ky_figure f, const tally *s)
{
    bool told =
        (figures[f].of & 1 << m->a.truth) != 0 && (m->a.probabilities || !figures[f].probabilities);

    return told ? figures[f].value(s, m->a.C) : NAN;
}

/* ---- intervals ---- */

ky_estimate ky_wilson(double hits, double n)
{
    const double z = 1.959963984540054; /* 97.5 % of the normal distribution lie below */
    double middle = hits + z * z / 2;
    double half = z * sqrt(hits * (n - hits) / n + z * z / 4);

    if (!(n > 0))
        return (ky_estimate){ NAN, NAN, NAN };
    return (ky_estimate){ hits / n, fmax(0, (middle - half) / (n + z * z)),
                          fmin(1, (middle + half) / (n + z * z)) };
}

typedef struct keyed {
    uint32_t group, row;
} keyed;

static int compare_keys(const void *a, const void *b)
{
    const keyed *x = a, *y = b;

    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* What is drawn as a whole: rows, or groups where there are two or more; how many groups. */
static int set_units(measuring *m, ky_err *err)
{
    size_t N = (size_t)m->a.N;
    keyed *k = malloc(N * sizeof *k);
    int groups = 0;

    m->unit = malloc(N * sizeof *m->unit);
    if (k == NULL || m->unit == NULL) {
        free(k);
        return ky_fail(err, KY_ENOMEM, "no memory to resample %zu rows", N);
    }
    for (size_t i = 0; i < N; i++)
        k[i] = (keyed){ m->a.group != NULL ? m->a.group[i] : 0, (uint32_t)i };
    qsort(k, N, sizeof *k, compare_keys);
    for (size_t i = 0; i < N; i++) {
        groups += i == 0 || k[i].group != k[i - 1].group;
        m->unit[k[i].row] = (uint32_t)groups - 1;
    }
    free(k);
    m->n_units = groups;
    if (groups >= 2)
        return groups;
    m->n_units = m->a.N;
    for (size_t i = 0; i < N; i++)
        m->unit[i] = (uint32_t)i;
    return 0;
}

/* Draws as many units as there are, then goes through the rows in their order: what is drawn at
 * random is small enough to stay in the cache. */
static void resample(void *arg, int b, int worker)
{
    measuring *m = arg;
    desk *d = m->desks + worker;
    ky_rng rng;

    ky_rng_seed(&rng, ky_hash(m->seed, &b, sizeof b));
    memset(d->times, 0, (size_t)m->n_units * sizeof *d->times);
    for (int i = 0; i < m->n_units; i++)
        d->times[ky_rng_below(&rng, (uint64_t)m->n_units)]++;
    clear(&d->sums, m->a.C);
    for (int i = 0; i < m->a.N; i++)
        if (d->times[m->unit[i]] > 0)
            add_row(m, i, d->times[m->unit[i]], &d->sums);
    for (int f = 0; f < KY_FIGURES; f++)
        m->values[(size_t)f * (size_t)m->resamples + (size_t)b] = value_of(m, f, &d->sums);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Between its two neighbours where it falls between them (Hyndman and Fan 1996, type 7). */
static double quantile(const double *sorted, int n, double q)
{
    double at = q * (n - 1);
    int i = (int)at;

    return i + 1 < n ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

static void set_interval(const measuring *m, enum ky_figure f, ky_estimate *e)
{
    double *v = m->values + (size_t)f * (size_t)m->resamples, sum = 0, bias;
    int n = 0;

    for (int b = 0; b < m->resamples; b++)
        if (!isnan(v[b])) /* a draw of nothing but one number has no R2 */
            sum += v[n++] = v[b];
    qsort(v, (size_t)n, sizeof *v, compare_doubles);
    if (n == 0 || isnan(e->value))
        return;
    bias = figures[f].biased ? sum / n - e->value : 0;
    e->low = quantile(v, n, 0.025) - bias;
    e->high = quantile(v, n, 0.975) - bias;
    if (figures[f].biased)
        e->low = fmax(e->low, 0);
}

/* A seed's neighbours would share all but the order of their resamples, each of which has the hash
 * of its number for a seed. */
static uint64_t far_apart(uint64_t seed)
{
    ky_rng rng;

    ky_rng_seed(&rng, seed);
    return ky_rng_u64(&rng);
}

static int set_desks(measuring *m, int workers, ky_err *err)
{
    bool whole = true;

    m->desks = calloc((size_t)workers + 1, sizeof *m->desks);
    m->values = malloc((size_t)KY_FIGURES * (size_t)m->resamples * sizeof *m->values);
    for (int i = 0; i < workers && m->desks != NULL; i++) {
        m->desks[i].times = malloc((size_t)m->n_units * sizeof *m->desks[i].times);
        m->desks[i].sums.parts = malloc((size_t)m->a.C * sizeof *m->desks[i].sums.parts);
        whole &= m->desks[i].times != NULL && m->desks[i].sums.parts != NULL;
    }
    if (m->desks == NULL || m->values == NULL || !whole)
        return ky_fail(err, KY_ENOMEM, "no memory for %d resamples", m->resamples);
    return KY_OK;
}

static int bootstrap(measuring *m, int threads, ky_metrics *s, ky_err *err)
{
    ky_pool *pool = ky_pool_new(threads);
    int workers = pool != NULL ? ky_pool_workers(pool) : 0, rc;

    rc = pool != NULL ? set_desks(m, workers, err)
                      : ky_fail(err, KY_ENOMEM, "no memory for threads");
    if (rc == KY_OK) {
        ky_pool_run(pool, m->resamples, resample, m);
        for (int f = 0; f < KY_FIGURES; f++)
            set_interval(m, f, &s->figure[f]);
    }
    for (int i = 0; i < workers && m->desks != NULL; i++) {
        free(m->desks[i].times);
        free(m->desks[i].sums.parts);
    }
    ky_pool_free(pool);
    return rc;
}

/* ---- all of it ---- */

static int check(const ky_answered *a, ky_err *err)
{
    if (a->N < 1 || a->C < 1)
        return ky_fail(err, KY_ESHAPE, "no rows to score");
    for (int i = 0; i < a->N && a->truth == KY_OF_CLASSES; i++)
        if (a->y[i] < 0 || a->y[i] >= a->C)
            return ky_fail(err, KY_ESHAPE, "row %d: class %d, the model knows 0..%d", i, a->y[i],
                           a->C - 1);
    return KY_OK;
}

/* What is worked out before any sum. */
static int prepare(measuring *m, ky_err *err)
{
    size_t N = (size_t)m->a.N, C = (size_t)m->a.C;
    row (*of)(const ky_answered *a, int i) = kinds[m->a.truth].row;

    m->mean = calloc(C, sizeof *m->mean);
    m->rows = of != NULL ? malloc(N * sizeof *m->rows) : NULL;
    if (m->mean == NULL || (of != NULL && m->rows == NULL))
        return ky_fail(err, KY_ENOMEM, "no memory to score %zu rows", N);
    for (size_t i = 0; i < N && of != NULL; i++)
        m->rows[i] = of(&m->a, (int)i);
    for (size_t i = 0; i < N * C && m->a.truth == KY_OF_NUMBERS; i++)
        m->mean[i % C] += (double)m->a.target[i] / m->a.N;
    return KY_OK;
}

static ky_metrics_each each_of(const measuring *m, const part *p)
{
    double rows = m->a.N;
    bool classes = m->a.truth == KY_OF_CLASSES, numbers = m->a.truth == KY_OF_NUMBERS;

    if (numbers)
        return (ky_metrics_each){ .support = rows,
                                  .precision = NAN,
                                  .recall = NAN,
                                  .f1 = NAN,
                                  .accuracy = NAN,
                                  .mae = p->off / rows,
                                  .rmse = sqrt(p->squares / rows),
                                  .r2 = r2_of(p, rows) };
    return (ky_metrics_each){ .support = p->truly,
                              .said = p->claimed,
                              .hits = p->both,
                              .precision = ratio(p->both, p->claimed),
                              .recall = ratio(p->both, p->truly),
                              .f1 = f1_of(p),
                              /* Of a class against all others. */
                              .accuracy = classes ? 1 - (p->truly + p->claimed - 2 * p->both) / rows
                                                  : p->right / rows,
                              .mae = NAN,
                              .rmse = NAN,
                              .r2 = NAN };
}

/* The figures of all rows, and the tables. */
static int add_up(measuring *m, ky_metrics *s, ky_err *err)
{
    size_t C = (size_t)m->a.C;
    tally all = { .parts = calloc(C, sizeof *all.parts) };

    s->each = calloc(C, sizeof *s->each);
    s->confusion = m->a.truth == KY_OF_CLASSES ? calloc(C * C, sizeof *s->confusion) : NULL;
    if (all.parts == NULL || s->each == NULL ||
        (s->confusion == NULL && m->a.truth == KY_OF_CLASSES)) {
        free(all.parts);
        return ky_fail(err, KY_ENOMEM, "no memory for the figures of %zu classes", C);
    }
    for (int i = 0; i < m->a.N; i++) {
        add_row(m, i, 1, &all);
        if (s->confusion != NULL)
            s->confusion[(size_t)m->rows[i].is * C + (size_t)m->rows[i].says]++;
    }
    for (int f = 0; f < KY_FIGURES; f++)
        s->figure[f] = (ky_estimate){ value_of(m, f, &all), NAN, NAN };
    for (size_t c = 0; c < C; c++)
        s->each[c] = each_of(m, all.parts + c);
    for (int b = 0; b < KY_BINS; b++)
        s->bin[b] = (ky_metrics_bin){ all.bins[b].n, ratio(all.bins[b].confidence, all.bins[b].n),
                                      ratio(all.bins[b].right, all.bins[b].n) };
    free(all.parts);
    return KY_OK;
}

int ky_measure(const ky_answered *a, int resamples, uint64_t seed, int threads, ky_metrics *ret,
               ky_err *err)
{
    measuring m = { .a = *a, .resamples = resamples, .seed = far_apart(seed) };
    ky_metrics s = { .truth = a->truth, .N = a->N, .C = a->C, .resamples = resamples };
    int rc = check(a, err);

    if (rc < 0 || (rc = prepare(&m, err)) < 0 || (rc = add_up(&m, &s, err)) < 0 ||
        (rc = set_units(&m, err)) < 0)
        goto out;
    s.groups = rc;
    rc = resamples > 0 ? bootstrap(&m, threads, &s, err) : KY_OK;
    if (a->truth == KY_OF_CLASSES && s.groups == 0)
        s.figure[KY_ACCURACY] = ky_wilson(s.figure[KY_ACCURACY].value * a->N, a->N);
out:
    free(m.rows);
    free(m.mean);
    free(m.unit);
    free(m.desks);
    free(m.values);
    if (rc < 0)
        ky_metrics_done(&s);
    else
        *ret = s;
    return rc;
}

void ky_metrics_done(ky_metrics *s)
{
    free(s->each);
    free(s->confusion);
    s->each = NULL;
    s->confusion = NULL;
}

int ky_metrics_confused(const ky_metrics *s, ky_metrics_pair *ret, int most)
{
    int n = 0;

    for (int i = 0; i < s->C * s->C; i++) {
        ky_metrics_pair pair = { i / s->C, i % s->C, s->confusion[i] };
        int at = n;

        if (pair.truly == pair.said || pair.rows == 0)
            continue;
        while (at > 0 && ret[at - 1].rows < pair.rows)
            at--;
        if (at == most)
            continue;
        n = n < most ? n + 1 : most;
        memmove(ret + at + 1, ret + at, (size_t)(n - 1 - at) * sizeof *ret);
        ret[at] = pair;
    }
    return n;
}
