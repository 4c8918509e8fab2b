#include "models/local.h"

#include <stdlib.h>
#include <string.h>

/* -- axes ---------------------------------------------------------------------------- */

static int reach(int taps, int d) /* from the first tap to the last */
{
    return (taps - 1) * d;
}

int ky_axis_outputs(int taps, int s, int d, enum ky_padding padding, int n)
{
    if (n < 1)
        return 0;
    if (padding != KY_VALID)
        return (n - 1) / s + 1;
    return n > reach(taps, d) ? (n - 1 - reach(taps, d)) / s + 1 : 0;
}

ky_axis ky_axis_of(int taps, int s, int d, enum ky_padding padding, int n)
{
    int n_out = ky_axis_outputs(taps, s, d, padding, n), pad = 0;
    int total = (n_out - 1) * s + reach(taps, d) + 1 - n;

    if (padding == KY_CAUSAL)
        pad = reach(taps, d);
    else if (padding == KY_SAME && total > 0)
        pad = total / 2; /* the odd one goes behind */
    return (ky_axis){ .taps = taps, .s = s, .d = d, .pad = pad, .n = n, .n_out = n_out };
}

static void taps_inside(const ky_axis *a, int t, int *ret0, int *ret1)
{
    int first = t * a->s - a->pad, room = a->n - 1 - first;
    int j0 = first < 0 ? (-first + a->d - 1) / a->d : 0;
    int j1 = room < 0 ? 0 : room / a->d + 1;

    j0 = j0 < a->taps ? j0 : a->taps;
    j1 = j1 < a->taps ? j1 : a->taps;
    *ret0 = j0;
    *ret1 = j1 > j0 ? j1 : j0;
}

int ky_axis_same(const ky_axis *a, int t, int *ret0, int *ret1)
{
    int end = t + 1, j0, j1;

    taps_inside(a, t, ret0, ret1);
    for (; end < a->n_out; end++) {
        taps_inside(a, end, &j0, &j1);
        if (j0 != *ret0 || j1 != *ret1)
            break;
    }
    return end;
}

/* -- layers -------------------------------------------------------------------------- */

static ky_axis layer_axis(const ky_layer *l, int i, int n)
{
    return ky_axis_of(l->cfg.kernel_size[i], l->cfg.strides[i], l->cfg.dilation_rate[i],
                      l->cfg.padding, n);
}

static int check_axis(const ky_layer *l, int i, const char *what, ky_err *err)
{
    int taps = l->cfg.kernel_size[i], s = l->cfg.strides[i], d = l->cfg.dilation_rate[i], rc;

    if ((rc = ky_layer_range(what, taps, 1, err)) < 0 ||
        (rc = ky_layer_range("strides", s, 1, err)) < 0 ||
        (rc = ky_layer_range("dilation_rate", d, 1, err)) < 0)
        return rc;
    if ((int64_t)(taps - 1) * d > KY_MAX_DIM)
        return ky_fail(err, KY_EINVAL, "%s %d with dilation_rate %d reaches too far", what, taps,
                       d);
    return KY_OK;
}

static int check(ky_layer *l, int rank, const char *what, ky_err *err)
{
    int most_strides = 1, most_dilation = 1, rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < rank - 1; i++) {
        int s = l->cfg.strides[i], d = l->cfg.dilation_rate[i];

        rc = check_axis(l, i, what, err);
        most_strides = s > most_strides ? s : most_strides;
        most_dilation = d > most_dilation ? d : most_dilation;
    }
    if (rc == KY_OK && most_strides > 1 && most_dilation > 1)
        rc = ky_fail(err, KY_EINVAL, "strides %d and dilation_rate %d: only one may exceed 1",
                     most_strides, most_dilation);
    return rc;
}

static int check_input(ky_layer *l, int rank, ky_err *err)
{
    if (rank == 2)
        return ky_layer_needs_time(l, rank, err);
    if (l->cfg.padding == KY_CAUSAL)
        return ky_fail(err, KY_EINVAL, "padding is 'causal', must be 'valid' or 'same'");
    return ky_layer_needs_image(l, err);
}

static int columns(const ky_layer *l)
{
    return l->in.rank == 3 ? l->in.d[1] : 1;
}

