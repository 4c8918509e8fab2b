/*
 * Layers against what Keras 3 itself answers; layer_values.inc is written by
 * tests/golden/make_values.py, which builds the same models from the same words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/models/net.h"

#include "tests/models/layer_values.inc"

enum { ROWS = 2 };

/* Weights layer after layer, as make_values.py counts them. */
static void set_weights(ky_model *m)
{
    for (size_t i = 0; i < m->n_weights; i++)
        m->weights[i] = (ky_real)((double)(i * 5 % 7 + 1) * 0.25);
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
}

static void layers_answer_as_keras_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        size_t n = (size_t)ROWS * (size_t)values[i].T * (size_t)values[i].F;
        ky_real *x = net_reals(n), *y = net_reals((size_t)values[i].n);
        const ky_real *const xs[] = { x };
        double largest = 0;
        int dims[KY_MAX_RANK], rank, len = ROWS;
        const char *name;
        ky_model *m;
        ky_work *work;

        for (size_t j = 0; j < n; j++)
            x[j] = (ky_real)(((double)(j * 7 % 11) - 5) * 0.25);
        assert_int_equal(
            net_build(values[i].spec, values[i].T, values[i].F, ky_kernels_get(), false, &m, NULL),
            KY_OK);
        set_weights(m);
        rank = ky_model_output(m, 0, values[i].T, dims, &name);
        for (int a = 0; a < rank; a++)
            len *= dims[a];
        assert_int_equal(len, values[i].n);
        work = ky_work_new(m, values[i].T, ROWS);
        ky_model_run(m, work, ROWS, values[i].T, xs, &y);
        for (int j = 0; j < len; j++)
            largest = fmax(largest, fabs(values[i].want[j]));
        for (int j = 0; j < len; j++) /* rounding of two orders of summation, and 8 digits */
            if (!(fabs((double)y[j] - values[i].want[j]) <= 2e-6 * fmax(largest, 1)))
                fail_msg("%s: value %d is %.9g, Keras says %.9g", values[i].spec, j, (double)y[j],
                         values[i].want[j]);
        ky_work_free(work);
        ky_model_free(m);
        free(x);
        free(y);
    }
}

/* What no Keras defines: see embedding.c. The numbers lie in front of the table and behind it. */
static void numbers_beyond_an_embedding_give_zeros(void **state)
{
    static const ky_real x[] = { -3.5f, -4, 2.99f, 3, 1e30f, -INFINITY, INFINITY, NAN };
    static const ky_real want[] = { 1, 0, 3, 0, 0, 0, 0, 0 };
    enum { N = sizeof(x) / sizeof(*x) };
    const ky_real *const xs[] = { x };
    ky_real y[N], *ys[] = { y };
    ky_model *m;
    ky_work *work;

    (void)state;
    assert_int_equal(
        net_build("Embedding input_dim=3 output_dim=1", N, 1, ky_kernels_get(), false, &m, NULL),
        KY_OK);
    for (int i = 0; i < 3; i++)
        m->weights[i] = (ky_real)(i + 1);
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    work = ky_work_new(m, N, 1);
    ky_model_run(m, work, 1, N, xs, ys);
    for (int i = 0; i < N; i++)
        assert_true(y[i] == want[i]);
    ky_work_free(work);
    ky_model_free(m);
}

/* Lengths that are only known when a window comes: some fit each other, others are refused. */
static void inputs_of_any_length_are_compared_once_it_is_known(void **state)
{
    static const struct {
        const char *spec;
        int T;
        bool fits;
    } cases[] = {
        { "a: Conv1D filters=2 kernel_size=1; Add @in,a", 9, true },
        { "a: Conv1D filters=2 kernel_size=2; Add @in,a", 9, false },
        { "a: Conv1D filters=2 kernel_size=2; Add @in,a", 2, true }, /* one step is for all */
        { "a: Conv1D filters=2 kernel_size=2; Concatenate @in,a", 2, false },
        { "a: Conv1D filters=2 kernel_size=2; Concatenate axis=1 @in,a", 9, true },
        { "a: MaxPooling1D pool_size=2; b: MaxPooling1D pool_size=3 @in; Multiply @a,b", 7, false },
        { "a: MaxPooling1D pool_size=2; b: MaxPooling1D pool_size=2 @in; Multiply @a,b", 7, true },
        { "a: GlobalMaxPooling1D; RepeatVector n=4; Average @in,repeat_vector", 4, true },
        { "a: GlobalMaxPooling1D; RepeatVector n=4; Average @in,repeat_vector", 5, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_work *work;
        ky_model *m;
        ky_err err;

        if (net_build(cases[i].spec, KY_ANY, 2, ky_kernels_get(), false, &m, &err) < 0)
            fail_msg("%s: %s", cases[i].spec, err.text);
        work = ky_work_new(m, cases[i].T, 1);
        if (ky_model_fits(m, cases[i].T) != cases[i].fits || (work != NULL) != cases[i].fits)
            fail_msg("%s: %d steps", cases[i].spec, cases[i].T);
        ky_work_free(work);
        ky_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_answer_as_keras_does),
        cmocka_unit_test(numbers_beyond_an_embedding_give_zeros),
        cmocka_unit_test(inputs_of_any_length_are_compared_once_it_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
