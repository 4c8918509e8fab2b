/*
 * DepthwiseConv1D/2D: depth_multiplier filters for each channel, which sees no other channel;
 * output c*depth_multiplier + j is filter j of channel c. SeparableConv1D/2D: that without bias and
 * activation, then at each position a dense layer over its outputs.
 */
#include "models/local.h"

static bool is_separable(const ky_layer *l)
{
    return l->ops == &ky_separable_conv1d_ops || l->ops == &ky_separable_conv2d_ops;
}

/* Channels between the two halves of a separable layer; what a depthwise one gives. */
static int deep(const ky_layer *l)
{
    return ky_features(&l->in) * l->cfg.depth_multiplier;
}

static void declare_separable(ky_layer *l, int rank, const int *kernel)
{
    int point[KY_SPATIAL + 2] = { 1, 1 };

    point[rank - 1] = deep(l);
    point[rank] = l->cfg.filters;
    ky_layer_declare_shape(l, "depthwise_kernel", true, rank + 1, kernel);
    ky_layer_declare_shape(l, "pointwise_kernel", true, rank + 1, point);
    if (l->cfg.use_bias)
        ky_layer_declare(l, "bias", true, l->cfg.filters, 0, 0);
}

static int shape(ky_layer *l, int rank, ky_err *err)
{
    int d[KY_SPATIAL + 2] = { l->cfg.kernel_size[0], l->cfg.kernel_size[1] };
    int C = ky_features(&l->in), M = l->cfg.depth_multiplier, rc;

    if ((rc = ky_layer_range("depth_multiplier", M, 1, err)) < 0 ||
        (is_separable(l) && (rc = ky_layer_range("filters", l->cfg.filters, 1, err)) < 0))
        return rc;
    if ((int64_t)C * M > KY_MAX_DIM)
        return ky_fail(err, KY_EFULL, "depth_multiplier %d of %d channels is more than %d", M, C,
                       KY_MAX_DIM);
    rc = ky_local_shape(l, rank, "kernel_size", is_separable(l) ? l->cfg.filters : C * M, err);
    if (rc < 0)
        return rc;
    d[rank - 1] = C;
    d[rank] = M;
    if (is_separable(l)) {
        declare_separable(l, rank, d);
        return KY_OK;
    }
    ky_layer_declare_shape(l, "kernel", true, rank + 1, d);
    if (l->cfg.use_bias)
        ky_layer_declare(l, "bias", true, C * M, 0, 0);
    return KY_OK;
}

static int shape_1d(ky_layer *l, ky_err *err)
{
    return shape(l, 2, err);
}

static int shape_2d(ky_layer *l, ky_err *err)
{
    return shape(l, 3, err);
}

/* Keras counts the fans of a [..,C,M] kernel as those of any other. */
static void init(const ky_layer *l, ky_real *w, ky_rng *rng)
{
    int C = ky_features(&l->in), M = l->cfg.depth_multiplier;
    double taps = (double)l->weights[0].len / C / M;

    ky_init_glorot(w, l->weights[0].len, taps * C, taps * M, rng);
    if (is_separable(l))
        ky_init_glorot(w + l->weights[1].at, l->weights[1].len, deep(l), l->cfg.filters, rng);
}

static int pack(const ky_layer *l, const ky_kernels *k, const ky_real *w, bool backward,
                ky_packed *ret)
{
    int D = deep(l), F = l->cfg.filters;
    const ky_real *point = w + l->weights[1].at;

    ret->mat = k->mat_new(D, F, point, l->cfg.use_bias ? w + l->weights[2].at : NULL);
    if (backward)
        ret->back_x = ky_pack_transposed(k, D, F, point);
    return ret->mat == NULL || (backward && ret->back_x == NULL) ? KY_ENOMEM : KY_OK;
}

static void depthwise(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                      const ky_plane *g, int B, ky_real *scratch, const ky_real *x, ky_real *y)
{
    (void)p;
    ky_correlate_channels(k, w, l->cfg.use_bias ? w + l->weights[1].at : NULL, g, B, scratch, x, y,
                          l->cfg.activation);
}

/* Positions of a separable layer between its halves: as many as rows of the batch, at least so
 * many, or one row's, so that what is between them stays in the nearest cache. */
enum { BETWEEN = 128 };

static void separable(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                      const ky_plane *g, int B, ky_real *scratch, const ky_real *x, ky_real *y)
{
    int positions = g->h.n_out * g->w.n_out, most = (BETWEEN + positions - 1) / positions;
    ky_plane half = *g;
    ky_real *between = ky_cut(&scratch, (size_t)(BETWEEN + positions) * (size_t)deep(l));

    half.F = half.yc = deep(l);
    half.yb = (ptrdiff_t)positions * half.F;
    for (int r = 0, n; r < B; r += n, x += n * g->xb, y += n * g->yb) {
        n = B - r < most ? B - r : most;
        ky_correlate_channels(k, w, NULL, &half, n, scratch, x, between, KY_LINEAR);
        ky_rows(k, p->mat, half.F, n * positions, between, half.F, y, g->F, l->cfg.activation);
    }
}

