/* Samples of bare floats. */
#include "tests/fuzz/samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ky_codec_opts opts[] = {
        { .format = "f32", .max_values = VALUES },
        { .format = "f32", .max_values = VALUES, .missing = KY_MISSING_HOLD },
        { .format = "f32", .max_values = VALUES, .missing = KY_MISSING_ZERO },
    };
    static ky_codec *codec[sizeof(opts) / sizeof(*opts)];

    return decode_with(opts, codec, sizeof(opts) / sizeof(*opts), data, size);
}
