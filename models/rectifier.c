/*
 * ReLU with all its options, LeakyReLU, ThresholdedReLU, PReLU and ELU: layers that let what is
 * positive pass and each do something else to the rest.
 */
#include "models/axes.h"
#include "models/layer_tools.h"

#include <math.h>

static size_t values(const ky_layer *l, const ky_call *c)
{
    return (size_t)c->B * (size_t)c->T * ky_shape_step(&l->in);
}

/* -- ReLU ------------------------------------------------------------------------ */

static bool is_plain(const ky_layer *l)
{
    return isinf(l->cfg.max_value) && l->cfg.negative_slope == 0 && l->cfg.threshold == 0;
}

static int relu_shape(ky_layer *l, ky_err *err)
{
    const ky_layer_config *o = &l->cfg;

    if (!(o->max_value >= 0) || !(o->negative_slope >= 0) || !(o->threshold >= 0))
        return ky_fail(err, KY_EINVAL,
                       "max_value is %g, negative_slope %g and threshold %g, must be at least 0",
                       o->max_value, o->negative_slope, o->threshold);
    l->cfg.activation = KY_RELU;
    return ky_shape_unchanged(l, err);
}

/* x above the threshold and 0 below, at most max_value; less slope times what is missing to the
 * threshold. */
static void relu(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                 const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_real most = (ky_real)l->cfg.max_value, slope = (ky_real)l->cfg.negative_slope;
    ky_real threshold = (ky_real)l->cfg.threshold;
    size_t n = values(l, c);

    (void)p, (void)w;
    if (is_plain(l)) {
        k->activate(KY_RELU, x, y, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        ky_real v = x[i] <= threshold ? 0 : x[i], missing = threshold - x[i];

        v = v > most ? most : v;
        y[i] = missing > 0 ? v - slope * missing : v;
    }
}

static void relu_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                      const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                      ky_real *dx, ky_real *dw)
{
    ky_real most = (ky_real)l->cfg.max_value, slope = (ky_real)l->cfg.negative_slope;
    ky_real threshold = (ky_real)l->cfg.threshold;
    size_t n = values(l, c);

    (void)p, (void)w, (void)dw;
    if (dx != NULL && is_plain(l))
        ky_activation_back(k, KY_RELU, 1, (int)n, x, y, dy, dx);
    else if (dx != NULL)
        for (size_t i = 0; i < n; i++)
            dx[i] = x[i] < threshold ? dy[i] * slope : x[i] == threshold || x[i] > most ? 0 : dy[i];
}

static const ky_field relu_fields[] = {
    { "max_value", KY_F_FLOAT, KY_FIELD(max_value), INFINITY, 0 },
    { "negative_slope", KY_F_FLOAT, KY_FIELD(negative_slope), 0, 0 },
    { "threshold", KY_F_FLOAT, KY_FIELD(threshold), 0, 0 },
    { 0 },
};

const ky_layer_ops ky_relu_ops = {
    .class_name = "ReLU",
    .fields = relu_fields,
    .masking = KY_MASK_PASSES,
    .shape = relu_shape,
    .window = relu,
    .backward = relu_back,
};

/* -- LeakyReLU, ThresholdedReLU -------------------------------------------------- */

static void leaky(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                  const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_real slope = (ky_real)l->cfg.negative_slope;
    size_t n = values(l, c);

    (void)k, (void)p, (void)w;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : slope * x[i];
}

static void thresholded(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                        const ky_real *w, const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_real threshold = (ky_real)l->cfg.threshold;
    size_t n = values(l, c);

    (void)k, (void)p, (void)w;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] <= threshold ? 0 : x[i];
}

static void leaky_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                       const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                       ky_real *dx, ky_real *dw)
{
    ky_real slope = (ky_real)l->cfg.negative_slope;
    size_t n = values(l, c);

    (void)k, (void)p, (void)w, (void)y, (void)dw;
    for (size_t i = 0; dx != NULL && i < n; i++)
        dx[i] = x[i] > 0 ? dy[i] : slope * dy[i];
}

static void thresholded_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                             const ky_real *w, const ky_call *c, const ky_real *x, const ky_real *y,
                             const ky_real *dy, ky_real *dx, ky_real *dw)
{
    ky_real threshold = (ky_real)l->cfg.threshold;
    size_t n = values(l, c);

    (void)k, (void)p, (void)w, (void)y, (void)dw;
    for (size_t i = 0; dx != NULL && i < n; i++)
        dx[i] = x[i] <= threshold ? 0 : dy[i];
}

static const ky_field leaky_fields[] = {
    { "negative_slope", KY_F_FLOAT, KY_FIELD(negative_slope), 0.3, 0 },
    { 0 },
};

static const ky_field thresholded_fields[] = {
    { "theta", KY_F_FLOAT, KY_FIELD(threshold), 1, 0 },
    { 0 },
};

const ky_layer_ops ky_leaky_relu_ops = {
    .class_name = "LeakyReLU",
    .fields = leaky_fields,
    .masking = KY_MASK_PASSES,
    .shape = ky_shape_unchanged,
    .window = leaky,
    .backward = leaky_back,
};

const ky_layer_ops ky_thresholded_relu_ops = {
    .class_name = "ThresholdedReLU",
    .fields = thresholded_fields,
    .masking = KY_MASK_PASSES,
    .shape = ky_shape_unchanged,
    .window = thresholded,
    .backward = thresholded_back,
};

/* -- ELU ------------------------------------------------------------------------- */

