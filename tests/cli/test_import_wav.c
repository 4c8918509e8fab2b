/* kymo import of sound. */
#include "tests/cli/import.h"

static void put_number(unsigned char **p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *(*p)++ = (unsigned char)(v >> 8 * i);
}

/* A file of that form whose samples are these bytes. */
static size_t make_wav(unsigned char *to, int form, int channels, int rate, int bits,
                       const void *samples, size_t n)
{
    unsigned char *p = to;

    memcpy(p, "RIFF", 4);
    p += 4;
    put_number(&p, 4 + 24 + 8 + 8 + n, 4);
    memcpy(p, "WAVEfmt ", 8);
    p += 8;
    put_number(&p, 16, 4);
    put_number(&p, (uint64_t)form, 2);
    put_number(&p, (uint64_t)channels, 2);
    put_number(&p, (uint64_t)rate, 4);
    put_number(&p, (uint64_t)(rate * channels * bits / 8), 4);
    put_number(&p, (uint64_t)(channels * bits / 8), 2);
    put_number(&p, (uint64_t)bits, 2);
    memcpy(p, "LIST\3\0\0\0abc\0", 12); /* a chunk of no interest, of odd length */
    p += 12;
    memcpy(p, "data", 4);
    p += 4;
    put_number(&p, n, 4);
    memcpy(p, samples, n);
    return (size_t)(p + n - to);
}

static void put_wav(const char *name, int form, int channels, int bits, const void *samples,
                    size_t n)
{
    static unsigned char bytes[1 << 20];

    put_bytes(name, bytes, make_wav(bytes, form, channels, 8000, bits, samples, n));
}

static void every_kind_of_sample_is_read(void **state)
{
    (void)state;
    static const unsigned char u8[] = { 128, 0, 192 }, s24[] = { 0, 0, 0x40, 0, 0, 0x80 };
    static const int16_t s16[] = { 16384, -16384, 0, -32768 }; /* left, right, left, right */
    static const int32_t s32[] = { 1 << 30, INT32_MIN };
    static const float f32[] = { 0.25f, -0.5f };
    static const double f64[] = { 0.25, -0.5 };

    put_wav("a_8.wav", 1, 1, 8, u8, sizeof u8);
    put_wav("b_16.wav", 1, 2, 16, s16, sizeof s16);
    put_wav("c_24.wav", 1, 1, 24, s24, sizeof s24);
    put_wav("d_32.wav", 1, 1, 32, s32, sizeof s32);
    put_wav("e_f.wav", 3, 1, 32, f32, sizeof f32);
    put_wav("f_d.wav", 3, 1, 64, f64, sizeof f64);
    run_well("import|a_8.wav|b_16.wav|c_24.wav|d_32.wav|e_f.wav|f_d.wav|-o|all.h5");

    HOLDS("all.h5", "/X", DIMS(6, 3, 1), 0, -1, 0.5, 0, -0.5, NAN, 0.5, -1, NAN, 0.5, -1, NAN, 0.25,
          -0.5, NAN, 0.25, -0.5, NAN);
    HOLDS("all.h5", "/len", DIMS(6), 3, 2, 2, 2, 2, 2);
    assert_string_equal(strings_of("all.h5", "class_names"), "a|b|c|d|e|f");
}

static void folders_or_names_are_the_labels(void **state)
{
    (void)state;
    static const int16_t s[] = { 1, 2 };

    put_folder("said");
    put_folder("said/yes");
    put_folder("said/no");
    put_wav("said/yes/1.wav", 1, 1, 16, s, sizeof s);
    put_wav("said/no/2.wav", 1, 1, 16, s, sizeof s);
    put_wav("rec-3-jackson.wav", 1, 1, 16, s, sizeof s);
    put_wav("rec-4-theo.wav", 1, 1, 16, s, sizeof s);

    run_well("import|said|-o|said.h5");
    run_well("import|rec-3-jackson.wav|rec-4-theo.wav|--name|rec-{label}-{group}|-o|rec.h5");

    assert_string_equal(strings_of("said.h5", "class_names"), "no|yes");
    HOLDS("said.h5", "/y", DIMS(2), 0, 1);
    assert_string_equal(strings_of("rec.h5", "class_names"), "3|4");
    assert_string_equal(strings_of("rec.h5", "group_names"), "jackson|theo");
    fails("import|rec-3-jackson.wav|-o|bad.h5", "lies in no folder");
    fails("import|rec-3-jackson.wav|--name|{label}_{}|-o|bad.h5", "is not named like");
    fails("import|rec-3-jackson.wav|--name|{label}{group}|-o|bad.h5", "is not named like");
}

/* A tone of k periods in a frame of 16 has all its power at frequency k. */
static void a_tone_is_in_its_band(void **state)
{
    (void)state;
    float x[40];
    ky_h5_info i;
    double *v;
    ky_h5 *f;

    for (int n = 0; n < 40; n++)
        x[n] = (float)sin(2 * 3.14159265358979 * 4 * n / 16);
    put_wav("tone_1.wav", 3, 1, 32, x, sizeof x);
    run_well("import|tone_1.wav|--log-mel|3|--fft|16|--hop|8|--frames|6|-o|tone.h5");

    f = open_h5("tone.h5");
    v = values_of(f, "/X", &i);
    assert_int_equal(i.dims[1], 6);
    assert_int_equal(i.dims[2], 3);
    for (int t = 0; t < 4; t++)
        assert_true(v[3 * t + 2] > v[3 * t] + 3); /* 2000 of 4000 Hz: high on a mel scale */
    for (int k = 12; k < 18; k++)
        assert_float_equal(v[k], log(1e-6), 1e-6); /* float32 of a number of two digits */
    free(v);
    ky_h5_close(f);
    fails("import|tone_1.wav|--log-mel|3|--fft|20|-o|bad.h5", "power of two");
    fails("import|tone_1.wav|--log-mel|3|--fmax|5000|-o|bad.h5", "up to half of the 8000");
}

