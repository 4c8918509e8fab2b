/* Rows in memory and out of it: subsets, walks, and the order of a shuffle buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "models/dataset.h"
#include "models/shuffle.h"
#include "tests/models/source.h"

enum { N = 100, T = 3, F = 2, LEN = T * F, BATCH = 8 };

/* Row i holds i, i + 1/8, i + 2/8 ... */
static float *values(void)
{
    static float x[N * LEN];

    for (int i = 0; i < N * LEN; i++)
        x[i] = (float)(i / LEN) + (float)(i % LEN) / 8;
    return x;
}

static ky_dataset in_memory(void)
{
    static int32_t y[N];
    static uint32_t group[N];
    static int64_t ts[N];

    for (int i = 0; i < N; i++) {
        y[i] = i % 5;
        group[i] = (uint32_t)i / 10;
        ts[i] = 1000 + i;
    }
    return (ky_dataset){
        .N = N, .T = T, .F = F, .C = 5, .x = values(), .y = y, .group = group, .ts = ts
    };
}

static void assert_row(int i, const float *x)
{
    assert_memory_equal(x, values() + (size_t)i * LEN, LEN * sizeof *x);
}

static void a_subset_has_the_labels_of_its_rows_and_the_values_where_they_are(void **state)
{
    static const uint32_t odd[] = { 1, 3, 5, 51, 99 }, third[] = { 0, 2, 4 };
    ky_dataset d = in_memory();
    ky_subset of_d, of_it;

    (void)state;
    assert_int_equal(ky_subset_new(&d, odd, 5, &of_d, NULL), KY_OK);
    assert_int_equal(ky_subset_new(&of_d.d, third, 3, &of_it, NULL), KY_OK);

    assert_int_equal(of_d.d.N, 5);
    for (int i = 0; i < 5; i++) {
        assert_row((int)odd[i], ky_dataset_row(&of_d.d, i));
        assert_int_equal(of_d.d.y[i], odd[i] % 5);
        assert_int_equal(of_d.d.group[i], odd[i] / 10);
        assert_int_equal(of_d.d.ts[i], 1000 + odd[i]);
    }
    assert_row(99, ky_dataset_row(&of_it.d, 2));
    assert_int_equal(of_it.d.y[1], 5 % 5);
    ky_subset_done(&of_d);
    ky_subset_done(&of_it);
}

/* All rows once, in order, whatever the source's blocks and the memory. */
static void a_walk_meets_every_row_in_order(void **state)
{
    static const struct {
        uint32_t block;
        size_t memory;
    } cases[] = { { 1, 4 }, { 7, 1000 }, { 16, 1 << 20 }, { 1000, 1 << 20 }, { 100, 4 } };
    static uint32_t some[N];
    int n_some = 0;

    (void)state;
    for (uint32_t i = 0; i < N; i++)
        if (i % 7 == 3 || i > 90)
            some[n_some++] = i;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        made_source s = source_of(values(), N, LEN, cases[i].block, cases[i].memory);
        ky_dataset d = in_memory();
        ky_subset part;

        d.x = NULL;
        d.source = &s.base;
        assert_int_equal(ky_subset_new(&d, some, n_some, &part, NULL), KY_OK);
        for (int k = 0; k < 2; k++) {
            const ky_dataset *of = k == 0 ? &d : &part.d;
            ky_walk w;
            int at = 0, n;

            assert_int_equal(ky_walk_begin(&w, of, NULL), KY_OK);
            while ((n = ky_walk_next(&w, NULL)) > 0)
                for (int r = 0; r < n; r++, at++) {
                    assert_int_equal(w.first + r, at);
                    assert_row(k == 0 ? at : (int)some[at], w.x[r]);
                }
            assert_int_equal(n, 0);
            assert_int_equal(at, of->N);
            ky_walk_done(&w);
        }
        assert_true(s.most * LEN * sizeof(float) <= cases[i].memory || s.most <= cases[i].block);
        ky_subset_done(&part);
    }
}

static void a_source_that_fails_ends_the_walk(void **state)
{
    made_source s = source_of(values(), N, LEN, 10, 10 * 4 * LEN * sizeof(float));
    ky_dataset d = in_memory();
    ky_walk w;
    ky_err err;
    int n;

    (void)state;
    d.x = NULL;
    d.source = &s.base;
    s.fails_at = 50;
    assert_int_equal(ky_walk_begin(&w, &d, NULL), KY_OK);
    while ((n = ky_walk_next(&w, &err)) > 0)
        continue;

    assert_int_equal(n, KY_EIO);
    assert_string_equal(err.text, "row 50 cannot be read");
    ky_walk_done(&w);
}

