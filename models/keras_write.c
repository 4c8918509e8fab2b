/*
 * A model's configuration in the form that most versions of Keras read: every option that
 * matters spelled out, none that some version does not know. For HDF5 files with the old
 * dictionaries that tf.keras 2 and Keras 3 both open, for archives with Keras 3's.
 */
#include "models/keras_out.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/keras.h"

#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

static bool is_class(const ky_layer *l, const char *class_name)
{
    return strcmp(l->ops->class_name, class_name) == 0;
}

static bool is_among(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* -- names ---------------------------------------------------------------------------- */

/* As Keras and HDF5 both take it: plain characters, none of them a slash, no leading underscore. */
static void plain_name(const char *name, char *to, size_t size)
{
    size_t n = 0;

    for (const char *p = name + strspn(name, "_"); *p != '\0' && n + 1 < size; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || *p == '_' || *p == '-';

        to[n++] = plain ? *p : '_';
    }
    to[n] = '\0';
    if (n == 0 || strcmp(to, "top_level_model_weights") == 0)
        snprintf(to, size, "layer");
}

static const char *given_name(const ky_keras_out *o, int i)
{
    const ky_keras_item *item = &o->order.item[i];

    if (item->layer >= 0)
        return o->m->layers[item->layer].name;
    const char *name = o->m->input_names != NULL ? o->m->input_names[item->input] : NULL;
    return name != NULL && name[0] != '\0' ? name : "kymo_input";
}

static void name_items(ky_keras_out *o)
{
    ky_json *names = ky_json_object();

    for (int i = 0; i < o->order.n; i++) {
        char base[KY_KERAS_NAME - 16];

        plain_name(given_name(o, i), base, sizeof(base));
        ky_json_unused(names, base, o->name[i], KY_KERAS_NAME);
    }
    ky_json_free(names);
}

/* -- hard_sigmoid, which means two functions -------------------------------------------- */

/*
 * Keras 1 and 2 clip(0.2x + 0.5), Keras 3 clips x/6 + 0.5, both under one name. Written is
 * Keras 3's: what comes out of weights scaled by 1.2 is then the same in both.
 */
static bool is_old(enum ky_activation a)
{
    return a == KY_HARD_SIGMOID_K2;
}

static bool uses_hard_sigmoid(const ky_layer *l)
{
    for (const ky_field *f = l->ops->fields; f->key != NULL; f++) {
        double v = f->type == KY_F_ACTIVATION ? ky_field_get(f, &l->cfg, 0) : -1;

        if (v == KY_HARD_SIGMOID_K2 || v == KY_HARD_SIGMOID_K3)
            return true;
    }
    for (int i = 0; i < l->n_inner; i++)
        if (uses_hard_sigmoid(&l->inner[i]))
            return true;
    return false;
}

bool ky_keras_out_is_keras3(const ky_model *m)
{
    for (int i = 0; i < m->n_layers; i++)
        if (uses_hard_sigmoid(&m->layers[i]))
            return true;
    return false;
}

/* Gates side by side, i|f|c|o or z|r|h: which has the layer's own activation; -1: no gates. */
static int own_gate(const ky_layer *l, int *ret_gates)
{
    bool lstm = is_class(l, "LSTM") || is_class(l, "ConvLSTM2D");

    *ret_gates = lstm ? 4 : is_class(l, "GRU") ? 3 : 1;
    return *ret_gates == 1 ? -1 : 2;
}

float ky_keras_out_scale(const ky_layer *l, const ky_weight *w, size_t n, size_t N)
{
    int gates, own = own_gate(l, &gates);
    bool gate = own >= 0 && (int)(n / (N / (size_t)gates)) != own;

    /* What a separable convolution does first has no activation behind it. */
    if (strcmp(w->name, "depthwise_kernel") == 0 && strstr(l->ops->class_name, "Separable") != NULL)
        return 1;
    return is_old(gate ? l->cfg.recurrent_activation : l->cfg.activation) ? 1.2f : 1.0f;
}

static bool has_field(const ky_layer *l, const char *key)
{
    for (const ky_field *f = l->ops->fields; f->key != NULL; f++)
        if (strcmp(f->key, key) == 0)
            return true;
    return false;
}

/* An old hard_sigmoid with no weights before it, or on an LSTM's cell, cannot be scaled away. */
static int check_portable(const ky_layer *l, const char *name, ky_err *err)
{
    int gates, rc = KY_OK;

    own_gate(l, &gates);
    if (has_field(l, "activation") && is_old(l->cfg.activation) &&
        (gates == 4 || l->n_weights == 0))
        return ky_fail(err, KY_EUNSUPPORTED,
                       "layer '%s': hard_sigmoid of Keras 1 and 2 has no form here that Keras 3 "
                       "reads alike",
                       name);
    for (int i = 0; rc == KY_OK && i < l->n_inner; i++)
        rc = check_portable(&l->inner[i], name, err);
    return rc;
}

/* -- the options of a layer ---------------------------------------------------------------- */

static ky_json *number_value(const ky_field *f, const ky_layer_config *cfg, int i)
{
    double v = ky_field_get(f, cfg, i);

    switch (f->type) {
    case KY_F_FLOAT:
    case KY_F_REALS:
        return isinf(v) ? ky_json_of_null() : ky_json_of_num(v);
    case KY_F_BOOL:
        return ky_json_of_bool(v != 0);
    case KY_F_PADDING:
        return ky_json_of_str(ky_padding_name((enum ky_padding)v));
    case KY_F_ACTIVATION:
        return ky_json_of_str(ky_activation_name(
            is_old((enum ky_activation)v) ? KY_HARD_SIGMOID_K3 : (enum ky_activation)v));
    case KY_F_MERGE_MODE:
        if (v == KY_FORWARD || v == KY_BACKWARD)
            return ky_json_of_null();
        return ky_json_of_str(ky_merge_mode_name((enum ky_merge_mode)v));
    case KY_F_INTERPOLATION:
        return ky_json_of_str(ky_interpolation_name((enum ky_interpolation)v));
    case KY_F_INT:
    case KY_F_DIMS:
    case KY_F_MARGINS:
        break;
    }
    return ky_json_of_int((int64_t)v);
}

static ky_json *list_value(const ky_field *f, const ky_layer_config *cfg, int from, int n)
{
    ky_json *list = ky_json_array();

    for (int i = 0; i < n; i++)
        ky_json_append(list, number_value(f, cfg, from + i));
    return list;
}

/* [left, right] in one dimension, [[top, bottom], [left, right]] in two. */
static ky_json *margins_value(const ky_field *f, const ky_layer_config *cfg)
{
    if (f->list == 1)
        return list_value(f, cfg, 0, 2);
    ky_json *list = ky_json_array();
    for (int i = 0; i < f->list; i++)
        ky_json_append(list, list_value(f, cfg, 2 * i, 2));
    return list;
}

static ky_json *field_value(const ky_field *f, const ky_layer_config *cfg)
{
    int n = ky_field_len(f, cfg);

    if (f->type == KY_F_MARGINS)
        return margins_value(f, cfg);
    if (f->type == KY_F_DIMS || f->type == KY_F_REALS) {
        /* One axis is written as a number: nested layers of Keras 3 do not take a list of it. */
        bool axis = f->type == KY_F_REALS || strncmp(f->key, "ax", 2) == 0;

        return n < 0            ? ky_json_of_null()
               : axis && n == 1 ? number_value(f, cfg, 0)
                                : list_value(f, cfg, 0, n);
    }
    return f->list > 0 ? list_value(f, cfg, 0, n) : number_value(f, cfg, 0);
}

/* Options some version does not know are left out where they say nothing. */
static bool is_left_out(const ky_field *f, const ky_layer_config *cfg)
{
    static const char *const newer[] = { "groups", "keepdims", "zero_output_for_mask",
                                         "rms_scaling" };

    return is_among(f->key, newer, LENGTH(newer)) && ky_field_get(f, cfg, 0) == f->otherwise;
}

static bool has_data_format(const ky_layer *l)
{
    static const char *const begins[] = { "Conv",    "Separable", "Depthwise", "MaxPooling",
                                          "Average", "Global",    "Flatten" };
    static const char *const whole[] = { "ZeroPadding2D", "Cropping2D", "UpSampling2D" };

    for (size_t i = 0; i < LENGTH(begins); i++)
        if (strncmp(l->ops->class_name, begins[i], strlen(begins[i])) == 0)
            return !is_class(l, "Average"); /* which merges */
    return is_among(l->ops->class_name, whole, LENGTH(whole));
}

/* {"class_name", "config"}, in Keras 3's form with where the class is found. */
static ky_json *object(const char *class_name, bool module, ky_json *config)
{
    ky_json *entry = ky_json_object();

    if (module)
        ky_json_set(entry, "module", ky_json_of_str("keras.layers"));
    ky_json_set(entry, "class_name", ky_json_of_str(class_name));
    ky_json_set(entry, "config", config);
    if (module)
        ky_json_set(entry, "registered_name", ky_json_of_null());
    return entry;
}

static ky_json *base_config(const ky_layer *l, const char *name)
{
    ky_json *config = ky_json_object();

    ky_json_set(config, "name", ky_json_of_str(name));
    /* Keras 3 refuses it for these. */
    if (strncmp(l->ops->class_name, "SpatialDropout", 14) != 0)
        ky_json_set(config, "trainable", ky_json_of_bool(l->trainable));
    ky_json_set(config, "dtype", ky_json_of_str("float32"));
    return config;
}

static ky_json *layer_object(const ky_keras_out *o, const ky_layer *l, const char *name,
                             bool module);

/* Whether Keras makes b of a by itself: the same layer, the other way. */
static bool follows(const ky_layer *a, const ky_layer *b)
{
    if (a->ops != b->ops || a->cfg.go_backwards)
        return false; /* of one that goes backwards Keras 3 makes another that does */
    for (const ky_field *f = a->ops->fields; f->key != NULL; f++)
        for (int i = 0; i < ky_field_len(f, &a->cfg); i++)
            if (strcmp(f->key, "go_backwards") != 0 &&
                ky_field_get(f, &a->cfg, i) != ky_field_get(f, &b->cfg, i))
                return false;
    return true;
}

/* The layers of a Bidirectional; the second one only where it must be given. */
static void set_wrapped(const ky_keras_out *o, ky_json *config, const ky_layer *l)
{
    static const char *const keys[] = { "layer", "backward_layer" };
    static const char forward[] = "forward_";
    int n = follows(&l->inner[0], &l->inner[1]) ? 1 : 2;

    for (int i = 0; i < n; i++) {
        ky_layer inner = l->inner[i];
        const char *name = inner.name;
        char plain[KY_KERAS_NAME];

        inner.cfg.zero_output_for_mask = false; /* what Bidirectional makes of it anyway */

        if (strncmp(name, forward, sizeof(forward) - 1) == 0)
            name += sizeof(forward) - 1;
        plain_name(name, plain, sizeof(plain));
        ky_json_set(config, keys[i], layer_object(o, &inner, plain, true));
    }
}

static ky_json *layer_config(const ky_keras_out *o, const ky_layer *l, const char *name)
{
    ky_json *config = base_config(l, name);
    /* tf.keras has no other name for it, and Keras 3 knows the old one. */
    bool alpha = is_class(l, "LeakyReLU") && !o->archive;

    for (const ky_field *f = l->ops->fields; f->key != NULL; f++)
        if (!is_left_out(f, &l->cfg))
            ky_json_set(config, alpha ? "alpha" : f->key, field_value(f, &l->cfg));
    if (has_data_format(l))
        ky_json_set(config, "data_format", ky_json_of_str("channels_last"));
    if (l->n_inner == 2)
        set_wrapped(o, config, l);
    return config;
}

static ky_json *layer_object(const ky_keras_out *o, const ky_layer *l, const char *name,
                             bool module)
{
    return object(l->ops->class_name, module, layer_config(o, l, name));
}

/* With a TimeDistributed around it for each axis that is folded. Wrapped layers bear their module
 * in old files too: Keras 3 wants it there, and the others do not mind. */
static ky_json *item_object(const ky_keras_out *o, const ky_layer *l, const char *name)
{
    ky_json *all = layer_object(o, l, name, o->archive || l->distributed > 0);

    for (int i = 0; i < l->distributed; i++) {
        ky_json *config = base_config(l, name);

        ky_json_set(config, "layer", all);
        all = object("TimeDistributed", o->archive || i + 1 < l->distributed, config);
    }
    return all;
}

/* -- inputs and calls ------------------------------------------------------------------------ */

/* A stateful layer of Keras wants to know how many rows it will carry: one. */
static bool is_stateful(const ky_model *m)
{
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].cfg.stateful)
            return true;
    return false;
}

