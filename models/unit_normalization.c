/* UnitNormalization: each vector along its axes divided by its length. */
#include "models/axes.h"
#include "models/layer_tools.h"

#include <tgmath.h>

static const double least_norm = 1e-12; /* Keras's own; a vector of zeros stays one */

static ky_axes axes_of(const ky_layer *l)
{
    ky_axes a;

    ky_axes_find(l, &l->cfg.axes, &a, NULL);
    return a;
}

static int shape(ky_layer *l, ky_err *err)
{
    ky_axes a;
    int rc;

    if (l->cfg.axes.n < 1)
        l->cfg.axes = (ky_dims){ .n = 1, .d = { -1 } };
    if ((rc = ky_axes_find(l, &l->cfg.axes, &a, err)) < 0)
        return rc;
    return ky_axes_shape(l, &a, false, "it goes over the steps of a window", err);
}

static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    ky_axes a = axes_of(l);

    (void)p, (void)B;
    return (backward ? 2 : 1) * ky_axes_scratch(l, &a, T);
}

static ky_real norm_of(int C, const ky_real *x)
{
    ky_real sum = 0, norm;

    for (int i = 0; i < C; i++)
        sum += x[i] * x[i];
    norm = sqrt(sum);
    return norm > (ky_real)least_norm ? norm : (ky_real)least_norm;
}

static void to_unit_length(const void *context, int R, int C, const ky_real *x, ky_real *y)
{
    (void)context;
    for (int r = 0; r < R; r++, x += C, y += C) {
        ky_real norm = norm_of(C, x);

        for (int i = 0; i < C; i++)
            y[i] = x[i] / norm;
    }
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_axes a = axes_of(l);

    (void)k, (void)p, (void)w;
    ky_axes_apply(l, &a, c, x, y, to_unit_length, NULL);
}

/* dx = (dy - y (y . dy)) / norm: what is across y. A vector too short to be scaled has no such
 * part. */
static void groups_back(void *context, int R, int C, const ky_real *x, const ky_real *dy,
                        ky_real *dx)
{
    (void)context;
    for (int r = 0; r < R; r++, x += C, dy += C, dx += C) {
        ky_real norm = norm_of(C, x), along = 0;

        for (int i = 0; i < C && norm > (ky_real)least_norm; i++)
            along += x[i] / norm * dy[i];
        for (int i = 0; i < C; i++)
            dx[i] = (dy[i] - x[i] / norm * along) / norm;
    }
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    ky_axes a = axes_of(l);

    (void)k, (void)p, (void)w, (void)y, (void)dw;
    if (dx != NULL)
        ky_axes_back(l, &a, c, x, dy, dx, groups_back, NULL);
}

static size_t macs(const ky_layer *l, int T)
{
    return (size_t)T * ky_shape_step(&l->in);
}

static const ky_field fields[] = {
    { "axis", KY_F_DIMS, KY_FIELD(axes), -1, 0 },
    { 0 },
};

const ky_layer_ops ky_unit_normalization_ops = {
    .class_name = "UnitNormalization",
    .fields = fields,
    .masking = KY_MASK_PASSES,
    .shape = shape,
    .n_scratch = n_scratch,
    .window = window,
    .backward = backward,
    .macs = macs,
};
