/* Figures of hidden states, by hand; and what of a state they speak of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"
#include "models/health.h"
#include "models/model.h"

static void figures_are_those_by_hand(void **state)
{
    const float v[] = { 3, -4, 0, 0.96f, -0.96f, 0.95f };
    ky_health h = { 0 };

    (void)state;
    ky_health_add(&h, v, 2, 0);
    assert_true(ky_health_rms(&h) == sqrt(12.5)); /* (9 + 16) / 2 */
    assert_true(h.largest == 4.0f);
    assert_true(isnan(ky_health_saturated(&h))); /* no unit that ends at 1 */
    ky_health_add(&h, v + 2, 4, 3);
    assert_int_equal(h.values, 6);
    assert_true(ky_health_saturated(&h) == 2.0 / 3);
    assert_true(h.largest == 4.0f);
}

static void every_length_is_summed_whole(void **state)
{
    float v[70];

    (void)state;
    for (int n = 0; n < 70; n++)
        v[n] = (float)(n % 7);
    for (size_t n = 1; n <= 70; n++) {
        ky_health h = { 0 };
        double sum = 0;

        for (size_t i = 0; i < n; i++)
            sum += (double)v[i] * (double)v[i];
        ky_health_add(&h, v, n, n);
        assert_true(h.squares == sum); /* whole numbers: exact in any order */
        assert_true(h.largest == (float)(n < 7 ? n - 1 : 6));
        assert_int_equal(h.units, n);
    }
}

static void the_largest_floats_have_a_norm(void **state)
{
    const float v[] = { 3e38f, -3e38f };
    ky_health h = { 0 };

    (void)state;
    ky_health_add(&h, v, 2, 2);
    assert_true(ky_health_rms(&h) == (double)3e38f);
    assert_int_equal(h.saturated, 2);
}

static ky_health health_of(const char *arch, enum ky_memory memory, float fill)
{
    ky_shape in = { .rank = 2, .d = { memory == KY_MEMORY_WINDOW ? 8 : KY_ANY, 2 }, .timed = true };
    const ky_plan_part *part;
    ky_model *m;
    ky_plan *p;

    assert_int_equal(ky_arch_build(arch, &in, 3, false, &m, NULL), KY_OK);
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    assert_int_equal(ky_plan_new(m, memory, 0, 1, &p, NULL), KY_OK);
    char *bytes = aligned_alloc(64, ky_plan_state_bytes(p));

    memset(bytes, 0xff, ky_plan_state_bytes(p)); /* NaN wherever nobody should look */
    for (int n = ky_plan_parts(p, &part); n > 0; n--, part++)
        for (size_t i = 0; part->h > 0 && i < part->bytes / sizeof(float); i++)
            memcpy(bytes + part->at + i * sizeof(float), &fill, sizeof(fill));
    ky_health h = ky_health_of(p, bytes);

    free(bytes);
    ky_plan_free(p);
    ky_model_free(m);
    return h;
}

static void only_recurrent_layers_are_looked_at(void **state)
{
    ky_health h = health_of("conv1d:4x3, lstm:5, dense", KY_MEMORY_STREAM, 0.96f);

    (void)state;
    assert_int_equal(h.values, 10); /* h and c */
    assert_int_equal(h.units, 5);
    assert_int_equal(h.saturated, 5);
    assert_true(fabs(ky_health_rms(&h) - (double)0.96f) < 1e-9); /* rounding of a sum of doubles */

    h = health_of("rnn:6 relu, gru:7, dense", KY_MEMORY_STREAM, -0.5f);
    assert_int_equal(h.values, 13);
    assert_int_equal(h.units, 7); /* relu has no end */
    assert_int_equal(h.saturated, 0);
    assert_true(h.largest == 0.5f);

    h = health_of("conv1d:4x3, gap, dense", KY_MEMORY_WINDOW, 1);
    assert_int_equal(h.values, 0);
    assert_true(isnan(ky_health_rms(&h)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_those_by_hand),
        cmocka_unit_test(every_length_is_summed_whole),
        cmocka_unit_test(the_largest_floats_have_a_norm),
        cmocka_unit_test(only_recurrent_layers_are_looked_at),
    };

    return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
