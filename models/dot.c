/*
 * Dot: sums of products of two tensors along one axis of each, row by row; what is left of the
 * first one's dimensions, then what is left of the second's. normalize divides by the lengths
 * of the vectors along that axis first (the cosine of the angle between them).
 */
#include "models/layer_tools.h"

#include <string.h>
#include <tgmath.h>

static const double least_norm = 1e-7; /* keras.config.epsilon() */

/* An input with the axis of the sum in the middle: [before,K,after]. */
typedef struct view {
    int before, K, after;
} view;

/* The axis of input k without the batch; -1 if it is none. One number is for both. */
static int axis_of(const ky_layer *l, int k)
{
    const ky_dims *axes = &l->cfg.axes;
    int rank = l->ins[k].rank, axis = axes->n == 1 ? axes->d[0] : axes->d[k];
    int a = axis < 0 ? axis + rank : axis - 1;

    return axis == 0 || a < 0 || a >= rank ? -1 : a;
}

static view view_of(const ky_layer *l, int k)
{
    const ky_shape *s = &l->ins[k];
    int axis = axis_of(l, k);
    view v = { 1, s->d[axis], 1 };

    for (int a = 0; a < s->rank; a++)
        if (a != axis)
            *(a < axis ? &v.before : &v.after) *= s->d[a];
    return v;
}

static int check_input(const ky_layer *l, int k, ky_err *err)
{
    const ky_shape *s = &l->ins[k];

    if (s->d[0] == KY_ANY)
        return ky_fail(err, KY_ESHAPE,
                       "it multiplies whole windows, so the model's input must have a fixed number "
                       "of steps");
    if (axis_of(l, k) < 0)
        return ky_fail(err, KY_EINVAL,
                       "axes name axis %d of input %d, which has %d dimensions and the batch, "
                       "which is axis 0",
                       l->cfg.axes.d[l->cfg.axes.n == 1 ? 0 : k], k + 1, s->rank);
    return KY_OK;
}

static int shape(ky_layer *l, ky_err *err)
{
    int rc;

    if (l->cfg.axes.n != 1 && l->cfg.axes.n != 2)
        return ky_fail(err, KY_EINVAL, "axes must be one number or two");
    l->out = (ky_shape){ 0 };
    l->form = KY_POINTWISE;
    for (int k = 0; k < 2; k++) {
        const ky_shape *s = &l->ins[k];

        if ((rc = check_input(l, k, err)) < 0)
            return rc;
        if (l->out.rank + s->rank - 1 > KY_RANK)
            return ky_fail(err, KY_ESHAPE, "its output has more than %d dimensions", KY_RANK);
        for (int a = 0; a < s->rank; a++)
            if (a != axis_of(l, k))
                l->out.d[l->out.rank++] = s->d[a];
        if (s->timed) {
            l->form = KY_MIXING;
            l->no_step = "it multiplies whole windows";
        }
    }
    if (l->out.rank == 0)
        l->out = (ky_shape){ .rank = 1, .d = { 1 } };
    if (view_of(l, 0).K != view_of(l, 1).K)
        return ky_fail(err, KY_ESHAPE,
                       "it sums over %d values of its first input and %d of its "
                       "second",
                       view_of(l, 0).K, view_of(l, 1).K);
    return KY_OK;
}

static int join(const ky_layer *l, int k, int before, int T)
{
    (void)before;
    return !l->ins[k].timed || T == l->ins[k].d[0];
}

static size_t len_of(const view *v)
{
    return (size_t)v->before * (size_t)v->K * (size_t)v->after;
}

static int rest_of(const view *v)
{
    return v->before * v->after;
}

/* Both inputs of a row as [K,rest]; on the way back also one of them turned, and dy turned, and
 * the gradient of one with its norms. */
static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    view a = view_of(l, 0), b = view_of(l, 1);
    size_t both = ky_lines(len_of(&a)) + ky_lines(len_of(&b));
    size_t M = (size_t)rest_of(&a), N = (size_t)rest_of(&b);

    (void)p, (void)B, (void)T;
    return backward ? 3 * both + ky_lines(M * N) + ky_lines(M) + ky_lines(N) : both;
}

/* [before,K,after] -> [K,before*after] */
static void axis_first(const view *v, const ky_real *x, ky_real *to)
{
    size_t after = (size_t)v->after, rest = (size_t)v->before * after;

    for (int b = 0; b < v->before; b++)
        for (int k = 0; k < v->K; k++, x += after)
            memcpy(to + (size_t)k * rest + (size_t)b * after, x, after * sizeof(*x));
}

/* The way back of axis_first(). */
static void axis_back(const view *v, const ky_real *from, ky_real *x)
{
    size_t after = (size_t)v->after, rest = (size_t)v->before * after;

    for (int b = 0; b < v->before; b++)
        for (int k = 0; k < v->K; k++, x += after)
            memcpy(x, from + (size_t)k * rest + (size_t)b * after, after * sizeof(*x));
}

