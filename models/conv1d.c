/*
 * Conv1D: y[t] = act(b + sum over taps j of x[t*strides - pad + j*dilation] W[j]), taps that
 * fall outside the window skipped. W is [taps,C,F], so a tap is a run of C contiguous inputs
 * for rows() of the kernels, and all taps are one run without dilation.
 */
#include "models/ring.h"

#include <stdlib.h>
#include <string.h>

/* One correlation, forward or backward. */
typedef struct geometry {
    int taps, C, F, s, d, pad;
    int T, T_out;
} geometry;

static int reach(const ky_layer *l) /* from the first tap to the last */
{
    return (l->cfg.kernel_size[0] - 1) * l->cfg.dilation_rate[0];
}

static int steps(const ky_layer *l, int T)
{
    int s = l->cfg.strides[0];

    if (T < 1)
        return 0;
    if (l->cfg.padding != KY_VALID)
        return (T - 1) / s + 1;
    return T > reach(l) ? (T - 1 - reach(l)) / s + 1 : 0;
}

static geometry forward_geometry(const ky_layer *l, int T)
{
    geometry g = { l->cfg.kernel_size[0],
                   l->in.d[1],
                   l->cfg.filters,
                   l->cfg.strides[0],
                   l->cfg.dilation_rate[0],
                   0,
                   T,
                   steps(l, T) };
    int total = (g.T_out - 1) * g.s + reach(l) + 1 - T;

    if (l->cfg.padding == KY_CAUSAL)
        g.pad = reach(l);
    else if (l->cfg.padding == KY_SAME && total > 0)
        g.pad = total / 2; /* the odd one goes behind */
    return g;
}

static ky_reach reach_of(const ky_layer *l)
{
    return (ky_reach){ .past = reach(l),
                       .channels = l->in.d[1],
                       .strides = l->cfg.strides[0],
                       .full = l->cfg.padding != KY_CAUSAL };
}

static int check(ky_layer *l, ky_err *err)
{
    const struct {
        const char *what;
        int v;
    } sizes[] = {
        { "filters", l->cfg.filters },
        { "kernel_size", l->cfg.kernel_size[0] },
        { "strides", l->cfg.strides[0] },
        { "dilation_rate", l->cfg.dilation_rate[0] },
    };
    int rc = ky_layer_needs_time(l, 2, err);

    for (size_t i = 0; rc == KY_OK && i < sizeof(sizes) / sizeof(*sizes); i++)
        rc = ky_layer_range(sizes[i].what, sizes[i].v, 1, err);
    if (rc < 0)
        return rc;
    if (l->cfg.strides[0] > 1 && l->cfg.dilation_rate[0] > 1)
        return ky_fail(err, KY_EINVAL, "strides %d and dilation_rate %d: only one may exceed 1",
                       l->cfg.strides[0], l->cfg.dilation_rate[0]);
    if (l->cfg.groups != 1)
        return ky_fail(err, KY_EUNSUPPORTED, "groups is %d, only 1 is supported", l->cfg.groups);
    if ((int64_t)(l->cfg.kernel_size[0] - 1) * l->cfg.dilation_rate[0] > KY_MAX_DIM)
        return ky_fail(err, KY_EINVAL, "kernel_size %d with dilation_rate %d reaches too far",
                       l->cfg.kernel_size[0], l->cfg.dilation_rate[0]);
    return KY_OK;
}

static int shape(ky_layer *l, ky_err *err)
{
    int rc = check(l, err);
    ky_reach k;

    if (rc < 0)
        return rc;
    ky_layer_declare(l, "kernel", true, l->cfg.kernel_size[0], l->in.d[1], l->cfg.filters);
    if (l->cfg.use_bias)
        ky_layer_declare(l, "bias", true, l->cfg.filters, 0, 0);
    l->out = (ky_shape){ .rank = 2, .d = { KY_ANY, l->cfg.filters }, .timed = true };
    l->form = KY_LOCAL;
    k = reach_of(l);
    l->state_reals = ky_ring_reals(&k);
    if (l->cfg.padding == KY_SAME && reach(l) > 0)
        l->no_step = "padding 'same' looks ahead, so its answers would change with every sample";
    return KY_OK;
}

static void init(const ky_layer *l, ky_real *w, ky_rng *rng)
{
    double taps = l->cfg.kernel_size[0];

    ky_init_glorot(w, l->weights[0].len, taps * l->in.d[1], taps * l->cfg.filters, rng);
}

