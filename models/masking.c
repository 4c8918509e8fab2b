/*
 * Masking: a step all of whose features are mask_value is not real. It goes on as zeros, with a
 * mask that says so.
 */
#include "models/layer_tools.h"

#include <string.h>

static int shape(ky_layer *l, ky_err *err)
{
    int rc = ky_layer_needs_time(l, 2, err);

    if (rc < 0)
        return rc;
    l->out = l->in;
    l->form = KY_POINTWISE;
    l->masked = true;
    return KY_OK;
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    size_t F = (size_t)l->in.d[1], steps = (size_t)c->B * (size_t)c->T;
    ky_real none = (ky_real)l->cfg.mask_value;

    (void)k, (void)p, (void)w;
    for (size_t i = 0; i < steps; i++, x += F, y += F) {
        bool real = false;

        for (size_t j = 0; j < F; j++)
            real |= x[j] != none;
        if (real)
            memcpy(y, x, F * sizeof(*y));
        else
            memset(y, 0, F * sizeof(*y));
        if (c->mask_out != NULL)
            c->mask_out[i] = real;
    }
}

static const ky_field fields[] = {
    { "mask_value", NULL, KY_F_FLOAT, KY_FIELD(mask_value), 0, KY_FREE, 0 },
    { 0 },
};

const ky_layer_ops ky_masking_ops = {
    .class_name = "Masking",
    .fields = fields,
    .masking = KY_MASK_MADE,
    .shape = shape,
    .window = window,
};
