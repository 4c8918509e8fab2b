/* Keras's description of one layer: the options of all versions in, ours out. */
#include "models/keras_parts.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/layer_tools.h"

#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

/* One layer while it is read. */
struct reading {
    const ky_json *config;
    ky_keras_version version;
    ky_keras_layer *to;
};

/* -- values ------------------------------------------------------------------------ */

ky_keras_shown ky_keras_show(const ky_json *v)
{
    ky_keras_shown s = { "null" };
    char *text = ky_json_text(v, 0);

    if (text != NULL)
        snprintf(s.text, sizeof(s.text), "%.60s", text);
    free(text);
    return s;
}

const ky_json *ky_keras_list(const ky_json *v)
{
    const char *class = ky_json_str(ky_json_get(v, "class_name"), "");

    if (strcmp(class, "__tuple__") == 0 || strcmp(class, "TensorShape") == 0)
        return ky_json_get(v, "items");
    return v;
}

bool ky_keras_is_nothing(const ky_json *v)
{
    return ky_json_is_null(v) || (ky_json_is_bool(v) && !ky_json_bool(v, true)) ||
           (ky_json_is_number(v) && ky_json_num(v, 1) == 0);
}

const char *ky_keras_class(const ky_json *entry)
{
    return ky_json_str(ky_json_get(entry, "class_name"), "");
}

const char *ky_keras_name(const ky_json *entry)
{
    const char *name = ky_json_str(ky_json_get(ky_json_get(entry, "config"), "name"), NULL);

    return name != NULL ? name : ky_json_str(ky_json_get(entry, "name"), "");
}

int ky_keras_check_origin(const ky_json *entry, ky_err *err)
{
    const char *class = ky_keras_class(entry);
    const char *module = ky_json_str(ky_json_get(entry, "module"), "keras");
    const char *registered = ky_json_str(ky_json_get(entry, "registered_name"), "");

    if (strcmp(class, "Lambda") == 0)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "class Lambda holds a program, which kymo does not run");
    if (strchr(registered, '>') != NULL || strchr(class, '>') != NULL ||
        (strncmp(module, "keras", 5) != 0 && strncmp(module, "tf_keras", 8) != 0 &&
         strncmp(module, "tensorflow", 10) != 0))
        return ky_fail(err, KY_EUNSUPPORTED,
                       "class %.60s is its author's own, which kymo does not know", class);
    if (strstr(class, "OpLambda") != NULL)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "class %.60s is an operation between layers, which kymo cannot run; use a "
                       "layer (Add, Multiply, Reshape ...)",
                       class);
    return KY_OK;
}

/* What a value must be, for the error message. */
static int wrong(const ky_field *f, const ky_json *v, const char *must, ky_err *err)
{
    return ky_fail(err, KY_EFORMAT, "%s is %s, not %s", f->key, ky_keras_show(v).text, must);
}

static int read_number(const ky_field *f, const ky_json *v, double *ret, ky_err *err)
{
    const ky_json *list = ky_keras_list(v);

    if (ky_json_is_array(list) && ky_json_len(list) == 1)
        v = ky_json_at(list, 0);
    if (!ky_json_is_number(v))
        return wrong(f, v, "a number", err);
    double d = ky_json_num(v, 0);
    if (f->type != KY_F_FLOAT && f->type != KY_F_REALS &&
        (d != (double)ky_json_int(v, 0) || d < INT_MIN || d > INT_MAX))
        return wrong(f, v, "a whole number in range", err);
    *ret = d;
    return KY_OK;
}

/* One number for all places, or a list of one each. */
static int read_numbers(const ky_field *f, const ky_json *v, ky_layer_config *cfg, ky_err *err)
{
    const ky_json *list = ky_keras_list(v);
    int n = ky_field_len(f, cfg);
    bool one = ky_json_is_number(v) || n == 1;

    if (!one && (!ky_json_is_array(list) || ky_json_len(list) != (size_t)n))
        return ky_fail(err, KY_EFORMAT, "%s is %s, not %d numbers", f->key, ky_keras_show(v).text,
                       n);
    for (int i = 0; i < n; i++) {
        double d;
        int rc = read_number(f, one ? v : ky_json_at(list, (size_t)i), &d, err);

        if (rc < 0)
            return rc;
        ky_field_set(f, cfg, i, d);
    }
    return KY_OK;
}

