/*
 * Recurrent layers: what Keras 3 answers, and what masks, directions, carried states and
 * companions may not change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/models/net.h"

/* Every kernel set of this machine, one after the other. */
#define FOR_KERNELS(k)                                                                             \
    for (const ky_kernels *const *all_ = ky_kernels_all(), *k; (k = *all_) != NULL; all_++)

/* -- Keras's answers ------------------------------------------------------------------ */

typedef struct answer {
    const char *spec;
    int rank, d[4]; /* of the input, two rows of it */
    size_t n;
    const ky_real *want;
} answer;

static const answer answers[] = {
#include "tests/models/recurrent_values.inc"
};
enum { ANSWERS = sizeof(answers) / sizeof(*answers) };

/* The rule of make_recurrent.py: multiples of 1/scale about zero. */
static ky_real number(size_t i, size_t step, size_t start, size_t modulo, double scale)
{
    return (ky_real)(((double)((i * step + start) % modulo) - (double)(modulo / 2)) / scale);
}

/* As net_build, for inputs of any shape; every weight follows the rule. */
static ky_model *model_of(const char *spec, const ky_shape *in, const ky_kernels *k)
{
    char text[256], *layers;
    ky_model *m;
    ky_err err;

    snprintf(text, sizeof(text), "%s", spec);
    assert_int_equal(ky_model_new("net", in, &m, &err), KY_OK);
    for (char *words = strtok_r(text, ";", &layers); words != NULL;
         words = strtok_r(NULL, ";", &layers)) {
        ky_layer l;
        bool more;

        assert_int_equal(net_layer(&l, &words, &more, &err), KY_OK);
        if (ky_model_add(m, &l, &err) < 0)
            fail_msg("%s: %s", spec, err.text);
    }
    assert_int_equal(ky_model_finish(m, &err), KY_OK);
    for (size_t i = 0; i < m->n_weights; i++)
        m->weights[i] = number(i, 7, 3, 11, 8);
    m->kernels = k;
    assert_int_equal(ky_model_pack(m, &err), KY_OK);
    return m;
}

static ky_shape shape_of(const answer *a)
{
    ky_shape s = { .rank = a->rank, .timed = true };

    memcpy(s.d, a->d, sizeof(a->d));
    return s;
}

/* Two rows; before a Masking the first loses steps 0 and 3, the second 2 and the last. */
static ky_real *inputs_of(const answer *a)
{
    ky_shape s = shape_of(a);
    size_t step = ky_shape_step(&s), T = (size_t)a->d[0], n = 2 * T * step;
    const size_t lost[2][2] = { { 0, 3 }, { 2, T - 1 } };
    ky_real *x = net_reals(n);

    for (size_t i = 0; i < n; i++)
        x[i] = number(i, 5, 2, 13, 4);
    for (size_t r = 0; r < 2 && strstr(a->spec, "Masking") != NULL; r++)
        for (int j = 0; j < 2; j++)
            memset(x + (r * T + lost[r][j]) * step, 0, step * sizeof(*x));
    return x;
}

static void check_answer(const answer *a, const ky_kernels *k)
{
    ky_shape in = shape_of(a);
    ky_model *m = model_of(a->spec, &in, k);
    ky_real *x = inputs_of(a), *y = net_reals(a->n);
    ky_work *work = ky_work_new(m, a->d[0], 2);
    double most = 0;
    int dims[KY_MAX_RANK], rank;
    const char *name;
    size_t n = 2;

    rank = ky_model_output(m, 0, a->d[0], dims, &name);
    for (int i = 0; i < rank; i++)
        n *= (size_t)dims[i];
    assert_int_equal(n, a->n);
    ky_model_run(m, work, 2, a->d[0], (const ky_real *const[]){ x }, &y);
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)a->want[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)y[i] - (double)a->want[i]) <= 1e-6 * fmax(most, 1)))
            fail_msg("%s, %s: output %zu is %.9g, Keras says %.9g", a->spec, k->name, i,
                     (double)y[i], (double)a->want[i]);
    ky_work_free(work);
    ky_model_free(m);
    free(x);
    free(y);
}

/* To 1e-6: sums of a dozen numbers of about one, over few steps, with two kinds of exp. */
static void recurrent_layers_answer_as_keras_does(void **state)
{
    (void)state;
    FOR_KERNELS(k)
    for (int i = 0; i < ANSWERS; i++)
        check_answer(&answers[i], k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recurrent_layers_answer_as_keras_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
