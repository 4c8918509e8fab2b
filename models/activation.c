/* What an activation does forward and backward; as layers: Activation and Softmax. */
#include "models/axes.h"
#include "models/kernels_impl.h"
#include "models/layer_tools.h"

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

/* Of others the slope follows from their value by arithmetic alone. */
bool ky_activation_wants_x(enum ky_activation act)
{
    switch (act) {
    case KY_GELU:
    case KY_GELU_TANH:
    case KY_SOFTPLUS:
    case KY_SILU:
    case KY_MISH:
    case KY_HARD_SILU:
    case KY_LOG_SIGMOID:
    case KY_TANH_SHRINK:
        return true;
    default:
        return false;
    }
}

/* act'(x) from y = act(x), element by element. */
static ky_real slope(enum ky_activation act, ky_real y)
{
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
    case KY_RELU6:
        return y > 0 && y < 6 ? 1 : 0;
    case KY_LEAKY_RELU:
        return y > 0 ? 1 : (ky_real)0.2;
    case KY_ELU:
    case KY_CELU:
        return y > 0 ? 1 : y + 1;
    case KY_SELU:
        return y > 0 ? (ky_real)KY_SELU_ABOVE : y + (ky_real)KY_SELU_BELOW;
    case KY_SOFTSIGN: /* 1 / (1 + |x|)^2, and 1 / (1 + |x|) = 1 - |y| */
        return y > 0 ? (1 - y) * (1 - y) : (1 + y) * (1 + y);
    case KY_HARD_TANH:
        return y > -1 && y < 1 ? 1 : 0;
    case KY_SOFT_SHRINK:
    case KY_HARD_SHRINK:
        return y != 0 ? 1 : 0;
    case KY_SQUAREPLUS: /* of y = (x + sqrt(x^2 + 4)) / 2 */
        return y * y / (y * y + 1);
    case KY_SPARSE_PLUS: /* y = (x + 1)^2 / 4 within -1 and 1 */
        return y >= 1 ? 1 : sqrt(y);
    default: /* linear */
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

size_t ky_activated_tape(const ky_layer *l, int B, int T)
{
    size_t steps = l->out.timed ? (size_t)ky_layer_steps(l, T) : 1;

    return ky_activation_wants_x(l->cfg.activation) ? (size_t)B * steps * ky_shape_step(&l->out)
                                                    : 0;
}

void ky_activated_window(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_real *w, const ky_call *c, const ky_real *x, ky_real *y,
                         void (*linear_or_not)(const ky_layer *l, const ky_kernels *k,
                                               const ky_packed *p, const ky_real *w,
                                               const ky_call *c, const ky_real *x, ky_real *y))
{
    ky_layer linear;

    if (c->tape == NULL || !ky_activation_wants_x(l->cfg.activation)) {
        linear_or_not(l, k, p, w, c, x, y);
        return;
    }
    linear = *l;
    linear.cfg.activation = KY_LINEAR;
    linear_or_not(&linear, k, p, w, c, x, c->tape);
    k->activate(l->cfg.activation, c->tape, y, ky_activated_tape(l, c->B, c->T));
}

static size_t values(const ky_layer *l, const ky_call *c)
{
    return (size_t)c->B * (size_t)c->T * ky_shape_step(&l->in);
}

/* Those whose slope wants another function of x, which the kernels work out in blocks. */
enum { BLOCK = 256 };

/* f(x) of a block, n of them */
static void gelu_slopes(const ky_kernels *k, int n, const ky_real *x, const ky_real *y, ky_real *s)
{
    ky_real bell[BLOCK];

    for (int i = 0; i < n; i++)
        bell[i] = x[i] * x[i] * (ky_real)-0.5;
    k->activate(KY_EXPONENTIAL, bell, bell, (size_t)n);
    for (int i = 0; i < n; i++) { /* Phi(x) = y/x, and x phi(x) */
        ky_real below = x[i] == 0 ? (ky_real)0.5 : y[i] / x[i];

        s[i] = below + x[i] * bell[i] * (ky_real)0.39894228040143267794; /* 1/sqrt(2 pi) */
    }
}

/* y = x/2 (1 + tanh(a (x + b x^3))) */
static void gelu_tanh_slopes(const ky_kernels *k, int n, const ky_real *x, ky_real *s)
{
    const ky_real a = (ky_real)0.79788456080286535588, b = (ky_real)0.044715; /* a: sqrt(2/pi) */

    for (int i = 0; i < n; i++)
        s[i] = a * (x[i] + b * x[i] * x[i] * x[i]);
    k->activate(KY_TANH, s, s, (size_t)n);
    for (int i = 0; i < n; i++) {
        ky_real inner = a * (1 + 3 * b * x[i] * x[i]);

        s[i] = (1 + s[i] + x[i] * (1 - s[i] * s[i]) * inner) / 2;
    }
}

/* y = x t with t = tanh(softplus(x)) */
static void mish_slopes(const ky_kernels *k, int n, const ky_real *x, ky_real *s)
{
    ky_real sigmoid[BLOCK];

    k->activate(KY_SIGMOID, x, sigmoid, (size_t)n);
    k->activate(KY_SOFTPLUS, x, s, (size_t)n);
    k->activate(KY_TANH, s, s, (size_t)n);
    for (int i = 0; i < n; i++)
        s[i] = s[i] + x[i] * sigmoid[i] * (1 - s[i] * s[i]);
}

static void log_sigmoid_slopes(const ky_kernels *k, int n, const ky_real *x, ky_real *s)
{
    for (int i = 0; i < n; i++)
        s[i] = -x[i];
    k->activate(KY_SIGMOID, s, s, (size_t)n);
}

static void silu_slopes(const ky_kernels *k, int n, const ky_real *x, const ky_real *y, ky_real *s)
{
    k->activate(KY_SIGMOID, x, s, (size_t)n);
    for (int i = 0; i < n; i++)
        s[i] = s[i] + y[i] * (1 - s[i]);
}

static void tanh_shrink_slopes(const ky_kernels *k, int n, const ky_real *x, ky_real *s)
{
    k->activate(KY_TANH, x, s, (size_t)n);
    for (int i = 0; i < n; i++)
        s[i] = s[i] * s[i];
}

static void hard_silu_slopes(int n, const ky_real *x, ky_real *s)
{
    for (int i = 0; i < n; i++)
        s[i] = x[i] <= -3 ? 0 : x[i] >= 3 ? 1 : x[i] / 3 + (ky_real)0.5;
}

static void slopes_of(const ky_kernels *k, enum ky_activation act, int n, const ky_real *x,
                      const ky_real *y, ky_real *s)
{
    switch (act) {
    case KY_GELU:
        gelu_slopes(k, n, x, y, s);
        break;
    case KY_GELU_TANH:
        gelu_tanh_slopes(k, n, x, s);
        break;
    case KY_SOFTPLUS:
        k->activate(KY_SIGMOID, x, s, (size_t)n);
        break;
    case KY_SILU:
        silu_slopes(k, n, x, y, s);
        break;
    case KY_MISH:
        mish_slopes(k, n, x, s);
        break;
    case KY_HARD_SILU:
        hard_silu_slopes(n, x, s);
        break;
    case KY_LOG_SIGMOID:
        log_sigmoid_slopes(k, n, x, s);
        break;
    default:
        tanh_shrink_slopes(k, n, x, s);
        break;
    }
}

/* dz_c = dy_c - softmax_c sum over j of dy_j */
static void log_softmax_back(const ky_kernels *k, int R, int C, const ky_real *y, const ky_real *dy,
                             ky_real *dz)
{
    ky_real softmax[BLOCK];

    for (int r = 0; r < R; r++, y += C, dy += C, dz += C) {
        ky_real sum = 0;

        for (int c = 0; c < C; c++)
            sum += dy[c];
        for (int at = 0; at < C; at += BLOCK) {
            int n = C - at < BLOCK ? C - at : BLOCK;

            k->activate(KY_EXPONENTIAL, y + at, softmax, (size_t)n);
            for (int c = 0; c < n; c++)
                dz[at + c] = dy[at + c] - softmax[c] * sum;
        }
    }
}

static void back_from_x(const ky_kernels *k, enum ky_activation act, size_t all, const ky_real *x,
                        const ky_real *y, const ky_real *dy, ky_real *dz)
{
    ky_real slopes[BLOCK];

    for (size_t at = 0; at < all; at += BLOCK) {
        int n = all - at < BLOCK ? (int)(all - at) : BLOCK;

        slopes_of(k, act, n, x + at, y + at, slopes);
        for (int i = 0; i < n; i++)
            dz[at + (size_t)i] = dy[at + (size_t)i] * slopes[i];
    }
}

void ky_activation_back(const ky_kernels *k, enum ky_activation act, int R, int C, const ky_real *x,
                        const ky_real *y, const ky_real *dy, ky_real *dz)
{
    size_t all = (size_t)R * (size_t)C;

    if (act == KY_SOFTMAX)
        softmax_back(R, C, y, dy, dz);
    else if (act == KY_LOG_SOFTMAX)
        log_softmax_back(k, R, C, y, dy, dz);
    else if (act == KY_RELU)
        relu_back(all, y, dy, dz);
    else if (ky_activation_wants_x(act))
        back_from_x(k, act, all, x, y, dy, dz);
    else
        for (size_t i = 0; i < all; i++)
            dz[i] = dy[i] * slope(act, y[i]);
}

/* Elements, or rows of the last axis. Of single values with time that axis is the steps. */
static int row_of(const ky_layer *l, const ky_call *c)
{
    return l->in.timed && l->in.rank == 1 ? c->T : ky_features(&l->in);
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    int C = row_of(l, c), R = (int)(values(l, c) / (size_t)C);

    (void)p, (void)w;
    ky_activation_rows(k, l->cfg.activation, R, C, x, y);
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    int C = row_of(l, c), R = (int)(values(l, c) / (size_t)C);

    (void)p, (void)w, (void)dw;
    if (dx != NULL)
        ky_activation_back(k, l->cfg.activation, R, C, x, y, dy, dx);
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
    return ky_axes_shape(l, &a, false, over_steps, err);
}

static size_t softmax_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    ky_axes a = softmax_axes(l);

    (void)p, (void)B;
    return (backward ? 2 : 1) * ky_axes_scratch(l, &a, T);
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

static void softmax_rows_back(void *context, int R, int C, const ky_real *y, const ky_real *dy,
                              ky_real *dx)
{
    (void)context;
    softmax_back(R, C, y, dy, dx);
}

static void softmax_window_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                                const ky_real *w, const ky_call *c, const ky_real *x,
                                const ky_real *y, const ky_real *dy, ky_real *dx, ky_real *dw)
{
    ky_axes a = softmax_axes(l);

    if (l->cfg.activation != KY_SOFTMAX)
        backward(l, k, p, w, c, x, y, dy, dx, dw);
    else if (dx != NULL)
        ky_axes_back(l, &a, c, y, dy, dx, softmax_rows_back, NULL);
}

static const ky_field activation_fields[] = {
    { "activation", KY_F_ACTIVATION, KY_FIELD(activation), KY_LINEAR, 0 },
    { 0 },
};

static const ky_field softmax_fields[] = {
    { "axis", KY_F_DIMS, KY_FIELD(axes), -1, 0 },
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
    .backward = softmax_window_back,
};