static ky_json *input_shape(const ky_model *m, int k)
{
    const ky_shape *s = &m->inputs[k];
    ky_json *shape = ky_json_array();

    ky_json_append(shape, is_stateful(m) ? ky_json_of_int(1) : ky_json_of_null());
    for (int i = 0; i < s->rank; i++)
        ky_json_append(shape, s->d[i] == KY_ANY ? ky_json_of_null() : ky_json_of_int(s->d[i]));
    return shape;
}

static ky_json *input_object(const ky_keras_out *o, int k, const char *name)
{
    ky_json *config = ky_json_object();

    ky_json_set(config, "batch_input_shape", input_shape(o->m, k));
    ky_json_set(config, "dtype", ky_json_of_str("float32"));
    ky_json_set(config, "sparse", ky_json_of_bool(false));
    if (!o->archive) /* early Keras 3 does not know it */
        ky_json_set(config, "ragged", ky_json_of_bool(false));
    ky_json_set(config, "name", ky_json_of_str(name));
    return object("InputLayer", o->archive, config);
}

static int item_of(const ky_keras_out *o, int tensor)
{
    for (int i = 0; i < o->order.n; i++) {
        const ky_keras_item *item = &o->order.item[i];

        if (tensor < 0 ? item->input == -1 - tensor : item->layer == o->m->layers[tensor].shares)
            return i;
    }
    return 0;
}

