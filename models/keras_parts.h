/*
 * Between the halves of reading a configuration. A text is first read into parts, each the
 * description of something that can be called (keras_config.c a layer's options, keras_parts.c
 * models and what wraps layers, keras_input.c the shapes that come in); then the outermost model
 * is called on the inputs, which calls its parts on each other (keras_graph.c). For these files
 * alone; all of it borrows from the parsed text.
 */
#ifndef KY_KERAS_PARTS_H
#define KY_KERAS_PARTS_H

#include "models/blueprint.h"
#include "models/keras.h"

/* -- values ------------------------------------------------------------------------ */

/* A value for an error message: its JSON, cut short. */
typedef struct ky_keras_shown {
    char text[64];
} ky_keras_shown;

ky_keras_shown ky_keras_show(const ky_json *v);

/** Tuples and shapes may be lists in disguise: the list, else v itself. */
const ky_json *ky_keras_list(const ky_json *v);

/** Nothing, false, zero: what an option that is not known may hold. */
bool ky_keras_is_nothing(const ky_json *v);

/** Of an entry {"class_name":, "config":{"name":}}; "" where it has none. */
const char *ky_keras_class(const ky_json *entry);
const char *ky_keras_name(const ky_json *entry);

/** KY_EUNSUPPORTED for what only its author's program could run. */
int ky_keras_check_origin(const ky_json *entry, ky_err *err);

/* -- one layer --------------------------------------------------------------------- */

/* What the text says of one layer. */
typedef struct ky_keras_layer {
    ky_layer layer;      /* class, name and options; its inner layers are this struct's own */
    bool has_activation; /* its activation is a layer of its own */
    ky_layer activation;
    bool activation_named; /* the text has it as a layer, which may hold arrays */
    int first_activation;  /* the first call of that; -1: not called yet */
    bool channels_first;
    bool theano_order; /* said in Keras 1's words: its kernels are turned, too */
    bool both_ways;    /* a call gives two tensors: forward, backward */
    int n_states;      /* tensors a call gives in Keras behind the first, which kymo has not */
} ky_keras_layer;

/** KY_EUNSUPPORTED, KY_EFORMAT with the option that is wrong; the caller adds the layer's name. */
int ky_keras_layer_read(const ky_json *entry, ky_keras_version version, ky_keras_layer *ret,
                        ky_err *err);
void ky_keras_layer_done(ky_keras_layer *l);

/* -- inputs ------------------------------------------------------------------------ */

/**
 * The shape of what comes in, from an entry that says it in one of the places where versions
 * of Keras have put it. Timed where the first axis is open, or usually steps.
 *
 * @param model  the config of the Sequential that begins with it; NULL: none
 */
int ky_keras_input_shape(const ky_json *entry, const ky_json *model, ky_shape *ret, ky_err *err);

/** KY_EUNSUPPORTED where an InputLayer asks for sparse or ragged tensors, or text. */
int ky_keras_check_input(const ky_json *entry, ky_err *err);

/* -- parts ------------------------------------------------------------------------- */

enum { KY_KERAS_MAX_LAYERS = 10000, KY_KERAS_MAX_CALLS = 100000, KY_KERAS_MAX_READS = 300000 };

enum ky_keras_part_kind {
    KY_KERAS_PART_INPUT,
    KY_KERAS_PART_LAYER,
    KY_KERAS_PART_MODEL,
    KY_KERAS_PART_DISTRIBUTED,
    KY_KERAS_PART_OPERATION, /* what Keras 3 notes down of working out a mask */
};

typedef struct ky_keras_part {
    enum ky_keras_part_kind kind;
    const char *class_name, *name;
    const ky_json *entry;
    ky_keras_tree *tree;
    ky_keras_layer *layer;        /* of a layer */
    int first;                    /* its first call; -1: not called yet */
    struct ky_keras_part *inner;  /* of a TimeDistributed */
    struct ky_keras_graph *graph; /* of a model */
} ky_keras_part;

/* Output `tensor` of call `node`. */
typedef struct ky_keras_ref {
    int node, tensor;
} ky_keras_ref;

/* A part called once. */
typedef struct ky_keras_node {
    int part;
    int ref, n_refs; /* of the graph's refs: what it is called on */
    int out;         /* of the graph's tensors: its first */
    bool masked;     /* a mask is handed over, not only carried along */
} ky_keras_node;

/* The inside of a model. */
typedef struct ky_keras_graph {
    const ky_json *config;
    int n_parts;
    ky_keras_part *parts; /* in the order of the text */
    int n_nodes;
    ky_keras_node *nodes;
    int n_refs;
    ky_keras_ref *refs;
    int *order; /* [n_nodes] each behind what it reads */
    int n_inputs, n_outputs, n_tensors;
    int n_calls;           /* of layers, in one call of the model, with all that is inside */
    int *inputs;           /* [n_inputs] nodes */
    ky_keras_ref *outputs; /* [n_outputs] */
} ky_keras_graph;

/** Tensors that a call of a part gives; those of a layer's states count. */
int ky_keras_part_outputs(const ky_keras_part *p);

/**
 * Read a model with all that is inside. Refused before anything is called: unknown classes and
 * options by layer, references that lead nowhere, circles, more layers than
 * KY_KERAS_MAX_LAYERS.
 *
 * @param tree  a root for the parts' nodes, borrowed
 */
int ky_keras_parts_read(const ky_json *root, ky_keras_version version, ky_keras_tree *tree,
                        ky_keras_part *ret, ky_err *err);
void ky_keras_part_done(ky_keras_part *p);

#endif
