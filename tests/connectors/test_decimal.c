/* Numbers as text: what printf writes, for all that are near a boundary and many that are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/decimal.h"
#include "models/rng.h"

static void check_float(float x)
{
    char want[64], got[KY_DECIMAL_MAX];
    int n = snprintf(want, sizeof(want), "%.9g", (double)x);

    memset(got, 'x', sizeof(got));
    size_t len = ky_decimal_float(x, got);
    if (len != (size_t)n || strcmp(got, want) != 0)
        fail_msg("%a: '%s', not '%s'", (double)x, got, want);
}

static void check_bits(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof(x));
    check_float(x);
}

static void powers_and_their_neighbours_are_as_printf_writes_them(void **state)
{
    static const float odd[] = { 0.0f,       -0.0f,   1.0f,     0.1f,         0.5f,
                                 99999.996f, 1e-4f,   9.5e-5f,  123456789.0f, 999999999.0f,
                                 1e9f,       3.4e38f, 1.4e-45f, INFINITY,     -INFINITY };

    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++)
        check_float(odd[i]);
    for (int base = 2; base <= 10; base += 8)
        for (int power = -160; power <= 130; power++) {
            uint32_t bits;
            float x = (float)pow(base, power);
            memcpy(&bits, &x, sizeof(bits));
            for (uint32_t k = 0; k < 400 && isfinite(x); k++) {
                check_bits(bits + k);
                check_bits((bits - k) | 0x80000000);
            }
        }
}

/* Short binary fractions are where a tenth digit of exactly five happens. */
static void ties_go_to_the_even_digit(void **state)
{
    (void)state;
    for (uint32_t k = 1; k < 100000; k++)
        for (int shift = 1; shift < 24; shift += 3)
            check_float(ldexpf((float)k, -shift));
}

static void random_floats_are_as_printf_writes_them(void **state)
{
    ky_rng rng;

    (void)state;
    ky_rng_seed(&rng, 1);
    for (int i = 0; i < 300000; i++) {
        check_bits((uint32_t)ky_rng_u64(&rng));
        check_float((float)ky_rng_uniform(&rng));
        check_float((float)(ky_rng_normal(&rng) * pow(10, (double)ky_rng_below(&rng, 20) - 10)));
    }
}

static void integers_are_as_printf_writes_them(void **state)
{
    static const int64_t odd[] = { 0, 1, -1, 9, 10, -10, 99, 100, INT64_MAX, INT64_MIN };
    ky_rng rng;

    (void)state;
    ky_rng_seed(&rng, 2);
    for (int i = 0; i < 100000; i++) {
        char want[32], got[KY_DECIMAL_MAX];
        int64_t v = i < 10 ? odd[i] : (int64_t)ky_rng_u64(&rng) >> ky_rng_below(&rng, 64);
        int n = snprintf(want, sizeof(want), "%lld", (long long)v);

        assert_int_equal(ky_decimal_int(v, got), n);
        assert_string_equal(got, want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(powers_and_their_neighbours_are_as_printf_writes_them),
        cmocka_unit_test(ties_go_to_the_even_digit),
        cmocka_unit_test(random_floats_are_as_printf_writes_them),
        cmocka_unit_test(integers_are_as_printf_writes_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
