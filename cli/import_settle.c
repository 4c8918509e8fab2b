/* What becomes of the rows of an import, decided when all are known and before any is written. */
#include <stdlib.h>
#include <string.h>

#include "cli/import_sink.h"
#include "models/split.h"

static bool is_whole_number(const char *s, long long *ret)
{
    char *end;

    *ret = strtoll(s, &end, 10);
    return end != s && *end == '\0' && strlen(s) < 19;
}

static int by_number(const void *a, const void *b)
{
    long long x, y;

    is_whole_number(*(char *const *)a, &x);
    is_whole_number(*(char *const *)b, &y);
    return x < y ? -1 : x > y;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The order of the classes: as listed, else numbers by size, else by name. Labels stay numbered
 * as they came; place says where each stands. */
static int order_classes(ky_sink *s, ky_err *err)
{
    int n = s->labels.n, rc = KY_OK;
    char **sorted = malloc(((size_t)n + 1) * sizeof *sorted);
    bool all = true;
    long long v;

    s->place = malloc(((size_t)n + 1) * sizeof *s->place);
    if (sorted == NULL || s->place == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory for %d classes", n);
    for (int i = 0; rc == KY_OK && i < n; i++) {
        sorted[i] = s->labels.name[i];
        all = all && is_whole_number(sorted[i], &v);
    }
    /* What a list forgot is sorted behind it. */
    if (rc == KY_OK && n > s->listed)
        qsort(sorted + s->listed, (size_t)(n - s->listed), sizeof *sorted,
              all ? by_number : by_bytes);
    for (int i = 0; rc == KY_OK && i < n; i++)
        s->place[ky_names_number(&s->labels, sorted[i])] = i;
    free(sorted);
    return rc;
}

/* Rows that are left, numbered without gaps, as models/split.h wants them. */
typedef struct kept {
    size_t *row;
    int32_t *y;
    uint32_t *group;
    int64_t *ts;
    uint8_t *held;
    int n;
} kept;

static void free_kept(kept *k)
{
    free(k->row);
    free(k->y);
    free(k->group);
    free(k->ts);
    free(k->held);
}

static int take_kept(const ky_sink *s, kept *k, ky_err *err)
{
    k->row = malloc((s->n + 1) * sizeof *k->row);
    k->y = malloc((s->n + 1) * sizeof *k->y);
    k->group = malloc((s->n + 1) * sizeof *k->group);
    k->ts = malloc((s->n + 1) * sizeof *k->ts);
    k->held = malloc(s->n + 1);
    if (k->row == NULL || k->y == NULL || k->group == NULL || k->ts == NULL || k->held == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory to split %zu rows", s->n);
    for (size_t i = 0; i < s->n; i++) {
        const ky_sink_fact *f = &s->fact[i];

        if (f->part == KY_IMPORT_PARTS)
            continue;
        k->row[k->n] = i;
        k->y[k->n] = f->label >= 0 && !s->o->numbers ? f->label : 0;
        k->group[k->n] = (uint32_t)(f->group + 1);
        k->ts[k->n++] = f->ts_us;
    }
    return KY_OK;
}

/* Rows of the test part that begin before the training part has ended share samples with it. */
static void drop_straddling(ky_sink *s)
{
    int64_t end = KY_NONE;

    for (size_t i = 0; i < s->n; i++)
        if (s->fact[i].part == KY_IMPORT_TRAIN && s->fact[i].ts_us > end)
            end = s->fact[i].ts_us;
    for (size_t i = 0; i < s->n; i++)
        if (s->fact[i].part == KY_IMPORT_TEST && s->fact[i].from_us != KY_NONE &&
            s->fact[i].from_us <= end) {
            s->fact[i].part = KY_IMPORT_PARTS;
            s->straddling++;
        }
}

/* A test part out of rows that have none. */
static int split_rows(ky_sink *s, ky_err *err)
{
    kept k = { .n = 0 };
    int rc = take_kept(s, &k, err);
    bool timed = s->n > 0 && s->fact[0].ts_us != KY_NONE;

    if (rc == KY_OK) {
        ky_dataset d = { .N = k.n,
                         .T = 1,
                         .F = 1,
                         .C = s->labels.n > 0 && !s->o->numbers ? s->labels.n : 1,
                         .y = k.y,
                         .group = s->groups.n > 0 ? k.group : NULL,
                         .ts = timed ? k.ts : NULL };

        rc = ky_split(&d, s->o->split, s->o->seed, k.held, err);
    }
    for (int i = 0; rc >= 0 && i < k.n; i++)
        s->fact[k.row[i]].part = k.held[i] ? KY_IMPORT_TEST : KY_IMPORT_TRAIN;
    free_kept(&k);
    if (rc >= 0 && timed && s->groups.n < 2)
        drop_straddling(s);
    return rc < 0 ? rc : KY_OK;
}

/* The shape of all rows, once all lengths are known. */
static int settle_steps(ky_sink *s, ky_err *err)
{
    int64_t T = s->o->length > 0 && s->varying ? s->o->length : s->longest;
    size_t row;

    if (!s->varying)
        return KY_OK;
    s->dims[0] = (uint64_t)T;
    for (size_t i = 0; i < s->n; i++) {
        s->fact[i].steps = s->fact[i].steps < T ? s->fact[i].steps : (int32_t)T;
        /* Whole numbers are filled with 0, which Keras pads with; nobody need know how many. */
        s->padded = s->padded || (s->type == KY_H5_F32 && s->fact[i].steps < T);
    }
    if (ky_size_mul((size_t)T, s->step, &row) < 0 || row > KY_SINK_ROW)
        return ky_fail(err, KY_EFULL, "rows of %s: over %zu bytes; --length cuts them",
                       ky_sink_shape_text(s->rank, s->dims).s, KY_SINK_ROW);
    return KY_OK;
}

int ky_sink_settle(ky_sink *s, ky_err *err)
{
    int rc;

    if (s->n == 0 || !s->shaped)
        return ky_fail(err, KY_EFORMAT, "there is not one row");
    if ((size_t)s->dropped == s->n)
        return ky_fail(err, KY_EFORMAT, "every row has values that are missing: none is left");
    if (s->unlabelled > 0 && (size_t)s->unlabelled < s->n)
        return ky_fail(err, KY_EFORMAT, "%lld of %zu rows have no label", (long long)s->unlabelled,
                       s->n);
    if ((rc = settle_steps(s, err)) < 0 || (rc = order_classes(s, err)) < 0)
        return rc;
    /* Any one row tells, as the parts are said of all or of none. */
    for (size_t i = 0; i < s->n; i++)
        if (s->fact[i].part == KY_IMPORT_TRAIN || s->fact[i].part == KY_IMPORT_TEST)
            return KY_OK;
    return s->o->split > 0 ? split_rows(s, err) : KY_OK;
}
