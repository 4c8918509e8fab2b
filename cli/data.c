#include "cli/data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* More different labels than this are measurements, not classes. */
enum { MOST_CLASSES = 10000 };

/* Names of a set of rows; what stands beside it is called as in "/group_train". */
typedef struct spelling {
    const char *x, *y, *before, *behind;
    unsigned parts;
} spelling;

/* In order of preference. */
static const spelling spellings[] = {
    { "/X_train", "/y_train", "/", "_train", KY_PART_TRAIN },
    { "/X_test", "/y_test", "/", "_test", KY_PART_TEST | KY_PART_EVAL },
    { "/train/X", "/train/y", "/train/", "", KY_PART_TRAIN },
    { "/test/X", "/test/y", "/test/", "", KY_PART_TEST | KY_PART_EVAL },
    { "/X", "/y", "/", "", KY_PART_TRAIN | KY_PART_EVAL },
    { "/x", "/y", "/", "", KY_PART_TRAIN | KY_PART_EVAL },
    { NULL, NULL, NULL, NULL, 0 },
};

/* An open file and what in it is meant. */
typedef struct place {
    ky_h5 *f;
    char path[4096];
    char x[256]; /* dataset, absolute inside the file */
    spelling named;
    char y[256];
} place;

char **ky_data_strs(const char *const *s, size_t n)
{
    size_t bytes = n * sizeof(char *) + 1;
    char **ret, *text;

    for (size_t i = 0; i < n; i++)
        bytes += strlen(s[i]) + 1;
    ret = malloc(bytes);
    if (ret == NULL)
        return NULL;
    text = (char *)(ret + n);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(s[i]) + 1;

        ret[i] = memcpy(text, s[i], len);
        text += len;
    }
    return ret;
}

/* ---- where things are ---- */

/* "file:dataset" at the last colon, unless a file has the whole name. */
static int cut_spec(const char *spec, place *p, ky_err *err)
{
    const char *colon = access(spec, F_OK) == 0 ? NULL : strrchr(spec, ':');
    size_t len = colon != NULL ? (size_t)(colon - spec) : strlen(spec);

    p->x[0] = 0;
    if (len >= sizeof p->path || (colon != NULL && strlen(colon + 1) + 2 > sizeof p->x))
        return ky_fail(err, KY_EINVAL, "'%.60s...': the name is too long", spec);
    memcpy(p->path, spec, len);
    p->path[len] = 0;
    if (colon != NULL)
        snprintf(p->x, sizeof p->x, "%s%s", colon[1] == '/' ? "" : "/", colon + 1);
    return KY_OK;
}

/* Labels of a dataset of any name: the same with its last x replaced by y. */
static void name_labels(place *p)
{
    char *base = strrchr(p->x, '/') + 1;

    snprintf(p->y, sizeof p->y, "%s", p->x);
    if (*base == 'X' || *base == 'x')
        p->y[base - p->x] = 'y';
    else
        p->y[0] = 0;
}

static int find_dataset(place *p, enum ky_part part, ky_err *err)
{
    bool named = p->x[0] != 0;

    if (named && !ky_h5_exists(p->f, p->x))
        return ky_fail(err, KY_ENOENT, "'%s' has no dataset '%s'", p->path, p->x + 1);
    for (const spelling *s = spellings; s->x != NULL; s++)
        if (named ? strcmp(s->x, p->x) == 0 : (s->parts & part) != 0 && ky_h5_exists(p->f, s->x)) {
            p->named = *s;
            snprintf(p->x, sizeof p->x, "%s", s->x);
            snprintf(p->y, sizeof p->y, "%s", s->y);
            return KY_OK;
        }
    if (!named)
        return ky_fail(err, KY_ENOENT, "'%s' has no dataset %s", p->path,
                       part == KY_PART_TRAIN  ? "'X_train' or 'X' to train on"
                       : part == KY_PART_TEST ? "'X_test'"
                                              : "'X_test' or 'X'");
    name_labels(p);
    return KY_OK;
}

/* The dataset of this name that stands beside the values. */
static bool find_beside(const place *p, const char *what, char name[64])
{
    if (p->named.before == NULL)
        return false;
    snprintf(name, 64, "%s%s%s", p->named.before, what, p->named.behind);
    return ky_h5_exists(p->f, name);
}

