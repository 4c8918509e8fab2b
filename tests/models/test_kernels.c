#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fenv.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "models/layer_tools.h"
#include "tests/full.h"
/* For the table behind the processor's own instruction. */
#include "models/crc32c.c"

/* -- CRC ------------------------------------------------------------------------- */

static void crc32c_has_the_published_values(void **state)
{
    (void)state;
    unsigned char zeros[32] = { 0 }, ones[32], up[32];
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++)
        up[i] = (unsigned char)i;

    assert_int_equal(ky_crc32c(0, "", 0), 0);
    assert_int_equal(ky_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(ky_crc32c(0, zeros, 32), 0x8a9136aa); /* RFC 3720, B.4 */
    assert_int_equal(ky_crc32c(0, ones, 32), 0x62a8ab43);
    assert_int_equal(ky_crc32c(0, up, 32), 0x46dd794e);
}

static void crc32c_of_parts_is_that_of_the_whole(void **state)
{
    (void)state;
    unsigned char text[100];
    for (int i = 0; i < 100; i++)
        text[i] = (unsigned char)(i * 37);

    for (size_t at = 0; at <= sizeof text; at++)
        assert_int_equal(ky_crc32c(ky_crc32c(0, text, at), text + at, sizeof text - at),
                         ky_crc32c(0, text, sizeof text));
}

static void crc32c_by_table_equals_the_instruction(void **state)
{
    (void)state;
    unsigned char text[100];
    for (int i = 0; i < 100; i++)
        text[i] = (unsigned char)(i * 91 + 5);

    for (size_t from = 0; from < 8; from++)
        for (size_t len = 0; len + from <= sizeof text; len++)
            assert_int_equal(~crc_by_table(~0u, text + from, len), ky_crc32c(0, text + from, len));
}

/* -- activations ------------------------------------------------------------------- */

/* The formulas of Keras, written so that nothing cancels in double. */
static double f_relu(double x)
{
    return x < 0 ? 0 : x;
}

static double f_relu6(double x)
{
    return x < 0 ? 0 : x > 6 ? 6 : x;
}
static double f_leaky_relu(double x)
{
    return x > 0 ? x : 0.2f * x;
}
static double f_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}
static double f_elu(double x)
{
    return x > 0 ? x : expm1(x);
}
static double f_selu(double x)
{
    const double alpha = 1.6732632423543772, scale = 1.0507009873554805;
    return scale * (x > 0 ? x : alpha * expm1(x));
}
static double f_gelu(double x)
{
    return x * erfc(-x / sqrt(2)) / 2;
}
static double f_gelu_tanh(double x)
{
    return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
static double f_softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}
static double f_softsign(double x)
{
    return x / (1 + fabs(x));
}
static double f_silu(double x)
{
    return x / (1 + exp(-x));
}
static double f_mish(double x)
{
    return x * tanh(f_softplus(x));
}
static double f_hard_sigmoid(double x)
{
    return f_relu6(x + 3) / 6;
}
static double f_hard_silu(double x)
{
    return x * f_hard_sigmoid(x);
}
static double f_hard_sigmoid_k2(double x)
{
    return fmin(1, fmax(0, 0.2 * x + 0.5));
}
static double f_hard_tanh(double x)
{
    return fmin(1, fmax(-1, x));
}
static double f_log_sigmoid(double x)
{
    return -f_softplus(-x);
}
static double f_tanh_shrink(double x)
{
    return x - tanh(x);
}
static double f_soft_shrink(double x)
{
    return x > 0.5 ? x - 0.5 : x < -0.5 ? x + 0.5 : 0;
}
static double f_hard_shrink(double x)
{
    return fabs(x) > 0.5 ? x : 0;
}
static double f_squareplus(double x)
{
    double root = sqrt(x * x + 4);
    return x > 0 ? (x + root) / 2 : 2 / (root - x);
}
static double f_sparse_plus(double x)
{
    return x <= -1 ? 0 : x < 1 ? (x + 1) * (x + 1) / 4 : x;
}

/*
 * The largest error of each, by a search over all floats, rounded up: in units of the last place
 * unless it is below `absolute`.
 */
static const struct accuracy {
    enum ky_activation act;
    double (*f)(double);
    double ulps, absolute;
} accuracies[] = {
    { KY_RELU, f_relu, 0, 0 },
    { KY_TANH, tanh, 2.6, 0 },
    { KY_SIGMOID, f_sigmoid, 2.5, 1.2e-38 },
    { KY_HARD_SIGMOID_K2, f_hard_sigmoid_k2, 1, 4e-8 },
    { KY_HARD_SIGMOID_K3, f_hard_sigmoid, 1, 5e-8 },
    { KY_EXPONENTIAL, exp, 1.05, 0 },
    { KY_RELU6, f_relu6, 0, 0 },
    { KY_LEAKY_RELU, f_leaky_relu, 0.5, 0 },
    { KY_ELU, f_elu, 1, 0 },
    { KY_SELU, f_selu, 2, 0 },
    { KY_CELU, f_elu, 1, 0 },
    { KY_GELU, f_gelu, 6.5, 1e-42 },
    { KY_GELU_TANH, f_gelu_tanh, 1.8, 1e-7 },
    { KY_SOFTPLUS, f_softplus, 2.9, 0 },
    { KY_SOFTSIGN, f_softsign, 1.5, 0 },
    { KY_SILU, f_silu, 3.4, 1e-42 },
    { KY_MISH, f_mish, 4.8, 1e-42 },
    { KY_HARD_SILU, f_hard_silu, 1.5, 1.5e-7 },
    { KY_HARD_TANH, f_hard_tanh, 0, 0 },
    { KY_LOG_SIGMOID, f_log_sigmoid, 2.9, 0 },
    { KY_TANH_SHRINK, f_tanh_shrink, 1.8, 1.8e-7 },
    { KY_SOFT_SHRINK, f_soft_shrink, 0.5, 0 },
    { KY_HARD_SHRINK, f_hard_shrink, 0, 0 },
    { KY_SQUAREPLUS, f_squareplus, 2.8, 0 },
    { KY_SPARSE_PLUS, f_sparse_plus, 2, 0 },
};

