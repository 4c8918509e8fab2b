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

/** "2.2.4-tf" -> 2, 2. What is no version is Keras 1, as Keras itself has it. */
ky_keras_version ky_keras_version_read(const char *text);

/**
 * The layers and shapes that the text of a model_config describes; weights are not there yet
 * (ky_model_finish). Bounds: 64 MiB of text, 256 levels, 10,000 layers.
 *
 * @return KY_EFORMAT, KY_ESHAPE, or KY_EUNSUPPORTED with the layer and the reason
 */
int ky_keras_config_read(const char *text, size_t len, ky_keras_version version, ky_model **ret,
                         ky_err *err);

/** The same text back, as Keras 2 and 3 read it; free(). KY_EUNSUPPORTED: no common form. */
int ky_keras_config_write(const ky_model *m, char **ret, ky_err *err);

/** A whole model from an open file, borrowed. */
int ky_keras_read(ky_h5 *f, ky_model **ret, ky_err *err);

#endif
