/* The rows that are learned from and those that are scored. */
#include <stdlib.h>
#include <string.h>

#include "cli/compare.h"
#include "models/split.h"

static int load_part(const ky_comparison *c, enum ky_part part, ky_data *ret, ky_err *err)
{
    bool classes = c->base.task == KY_TASK_CLASSIFY;
    /* All of it in memory: it is learned from over and over. */
    int rc = ky_data_load_within(
        c->base.data, part, classes ? KY_BESIDE_CLASSES : KY_BESIDE_TARGETS, SIZE_MAX, ret, err);

    if (rc == KY_OK && classes && ret->naming == KY_NAMES_NONE)
        rc = ky_fail(err, KY_EINVAL, "%s has no labels beside it to learn", ret->what);
    return rc;
}

/* A quarter of the rows to score with, where the file has no test part. */
static int hold_out(ky_comparison *c, ky_err *err)
{
    const ky_dataset d = c->train.set;
    uint8_t *side = malloc((size_t)d.N);
    int rc = side != NULL ? ky_split(&d, 0.25, (uint64_t)c->base.seed, side, err)
                          : ky_fail(err, KY_ENOMEM, "no memory to part %d rows", d.N);

    if (rc >= 0 && (rc = ky_split_parts(&d, side, &c->kept, &c->held, err)) >= 0) {
        c->test = c->train;
        c->train.set = c->kept.d;
        c->test.set = c->held.d;
    }
    free(side);
    return rc;
}

/* Rows of several lengths are written over behind their ends, as each model wants it: they are kept
 * as they were. */
static int keep_padding(ky_comparison *c, ky_err *err)
{
    ky_data *const parts[2] = { &c->train, &c->test };

    for (int p = 0; p < 2; p++) {
        const ky_data_rows *r = parts[p]->rows;
        size_t bytes = (size_t)r->N * r->row * sizeof *r->x;

        if (r->len == NULL)
            continue;
        if ((c->padded[p] = malloc(bytes)) == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory for the rows of %s", r->what);
        memcpy(c->padded[p], r->x, bytes);
    }
    return KY_OK;
}

/* Models take rows of one shape. */
static int check_shapes(const ky_comparison *c, ky_err *err)
{
    const ky_data_rows *a = c->train.rows, *b = c->test.rows;

    for (int k = 1; k < a->rank || k < b->rank; k++)
        if (a->rank != b->rank || a->dims[k] != b->dims[k])
            return ky_fail(err, KY_ESHAPE, "rows of %s are %s, those of %s are %s", b->what,
                           ky_data_shape(b->rank - 1, b->dims + 1).text, a->what,
                           ky_data_shape(a->rank - 1, a->dims + 1).text);
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
    else if (rc == KY_OK)
        rc = check_shapes(c, err);
    return rc < 0 ? rc : keep_padding(c, err);
}

int ky_compare_fit(ky_comparison *c, const ky_model *m, ky_err *err)
{
    ky_data *const parts[2] = { &c->train, &c->test };
    int rc = KY_OK;

    for (int p = 0; p < 2 && rc == KY_OK; p++) {
        ky_data_rows *r = parts[p]->rows;

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
    ky_subset_done(&c->kept);
    ky_subset_done(&c->held);
    if (c->test_part) /* else it stands in the training part */
        ky_data_free(&c->test);
    ky_data_free(&c->train);
}
