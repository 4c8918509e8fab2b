#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <string.h>

#include "models/pool.h"
#include "models/schedule.h"
#include "models/split.h"

enum { N = 200 };

static int held_of(const ky_dataset *d, const uint8_t *held, int32_t class)
{
    int n = 0;

    for (int i = 0; i < d->N; i++)
        n += held[i] && d->y[i] == class;
    return n;
}

/* -- splits ---------------------------------------------------------------------- */

static void a_group_is_never_on_both_sides(void **state)
{
    (void)state;
    int32_t y[N] = { 0 };
    uint32_t group[N];
    uint8_t held[N];
    for (int i = 0; i < N; i++)
        group[i] = (uint32_t)(i * 7 % 9) * 1000; /* nine groups, rows apart */
    ky_dataset d = { .N = N, .T = 1, .F = 1, .C = 1, .y = y, .group = group };

    for (uint64_t seed = 0; seed < 20; seed++) {
        int n = ky_split(&d, 0.2, seed, held, NULL), counted = 0;

        for (int i = 0; i < N; i++) {
            counted += held[i];
            for (int j = 0; j < N; j++)
                assert_true(group[i] != group[j] || held[i] == held[j]);
        }
        assert_int_equal(n, counted);
        assert_in_range(n, 40, 66); /* enough, and not a group more than needed */
    }
}

static void two_groups_leave_one_on_each_side(void **state)
{
    (void)state;
    int32_t y[4] = { 0 };
    uint32_t group[4] = { 5, 5, 9, 9 };
    uint8_t held[4];
    ky_dataset d = { .N = 4, .T = 1, .F = 1, .C = 1, .y = y, .group = group };

    assert_int_equal(ky_split(&d, 0.9, 1, held, NULL), 2);
    assert_int_not_equal(held[0], held[2]);
}

static void one_group_is_refused_because_it_would_leak(void **state)
{
    (void)state;
    int32_t y[4] = { 0, 1, 0, 1 };
    uint32_t group[4] = { 3, 3, 3, 3 };
    uint8_t held[4];
    ky_err err;
    ky_dataset d = { .N = 4, .T = 1, .F = 1, .C = 2, .y = y, .group = group };

    assert_int_equal(ky_split(&d, 0.5, 1, held, &err), KY_EINVAL);
    assert_non_null(strstr(err.text, "one group"));
}

static void one_carried_stream_holds_out_its_end(void **state)
{
    (void)state;
    int32_t y[4] = { 0, 1, 0, 1 };
    uint32_t group[4] = { 3, 3, 3, 3 };
    uint8_t held[4];
    ky_dataset d = { .N = 4, .T = 1, .F = 1, .C = 2, .y = y, .group = group, .carried = true };

    assert_int_equal(ky_split(&d, 0.25, 1, held, NULL), 1);
    assert_memory_equal(held, ((uint8_t[]){ 0, 0, 0, 1 }), 4);
}

static void rows_with_times_hold_out_the_latest(void **state)
{
    (void)state;
    int32_t y[6] = { 0 };
    int64_t ts[6] = { 50, 10, 40, 20, 30, 60 };
    uint8_t held[6];
    ky_dataset d = { .N = 6, .T = 1, .F = 1, .C = 1, .y = y, .ts = ts };

    assert_int_equal(ky_split(&d, 0.34, 7, held, NULL), 2);
    assert_memory_equal(held, ((uint8_t[]){ 1, 0, 0, 0, 0, 1 }), 6);
}

static void rows_of_one_time_stay_together(void **state)
{
    (void)state;
    int32_t y[6] = { 0 };
    int64_t ts[6] = { 1, 2, 3, 3, 3, 4 }, early[4] = { 1, 1, 1, 2 }, same[3] = { 5, 5, 5 };
    uint8_t held[6];
    ky_dataset d = { .N = 6, .T = 1, .F = 1, .C = 1, .y = y, .ts = ts };

    assert_int_equal(ky_split(&d, 0.34, 7, held, NULL), 4);
    assert_memory_equal(held, ((uint8_t[]){ 0, 0, 1, 1, 1, 1 }), 6);
    d.N = 4;
    d.ts = early;
    assert_int_equal(ky_split(&d, 0.5, 7, held, NULL), 1);
    assert_memory_equal(held, ((uint8_t[]){ 0, 0, 0, 1 }), 4);
    d.N = 3;
    d.ts = same;
    assert_int_equal(ky_split(&d, 0.5, 7, held, NULL), KY_EINVAL);
}

