/*
 * Dropout (Srivastava et al. 2014), inverted as Keras does it: in training each value is
 * kept with probability 1-rate and scaled by 1/(1-rate); otherwise nothing happens.
 * The tape holds the factor of every value.
 */
#include "models/layer_tools.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 256 };

static int shape(ky_layer *l, ky_err *err)
{
    if (!(l->cfg.rate >= 0 && l->cfg.rate < 1))
        return ky_fail(err, KY_EINVAL, "rate is %g, must be at least 0 and less than 1",
                       l->cfg.rate);
    return ky_shape_unchanged(l, err);
}

static size_t values(const ky_layer *l, int B, int T)
{
    return (size_t)B * (size_t)T * ky_shape_step(&l->in);
}

/* Draws a block of factors, one uniform number below the rate or not each; in integers and
 * without a branch, which would be guessed wrong half the time. */
static void draw(ky_rng *rng, double rate, int n, ky_real *factor)
{
    const ky_real of[2] = { (ky_real)1 / (1 - (ky_real)rate), 0 };
    uint64_t u[BLOCK], dropped = (uint64_t)ceil(rate * 0x1p53);

    ky_rng_fill(rng, u, (size_t)n);
    for (int i = 0; i < n; i++)
        factor[i] = of[u[i] >> 11 < dropped];
}

void ky_dropout_draw(ky_rng *rng, double rate, size_t n, ky_real *factor)
{
    for (size_t at = 0; at < n; at += BLOCK)
        draw(rng, rate, n - at < BLOCK ? (int)(n - at) : BLOCK, factor + at);
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    size_t n = values(l, c->B, c->T);
    ky_real factor[BLOCK];

    (void)k, (void)p, (void)w;
    if (!c->training) {
        memcpy(y, x, n * sizeof(*y));
        return;
    }
    for (size_t at = 0; at < n; at += BLOCK) {
        int len = n - at < BLOCK ? (int)(n - at) : BLOCK;

        draw(c->rng, l->cfg.rate, len, factor);
        for (int i = 0; i < len; i++)
            y[at + i] = x[at + i] * factor[i];
        if (c->tape != NULL)
            memcpy(c->tape + at, factor, (size_t)len * sizeof(*factor));
    }
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    size_t n = values(l, c->B, c->T);

    (void)k, (void)p, (void)w, (void)x, (void)y, (void)dw;
    if (dx == NULL)
        return;
    if (!c->training) {
        memcpy(dx, dy, n * sizeof(*dx));
        return;
    }
    for (size_t i = 0; i < n; i++)
        dx[i] = dy[i] * c->tape[i];
}

static const ky_field fields[] = {
    { "rate", KY_F_FLOAT, KY_FIELD(rate), 0, 0 },
    { 0 },
};

const ky_layer_ops ky_dropout_ops = {
    .class_name = "Dropout",
    .view = true,
    .masking = KY_MASK_PASSES,
    .fields = fields,
    .shape = shape,
    .n_tape = values,
    .window = window,
    .backward = backward,
};
