/* What comes into a model of Keras's: its shape, wherever a version has put it. */
#include "models/keras_parts.h"

#include <limits.h>
#include <string.h>

#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

/* The dimensions after the first `skip`. Two are steps of features and four frames; one is
 * values, three an image; what is called on it may know better. */
static int shape_of_dims(const ky_json *dims, size_t skip, ky_shape *ret, ky_err *err)
{
    size_t n = ky_json_len(dims);

    if (n <= skip || n - skip > KY_RANK)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "the input's shape is %s; kymo takes a batch and 1 to %d dimensions",
                       ky_keras_show(dims).text, KY_RANK);
    *ret = (ky_shape){ .rank = (int)(n - skip), .timed = n - skip == 2 || n - skip >= 4 };
    for (int i = 0; i < ret->rank; i++) {
        const ky_json *d = ky_json_at(dims, skip + (size_t)i);
        int64_t v = ky_json_int(d, -1);
        bool open = ky_json_is_null(d) && i == 0;

        if (!open && (v < 1 || v > INT_MAX))
            return ky_fail(err, KY_EUNSUPPORTED,
                           "dimension %d of the input's shape %s is not fixed", i + 1,
                           ky_keras_show(dims).text);
        ret->d[i] = open ? KY_ANY : (int)v;
        ret->timed |= open;
    }
    return KY_OK;
}

/* Keras 1 and 2: input_dim and perhaps input_length on the first layer. */
static int shape_of_input_dim(const ky_json *first, ky_shape *ret, ky_err *err)
{
    const ky_json *config = ky_json_get(first, "config");
    bool flat = strcmp(ky_keras_class(first), "Dense") == 0;
    bool words = strcmp(ky_keras_class(first), "Embedding") == 0;
    const ky_json *length = ky_keras_list(ky_json_get(config, "input_length"));
    ky_json *dims = ky_json_array();

    if (ky_json_is_array(length))
        length = ky_json_at(length, 0);
    if (!flat)
        ky_json_append(dims, ky_json_is_null(length) ? ky_json_of_null() : ky_json_copy(length));
    if (!words)
        ky_json_append(dims, ky_json_copy(ky_json_get(config, "input_dim")));
    int rc = shape_of_dims(dims, 0, ret, err);
    ky_json_free(dims);
    return rc;
}

/* The shape that an object says, KY_ENOENT where it says none. */
static int shape_said(const ky_json *config, ky_shape *ret, ky_err *err)
{
    static const struct {
        const char *key;
        size_t skip;
    } places[] = { { "batch_shape", 1 },
                   { "batch_input_shape", 1 },
                   { "input_shape", 0 },
                   { "build_input_shape", 1 } };

    for (size_t i = 0; i < LENGTH(places); i++) {
        const ky_json *dims = ky_keras_list(ky_json_get(config, places[i].key));

        if (ky_json_is_array(dims))
            return shape_of_dims(dims, places[i].skip, ret, err);
    }
    return KY_ENOENT;
}

int ky_keras_input_shape(const ky_json *entry, const ky_json *model, ky_shape *ret, ky_err *err)
{
    const ky_json *config = ky_json_get(entry, "config");
    const ky_json *built = ky_json_get(ky_json_get(entry, "build_config"), "input_shape");
    int rc = shape_said(config, ret, err);

    if (rc == KY_ENOENT && ky_json_is_number(ky_json_get(config, "input_dim")))
        return shape_of_input_dim(entry, ret, err);
    if (rc == KY_ENOENT)
        rc = shape_said(model, ret, err);
    if (rc == KY_ENOENT && ky_json_is_array(ky_keras_list(built)))
        rc = shape_of_dims(ky_keras_list(built), 1, ret, err);
    if (rc == KY_ENOENT) /* of a wrapper, what it wraps may say it */
        rc = shape_said(ky_json_get(ky_json_get(config, "layer"), "config"), ret, err);
    if (rc == KY_ENOENT)
        return ky_fail(err, KY_EFORMAT, "nothing in the file says the shape of the input");
    return rc;
}

int ky_keras_check_input(const ky_json *entry, ky_err *err)
{
    static const char *const odd[] = { "sparse", "ragged", "optional" };
    const ky_json *config = ky_json_get(entry, "config");
    const char *dtype = ky_json_str(ky_json_get(config, "dtype"), "float32");

    for (size_t i = 0; i < LENGTH(odd); i++)
        if (!ky_keras_is_nothing(ky_json_get(config, odd[i])))
            return ky_fail(err, KY_EUNSUPPORTED, "it is %s, which kymo cannot take", odd[i]);
    if (strncmp(dtype, "complex", 7) == 0 || strcmp(dtype, "string") == 0)
        return ky_fail(err, KY_EUNSUPPORTED, "dtype is %s, kymo takes numbers", dtype);
    return KY_OK;
}