static void every_class_gives_a_like_share(void **state)
{
    (void)state;
    int32_t y[N];
    uint8_t held[N], again[N], other[N];
    for (int i = 0; i < N; i++)
        y[i] = i < 100 ? 0 : i < 190 ? 1 : 2;
    ky_dataset d = { .N = N, .T = 1, .F = 1, .C = 3, .y = y };

    assert_int_equal(ky_split(&d, 0.2, 1, held, NULL), 40);
    ky_split(&d, 0.2, 1, again, NULL);
    ky_split(&d, 0.2, 2, other, NULL);

    assert_int_equal(held_of(&d, held, 0), 20);
    assert_int_equal(held_of(&d, held, 1), 18);
    assert_int_equal(held_of(&d, held, 2), 2);
    assert_memory_equal(held, again, N);
    assert_memory_not_equal(held, other, N);
}

static void a_class_of_one_row_is_learned_not_held_out(void **state)
{
    (void)state;
    int32_t y[5] = { 0, 0, 1, 2, 2 };
    uint8_t held[5];
    ky_dataset d = { .N = 5, .T = 1, .F = 1, .C = 3, .y = y };

    assert_int_equal(ky_split(&d, 0.1, 1, held, NULL), 2);
    assert_int_equal(held_of(&d, held, 1), 0);
}

static void too_few_rows_are_refused(void **state)
{
    (void)state;
    int32_t y[2] = { 0, 1 };
    uint8_t held[2];
    ky_dataset d = { .N = 2, .T = 1, .F = 1, .C = 2, .y = y };

    assert_int_equal(ky_split(&d, 0.2, 1, held, NULL), KY_EINVAL);
    d.N = 0;
    assert_int_equal(ky_split(&d, 0.2, 1, held, NULL), KY_EINVAL);
}

/* -- the order of rows ------------------------------------------------------------- */

static void an_epoch_of_windows_shows_every_row_once(void **state)
{
    (void)state;
    uint32_t rows[50], seen[N] = { 0 }, first[2];
    ky_dataset d = { .N = N, .T = 1, .F = 1, .C = 1 };
    ky_schedule *s = NULL;
    ky_turn turns[16];
    ky_rng rng;
    for (uint32_t i = 0; i < 50; i++)
        rows[i] = 3 * i;
    ky_rng_seed(&rng, 1);
    assert_int_equal(ky_schedule_new(&d, rows, 50, 16, &s, NULL), KY_OK);

    for (uint32_t epoch = 1; epoch <= 2; epoch++) {
        assert_int_equal(ky_schedule_begin(s, &rng), 4);
        for (int b = 0; b < 4; b++) {
            int n = ky_schedule_batch(s, b, turns);

            assert_int_equal(n, b < 3 ? 16 : 2);
            for (int i = 0; i < n; i++) {
                seen[turns[i].row]++;
                assert_true(turns[i].fresh);
            }
            if (b == 0)
                first[epoch - 1] = turns[0].row * 1000 + turns[1].row;
        }
        for (uint32_t i = 0; i < N; i++)
            assert_int_equal(seen[i], i < 150 && i % 3 == 0 ? epoch : 0);
    }
    assert_int_not_equal(first[0], first[1]);
    ky_schedule_free(s);
}

