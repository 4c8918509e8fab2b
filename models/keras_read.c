/* Keras's arrays: found by position, held against the shapes of the layers, read. */
#include "models/keras.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"

enum { LSTM_PARTS = 12, MAX_ARRAYS = LSTM_PARTS };

/* How a layer's arrays stand in the file. */
enum form {
    AS_THEY_ARE,
    LSTM_SPLIT, /* Keras 1: W, U, b of i, c, f, o, each apart */
    CONV_4D,    /* Keras 1: (length, 1, in, filters) */
    CONV_4D_OLD /* Keras 1.0: (filters, in, length, 1) */
};

/* The arrays of one layer of the file that has any. */
struct stored {
    char *group;
    char **names;
    size_t n;
    enum form form;
};

struct reader {
    ky_h5 *f;
    ky_keras_version version;
    struct stored *stored; /* in the order of layer_names */
    size_t n_stored;
};

/* -- what the file has ---------------------------------------------------------------- */

/* Text of an attribute, NULL if it is not there; free(). */
static char *optional_text(ky_h5 *f, const char *path, const char *name)
{
    char *text = NULL;

    return ky_h5_attr_str(f, path, name, &text, NULL) == KY_OK ? text : NULL;
}

/* The group's version counts, not the root's (Keras reads it so). */
static ky_keras_version read_version(ky_h5 *f)
{
    char *text = optional_text(f, KY_KERAS_WEIGHTS, KY_KERAS_VERSION);
    char *backend = optional_text(f, KY_KERAS_WEIGHTS, "backend");
    ky_keras_version v = ky_keras_version_read(text);

    v.theano = v.major < 3 && backend != NULL && strcmp(backend, "theano") == 0;
    free(text);
    free(backend);
    return v;
}