/* A list as long as it likes to be; a number is a list of one. */
static int read_dims(const ky_field *f, const ky_json *v, ky_layer_config *cfg, ky_err *err)
{
    const ky_json *list = ky_keras_list(v);
    size_t n = ky_json_is_array(list) ? ky_json_len(list) : 1;

    if (n > (size_t)ky_field_most(f))
        return ky_fail(err, KY_EUNSUPPORTED, "%s has %zu numbers, at most %d are supported", f->key,
                       n, ky_field_most(f));
    ky_field_resize(f, cfg, (int)n);
    for (size_t i = 0; i < n; i++) {
        double d;
        int rc = read_number(f, ky_json_is_array(list) ? ky_json_at(list, i) : v, &d, err);

        if (rc < 0)
            return rc;
        ky_field_set(f, cfg, (int)i, d);
    }
    return KY_OK;
}

/* Before and behind one axis: n alike, or [l,r]. */
static int read_margin(const ky_field *f, const ky_json *v, int axis, ky_layer_config *cfg,
                       ky_err *err)
{
    const ky_json *list = ky_keras_list(v);

    for (int side = 0; side < 2; side++) {
        bool pair = ky_json_is_array(list) && ky_json_len(list) == 2;
        double d;
        int rc = read_number(f, pair ? ky_json_at(list, (size_t)side) : v, &d, err);

        if (rc < 0)
            return rc;
        ky_field_set(f, cfg, 2 * axis + side, d);
    }
    return KY_OK;
}

/* n; [l,r] of one axis; [h,w], [[t,b],[l,r]] or Keras 1's [t,b,l,r] of two. */
static int read_margins(const ky_field *f, const ky_json *v, ky_layer_config *cfg, ky_err *err)
{
    const ky_json *list = ky_keras_list(v);
    size_t n = ky_json_len(list);
    int axes = f->list, rc = KY_OK;

    if (ky_json_is_array(list) && n == 2 * (size_t)axes && axes > 1)
        return read_numbers(f, v, cfg, err);
    if (!ky_json_is_number(v) && !(axes == 1 && n <= 2) && n != (size_t)axes)
        return wrong(f, v, "margins of so many axes", err);
    for (int i = 0; rc == KY_OK && i < axes; i++) {
        bool own = ky_json_is_array(list) && n == (size_t)axes;

        rc = read_margin(f, own ? ky_json_at(list, (size_t)i) : v, i, cfg, err);
    }
    return rc;
}

static int read_bool(const ky_field *f, const ky_json *v, double *ret, ky_err *err)
{
    if (!ky_json_is_bool(v))
        return wrong(f, v, "true or false", err);
    *ret = ky_json_bool(v, false);
    return KY_OK;
}

/* One of the names that an enum has. */
static int read_name(const ky_field *f, const ky_json *v, double *ret, ky_err *err)
{
    const char *name = ky_json_str(v, "");
    enum ky_padding p;
    enum ky_merge_mode m;
    enum ky_interpolation i;

    if (f->type == KY_F_PADDING && ky_padding_find(name, &p) == KY_OK)
        *ret = p;
    else if (f->type == KY_F_MERGE_MODE && ky_merge_mode_find(name, &m) == KY_OK)
        *ret = m;
    else if (f->type == KY_F_INTERPOLATION && ky_interpolation_find(name, &i) == KY_OK)
        *ret = i;
    else
        return ky_fail(err, KY_EUNSUPPORTED, "%s is %s, kymo knows %s", f->key,
                       ky_keras_show(v).text,
                       f->type == KY_F_PADDING      ? "valid, same and causal"
                       : f->type == KY_F_MERGE_MODE ? "concat, sum, ave and mul"
                                                    : "nearest and bilinear");
    return KY_OK;
}

