/*
 * MaxPooling1D and AveragePooling1D. Padding never counts: it is no candidate for the
 * maximum, and an average divides by the number of real steps.
 */
#include "models/ring.h"

#include <string.h>

static int strides(const ky_layer *l) /* Keras: none means the pool's own size */
{
    return l->cfg.strides[0] > 0 ? l->cfg.strides[0] : l->cfg.pool_size[0];
}

static int steps(const ky_layer *l, int T)
{
    int pool = l->cfg.pool_size[0];

    if (T < 1)
        return 0;
    if (l->cfg.padding == KY_SAME)
        return (T - 1) / strides(l) + 1;
    return T >= pool ? (T - pool) / strides(l) + 1 : 0;
}

static ky_reach reach_of(const ky_layer *l)
{
    return (ky_reach){
        .past = l->cfg.pool_size[0] - 1, .channels = l->in.d[1], .strides = strides(l), .full = true
    };
}

static int shape(ky_layer *l, ky_err *err)
{
    int rc = ky_layer_needs_time(l, 2, err);
    ky_reach k;

    if (rc < 0 || (rc = ky_layer_range("pool_size", l->cfg.pool_size[0], 1, err)) < 0)
        return rc;
    if ((rc = ky_layer_range("strides", l->cfg.strides[0], 0, err)) < 0)
        return rc;
    if (l->cfg.padding == KY_CAUSAL)
        return ky_fail(err, KY_EINVAL, "padding is 'causal', must be 'valid' or 'same'");
    l->cfg.strides[0] = strides(l);
    l->out = (ky_shape){ .rank = 2, .d = { KY_ANY, l->in.d[1] }, .timed = true };
    l->form = KY_LOCAL;
    k = reach_of(l);
    l->state_reals = ky_ring_reals(&k);
    if (l->cfg.padding == KY_SAME && l->cfg.pool_size[0] > 1)
        l->no_step = "padding 'same' looks ahead, so its answers would change with every sample";
    return KY_OK;
}

/* Steps [ret0,ret1) of the window are the pool of output t. */
static void pool_of(const ky_layer *l, int T, int t, int *ret0, int *ret1)
{
    int pool = l->cfg.pool_size[0], s = strides(l), first = t * s;
    int total = (steps(l, T) - 1) * s + pool - T;

    if (l->cfg.padding == KY_SAME && total > 0)
        first -= total / 2; /* the odd one goes behind */
    *ret0 = first > 0 ? first : 0;
    *ret1 = first + pool < T ? first + pool : T;
}

static bool takes_max(const ky_layer *l)
{
    return l->ops == &ky_max_pooling_ops;
}

/* One more step joins the pool, in index order. */
static void join(const ky_layer *l, const ky_real *x, ky_real *y)
{
    int C = l->in.d[1];

    if (takes_max(l))
        for (int i = 0; i < C; i++)
            y[i] = x[i] > y[i] ? x[i] : y[i];
    else
        for (int i = 0; i < C; i++)
            y[i] += x[i];
}

static void finish(const ky_layer *l, int n, ky_real *y)
{
    for (int i = 0; !takes_max(l) && i < l->in.d[1]; i++)
        y[i] /= (ky_real)n;
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    size_t C = (size_t)l->in.d[1];

    (void)k, (void)p, (void)w;
    for (int r = 0; r < c->B; r++, x += (size_t)c->T * C)
        for (int t = 0; t < c->T_out; t++, y += C) {
            int first, end;

            pool_of(l, c->T, t, &first, &end);
            memcpy(y, x + (size_t)first * C, C * sizeof(*y));
            for (int i = first + 1; i < end; i++)
                join(l, x + (size_t)i * C, y);
            finish(l, end - first, y);
        }
}

static void step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                 const ky_call *c, const ky_real *x, ky_real *y, bool *emit)
{
    ky_reach reach = reach_of(l);
    size_t C = (size_t)l->in.d[1];

    (void)k, (void)p, (void)w;
    for (int r = 0; r < c->B; r++, x += C, y += C) {
        emit[r] = ky_ring_due(&reach, c->state[r]);
        if (emit[r]) {
            memcpy(y, reach.past > 0 ? ky_ring_past(&reach, c->state[r], reach.past) : x,
                   C * sizeof(*y));
            for (int lag = reach.past - 1; lag > 0; lag--)
                join(l, ky_ring_past(&reach, c->state[r], lag), y);
            if (reach.past > 0)
                join(l, x, y);
            finish(l, l->cfg.pool_size[0], y);
        }
        ky_ring_put(&reach, c->state[r], x);
    }
}

static bool state_ok(const ky_layer *l, const void *state)
{
    ky_reach k = reach_of(l);

    return ky_ring_ok(&k, state);
}

/* dx of one pool of n steps: the first that reached the maximum takes all, or each its share. */
static void spread(const ky_layer *l, int n, const ky_real *x, const ky_real *y, const ky_real *dy,
                   ky_real *dx)
{
    int C = l->in.d[1];

    if (takes_max(l)) {
        ky_maximum_back(n, C, x, y, dy, dx);
        return;
    }
    for (int t = 0; t < n; t++, dx += C)
        for (int i = 0; i < C; i++)
            dx[i] += dy[i] / (ky_real)n;
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    size_t C = (size_t)l->in.d[1], row = (size_t)c->T * C;

    (void)k, (void)p, (void)w, (void)dw;
    if (dx == NULL)
        return;
    memset(dx, 0, (size_t)c->B * row * sizeof(*dx));
    for (int r = 0; r < c->B; r++, x += row, dx += row)
        for (int t = 0; t < c->T_out; t++, y += C, dy += C) {
            int first, end;

            pool_of(l, c->T, t, &first, &end);
            spread(l, end - first, x + (size_t)first * C, y, dy, dx + (size_t)first * C);
        }
}

static const ky_field fields[] = {
    { "pool_size", "pool_length", KY_F_INT, KY_FIELD(pool_size), 2, KY_FREE, true },
    { "strides", "stride", KY_F_INT, KY_FIELD(strides), 0, KY_FREE, true },
    { "padding", "border_mode", KY_F_PADDING, KY_FIELD(padding), KY_VALID, KY_FREE, false },
    { 0 },
};

const ky_layer_ops ky_max_pooling_ops = {
    .class_name = "MaxPooling1D",
    .arch = "maxpool",
    .fields = fields,
    .shape = shape,
    .steps = steps,
    .window = window,
    .step = step,
    .state_ok = state_ok,
    .backward = backward,
};

const ky_layer_ops ky_average_pooling_ops = {
    .class_name = "AveragePooling1D",
    .arch = "avgpool",
    .fields = fields,
    .shape = shape,
    .steps = steps,
    .window = window,
    .step = step,
    .state_ok = state_ok,
    .backward = backward,
};
