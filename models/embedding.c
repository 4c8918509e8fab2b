/*
 * Embedding: a row of the table for each whole number. Numbers come as reals, what stands behind
 * the point is cut off; negative ones count from the end of the table, as in Keras 3. Beyond the
 * table Keras has no one answer: TensorFlow refuses on a processor and gives zeros on a graphics
 * card, JAX gives NaN. Here it is zeros, which leave a stream's state as sane as it was.
 */
#include "models/layer_tools.h"

#include <string.h>

static int shape(ky_layer *l, ky_err *err)
{
    int rows = l->cfg.input_dim, width = l->cfg.output_dim;
    int rc = ky_layer_range("input_dim", rows, 1, err);

    if (rc == KY_OK)
        rc = ky_layer_range("output_dim", width, 1, err);
    if (rc < 0)
        return rc;
    if (l->in.rank >= KY_RANK)
        return ky_fail(err, KY_ESHAPE, "its input has %d dimensions, at most %d are supported",
                       l->in.rank, KY_RANK - 1);
    ky_layer_declare(l, "embeddings", true, rows, width, 0);
    if (l->in.rank == 1) /* numbers one after the other are steps, and so is their mask */
        l->in.timed = true;
    l->out = l->in;
    l->out.d[l->out.rank++] = width;
    l->form = KY_POINTWISE;
    l->masked = l->cfg.mask_zero && l->in.rank == 1;
    l->wide_mask = l->cfg.mask_zero && !l->masked;
    return KY_OK;
}

/* Keras's "uniform" */
static void init(const ky_layer *l, ky_real *w, ky_rng *rng)
{
    for (size_t i = 0; i < l->weight_reals; i++)
        w[i] = (ky_real)(0.1 * ky_rng_uniform(rng) - 0.05);
}

/* The row that v names, -1 if there is none such. */
static int row_of(ky_real v, int rows)
{
    if (!(v > -(ky_real)rows - 1 && v < (ky_real)rows)) /* NaN, too */
        return -1;
    return (int)v < 0 ? (int)v + rows : (int)v;
}

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    size_t n = (size_t)c->B * (size_t)c->T * ky_shape_step(&l->in);
    size_t width = (size_t)l->cfg.output_dim;

    (void)k, (void)p;
    for (size_t i = 0; i < n; i++, y += width) {
        int row = row_of(x[i], l->cfg.input_dim);

        if (row < 0)
            memset(y, 0, width * sizeof(*y));
        else
            memcpy(y, w + (size_t)row * width, width * sizeof(*y));
    }
    for (size_t i = 0; l->masked && c->mask_out != NULL && i < n; i++)
        c->mask_out[i] = x[i] != 0;
}

/* Whole numbers have no gradient; the rows of the table that they name do. */
static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    size_t n = (size_t)c->B * (size_t)c->T * ky_shape_step(&l->in);
    size_t width = (size_t)l->cfg.output_dim;

    (void)k, (void)p, (void)w, (void)y;
    for (size_t i = 0; i < n; i++, dy += width) {
        int row = row_of(x[i], l->cfg.input_dim);
        ky_real *to = dw + (row < 0 ? 0 : (size_t)row * width);

        for (size_t j = 0; row >= 0 && j < width; j++)
            to[j] += dy[j];
    }
    if (dx != NULL)
        memset(dx, 0, n * sizeof(*dx));
}

static const ky_field fields[] = {
    { "input_dim", KY_F_INT, KY_FIELD(input_dim), 0, 0 },
    { "output_dim", KY_F_INT, KY_FIELD(output_dim), 0, 0 },
    { "mask_zero", KY_F_BOOL, KY_FIELD(mask_zero), false, 0 },
    { 0 },
};

const ky_layer_ops ky_embedding_ops = {
    .class_name = "Embedding",
    .fields = fields,
    .masking = KY_MASK_MADE,
    .shape = shape,
    .init = init,
    .window = window,
    .backward = backward,
};
