#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/metrics.h"
#include "models/rng.h"

/* Sums of a few doubles: some roundings. */
#define EPS 1e-12

static ky_metrics measure(const ky_answered *a, int resamples)
{
    ky_metrics s;
    ky_err err = { 0 };

    if (ky_measure(a, resamples, 7, 2, &s, &err) != KY_OK)
        fail_msg("%s", err.text);
    return s;
}

static ky_answered classes(const int32_t *y, const float *p, int N, int C)
{
    return (ky_answered){
        .truth = KY_OF_CLASSES, .probabilities = true, .N = N, .C = C, .outputs = C, .y = y, .p = p
    };
}

static ky_answered numbers(const float *target, const float *p, int N, int C)
{
    return (ky_answered){
        .truth = KY_OF_NUMBERS, .N = N, .C = C, .outputs = C, .target = target, .p = p
    };
}

/* -- values ----------------------------------------------------------------------------------- */

/* The example of scikit-learn's f1_score: macro 0.26..., classes 0.8, 0, 0. */
static void classes_are_counted_as_scikit_learn_counts_them(void **state)
{
    (void)state;
    const int32_t y[] = { 0, 1, 2, 0, 1, 2 };
    const int says[] = { 0, 2, 1, 0, 0, 1 };
    float p[18] = { 0 };
    for (int i = 0; i < 6; i++)
        p[3 * i + says[i]] = 1;
    const ky_answered a = classes(y, p, 6, 3);

    ky_metrics s = measure(&a, 0);

    assert_float_equal(s.figure[KY_MACRO_F1].value, 0.8 / 3, EPS);
    assert_float_equal(s.figure[KY_ACCURACY].value, 2 / 6.0, EPS);
    assert_float_equal(s.each[0].precision, 2 / 3.0, EPS);
    assert_float_equal(s.each[0].recall, 1, EPS);
    assert_float_equal(s.each[0].f1, 0.8, EPS);
    assert_float_equal(s.each[1].recall, 0, EPS);
    assert_float_equal(s.each[2].support, 2, EPS);
    assert_float_equal(s.each[1].said, 2, EPS);
    assert_memory_equal(s.confusion, ((uint32_t[]){ 2, 0, 0, 1, 0, 1, 0, 2, 0 }), 36);
    assert_true(isnan(s.figure[KY_MAE].value) && isnan(s.figure[KY_MACRO_F1].low));
    ky_metrics_done(&s);
}

/* By hand: 0.7 and 0.9 right, 0.6 wrong, 0.75 right with one quarter left to each other class. */
static void calibration_is_that_worked_out_by_hand(void **state)
{
    (void)state;
    const int32_t y[] = { 0, 1, 1, 0 };
    const float p[] = { 0.7f, 0.3f, 0.1f, 0.9f, 0.6f, 0.4f, 0.71f, 0.29f };
    const ky_answered a = classes(y, p, 4, 2);

    ky_metrics s = measure(&a, 0);

    /* Bins of a fifteenth: 0.7 and 0.71 in [10/15,11/15), 0.9 in the 14th, 0.6 in the 10th. */
    assert_float_equal(s.figure[KY_ECE].value, (fabs(2 - 1.41) + 0.1 + 0.6) / 4, 1e-7);
    assert_float_equal(s.bin[10].n, 2, EPS);
    assert_float_equal(s.bin[10].confidence, 0.705, 1e-7);
    assert_float_equal(s.bin[10].right, 1, EPS);
    assert_float_equal(s.bin[9].right, 0, EPS);
    assert_float_equal(s.bin[13].n, 1, EPS);
    assert_true(isnan(s.bin[0].right));
    assert_float_equal(s.figure[KY_BRIER].value, 2 * (0.09 + 0.01 + 0.36 + 0.29 * 0.29) / 4, 1e-7);
    assert_float_equal(s.figure[KY_LOG_LOSS].value,
                       -(log(0.7) + log(0.9) + log(0.4) + log(0.71)) / 4, 1e-7);
    ky_metrics_done(&s);
}

