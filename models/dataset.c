#include "models/dataset.h"

#include <stdlib.h>
#include <string.h>

/* Bytes that a walk reads from a source at a time: many blocks, so that threads have enough to do.
 */
enum { SPAN_BYTES = 32 << 20 };

/* ---- parts ---- */

/* The elements row[n] of an array of `width` each; NULL: it has none, or no memory. */
static void *pick_out(const void *from, const uint32_t *row, int n, size_t width)
{
    char *to = from != NULL ? malloc((size_t)n * width + 1) : NULL;

    for (int i = 0; to != NULL && i < n; i++)
        memcpy(to + (size_t)i * width, (const char *)from + row[i] * width, width);
    return to;
}

int ky_subset_new(const ky_dataset *d, const uint32_t *row, int n, ky_subset *ret, ky_err *err)
{
    ky_subset p = { .d = *d };
    size_t C = d->C > 0 ? (size_t)d->C : 1;

    p.pick = malloc((size_t)n * sizeof *p.pick + 1);
    for (int i = 0; p.pick != NULL && i < n; i++)
        p.pick[i] = ky_dataset_place(d, (int)row[i]);
    p.d.N = n;
    p.d.pick = p.pick;
    p.d.weight = NULL;
    p.d.y = p.y = pick_out(d->y, row, n, sizeof *p.y);
    p.d.target = p.target = pick_out(d->target, row, n, C * sizeof *p.target);
    p.d.group = p.group = pick_out(d->group, row, n, sizeof *p.group);
    p.d.ts = p.ts = pick_out(d->ts, row, n, sizeof *p.ts);
    if (p.pick == NULL || (d->y != NULL && p.y == NULL) ||
        (d->target != NULL && p.target == NULL) || (d->group != NULL && p.group == NULL) ||
        (d->ts != NULL && p.ts == NULL)) {
        ky_subset_done(&p);
        return ky_fail(err, KY_ENOMEM, "no memory for a part of %d rows", n);
    }
    *ret = p;
    return KY_OK;
}

void ky_subset_done(ky_subset *p)
{
    free(p->pick);
    free(p->y);
    free(p->target);
    free(p->group);
    free(p->ts);
    memset(p, 0, sizeof *p);
}

/* ---- walks ---- */

/* All rows in memory; of a source whole blocks of about SPAN_BYTES, no more than a quarter of what
 * rows may take. */
static size_t span_rows(const ky_dataset *d)
{
    size_t row = ky_dataset_len(d) * sizeof(float), bytes = SPAN_BYTES, n;

    if (d->source == NULL)
        return d->N > 0 ? (size_t)d->N : 1;
    bytes = bytes < d->source->memory / 4 ? bytes : d->source->memory / 4;
    n = bytes / row / d->source->block * d->source->block;
    return n > 0 ? n : d->source->block;
}

int ky_walk_begin(ky_walk *w, const ky_dataset *d, ky_err *err)
{
    size_t n = span_rows(d), bytes;

    *w = (ky_walk){ .d = d };
    w->x = malloc(n * sizeof *w->x);
    if (d->source != NULL && ky_size_mul(n, ky_dataset_len(d) * sizeof *w->own, &bytes) == KY_OK)
        w->own = malloc(bytes);
    if (w->x == NULL || (d->source != NULL && w->own == NULL))
        return ky_fail(err, KY_ENOMEM, "no memory to read %zu rows", n);
    return KY_OK;
}

/* Of those rows that are in the source's next span with any of ours. */
static int read_span(ky_walk *w, ky_err *err)
{
    const ky_dataset *d = w->d;
    uint32_t span = (uint32_t)span_rows(d), begin = ky_dataset_place(d, w->first) / span * span;
    uint32_t n = d->source->rows - begin < span ? d->source->rows - begin : span;
    int rc = d->source->read(d->source, begin, n, w->own, err);

    if (rc < 0)
        return rc;
    for (; w->first + w->n < d->N; w->n++) {
        uint32_t at = ky_dataset_place(d, w->first + w->n) - begin;

        if (at >= n)
            break;
        w->x[w->n] = w->own + at * ky_dataset_len(d);
    }
    return w->n;
}

int ky_walk_next(ky_walk *w, ky_err *err)
{
    const ky_dataset *d = w->d;

    w->first += w->n;
    w->n = 0;
    if (w->first >= d->N)
        return 0;
    if (d->source != NULL)
        return read_span(w, err);
    for (; w->n < d->N; w->n++)
        w->x[w->n] = ky_dataset_row(d, w->n);
    return w->n;
}

void ky_walk_done(ky_walk *w)
{
    free(w->x);
    free(w->own);
    memset(w, 0, sizeof *w);
}