static ky_reach reach_of(const ky_layer *l)
{
    return (ky_reach){ .past = reach(l->cfg.kernel_size[0], l->cfg.dilation_rate[0]),
                       .channels = columns(l) * ky_features(&l->in),
                       .strides = l->cfg.strides[0],
                       .full = l->cfg.padding != KY_CAUSAL };
}

int ky_local_shape(ky_layer *l, int rank, const char *what, int F, ky_err *err)
{
    int rc = check_input(l, rank, err);
    ky_reach k;

    if (rc < 0 || (rc = check(l, rank, what, err)) < 0)
        return rc;
    l->out = (ky_shape){ .rank = rank, .timed = true };
    l->out.d[0] = KY_ANY;
    l->out.d[rank - 1] = F;
    if (rank == 3 && (l->out.d[1] = layer_axis(l, 1, l->in.d[1]).n_out) < 1)
        return ky_fail(err, KY_ESHAPE, "%d columns are too few for it", l->in.d[1]);
    l->form = KY_LOCAL;
    k = reach_of(l);
    l->state_reals = ky_ring_reals(&k);
    if (l->cfg.padding == KY_SAME && k.past > 0)
        l->no_step = "padding 'same' looks ahead, so its answers would change with every sample";
    return KY_OK;
}

int ky_local_steps(const ky_layer *l, int T)
{
    return ky_axis_outputs(l->cfg.kernel_size[0], l->cfg.strides[0], l->cfg.dilation_rate[0],
                           l->cfg.padding, T);
}

/* The plane whose steps are the axis h. */
static ky_plane plane_of(const ky_layer *l, ky_axis h)
{
    static const ky_axis one = { .taps = 1, .s = 1, .d = 1, .n = 1, .n_out = 1 };
    int C = ky_features(&l->in), F = ky_features(&l->out);
    ky_plane g = { .h = h, .w = one, .C = C, .F = F, .xc = C, .yc = F };

    if (l->in.rank == 3)
        g.w = layer_axis(l, 1, l->in.d[1]);
    g.xb = (ptrdiff_t)h.n * g.w.n * C;
    g.yb = (ptrdiff_t)h.n_out * g.w.n_out * F;
    return g;
}

ky_plane ky_local_plane(const ky_layer *l, int T)
{
    return plane_of(l, layer_axis(l, 0, T));
}

size_t ky_local_positions(const ky_layer *l, int B, int T)
{
    ky_plane g = ky_local_plane(l, T);
    int steps = g.h.n_out > 0 ? g.h.n_out : 1;

    return (size_t)B * (size_t)steps * (size_t)g.w.n_out;
}

ky_taps ky_local_taps(const ky_layer *l, int T)
{
    ky_axis h = layer_axis(l, 0, T);

    return (ky_taps){ .stride = h.s, .first = -h.pad, .span = reach(h.taps, h.d) + 1 };
}

/* A part of the steps of h, as an axis of its own. */
static ky_axis part_of(ky_axis h, const ky_stretch *part)
{
    h.pad += part->i0 - part->o0 * h.s;
    h.n = part->i1 - part->i0;
    h.n_out = part->o1 - part->o0;
    return h;
}

void ky_local_window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, ky_real *y, ky_local_fn *fn)
{
    ky_axis h = layer_axis(l, 0, c->T);
    ky_plane g = plane_of(l, c->part != NULL ? part_of(h, c->part) : h);

    fn(l, k, p, w, &g, c->B, c->scratch, x, y);
}

/* -- steps --------------------------------------------------------------------------- */

