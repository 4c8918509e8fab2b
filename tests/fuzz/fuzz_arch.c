/* An --arch line from anybody: a model that works, or a refusal with words. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "models/plan.h"
#include "models/blueprint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Numbers of four digits ask for models that are only large. */
static bool is_large(const char *text)
{
    for (; *text != '\0'; text += *text != '\0') {
        size_t digits = strspn(text, "0123456789");

        if (digits > 2)
            return true;
        text += digits;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ky_shape input = { .rank = 2, .d = { 24, 3 }, .timed = true };
    char *text = malloc(size + 1);
    ky_model *m = NULL;
    ky_plan *p = NULL;
    ky_err err = { 0 };
    int rc;

    memcpy(text, data, size);
    text[size] = '\0';
    if (is_large(text)) {
        free(text);
        return 0;
    }
    rc = ky_arch_build(text, &input, 4, true, &m, &err);
    if ((rc < 0 && err.text[0] == '\0') || (rc < 0) != (m == NULL))
        abort();
    if (m != NULL) {
        ky_model_init(m, 1);
        if (ky_model_pack(m, &err) < 0 || m->layers[m->n_layers - 1].out.timed)
            abort();
        if (ky_plan_new(m, KY_MEMORY_WINDOW, 0, 1, &p, &err) < 0 || ky_plan_state_bytes(p) == 0)
            abort();
    }
    ky_plan_free(p);
    ky_model_free(m);
    free(text);
    return 0;
}
