/*
 * In which order Keras keeps the layers of a graph. It works the order out anew whenever it
 * reads a file, and then gives the arrays to the layers by position: who writes has to foresee
 * it. Part of writing (keras_write.c).
 */
#ifndef KY_KERAS_ORDER_H
#define KY_KERAS_ORDER_H

#include "models/blueprint.h"

/* A layer as Keras sees it: an input, or all calls of one of ours. */
typedef struct ky_keras_item {
    int input; /* number of the input, -1: a layer */
    int layer; /* its first call, -1: an input */
    int depth; /* calls from here to the furthest output */
    int met;   /* when it is first met on the way from the outputs */
} ky_keras_item;

typedef struct ky_keras_order {
    bool chain; /* written as a Sequential */
    int n;
    ky_keras_item *item; /* [n], the inputs too */
    int *node; /* [n_layers] which call of its layer it is, 0 for the first; -1: no output needs it
                */
} ky_keras_order;

/** The call that Keras counts call i as: its own, or the one before it where the two are the
 *  directions of one call of a Bidirectional that does not merge them. */
int ky_keras_order_call(const ky_model *m, int i);

/** Work it out; what no output needs is left out, as Keras does. */
int ky_keras_order_of(const ky_model *m, ky_keras_order *ret, ky_err *err);
void ky_keras_order_done(ky_keras_order *o);

#endif
