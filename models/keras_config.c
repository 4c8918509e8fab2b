/* Keras's description of a model: JSON in, layers out. */
#include "models/keras.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"

enum { MAX_TEXT = 64 << 20, MAX_LAYERS = 10000 };

#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

ky_keras_version ky_keras_version_read(const char *text)
{
    ky_keras_version v = { .major = 1 };

    if (text != NULL && sscanf(text, "%d.%d", &v.major, &v.minor) >= 1 && v.major >= 1)
        return v;
    return (ky_keras_version){ .major = 1 };
}

/* -- values ------------------------------------------------------------------------ */

/* A value for an error message: its JSON, cut short. */
struct shown {
    char text[64];
};

static struct shown show(const ky_json *v)
{
    struct shown s = { "null" };
    char *text = ky_json_text(v, 0);

    if (text != NULL)
        snprintf(s.text, sizeof(s.text), "%.60s", text);
    free(text);
    return s;
}

/* Tuples and shapes may be lists in disguise. */
static const ky_json *as_list(const ky_json *v)
{
    const char *class = ky_json_str(ky_json_get(v, "class_name"), "");

    if (strcmp(class, "__tuple__") == 0 || strcmp(class, "TensorShape") == 0)
        return ky_json_get(v, "items");
    return v;
}

/* Nothing, false, zero: what an option that is not known may hold. */
static bool is_nothing(const ky_json *v)
{
    return ky_json_is_null(v) || (ky_json_is_bool(v) && !ky_json_bool(v, true)) ||
           (ky_json_is_number(v) && ky_json_num(v, 1) == 0);
}

static int read_number(const ky_field *f, const ky_json *v, double *ret, ky_err *err)
{
    const ky_json *list = as_list(v);

    if (ky_json_is_array(list) && ky_json_len(list) == 1)
        v = ky_json_at(list, 0);
    if (!ky_json_is_number(v))
        return ky_fail(err, KY_EFORMAT, "%s is %s, not a number", f->key, show(v).text);
    double d = ky_json_num(v, 0);
    if (f->type == KY_F_INT && (d != (double)ky_json_int(v, 0) || d < INT_MIN || d > INT_MAX))
        return ky_fail(err, KY_EFORMAT, "%s is %s, not a whole number in range", f->key,
                       show(v).text);
    *ret = d;
    return KY_OK;
}

static int read_bool(const ky_field *f, const ky_json *v, double *ret, ky_err *err)
{
    if (!ky_json_is_bool(v))
        return ky_fail(err, KY_EFORMAT, "%s is %s, not true or false", f->key, show(v).text);
    *ret = ky_json_bool(v, false);
    return KY_OK;
}

static int read_padding(const ky_field *f, const ky_json *v, double *ret, ky_err *err)
{
    enum ky_padding p;

    if (ky_padding_find(ky_json_str(v, ""), &p) < 0)
        return ky_fail(err, KY_EUNSUPPORTED, "%s is %s, kymo knows valid, same and causal", f->key,
                       show(v).text);
    *ret = p;
    return KY_OK;
}

/* "relu", or since Keras 3 sometimes {"class_name": "function", "config": "relu"}. */
static int read_activation(const ky_field *f, const ky_json *v, int major, double *ret, ky_err *err)
{
    enum ky_activation a;
    const char *name = ky_json_str(v, NULL);

    if (strcmp(ky_json_str(ky_json_get(v, "class_name"), ""), "function") == 0)
        name = ky_json_str(ky_json_get(v, "config"), NULL);
    if (name == NULL || ky_activation_find(name, major, &a) < 0)
        return ky_fail(err, KY_EUNSUPPORTED, "%s is %s, which kymo cannot run yet", f->key,
                       show(v).text);
    *ret = a;
    return KY_OK;
}

/* -- the options of a layer -------------------------------------------------------- */

/* Keras kept hard_sigmoid as an LSTM's default until standalone 2.3. */
static double version_default(const ky_field *f, ky_keras_version v)
{
    if (strcmp(f->key, "recurrent_activation") == 0 &&
        (v.major < 2 || (v.major == 2 && v.minor < 3)))
        return KY_HARD_SIGMOID_K2;
    return f->otherwise;
}