static void one_output_counts_as_two_classes_do(void **state)
{
    (void)state;
    const int32_t y[] = { 0, 1, 1, 0, 1 };
    const float one[] = { 0.25f, 0.75f, 0.5f, 0.625f, 1.0f };
    float two[10];
    for (int i = 0; i < 5; i++) {
        two[2 * i] = 1 - one[i];
        two[2 * i + 1] = one[i];
    }
    ky_answered a = classes(y, one, 5, 2), b = classes(y, two, 5, 2);
    a.outputs = 1;

    ky_metrics s = measure(&a, 50), t = measure(&b, 50);

    assert_memory_equal(s.figure, t.figure, sizeof s.figure);
    assert_memory_equal(s.confusion, t.confusion, 16);
    ky_metrics_done(&s);
    ky_metrics_done(&t);
}

/* The examples of scikit-learn's r2_score, mean_absolute_error and mean_squared_error. */
static void numbers_are_measured_as_scikit_learn_measures_them(void **state)
{
    (void)state;
    const float t[] = { 3, -0.5f, 2, 7 }, p[] = { 2.5f, 0, 2, 8 };
    const float t2[] = { 0.5f, 1, -1, 1, 7, -6 }, p2[] = { 0, 2, -1, 2, 8, -5 };
    const ky_answered one = numbers(t, p, 4, 1), two = numbers(t2, p2, 3, 2);

    ky_metrics a = measure(&one, 0), b = measure(&two, 0);

    assert_float_equal(a.figure[KY_R2].value, 0.9486081370449679, EPS);
    assert_float_equal(a.figure[KY_MAE].value, 0.5, EPS);
    assert_float_equal(a.figure[KY_RMSE].value, sqrt(0.375), EPS);
    assert_float_equal(b.each[0].r2, 0.96543779, 1e-8);
    assert_float_equal(b.each[1].r2, 0.90816327, 1e-8);
    assert_float_equal(b.figure[KY_R2].value, (0.96543779 + 0.90816327) / 2, 1e-8);
    assert_float_equal(b.figure[KY_MAE].value, 0.75, EPS);
    assert_float_equal(b.figure[KY_RMSE].value, sqrt(0.7083333333333334), EPS);
    assert_true(isnan(a.figure[KY_ACCURACY].value));
    ky_metrics_done(&a);
    ky_metrics_done(&b);
}

static void what_never_changes_has_no_r2(void **state)
{
    (void)state;
    const float t[] = { 0.1f, 1, 0.1f, 2, 0.1f, 3 }, p[] = { 0.1f, 1, 0.2f, 2, 0.1f, 3 };
    const ky_answered a = numbers(t, p, 3, 2);

    ky_metrics s = measure(&a, 100);

    assert_true(isnan(s.each[0].r2));
    assert_float_equal(s.figure[KY_R2].value, 1, EPS); /* of the other alone */
    ky_metrics_done(&s);
}

static void labels_are_counted_one_by_one(void **state)
{
    (void)state;
    const float t[] = { 1, 0, 1, 1, 0, 0, 1, 0 },
                p[] = { 0.9f, 0.2f, 0.8f, 0.4f, 0.6f, 0.1f, 0.7f, 0.3f };
    const ky_answered a = { .truth = KY_OF_LABELS,
                            .probabilities = true,
                            .N = 4,
                            .C = 2,
                            .outputs = 2,
                            .target = t,
                            .p = p };

    ky_metrics s = measure(&a, 0);

    assert_float_equal(s.figure[KY_ACCURACY].value, 6 / 8.0, EPS);
    assert_float_equal(s.each[0].f1, 2 * 3 / 7.0, EPS);
    assert_float_equal(s.each[1].f1, 0, EPS);
    assert_true(isnan(s.each[1].precision));
    assert_float_equal(s.each[0].accuracy, 3 / 4.0, EPS);
    assert_float_equal(s.figure[KY_BRIER].value,
                       (.01 + .04 + .04 + .36 + .36 + .01 + .09 + .09) / 8, 1e-7);
    assert_null(s.confusion);
    ky_metrics_done(&s);
}

static void answers_that_are_no_probabilities_have_no_calibration(void **state)
{
    (void)state;
    const int32_t y[] = { 0, 1 };
    const float p[] = { 5, -3, NAN, 1e30f };
    ky_answered a = classes(y, p, 2, 2);
    a.probabilities = false;

    ky_metrics s = measure(&a, 20);

    assert_float_equal(s.figure[KY_ACCURACY].value, 0.5, EPS); /* nothing is larger than NaN */
    assert_true(isnan(s.figure[KY_ECE].value) && isnan(s.figure[KY_LOG_LOSS].value));
    ky_metrics_done(&s);
}

