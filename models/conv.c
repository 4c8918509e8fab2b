/*
 * Conv1D and Conv2D: y = act(b + sum over taps inside of x W), W [taps..,C/groups,F]; with
 * groups, block g of the outputs sees block g of the inputs alone. Keras's is a correlation:
 * taps are not turned round.
 */
#include "models/local.h"

#include <stdlib.h>
#include <string.h>

static int taps_of(const ky_layer *l)
{
    return l->cfg.kernel_size[0] * (l->in.rank == 3 ? l->cfg.kernel_size[1] : 1);
}

static int group_inputs(const ky_layer *l)
{
    return ky_features(&l->in) / l->cfg.groups;
}

static int group_outputs(const ky_layer *l)
{
    return l->cfg.filters / l->cfg.groups;
}

static int shape(ky_layer *l, int rank, ky_err *err)
{
    int F = l->cfg.filters, groups = l->cfg.groups, rc;

    if ((rc = ky_layer_range("filters", F, 1, err)) < 0 ||
        (rc = ky_layer_range("groups", groups, 1, err)) < 0 ||
        (rc = ky_local_shape(l, rank, "kernel_size", F, err)) < 0)
        return rc;
    if (ky_features(&l->in) % groups != 0 || F % groups != 0)
        return ky_fail(err, KY_EINVAL, "%d channels and %d filters do not split into %d groups",
                       ky_features(&l->in), F, groups);
    int d[KY_SPATIAL + 2] = { l->cfg.kernel_size[0], l->cfg.kernel_size[1] };
    d[rank - 1] = group_inputs(l);
    d[rank] = F;
    ky_layer_declare_shape(l, "kernel", true, rank + 1, d);
    if (l->cfg.use_bias)
        ky_layer_declare(l, "bias", true, F, 0, 0);
    return KY_OK;
}

static int shape_1d(ky_layer *l, ky_err *err)
{
    return shape(l, 2, err);
}

static int shape_2d(ky_layer *l, ky_err *err)
{
    return shape(l, 3, err);
}

static void init(const ky_layer *l, ky_real *w, ky_rng *rng)
{
    double taps = taps_of(l);

    ky_init_glorot(w, l->weights[0].len, taps * group_inputs(l), taps * l->cfg.filters, rng);
}

/* -- weights: one matrix a group ------------------------------------------------------- */

static const ky_mat *group_mat(const ky_packed *p, int i)
{
    return p->inner != NULL ? p->inner[i].mat : p->mat;
}

/* The kernel of group i, [taps,C,F]; or, reversed, of its backward correlation: taps turned
 * round, C and F exchanged. */
static ky_mat *pack_group(const ky_layer *l, const ky_kernels *k, const ky_real *w, int i,
                          bool reversed)
{
    size_t taps = (size_t)taps_of(l), C = (size_t)group_inputs(l), F = (size_t)group_outputs(l);
    size_t all = (size_t)l->cfg.filters;
    const ky_real *b = l->cfg.use_bias && !reversed ? w + l->weights[1].at + (size_t)i * F : NULL;
    ky_real *t = malloc(taps * C * F * sizeof(*t));
    ky_mat *m;

    if (t == NULL)
        return NULL;
    w += (size_t)i * F;
    for (size_t j = 0; j < taps; j++)
        for (size_t c = 0; c < C; c++)
            for (size_t f = 0; f < F; f++) {
                size_t to = reversed ? ((taps - 1 - j) * F + f) * C + c : (j * C + c) * F + f;

                t[to] = w[(j * C + c) * all + f];
            }
    m = reversed ? k->mat_new((int)(taps * F), (int)C, t, NULL)
                 : k->mat_new((int)(taps * C), (int)F, t, b);
    free(t);
    return m;
}

static int pack(const ky_layer *l, const ky_kernels *k, const ky_real *w, bool backward,
                ky_packed *ret)
{
    int groups = l->cfg.groups;

    if (groups > 1) {
        ret->inner = calloc((size_t)groups, sizeof(*ret->inner));
        if (ret->inner == NULL)
            return KY_ENOMEM;
        ret->n_inner = groups;
    }
    for (int i = 0; i < groups; i++) {
        ky_packed *p = groups > 1 ? &ret->inner[i] : ret;

        p->mat = pack_group(l, k, w, i, false);
        if (backward)
            p->back_x = pack_group(l, k, w, i, true);
        if (p->mat == NULL || (backward && p->back_x == NULL))
            return KY_ENOMEM;
    }
    return KY_OK;
}

/* -- forward --------------------------------------------------------------------------- */

/* The plane as one group sees it. */
static ky_plane group_plane(const ky_layer *l, const ky_plane *g)
{
    ky_plane part = *g;

    part.C = group_inputs(l);
    part.F = group_outputs(l);
    return part;
}