/* -- activations ------------------------------------------------------------------- */

static const ky_field *find_field(const ky_layer_ops *ops, const char *key)
{
    for (const ky_field *f = ops->fields; f->key != NULL; f++)
        if (strcmp(f->key, key) == 0)
            return f;
    return NULL;
}

static bool is_recurrent(const ky_layer_ops *ops)
{
    return find_field(ops, "return_sequences") != NULL;
}

/* The function that a layer is, where it has a name. */
static bool as_function(const ky_layer *l, enum ky_activation *ret)
{
    const char *class = l->ops->class_name;
    const ky_layer_config *cfg = &l->cfg;

    *ret = cfg->activation;
    if (strcmp(class, "Activation") == 0)
        return true;
    if (strcmp(class, "ReLU") != 0 || cfg->negative_slope != 0 || cfg->threshold != 0)
        return false;
    *ret = KY_RELU;
    /* A ReLU without the option has no bound either. */
    if (find_field(l->ops, "max_value") == NULL || isinf(cfg->max_value))
        return true;
    return cfg->max_value == 6 && ky_activation_find("relu6", 3, ret) == KY_OK;
}

/* {"class_name": "LeakyReLU", "config": {...}}: a layer behind the layer. */
static int read_activation_layer(struct reading *r, const ky_field *f, const ky_json *v,
                                 double *ret, ky_err *err)
{
    ky_keras_layer *behind = calloc(1, sizeof(*behind));
    enum ky_activation a;
    int rc = behind == NULL ? ky_fail(err, KY_ENOMEM, "no memory") : KY_OK;

    if (rc == KY_OK)
        rc = ky_keras_layer_read(v, r->version, behind, err);
    if (rc < 0) {
        if (behind != NULL)
            ky_keras_layer_done(behind);
        free(behind);
        return ky_context(err, rc, "%s is %s", f->key, ky_keras_show(v).text);
    }
    if (behind->has_activation || behind->layer.n_inner > 0)
        rc = ky_fail(err, KY_EUNSUPPORTED, "%s is %s, which is no function", f->key,
                     ky_keras_show(v).text);
    else if (as_function(&behind->layer, &a))
        *ret = a;
    else if (is_recurrent(r->to->layer.ops) || strcmp(f->key, "activation") != 0)
        rc = ky_fail(err, KY_EUNSUPPORTED, "%s is %s, which kymo cannot run inside a cell", f->key,
                     ky_keras_show(v).text);
    else {
        r->to->has_activation = r->to->activation_named = true;
        r->to->activation = behind->layer;
        *ret = KY_LINEAR;
    }
    ky_keras_layer_done(behind);
    free(behind);
    return rc;
}

/* "relu", or since Keras 3 sometimes {"class_name": "function", "config": "relu"}. */
static int read_activation(struct reading *r, const ky_field *f, const ky_json *v, double *ret,
                           ky_err *err)
{
    enum ky_activation a;
    const char *name = ky_json_str(v, NULL), *class = ky_keras_class(v);

    if (strcmp(class, "function") == 0)
        name = ky_json_str(ky_json_get(v, "config"), NULL);
    if (name == NULL && ky_layer_find(class) != NULL)
        return read_activation_layer(r, f, v, ret, err);
    if (name == NULL && (strcmp(class, "gelu") == 0 || strcmp(class, "GELU") == 0)) {
        const ky_json *tanh_form = ky_json_get(ky_json_get(v, "config"), "approximate");

        *ret = ky_json_bool(tanh_form, false) ? KY_GELU_TANH : KY_GELU;
        return KY_OK;
    }
    if (name == NULL || ky_activation_find(name, r->version.major, &a) < 0)
        return ky_fail(err, KY_EUNSUPPORTED, "%s is %s, which kymo cannot run yet", f->key,
                       ky_keras_show(v).text);
    *ret = a;
    return KY_OK;
}

/* -- options ----------------------------------------------------------------------- */

