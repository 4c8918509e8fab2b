#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"
#include "models/evaluate.h"
#include "models/rng.h"

enum { N = 150, T = 20, F = 3 };

static ky_model *build(const char *arch, int steps)
{
    ky_shape input = { .rank = 2, .d = { steps, F }, .timed = true };
    ky_model *m = NULL;
    ky_err err = { 0 };

    if (ky_arch_build(arch, &input, 4, true, &m, &err) != KY_OK)
        fail_msg("%s", err.text);
    ky_model_init(m, 3);
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    return m;
}

static float *noise(size_t n)
{
    float *x = malloc(n * sizeof *x);
    ky_rng rng;

    ky_rng_seed(&rng, 1);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)ky_rng_normal(&rng);
    return x;
}

/* -- scores ------------------------------------------------------------------------------- */

static void scores_are_those_worked_out_by_hand(void **state)
{
    (void)state;
    const int32_t y[] = { 0, 0, 1, 2 };
    const float p[] = { 0.7f, 0.2f, 0.1f, /* right */
                        0.3f, 0.4f, 0.3f, /* says 1 */
                        0.4f, 0.4f, 0.2f, /* says 0, the first of equals */
                        0,    0,    1 };  /* right */
    ky_dataset d = { .N = 4, .C = 3, .y = y };
    ky_score s;

    assert_int_equal(ky_score_answers(&d, p, 3, &s, NULL), KY_OK);

    assert_float_equal(s.accuracy, 0.5, 1e-12);
    /* F1: class 0 2*1/(2+2), class 1 0/(1+1), class 2 1 */
    assert_float_equal(s.macro_f1, (0.5 + 0 + 1) / 3, 1e-12);
    assert_float_equal(s.log_loss, -(log(0.7) + log(0.3) + log(0.4) + log(1 - 1e-7)) / 4, 1e-7);
    assert_memory_equal(s.confusion, ((uint32_t[]){ 1, 1, 0, 1, 0, 0, 0, 0, 1 }),
                        9 * sizeof(uint32_t));
    free(s.confusion);
}

static void one_output_is_the_probability_of_the_second_class(void **state)
{
    (void)state;
    const int32_t y[] = { 0, 1, 1 };
    const float p[] = { 0.25f, 0.75f, 0.5f };
    ky_dataset d = { .N = 3, .C = 2, .y = y };
    ky_score s;

    assert_int_equal(ky_score_answers(&d, p, 1, &s, NULL), KY_OK);

    assert_float_equal(s.accuracy, 2 / 3.0, 1e-12);
    assert_float_equal(s.log_loss, -(log(0.75) + log(0.75) + log(0.5)) / 3, 1e-9);
    assert_memory_equal(s.confusion, ((uint32_t[]){ 1, 0, 1, 1 }), 4 * sizeof(uint32_t));
    free(s.confusion);
}

static void a_class_that_neither_occurs_nor_is_said_does_not_count(void **state)
{
    (void)state;
    const int32_t y[] = { 0, 1 };
    const float p[] = { 1, 0, 0, 0, 1, 0 };
    ky_dataset d = { .N = 2, .C = 3, .y = y };
    ky_score s;

    assert_int_equal(ky_score_answers(&d, p, 3, &s, NULL), KY_OK);

    assert_float_equal(s.macro_f1, 1, 1e-12);
    free(s.confusion);
}

static void a_class_the_model_does_not_know_is_refused(void **state)
{
    (void)state;
    const int32_t y[] = { 3 };
    const float p[] = { 1, 0, 0 };
    ky_dataset d = { .N = 1, .C = 4, .y = y };
    ky_score s;
    ky_err err;

    assert_int_equal(ky_score_answers(&d, p, 3, &s, &err), KY_ESHAPE);
}

/* -- answers --------------------------------------------------------------------------------- */

static void stepping_and_windows_answer_with_the_same_bits(void **state)
{
    (void)state;
    static const char *const archs[] = { "lstm:9, dense", "lstm:5, lstm:6, dense",
                                         "conv1d:5x3 causal relu, lstm:6, dense",
                                         "conv1d:5x3 relu, maxpool:2, flatten, dense" };
    float *x = noise((size_t)N * T * F);
    ky_dataset d = { .N = N, .T = T, .F = F, .x = x };

    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        ky_model *m = build(archs[i], T);
        float y[3][N * 4];

        for (int threads = 1; threads <= 3; threads++) {
            assert_int_equal(ky_answer(m, &d, KY_PATH_WINDOW, threads, y[0], NULL), KY_OK);
            assert_int_equal(ky_answer(m, &d, KY_PATH_SERVED, threads, y[1], NULL), KY_OK);
            if (threads == 1)
                memcpy(y[2], y[0], sizeof *y);
            assert_memory_equal(y[0], y[1], sizeof *y);
            assert_memory_equal(y[0], y[2], sizeof *y);
        }
        ky_model_free(m);
    }
    free(x);
}

/* A stream cut into rows answers at its end like the stream in one piece. */
static void carried_answers_go_on_from_row_to_row(void **state)
{
    (void)state;
    float *x = noise((size_t)N * T * F);
    ky_model *m = build("lstm:9, dense", KY_ANY);
    uint32_t group[N];
    float whole[3 * 4], parts[N * 4];
    for (uint32_t i = 0; i < N; i++)
        group[i] = 2 - i / 50;
    ky_dataset long_rows = { .N = 3, .T = 50 * T, .F = F, .x = x };
    ky_dataset rows = { .N = N, .T = T, .F = F, .x = x, .group = group, .carried = true };

    assert_int_equal(ky_answer(m, &long_rows, KY_PATH_SERVED, 1, whole, NULL), KY_OK);
    assert_int_equal(ky_answer(m, &rows, KY_PATH_SERVED, 2, parts, NULL), KY_OK);

    for (size_t s = 0; s < 3; s++)
        assert_memory_equal(whole + 4 * s, parts + 4 * (50 * s + 49), 4 * sizeof *whole);
    ky_model_free(m);
    free(x);
}

static void data_of_another_shape_are_refused_and_said(void **state)
{
    (void)state;
    float *x = noise((size_t)N * T * F), y[N * 4];
    ky_model *m = build("conv1d:4x3 relu, flatten, dense", T);
    ky_err err;
    ky_dataset steps = { .N = 2, .T = T - 1, .F = F, .x = x };
    ky_dataset values = { .N = 2, .T = T, .F = F - 1, .x = x };
    ky_dataset none = { .N = 0, .T = T, .F = F, .x = x };

    assert_int_equal(ky_answer(m, &steps, KY_PATH_SERVED, 1, y, &err), KY_ESHAPE);
    assert_non_null(strstr(err.text, "19 steps"));
    assert_int_equal(ky_answer(m, &values, KY_PATH_WINDOW, 1, y, &err), KY_ESHAPE);
    assert_non_null(strstr(err.text, "2 values"));
    assert_int_equal(ky_answer(m, &none, KY_PATH_WINDOW, 1, y, &err), KY_ESHAPE);
    ky_model_free(m);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_worked_out_by_hand),
        cmocka_unit_test(one_output_is_the_probability_of_the_second_class),
        cmocka_unit_test(a_class_that_neither_occurs_nor_is_said_does_not_count),
        cmocka_unit_test(a_class_the_model_does_not_know_is_refused),
        cmocka_unit_test(stepping_and_windows_answer_with_the_same_bits),
        cmocka_unit_test(carried_answers_go_on_from_row_to_row),
        cmocka_unit_test(data_of_another_shape_are_refused_and_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
