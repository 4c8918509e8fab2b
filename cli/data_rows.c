#include "cli/data_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/data.h"

/* ---- shape ---- */

static int take_shape(ky_data_rows *r, bool lengths, ky_err *err)
{
    const char *x = r->name;
    ky_h5_info i;
    int rc = ky_data_stat(r->f, x, &i, err);

    if (rc < 0)
        return rc;
    r->rank = i.rank;
    r->row = 1;
    for (int k = 0; k < i.rank; k++) {
        r->dims[k] = i.dims[k];
        if (k > 0 && (ky_size_mul(r->row, (size_t)i.dims[k], &r->row) < 0 || r->row > INT32_MAX))
            return ky_fail(err, KY_ESHAPE, "'%s' is %s: too many values a row", x + 1,
                           ky_data_shape(i.rank, i.dims).text);
    }
    r->N = (int)i.dims[0];
    r->source.rows = (uint32_t)r->N;
    r->source.block = i.chunk > 0 && i.chunk < i.dims[0] ? (uint32_t)i.chunk : 1;
    r->steps = i.rank > 2 || lengths ? (int)i.dims[1] : 1;
    return KY_OK;
}

/* ---- lengths ---- */

static int read_lengths(ky_data_rows *r, const char *name, ky_err *err)
{
    ky_h5_info i;
    int rc = ky_h5_stat(r->f, name, &i, err);

    if (rc < 0)
        return rc;
    if (i.rank < 1 || i.count != (uint64_t)r->N)
        return ky_fail(err, KY_ESHAPE, "'%s' is %s, but there are %d rows", name + 1,
                       ky_data_shape(i.rank, i.dims).text, r->N);
    if ((rc = ky_h5_read(r->f, name, KY_H5_I32, r->len, i.count, err)) < 0)
        return rc;
    for (int k = 0; k < r->N; k++)
        if (r->len[k] < 1 || r->len[k] > r->steps)
            return ky_fail(err, KY_EINVAL, "'%s' row %d is %d: the rows have 1 to %d steps",
                           name + 1, k, r->len[k], r->steps);
    return KY_OK;
}

/* Steps up to the last that has a number. */
static int steps_of(const ky_data_rows *r, const float *x)
{
    size_t width = r->row / (size_t)r->steps;
    size_t n = r->row;

    while (n > 0 && isnan(x[n - 1]))
        n--;
    return (int)((n + width - 1) / width);
}

/* All values of a row that counts up to its length; the first that is no number is named. */
static int check_row(ky_data_rows *r, int row, const float *x, ky_err *err)
{
    size_t width = r->row / (size_t)r->steps, n = width * (size_t)r->len[row];
    char step[32] = "";

    if (n == 0)
        return ky_fail(err, KY_EINVAL, "%s row %d has no steps: all its values are nan", r->what,
                       row);
    for (size_t at = 0; at < n; at++) {
        r->largest = x[at] > r->largest ? x[at] : r->largest;
        if (isfinite(x[at]))
            continue;
        if (r->steps > 1 || r->rank > 2)
            snprintf(step, sizeof step, "step %zu, ", at / width);
        return ky_fail(err, KY_EINVAL,
                       "%s row %d, %svalue %zu is %g: only finite numbers can be learned from or "
                       "answered",
                       r->what, row, step, at % width, (double)x[at]);
    }
    for (size_t at = n; at < r->row && !r->open; at++)
        r->open = !isfinite(x[at]);
    return KY_OK;
}

/* Rows [first, first+n), as they stand in the file. */
static int check_rows(ky_data_rows *r, int first, int n, const float *x, bool lengths, ky_err *err)
{
    int rc;

    for (int i = first; i < first + n; i++, x += r->row) {
        if (!lengths)
            r->len[i] = r->rank > 2 ? steps_of(r, x) : 1;
        if ((rc = check_row(r, i, x, err)) < 0)
            return rc;
    }
    return KY_OK;
}

/* ---- in memory, or not ---- */

/* Rows as the model takes them: a mask value where they have no steps. */
static void mask_rows(const ky_data_rows *r, int first, int n, float *x)
{
    size_t width = r->row / (size_t)r->steps;

    for (int i = first; r->masks && i < first + n; i++, x += r->row)
        for (size_t at = width * (size_t)r->len[i]; at < r->row; at++)
            x[at] = r->mask_value;
}

static int read_rows(ky_source *s, uint32_t first, uint32_t n, float *x, ky_err *err)
{
    ky_data_rows *r = (ky_data_rows *)s;
    int rc = ky_h5_read_rows(r->f, r->name, KY_H5_F32, first, n, x, err);

    if (rc >= 0)
        mask_rows(r, (int)first, (int)n, x);
    return rc;
}

/* Through all rows once: what is looked at is what a walk of the trainer will read. */
static int look_through(ky_data_rows *r, bool lengths, ky_err *err)
{
    ky_dataset d = { .N = r->N, .T = 1, .F = (int)r->row, .x = r->x };
    ky_walk w;
    int n, rc;

    d.source = r->x == NULL ? &r->source : NULL;
    rc = n = ky_walk_begin(&w, &d, err);
    while (rc >= 0 && (rc = n = ky_walk_next(&w, err)) > 0) {
        rc = check_rows(r, w.first, n, w.x[0], lengths, err);
        r->hash = ky_hash(r->hash, w.x[0], (size_t)n * r->row * sizeof(float));
    }
    ky_walk_done(&w);
    return rc;
}

