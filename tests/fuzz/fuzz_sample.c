/* JSON samples. */
#include "tests/fuzz/samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { "ax", "ay", "az" };
    static const ky_codec_opts opts[] = {
        { .max_values = VALUES },
        { .max_values = VALUES, .missing = KY_MISSING_HOLD, .time_unit_ns = 1 },
        { .max_values = VALUES, .values = names, .n_values = 3, .missing = KY_MISSING_ZERO },
    };
    static ky_codec *codec[sizeof(opts) / sizeof(*opts)];

    return decode_with(opts, codec, sizeof(opts) / sizeof(*opts), data, size);
}