static int open_place(const char *spec, enum ky_part part, place *p, ky_err *err)
{
    int rc = cut_spec(spec, p, err);

    if (rc < 0 || (rc = ky_h5_open(p->path, &p->f, err)) < 0)
        return rc;
    return find_dataset(p, part, err);
}

/* ---- values ---- */

ky_data_dims ky_data_shape(int rank, const uint64_t *dims)
{
    ky_data_dims t = { "[" };

    for (int i = 0; i < rank; i++) {
        size_t n = strlen(t.text);

        snprintf(t.text + n, sizeof t.text - n, "%s%llu", i > 0 ? "," : "",
                 (unsigned long long)dims[i]);
    }
    snprintf(t.text + strlen(t.text), sizeof t.text - strlen(t.text), "]");
    return t;
}

int ky_data_stat(ky_h5 *f, const char *path, ky_h5_info *ret, ky_err *err)
{
    int rc = ky_h5_stat(f, path, ret, err);

    if (rc < 0)
        return rc;
    if (ret->rank < 2 || ret->rank > 1 + KY_MAX_RANK)
        return ky_fail(err, KY_ESHAPE, "'%s' has %d dimensions, must have rows and 1 to %d more",
                       path + 1, ret->rank, KY_MAX_RANK);
    if (ret->type >= KY_H5_STR)
        return ky_fail(err, KY_ESHAPE, "'%s' holds no numbers", path + 1);
    for (int k = 0; k < ret->rank; k++)
        if (ret->dims[k] == 0 || ret->dims[k] > INT32_MAX)
            return ky_fail(err, KY_ESHAPE, "'%s' is %s: empty or too large", path + 1,
                           ky_data_shape(ret->rank, ret->dims).text);
    return KY_OK;
}