static double ulps(float got, double want)
{
    float w = (float)want;
    double ulp = fabs(w) < 0x1p-126 ? 0x1p-149 : ldexp(1, ilogb(w) - 23);
    return fabs(got - want) / ulp;
}

/* The worst error over every step-th float, where the result is finite by some ulp. */
struct worst {
    double ulps;
    float at;
};

static struct worst worst_of(const ky_kernels *k, const struct accuracy *a, uint32_t step)
{
    enum { N = 1024 };
    struct worst w = { 0 };
    float x[N], y[N];
    for (uint64_t u = 0; u <= UINT32_MAX;) {
        int n = 0;
        for (; n < N && u <= UINT32_MAX; u += step) {
            uint32_t bits = (uint32_t)u;
            memcpy(&x[n], &bits, sizeof bits);
            n += isfinite(x[n]) != 0;
        }
        k->activate(a->act, x, y, (size_t)n);
        for (int i = 0; i < n; i++) {
            double want = a->f(x[i]), off = fabs(y[i] - want);
            if (!isfinite((float)(want * (1 + 1e-6))) || off <= a->absolute)
                continue;
            if (ulps(y[i], want) > w.ulps) {
                w.ulps = ulps(y[i], want);
                w.at = x[i];
            }
        }
    }
    return w;
}

/* All floats with KYMO_TEST_FULL=1; with the best set, as the others give its bits. */
static void activations_are_within_their_ulps(void **state)
{
    (void)state;
    bool full = ky_test_full();
#ifdef KY_SANITIZED /* would take hours */
    full = false;
#endif
    for (size_t i = 0; i < sizeof accuracies / sizeof *accuracies; i++) {
        const struct accuracy *a = &accuracies[i];
        struct worst w = worst_of(ky_kernels_get(), a, full ? 1 : 50021);
        if (full)
            print_message("%-16s %.3f ulp at %a\n", ky_activation_name(a->act), w.ulps, w.at);
        if (w.ulps > a->ulps)
            fail_msg("%s is %g ulp off at %a", ky_activation_name(a->act), w.ulps, w.at);
    }
}

static void every_activation_of_one_number_has_a_bound(void **state)
{
    (void)state;
    size_t n = sizeof accuracies / sizeof *accuracies;
    assert_int_equal(n, KY_SOFTMAX - KY_RELU);
    for (size_t i = 1; i < n; i++)
        assert_true(accuracies[i].act > accuracies[i - 1].act);
}

/* Keras 3.15.1 with the numpy backend, at these six places. */
static const float keras_x[6] = { -3.5f, -1.25f, -0.3f, 0.4f, 1.75f, 4.5f };
static const struct {
    const char *name;
    float y[6];
} keras_y[] = {
    { "relu6", { 0, 0, 0, 0.40000001f, 1.75f, 4.5f } },
    { "leaky_relu", { -0.69999999f, -0.25f, -0.060000002f, 0.40000001f, 1.75f, 4.5f } },
    { "elu", { -0.96980262f, -0.71349519f, -0.2591818f, 0.40000001f, 1.75f, 4.5f } },
    { "selu", { -1.7050093f, -1.2543955f, -0.45566735f, 0.42028043f, 1.8387268f, 4.7281547f } },
    { "celu", { -0.96980262f, -0.71349519f, -0.2591818f, 0.40000001f, 1.75f, 4.5f } },
    { "gelu",
      { -0.00081422925f, -0.13206221f, -0.11462658f, 0.26216871f, 1.6798965f, 4.4999847f } },
    { "softplus", { 0.029750418f, 0.25192907f, 0.55435526f, 0.91301525f, 1.9102242f, 4.5110478f } },
    { "softsign",
      { -0.77777779f, -0.55555558f, -0.23076925f, 0.2857143f, 0.63636363f, 0.81818181f } },
    { "silu", { -0.10259281f, -0.27837518f, -0.12766725f, 0.23947506f, 1.4909173f, 4.4505587f } },
    { "swish", { -0.10259281f, -0.27837518f, -0.12766725f, 0.23947506f, 1.4909173f, 4.4505587f } },
    { "mish", { -0.10409575f, -0.30841395f, -0.15113321f, 0.28903052f, 1.6749324f, 4.4989138f } },
    { "hard_sigmoid", { 0, 0.29166667f, 0.45f, 0.56666667f, 0.79166667f, 1 } },
    { "hard_silu", { 0, -0.36458337f, -0.13500001f, 0.22666667f, 1.3854166f, 4.5f } },
    { "hard_swish", { 0, -0.36458337f, -0.13500001f, 0.22666667f, 1.3854166f, 4.5f } },
    { "hard_tanh", { -1, -1, -0.30000001f, 0.40000001f, 1, 1 } },
    { "log_sigmoid",
      { -3.5297503f, -1.501929f, -0.85435528f, -0.51301527f, -0.16022415f, -0.011047745f } },
    { "tanh_shrink",
      { -2.501822f, -0.40171635f, -0.008687377f, 0.020051032f, 0.80862451f, 3.5002468f } },
    { "soft_shrink", { -3, -0.75f, 0, 0, 1.25f, 4 } },
    { "hard_shrink", { -3.5f, -1.25f, 0, 0, 1.75f, 4.5f } },
    { "squareplus", { 0.26556444f, 0.55424762f, 0.86118746f, 1.2198039f, 2.2037683f, 4.7122145f } },
    { "sparse_plus", { 0, 0, 0.1225f, 0.49f, 1.75f, 4.5f } },
    { "exponential", { 0.030197384f, 0.28650478f, 0.7408182f, 1.4918246f, 5.754602f, 90.017128f } },
    { "tanh", { -0.99817789f, -0.84828365f, -0.29131263f, 0.37994897f, 0.94137549f, 0.99975324f } },
    { "sigmoid",
      { 0.029312231f, 0.22270013f, 0.42555749f, 0.59868765f, 0.85195273f, 0.98901308f } },
    { "softmax",
      { 0.00030713031f, 0.0029139712f, 0.0075346836f, 0.015172989f, 0.058528677f, 0.91554255f } },
    { "log_softmax",
      { -8.0882384f, -5.8382384f, -4.8882384f, -4.1882384f, -2.8382384f, -0.08823844f } },
};

