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

/* Both inputs of a row as [K,rest]. */
static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    view a = view_of(l, 0), b = view_of(l, 1);

    (void)p, (void)B, (void)T, (void)backward;
    return ky_lines(len_of(&a)) + ky_lines(len_of(&b));
}

/* [before,K,after] -> [K,before*after] */
static void axis_first(const view *v, const ky_real *x, ky_real *to)
{
    size_t after = (size_t)v->after, rest = (size_t)v->before * after;

    for (int b = 0; b < v->before; b++)
        for (int k = 0; k < v->K; k++, x += after)
            memcpy(to + (size_t)k * rest + (size_t)b * after, x, after * sizeof(*x));
}

/* Each column of [K,rest] by its length. */
static void to_unit_length(const view *v, ky_real *x)
{
    size_t rest = (size_t)v->before * (size_t)v->after;

    for (size_t i = 0; i < rest; i++) {
        ky_real sum = 0, norm;

        for (size_t k = 0; k < (size_t)v->K; k++)
            sum += x[k * rest + i] * x[k * rest + i];
        norm = sqrt(sum);
        norm = norm > (ky_real)least_norm ? norm : (ky_real)least_norm;
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
                to_unit_length(&v[i], part[i]);
        }
        k->gemm_tn(M, N, v[0].K, part[0], M, part[1], N, y, N);
    }
}

static size_t macs(const ky_layer *l, int T)
{
    view a = view_of(l, 0), b = view_of(l, 1);

    (void)T;
    return len_of(&a) * (size_t)b.before * (size_t)b.after;
}

static const ky_field fields[] = {
    { "axes", "dot_axes", KY_F_DIMS, KY_FIELD(axes), 0, KY_FREE, 0 },
    { "normalize", NULL, KY_F_BOOL, KY_FIELD(normalize), false, KY_FREE, 0 },
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
    .macs = macs,
};
