#include "cli/data_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/data.h"

/* ---- shape ---- */

static int take_shape(ky_data_rows *r, ky_h5 *f, const char *x, bool lengths, ky_err *err)
{
    ky_h5_info i;
    int rc = ky_data_stat(f, x, &i, err);

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
    r->steps = i.rank > 2 || lengths ? (int)i.dims[1] : 1;
    return KY_OK;
}

/* ---- lengths ---- */

static int read_lengths(ky_data_rows *r, ky_h5 *f, const char *name, ky_err *err)
{
    ky_h5_info i;
    int rc = ky_h5_stat(f, name, &i, err);

    if (rc < 0)
        return rc;
    if (i.rank < 1 || i.count != (uint64_t)r->N)
        return ky_fail(err, KY_ESHAPE, "'%s' is %s, but there are %d rows", name + 1,
                       ky_data_shape(i.rank, i.dims).text, r->N);
    if ((rc = ky_h5_read(f, name, KY_H5_I32, r->len, i.count, err)) < 0)
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

static int check_rows(ky_data_rows *r, bool lengths, ky_err *err)
{
    bool whole = true;
    int rc;

    r->largest = -INFINITY;
    for (int i = 0; i < r->N; i++) {
        const float *x = r->x + (size_t)i * r->row;

        if (!lengths)
            r->len[i] = r->rank > 2 ? steps_of(r, x) : 1;
        if ((rc = check_row(r, i, x, err)) < 0)
            return rc;
        whole = whole && r->len[i] == r->steps;
    }
    if (whole) {
        free(r->len);
        r->len = NULL;
    }
    return KY_OK;
}

/* Of a vector T is 1 and of others the first dimension, as files have been hashed from the start.
 */
static uint64_t hash_of(const ky_data_rows *r)
{
    int T = r->rank > 2 ? (int)r->dims[1] : 1;
    const int shape[] = { r->N, T, (int)(r->row / (size_t)T) };
    uint64_t h = ky_hash(KY_HASH0, shape, sizeof shape);

    h = ky_hash(h, r->x, (size_t)r->N * r->row * sizeof *r->x);
    return r->len != NULL ? ky_hash(h, r->len, (size_t)r->N * sizeof *r->len) : h;
}

int ky_data_rows_read(ky_h5 *f, const char *x, const char *len, const char *what, ky_data_rows *ret,
                      ky_err *err)
{
    ky_data_rows r = { .x = NULL };
    ky_h5_info i;
    int rc = take_shape(&r, f, x, len != NULL, err);

    snprintf(r.what, sizeof r.what, "%s", what);
    if (rc < 0 || (rc = ky_data_read(f, x, &i, &r.x, err)) < 0)
        return rc;
    r.len = malloc((size_t)r.N * sizeof *r.len);
    if (r.len == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory for the lengths of %d rows", r.N);
    else if (len != NULL)
        rc = read_lengths(&r, f, len, err);
    if (rc < 0 || (rc = check_rows(&r, len != NULL, err)) < 0) {
        ky_data_rows_free(&r);
        return rc;
    }
    r.hash = hash_of(&r);
    *ret = r;
    return KY_OK;
}

void ky_data_rows_free(ky_data_rows *r)
{
    free(r->x);
    free(r->len);
    memset(r, 0, sizeof *r);
}

/* ---- as a model takes them ---- */

/* A step that is there may not look as if it were not; of tokens it may, as in Keras. */
static int check_mask(const ky_data_rows *r, const ky_model_info *f, int row, ky_err *err)
{
    size_t width = r->row / (size_t)r->steps;
    const float *x = r->x + (size_t)row * r->row;

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

int ky_data_rows_mask(ky_data_rows *r, const ky_model *m, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);
    size_t width = r->row / (size_t)r->steps;
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
    for (; row < r->N; row++) {
        if ((rc = check_mask(r, f, row, err)) < 0)
            return rc;
        for (size_t at = width * (size_t)r->len[row]; at < r->row; at++)
            r->x[(size_t)row * r->row + at] = (float)f->mask_value;
    }
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
