/* What augmentation does to rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/augment.h"

enum { TIMES = 200 };

/* An augmenter of rows of a shape, whose values have mean 10 and deviation 2 each. */
typedef struct made {
    ky_model *m;
    ky_moments *moments;
    ky_augmenter a;
} made;

static made make(const char *arch, ky_shape shape, bool masks, ky_augment by)
{
    const ky_arch_opts o = {
        .input = shape, .n_outputs = 2, .answer = KY_SOFTMAX, .normalize = true, .masks = masks
    };
    made t;
    ky_err err;

    if (ky_arch_build_for(arch, &o, &t.m, &err) < 0)
        fail_msg("%s", err.text);
    t.moments = malloc(sizeof *t.moments);
    assert_non_null(t.moments);
    assert_int_equal(ky_moments_init(t.moments, (size_t)shape.d[shape.rank - 1], NULL), KY_OK);
    t.moments->n = 50;
    for (size_t c = 0; c < t.moments->C; c++) {
        t.moments->mean[c] = 10;
        t.moments->squares[c] = 4 * 50;
    }
    if (ky_augmenter_init(&t.a, &by, t.m, shape.timed ? shape.d[0] : 1, t.moments, &err) < 0)
        fail_msg("%s", err.text);
    return t;
}

static void unmake(made *t)
{
    ky_moments_done(t->moments);
    free(t->moments);
    ky_model_free(t->m);
}

