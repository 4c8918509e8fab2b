#include "models/error.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ky_fail(ky_err *err, int code, const char *fmt, ...)
{
    if (err != NULL) {
        va_list ap;

        err->code = code;
        va_start(ap, fmt);
        vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
    }
    return code;
}

int ky_context(ky_err *err, int code, const char *fmt, ...)
{
    if (err != NULL) {
        char inner[sizeof(err->text)];
        va_list ap;

        memcpy(inner, err->text, sizeof(inner));
        va_start(ap, fmt);
        int n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
        if (n >= 0 && (size_t)n + 3 < sizeof(err->text))
            snprintf(err->text + n, sizeof(err->text) - (size_t)n, ": %.*s",
                     (int)(sizeof(err->text) - (size_t)n - 3), inner);
        err->code = code;
    }
    return code;
}

const char *ky_strerror(int code)
{
    static const struct {
        int code;
        const char *text;
    } texts[] = {
        { KY_OK, "ok" },
        { KY_EAGAIN, "nothing yet" },
        { KY_EFORMAT, "malformed data" },
        { KY_ESHAPE, "shapes do not fit" },
        { KY_EUNSUPPORTED, "not supported" },
        { KY_ECORRUPT, "corrupt data" },
        { KY_EDUP, "seen before" },
        { KY_EREJECT, "refused" },
        { KY_EFULL, "a bound was reached" },
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        if (texts[i].code == code)
            return texts[i].text;
    return code < 0 && code > -1000 ? strerror(-code) : "unknown error";
}

int ky_size_mul(size_t a, size_t b, size_t *ret)
{
    return __builtin_mul_overflow(a, b, ret) ? KY_EFULL : KY_OK;
}

void *ky_grow(void *p, size_t n, size_t size)
{
    size_t bytes;

    if ((n & (n - 1)) != 0) /* room is the next power of two */
        return p;
    if (n > SIZE_MAX / 2 || ky_size_mul(n > 0 ? 2 * n : 1, size, &bytes) < 0)
        return NULL;
    return realloc(p, bytes);
}
