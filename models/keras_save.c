/*
 * Writing models: HDF5 files that tf.keras 2 and Keras 3 both open, arrays by the names of the
 * layers, and Keras 3's archives, arrays by classes and counters. The same model gives the same
 * bytes.
 */
#include "models/keras.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/keras_arrays.h"
#include "models/keras_out.h"
#include "models/layer_tools.h"

enum { NAME = 200, PATH = 500, MAX_ARRAYS = 2 * KY_MAX_WEIGHTS };

/* -- arrays -------------------------------------------------------------------------------- */

/* Array i of a layer whose slice of the weights begins at `slice`. */
static int put_array(ky_h5 *f, const ky_layer *l, int i, const ky_real *slice, const char *path,
                     ky_err *err)
{
    const ky_weight *w = &l->weights[i];
    const ky_real *from = slice + w->at;
    uint64_t d[KY_MAX_WEIGHT_RANK];
    size_t N = w->rank > 0 ? (size_t)w->d[w->rank - 1] : 1;
    float *values = malloc((w->len + 1) * sizeof(*values));

    for (int k = 0; k < w->rank; k++)
        d[k] = (uint64_t)w->d[k];
    if (values == NULL)
        return ky_fail(err, KY_ENOMEM, "layer '%s': no memory", l->name);
    for (size_t k = 0; k < w->len; k++)
        values[k] = (float)from[k] * ky_keras_out_scale(l, w, k % N, N);
    int rc = ky_h5_put(f, path, KY_H5_F32, w->rank, d, values, err);
    free(values);
    return rc;
}

/* Keras's Normalization keeps with its mean the number of samples, which it does not use. */
static bool has_count(const ky_layer *l)
{
    return l->ops == &ky_normalization_ops && l->n_weights > 0;
}

static int put_count(ky_h5 *f, const char *path, ky_err *err)
{
    return ky_h5_put(f, path, KY_H5_I64, 0, NULL, &(int64_t){ 0 }, err);
}

/* What bears the arrays of a layer: itself, or what it wraps. */
static int count_parts(const ky_layer *l)
{
    return l->n_inner > 0 ? l->n_inner : 1;
}

static const ky_layer *part_of(const ky_model *m, const ky_layer *l, int part,
                               const ky_real **ret_slice)
{
    const ky_layer *p = l->n_inner > 0 ? &l->inner[part] : l;

    *ret_slice = m->weights + l->weights_at + (p == l ? 0 : p->weights_at);
    return p;
}

/* -- by name ---------------------------------------------------------------------------------- */

/* One layer's group: arrays NAME/kernel:0, of what is wrapped NAME/forward/kernel:0. */
static int put_layer(ky_h5 *f, const ky_model *m, const ky_layer *l, const char *name, ky_err *err)
{
    static const char *const sides[] = { "forward/", "backward/" };
    char group[NAME], path[PATH], weights[MAX_ARRAYS][NAME];
    const char *names[MAX_ARRAYS];
    size_t n = 0;

    snprintf(group, sizeof(group), "%s/%s", KY_KERAS_WEIGHTS, name);
    int rc = ky_h5_group(f, group, err);
    for (int part = 0; part < count_parts(l); part++) {
        const ky_real *slice;
        const ky_layer *p = part_of(m, l, part, &slice);

        for (int i = 0; rc == KY_OK && i < p->n_weights; i++) {
            snprintf(weights[n], sizeof(weights[n]), "%s/%s%s:0", name, p == l ? "" : sides[part],
                     p->weights[i].name);
            names[n] = weights[n];
            snprintf(path, sizeof(path), "%s/%s", group, weights[n++]);
            rc = put_array(f, p, i, slice, path, err);
        }
    }
    if (rc == KY_OK && has_count(l)) {
        snprintf(weights[n], sizeof(weights[n]), "%s/count:0", name);
        names[n] = weights[n];
        snprintf(path, sizeof(path), "%s/%s", group, weights[n++]);
        rc = put_count(f, path, err);
    }
    return rc < 0 ? rc : ky_h5_set_attr_strs(f, group, "weight_names", names, n, err);
}

static int put_versions(ky_h5 *f, const ky_model *m, const char *path, ky_err *err)
{
    /* Keras 2's conventions, but for the one function that only Keras 3's number can name. */
    const char *version = ky_keras_out_is_keras3(m) ? "3.0.0" : "2.15.0";
    int rc = ky_h5_set_attr_str(f, path, KY_KERAS_VERSION, version, err);

    return rc < 0 ? rc : ky_h5_set_attr_str(f, path, "backend", "tensorflow", err);
}

/* A Sequential's list is without its input. */
static bool is_listed(const ky_keras_out *o, int i)
{
    return o->order.item[i].layer >= 0 || !o->order.chain;
}

