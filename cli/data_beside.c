/* What stands beside the values of rows: labels and groups, whole numbers or names, as places in a
 * sorted list; times; names of classes and features. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/data_place.h"

/* More different labels than this are measurements, not classes. */
enum { MOST_CLASSES = 10000 };

/* ---- numbers and words ---- */

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
static int check_length(ky_data_place *p, const char *name, const ky_data *d, ky_h5_info *i,
                        ky_err *err)
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

static int read_numbers(ky_data_place *p, const char *name, const ky_h5_info *i, int64_t *ret,
                        double scale, ky_err *err)
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

/* One allocation of n strings, free(). */
static char **copy_strs(const char *const *s, size_t n)
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
    *ret_names = copy_strs((const char *const *)s, (size_t)n);
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

/* ---- labels and targets ---- */

/* Labels where class_names says what each number means. */
static int check_listed(ky_data_place *p, ky_data *d, const int64_t *v, ky_err *err)
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

static int number_labels(ky_data_place *p, ky_data *d, const ky_h5_info *i, ky_err *err)
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
static int word_labels(ky_data_place *p, ky_data *d, ky_err *err)
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
static int read_targets(ky_data_place *p, ky_data *d, ky_err *err)
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

static int read_labels(ky_data_place *p, ky_data *d, ky_err *err)
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

/* ---- groups and times ---- */

static int read_groups(ky_data_place *p, ky_data *d, ky_err *err)
{
    char name[64];
    int64_t *v = NULL, *sorted = NULL;
    char **words = NULL, **names = NULL;
    ky_h5_info i;
    size_t n_words;
    int rc, n;

    if (!ky_data_place_beside(p, "group", name))
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
static int read_ends(ky_data_place *p, enum ky_h5_type like, ky_data *d, ky_err *err)
{
    char name[64];
    int64_t *end;
    ky_h5_info i;
    int rc;

    if (!ky_data_place_beside(p, "ts_end", name))
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

static int read_times(ky_data_place *p, ky_data *d, ky_err *err)
{
    char name[64];
    ky_h5_info i;
    int rc;

    if (!ky_data_place_beside(p, "ts", name))
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
static int read_attr(ky_data_place *p, const char *const *names, char ***ret, size_t *ret_n,
                     ky_err *err)
{
    const char *const at[] = { "/", p->x };

    for (int o = 0; o < 2; o++)
        for (int i = 0; names[i] != NULL; i++)
            if (ky_h5_has_attr(p->f, at[o], names[i]))
                return ky_h5_attr_strs(p->f, at[o], names[i], ret, ret_n, err);
    *ret_n = 0;
    return KY_OK;
}

static int read_names(ky_data_place *p, ky_data *d, ky_err *err)
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

/* All but the values, which are read last: what is wrong beside them is told at once. */
int ky_data_beside(ky_data_place *p, enum ky_beside beside, ky_data *d, ky_err *err)
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
