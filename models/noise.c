/*
 * Layers that only do something in training: the kin of Dropout, and GaussianNoise. In use they
 * hand on what they get. The tape holds what dx is dy times, for each value that was drawn. What
 * ActivityRegularization adds to the loss, and to the gradient, is in gradient.c.
 */
#include "models/layer_tools.h"

#include <string.h>
#include <tgmath.h>

static size_t values(const ky_layer *l, int B, int T)
{
    return (size_t)B * (size_t)T * ky_shape_step(&l->in);
}

static bool drops(const ky_layer *l, const ky_call *c)
{
    return c->training && l->cfg.rate > 0;
}

static int rate_shape(ky_layer *l, ky_err *err)
{
    if (!(l->cfg.rate >= 0 && l->cfg.rate <= 1))
        return ky_fail(err, KY_EINVAL, "rate is %g, must be within 0 and 1", l->cfg.rate);
    if (l->cfg.rate == 1)
        l->no_training = "it drops everything";
    return ky_shape_unchanged(l, err);
}

static void pass_on(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                    const ky_call *c, const ky_real *x, ky_real *y)
{
    (void)k, (void)p, (void)w;
    memcpy(y, x, values(l, c->B, c->T) * sizeof(*y));
}

/* -- SpatialDropout: whole channels of a row ------------------------------------------------ */

static size_t channel_tape(const ky_layer *l, int B, int T)
{
    (void)T;
    return (size_t)B * (size_t)ky_features(&l->in);
}

/* In the place of a tape. */
static size_t channel_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    (void)p;
    return backward ? 0 : channel_tape(l, B, T);
}

/* y = x times the factor of its channel. */
static void by_channel(const ky_layer *l, const ky_call *c, const ky_real *factor, const ky_real *x,
                       ky_real *y)
{
    size_t C = (size_t)ky_features(&l->in), n = values(l, 1, c->T) / C;

    for (size_t r = 0; r < (size_t)c->B; r++)
        for (size_t i = 0; i < n; i++, x += C, y += C)
            for (size_t j = 0; j < C; j++)
                y[j] = x[j] * factor[r * C + j];
}

static void spatial(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                    const ky_call *c, const ky_real *x, ky_real *y)
{
    size_t n = channel_tape(l, c->B, c->T);
    ky_real kept = (ky_real)1 / (1 - (ky_real)l->cfg.rate);
    ky_real *factor = c->tape != NULL ? c->tape : c->scratch;

    if (!drops(l, c)) {
        pass_on(l, k, p, w, c, x, y);
        return;
    }
    for (size_t i = 0; i < n; i++)
        factor[i] = ky_rng_uniform(c->rng) < l->cfg.rate ? 0 : kept;
    by_channel(l, c, factor, x, y);
}

static void spatial_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_real *w, const ky_call *c, const ky_real *x, const ky_real *y,
                         const ky_real *dy, ky_real *dx, ky_real *dw)
{
    (void)x, (void)y, (void)dw;
    if (dx != NULL && drops(l, c))
        by_channel(l, c, c->tape, dy, dx);
    else if (dx != NULL)
        pass_on(l, k, p, w, c, dy, dx);
}

/* -- a factor for each value ----------------------------------------------------------------- */

static void by_value(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    size_t n = values(l, c->B, c->T);

    (void)x, (void)y, (void)dw;
    if (dx != NULL && !drops(l, c))
        pass_on(l, k, p, w, c, dy, dx);
    for (size_t i = 0; dx != NULL && drops(l, c) && i < n; i++)
        dx[i] = dy[i] * c->tape[i];
}

/* Times a normal number of mean 1 and variance rate / (1 - rate). */
static void gaussian_dropout(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                             const ky_real *w, const ky_call *c, const ky_real *x, ky_real *y)
{
    size_t n = values(l, c->B, c->T);
    double deviation = sqrt(l->cfg.rate / (1 - l->cfg.rate));

    if (!drops(l, c)) {
        pass_on(l, k, p, w, c, x, y);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        ky_real factor = (ky_real)(1 + deviation * ky_rng_normal(c->rng));

        y[i] = x[i] * factor;
        if (c->tape != NULL)
            c->tape[i] = factor;
    }
}

/*
 * What is dropped becomes what SELU makes of minus infinity; all is then scaled and shifted so
 * that mean 0 and variance 1 stay (Klambauer et al. 2017).
 */