static void activations_have_the_names_and_values_of_keras(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof keras_y / sizeof *keras_y; i++) {
        enum ky_activation act;
        float y[6];
        assert_int_equal(ky_activation_find(keras_y[i].name, 3, &act), KY_OK);
        ky_activation_rows(ky_kernels_get(), act, 1, 6, keras_x, y);
        for (int j = 0; j < 6; j++)
            if (!(fabsf(y[j] - keras_y[i].y[j]) <= 3e-7f * fmaxf(1, fabsf(keras_y[i].y[j]))))
                fail_msg("%s(%g) is %.8g, Keras says %.8g", keras_y[i].name, keras_x[j], y[j],
                         keras_y[i].y[j]);
    }
}

/* The tanh form of gelu has no name in files: Keras's gelu(x, approximate=True). */
static void gelu_with_tanh_is_the_one_of_keras(void **state)
{
    (void)state;
    const float want[6] = { -0.00061614811f, -0.13228577f, -0.11462908f,
                            0.2621612f,      1.6797954f,   4.4999948f };
    float y[6];
    ky_kernels_get()->activate(KY_GELU_TANH, keras_x, y, 6);
    for (int j = 0; j < 6; j++)
        assert_true(fabsf(y[j] - want[j]) <= 1e-6f);
}

static void activations_pass_on_nan_and_keep_huge_numbers_in_their_limits(void **state)
{
    (void)state;
    /* What stands at -3e38, and whether 3e38 is itself; -0.0f and such are compared as numbers. */
    static const struct {
        enum ky_activation act;
        float low;
        bool same_above;
    } limits[] = {
        { KY_RELU, 0, true },          { KY_TANH, -1, false },
        { KY_SIGMOID, 0, false },      { KY_EXPONENTIAL, 0, false },
        { KY_RELU6, 0, false },        { KY_ELU, -1, true },
        { KY_SELU, -1.7580993f, 0 },   { KY_CELU, -1, true },
        { KY_GELU, 0, true },          { KY_GELU_TANH, 0, true },
        { KY_SOFTPLUS, 0, true },      { KY_SOFTSIGN, -1, false },
        { KY_SILU, 0, true },          { KY_MISH, 0, true },
        { KY_HARD_SILU, 0, true },     { KY_HARD_TANH, -1, false },
        { KY_LOG_SIGMOID, -3e38f, 0 }, { KY_TANH_SHRINK, -3e38f, true },
        { KY_SQUAREPLUS, 0, true },    { KY_SOFT_SHRINK, -3e38f, true },
        { KY_SPARSE_PLUS, 0, true },
    };
    const ky_kernels *k = ky_kernels_get();
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        float x[2] = { -3e38f, 3e38f }, y[2];
        k->activate(limits[i].act, x, y, 2);
        if (fabsf(y[0] - limits[i].low) > 2e-38f || (limits[i].same_above && y[1] != x[1]))
            fail_msg("%s of -3e38 and 3e38 is %g and %g", ky_activation_name(limits[i].act), y[0],
                     y[1]);
    }
    for (int act = KY_LINEAR; act < KY_SOFTMAX; act++) {
        float x = NAN, y = 0;
        k->activate((enum ky_activation)act, &x, &y, 1);
        if (!isnan(y))
            fail_msg("%s of NaN is %g", ky_activation_name((enum ky_activation)act), y);
    }
}

/* -- every set against the plain one --------------------------------------------------- */

/* The shapes and numbers repeat: one seed for each test. */
static uint32_t seed;

static uint32_t random_bits(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

/* [lo,hi] */
static int random_int(int lo, int hi)
{
    return lo + (int)(random_bits() % (uint32_t)(hi - lo + 1));
}

static float random_float(bool also_odd)
{
    static const float odd[] = { -0.0f, 0.0f, 0x1p-149f, -0x1.8p-130f, 1e-38f, 3e38f, -1e30f, 90 };
    if (also_odd && random_bits() % 64 == 0)
        return odd[random_bits() % 8];
    return ((float)random_bits() - 0x1p23f) * 0x1p-22f;
}

/* n floats of exactly that size, so that a sanitizer sees a step too far. */
static float *randoms(size_t n)
{
    float *x = malloc((n + (n == 0)) * sizeof *x);
    assert_non_null(x);
    bool also_odd = random_bits() % 4 == 0; /* not always, or long sums end as NaN */
    for (size_t i = 0; i < n; i++)
        x[i] = random_float(also_odd);
    return x;
}

static float *copy_of(const float *x, size_t n)
{
    float *y = malloc((n + (n == 0)) * sizeof *y);
    assert_non_null(y);
    memcpy(y, x, n * sizeof *y);
    return y;
}

/* Bits, except that every NaN is as good as another: their payload differs by operand order. */
static void assert_same(const float *got, const float *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0 && !(isnan(got[i]) && isnan(want[i])))
            fail_msg("%s: element %zu of %zu is %a, plain says %a", what, i, n, got[i], want[i]);
}

static const ky_kernels *plain(void)
{
    return ky_kernels_all()[0];
}

/* Calls `check` with every set, plain included, `times` times with other random numbers. */
static void for_every_set(void (*check)(const ky_kernels *k), int times)
{
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        seed = 20261122;
        for (int i = 0; i < times; i++)
            check(*k);
    }
}

static void check_activate(const ky_kernels *k)
{
    for (int act = KY_LINEAR; act < KY_SOFTMAX; act++) {
        size_t n = (size_t)random_int(0, 200);
        float *x = randoms(n), *want = randoms(n), *got = copy_of(want, n);
        plain()->activate(act, x, want, n);
        k->activate(act, x, got, n);
        assert_same(got, want, n, "activate");
        k->activate(act, x, x, n); /* in place */
        assert_same(x, want, n, "activate in place");
        free(x), free(want), free(got);
    }
}

static void activate_equals_plain(void **state)
{
    (void)state;
    for_every_set(check_activate, 100);
}