static void convolve(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_local_window(l, k, p, w, c, x, y, is_separable(l) ? separable : depthwise);
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_activated_window(l, k, p, w, c, x, y, convolve);
}

static void step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                 const ky_call *c, const ky_real *x, ky_real *y, bool *emit)
{
    ky_local_step(l, k, p, w, c, x, y, emit, is_separable(l) ? separable : depthwise);
}

/* Runs. Forward: what is between the halves. Backward: dz, what is between, and its gradient. */
static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    ky_plane g = ky_local_plane(l, T);
    size_t runs = ky_correlate_scratch(&g), n = ky_local_positions(l, B, T), own = 0;

    (void)p;
    if (backward && is_separable(l))
        own = 2 * ky_lines(n * (size_t)deep(l));
    else if (is_separable(l))
        own = ky_lines((BETWEEN + ky_local_positions(l, 1, T)) * (size_t)deep(l));
    if (backward)
        return runs + ky_lines(n * (size_t)g.F) + own;
    return ky_local_scratch(l, B, T, runs + own);
}

/* -- backward -------------------------------------------------------------------------- */

/* Back through the dense half of n positions: the gradient of what is between, and, added, that of
 * the dense weights. */
static const ky_real *dense_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                                 const ky_real *w, const ky_plane *half, const ky_call *c, size_t n,
                                 ky_real *scratch, const ky_real *x, const ky_real *dz, ky_real *dw)
{
    int D = half->F, F = l->cfg.filters;
    ky_real *between = ky_cut(&scratch, n * (size_t)D), *d = ky_cut(&scratch, n * (size_t)D);

    ky_correlate_channels(k, w, NULL, half, c->B, c->scratch, x, between, KY_LINEAR);
    k->gemm_tn(D, F, (int)n, between, D, dz, F, dw + l->weights[1].at, F);
    ky_rows(k, p->back_x, F, (int)n, dz, F, d, D, KY_LINEAR);
    return d;
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    ky_plane g = ky_local_plane(l, c->T);
    int F = g.F;
    size_t n = ky_local_positions(l, c->B, c->T);
    ky_real *scratch = c->scratch + ky_correlate_scratch(&g);
    ky_real *dz = ky_cut(&scratch, n * (size_t)F);
    const ky_real *d = dz;

    ky_activation_back(k, l->cfg.activation, (int)n, F, c->tape, y, dy, dz);
    if (l->cfg.use_bias)
        k->colsum(F, (int)n, dz, F, dw + l->weights[l->n_weights - 1].at);
    if (is_separable(l)) {
        g.F = g.yc = deep(l);
        g.yb = (ptrdiff_t)g.h.n_out * g.w.n_out * g.F;
        d = dense_back(l, k, p, w, &g, c, n, scratch, x, dz, dw);
    }
    ky_correlate_channels_back(k, w, &g, c->B, c->scratch, x, d, dx, dw);
}

static size_t macs(const ky_layer *l, int T)
{
    size_t each = l->weights[0].len + (is_separable(l) ? l->weights[1].len : 0);

    return ky_local_positions(l, 1, T) * each;
}

#define DEPTHWISE(axes)                                                                            \
    KY_KERNEL_FIELDS(axes), { "depth_multiplier", KY_F_INT, KY_FIELD(depth_multiplier), 1, 0 },    \
        KY_OUTPUT_FIELDS
#define SEPARABLE(axes) { "filters", KY_F_INT, KY_FIELD(filters), 0, 0 }, DEPTHWISE(axes)

static const ky_field depthwise_1d[] = { DEPTHWISE(1), { 0 } };
static const ky_field depthwise_2d[] = { DEPTHWISE(2), { 0 } };
static const ky_field separable_1d[] = { SEPARABLE(1), { 0 } };
static const ky_field separable_2d[] = { SEPARABLE(2), { 0 } };

#define OPS                                                                                        \
    .steps = ky_local_steps, .taps = ky_local_taps, .init = init, .n_scratch = n_scratch,          \
    .n_tape = ky_activated_tape, .window = window, .step = step, .state_ok = ky_local_state_ok,    \
    .backward = backward, .macs = macs

const ky_layer_ops ky_depthwise_conv1d_ops = {
    .class_name = "DepthwiseConv1D", .fields = depthwise_1d, .shape = shape_1d, OPS
};

const ky_layer_ops ky_depthwise_conv2d_ops = {
    .class_name = "DepthwiseConv2D", .fields = depthwise_2d, .shape = shape_2d, OPS
};

const ky_layer_ops ky_separable_conv1d_ops = {
    .class_name = "SeparableConv1D", .fields = separable_1d, .shape = shape_1d, .pack = pack, OPS
};

const ky_layer_ops ky_separable_conv2d_ops = {
    .class_name = "SeparableConv2D", .fields = separable_2d, .shape = shape_2d, .pack = pack, OPS
};
