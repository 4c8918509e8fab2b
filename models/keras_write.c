/*
 * Writing the subset of Keras's HDF5 form that tf.keras 2 and Keras 3 both open: old layer
 * dictionaries, every option that matters spelled out, plain float32 arrays. The same model
 * gives the same bytes.
 */
#include "models/keras.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"

#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

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

struct layer_name {
    char text[80];
};

static bool is_taken(const struct layer_name *names, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i].text, name) == 0)
            return true;
    return false;
}

/* The names of all layers, plain and none twice; NULL when out of memory. */
static struct layer_name *plain_names(const ky_model *m)
{
    struct layer_name *names = calloc((size_t)m->n_layers, sizeof(*names));

    for (int i = 0; names != NULL && i < m->n_layers; i++) {
        char base[64];

        plain_name(m->layers[i].name, base, sizeof(base));
        snprintf(names[i].text, sizeof(names[i].text), "%s", base);
        for (int k = 1; is_taken(names, i, names[i].text); k++)
            snprintf(names[i].text, sizeof(names[i].text), "%s_%d", base, k);
    }
    return names;
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

static bool has_hard_sigmoid(const ky_model *m)
{
    for (int i = 0; i < m->n_layers; i++)
        for (const ky_field *f = m->layers[i].ops->fields; f->key != NULL; f++) {
            double v = ky_field_get(f, &m->layers[i].cfg, 0);

            if (f->type == KY_F_ACTIVATION && (v == KY_HARD_SIGMOID_K2 || v == KY_HARD_SIGMOID_K3))
                return true;
        }
    return false;
}

/* Whether column n of N is what an old hard_sigmoid is applied to. */
static bool is_scaled(const ky_layer *l, size_t n, size_t N)
{
    if (strcmp(l->ops->class_name, "LSTM") == 0) /* gates i|f|c|o; c has the other activation */
        return is_old(l->cfg.recurrent_activation) && n / (N / 4) != 2;
    return is_old(l->cfg.activation);
}

/* An old hard_sigmoid with no weights before it, or on an LSTM's cell, cannot be scaled away. */
static int check_portable(const ky_layer *l, ky_err *err)
{
    bool lstm = strcmp(l->ops->class_name, "LSTM") == 0;

    if (is_old(l->cfg.activation) && (lstm || l->n_weights == 0))
        return ky_fail(err, KY_EUNSUPPORTED,
                       "layer '%s': hard_sigmoid of Keras 1 and 2 has no form here that Keras 3 "
                       "reads alike",
                       l->name);
    return KY_OK;
}

/* -- the configuration ------------------------------------------------------------------ */

static ky_json *field_value(const ky_field *f, const ky_layer_config *cfg)
{
    double v = ky_field_get(f, cfg, 0);

    switch (f->type) {
    case KY_F_INT:
        return ky_json_of_int((int64_t)v);
    case KY_F_FLOAT:
        return ky_json_of_num(v);
    case KY_F_BOOL:
        return ky_json_of_bool(v != 0);
    case KY_F_PADDING:
        return ky_json_of_str(ky_padding_name((enum ky_padding)v));
    case KY_F_ACTIVATION:
        return ky_json_of_str(ky_activation_name(
            is_old((enum ky_activation)v) ? KY_HARD_SIGMOID_K3 : (enum ky_activation)v));
    default:
        break;
    }
    return NULL;
}

/* Options some version does not know are left out where they say nothing. */
static bool is_left_out(const ky_field *f, const ky_layer_config *cfg)
{
    static const char *const newer[] = { "groups", "keepdims", "zero_output_for_mask" };

    for (size_t i = 0; i < LENGTH(newer); i++)
        if (strcmp(f->key, newer[i]) == 0)
            return ky_field_get(f, cfg, 0) == f->otherwise;
    return false;
}

static bool has_data_format(const ky_layer *l)
{
    static const char *const classes[] = {
        "Conv1D",  "MaxPooling1D",       "AveragePooling1D", "GlobalAveragePooling1D",
        "Flatten", "GlobalMaxPooling1D",
    };

    for (size_t i = 0; i < LENGTH(classes); i++)
        if (strcmp(l->ops->class_name, classes[i]) == 0)
            return true;
    return false;
}

static ky_json *layer_entry(const char *class, ky_json *config)
{
    ky_json *entry = ky_json_object();

    ky_json_set(entry, "class_name", ky_json_of_str(class));
    ky_json_set(entry, "config", config);
    return entry;
}

static ky_json *layer_config(const ky_layer *l, const char *name)
{
    ky_json *config = ky_json_object();

    ky_json_set(config, "name", ky_json_of_str(name));
    ky_json_set(config, "trainable", ky_json_of_bool(l->trainable));
    ky_json_set(config, "dtype", ky_json_of_str("float32"));
    for (const ky_field *f = l->ops->fields; f->key != NULL; f++) {
        ky_json *v = field_value(f, &l->cfg);

        if (is_left_out(f, &l->cfg)) {
            ky_json_free(v);
            continue;
        }
        if (f->list == 1) {
            ky_json *list = ky_json_array();

            ky_json_append(list, v);
            v = list;
        }
        ky_json_set(config, f->key, v);
    }
    if (has_data_format(l))
        ky_json_set(config, "data_format", ky_json_of_str("channels_last"));
    return config;
}

/* A stateful LSTM of Keras wants to know how many rows it will carry: one. */
static bool is_stateful(const ky_model *m)
{
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].cfg.stateful)
            return true;
    return false;
}