static void check_activate_everywhere(const ky_kernels *k)
{
    static float x[4096], want[4096], got[4096];
    for (int act = KY_LINEAR; act < KY_SOFTMAX; act++)
        for (uint32_t top = 0; top < 0x200; top++) {
            for (uint32_t i = 0; i < 4096; i++) {
                uint32_t u = top << 23 | i << 11 | (i * 37 & 0x7ff);
                memcpy(&x[i], &u, sizeof u);
            }
            plain()->activate(act, x, want, 4096);
            k->activate(act, x, got, 4096);
            assert_same(got, want, 4096, "activate");
        }
}

static void activate_equals_plain_in_every_exponent(void **state)
{
    (void)state;
    for_every_set(check_activate_everywhere, 1);
}

typedef void softmax_fn(int R, int C, const float *x, ptrdiff_t xs, float *y, ptrdiff_t ys);

static void check_softmax_of(softmax_fn *plains, softmax_fn *ours)
{
    int R = random_int(1, 40), C = random_int(1, 80), xs = C + random_int(0, 3);
    size_t n = (size_t)R * xs;
    float *x = randoms(n), *want = copy_of(x, n), *got = copy_of(x, n);
    plains(R, C, x, xs, want, xs);
    ours(R, C, x, xs, got, xs);
    assert_same(got, want, n, "softmax");
    int r = random_int(0, R - 1);
    ours(1, C, x + r * xs, xs, got, xs);
    assert_same(got, want + r * xs, (size_t)C, "softmax of one row");
    ours(R, C, x, xs, x, xs);
    assert_same(x, want, n, "softmax in place");
    free(x), free(want), free(got);
}

static void check_softmax(const ky_kernels *k)
{
    check_softmax_of(plain()->softmax, k->softmax);
    check_softmax_of(plain()->log_softmax, k->log_softmax);
}

/* One value that is not, at every place of every length, and values that are, the largest too. */
static void check_finite(const ky_kernels *k)
{
    static const float bad[] = { INFINITY, -INFINITY, NAN, -NAN };
    enum { MOST = 150 };
    float *x = randoms(MOST + 1);

    x[0] = FLT_MAX;
    x[1] = -FLT_TRUE_MIN;
    x[2] = -0.0f;
    for (size_t n = 0; n <= MOST; n++) {
        float behind = x[n];

        x[n] = NAN;
        assert_true(k->finite(n, x));
        x[n] = behind;
        for (size_t i = 0; i < n; i++) {
            float was = x[i];

            x[i] = bad[i % 4];
            assert_false(k->finite(n, x));
            x[i] = was;
        }
    }
    free(x);
}

static void a_value_that_is_not_finite_is_seen_wherever_it_stands(void **state)
{
    (void)state;
    for_every_set(check_finite, 1);
}

static void check_extent(const ky_kernels *k)
{
    size_t n = (size_t)random_int(0, 300);
    float *x = randoms(n + 1), want_largest, largest;
    double want, squares;

    plain()->extent(n, x, &want, &want_largest);
    k->extent(n, x, &squares, &largest);
    assert_memory_equal(&squares, &want, sizeof(want));
    assert_memory_equal(&largest, &want_largest, sizeof(largest));
    double sum = 0;
    float most = 0;

    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * x[i];
        most = fmaxf(most, fabsf(x[i]));
    }
    assert_true(largest == most);
    assert_true(fabs(squares - sum) <= 1e-12 * sum); /* the same squares in another order */
    free(x);
}

static void extent_equals_plain_and_the_sum_of_squares(void **state)
{
    (void)state;
    for_every_set(check_extent, 100);
}

static void softmax_and_its_logarithm_equal_plain(void **state)
{
    (void)state;
    for_every_set(check_softmax, 200);
}

static void softmax_sums_to_one(void **state)
{
    (void)state;
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        float x[3] = { 1000, 1001, 999 }, y[3];
        (*k)->softmax(1, 3, x, 3, y, 3);
        double sum = 1 + exp(-1) + exp(-2);
        assert_true(fabs(y[0] - exp(-1) / sum) < 1e-7);
        assert_true(fabs(y[1] - 1 / sum) < 1e-7);
        assert_true(fabs(y[2] - exp(-2) / sum) < 1e-7);
    }
}

/* Also where the probability itself is 0 in a float. */
static void log_softmax_is_the_logarithm(void **state)
{
    (void)state;
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        float x[4] = { -1000, 3, 5, 4.5f }, y[4];
        double sum = exp(-2) + 1 + exp(-0.5);
        (*k)->log_softmax(1, 4, x, 4, y, 4);
        for (int i = 0; i < 4; i++) {
            double want = (double)x[i] - 5 - log(sum);
            assert_true(ulps(y[i], want) < 2);
        }
    }
}

/* Up to `most` runs over some of K rows of W, and of x with gaps and backward steps between
 * them; returns how many, and where the last input of all lies. */
static int random_runs(int K, int most, ky_run *runs, ptrdiff_t *ret_end)
{
    int n = 0, k = 0;
    ptrdiff_t at = 0;
    *ret_end = 0;
    for (int want = random_int(0, most); n < want && k < K; n++) {
        k += random_int(0, 2) ? 0 : random_int(0, K - k - 1);
        at += random_int(0, 2) ? random_int(0, 5) : 0;
        int len = most == 1 ? K - k : random_int(0, K - k);
        runs[n] = (ky_run){ at, k, len };
        if (at + len > *ret_end)
            *ret_end = at + len;
        k += len;
        at = random_int(0, 7) ? at + len : 0;
    }
    return n;
}

/* One call of rows() with both sets. Strides leave gaps, which must stay as they were. */
static void check_rows_of(const ky_kernels *k, int R, int K, int N, int most_runs)
{
    ky_run runs[40];
    ptrdiff_t end, xs = random_int(1, 2 * K), ys = N + 2;
    int n = random_runs(K, most_runs, runs, &end);
    enum ky_activation act = (enum ky_activation)random_int(KY_LINEAR, KY_LOG_SOFTMAX);
    size_t n_y = (size_t)((R - 1) * ys + N);
    float *W = randoms((size_t)K * N), *b = random_int(0, 3) ? randoms((size_t)N) : NULL;
    float *x = randoms((size_t)((R - 1) * xs + end)); /* no more than the runs name */
    float *want = randoms(n_y), *got = copy_of(want, n_y);
    ky_mat *p = plain()->mat_new(K, N, W, b), *m = k->mat_new(K, N, W, b);
    assert_non_null(p);
    assert_non_null(m);
    plain()->rows(p, n, runs, R, x, xs, want, ys, act);
    k->rows(m, n, runs, R, x, xs, got, ys, act);
    assert_same(got, want, n_y, "rows");
    /* A row alone is the row in company. */
    int r = random_int(0, R - 1);
    k->rows(m, n, runs, 1, x + r * xs, xs, got, ys, act);
    assert_same(got, want + r * ys, (size_t)N, "rows, one row");
    plain()->mat_free(p);
    k->mat_free(m);
    free(W), free(b), free(x), free(want), free(got);
}

