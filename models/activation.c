/* What an activation does forward and backward; as layers: Activation and Softmax. */
#include "models/axes.h"
#include "models/layer_tools.h"

#include <assert.h>
#include <tgmath.h>

void ky_activation_rows(const ky_kernels *k, enum ky_activation act, int R, int C, const ky_real *x,
                        ky_real *y)
{
    if (act == KY_SOFTMAX)
        k->softmax(R, C, x, C, y, C);
    else if (act == KY_LOG_SOFTMAX)
        k->log_softmax(R, C, x, C, y, C);
    else
        k->activate(act, x, y, (size_t)R * (size_t)C);
}

/* Those whose slope follows from their value: it is all that a tape holds. */
bool ky_activation_trains(enum ky_activation act)
{
    return act <= KY_EXPONENTIAL || act == KY_SOFTMAX;
}

ky_real ky_activation_slope(enum ky_activation act, ky_real y)
{
    assert(ky_activation_trains(act));
    switch (act) {
    case KY_RELU:
        return y > 0 ? 1 : 0;
    case KY_TANH:
        return 1 - y * y;
    case KY_SIGMOID:
        return y * (1 - y);
    case KY_HARD_SIGMOID_K2:
        return y > 0 && y < 1 ? (ky_real)0.2 : 0;
    case KY_HARD_SIGMOID_K3:
        return y > 0 && y < 1 ? (ky_real)(1.0 / 6) : 0;
    case KY_EXPONENTIAL:
        return y;
    default: /* linear; softmax has no slope of its own: softmax_back() */
        break;
    }
    return 1;
}

/* dz_c = y_c (dy_c - sum over j of dy_j y_j) */
static void softmax_back(int R, int C, const ky_real *y, const ky_real *dy, ky_real *dz)
{
    for (int r = 0; r < R; r++, y += C, dy += C, dz += C) {
        ky_real dot = 0;

        for (int c = 0; c < C; c++)
            dot = fma(dy[c], y[c], dot);
        for (int c = 0; c < C; c++)
            dz[c] = y[c] * (dy[c] - dot);
    }
}

/* The usual one. dy is read whatever y is: only then can compilers make vectors of it. */
static void relu_back(size_t n, const ky_real *y, const ky_real *dy, ky_real *dz)
{
    for (size_t i = 0; i < n; i++) {
        ky_real d = dy[i];

        dz[i] = y[i] > 0 ? d : 0;
    }
}

void ky_activation_back(enum ky_activation act, int R, int C, const ky_real *y, const ky_real *dy,
                        ky_real *dz)
{
    size_t n = (size_t)R * (size_t)C;

    if (act == KY_SOFTMAX)
        softmax_back(R, C, y, dy, dz);
    else if (act == KY_RELU)
        relu_back(n, y, dy, dz);
    else
        for (size_t i = 0; i < n; i++)
            dz[i] = dy[i] * ky_activation_slope(act, y[i]);
}

/* Elements, or rows of the last axis. Of single values with time that axis is the steps. */
static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    size_t n = (size_t)c->B * (size_t)c->T * ky_shape_step(&l->in);
    int C = l->in.timed && l->in.rank == 1 ? c->T : ky_features(&l->in);

    (void)p, (void)w;
    ky_activation_rows(k, l->cfg.activation, (int)(n / (size_t)C), C, x, y);
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    (void)k, (void)p, (void)w, (void)x, (void)dw;
    if (dx != NULL)
        ky_activation_back(l->cfg.activation, ky_row_count(&l->in, c->B, c->T), ky_features(&l->in),
                           y, dy, dx);
}

static const char over_steps[] = "it goes over the steps of a window";

static int activation_shape(ky_layer *l, ky_err *err)
{
    bool rows = l->cfg.activation == KY_SOFTMAX || l->cfg.activation == KY_LOG_SOFTMAX;

    ky_shape_unchanged(l, err);
    if (rows && l->in.timed && l->in.rank == 1) {
        l->form = KY_MIXING;
        l->no_step = over_steps;
    }
    return KY_OK;
}

/* -- Softmax --------------------------------------------------------------------- */

static ky_axes softmax_axes(const ky_layer *l)
{
    ky_axes a;

    ky_axes_find(l, &l->cfg.axes, &a, NULL);
    return a;
}

static int softmax_shape(ky_layer *l, ky_err *err)
{
    ky_axes a;
    int rc;

    if (l->cfg.axes.n < 1)
        l->cfg.axes = (ky_dims){ .n = 1, .d = { -1 } };
    if ((rc = ky_axes_find(l, &l->cfg.axes, &a, err)) < 0)
        return rc;
    l->cfg.activation = KY_SOFTMAX;
    if (a.n != 1 || a.time || !a.last)
        l->no_training = "its axis is not the last one";
    return ky_axes_shape(l, &a, false, over_steps, err);
}

static size_t softmax_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    ky_axes a = softmax_axes(l);

    (void)p, (void)B;
    return backward ? 0 : ky_axes_scratch(l, &a, T);
}

static void softmax_rows(const void *k, int R, int C, const ky_real *x, ky_real *y)
{
    ((const ky_kernels *)k)->softmax(R, C, x, C, y, C);
}

/* Training takes the softmax off a last layer: cfg.activation tells. */
static void softmax_window(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                           const ky_real *w, const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_axes a = softmax_axes(l);

    if (l->cfg.activation != KY_SOFTMAX)
        window(l, k, p, w, c, x, y);
    else
        ky_axes_apply(l, &a, c, x, y, softmax_rows, k);
}

static const ky_field activation_fields[] = {
    { "activation", NULL, KY_F_ACTIVATION, KY_FIELD(activation), KY_LINEAR, KY_FREE, 0 },
    { 0 },
};

static const ky_field softmax_fields[] = {
    { "axis", NULL, KY_F_DIMS, KY_FIELD(axes), -1, KY_FREE, 0 },
    { 0 },
};

const ky_layer_ops ky_activation_ops = {
    .class_name = "Activation",
    .fields = activation_fields,
    .masking = KY_MASK_PASSES,
    .shape = activation_shape,
    .window = window,
    .backward = backward,
};

const ky_layer_ops ky_softmax_ops = {
    .class_name = "Softmax",
    .fields = softmax_fields,
    .masking = KY_MASK_PASSES,
    .shape = softmax_shape,
    .n_scratch = softmax_scratch,
    .window = softmax_window,
    .backward = backward,
};
