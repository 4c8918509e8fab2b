/*
 * What the tests of the codecs share: a codec as a source opens it, and messages in blocks of
 * exactly their size.
 */
#ifndef KY_TESTS_CODEC_H
#define KY_TESTS_CODEC_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "connectors/codec.h"

static inline ky_codec *codec_of(ky_codec_opts o)
{
    ky_codec *c;
    ky_err err = { 0 };

    if (ky_codec_new(&o, &c, &err) != KY_OK)
        fail_msg("%s", err.text);
    return c;
}

static inline int free_codec(void **state)
{
    ky_codec_free(*state);
    return 0;
}

/* From a block of exactly the message's size, so that a sanitizer sees each byte too far; it lives
 * until the next call. */
static inline int decode_bytes(ky_codec *c, const void *bytes, size_t len, ky_sample *s,
                               ky_err *err)
{
    static char *copy;

    free(copy);
    copy = malloc(len > 0 ? len : 1);
    memcpy(copy, bytes, len);
    memset(err, 0, sizeof(*err));
    int rc = ky_codec_decode(c, copy, len, s, err);
    if (len == 0) {
        free(copy);
        copy = NULL;
    }
    return rc;
}

static inline void assert_text(const char *s, size_t len, const char *want)
{
    assert_non_null(s);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(s, want, len);
}

#endif
