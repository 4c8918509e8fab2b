/* Streams shuffled among each other: all rows in memory, drawn stream by stream at random. */
#include "cli/feed.h"

#include <stdlib.h>
#include <string.h>

#include "models/rng.h"

typedef struct stream_rows {
    char *name;
    ky_row *row;
    size_t n, cap, next;
} stream_rows;

typedef struct shuffled {
    ky_reader reader;
    ky_reader *inner;
    ky_rng rng;
    stream_rows *stream;
    size_t n_streams, cap, likely;
    size_t live; /* [0, live) of `order` have rows left */
    uint32_t *order;
} shuffled;

static stream_rows *stream_of(shuffled *s, const char *name)
{
    /* Readers give streams in turn, so the next one is the likely one. */
    for (size_t k = 0; k < s->n_streams; k++) {
        size_t i = (s->likely + k) % s->n_streams;
        if (strcmp(s->stream[i].name, name) == 0) {
            s->likely = i + 1;
            return &s->stream[i];
        }
    }
    if (s->n_streams == s->cap) {
        size_t cap = s->cap > 0 ? 2 * s->cap : 64;
        stream_rows *more = realloc(s->stream, cap * sizeof(*more));
        if (more == NULL)
            return NULL;
        s->stream = more;
        s->cap = cap;
    }
    s->stream[s->n_streams] = (stream_rows){ .name = strdup(name) };
    return s->stream[s->n_streams].name != NULL ? &s->stream[s->n_streams++] : NULL;
}

/* One block holds a row's values and its label. */
static int keep(shuffled *s, const ky_row *row)
{
    stream_rows *st = stream_of(s, row->stream);
    size_t x = (size_t)s->inner->features * sizeof(float);
    size_t label = row->label != NULL ? strlen(row->label) + 1 : 0;

    if (st == NULL)
        return KY_ENOMEM;
    if (st->n == st->cap) {
        size_t cap = st->cap > 0 ? 2 * st->cap : 256;
        ky_row *more = realloc(st->row, cap * sizeof(*more));
        if (more == NULL)
            return KY_ENOMEM;
        st->row = more;
        st->cap = cap;
    }
    char *block = malloc(x + label);
    if (block == NULL)
        return KY_ENOMEM;
    memcpy(block, row->x, x);
    if (label > 0)
        memcpy(block + x, row->label, label);
    ky_row *kept = &st->row[st->n++];
    *kept = *row;
    kept->stream = NULL; /* names may move while streams are added */
    kept->x = (float *)(void *)block;
    kept->label = label > 0 ? block + x : NULL;
    return KY_OK;
}

static int shuffled_next(ky_reader *r, ky_row *ret, ky_err *err)
{
    shuffled *s = (shuffled *)r;

    (void)err;
    if (s->live == 0)
        return 0;
    size_t k = (size_t)ky_rng_below(&s->rng, s->live);
    stream_rows *st = &s->stream[s->order[k]];
    *ret = st->row[st->next++];
    ret->stream = st->name;
    if (st->next == st->n)
        s->order[k] = s->order[--s->live];
    return 1;
}

static void shuffled_free(ky_reader *r)
{
    shuffled *s = (shuffled *)r;

    for (size_t i = 0; i < s->n_streams; i++) {
        for (size_t k = 0; k < s->stream[i].n; k++)
            free((void *)(uintptr_t)s->stream[i].row[k].x);
        free(s->stream[i].row);
        free(s->stream[i].name);
    }
    free(s->stream);
    free(s->order);
    s->inner->free(s->inner);
    free(s);
}

int ky_feed_shuffled(ky_reader *inner, uint64_t seed, ky_reader **ret, ky_err *err)
{
    shuffled *s = calloc(1, sizeof(*s));
    ky_row row;
    int rc;

    if (s == NULL) {
        inner->free(inner);
        return ky_fail(err, KY_ENOMEM, "no memory to shuffle in");
    }
    s->inner = inner;
    s->reader = *inner;
    s->reader.next = shuffled_next;
    s->reader.free = shuffled_free;
    ky_rng_seed(&s->rng, seed);
    while ((rc = inner->next(inner, &row, err)) > 0)
        if ((rc = keep(s, &row)) != KY_OK) {
            ky_fail(err, rc, "no memory for %.0f rows: --interleave keeps them all", inner->total);
            break;
        }
    if (rc == KY_OK && s->n_streams > 0 &&
        (s->order = malloc(s->n_streams * sizeof(*s->order))) == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory to shuffle in");
    if (rc != KY_OK) {
        shuffled_free(&s->reader);
        return rc;
    }
    for (s->live = 0; s->live < s->n_streams; s->live++)
        s->order[s->live] = (uint32_t)s->live;
    *ret = &s->reader;
    return KY_OK;
}