static void the_pairs_confused_most_come_first(void **state)
{
    (void)state;
    uint32_t confusion[] = { 9, 2, 0, 5, 9, 1, 2, 3, 9 };
    const ky_metrics s = { .C = 3, .confusion = confusion };
    ky_metrics_pair pairs[4];

    assert_int_equal(ky_metrics_confused(&s, pairs, 4), 4);

    assert_true(pairs[0].truly == 1 && pairs[0].said == 0 && pairs[0].rows == 5);
    assert_true(pairs[1].truly == 2 && pairs[1].said == 1 && pairs[1].rows == 3);
    assert_true(pairs[2].truly == 0 && pairs[2].said == 1);
    assert_true(pairs[3].truly == 2 && pairs[3].said == 0);
    assert_int_equal(ky_metrics_confused(&s, pairs, 2), 2);
    assert_true(pairs[1].truly == 2 && pairs[1].said == 1);
}

/* -- intervals -------------------------------------------------------------------------------- */

/* Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29. */
static void wilsons_interval_is_the_published_one(void **state)
{
    (void)state;
    static const double cases[][4] = { { 81, 263, 0.2553, 0.3662 },
                                       { 15, 148, 0.0624, 0.1605 },
                                       { 0, 20, 0, 0.1611 },
                                       { 1, 29, 0.0061, 0.1718 } };

    for (int i = 0; i < 4; i++) {
        ky_estimate e = ky_wilson(cases[i][0], cases[i][1]);

        assert_float_equal(e.value, cases[i][0] / cases[i][1], EPS);
        assert_float_equal(e.low, cases[i][2], 5.1e-5);
        assert_float_equal(e.high, cases[i][3], 5.1e-5);
    }
    assert_true(isnan(ky_wilson(0, 0).value));
}

enum { N = 400 };

typedef struct drawn {
    float t[N], p[N];
    int32_t y[N];
    float q[2 * N];
    uint32_t group[N];
} drawn;

static void draw(drawn *d)
{
    ky_rng rng;

    ky_rng_seed(&rng, 3);
    for (int i = 0; i < N; i++) {
        d->t[i] = 0;
        d->p[i] = (float)ky_rng_normal(&rng);
        d->y[i] = ky_rng_uniform(&rng) < 0.3;
        d->q[2 * i] = (float)ky_rng_uniform(&rng);
        d->q[2 * i + 1] = 1 - d->q[2 * i];
        d->group[i] = (uint32_t)(i / 40) * 77;
    }
}

/* Of a mean, the bootstrap's interval is nearly that of the normal distribution: 1.96 s / sqrt n.
 * 2000 resamples leave about 4 % of chance in each end. */
static void the_interval_of_a_mean_is_as_wide_as_theory_says(void **state)
{
    (void)state;
    static drawn d;
    double sum = 0, squares = 0;
    draw(&d);
    for (int i = 0; i < N; i++) {
        sum += fabs((double)d.p[i]);
        squares += (double)d.p[i] * (double)d.p[i];
    }
    double s = sqrt(squares / N - sum / N * (sum / N)), wide = 2 * 1.96 * s / sqrt(N);
    const ky_answered a = numbers(d.t, d.p, N, 1);

    ky_metrics m = measure(&a, 2000);

    ky_estimate e = m.figure[KY_MAE];
    assert_float_equal(e.value, sum / N, 1e-9);
    assert_float_equal(e.high - e.low, wide, 0.12 * wide);
    assert_float_equal((e.high + e.low) / 2, e.value, 0.1 * wide);
    ky_metrics_done(&m);
}

/* Rows of a group are all right or all wrong: two groups are two observations, whatever their
 * rows. A quarter of all draws takes the one twice, a quarter the other. */