static void words_are_read_or_named(void **state)
{
    static const struct {
        const char *text;
        ky_augment is;
        const char *wrong;
    } cases[] = {
        { "jitter=0.05", { 0.05, 0, 0 }, NULL },
        { "shift=4,scale=0.5,jitter=1e-2", { 0.01, 0.5, 4 }, NULL },
        { "jitter=0", { 0, 0, 0 }, NULL },
        { "", { 0, 0, 0 }, "''" },
        { "jitter", { 0, 0, 0 }, "'jitter'" },
        { "jitter=", { 0, 0, 0 }, "'jitter='" },
        { "jitter=x", { 0, 0, 0 }, "'jitter=x'" },
        { "jitter=-1", { 0, 0, 0 }, "'jitter=-1'" },
        { "jitter=nan", { 0, 0, 0 }, "'jitter=nan'" },
        { "jitter=1e9", { 0, 0, 0 }, "'jitter=1e9'" },
        { "shift=1.5", { 0, 0, 0 }, "'shift=1.5': shift wants one whole number" },
        { "shift=1,", { 0, 0, 0 }, "''" },
        { "shift=1,shift=2", { 0, 0, 0 }, "'shift=2'" },
        { "jitters=1", { 0, 0, 0 }, "'jitters=1' is none of" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ky_augment a = { 0 };
        ky_err err = { 0 };
        int rc = ky_augment_parse(cases[i].text, &a, &err);

        if ((rc == KY_OK) != (cases[i].wrong == NULL) ||
            (rc < 0 && strstr(err.text, cases[i].wrong) == NULL))
            fail_msg("'%s': %d, %s", cases[i].text, rc, err.text);
        if (rc == KY_OK)
            assert_true(a.jitter == cases[i].is.jitter && a.scale == cases[i].is.scale &&
                        a.shift == cases[i].is.shift);
        assert_int_equal(ky_augment_any(&a), a.jitter > 0 || a.scale > 0 || a.shift > 0);
    }
}

/* Every shift from -2 to 2 comes, edges repeated, both values of a step together. */
static void series_are_moved_along_their_steps(void **state)
{
    enum { T = 6 };
    made t = make("lstm:2, dense", (ky_shape){ 2, { T, 2 }, true }, false, (ky_augment){ 0, 0, 2 });
    float x[T * 2], y[T * 2];
    bool came[5] = { false };

    (void)state;
    for (int i = 0; i < T * 2; i++)
        x[i] = (float)i;
    for (uint64_t seed = 0; seed < TIMES; seed++) {
        int by;

        ky_augment_row(&t.a, seed, x, y);
        by = 2 - (int)y[4] / 2; /* what is now in step 2 was in step 2 - by */
        assert_in_range(by + 2, 0, 4);
        came[by + 2] = true;
        for (int s = 0; s < T; s++) {
            int from = s - by < 0 ? 0 : s - by < T ? s - by : T - 1;

            assert_memory_equal(y + 2 * s, x + 2 * from, 2 * sizeof *x);
        }
    }
    for (int i = 0; i < 5; i++)
        assert_true(came[i]);
    unmake(&t);
}

/* All frames of a video go the same way, down and across. */
static void frames_are_moved_together(void **state)
{
    enum { T = 3, H = 5, W = 4 };
    made t = make("td(flatten), lstm:2, dense", (ky_shape){ 4, { T, H, W, 1 }, true }, false,
                  (ky_augment){ 0, 0, 1 });
    float x[T * H * W], y[T * H * W];
    bool came[3][3] = { { false } };

    (void)state;
    for (int i = 0; i < T * H * W; i++)
        x[i] = (float)i;
    for (uint64_t seed = 0; seed < TIMES; seed++) {
        int at, down, right;

        ky_augment_row(&t.a, seed, x, y);
        at = (int)y[2 * W + 1];
        down = 2 - at / W;
        right = 1 - at % W;
        assert_true(down >= -1 && down <= 1 && right >= -1 && right <= 1);
        came[down + 1][right + 1] = true;
        for (int f = 0; f < T; f++)
            for (int h = 1; h < H - 1; h++)
                for (int w = 1; w < W - 1; w++)
                    assert_true(y[(f * H + h) * W + w] == x[(f * H + h - down) * W + w - right]);
    }
    for (int i = 0; i < 9; i++)
        assert_true(came[i / 3][i % 3]);
    unmake(&t);
}

/* Of n normal draws the mean is within 5/sqrt(n) of 0 and the variance within 5 sqrt(2/n) of 1. */
static void values_are_jittered_and_scaled_by_their_own_deviation(void **state)
{
    enum { VALUES = 50, N = TIMES * VALUES };
    made t = make("dense", (ky_shape){ 1, { VALUES }, false }, false, (ky_augment){ 0.5, 0, 0 });
    float x[VALUES], y[VALUES];
    double sum = 0, squares = 0;

    (void)state;
    for (int i = 0; i < VALUES; i++)
        x[i] = (float)(10 + i);
    for (uint64_t seed = 0; seed < TIMES; seed++) {
        ky_augment_row(&t.a, seed, x, y);
        for (int i = 0; i < VALUES; i++) {
            double e = ((double)y[i] - (double)x[i]) / (0.5 * 2);

            sum += e;
            squares += e * e;
        }
    }
    assert_true(fabs(sum / N) < 5 / sqrt(N));
    assert_true(fabs(squares / N - 1) < 5 * sqrt(2.0 / N));

    t.a.by = (ky_augment){ 0, 0.3, 0 };
    sum = squares = 0;
    for (uint64_t seed = 0; seed < TIMES; seed++) {
        double z;

        ky_augment_row(&t.a, seed, x, y);
        assert_true(y[0] == 10); /* the mean stays */
        z = ((double)y[1] - 10) / ((double)x[1] - 10) - 1;
        for (int i = 1; i < VALUES; i++) /* one factor a row; floats of about 60 */
            assert_float_equal(y[i], 10 + (x[i] - 10) * (1 + z), 1e-4);
        sum += z / 0.3;
        squares += z * z / 0.09;
    }
    assert_true(fabs(sum / TIMES) < 5 / sqrt(TIMES));
    assert_true(fabs(squares / TIMES - 1) < 5 * sqrt(2.0 / TIMES));
    unmake(&t);
}

static void steps_that_are_not_there_stay_so(void **state)
{
    enum { T = 6, REAL = 4 };
    made t =
        make("lstm:2, dense", (ky_shape){ 2, { T, 1 }, true }, true, (ky_augment){ 0.1, 0.1, 3 });
    float x[T], y[T];

    (void)state;
    for (int i = 0; i < T; i++)
        x[i] = i < REAL ? (float)i : (float)KY_MASK_VALUE;
    for (uint64_t seed = 0; seed < TIMES; seed++) {
        ky_augment_row(&t.a, seed, x, y);
        for (int i = 0; i < T; i++)
            assert_true(i < REAL ? fabsf(y[i]) < 100 : y[i] == (float)KY_MASK_VALUE);
    }
    unmake(&t);
}

static void a_seed_always_draws_the_same(void **state)
{
    enum { T = 8 };
    made t =
        make("lstm:2, dense", (ky_shape){ 2, { T, 2 }, true }, false, (ky_augment){ 0.1, 0.1, 3 });
    float x[T * 2], y[3][T * 2];

    (void)state;
    for (int i = 0; i < T * 2; i++)
        x[i] = (float)(i * i);
    ky_augment_row(&t.a, 5, x, y[0]);
    ky_augment_row(&t.a, 6, x, y[1]);
    ky_augment_row(&t.a, 5, x, y[2]);

    assert_memory_equal(y[0], y[2], sizeof y[0]);
    assert_memory_not_equal(y[0], y[1], sizeof y[0]);
    unmake(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_read_or_named),
        cmocka_unit_test(series_are_moved_along_their_steps),
        cmocka_unit_test(frames_are_moved_together),
        cmocka_unit_test(values_are_jittered_and_scaled_by_their_own_deviation),
        cmocka_unit_test(steps_that_are_not_there_stay_so),
        cmocka_unit_test(a_seed_always_draws_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
