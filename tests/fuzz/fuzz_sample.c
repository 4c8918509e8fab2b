/* Any bytes as a JSON sample: refused with a reason, or a sample that is sound. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/codec.h"

enum { VALUES = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *s, size_t len, size_t max)
{
    if (s != NULL && ky_codec_check_name("name", s, len, max, NULL) != KY_OK)
        abort();
}

static void check_sample(const ky_sample *s)
{
    int holes = 0;

    if ((s->steps == 0) != (s->features == 0) || s->steps * s->features > VALUES)
        abort();
    for (int i = 0; i < s->steps * s->features; i++) {
        holes += isnan(s->x[i]);
        if (isinf(s->x[i]))
            abort();
    }
    if (holes != s->holes || (s->steps == 0 && s->label == NULL))
        abort();
    check_name(s->stream, s->stream_len, KY_STREAM_MAX);
    check_name(s->label, s->label_len, KY_LABEL_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { "ax", "ay", "az" };
    static const ky_codec_opts opts[] = {
        { .max_values = VALUES },
        { .max_values = VALUES, .missing = KY_MISSING_HOLD, .time_unit_ns = 1 },
        { .max_values = VALUES, .values = names, .n_values = 3, .missing = KY_MISSING_ZERO },
    };
    static ky_codec *codec[sizeof(opts) / sizeof(*opts)];

    for (size_t i = 0; i < sizeof(opts) / sizeof(*opts); i++) {
        ky_sample s;
        ky_err err = { 0 };
        if (codec[i] == NULL && ky_codec_new(&opts[i], &codec[i], NULL) != KY_OK)
            abort();
        int rc = ky_codec_decode(codec[i], data, size, &s, &err);
        if (rc == KY_OK)
            check_sample(&s);
        else if (rc != KY_EREJECT || err.text[0] == '\0')
            abort();
    }
    return 0;
}
