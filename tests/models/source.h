/* A source of rows for tests: it reads from memory, counts, and fails where it should. */
#ifndef KY_TESTS_MODELS_SOURCE_H
#define KY_TESTS_MODELS_SOURCE_H

#include <string.h>

#include "models/dataset.h"

typedef struct made_source {
    ky_source base;
    const float *x;
    size_t len;
    uint32_t most;     /* rows read at once */
    uint32_t fails_at; /* this row cannot be read */
} made_source;

static inline int read_made(ky_source *s, uint32_t first, uint32_t n, float *x, ky_err *err)
{
    made_source *m = (made_source *)s;

    if (first <= m->fails_at && m->fails_at < first + n)
        return ky_fail(err, KY_EIO, "row %u cannot be read", m->fails_at);
    memcpy(x, m->x + first * m->len, n * m->len * sizeof *x);
    m->most = n > m->most ? n : m->most;
    return KY_OK;
}

static inline made_source source_of(const float *x, uint32_t rows, size_t len, uint32_t block,
                                    size_t memory)
{
    return (
        made_source){ .base = { .read = read_made, .rows = rows, .block = block, .memory = memory },
                      .x = x,
                      .len = len,
                      .fails_at = UINT32_MAX };
}

#endif