static int put_layers(ky_h5 *f, const ky_keras_out *o, ky_err *err)
{
    const char **list = calloc((size_t)o->order.n + 1, sizeof(*list));
    int rc = list == NULL ? ky_fail(err, KY_ENOMEM, "no memory") : KY_OK;
    size_t n = 0;

    for (int i = 0; rc == KY_OK && i < o->order.n; i++) {
        const ky_layer none = { .n_weights = 0 };
        int layer = o->order.item[i].layer;

        if (!is_listed(o, i))
            continue;
        list[n++] = o->name[i];
        rc = put_layer(f, o->m, layer >= 0 ? &o->m->layers[layer] : &none, o->name[i], err);
    }
    if (rc == KY_OK)
        rc = ky_h5_set_attr_strs(f, KY_KERAS_WEIGHTS, "layer_names", list, n, err);
    free(list);
    return rc;
}

static int put_weights(ky_h5 *f, const ky_keras_out *o, ky_err *err)
{
    static const char top[] = KY_KERAS_WEIGHTS "/top_level_model_weights";
    int rc = ky_h5_group(f, top, err);

    if (rc == KY_OK)
        rc = put_layers(f, o, err);
    if (rc == KY_OK)
        rc = ky_h5_set_attr_strs(f, top, "weight_names", NULL, 0, err);
    return rc < 0 ? rc : put_versions(f, o->m, KY_KERAS_WEIGHTS, err);
}

/* What kymo keeps beside the model. */
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
    if (rc == KY_OK && meta->vocabulary != NULL)
        rc = ky_vocabulary_write(meta->vocabulary, f, err);
    free(extra);
    return rc;
}

static int save_h5(const ky_keras_out *o, const char *config, const char *path, ky_saving more,
                   void *arg, ky_err *err)
{
    ky_h5 *f = NULL;
    int rc = ky_h5_create(path, &f, err);

    if (rc == KY_OK)
        rc = ky_h5_set_attr_str(f, "/", KY_KERAS_CONFIG, config, err);
    if (rc == KY_OK)
        rc = put_versions(f, o->m, "/", err);
    if (rc == KY_OK)
        rc = put_weights(f, o, err);
    if (rc == KY_OK)
        rc = put_meta(f, o->m, err);
    if (rc == KY_OK && more != NULL)
        rc = more(f, arg, err);
    if (rc < 0) {
        ky_h5_close(f);
        return rc;
    }
    return ky_h5_commit(f, err);
}

/* -- by class -------------------------------------------------------------------------------------
 */

/* The arrays of a layer under `path`, those of a recurrent one under its cell's. */
static int put_vars(ky_h5 *f, const ky_layer *l, const ky_real *slice, const char *path,
                    ky_err *err)
{
    bool cell = ky_keras_has_cell(l);
    char to[PATH + 64];

    snprintf(to, sizeof(to), "%s/vars", path);
    int rc = ky_h5_group(f, to, err);
    if (rc == KY_OK && cell) {
        snprintf(to, sizeof(to), "%s/cell/vars", path);
        rc = ky_h5_group(f, to, err);
    }
    for (int i = 0; rc == KY_OK && l->n_inner == 0 && i < l->n_weights; i++) {
        snprintf(to, sizeof(to), cell ? "%s/cell/vars/%d" : "%s/vars/%d", path, i);
        rc = put_array(f, l, i, slice, to, err);
    }
    if (rc == KY_OK && has_count(l)) {
        snprintf(to, sizeof(to), "%s/vars/%d", path, l->n_weights);
        rc = put_count(f, to, err);
    }
    return rc;
}

static int put_object(ky_h5 *f, const ky_model *m, const ky_layer *l, const char *group,
                      ky_err *err)
{
    static const char *const sides[] = { "forward_layer", "backward_layer" };
    char path[PATH];
    int rc = KY_OK, at = snprintf(path, sizeof(path), "/layers/%s", group);

    for (int i = 0; rc == KY_OK && i < l->distributed; i++) {
        char vars[PATH + 8];

        snprintf(vars, sizeof(vars), "%s/vars", path);
        rc = ky_h5_group(f, vars, err);
        at += snprintf(path + at, sizeof(path) - (size_t)at, "/layer");
    }
    if (rc == KY_OK) /* a Bidirectional has an empty one */
        rc = put_vars(f, l, m->weights + l->weights_at, path, err);
    for (int part = 0; rc == KY_OK && part < l->n_inner; part++) {
        const ky_real *slice;
        const ky_layer *p = part_of(m, l, part, &slice);

        snprintf(path + at, sizeof(path) - (size_t)at, "/%s", sides[part]);
        rc = put_vars(f, p, slice, path, err);
    }
    return rc;
}