/* ["name", which of its calls, which of its outputs]: only a Bidirectional has a second. */
static ky_json *tensor_ref(const ky_keras_out *o, int tensor)
{
    const ky_layer *l = tensor < 0 ? NULL : &o->m->layers[tensor];
    bool second = l != NULL && l->n_inner == 2 && l->cfg.merge_mode == KY_BACKWARD;
    ky_json *ref = ky_json_array();

    ky_json_append(ref, ky_json_of_str(o->name[item_of(o, tensor)]));
    ky_json_append(ref, ky_json_of_int(tensor < 0 ? 0 : o->order.node[tensor]));
    ky_json_append(ref, ky_json_of_int(second));
    return ref;
}

static ky_json *call_value(const ky_keras_out *o, const ky_layer *call)
{
    ky_json *inputs = ky_json_array();

    for (int k = 0; k < call->n_in; k++) {
        ky_json *ref = tensor_ref(o, call->from[k]);

        ky_json_append(ref, ky_json_object());
        ky_json_append(inputs, ref);
    }
    return inputs;
}

/* All calls of a layer, in the order their numbers were given. */
static ky_json *calls_value(const ky_keras_out *o, int layer)
{
    ky_json *nodes = ky_json_array();

    for (int i = layer; layer >= 0 && i < o->m->n_layers; i++)
        if (o->m->layers[i].shares == layer && o->order.node[i] >= 0 &&
            ky_keras_order_call(o->m, i) == i)
            ky_json_append(nodes, call_value(o, &o->m->layers[i]));
    return nodes;
}

