/*
 * Arrays of a Keras file and the layers they belong to. Part of reading (keras_read.c):
 * keras_places.c finds where each layer's arrays stand, keras_arrays.c holds them against
 * the shapes that the configuration gives and reads them, in whatever form a version of
 * Keras stored them.
 */
#ifndef KY_KERAS_ARRAYS_H
#define KY_KERAS_ARRAYS_H

#include "models/blueprint.h"
#include "models/keras.h"

/* How a layer's arrays stand in a file. */
enum ky_keras_form {
    KY_KERAS_PLAIN, /* one for each weight, with its shape */
    KY_KERAS_GATES, /* Keras 1: W, U, b of each gate apart */
    KY_KERAS_CUDNN, /* kernels for cuDNN, with two biases */
    KY_KERAS_COUNT, /* with the number of samples a Normalization has seen behind */
};

/* A layer that bears arrays. */
typedef struct ky_keras_leaf {
    const ky_keras_tree *node;
    enum ky_keras_form form;
    bool turned; /* kernels are (filters, in, rows, columns) */
    int n;       /* arrays, 0: not found yet */
    char **path; /* [n] datasets, in the order of the layer's weights */
} ky_keras_leaf;

typedef struct ky_keras_leaves {
    ky_h5 *f;
    ky_keras_version version;
    const ky_model *m;
    int n;
    ky_keras_leaf *leaf; /* [n], in the order of the tree */
    int *first;          /* [m->n_layers] of each layer's leaves; n: it has none */
} ky_keras_leaves;

/** All layers of the tree that have weights, nothing found yet. */
int ky_keras_leaves_find(const ky_keras_tree *t, ky_keras_leaves *all, ky_err *err);
void ky_keras_leaves_free(ky_keras_leaves *all);

/** The layer a leaf stands for, by itself or inside a Bidirectional. */
const ky_layer *ky_keras_leaf_layer(const ky_keras_leaves *all, const ky_keras_leaf *leaf);

/** The leaf of a node, NULL if it has no weights. */
ky_keras_leaf *ky_keras_leaf_of(const ky_keras_leaves *all, const ky_keras_tree *node);

/**
 * Where each leaf's arrays are in the form that has them by the names of layers: `group` is "" or
 * KY_KERAS_WEIGHTS, its attribute layer_names is followed.
 *
 * @return KY_ESHAPE where file and configuration have not the same layers and counts
 */
int ky_keras_places_by_name(ky_keras_leaves *all, const ky_keras_tree *t, const char *group,
                            ky_err *err);
/** The same for Keras 3's form, by classes and counters (FORMATS 1.3). */
int ky_keras_places_by_class(ky_keras_leaves *all, const ky_keras_tree *t, ky_err *err);

/** Whether a layer's arrays belong to a cell inside it. */
bool ky_keras_has_cell(const ky_layer *l);

/** Every array against the shape it must have; no memory is taken for them. */
int ky_keras_arrays_check(ky_keras_leaves *all, ky_err *err);

/** Read them into the model's weights; refuses NaN, infinity and negative variances. */
int ky_keras_arrays_read(ky_keras_leaves *all, ky_model *m, ky_err *err);

/** How many arrays a leaf may have: as plain weights, and in Keras 1's form (0: no such). */
int ky_keras_leaf_count(const ky_keras_leaves *all, const ky_keras_leaf *leaf, bool gates_apart);

#endif