static void check_rows(const ky_kernels *k)
{
    check_rows_of(k, random_int(1, 70), random_int(1, 160), random_int(1, 130), random_int(1, 6));
}

static void rows_equals_plain_and_a_row_alone(void **state)
{
    (void)state;
    for_every_set(check_rows, 150);
}

static void check_long_rows(const ky_kernels *k)
{
    check_rows_of(k, random_int(1, 14), random_int(250, 700), random_int(1, 70),
                  random_int(0, 1) ? 1 : 40);
}

static void rows_equals_plain_over_a_long_inner_dimension(void **state)
{
    (void)state;
    for_every_set(check_long_rows, 40);
}

/* The runs of two taps of two inputs, one apart, by hand; the row of W between is skipped. */
static void rows_is_the_sum_over_its_runs(void **state)
{
    (void)state;
    const float W[5] = { 2, 3, NAN, 5, 7 }, b[1] = { 100 }, x[8] = { 0, 1, 2, NAN, 3, 4, 5, 6 };
    const ky_run runs[2] = { { 1, 0, 2 }, { 4, 3, 2 } };
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        float y[2];
        ky_mat *m = (*k)->mat_new(5, 1, W, b);
        assert_non_null(m);
        (*k)->rows(m, 2, runs, 2, x, 0, y, 1, KY_LINEAR);
        assert_true(y[0] == 100 + 2 * 1 + 3 * 2 + 5 * 3 + 7 * 4);
        assert_true(y[1] == y[0]);
        (*k)->mat_free(m);
    }
}

static void rows_without_runs_is_the_bias(void **state)
{
    (void)state;
    const ky_run one = { 0, 0, 1 };
    const float W[2] = { 3, 4 }, b[2] = { 5, -6 }, x[1] = { 7 };
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        float y[2];
        ky_mat *m = (*k)->mat_new(1, 2, W, b);
        assert_non_null(m);
        (*k)->rows(m, 0, NULL, 1, x, 1, y, 2, KY_LINEAR);
        assert_true(y[0] == 5 && y[1] == -6);
        (*k)->rows(m, 1, &one, 1, x, 1, y, 2, KY_RELU);
        assert_true(y[0] == 26 && y[1] == 22);
        (*k)->mat_free(m);
    }
}

/* -- LSTM ----------------------------------------------------------------------------------- */

struct lstm_case {
    int F, H, B, xs;
    float *W, *U, *b, *x, *states, *tape;
};

static struct lstm_case random_lstm(int F, int H, int B)
{
    struct lstm_case c = { .F = F, .H = H, .B = B, .xs = F + random_int(0, 2) };
    c.W = randoms((size_t)F * 4 * H);
    c.U = randoms((size_t)H * 4 * H);
    c.b = randoms((size_t)4 * H);
    c.x = randoms((size_t)B * c.xs);
    c.states = randoms((size_t)B * 2 * H);
    c.tape = randoms((size_t)B * 6 * H);
    return c;
}

static void free_lstm(struct lstm_case *c)
{
    free(c->W), free(c->U), free(c->b), free(c->x), free(c->states), free(c->tape);
}

/* Three steps in waves of at most `wave` rows, states taken in a scattered order. */
static void run_lstm(const ky_kernels *k, const struct lstm_case *c, int wave, float *states,
                     float *tape)
{
    ky_lstm_mat *m = k->lstm_new(c->F, c->H, c->W, c->U, c->b);
    assert_non_null(m);
    float *scratch = aligned_alloc(64, (ky_lstm_scratch(m) * sizeof(float) + 63) / 64 * 64);
    float **at = malloc((size_t)c->B * sizeof *at);
    assert_non_null(scratch);
    assert_non_null(at);
    for (int r = 0; r < c->B; r++)
        at[r] = states + (size_t)(c->B - 1 - r) * 2 * c->H;
    for (int step = 0; step < 3; step++)
        for (int r = 0; r < c->B; r += wave)
            k->lstm(m, c->B - r < wave ? c->B - r : wave, c->x + (size_t)r * c->xs, c->xs, at + r,
                    tape ? tape + (size_t)r * 6 * c->H : NULL, 6 * c->H, scratch);
    k->lstm_free(m);
    free(scratch), free(at);
}

static void check_lstm_of(const ky_kernels *k, int F, int H, int B)
{
    struct lstm_case c = random_lstm(F, H, B);
    size_t n = (size_t)B * 2 * H, n_tape = (size_t)B * 6 * H;
    float *want = copy_of(c.states, n), *want_tape = copy_of(c.tape, n_tape);
    run_lstm(plain(), &c, B, want, want_tape);
    for (int wave = 1; wave <= B; wave += random_int(1, B)) {
        float *got = copy_of(c.states, n), *tape = copy_of(c.tape, n_tape);
        run_lstm(k, &c, wave, got, tape);
        assert_same(got, want, n, "lstm: states");
        assert_same(tape, want_tape, n_tape, "lstm: tape");
        memcpy(got, c.states, n * sizeof *got);
        run_lstm(k, &c, wave, got, NULL);
        assert_same(got, want, n, "lstm without a tape: states");
        free(got), free(tape);
    }
    free(want), free(want_tape);
    free_lstm(&c);
}

static void check_lstm(const ky_kernels *k)
{
    check_lstm_of(k, random_int(1, 20), random_int(1, 70), random_int(1, 70));
}

static void lstm_equals_plain_in_any_wave(void **state)
{
    (void)state;
    for_every_set(check_lstm, 25);
}

static void check_large_lstm(const ky_kernels *k)
{
    check_lstm_of(k, 9, 128, random_int(1, 12));
    check_lstm_of(k, 9, 100, random_int(1, 7));
}