/* The inputs of an output of row r side by side; returns the first tap that is there. */
static int gather(const ky_layer *l, const ky_reach *k, const void *state, const ky_real *x,
                  ky_real *panel)
{
    int taps = l->cfg.kernel_size[0], d = l->cfg.dilation_rate[0];
    int j0 = taps - 1 - ky_ring_seen(state) / d; /* at least 0: the ring holds (taps-1)*d */
    size_t wide = (size_t)k->channels;

    for (int j = j0; j < taps - 1; j++)
        memcpy(panel + (size_t)j * wide, ky_ring_past(k, state, (taps - 1 - j) * d),
               wide * sizeof(*x));
    memcpy(panel + (size_t)(taps - 1) * wide, x, wide * sizeof(*x));
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

void ky_local_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y, bool *emit, ky_local_fn *fn)
{
    ky_reach reach_l = reach_of(l);
    int taps = l->cfg.kernel_size[0];
    size_t step = (size_t)reach_l.channels, wide = (size_t)taps * step;
    ky_plane g = plane_of(l, (ky_axis){ .taps = taps, .s = 1, .d = 1, .n = taps, .n_out = 1 });
    ky_real *scratch = c->scratch;
    int *first = (int *)(void *)ky_cut(&scratch, (size_t)c->B);
    ky_real *panel = ky_cut(&scratch, (size_t)c->B * wide);

    for (int r = 0; r < c->B; r++, x += step) {
        emit[r] = ky_ring_due(&reach_l, c->state[r]);
        first[r] = emit[r] ? gather(l, &reach_l, c->state[r], x, panel + (size_t)r * wide) : -1;
        ky_ring_put(&reach_l, c->state[r], x);
    }
    for (int r = 0, end; r < c->B; r = end) {
        end = same_taps_end(first, r, c->B);
        if (first[r] < 0)
            continue;
        g.h.pad = first[r];
        g.h.n = taps - first[r];
        fn(l, k, p, w, &g, end - r, scratch, panel + (size_t)r * wide + (size_t)first[r] * step,
           y + (ptrdiff_t)r * g.yb);
    }
}

/* A step wants room for its first taps and inputs, and so may what is called with T = 1. */
size_t ky_local_scratch(const ky_layer *l, int B, int T, size_t own)
{
    size_t wide = (size_t)l->cfg.kernel_size[0] * (size_t)reach_of(l).channels;

    if (T > 1)
        return own;
    return ky_lines((size_t)B) + ky_lines((size_t)B * wide) + own;
}

bool ky_local_state_ok(const ky_layer *l, const void *state)
{
    ky_reach k = reach_of(l);

    return ky_ring_ok(&k, state);
}

/* -- correlations -------------------------------------------------------------------- */

size_t ky_correlate_scratch(const ky_plane *g)
{
    return ky_run_reals((size_t)g->h.taps * (size_t)g->w.taps);
}

/* A range of outputs along an axis, the taps they all have, and where they begin. */
typedef struct stretch {
    int t, n, j0, j1;
    ptrdiff_t first; /* input of tap 0 of output t */
} stretch;

static stretch stretch_at(const ky_axis *a, int t)
{
    stretch s = { .t = t };

    s.n = ky_axis_same(a, t, &s.j0, &s.j1) - t;
    s.first = (ptrdiff_t)t * a->s - a->pad;
    return s;
}

/* The taps of a stretch of steps and one of columns as runs of n taps; neighbours become one. */
static int find_runs(const ky_plane *g, const stretch *h, const stretch *w, ky_run *runs)
{
    int n = 0;

    for (int i = h->j0; i < h->j1; i++)
        for (int j = w->j0; j < w->j1; j++) {
            ptrdiff_t step = h->first + (ptrdiff_t)i * g->h.d;
            ptrdiff_t column = w->first + (ptrdiff_t)j * g->w.d;
            ky_run u = { (step * g->w.n + column) * g->xc, i * g->w.taps + j, 1 }, *last = runs;

            if (n > 0)
                last = &runs[n - 1];
            if (n > 0 && last->at + (ptrdiff_t)last->n * g->C == u.at && last->k + last->n == u.k)
                last->n++;
            else
                runs[n++] = u;
        }
    return n;
}

/* What is done at every position of y, forward or back; without dy, dx and dw the former. */
typedef struct product product;
typedef void product_fn(const product *p, int R, const ky_real *x, ptrdiff_t xs, ptrdiff_t y,
                        ptrdiff_t ys);
struct product {
    const ky_kernels *k;
    product_fn *rows; /* R positions from x and from the real y of the outputs on */
    const ky_mat *m;
    const ky_real *w, *b;
    int C, F;
    bool mean;
    enum ky_activation act;
    const ky_real *x;
    ky_real *y;
    const ky_real *taken, *dy; /* y and dL/dy, going back */
    ky_real *dx, *dw;
    ptrdiff_t dws; /* from one row of dw to the next */
    bool in_order; /* steps at once where there are several, of one row after the other */
    int n_runs;
    ky_run *runs;
};

