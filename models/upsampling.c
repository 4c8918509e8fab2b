/*
 * UpSampling1D and UpSampling2D: `size` outputs for each input, the nearest input's value or, in
 * 2D, between the two nearest inputs along both axes. Pixels are areas: output i lies at
 * (i + 1/2) / size - 1/2 of the inputs, and beyond the outermost centres their value holds.
 */
#include "models/layer_tools.h"

#include <string.h>

static int steps(const ky_layer *l, int T)
{
    int64_t n = (int64_t)T * l->cfg.size[0];

    return T < 1 || n > KY_MAX_DIM ? 0 : (int)n;
}

static int shape(ky_layer *l, int rank, ky_err *err)
{
    int rc = rank == 2 ? ky_layer_needs_time(l, 2, err) : ky_layer_needs_image(l, err);

    for (int i = 0; rc == KY_OK && i < rank - 1; i++)
        rc = ky_layer_range("size", l->cfg.size[i], 1, err);
    if (rc < 0)
        return rc;
    l->out = l->in;
    for (int i = 0; i < rank - 1; i++) {
        int64_t n = (int64_t)l->in.d[i] * l->cfg.size[i];

        if (l->in.d[i] == KY_ANY)
            continue;
        if (n > KY_MAX_DIM)
            return ky_fail(err, KY_EFULL, "it would make %lld %s of %d, at most %d are supported",
                           (long long)n, i == 0 ? "steps" : "columns", l->in.d[i], KY_MAX_DIM);
        l->out.d[i] = (int)n;
    }
    l->form = KY_POINTWISE;
    if (l->cfg.size[0] > 1) {
        l->form = KY_MIXING;
        l->no_step = "it gives several steps for one";
    }
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

/* One step of columns, each `times` over. */
static void repeat_columns(int n, int times, size_t C, const ky_real *x, ky_real *y)
{
    for (int u = 0; u < n; u++, x += C)
        for (int i = 0; i < times; i++, y += C)
            memcpy(y, x, C * sizeof(*y));
}

/* x [n,W,C] -> y [n*size,..]: a step is put together once and then copied. */
static void nearest(const ky_layer *l, int n, const ky_real *x, ky_real *y)
{
    size_t in = ky_shape_step(&l->in), out = ky_shape_step(&l->out);
    int times = l->cfg.size[0];

    for (int t = 0; t < n; t++, x += in) {
        const ky_real *first = y;

        if (l->in.rank == 3)
            repeat_columns(l->in.d[1], l->cfg.size[1], (size_t)ky_features(&l->in), x, y);
        else
            memcpy(y, x, in * sizeof(*y));
        y += out;
        for (int i = 1; i < times; i++, y += out)
            memcpy(y, first, out * sizeof(*y));
    }
}

/* Between which inputs an output lies, and the share of the second one; 0: the first alone. */
typedef struct between {
    int first;
    ky_real share;
} between;

static between lies_between(int n, int size, int i)
{
    int phase = 2 * (i % size) + 1 - size; /* from the centre of input i / size, in 1/(2 size) */
    between b = { .first = i / size };

    if (phase < 0) {
        b.first--;
        phase += 2 * size;
    }
    if (b.first < 0)
        b.first = 0;
    else if (b.first < n - 1)
        b.share = (ky_real)((double)phase / (2.0 * size));
    return b;
}

static void mix(size_t n, ky_real share, const ky_real *a, const ky_real *b, ky_real *y)
{
    ky_real rest = 1 - share;

    for (size_t i = 0; i < n; i++)
        y[i] = rest * a[i] + share * b[i];
}

/* One step of columns, with those between them. */
static void widen(const ky_layer *l, const ky_real *x, ky_real *y)
{
    size_t C = (size_t)ky_features(&l->in);

    for (int u = 0; u < l->out.d[1]; u++, y += C) {
        between b = lies_between(l->in.d[1], l->cfg.size[1], u);
        const ky_real *first = x + (size_t)b.first * C;

        if (b.share > 0)
            mix(C, b.share, first, first + C, y);
        else
            memcpy(y, first, C * sizeof(*y));
    }
}

/* wide: two steps of the output, scratch */
static void bilinear(const ky_layer *l, int n, const ky_real *x, ky_real *y, ky_real *wide)
{
    size_t in = ky_shape_step(&l->in), out = ky_shape_step(&l->out);
    int made = -1; /* wide holds this step and the next one, each in its place modulo 2 */

    for (int t = 0; t < n * l->cfg.size[0]; t++, y += out) {
        between b = lies_between(n, l->cfg.size[0], t);
        const ky_real *first = wide + (size_t)(b.first % 2) * out;
        const ky_real *second = wide + (size_t)((b.first + 1) % 2) * out;

        for (; made < b.first + (b.share > 0); made++)
            widen(l, x + (size_t)(made + 1) * in, wide + (size_t)((made + 1) % 2) * out);
        if (b.share > 0)
            mix(out, b.share, first, second, y);
        else
            memcpy(y, first, out * sizeof(*y));
    }
}

static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    (void)p, (void)B, (void)T;
    return backward ? 0 : 2 * ky_shape_step(&l->out);
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    size_t in = (size_t)c->T * ky_shape_step(&l->in);
    size_t out = (size_t)c->T_out * ky_shape_step(&l->out);

    (void)k, (void)p, (void)w;
    for (int r = 0; r < c->B; r++, x += in, y += out)
        if (l->cfg.interpolation == KY_BILINEAR)
            bilinear(l, c->T, x, y, c->scratch);
        else
            nearest(l, c->T, x, y);
}