/* Two long streams and five short ones over four lanes. */
static void carried_rows_follow_their_stream_in_one_lane(void **state)
{
    (void)state;
    uint32_t rows[N], group[N], seen[N] = { 0 }, last[4];
    int64_t ts[N];
    ky_dataset d = { .N = N, .T = 1, .F = 1, .group = group, .ts = ts, .carried = true };
    ky_schedule *s = NULL;
    ky_turn turns[4];
    ky_rng rng;
    int fresh = 0, batches;
    for (uint32_t i = 0; i < N; i++) {
        rows[i] = i;
        group[i] = i < 150 ? i % 2 : 2 + (i - 150) / 10;
        ts[i] = 1000 - (int64_t)i; /* time runs against the order of the rows */
    }
    ky_rng_seed(&rng, 1);
    assert_int_equal(ky_schedule_new(&d, rows, N, 4, &s, NULL), KY_OK);

    batches = ky_schedule_begin(s, &rng);
    for (int b = 0; b < batches; b++) {
        int n = ky_schedule_batch(s, b, turns);

        assert_in_range(n, 1, 4);
        for (int i = 0; i < n; i++) {
            const ky_turn *t = turns + i;

            seen[t->row]++;
            fresh += t->fresh;
            if (!t->fresh) {
                assert_int_equal(group[t->row], group[last[t->lane]]);
                assert_int_equal(ts[t->row], ts[last[t->lane]] + (t->row < 150 ? 2 : 1));
            }
            last[t->lane] = t->row;
        }
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(seen[i], 1);
    assert_int_equal(fresh, 7);
    ky_schedule_free(s);
}

static void one_long_stream_is_cut_so_that_lanes_have_company(void **state)
{
    (void)state;
    uint32_t rows[N];
    ky_dataset d = { .N = N, .T = 1, .F = 1, .carried = true };
    ky_schedule *s = NULL;
    ky_turn turns[16];
    ky_rng rng;
    int batches, rows_seen = 0;
    for (uint32_t i = 0; i < N; i++)
        rows[i] = i;
    ky_rng_seed(&rng, 1);
    assert_int_equal(ky_schedule_new(&d, rows, N, 16, &s, NULL), KY_OK);

    batches = ky_schedule_begin(s, &rng);
    for (int b = 0; b < batches; b++)
        rows_seen += ky_schedule_batch(s, b, turns);

    assert_int_equal(rows_seen, N);
    assert_in_range(batches, 26, 26); /* pieces of 2 * 13 rows */
    ky_schedule_free(s);
}

/* -- the pool ------------------------------------------------------------------------ */

typedef struct tally {
    atomic_int done[1000];
    atomic_int busy[3];
    atomic_int clashes;
} tally;

static void count(void *arg, int i, int worker)
{
    tally *t = arg;

    if (atomic_fetch_add(&t->busy[worker], 1) != 0)
        atomic_fetch_add(&t->clashes, 1);
    atomic_fetch_add(&t->done[i], 1);
    atomic_fetch_sub(&t->busy[worker], 1);
}

static void every_piece_is_done_once_and_workers_are_alone(void **state)
{
    (void)state;
    static tally t;
    ky_pool *p = ky_pool_new(3);
    assert_non_null(p);
    assert_in_range(ky_pool_workers(p), 1, 3);

    for (int round = 0; round < 50; round++)
        ky_pool_run(p, round % 2 == 0 ? 1000 : 1, count, &t);
    ky_pool_run(p, 0, count, &t);

    assert_int_equal(atomic_load(&t.done[0]), 50);
    for (int i = 1; i < 1000; i++)
        assert_int_equal(atomic_load(&t.done[i]), 25);
    assert_int_equal(atomic_load(&t.clashes), 0);
    ky_pool_free(p);
    ky_pool_free(NULL);
}

/* -- rows that overlap, and folds ----------------------------------------------------------------
 */

static void rows_that_reach_into_those_held_are_left_out(void **state)
{
    enum { WINDOWS = 20 };
    static int32_t y[WINDOWS];
    static int64_t ts[WINDOWS];
    uint8_t side[WINDOWS], fold[WINDOWS];
    ky_dataset d = { .N = WINDOWS, .T = 1, .F = 1, .C = 1, .y = y, .ts = ts, .span = 25 };

    (void)state;
    for (int i = 0; i < WINDOWS; i++)
        ts[i] = 1000 + 10 * i; /* each overlaps the next two, and shares a moment with no third */

    assert_int_equal(ky_split(&d, 0.25, 1, side, NULL), 5);
    for (int i = 0; i < WINDOWS; i++)
        assert_int_equal(side[i], i >= 15 ? KY_HELD : i >= 13 ? KY_LEFT_OUT : KY_LEARNED);
    d.span = 1000;
    assert_int_equal(ky_split(&d, 0.25, 1, side, NULL), KY_EINVAL); /* nothing is left */

    d.span = 25;
    assert_int_equal(ky_fold(&d, 4, 1, fold, NULL), KY_OK);
    ky_fold_sides(&d, fold, 1, side);
    for (int i = 0; i < WINDOWS; i++) {
        bool held = i >= 5 && i < 10;

        assert_int_equal(side[i], held ? KY_HELD : i >= 3 && i < 12 ? KY_LEFT_OUT : KY_LEARNED);
    }
}

static void folds_share_every_class_and_part_no_group(void **state)
{
    enum { ROWS = 103, K = 5 };
    static int32_t y[ROWS];
    static uint32_t group[ROWS];
    uint8_t fold[ROWS], again[ROWS], other[ROWS];
    ky_dataset d = { .N = ROWS, .T = 1, .F = 1, .C = 3, .y = y };
    int of[K][3] = { { 0 } }, rows[K] = { 0 };

    (void)state;
    for (int i = 0; i < ROWS; i++) {
        y[i] = i < 53 ? 0 : i < 93 ? 1 : 2;
        group[i] = (uint32_t)i / 6;
    }
    assert_int_equal(ky_fold(&d, K, 1, fold, NULL), KY_OK);
    assert_int_equal(ky_fold(&d, K, 1, again, NULL), KY_OK);
    assert_int_equal(ky_fold(&d, K, 2, other, NULL), KY_OK);
    for (int i = 0; i < ROWS; i++) {
        assert_true(fold[i] < K);
        of[fold[i]][y[i]]++;
        rows[fold[i]]++;
    }
    for (int f = 0; f < K; f++) {
        assert_in_range(rows[f], ROWS / K, ROWS / K + 1);
        assert_in_range(of[f][0], 53 / K, 53 / K + 1);
        assert_int_equal(of[f][1], 40 / K);
        assert_int_equal(of[f][2], 10 / K);
    }
    assert_memory_equal(fold, again, ROWS);
    assert_memory_not_equal(fold, other, ROWS);

    d.group = group;
    assert_int_equal(ky_fold(&d, K, 1, fold, NULL), KY_OK);
    memset(rows, 0, sizeof rows);
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(fold[i], fold[i / 6 * 6]);
        rows[fold[i]]++;
    }
    for (int f = 0; f < K; f++)
        assert_in_range(rows[f], ROWS / K - 6, ROWS / K + 6);
    assert_int_equal(ky_fold(&d, 50, 1, fold, NULL), KY_EINVAL);
    for (int i = 0; i < ROWS; i++)
        group[i] = 7;
    assert_int_equal(ky_fold(&d, K, 1, fold, NULL), KY_EINVAL);
}

