/*
 * Reshape, Permute and RepeatVector: the same values in another order or shape. What keeps the
 * steps where they are works step by step; all else needs the whole window, and what comes out
 * is no longer the model's time.
 */
#include "models/layer_tools.h"

#include <string.h>

static int needs_window(ky_layer *l, const char *no_step, const char *unless, ky_err *err)
{
    l->out.timed = false;
    if (!l->in.timed)
        return KY_OK;
    if (l->in.d[0] == KY_ANY)
        return ky_fail(err, KY_ESHAPE,
                       "it moves the values of a window, so the model's input must have a fixed "
                       "number of steps, or %s",
                       unless);
    l->form = KY_MIXING;
    l->no_step = no_step;
    return KY_OK;
}

/* Where the window must be the one that the shapes were worked out for. */
static bool wrong_length(const ky_layer *l, int T)
{
    return l->in.timed && !l->out.timed && T != l->in.d[0];
}

static int steps(const ky_layer *l, int T)
{
    return wrong_length(l, T) ? 0 : l->out.timed ? T : 1;
}

/* -- Reshape --------------------------------------------------------------------- */

/* The product of the dimensions but an unknown one, whose place is *open; 0: they are no shape. */
static size_t known_size(const ky_dims *to, int *open)
{
    size_t n = 1;

    *open = -1;
    for (int i = 0; i < to->n; i++) {
        if (to->d[i] == -1 && *open < 0)
            *open = i;
        else if (to->d[i] < 1 || to->d[i] > KY_MAX_DIM || (n *= (size_t)to->d[i]) > KY_MAX_REALS)
            return 0;
    }
    return n;
}

/* Whether the first dimension of target_shape is the steps, and the rest what is in each. */
static bool keeps_steps(const ky_layer *l)
{
    const ky_dims *to = &l->cfg.target_shape;
    size_t rest = 1;

    if (!l->in.timed || to->n < 1 || (to->d[0] != -1 && to->d[0] != l->in.d[0]))
        return false;
    for (int i = 1; i < to->n; i++)
        rest = to->d[i] < 1 ? 0 : rest * (size_t)to->d[i];
    return rest == ky_shape_step(&l->in);
}

static int reshape_shape(ky_layer *l, ky_err *err)
{
    const ky_dims *to = &l->cfg.target_shape;
    int open, rc;
    size_t known = known_size(to, &open), all;

    if (to->n < 1 || known == 0)
        return ky_fail(err, KY_EINVAL,
                       "target_shape must have 1 to %d dimensions of at least 1, one may be -1",
                       KY_RANK);
    l->out = (ky_shape){ .rank = to->n };
    memcpy(l->out.d, to->d, sizeof(l->out.d));
    l->form = KY_POINTWISE;
    if (keeps_steps(l)) {
        l->out.timed = true;
        l->out.d[0] = l->in.d[0];
        return KY_OK;
    }
    if ((rc = needs_window(l, "it moves values from step to step",
                           "target_shape must keep the steps (-1, then what is in a step)", err)) <
        0)
        return rc;
    all = ky_shape_step(&l->in) * (size_t)(l->in.timed ? l->in.d[0] : 1);
    if (open >= 0 && all % known == 0 && all / known <= KY_MAX_DIM)
        l->out.d[open] = (int)(all / known);
    if (open >= 0 ? all % known != 0 || all / known > KY_MAX_DIM : all != known)
        return ky_fail(err, KY_ESHAPE, "target_shape has %zu values%s, its input has %zu", known,
                       open >= 0 ? " or a multiple" : "", all);
    return KY_OK;
}

static void reshape(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                    const ky_call *c, const ky_real *x, ky_real *y)
{
    (void)k, (void)p, (void)w;
    memcpy(y, x, (size_t)c->B * (size_t)c->T * ky_shape_step(&l->in) * sizeof(*y));
}

static void reshape_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_real *w, const ky_call *c, const ky_real *x, const ky_real *y,
                         const ky_real *dy, ky_real *dx, ky_real *dw)
{
    (void)x, (void)y, (void)dw;
    if (dx != NULL)
        reshape(l, k, p, w, c, dy, dx);
}

/* -- Permute --------------------------------------------------------------------- */

static int permute_shape(ky_layer *l, ky_err *err)
{
    const ky_dims *dims = &l->cfg.dims;
    unsigned seen = 0;

    if (dims->n != l->in.rank)
        return ky_fail(err, KY_ESHAPE, "dims has %d numbers, its input has %d dimensions",
                       dims->n < 0 ? 0 : dims->n, l->in.rank);
    l->out = (ky_shape){ .rank = dims->n };
    for (int i = 0; i < dims->n; i++) {
        if (dims->d[i] < 1 || dims->d[i] > dims->n || seen >> dims->d[i] & 1)
            return ky_fail(err, KY_EINVAL, "dims must hold each of 1 to %d once", dims->n);
        seen |= 1u << dims->d[i];
        l->out.d[i] = l->in.d[dims->d[i] - 1];
    }
    l->form = KY_POINTWISE;
    if (dims->d[0] != 1)
        return needs_window(l, "it swaps steps with what is in them", "dims must begin with 1",
                            err);
    l->out.timed = l->in.timed;
    return KY_OK;
}

