/*
 * Writing Keras files, inside: what the configuration (keras_write.c) and the arrays
 * (keras_save.c) have to agree on.
 */
#ifndef KY_KERAS_OUT_H
#define KY_KERAS_OUT_H

#include "models/blueprint.h"
#include "models/keras_order.h"

enum { KY_KERAS_NAME = 80 };

/* A model on its way into a file. */
typedef struct ky_keras_out {
    const ky_model *m;
    bool archive; /* for Keras 3's form */
    ky_keras_order order;
    char (*name)[KY_KERAS_NAME]; /* [order.n] plain, none twice */
} ky_keras_out;

/** KY_EUNSUPPORTED: the model has no form that all versions read alike. */
int ky_keras_out_init(ky_keras_out *o, const ky_model *m, bool archive, ky_err *err);
void ky_keras_out_done(ky_keras_out *o);

/** The text of config.json or model_config, free(); NULL: no memory. */
char *ky_keras_out_config(const ky_keras_out *o);

/** A weight of a layer whose hard_sigmoid is that of Keras 1 and 2 is scaled where it leads into
 *  it, by how much: column n of N. */
float ky_keras_out_scale(const ky_layer *l, const ky_weight *w, size_t n, size_t N);

/** Whether the file needs the number of a Keras that has its hard_sigmoid. */
bool ky_keras_out_is_keras3(const ky_model *m);

#endif