static ky_json *input_config(const ky_model *m)
{
    ky_json *config = ky_json_object(), *shape = ky_json_array();

    ky_json_append(shape, is_stateful(m) ? ky_json_of_int(1) : ky_json_of_null());
    for (int i = 0; i < m->inputs[0].rank; i++)
        ky_json_append(shape, m->inputs[0].d[i] == KY_ANY ? ky_json_of_null()
                                                          : ky_json_of_int(m->inputs[0].d[i]));
    ky_json_set(config, "batch_input_shape", shape);
    ky_json_set(config, "dtype", ky_json_of_str("float32"));
    ky_json_set(config, "sparse", ky_json_of_bool(false));
    ky_json_set(config, "ragged", ky_json_of_bool(false));
    ky_json_set(config, "name", ky_json_of_str("kymo_input"));
    return config;
}

static ky_json *model_config(const ky_model *m, const struct layer_name *names)
{
    ky_json *config = ky_json_object(), *layers = ky_json_array();
    char name[64];

    plain_name(m->name, name, sizeof(name));
    ky_json_append(layers, layer_entry("InputLayer", input_config(m)));
    for (int i = 0; i < m->n_layers; i++)
        ky_json_append(layers, layer_entry(m->layers[i].ops->class_name,
                                           layer_config(&m->layers[i], names[i].text)));
    ky_json_set(config, "name", ky_json_of_str(name));
    ky_json_set(config, "layers", layers);
    return layer_entry("Sequential", config);
}

int ky_keras_config_write(const ky_model *m, char **ret, ky_err *err)
{
    struct layer_name *names = plain_names(m);
    char *text = NULL;
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < m->n_layers; i++)
        rc = check_portable(&m->layers[i], err);
    if (rc == KY_OK && names != NULL) {
        ky_json *config = model_config(m, names);

        text = ky_json_text(config, 0);
        ky_json_free(config);
    }
    free(names);
    if (rc == KY_OK && text == NULL)
        return ky_fail(err, KY_ENOMEM, "the model's configuration: no memory");
    *ret = text;
    return rc;
}

/* -- the arrays --------------------------------------------------------------------------- */

static int put_array(ky_h5 *f, const ky_model *m, const ky_layer *l, int i, const char *path,
                     ky_err *err)
{
    const ky_weight *w = &l->weights[i];
    const ky_real *from = m->weights + l->weights_at + w->at;
    uint64_t d[KY_MAX_WEIGHT_RANK];
    size_t N = (size_t)w->d[w->rank - 1];
    float *values = malloc((w->len + 1) * sizeof(*values));

    for (int k = 0; k < w->rank; k++)
        d[k] = (uint64_t)w->d[k];
    if (values == NULL)
        return ky_fail(err, KY_ENOMEM, "layer '%s': no memory", l->name);
    for (size_t k = 0; k < w->len; k++)
        values[k] = (float)from[k] * (is_scaled(l, k % N, N) ? 1.2f : 1.0f);
    int rc = ky_h5_put(f, path, KY_H5_F32, w->rank, d, values, err);
    free(values);
    return rc;
}

