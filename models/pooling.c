/*
 * MaxPooling and AveragePooling, 1D and 2D. Padding never counts: it is no candidate for the
 * maximum, and an average divides by the number of real inputs.
 */
#include "models/local.h"

static bool takes_max(const ky_layer *l)
{
    return l->ops == &ky_max_pooling_ops || l->ops == &ky_max_pooling_2d_ops;
}

/* A pool is a kernel without weights. Keras: without strides they are the pool's own size. */
static int shape(ky_layer *l, int rank, ky_err *err)
{
    for (int i = 0; i < rank - 1; i++) {
        l->cfg.kernel_size[i] = l->cfg.pool_size[i];
        l->cfg.dilation_rate[i] = 1;
        if (l->cfg.strides[i] == 0)
            l->cfg.strides[i] = l->cfg.pool_size[i];
    }
    if (l->cfg.padding == KY_CAUSAL)
        return ky_fail(err, KY_EINVAL, "padding is 'causal', must be 'valid' or 'same'");
    return ky_local_shape(l, rank, "pool_size", ky_features(&l->in), err);
}

static int shape_1d(ky_layer *l, ky_err *err)
{
    return shape(l, 2, err);
}

static int shape_2d(ky_layer *l, ky_err *err)
{
    return shape(l, 3, err);
}

static void pools(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                  const ky_plane *g, int B, ky_real *scratch, const ky_real *x, ky_real *y)
{
    (void)p, (void)w;
    ky_correlate_pools(k, !takes_max(l), g, B, scratch, x, y);
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_local_window(l, k, p, w, c, x, y, pools);
}

static void step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                 const ky_call *c, const ky_real *x, ky_real *y, bool *emit)
{
    ky_local_step(l, k, p, w, c, x, y, emit, pools);
}

static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    ky_plane g = ky_local_plane(l, T);
    size_t runs = ky_correlate_scratch(&g);

    (void)p;
    return backward ? runs : ky_local_scratch(l, B, T, runs);
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    ky_plane g = ky_local_plane(l, c->T);

    (void)k, (void)p, (void)w, (void)dw;
    if (dx != NULL)
        ky_correlate_pools_back(!takes_max(l), &g, c->B, c->scratch, x, y, dy, dx);
}

static const ky_field fields_1d[] = {
    { "pool_size", KY_F_INT, KY_FIELD(pool_size), 2, 1 },
    { "strides", KY_F_INT, KY_FIELD(strides), 0, 1 },
    { "padding", KY_F_PADDING, KY_FIELD(padding), KY_VALID, 0 },
    { 0 },
};

static const ky_field fields_2d[] = {
    { "pool_size", KY_F_INT, KY_FIELD(pool_size), 2, 2 },
    { "strides", KY_F_INT, KY_FIELD(strides), 0, 2 },
    { "padding", KY_F_PADDING, KY_FIELD(padding), KY_VALID, 0 },
    { 0 },
};

#define OPS                                                                                        \
    .steps = ky_local_steps, .n_scratch = n_scratch, .taps = ky_local_taps, .window = window,      \
    .step = step, .state_ok = ky_local_state_ok, .backward = backward
#define OPS_1D .fields = fields_1d, .shape = shape_1d, OPS
#define OPS_2D .fields = fields_2d, .shape = shape_2d, OPS

const ky_layer_ops ky_max_pooling_ops = { .class_name = "MaxPooling1D", OPS_1D };
const ky_layer_ops ky_average_pooling_ops = { .class_name = "AveragePooling1D", OPS_1D };
const ky_layer_ops ky_max_pooling_2d_ops = { .class_name = "MaxPooling2D", OPS_2D };
const ky_layer_ops ky_average_pooling_2d_ops = { .class_name = "AveragePooling2D", OPS_2D };