/* -- backward -------------------------------------------------------------------------- */

/* Between which inputs output i of an axis lies, for both ways of interpolation. */
static between lies(const ky_layer *l, int axis, int n, int i)
{
    if (l->cfg.interpolation == KY_BILINEAR)
        return lies_between(n, l->cfg.size[axis], i);
    return (between){ .first = i / l->cfg.size[axis] };
}

static void add_share(size_t n, ky_real share, const ky_real *dy, ky_real *dx)
{
    for (size_t i = 0; i < n; i++)
        dx[i] += share * dy[i];
}

/* One step of dy into one step of dx, of which it has a share. In 1D a step is one column. */
static void narrow(const ky_layer *l, ky_real share, const ky_real *dy, ky_real *dx)
{
    bool image = l->in.rank == 3;
    int columns = image ? l->out.d[1] : 1;
    size_t C = (size_t)ky_features(&l->in);

    for (int u = 0; u < columns; u++, dy += C) {
        between b = image ? lies(l, 1, l->in.d[1], u) : (between){ 0 };
        ky_real *first = dx + (size_t)b.first * C;

        add_share(C, share * (1 - b.share), dy, first);
        if (b.share > 0)
            add_share(C, share * b.share, dy, first + C);
    }
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    size_t in = ky_shape_step(&l->in), out = ky_shape_step(&l->out), row = (size_t)c->T * in;

    (void)k, (void)p, (void)w, (void)x, (void)y, (void)dw;
    if (dx == NULL)
        return;
    memset(dx, 0, (size_t)c->B * row * sizeof(*dx));
    for (int r = 0; r < c->B; r++, dx += row)
        for (int t = 0; t < c->T_out; t++, dy += out) {
            between b = lies(l, 0, c->T, t);
            ky_real *first = dx + (size_t)b.first * in;

            narrow(l, 1 - b.share, dy, first);
            if (b.share > 0)
                narrow(l, b.share, dy, first + in);
        }
}

static const ky_field fields_1d[] = {
    { "size", KY_F_INT, KY_FIELD(size), 2, 0 },
    { 0 },
};

static const ky_field fields_2d[] = {
    { "size", KY_F_INT, KY_FIELD(size), 2, 2 },
    { "interpolation", KY_F_INTERPOLATION, KY_FIELD(interpolation), KY_NEAREST, 0 },
    { 0 },
};

const ky_layer_ops ky_up_sampling_1d_ops = {
    .class_name = "UpSampling1D",
    .fields = fields_1d,
    .shape = shape_1d,
    .steps = steps,
    .window = window,
    .backward = backward,
};

const ky_layer_ops ky_up_sampling_2d_ops = {
    .class_name = "UpSampling2D",
    .fields = fields_2d,
    .shape = shape_2d,
    .steps = steps,
    .n_scratch = n_scratch,
    .window = window,
    .backward = backward,
};
