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
    if (l->n_masked > 0 && l->ops == &ky_global_average_ops)
        l->no_training = "its input is masked";
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
    const uint8_t *mask = l->in.rank == 2 && c->in != NULL ? c->in[0].mask : NULL;

    (void)k, (void)p, (void)w;
    for (size_t r = 0; r < (size_t)c->B; r++)
        average_row(n, C, mask != NULL ? mask + r * (size_t)n : NULL, x + r * (size_t)n * (size_t)C,
                    y + r * (size_t)C);
}

static void average_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_real *w, const ky_call *c, const ky_real *x, const ky_real *y,
                         const ky_real *dy, ky_real *dx, ky_real *dw)
{
    int C = l->in.d[1];

    (void)k, (void)p, (void)w, (void)x, (void)y, (void)dw;
    for (int r = 0; dx != NULL && r < c->B; r++, dy += C)
        for (int t = 0; t < c->T; t++, dx += C)
            for (int i = 0; i < C; i++)
                dx[i] = dy[i] / (ky_real)c->T;
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

void ky_maximum_back(int n, int C, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx)
{
    enum { BLOCK = 64 };
    ky_real left[BLOCK]; /* of dy: all, then nothing; so there is no branch to guess */

    for (int from = 0; from < C; from += BLOCK) {
        int len = C - from < BLOCK ? C - from : BLOCK;

        memcpy(left, dy + from, (size_t)len * sizeof(*left));
        for (int t = 0; t < n; t++) {
            const ky_real *xt = x + (size_t)t * (size_t)C + from;
            ky_real *dxt = dx + (size_t)t * (size_t)C + from;

            for (int i = 0; i < len; i++) {
                ky_real here = xt[i] == y[from + i], taken = here * left[i];

                dxt[i] += taken;
                left[i] -= taken;
            }
        }
    }
}

static void maximum_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_real *w, const ky_call *c, const ky_real *x, const ky_real *y,
                         const ky_real *dy, ky_real *dx, ky_real *dw)
{
    int C = l->in.d[1];
    size_t row = (size_t)c->T * (size_t)C;

    (void)k, (void)p, (void)w, (void)dw;
    if (dx == NULL)
        return;
    memset(dx, 0, (size_t)c->B * row * sizeof(*dx));
    for (int r = 0; r < c->B; r++, x += row, dx += row, y += C, dy += C)
        ky_maximum_back(c->T, C, x, y, dy, dx);
}

static const ky_field fields[] = {
    { "keepdims", NULL, KY_F_BOOL, KY_FIELD(keepdims), false, KY_FREE, false },
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
};

const ky_layer_ops ky_global_max_2d_ops = {
    .class_name = "GlobalMaxPooling2D",
    .fields = fields,
    .shape = shape_2d,
    .window = maximum,
};
