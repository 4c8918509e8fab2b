/* Flatten: the window's steps side by side, row-major; time ends here. */
#include "models/layer_tools.h"

#include <string.h>

static int shape(ky_layer *l, ky_err *err)
{
    size_t n = ky_shape_step(&l->in);

    l->form = KY_POINTWISE;
    if (l->in.timed) {
        if (l->in.d[0] == KY_ANY)
            return ky_fail(err, KY_ESHAPE,
                           "it flattens a window, so the model's input must have a fixed number "
                           "of steps");
        n *= (size_t)l->in.d[0];
        l->form = KY_COLLAPSING;
        l->no_step = "it answers on a whole window at once";
    }
    if (n > KY_MAX_DIM)
        return ky_fail(err, KY_EFULL, "it has %zu outputs, at most %d are supported", n,
                       KY_MAX_DIM);
    l->out = (ky_shape){ .rank = 1, .d = { (int)n } };
    return KY_OK;
}

static int steps(const ky_layer *l, int T)
{
    return !l->in.timed || T == l->in.d[0] ? 1 : 0;
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    (void)k, (void)p, (void)w;
    memcpy(y, x, (size_t)c->B * ky_shape_step(&l->out) * sizeof(*y));
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    (void)k, (void)p, (void)w, (void)x, (void)y, (void)dw;
    if (dx != NULL)
        memcpy(dx, dy, (size_t)c->B * ky_shape_step(&l->out) * sizeof(*dx));
}

static const ky_field fields[] = {
    { 0 },
};

const ky_layer_ops ky_flatten_ops = {
    .class_name = "Flatten",
    .view = true,
    .fields = fields,
    .shape = shape,
    .steps = steps,
    .window = window,
    .backward = backward,
};
