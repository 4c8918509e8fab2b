/*
 * LayerNormalization (Ba et al. 2016) over any axes:
 *
 *     y = (x - mean) gamma / sqrt(variance + epsilon) + beta
 *
 * with the mean and the biased variance of each group. Keras's rms_scaling takes no mean off but
 * still divides by the deviation from it. Sums are one chain a group, in double.
 */
#include "models/axes.h"
#include "models/layer_tools.h"

#include <tgmath.h>

/* What the rows of a call need beside x. */
typedef struct context {
    const ky_layer *l;
    const ky_real *gamma, *beta; /* [C] or NULL */
    ky_real *dgamma, *dbeta;     /* likewise, for the way back */
} context;

static ky_axes axes_of(const ky_layer *l)
{
    ky_axes a;

    ky_axes_find(l, &l->cfg.axes, &a, NULL);
    return a;
}

static int shape(ky_layer *l, ky_err *err)
{
    bool rms = l->cfg.rms_scaling;
    int d[KY_RANK], rc, n = 0;
    ky_axes a;

    if (l->cfg.axes.n < 1)
        l->cfg.axes = (ky_dims){ .n = 1, .d = { -1 } };
    if (!(l->cfg.epsilon >= 0))
        return ky_fail(err, KY_EINVAL, "epsilon is %g, must be at least 0", l->cfg.epsilon);
    if ((rc = ky_axes_find(l, &l->cfg.axes, &a, err)) < 0 ||
        (rc = ky_axes_shape(l, &a, true, "it goes over the steps of a window", err)) < 0)
        return rc;
    if (a.n > KY_MAX_WEIGHT_RANK)
        return ky_fail(err, KY_EUNSUPPORTED, "it goes over %d axes, at most %d are supported", a.n,
                       KY_MAX_WEIGHT_RANK);
    for (int i = a.rank - a.n; i < a.rank; i++)
        d[n++] = l->in.d[a.order[i]];
    if (l->cfg.scale || rms)
        ky_layer_declare_shape(l, "gamma", true, n, d);
    if (l->cfg.center && !rms)
        ky_layer_declare_shape(l, "beta", true, n, d);
    return KY_OK;
}

static int steps(const ky_layer *l, int T)
{
    return l->no_step != NULL && T != l->in.d[0] ? 0 : l->out.timed ? T : 1;
}

static void init(const ky_layer *l, ky_real *w, ky_rng *rng)
{
    (void)rng;
    for (size_t i = 0; (l->cfg.scale || l->cfg.rms_scaling) && i < l->weights[0].len; i++)
        w[i] = 1;
}

static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    ky_axes a = axes_of(l);

    (void)p, (void)B;
    return (backward ? 2 : 1) * ky_axes_scratch(l, &a, T);
}

/* The mean of a group; ret_scale: 1 / sqrt(variance + epsilon). */
static double moments(const ky_layer *l, int C, const ky_real *x, ky_real *ret_scale)
{
    double sum = 0, squares = 0;

    for (int i = 0; i < C; i++)
        sum += (double)x[i];
    sum /= C;
    for (int i = 0; i < C; i++)
        squares += ((double)x[i] - sum) * ((double)x[i] - sum);
    *ret_scale = (ky_real)1 / sqrt((ky_real)(squares / C) + (ky_real)l->cfg.epsilon);
    return sum;
}

static void normalise(const void *ctx, int R, int C, const ky_real *x, ky_real *y)
{
    const context *n = ctx;

    for (int r = 0; r < R; r++, x += C, y += C) {
        ky_real scale, mean = (ky_real)moments(n->l, C, x, &scale);

        mean = n->l->cfg.rms_scaling ? 0 : mean;
        for (int i = 0; i < C; i++)
            y[i] = (x[i] - mean) * (n->gamma != NULL ? n->gamma[i] * scale : scale);
        for (int i = 0; n->beta != NULL && i < C; i++)
            y[i] += n->beta[i];
    }
}

static context context_of(const ky_layer *l, const ky_real *w, ky_real *dw)
{
    bool rms = l->cfg.rms_scaling, scaled = l->cfg.scale || rms;
    context n = { .l = l };

    if (scaled) {
        n.gamma = w;
        n.dgamma = dw;
    }
    if (l->cfg.center && !rms) {
        n.beta = w + l->weights[scaled ? 1 : 0].at;
        n.dbeta = dw != NULL ? dw + l->weights[scaled ? 1 : 0].at : NULL;
    }
    return n;
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_axes a = axes_of(l);
    context n = context_of(l, w, NULL);

    (void)k, (void)p;
    ky_axes_apply(l, &a, c, x, y, normalise, &n);
}

/* With g = dy gamma, s the scale and m the mean that was taken off, a group's
 *
 *     dx = s (g - mean(g) if one was taken off) - s^3 (x - mean) sum(g (x - m)) / C
 */
static void group_back(const context *n, int C, const ky_real *x, const ky_real *dy, ky_real *dx)
{
    ky_real scale;
    double mean = moments(n->l, C, x, &scale), sum = 0, along = 0, s = (double)scale;
    double m = n->l->cfg.rms_scaling ? 0 : mean;

    for (int i = 0; i < C; i++) {
        double g = (double)dy[i] * (n->gamma != NULL ? (double)n->gamma[i] : 1);

        sum += g;
        along += g * ((double)x[i] - m);
    }
    for (int i = 0; i < C; i++) {
        if (n->dgamma != NULL)
            n->dgamma[i] += dy[i] * (ky_real)(((double)x[i] - m) * s);
        if (n->dbeta != NULL)
            n->dbeta[i] += dy[i];
    }
    sum = n->l->cfg.rms_scaling ? 0 : sum / C;
    along = along / C * s * s * s;
    for (int i = 0; dx != NULL && i < C; i++) {
        double g = (double)dy[i] * (n->gamma != NULL ? (double)n->gamma[i] : 1);

        dx[i] = (ky_real)(s * (g - sum) - ((double)x[i] - mean) * along);
    }
}

static void groups_back(void *ctx, int R, int C, const ky_real *x, const ky_real *dy, ky_real *dx)
{
    for (int r = 0; r < R; r++, x += C, dy += C) {
        group_back(ctx, C, x, dy, dx);
        dx = dx != NULL ? dx + C : NULL;
    }
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    ky_axes a = axes_of(l);
    context n = context_of(l, w, dw);

    (void)k, (void)p, (void)y;
    ky_axes_back(l, &a, c, x, dy, dx, groups_back, &n);
}

/* As for BatchNormalization: those that scale; sums are not counted. */
static size_t macs(const ky_layer *l, int T)
{
    return (size_t)T * ky_shape_step(&l->in);
}

static const ky_field fields[] = {
    { "axis", KY_F_DIMS, KY_FIELD(axes), -1, 0 },
    { "epsilon", KY_F_FLOAT, KY_FIELD(epsilon), 1e-3, 0 },
    { "center", KY_F_BOOL, KY_FIELD(center), true, 0 },
    { "scale", KY_F_BOOL, KY_FIELD(scale), true, 0 },
    { "rms_scaling", KY_F_BOOL, KY_FIELD(rms_scaling), false, 0 },
    { 0 },
};

const ky_layer_ops ky_layernorm_ops = {
    .class_name = "LayerNormalization",
    .fields = fields,
    .masking = KY_MASK_PASSES,
    .shape = shape,
    .steps = steps,
    .init = init,
    .n_scratch = n_scratch,
    .window = window,
    .backward = backward,
    .macs = macs,
};
