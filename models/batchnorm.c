/*
 * BatchNormalization (Ioffe and Szegedy 2015), a mean and a scale for each place of one axis:
 *
 *     y = (x - mean) scale + beta,   scale = gamma / sqrt(variance + epsilon)
 *
 * with the moving statistics, or, in training a trainable layer, those of the call's rows
 * and steps (biased variance), but for steps that are masked, as in Keras 3. Without scale
 * and center, not trainable, it is how kymo keeps the normalisation of inputs inside the
 * model. The mean is taken off first: folding it into the offset would cost the digits of a
 * channel that is far from zero.
 *
 * The tape holds the batch's mean [C] and variance [C].
 */
#include "models/axes.h"
#include "models/layer_tools.h"

#include <stdlib.h>
#include <string.h>
#include <tgmath.h>

enum { GAMMA, BETA, MEAN, VARIANCE };

static const char *const names[] = { "gamma", "beta", "moving_mean", "moving_variance" };

static ky_axes axes_of(const ky_layer *l)
{
    ky_axes a;

    ky_axes_find(l, &(ky_dims){ .n = 1, .d = { l->cfg.axis } }, &a, NULL);
    return a;
}

/* Places of the axis. */
static int channels(const ky_layer *l)
{
    int place = ky_axis_place(l->in.rank, l->cfg.axis);

    return place < 0 ? 0 : l->in.d[place];
}

static int shape(ky_layer *l, ky_err *err)
{
    int C = channels(l), rc;
    ky_axes a;

    if ((rc = ky_axes_find(l, &(ky_dims){ .n = 1, .d = { l->cfg.axis } }, &a, err)) < 0 ||
        (rc = ky_axes_shape(l, &a, true, "it has a mean and a scale for each step", err)) < 0)
        return rc;
    if (!(l->cfg.epsilon >= 0) || !(l->cfg.momentum >= 0 && l->cfg.momentum <= 1))
        return ky_fail(err, KY_EINVAL,
                       "epsilon is %g and momentum %g, must be at least 0 and within 0 and 1",
                       l->cfg.epsilon, l->cfg.momentum);
    if (l->cfg.scale)
        ky_layer_declare(l, names[GAMMA], true, C, 0, 0);
    if (l->cfg.center)
        ky_layer_declare(l, names[BETA], true, C, 0, 0);
    ky_layer_declare(l, names[MEAN], false, C, 0, 0);
    ky_layer_declare(l, names[VARIANCE], false, C, 0, 0);
    return KY_OK;
}

static int steps(const ky_layer *l, int T)
{
    return l->no_step != NULL && T != l->in.d[0] ? 0 : l->out.timed ? T : 1;
}

/* The place of one of the four in a slice; NULL if the layer has none such. */
static ky_real *part(const ky_layer *l, ky_real *slice, int which)
{
    for (int i = 0; i < l->n_weights; i++)
        if (l->weights[i].name == names[which])
            return slice + l->weights[i].at;
    return NULL;
}

static const ky_real *const_part(const ky_layer *l, const ky_real *slice, int which)
{
    return part(l, (ky_real *)(uintptr_t)slice, which);
}

static void init(const ky_layer *l, ky_real *w, ky_rng *rng)
{
    ky_real *ones[] = { part(l, w, GAMMA), part(l, w, VARIANCE) };

    (void)rng;
    for (int i = 0; i < 2; i++)
        for (int c = 0; ones[i] != NULL && c < channels(l); c++)
            ones[i][c] = 1;
}

static ky_real scale_of(const ky_layer *l, const ky_real *gamma, const ky_real *variance, int c)
{
    return (gamma != NULL ? gamma[c] : 1) / sqrt(variance[c] + (ky_real)l->cfg.epsilon);
}

/* scale [C] with the moving statistics */
static int pack(const ky_layer *l, const ky_kernels *k, const ky_real *w, bool backward,
                ky_packed *ret)
{
    int C = channels(l);

    (void)k, (void)backward;
    if ((ret->v = malloc((size_t)C * sizeof(*ret->v))) == NULL)
        return KY_ENOMEM;
    for (int c = 0; c < C; c++)
        ret->v[c] = scale_of(l, const_part(l, w, GAMMA), const_part(l, w, VARIANCE), c);
    return KY_OK;
}

/* -- forward --------------------------------------------------------------------- */

/* Groups of a value for each place of the axis. */
static int rows(const ky_layer *l, const ky_call *c)
{
    return (int)((size_t)c->B * (size_t)c->T * ky_shape_step(&l->in) / (size_t)channels(l));
}

static bool by_batch(const ky_layer *l, const ky_call *c)
{
    return c->training && l->trainable;
}

static size_t n_tape(const ky_layer *l, int B, int T)
{
    (void)B, (void)T;
    return 2 * (size_t)channels(l);
}