static void lstm_of_many_units_equals_plain(void **state)
{
    (void)state;
    for_every_set(check_large_lstm, 1);
}

/* One unit, one input, one step, by hand in double. */
static void lstm_step_is_the_formula(void **state)
{
    (void)state;
    const float W[4] = { 0.5f, -0.25f, 1, 0.75f }, U[4] = { 1, 0.5f, -0.5f, 0.25f };
    const float b[4] = { 0.125f, 1, -0.25f, 0.5f }, x = 2, h = 0.25f, c = -0.5f;
    double z[4];
    for (int g = 0; g < 4; g++)
        z[g] = W[g] * x + U[g] * h + b[g];
    double c1 = f_sigmoid(z[1]) * c + f_sigmoid(z[0]) * tanh(z[2]);
    double h1 = f_sigmoid(z[3]) * tanh(c1);
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        ky_lstm_mat *m = (*k)->lstm_new(1, 1, W, U, b);
        assert_non_null(m);
        float s[2] = { h, c }, *at = s;
        float *scratch = aligned_alloc(64, (ky_lstm_scratch(m) * sizeof(float) + 63) / 64 * 64);
        (*k)->lstm(m, 1, &x, 1, &at, NULL, 0, scratch);
        assert_true(fabs(s[0] - h1) < 2e-7 && fabs(s[1] - c1) < 2e-7);
        (*k)->lstm_free(m);
        free(scratch);
    }
}

/* -- GRU ------------------------------------------------------------------------------------ */

struct gru_case {
    int F, H, B, xs;
    bool after;
    float *W, *U, *b, *x, *states;
};

/* Three steps in waves of at most `wave` rows, states taken in a scattered order. */
static void run_gru(const ky_kernels *k, const struct gru_case *c, int wave, float *states)
{
    ky_gru_mat *m = k->gru_new(c->F, c->H, c->after, c->W, c->U, c->b);
    assert_non_null(m);
    float *scratch = aligned_alloc(64, (ky_gru_scratch(m) * sizeof(float) + 63) / 64 * 64);
    float **at = malloc((size_t)c->B * sizeof *at);
    assert_non_null(scratch);
    assert_non_null(at);
    for (int r = 0; r < c->B; r++)
        at[r] = states + (size_t)(c->B - 1 - r) * c->H;
    for (int step = 0; step < 3; step++)
        for (int r = 0; r < c->B; r += wave)
            k->gru(m, c->B - r < wave ? c->B - r : wave, c->x + (size_t)r * c->xs, c->xs, at + r,
                   scratch);
    k->gru_free(m);
    free(scratch), free(at);
}

static void check_gru_of(const ky_kernels *k, int F, int H, int B, bool after)
{
    struct gru_case c = { .F = F, .H = H, .B = B, .xs = F + random_int(0, 2), .after = after };
    c.W = randoms((size_t)F * 3 * H);
    c.U = randoms((size_t)H * 3 * H);
    c.b = random_int(0, 3) ? randoms((size_t)(after ? 6 : 3) * H) : NULL;
    c.x = randoms((size_t)B * c.xs);
    c.states = randoms((size_t)B * H);
    size_t n = (size_t)B * H;
    float *want = copy_of(c.states, n);
    run_gru(plain(), &c, B, want);
    for (int wave = 1; wave <= B; wave += random_int(1, B)) {
        float *got = copy_of(c.states, n);
        run_gru(k, &c, wave, got);
        assert_same(got, want, n, after ? "gru" : "gru, reset before");
        free(got);
    }
    free(want), free(c.W), free(c.U), free(c.b), free(c.x), free(c.states);
}

static void check_gru(const ky_kernels *k)
{
    for (int after = 0; after < 2; after++)
        check_gru_of(k, random_int(1, 20), random_int(1, 70), random_int(1, 70), after);
}

static void gru_equals_plain_in_any_wave(void **state)
{
    (void)state;
    for_every_set(check_gru, 25);
}

static void check_large_gru(const ky_kernels *k)
{
    for (int after = 0; after < 2; after++) {
        check_gru_of(k, 9, 128, random_int(1, 12), after);
        check_gru_of(k, 9, 100, random_int(1, 7), after);
    }
}

static void gru_of_many_units_equals_plain(void **state)
{
    (void)state;
    for_every_set(check_large_gru, 1);
}

/* One unit, one input, one step, by hand in double. */
static void gru_step_is_the_formula(void **state)
{
    (void)state;
    const float W[3] = { 0.5f, -0.25f, 1 }, U[3] = { 1, 0.5f, -0.5f }, x = 2, h = 0.25f;
    const float b[6] = { 0.125f, 1, -0.25f, 0.5f, -0.75f, 0.375f };
    double z = f_sigmoid(b[0] + W[0] * x + b[3] + U[0] * h);
    double r = f_sigmoid(b[1] + W[1] * x + b[4] + U[1] * h);
    double n = tanh(b[2] + W[2] * x + r * (b[5] + U[2] * h));
    double z0 = f_sigmoid(b[0] + W[0] * x + U[0] * h), r0 = f_sigmoid(b[1] + W[1] * x + U[1] * h);
    double n0 = tanh(b[2] + W[2] * x + U[2] * (r0 * h));
    double want[2] = { z0 * h + (1 - z0) * n0, z * h + (1 - z) * n };
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++)
        for (int after = 0; after < 2; after++) {
            ky_gru_mat *m = (*k)->gru_new(1, 1, after, W, U, b);
            assert_non_null(m);
            float s = h, *at = &s;
            float *scratch = aligned_alloc(64, (ky_gru_scratch(m) * sizeof(float) + 63) / 64 * 64);
            (*k)->gru(m, 1, &x, 1, &at, scratch);
            assert_true(fabs(s - want[after]) < 2e-7);
            (*k)->gru_free(m);
            free(scratch);
        }
}

/* -- depthwise ------------------------------------------------------------------------------- */

