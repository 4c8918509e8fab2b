/* The f32 codec: bytes in, the same bytes as floats out, or a refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/codec.h"
#include "models/rng.h"

enum { MOST = 1000 };

static ky_codec *codec_of(enum ky_missing missing)
{
    ky_codec_opts o = { .format = "f32", .missing = missing, .max_values = MOST };
    ky_codec *c;

    assert_int_equal(ky_codec_new(&o, &c, NULL), KY_OK);
    return c;
}

/* From a block of exactly the message's size, at an address that is no float's. */
static int decode(ky_codec *c, const void *bytes, size_t len, ky_sample *s, ky_err *err)
{
    char *copy = malloc(len + 1);

    memcpy(copy + 1, bytes, len);
    int rc = ky_codec_decode(c, copy + 1, len, s, err); /* s->x is the codec's own */
    free(copy);
    return rc;
}

static void random_bits(ky_rng *rng, float *x, int n)
{
    for (int i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)ky_rng_u64(rng);

        if ((bits & 0x7f800000) == 0x7f800000)
            bits ^= 0x00800000;
        memcpy(&x[i], &bits, sizeof(bits));
    }
}

static void values_come_out_bit_for_bit(void **state)
{
    ky_codec *c = codec_of(KY_MISSING_REJECT);
    float x[MOST];
    ky_sample s;
    ky_err err;
    ky_rng rng;

    (void)state;
    ky_rng_seed(&rng, 1);
    for (int n = 1; n <= MOST; n++) {
        random_bits(&rng, x, n);
        assert_int_equal(decode(c, x, sizeof(float) * (size_t)n, &s, &err), KY_OK);
        assert_int_equal(s.steps, 1);
        assert_int_equal(s.features, n);
        assert_true(s.flat && s.holes == 0 && s.seq == KY_NONE && s.ts_us == KY_NONE);
        assert_true(s.stream == NULL && s.label == NULL && s.flags == 0);
        assert_memory_equal(s.x, x, sizeof(float) * (size_t)n);
    }
    ky_codec_free(c);
}

static void bytes_are_little_endian(void **state)
{
    ky_codec *c = codec_of(KY_MISSING_REJECT);
    ky_sample s;
    ky_err err;

    (void)state;
    assert_int_equal(decode(c, "\x00\x00\x80\x3f\x00\x00\x20\xc0", 8, &s, &err), KY_OK);
    assert_true(s.x[0] == 1.0f && s.x[1] == -2.5f);
    ky_codec_free(c);
}

static void odd_sizes_are_refused(void **state)
{
    static const struct {
        size_t len;
        const char *reason;
    } cases[] = {
        { 0, "f32: empty message" },
        { 1, "f32: 1 bytes are no number of 32-bit floats" },
        { 7, "f32: 7 bytes" },
        { 4 * MOST + 4, "f32: more than 1000 values" },
    };
    static const char zeros[4 * MOST + 4];
    ky_codec *c = codec_of(KY_MISSING_REJECT);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_sample s;
        ky_err err;

        assert_int_equal(decode(c, zeros, cases[i].len, &s, &err), KY_EREJECT);
        assert_non_null(strstr(err.text, cases[i].reason));
        assert_null(s.stream);
    }
    ky_codec_free(c);
}

/* Wherever they stand: inside a block of vector instructions, at its edges, behind the last. */
static void nan_and_infinity_are_found_wherever_they_stand(void **state)
{
    static const uint32_t odd[] = { 0x7fc00000, 0xffc00001, 0x7f800001, 0x7f800000, 0xff800000 };
    ky_codec *reject = codec_of(KY_MISSING_REJECT), *zero = codec_of(KY_MISSING_ZERO),
             *hold = codec_of(KY_MISSING_HOLD);
    const float hole = NAN;
    float x[200];
    ky_sample s;
    ky_err err;
    ky_rng rng;

    (void)state;
    ky_rng_seed(&rng, 2);
    random_bits(&rng, x, 200);
    for (int i = 0; i < 200; i++)
        for (size_t k = 0; k < sizeof(odd) / sizeof(*odd); k++) {
            float was = x[i];
            bool nan = k < 3;

            memcpy(&x[i], &odd[k], sizeof(x[i]));
            assert_int_equal(decode(reject, x, sizeof(x), &s, &err), KY_EREJECT);
            assert_non_null(strstr(err.text, nan ? "is NaN" : "is infinite"));
            assert_int_equal(strtol(err.text + strlen("f32: value "), NULL, 10), i + 1);
            assert_int_equal(decode(zero, x, sizeof(x), &s, &err), nan ? KY_OK : KY_EREJECT);
            assert_true(!nan || (s.x[i] == 0.0f && s.holes == 0));
            assert_int_equal(decode(hold, x, sizeof(x), &s, &err), nan ? KY_OK : KY_EREJECT);
            if (nan)
                assert_memory_equal(&s.x[i], &hole, sizeof(hole));
            assert_true(!nan || s.holes == 1);
            x[i] = was;
        }
    for (int i = 0; i < 200; i++)
        x[i] = NAN;
    assert_int_equal(decode(hold, x, sizeof(x), &s, &err), KY_OK);
    assert_int_equal(s.holes, 200);
    ky_codec_free(reject);
    ky_codec_free(zero);
    ky_codec_free(hold);
}

static void there_are_no_fields_to_name(void **state)
{
    static const char *const names[] = { "ax" };
    ky_codec_opts o = { .format = "f32", .values = names, .n_values = 1 };
    ky_codec *c;
    ky_err err = { 0 };

    (void)state;
    assert_int_equal(ky_codec_new(&o, &c, &err), KY_EINVAL);
    assert_non_null(strstr(err.text, "has no fields"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_out_bit_for_bit),
        cmocka_unit_test(bytes_are_little_endian),
        cmocka_unit_test(odd_sizes_are_refused),
        cmocka_unit_test(nan_and_infinity_are_found_wherever_they_stand),
        cmocka_unit_test(there_are_no_fields_to_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