/* Each column of [K,rest] by its length, which norms [rest] receives, or NULL. */
static void to_unit_length(const view *v, ky_real *x, ky_real *norms)
{
    size_t rest = (size_t)v->before * (size_t)v->after;

    for (size_t i = 0; i < rest; i++) {
        ky_real sum = 0, norm;

        for (size_t k = 0; k < (size_t)v->K; k++)
            sum += x[k * rest + i] * x[k * rest + i];
        norm = sqrt(sum);
        norm = norm > (ky_real)least_norm ? norm : (ky_real)least_norm;
        if (norms != NULL)
            norms[i] = norm;
        for (size_t k = 0; k < (size_t)v->K; k++)
            x[k * rest + i] /= norm;
    }
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    const view v[2] = { view_of(l, 0), view_of(l, 1) };
    int M = v[0].before * v[0].after, N = v[1].before * v[1].after;
    ky_real *at = c->scratch, *part[2] = { ky_cut(&at, len_of(&v[0])), at };

    (void)p, (void)w, (void)x;
    memset(y, 0, (size_t)c->B * (size_t)M * (size_t)N * sizeof(*y));
    for (int r = 0; r < c->B; r++, y += (size_t)M * (size_t)N) {
        for (int i = 0; i < 2; i++) {
            axis_first(&v[i], c->in[i].x + (size_t)r * len_of(&v[i]), part[i]);
            if (l->cfg.normalize)
                to_unit_length(&v[i], part[i], NULL);
        }
        k->gemm_tn(M, N, v[0].K, part[0], M, part[1], N, y, N);
    }
}

/* [rows,cols] -> [cols,rows] */
static void turn(size_t rows, size_t cols, const ky_real *x, ky_real *to)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            to[c * rows + r] = x[r * cols + c];
}

/* Of columns x divided by their norms: d = (d - x (x . d)) / norm; too short ones were divided by
 * a constant. */
static void from_unit_length(const view *v, const ky_real *x, const ky_real *norms, ky_real *d)
{
    size_t rest = (size_t)rest_of(v);

    for (size_t i = 0; i < rest; i++) {
        ky_real along = 0;

        for (size_t k = 0; k < (size_t)v->K && norms[i] > (ky_real)least_norm; k++)
            along += x[k * rest + i] * d[k * rest + i];
        for (size_t k = 0; k < (size_t)v->K; k++)
            d[k * rest + i] = (d[k * rest + i] - x[k * rest + i] * along) / norms[i];
    }
}

/* A row on its way back. */
typedef struct back_row {
    view v[2];
    ky_real *part[2], *norms[2]; /* [K,rest] and [rest] of each */
    ky_real *turned, *d, *dy;
} back_row;

static back_row lay_out(const ky_layer *l, const ky_call *c)
{
    ky_real *at = c->scratch;
    back_row b = { .v = { view_of(l, 0), view_of(l, 1) } };
    size_t len[2] = { len_of(&b.v[0]), len_of(&b.v[1]) };
    size_t most = len[0] > len[1] ? len[0] : len[1];

    for (int i = 0; i < 2; i++) {
        b.part[i] = ky_cut(&at, len[i]);
        b.norms[i] = ky_cut(&at, (size_t)rest_of(&b.v[i]));
    }
    b.turned = ky_cut(&at, most);
    b.d = ky_cut(&at, most);
    b.dy = at;
    return b;
}

/* dy [M,N]: dA = B dy' for the first input, dB = A dy for the second. */
static void input_back(const ky_layer *l, const ky_kernels *k, const back_row *b, int i,
                       const ky_real *dy, ky_real *dx)
{
    const view *own = &b->v[i], *other = &b->v[1 - i];
    int n = rest_of(own), m = rest_of(other);

    turn((size_t)other->K, (size_t)m, b->part[1 - i], b->turned);
    if (i == 0) {
        turn((size_t)n, (size_t)m, dy, b->dy);
        dy = b->dy;
    }
    memset(b->d, 0, len_of(own) * sizeof(*b->d));
    k->gemm_tn(own->K, n, m, b->turned, own->K, dy, n, b->d, n);
    if (l->cfg.normalize)
        from_unit_length(own, b->part[i], b->norms[i], b->d);
    axis_back(own, b->d, dx);
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    back_row b = lay_out(l, c);
    size_t n_y = (size_t)rest_of(&b.v[0]) * (size_t)rest_of(&b.v[1]);

    (void)p, (void)w, (void)x, (void)y, (void)dx, (void)dw;
    for (size_t r = 0; r < (size_t)c->B; r++, dy += n_y) {
        for (int i = 0; i < 2; i++) {
            axis_first(&b.v[i], c->in[i].x + r * len_of(&b.v[i]), b.part[i]);
            if (l->cfg.normalize)
                to_unit_length(&b.v[i], b.part[i], b.norms[i]);
        }
        for (int i = 0; i < 2; i++)
            if (c->dx[i] != NULL)
                input_back(l, k, &b, i, dy, c->dx[i] + r * len_of(&b.v[i]));
    }
}

static size_t macs(const ky_layer *l, int T)
{
    view a = view_of(l, 0), b = view_of(l, 1);

    (void)T;
    return len_of(&a) * (size_t)b.before * (size_t)b.after;
}

static const ky_field fields[] = {
    { "axes", KY_F_DIMS, KY_FIELD(axes), 0, 0 },
    { "normalize", KY_F_BOOL, KY_FIELD(normalize), false, 0 },
    { 0 },
};

const ky_layer_ops ky_dot_ops = {
    .class_name = "Dot",
    .fields = fields,
    .min_in = 2,
    .max_in = 2,
    .shape = shape,
    .join = join,
    .n_scratch = n_scratch,
    .window = window,
    .backward = backward,
    .macs = macs,
};
