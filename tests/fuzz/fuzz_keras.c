/* A model file from anybody: read or refused, and what was read answers with bounded work. */
#include <stdint.h>
#include <stdlib.h>

#include "models/blueprint.h"
#include "models/h5.h"
#include "models/keras.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One window of zeros through the model, where that is little work. */
static void answer(const ky_model *m)
{
    const ky_model_info *info = ky_model_facts(m);
    int T = info->window > 0 ? info->window : 8;
    ky_work *w;

    if ((double)T * info->features > 1e5 || info->outputs > 100000 || info->macs_window > 1e7 ||
        (double)info->macs_step * T > 1e7 || (w = ky_work_new(m, T, 1)) == NULL)
        return;
    float *x = calloc((size_t)T * (size_t)info->features, sizeof(*x));
    float *y = calloc((size_t)info->outputs, sizeof(*y));
    if (x != NULL && y != NULL)
        ky_model_predict(m, w, 1, T, x, y);
    free(x);
    free(y);
    ky_work_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ky_h5 *f = NULL;
    ky_model *m = NULL;
    ky_err err;

    if (ky_h5_open_image(data, size, &f, &err) != KY_OK)
        return 0;
    if (ky_keras_read(f, &m, &err) == KY_OK)
        answer(m);
    ky_model_free(m);
    ky_h5_close(f);
    return 0;
}