static void alpha_dropout(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                          const ky_real *w, const ky_call *c, const ky_real *x, ky_real *y)
{
    const double least = -1.6732632423543772 * 1.0507009873554805, rate = l->cfg.rate;
    double a = 1 / sqrt((1 - rate) * (1 + rate * least * least)), b = -a * least * rate;
    size_t n = values(l, c->B, c->T);

    if (!drops(l, c)) {
        pass_on(l, k, p, w, c, x, y);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        bool kept = ky_rng_uniform(c->rng) >= rate;

        y[i] = kept ? (ky_real)a * x[i] + (ky_real)b : (ky_real)(a * least + b);
        if (c->tape != NULL)
            c->tape[i] = kept ? (ky_real)a : 0;
    }
}

/* -- GaussianNoise --------------------------------------------------------------------------- */

static int noise_shape(ky_layer *l, ky_err *err)
{
    if (!(l->cfg.stddev >= 0))
        return ky_fail(err, KY_EINVAL, "stddev is %g, must be at least 0", l->cfg.stddev);
    return ky_shape_unchanged(l, err);
}

static void noise(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                  const ky_call *c, const ky_real *x, ky_real *y)
{
    size_t n = values(l, c->B, c->T);

    pass_on(l, k, p, w, c, x, y);
    for (size_t i = 0; c->training && i < n; i++)
        y[i] += (ky_real)(l->cfg.stddev * ky_rng_normal(c->rng));
}

static void back_as_it_is(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                          const ky_real *w, const ky_call *c, const ky_real *x, const ky_real *y,
                          const ky_real *dy, ky_real *dx, ky_real *dw)
{
    (void)x, (void)y, (void)dw;
    if (dx != NULL)
        pass_on(l, k, p, w, c, dy, dx);
}

/* -- ActivityRegularization ------------------------------------------------------------------ */

static int regularization_shape(ky_layer *l, ky_err *err)
{
    if (!isfinite(l->cfg.l1) || !isfinite(l->cfg.l2))
        return ky_fail(err, KY_EINVAL, "l1 %g, l2 %g: must be finite", l->cfg.l1, l->cfg.l2);
    return ky_shape_unchanged(l, err);
}

static const ky_field rate_fields[] = {
    { "rate", KY_F_FLOAT, KY_FIELD(rate), 0, 0 },
    { 0 },
};

static const ky_field noise_fields[] = {
    { "stddev", KY_F_FLOAT, KY_FIELD(stddev), 0, 0 },
    { 0 },
};

static const ky_field regularization_fields[] = {
    { "l1", KY_F_FLOAT, KY_FIELD(l1), 0, 0 },
    { "l2", KY_F_FLOAT, KY_FIELD(l2), 0, 0 },
    { 0 },
};

#define DROPOUT(class, tape, scratch, forward, back)                                               \
    {                                                                                              \
        .class_name = class, .fields = rate_fields, .masking = KY_MASK_PASSES,                     \
        .shape = rate_shape, .n_tape = tape, .n_scratch = scratch, .window = forward,              \
        .backward = back                                                                           \
    }

const ky_layer_ops ky_spatial_dropout_1d_ops =
    DROPOUT("SpatialDropout1D", channel_tape, channel_scratch, spatial, spatial_back);
const ky_layer_ops ky_spatial_dropout_2d_ops =
    DROPOUT("SpatialDropout2D", channel_tape, channel_scratch, spatial, spatial_back);
const ky_layer_ops ky_spatial_dropout_3d_ops =
    DROPOUT("SpatialDropout3D", channel_tape, channel_scratch, spatial, spatial_back);
const ky_layer_ops ky_gaussian_dropout_ops =
    DROPOUT("GaussianDropout", values, NULL, gaussian_dropout, by_value);
const ky_layer_ops ky_alpha_dropout_ops =
    DROPOUT("AlphaDropout", values, NULL, alpha_dropout, by_value);

const ky_layer_ops ky_gaussian_noise_ops = {
    .class_name = "GaussianNoise",
    .fields = noise_fields,
    .masking = KY_MASK_PASSES,
    .shape = noise_shape,
    .window = noise,
    .backward = back_as_it_is,
};

const ky_layer_ops ky_activity_regularization_ops = {
    .class_name = "ActivityRegularization",
    .fields = regularization_fields,
    .masking = KY_MASK_PASSES,
    .shape = regularization_shape,
    .window = pass_on,
    .backward = back_as_it_is,
};
