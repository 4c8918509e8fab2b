/* Rescaling: y = x scale + offset, each one number or one for each feature. */
#include "models/axes.h"
#include "models/layer_tools.h"

#include <stdlib.h>

static int shape(ky_layer *l, ky_err *err)
{
    int C = ky_features(&l->in);
    const ky_reals *lists[] = { &l->cfg.factors, &l->cfg.offsets };

    if (l->cfg.offsets.n < 0)
        l->cfg.offsets = (ky_reals){ .n = 1 };
    if (l->in.timed && l->in.rank == 1)
        C = 1;
    for (int i = 0; i < 2; i++)
        if (lists[i]->n != 1 && lists[i]->n != C)
            return ky_fail(err, KY_EINVAL, "%s has %d numbers, its input has %d features",
                           i == 0 ? "scale" : "offset", lists[i]->n < 0 ? 0 : lists[i]->n, C);
    return ky_shape_unchanged(l, err);
}

static ky_axes axes_of(const ky_layer *l)
{
    bool single = l->cfg.factors.n == 1 && l->cfg.offsets.n == 1;
    ky_axes a;

    ky_axes_find(l, &(ky_dims){ .n = single ? 0 : 1, .d = { -1 } }, &a, NULL);
    return a;
}

/* scale [C], offset [C] */
static int pack(const ky_layer *l, const ky_kernels *k, const ky_real *w, bool backward,
                ky_packed *ret)
{
    const ky_reals *scale = &l->cfg.factors, *offset = &l->cfg.offsets;
    int C = scale->n > offset->n ? scale->n : offset->n;

    (void)k, (void)w, (void)backward;
    if ((ret->v = malloc(2 * (size_t)C * sizeof(*ret->v))) == NULL)
        return KY_ENOMEM;
    for (int i = 0; i < C; i++) {
        ret->v[i] = (ky_real)scale->v[scale->n > 1 ? i : 0];
        ret->v[C + i] = (ky_real)offset->v[offset->n > 1 ? i : 0];
    }
    return KY_OK;
}

static void rescale(const void *packed, int R, int C, const ky_real *x, ky_real *y)
{
    const ky_real *scale = packed, *offset = scale + C;

    for (int r = 0; r < R; r++, x += C, y += C)
        for (int i = 0; i < C; i++)
            y[i] = x[i] * scale[i] + offset[i];
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_axes a = axes_of(l);

    (void)k, (void)w;
    ky_axes_apply(l, &a, c, x, y, rescale, p->v);
}

static void scale_back(const void *packed, int R, int C, const ky_real *dy, ky_real *dx)
{
    const ky_real *scale = packed;

    for (int r = 0; r < R; r++, dy += C, dx += C)
        for (int i = 0; i < C; i++)
            dx[i] = dy[i] * scale[i];
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    ky_axes a = axes_of(l);

    (void)k, (void)w, (void)x, (void)y, (void)dw;
    if (dx != NULL)
        ky_axes_apply(l, &a, c, dy, dx, scale_back, p->v);
}

static const ky_field fields[] = {
    { "scale", KY_F_REALS, KY_FIELD(factors), 0, 0 },
    { "offset", KY_F_REALS, KY_FIELD(offsets), 0, 0 },
    { 0 },
};

const ky_layer_ops ky_rescaling_ops = {
    .class_name = "Rescaling",
    .fields = fields,
    .masking = KY_MASK_PASSES,
    .shape = shape,
    .pack = pack,
    .window = window,
    .backward = backward,
};