/* Values of a row in the order of the output: x walks by stride[] along the output's axes. */
static ky_real *gather(const int *d, const size_t *stride, int axes, const ky_real *x, ky_real *y)
{
    if (axes == 1 && stride[0] == 1) {
        memcpy(y, x, (size_t)d[0] * sizeof(*y));
        return y + d[0];
    }
    for (int i = 0; i < d[0]; i++, x += stride[0])
        if (axes == 1)
            *y++ = *x;
        else
            y = gather(d + 1, stride + 1, axes - 1, x, y);
    return y;
}

/* The way back: what gather() took goes to where it lay. */
static const ky_real *scatter(const int *d, const size_t *stride, int axes, const ky_real *y,
                              ky_real *x)
{
    for (int i = 0; i < d[0]; i++, x += stride[0])
        if (axes == 1)
            *x = *y++;
        else
            y = scatter(d + 1, stride + 1, axes - 1, y, x);
    return y;
}

/* Dimensions of the output and strides of the input along them; returns the values of a row. */
static size_t permute_walk(const ky_layer *l, const ky_call *c, int *d, size_t *stride)
{
    size_t own[KY_RANK], row = 1;

    for (int a = l->in.rank - 1; a >= 0; a--) {
        own[a] = row;
        row *= (size_t)(a == 0 && l->in.timed ? c->T : l->in.d[a]);
    }
    for (int a = 0; a < l->in.rank; a++) {
        int from = l->cfg.dims.d[a] - 1;

        stride[a] = own[from];
        d[a] = from == 0 && l->in.timed ? c->T : l->in.d[from];
    }
    return row;
}

static void permute(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                    const ky_call *c, const ky_real *x, ky_real *y)
{
    size_t stride[KY_RANK], row;
    int d[KY_RANK];

    (void)k, (void)p, (void)w;
    row = permute_walk(l, c, d, stride);
    for (int r = 0; r < c->B; r++)
        y = gather(d, stride, l->in.rank, x + (size_t)r * row, y);
}

static void permute_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_real *w, const ky_call *c, const ky_real *x, const ky_real *y,
                         const ky_real *dy, ky_real *dx, ky_real *dw)
{
    size_t stride[KY_RANK], row;
    int d[KY_RANK];

    (void)k, (void)p, (void)w, (void)x, (void)y, (void)dw;
    row = permute_walk(l, c, d, stride);
    for (int r = 0; dx != NULL && r < c->B; r++)
        dy = scatter(d, stride, l->in.rank, dy, dx + (size_t)r * row);
}

/* -- RepeatVector ---------------------------------------------------------------- */

static int repeat_shape(ky_layer *l, ky_err *err)
{
    int rc = ky_layer_range("n", l->cfg.n, 1, err);

    if (rc < 0)
        return rc;
    if (l->in.rank != 1 || l->in.timed)
        return ky_fail(err, KY_ESHAPE,
                       "it repeats a vector, its input has %d dimensions and %s steps", l->in.rank,
                       l->in.timed ? "still has" : "no");
    l->out = (ky_shape){ .rank = 2, .d = { l->cfg.n, l->in.d[0] } };
    l->form = KY_POINTWISE;
    return KY_OK;
}

static void repeat(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    size_t C = (size_t)l->in.d[0];

    (void)k, (void)p, (void)w;
    for (int r = 0; r < c->B; r++, x += C)
        for (int i = 0; i < l->cfg.n; i++, y += C)
            memcpy(y, x, C * sizeof(*y));
}

static void repeat_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                        const ky_real *w, const ky_call *c, const ky_real *x, const ky_real *y,
                        const ky_real *dy, ky_real *dx, ky_real *dw)
{
    size_t C = (size_t)l->in.d[0];

    (void)k, (void)p, (void)w, (void)x, (void)y, (void)dw;
    for (int r = 0; dx != NULL && r < c->B; r++, dx += C) {
        memset(dx, 0, C * sizeof(*dx));
        for (int i = 0; i < l->cfg.n; i++, dy += C)
            for (size_t j = 0; j < C; j++)
                dx[j] += dy[j];
    }
}

static const ky_field reshape_fields[] = {
    { "target_shape", KY_F_DIMS, KY_FIELD(target_shape), 0, 1 },
    { 0 },
};

static const ky_field permute_fields[] = {
    { "dims", KY_F_DIMS, KY_FIELD(dims), 0, 1 },
    { 0 },
};

static const ky_field repeat_fields[] = {
    { "n", KY_F_INT, KY_FIELD(n), 0, 0 },
    { 0 },
};

const ky_layer_ops ky_reshape_ops = {
    .class_name = "Reshape",
    .view = true,
    .fields = reshape_fields,
    .shape = reshape_shape,
    .steps = steps,
    .window = reshape,
    .backward = reshape_back,
};

const ky_layer_ops ky_permute_ops = {
    .class_name = "Permute",
    .fields = permute_fields,
    .shape = permute_shape,
    .steps = steps,
    .window = permute,
    .backward = permute_back,
};

const ky_layer_ops ky_repeat_vector_ops = {
    .class_name = "RepeatVector",
    .fields = repeat_fields,
    .shape = repeat_shape,
    .window = repeat,
    .backward = repeat_back,
};