static void damaged_sound_is_refused(void **state)
{
    (void)state;
    static const int16_t s[] = { 1, 2, 3, 4 };
    static const float nan[] = { NAN };
    unsigned char good[200], b[200];
    size_t n = make_wav(good, 1, 1, 8000, 16, s, sizeof s);
    const struct {
        size_t at;
        unsigned char byte;
        const char *says;
    } bad[] = {
        { 0, 'X', "no RIFF WAVE" },
        { 16, 8, "too short" },
        { 20, 7, "form 7" },
        { 22, 0, "0 channels" },
        { 22, 200, "200 channels" },
        { 32, 3, "contradict" },
        { 34, 12, "12 bits" },
        { 12, 'x', "samples before their format" },
        { 43, 200, "ends early" },
        { n - sizeof s - 4, 200, "ends early" },
        { n - sizeof s - 1, 99, "ends early" },
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(b, good, n);
        b[bad[i].at] = bad[i].byte;
        put_bytes("l_bad.wav", b, n);
        fails("import|l_bad.wav|-f|wav|-o|bad.h5", bad[i].says);
    }
    for (size_t cut = 0; cut < n; cut += 5) { /* cut anywhere */
        put_bytes("l_bad.wav", good, cut);
        fails("import|l_bad.wav|-f|wav|-o|bad.h5", "l_bad.wav");
    }
    put_wav("l_bad.wav", 3, 1, 32, nan, sizeof nan);
    fails("import|l_bad.wav|-o|bad.h5", "sample 0 is not finite");
    put_wav("l_bad.wav", 1, 1, 16, s, 0);
    fails("import|l_bad.wav|-o|bad.h5", "not one sample");
    put_wav("l_8.wav", 1, 1, 16, s, sizeof s);
    put_bytes("l_16.wav", b, make_wav(b, 1, 1, 16000, 16, s, sizeof s));
    fails("import|l_8.wav|l_16.wav|-o|bad.h5", "'l_8.wav' 8000");
}

/* Samples of the recordings of one data set, the features in the other: three decimals. */
static void real_recordings_give_the_bands_of_the_file_beside_them(void **state)
{
    (void)state;
    enum { DIGITS = 2, BANDS = 40, FRAMES = 64 };
    static const char *const speakers[] = { "george",  "jackson", "lucas",
                                            "nicolas", "theo",    "yweweler" };
    ky_h5 *waves = open_h5(real_data("fsdd/fsdd_wave.h5"));
    ky_h5 *features = open_h5(real_data("fsdd/fsdd_logmel.h5")), *made;
    ky_h5_info n, i;
    double *offset = values_of(waves, "/offset", &i), *digit = values_of(waves, "/digit", &n);
    double *index = values_of(waves, "/index", &i), *speaker = values_of(waves, "/speaker", &i);
    static int16_t s[1 << 18];

    put_folder("fsdd");
    put_folder("fsdd/train");
    put_folder("fsdd/test");
    for (size_t k = 0; k < n.count; k++) {
        uint64_t len = (uint64_t)(offset[k + 1] - offset[k]);
        char name[64];

        if (digit[k] >= DIGITS)
            continue;
        assert_true(len < sizeof s / sizeof *s);
        assert_int_equal(
            ky_h5_read_rows(waves, "/samples", KY_H5_I16, (uint64_t)offset[k], len, s, NULL),
            KY_OK);
        snprintf(name, sizeof name, "fsdd/%s/%.0f_%s_%02.0f.wav", index[k] < 5 ? "test" : "train",
                 digit[k], speakers[(int)speaker[k]], index[k]);
        put_wav(name, 1, 1, 16, s, 2 * len);
    }
    run_well("import|fsdd|--log-mel|40|--frames|64|--fft|256|--hop|128|--name|{label}_{group}_{}|"
             "-o|fsdd.h5");
    made = open_h5("fsdd.h5");
    for (int part = 0; part < 2; part++) {
        const char *name = part ? "/X_test" : "/X_train";
        double *got = values_of(made, name, &i);
        double *want = malloc(i.count * sizeof *want);

        assert_int_equal(i.dims[0], DIGITS * 6 * (part ? 5 : 15));
        assert_int_equal(ky_h5_read_rows(features, name, KY_H5_F64, 0, i.dims[0], want, NULL),
                         KY_OK);
        for (size_t k = 0; k < i.count; k++) /* half of the third decimal, and float32 at 14 */
            assert_float_equal(got[k], want[k], 0.0005 + 2e-6);
        free(got);
        free(want);
    }
    free(offset);
    free(digit);
    free(index);
    free(speaker);
    ky_h5_close(made);
    ky_h5_close(waves);
    ky_h5_close(features);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_sample_is_read),
        cmocka_unit_test(folders_or_names_are_the_labels),
        cmocka_unit_test(a_tone_is_in_its_band),
        cmocka_unit_test(damaged_sound_is_refused),
        cmocka_unit_test(real_recordings_give_the_bands_of_the_file_beside_them),
    };

    return cmocka_run_group_tests(tests, import_set_up, import_tear_down);
}
