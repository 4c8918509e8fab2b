/*
 * Reading a model from any of the files that Keras writes. What a file is, its first bytes and
 * its content say, never its name:
 *
 *     HDF5, model_config        a whole model, arrays by the names of layers (Keras 1, 2, 3)
 *     HDF5, layer_names         arrays alone, in the same form
 *     HDF5, layers/ and vars/   arrays alone, by classes and counters (Keras 3)
 *     zip                       configuration, arrays by classes, and who wrote it (Keras 3)
 *
 * Arrays alone want a configuration from elsewhere: a JSON text or any whole model.
 */
#include "models/keras.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/blueprint.h"
#include "models/keras_arrays.h"

enum { MAX_JSON = 64 << 20, MAX_HELD = 256 << 20 };
#define MAX_WEIGHTS ((size_t)4 << 30) /* bytes of an archive's member */

/* A configuration and whose conventions it follows. */
struct config {
    char *text;
    size_t len;
    ky_keras_version version;
    bool dated; /* it says itself which version that is */
};

/* What a model is put together from. */
struct source {
    struct config config;
    ky_h5 *f;                 /* the arrays */
    const char *group;        /* "" or KY_KERAS_WEIGHTS; NULL: by class */
    ky_keras_version version; /* of the arrays */
    ky_json *meta;            /* metadata.json of an archive, NULL */
};

static void free_source(struct source *s)
{
    free(s->config.text);
    ky_h5_close(s->f);
    ky_json_free(s->meta);
}

/* -- what kymo keeps beside the model --------------------------------------------------- */

