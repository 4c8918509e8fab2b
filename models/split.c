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
            held[k[at].row] = 1;
out:
    free(begin);
    free(order);
    return n;
}

/* The last rows by key; the cut moves back to where the key changes, then forward. */
static int split_latest(const keyed *k, int N, int wanted, uint8_t *held)
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
        held[k[i].row] = 1;
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
            held[rows[i]] = 1;
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

int ky_split(const ky_dataset *d, double share, uint64_t seed, uint8_t *held, ky_err *err)
{
    keyed *k = malloc((size_t)(d->N > 0 ? d->N : 1) * sizeof *k);
    int n_groups = 0, n = 0;
    ky_rng rng;

    if (k == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory to split %d rows", d->N);
    memset(held, 0, (size_t)d->N);
    ky_rng_seed(&rng, seed);
    if (d->group != NULL && d->N > 0) {
        sort_by(k, d, group_of);
        for (int i = 0; i < d->N; i++)
            n_groups += i == 0 || k[i].key != k[i - 1].key;
    }
    if (n_groups > 1) {
        n = split_groups(k, d->N, n_groups, rows_wanted(d, share), &rng, held);
    } else if (d->N >= 2 && (d->ts != NULL || (d->carried && n_groups == 1))) {
        sort_by(k, d, d->ts != NULL ? time_of : place_of);
        n = split_latest(k, d->N, rows_wanted(d, share), held);
    } else if (n_groups == 1) {
        free(k);
        return ky_fail(err, KY_EINVAL,
                       "all %d rows are of one group: none can be held out without leaking", d->N);
    } else if (d->N >= 2) {
        sort_by(k, d, class_of);
        n = split_classes(k, d->N, share, &rng, held);
    }
    free(k);
    if (n < 0)
        return ky_fail(err, KY_ENOMEM, "no memory to split %d rows", d->N);
    if (n == 0 || n >= d->N)
        return ky_fail(err, KY_EINVAL, "%d rows are too few to hold out a share of %g", d->N,
                       share);
    return n;
}