static void check_depthwise(const ky_kernels *k)
{
    int C = random_int(1, 70), M = random_int(0, 1) ? 1 : random_int(2, 5), taps = random_int(1, 9);
    int R = random_int(1, 33), N = C * M;
    ky_run runs[6];
    ptrdiff_t end, xs = random_int(1, 2 * C), ys = N + random_int(0, 2);
    int n = random_runs(taps, 6, runs, &end);
    end = 0;
    for (int i = 0; i < n; i++)
        if (runs[i].at + (ptrdiff_t)runs[i].n * C > end)
            end = runs[i].at + (ptrdiff_t)runs[i].n * C;
    enum ky_activation act = (enum ky_activation)random_int(KY_LINEAR, KY_LOG_SOFTMAX);
    size_t n_y = (size_t)((R - 1) * ys + N);
    float *w = randoms((size_t)taps * N), *b = random_int(0, 3) ? randoms((size_t)N) : NULL;
    float *x = randoms((size_t)((R - 1) * xs + end)); /* no more than the runs name */
    float *want = randoms(n_y), *got = copy_of(want, n_y);
    plain()->depthwise(C, M, n, runs, w, b, R, x, xs, want, ys, act);
    k->depthwise(C, M, n, runs, w, b, R, x, xs, got, ys, act);
    assert_same(got, want, n_y, "depthwise");
    int r = random_int(0, R - 1);
    k->depthwise(C, M, n, runs, w, b, 1, x + r * xs, xs, got, ys, act);
    assert_same(got, want + r * ys, (size_t)N, "depthwise, one row");
    free(w), free(b), free(x), free(want), free(got);
}

static void depthwise_equals_plain_and_a_row_alone(void **state)
{
    (void)state;
    for_every_set(check_depthwise, 400);
}

/* Two channels with two filters each, two taps, by hand. */
static void depthwise_keeps_channels_apart(void **state)
{
    (void)state;
    const float w[8] = { 1, 2, 3, 4, 10, 20, 30, 40 }, b[4] = { 100, 200, 300, 400 };
    const float x[4] = { 5, 6, 7, 8 };
    const ky_run runs[1] = { { 0, 0, 2 } };
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        float y[4];
        (*k)->depthwise(2, 2, 1, runs, w, b, 1, x, 2, y, 4, KY_LINEAR);
        assert_true(y[0] == 100 + 5 * 1 + 7 * 10 && y[1] == 200 + 5 * 2 + 7 * 20);
        assert_true(y[2] == 300 + 6 * 3 + 8 * 30 && y[3] == 400 + 6 * 4 + 8 * 40);
    }
}

/* -- training -------------------------------------------------------------------------------- */

static void check_gemm_tn(const ky_kernels *k)
{
    int M = random_int(1, 70), N = random_int(1, 130), K = random_int(0, 150);
    int lda = M + random_int(0, 3), ldb = N + random_int(0, 3), ldc = N + random_int(0, 3);
    size_t n = (size_t)(M - 1) * ldc + N;
    float *A = randoms((size_t)K * lda), *B = randoms((size_t)K * ldb);
    float *want = randoms(n), *got = copy_of(want, n);
    plain()->gemm_tn(M, N, K, A, lda, B, ldb, want, ldc);
    k->gemm_tn(M, N, K, A, lda, B, ldb, got, ldc);
    assert_same(got, want, n, "gemm_tn");
    free(A), free(B), free(want), free(got);
}

static void gemm_tn_equals_plain(void **state)
{
    (void)state;
    for_every_set(check_gemm_tn, 60);
}

static void check_colsum(const ky_kernels *k)
{
    int N = random_int(1, 130), K = random_int(0, 70), ldb = N + random_int(0, 3);
    float *B = randoms((size_t)K * ldb), *want = randoms((size_t)N),
          *got = copy_of(want, (size_t)N);
    plain()->colsum(N, K, B, ldb, want);
    k->colsum(N, K, B, ldb, got);
    assert_same(got, want, (size_t)N, "colsum");
    free(B), free(want), free(got);
}

static void colsum_equals_plain(void **state)
{
    (void)state;
    for_every_set(check_colsum, 200);
}

static void check_lstm_back(const ky_kernels *k)
{
    int B = random_int(1, 20), H = random_int(1, 70), s = H + random_int(0, 2);
    size_t n_dc = (size_t)B * s, n_dz = (size_t)B * 4 * H;
    float *dh = randoms((size_t)B * s), *c0 = randoms((size_t)B * s),
          *tape = randoms((size_t)B * 6 * H);
    float *want_dc = randoms(n_dc), *want_dz = randoms(n_dz);
    float *dc = copy_of(want_dc, n_dc), *dz = copy_of(want_dz, n_dz);
    plain()->lstm_back(B, H, dh, s, want_dc, s, tape, 6 * H, c0, s, want_dz, 4 * H);
    k->lstm_back(B, H, dh, s, dc, s, tape, 6 * H, c0, s, dz, 4 * H);
    assert_same(dc, want_dc, n_dc, "lstm_back: dc");
    assert_same(dz, want_dz, n_dz, "lstm_back: dz");
    free(dh), free(c0), free(tape), free(want_dc), free(want_dz), free(dc), free(dz);
}

static void lstm_back_equals_plain(void **state)
{
    (void)state;
    for_every_set(check_lstm_back, 100);
}

static void check_adam(const ky_kernels *k)
{
    size_t n = (size_t)random_int(0, 100);
    float *g = randoms(n), *w = randoms(n), *m = randoms(n), *v = randoms(n);
    for (size_t i = 0; i < n; i++)
        v[i] = fabsf(v[i]);
    float *w2 = copy_of(w, n), *m2 = copy_of(m, n), *v2 = copy_of(v, n);
    plain()->adam(n, w, g, m, v, 1e-3f, 0.9f, 0.999f, 1e-7f);
    k->adam(n, w2, g, m2, v2, 1e-3f, 0.9f, 0.999f, 1e-7f);
    assert_same(w2, w, n, "adam: w");
    assert_same(m2, m, n, "adam: m");
    assert_same(v2, v, n, "adam: v");
    free(g), free(w), free(m), free(v), free(w2), free(m2), free(v2);
}

static void adam_equals_plain(void **state)
{
    (void)state;
    for_every_set(check_adam, 200);
}

