#include "models/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/h5.h"

/* Places in /kymo/numbers. */
enum {
    EPOCH,
    BEST_EPOCH,
    SINCE_BEST,
    VAL_LOSS,
    VAL_ACCURACY,
    DECAY1,
    DECAY2,
    RATE_NOW,
    RATE_BEST,
    RATE_SINCE,
    N_NUMBERS
};

static int put(ky_h5 *f, const char *name, enum ky_h5_type type, const void *v, size_t n,
               ky_err *err)
{
    const uint64_t dims[] = { n };

    return ky_h5_put(f, name, type, 1, dims, v, err);
}

/* A dataset must be of this type and length. */
static int get(ky_h5 *f, const char *name, enum ky_h5_type type, void *v, size_t n, ky_err *err)
{
    ky_h5_info i;
    int rc = ky_h5_stat(f, name, &i, err);

    if (rc < 0)
        return rc;
    if (i.type != type || i.count != n)
        return ky_fail(err, KY_EFORMAT, "'%s' has %zu values, %zu of another kind are wanted", name,
                       i.count, n);
    return ky_h5_read(f, name, type, v, n, err);
}

/* ---- writing ---- */

static int put_slots(ky_h5 *f, const ky_optim *a, ky_err *err)
{
    int rc = KY_OK;

    for (int i = 0; i < a->n_slots && rc == KY_OK; i++) {
        char name[32];

        snprintf(name, sizeof name, "/kymo/slot%d", i);
        rc = put(f, name, KY_H5_F32, a->slot[i], a->n, err);
    }
    return rc;
}

static int put_history(ky_h5 *f, const ky_json *history, ky_err *err)
{
    char *text = ky_json_text(history, 0);
    int rc = text != NULL ? ky_h5_put_strs(f, "/kymo/history", (const char *const *)&text, 1, err)
                          : ky_fail(err, KY_ENOMEM, "no memory for the history");

    free(text);
    return rc;
}

static int put_all(ky_h5 *f, void *arg, ky_err *err)
{
    const ky_checkpoint *c = arg;
    const double numbers[N_NUMBERS] = {
        [EPOCH] = c->epoch,
        [BEST_EPOCH] = c->best_epoch,
        [SINCE_BEST] = c->since_best,
        [VAL_LOSS] = c->val_loss,
        [VAL_ACCURACY] = c->val_accuracy,
        [DECAY1] = c->optim->decay1,
        [DECAY2] = c->optim->decay2,
        [RATE_NOW] = c->rate->now,
        [RATE_BEST] = c->rate->best,
        [RATE_SINCE] = c->rate->since_best,
    };
    size_t n = c->m->n_weights;
    int rc = put(f, "/kymo/numbers", KY_H5_F64, numbers, N_NUMBERS, err);

    if (rc < 0 || (rc = put(f, "/kymo/made_of", KY_H5_U64, &c->made_of, 1, err)) < 0 ||
        (rc = put(f, "/kymo/weights", KY_H5_F32, c->m->weights, n, err)) < 0 ||
        (rc = put(f, "/kymo/best", KY_H5_F32, c->best, n, err)) < 0 ||
        (rc = put(f, "/kymo/rng", KY_H5_U64, c->rng->s, 4, err)) < 0 ||
        (rc = put(f, "/kymo/rows", KY_H5_U32, c->rows, (size_t)c->n_rows, err)) < 0 ||
        (rc = put_slots(f, c->optim, err)) < 0)
        return rc;
    return put_history(f, *c->history, err);
}

int ky_checkpoint_write(const ky_checkpoint *c, const char *path, ky_err *err)
{
    int rc = ky_model_save_with(c->m, path, put_all, (void *)c, err);

    return rc < 0 ? ky_context(err, rc, "checkpoint") : KY_OK;
}

/* ---- reading ---- */

static int get_slots(ky_h5 *f, const ky_optim *a, ky_err *err)
{
    int rc = KY_OK;

    for (int i = 0; i < a->n_slots && rc == KY_OK; i++) {
        char name[32];

        snprintf(name, sizeof name, "/kymo/slot%d", i);
        rc = get(f, name, KY_H5_F32, a->slot[i], a->n, err);
    }
    return rc;
}