/* Beside what the axes want: mean, variance, scale where there is no tape, and four doubles a
 * channel. */
static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    size_t C = (size_t)channels(l), doubles = sizeof(double) / sizeof(ky_real);
    ky_axes a = axes_of(l);

    (void)p, (void)B, (void)backward;
    return ky_lines(2 * ky_axes_scratch(l, &a, T)) + ky_lines(3 * C) + ky_lines(4 * C * doubles);
}

static ky_real *reals_of(const ky_layer *l, const ky_call *c)
{
    ky_axes a = axes_of(l);

    return c->scratch + ky_lines(2 * ky_axes_scratch(l, &a, c->T));
}

/* Sums of a call, [C] each; made zero here. */
typedef struct sums {
    const ky_real *mean;
    double *first;  /* of x, or of dy */
    double *second; /* of squares, or of dy (x - mean) */
    double *scale;  /* of dx; not a sum, as the next */
    double *inverse;
    const uint8_t *mask; /* [rows] which of them count; NULL: all */
    size_t seen;         /* rows, in this pass over them */
    int R;               /* how many count */
} sums;

/* The mask where it is one of the rows: of steps with a mean for each of their values. */
static const uint8_t *mask_of(const ky_layer *l, const ky_call *c)
{
    return l->in.rank == 2 && axes_of(l).last && c->in != NULL ? c->in[0].mask : NULL;
}

static sums sums_of(const ky_layer *l, const ky_call *c, const ky_real *mean)
{
    size_t C = (size_t)channels(l);
    double *s = (double *)(void *)(reals_of(l, c) + ky_lines(3 * C));
    sums all = { mean, s, s + C, s + 2 * C, s + 3 * C, mask_of(l, c), 0, rows(l, c) };

    memset(s, 0, 2 * C * sizeof(*s));
    for (int r = rows(l, c) - 1; all.mask != NULL && r >= 0; r--)
        all.R -= !all.mask[r];
    all.R = all.R > 0 ? all.R : 1;
    return all;
}

static bool counts(const sums *s, int r)
{
    return s->mask == NULL || s->mask[s->seen + (size_t)r];
}

/* One pass over all rows. */
static void pass(const ky_layer *l, const ky_call *c, const ky_real *x, const ky_real *dy,
                 ky_real *dx, ky_axes_back_op *op, sums *s)
{
    ky_axes a = axes_of(l);

    s->seen = 0;
    ky_axes_back(l, &a, c, x, dy, dx, op, s);
}

static void sum_up(void *to, int R, int C, const ky_real *x, const ky_real *dy, ky_real *dx)
{
    sums *s = to;

    (void)dy, (void)dx;
    for (int r = 0; r < R; r++, x += C)
        for (int c = 0, n = counts(s, r) ? C : 0; c < n; c++)
            s->first[c] += (double)x[c];
    s->seen += (size_t)R;
}

static void sum_squares(void *to, int R, int C, const ky_real *x, const ky_real *dy, ky_real *dx)
{
    sums *s = to;

    (void)dy, (void)dx;
    for (int r = 0; r < R; r++, x += C)
        for (int c = 0, n = counts(s, r) ? C : 0; c < n; c++) {
            double d = (double)x[c] - s->first[c];

            s->second[c] += d * d;
        }
    s->seen += (size_t)R;
}

/* Mean and biased variance of a call, accumulated in double, row after row. */
static void moments(const ky_layer *l, const ky_call *c, const ky_real *x, ky_real *mean,
                    ky_real *variance)
{
    sums s = sums_of(l, c, NULL);
    int C = channels(l);

    pass(l, c, x, NULL, NULL, sum_up, &s);
    for (int i = 0; i < C; i++)
        s.first[i] /= s.R;
    pass(l, c, x, NULL, NULL, sum_squares, &s);
    for (int i = 0; i < C; i++) {
        mean[i] = (ky_real)s.first[i];
        variance[i] = (ky_real)(s.second[i] / s.R);
    }
}

/* What the groups of a call are normalised by, [C] each. */
typedef struct moved {
    const ky_real *mean, *scale, *beta; /* beta: or NULL */
} moved;

static void normalise(const void *context, int R, int C, const ky_real *x, ky_real *y)
{
    const moved *by = context;

    for (int r = 0; r < R; r++, x += C, y += C) {
        for (int i = 0; i < C; i++)
            y[i] = (x[i] - by->mean[i]) * by->scale[i];
        for (int i = 0; by->beta != NULL && i < C; i++)
            y[i] = y[i] + by->beta[i];
    }
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    int C = channels(l);
    moved by = { const_part(l, w, MEAN), p->v, const_part(l, w, BETA) };
    ky_axes a = axes_of(l);

    (void)k;
    if (by_batch(l, c)) {
        ky_real *at = c->tape != NULL ? c->tape : reals_of(l, c), *own = reals_of(l, c) + 2 * C;

        moments(l, c, x, at, at + C);
        for (int i = 0; i < C; i++)
            own[i] = scale_of(l, const_part(l, w, GAMMA), at + C, i);
        by.mean = at;
        by.scale = own;
    }
    ky_axes_apply(l, &a, c, x, y, normalise, &by);
}

