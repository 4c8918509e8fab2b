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

/* The kernel of group i, [taps,C,F]. */
static ky_mat *pack_group(const ky_layer *l, const ky_kernels *k, const ky_real *w, int i)
{
    size_t taps = (size_t)taps_of(l), C = (size_t)group_inputs(l), F = (size_t)group_outputs(l);
    size_t all = (size_t)l->cfg.filters, at = (size_t)i * F;
    const ky_real *b = l->cfg.use_bias ? w + l->weights[1].at + at : NULL;
    ky_real *t = malloc(taps * C * F * sizeof(*t));
    ky_mat *m;

    if (t == NULL)
        return NULL;
    for (size_t j = 0; j < taps; j++)
        for (size_t c = 0; c < C; c++)
            memcpy(t + (j * C + c) * F, w + (j * C + c) * all + at, F * sizeof(*t));
    m = k->mat_new((int)(taps * C), (int)F, t, b);
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

        p->mat = pack_group(l, k, w, i);
        if (backward)
            p->back_x = ky_pack_reversed(k, taps_of(l), group_inputs(l), group_outputs(l),
                                         l->cfg.filters, w + (size_t)i * (size_t)group_outputs(l));
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
    bool afterwards = l->cfg.groups > 1 && ky_activation_by_rows(l->cfg.activation);

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

/* The plane of T steps without those of the last rows and columns that nobody reads: of 11x11
 * outputs in front of a pool of 2x2 that is a sixth of the work. */
static ky_plane read_plane(const ky_layer *l, int T)
{
    ky_plane g = ky_local_plane(l, T);

    g.y_columns = g.w.n_out;
    g.h.n_out = outputs_read(l, 0, g.h.n_out);
    g.w.n_out = outputs_read(l, 1, g.w.n_out);
    return g;
}

static void image(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_call *c,
                  const ky_real *x, ky_real *y)
{
    ky_plane g = read_plane(l, c->T);

    ky_correlate(k, p->mat, &g, c->B, c->scratch, x, y, l->cfg.activation);
}

static void convolve(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, ky_real *y)
{
    if (l->pooled[0].size > 0 && l->cfg.groups == 1)
        image(l, k, p, c, x, y);
    else
        ky_local_window(l, k, p, w, c, x, y, correlate);
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    ky_activated_window(l, k, p, w, c, x, y, convolve);
}

static void step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                 const ky_call *c, const ky_real *x, ky_real *y, bool *emit)
{
    ky_local_step(l, k, p, w, c, x, y, emit, correlate);
}

/* -- backward --------------------------------------------------------------------------- */

static bool is_spread(const ky_plane *g)
{
    return g->h.s > 1 || g->w.s > 1;
}

static size_t dz_reals(const ky_plane *g, int B)
{
    return (size_t)B * (size_t)g->h.n_out * (size_t)g->w.n_out * (size_t)g->yc;
}

/* Runs. Backward: dz, and dz spread. */
static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    ky_plane g = ky_local_plane(l, T);
    size_t runs = ky_correlate_scratch(&g);

    (void)p;
    if (!backward)
        return ky_local_scratch(l, B, T, runs);
    return runs + ky_lines(dz_reals(&g, B)) + (is_spread(&g) ? ky_spread_reals(&g, B) : 0);
}

/* dL/d(sums) [B,h,w,F] of the outputs that are read, one behind the other. What is not read has no
 * gradient, and y may hold anything there. */
static const ky_real *before_activation(const ky_layer *l, const ky_kernels *k, ky_plane *g,
                                        const ky_call *c, const ky_real *y, const ky_real *dy,
                                        ky_real *dz)
{
    enum ky_activation act = l->cfg.activation;
    const ky_real *sums = ky_activation_wants_x(act) ? c->tape : y;
    int F = g->yc, columns = g->y_columns;
    ptrdiff_t row = (ptrdiff_t)g->w.n_out * F;
    bool whole = row * g->h.n_out == g->yb;
    ky_real *to = dz;

    if (whole && act == KY_LINEAR)
        return dy;
    if (whole)
        ky_activation_back(k, act, c->B * g->h.n_out * g->w.n_out, F, sums, y, dy, dz);
    for (int r = 0; !whole && r < c->B; r++)
        for (int t = 0; t < g->h.n_out; t++, to += row) {
            ptrdiff_t at = r * g->yb + (ptrdiff_t)t * columns * F;

            ky_activation_back(k, act, g->w.n_out, F, sums + at, y + at, dy + at, to);
        }
    g->y_columns = 0;
    g->yb = row * g->h.n_out;
    return dz;
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    ky_plane all = read_plane(l, c->T), g, back;
    ky_real *scratch = c->scratch + ky_correlate_scratch(&all);
    ky_real *own = ky_cut(&scratch, dz_reals(&all, c->B));
    const ky_real *dz = before_activation(l, k, &all, c, y, dy, own);

    (void)w;
    g = group_plane(l, &all);
    back = ky_plane_back(&g);
    for (int i = 0; i < l->cfg.groups; i++)
        ky_correlate_gradient(k, &g, c->B, c->scratch, x + (ptrdiff_t)i * g.C,
                              dz + (ptrdiff_t)i * g.F, dw + (ptrdiff_t)i * g.F, g.yc);
    if (l->cfg.use_bias)
        k->colsum(g.yc, c->B * g.h.n_out * g.w.n_out, dz, g.yc, dw + l->weights[1].at);
    if (dx == NULL)
        return;
    if (is_spread(&g))
        dz = ky_spread(&g, c->B, dz, scratch);
    for (int i = 0; i < l->cfg.groups; i++)
        ky_correlate(k, p->inner != NULL ? p->inner[i].back_x : p->back_x, &back, c->B, c->scratch,
                     dz + (ptrdiff_t)i * g.F, dx + (ptrdiff_t)i * g.C, KY_LINEAR);
}

/* ---------------------------------------------------------------------------------------- */

static size_t macs(const ky_layer *l, int T)
{
    return ky_local_positions(l, 1, T) * l->weights[0].len;
}

#define FIELDS(axes)                                                                               \
    { "filters", KY_F_INT, KY_FIELD(filters), 0, 0 }, KY_KERNEL_FIELDS(axes),                      \
        { "groups", KY_F_INT, KY_FIELD(groups), 1, 0 }, KY_OUTPUT_FIELDS

static const ky_field fields_1d[] = { FIELDS(1), { 0 } };
static const ky_field fields_2d[] = { FIELDS(2), { 0 } };

#define OPS                                                                                        \
    .steps = ky_local_steps, .taps = ky_local_taps, .init = init, .pack = pack,                    \
    .n_scratch = n_scratch, .n_tape = ky_activated_tape, .window = window, .step = step,           \
    .state_ok = ky_local_state_ok, .backward = backward, .macs = macs

const ky_layer_ops ky_conv1d_ops = {
    .class_name = "Conv1D", .fields = fields_1d, .shape = shape_1d, OPS
};

const ky_layer_ops ky_conv2d_ops = {
    .class_name = "Conv2D", .fields = fields_2d, .shape = shape_2d, OPS
};
