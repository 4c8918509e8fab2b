/*
 * GlobalAveragePooling and GlobalMaxPooling, 1D and 2D: one value a channel out of all steps,
 * or of all rows and columns. The average in 1D leaves out masked steps, as Keras's does.
 */
#include "models/layer_tools.h"

#include <string.h>

static int shape(ky_layer *l, int rank, ky_err *err)
{
    int rc = rank == 2 ? ky_layer_needs_time(l, 2, err) : ky_layer_needs_image(l, err);

    if (rc < 0)
        return rc;
    l->out = (ky_shape){ .rank = l->cfg.keepdims ? rank : 1, .d = { 1, 1, 1 } };
    l->out.d[l->out.rank - 1] = ky_features(&l->in);
    l->form = KY_COLLAPSING;
    l->no_step = "it sums up a whole window at once";
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

static int positions(const ky_layer *l, int T)
{
    return l->in.rank == 3 ? T * l->in.d[1] : T;
}

static const uint8_t *mask_of(const ky_layer *l, const ky_call *c)
{
    return l->in.rank == 2 && c->in != NULL ? c->in[0].mask : NULL;
}

static int count(int n, const uint8_t *real)
{
    int counted = 0;

    for (int t = 0; t < n; t++)
        counted += real == NULL || real[t] != 0;
    return counted;
}

/* real: which of the n positions count, NULL: all. Of none there is no average: NaN, as in Keras.
 */
static void average_row(int n, int C, const uint8_t *real, const ky_real *x, ky_real *y)
{
    int counted = 0;

    memset(y, 0, (size_t)C * sizeof(*y));
    for (int t = 0; t < n; t++, x += C) {
        if (real != NULL && real[t] == 0)
            continue;
        if (counted++ == 0)
            memcpy(y, x, (size_t)C * sizeof(*y));
        else
            for (int i = 0; i < C; i++)
                y[i] += x[i];
    }
    for (int i = 0; i < C; i++)
        y[i] /= (ky_real)counted;
}

static void average(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                    const ky_call *c, const ky_real *x, ky_real *y)
{
    int C = ky_features(&l->in), n = positions(l, c->T);
    const uint8_t *mask = mask_of(l, c);

    (void)k, (void)p, (void)w;
    for (size_t r = 0; r < (size_t)c->B; r++)
        average_row(n, C, mask != NULL ? mask + r * (size_t)n : NULL, x + r * (size_t)n * (size_t)C,
                    y + r * (size_t)C);
}

void ky_mean_back(int counted, int n, int C, const ky_real *dy, ky_real *dx)
{
    for (int t = 0; t < n; t++, dx += C)
        for (int i = 0; i < C; i++)
            dx[i] += dy[i] / (ky_real)counted;
}

static void average_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_real *w, const ky_call *c, const ky_real *x, const ky_real *y,
                         const ky_real *dy, ky_real *dx, ky_real *dw)
{
    int C = ky_features(&l->in), n = positions(l, c->T);
    const uint8_t *mask = mask_of(l, c);

    (void)k, (void)p, (void)w, (void)x, (void)y, (void)dw;
    if (dx == NULL)
        return;
    memset(dx, 0, (size_t)c->B * (size_t)n * (size_t)C * sizeof(*dx));
    for (int r = 0; r < c->B; r++, dy += C) {
        const uint8_t *real = mask != NULL ? mask + (size_t)r * (size_t)n : NULL;
        int counted = count(n, real);

        for (int t = 0; t < n; t++, dx += C)
            if (real == NULL || real[t] != 0)
                ky_mean_back(counted, 1, C, dy, dx);
    }
}

static void maximum(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                    const ky_call *c, const ky_real *x, ky_real *y)
{
    int C = ky_features(&l->in), n = positions(l, c->T);

    (void)k, (void)p, (void)w;
    for (int r = 0; r < c->B; r++, y += C) {
        memcpy(y, x, (size_t)C * sizeof(*y));
        x += C;
        for (int t = 1; t < n; t++, x += C)
            for (int i = 0; i < C; i++)
                y[i] = x[i] > y[i] ? x[i] : y[i];
    }
}

/* One run of n steps; left [C]: of dy, all of it until the maximum was met, then nothing, so that
 * there is no branch to guess. */
static void take_maximum(int n, int stride, int C, const ky_real *x, const ky_real *y,
                         ky_real *left, ky_real *dx)
{
    for (int t = 0; t < n; t++, x += stride, dx += stride)
        for (int i = 0; i < C; i++) {
            ky_real here = x[i] == y[i], taken = here * left[i];

            dx[i] += taken;
            left[i] -= taken;
        }
}

void ky_maximum_back(int C, int n_runs, const ky_run *runs, const ky_real *x, const ky_real *y,
                     const ky_real *dy, ky_real *dx)
{
    enum { BLOCK = 64 };
    ky_real left[BLOCK];

    for (int from = 0; from < C; from += BLOCK) {
        int len = C - from < BLOCK ? C - from : BLOCK;

        memcpy(left, dy + from, (size_t)len * sizeof(*left));
        for (const ky_run *u = runs; u < runs + n_runs; u++)
            take_maximum(u->n, C, len, x + u->at + from, y + from, left, dx + u->at + from);
    }
}

static void maximum_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_real *w, const ky_call *c, const ky_real *x, const ky_real *y,
                         const ky_real *dy, ky_real *dx, ky_real *dw)
{
    int C = ky_features(&l->in);
    ky_run all = { .n = positions(l, c->T) };
    size_t row = (size_t)all.n * (size_t)C;

    (void)k, (void)p, (void)w, (void)dw;
    if (dx == NULL)
        return;
    memset(dx, 0, (size_t)c->B * row * sizeof(*dx));
    for (int r = 0; r < c->B; r++, x += row, dx += row, y += C, dy += C)
        ky_maximum_back(C, 1, &all, x, y, dy, dx);
}

static const ky_field fields[] = {
    { "keepdims", KY_F_BOOL, KY_FIELD(keepdims), false, 0 },
    { 0 },
};

const ky_layer_ops ky_global_average_ops = {
    .class_name = "GlobalAveragePooling1D",
    .fields = fields,
    .shape = shape_1d,
    .window = average,
    .backward = average_back,
};

const ky_layer_ops ky_global_max_ops = {
    .class_name = "GlobalMaxPooling1D",
    .fields = fields,
    .shape = shape_1d,
    .window = maximum,
    .backward = maximum_back,
};

const ky_layer_ops ky_global_average_2d_ops = {
    .class_name = "GlobalAveragePooling2D",
    .fields = fields,
    .shape = shape_2d,
    .window = average,
    .backward = average_back,
};

const ky_layer_ops ky_global_max_2d_ops = {
    .class_name = "GlobalMaxPooling2D",
    .fields = fields,
    .shape = shape_2d,
    .window = maximum,
    .backward = maximum_back,
};