static void correlate(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                      const ky_plane *all, int B, ky_real *scratch, const ky_real *x, ky_real *y)
{
    ky_plane g = group_plane(l, all);
    bool afterwards = l->cfg.groups > 1 && ky_activation_spans(l->cfg.activation);

    (void)w;
    for (int i = 0; i < l->cfg.groups; i++)
        ky_correlate(k, group_mat(p, i), &g, B, scratch, x + (ptrdiff_t)i * g.C,
                     y + (ptrdiff_t)i * g.F, afterwards ? KY_LINEAR : l->cfg.activation);
    for (int r = 0; afterwards && r < B; r++)
        ky_activation_rows(k, l->cfg.activation, g.h.n_out * g.w.n_out, g.yc, y + r * g.yb,
                           y + r * g.yb);
}

/* Outputs along axis i that are read. */
static int outputs_read(const ky_layer *l, int i, int n)
{
    int size = l->pooled[i].size, strides = l->pooled[i].strides;

    return size > 0 && n >= size ? (n - size) / strides * strides + size : n;
}

/* A whole image without those of its last rows and columns that nobody reads: of 11x11 outputs in
 * front of a pool of 2x2 that is a sixth of the work. */
static void image(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_call *c,
                  const ky_real *x, ky_real *y)
{
    ky_plane g = ky_local_plane(l, c->T);

    g.y_columns = g.w.n_out;
    g.h.n_out = outputs_read(l, 0, g.h.n_out);
    g.w.n_out = outputs_read(l, 1, g.w.n_out);
    ky_correlate(k, p->mat, &g, c->B, c->scratch, x, y, l->cfg.activation);
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    if (l->pooled[0].size > 0 && l->cfg.groups == 1)
        image(l, k, p, c, x, y);
    else
        ky_local_window(l, k, p, w, c, x, y, correlate);
}

static void step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                 const ky_call *c, const ky_real *x, ky_real *y, bool *emit)
{
    ky_local_step(l, k, p, w, c, x, y, emit, correlate);
}

/* -- backward, of Conv1D --------------------------------------------------------------- */

/* Steps of dz spread out by the strides, with zeros between. */
static int spread_steps(const ky_plane *g)
{
    return (g->h.n_out - 1) * g->h.s + 1;
}

/* Runs. Backward: dz, and dz spread. */
static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    ky_plane g = ky_local_plane(l, T);
    size_t n = (size_t)B * (size_t)g.F, runs = ky_correlate_scratch(&g);

    (void)p;
    if (!backward)
        return ky_local_scratch(l, B, T, runs);
    return runs + ky_lines(n * (size_t)g.h.n_out) + (g.h.s > 1 ? n * (size_t)spread_steps(&g) : 0);
}

/* dW of taps [j0,j1) += sum over K rows of x (at tap 0) times dz. */
static void tap_gradients(const ky_kernels *k, const ky_plane *g, int j0, int j1, int K,
                          const ky_real *x, ptrdiff_t xs, const ky_real *dz, ptrdiff_t dzs,
                          ky_real *dw)
{
    bool neighbours = g->h.d == 1 && g->C == g->xc; /* one longer row of x */
    int together = neighbours ? j1 - j0 : 1;

    for (int j = j0; j < j1; j += together)
        k->gemm_tn(together * g->C, g->F, K, x + (ptrdiff_t)j * g->h.d * g->xc, xs, dz, dzs,
                   dw + (ptrdiff_t)j * g->C * g->yc, g->yc);
}

static void kernel_gradient(const ky_kernels *k, const ky_plane *g, int B, const ky_real *x,
                            const ky_real *dz, ky_real *dw)
{
    for (int t = 0, end, j0, j1; t < g->h.n_out; t = end) {
        const ky_real *x_t = x + ((ptrdiff_t)t * g->h.s - g->h.pad) * g->xc;
        const ky_real *dz_t = dz + (ptrdiff_t)t * g->yc;

        end = ky_axis_same(&g->h, t, &j0, &j1);
        if (end == t + 1)
            tap_gradients(k, g, j0, j1, B, x_t, g->xb, dz_t, g->yb, dw);
        for (int r = 0; end > t + 1 && r < B; r++)
            tap_gradients(k, g, j0, j1, end - t, x_t + r * g->xb, (ptrdiff_t)g->h.s * g->xc,
                          dz_t + r * g->yb, g->yc, dw);
    }
}

static const ky_real *spread(const ky_plane *g, int B, const ky_real *dz, ky_real *to)
{
    size_t step = (size_t)g->yc, wide = (size_t)spread_steps(g) * step;

    memset(to, 0, (size_t)B * wide * sizeof(*to));
    for (size_t r = 0; r < (size_t)B; r++)
        for (size_t t = 0; t < (size_t)g->h.n_out; t++)
            memcpy(to + r * wide + t * (size_t)g->h.s * step,
                   dz + (r * (size_t)g->h.n_out + t) * step, step * sizeof(*to));
    return to;
}