/* Names noted in an archive; [n] borrowed strings, free() the list. */
static int json_names(const ky_json *list, const char ***ret, size_t *ret_n, ky_err *err)
{
    size_t n = ky_json_len(list);
    const char **names = calloc(n + 1, sizeof(*names));

    if (names == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    for (size_t i = 0; i < n; i++) {
        names[i] = ky_json_str(ky_json_at(list, i), NULL);
        if (names[i] == NULL) {
            free(names);
            return ky_fail(err, KY_EFORMAT, "its list of names holds what is no name");
        }
    }
    *ret = names;
    *ret_n = n;
    return KY_OK;
}

/* A list of names from wherever this file keeps it; n = 0 where there is none. */
static int read_names(const struct source *s, const char *key, const char ***ret, size_t *ret_n,
                      ky_err *err)
{
    char **names = NULL;
    ky_err own = { 0 };

    *ret = NULL;
    *ret_n = 0;
    if (s->group == NULL)
        return json_names(ky_json_get(s->meta, key), ret, ret_n, err);
    int rc = ky_h5_attr_strs(s->f, "/", key, &names, ret_n, &own);
    *ret = (const char **)names;
    if (rc == KY_ENOENT)
        return KY_OK;
    if (rc < 0 && err != NULL)
        *err = own;
    return rc;
}

static int read_extra(const struct source *s, ky_model *m, ky_err *err)
{
    char *text = NULL;
    int rc;

    if (s->group == NULL) {
        const ky_json *extra = ky_json_get(s->meta, KY_KERAS_EXTRA);

        m->meta.extra = ky_json_is_object(extra) ? ky_json_copy(extra) : NULL;
        return KY_OK;
    }
    if (!ky_h5_has_attr(s->f, "/", KY_KERAS_EXTRA))
        return KY_OK;
    rc = ky_h5_attr_str(s->f, "/", KY_KERAS_EXTRA, &text, err);
    if (rc == KY_OK)
        rc = ky_json_parse(text, strlen(text), true, &m->meta.extra, err);
    free(text);
    return rc;
}

static int read_vocabulary(const struct source *s, ky_model *m, ky_err *err)
{
    const ky_json *note = s->group == NULL ? ky_json_get(s->meta, KY_VOCABULARY_ATTR) : NULL;
    ky_vocabulary *v = NULL;
    int rc = KY_OK;

    if (s->group != NULL)
        rc = ky_vocabulary_read(s->f, &v, err);
    else if (note != NULL)
        rc = ky_vocabulary_of_json(note, &v, err);
    if (rc == KY_OK && v != NULL)
        rc = ky_model_set_vocabulary(m, v, err);
    ky_vocabulary_free(v);
    return rc;
}

static int read_meta(const struct source *s, ky_model *m, ky_err *err)
{
    const char **labels = NULL, **features = NULL;
    size_t n_labels = 0, n_features = 0;
    int rc = read_names(s, KY_KERAS_LABELS, &labels, &n_labels, err);

    if (rc == KY_OK)
        rc = read_names(s, KY_KERAS_FEATURES, &features, &n_features, err);
    if (rc == KY_OK && n_labels > 0)
        rc = ky_model_set_labels(m, labels, (int)n_labels, err);
    if (rc == KY_OK && n_features > 0 && n_features != (size_t)m->info.features)
        rc = ky_fail(err, KY_ESHAPE, "names for %zu features, the model takes %d", n_features,
                     m->info.features);
    if (rc == KY_OK && n_features > 0)
        rc = ky_model_set_feature_names(m, features, err);
    if (rc == KY_OK)
        rc = read_extra(s, m, err);
    if (rc == KY_OK)
        rc = read_vocabulary(s, m, err);
    free(labels);
    free(features);
    return rc < 0 ? ky_context(err, rc, "what kymo noted in the file") : KY_OK;
}

/* -- putting it together ------------------------------------------------------------------ */

static int read_arrays(struct source *s, const ky_keras_tree *tree, ky_model *m, ky_err *err)
{
    ky_keras_leaves all = { .f = s->f, .version = s->version, .m = m };
    int rc = ky_keras_leaves_find(tree, &all, err);

    if (rc == KY_OK)
        rc = s->group != NULL ? ky_keras_places_by_name(&all, tree, s->group, err)
                              : ky_keras_places_by_class(&all, tree, err);
    if (rc == KY_OK)
        rc = ky_keras_arrays_check(&all, err);
    if (rc == KY_OK) /* only now is memory taken for the weights */
        rc = ky_model_finish(m, err);
    if (rc == KY_OK)
        rc = ky_keras_arrays_read(&all, m, err);
    ky_keras_leaves_free(&all);
    return rc;
}

static int put_together(struct source *s, ky_model **ret, ky_err *err)
{
    ky_model *m = NULL;
    ky_keras_tree *tree = NULL;
    int rc = ky_keras_config_tree(s->config.text, s->config.len, s->config.version, &m, &tree, err);

    if (rc == KY_OK)
        rc = read_arrays(s, tree, m, err);
    if (rc == KY_OK)
        rc = read_meta(s, m, err);
    if (rc == KY_OK)
        rc = ky_model_pack(m, err);
    ky_keras_tree_free(tree);
    if (rc < 0)
        ky_model_free(m);
    else
        *ret = m;
    return rc;
}

/* -- HDF5 files ------------------------------------------------------------------------------ */

/* Text of an attribute, NULL if it is not there; free(). */
static char *optional_text(ky_h5 *f, const char *path, const char *name)
{
    char *text = NULL;

    return ky_h5_attr_str(f, path, name, &text, NULL) == KY_OK ? text : NULL;
}

static ky_keras_version read_version(ky_h5 *f, const char *path)
{
    char *text = optional_text(f, path, KY_KERAS_VERSION);
    char *backend = optional_text(f, path, "backend");
    ky_keras_version v = ky_keras_version_read(text);

    v.theano = v.major < 3 && backend != NULL && strcmp(backend, "theano") == 0;
    free(text);
    free(backend);
    return v;
}

static int h5_config(ky_h5 *f, struct config *ret, ky_err *err)
{
    int rc = ky_h5_attr_str(f, "/", KY_KERAS_CONFIG, &ret->text, err);

    if (rc < 0)
        return rc;
    ret->len = strlen(ret->text);
    /* The group's version counts, not the root's (Keras reads it so). */
    ret->version = read_version(f, KY_KERAS_WEIGHTS);
    ret->dated = true;
    return KY_OK;
}

static bool is_by_class(ky_h5 *f)
{
    return ky_h5_is_group(f, "/layers") || ky_h5_is_group(f, "/vars") ||
           ky_h5_is_group(f, "/_layer_checkpoint_dependencies");
}

static bool is_by_name(ky_h5 *f, const char *path)
{
    return ky_h5_has_attr(f, path, "layer_names") || ky_h5_has_attr(f, path, "layer_names0");
}

/* Arrays and, if there is none yet, the configuration. */
static int from_h5(ky_h5 *f, struct source *s, ky_err *err)
{
    bool whole = ky_h5_has_attr(f, "/", KY_KERAS_CONFIG);

    if (!whole && !is_by_name(f, "/") && !is_by_class(f))
        return ky_fail(err, KY_EFORMAT, "an HDF5 file, but not a Keras model: it has no %s",
                       KY_KERAS_CONFIG);
    if (!whole && s->config.text == NULL)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "weights without the model they belong to; name its architecture "
                       "(--config, model.to_json() writes it) or save the whole model");
    if (whole || is_by_name(f, "/")) {
        s->group = whole ? KY_KERAS_WEIGHTS : "";
        s->version = read_version(f, whole ? KY_KERAS_WEIGHTS : "/");
    } else
        s->version = (ky_keras_version){ .major = 3 };
    if (s->config.text == NULL)
        return h5_config(f, &s->config, err);
    if (!s->config.dated)
        s->config.version = s->version;
    return KY_OK;
}