static void matrix_rows(const product *p, int R, const ky_real *x, ptrdiff_t xs, ptrdiff_t y,
                        ptrdiff_t ys)
{
    p->k->rows(p->m, p->n_runs, p->runs, R, x, xs, p->y + y, ys, p->act);
}

static void pool_rows(const product *p, int R, const ky_real *x, ptrdiff_t xs, ptrdiff_t y,
                      ptrdiff_t ys)
{
    p->k->pool(p->mean, p->C, p->n_runs, p->runs, R, x, xs, p->y + y, ys);
}

static void channel_rows(const product *p, int R, const ky_real *x, ptrdiff_t xs, ptrdiff_t y,
                         ptrdiff_t ys)
{
    p->k->depthwise(p->C, p->F / p->C, p->n_runs, p->runs, p->w, p->b, R, x, xs, p->y + y, ys,
                    p->act);
}

/* dW of every run += its inputs times dy. */
static void matrix_gradient(const product *p, int R, const ky_real *x, ptrdiff_t xs, ptrdiff_t y,
                            ptrdiff_t ys)
{
    for (const ky_run *u = p->runs; u < p->runs + p->n_runs; u++)
        p->k->gemm_tn(u->n * p->C, p->F, R, x + u->at, xs, p->dy + y, ys,
                      p->dw + (ptrdiff_t)u->k * p->C * p->dws, p->dws);
}

static void pool_back(const product *p, int R, const ky_real *x, ptrdiff_t xs, ptrdiff_t y,
                      ptrdiff_t ys)
{
    int taps = 0;

    for (int i = 0; i < p->n_runs; i++)
        taps += p->runs[i].n;
    for (int r = 0; r < R; r++, x += xs, y += ys) {
        ky_real *dx = p->dx + (x - p->x);

        if (!p->mean)
            ky_maximum_back(p->C, p->n_runs, p->runs, x, p->taken + y, p->dy + y, dx);
        for (int i = 0; p->mean && i < p->n_runs; i++)
            ky_mean_back(taps, p->runs[i].n, p->C, p->dy + y, dx + p->runs[i].at);
    }
}

/* One tap of one position: each of C channels with its only filter, a loop that compilers make
 * vectors of. */
static void single_back(int C, const ky_real *x, const ky_real *w, const ky_real *dy, ky_real *dx,
                        ky_real *dw)
{
    for (int c = 0; c < C; c++)
        dw[c] += x[c] * dy[c];
    for (int c = 0; dx != NULL && c < C; c++)
        dx[c] += w[c] * dy[c];
}

/* The same with M filters a channel, w [C,M] and dy [C,M]. */
static void channel_back(int C, int M, const ky_real *x, const ky_real *w, const ky_real *dy,
                         ky_real *dx, ky_real *dw)
{
    if (M == 1) {
        single_back(C, x, w, dy, dx, dw);
        return;
    }
    for (int c = 0; c < C; c++)
        for (int j = c * M; j < c * M + M; j++)
            dw[j] += x[c] * dy[j];
    for (int c = 0; dx != NULL && c < C; c++)
        for (int j = c * M; j < c * M + M; j++)
            dx[c] += w[j] * dy[j];
}

static void channels_back(const product *p, int R, const ky_real *x, ptrdiff_t xs, ptrdiff_t y,
                          ptrdiff_t ys)
{
    int C = p->C, M = p->F / C;

    for (const ky_run *u = p->runs; u < p->runs + p->n_runs; u++)
        for (int t = 0; t < u->n; t++) {
            ptrdiff_t at = u->at + (ptrdiff_t)t * C, k = (ptrdiff_t)(u->k + t) * p->F;

            for (int r = 0; r < R; r++) {
                const ky_real *one = x + r * xs + at;

                channel_back(C, M, one, p->w + k, p->dy + y + r * ys,
                             p->dx != NULL ? p->dx + (one - p->x) : NULL, p->dw + k);
            }
        }
}