/* Ends of the graph. Keras 3 alone takes one tensor for what it is, not for a list of one. */
static ky_json *ends_value(const ky_keras_out *o, int n, const int *tensors)
{
    if (n == 1 && o->archive)
        return tensor_ref(o, tensors[0]);
    ky_json *list = ky_json_array();
    for (int k = 0; k < n; k++)
        ky_json_append(list, tensor_ref(o, tensors[k]));
    return list;
}

static ky_json *inputs_value(const ky_keras_out *o)
{
    if (o->m->n_inputs == 1)
        return ends_value(o, 1, (const int[]){ KY_INPUT(0) });
    ky_json *list = ky_json_array();
    for (int k = 0; k < o->m->n_inputs; k++)
        ky_json_append(list, tensor_ref(o, KY_INPUT(k)));
    return list;
}

/* -- the model --------------------------------------------------------------------------------- */

static ky_json *items_value(const ky_keras_out *o)
{
    ky_json *layers = ky_json_array();

    for (int i = 0; i < o->order.n; i++) {
        const ky_keras_item *item = &o->order.item[i];
        ky_json *entry = item->layer < 0 ? input_object(o, item->input, o->name[i])
                                         : item_object(o, &o->m->layers[item->layer], o->name[i]);

        if (!o->order.chain) {
            ky_json_set(entry, "name", ky_json_of_str(o->name[i]));
            ky_json_set(entry, "inbound_nodes", calls_value(o, item->layer));
        }
        ky_json_append(layers, entry);
    }
    return layers;
}

