/*
 * What the tests of storage share: a directory of their own, and records.
 */
#ifndef KY_TESTS_STORAGE_TOOLS_H
#define KY_TESTS_STORAGE_TOOLS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/error.h"
#include "storage/record.h"

#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        int rc_ = (call);                                                                          \
        if (rc_ < 0)                                                                               \
            fail_msg("%s: %d: %s", #call, rc_, (err).text);                                        \
    } while (0)

static inline char *tools_dir(void)
{
    const char *base = getenv("TMPDIR");
    char path[4096];

    snprintf(path, sizeof(path), "%s/kymo-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
    return strdup(path);
}

static inline int tools_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void tools_dir_remove(char *dir)
{
    nftw(dir, tools_unlink, 16, FTW_DEPTH | FTW_PHYS);
    free(dir);
}

/* A record with these parts, every byte set; free() it. */
static inline ky_record *tools_record(int type, const char *stream, const char *text,
                                      const void *body, size_t body_len)
{
    size_t size = ky_record_size(0, strlen(stream), strlen(text), body_len);
    ky_record *r = calloc(1, size);

    r->size = (uint32_t)size;
    r->type = (uint8_t)type;
    r->flags = KY_LAST;
    r->n = r->seq = r->ts_us = KY_NONE;
    r->stream_len = (uint16_t)strlen(stream);
    r->text_len = (uint32_t)strlen(text);
    r->body_len = (uint32_t)body_len;
    memcpy((char *)(r + 1), stream, strlen(stream));
    memcpy((char *)(r + 1) + strlen(stream), text, strlen(text));
    if (body_len > 0)
        memcpy((char *)r + size - ky_pad8(body_len), body, body_len);
    return r;
}

static inline ky_record *tools_sample(const char *stream, int64_t n, int T, int F, const float *x)
{
    ky_record *r = tools_record(KY_REC_SAMPLE, stream, "", x, (size_t)T * (size_t)F * sizeof(*x));

    r->n = n;
    r->steps = (uint32_t)T;
    r->features = (uint32_t)F;
    return r;
}

#endif