static void groups_are_drawn_whole(void **state)
{
    (void)state;
    int32_t y[60] = { 0 };
    float p[120];
    uint32_t group[60];
    for (int i = 0; i < 60; i++) {
        group[i] = i < 30 ? 9 : 4;
        p[2 * i] = i < 30 ? 0.9f : 0.1f;
        p[2 * i + 1] = 1 - p[2 * i];
    }
    ky_answered a = classes(y, p, 60, 2);
    a.group = group;

    ky_metrics s = measure(&a, 500);
    ky_estimate grouped = s.figure[KY_ACCURACY];
    assert_int_equal(s.groups, 2);
    ky_metrics_done(&s);
    for (int i = 0; i < 60; i++)
        group[i] = 4;
    s = measure(&a, 500);

    assert_true(grouped.low == 0 && grouped.high == 1 && grouped.value == 0.5);
    assert_int_equal(s.groups, 0); /* one group: rows */
    assert_true(s.figure[KY_ACCURACY].low > 0.37 && s.figure[KY_ACCURACY].high < 0.63);
    ky_metrics_done(&s);
}

static void intervals_do_not_depend_on_threads_but_on_the_seed(void **state)
{
    (void)state;
    static drawn d;
    ky_metrics s[4];
    draw(&d);
    ky_answered a = classes(d.y, d.q, N, 2);
    a.group = d.group;

    for (int i = 0; i < 4; i++)
        assert_int_equal(ky_measure(&a, 100, i < 3 ? 5 : 6, i < 3 ? 1 << i : 1, &s[i], NULL),
                         KY_OK);

    assert_int_equal(s[0].groups, 10);
    assert_memory_equal(s[0].figure, s[1].figure, sizeof s[0].figure);
    assert_memory_equal(s[0].figure, s[2].figure, sizeof s[0].figure);
    assert_true(s[0].figure[KY_ECE].low != s[3].figure[KY_ECE].low);
    for (int i = 0; i < 4; i++)
        ky_metrics_done(&s[i]);
}

/* Where the probabilities are true, every resample looks worse calibrated than all rows do: the
 * interval still holds the value, and ends above zero as the rows are few. */
static void the_interval_of_a_calibration_holds_its_value(void **state)
{
    (void)state;
    static drawn d;
    ky_rng rng;

    for (uint64_t seed = 1; seed <= 5; seed++) {
        ky_rng_seed(&rng, seed);
        for (int i = 0; i < N; i++) {
            d.q[2 * i + 1] = (float)ky_rng_uniform(&rng);
            d.q[2 * i] = 1 - d.q[2 * i + 1];
            d.y[i] = ky_rng_uniform(&rng) < (double)d.q[2 * i + 1];
        }
        const ky_answered a = classes(d.y, d.q, N, 2);

        ky_metrics s = measure(&a, 200);
        ky_estimate e = s.figure[KY_ECE];

        assert_true(e.low >= 0 && e.low < e.value && e.value < e.high);
        assert_true(e.value < 0.15 && e.high < 0.2);
        ky_metrics_done(&s);
    }
}

/* -- what is refused -------------------------------------------------------------------------- */

static void what_cannot_be_scored_is_refused(void **state)
{
    (void)state;
    const int32_t y[] = { 0, 3, -1 };
    const float p[9] = { 0 };
    ky_answered a = classes(y, p, 3, 3);
    ky_metrics s;
    ky_err err;

    assert_int_equal(ky_measure(&a, 10, 1, 1, &s, &err), KY_ESHAPE);
    assert_non_null(strstr(err.text, "row 1: class 3"));
    a.N = 0;
    assert_int_equal(ky_measure(&a, 10, 1, 1, &s, &err), KY_ESHAPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_counted_as_scikit_learn_counts_them),
        cmocka_unit_test(calibration_is_that_worked_out_by_hand),
        cmocka_unit_test(one_output_counts_as_two_classes_do),
        cmocka_unit_test(numbers_are_measured_as_scikit_learn_measures_them),
        cmocka_unit_test(what_never_changes_has_no_r2),
        cmocka_unit_test(labels_are_counted_one_by_one),
        cmocka_unit_test(answers_that_are_no_probabilities_have_no_calibration),
        cmocka_unit_test(the_pairs_confused_most_come_first),
        cmocka_unit_test(wilsons_interval_is_the_published_one),
        cmocka_unit_test(the_interval_of_a_mean_is_as_wide_as_theory_says),
        cmocka_unit_test(groups_are_drawn_whole),
        cmocka_unit_test(intervals_do_not_depend_on_threads_but_on_the_seed),
        cmocka_unit_test(the_interval_of_a_calibration_holds_its_value),
        cmocka_unit_test(what_cannot_be_scored_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