static int read_field(const ky_field *f, const ky_json *config, ky_keras_version version,
                      ky_layer *l, ky_err *err)
{
    const ky_json *v = ky_json_get(config, f->key);
    double value = version_default(f, version);
    int rc = KY_OK;

    if (v == NULL && f->old_key != NULL)
        v = ky_json_get(config, f->old_key);
    /* null stands for the default, of an activation for none. */
    if (ky_json_is_null(v)) {
        if (v != NULL && f->type == KY_F_ACTIVATION)
            value = KY_LINEAR;
    } else if (f->type == KY_F_BOOL)
        rc = read_bool(f, v, &value, err);
    else if (f->type == KY_F_PADDING)
        rc = read_padding(f, v, &value, err);
    else if (f->type == KY_F_ACTIVATION)
        rc = read_activation(f, v, version.major, &value, err);
    else
        rc = read_number(f, v, &value, err);
    if (rc < 0)
        return rc;
    if (f->only != KY_FREE && value != f->only)
        return ky_fail(err, KY_EUNSUPPORTED, "%s is %s, which kymo cannot do yet", f->key,
                       show(v).text);
    ky_field_set(f, &l->cfg, 0, value);
    return KY_OK;
}

/* Options without meaning for an answer, whatever they hold. */
static const char *const ignored[] = {
    "name",
    "trainable",
    "dtype",
    "batch_input_shape",
    "batch_shape",
    "input_shape",
    "input_dim",
    "input_dtype",
    "input_length",
    "seed",
    "implementation",
    "consume_less",
    "init",
    "inner_init",
    "forget_bias_init",
    "beta_init",
    "gamma_init",
    "synchronized",
    "zero_output_for_mask",
    "fused",
    "renorm_momentum",
};

/* What ends so says how weights begin and are held while training. */
static const char *const ignored_ends[] = { "_initializer", "_regularizer", "_constraint" };

static bool is_ignored(const char *key)
{
    for (size_t i = 0; i < LENGTH(ignored); i++)
        if (strcmp(key, ignored[i]) == 0)
            return true;
    for (size_t i = 0; i < LENGTH(ignored_ends); i++) {
        size_t n = strlen(key), end = strlen(ignored_ends[i]);

        if (n >= end && strcmp(key + n - end, ignored_ends[i]) == 0)
            return true;
    }
    return false;
}

static bool is_field(const ky_layer_ops *ops, const char *key)
{
    for (const ky_field *f = ops->fields; f->key != NULL; f++)
        if (strcmp(key, f->key) == 0 || (f->old_key != NULL && strcmp(key, f->old_key) == 0))
            return true;
    return false;
}

/* An option that is not known and says something may change the answer: refused by name. */
static int check_options(const ky_layer_ops *ops, const ky_json *config, ky_err *err)
{
    for (const char *key = ky_json_next_key(config, NULL); key != NULL;
         key = ky_json_next_key(config, key)) {
        const ky_json *v = ky_json_get(config, key);
        const char *text = ky_json_str(v, "");

        if (is_field(ops, key) || is_ignored(key) || is_nothing(v))
            continue;
        if (strcmp(key, "data_format") == 0 && strcmp(text, "channels_last") == 0)
            continue;
        if (strcmp(key, "data_format") == 0)
            return ky_fail(err, KY_EUNSUPPORTED, "data_format is %s, kymo runs channels_last only",
                           show(v).text);
        return ky_fail(err, KY_EUNSUPPORTED, "its option %.60s is %s, which kymo does not know",
                       key, show(v).text);
    }
    return KY_OK;
}

/* "float32", a policy object that names it, or nothing. */
static int check_dtype(const ky_json *config, ky_err *err)
{
    const ky_json *v = ky_json_get(config, "dtype");
    const char *name = ky_json_str(v, NULL);

    if (name == NULL)
        name = ky_json_str(ky_json_get(ky_json_get(v, "config"), "name"), NULL);
    if (ky_json_is_null(v) || (name != NULL && strstr(name, "float") != NULL))
        return KY_OK;
    return ky_fail(err, KY_EUNSUPPORTED, "dtype is %s, kymo runs float32", show(v).text);
}

static const char *layer_name(const ky_json *entry)
{
    const char *name = ky_json_str(ky_json_get(ky_json_get(entry, "config"), "name"), NULL);

    return name != NULL ? name : ky_json_str(ky_json_get(entry, "name"), "");
}