static void a_split_has_both_parts_and_nothing_of_what_is_left_out(void **state)
{
    static const uint8_t side[] = { KY_HELD, KY_LEARNED, KY_LEFT_OUT, KY_HELD, KY_LEARNED };
    static const int32_t y[] = { 10, 11, 12, 13, 14 };
    static const float x[] = { 0, 1, 2, 3, 4 };
    ky_dataset d = { .N = 5, .T = 1, .F = 1, .C = 20, .x = x, .y = y };
    ky_subset learned, held;

    (void)state;
    assert_int_equal(ky_split_parts(&d, side, &learned, &held, NULL), KY_OK);

    assert_int_equal(learned.d.N, 2);
    assert_int_equal(learned.d.y[0], 11);
    assert_int_equal(learned.d.y[1], 14);
    assert_int_equal(held.d.N, 2);
    assert_int_equal(held.d.y[1], 13);
    assert_true(*ky_dataset_row(&held.d, 1) == 3);
    ky_subset_done(&learned);
    ky_subset_done(&held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_is_never_on_both_sides),
        cmocka_unit_test(two_groups_leave_one_on_each_side),
        cmocka_unit_test(one_group_is_refused_because_it_would_leak),
        cmocka_unit_test(one_carried_stream_holds_out_its_end),
        cmocka_unit_test(rows_with_times_hold_out_the_latest),
        cmocka_unit_test(rows_of_one_time_stay_together),
        cmocka_unit_test(every_class_gives_a_like_share),
        cmocka_unit_test(a_class_of_one_row_is_learned_not_held_out),
        cmocka_unit_test(too_few_rows_are_refused),
        cmocka_unit_test(an_epoch_of_windows_shows_every_row_once),
        cmocka_unit_test(carried_rows_follow_their_stream_in_one_lane),
        cmocka_unit_test(one_long_stream_is_cut_so_that_lanes_have_company),
        cmocka_unit_test(every_piece_is_done_once_and_workers_are_alone),
        cmocka_unit_test(rows_that_reach_into_those_held_are_left_out),
        cmocka_unit_test(folds_share_every_class_and_part_no_group),
        cmocka_unit_test(a_split_has_both_parts_and_nothing_of_what_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