/* -- backward -------------------------------------------------------------------- */

static void dy_sums(void *to, int R, int C, const ky_real *x, const ky_real *dy, ky_real *dx)
{
    const sums *s = to;

    (void)dx;
    for (int r = 0; r < R; r++, x += C, dy += C)
        for (int i = 0; i < C; i++) {
            s->first[i] += (double)dy[i];
            s->second[i] += (double)dy[i] * (double)(x[i] - s->mean[i]);
        }
}

static void weight_gradients(const ky_layer *l, const ky_call *c, const ky_real *variance,
                             const sums *s, ky_real *dw)
{
    int C = channels(l);
    ky_real *gamma = part(l, dw, GAMMA), *beta = part(l, dw, BETA);
    ky_real *mean = part(l, dw, MEAN), *var = part(l, dw, VARIANCE);

    for (int i = 0; i < C; i++) {
        if (gamma != NULL)
            gamma[i] += (ky_real)(s->second[i] * (double)scale_of(l, NULL, variance, i));
        if (beta != NULL)
            beta[i] += (ky_real)s->first[i];
        if (by_batch(l, c)) { /* for the moving statistics to follow */
            mean[i] += c->tape[i];
            var[i] += c->tape[C + i];
        }
    }
}

/* The statistics do not move with x. */
static void dx_of_fixed(void *scale, int R, int C, const ky_real *x, const ky_real *dy, ky_real *dx)
{
    const ky_real *by = scale;

    (void)x;
    for (int r = 0; r < R; r++, dy += C, dx += C)
        for (int i = 0; i < C; i++)
            dx[i] = dy[i] * by[i];
}

/* The batch's mean and variance moved with x, too, where it counts. */
static void dx_of_batch(void *from, int R, int C, const ky_real *x, const ky_real *dy, ky_real *dx)
{
    sums *s = from;

    for (int r = 0; r < R; r++, x += C, dy += C, dx += C)
        for (int i = 0; i < C; i++) {
            double d = (double)(x[i] - s->mean[i]) * s->inverse[i] * s->second[i];
            double drawn = counts(s, r) ? (s->first[i] + d) / s->R : 0;

            dx[i] = (ky_real)(s->scale[i] * ((double)dy[i] - drawn));
        }
    s->seen += (size_t)R;
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    int C = channels(l);
    bool batch = by_batch(l, c);
    const ky_real *variance = batch ? c->tape + C : const_part(l, w, VARIANCE);
    sums s = sums_of(l, c, batch ? c->tape : const_part(l, w, MEAN));
    ky_axes a = axes_of(l);

    (void)k, (void)y;
    if (l->trainable) {
        pass(l, c, x, dy, NULL, dy_sums, &s);
        weight_gradients(l, c, variance, &s, dw);
    }
    if (dx == NULL)
        return;
    for (int i = 0; batch && i < C; i++) {
        s.scale[i] = (double)scale_of(l, const_part(l, w, GAMMA), variance, i);
        s.inverse[i] = 1 / ((double)variance[i] + l->cfg.epsilon);
    }
    if (batch)
        pass(l, c, x, dy, dx, dx_of_batch, &s);
    else
        ky_axes_back(l, &a, c, x, dy, dx, dx_of_fixed, p->v);
}

static size_t macs(const ky_layer *l, int T)
{
    return (size_t)T * ky_shape_step(&l->in);
}

static const ky_field fields[] = {
    { "axis", KY_F_INT, KY_FIELD(axis), -1, 0 },
    { "momentum", KY_F_FLOAT, KY_FIELD(momentum), 0.99, 0 },
    { "epsilon", KY_F_FLOAT, KY_FIELD(epsilon), 1e-3, 0 },
    { "center", KY_F_BOOL, KY_FIELD(center), true, 0 },
    { "scale", KY_F_BOOL, KY_FIELD(scale), true, 0 },
    { 0 },
};

const ky_layer_ops ky_batchnorm_ops = {
    .class_name = "BatchNormalization",
    .masking = KY_MASK_PASSES,
    .fields = fields,
    .shape = shape,
    .steps = steps,
    .init = init,
    .pack = pack,
    .n_scratch = n_scratch,
    .n_tape = n_tape,
    .window = window,
    .backward = backward,
    .macs = macs,
};
