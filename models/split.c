#include "models/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/rng.h"

/* A row and what it is sorted by; equal keys keep the order of the rows. */
typedef struct keyed {
    int64_t key;
    uint32_t row;
} keyed;

static int by_key(const void *a, const void *b)
{
    const keyed *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static int rows_wanted(const ky_dataset *d, double share)
{
    int n = (int)lround(share * d->N);

    return n < 1 ? 1 : n;
}

/* Whole groups in an order drawn by the seed until enough rows are held; one group stays. */
static int split_groups(const keyed *k, int N, int n_groups, int wanted, ky_rng *rng, uint8_t *held)
{
    uint32_t *begin = calloc((size_t)n_groups + 1, sizeof *begin);
    uint32_t *order = calloc((size_t)n_groups, sizeof *order);
    int n = -1, g = 0;

    if (begin == NULL || order == NULL)
        goto out;
    for (int i = 0; i < N; i++)
        if (i == 0 || k[i].key != k[i - 1].key)
            begin[g++] = (uint32_t)i;
    begin[n_groups] = (uint32_t)N;
    for (int i = 0; i < n_groups; i++)
        order[i] = (uint32_t)i;
    ky_rng_shuffle(rng, order, (uint64_t)n_groups);
    n = 0;
    for (int i = 0; i + 1 < n_groups && n < wanted; i++)
        for (uint32_t at = begin[order[i]]; at < begin[order[i] + 1]; at++, n++)
            held[k[at].row] = KY_HELD;
out:
    free(begin);
    free(order);
    return n;
}

/* The last rows by key; the cut moves back to where the key changes, then forward. Rows that last
 * into them are on neither side. */
static int split_latest(const keyed *k, int N, int wanted, int64_t span, uint8_t *held)
{
    int cut = N - wanted;

    while (cut > 0 && cut < N && k[cut].key == k[cut - 1].key)
        cut--;
    if (cut == 0)
        for (cut = N - wanted; cut < N && k[cut].key == k[cut - 1].key; cut++)
            continue;
    if (cut <= 0)
        return 0;
    for (int i = cut; i < N; i++)
        held[k[i].row] = KY_HELD;
    for (int i = cut - 1; span > 0 && i >= 0 && k[i].key >= k[cut].key - span; i--)
        held[k[i].row] = KY_LEFT_OUT;
    return N - cut;
}

/* A like share of every class, at least one row of each class that has two. */
static int split_classes(const keyed *k, int N, double share, ky_rng *rng, uint8_t *held)
{
    uint32_t *rows = malloc((size_t)N * sizeof *rows);
    int n = 0;

    if (rows == NULL)
        return -1;
    for (int begin = 0, end; begin < N; begin = end) {
        int want;

        for (end = begin; end < N && k[end].key == k[begin].key; end++)
            rows[end - begin] = k[end].row;
        want = (int)lround(share * (end - begin));
        if (want < 1)
            want = 1;
        if (want > end - begin - 1)
            want = end - begin - 1;
        ky_rng_shuffle(rng, rows, (uint64_t)(end - begin));
        for (int i = 0; i < want; i++, n++)
            held[rows[i]] = KY_HELD;
    }
    free(rows);
    return n;
}

static void sort_by(keyed *k, const ky_dataset *d, int64_t (*key)(const ky_dataset *, int))
{
    for (int i = 0; i < d->N; i++)
        k[i] = (keyed){ .key = key(d, i), .row = (uint32_t)i };
    qsort(k, (size_t)d->N, sizeof *k, by_key);
}

static int64_t group_of(const ky_dataset *d, int i)
{
    return d->group[i];
}

static int64_t time_of(const ky_dataset *d, int i)
{
    return d->ts[i];
}

static int64_t place_of(const ky_dataset *d, int i)
{
    (void)d;
    return i;
}

static int64_t class_of(const ky_dataset *d, int i)
{
    return d->y != NULL ? d->y[i] : 0; /* targets are of one kind */
}

/* How the rows are parted. */
enum way { BY_GROUP, BY_TIME, BY_CLASS, NO_WAY };

/* Their keys, sorted; the number of groups. */
static enum way order_rows(const ky_dataset *d, keyed *k, int *ret_groups)
{
    int n = 0;

    if (d->group != NULL) {
        sort_by(k, d, group_of);
        for (int i = 0; i < d->N; i++)
            n += i == 0 || k[i].key != k[i - 1].key;
    }
    *ret_groups = n;
    if (n > 1)
        return BY_GROUP;
    if (d->ts != NULL || (d->carried && n == 1)) {
        sort_by(k, d, d->ts != NULL ? time_of : place_of);
        return BY_TIME;
    }
    if (n == 1)
        return NO_WAY;
    sort_by(k, d, class_of);
    return BY_CLASS;
}

static bool any_left(const ky_dataset *d, const uint8_t *side)
{
    int i = 0;

    while (i < d->N && side[i] != KY_LEARNED)
        i++;
    return i < d->N;
}

static int one_group(const ky_dataset *d, ky_err *err)
{
    return ky_fail(err, KY_EINVAL,
                   "all %d rows are of one group: none can be held out without leaking", d->N);
}

int ky_split(const ky_dataset *d, double share, uint64_t seed, uint8_t *side, ky_err *err)
{
    keyed *k = malloc((size_t)(d->N > 0 ? d->N : 1) * sizeof *k);
    int n_groups, n = 0, wanted = rows_wanted(d, share);
    enum way way;
    ky_rng rng;

    if (k == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory to split %d rows", d->N);
    memset(side, KY_LEARNED, (size_t)d->N);
    ky_rng_seed(&rng, seed);
    way = order_rows(d, k, &n_groups);
    if (d->N >= 2 && way == BY_GROUP)
        n = split_groups(k, d->N, n_groups, wanted, &rng, side);
    else if (d->N >= 2 && way == BY_TIME)
        n = split_latest(k, d->N, wanted, d->ts != NULL ? d->span : 0, side);
    else if (d->N >= 2 && way == BY_CLASS)
        n = split_classes(k, d->N, share, &rng, side);
    free(k);
    if (d->N > 0 && way == NO_WAY)
        return one_group(d, err);
    if (n < 0)
        return ky_fail(err, KY_ENOMEM, "no memory to split %d rows", d->N);
    if (n == 0 || !any_left(d, side))
        return ky_fail(err, KY_EINVAL, "%d rows are too few to hold out a share of %g", d->N,
                       share);
    return n;
}

/* ---- folds ---- */

static int least(const int *rows, int k)
{
    int at = 0;

    for (int f = 1; f < k; f++)
        if (rows[f] < rows[at])
            at = f;
    return at;
}

/* Groups in a drawn order, each to the fold with the fewest rows. */
static int fold_groups(const keyed *key, int N, int n_groups, int k, ky_rng *rng, uint8_t *fold)
{
    uint32_t *begin = calloc((size_t)n_groups + 1, sizeof *begin);
    uint32_t *order = calloc((size_t)n_groups, sizeof *order);
    int rows[UINT8_MAX + 1] = { 0 }, g = 0, rc = KY_ENOMEM;

    if (begin == NULL || order == NULL)
        goto out;
    for (int i = 0; i < N; i++)
        if (i == 0 || key[i].key != key[i - 1].key)
            begin[g++] = (uint32_t)i;
    begin[n_groups] = (uint32_t)N;
    for (int i = 0; i < n_groups; i++)
        order[i] = (uint32_t)i;
    ky_rng_shuffle(rng, order, (uint64_t)n_groups);
    for (int i = 0; i < n_groups; i++) {
        int f = least(rows, k);

        for (uint32_t at = begin[order[i]]; at < begin[order[i] + 1]; at++, rows[f]++)
            fold[key[at].row] = (uint8_t)f;
    }
    rc = KY_OK;
out:
    free(begin);
    free(order);
    return rc;
}

/* Stretches one behind the other; rows of one time stay together. */
static int fold_stretches(const keyed *key, int N, int k, uint8_t *fold)
{
    for (int i = 0, f = 0; i < N; i++) {
        if (i > 0 && key[i].key != key[i - 1].key)
            f = (int)((int64_t)i * k / N);
        fold[key[i].row] = (uint8_t)f;
    }
    return KY_OK;
}

/* Each class in a drawn order, dealt out where the class before has ended. */
static int fold_classes(const keyed *key, int N, int k, ky_rng *rng, uint8_t *fold)
{
    uint32_t *rows = malloc((size_t)N * sizeof *rows);
    int f = 0;

    if (rows == NULL)
        return KY_ENOMEM;
    for (int begin = 0, end; begin < N; begin = end) {
        for (end = begin; end < N && key[end].key == key[begin].key; end++)
            rows[end - begin] = key[end].row;
        ky_rng_shuffle(rng, rows, (uint64_t)(end - begin));
        for (int i = 0; i < end - begin; i++, f = (f + 1) % k)
            fold[rows[i]] = (uint8_t)f;
    }
    free(rows);
    return KY_OK;
}

int ky_fold(const ky_dataset *d, int k, uint64_t seed, uint8_t *fold, ky_err *err)
{
    keyed *key = malloc((size_t)(d->N > 0 ? d->N : 1) * sizeof *key);
    int n_groups, rows[UINT8_MAX + 1] = { 0 }, rc = KY_ENOMEM;
    enum way way;
    ky_rng rng;

    if (key == NULL)
        return ky_fail(err, rc, "no memory to fold %d rows", d->N);
    ky_rng_seed(&rng, seed);
    way = order_rows(d, key, &n_groups);
    if (way == BY_GROUP)
        rc = fold_groups(key, d->N, n_groups, k, &rng, fold);
    else if (way == BY_TIME)
        rc = fold_stretches(key, d->N, k, fold);
    else if (way == BY_CLASS)
        rc = fold_classes(key, d->N, k, &rng, fold);
    free(key);
    if (way == NO_WAY)
        return one_group(d, err);
    if (rc < 0)
        return ky_fail(err, rc, "no memory to fold %d rows", d->N);
    for (int i = 0; i < d->N; i++)
        rows[fold[i]]++;
    if (rows[least(rows, k)] == 0)
        return ky_fail(err, KY_EINVAL, "%d rows%s are too few for %d folds", d->N,
                       way == BY_GROUP ? ", in groups," : "", k);
    return KY_OK;
}

void ky_fold_sides(const ky_dataset *d, const uint8_t *fold, int held, uint8_t *side)
{
    int64_t from = INT64_MAX, to = INT64_MIN;
    bool one = d->group != NULL && d->N > 0; /* of several groups none is parted */

    for (int i = 0; i < d->N; i++) {
        side[i] = fold[i] == held ? KY_HELD : KY_LEARNED;
        one = one && d->group[i] == d->group[0];
        if (d->ts != NULL && side[i] == KY_HELD) {
            from = d->ts[i] < from ? d->ts[i] : from;
            to = d->ts[i] > to ? d->ts[i] : to;
        }
    }
    if (d->ts == NULL || d->span <= 0 || (d->group != NULL && !one))
        return;
    for (int i = 0; i < d->N; i++)
        if (side[i] == KY_LEARNED && d->ts[i] >= from - d->span && d->ts[i] <= to + d->span)
            side[i] = KY_LEFT_OUT;
}

int ky_split_parts(const ky_dataset *d, const uint8_t *side, ky_subset *ret_learned,
                   ky_subset *ret_held, ky_err *err)
{
    uint32_t *rows = malloc((size_t)d->N * sizeof *rows + 1);
    ky_subset *const parts[] = { ret_learned, ret_held };
    int rc = KY_OK;

    if (rows == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory to part %d rows", d->N);
    for (int p = 0; p < 2 && rc == KY_OK; p++) {
        int n = 0;

        for (int i = 0; i < d->N; i++)
            if (side[i] == p)
                rows[n++] = (uint32_t)i;
        rc = ky_subset_new(d, rows, n, parts[p], err);
    }
    free(rows);
    return rc;
}
