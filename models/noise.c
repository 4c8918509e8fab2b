/*
 * Layers that only do something in training: the kin of Dropout, GaussianNoise and
 * ActivityRegularization. In use they hand on what they get; kymo does not train them.
 */
#include "models/layer_tools.h"

#include <string.h>

static void window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y)
{
    (void)k, (void)p, (void)w;
    memcpy(y, x, (size_t)c->B * (size_t)c->T * ky_shape_step(&l->in) * sizeof(*y));
}

static const ky_field rate_fields[] = {
    { "rate", "p", KY_F_FLOAT, KY_FIELD(rate), 0, KY_FREE, 0 },
    { 0 },
};

static const ky_field noise_fields[] = {
    { "stddev", "sigma", KY_F_FLOAT, KY_FIELD(stddev), 0, KY_FREE, 0 },
    { 0 },
};

static const ky_field regularization_fields[] = {
    { "l1", NULL, KY_F_FLOAT, KY_FIELD(l1), 0, KY_FREE, 0 },
    { "l2", NULL, KY_F_FLOAT, KY_FIELD(l2), 0, KY_FREE, 0 },
    { 0 },
};

#define PASSES_ON(class, options)                                                                  \
    {                                                                                              \
        .class_name = class, .fields = options, .masking = KY_MASK_PASSES,                         \
        .shape = ky_shape_unchanged, .window = window                                              \
    }

const ky_layer_ops ky_spatial_dropout_1d_ops = PASSES_ON("SpatialDropout1D", rate_fields);
const ky_layer_ops ky_spatial_dropout_2d_ops = PASSES_ON("SpatialDropout2D", rate_fields);
const ky_layer_ops ky_spatial_dropout_3d_ops = PASSES_ON("SpatialDropout3D", rate_fields);
const ky_layer_ops ky_gaussian_dropout_ops = PASSES_ON("GaussianDropout", rate_fields);
const ky_layer_ops ky_gaussian_noise_ops = PASSES_ON("GaussianNoise", noise_fields);
const ky_layer_ops ky_alpha_dropout_ops = PASSES_ON("AlphaDropout", rate_fields);
const ky_layer_ops ky_activity_regularization_ops =
    PASSES_ON("ActivityRegularization", regularization_fields);
