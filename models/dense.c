/*
 * Dense: y = act(x W + b) along the last axis, for every step. The tape holds x W + b where the
 * activation's slope does not follow from y.
 */
#include "models/layer_tools.h"

static int shape(ky_layer *l, ky_err *err)
{
    int F = ky_features(&l->in), N = l->cfg.units;
    int rc = ky_layer_range("units", N, 1, err);

    if (rc < 0)
        return rc;
    ky_layer_declare(l, "kernel", true, F, N, 0);
    if (l->cfg.use_bias)
        ky_layer_declare(l, "bias", true, N, 0, 0);
    l->out = l->in;
    l->out.d[l->out.rank - 1] = N;
    l->form = KY_POINTWISE;
    return KY_OK;
}

static void init(const ky_layer *l, ky_real *w, ky_rng *rng)
{
    ky_init_glorot(w, l->weights[0].len, ky_features(&l->in), l->cfg.units, rng);
}

static int pack(const ky_layer *l, const ky_kernels *k, const ky_real *w, bool backward,
                ky_packed *ret)
{
    int F = ky_features(&l->in), N = l->cfg.units;

    ret->mat = k->mat_new(F, N, w, l->cfg.use_bias ? w + l->weights[1].at : NULL);
    if (backward)
        ret->back_x = ky_pack_transposed(k, F, N, w);
    return ret->mat == NULL || (backward && ret->back_x == NULL) ? KY_ENOMEM : KY_OK;
}

static void multiply(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, ky_real *y)
{
    int R = ky_row_count(&l->in, c->B, c->T), F = ky_features(&l->in), N = l->cfg.units;

    (void)w;
    ky_rows(k, p->mat, F, R, x, F, y, N, l->cfg.activation);
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_activated_window(l, k, p, w, c, x, y, multiply);
}

/* dL/d(x W + b) */
static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    (void)p;
    return backward ? (size_t)ky_row_count(&l->in, B, T) * (size_t)l->cfg.units : 0;
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    int R = ky_row_count(&l->in, c->B, c->T), F = ky_features(&l->in), N = l->cfg.units;
    const ky_real *dz = dy;

    (void)w;
    if (l->cfg.activation != KY_LINEAR) {
        ky_activation_back(k, l->cfg.activation, R, N, c->tape, y, dy, c->scratch);
        dz = c->scratch;
    }
    k->gemm_tn(F, N, R, x, F, dz, N, dw, N);
    if (l->cfg.use_bias)
        k->colsum(N, R, dz, N, dw + l->weights[1].at);
    if (dx != NULL)
        ky_rows(k, p->back_x, N, R, dz, N, dx, F, KY_LINEAR);
}

static size_t macs(const ky_layer *l, int T)
{
    return (size_t)ky_row_count(&l->in, 1, T) * l->weights[0].len;
}

static const ky_field fields[] = {
    { "units", KY_F_INT, KY_FIELD(units), 0, 0 },
    { "activation", KY_F_ACTIVATION, KY_FIELD(activation), KY_LINEAR, 0 },
    { "use_bias", KY_F_BOOL, KY_FIELD(use_bias), true, 0 },
    { 0 },
};

const ky_layer_ops ky_dense_ops = {
    .class_name = "Dense",
    .masking = KY_MASK_PASSES,
    .fields = fields,
    .shape = shape,
    .init = init,
    .pack = pack,
    .n_scratch = n_scratch,
    .n_tape = ky_activated_tape,
    .window = window,
    .backward = backward,
    .macs = macs,
};