/* What Keras 1 and single layers call an option. */
static const struct {
    const char *key, *other;
} old_keys[] = {
    { "filters", "nb_filter" },
    { "kernel_size", "filter_length" },
    { "strides", "subsample_length" },
    { "strides", "subsample" },
    { "strides", "stride" },
    { "padding", "border_mode" },
    { "dilation_rate", "atrous_rate" },
    { "pool_size", "pool_length" },
    { "size", "length" },
    { "use_bias", "bias" },
    { "units", "output_dim" },
    { "rate", "p" },
    { "stddev", "sigma" },
    { "recurrent_activation", "inner_activation" },
    { "negative_slope", "alpha" },
    { "alpha", "negative_slope" },
    { "dropout", "dropout_W" },
    { "recurrent_dropout", "dropout_U" },
    { "threshold", "theta" },
    { "axis", "concat_axis" },
    { "axes", "axis" },
    { "axes", "dot_axes" },
};

static const char *const rows_and_columns[] = { "nb_row", "nb_col" };

/* Arrays of NumPy are wrapped: {"type": "ndarray", "value": v} in Keras 2,
 * {"class_name": "__numpy__", "config": {"value": v}} in Keras 3. */
static const ky_json *bare_value(const ky_json *v)
{
    if (strcmp(ky_json_str(ky_json_get(v, "type"), ""), "ndarray") == 0)
        return ky_json_get(v, "value");
    if (strcmp(ky_keras_class(v), "__numpy__") == 0)
        return ky_json_get(ky_json_get(v, "config"), "value");
    return v;
}

static const ky_json *find_option(const ky_layer_ops *ops, const ky_field *f, const ky_json *config)
{
    const ky_json *v = ky_json_get(config, f->key);

    for (size_t i = 0; v == NULL && i < LENGTH(old_keys); i++)
        if (strcmp(f->key, old_keys[i].key) == 0 && find_field(ops, old_keys[i].other) == NULL)
            v = ky_json_get(config, old_keys[i].other);
    return bare_value(v);
}

/* What Keras took for an option that the text leaves out, where versions differ. */
static double version_default(const ky_layer_ops *ops, const ky_field *f, ky_keras_version v)
{
    bool old = v.major < 2 || (v.major == 2 && v.minor < 3);

    if (strcmp(f->key, "recurrent_activation") == 0 &&
        (old || (v.major < 3 && strcmp(ops->class_name, "ConvLSTM2D") == 0)))
        return KY_HARD_SIGMOID_K2;
    /* Standalone Keras ended with 2.3; tf.keras and Keras 3 chose the form of cuDNN. */
    if (strcmp(f->key, "reset_after") == 0)
        return v.major > 2 || (v.major == 2 && v.minor > 3);
    return f->otherwise;
}

/* nb_row and nb_col of Keras 1's two-dimensional kernels. */
static int read_kernel_rows(const ky_field *f, const ky_json *config, ky_layer_config *cfg,
                            ky_err *err)
{
    for (int i = 0; i < 2; i++) {
        double d;
        int rc = read_number(f, ky_json_get(config, rows_and_columns[i]), &d, err);

        if (rc < 0)
            return rc;
        ky_field_set(f, cfg, i, d);
    }
    return KY_OK;
}

static int read_value(struct reading *r, const ky_field *f, const ky_json *v, ky_err *err)
{
    ky_layer_config *cfg = &r->to->layer.cfg;
    double d = 0;
    int rc;

    switch (f->type) {
    case KY_F_INT:
    case KY_F_FLOAT:
        return read_numbers(f, v, cfg, err);
    case KY_F_DIMS:
    case KY_F_REALS:
        return read_dims(f, v, cfg, err);
    case KY_F_MARGINS:
        return read_margins(f, v, cfg, err);
    case KY_F_BOOL:
        rc = read_bool(f, v, &d, err);
        break;
    case KY_F_ACTIVATION:
        rc = read_activation(r, f, v, &d, err);
        break;
    default:
        rc = read_name(f, v, &d, err);
        break;
    }
    if (rc == KY_OK)
        ky_field_set(f, cfg, 0, d);
    return rc;
}