static void adam_first_step_is_alpha_against_the_gradient(void **state)
{
    (void)state;
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        float w = 1, g = -4, m = 0, v = 0;
        double alpha = 1e-3 * sqrt(1 - 0.999) / (1 - 0.9); /* the bias correction of step 1 */
        (*k)->adam(1, &w, &g, &m, &v, (float)alpha, 0.9f, 0.999f, 1e-7f);
        assert_true(fabs(w - 1.001) < 1e-6);
        assert_true(fabs(m - -0.4) < 1e-6);
        assert_true(fabs(v - 0.016) < 1e-6);
    }
}

/* -- which set ----------------------------------------------------------------------------------
 */

static void a_set_is_used_by_name_and_unknown_ones_are_refused(void **state)
{
    (void)state;
    const ky_kernels *was = ky_kernels_get();
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        assert_true(ky_kernels_use((*k)->name));
        assert_ptr_equal(ky_kernels_get(), *k);
    }
    assert_false(ky_kernels_use("abacus"));
    assert_true(ky_kernels_use(was->name));
}

/* Whether a new process under KYMO_KERNELS=name uses the set `used`. */
static bool chooses(const char *name, const char *used)
{
    pid_t child = fork();
    if (child == 0) {
        setenv("KYMO_KERNELS", name, 1);
        execl("/proc/self/exe", "test_kernels", used, (char *)NULL);
        _exit(2);
    }
    int status = -1;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 0;
}

static void the_environment_chooses_a_set_and_the_best_serves_otherwise(void **state)
{
    (void)state;
    const char *best = NULL;
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        best = (*k)->name;
        assert_true(chooses(best, best));
    }
    assert_true(chooses("abacus", best));
    assert_false(chooses("plain", "abacus"));
}

static void this_thread_rounds_to_nearest_until_told_otherwise(void **state)
{
    (void)state;
    assert_true(ky_kernels_fp_sane());
    assert_int_equal(fesetround(FE_UPWARD), 0);
    bool sane = ky_kernels_fp_sane();
    fesetround(FE_TONEAREST);
    assert_false(sane);
#ifdef __SSE__
    for (unsigned flag = 0; flag < 2; flag++) { /* flush results, flush operands */
        unsigned was = _mm_getcsr();
        _mm_setcsr(was | (flag ? 0x40 : 0x8000));
        sane = ky_kernels_fp_sane();
        _mm_setcsr(was);
        assert_false(sane);
    }
#endif
}

static void nothing_is_freed_as_nothing(void **state)
{
    (void)state;
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        (*k)->mat_free(NULL);
        (*k)->lstm_free(NULL);
    }
}

/* -- the logarithm --------------------------------------------------------------------- */

static void the_logarithm_is_right_to_two_ulp(void **state)
{
    (void)state;
    const double edges[] = { 0x1p-1022, 0x1.fffffffffffffp1023, 1, 0x1.fffffffffffffp-1,
                             0x1.0000000000001p0 };
    double worst = 0;

    for (int i = 0; i < 200005; i++) {
        double x = i < 5 ? edges[i] : ldexp(1 + (i * 7919L % 100003) / 100003.0, i % 60 - 50);
        long double right = logl((long double)x);
        double ulp = nextafter(fabs((double)right), INFINITY) - fabs((double)right);
        double off = (double)(fabsl((long double)ky_ln(x) - right) / (long double)ulp);

        worst = off > worst ? off : worst;
    }
    assert_true(worst < 2); /* 1.92 over two million numbers */
    assert_true(ky_ln(1) == 0);
}

int main(int argc, char **argv)
{
    if (argc == 2) /* asked by chooses() */
        return strcmp(ky_kernels_get()->name, argv[1]) != 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_has_the_published_values),
        cmocka_unit_test(crc32c_of_parts_is_that_of_the_whole),
        cmocka_unit_test(crc32c_by_table_equals_the_instruction),
        cmocka_unit_test(activations_are_within_their_ulps),
        cmocka_unit_test(every_activation_of_one_number_has_a_bound),
        cmocka_unit_test(activations_have_the_names_and_values_of_keras),
        cmocka_unit_test(gelu_with_tanh_is_the_one_of_keras),
        cmocka_unit_test(activations_pass_on_nan_and_keep_huge_numbers_in_their_limits),
        cmocka_unit_test(activate_equals_plain),
        cmocka_unit_test(activate_equals_plain_in_every_exponent),
        cmocka_unit_test(a_value_that_is_not_finite_is_seen_wherever_it_stands),
        cmocka_unit_test(extent_equals_plain_and_the_sum_of_squares),
        cmocka_unit_test(softmax_and_its_logarithm_equal_plain),
        cmocka_unit_test(log_softmax_is_the_logarithm),
        cmocka_unit_test(softmax_sums_to_one),
        cmocka_unit_test(rows_equals_plain_and_a_row_alone),
        cmocka_unit_test(rows_equals_plain_over_a_long_inner_dimension),
        cmocka_unit_test(rows_is_the_sum_over_its_runs),
        cmocka_unit_test(rows_without_runs_is_the_bias),
        cmocka_unit_test(lstm_equals_plain_in_any_wave),
        cmocka_unit_test(lstm_of_many_units_equals_plain),
        cmocka_unit_test(lstm_step_is_the_formula),
        cmocka_unit_test(gru_equals_plain_in_any_wave),
        cmocka_unit_test(gru_of_many_units_equals_plain),
        cmocka_unit_test(gru_step_is_the_formula),
        cmocka_unit_test(depthwise_equals_plain_and_a_row_alone),
        cmocka_unit_test(depthwise_keeps_channels_apart),
        cmocka_unit_test(gemm_tn_equals_plain),
        cmocka_unit_test(colsum_equals_plain),
        cmocka_unit_test(lstm_back_equals_plain),
        cmocka_unit_test(adam_equals_plain),
        cmocka_unit_test(adam_first_step_is_alpha_against_the_gradient),
        cmocka_unit_test(a_set_is_used_by_name_and_unknown_ones_are_refused),
        cmocka_unit_test(the_environment_chooses_a_set_and_the_best_serves_otherwise),
        cmocka_unit_test(this_thread_rounds_to_nearest_until_told_otherwise),
        cmocka_unit_test(nothing_is_freed_as_nothing),
        cmocka_unit_test(the_logarithm_is_right_to_two_ulp),
    };
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