static int read_all(ky_data_rows *r, const char *len, size_t memory, ky_err *err)
{
    size_t bytes = 0;
    int rc;

    r->len = malloc((size_t)r->N * sizeof *r->len);
    if (r->len == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for the lengths of %d rows", r->N);
    if (len != NULL && (rc = read_lengths(r, len, err)) < 0)
        return rc;
    if (ky_size_mul((size_t)r->N, r->row * sizeof *r->x, &bytes) == KY_OK && bytes <= memory) {
        ky_h5_info i;

        if ((rc = ky_data_read(r->f, r->name, &i, &r->x, err)) < 0)
            return rc;
    } else {
        r->source.read = read_rows;
        r->source.memory = memory;
    }
    return look_through(r, len != NULL, err);
}

/* All rows have all steps, which need not be said. */
static void drop_lengths(ky_data_rows *r)
{
    int i = 0;

    while (i < r->N && r->len[i] == r->steps)
        i++;
    if (i == r->N) {
        free(r->len);
        r->len = NULL;
    } else {
        r->hash = ky_hash(r->hash, r->len, (size_t)r->N * sizeof *r->len);
    }
    r->source.hash = r->hash;
}

int ky_data_rows_new(ky_h5 **f, const char *x, const char *len, const char *what, size_t memory,
                     ky_data_rows **ret, ky_err *err)
{
    ky_data_rows *r = calloc(1, sizeof *r);
    int rc, shape[3];

    if (r == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for '%s'", x + 1);
    snprintf(r->what, sizeof r->what, "%s", what);
    snprintf(r->name, sizeof r->name, "%s", x);
    r->f = *f;
    r->largest = -INFINITY;
    if ((rc = take_shape(r, len != NULL, err)) >= 0) {
        /* of a vector T is 1 and of others the first dimension */
        shape[0] = r->N;
        shape[1] = r->rank > 2 ? (int)r->dims[1] : 1;
        shape[2] = (int)(r->row / (size_t)shape[1]);
        r->hash = ky_hash(KY_HASH0, shape, sizeof shape);
        rc = read_all(r, len, memory, err);
    }
    if (rc < 0) {
        r->f = NULL;
        ky_data_rows_free(r);
        return rc;
    }
    drop_lengths(r);
    if (r->x != NULL)
        r->f = NULL;
    else
        *f = NULL;
    *ret = r;
    return KY_OK;
}

void ky_data_rows_free(ky_data_rows *r)
{
    if (r == NULL)
        return;
    ky_h5_close(r->f);
    free(r->x);
    free(r->len);
    free(r);
}

/* ---- for a model ---- */

/* A step that is there may not look as if it were not; of tokens it may, as in Keras. */
static int check_mask(const ky_data_rows *r, const ky_model_info *f, int row, const float *x,
                      ky_err *err)
{
    size_t width = r->row / (size_t)r->steps;

    for (int t = 0; f->tokens == 0 && t < r->len[row]; t++, x += width) {
        size_t at = 0;

        while (at < width && x[at] == (float)f->mask_value)
            at++;
        if (at == width)
            return ky_fail(err, KY_EINVAL,
                           "%s row %d, step %d: all values are %g, which model '%s' takes for a "
                           "step that is not there",
                           r->what, row, t, f->mask_value, f->name);
    }
    return KY_OK;
}

static int check_masks(ky_data_rows *r, const ky_model_info *f, ky_err *err)
{
    ky_dataset d = { .N = r->N, .T = 1, .F = (int)r->row, .x = r->x };
    ky_walk w;
    int n, rc;

    d.source = r->x == NULL ? &r->source : NULL;
    rc = n = ky_walk_begin(&w, &d, err);
    while (rc >= 0 && (rc = n = ky_walk_next(&w, err)) > 0)
        for (int i = 0; i < n && rc >= 0; i++)
            rc = check_mask(r, f, w.first + i, w.x[i], err);
    ky_walk_done(&w);
    return rc;
}

int ky_data_rows_mask(ky_data_rows *r, const ky_model *m, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);
    int rc, row = 0;

    if (r->len == NULL || (!f->masks && !r->open))
        return KY_OK;
    while (r->len[row] == r->steps)
        row++;
    if (!f->masks)
        return ky_fail(
            err, KY_EINVAL,
            "%s row %d has %d of %d steps: model '%s' has no Masking layer in front that "
            "would leave out the others",
            r->what, row, r->len[row], r->steps, f->name);
    if ((rc = check_masks(r, f, err)) < 0)
        return rc;
    r->masks = true;
    r->mask_value = (float)f->mask_value;
    if (r->x != NULL)
        mask_rows(r, 0, r->N, r->x);
    return KY_OK;
}

void ky_data_rows_lengths(const ky_data_rows *r, int *ret_least, int *ret_most)
{
    int least = r->steps, most = r->len == NULL ? r->steps : 0;

    for (int i = 0; r->len != NULL && i < r->N; i++) {
        least = r->len[i] < least ? r->len[i] : least;
        most = r->len[i] > most ? r->len[i] : most;
    }
    *ret_least = least;
    *ret_most = most;
}