static char *join(const char *folder, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

static void free_stored(struct reader *r)
{
    for (size_t i = 0; i < r->n_stored; i++) {
        free(r->stored[i].group);
        free(r->stored[i].names);
    }
    free(r->stored);
}

/* Every layer of the file that has arrays. */
static int find_stored(struct reader *r, ky_err *err)
{
    char **layers = NULL;
    size_t n = 0;
    int rc = ky_h5_attr_strs(r->f, KY_KERAS_WEIGHTS, "layer_names", &layers, &n, err);

    if (rc < 0)
        return rc;
    r->stored = calloc(n + 1, sizeof(*r->stored));
    if (r->stored == NULL)
        rc = ky_fail(err, KY_ENOMEM, "%zu layers: no memory", n);
    for (size_t i = 0; rc == KY_OK && i < n; i++) {
        struct stored s = { .group = join(KY_KERAS_WEIGHTS, layers[i]) };

        if (s.group == NULL)
            rc = ky_fail(err, KY_ENOMEM, "layer '%.60s': no memory", layers[i]);
        else
            rc = ky_h5_attr_strs(r->f, s.group, "weight_names", &s.names, &s.n, err);
        if (rc == KY_OK && s.n > 0)
            r->stored[r->n_stored++] = s;
        else {
            free(s.group);
            free(s.names);
        }
    }
    free(layers);
    return rc;
}

/* -- holding it against the layers ---------------------------------------------------- */

/* Dimensions for an error message: "(3, 9, 64)". */
struct shape_text {
    char text[100];
};

static struct shape_text shape_text(int rank, const uint64_t *d)
{
    struct shape_text s = { "(" };
    size_t n = 1;

    for (int i = 0; i < rank && n < sizeof(s.text) - 24; i++)
        n += (size_t)snprintf(s.text + n, sizeof(s.text) - n, i > 0 ? ", %llu" : "%llu",
                              (unsigned long long)d[i]);
    snprintf(s.text + n, sizeof(s.text) - n, ")");
    return s;
}

/* The array `name` of a layer must be numbers of this shape. */
static int check_array(struct reader *r, const struct stored *s, size_t i, int rank,
                       const uint64_t *d, ky_err *err)
{
    char *path = join(s->group, s->names[i]);
    ky_h5_info info;
    int rc;

    if (path == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    rc = ky_h5_stat(r->f, path, &info, err);
    free(path);
    if (rc < 0)
        return rc;
    bool same = info.rank == rank;
    for (int k = 0; same && k < rank; k++)
        same = info.dims[k] == d[k];
    if (info.type >= KY_H5_STR)
        return ky_fail(err, KY_EFORMAT, "array '%.80s' holds no numbers", s->names[i]);
    if (!same)
        return ky_fail(err, KY_ESHAPE, "array '%.80s' has shape %s, the configuration wants %s",
                       s->names[i], shape_text(info.rank, info.dims).text,
                       shape_text(rank, d).text);
    return KY_OK;
}

/* Gate by gate: W (F,H), U (H,H), b (H). */
static int check_lstm_split(struct reader *r, const struct stored *s, const ky_layer *l,
                            ky_err *err)
{
    uint64_t F = (uint64_t)l->in.d[1], H = (uint64_t)l->cfg.units;
    const uint64_t want[3][2] = { { F, H }, { H, H }, { H, 0 } };
    int rc = KY_OK;

    for (size_t i = 0; rc == KY_OK && i < LSTM_PARTS; i++)
        rc = check_array(r, s, i, i % 3 < 2 ? 2 : 1, want[i % 3], err);
    return rc;
}

/* A Keras 1 kernel has four dimensions, in one of two orders. */
static int check_conv_4d(struct reader *r, struct stored *s, const ky_layer *l, ky_err *err)
{
    const int *d = l->weights[0].d;
    const uint64_t k = (uint64_t)d[0], C = (uint64_t)d[1], F = (uint64_t)d[2];

    s->form = CONV_4D;
    if (check_array(r, s, 0, 4, (const uint64_t[]){ k, 1, C, F }, err) < 0) {
        int rc = check_array(r, s, 0, 4, (const uint64_t[]){ F, C, k, 1 }, NULL);

        if (rc < 0)
            return err != NULL ? err->code : rc;
        s->form = CONV_4D_OLD;
    }
    return KY_OK;
}

static int check_layer(struct reader *r, struct stored *s, const ky_layer *l, ky_err *err)
{
    bool keras1 = r->version.major == 1;
    bool conv = strcmp(l->ops->class_name, "Conv1D") == 0;
    int rc = KY_OK;

    if (keras1 && strcmp(l->ops->class_name, "LSTM") == 0 && l->n_weights == 3 &&
        s->n == LSTM_PARTS) {
        s->form = LSTM_SPLIT;
        return check_lstm_split(r, s, l, err);
    }
    if (s->n != (size_t)l->n_weights)
        return ky_fail(err, KY_ESHAPE, "%zu arrays in the file, the configuration wants %d", s->n,
                       l->n_weights);
    for (int i = 0; rc == KY_OK && i < l->n_weights; i++) {
        const ky_weight *w = &l->weights[i];
        uint64_t d[KY_MAX_WEIGHT_RANK];

        for (int k = 0; k < w->rank; k++)
            d[k] = (uint64_t)w->d[k];

        if (keras1 && conv && i == 0)
            rc = check_conv_4d(r, s, l, err);
        else
            rc = check_array(r, s, (size_t)i, w->rank, d, err);
    }
    return rc;
}

/* Layers match by position among those that have weights; names play no part. */
static int check_all(struct reader *r, const ky_model *m, ky_err *err)
{
    size_t n = 0, at = 0;
    int rc = KY_OK;

    for (int i = 0; i < m->n_layers; i++)
        n += m->layers[i].n_weights > 0;
    if (n != r->n_stored)
        return ky_fail(err, KY_ESHAPE,
                       "the file has arrays for %zu layers, its configuration wants %zu",
                       r->n_stored, n);
    for (int i = 0; rc == KY_OK && i < m->n_layers; i++)
        if (m->layers[i].n_weights > 0) {
            rc = check_layer(r, &r->stored[at++], &m->layers[i], err);
            if (rc < 0)
                rc = ky_context(err, rc, "layer '%s'", m->layers[i].name);
        }
    return rc;
}

/* -- reading -------------------------------------------------------------------------- */

static int read_array(struct reader *r, const struct stored *s, size_t i, ky_real *to, size_t n,
                      ky_err *err)
{
    char *path = join(s->group, s->names[i]);
    int rc;

    if (path == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    rc = ky_h5_read(r->f, path, sizeof(ky_real) == sizeof(float) ? KY_H5_F32 : KY_H5_F64, to, n,
                    err);
    free(path);
    return rc;
}

/* Keras 1 stored the gates as i, c, f, o; they become the columns i|f|c|o. */
static int read_lstm_split(struct reader *r, const struct stored *s, ky_model *m, int at,
                           ky_err *err)
{
    static const int place[4] = { 0, 2, 1, 3 };
    const ky_layer *l = &m->layers[at];
    size_t H = (size_t)l->cfg.units, rows[3] = { (size_t)l->in.d[1], H, 1 };
    ky_real *part = malloc((rows[0] > H ? rows[0] : H) * H * sizeof(*part));
    int rc = part == NULL ? ky_fail(err, KY_ENOMEM, "no memory") : KY_OK;

    for (size_t i = 0; rc == KY_OK && i < LSTM_PARTS; i++) {
        ky_real *to = ky_model_weight(m, at, (int)(i % 3)) + (size_t)place[i / 3] * H;

        rc = read_array(r, s, i, part, rows[i % 3] * H, err);
        for (size_t k = 0; rc == KY_OK && k < rows[i % 3]; k++)
            memcpy(to + k * 4 * H, part + k * H, H * sizeof(*part));
    }
    free(part);
    return rc;
}

/* (filters, in, length, 1) -> (length, in, filters) */
static int turn_old_kernel(ky_real *w, const int *d, ky_err *err)
{
    size_t k = (size_t)d[0], C = (size_t)d[1], F = (size_t)d[2], n = k * C * F;
    ky_real *old = malloc(n * sizeof(*old));

    if (old == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    memcpy(old, w, n * sizeof(*old));
    for (size_t f = 0; f < F; f++)
        for (size_t c = 0; c < C; c++)
            for (size_t t = 0; t < k; t++)
                w[(t * C + c) * F + f] = old[(f * C + c) * k + t];
    free(old);
    return KY_OK;
}

/* Theano's convolution runs the kernel back to front; ours, like the others', does not. */
static void flip_kernel(ky_real *w, const int *d)
{
    size_t tap = (size_t)d[1] * (size_t)d[2];

    for (size_t a = 0, b = (size_t)d[0] - 1; a < b; a++, b--)
        for (size_t i = 0; i < tap; i++) {
            ky_real x = w[a * tap + i];

            w[a * tap + i] = w[b * tap + i];
            w[b * tap + i] = x;
        }
}

/* A model that holds no numbers would answer with none. */
static int check_values(const ky_model *m, int at, ky_err *err)
{
    const ky_layer *l = &m->layers[at];

    for (int i = 0; i < l->n_weights; i++) {
        const ky_real *w = m->weights + l->weights_at + l->weights[i].at;
        bool variance = strcmp(l->weights[i].name, "moving_variance") == 0;

        for (size_t k = 0; k < l->weights[i].len; k++) {
            if (!isfinite(w[k]))
                return ky_fail(err, KY_EFORMAT, "%s holds NaN or infinity", l->weights[i].name);
            if (variance && w[k] < 0)
                return ky_fail(err, KY_EFORMAT, "%s is negative", l->weights[i].name);
        }
    }
    return KY_OK;
}

static int read_layer(struct reader *r, const struct stored *s, ky_model *m, int at, ky_err *err)
{
    const ky_layer *l = &m->layers[at];
    bool conv = strcmp(l->ops->class_name, "Conv1D") == 0;
    int rc = KY_OK;

    if (s->form == LSTM_SPLIT)
        rc = read_lstm_split(r, s, m, at, err);
    else
        for (int i = 0; rc == KY_OK && i < l->n_weights; i++)
            rc = read_array(r, s, (size_t)i, ky_model_weight(m, at, i), l->weights[i].len, err);
    if (rc == KY_OK && s->form == CONV_4D_OLD)
        rc = turn_old_kernel(ky_model_weight(m, at, 0), l->weights[0].d, err);
    if (rc == KY_OK && conv && r->version.theano)
        flip_kernel(ky_model_weight(m, at, 0), l->weights[0].d);
    return rc < 0 ? rc : check_values(m, at, err);
}

static int read_all(struct reader *r, ky_model *m, ky_err *err)
{
    size_t at = 0;
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < m->n_layers; i++)
        if (m->layers[i].n_weights > 0) {
            rc = read_layer(r, &r->stored[at++], m, i, err);
            if (rc < 0)
                rc = ky_context(err, rc, "layer '%s'", m->layers[i].name);
        }
    return rc;
}

/* -- what kymo keeps beside the model --------------------------------------------------- */

/* Strings of a root attribute; n = 0 where there is none. */
static int optional_names(ky_h5 *f, const char *name, char ***ret, size_t *ret_n, ky_err *err)
{
    int rc = ky_h5_attr_strs(f, "/", name, ret, ret_n, err);

    if (rc != KY_ENOENT)
        return rc;
    *ret = NULL;
    *ret_n = 0;
    return KY_OK;
}

static int read_extra(ky_h5 *f, ky_model *m, ky_err *err)
{
    char *text = NULL;
    int rc;

    if (!ky_h5_has_attr(f, "/", KY_KERAS_EXTRA))
        return KY_OK;
    rc = ky_h5_attr_str(f, "/", KY_KERAS_EXTRA, &text, err);
    if (rc == KY_OK)
        rc = ky_json_parse(text, strlen(text), true, &m->meta.extra, err);
    free(text);
    return rc;
}

static int read_meta(ky_h5 *f, ky_model *m, ky_err *err)
{
    char **labels = NULL, **features = NULL;
    size_t n_labels = 0, n_features = 0;
    int rc = optional_names(f, KY_KERAS_LABELS, &labels, &n_labels, err);

    if (rc == KY_OK)
        rc = optional_names(f, KY_KERAS_FEATURES, &features, &n_features, err);
    if (rc == KY_OK && n_labels > 0)
        rc = ky_model_set_labels(m, (const char *const *)labels, (int)n_labels, err);
    if (rc == KY_OK && n_features > 0 && n_features != (size_t)m->info.features)
        rc = ky_fail(err, KY_ESHAPE, "names for %zu features, the model takes %d", n_features,
                     m->info.features);
    if (rc == KY_OK && n_features > 0)
        rc = ky_model_set_feature_names(m, (const char *const *)features, err);
    if (rc == KY_OK)
        rc = read_extra(f, m, err);
    free(labels);
    free(features);
    return rc < 0 ? ky_context(err, rc, "what kymo noted in the file") : KY_OK;
}

/* -- the whole -------------------------------------------------------------------------- */

/* Why an HDF5 file is no model, for the other things Keras writes. */
static int refuse_other(ky_h5 *f, ky_err *err)
{
    if (ky_h5_has_attr(f, "/", "layer_names") || ky_h5_has_attr(f, "/", "layer_names0") ||
        ky_h5_is_group(f, "/layers") || ky_h5_is_group(f, "/vars") ||
        ky_h5_is_group(f, "/_layer_checkpoint_dependencies"))
        return ky_fail(err, KY_EUNSUPPORTED,
                       "weights without the model they belong to; save the whole model instead "
                       "(model.save(\"x.h5\"))");
    return ky_fail(err, KY_EFORMAT, "an HDF5 file, but not a Keras model: it has no %s",
                   KY_KERAS_CONFIG);
}

int ky_keras_read(ky_h5 *f, ky_model **ret, ky_err *err)
{
    struct reader r = { .f = f };
    char *config = NULL;
    ky_model *m = NULL;
    int rc;

    if (!ky_h5_has_attr(f, "/", KY_KERAS_CONFIG))
        return refuse_other(f, err);
    r.version = read_version(f);
    rc = ky_h5_attr_str(f, "/", KY_KERAS_CONFIG, &config, err);
    if (rc == KY_OK)
        rc = ky_keras_config_read(config, strlen(config), r.version, &m, err);
    if (rc == KY_OK)
        rc = find_stored(&r, err);
    if (rc == KY_OK)
        rc = check_all(&r, m, err);
    if (rc == KY_OK) /* only now is memory taken for the weights */
        rc = ky_model_finish(m, err);
    if (rc == KY_OK)
        rc = read_all(&r, m, err);
    if (rc == KY_OK)
        rc = read_meta(f, m, err);
    if (rc == KY_OK)
        rc = ky_model_pack(m, err);
    free_stored(&r);
    free(config);
    if (rc < 0)
        ky_model_free(m);
    else
        *ret = m;
    return rc;
}

/* Zip archives begin so. */
static bool is_archive(const char *path)
{
    unsigned char magic[4] = { 0 };
    FILE *in = fopen(path, "rbe");
    bool zip = in != NULL && fread(magic, 1, 4, in) == 4 && memcmp(magic, "PK\3\4", 4) == 0;

    if (in != NULL)
        fclose(in);
    return zip;
}

int ky_model_load(const char *path, ky_model **ret, ky_err *err)
{
    ky_h5 *f = NULL;
    ky_err why = { 0 };
    int rc = ky_h5_open(path, &f, &why);

    if (rc == KY_EFORMAT && is_archive(path))
        return ky_fail(err, KY_EUNSUPPORTED,
                       "%s: a .keras archive, which this version of kymo does not read yet; save "
                       "the model as HDF5 (model.save(\"x.h5\"))",
                       path);
    if (rc < 0) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    rc = ky_keras_read(f, ret, err);
    ky_h5_close(f);
    return rc < 0 ? ky_context(err, rc, "model '%s'", path) : KY_OK;
}