static int put_layer(ky_h5 *f, const ky_model *m, int at, const char *name, ky_err *err)
{
    const ky_layer *l = &m->layers[at];
    char group[128], path[400], weights[KY_MAX_WEIGHTS][160];
    const char *names[KY_MAX_WEIGHTS];
    int rc;

    snprintf(group, sizeof(group), "%s/%s", KY_KERAS_WEIGHTS, name);
    rc = ky_h5_group(f, group, err);
    for (int i = 0; rc == KY_OK && i < l->n_weights; i++) {
        snprintf(weights[i], sizeof(weights[i]), "%s/%s:0", name, l->weights[i].name);
        names[i] = weights[i];
        snprintf(path, sizeof(path), "%s/%s", group, weights[i]);
        rc = put_array(f, m, l, i, path, err);
    }
    if (rc == KY_OK)
        rc = ky_h5_set_attr_strs(f, group, "weight_names", names, (size_t)l->n_weights, err);
    return rc;
}

static int put_versions(ky_h5 *f, const ky_model *m, const char *path, ky_err *err)
{
    /* Keras 2's conventions, but for the one function that only Keras 3's number can name. */
    const char *version = has_hard_sigmoid(m) ? "3.0.0" : "2.15.0";
    int rc = ky_h5_set_attr_str(f, path, KY_KERAS_VERSION, version, err);

    return rc < 0 ? rc : ky_h5_set_attr_str(f, path, "backend", "tensorflow", err);
}

static int put_weights(ky_h5 *f, const ky_model *m, ky_err *err)
{
    struct layer_name *names = plain_names(m);
    const char **list = calloc((size_t)m->n_layers + 1, sizeof(*list));
    int rc = KY_OK;

    if (names == NULL || list == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory");
    for (int i = 0; rc == KY_OK && i < m->n_layers; i++) {
        list[i] = names[i].text;
        rc = put_layer(f, m, i, names[i].text, err);
    }
    if (rc == KY_OK)
        rc = ky_h5_group(f, KY_KERAS_WEIGHTS "/top_level_model_weights", err);
    if (rc == KY_OK)
        rc = ky_h5_set_attr_strs(f, KY_KERAS_WEIGHTS "/top_level_model_weights", "weight_names",
                                 NULL, 0, err);
    if (rc == KY_OK)
        rc =
            ky_h5_set_attr_strs(f, KY_KERAS_WEIGHTS, "layer_names", list, (size_t)m->n_layers, err);
    if (rc == KY_OK)
        rc = put_versions(f, m, KY_KERAS_WEIGHTS, err);
    free(names);
    free(list);
    return rc;
}

/* -- what kymo keeps beside the model -------------------------------------------------------- */

static int put_meta(ky_h5 *f, const ky_model *m, ky_err *err)
{
    const ky_model_meta *meta = &m->meta;
    char *extra = meta->extra != NULL ? ky_json_text(meta->extra, 0) : NULL;
    int rc = KY_OK;

    if (meta->n_labels > 0)
        rc = ky_h5_set_attr_strs(f, "/", KY_KERAS_LABELS, (const char *const *)meta->labels,
                                 (size_t)meta->n_labels, err);
    if (rc == KY_OK && meta->feature_names != NULL)
        rc =
            ky_h5_set_attr_strs(f, "/", KY_KERAS_FEATURES, (const char *const *)meta->feature_names,
                                (size_t)m->info.features, err);
    if (rc == KY_OK && extra != NULL)
        rc = ky_h5_set_attr_str(f, "/", KY_KERAS_EXTRA, extra, err);
    free(extra);
    return rc;
}

int ky_model_save(const ky_model *m, const char *path, ky_err *err)
{
    char *config = NULL;
    ky_h5 *f = NULL;
    int rc = ky_keras_config_write(m, &config, err);

    if (rc == KY_OK)
        rc = ky_h5_create(path, &f, err);
    if (rc == KY_OK)
        rc = ky_h5_set_attr_str(f, "/", KY_KERAS_CONFIG, config, err);
    if (rc == KY_OK)
        rc = put_versions(f, m, "/", err);
    if (rc == KY_OK)
        rc = put_weights(f, m, err);
    if (rc == KY_OK)
        rc = put_meta(f, m, err);
    free(config);
    if (rc < 0) {
        ky_h5_close(f);
        return ky_context(err, rc, "writing model '%s'", path);
    }
    return ky_h5_commit(f, err);
}
