/* The rows that are learned from and those that are scored. */
#include <stdlib.h>
#include <string.h>

#include "cli/compare.h"
#include "models/split.h"

static int load_part(const ky_comparison *c, enum ky_part part, ky_data *ret, ky_err *err)
{
    bool classes = c->base.task == KY_TASK_CLASSIFY;
    int rc = (classes ? ky_data_load : ky_data_load_targets)(c->base.data, part, ret, err);

    if (rc == KY_OK && classes && ret->naming == KY_NAMES_NONE)
        rc = ky_fail(err, KY_EINVAL, "%s has no labels beside it to learn", ret->what);
    return rc;
}

/* The rows that are not held out first, then those that are. */
static int reorder(void *a, size_t size, const uint8_t *held, int N, ky_err *err)
{
    char *copy, *at;

    if (a == NULL)
        return KY_OK;
    at = copy = malloc((size_t)N * size);
    if (copy == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory to part %d rows", N);
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < N; i++)
            if ((held[i] != 0) == side) {
                memcpy(at, (const char *)a + (size_t)i * size, size);
                at += size;
            }
    memcpy(a, copy, (size_t)N * size);
    free(copy);
    return KY_OK;
}

static int reorder_all(ky_data *d, const uint8_t *held, ky_err *err)
{
    const struct {
        void *at;
        size_t size;
    } arrays[] = { { d->rows.x, d->rows.row * sizeof *d->rows.x },
                   { d->rows.len, sizeof *d->rows.len },
                   { d->y, sizeof *d->y },
                   { d->group, sizeof *d->group },
                   { d->ts, sizeof *d->ts },
                   { d->target, (size_t)d->set.C * sizeof *d->target } };
    int rc = KY_OK;

    for (size_t i = 0; rc == KY_OK && i < sizeof arrays / sizeof *arrays; i++)
        rc = reorder(arrays[i].at, arrays[i].size, held, d->set.N, err);
    return rc;
}

/* The rows from the k-th on, where they are. */
static ky_data rows_from(const ky_data *d, int k)
{
    ky_data v = *d;

    v.set.N = v.rows.N = d->set.N - k;
    v.set.x = v.rows.x = d->rows.x + (size_t)k * d->rows.row;
    v.rows.len = d->rows.len != NULL ? d->rows.len + k : NULL;
    v.set.y = v.y = d->y != NULL ? d->y + k : NULL;
    v.set.group = v.group = d->group != NULL ? d->group + k : NULL;
    v.set.ts = v.ts = d->ts != NULL ? d->ts + k : NULL;
    v.set.target = v.target = d->target != NULL ? d->target + (size_t)k * (size_t)d->set.C : NULL;
    return v;
}

/* A quarter of the rows to score with, where the file has no test part. */
static int hold_out(ky_comparison *c, ky_err *err)
{
    ky_data *d = &c->train;
    uint8_t *held = malloc((size_t)d->set.N);
    int n, rc;

    rc = n = held != NULL ? ky_split(&d->set, 0.25, (uint64_t)c->base.seed, held, err)
                          : ky_fail(err, KY_ENOMEM, "no memory to part %d rows", d->set.N);
    if (rc >= 0)
        rc = reorder_all(d, held, err);
    if (rc >= 0) {
        c->test = rows_from(d, d->set.N - n);
        d->set.N = d->rows.N = d->set.N - n;
    }
    free(held);
    return rc;
}

/* Rows of several lengths are written over behind their ends, as each model wants it: they are kept
 * as they were. */
static int keep_padding(ky_comparison *c, ky_err *err)
{
    ky_data *const parts[2] = { &c->train, &c->test };

    for (int p = 0; p < 2; p++) {
        const ky_data_rows *r = &parts[p]->rows;
        size_t bytes = (size_t)r->N * r->row * sizeof *r->x;

        if (r->len == NULL)
            continue;
        if ((c->padded[p] = malloc(bytes)) == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory for the rows of %s", r->what);
        memcpy(c->padded[p], r->x, bytes);
    }
    return KY_OK;
}

int ky_compare_load(ky_comparison *c, ky_err *err)
{
    bool named = strchr(c->base.data, ':') != NULL;
    int rc = load_part(c, KY_PART_TRAIN, &c->train, err);

    if (rc < 0)
        return rc;
    rc = named ? KY_ENOENT : load_part(c, KY_PART_TEST, &c->test, err);
    c->test_part = rc == KY_OK;
    if (rc == KY_ENOENT)
        rc = hold_out(c, err);
    return rc < 0 ? rc : keep_padding(c, err);
}

int ky_compare_fit(ky_comparison *c, const ky_model *m, ky_err *err)
{
    ky_data *const parts[2] = { &c->train, &c->test };
    int rc = KY_OK;

    for (int p = 0; p < 2 && rc == KY_OK; p++) {
        ky_data_rows *r = &parts[p]->rows;

        if (c->padded[p] != NULL)
            memcpy(r->x, c->padded[p], (size_t)r->N * r->row * sizeof *r->x);
        if ((rc = ky_data_fit(parts[p], m, err)) == KY_OK)
            rc = ky_data_check_tokens(parts[p], m, err);
    }
    return rc;
}

void ky_compare_unload(ky_comparison *c)
{
    for (int p = 0; p < 2; p++)
        free(c->padded[p]);
    if (c->test_part) /* else it stands in the training part */
        ky_data_free(&c->test);
    ky_data_free(&c->train);
}