static int get_history(ky_h5 *f, ky_json **ret, ky_err *err)
{
    char **text = NULL;
    ky_json *history = NULL;
    size_t n = 0;
    int rc = ky_h5_read_strs(f, "/kymo/history", &text, &n, err);

    if (rc == KY_OK && n == 1)
        rc = ky_json_parse(text[0], strlen(text[0]), true, &history, err);
    free(text);
    if (rc == KY_OK && !ky_json_is_array(history)) {
        ky_json_free(history);
        return ky_fail(err, KY_EFORMAT, "'/kymo/history' is no list of epochs");
    }
    if (rc == KY_OK) {
        ky_json_free(*ret);
        *ret = history;
    }
    return rc;
}

static bool counts(double v)
{
    return v >= 0 && v < 1e9 && v == floor(v);
}

static int get_numbers(ky_h5 *f, ky_checkpoint *c, ky_err *err)
{
    double v[N_NUMBERS];
    int rc = get(f, "/kymo/numbers", KY_H5_F64, v, N_NUMBERS, err);

    if (rc < 0)
        return rc;
    if (!counts(v[EPOCH]) || !counts(v[BEST_EPOCH]) || !counts(v[SINCE_BEST]) ||
        !counts(v[RATE_SINCE]) || !(v[RATE_NOW] > 0) || v[BEST_EPOCH] > v[EPOCH])
        return ky_fail(err, KY_EFORMAT, "'/kymo/numbers' are not those of a training");
    c->epoch = (int)v[EPOCH];
    c->best_epoch = (int)v[BEST_EPOCH];
    c->since_best = (int)v[SINCE_BEST];
    c->val_loss = v[VAL_LOSS];
    c->val_accuracy = v[VAL_ACCURACY];
    c->optim->decay1 = v[DECAY1];
    c->optim->decay2 = v[DECAY2];
    c->rate->now = v[RATE_NOW];
    c->rate->best = v[RATE_BEST];
    c->rate->since_best = (int)v[RATE_SINCE];
    return KY_OK;
}

static int compare_rows(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* The same rows in another order: none of them is beyond the data. */
static int get_rows(ky_h5 *f, const ky_checkpoint *c, ky_err *err)
{
    size_t n = (size_t)c->n_rows;
    uint32_t *file = malloc(2 * n * sizeof *file + 1), *mine = file + n;
    int rc = file != NULL ? get(f, "/kymo/rows", KY_H5_U32, file, n, err)
                          : ky_fail(err, KY_ENOMEM, "no memory for the order of %zu rows", n);

    if (rc == KY_OK) {
        memcpy(mine, c->rows, n * sizeof *mine);
        memcpy(c->rows, file, n * sizeof *file);
        qsort(mine, n, sizeof *mine, compare_rows);
        qsort(file, n, sizeof *file, compare_rows);
        if (memcmp(mine, file, n * sizeof *file) != 0)
            rc = ky_fail(err, KY_EFORMAT, "'/kymo/rows' are not the rows that are learned from");
    }
    free(file);
    return rc;
}

static int get_all(ky_h5 *f, ky_checkpoint *c, ky_err *err)
{
    size_t n = c->m->n_weights;
    uint64_t made_of;
    int rc = get(f, "/kymo/made_of", KY_H5_U64, &made_of, 1, err);

    if (rc < 0)
        return rc;
    if (made_of != c->made_of)
        return ky_fail(err, KY_EINVAL, "it was made of other data or with other options");
    if ((rc = get_numbers(f, c, err)) < 0 ||
        (rc = get(f, "/kymo/weights", KY_H5_F32, c->m->weights, n, err)) < 0 ||
        (rc = get(f, "/kymo/best", KY_H5_F32, c->best, n, err)) < 0 ||
        (rc = get(f, "/kymo/rng", KY_H5_U64, c->rng->s, 4, err)) < 0 ||
        (rc = get_rows(f, c, err)) < 0 || (rc = get_slots(f, c->optim, err)) < 0)
        return rc;
    return get_history(f, c->history, err);
}

int ky_checkpoint_read(ky_checkpoint *c, const char *path, ky_err *err)
{
    ky_h5 *f = NULL;
    int rc = ky_h5_open(path, &f, err);

    if (rc == KY_OK && !ky_h5_exists(f, "/kymo/made_of"))
        rc = ky_fail(err, KY_EFORMAT, "it is no checkpoint of a training");
    if (rc == KY_OK)
        rc = get_all(f, c, err);
    ky_h5_close(f);
    return rc < 0 ? ky_context(err, rc, "going on from '%s'", path) : KY_OK;
}
