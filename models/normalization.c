/*
 * Normalization: y = (x - mean) / deviation with what Keras's adapt() found, or, inverted, the
 * way back: y = mean + x deviation. A mean and a variance for each place of its axes, as weights,
 * or in the options, where fewer stand for the last axes.
 */
#include "models/axes.h"
#include "models/layer_tools.h"

#include <stdlib.h>
#include <tgmath.h>

static const double least_deviation = 1e-7; /* keras.config.epsilon() */

static ky_axes axes_of(const ky_layer *l)
{
    ky_axes a;

    ky_axes_find(l, &l->cfg.axes, &a, NULL);
    return a;
}

static int check_constants(const ky_layer *l, const ky_axes *a, ky_err *err)
{
    const ky_reals *mean = &l->cfg.mean, *variance = &l->cfg.variance;
    int last = a->n > 0 ? l->in.d[a->order[a->rank - 1]] : 1;

    if (mean->n != variance->n || (mean->n != 1 && mean->n != last))
        return ky_fail(err, KY_EINVAL,
                       "mean has %d numbers and variance %d, its last axis has %d places",
                       mean->n < 0 ? 0 : mean->n, variance->n < 0 ? 0 : variance->n, last);
    return KY_OK;
}

static int shape(ky_layer *l, ky_err *err)
{
    int d[KY_RANK], n = 0, rc;
    ky_axes a;

    if (l->cfg.axes.n < 0)
        l->cfg.axes = (ky_dims){ .n = 1, .d = { -1 } };
    if ((rc = ky_axes_find(l, &l->cfg.axes, &a, err)) < 0 ||
        (rc = ky_axes_shape(l, &a, true, "it has a mean for each step", err)) < 0)
        return rc;
    if (l->cfg.mean.n >= 0 || l->cfg.variance.n >= 0)
        return check_constants(l, &a, err);
    if (a.n > KY_MAX_WEIGHT_RANK)
        return ky_fail(err, KY_EUNSUPPORTED, "it goes over %d axes, at most %d are supported", a.n,
                       KY_MAX_WEIGHT_RANK);
    for (int i = a.rank - a.n; i < a.rank; i++)
        d[n++] = l->in.d[a.order[i]];
    ky_layer_declare_shape(l, "mean", false, n, d);
    ky_layer_declare_shape(l, "variance", false, n, d);
    return KY_OK;
}

static int steps(const ky_layer *l, int T)
{
    return l->no_step != NULL && T != l->in.d[0] ? 0 : l->out.timed ? T : 1;
}

static void init(const ky_layer *l, ky_real *w, ky_rng *rng)
{
    (void)rng;
    for (size_t i = 0; l->n_weights > 0 && i < l->weights[1].len; i++)
        w[l->weights[1].at + i] = 1;
}

/* mean [C], deviation [C] */
static int pack(const ky_layer *l, const ky_kernels *k, const ky_real *w, bool backward,
                ky_packed *ret)
{
    ky_axes a = axes_of(l);
    size_t C = ky_axes_len(l, &a, l->in.timed ? l->in.d[0] : 1);
    const ky_reals *mean = &l->cfg.mean, *variance = &l->cfg.variance;

    (void)k, (void)backward;
    if ((ret->v = malloc(2 * C * sizeof(*ret->v))) == NULL)
        return KY_ENOMEM;
    for (size_t i = 0; i < C; i++) {
        bool own = l->n_weights > 0;
        ky_real v = own ? w[l->weights[1].at + i] : (ky_real)variance->v[i % (size_t)variance->n];
        ky_real deviation = sqrt(v);

        ret->v[i] = own ? w[i] : (ky_real)mean->v[i % (size_t)mean->n];
        ret->v[C + i] = deviation > (ky_real)least_deviation ? deviation : (ky_real)least_deviation;
    }
    return KY_OK;
}

static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    ky_axes a = axes_of(l);

    (void)p, (void)B, (void)backward;
    return ky_axes_scratch(l, &a, T);
}

static void normalise(const void *packed, int R, int C, const ky_real *x, ky_real *y)
{
    const ky_real *mean = packed, *deviation = mean + C;

    for (int r = 0; r < R; r++, x += C, y += C)
        for (int i = 0; i < C; i++)
            y[i] = (x[i] - mean[i]) / deviation[i];
}

static void invert(const void *packed, int R, int C, const ky_real *x, ky_real *y)
{
    const ky_real *mean = packed, *deviation = mean + C;

    for (int r = 0; r < R; r++, x += C, y += C)
        for (int i = 0; i < C; i++)
            y[i] = mean[i] + x[i] * deviation[i];
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_axes a = axes_of(l);

    (void)k, (void)w;
    ky_axes_apply(l, &a, c, x, y, l->cfg.invert ? invert : normalise, p->v);
}

static void divide(const void *packed, int R, int C, const ky_real *dy, ky_real *dx)
{
    const ky_real *deviation = (const ky_real *)packed + C;

    for (int r = 0; r < R; r++, dy += C, dx += C)
        for (int i = 0; i < C; i++)
            dx[i] = dy[i] / deviation[i];
}

static void multiply(const void *packed, int R, int C, const ky_real *dy, ky_real *dx)
{
    const ky_real *deviation = (const ky_real *)packed + C;

    for (int r = 0; r < R; r++, dy += C, dx += C)
        for (int i = 0; i < C; i++)
            dx[i] = dy[i] * deviation[i];
}

/* Its statistics are adapt()'s, not training's: they stay as they are. */
static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    ky_axes a = axes_of(l);

    (void)k, (void)w, (void)x, (void)y, (void)dw;
    if (dx != NULL)
        ky_axes_apply(l, &a, c, dy, dx, l->cfg.invert ? multiply : divide, p->v);
}

static const ky_field fields[] = {
    { "axis", KY_F_DIMS, KY_FIELD(axes), -1, 0 },
    { "mean", KY_F_REALS, KY_FIELD(mean), 0, 0 },
    { "variance", KY_F_REALS, KY_FIELD(variance), 0, 0 },
    { "invert", KY_F_BOOL, KY_FIELD(invert), false, 0 },
    { 0 },
};

const ky_layer_ops ky_normalization_ops = {
    .class_name = "Normalization",
    .fields = fields,
    .masking = KY_MASK_PASSES,
    .shape = shape,
    .steps = steps,
    .init = init,
    .pack = pack,
    .n_scratch = n_scratch,
    .window = window,
    .backward = backward,
};
