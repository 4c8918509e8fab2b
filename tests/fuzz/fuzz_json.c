/* JSON from anybody, also as a model's configuration: what is read survives its own text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "models/json.h"
#include "models/keras.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const char *text, size_t size, bool lenient)
{
    ky_json *first = NULL, *second = NULL;
    ky_err err;

    if (ky_json_parse(text, size, lenient, &first, &err) != KY_OK)
        return;
    char *a = ky_json_text(first, 0);
    if (a == NULL || ky_json_parse(a, strlen(a), false, &second, &err) != KY_OK)
        abort();
    char *b = ky_json_text(second, 0);
    if (b == NULL || strcmp(a, b) != 0)
        abort();
    free(a);
    free(b);
    ky_json_free(first);
    ky_json_free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const versions[] = { "1.2.2", "2.2.4-tf", "3.6.0" };
    const char *text = (const char *)data;

    round_trip(text, size, false);
    round_trip(text, size, true);
    for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
        ky_model *m = NULL;
        ky_err err;

        if (ky_keras_config_read(text, size, ky_keras_version_read(versions[i]), &m, &err) == KY_OK)
            ky_model_free(m);
    }
    return 0;
}
