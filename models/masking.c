/*
 * Masking: a step all of whose features are mask_value is not real. It goes on as zeros, with a
 * mask that says so. Of more or fewer dimensions than [steps,features] every row of features is
 * taken so, but such a mask is not carried on: whoever would read it is refused.
 */
#include "models/layer_tools.h"

#include <string.h>

static int shape(ky_layer *l, ky_err *err)
{
    if (l->in.rank == 1 && l->in.timed)
        return ky_fail(err, KY_ESHAPE, "its input has steps, but no features in them");
    if (l->in.rank == 2)
        l->in.timed = true;
    l->out = l->in;
    l->form = KY_POINTWISE;
    l->masked = l->in.rank == 2;
    l->wide_mask = !l->masked;
    return KY_OK;
}

static bool is_real(const ky_layer *l, size_t F, const ky_real *x)
{
    ky_real none = (ky_real)l->cfg.mask_value;
    bool real = false;

    for (size_t j = 0; j < F; j++)
        real |= x[j] != none;
    return real;
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    size_t F = (size_t)ky_features(&l->in), n = (size_t)ky_row_count(&l->in, c->B, c->T);

    (void)k, (void)p, (void)w;
    for (size_t i = 0; i < n; i++, x += F, y += F) {
        bool real = is_real(l, F, x);

        if (real)
            memcpy(y, x, F * sizeof(*y));
        else
            memset(y, 0, F * sizeof(*y));
        if (l->masked && c->mask_out != NULL)
            c->mask_out[i] = real;
    }
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    size_t F = (size_t)ky_features(&l->in), n = (size_t)ky_row_count(&l->in, c->B, c->T);

    (void)k, (void)p, (void)w, (void)y, (void)dw;
    for (size_t i = 0; dx != NULL && i < n; i++, x += F, dy += F, dx += F)
        if (is_real(l, F, x))
            memcpy(dx, dy, F * sizeof(*dx));
        else
            memset(dx, 0, F * sizeof(*dx));
}

static const ky_field fields[] = {
    { "mask_value", KY_F_FLOAT, KY_FIELD(mask_value), 0, 0 },
    { 0 },
};

const ky_layer_ops ky_masking_ops = {
    .class_name = "Masking",
    .fields = fields,
    .masking = KY_MASK_MADE,
    .shape = shape,
    .window = window,
    .backward = backward,
};
