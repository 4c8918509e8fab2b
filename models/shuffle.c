#include "models/shuffle.h"

#include <stdlib.h>
#include <string.h>

/* Bytes read from the source at a time, if its blocks are smaller. */
enum { LEAST_READ = 4 << 20 };

struct ky_shuffle {
    const ky_dataset *d;
    const uint32_t *row;
    int n, batch;
    size_t len;     /* values of a row */
    uint32_t block; /* rows read at a time: whole blocks of the source */
    /* the drawn rows of each block that has any: row[begin[b]] .. row[begin[b+1] - 1] */
    uint32_t *begin, *order;
    int n_blocks;
    /* the epoch */
    ky_rng rng;
    int next;        /* block in order */
    uint32_t at, to; /* rows of the block at hand that are not yet in the buffer */
    float *read;     /* [block,len] the block */
    /* the buffer */
    float *x;       /* [slots,len] */
    uint32_t *held; /* [slots] row in each slot */
    uint32_t *slot; /* [slots] the first n_full are full */
    uint32_t slots, n_full;
};

static uint32_t block_of(const ky_shuffle *s, uint32_t i)
{
    return ky_dataset_place(s->d, (int)s->row[i]) / s->block;
}

static int cut_blocks(ky_shuffle *s)
{
    s->begin = malloc(((size_t)s->n + 1) * sizeof *s->begin);
    s->order = malloc((size_t)s->n * sizeof *s->order + 1);
    if (s->begin == NULL || s->order == NULL)
        return KY_ENOMEM;
    for (uint32_t i = 0; i < (uint32_t)s->n; i++)
        if (i == 0 || block_of(s, i) != block_of(s, i - 1))
            s->begin[s->n_blocks++] = i;
    s->begin[s->n_blocks] = (uint32_t)s->n;
    return KY_OK;
}

/* What the source's memory is spent on: a block, and slots with what is left. */
static int set_memory(ky_shuffle *s)
{
    const ky_source *from = s->d->source;
    size_t row = s->len * sizeof(float), slots = from->memory / row, bytes;

    s->block = from->block;
    while (s->block < from->rows && s->block * row < LEAST_READ &&
           s->block * row < from->memory / 8)
        s->block += from->block;
    slots = slots > s->block ? slots - s->block : 0;
    slots = slots < (size_t)s->n ? slots : (size_t)s->n;
    s->slots = (uint32_t)(slots > (size_t)s->batch ? slots : (size_t)s->batch);
    if (ky_size_mul(s->slots, row, &bytes) < 0 || (s->x = malloc(bytes)) == NULL ||
        ky_size_mul(s->block, row, &bytes) < 0 || (s->read = malloc(bytes)) == NULL)
        return KY_ENOMEM;
    s->held = malloc((size_t)s->slots * sizeof *s->held);
    s->slot = malloc((size_t)s->slots * sizeof *s->slot);
    return s->held != NULL && s->slot != NULL ? KY_OK : KY_ENOMEM;
}

int ky_shuffle_new(const ky_dataset *d, const uint32_t *row, int n, int batch, ky_shuffle **ret,
                   ky_err *err)
{
    ky_shuffle *s = calloc(1, sizeof *s);

    if (s != NULL)
        *s = (ky_shuffle){ .d = d, .row = row, .n = n, .batch = batch, .len = ky_dataset_len(d) };
    if (s == NULL || set_memory(s) < 0 || cut_blocks(s) < 0) {
        ky_shuffle_free(s);
        return ky_fail(err, KY_ENOMEM, "no memory for a shuffle buffer of %zu bytes",
                       d->source->memory);
    }
    *ret = s;
    return KY_OK;
}

void ky_shuffle_free(ky_shuffle *s)
{
    if (s == NULL)
        return;
    free(s->begin);
    free(s->order);
    free(s->read);
    free(s->x);
    free(s->held);
    free(s->slot);
    free(s);
}

void ky_shuffle_begin(ky_shuffle *s, ky_rng *rng)
{
    ky_rng_seed(&s->rng, ky_rng_u64(rng));
    for (int b = 0; b < s->n_blocks; b++)
        s->order[b] = (uint32_t)b;
    ky_rng_shuffle(&s->rng, s->order, (uint64_t)s->n_blocks);
    for (uint32_t i = 0; i < s->slots; i++)
        s->slot[i] = i;
    s->next = 0;
    s->at = s->to = 0;
    s->n_full = 0;
}

static int read_block(ky_shuffle *s, ky_err *err)
{
    ky_source *from = s->d->source;
    uint32_t b = s->order[s->next++], first;
    uint32_t n;

    s->at = s->begin[b];
    s->to = s->begin[b + 1];
    first = block_of(s, s->at) * s->block;
    n = from->rows - first < s->block ? from->rows - first : s->block;
    return from->read(from, first, n, s->read, err);
}

/* As many rows into the buffer as there are, or fit. */
static int fill_up(ky_shuffle *s, ky_err *err)
{
    while (s->n_full < s->slots) {
        uint32_t to = s->slot[s->n_full], place;
        int rc;

        if (s->at == s->to && s->next == s->n_blocks)
            break;
        if (s->at == s->to && (rc = read_block(s, err)) < 0)
            return rc;
        place = ky_dataset_place(s->d, (int)s->row[s->at]) % s->block;
        memcpy(s->x + to * s->len, s->read + place * s->len, s->len * sizeof *s->x);
        s->held[to] = s->row[s->at++];
        s->n_full++;
    }
    return KY_OK;
}

int ky_shuffle_next(ky_shuffle *s, uint32_t *row, const float **x, ky_err *err)
{
    int n = 0, rc = fill_up(s, err);

    for (; rc >= 0 && n < s->batch && s->n_full > 0; n++) {
        uint32_t at = (uint32_t)ky_rng_below(&s->rng, s->n_full--), last = s->slot[s->n_full];

        /* It leaves the full ones; nothing is written there before the next call. */
        s->slot[s->n_full] = s->slot[at];
        s->slot[at] = last;
        row[n] = s->held[s->slot[s->n_full]];
        x[n] = s->x + s->slot[s->n_full] * s->len;
    }
    return rc < 0 ? rc : n;
}
