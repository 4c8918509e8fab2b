/*
 * Windows [N,T,F] of an HDF5 file, or videos [N,T,height,width,channels], each played as a
 * sequence from its start to its end, or with --joined all of a stream as one; with --whole each
 * row is one sample, as an image is.
 */
#include "cli/feed.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/csv.h"
#include "models/h5.h"

enum { WINDOW_VALUES_MAX = 64 << 20 };

typedef struct windows {
    ky_reader reader;
    const ky_feed_opts *opts;
    ky_h5 *file;
    char path[4096], x_path[256], y_path[256];
    int64_t n, T;
    int64_t round, t, s; /* which windows are loaded; the step and stream to give next */
    int64_t loaded;      /* windows of this round */
    float *x;            /* [streams, T, F] */
    char **labels;       /* class names, or the labels of all windows if they are text */
    size_t n_labels;
    int32_t *y; /* [N], NULL: no labels or text */
    bool text_labels;
    char stream[KY_STREAM_MAX + 1], number[16];
    char **channel_words;
} windows;

/* -- finding what is where --------------------------------------------------------- */

/* SOURCE is FILE or FILE:dataset. */
static int find_x(windows *w, ky_err *err)
{
    static const char *const usual[] = { "/X", "/x", "/X_test" };
    const char *colon = strrchr(w->opts->source, ':');
    size_t n = colon != NULL ? (size_t)(colon - w->opts->source) : strlen(w->opts->source);
    int rc;

    snprintf(w->path, sizeof(w->path), "%.*s", (int)n, w->opts->source);
    if ((rc = ky_h5_open(w->path, &w->file, err)) != KY_OK)
        return rc;
    if (colon != NULL)
        snprintf(w->x_path, sizeof(w->x_path), "%s%.200s", colon[1] == '/' ? "" : "/", colon + 1);
    for (size_t i = 0; colon == NULL && i < sizeof(usual) / sizeof(*usual); i++)
        if (ky_h5_exists(w->file, usual[i])) {
            snprintf(w->x_path, sizeof(w->x_path), "%s", usual[i]);
            break;
        }
    if (w->x_path[0] == '\0')
        return ky_fail(err, KY_ENOENT, "%s has no dataset X: say FILE.h5:dataset", w->path);
    if (!ky_h5_exists(w->file, w->x_path))
        return ky_fail(err, KY_ENOENT, "%s has no dataset %s", w->path, w->x_path);
    return KY_OK;
}

/* y stands beside X: /X -> /y, /X_test -> /y_test. */
static void find_y(windows *w)
{
    char *slash, *name;

    snprintf(w->y_path, sizeof(w->y_path), "%s", w->x_path);
    slash = strrchr(w->y_path, '/');
    name = slash + 1;
    if (*name != 'X' && *name != 'x')
        w->y_path[0] = '\0';
    else
        *name = 'y';
    if (w->y_path[0] != '\0' && !ky_h5_exists(w->file, w->y_path))
        w->y_path[0] = '\0';
}

static int read_shape(windows *w, ky_err *err)
{
    ky_h5_info info;
    int rc = ky_h5_stat(w->file, w->x_path, &info, err);

    if (rc != KY_OK)
        return rc;
    if (info.type == KY_H5_STR || info.type == KY_H5_OTHER || info.rank < 2)
        return ky_fail(err, KY_ESHAPE,
                       "%s:%s must be numbers [N,T,F], [N,T] or [N,T,height,width,channels], it "
                       "has rank %d",
                       w->path, w->x_path, info.rank);
    uint64_t T = w->opts->whole ? 1 : info.dims[1], F = 1;
    for (int i = w->opts->whole ? 1 : 2; i < info.rank && F <= WINDOW_VALUES_MAX; i++)
        F *= info.dims[i] <= WINDOW_VALUES_MAX ? info.dims[i] : (uint64_t)WINDOW_VALUES_MAX + 1;
    if (info.dims[0] == 0 || T == 0 || F == 0 || T > WINDOW_VALUES_MAX || F > WINDOW_VALUES_MAX / T)
        return ky_fail(err, KY_ESHAPE, "%s:%s: windows of %" PRIu64 " steps of %" PRIu64 " values",
                       w->path, w->x_path, T, F);
    w->n = (int64_t)info.dims[0];
    w->T = (int64_t)T;
    w->reader.features = (int)F;
    w->reader.streams = (int)(w->opts->streams < w->n ? w->opts->streams : w->n);
    w->reader.total = (double)w->n * (double)w->T;
    size_t values;
    if (ky_size_mul((size_t)w->reader.streams, (size_t)w->T * F * sizeof(float), &values) !=
            KY_OK ||
        (w->x = malloc(values)) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for %d windows of %" PRId64 " steps",
                       w->reader.streams, w->T);
    return KY_OK;
}

