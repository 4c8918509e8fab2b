/*
 * The inside of a model, for those who build, read, write and train models. Everybody
 * else uses model.h.
 */
#ifndef KY_BLUEPRINT_H
#define KY_BLUEPRINT_H

#include "models/json.h"
#include "models/layer.h"
#include "models/model.h"

/* What kymo keeps in a model file beyond Keras (attributes kymo_*, ignored by Keras). */
typedef struct ky_model_meta {
    char **labels;
    int n_labels;
    char **feature_names; /* NULL or [features] */
    ky_json *extra;       /* object: seed, data hash, history ...; NULL */
} ky_model_meta;

struct ky_model {
    char name[64];
    int n_layers;
    ky_layer *layers; /* without the InputLayer: `input` is its shape */
    ky_shape input;
    size_t n_weights; /* reals in the block */
    ky_real *weights; /* one contiguous block, 64-byte aligned */
    const ky_kernels *kernels;
    ky_packed *packed; /* [n_layers] */
    bool training;     /* pack also what backward() reads, and leave the hash: set by training */
    ky_model_meta meta;
    ky_model_info info;
};

/** An empty Sequential for inputs of this shape: [T or KY_ANY, F] timed, or [F] without time. */
int ky_model_new(const char *name, const ky_shape *input, ky_model **ret, ky_err *err);

/** Append a layer: shapes are worked out, KY_ESHAPE names the layer. `l` is copied. */
int ky_model_add(ky_model *m, const ky_layer *l, ky_err *err);

/** All layers are there: allocate the weights (zeros) and fill in `info`. */
int ky_model_finish(ky_model *m, ky_err *err);

/** Initial weights as Keras draws them. */
void ky_model_init(ky_model *m, uint64_t seed);

/** (Re)pack for m->kernels (NULL: those in use) after the weights changed, and work out the hash.
 */
int ky_model_pack(ky_model *m, ky_err *err);

/** Array i of layer l, in Keras's layout. */
ky_real *ky_model_weight(ky_model *m, int l, int i);

/**
 * From an --arch string (DESIGN 4.7): "conv1d:64x3 relu, maxpool:2, lstm:64, dense".
 * The last dense without number gets n_outputs outputs, one without activation softmax.
 * KY_EINVAL with the word that is wrong and the nearest known one.
 */
int ky_arch_build(const char *arch, const ky_shape *input, int n_outputs, bool normalize,
                  ky_model **ret, ky_err *err);

#endif