/* The kernel of the backward correlation: taps reversed, C and F exchanged. */
static ky_mat *pack_reversed(const ky_layer *l, const ky_kernels *k, const ky_real *w)
{
    size_t taps = (size_t)l->cfg.kernel_size[0], C = (size_t)l->in.d[1], F = (size_t)l->cfg.filters;
    ky_real *t = malloc(l->weights[0].len * sizeof(*t));
    ky_mat *m;

    if (t == NULL)
        return NULL;
    for (size_t j = 0; j < taps; j++)
        for (size_t c = 0; c < C; c++)
            for (size_t f = 0; f < F; f++)
                t[((taps - 1 - j) * F + f) * C + c] = w[(j * C + c) * F + f];
    m = k->mat_new((int)(taps * F), (int)C, t, NULL);
    free(t);
    return m;
}

static int pack(const ky_layer *l, const ky_kernels *k, const ky_real *w, bool backward,
                ky_packed *ret)
{
    ret->mat = k->mat_new(l->cfg.kernel_size[0] * l->in.d[1], l->cfg.filters, w,
                          l->cfg.use_bias ? w + l->weights[1].at : NULL);
    if (backward)
        ret->back_x = pack_reversed(l, k, w);
    return ret->mat == NULL || (backward && ret->back_x == NULL) ? KY_ENOMEM : KY_OK;
}

/* -- windows ----------------------------------------------------------------------- */

/* Taps [ret0,ret1) of output t lie inside the window. */
static void taps_inside(const geometry *g, int t, int *ret0, int *ret1)
{
    int first = t * g->s - g->pad, room = g->T - 1 - first;
    int j0 = first < 0 ? (-first + g->d - 1) / g->d : 0;
    int j1 = room < 0 ? 0 : room / g->d + 1;

    j0 = j0 < g->taps ? j0 : g->taps;
    j1 = j1 < g->taps ? j1 : g->taps;
    *ret0 = j0;
    *ret1 = j1 > j0 ? j1 : j0;
}

/* Outputs [ret0,ret1) have all their taps inside the window. */
static void whole_outputs(const geometry *g, int *ret0, int *ret1)
{
    int room = g->T - 1 + g->pad - (g->taps - 1) * g->d;
    int t0 = (g->pad + g->s - 1) / g->s;
    int t1 = room < 0 ? 0 : room / g->s + 1;

    t0 = t0 < g->T_out ? t0 : g->T_out;
    t1 = t1 < g->T_out ? t1 : g->T_out;
    *ret0 = t0;
    *ret1 = t1 > t0 ? t1 : t0;
}

/* As many runs as the taps of an output may need. */
static int most_runs(int taps, int d)
{
    return d == 1 ? 1 : taps;
}

/* Taps [j0,j1) of output t as runs of a row of the window; returns how many. */
static int runs_of_taps(const geometry *g, int t, int j0, int j1, ky_run *runs)
{
    ptrdiff_t first = (ptrdiff_t)t * g->s - g->pad;
    int together = g->d == 1 ? j1 - j0 : 1, n = 0;

    for (int j = j0; j < j1; j += together)
        runs[n++] = (ky_run){ (first + (ptrdiff_t)j * g->d) * g->C, j * g->C, together * g->C };
    return n;
}

/* Output t of all rows at once. */
static void one_output(const ky_kernels *k, const ky_mat *m, const geometry *g, int B, int t,
                       ky_run *runs, const ky_real *x, ky_real *y, enum ky_activation act)
{
    int j0, j1, n;

    taps_inside(g, t, &j0, &j1);
    n = runs_of_taps(g, t, j0, j1, runs);
    k->rows(m, n, runs, B, x, (ptrdiff_t)g->T * g->C, y + (ptrdiff_t)t * g->F,
            (ptrdiff_t)g->T_out * g->F, act);
}

/* runs: scratch for most_runs() of them */
static void correlate(const ky_kernels *k, const ky_mat *m, const geometry *g, int B, ky_run *runs,
                      const ky_real *x, ky_real *y, enum ky_activation act)
{
    int t0, t1, n;

    whole_outputs(g, &t0, &t1);
    if (t1 - t0 < B) /* few outputs, many rows: the rows are the long side */
        t1 = t0;
    for (int t = 0; t < t0; t++)
        one_output(k, m, g, B, t, runs, x, y, act);
    n = t1 > t0 ? runs_of_taps(g, t0, 0, g->taps, runs) : 0;
    for (int r = 0; t1 > t0 && r < B; r++)
        k->rows(m, n, runs, t1 - t0, x + (ptrdiff_t)r * g->T * g->C, (ptrdiff_t)g->s * g->C,
                y + ((ptrdiff_t)r * g->T_out + t0) * g->F, g->F, act);
    for (int t = t1; t < g->T_out; t++)
        one_output(k, m, g, B, t, runs, x, y, act);
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    geometry g = forward_geometry(l, c->T);
    ky_real *scratch = c->scratch;
    ky_run *runs = ky_cut_runs(&scratch, (size_t)most_runs(g.taps, g.d));

    (void)w;
    correlate(k, p->mat, &g, c->B, runs, x, y, l->cfg.activation);
}

