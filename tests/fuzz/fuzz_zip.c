/*
 * An archive from anybody: its members are read or refused, and a model in it answers. Bytes that
 * begin as HDF5 become the weights of a sound archive, behind whose checksums no change of an
 * archive itself would get.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "models/blueprint.h"
#include "models/keras.h"
#include "models/zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char config[] =
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":["
    "{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"i\",\"batch_input_shape\":[null,4,2]}},"
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"s\",\"layers\":["
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"a\",\"units\":2}},"
    "{\"class_name\":\"BatchNormalization\",\"config\":{\"name\":\"n\"}}]}},"
    "{\"class_name\":\"Bidirectional\",\"config\":{\"name\":\"b\",\"layer\":{\"class_name\":"
    "\"LSTM\",\"config\":{\"name\":\"l\",\"units\":2}}}},"
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"c\",\"units\":2}},"
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"d\",\"units\":1}}]}}";

static const struct {
    const char *name;
} members[] = { { "config.json" }, { "model.weights.h5" } };

static uint8_t *put(uint8_t *p, uint64_t v, int width)
{
    for (int i = 0; i < width; i++)
        *p++ = (uint8_t)(v >> 8 * i);
    return p;
}

/* What a member's two headers share (APPNOTE.TXT 4.3). */
static uint8_t *put_facts(uint8_t *p, const char *name, const uint8_t *data, size_t n)
{
    p = put(p, 20, 2);
    p = put(p, 0, 4);
    p = put(p, 0x00210000, 4);
    p = put(p, crc32(0, data, (uInt)n), 4);
    p = put(p, n, 4);
    p = put(p, n, 4);
    p = put(p, strlen(name), 2);
    return put(p, 0, 2);
}

/* The fixed configuration and these weights; free(). */
static uint8_t *wrap(const uint8_t *data, size_t size, size_t *ret_size)
{
    const uint8_t *content[2] = { (const uint8_t *)config, data };
    const size_t len[2] = { sizeof(config) - 1, size };
    uint8_t *all = malloc(size + sizeof(config) + 1000), *p = all;
    size_t at[2];

    if (all == NULL)
        return NULL;
    for (int i = 0; i < 2; i++) {
        at[i] = (size_t)(p - all);
        p = put(p, 0x04034b50, 4);
        p = put_facts(p, members[i].name, content[i], len[i]);
        p = (uint8_t *)memcpy(p, members[i].name, strlen(members[i].name)) +
            strlen(members[i].name);
        p = (uint8_t *)memcpy(p, content[i], len[i]) + len[i];
    }
    size_t start = (size_t)(p - all);
    for (int i = 0; i < 2; i++) {
        p = put(p, 0x02014b50, 4);
        p = put(p, 0x0314, 2);
        p = put_facts(p, members[i].name, content[i], len[i]);
        p = put(p, 0, 6);
        p = put(p, (uint64_t)0100644 << 16, 4);
        p = put(p, at[i], 4);
        p = (uint8_t *)memcpy(p, members[i].name, strlen(members[i].name)) +
            strlen(members[i].name);
    }
    size_t table = (size_t)(p - all) - start;
    p = put(p, 0x06054b50, 4);
    p = put(p, 0, 4);
    p = put(p, 2, 2);
    p = put(p, 2, 2);
    p = put(p, table, 4);
    p = put(p, start, 4);
    p = put(p, 0, 2);
    *ret_size = (size_t)(p - all);
    return all;
}

/* One window of zeros through the model, where that is little work. */
static void answer(const ky_model *m)
{
    const ky_model_info *info = ky_model_facts(m);
    int T = info->window > 0 ? info->window : 8;
    ky_work *w;

    if (m->n_inputs != 1 || (double)T * info->features > 1e5 || info->outputs > 100000 ||
        info->macs_window > 1e7 || (double)info->macs_step * T > 1e7 ||
        (w = ky_work_new(m, T, 1)) == NULL)
        return;
    float *x = calloc((size_t)T * (size_t)info->features, sizeof(*x));
    float *y = calloc((size_t)info->outputs, sizeof(*y));
    if (x != NULL && y != NULL)
        ky_model_predict(m, w, 1, T, x, y);
    free(x);
    free(y);
    ky_work_free(w);
}

static void read_archive(const uint8_t *data, size_t size)
{
    ky_zip *z = NULL;
    ky_model *m = NULL;
    void *text = NULL;
    size_t n;

    if (ky_zip_open_image(data, size, &z, NULL) != KY_OK)
        return;
    for (size_t i = 0; i < 2; i++)
        if (ky_zip_read(z, members[i].name, 1 << 24, &text, &n, NULL) == KY_OK)
            free(text);
    if (ky_keras_read_archive(z, &m, NULL) == KY_OK)
        answer(m);
    ky_model_free(m);
    ky_zip_close(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4 || memcmp(data, "\x89HDF", 4) != 0) {
        read_archive(data, size);
        return 0;
    }
    size_t n = 0;
    uint8_t *all = wrap(data, size, &n);
    if (all != NULL)
        read_archive(all, n);
    free(all);
    return 0;
}