static int read_options(const ky_json *entry, ky_keras_version version, ky_layer *l, ky_err *err)
{
    const ky_json *config = ky_json_get(entry, "config");
    const char *class = ky_json_str(ky_json_get(entry, "class_name"), "");
    const ky_layer_ops *ops = ky_layer_find(class);
    const char *name = layer_name(entry);

    if (ops == NULL)
        return ky_fail(err, KY_EUNSUPPORTED, "class %.60s is not one kymo can run yet", class);
    if (!ky_json_is_object(config))
        return ky_fail(err, KY_EFORMAT, "it has no config");
    ky_layer_init(l, ops, name);
    if (strlen(name) >= sizeof(l->name))
        return ky_fail(err, KY_EUNSUPPORTED, "its name is longer than %zu bytes",
                       sizeof(l->name) - 1);
    l->trainable = ky_json_bool(ky_json_get(config, "trainable"), true);
    int rc = check_dtype(config, err);
    for (const ky_field *f = ops->fields; rc == KY_OK && f->key != NULL; f++)
        rc = read_field(f, config, version, l, err);
    return rc < 0 ? rc : check_options(ops, config, err);
}

static int add_layer(const ky_json *entry, ky_keras_version version, ky_model *m, ky_err *err)
{
    ky_layer l;
    int rc = read_options(entry, version, &l, err);

    if (rc < 0)
        return ky_context(err, rc, "layer '%.60s'", layer_name(entry));
    return ky_model_add(m, &l, err);
}

/* -- the input --------------------------------------------------------------------- */

static bool is_input(const ky_json *entry)
{
    return strcmp(ky_json_str(ky_json_get(entry, "class_name"), ""), "InputLayer") == 0;
}

/* [T,F] or [F] from the dimensions after the first `skip`. */
static int shape_of_dims(const ky_json *dims, size_t skip, ky_shape *ret, ky_err *err)
{
    size_t n = ky_json_len(dims);

    if (n <= skip || n - skip > 2)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "the input's shape is %s; kymo takes [batch,steps,features] or "
                       "[batch,features]",
                       show(dims).text);
    *ret = (ky_shape){ .rank = (int)(n - skip), .timed = n - skip == 2 };
    for (int i = 0; i < ret->rank; i++) {
        const ky_json *d = ky_json_at(dims, skip + (size_t)i);
        int64_t v = ky_json_int(d, -1);
        bool open = ky_json_is_null(d) && ret->timed && i == 0;

        if (!open && (v < 1 || v > INT_MAX))
            return ky_fail(err, KY_EUNSUPPORTED,
                           "dimension %d of the input's shape %s is not fixed", i + 1,
                           show(dims).text);
        ret->d[i] = open ? KY_ANY : (int)v;
    }
    return KY_OK;
}

/* Keras 1 and 2: input_dim and perhaps input_length on the first layer. */
static int shape_of_input_dim(const ky_json *first, ky_shape *ret, ky_err *err)
{
    const ky_json *config = ky_json_get(first, "config");
    bool flat = strcmp(ky_json_str(ky_json_get(first, "class_name"), ""), "Dense") == 0;
    ky_json *dims = ky_json_array();

    if (!flat)
        ky_json_append(dims, ky_json_copy(ky_json_get(config, "input_length")));
    if (!flat && ky_json_len(dims) == 0)
        ky_json_append(dims, ky_json_of_null());
    ky_json_append(dims, ky_json_copy(ky_json_get(config, "input_dim")));
    int rc = shape_of_dims(dims, 0, ret, err);
    ky_json_free(dims);
    return rc;
}

/* In every place where a version of Keras has put it. */
static int input_shape(const ky_json *first, const ky_json *model, ky_shape *ret, ky_err *err)
{
    static const struct {
        const char *key;
        size_t skip;
    } places[] = { { "batch_shape", 1 }, { "batch_input_shape", 1 }, { "input_shape", 0 } };
    const ky_json *config = ky_json_get(first, "config");

    for (size_t i = 0; i < LENGTH(places); i++) {
        const ky_json *dims = as_list(ky_json_get(config, places[i].key));

        if (ky_json_is_array(dims))
            return shape_of_dims(dims, places[i].skip, ret, err);
    }
    if (ky_json_is_number(ky_json_get(config, "input_dim")))
        return shape_of_input_dim(first, ret, err);
    const ky_json *dims = as_list(ky_json_get(model, "build_input_shape"));
    if (ky_json_is_array(dims))
        return shape_of_dims(dims, 1, ret, err);
    return ky_fail(err, KY_EFORMAT, "the file does not say what shape the model's input has");
}