int ky_data_read(ky_h5 *f, const char *path, ky_h5_info *ret_info, float **ret, ky_err *err)
{
    ky_h5_info i;
    float *x;
    int rc = ky_data_stat(f, path, &i, err);

    if (rc < 0)
        return rc;
    x = i.count < SIZE_MAX / sizeof *x ? malloc(i.count * sizeof *x) : NULL;
    if (x == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for the %zu values of '%s'", i.count, path + 1);
    if ((rc = ky_h5_read(f, path, KY_H5_F32, x, i.count, err)) < 0) {
        free(x);
        return rc;
    }
    *ret_info = i;
    *ret = x;
    return KY_OK;
}

/* How many rows there are, and T and F as they stand. */
static int take_shape(place *p, ky_data *d, ky_err *err)
{
    ky_h5_info i;
    int rc = ky_data_stat(p->f, p->x, &i, err);

    if (rc < 0)
        return ky_context(err, rc, "'%s'", p->path);
    d->set.N = (int)i.dims[0];
    d->set.T = i.rank > 2 ? (int)i.dims[1] : 1;
    d->set.F = (int)(i.count / i.dims[0] / (size_t)d->set.T);
    return KY_OK;
}

static int read_values(place *p, size_t memory, ky_data *d, ky_err *err)
{
    char len[64];
    bool lengths = find_beside(p, "len", len) || find_beside(p, "lengths", len);
    int rc = ky_data_rows_new(&p->f, p->x, lengths ? len : NULL, d->what, memory, &d->rows, err);

    if (rc < 0)
        return ky_context(err, rc, "'%s'", p->path);
    d->set.x = d->rows->x;
    d->set.source = d->rows->x == NULL ? &d->rows->source : NULL;
    return KY_OK;
}

/* ---- labels and groups: whole numbers or names, as places in a sorted list ---- */

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The length of a one-dimensional dataset ([N] or [N,1]) must be that of the values. */
static int check_length(place *p, const char *name, const ky_data *d, ky_h5_info *i, ky_err *err)
{
    int rc = ky_h5_stat(p->f, name, i, err);

    if (rc < 0)
        return rc;
    if (i->rank < 1 || i->count != i->dims[0])
        return ky_fail(err, KY_ESHAPE,
                       "'%s': dataset '%s' has %d dimensions; one value a row is "
                       "wanted",
                       p->path, name + 1, i->rank);
    if (i->dims[0] != (uint64_t)d->set.N)
        return ky_fail(err, KY_ESHAPE, "'%s': '%s' has %llu rows, '%s' has %d", p->path, name + 1,
                       (unsigned long long)i->dims[0], p->x + 1, d->set.N);
    return KY_OK;
}

static int read_numbers(place *p, const char *name, const ky_h5_info *i, int64_t *ret, double scale,
                        ky_err *err)
{
    double *v;
    int rc;

    if (i->type != KY_H5_F32 && i->type != KY_H5_F64)
        return ky_h5_read(p->f, name, KY_H5_I64, ret, i->count, err);
    v = malloc(i->count * sizeof *v);
    if (v == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for '%s'", name + 1);
    rc = ky_h5_read(p->f, name, KY_H5_F64, v, i->count, err);
    for (size_t r = 0; rc == KY_OK && r < i->count; r++) {
        double at = v[r] * scale;

        if (!(fabs(at) < 9e15) || (scale == 1 && at != floor(at)))
            rc = ky_fail(err, KY_EINVAL, "'%s': '%s' row %zu is %g, not a whole number", p->path,
                         name + 1, r, v[r]);
        else
            ret[r] = (int64_t)at;
    }
    free(v);
    return rc;
}

/* Sorts a copy of the numbers and gives each its place among the different ones. */
static int place_numbers(const int64_t *v, int N, int32_t *place_of, int64_t **ret_sorted,
                         int *ret_n)
{
    int64_t *s = malloc((size_t)N * sizeof *s);
    int n = 0;

    if (s == NULL)
        return KY_ENOMEM;
    memcpy(s, v, (size_t)N * sizeof *s);
    qsort(s, (size_t)N, sizeof *s, compare_numbers);
    for (int i = 0; i < N; i++)
        if (n == 0 || s[i] != s[n - 1])
            s[n++] = s[i];
    for (int i = 0; i < N; i++)
        place_of[i] =
            (int32_t)((int64_t *)bsearch(v + i, s, (size_t)n, sizeof *s, compare_numbers) - s);
    *ret_sorted = s;
    *ret_n = n;
    return KY_OK;
}

static int place_words(char **v, int N, int32_t *place_of, char ***ret_names, int *ret_n)
{
    char **s = malloc((size_t)N * sizeof *s);
    int n = 0;

    if (s == NULL)
        return KY_ENOMEM;
    memcpy(s, v, (size_t)N * sizeof *s);
    qsort(s, (size_t)N, sizeof *s, compare_words);
    for (int i = 0; i < N; i++)
        if (n == 0 || strcmp(s[i], s[n - 1]) != 0)
            s[n++] = s[i];
    for (int i = 0; i < N; i++)
        place_of[i] =
            (int32_t)((char **)bsearch(v + i, s, (size_t)n, sizeof *s, compare_words) - s);
    *ret_names = ky_data_strs((const char *const *)s, (size_t)n);
    *ret_n = n;
    free(s);
    return *ret_names != NULL ? KY_OK : KY_ENOMEM;
}

/* Numbers as names: their digits. */
static char **number_names(const int64_t *v, int n)
{
    char **ret = malloc((size_t)n * (sizeof *ret + 24) + 1), *text;

    if (ret == NULL)
        return NULL;
    text = (char *)(ret + n);
    for (int i = 0; i < n; i++) {
        ret[i] = text;
        text += sprintf(text, "%lld", (long long)v[i]) + 1;
    }
    return ret;
}

/* Labels where class_names says what each number means. */
static int check_listed(place *p, ky_data *d, const int64_t *v, ky_err *err)
{
    for (int r = 0; r < d->set.N; r++) {
        if (v[r] < 0 || v[r] >= d->n_classes)
            return ky_fail(err, KY_EINVAL,
                           "'%s': '%s' row %d is class %lld, but class_names has "
                           "0..%d",
                           p->path, p->y + 1, r, (long long)v[r], d->n_classes - 1);
        d->y[r] = (int32_t)v[r];
    }
    d->naming = KY_NAMES_LISTED;
    return KY_OK;
}

static int number_labels(place *p, ky_data *d, const ky_h5_info *i, ky_err *err)
{
    int64_t *v = malloc((size_t)d->set.N * sizeof *v), *sorted = NULL;
    int rc = v != NULL ? read_numbers(p, p->y, i, v, 1, err)
                       : ky_fail(err, KY_ENOMEM, "no memory for labels");

    if (rc == KY_OK && d->classes != NULL) {
        rc = check_listed(p, d, v, err);
    } else if (rc == KY_OK) {
        rc = place_numbers(v, d->set.N, d->y, &sorted, &d->n_classes);
        if (rc == KY_OK && d->n_classes <= MOST_CLASSES)
            d->classes = number_names(sorted, d->n_classes);
        d->naming = KY_NAMES_NUMBER;
    }
    free(sorted);
    free(v);
    return rc;
}

/* Words; where class_names lists them too, in its order. */
static int word_labels(place *p, ky_data *d, ky_err *err)
{
    char **v = NULL, **names = NULL;
    size_t n = 0;
    int n_names = 0, rc = ky_h5_read_strs(p->f, p->y, &v, &n, err);

    if (rc < 0)
        return rc;
    if (n != (size_t)d->set.N)
        rc = ky_fail(err, KY_ESHAPE, "'%s': '%s' has %zu names for %d rows", p->path, p->y + 1, n,
                     d->set.N);
    else
        rc = place_words(v, d->set.N, d->y, &names, &n_names);
    free(v);
    if (rc == KY_OK) {
        free(d->classes);
        d->classes = names;
        d->n_classes = n_names;
        d->naming = KY_NAMES_WORD;
    }
    return rc;
}

/* Numbers to answer, [N] or [N,k]. */
static int read_targets(place *p, ky_data *d, ky_err *err)
{
    ky_h5_info i;
    int rc;

    if (p->y[0] == 0 || !ky_h5_exists(p->f, p->y))
        return ky_fail(err, KY_ENOENT, "%s has no targets beside it", d->what);
    if ((rc = ky_h5_stat(p->f, p->y, &i, err)) < 0)
        return rc;
    if (i.rank < 1 || i.rank > 2 || i.type >= KY_H5_STR)
        return ky_fail(err, KY_ESHAPE, "'%s': '%s' must hold numbers, one or a list of them a row",
                       p->path, p->y + 1);
    if (i.dims[0] != (uint64_t)d->set.N)
        return ky_fail(err, KY_ESHAPE, "'%s': '%s' has %llu rows, '%s' has %d", p->path, p->y + 1,
                       (unsigned long long)i.dims[0], p->x + 1, d->set.N);
    d->set.C = i.rank == 1 ? 1 : i.dims[1] <= MOST_CLASSES ? (int)i.dims[1] : 0;
    if (d->set.C < 1)
        return ky_fail(err, KY_ESHAPE, "'%s': '%s' has %llu targets a row, must be 1 to %d",
                       p->path, p->y + 1, (unsigned long long)i.dims[1], MOST_CLASSES);
    d->target = malloc(i.count * sizeof *d->target);
    if (d->target == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for the %zu targets of '%s'", i.count, p->y + 1);
    if ((rc = ky_h5_read(p->f, p->y, KY_H5_F32, d->target, i.count, err)) < 0)
        return rc;
    for (size_t at = 0; at < i.count; at++)
        if (!isfinite(d->target[at]))
            return ky_fail(err, KY_EINVAL, "'%s': '%s' row %zu, target %zu is %g", p->path,
                           p->y + 1, at / (size_t)d->set.C, at % (size_t)d->set.C,
                           (double)d->target[at]);
    d->set.target = d->target;
    return KY_OK;
}

static int read_labels(place *p, ky_data *d, ky_err *err)
{
    ky_h5_info i;
    int rc;

    if (p->y[0] == 0 || !ky_h5_exists(p->f, p->y))
        return KY_OK;
    if ((rc = check_length(p, p->y, d, &i, err)) < 0)
        return rc;
    d->y = malloc((size_t)d->set.N * sizeof *d->y);
    if (d->y == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for labels");
    rc = i.type == KY_H5_STR ? word_labels(p, d, err) : number_labels(p, d, &i, err);
    if (rc < 0)
        return rc;
    if (d->n_classes > MOST_CLASSES)
        return ky_fail(err, KY_EINVAL, "'%s': '%s' has %d different values: these are no classes",
                       p->path, p->y + 1, d->n_classes);
    if (d->classes == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for the names of classes");
    d->set.y = d->y;
    d->set.C = d->n_classes;
    return KY_OK;
}

static int read_groups(place *p, ky_data *d, ky_err *err)
{
    char name[64];
    int64_t *v = NULL, *sorted = NULL;
    char **words = NULL, **names = NULL;
    ky_h5_info i;
    size_t n_words;
    int rc, n;

    if (!find_beside(p, "group", name))
        return KY_OK;
    if ((rc = check_length(p, name, d, &i, err)) < 0)
        return rc;
    d->group = malloc((size_t)d->set.N * sizeof *d->group);
    v = malloc((size_t)d->set.N * sizeof *v);
    if (d->group == NULL || v == NULL) {
        rc = ky_fail(err, KY_ENOMEM, "no memory for groups");
    } else if (i.type == KY_H5_STR) {
        rc = ky_h5_read_strs(p->f, name, &words, &n_words, err);
        if (rc == KY_OK)
            rc = place_words(words, d->set.N, (int32_t *)d->group, &names, &n);
    } else if ((rc = read_numbers(p, name, &i, v, 1, err)) == KY_OK) {
        rc = place_numbers(v, d->set.N, (int32_t *)d->group, &sorted, &n);
    }
    d->set.group = d->group;
    free(names);
    free(words);
    free(sorted);
    free(v);
    return rc;
}

/* Rows last until ts_end, and so reach into others. */
static int read_ends(place *p, enum ky_h5_type like, ky_data *d, ky_err *err)
{
    char name[64];
    int64_t *end;
    ky_h5_info i;
    int rc;

    if (!find_beside(p, "ts_end", name))
        return KY_OK;
    if ((rc = check_length(p, name, d, &i, err)) < 0)
        return rc;
    if ((i.type <= KY_H5_F64) != (like <= KY_H5_F64))
        return ky_fail(err, KY_EINVAL,
                       "'%s': of '%s' and the beginnings, one holds fractions and the other whole "
                       "numbers",
                       p->path, name + 1);
    if ((end = malloc((size_t)d->set.N * sizeof *end)) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for times");
    rc = read_numbers(p, name, &i, end, 1e6, err);
    for (int r = 0; rc >= 0 && r < d->set.N; r++) {
        if (end[r] < d->ts[r])
            rc = ky_fail(err, KY_EINVAL, "'%s': '%s' row %d ends before it begins", p->path,
                         name + 1, r);
        else if (end[r] - d->ts[r] > d->set.span)
            d->set.span = end[r] - d->ts[r];
    }
    free(end);
    return rc;
}

static int read_times(place *p, ky_data *d, ky_err *err)
{
    char name[64];
    ky_h5_info i;
    int rc;

    if (!find_beside(p, "ts", name))
        return KY_OK;
    if ((rc = check_length(p, name, d, &i, err)) < 0)
        return rc;
    d->ts = malloc((size_t)d->set.N * sizeof *d->ts);
    if (d->ts == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for times");
    d->set.ts = d->ts;
    /* Whole numbers are taken as they are, fractions as seconds: only their order matters, and how
     * far apart they are in ts_end. */
    rc = read_numbers(p, name, &i, d->ts, 1e6, err);
    return rc < 0 ? rc : read_ends(p, i.type, d, err);
}

/* ---- names ---- */

/* A list of names on the file or the dataset, under any of these attributes. */
static int read_attr(place *p, const char *const *names, char ***ret, size_t *ret_n, ky_err *err)
{
    const char *const at[] = { "/", p->x };

    for (int o = 0; o < 2; o++)
        for (int i = 0; names[i] != NULL; i++)
            if (ky_h5_has_attr(p->f, at[o], names[i]))
                return ky_h5_attr_strs(p->f, at[o], names[i], ret, ret_n, err);
    *ret_n = 0;
    return KY_OK;
}

static int read_names(place *p, ky_data *d, ky_err *err)
{
    static const char *const classes[] = { "class_names", "classes", NULL };
    static const char *const features[] = { "features", "feature_names", "columns", "channels",
                                            NULL };
    size_t n = 0;
    int rc = read_attr(p, classes, &d->classes, &n, err);

    if (rc < 0)
        return rc;
    if (n > MOST_CLASSES)
        return ky_fail(err, KY_EINVAL, "'%s': %zu class_names are too many", p->path, n);
    d->n_classes = (int)n;
    if (n == 0) {
        free(d->classes);
        d->classes = NULL;
    }
    rc = read_attr(p, features, &d->features, &n, err);
    if (rc == KY_OK && n != (size_t)d->set.F) {
        free(d->features);
        d->features = NULL;
    }
    return rc;
}

static uint64_t hash_data(const ky_data *d)
{
    size_t n = (size_t)d->set.N;

    if (d->target != NULL)
        return ky_hash(d->rows->hash, d->target, n * (size_t)d->set.C * sizeof *d->target);
    return d->y != NULL ? ky_hash(d->rows->hash, d->y, n * sizeof *d->y) : d->rows->hash;
}

/* All but the values, which are read last: what is wrong beside them is told at once. */
static int read_beside(place *p, enum ky_beside beside, ky_data *d, ky_err *err)
{
    int rc;

    if (beside == KY_BESIDE_NOTHING)
        return KY_OK;
    if ((rc = read_names(p, d, err)) < 0 ||
        (rc = beside == KY_BESIDE_TARGETS ? read_targets(p, d, err) : read_labels(p, d, err)) < 0 ||
        (rc = read_groups(p, d, err)) < 0)
        return rc;
    return read_times(p, d, err);
}

int ky_data_load_within(const char *spec, enum ky_part part, enum ky_beside beside, size_t memory,
                        ky_data *ret, ky_err *err)
{
    place p = { .f = NULL };
    ky_data d = { .naming = KY_NAMES_NONE };
    int rc = open_place(spec, part, &p, err);

    snprintf(d.what, sizeof d.what, "%.200s:%.50s", p.path, p.x + (p.x[0] == '/'));
    if (rc >= 0 && (rc = take_shape(&p, &d, err)) >= 0 &&
        (rc = ky_vocabulary_read(p.f, &d.vocabulary, err)) >= 0 &&
        (rc = read_beside(&p, beside, &d, err)) >= 0)
        rc = read_values(&p, memory, &d, err);
    ky_h5_close(p.f);
    if (rc < 0) {
        ky_data_free(&d);
        return rc;
    }
    d.hash = hash_data(&d);
    *ret = d;
    return KY_OK;
}

int ky_data_load(const char *spec, enum ky_part part, ky_data *ret, ky_err *err)
{
    return ky_data_load_within(spec, part, KY_BESIDE_CLASSES, KY_DATA_MEMORY, ret, err);
}

int ky_data_load_targets(const char *spec, enum ky_part part, ky_data *ret, ky_err *err)
{
    return ky_data_load_within(spec, part, KY_BESIDE_TARGETS, KY_DATA_MEMORY, ret, err);
}

int ky_data_load_x(const char *spec, enum ky_part part, ky_data *ret, ky_err *err)
{
    return ky_data_load_within(spec, part, KY_BESIDE_NOTHING, KY_DATA_MEMORY, ret, err);
}

void ky_data_free(ky_data *d)
{
    ky_data_rows_free(d->rows);
    free(d->y);
    free(d->target);
    free(d->group);
    free(d->ts);
    free(d->classes);
    free(d->features);
    ky_vocabulary_free(d->vocabulary);
    memset(d, 0, sizeof *d);
}

int ky_data_check_test(const char *spec, const ky_data *d, ky_err *err)
{
    place p = { .f = NULL };
    ky_h5_info i;
    int rc = open_place(spec, KY_PART_TEST, &p, NULL);
    bool same = true;

    if (rc >= 0 && (rc = ky_data_stat(p.f, p.x, &i, err)) >= 0) {
        same = i.rank == d->rows->rank;
        for (int k = 1; k < i.rank; k++)
            same = same && i.dims[k] == d->rows->dims[k];
        if (!same)
            rc = ky_fail(err, KY_ESHAPE, "'%s': rows of '%s' are %s, those to learn from %s",
                         p.path, p.x + 1, ky_data_shape(i.rank - 1, i.dims + 1).text,
                         ky_data_shape(d->rows->rank - 1, d->rows->dims + 1).text);
    }
    ky_h5_close(p.f);
    return rc == KY_ENOENT ? KY_OK : rc;
}

/* ---- against a model ---- */

/* T and F as the model has them. */
static int cut_rows(ky_data *d, const ky_model *m, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);
    size_t row = d->rows->row, F = (size_t)f->features;
    int dims[KY_MAX_RANK], rank, T = f->window > 0 ? f->window : (int)(row / F);
    uint64_t wanted[KY_MAX_RANK];
    const char *name;

    if (d->rows->rank > 2 && d->set.F == f->features)
        return KY_OK; /* whether it takes so many steps is said elsewhere */
    /* The steps are counted where the file says them, or every value would do. */
    if (f->window == 0 && d->rows->rank > 2)
        T = d->set.T;
    if (T >= 1 && row == (size_t)T * F) {
        d->set.T = T;
        d->set.F = f->features;
        return KY_OK;
    }
    rank = ky_model_input(m, 0, T > 0 ? T : 1, dims, &name);
    for (int i = 0; i < rank; i++)
        wanted[i] = (uint64_t)dims[i];
    return ky_fail(err, KY_ESHAPE, "model '%s' takes rows of %s, those of %s are %s", f->name,
                   ky_data_shape(rank, wanted).text, d->what,
                   ky_data_shape(d->rows->rank - 1, d->rows->dims + 1).text);
}

int ky_data_fit(ky_data *d, const ky_model *m, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);
    int rc;

    if (d->vocabulary != NULL && f->vocabulary != NULL &&
        !ky_vocabulary_same(d->vocabulary, f->vocabulary))
        return ky_fail(err, KY_EINVAL,
                       "%s has other numbers for words than model '%s': `kymo import --vocabulary "
                       "MODEL` makes data with the model's",
                       d->what, f->name);
    rc = cut_rows(d, m, err);
    return rc < 0 ? rc : ky_data_rows_mask(d->rows, m, err);
}

static int check_tokens(const ky_data *d, const ky_model_info *f, int row, const float *x,
                        ky_err *err)
{
    for (size_t at = 0; at < d->rows->row; at++)
        if (!(x[at] >= 0 && x[at] < (float)f->tokens) || x[at] != floorf(x[at]))
            return ky_fail(err, KY_EINVAL,
                           "%s row %d, step %zu is %g: model '%s' takes tokens 0..%d", d->what, row,
                           at, (double)x[at], f->name, f->tokens - 1);
    return KY_OK;
}

int ky_data_check_tokens(const ky_data *d, const ky_model *m, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);
    ky_walk w;
    int n, rc;

    if (f->tokens == 0)
        return KY_OK;
    rc = n = ky_walk_begin(&w, &d->set, err);
    while (rc >= 0 && (rc = n = ky_walk_next(&w, err)) > 0)
        for (int i = 0; i < n && rc >= 0; i++)
            rc = check_tokens(d, f, (int)ky_dataset_place(&d->set, w.first + i), w.x[i], err);
    ky_walk_done(&w);
    return rc;
}

/* The model's class for one of the file's; -1 if it has none. */
static int class_in(const ky_data *d, int c, const ky_model_info *f, int C)
{
    int number = c;

    for (int i = 0; i < f->n_labels; i++)
        if (strcmp(f->labels[i], d->classes[c]) == 0)
            return i;
    if (d->naming == KY_NAMES_WORD || (f->n_labels > 0 && d->naming == KY_NAMES_LISTED))
        return -1;
    if (d->naming == KY_NAMES_NUMBER)
        number = atoi(d->classes[c]);
    return number >= 0 && number < C ? number : -1;
}

int ky_data_match(ky_data *d, const ky_model *m, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);
    int C = f->outputs == 1 ? 2 : f->outputs;

    for (int r = 0; r < d->set.N; r++) {
        int c = class_in(d, d->y[r], f, C);

        if (c < 0)
            return ky_fail(err, KY_EINVAL,
                           "%s row %d is of class '%s', which model '%s' does not "
                           "know (%d classes%s%s%s)",
                           d->what, r, d->classes[d->y[r]], f->name, C,
                           f->n_labels > 0 ? ": '" : ", no names",
                           f->n_labels > 0 ? f->labels[0] : "", f->n_labels > 0 ? "' ..." : "");
        d->y[r] = c;
    }
    d->set.C = C;
    return KY_OK;
}

int ky_data_spare(const char *spec, const char *out, ky_err *err)
{
    struct stat read, written;
    place p;
    int rc = cut_spec(spec, &p, err);

    if (rc < 0 || stat(p.path, &read) != 0 || stat(out, &written) != 0)
        return rc;
    if (read.st_dev == written.st_dev && read.st_ino == written.st_ino)
        return ky_fail(err, KY_EINVAL, "'%s' is the file that is read; give -o another name", out);
    return KY_OK;
}