char *ky_keras_out_config(const ky_keras_out *o)
{
    ky_json *root = ky_json_object(), *config = ky_json_object();
    char name[64];

    plain_name(o->m->name, name, sizeof(name));
    ky_json_set(config, "name", ky_json_of_str(name));
    ky_json_set(config, "layers", items_value(o));
    if (!o->order.chain) {
        ky_json_set(config, "input_layers", inputs_value(o));
        ky_json_set(config, "output_layers", ends_value(o, o->m->n_outputs, o->m->outputs));
    }
    if (o->archive)
        ky_json_set(root, "module", ky_json_of_str("keras"));
    ky_json_set(root, "class_name",
                ky_json_of_str(o->order.chain ? "Sequential"
                               : o->archive   ? "Model"
                                              : "Functional"));
    ky_json_set(root, "config", config);
    if (o->archive) {
        ky_json_set(root, "registered_name", ky_json_of_null());
        if (o->order.chain) {
            ky_json *build = ky_json_object();

            ky_json_set(build, "input_shape", input_shape(o->m, 0));
            ky_json_set(root, "build_config", build);
        }
        ky_json_set(root, "compile_config", ky_json_of_null());
    }
    char *text = ky_json_text(root, 0);
    ky_json_free(root);
    return text;
}

int ky_keras_out_init(ky_keras_out *o, const ky_model *m, bool archive, ky_err *err)
{
    int rc = KY_OK;

    *o = (ky_keras_out){ .m = m, .archive = archive };
    for (int i = 0; rc == KY_OK && i < m->n_layers; i++)
        rc = check_portable(&m->layers[i], m->layers[i].name, err);
    if (rc == KY_OK)
        rc = ky_keras_order_of(m, &o->order, err);
    if (rc < 0)
        return rc;
    o->name = calloc((size_t)o->order.n + 1, sizeof(*o->name));
    if (o->name == NULL) {
        ky_keras_out_done(o);
        return ky_fail(err, KY_ENOMEM, "the model's names: no memory");
    }
    name_items(o);
    return KY_OK;
}

void ky_keras_out_done(ky_keras_out *o)
{
    ky_keras_order_done(&o->order);
    free(o->name);
}

int ky_keras_config_write(const ky_model *m, char **ret, ky_err *err)
{
    ky_keras_out o;
    int rc = ky_keras_out_init(&o, m, false, err);

    if (rc < 0)
        return rc;
    char *text = ky_keras_out_config(&o);
    ky_keras_out_done(&o);
    if (text == NULL)
        return ky_fail(err, KY_ENOMEM, "the model's configuration: no memory");
    *ret = text;
    return KY_OK;
}