int ky_keras_read(ky_h5 *f, ky_model **ret, ky_err *err)
{
    struct source s = { .f = f };
    int rc = from_h5(f, &s, err);

    if (rc == KY_OK)
        rc = put_together(&s, ret, err);
    s.f = NULL; /* borrowed */
    free_source(&s);
    return rc;
}

/* -- archives ---------------------------------------------------------------------------------- */

#define METADATA "metadata.json"
#define CONFIG   "config.json"
#define WEIGHTS  "model.weights.h5"

/* The version an archive names, else the first that wrote such. */
static ky_keras_version archive_version(const ky_json *meta)
{
    const char *text = ky_json_str(ky_json_get(meta, KY_KERAS_VERSION), NULL);

    return text != NULL ? ky_keras_version_read(text) : (ky_keras_version){ .major = 3 };
}

static int archive_meta(ky_zip *z, ky_json **ret, ky_err *err)
{
    void *text = NULL;
    size_t len = 0;
    int rc;

    if (!ky_zip_has(z, METADATA)) /* Keras does without, too */
        return KY_OK;
    rc = ky_zip_read(z, METADATA, MAX_JSON, &text, &len, err);
    if (rc == KY_OK)
        rc = ky_json_parse(text, len, true, ret, err);
    free(text);
    return rc < 0 ? ky_context(err, rc, METADATA) : KY_OK;
}

static int archive_config(ky_zip *z, struct config *ret, ky_err *err)
{
    ky_json *meta = NULL;
    void *text = NULL;
    int rc = archive_meta(z, &meta, err);

    if (rc == KY_OK)
        rc = ky_zip_read(z, CONFIG, MAX_JSON, &text, &ret->len, err);
    if (rc == KY_OK) {
        ret->text = text;
        ret->version = archive_version(meta);
        ret->dated = true;
    }
    ky_json_free(meta);
    return rc;
}

/* Why an archive has no weights that we read. */
static int no_weights(const ky_zip *z, ky_err *err)
{
    if (ky_zip_has(z, "model.weights.npz"))
        return ky_fail(err, KY_EUNSUPPORTED,
                       "its weights are in NumPy's form, which kymo does not read; save the model "
                       "without weights_format=\"npz\"");
    if (ky_zip_has(z, "model.weights.json"))
        return ky_fail(err, KY_EUNSUPPORTED,
                       "its weights are in several files, which kymo does not read; save the model "
                       "without max_shard_size");
    return ky_fail(err, KY_EFORMAT, "a zip archive, but not a Keras model: it has no %s", WEIGHTS);
}

static int from_archive(ky_zip *z, struct source *s, ky_err *err)
{
    void *image = NULL;
    size_t len = 0;
    int rc = KY_OK;

    if (!ky_zip_has(z, WEIGHTS))
        return no_weights(z, err);
    if (s->config.text == NULL)
        rc = archive_config(z, &s->config, err);
    if (rc == KY_OK)
        rc = archive_meta(z, &s->meta, err);
    if (rc == KY_OK)
        rc = ky_zip_read(z, WEIGHTS, MAX_WEIGHTS, &image, &len, err);
    if (rc == KY_OK)
        rc = ky_h5_open_taken(image, len, &s->f, err);
    if (rc < 0)
        return rc;
    s->version = (ky_keras_version){ .major = 3 };
    if (!s->config.dated)
        s->config.version = archive_version(s->meta);
    return KY_OK;
}

int ky_keras_read_archive(ky_zip *z, ky_model **ret, ky_err *err)
{
    struct source s = { .f = NULL };
    int rc = from_archive(z, &s, err);

    if (rc == KY_OK)
        rc = put_together(&s, ret, err);
    free_source(&s);
    return rc;
}

/* -- files of any kind --------------------------------------------------------------------------
 */

