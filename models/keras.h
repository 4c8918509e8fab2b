/*
 * Keras files, inside: what reading and writing them share, and the parts of reading that
 * tests and tools call on their own. Everybody else uses ky_model_load and ky_model_save.
 *
 * A file is text, the configuration of the layers, and arrays, the weights of each. The
 * configuration is read first and fixes every shape; then each array is compared with the
 * shape it must have; only then is memory taken for the weights.
 */
#ifndef KY_KERAS_H
#define KY_KERAS_H

#include "models/h5.h"
#include "models/model.h"
#include "models/zip.h"

/* Whose conventions a file follows: hard_sigmoid, defaults and Keras 1's arrays depend on it. */
typedef struct ky_keras_version {
    int major, minor;
    bool theano; /* kernels were stored for a true convolution, back to front */
} ky_keras_version;

/* Where things stand in a file. */
#define KY_KERAS_CONFIG   "model_config"
#define KY_KERAS_VERSION  "keras_version"
#define KY_KERAS_WEIGHTS  "/model_weights"
#define KY_KERAS_LABELS   "kymo_labels"
#define KY_KERAS_FEATURES "kymo_features"
#define KY_KERAS_EXTRA    "kymo_extra"

/*
 * The tree of a configuration, as the arrays of a file are ordered and named by it. The model
 * itself is flat: what is nested in the file is a node with children here.
 *
 *     model           its layers, in the order of the file; InputLayers may be left out
 *     layer           none, or the layer that is its activation
 *     distributed     the wrapped layer or model
 *     bidirectional   the forward and the backward layer: they bear the arrays, not the node
 */
enum ky_keras_kind { KY_KERAS_LAYER, KY_KERAS_MODEL, KY_KERAS_DISTRIBUTED, KY_KERAS_BIDIRECTIONAL };

typedef struct ky_keras_tree ky_keras_tree;

struct ky_keras_tree {
    enum ky_keras_kind kind;
    char class_name[64]; /* as the file has it: "CuDNNLSTM", "Convolution2D", "Model" */
    char name[64];
    bool trainable;    /* what a frozen layer holds is stored behind what is not frozen */
    bool theano_order; /* dim_ordering "th" of Keras 1: kernels are (filters, in, ...) */
    int layer;         /* of the model's layers, the first call where it is shared; -1: none */
    int inner;         /* of a Bidirectional: 0 forward, 1 backward; -1: the layer itself */
    int n;
    ky_keras_tree **child; /* [n] */
};

/** A node behind the others of `parent`, NULL for a root; NULL: no memory. Names are cut to fit.
 *  It is trainable and has no layer until told. */
ky_keras_tree *ky_keras_tree_add(ky_keras_tree *parent, enum ky_keras_kind kind,
                                 const char *class_name, const char *name);
/** With all children; NULL allowed. */
void ky_keras_tree_free(ky_keras_tree *t);

/** "2.2.4-tf" -> 2, 2. What is no version is Keras 1, as Keras itself has it. */
ky_keras_version ky_keras_version_read(const char *text);

/**
 * The layers and shapes that the text of a model_config describes; weights are not there yet
 * (ky_model_finish). Bounds: 64 MiB of text, 256 levels, 10,000 layers.
 *
 * @param ret_tree  receives where the layers stood in the file, to be freed; NULL: not wanted
 * @return KY_EFORMAT, KY_ESHAPE, or KY_EUNSUPPORTED with the layer and the reason
 */
int ky_keras_config_read(const char *text, size_t len, ky_keras_version version, ky_model **ret,
                         ky_err *err);
int ky_keras_config_tree(const char *text, size_t len, ky_keras_version version, ky_model **ret,
                         ky_keras_tree **ret_tree, ky_err *err);

/** The same text back, as Keras 2 and 3 read it; free(). KY_EUNSUPPORTED: no common form. */
int ky_keras_config_write(const ky_model *m, char **ret, ky_err *err);

/** A whole model from an open file or archive, borrowed. */
int ky_keras_read(ky_h5 *f, ky_model **ret, ky_err *err);
int ky_keras_read_archive(ky_zip *z, ky_model **ret, ky_err *err);

#endif