static int put_input(ky_h5 *f, const char *group, ky_err *err)
{
    char path[PATH];

    snprintf(path, sizeof(path), "/layers/%s/vars", group);
    return ky_h5_group(f, path, err);
}

/* The class of an item as the outermost object has it. */
static const char *class_of(const ky_keras_out *o, int i)
{
    int layer = o->order.item[i].layer;

    if (layer < 0)
        return "InputLayer";
    return o->m->layers[layer].distributed > 0 ? "TimeDistributed"
                                               : o->m->layers[layer].ops->class_name;
}

static int put_objects(ky_h5 *f, const ky_keras_out *o, ky_err *err)
{
    ky_json *met = ky_json_object(); /* how many of each class */
    int rc = ky_h5_group(f, "/vars", err);

    for (int i = 0; rc == KY_OK && i < o->order.n; i++) {
        char class[KY_KERAS_NAME], group[KY_KERAS_NAME + 16];
        int layer = o->order.item[i].layer, k;

        if (!is_listed(o, i))
            continue;
        k = (int)ky_json_int(ky_json_get(met, class_of(o, i)), 0);
        ky_json_set(met, class_of(o, i), ky_json_of_int(k + 1));
        ky_snake_case(class_of(o, i), class, sizeof(class));
        snprintf(group, sizeof(group), k > 0 ? "%s_%d" : "%s", class, k);
        rc = layer >= 0 ? put_object(f, o->m, &o->m->layers[layer], group, err)
                        : put_input(f, group, err);
    }
    ky_json_free(met);
    return rc;
}

static ky_json *names_value(char *const *names, int n)
{
    ky_json *list = ky_json_array();

    for (int i = 0; i < n; i++)
        ky_json_append(list, ky_json_of_str(names[i]));
    return list;
}

/* Keras reads the version; the rest is ours. */
static char *metadata(const ky_model *m)
{
    const ky_model_meta *meta = &m->meta;
    ky_json *root = ky_json_object();

    ky_json_set(root, KY_KERAS_VERSION, ky_json_of_str("3.0.0"));
    if (meta->n_labels > 0)
        ky_json_set(root, KY_KERAS_LABELS, names_value(meta->labels, meta->n_labels));
    if (meta->feature_names != NULL)
        ky_json_set(root, KY_KERAS_FEATURES, names_value(meta->feature_names, m->info.features));
    if (meta->extra != NULL)
        ky_json_set(root, KY_KERAS_EXTRA, ky_json_copy(meta->extra));
    if (meta->vocabulary != NULL)
        ky_json_set(root, KY_VOCABULARY_ATTR, ky_vocabulary_to_json(meta->vocabulary));
    char *text = ky_json_text(root, 0);
    ky_json_free(root);
    return text;
}

static int save_archive(const ky_keras_out *o, const char *config, const char *path, ky_err *err)
{
    char *meta = metadata(o->m);
    void *image = NULL;
    size_t len = 0;
    ky_h5 *f = NULL;
    int rc = meta == NULL ? ky_fail(err, KY_ENOMEM, "no memory") : ky_h5_create_image(&f, err);

    if (rc == KY_OK) {
        rc = put_objects(f, o, err);
        if (rc == KY_OK)
            rc = ky_h5_commit_image(f, &image, &len, err);
        else
            ky_h5_close(f);
    }
    if (rc == KY_OK) {
        const ky_zip_member members[] = { { "metadata.json", meta, strlen(meta) },
                                          { "config.json", config, strlen(config) },
                                          { "model.weights.h5", image, len } };

        rc = ky_zip_write(path, members, 3, err);
    }
    free(image);
    free(meta);
    return rc;
}

/* -- files of either form
 * ---------------------------------------------------------------------------- */

static bool ends_with(const char *path, const char *end)
{
    size_t n = strlen(path), k = strlen(end);

    return n > k && strcmp(path + n - k, end) == 0;
}

int ky_model_save(const ky_model *m, const char *path, ky_err *err)
{
    return ky_model_save_with(m, path, NULL, NULL, err);
}

int ky_model_save_with(const ky_model *m, const char *path, ky_saving more, void *arg, ky_err *err)
{
    bool archive = ends_with(path, ".keras") && more == NULL;
    ky_keras_out o;
    int rc = ky_keras_out_init(&o, m, archive, err);

    if (rc == KY_OK) {
        char *config = ky_keras_out_config(&o);

        if (config == NULL)
            rc = ky_fail(err, KY_ENOMEM, "the model's configuration: no memory");
        else
            rc = archive ? save_archive(&o, config, path, err)
                         : save_h5(&o, config, path, more, arg, err);
        free(config);
        ky_keras_out_done(&o);
    }
    return rc < 0 ? ky_context(err, rc, "writing model '%s'", path) : KY_OK;
}