/* -- a functional model that is a plain chain --------------------------------------- */

/* A call's extra arguments: only those that change nothing (training: false, mask: null). */
static bool plain_arguments(const ky_json *kwargs)
{
    for (const char *key = ky_json_next_key(kwargs, NULL); key != NULL;
         key = ky_json_next_key(kwargs, key))
        if (!is_nothing(ky_json_get(kwargs, key)))
            return false;
    return true;
}

/* The one layer a layer is called on, or NULL. Keras 2: [[["prev",0,0,{}]]];
 * Keras 3: [{"args": [{"class_name": "__keras_tensor__", ...}], "kwargs": {}}]. */
static const char *called_on(const ky_json *entry)
{
    const ky_json *nodes = ky_json_get(entry, "inbound_nodes"), *call = ky_json_at(nodes, 0);
    const ky_json *from = ky_json_at(call, 0);

    if (ky_json_len(nodes) != 1)
        return NULL;
    if (ky_json_is_object(call)) {
        const ky_json *args = ky_json_get(call, "args");

        if (ky_json_len(args) != 1 || !plain_arguments(ky_json_get(call, "kwargs")))
            return NULL;
        from = ky_json_get(ky_json_get(ky_json_at(args, 0), "config"), "keras_history");
    } else if (ky_json_len(call) != 1 || !plain_arguments(ky_json_at(from, 3)))
        return NULL;
    /* Node 0 and tensor 0: every layer here has but one of each. */
    if (ky_json_int(ky_json_at(from, 1), -1) != 0 || ky_json_int(ky_json_at(from, 2), -1) != 0)
        return NULL;
    return ky_json_str(ky_json_at(from, 0), NULL);
}

/* input_layers and output_layers: ["in",0,0] or [["in",0,0]]. NULL if there are several. */
static const char *only_end(const ky_json *ends)
{
    if (ky_json_is_array(ky_json_at(ends, 0)))
        return ky_json_len(ends) == 1 ? only_end(ky_json_at(ends, 0)) : NULL;
    return ky_json_str(ky_json_at(ends, 0), NULL);
}

static int check_chain(const ky_json *config, const ky_json *layers, ky_err *err)
{
    size_t n = ky_json_len(layers);
    const char *out = only_end(ky_json_get(config, "output_layers"));

    if (only_end(ky_json_get(config, "input_layers")) == NULL || out == NULL)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "the model has several inputs or outputs, kymo runs plain chains of layers");
    for (size_t i = 0; i < n; i++) {
        const ky_json *entry = ky_json_at(layers, i);
        const char *from = called_on(entry);

        if (i == 0 ? !is_input(entry)
                   : from == NULL || strcmp(from, layer_name(ky_json_at(layers, i - 1))) != 0)
            return ky_fail(err, KY_EUNSUPPORTED,
                           "layer '%.60s' (%.60s) is not called on the layer before it alone; kymo "
                           "runs plain chains of layers",
                           layer_name(entry), ky_json_str(ky_json_get(entry, "class_name"), "?"));
    }
    if (n > 0 && strcmp(out, layer_name(ky_json_at(layers, n - 1))) != 0)
        return ky_fail(err, KY_EUNSUPPORTED, "the model's output '%.60s' is not its last layer",
                       out);
    return KY_OK;
}

/* -- the whole ---------------------------------------------------------------------- */

/* Layers kymo cannot run are named before anything else is said about the model. */
static int check_classes(const ky_json *layers, ky_err *err)
{
    for (size_t i = 0; i < ky_json_len(layers); i++) {
        const ky_json *entry = ky_json_at(layers, i);
        const char *class = ky_json_str(ky_json_get(entry, "class_name"), "(none)");

        if (!is_input(entry) && ky_layer_find(class) == NULL)
            return ky_fail(err, KY_EUNSUPPORTED,
                           "layer '%.60s': class %.60s is not one kymo can run yet",
                           layer_name(entry), class);
    }
    return KY_OK;
}