static int read_field(struct reading *r, const ky_field *f, ky_err *err)
{
    ky_layer *l = &r->to->layer;
    const ky_json *v = find_option(l->ops, f, r->config);
    int rc = KY_OK;

    if (v == NULL && f->list == 2 && strcmp(f->key, "kernel_size") == 0 &&
        ky_json_get(r->config, rows_and_columns[0]) != NULL)
        rc = read_kernel_rows(f, r->config, &l->cfg, err);
    else if (v != NULL && f->type == KY_F_MERGE_MODE && ky_json_is_null(v))
        r->to->both_ways = true;
    else if (!ky_json_is_null(v))
        rc = read_value(r, f, v, err);
    else if (f->type != KY_F_DIMS) /* null stands for the default, of an activation for none */
        for (int i = 0; i < ky_field_len(f, &l->cfg); i++)
            ky_field_set(f, &l->cfg, i,
                         v != NULL && f->type == KY_F_ACTIVATION
                             ? KY_LINEAR
                             : version_default(l->ops, f, r->version));
    return rc;
}

/* Options without meaning for an answer, whatever they hold. */
static const char *const ignored[] = {
    "name",           "trainable",
    "dtype",          "batch_input_shape",
    "batch_shape",    "input_shape",
    "input_dim",      "input_dtype",
    "input_length",   "seed",
    "noise_shape",    "implementation",
    "consume_less",   "init",
    "inner_init",     "forget_bias_init",
    "beta_init",      "gamma_init",
    "synchronized",   "zero_output_for_mask",
    "fused",          "renorm_momentum",
    "dropout", /* of an Embedding of Keras 1; of others it is a field */
    "dropout_W",      "dropout_U",
    "layer", /* of Bidirectional, read apart */
    "backward_layer",
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

/* Whether an option is one that read_field() looks at. */
static bool is_field(const ky_layer_ops *ops, const char *key)
{
    for (const ky_field *f = ops->fields; f->key != NULL; f++)
        if (strcmp(key, f->key) == 0)
            return true;
    for (size_t i = 0; i < LENGTH(old_keys); i++)
        if (strcmp(key, old_keys[i].other) == 0 && find_field(ops, old_keys[i].key) != NULL)
            return true;
    for (size_t i = 0; i < LENGTH(rows_and_columns); i++)
        if (strcmp(key, rows_and_columns[i]) == 0 && find_field(ops, "kernel_size") != NULL)
            return true;
    return false;
}

/* Where the channels stand: channels_first and "th" are for the graph to turn. */
static int read_order(const char *key, const ky_json *v, ky_keras_layer *l, ky_err *err)
{
    const char *order = ky_json_str(v, "");
    bool old = strcmp(key, "dim_ordering") == 0;

    if (strcmp(order, old ? "th" : "channels_first") == 0) {
        l->channels_first = true;
        l->theano_order = old;
    } else if (!ky_json_is_null(v) && strcmp(order, old ? "tf" : "channels_last") != 0 &&
               strcmp(order, "default") != 0)
        return ky_fail(err, KY_EUNSUPPORTED, "%s is %s, which kymo does not know", key,
                       ky_keras_show(v).text);
    return KY_OK;
}

/* Some classes write down what they cannot do: groups of one. */
static bool is_plain(const char *key, const ky_json *v)
{
    return strcmp(key, "groups") == 0 && ky_json_num(v, 0) == 1;
}

/* An option that is not known and says something may change the answer: refused by name. */
static int check_options(struct reading *r, ky_err *err)
{
    ky_keras_layer *l = r->to;
    int rc = KY_OK;

    for (const char *key = ky_json_next_key(r->config, NULL); rc == KY_OK && key != NULL;
         key = ky_json_next_key(r->config, key)) {
        const ky_json *v = ky_json_get(r->config, key);

        if (strcmp(key, "data_format") == 0 || strcmp(key, "dim_ordering") == 0)
            rc = read_order(key, v, l, err);
        else if (strcmp(key, "return_state") == 0 && is_recurrent(l->layer.ops))
            l->n_states = !ky_json_bool(v, false)                    ? 0
                          : strstr(l->layer.ops->class_name, "LSTM") ? 2
                                                                     : 1;
        else if (!is_field(l->layer.ops, key) && !is_ignored(key) && !ky_keras_is_nothing(v) &&
                 !is_plain(key, v))
            rc = ky_fail(err, KY_EUNSUPPORTED, "its option %.60s is %s, which kymo does not know",
                         key, ky_keras_show(v).text);
    }
    return rc;
}

/* "float32", a policy object that names it, or nothing: weights are float32 in all of these. */
static int check_dtype(const ky_json *config, ky_err *err)
{
    static const char *const known[] = { "float32",  "float64",       "float16",
                                         "bfloat16", "mixed_float16", "mixed_bfloat16" };
    const ky_json *v = ky_json_get(config, "dtype");
    const char *name = ky_json_str(v, NULL);

    if (name == NULL)
        name = ky_json_str(ky_json_get(ky_json_get(v, "config"), "name"), NULL);
    for (size_t i = 0; name != NULL && i < LENGTH(known); i++)
        if (strcmp(name, known[i]) == 0)
            return KY_OK;
    if (ky_json_is_null(v))
        return KY_OK;
    return ky_fail(err, KY_EUNSUPPORTED, "dtype is %s, kymo runs float32", ky_keras_show(v).text);
}

/* -- classes that are another with an option set ------------------------------------ */

/* Keras 1's Merge, and what its modes are called now. */
static const struct {
    const char *mode, *class_name;
} merges[] = {
    { "sum", "Add" },     { "mul", "Multiply" }, { "concat", "Concatenate" },
    { "ave", "Average" }, { "max", "Maximum" },  { "min", "Minimum" },
    { "dot", "Dot" },     { "cos", "Dot" },
};

static const ky_layer_ops *find_class(const char *class, const ky_json *config)
{
    const char *mode = ky_json_str(ky_json_get(config, "mode"), "");

    if (strcmp(class, "TimeDistributedDense") == 0) /* Dense works on the last axis by itself */
        class = "Dense";
    if (strcmp(class, "CuDNNLSTM") == 0 || strcmp(class, "CuDNNGRU") == 0)
        class += strlen("CuDNN");
    for (size_t i = 0; strcmp(class, "Merge") == 0 && i < LENGTH(merges); i++)
        if (strcmp(mode, merges[i].mode) == 0)
            class = merges[i].class_name;
    return ky_layer_find(class);
}

/* What goes without saying in such a class. */
static void set_implied(ky_layer *l, const char *class, const ky_json *config)
{
    if (strncmp(class, "CuDNN", 5) == 0) {
        l->cfg.activation = KY_TANH;
        l->cfg.recurrent_activation = KY_SIGMOID;
        l->cfg.reset_after = true;
    }
    if (strcmp(ky_json_str(ky_json_get(config, "mode"), ""), "cos") == 0)
        l->cfg.normalize = true;
}

/* A softmax runs over the last axis, which is not the channels' if these stand first. */
static void part_softmax(ky_keras_layer *l)
{
    enum ky_activation a = l->layer.cfg.activation;

    if (!l->channels_first || is_recurrent(l->layer.ops) ||
        (a != KY_SOFTMAX && a != KY_LOG_SOFTMAX) || find_field(l->layer.ops, "activation") == NULL)
        return;
    l->has_activation = true;
    ky_layer_init(&l->activation, &ky_activation_ops, "");
    l->activation.cfg.activation = a;
    l->layer.cfg.activation = KY_LINEAR;
}

/* Merge's other options say nothing if they are Keras's own choice. */
static int check_merge(const ky_json *config, ky_err *err)
{
    static const char *const types[] = { "mode_type", "output_shape_type", "output_mask_type" };

    for (size_t i = 0; i < LENGTH(types); i++)
        if (strcmp(ky_json_str(ky_json_get(config, types[i]), "raw"), "raw") != 0)
            return ky_fail(err, KY_EUNSUPPORTED, "it merges by a program, which kymo does not run");
    return KY_OK;
}

/* A wrapped layer of a Bidirectional: a cell of some kind, and nothing around it. */
static int read_wrapped(struct reading *r, const char *key, ky_layer *ret, ky_err *err)
{
    const ky_json *entry = ky_json_get(r->config, key);
    ky_keras_layer *inner = calloc(1, sizeof(*inner));
    int rc = inner == NULL ? ky_fail(err, KY_ENOMEM, "no memory") : KY_OK;

    if (rc == KY_OK)
        rc = ky_keras_layer_read(entry, r->version, inner, err);
    if (rc == KY_OK &&
        (inner->layer.ops->cell == NULL || inner->n_states > 0 || inner->channels_first))
        rc = ky_fail(err, KY_EUNSUPPORTED, "it is no recurrent layer that can go both ways");
    if (rc == KY_OK) {
        inner->layer.trainable &= r->to->layer.trainable;
        *ret = inner->layer;
    } else if (inner != NULL) {
        ky_keras_layer_done(inner);
        ky_context(err, rc, "its %s '%.60s'", key, ky_keras_name(entry));
    }
    free(inner);
    return rc;
}

/* The two directions; where the text has one, the other is its mirror. */
static int read_directions(struct reading *r, ky_err *err)
{
    ky_layer *both = calloc(2, sizeof(*both));
    bool mirror = ky_json_is_null(ky_json_get(r->config, "backward_layer"));
    int rc = both == NULL ? ky_fail(err, KY_ENOMEM, "no memory") : KY_OK;

    if (rc == KY_OK)
        rc = read_wrapped(r, "layer", &both[0], err);
    if (rc == KY_OK && !mirror)
        rc = read_wrapped(r, "backward_layer", &both[1], err);
    if (rc == KY_OK)
        rc = ky_bidirectional_wrap(&r->to->layer, &both[0], mirror ? NULL : &both[1], err);
    free(both);
    return rc;
}

int ky_keras_layer_read(const ky_json *entry, ky_keras_version version, ky_keras_layer *ret,
                        ky_err *err)
{
    struct reading r = { ky_json_get(entry, "config"), version, ret };
    const char *class = ky_keras_class(entry), *name = ky_keras_name(entry);
    const ky_layer_ops *ops = find_class(class, r.config);
    bool merge = strcmp(class, "Merge") == 0;
    int rc = ky_keras_check_origin(entry, err);

    memset(ret, 0, sizeof(*ret));
    if (rc == KY_OK && ops == NULL)
        rc = ky_fail(err, KY_EUNSUPPORTED, "class %.60s is not one kymo can run yet",
                     class[0] != '\0' ? class : "(none)");
    if (rc == KY_OK && !ky_json_is_object(r.config))
        rc = ky_fail(err, KY_EFORMAT, "it has no config");
    if (rc == KY_OK && strlen(name) >= sizeof(ret->layer.name))
        rc = ky_fail(err, KY_EUNSUPPORTED, "its name is longer than %zu bytes",
                     sizeof(ret->layer.name) - 1);
    if (rc < 0)
        return rc;
    ky_layer_init(&ret->layer, ops, name);
    ret->layer.trainable = ky_json_bool(ky_json_get(r.config, "trainable"), true);
    rc = check_dtype(r.config, err);
    for (const ky_field *f = ops->fields; rc == KY_OK && f->key != NULL; f++)
        if (strcmp(f->key, "return_state") != 0)
            rc = read_field(&r, f, err);
    if (rc == KY_OK)
        rc = merge ? check_merge(r.config, err) : check_options(&r, err);
    if (rc == KY_OK && ops == &ky_bidirectional_ops)
        rc = read_directions(&r, err);
    if (ret->both_ways)
        ret->layer.cfg.merge_mode = KY_FORWARD; /* of the first of its two calls */
    if (rc == KY_OK) {
        set_implied(&ret->layer, class, r.config);
        part_softmax(ret);
    }
    return rc;
}

void ky_keras_layer_done(ky_keras_layer *l)
{
    free(l->layer.inner);
    l->layer.inner = NULL;
    l->layer.n_inner = 0;
}