/* One epoch's order, with every row's values held against what they should be. */
static int epoch(ky_shuffle *s, ky_rng *rng, uint32_t *order)
{
    const float *x[BATCH];
    int at = 0, n;

    ky_shuffle_begin(s, rng);
    while ((n = ky_shuffle_next(s, order + at, x, NULL)) > 0) {
        for (int r = 0; r < n; r++)
            assert_row((int)order[at + r], x[r]);
        at += n;
        if (n < BATCH)
            assert_int_equal(ky_shuffle_next(s, order + at, x, NULL), 0);
    }
    assert_int_equal(n, 0);
    return at;
}

static void a_shuffle_draws_every_row_once_an_epoch(void **state)
{
    static const struct {
        uint32_t block;
        size_t rows; /* of memory */
    } cases[] = { { 1, 1 }, { 1, 9 }, { 4, 30 }, { 16, 40 }, { 16, 1000 }, { 1000, 1000 } };
    static uint32_t row[N], order[4][N + BATCH];
    int n_row = 0;

    (void)state;
    for (uint32_t i = 0; i < N; i++) /* some are held out */
        if (i % 6 != 2 && i / 16 != 3)
            row[n_row++] = i;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        made_source s =
            source_of(values(), N, LEN, cases[i].block, cases[i].rows * LEN * sizeof(float));
        ky_dataset d = in_memory();
        ky_shuffle *buffer;
        ky_rng rng;

        d.x = NULL;
        d.source = &s.base;
        assert_int_equal(ky_shuffle_new(&d, row, n_row, BATCH, &buffer, NULL), KY_OK);
        for (int e = 0; e < 4; e++) {
            bool seen[N] = { false };

            if (e % 2 == 0) /* epochs 0 and 2, 1 and 3 begin alike */
                ky_rng_seed(&rng, 5);
            assert_int_equal(epoch(buffer, &rng, order[e]), n_row);
            for (int k = 0; k < n_row; k++) {
                assert_false(seen[order[e][k]]);
                seen[order[e][k]] = true;
            }
            for (int k = 0; k < n_row; k++)
                assert_true(seen[row[k]]);
        }
        assert_memory_equal(order[0], order[2], (size_t)n_row * sizeof(uint32_t));
        assert_memory_equal(order[1], order[3], (size_t)n_row * sizeof(uint32_t));
        assert_memory_not_equal(order[0], order[1], (size_t)n_row * sizeof(uint32_t));
        assert_memory_not_equal(order[0], row, (size_t)n_row * sizeof(uint32_t));
        ky_shuffle_free(buffer);
    }
}

/* Sorted by class, and a buffer of a fifth: the classes of a batch are still mixed. */
static void a_small_buffer_mixes_a_sorted_file(void **state)
{
    made_source s = source_of(values(), N, LEN, 2, N / 5 * LEN * sizeof(float));
    static uint32_t row[N], order[N + BATCH];
    ky_dataset d = in_memory();
    ky_shuffle *buffer;
    int alone = 0;
    ky_rng rng;

    (void)state;
    d.x = NULL;
    d.source = &s.base;
    for (uint32_t i = 0; i < N; i++)
        row[i] = i;
    assert_int_equal(ky_shuffle_new(&d, row, N, BATCH, &buffer, NULL), KY_OK);
    ky_rng_seed(&rng, 1);
    assert_int_equal(epoch(buffer, &rng, order), N);

    for (int b = 0; b + BATCH <= N; b += BATCH) {
        bool low = false, high = false;

        for (int r = 0; r < BATCH; r++) {
            low |= order[b + r] < N / 2;
            high |= order[b + r] >= N / 2;
        }
        alone += low != high;
    }
    assert_true(alone <= 2);
    ky_shuffle_free(buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subset_has_the_labels_of_its_rows_and_the_values_where_they_are),
        cmocka_unit_test(a_walk_meets_every_row_in_order),
        cmocka_unit_test(a_source_that_fails_ends_the_walk),
        cmocka_unit_test(a_shuffle_draws_every_row_once_an_epoch),
        cmocka_unit_test(a_small_buffer_mixes_a_sorted_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