/* -- steps ------------------------------------------------------------------------- */

/* The taps of row r side by side; returns the first one that is there. */
static int gather(const ky_layer *l, const ky_reach *k, const void *state, const ky_real *x,
                  ky_real *panel)
{
    int taps = l->cfg.kernel_size[0], d = l->cfg.dilation_rate[0], C = l->in.d[1];
    int j0 = taps - 1 - ky_ring_seen(state) / d; /* at least 0: the ring holds (taps-1)*d */

    for (int j = j0; j < taps - 1; j++)
        memcpy(panel + (size_t)j * C, ky_ring_past(k, state, (taps - 1 - j) * d),
               (size_t)C * sizeof(*x));
    memcpy(panel + (size_t)(taps - 1) * C, x, (size_t)C * sizeof(*x));
    return j0;
}

/* Rows [r,ret) all have outputs that begin at the same tap. */
static int same_taps_end(const int *first, int r, int B)
{
    int end = r + 1;

    while (end < B && first[end] == first[r])
        end++;
    return end;
}

static void step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                 const ky_call *c, const ky_real *x, ky_real *y, bool *emit)
{
    int taps = l->cfg.kernel_size[0], C = l->in.d[1], F = l->cfg.filters, wide = taps * C;
    ky_reach reach_l = reach_of(l);
    ky_real *scratch = c->scratch;
    int *first = (int *)(void *)ky_cut(&scratch, (size_t)c->B);
    ky_real *panel = scratch;

    (void)w;
    for (int r = 0; r < c->B; r++, x += C) {
        emit[r] = ky_ring_due(&reach_l, c->state[r]);
        first[r] = emit[r] ? gather(l, &reach_l, c->state[r], x, panel + (size_t)r * wide) : -1;
        ky_ring_put(&reach_l, c->state[r], x);
    }
    for (int r = 0, end; r < c->B; r = end) {
        ky_run there = { (ptrdiff_t)first[r] * C, first[r] * C, (taps - first[r]) * C };

        end = same_taps_end(first, r, c->B);
        if (first[r] >= 0)
            k->rows(p->mat, 1, &there, end - r, panel + (size_t)r * wide, wide, y + (size_t)r * F,
                    F, l->cfg.activation);
    }
}

static bool state_ok(const ky_layer *l, const void *state)
{
    ky_reach k = reach_of(l);

    return ky_ring_ok(&k, state);
}

/* -- backward ---------------------------------------------------------------------- */

/* Steps of dz spread out by the strides, with zeros between. */
static int spread_steps(const geometry *g)
{
    return (g->T_out - 1) * g->s + 1;
}

/* Runs. Forward: a step's first taps and panel. Backward: dz, and dz spread. */
static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    geometry g = forward_geometry(l, T);
    size_t n = (size_t)B * (size_t)g.F, runs = ky_run_reals((size_t)most_runs(g.taps, g.d));

    (void)p;
    if (!backward && T > 1)
        return runs;
    if (!backward) /* a step, where forward_geometry has no output yet, or a window of one */
        return runs + ky_lines((size_t)B) + (size_t)B * (size_t)g.taps * (size_t)g.C;
    return runs + ky_lines(n * (size_t)g.T_out) + (g.s > 1 ? n * (size_t)spread_steps(&g) : 0);
}

/* dW of taps [j0,j1) += sum over K rows of x (at tap 0) times dz. */
static void tap_gradients(const ky_kernels *k, const geometry *g, int j0, int j1, int K,
                          const ky_real *x, ptrdiff_t xs, const ky_real *dz, ptrdiff_t dzs,
                          ky_real *dw)
{
    ptrdiff_t size = (ptrdiff_t)g->C * g->F;
    int together = g->d == 1 ? j1 - j0 : 1; /* neighbouring taps are one longer row of x */

    for (int j = j0; j < j1; j += together)
        k->gemm_tn(together * g->C, g->F, K, x + (ptrdiff_t)j * g->d * g->C, xs, dz, dzs,
                   dw + j * size, g->F);
}