static int build(const ky_json *model, const ky_json *layers, ky_keras_version version,
                 ky_model **ret, ky_err *err)
{
    const ky_json *first = ky_json_at(layers, 0);
    size_t n = ky_json_len(layers), from = is_input(first) ? 1 : 0;
    ky_model *m = NULL;
    ky_shape input;
    int rc = input_shape(first, model, &input, err);

    if (rc == KY_OK)
        rc = ky_model_new(ky_json_str(ky_json_get(model, "name"), "sequential"), &input, &m, err);
    for (size_t i = from; rc == KY_OK && i < n; i++)
        rc = add_layer(ky_json_at(layers, i), version, m, err);
    if (rc < 0) {
        ky_model_free(m);
        return rc;
    }
    *ret = m;
    return KY_OK;
}

/* The layers of any spelling of a model, checked so far that they can be built one by one. */
static int find_layers(const ky_json *root, const ky_json **ret, ky_err *err)
{
    const char *class = ky_json_str(ky_json_get(root, "class_name"), "(none)");
    const ky_json *config = ky_json_get(root, "config");
    const ky_json *layers = ky_json_is_array(config) ? config : ky_json_get(config, "layers");
    bool graph = strcmp(class, "Functional") == 0 || strcmp(class, "Model") == 0;
    size_t n = ky_json_len(layers);

    if (!graph && strcmp(class, "Sequential") != 0)
        return ky_fail(err, KY_EUNSUPPORTED, "a model of class %.60s is not one kymo can run yet",
                       class);
    if (n == 0 || n > MAX_LAYERS)
        return ky_fail(err, KY_EFORMAT, "%zu layers, must be 1 to %d", n, MAX_LAYERS);
    int rc = check_classes(layers, err);
    if (rc == KY_OK && graph)
        rc = check_chain(config, layers, err);
    *ret = layers;
    return rc;
}

/* The layers of a chain, which is its own tree. */
static ky_keras_tree *chain_tree(const ky_json *root, const ky_json *layers)
{
    ky_keras_tree *t = ky_keras_tree_add(
        NULL, KY_KERAS_MODEL, ky_json_str(ky_json_get(root, "class_name"), "Sequential"), "model");
    int at = 0;

    for (size_t i = 0; t != NULL && i < ky_json_len(layers); i++) {
        const ky_json *entry = ky_json_at(layers, i);
        ky_keras_tree *node =
            ky_keras_tree_add(t, KY_KERAS_LAYER, ky_json_str(ky_json_get(entry, "class_name"), ""),
                              layer_name(entry));

        if (node == NULL) {
            ky_keras_tree_free(t);
            return NULL;
        }
        node->trainable =
            ky_json_bool(ky_json_get(ky_json_get(entry, "config"), "trainable"), true);
        if (!is_input(entry))
            node->layer = at++;
    }
    return t;
}

int ky_keras_config_tree(const char *text, size_t len, ky_keras_version version, ky_model **ret,
                         ky_keras_tree **ret_tree, ky_err *err)
{
    ky_json *root = NULL;
    const ky_json *layers = NULL;
    int rc;

    if (len > MAX_TEXT)
        return ky_fail(err, KY_EFULL, "%zu bytes of configuration, at most %d are read", len,
                       MAX_TEXT);
    rc = ky_json_parse(text, len, true, &root, err);
    if (rc < 0)
        return ky_context(err, rc, "the model's configuration");
    rc = find_layers(root, &layers, err);
    if (rc == KY_OK)
        rc = build(ky_json_get(root, "config"), layers, version, ret, err);
    if (rc == KY_OK && ret_tree != NULL) {
        *ret_tree = chain_tree(root, layers);
        if (*ret_tree == NULL) {
            ky_model_free(*ret);
            *ret = NULL;
            rc = ky_fail(err, KY_ENOMEM, "the model's configuration: no memory");
        }
    }
    ky_json_free(root);
    return rc;
}

int ky_keras_config_read(const char *text, size_t len, ky_keras_version version, ky_model **ret,
                         ky_err *err)
{
    return ky_keras_config_tree(text, len, version, ret, NULL, err);
}