/* One of the three sides of a box of outputs: batch, steps, columns. */
typedef struct side {
    int n;
    ptrdiff_t xs, ys;
} side;

/* Rows that fill the tallest tile of the kernels: a longer side is not worth a look elsewhere. */
enum { TALL = 12 };

/* Which side of a box to take at once. The outputs of one image lie closer together than those of
 * many, so the columns come first, and the batch is for small images. */
static int long_side(const product *p, const side s[3])
{
    int longest = 2;

    if (p->in_order)
        return s[1].n > 1 ? 1 : 0;
    for (int i = 2; i >= 0 && s[longest].n < TALL; i--)
        if (s[i].n > s[longest].n)
            longest = i;
    return longest;
}

static void take_box(const product *p, const side s[3], const ky_real *x, ptrdiff_t y)
{
    int at_once = long_side(p, s), outer = at_once == 0 ? 1 : 0, inner = 3 - at_once - outer;
    side a = s[outer], b = s[inner], c = s[at_once];

    for (int i = 0; i < a.n; i++)
        for (int j = 0; j < b.n; j++)
            p->rows(p, c.n, x + i * a.xs + j * b.xs, c.xs, y + i * a.ys + j * b.ys, c.ys);
}

/* Runs of taps as runs of a matrix's rows. */
static void count_inputs(product *p)
{
    for (int i = 0; p->m != NULL && i < p->n_runs; i++) {
        p->runs[i].k *= p->C;
        p->runs[i].n *= p->C;
    }
}

static void take_plane(product *p, const ky_plane *g, int B, const ky_real *x, ptrdiff_t y)
{
    int y_columns = g->y_columns > 0 ? g->y_columns : g->w.n_out;
    ptrdiff_t x_step = (ptrdiff_t)g->w.n * g->xc, y_step = (ptrdiff_t)y_columns * g->yc;
    stretch h, w;

    for (int t = 0; t < g->h.n_out; t += h.n) {
        h = stretch_at(&g->h, t);
        for (int u = 0; u < g->w.n_out; u += w.n) {
            w = stretch_at(&g->w, u);
            side s[3] = { { B, g->xb, g->yb },
                          { h.n, g->h.s * x_step, y_step },
                          { w.n, (ptrdiff_t)g->w.s * g->xc, g->yc } };

            p->n_runs = find_runs(g, &h, &w, p->runs);
            count_inputs(p);
            take_box(p, s, x, y + t * y_step + (ptrdiff_t)u * g->yc);
        }
    }
}

/* So many rows of the batch at once that they stay in the second cache from box to box. */
static void take_batch(product *p, const ky_plane *g, int B, ky_real *scratch)
{
    enum { NEAR = 1 << 18, LEAST = 2 * TALL };
    ptrdiff_t fit = NEAR / (ptrdiff_t)sizeof(*p->x) / (g->xb + g->yb);
    int most = fit < LEAST ? LEAST : fit > B ? B : (int)fit / TALL * TALL;

    if (p->in_order)
        most = B; /* blocks would make another order */
    p->C = g->C;
    p->F = g->F;
    p->runs = ky_cut_runs(&scratch, (size_t)g->h.taps * (size_t)g->w.taps);
    for (int r = 0; r < B; r += most)
        take_plane(p, g, B - r < most ? B - r : most, p->x + r * g->xb, r * g->yb);
}

void ky_correlate(const ky_kernels *k, const ky_mat *m, const ky_plane *g, int B, ky_real *scratch,
                  const ky_real *x, ky_real *y, enum ky_activation act)
{
    product p = { .k = k, .rows = matrix_rows, .m = m, .x = x, .y = y, .act = act };

    take_batch(&p, g, B, scratch);
}

void ky_correlate_channels(const ky_kernels *k, const ky_real *w, const ky_real *b,
                           const ky_plane *g, int B, ky_real *scratch, const ky_real *x, ky_real *y,
                           enum ky_activation act)
{
    product p = { .k = k, .rows = channel_rows, .w = w, .b = b, .x = x, .y = y, .act = act };

    take_batch(&p, g, B, scratch);
}