/* The correlation of dz with the reversed kernel that gives dx. */
static ky_plane backward_plane(const ky_plane *g)
{
    ky_plane back = { .w = g->w, .C = g->F, .F = g->C, .xc = g->yc, .yc = g->xc, .yb = g->xb };

    back.h = (ky_axis){ .taps = g->h.taps,
                        .s = 1,
                        .d = g->h.d,
                        .pad = (g->h.taps - 1) * g->h.d - g->h.pad,
                        .n = spread_steps(g),
                        .n_out = g->h.n };
    back.xb = (ptrdiff_t)back.h.n * back.xc;
    return back;
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    ky_plane all = ky_local_plane(l, c->T), g = group_plane(l, &all), back = backward_plane(&g);
    int R = c->B * g.h.n_out;
    ky_real *scratch = c->scratch + ky_correlate_scratch(&all);
    ky_real *dz_own = ky_cut(&scratch, (size_t)R * (size_t)g.yc);
    const ky_real *dz = dy;

    (void)w;
    if (l->cfg.activation != KY_LINEAR) {
        ky_activation_back(l->cfg.activation, R, g.yc, y, dy, dz_own);
        dz = dz_own;
    }
    for (int i = 0; i < l->cfg.groups; i++)
        kernel_gradient(k, &g, c->B, x + (ptrdiff_t)i * g.C, dz + (ptrdiff_t)i * g.F,
                        dw + (ptrdiff_t)i * g.F);
    if (l->cfg.use_bias)
        k->colsum(g.yc, R, dz, g.yc, dw + l->weights[1].at);
    if (dx == NULL)
        return;
    if (g.h.s > 1)
        dz = spread(&g, c->B, dz, scratch);
    for (int i = 0; i < l->cfg.groups; i++)
        ky_correlate(k, p->inner != NULL ? p->inner[i].back_x : p->back_x, &back, c->B, c->scratch,
                     dz + (ptrdiff_t)i * g.F, dx + (ptrdiff_t)i * g.C, KY_LINEAR);
}

/* ---------------------------------------------------------------------------------------- */

static size_t macs(const ky_layer *l, int T)
{
    return ky_local_positions(l, 1, T) * l->weights[0].len;
}

static const ky_field fields_1d[] = {
    { "filters", "nb_filter", KY_F_INT, KY_FIELD(filters), 0, KY_FREE, 0 },
    { "kernel_size", "filter_length", KY_F_INT, KY_FIELD(kernel_size), 0, KY_FREE, 1 },
    { "strides", "subsample_length", KY_F_INT, KY_FIELD(strides), 1, KY_FREE, 1 },
    { "padding", "border_mode", KY_F_PADDING, KY_FIELD(padding), KY_VALID, KY_FREE, 0 },
    { "dilation_rate", "atrous_rate", KY_F_INT, KY_FIELD(dilation_rate), 1, KY_FREE, 1 },
    { "groups", NULL, KY_F_INT, KY_FIELD(groups), 1, KY_FREE, 0 },
    { "activation", NULL, KY_F_ACTIVATION, KY_FIELD(activation), KY_LINEAR, KY_FREE, 0 },
    { "use_bias", "bias", KY_F_BOOL, KY_FIELD(use_bias), true, KY_FREE, 0 },
    { 0 },
};

/* Keras 1 had nb_row and nb_col for kernel_size. */
static const ky_field fields_2d[] = {
    { "filters", "nb_filter", KY_F_INT, KY_FIELD(filters), 0, KY_FREE, 0 },
    { "kernel_size", NULL, KY_F_INT, KY_FIELD(kernel_size), 0, KY_FREE, 2 },
    { "strides", "subsample", KY_F_INT, KY_FIELD(strides), 1, KY_FREE, 2 },
    { "padding", "border_mode", KY_F_PADDING, KY_FIELD(padding), KY_VALID, KY_FREE, 0 },
    { "dilation_rate", "atrous_rate", KY_F_INT, KY_FIELD(dilation_rate), 1, KY_FREE, 2 },
    { "groups", NULL, KY_F_INT, KY_FIELD(groups), 1, KY_FREE, 0 },
    { "activation", NULL, KY_F_ACTIVATION, KY_FIELD(activation), KY_LINEAR, KY_FREE, 0 },
    { "use_bias", "bias", KY_F_BOOL, KY_FIELD(use_bias), true, KY_FREE, 0 },
    { 0 },
};

const ky_layer_ops ky_conv1d_ops = {
    .class_name = "Conv1D",
    .fields = fields_1d,
    .shape = shape_1d,
    .steps = ky_local_steps,
    .init = init,
    .pack = pack,
    .n_scratch = n_scratch,
    .taps = ky_local_taps,
    .window = window,
    .step = step,
    .state_ok = ky_local_state_ok,
    .backward = backward,
    .macs = macs,
};

const ky_layer_ops ky_conv2d_ops = {
    .class_name = "Conv2D",
    .fields = fields_2d,
    .shape = shape_2d,
    .steps = ky_local_steps,
    .init = init,
    .pack = pack,
    .n_scratch = n_scratch,
    .taps = ky_local_taps,
    .window = window,
    .step = step,
    .state_ok = ky_local_state_ok,
    .macs = macs,
};