static int read_labels(windows *w, ky_err *err)
{
    ky_h5_info info;
    int rc;

    if (w->y_path[0] == '\0')
        return KY_OK;
    if ((rc = ky_h5_stat(w->file, w->y_path, &info, err)) != KY_OK)
        return rc;
    if (info.count != (size_t)w->n)
        return ky_fail(err, KY_ESHAPE, "%s: %s has %zu labels, %s has %" PRId64 " windows", w->path,
                       w->y_path, info.count, w->x_path, w->n);
    if (info.type == KY_H5_STR) {
        w->text_labels = true;
        return ky_h5_read_strs(w->file, w->y_path, &w->labels, &w->n_labels, err);
    }
    if ((w->y = malloc((size_t)w->n * sizeof(*w->y))) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for %" PRId64 " labels", w->n);
    if ((rc = ky_h5_read(w->file, w->y_path, KY_H5_I32, w->y, (size_t)w->n, err)) != KY_OK)
        return rc;
    const char *at = ky_h5_has_attr(w->file, w->x_path, "class_names") ? w->x_path : "/";
    if (!ky_h5_has_attr(w->file, at, "class_names"))
        return KY_OK;
    return ky_h5_attr_strs(w->file, at, "class_names", &w->labels, &w->n_labels, err);
}

/* feature_names (a list) or channel_names (a list or words by comma); else x0, x1 ... */
static int read_names(windows *w, ky_err *err)
{
    static const char *const attrs[] = { "feature_names", "features", "channel_names" };
    char *words = NULL, **names = NULL;
    size_t n = 0;
    int words_n = 0, F = w->reader.features;

    for (size_t i = 0; i < sizeof(attrs) / sizeof(*attrs) && (int)n != F; i++) {
        free(names);
        names = NULL;
        n = 0;
        if (!ky_h5_has_attr(w->file, "/", attrs[i]))
            continue;
        if (ky_h5_attr_strs(w->file, "/", attrs[i], &names, &n, NULL) == KY_OK && (int)n == F)
            break;
        if (ky_h5_attr_str(w->file, "/", attrs[i], &words, NULL) != KY_OK)
            continue;
        free(names);
        names = ky_csv_words(words, &words_n);
        free(words);
        words = NULL;
        n = names != NULL ? (size_t)words_n : 0;
    }
    if ((int)n != F) {
        free(names);
        names = malloc((size_t)F * (sizeof(char *) + 16));
        if (names == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory for %d names", F);
        for (int i = 0; i < F; i++) {
            names[i] = (char *)(names + F) + 16 * i;
            snprintf(names[i], 16, "x%d", i);
        }
    }
    w->reader.names = w->channel_words = names;
    return KY_OK;
}

/* -- giving rows --------------------------------------------------------------------- */

/* A round is one window of every stream: window i of the file is played by stream i % streams. */
static int load_round(windows *w, ky_err *err)
{
    int64_t first = w->round * w->reader.streams;

    w->loaded = w->n - first < w->reader.streams ? w->n - first : w->reader.streams;
    w->t = w->s = 0;
    if (w->loaded <= 0)
        return 0;
    int rc = ky_h5_read_rows(w->file, w->x_path, KY_H5_F32, (uint64_t)first, (uint64_t)w->loaded,
                             w->x, err);
    return rc == KY_OK ? 1 : rc;
}

static const char *label_of(windows *w, int64_t window)
{
    if (w->opts->label != NULL)
        return w->opts->label;
    if (w->text_labels)
        return w->labels[window];
    if (w->y == NULL)
        return NULL;
    int32_t y = w->y[window];
    if (y >= 0 && (size_t)y < w->n_labels)
        return w->labels[y];
    snprintf(w->number, sizeof(w->number), "%" PRId32, y);
    return w->number;
}

static void name_stream(windows *w)
{
    if (w->opts->stream != NULL && w->reader.streams == 1)
        snprintf(w->stream, sizeof(w->stream), "%s", w->opts->stream);
    else
        snprintf(w->stream, sizeof(w->stream), "%.200s%" PRId64,
                 w->opts->stream != NULL ? w->opts->stream : "s", w->s);
}

static int windows_next(ky_reader *r, ky_row *ret, ky_err *err)
{
    windows *w = (windows *)r;
    int rc;

    if (w->loaded == 0 || w->t == w->T) {
        w->round += w->loaded > 0;
        if ((rc = load_round(w, err)) <= 0)
            return rc;
    }
    name_stream(w);
    bool first = w->t == 0, last = w->t == w->T - 1, all = strcmp(w->opts->label_on, "all") == 0;
    bool begins = first && (w->round == 0 || !w->opts->joined);
    bool ends = last && (!w->opts->joined || (w->round + 1) * r->streams + w->s >= w->n);
    *ret = (ky_row){ .stream = w->stream,
                     .seq = KY_NONE,
                     .ts_us = KY_NONE,
                     .x = w->x + (w->s * w->T + w->t) * r->features,
                     .flags = (begins ? KY_START : 0) | (ends ? KY_END : 0) };
    if (last || all)
        ret->label = label_of(w, w->round * r->streams + w->s);
    if (++w->s == w->loaded) {
        w->s = 0;
        w->t++;
    }
    return 1;
}

static void windows_free(ky_reader *r)
{
    windows *w = (windows *)r;

    ky_h5_close(w->file);
    free(w->x);
    free(w->y);
    free(w->labels);
    free(w->channel_words);
    free(w);
}

int ky_feed_h5(const ky_feed_opts *o, ky_reader **ret, ky_err *err)
{
    windows *w = calloc(1, sizeof(*w));
    int rc;

    if (w == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a reader");
    w->reader = (ky_reader){ .next = windows_next, .free = windows_free };
    w->opts = o;
    if ((rc = find_x(w, err)) == KY_OK && (rc = read_shape(w, err)) == KY_OK) {
        find_y(w);
        if ((rc = read_labels(w, err)) == KY_OK)
            rc = read_names(w, err);
    }
    if (rc != KY_OK) {
        windows_free(&w->reader);
        return rc;
    }
    if (ky_h5_has_attr(w->file, "/", "sample_rate_hz") &&
        ky_h5_attr_num(w->file, "/", "sample_rate_hz", &w->reader.rate_hz, NULL) != KY_OK)
        w->reader.rate_hz = 0;
    *ret = &w->reader;
    return KY_OK;
}
