/*
 * ZeroPadding1D/2D and Cropping1D/2D: zeros around a window or an image, or its edge cut off. A
 * crop is a padding of less than nothing.
 */
#include "models/layer_tools.h"

#include <string.h>

static bool is_crop(const ky_layer *l)
{
    return l->ops == &ky_cropping_1d_ops || l->ops == &ky_cropping_2d_ops;
}

/* What stands in front of axis i, in steps or columns; negative where it is cut off. */
static int before(const ky_layer *l, int i)
{
    return is_crop(l) ? -l->cfg.margins[i][0] : l->cfg.margins[i][0];
}

static int behind(const ky_layer *l, int i)
{
    return is_crop(l) ? -l->cfg.margins[i][1] : l->cfg.margins[i][1];
}

static int steps(const ky_layer *l, int T)
{
    int n = T + before(l, 0) + behind(l, 0);

    return T < 1 || n > KY_MAX_DIM ? 0 : n;
}

/* Time goes on step by step unless something is added to it or taken away. */
static void set_form(ky_layer *l)
{
    l->form = KY_POINTWISE;
    if (before(l, 0) == 0 && behind(l, 0) == 0)
        return;
    l->form = KY_MIXING;
    l->no_step = is_crop(l) ? "it cuts steps off the ends of a window"
                            : "it adds steps at the ends of a window";
}

static int shape(ky_layer *l, int rank, ky_err *err)
{
    int rc = rank == 2 ? ky_layer_needs_time(l, 2, err) : ky_layer_needs_image(l, err);

    for (int i = 0; rc == KY_OK && i < 2 * (rank - 1); i++)
        rc = ky_layer_range(is_crop(l) ? "cropping" : "padding", l->cfg.margins[i / 2][i % 2], 0,
                            err);
    if (rc < 0)
        return rc;
    l->out = l->in;
    for (int i = 0; i < rank - 1; i++) {
        int n = l->in.d[i], n_out = n + before(l, i) + behind(l, i);

        if (n == KY_ANY)
            continue;
        if (n_out < 1 || n_out > KY_MAX_DIM)
            return ky_fail(err, KY_ESHAPE, "it would make %d %s of %d", n_out,
                           i == 0 ? "steps" : "columns", n);
        l->out.d[i] = n_out;
    }
    set_form(l);
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

static int above_zero(int v)
{
    return v > 0 ? v : 0;
}

/* What becomes of the columns of a step, in reals; in 1D they all stay. */
typedef struct columns {
    size_t in, out;        /* of a step */
    size_t zeros, skip, n; /* zeros in front; those left out in front, those kept */
} columns;

static columns columns_of(const ky_layer *l)
{
    size_t C = (size_t)ky_features(&l->in);
    columns m = { .in = ky_shape_step(&l->in), .out = ky_shape_step(&l->out) };

    m.n = m.in;
    if (l->in.rank == 3) {
        m.zeros = C * (size_t)above_zero(before(l, 1));
        m.skip = C * (size_t)above_zero(-before(l, 1));
        m.n -= m.skip + C * (size_t)above_zero(-behind(l, 1));
    }
    return m;
}

/* Where step t of the output comes from; false where it is made of zeros alone. */
static bool comes_from(const ky_layer *l, const ky_call *c, int t, int *ret)
{
    *ret = t - before(l, 0);
    return *ret >= 0 && *ret < c->T;
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    columns m = columns_of(l);
    int from;

    (void)k, (void)p, (void)w;
    if (!is_crop(l))
        memset(y, 0, (size_t)c->B * (size_t)c->T_out * m.out * sizeof(*y));
    for (int r = 0; r < c->B; r++, x += (size_t)c->T * m.in)
        for (int t = 0; t < c->T_out; t++, y += m.out)
            if (comes_from(l, c, t, &from))
                memcpy(y + m.zeros, x + (size_t)from * m.in + m.skip, m.n * sizeof(*y));
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    columns m = columns_of(l);
    size_t row = (size_t)c->T * m.in;
    int from;

    (void)k, (void)p, (void)w, (void)x, (void)y, (void)dw;
    if (dx == NULL)
        return;
    if (is_crop(l))
        memset(dx, 0, (size_t)c->B * row * sizeof(*dx));
    for (int r = 0; r < c->B; r++, dx += row)
        for (int t = 0; t < c->T_out; t++, dy += m.out)
            if (comes_from(l, c, t, &from))
                memcpy(dx + (size_t)from * m.in + m.skip, dy + m.zeros, m.n * sizeof(*dx));
}

static const ky_field padding_1d[] = {
    { "padding", KY_F_MARGINS, KY_FIELD(margins), 1, 1 },
    { 0 },
};

static const ky_field padding_2d[] = {
    { "padding", KY_F_MARGINS, KY_FIELD(margins), 1, 2 },
    { 0 },
};

static const ky_field cropping_1d[] = {
    { "cropping", KY_F_MARGINS, KY_FIELD(margins), 1, 1 },
    { 0 },
};

static const ky_field cropping_2d[] = {
    { "cropping", KY_F_MARGINS, KY_FIELD(margins), 0, 2 },
    { 0 },
};

const ky_layer_ops ky_zero_padding_1d_ops = {
    .class_name = "ZeroPadding1D",
    .fields = padding_1d,
    .shape = shape_1d,
    .steps = steps,
    .window = window,
    .backward = backward,
};

const ky_layer_ops ky_zero_padding_2d_ops = {
    .class_name = "ZeroPadding2D",
    .fields = padding_2d,
    .shape = shape_2d,
    .steps = steps,
    .window = window,
    .backward = backward,
};

const ky_layer_ops ky_cropping_1d_ops = {
    .class_name = "Cropping1D",
    .fields = cropping_1d,
    .shape = shape_1d,
    .steps = steps,
    .window = window,
    .backward = backward,
};

const ky_layer_ops ky_cropping_2d_ops = {
    .class_name = "Cropping2D",
    .fields = cropping_2d,
    .shape = shape_2d,
    .steps = steps,
    .window = window,
    .backward = backward,
};