static void kernel_gradient(const ky_kernels *k, const geometry *g, int B, const ky_real *x,
                            const ky_real *dz, ky_real *dw)
{
    int t0, t1;

    whole_outputs(g, &t0, &t1);
    for (int r = 0; t1 > t0 && r < B; r++)
        tap_gradients(k, g, 0, g->taps, t1 - t0,
                      x + ((ptrdiff_t)r * g->T + (ptrdiff_t)t0 * g->s - g->pad) * g->C,
                      (ptrdiff_t)g->s * g->C, dz + ((ptrdiff_t)r * g->T_out + t0) * g->F, g->F, dw);
    for (int t = 0; t < g->T_out; t++) {
        int j0, j1;

        if (t >= t0 && t < t1)
            continue;
        taps_inside(g, t, &j0, &j1);
        tap_gradients(k, g, j0, j1, B, x + ((ptrdiff_t)t * g->s - g->pad) * g->C,
                      (ptrdiff_t)g->T * g->C, dz + (ptrdiff_t)t * g->F, (ptrdiff_t)g->T_out * g->F,
                      dw);
    }
}

static const ky_real *spread(const geometry *g, int B, const ky_real *dz, ky_real *to)
{
    size_t step = (size_t)g->F, wide = (size_t)spread_steps(g) * step;

    memset(to, 0, (size_t)B * wide * sizeof(*to));
    for (size_t r = 0; r < (size_t)B; r++)
        for (size_t t = 0; t < (size_t)g->T_out; t++)
            memcpy(to + r * wide + t * (size_t)g->s * step, dz + (r * (size_t)g->T_out + t) * step,
                   step * sizeof(*to));
    return to;
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    geometry g = forward_geometry(l, c->T), back;
    int R = c->B * g.T_out;
    ky_real *scratch = c->scratch;
    ky_run *runs = ky_cut_runs(&scratch, (size_t)most_runs(g.taps, g.d));
    ky_real *dz_own = ky_cut(&scratch, (size_t)R * (size_t)g.F);
    const ky_real *dz = dy;

    (void)w;
    if (l->cfg.activation != KY_LINEAR) {
        ky_activation_back(l->cfg.activation, R, g.F, y, dy, dz_own);
        dz = dz_own;
    }
    kernel_gradient(k, &g, c->B, x, dz, dw);
    if (l->cfg.use_bias)
        k->colsum(g.F, R, dz, g.F, dw + l->weights[1].at);
    if (dx == NULL)
        return;
    back = (geometry){ .taps = g.taps,
                       .C = g.F,
                       .F = g.C,
                       .s = 1,
                       .d = g.d,
                       .pad = (g.taps - 1) * g.d - g.pad,
                       .T = spread_steps(&g),
                       .T_out = g.T };
    correlate(k, p->back_x, &back, c->B, runs, g.s > 1 ? spread(&g, c->B, dz, scratch) : dz, dx,
              KY_LINEAR);
}

static size_t macs(const ky_layer *l, int T)
{
    return (size_t)steps(l, T) * l->weights[0].len;
}

static const ky_field fields[] = {
    { "filters", "nb_filter", KY_F_INT, KY_FIELD(filters), 0, KY_FREE, false },
    { "kernel_size", "filter_length", KY_F_INT, KY_FIELD(kernel_size), 0, KY_FREE, true },
    { "strides", "subsample_length", KY_F_INT, KY_FIELD(strides), 1, KY_FREE, true },
    { "padding", "border_mode", KY_F_PADDING, KY_FIELD(padding), KY_VALID, KY_FREE, false },
    { "dilation_rate", "atrous_rate", KY_F_INT, KY_FIELD(dilation_rate), 1, KY_FREE, true },
    { "groups", NULL, KY_F_INT, KY_FIELD(groups), 1, 1, false },
    { "activation", NULL, KY_F_ACTIVATION, KY_FIELD(activation), KY_LINEAR, KY_FREE, false },
    { "use_bias", "bias", KY_F_BOOL, KY_FIELD(use_bias), true, KY_FREE, false },
    { 0 },
};

const ky_layer_ops ky_conv1d_ops = {
    .class_name = "Conv1D",
    .arch = "conv1d",
    .fields = fields,
    .shape = shape,
    .steps = steps,
    .init = init,
    .pack = pack,
    .n_scratch = n_scratch,
    .window = window,
    .step = step,
    .state_ok = state_ok,
    .backward = backward,
    .macs = macs,
};
