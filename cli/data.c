#include "cli/data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/data_place.h"

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
static int take_shape(ky_data_place *p, ky_data *d, ky_err *err)
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

static int read_values(ky_data_place *p, size_t memory, ky_data *d, ky_err *err)
{
    char len[64];
    bool lengths = ky_data_place_beside(p, "len", len) || ky_data_place_beside(p, "lengths", len);
    int rc = ky_data_rows_new(&p->f, p->x, lengths ? len : NULL, d->what, memory, &d->rows, err);

    if (rc < 0)
        return ky_context(err, rc, "'%s'", p->path);
    d->set.x = d->rows->x;
    d->set.source = d->rows->x == NULL ? &d->rows->source : NULL;
    return KY_OK;
}

static uint64_t hash_data(const ky_data *d)
{
    size_t n = (size_t)d->set.N;

    if (d->target != NULL)
        return ky_hash(d->rows->hash, d->target, n * (size_t)d->set.C * sizeof *d->target);
    return d->y != NULL ? ky_hash(d->rows->hash, d->y, n * sizeof *d->y) : d->rows->hash;
}

int ky_data_load_within(const char *spec, enum ky_part part, enum ky_beside beside, size_t memory,
                        ky_data *ret, ky_err *err)
{
    ky_data_place p = { .f = NULL };
    ky_data d = { .naming = KY_NAMES_NONE };
    int rc = ky_data_place_open(spec, part, &p, err);

    snprintf(d.what, sizeof d.what, "%.200s:%.50s", p.path, p.x + (p.x[0] == '/'));
    if (rc >= 0 && (rc = take_shape(&p, &d, err)) >= 0 &&
        (rc = ky_vocabulary_read(p.f, &d.vocabulary, err)) >= 0 &&
        (rc = ky_data_beside(&p, beside, &d, err)) >= 0)
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
    ky_data_place p = { .f = NULL };
    ky_h5_info i;
    int rc = ky_data_place_open(spec, KY_PART_TEST, &p, NULL);
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

int ky_data_carry(ky_data *d, ky_err *err)
{
    d->set.carried = true;
    if (d->group == NULL)
        d->set.group = d->group = calloc((size_t)d->set.N, sizeof *d->group);
    return d->group != NULL ? KY_OK : ky_fail(err, KY_ENOMEM, "no memory for groups");
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