static void elu(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_real alpha = (ky_real)l->cfg.alpha;
    size_t n = values(l, c);

    (void)p, (void)w;
    k->activate(KY_ELU, x, y, n);
    for (size_t i = 0; alpha != 1 && i < n; i++)
        y[i] = x[i] > 0 ? y[i] : alpha * y[i];
}

/* y = alpha (exp(x) - 1) below 0 */
static void elu_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    ky_real alpha = (ky_real)l->cfg.alpha;
    size_t n = values(l, c);

    (void)k, (void)p, (void)w, (void)dw;
    for (size_t i = 0; dx != NULL && i < n; i++)
        dx[i] = x[i] > 0 ? dy[i] : (y[i] + alpha) * dy[i];
}

static const ky_field elu_fields[] = {
    { "alpha", KY_F_FLOAT, KY_FIELD(alpha), 1, 0 },
    { 0 },
};

const ky_layer_ops ky_elu_ops = {
    .class_name = "ELU",
    .fields = elu_fields,
    .masking = KY_MASK_PASSES,
    .shape = ky_shape_unchanged,
    .window = elu,
    .backward = elu_back,
};

/* -- PReLU ----------------------------------------------------------------------- */

/* A slope for each place of the axes that are not shared; *shared lists those by their place. */
static int prelu_axes(const ky_layer *l, bool shared[KY_RANK], ky_axes *ret, ky_err *err)
{
    ky_dims own = { 0 };

    for (int a = 0; a < l->in.rank; a++)
        shared[a] = false;
    for (int i = 0; i < l->cfg.shared_axes.n; i++) {
        int place = ky_axis_place(l->in.rank, l->cfg.shared_axes.d[i]);

        if (place < 0)
            return ky_fail(err, KY_EINVAL,
                           "shared_axes has %d, its input has %d dimensions and the batch, which "
                           "is axis 0",
                           l->cfg.shared_axes.d[i], l->in.rank);
        shared[place] = true;
    }
    for (int a = 0; a < l->in.rank; a++)
        if (!shared[a])
            own.d[own.n++] = a + 1;
    return ky_axes_find(l, &own, ret, err);
}

static int prelu_shape(ky_layer *l, ky_err *err)
{
    bool shared[KY_RANK];
    int d[KY_RANK], rc;
    ky_axes a;

    if ((rc = prelu_axes(l, shared, &a, err)) < 0 ||
        (rc = ky_axes_shape(l, &a, true, "it has slopes for each step", err)) < 0)
        return rc;
    if (l->in.rank > KY_MAX_WEIGHT_RANK)
        return ky_fail(err, KY_ESHAPE, "its input has %d dimensions, at most %d are supported",
                       l->in.rank, KY_MAX_WEIGHT_RANK);
    for (int i = 0; i < l->in.rank; i++)
        d[i] = shared[i] ? 1 : l->in.d[i];
    ky_layer_declare_shape(l, "alpha", true, l->in.rank, d);
    return KY_OK;
}

/* With weights for each step, only windows of that length fit. */
static int prelu_steps(const ky_layer *l, int T)
{
    return l->no_step != NULL && T != l->in.d[0] ? 0 : l->out.timed ? T : 1;
}

static size_t prelu_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    bool shared[KY_RANK];
    ky_axes a;

    (void)p, (void)B;
    prelu_axes(l, shared, &a, NULL);
    return (backward ? 2 : 1) * ky_axes_scratch(l, &a, T);
}

static void prelu_rows(const void *slopes, int R, int C, const ky_real *x, ky_real *y)
{
    const ky_real *alpha = slopes;

    for (int r = 0; r < R; r++, x += C, y += C)
        for (int i = 0; i < C; i++)
            y[i] = x[i] > 0 ? x[i] : alpha[i] * x[i];
}

static void prelu(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                  const ky_call *c, const ky_real *x, ky_real *y)
{
    bool shared[KY_RANK];
    ky_axes a;

    (void)k, (void)p;
    prelu_axes(l, shared, &a, NULL);
    ky_axes_apply(l, &a, c, x, y, prelu_rows, w);
}

typedef struct slopes {
    const ky_real *alpha;
    ky_real *d;
} slopes;

static void prelu_rows_back(void *context, int R, int C, const ky_real *x, const ky_real *dy,
                            ky_real *dx)
{
    const slopes *s = context;

    for (int r = 0; r < R; r++, x += C, dy += C) {
        for (int i = 0; i < C; i++)
            s->d[i] += x[i] > 0 ? 0 : x[i] * dy[i];
        for (int i = 0; dx != NULL && i < C; i++)
            dx[i] = x[i] > 0 ? dy[i] : s->alpha[i] * dy[i];
        dx = dx != NULL ? dx + C : NULL;
    }
}

static void prelu_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                       const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                       ky_real *dx, ky_real *dw)
{
    bool shared[KY_RANK];
    ky_axes a;

    (void)k, (void)p, (void)y;
    prelu_axes(l, shared, &a, NULL);
    ky_axes_back(l, &a, c, x, dy, dx, prelu_rows_back, &(slopes){ w, dw });
}

static const ky_field prelu_fields[] = {
    { "shared_axes", KY_F_DIMS, KY_FIELD(shared_axes), 0, 1 },
    { 0 },
};

const ky_layer_ops ky_prelu_ops = {
    .class_name = "PReLU",
    .fields = prelu_fields,
    .masking = KY_MASK_PASSES,
    .shape = prelu_shape,
    .steps = prelu_steps,
    .n_scratch = prelu_scratch,
    .window = prelu,
    .backward = prelu_back,
};
