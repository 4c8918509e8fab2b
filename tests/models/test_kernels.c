#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels.h"
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

static double ulps(float got, double want)
{
    float w = (float)want;
    double ulp = fabs(w) < 0x1p-126 ? 0x1p-149 : ldexp(1, ilogb(w) - 23);
    return fabs(got - want) / ulp;
}

/* The worst error over 512 floats of every exponent and sign, all of them finite. */
static double worst(const ky_kernels *k, enum ky_activation act, double (*f)(double), double lo,
                    double hi)
{
    double most = 0;
    float x[512], y[512];
    for (uint32_t top = 0; top < 0x200; top++) {
        for (uint32_t i = 0; i < 512; i++) {
            uint32_t u = top << 23 | (i << 14) | (i * 37 & 0x3fff);
            memcpy(&x[i], &u, sizeof u);
        }
        if (!isfinite(x[0]))
            continue;
        k->activate(act, x, y, 512);
        for (int i = 0; i < 512; i++)
            if (x[i] >= lo && x[i] <= hi && isfinite((float)f(x[i])))
                most = fmax(most, ulps(y[i], f(x[i])));
    }
    return most;
}

static double sigmoid_in_double(double x)
{
    return 1 / (1 + exp(-x));
}

/* The bounds are those of an exhaustive search over all floats, rounded up. */
static void activations_are_within_their_ulps(void **state)
{
    (void)state;
    for (const ky_kernels *const *k = ky_kernels_all(); *k != NULL; k++) {
        assert_true(worst(*k, KY_TANH, tanh, -INFINITY, INFINITY) < 2.6);
        assert_true(worst(*k, KY_SIGMOID, sigmoid_in_double, -87.3, INFINITY) < 2.5);
        assert_true(worst(*k, KY_EXPONENTIAL, exp, -INFINITY, INFINITY) < 1.05);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_has_the_published_values),
        cmocka_unit_test(crc32c_of_parts_is_that_of_the_whole),
        cmocka_unit_test(crc32c_by_table_equals_the_instruction),
        cmocka_unit_test(activations_are_within_their_ulps),
    };
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