/* The first bytes of a plain file; how many. */
static size_t read_begin(const char *path, char *to, size_t n)
{
    struct stat st;
    /* Not to wait for the other end of a pipe. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = 0;

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        got = read(fd, to, n);
    if (fd >= 0)
        close(fd);
    return got > 0 ? (size_t)got : 0;
}

static bool is_archive(const char *path)
{
    char begin[4];
    size_t n = read_begin(path, begin, sizeof(begin));

    return ky_zip_is(begin, n);
}

static bool is_json(const char *path)
{
    char begin[64];
    size_t n = read_begin(path, begin, sizeof(begin)), at = 0;

    if (n >= 3 && memcmp(begin, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        at = 3;
    while (at < n && strchr(" \t\r\n", begin[at]) != NULL)
        at++;
    return at < n && begin[at] == '{';
}

/* All of a text file. */
static int read_text(const char *path, char **ret, size_t *ret_len, ky_err *err)
{
    FILE *in = fopen(path, "rbe");
    struct stat st;

    if (in == NULL)
        return ky_fail(err, -errno, "%s: %s", path, strerror(errno));
    if (fstat(fileno(in), &st) != 0 || st.st_size > MAX_JSON) {
        fclose(in);
        return ky_fail(err, KY_EFULL, "%s: over %d bytes of configuration", path, MAX_JSON);
    }
    char *text = malloc((size_t)st.st_size + 1);
    size_t n = text == NULL ? 0 : fread(text, 1, (size_t)st.st_size, in);
    fclose(in);
    if (text == NULL)
        return ky_fail(err, KY_ENOMEM, "%s: no memory", path);
    text[n] = '\0';
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        memmove(text, text + 3, (n -= 3) + 1);
    *ret = text;
    *ret_len = n;
    return KY_OK;
}

/* What model.to_json() wrote, or config.json of an archive. */
static int json_config(const char *path, struct config *ret, ky_err *err)
{
    ky_json *root = NULL;
    int rc = read_text(path, &ret->text, &ret->len, err);

    if (rc == KY_OK)
        rc = ky_json_parse(ret->text, ret->len, true, &root, err);
    if (rc < 0)
        return rc;
    const char *version = ky_json_str(ky_json_get(root, KY_KERAS_VERSION), NULL);
    if (version != NULL || ky_json_get(root, "module") != NULL) {
        ret->version =
            version != NULL ? ky_keras_version_read(version) : (ky_keras_version){ .major = 3 };
        ret->dated = true;
    }
    ky_json_free(root);
    return KY_OK;
}

/* The configuration that a file of any kind holds. */
static int read_config(const char *path, struct config *ret, ky_err *err)
{
    ky_zip *z = NULL;
    ky_h5 *f = NULL;
    int rc;

    if (is_json(path))
        rc = json_config(path, ret, err);
    else if (is_archive(path)) {
        rc = ky_zip_open(path, &z, err);
        if (rc == KY_OK)
            rc = archive_config(z, ret, err);
        ky_zip_close(z);
    } else {
        rc = ky_h5_open(path, &f, err);
        if (rc == KY_OK)
            rc = h5_config(f, ret, err);
        ky_h5_close(f);
    }
    return rc < 0 ? ky_context(err, rc, "configuration '%s'", path) : KY_OK;
}

/* The source of arrays that a path names. */
static int open_source(const char *path, struct source *s, ky_err *err)
{
    ky_zip *z = NULL;
    int rc;

    if (is_archive(path)) {
        rc = ky_zip_open(path, &z, err);
        if (rc == KY_OK)
            rc = from_archive(z, s, err);
        ky_zip_close(z);
        return rc;
    }
    if (is_json(path))
        return ky_fail(err, KY_EUNSUPPORTED,
                       "a JSON text, which holds no weights; it may be what --config names");
    rc = ky_h5_open(path, &s->f, err);
    if (rc == KY_OK) /* thousands of small groups would be many more calls of the system */
        rc = ky_h5_hold(s->f, MAX_HELD, err);
    return rc < 0 ? rc : from_h5(s->f, s, err);
}

int ky_model_load_with(const char *path, const char *config_path, ky_model **ret, ky_err *err)
{
    struct source s = { .f = NULL };
    int rc = config_path != NULL ? read_config(config_path, &s.config, err) : KY_OK;

    if (rc == KY_OK) {
        rc = open_source(path, &s, err);
        if (rc == KY_OK)
            rc = put_together(&s, ret, err);
        if (rc < 0)
            rc = ky_context(err, rc, "model '%s'", path);
    }
    free_source(&s);
    return rc;
}

int ky_model_load(const char *path, ky_model **ret, ky_err *err)
{
    return ky_model_load_with(path, NULL, ret, err);
}