void ky_correlate_pools(const ky_kernels *k, bool mean, const ky_plane *g, int B, ky_real *scratch,
                        const ky_real *x, ky_real *y)
{
    product p = { .k = k, .rows = pool_rows, .mean = mean, .x = x, .y = y };

    take_batch(&p, g, B, scratch);
}

static int spread_outputs(const ky_axis *a)
{
    return (a->n_out - 1) * a->s + 1;
}

static ky_axis axis_back(const ky_axis *a)
{
    return (ky_axis){ .taps = a->taps,
                      .s = 1,
                      .d = a->d,
                      .pad = (a->taps - 1) * a->d - a->pad,
                      .n = spread_outputs(a),
                      .n_out = a->n };
}

ky_plane ky_plane_back(const ky_plane *g)
{
    ky_plane back = { .C = g->F, .F = g->C, .xc = g->yc, .yc = g->xc, .yb = g->xb };

    back.h = axis_back(&g->h);
    back.w = axis_back(&g->w);
    back.xb = (ptrdiff_t)back.h.n * back.w.n * back.xc;
    return back;
}

size_t ky_spread_reals(const ky_plane *g, int B)
{
    return (size_t)B * (size_t)spread_outputs(&g->h) * (size_t)spread_outputs(&g->w) *
           (size_t)g->yc;
}

const ky_real *ky_spread(const ky_plane *g, int B, const ky_real *dy, ky_real *to)
{
    size_t F = (size_t)g->yc, row = (size_t)spread_outputs(&g->w) * F;
    size_t image = (size_t)spread_outputs(&g->h) * row;

    memset(to, 0, ky_spread_reals(g, B) * sizeof(*to));
    for (size_t r = 0; r < (size_t)B; r++)
        for (size_t t = 0; t < (size_t)g->h.n_out; t++)
            for (size_t u = 0; u < (size_t)g->w.n_out; u++, dy += F)
                memcpy(to + r * image + t * (size_t)g->h.s * row + u * (size_t)g->w.s * F, dy,
                       F * sizeof(*to));
    return to;
}

ky_mat *ky_pack_reversed(const ky_kernels *k, int taps, int C, int F, int all, const ky_real *w)
{
    size_t n = (size_t)taps, in = (size_t)C, out = (size_t)F;
    ky_real *t = malloc(n * in * out * sizeof(*t));
    ky_mat *m;

    if (t == NULL)
        return NULL;
    for (size_t j = 0; j < n; j++)
        for (size_t c = 0; c < in; c++)
            for (size_t f = 0; f < out; f++)
                t[((n - 1 - j) * out + f) * in + c] = w[(j * in + c) * (size_t)all + f];
    m = k->mat_new(taps * F, C, t, NULL);
    free(t);
    return m;
}

void ky_correlate_gradient(const ky_kernels *k, const ky_plane *g, int B, ky_real *scratch,
                           const ky_real *x, const ky_real *dy, ky_real *dw, ptrdiff_t dws)
{
    product p = { .k = k, .rows = matrix_gradient, .x = x, .dy = dy, .dw = dw, .dws = dws };

    p.in_order = g->w.n == 1 && g->w.taps == 1; /* so that Conv1D learns the bytes it always has */
    take_batch(&p, g, B, scratch);
}

static void clear(const ky_plane *g, int B, ky_real *dx)
{
    if (dx != NULL)
        memset(dx, 0, (size_t)B * (size_t)g->xb * sizeof(*dx));
}

void ky_correlate_channels_back(const ky_kernels *k, const ky_real *w, const ky_plane *g, int B,
                                ky_real *scratch, const ky_real *x, const ky_real *dy, ky_real *dx,
                                ky_real *dw)
{
    product p = { .k = k, .rows = channels_back, .w = w, .x = x, .dy = dy, .dx = dx, .dw = dw };

    clear(g, B, dx);
    take_batch(&p, g, B, scratch);
}

void ky_correlate_pools_back(bool mean, const ky_plane *g, int B, ky_real *scratch,
                             const ky_real *x, const ky_real *y, const ky_real *dy, ky_real *dx)
{
    product p = { .rows = pool_back, .mean = mean, .x = x, .taken = y, .dy = dy, .dx = dx };

    clear(g, B, dx);
    take_batch(&p, g, B, scratch);
}
